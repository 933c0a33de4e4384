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
_DRAWN, _TURNS = 9, 14  # streams of the generator, beside those of `semconv.statistics`


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
    contexts: Int[ndarray, " n_tokens"] | None = None,
    n_uniform: int = FEWEST,
    n_strongest: int = 0,
    fewest: int = FEWEST,
    seed: int = 0,
) -> JointPositions:
    """Chooses positions for every pair: some drawn uniformly, and the strongest, kept apart.

    A uniform draw goes through the contexts in one random order, the same for all pairs of a run, and within a context
    through the positions at which both features fire in an order of the pair's own; it leaves out those of a document
    that it has taken one of. So every context in which both fire is as likely to come first, and few contexts serve
    many pairs: a coordinated sample (Brewer, Early and Joyce 1972). The strongest are those of the largest product of
    both activations. A draw depends on seed, contexts and the two features alone; of fewer positions it is part of it.

    Args:
        acts: activations of both sides over the same tokens.
        pairs: features of A and of B, int64 [n_pairs] each.
        documents: integer [n_tokens], document of every position.
        held_out: int64 [h], the positions that may be taken, such as those of the half of the documents that pairs were
            not matched on (`semconv.statistics.resampling.halves`).
        contexts: integer [n_tokens], at least 0, the row of text in which every position is read; None where each
            document is read alone.
        n_uniform: drawn per pair, fewer where fewer documents have one.
        n_strongest: of the strongest per pair.
        fewest: documents that a pair needs; one with fewer has no positions, and a reason.
        seed: of the run.

    Raises:
        InputError: sides over different tokens, or documents of another number of positions.
    """
    a, b = acts
    if not a.n_tokens == b.n_tokens == len(documents):
        found = f"{a.n_tokens}, {b.n_tokens} and {len(documents)}"
        raise InputError(f"both sides and the documents must be of the same positions, got {found}")
    allowed = np.isin(np.arange(a.n_tokens), held_out)
    turn = _turns(documents if contexts is None else contexts, seed)
    of_a, of_b = FeatureColumns(a, pairs[0]), FeatureColumns(b, pairs[1])
    chosen: list[tuple[Int[ndarray, " k"], bool, int]] = []
    counts, reasons = np.zeros(len(pairs[0]), dtype=np.int64), [""] * len(pairs[0])
    for number, (one, other) in enumerate(zip(*(part.tolist() for part in pairs), strict=True)):
        position, strength = _joint(of_a.of(one), of_b.of(other), allowed)
        within = documents[position]
        counts[number] = len(np.unique(within))
        if counts[number] < fewest:
            reasons[number] = f"both features fire in {counts[number]} held-out documents, {fewest} are needed"
            continue
        own = generator(seed, one * b.n_features + other, _DRAWN).permutation(len(position))
        drawn = own[np.argsort(turn[position[own]], kind="stable")]
        by_strength = np.lexsort((position, -strength))
        for order, n, strongest in ((drawn, n_uniform, False), (by_strength, n_strongest, True)):
            first = np.sort(np.unique(within[order], return_index=True)[1])[:n]
            chosen.append((np.sort(position[order[first]]), strongest, number))
    return _joined(chosen, counts, tuple(reasons))


def _turns(contexts: Int[ndarray, " n_tokens"], seed: int) -> Int[ndarray, " n_tokens"]:
    """Returns the place of every position's context in the one random order of all contexts."""
    n = int(contexts.max(initial=-1)) + 1
    return generator(seed, 0, _TURNS).permutation(n)[contexts]


def _joined(
    chosen: list[tuple[Int[ndarray, " k"], bool, int]], counts: Int[ndarray, " n_pairs"], reasons: tuple[str, ...]
) -> JointPositions:
    none = np.empty(0, dtype=np.int64)
    pair = [none, *(np.full(len(token), number) for token, _, number in chosen)]
    kinds = [none.astype(bool), *(np.full(len(token), strongest) for token, strongest, _ in chosen)]
    token = [none, *(token for token, _, _ in chosen)]
    return JointPositions(np.concatenate(pair), np.concatenate(token), np.concatenate(kinds), counts, reasons)


def _joint(
    a: tuple[Int[ndarray, " k"], Int[ndarray, " k"]], b: tuple[Int[ndarray, " l"], Int[ndarray, " l"]], allowed: ndarray
) -> tuple[Int[ndarray, " j"], Float[ndarray, " j"]]:
    """Returns the positions, ascending, that are in both and allowed, bool [n_tokens], and the product of codes."""
    position, in_a, in_b = np.intersect1d(a[0], b[0], assume_unique=True, return_indices=True)
    kept = allowed[position]
    return position[kept].astype(np.int64), (a[1][in_a].astype(np.float64) * b[1][in_b])[kept]


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
