"""Where both features of a pair fire: the positions at which what they do is compared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray

from semconv.core.sparse import SparseActivations
from semconv.matching.influence import FeatureColumns
from semconv.statistics.permutation import generator
from semconv.system.errors import InputError

FEWEST = 16
"""Positions that a pair needs, each in another document, so that what its features do is not told from a few."""
_DRAWN = 9  # stream of the generator, beside those of `semconv.statistics`


@dataclass(frozen=True, eq=False)
class JointPositions:
    """Positions at which both features of each pair fire, at most one per document and kind.

    Attributes:
        pair: int64 [m], number of the pair, ascending.
        token: int64 [m], number of the position among those that count.
        strongest: bool [m], whether it is one of the strongest of its pair; else it was drawn uniformly. A position may
            come as both.
        documents: int64 [n_pairs], in how many documents both fire.
        reasons: per pair, why it has no positions, empty where it has.
    """

    pair: Int[ndarray, " m"]
    token: Int[ndarray, " m"]
    strongest: ndarray
    documents: Int[ndarray, " n_pairs"]
    reasons: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.pair)

    @property
    def n_without(self) -> int:
        """How many pairs have no positions."""
        return sum(bool(reason) for reason in self.reasons)

    def kind(self, strongest: bool) -> JointPositions:
        """Returns those of one kind."""
        kept = self.strongest == strongest
        return JointPositions(self.pair[kept], self.token[kept], self.strongest[kept], self.documents, self.reasons)


def at_same_token(at: JointPositions, ids: Int[ndarray, " n_tokens"]) -> tuple[JointPositions, Int[ndarray, " k"]]:
    """Returns positions with, for each, another of the same pair and kind at which the same token stands.

    They are in another document. What both features still do alike from one to the other is told by the token.

    Args:
        at: positions.
        ids: token of every position that counts.

    Returns:
        Those of `at` that have another, and the others, int64 [k]: the next of the same pair, kind and token, of the
        last the first.
    """
    key = np.stack([at.pair, at.strongest, ids[at.token]])
    order = np.lexsort((at.token, *key))
    new = np.append(True, (np.diff(key[:, order]) != 0).any(axis=0)) if len(at) else np.empty(0, dtype=bool)
    begins = np.flatnonzero(new)
    sizes = np.diff(np.append(begins, len(at)))
    group = np.cumsum(new) - 1
    step = (np.arange(len(at)) - begins[group] + 1) % sizes[group] + begins[group]
    other = np.empty(len(at), dtype=np.int64)
    other[order] = at.token[order[step]]
    kept = other != at.token
    found = JointPositions(at.pair[kept], at.token[kept], at.strongest[kept], at.documents, at.reasons)
    return found, other[kept]


def joint_positions(
    acts: tuple[SparseActivations, SparseActivations],
    pairs: tuple[Int[ndarray, " n_pairs"], Int[ndarray, " n_pairs"]],
    documents: Int[ndarray, " n_tokens"],
    held_out: Int[ndarray, " h"],
    *,
    n_uniform: int = FEWEST,
    n_strongest: int = 0,
    fewest: int = FEWEST,
    seed: int = 0,
) -> JointPositions:
    """Chooses positions for every pair: some drawn uniformly, and the strongest, kept apart.

    A uniform draw takes positions one after another from all at which both features fire and leaves out those of a
    document that it has already taken one of. The strongest are those of the largest product of both activations. A
    pair's draw depends on the seed and its two features alone.

    Args:
        acts: activations of both sides over the same tokens.
        pairs: features of A and of B, int64 [n_pairs] each.
        documents: integer [n_tokens], document of every position.
        held_out: int64 [h], the positions that may be taken, such as those of the half of the documents that pairs were
            not matched on (`semconv.statistics.resampling.halves`).
        n_uniform: drawn per pair, fewer where fewer documents have one.
        n_strongest: of the strongest per pair.
        fewest: documents that a pair needs; one with fewer has no positions, and a reason.
        seed: of the run.

    Raises:
        InputError: sides over different tokens, or documents of another number of positions.
    """
    a, b = acts
    if a.n_tokens != b.n_tokens or len(documents) != a.n_tokens:
        raise InputError(
            f"both sides and the documents must be of the same positions, got {a.n_tokens}, {b.n_tokens} and "
            f"{len(documents)}"
        )
    allowed = np.zeros(a.n_tokens, dtype=bool)
    allowed[held_out] = True
    of_a, of_b = FeatureColumns(a, pairs[0]), FeatureColumns(b, pairs[1])
    chosen: list[tuple[Int[ndarray, " k"], bool, int]] = []
    counts, reasons = np.zeros(len(pairs[0]), dtype=np.int64), [""] * len(pairs[0])
    for number, (one, other) in enumerate(zip(*(part.tolist() for part in pairs), strict=True)):
        position, strength = _joint(of_a.of(one), of_b.of(other))
        position, strength = position[allowed[position]], strength[allowed[position]]
        within = documents[position]
        counts[number] = len(np.unique(within))
        if counts[number] < fewest:
            reasons[number] = f"both features fire in {counts[number]} held-out documents, {fewest} are needed"
            continue
        drawn = generator(seed, one * b.n_features + other, _DRAWN).permutation(len(position))
        by_strength = np.lexsort((position, -strength))
        for order, n, strongest in ((drawn, n_uniform, False), (by_strength, n_strongest, True)):
            first = np.sort(np.unique(within[order], return_index=True)[1])[:n]
            chosen.append((np.sort(position[order[first]]), strongest, number))
    return _joined(chosen, counts, tuple(reasons))


def _joined(
    chosen: list[tuple[Int[ndarray, " k"], bool, int]], counts: Int[ndarray, " n_pairs"], reasons: tuple[str, ...]
) -> JointPositions:
    none = np.empty(0, dtype=np.int64)
    pair = [none, *(np.full(len(token), number) for token, _, number in chosen)]
    kinds = [none.astype(bool), *(np.full(len(token), strongest) for token, strongest, _ in chosen)]
    token = [none, *(token for token, _, _ in chosen)]
    return JointPositions(np.concatenate(pair), np.concatenate(token), np.concatenate(kinds), counts, reasons)


def _joint(
    a: tuple[Int[ndarray, " k"], Int[ndarray, " k"]], b: tuple[Int[ndarray, " l"], Int[ndarray, " l"]]
) -> tuple[Int[ndarray, " j"], Float[ndarray, " j"]]:
    """Returns the positions, ascending, that are in both, and the product of their codes."""
    position, in_a, in_b = np.intersect1d(a[0], b[0], assume_unique=True, return_indices=True)
    return position.astype(np.int64), a[1][in_a].astype(np.float64) * b[1][in_b]


def activations_at(
    acts: SparseActivations, tokens: Int[ndarray, " m"], features: Int[ndarray, " m"]
) -> Float[ndarray, " m"]:
    """Returns the activation of a feature at a position, for m of both, float32, 0 where it does not fire."""
    out = np.zeros(len(tokens), dtype=np.float32)
    if not len(tokens):
        return out
    rows = acts.tokens(torch.from_numpy(tokens).to(acts.device)).to("cpu")
    hit = rows.indices.long() == torch.from_numpy(features)[rows.token_of_entry()]
    out[rows.token_of_entry()[hit].numpy()] = rows.values[hit].float().numpy()
    return out


def others_at(
    acts: SparseActivations,
    tokens: Int[ndarray, " m"],
    without: Int[ndarray, "m w"],
    n: int,
    seed: int = 0,
) -> tuple[Int[ndarray, " k"], Int[ndarray, " k"]]:
    """Draws other features that fire at the same positions, without putting back.

    Args:
        acts: of one side.
        tokens: int64 [m] positions.
        without: int64 [m, w], features that are not drawn at a position; -1 stands for none.
        n: drawn at each, fewer where fewer fire.
        seed: of the run; a draw depends on it, the position and the first of `without` alone.

    Returns:
        The place of each drawn feature in `tokens`, ascending, and the feature, int64 [k] both.
    """
    places, found = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    for place, token in enumerate(tokens.tolist()):
        first, end = int(acts.indptr[token]), int(acts.indptr[token + 1])
        active = acts.indices[first:end].cpu().numpy().astype(np.int64)
        active = active[~np.isin(active, without[place])]
        key = token * acts.n_features + max(int(without[place, 0]), 0)
        drawn = active[generator(seed, key, _DRAWN + 1).permutation(len(active))[:n]]
        places.append(np.full(len(drawn), place))
        found.append(drawn)
    return np.concatenate(places), np.concatenate(found)
