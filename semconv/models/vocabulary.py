"""What a model's vocabulary makes alike: second moments of its unembedding and of its embeddings over all tokens."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from semconv.models.model_activations import has_head, language_model

VOCABULARY = ("logit_lens", "embedding")
"""Of a direction of the stream: the logits that it adds to by the unembedding, and its products with the embeddings."""
NO_HEAD = "the model has no head that tells the next token"
_NORMS = ("norm", "final_layernorm", "final_layer_norm", "ln_f", "norm_f")
_TOKENS = 4096  # multiplied at once


@torch.inference_mode()
def vocabulary_moments(model: nn.Module) -> dict[str, Float[Tensor, "d d"] | str]:
    """Returns M = sum (u_t - u)(u_t - u)' over the tokens t of the vocabulary, float64, for each of `VOCABULARY`.

    u_t is the row of token t in the unembedding, times the weight of the last norm, or in the embedding, and u the mean
    of all. So d' M e is the inner product of what the directions d and e give over the vocabulary, less their means:
    similarities of logit-lens vectors (nostalgebraist 2020) need no vector as long as the vocabulary. The division by
    the length of the stream, which the last norm does too, and caps on logits are left out.

    Args:
        model: a language model; of its blocks none is needed.

    Returns:
        Name -> M on the CPU, or why there is none: a model without a head, or without embeddings.
    """
    wrapper: Any = model
    embedding = wrapper.get_input_embeddings()
    found: dict[str, Tensor | str] = {"logit_lens": NO_HEAD, "embedding": "the model has no embeddings"}
    if embedding is not None:
        found["embedding"] = _moment(embedding.weight)
    if has_head(model):
        weight = wrapper.get_output_embeddings().weight
        scale = norm_scale(model, weight.shape[1]).double().cpu()
        found["logit_lens"] = scale[:, None] * _moment(weight) * scale
    return found


def norm_scale(model: nn.Module, width: int) -> Float[Tensor, " d"]:
    """Returns what the last norm of a model multiplies each column by; ones where it has none of this width.

    Read off what the norm makes of a vector of plus and minus ones, which has mean 0 and root mean square 1, so that
    it does not matter how an architecture writes its norm down; half the difference of two takes its bias off.
    """
    part = language_model(model)
    norms = [getattr(part, name) for name in _NORMS if isinstance(getattr(part, name, None), nn.Module)]
    weight = next(model.parameters())
    signs = torch.ones(width, dtype=weight.dtype, device=weight.device)
    signs[1::2] = -1
    own = next(iter(norms[0].parameters()), None) if norms else None
    if own is None or own.shape != (width,) or width % 2:
        return signs.square()
    return (norms[0](signs[None])[0] - norms[0](-signs[None])[0]) / 2 * signs


def _moment(weight: Float[Tensor, "vocabulary d"]) -> Float[Tensor, "d d"]:
    d = weight.shape[1]
    total, mean = torch.zeros(d, d, dtype=torch.float64), weight.double().mean(dim=0)
    for rows in weight.split(_TOKENS):
        centred = rows.double() - mean
        total += (centred.mT @ centred).cpu()
    return total
