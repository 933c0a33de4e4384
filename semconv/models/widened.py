"""Models that are held in 16 bits, as they are stored, and compute in float32: weights are widened where they are used.

A block is widened while it runs, all blocks of a copy into the same memory; the embedding row by row; the head some
tokens of the vocabulary at a time. What lies beside them (norms, learned positions) is small and stays in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from semconv.models.model_activations import transformer_blocks

HEAD_BYTES = 2**26
"""Of a head that is widened at once, in float32."""
NARROW = (torch.bfloat16, torch.float16)
"""Numbers that are widened."""


def why_not_widened(model: nn.Module) -> str:
    """Returns why a model that is held in 16 bits would not compute as one that is held in float32; empty if it does.

    Args:
        model: as `load_model` gives it in bfloat16 or float16.
    """
    for name, buffer in model.named_buffers():
        if buffer.dtype in NARROW and _as_made(model, name) is None:
            return f"its buffer {name} is rounded to 16 bits"
    return ""


def _as_made(model: nn.Module, name: str) -> Tensor | None:
    """Returns a buffer as float32 has it, where its module says of what number it was made; None where not."""
    place, _, last = name.rpartition(".")
    made: Any = getattr(model.get_submodule(place), f"scalar_{last}", None)
    return torch.tensor(made, dtype=torch.float32) if isinstance(made, float) else None


def widen(model: Any) -> None:
    """Lets a model whose weights are held in 16 bits compute in float32; the weights stay as they are, and shared.

    Two threads may run two models of the same weights, not one model.

    Args:
        model: of which `why_not_widened` says nothing; its modules are changed.
    """
    for name, _ in [one for one in model.named_buffers() if one[1].dtype in NARROW]:
        place, _, last = name.rpartition(".")
        setattr(model.get_submodule(place), last, cast(Tensor, _as_made(model, name)))
    blocks, embedding, head = transformer_blocks(model), model.get_input_embeddings(), model.get_output_embeddings()
    of_blocks = {id(module) for block in blocks for module in block.modules()}
    scratch: dict[tuple[int, torch.Size], nn.Parameter] = {}
    for block in blocks:
        block.forward = _widened_block(block, scratch)
    for module in model.modules():
        if id(module) in of_blocks:
            continue
        if module is embedding:
            module.padding_idx = None  # which the few rows of a lookup would not have; no forward pass depends on it
            module.forward = _looked_up(module, module.forward)
        elif module is head:
            module.forward = WideHead(module.weight, module.bias)
        else:
            for name, weight in narrow_weights(module):
                setattr(module, name, _parameter(weight.float()))


def widening_bytes(of_block: int) -> int:
    """Returns the bytes that a widened model takes beside its weights: a block of so many numbers, a piece of its head.

    The piece counts twice, for what it is made of.
    """
    return 4 * of_block + 2 * HEAD_BYTES


def narrow_weights(module: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Returns the weights of a module itself that are held in 16 bits, by name."""
    return [(name, weight) for name, weight in module.named_parameters(recurse=False) if weight.dtype in NARROW]


def _parameter(weight: Tensor) -> nn.Parameter:
    return nn.Parameter(weight, requires_grad=False)


def _widened_block(block: nn.Module, scratch: dict[tuple[int, torch.Size], nn.Parameter]) -> Callable[..., Any]:
    """Returns the forward pass of a block that widens its weights into memory that all blocks share, and gives it back.

    Args:
        block: whose forward pass is taken.
        scratch: the shared memory, by number and shape of a weight.
    """
    forward = block.forward
    places = [(module, *one) for module in block.modules() for one in narrow_weights(module)]
    for number, (_, _, weight) in enumerate(places):
        with torch.inference_mode(mode=False):  # it is written to within and without
            scratch.setdefault(
                (number, weight.shape), _parameter(torch.empty_like(weight, dtype=torch.float32, requires_grad=False))
            )

    def widened(*args: Any, **kwargs: Any) -> Any:
        try:
            for number, (module, name, weight) in enumerate(places):
                wide = scratch[number, weight.shape]
                wide.data.copy_(weight.data)
                setattr(module, name, wide)
            return forward(*args, **kwargs)
        finally:
            for module, name, weight in places:
                setattr(module, name, weight)

    return widened


def _looked_up(embedding: nn.Module, forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Returns the forward pass of an embedding that widens the rows that it is asked for."""
    weight = cast(nn.Parameter, embedding.weight)

    def widened(ids: Tensor) -> Tensor:
        rows, places = torch.unique(ids, return_inverse=True)
        try:
            embedding.weight = _parameter(weight.data[rows].float())
            return forward(places)
        finally:
            embedding.weight = weight

    return widened


@dataclass(frozen=True, eq=False)
class WideHead:
    """The forward pass of a head whose weights are held in 16 bits.

    Attributes:
        weight: [V, d_model].
        bias: [V], or None.
    """

    weight: Tensor
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        """Returns logits [..., V], float32, of x [..., d_model]; weights are widened piece by piece."""
        size, width = self.weight.shape
        out, n = x.new_empty(*x.shape[:-1], size), min(size, max(1, HEAD_BYTES // (4 * width)))
        wide = torch.empty_like(self.weight[:n], dtype=torch.float32)
        for begin in range(0, size, n):
            part = slice(begin, begin + n)
            some = None if self.bias is None else self.bias[part].float()
            weight = wide[: size - begin].copy_(self.weight[part])
            out[..., part] = nn.functional.linear(x, weight, some)
        return out


def head_dtype(head: nn.Module) -> torch.dtype:
    """Returns the numbers that a head computes in."""
    weight = cast(nn.Parameter, head.weight)
    return torch.float32 if isinstance(head.forward, WideHead) else weight.dtype


class HeadProduct:
    """The product of a head's weights and streams without a bias, some tokens at a time.

    Weights in 16 bits are widened into memory that all pieces share, which takes a quarter of the time that new
    memory does. One thread at a time.

    Args:
        head: of a model that may be widened.
    """

    def __init__(self, head: nn.Module) -> None:
        self._weight, self._wide = cast(nn.Parameter, head.weight), isinstance(head.forward, WideHead)
        self._shared = torch.empty(0)

    def __call__(self, x: Tensor, tokens: slice | Tensor) -> Tensor:
        """Returns x [n, d_model], of the numbers that the head computes in, times weights, [n, t].

        Args:
            x: on the device of the head.
            tokens: ids, a slice or int64 [t].
        """
        weight = self._weight[tokens]
        if self._wide:
            if len(self._shared) < len(weight):
                self._shared = torch.empty_like(weight, dtype=torch.float32)
            weight = self._shared[: len(weight)].copy_(weight)
        return x @ weight.T
