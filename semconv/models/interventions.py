"""Changes one SAE feature at one position of a text and takes what that does to the model's next-token predictions.

A feature is ablated by subtracting its activation times its decoder row from the stream, so that everything else in the
stream stays, the SAE's error too; it is steered by adding a stated dose along its decoder row. The *effect* is the
log-softmax of the next token after the change minus that before it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from semconv.models.branches import branched_streams, layout_of
from semconv.models.model_activations import stream_width, text_config
from semconv.models.readout import Readout
from semconv.models.splicing import spliced, why_not_spliced
from semconv.statistics.permutation import generator
from semconv.system.errors import InputError

if TYPE_CHECKING:
    from semconv.models.sae_fit import Reader

_LOGITS = 2**25
"""Logits of branches held at once, 128 MB in float32; effects take as much again twice over."""
_SCORES = {"cpu": 2**22, "cuda": 2**27}
"""Scores of one attention head times heads times rows of text held at once; 16 MB on a CPU, whose caches like it."""
_ROW_SCORES, _FEWEST_EDITS = 2**25, 64
"""Scores of the attention in one row of text with all its edits, 128 MB; edits of a row that are read at once all the
same."""
_PUSH = 8  # stream of the generator, beside those of `semconv.statistics`
_SAME, _SAME_HALF = 0.01, 0.25
"""How far the effect of a first change, taken both ways, may differ (norm of the difference over its norm), in float32
and in 16 bits, where the logits of the mini models differ by up to 3% of it; one that is wrong differs by more."""


@dataclass(frozen=True, eq=False)
class Edits:
    """Changes of a stream, each alone: `amount` times a direction is added at one position of one row of text.

    Attributes:
        row: int64 [n], row of the text.
        position: int64 [n], position in the row.
        direction: int64 [n], row of the directions.
        amount: float32 [n]; of an ablation it is minus the activation.

    Raises:
        InputError: tensors of different length.
    """

    row: Tensor
    position: Tensor
    direction: Tensor
    amount: Tensor

    def __post_init__(self) -> None:
        lengths = [len(part) for part in (self.row, self.position, self.direction, self.amount)]
        if len(set(lengths)) != 1:
            raise InputError(f"the four parts of edits must be of one length, got {lengths}")

    def __len__(self) -> int:
        return len(self.row)

    def take(self, which: Tensor) -> Edits:
        """Returns some of them, int64 [m] or bool [n], in that order."""
        return Edits(self.row[which], self.position[which], self.direction[which], self.amount[which])


@dataclass(frozen=True, eq=False)
class Effects:
    """What edits do to the prediction of the next token.

    Attributes:
        edit: int64 [m], numbers of the edits.
        change: float32 [m, 1 + n_next, V], log-softmax after minus before, at the position and those that follow it.
        kl: float32 [m, 1 + n_next], Kullback-Leibler divergence, in nats, of the prediction after from that before.
    """

    edit: Tensor
    change: Tensor
    kl: Tensor


@dataclass(frozen=True, eq=False)
class EditedStreams:
    """What a text and edits of it leave after the last block.

    Attributes:
        after: [n, 1 + n_next, d_model], of every edit, at its position and those that follow it.
        before: [m, d_model], of the text, at each of these positions once.
        base: int64 [n, 1 + n_next], which of `before` each of `after` stands at.
    """

    after: Tensor
    before: Tensor
    base: Tensor


class Interventions:
    """Takes the effects of changes along some directions of the stream at one hook of a model.

    Every text is read once, whatever the number of changes (`semconv.models.branches`). Before it is used, the effect
    of one change is compared with that of a full forward pass, so that a model whose blocks work in a way that is not
    known here is refused. In bfloat16 a logit is rounded to a 256th of itself, which is more than a weak feature
    changes: take float32 where there is room for it.

    Args:
        model: a causal language model as `load_model` gives it, in evaluation mode, all of it on one device.
        hook: name of the stream that is changed, such as that an SAE stands for.
        directions: float [n, width of the stream], such as the decoder rows of an SAE (`directions_of`).
        n_next: of how many following positions the effect is taken too.

    Raises:
        InputError: the model does not have the hook or a head for the next token; its stream cannot be replaced there
            (`why_not_spliced`), or directions have another width; the model reads in both directions or has a state
            instead of keys and values, so that a change at one position cannot be told apart from the others.
    """

    def __init__(self, model: nn.Module, hook: str, directions: Tensor, n_next: int = 0) -> None:
        self.model, self.hook, self.n_next = model, hook, n_next
        self.readout = Readout(model)
        if reason := why_not_spliced(model, hook):
            raise InputError(f"no feature can be changed at {hook}: {reason}")
        self.device = next(model.parameters()).device
        width = stream_width(model, hook)
        if directions.dim() != 2 or directions.shape[1] != width:
            raise InputError(f"directions must be [n, {width}], the width of {hook}, got {list(directions.shape)}")
        self.directions = directions.to(self.device).float()
        self._check(width)

    @torch.inference_mode()
    def _check(self, width: int) -> None:
        """Raises InputError unless one change has the effect here that it has in a full forward pass."""
        kind, size = text_config(self.model).model_type, int(text_config(self.model).vocab_size)
        ids = (torch.arange(3, 11) % size)[None].to(self.device)
        drawn = torch.from_numpy(generator(0, width, _PUSH).standard_normal((1, width)).astype("float32"))
        edit = Edits(torch.tensor([0]), torch.tensor([4]), torch.tensor([0]), torch.tensor([1.0]))
        held = list[Tensor]()

        def seen(stream: Tensor) -> Tensor:
            held.append(stream)
            return stream

        before = _whole_logits(self.model, self.hook, ids, seen)
        push = drawn.to(self.device) * held[0][0, 4].float().norm() / drawn.norm()  # as large as what it is added to
        found = self.along(push, n_next=1).effects(ids, edit).change
        after = _whole_logits(self.model, self.hook, ids, _pushed(4, push[0]))
        expected = (after.log_softmax(dim=-1) - before.log_softmax(dim=-1))[:, 4:6]
        most = _SAME if self.readout.dtype == torch.float32 else _SAME_HALF
        if not bool((found - expected).norm() <= most * expected.norm() + 1e-5):
            raise InputError(
                f"a model of type {kind!r} does not read a position by the keys and values of those before it alone, "
                "so no feature can be changed at one position of it"
            )

    def along(self, directions: Tensor, n_next: int | None = None) -> Interventions:
        """Returns the same for other directions [n, width] of the stream, without comparing with a full pass again."""
        other = copy.copy(self)
        other.directions = directions.to(self.device).float()
        other.n_next = self.n_next if n_next is None else n_next
        return other

    def per_pass(self) -> int:
        """Returns of how many edits effects should be taken at once, so that their logits stay within a bound."""
        return max(1, _LOGITS // ((1 + self.n_next) * self.readout.vocab_size))

    def effects(self, ids: Tensor, edits: Edits) -> Effects:
        """Returns the effect of every edit, of all of them at once (`read`, then `predicted`)."""
        return self.predicted(self.read(ids, edits))

    def per_row(self, length: int) -> int:
        """Returns with how many edits a row of text should be read at once, so that the scores stay within a bound.

        Args:
            length: of the row.
        """
        return max(_FEWEST_EDITS, (int((_ROW_SCORES / self._heads) ** 0.5) - length) // (1 + self.n_next))

    @torch.inference_mode()
    def read(self, ids: Tensor, edits: Edits) -> EditedStreams:
        """Reads every row of text that is edited once, and returns what it and the edits leave after the last block.

        Args:
            ids: integer token ids [B, T], on any device; rows in which nothing is edited are not read.
            edits: at least one; those of one row next to each other or not.

        Raises:
            InputError: no edit, or one outside the text, its following positions included, or of no direction.
        """
        self._check_edits(ids, edits)
        order = torch.argsort(edits.row, stable=True)
        rows, counts = torch.unique_consecutive(edits.row[order], return_counts=True)
        ends, cuts = int(edits.position.max()) + self.n_next + 1, counts.cumsum(0) - counts
        streams, bases, which = list[Tensor](), list[Tensor](), list[Tensor]()
        n_bases, at_once = 0, self._rows_at_once(ends + int(counts.max()) * (1 + self.n_next))
        for group in torch.arange(len(rows)).split(at_once):
            first, last = int(cuts[group[0]]), int(cuts[group[-1]] + counts[group[-1]])
            after, before, base = self._streams(ids[rows[group], :ends], edits.take(order[first:last]), counts[group])
            streams.append(after)
            bases.append(before)
            which.append(base + n_bases)
            n_bases += len(before)
        after, base = torch.cat(streams), torch.cat(which)
        back, shape = torch.argsort(order).to(self.device), (len(edits), 1 + self.n_next)
        return EditedStreams(after.reshape(*shape, -1)[back], torch.cat(bases), base.reshape(shape)[back])

    @torch.inference_mode()
    def predicted(self, streams: EditedStreams, which: Tensor | None = None) -> Effects:
        """Returns the effects of edits of which a text was read, all at once.

        Args:
            streams: as `read` returns them.
            which: int64 [m], some of the edits, so that their logits stay within a bound (`per_pass`); all by default.
        """
        edit = torch.arange(len(streams.after)) if which is None else which
        after, base = (part[edit.to(self.device)] for part in (streams.after, streams.base))
        needed, base = torch.unique(base, return_inverse=True)
        shape = base.shape
        n, base = base.numel(), base.flatten()
        every = torch.cat([after.flatten(0, 1), streams.before[needed]])  # the weights of the head are read once
        of_both = self._log_probabilities(every)
        change, before = of_both[:n], of_both[n:]
        change -= before[base]
        kl = -torch.einsum("nv,nv->n", before.exp()[base], change).clamp(max=0)
        return Effects(edit, change.reshape(*shape, -1), kl.reshape(shape))

    def _rows_at_once(self, length: int) -> int:
        """Returns how many rows of text are read together, so that the scores of their attention stay within a bound.

        Args:
            length: positions of the text and rows of branches.
        """
        return max(1, _SCORES.get(self.device.type, _SCORES["cuda"]) // (self._heads * length**2))

    @property
    def _heads(self) -> int:
        return int(getattr(text_config(self.model), "num_attention_heads", None) or 1)

    def _streams(self, ids: Tensor, edits: Edits, counts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the last stream after every change and before it.

        Args:
            ids: [B, T], the rows that edits are in.
            edits: those of the first row, of the second and so on.
            counts: how many edits each row has.

        Returns:
            After: [n (1 + n_next), d_model]. Before: [m, d_model], each position once. Which of the latter each of the
            former stands at: int64 [n (1 + n_next)].
        """
        steps, length = 1 + self.n_next, ids.shape[1]
        layout, real = layout_of(list(edits.position.split(counts.tolist())), self.n_next, self.device)
        edit = torch.zeros(*real.shape, self.directions.shape[1], device=self.device)
        places = real[:, ::steps].nonzero()
        amount = edits.amount.to(self.device).float()[:, None]
        edit[places[:, 0], places[:, 1] * steps] = amount * self.directions[edits.direction.to(self.device)]
        stream = branched_streams(self.model, self.hook, ids.to(self.device), layout, edit)
        row = torch.arange(len(ids), device=self.device)[:, None].expand_as(real)
        unique, which = torch.unique((layout.position + length * row)[real], return_inverse=True)
        return stream[:, length:][real], stream[:, :length].flatten(0, 1)[unique], which

    def _log_probabilities(self, stream: Tensor) -> Tensor:
        return torch.log_softmax(self.readout.logits(stream), dim=-1)

    def _check_edits(self, ids: Tensor, edits: Edits) -> None:
        if not len(edits):
            raise InputError("at least one edit is needed, got none")
        last = ids.shape[1] - self.n_next
        for name, value, end in (
            ("row", edits.row, ids.shape[0]),
            ("position", edits.position, last),
            ("direction", edits.direction, len(self.directions)),
        ):
            low, high = int(value.min()), int(value.max())
            if low < 0 or high >= end:
                raise InputError(f"the {name} of an edit must be in [0, {end}), got {low if low < 0 else high}")


