"""Runs a language model whose stream at one hook is replaced, and measures what that does to its loss."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from semconv.models.model_activations import points, text_config
from semconv.suite.hooks import parse_hook

_LOGITS = 2**26
"""Logits held at once, 256 MB in float32: rows of text per pass follow from it."""


def why_not_spliced(model: nn.Module, hook: str) -> str:
    """Returns why the stream at a hook cannot be replaced, empty where it can.

    Raises:
        InputError: a hook that the model does not have.
    """
    if points(model, [hook])[hook].normalised:
        return "what a norm makes of the stream cannot be replaced apart from the norm's weights"
    if parse_hook(hook).stream == "hook_resid_mid":
        return "the stream is read at the norm before the MLP, which it also passes by"
    return ""


@contextmanager
def spliced(model: nn.Module, hook: str, shape: torch.Size, change: Callable[[Tensor], Tensor]) -> Generator[None]:
    """Within it, a model runs with the stream at a hook replaced.

    Args:
        model: a language model in evaluation mode.
        hook: where; one for which `why_not_spliced` returns nothing.
        shape: of the text, [batch, ctx].
        change: takes the stream [batch, ctx, width] and returns what is to be there instead.

    Raises:
        InputError: a hook that the model does not have.
    """
    point = points(model, [hook])[hook]

    def changed(stream: Tensor) -> Tensor:
        return change(stream.reshape(*shape, -1)).reshape(stream.shape).to(stream.dtype)

    def before(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        if args:
            return (changed(args[0]), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": changed(kwargs["hidden_states"])}

    def after(_module: nn.Module, _args: Any, output: Any) -> Any:
        return (changed(output[0]), *output[1:]) if isinstance(output, tuple) else changed(output)  # pyright: ignore

    if point.side == "input":
        handle = point.module.register_forward_pre_hook(before, with_kwargs=True)
    else:
        handle = point.module.register_forward_hook(after)
    try:
        yield
    finally:
        handle.remove()


def rows_per_pass(model: nn.Module, context: int) -> int:
    """Returns how many rows of text `next_token_loss` may take at once."""
    return max(1, _LOGITS // (context * int(text_config(model).vocab_size)))


def targets(counted: Tensor) -> Tensor:
    """Returns the positions, bool [batch, ctx], that count and are followed in their row by one that counts."""
    return counted & torch.nn.functional.pad(counted[:, 1:], (0, 1))


@torch.inference_mode()
def next_token_loss(model: nn.Module, ids: Tensor, at: Tensor) -> float:
    """Returns the sum of the cross-entropy, in nats, of the next token at some positions.

    Args:
        model: a language model with a head for the next token, in evaluation mode.
        ids: integer token ids [batch, ctx], on any device.
        at: bool [batch, ctx], positions whose next token is to be predicted; none of them the last of its row.
    """
    device = next(model.parameters()).device
    there = ids.to(device).long()
    logits: Tensor = model(input_ids=there, use_cache=False).logits
    places = at.to(device).flatten().nonzero()[:, 0]
    predicted, actual = logits.flatten(0, 1)[places].float(), there.flatten()[places + 1]
    return float(nn.functional.cross_entropy(predicted, actual, reduction="none").double().sum())
