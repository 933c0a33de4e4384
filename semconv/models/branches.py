"""One forward pass in which a text branches: the same position again and again, each time with another stream.

The rows of a branch are appended to the text as further positions, from the block on in which the stream is edited. A
row keeps the position that it stands for, by its mask and its rotary embedding, and reads the keys and values of the
text before its branch and those of its own branch. So the text is read once, and a branch costs its own rows in the
blocks from the edit on. Attention does not depend on the order of its keys, which is why rows may stand anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from semconv.models.model_activations import language_model, points, text_config, transformer_blocks
from semconv.models.readout import stopping_after_last_block
from semconv.suite.hooks import parse_hook
from semconv.system.errors import InputError, refusing


@dataclass(frozen=True, eq=False)
class Layout:
    """Where the rows of branches stand beside a text of T positions.

    Attributes:
        position: int64 [B, R], the position that each appended row stands for.
        branch: int64 [B, R], number of its branch; rows of one branch stand next to each other, by rising position.
        first: int64 [B, R], the first position of its branch.
    """

    position: Tensor
    branch: Tensor
    first: Tensor

    def mask(self, given: Tensor, n_rows: int) -> Tensor:
        """Returns the attention mask [B, h, T + R, T + R] of text and rows, from that of the text.

        Args:
            given: [1 or B, h, T, T], added to the scores or, of type bool, True where a key is read.
            n_rows: B.
        """
        of_text = given.expand(n_rows, -1, -1, -1)
        closed = False if given.dtype == torch.bool else torch.finfo(given.dtype).min
        n_heads, length, n_more = of_text.shape[1], of_text.shape[2], self.position.shape[1]
        out = given.new_full((n_rows, n_heads, length + n_more, length + n_more), closed)
        out[:, :, :length, :length] = of_text
        at = self.position[:, None, :, None]
        rows = of_text.gather(2, at.expand(-1, n_heads, -1, length))
        keys = torch.arange(length, device=given.device)
        own_part = (keys[None, None] >= self.first[:, :, None])[:, None]  # the text from where the branch begins
        out[:, :, length:, :length] = rows.masked_fill(own_part, closed)
        same = self.branch[:, :, None] == self.branch[:, None, :]
        earlier = self.position[:, None, :] <= self.position[:, :, None]
        between = rows.gather(3, self.position[:, None, None, :].expand(-1, n_heads, n_more, -1))
        out[:, :, length:, length:] = between.masked_fill(~(same & earlier)[:, None], closed)
        return out

    def per_position(self, given: Tensor, dim: int, n_rows: int) -> Tensor:
        """Returns what is given per position of the text with what it is at the appended rows after it.

        Args:
            given: T long in dimension `dim`; in the dimension before, if there is one, 1 or B long.
            dim: 0 or 1.
            n_rows: B.
        """
        if dim == 0:
            return torch.cat([given, given[self.position[0]]])
        every = given.expand(n_rows, *given.shape[1:])
        at = self.position.reshape(*self.position.shape, *[1] * (given.dim() - 2))
        return torch.cat([every, every.gather(1, at.expand(-1, -1, *given.shape[2:]))], dim=1)

    def extended(self, value: Any, length: int) -> Any:
        """Returns an argument of a block for text and rows; what has no positions comes back as it is."""
        if isinstance(value, tuple):
            return tuple(self.extended(part, length) for part in cast("tuple[Any, ...]", value))
        if not isinstance(value, Tensor):
            return value
        n_rows = len(self.position)
        if value.dim() == 4 and value.shape[-2:] == (length, length):
            return self.mask(value, n_rows)
        if value.dim() in (2, 3) and value.shape[1] == length and value.shape[0] in (1, n_rows):
            return self.per_position(value, 1, n_rows)
        if value.dim() == 1 and len(value) == length and n_rows == 1:
            return self.per_position(value, 0, n_rows)
        raise InputError(
            f"the blocks of this model take an argument of shape {list(value.shape)} whose positions are not known, so "
            "no feature can be changed at one position alone"
        )


def begin_block(hook: str) -> tuple[int, bool]:
    """Returns the block that branches begin in, and whether the stream is edited right at its input.

    What a block gives is what the next one takes, so that branches at a block's output need none of that block.
    """
    parsed = parse_hook(hook)
    if parsed.stream == "hook_resid_post":
        return parsed.layer + 1, True
    return parsed.layer, parsed.stream == "hook_resid_pre"


def _with_stream(args: tuple[Any, ...], kwargs: dict[str, Any], change: Callable[[Tensor], Tensor]) -> Any:
    if args:
        return (change(args[0]), *args[1:]), kwargs
    return args, {**kwargs, "hidden_states": change(kwargs["hidden_states"])}


@contextmanager
def _branching(model: nn.Module, hook: str, layout: Layout, length: int, edit: Tensor) -> Generator[None]:
    """Within it, a forward pass over a text grows the rows of `layout` in the block of the hook."""
    blocks = transformer_blocks(model)
    begin, at_input = begin_block(hook)
    n_rows = len(layout.position)

    def grown(stream: Tensor) -> Tensor:
        out = layout.per_position(stream, 1, n_rows)
        if at_input:
            out[:, length:] += edit.to(out.dtype)
        return out

    extended: dict[int, tuple[Any, Any]] = {}  # blocks share their masks and rotary embeddings

    def of_rows(value: Any) -> Any:
        if id(value) not in extended:
            extended[id(value)] = value, layout.extended(value, length)  # with the value, so that its id stays its own
        return extended[id(value)][1]

    def at_block(first: bool) -> Callable[..., Any]:
        def before(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            found = (
                (*args[:1], *(of_rows(value) for value in args[1:])),
                {name: value if name == "hidden_states" else of_rows(value) for name, value in kwargs.items()},
            )
            return _with_stream(*found, grown) if first else found

        return before

    def edited(stream: Tensor) -> Tensor:
        out = stream.reshape(n_rows, length + edit.shape[1], -1).clone()
        out[:, length:] += edit.to(out.dtype)
        return out.reshape(stream.shape)

    def before_module(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return _with_stream(args, kwargs, edited)

    def after_module(_module: nn.Module, _args: Any, output: Any) -> Any:
        return (edited(output[0]), *output[1:]) if isinstance(output, tuple) else edited(output)  # pyright: ignore

    with ExitStack() as handles:
        for number in range(begin, len(blocks)):
            made = blocks[number].register_forward_pre_hook(at_block(number == begin), with_kwargs=True)
            handles.callback(made.remove)
        if not at_input:
            point = points(model, [hook])[hook]
            if point.side == "input":
                made = point.module.register_forward_pre_hook(before_module, with_kwargs=True)
            else:
                made = point.module.register_forward_hook(after_module)
            handles.callback(made.remove)
        yield


@torch.inference_mode()
def branched_streams(model: nn.Module, hook: str, ids: Tensor, layout: Layout, edit: Tensor) -> Tensor:
    """Returns the stream after the last block, of a text and of the branches that grow out of it.

    Args:
        model: a causal language model with eager attention, in evaluation mode, on one device.
        hook: where the stream is edited; one for which `why_not_spliced` returns nothing.
        ids: integer [B, T] on the model's device.
        layout: the appended rows, on the model's device.
        edit: float [B, R, width], what is added to the stream at every appended row, on the model's device.

    Returns:
        [B, T + R, d_model].

    Raises:
        InputError: the blocks take arguments that are not known, or the model does not read text alone.
    """
    length = ids.shape[1]
    with (
        refusing(f"a model of type {text_config(model).model_type!r} cannot be read with branches"),
        stopping_after_last_block(model) as held,
        _branching(model, hook, layout, length, edit),
    ):
        language_model(model)(input_ids=ids.long(), use_cache=False)
    if not held:
        raise InputError("the last block of this model is never reached when it reads text")
    out = held[0]
    if begin_block(hook)[0] == len(transformer_blocks(model)):  # edited after the last block
        out = layout.per_position(out, 1, len(ids))
        out[:, length:] += edit.to(out.dtype)
    return out


def layout_of(branches: Sequence[Tensor], n_next: int, device: torch.device) -> tuple[Layout, Tensor]:
    """Returns the layout of branches of 1 + n_next positions each, and which of its rows are not padding.

    Args:
        branches: per row of text, int64 [n_b], the first position of each of its branches.
        n_next: further positions of every branch.
        device: of the result.

    Returns:
        The layout with R = (1 + n_next) times the most branches of any row, and bool [B, R]. Rows of padding stand for
        the first position, each a branch of its own.
    """
    steps, most = 1 + n_next, max(len(one) for one in branches)
    first = torch.zeros(len(branches), most, dtype=torch.int64)
    real = torch.zeros(len(branches), most, dtype=torch.bool)
    for row, one in enumerate(branches):
        first[row, : len(one)], real[row, : len(one)] = one, True
    first, real = first.repeat_interleave(steps, dim=1), real.repeat_interleave(steps, dim=1)
    step = torch.arange(steps).repeat(most)
    position = torch.where(real, first + step, torch.zeros_like(first))
    branch = torch.arange(most).repeat_interleave(steps).expand(len(branches), -1)
    return Layout(position.to(device), branch.to(device), first.to(device)), real.to(device)
