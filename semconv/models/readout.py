"""From the stream after the last block to logits: a model's final norm and head, checked against the model itself."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from semconv.models.model_activations import has_head, language_model, text_config, transformer_blocks
from semconv.models.widened import HeadProduct, head_dtype
from semconv.system.errors import InputError, refusing

_NORMS = ("norm", "ln_f", "final_layer_norm", "final_layernorm", "norm_f")
_CLOSE = 1e-2
"""How far the logits of a `Readout` may be from the model's, as a share of the largest: roundings of bfloat16 are less,
a scale, a cap or a norm that was missed is more."""


class Readout:
    """The final norm and the head of a model.

    Args:
        model: a language model in evaluation mode, on one device.

    Raises:
        InputError: the model does not predict the next token, or does so in a way that is not its final norm, its head,
            a scale and a cap of logits.
    """

    def __init__(self, model: nn.Module) -> None:
        kind, config = text_config(model).model_type, text_config(model)
        if not has_head(model):
            raise InputError(
                f"effects on the next token need a model with a head for it, this one (type {kind!r}) has none"
            )
        decoder, wrapper = language_model(model), _any(model)
        found = [getattr(decoder, name, None) for name in _NORMS]
        self.norm: nn.Module | None = next((one for one in found if isinstance(one, nn.Module)), None)
        self.projection: nn.Module | None = getattr(decoder, "project_out", None)  # OPT-350m
        self.head: nn.Module = wrapper.get_output_embeddings()
        self._product = HeadProduct(self.head)
        self.scale = float(getattr(config, "logit_scale", None) or 1) / float(
            getattr(config, "logits_scaling", None) or 1
        )
        cap = getattr(config, "final_logit_softcapping", None)
        self.cap: float | None = None if cap is None else float(cap)
        self._check(model, kind)

    @torch.inference_mode()
    def _check(self, model: nn.Module, kind: str) -> None:
        ids = (torch.arange(1, 5)[None] % int(text_config(model).vocab_size)).to(next(model.parameters()).device)
        with refusing(f"a model of type {kind!r} does not read text"), last_streams(model) as held:
            expected: Tensor = _any(model)(input_ids=ids, use_cache=False).logits.float()
        if not held:
            raise InputError(f"the last block of a model of type {kind!r} is never reached when it reads text")
        found = self.logits(held[0])
        if found.shape != expected.shape or not bool(
            (found - expected).abs().max() <= _CLOSE * expected.abs().max() + 1e-6
        ):
            raise InputError(
                f"the logits of a model of type {kind!r} are not its final norm and head of the last block's output, "
                "so the effect of a feature on them cannot be taken"
            )

    @property
    def vocab_size(self) -> int:
        """Number of logits."""
        weight: Any = self.head.weight
        return int(weight.shape[0])

    @property
    def norm_width(self) -> int | None:
        """Width of the stream that the final norm takes; None where there is none."""
        weight: Any = getattr(self.norm, "weight", None)
        return None if weight is None else int(weight.shape[0])

    @property
    def dtype(self) -> torch.dtype:
        """Numbers that the model computes in."""
        return head_dtype(self.head)

    def logits(self, stream: Tensor) -> Tensor:
        """Returns float32 logits [..., V] of the stream after the last block [..., d_model]."""
        normed = stream if self.norm is None else self.norm(stream)
        out = self.head(normed if self.projection is None else self.projection(normed)).float()
        if self.scale != 1:
            out = out * self.scale
        return out if self.cap is None else self.cap * torch.tanh(out / self.cap)

    def normed(self, directions: Tensor) -> Tensor:
        """Returns what the head is given of directions of the stream, for the logit lens (`lens`).

        Final norm and head are taken of the direction itself (nostalgebraist 2020; so do feature dashboards, where the
        norm's weights are folded into the head). Biases, which are the same for all directions, and the cap of logits,
        which changes no order, are left out.

        Args:
            directions: float [n, d_model] on the model's device, such as decoder rows.

        Returns:
            [n, width of the head], of the numbers that the model computes in.
        """
        x = directions.to(self.dtype)
        normed = x if self.norm is None else self.norm(x) - self.norm(torch.zeros_like(x[:1]))
        if self.projection is None:
            return normed
        return self.projection(normed) - self.projection(torch.zeros_like(normed[:1]))

    def lens(self, normed: Tensor, tokens: slice | Tensor) -> Tensor:
        """Returns what directions promote and suppress among some tokens, float32 [n, t]: the logit lens.

        Args:
            normed: as `normed` gives it.
            tokens: ids, a slice or int64 [t] on the model's device.
        """
        found = self._product(normed, tokens).float()
        return found if self.scale == 1 else found * self.scale


def _any(model: nn.Module) -> Any:
    return model


class LastBlockReached(Exception):  # noqa: N818 - a signal, not an error
    """Ends a forward pass after the last block."""


@contextmanager
def last_streams(model: nn.Module, end: bool = False) -> Generator[list[Tensor]]:
    """Within it, the output of the last block of every forward pass is put into the list.

    Args:
        model: that reads.
        end: whether a pass ends there, with LastBlockReached.
    """
    held: list[Tensor] = []

    def keep(_module: nn.Module, _args: Any, output: Any) -> None:
        held.append(output[0] if isinstance(output, tuple) else output)  # pyright: ignore
        if end:
            raise LastBlockReached

    handle = transformer_blocks(model)[-1].register_forward_hook(keep)
    try:
        yield held
    finally:
        handle.remove()


@contextmanager
def stopping_after_last_block(model: nn.Module) -> Generator[list[Tensor]]:
    """Within it, one forward pass ends after the last block, whose output is in the list by then."""
    with suppress(LastBlockReached), last_streams(model, end=True) as held:
        yield held
