"""What the features of pairs do in both models at the same positions, from text to sums of effects."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from semconv.core.sparse import SparseActivations
from semconv.matching.joint_positions import JointPositions, activations_at, others_at
from semconv.models.interventions import EditedStreams, Edits, Interventions
from semconv.statistics.effects import OTHER, STUDIED, EffectRows, EffectSums
from semconv.statistics.permutation import generator
from semconv.system.errors import InputError
from semconv.text.shared_tokens import SharedTokens
from semconv.text.token_blocks import TokenBlocks

OTHERS = 6
"""Other features that fire at a position and are changed there too, of either model."""
_RANDOM = 11  # stream of the generator, beside those of `semconv.statistics` and `semconv.matching`
_ROWS = 1024
"""Changes of one model that a text is read with at once, fewer where a row of it is long. Their effects are taken
together, those of fewer where the vocabulary is large: at 4,096 tokens 16 MB each."""


@dataclass(frozen=True, eq=False)
class FunctionSide:
    """One SAE of one model with the text.

    Attributes:
        interventions: along the decoder rows of the SAE; effects are taken of the next token alone.
        acts: its activations at the positions that count.
        blocks: the text.
    """

    interventions: Interventions
    acts: SparseActivations
    blocks: TokenBlocks

    def __post_init__(self) -> None:
        if self.blocks.n_tokens != self.acts.n_tokens:
            raise InputError(f"the text has {self.blocks.n_tokens} positions that count, got {self.acts.n_tokens}")
        n = len(self.interventions.directions)
        if n != self.acts.n_features:
            raise InputError(f"a direction is needed for {self.acts.n_features} features, got {n}")

    def places(self) -> Int[ndarray, "n_tokens 2"]:
        """Returns the row of text and the position in it of every position that counts."""
        return self.blocks.mask.nonzero().numpy()


@dataclass(frozen=True, eq=False)
class _Plan:
    """The changes of one model at all items: int64 [R] each but `amount`, float32 [R]."""

    item: Int[ndarray, " R"]
    kind: Int[ndarray, " R"]
    direction: Int[ndarray, " R"]
    amount: Float[ndarray, " R"]

    def by_item(self) -> _Plan:
        order = np.argsort(self.item, kind="stable")
        return _Plan(self.item[order], self.kind[order], self.direction[order], self.amount[order])


def functional_effects(
    sides: tuple[FunctionSide, FunctionSide],
    pairs: tuple[Int[ndarray, " n"], Int[ndarray, " n"]],
    at: JointPositions,
    shared: SharedTokens,
    alternates: Int[ndarray, "n k"],
    *,
    n_others: int = OTHERS,
    random: bool = True,
    seed: int = 0,
    tokens_a: Int[ndarray, " m"] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> EffectSums:
    """Ablates both features of every pair where both fire, and keeps what `EffectSums` does.

    At every position A's feature is ablated in A and its partner in B. The partner's dose, the norm of what is taken
    from the stream, is also taken along the decoder row of every alternate and along a random direction (one per pair);
    in either model the dose of the studied feature is also taken along the decoder rows of `n_others` features that
    fire there. A context is read once per model, or once for so many changes in it.

    Args:
        sides: of A and of B, over the same positions.
        pairs: features of A and of B.
        at: positions of the pairs (`semconv.matching.joint_positions`); both kinds, or one of them.
        shared: tokens that both vocabularies have.
        alternates: int64 [n, k] features of B, -1 for none; kind i + 1 of the sums is column i.
        n_others: others per position.
        random: whether to add a random direction as kind k + 1, which is ranked with no hard negatives.
        seed: of the run.
        tokens_a: positions at which A's feature is ablated in place of those of `at`, such as others of the same token
            (`at_same_token`), which makes a null: what the token alone has both features do.
        progress: told the items that are done and all there are.

    Raises:
        InputError: sides over different positions, or no position.
    """
    a, b = sides
    _check(a, b, at)
    of_a, of_b = (side.interventions.along(side.interventions.directions, n_next=0) for side in sides)
    n_kinds = 1 + alternates.shape[1] + int(random)
    unranked = (n_kinds - 1,) if random else ()
    at_a = at if tokens_a is None else replace(at, token=tokens_a)
    plan_a = _planned(a, pairs[0], at_a, alternates[:, :0], (n_others, seed, False))
    plan_b = _planned(b, pairs[1], at, alternates, (n_others, seed, random))
    if random:
        of_b = of_b.along(torch.cat([of_b.directions, _random(of_b, pairs, b.acts.n_features, seed)]))
    sizes = of_a.readout.vocab_size, of_b.readout.vocab_size
    sums = EffectSums(torch.from_numpy(at.pair), len(alternates), sizes, (shared.a, shared.b), n_kinds)
    read_a, read_b = (a.blocks.ids, a.places()), (b.blocks.ids, b.places())
    done, most = 0, min(_ROWS, of_a.per_pass(), of_b.per_pass())
    at_once = min(_ROWS, *(one.per_row(side.blocks.ids.shape[1]) for one, side in ((of_a, a), (of_b, b))))
    changes = np.bincount(np.concatenate([plan_a.item, plan_b.item]), minlength=len(at))
    for items in pieces(at, read_b[1], changes, 2 * at_once):
        both = _read(of_a, plan_a, items, at_a, read_a), _read(of_b, plan_b, items, at, read_b)
        for part in _parts(changes[items], 2 * most):
            sums.add(torch.from_numpy(items[part]), *(one.effects(part) for one in both), unranked=unranked)
            done += len(part)
            progress(done, len(at))
    return sums


def _check(a: FunctionSide, b: FunctionSide, at: JointPositions) -> None:
    """Raises InputError for sides over different positions, or no position."""
    if a.acts.n_tokens != b.acts.n_tokens or not len(at):
        raise InputError(
            f"both sides must be of the same positions and some studied, got {a.acts.n_tokens} and {b.acts.n_tokens} "
            f"with {len(at)} studied"
        )


def _random(
    interventions: Interventions, pairs: tuple[Int[ndarray, " n"], Int[ndarray, " n"]], n_b: int, seed: int
) -> Tensor:
    """Returns one unit direction per pair, drawn by its features, float32 [n, width]."""
    keys = pairs[0] * n_b + pairs[1]
    width = interventions.directions.shape[1]
    drawn = np.stack([generator(seed, int(key), _RANDOM).standard_normal(width) for key in keys])
    unit = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return torch.from_numpy(unit.astype(np.float32)).to(interventions.device)


def _planned(
    side: FunctionSide,
    features: Int[ndarray, " n"],
    at: JointPositions,
    alternates: Int[ndarray, "n k"],
    how: tuple[int, int, bool],
) -> _Plan:
    """Returns all changes of one model: the studied features', others' and alternates', of the same dose."""
    n_others, seed, random = how
    norms = side.interventions.directions.norm(dim=1).cpu().numpy()
    feature, without = features[at.pair], alternates[at.pair]
    dose = activations_at(side.acts, at.token, feature) * norms[feature]
    item, other = others_at(side.acts, at.token, np.column_stack([feature, without]), n_others, seed)
    numbers = np.arange(len(at))
    parts = [(numbers, STUDIED, feature), (item, OTHER, other)]
    for column in range(alternates.shape[1]):
        there = without[:, column] >= 0
        parts.append((numbers[there], STUDIED + 1 + column, without[there, column]))
    if random:  # directions after those of the features
        parts.append((numbers, STUDIED + 1 + alternates.shape[1], side.acts.n_features + at.pair))
        norms = np.append(norms, np.ones(len(features), dtype=norms.dtype))
    every, kinds, directions = (
        np.concatenate([part[0] for part in parts]),
        np.concatenate([np.full(len(part[0]), part[1]) for part in parts]),
        np.concatenate([part[2] for part in parts]),
    )
    return _Plan(every, kinds, directions, (-dose[every] / norms[directions]).astype(np.float32)).by_item()