@torch.inference_mode()
def naive_change(
    model: nn.Module, hook: str, directions: Tensor, ids: Tensor, edits: Edits, *, n_next: int = 0
) -> Tensor:
    """Returns what `Interventions.effects` returns as `change`, by two full forward passes for every edit.

    What the quick way is compared with, in tests and in `scripts/measure/function_speed.py`.
    """
    device, out = next(model.parameters()).device, list[Tensor]()
    for number in range(len(edits)):
        row, position = int(edits.row[number]), int(edits.position[number])
        there = ids[row : row + 1].to(device).long()
        push = float(edits.amount[number]) * directions[int(edits.direction[number])].to(device)
        places = slice(position, position + 1 + n_next)
        before = _whole_logits(model, hook, there)[0, places]
        after = _whole_logits(model, hook, there, _pushed(position, push))[0, places]
        out.append(after.log_softmax(dim=-1) - before.log_softmax(dim=-1))
    return torch.stack(out)


def _whole_logits(model: nn.Module, hook: str, ids: Tensor, change: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    """Returns the float32 logits [B, T, V] of a full forward pass, in which the stream at a hook may be changed."""
    wrapper: Any = model
    with nullcontext() if change is None else spliced(model, hook, ids.shape, change):
        return wrapper(input_ids=ids, use_cache=False).logits.float()


def _pushed(position: int, push: Tensor) -> Callable[[Tensor], Tensor]:
    """Returns what adds [width] to a stream [B, T, width] at one position."""

    def change(stream: Tensor) -> Tensor:
        stream = stream.clone()
        stream[:, position] += push.to(stream.dtype)
        return stream

    return change


def directions_of(reader: Reader, width: int) -> Tensor:
    """Returns what one unit of each feature of an SAE adds to the stream that it stands for, float32 [d_sae, width].

    Args:
        reader: an SAE with its place in a stream (`semconv.models.fitting.reader_of`).
        width: of the stream at `reader.hook_out`.

    Raises:
        InputError: the SAE scales its output anew at every token, so that no direction and no dose is a feature's own.
    """
    how = getattr(reader.sae.cfg, "normalize_activations", "none")
    if how not in ("none", "expected_average_only_in"):  # the latter scales while an SAE is trained alone
        raise InputError(f"the SAE scales its output anew at every token ({how}), so a unit of a feature has no size")
    rows = reader.sae.W_dec.detach().float()
    out = rows.new_zeros(len(rows), width)
    out[:, reader.first : reader.first + rows.shape[1]] = rows
    return out
