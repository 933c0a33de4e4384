"""Encodes streams of a model with sparse autoencoders, chunk by chunk, never a dense tokens x features matrix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from semconv.core.device import float32_products
from semconv.core.sparse import SparseActivations
from semconv.models.memory_plan import pieces
from semconv.models.model_activations import row_streams, transformer_blocks
from semconv.models.sae_metadata import centres, check_width, metadata_of
from semconv.system.errors import InputError
from semconv.text.token_blocks import TokenBlocks

if TYPE_CHECKING:
    from sae_lens import SAE
    from transformers import PreTrainedModel


def jump_threshold(sae: SAE[Any]) -> Tensor | None:
    """Returns the threshold that turns the pre-activations of a JumpReLU SAE or transcoder into its activations.

    relu(pre) * (pre > threshold) is pre where pre > max(threshold, 0) and zero elsewhere. None for other SAEs, and
    where the thresholds are not all finite.
    """
    if not sae.cfg.architecture().startswith("jumprelu") or not isinstance(sae.activation_fn, nn.ReLU):
        return None
    given: Any = sae.threshold
    threshold: Tensor = given.float().clamp(min=0)
    return threshold if bool(threshold.isfinite().all()) else None


def part_of_stream(sae: SAE[Any], stream: Tensor, hook: str, layer_norm: bool) -> Tensor:
    """Returns what an SAE takes of a stream: its head's part of `attn.hook_z`, and centred where it was so in training.

    Args:
        sae: any SAE, with sae-lens's metadata.
        stream: [n, width], of `attn.hook_z` the heads one after the other.
        hook: name of the stream.
        layer_norm: whether the model has LayerNorm; transformer-lens centres no other.

    Returns:
        [n, d_in].

    Raises:
        InputError: a stream of another width, no such head, or one that was changed in training in a way not known.
    """
    metadata = metadata_of(sae.cfg.to_dict())
    source = f"of {metadata.hook or 'no named hook'}"
    if layer_norm and centres(metadata, source, hook):
        stream = stream - stream.mean(dim=-1, keepdim=True)
    check_width(metadata, source, hook, stream.shape[-1])
    return stream if metadata.head is None else stream.split(metadata.d_in, dim=-1)[metadata.head]


def has_layer_norm(model: nn.Module) -> bool:
    """Whether a model normalises by LayerNorm, which takes the mean out, not by RMSNorm."""
    return any(isinstance(module, nn.LayerNorm) for module in transformer_blocks(model).modules())


@torch.inference_mode()
def encode_stream(sae: SAE[Any], stream: Tensor, dtype: torch.dtype) -> SparseActivations:
    """Encodes residual vectors and compacts them, without leaving their device.

    The positions are taken in even pieces (`semconv.models.memory_plan.pieces`), so that no more dense activations than
    those of one piece are held, whatever n and the number of features. The last step of a JumpReLU SAE is taken by the
    pass that compacts, which saves three passes over the dense piece.

    Args:
        sae: any SAE of the ReLU family, on the device of the stream.
        stream: [n, d_model] float32 or bfloat16; the SAE computes in the dtype of its own weights.
        dtype: of the stored values, float16 or float32.

    Raises:
        InputError: `d_model` does not fit the SAE, or an activation overflows `dtype`.
    """
    if stream.shape[-1] != sae.cfg.d_in:
        raise InputError(f"the SAE takes vectors of {sae.cfg.d_in}, the hook gives {stream.shape[-1]}")
    threshold, parts = jump_threshold(sae), stream.split(pieces(len(stream), sae.cfg.d_sae))
    compacted = [_encode_piece(sae, part, dtype, threshold) for part in parts]
    return compacted[0] if len(compacted) == 1 else SparseActivations.concatenate(compacted)


def _encode_piece(sae: SAE[Any], stream: Tensor, dtype: torch.dtype, threshold: Tensor | None) -> SparseActivations:
    if threshold is None:
        return SparseActivations.from_dense(sae.encode(stream), dtype)
    bias: Any = sae.b_enc
    dense = sae.process_sae_in(stream) @ sae.W_enc
    dense += bias  # in place: the bits of a sum, and one dense piece instead of two
    return SparseActivations.from_dense(dense, dtype, threshold)


@dataclass(frozen=True, eq=False)
class Chunk:
    """What one batch gives to one SAE.

    Attributes:
        position: of its first counted token, among all that count for the SAE.
        acts: activations of its counted tokens.
        norms: float32 [n_tokens], norm of what the SAE takes of the stream at each of them.
    """

    position: int
    acts: SparseActivations
    norms: Tensor


def encode(
    model: PreTrainedModel,
    saes: dict[str, SAE[Any]],
    blocks: TokenBlocks,
    batch: int,
    *,
    dtype: torch.dtype = torch.float16,
    batches: Sequence[int] | None = None,
    tf32: bool = False,
    model_tf32: bool = False,
    hooks: Mapping[str, str] | None = None,
    masks: Mapping[str, Tensor] | None = None,
) -> Iterator[dict[str, Chunk]]:
    """Yields, batch by batch, what every SAE gives; an SAE for which none of its tokens counts is left out.

    One forward pass feeds all SAEs. Batches always hold the same rows, so a run that takes some of them yields what an
    unbroken run would have; the counted tokens of all batches, in order, are those that count for an SAE. Token ids go
    to the model's device batch by batch; everything after them, the activations too, stays there.

    Args:
        model: a causal LM in evaluation mode.
        saes: label -> SAE, on the model's device.
        blocks: the corpus.
        batch: rows per forward pass.
        dtype: of the stored values.
        batches: which batches to take, by number; all of them by default.
        tf32: whether float32 products of the SAEs are taken in TF32, on CUDA.
        model_tf32: the same of the model's.
        hooks: label -> hook name; by default the labels are hook names.
        masks: label -> which positions count for the SAE, bool [rows, context]; by default those of `blocks`.

    Raises:
        InputError: an unknown hook, an SAE that does not fit, or an overflow.
    """
    at, layer_norm = {label: (hooks or {}).get(label, label) for label in saes}, has_layer_norm(model)
    counts = {label: (masks or {}).get(label, blocks.mask) for label in saes}
    for number in range(-(-len(blocks.ids) // batch)) if batches is None else batches:
        rows = slice(number * batch, (number + 1) * batch)
        with float32_products(model_tf32):
            read = row_streams(model, blocks, rows, list(set(at.values())))
        chunks: dict[str, Chunk] = {}
        with float32_products(tf32):
            for label, sae in saes.items():
                places = counts[label][rows].flatten().nonzero()[:, 0]
                if len(places):
                    stream = part_of_stream(sae, _rows(read[at[label]], places), at[label], layer_norm)
                    chunks[label] = _chunk(sae, stream, dtype, int(counts[label][: rows.start].sum()))
        yield chunks


def _chunk(sae: SAE[Any], stream: Tensor, dtype: torch.dtype, position: int) -> Chunk:
    norms = torch.linalg.vector_norm(stream, dim=-1, dtype=torch.float32)
    if not bool(norms.isfinite().all()):  # a JumpReLU would turn NaN into zeros silently
        raise InputError("the model gives a stream that is not finite; its weights or its config may be damaged")
    return Chunk(position, encode_stream(sae, stream, dtype), norms)


def _rows(stream: Tensor, places: Tensor) -> Tensor:
    """Returns some positions of a stream [batch, ctx, d_model] as [n, d_model]."""
    return stream.flatten(0, 1).index_select(0, places.to(stream.device))