def pieces(
    at: JointPositions, places: Int[ndarray, "n_tokens 2"], changes: Int[ndarray, " m"], most: int
) -> Iterator[Int[ndarray, " P"]]:
    """Yields the items of each piece, of at most so many changes where items allow, and no row of text in two of them.

    A row with more changes than that is split. Rows with about as many changes, and about as long up to their last,
    come together, so that little is padded.

    Args:
        at: the items.
        places: row of text and position in it.
        changes: of every item, in both models.
        most: changes of a piece.
    """
    row, position = places[at.token].T
    last, total = np.zeros(int(row.max()) + 1, dtype=np.int64), np.bincount(row, weights=changes).astype(np.int64)
    np.maximum.at(last, row, position)
    order = np.lexsort((position, row, last[row], total[row]))
    piece, held = list[int](), 0
    begins = np.append(True, np.diff(row[order]) != 0)
    for place, item in enumerate(order.tolist()):
        whole = total[row[item]] if begins[place] else changes[item]
        if piece and held + (whole if whole <= most else changes[item]) > most:
            yield np.array(piece)
            piece, held = [], 0
        piece.append(item)
        held += int(changes[item])
    yield np.array(piece)


def _parts(changes: Int[ndarray, " P"], most: int) -> list[Int[ndarray, " p"]]:
    """Returns numbers of items that follow each other, of at most so many changes where items allow."""
    begins, held = [0], 0
    for number, more in enumerate(changes.tolist()):
        if held and held + more > most:
            begins.append(number)
            held = 0
        held += more
    return [np.arange(*part) for part in pairwise([*begins, len(changes)])]


@dataclass(frozen=True, eq=False)
class _Read:
    """What one model leaves after its last block, of a text and of all changes at some items.

    Attributes:
        interventions: of the model.
        streams: of every change.
        first: int64 [P + 1], the number of the first change of every item, and of all.
        kind: int64 [n], of every change.
    """

    interventions: Interventions
    streams: EditedStreams
    first: Int[ndarray, " P1"]
    kind: Int[ndarray, " n"]

    def effects(self, items: Int[ndarray, " p"]) -> EffectRows:
        """Returns the effects of the changes at items that follow each other, by number."""
        first, last = int(self.first[items[0]]), int(self.first[items[-1] + 1])
        found = self.interventions.predicted(self.streams, torch.arange(first, last))
        item = np.repeat(np.arange(len(items)), np.diff(self.first)[items])
        place, kind = torch.from_numpy(item), torch.from_numpy(self.kind[first:last])
        device = found.change.device
        return EffectRows(found.change[:, 0], found.kl[:, 0], place.to(device), kind.to(device), len(items))


def _read(
    interventions: Interventions,
    plan: _Plan,
    items: Int[ndarray, " P"],
    at: JointPositions,
    read: tuple[Tensor, Int[ndarray, "n_tokens 2"]],
) -> _Read:
    """Reads the rows of text of some items with all changes of one model there."""
    ids, places = read
    first, end = np.searchsorted(plan.item, items), np.searchsorted(plan.item, items, side="right")
    rows = np.concatenate([np.arange(f, e) for f, e in zip(first.tolist(), end.tolist(), strict=True)])
    row, position = places[at.token[items.repeat(end - first)]].T
    row, position, direction = (
        torch.from_numpy(np.ascontiguousarray(part)) for part in (row, position, plan.direction[rows])
    )
    edits = Edits(row, position, direction, torch.from_numpy(plan.amount[rows]))
    return _Read(interventions, interventions.read(ids, edits), np.append(0, np.cumsum(end - first)), plan.kind[rows])
