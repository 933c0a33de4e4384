"""Which places of the text show what the two features of a pair do: strong and weak ones, and where only one fires."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from semconv.matching.influence import FeatureColumns
from semconv.statistics.permutation import generator

STRONGEST, DRAWN, ONLY_A, ONLY_B = range(4)
BANDS: tuple[str, ...] = ("strongest", "drawn", "only A", "only B")
"""Kinds of examples, by number."""
MOST_OF_BAND: tuple[int, ...] = (3, 3, 1, 1)
"""Examples of a pair, of each kind at most."""
BEFORE, AFTER = 10, 6
"""Places around an example that are shown with it."""
WIDTH = BEFORE + 1 + AFTER
LEVELS = 35
"""Steps in which an activation is kept, as a share of the highest of its feature; 0 is none, and nothing else is 0."""
_EXAMPLES = 13  # stream of the generator, beside those of `joint_positions` and of `semconv.statistics`


@dataclass(frozen=True, eq=False)
class Examples:
    """Examples of some pairs, in the order of the pairs, those of one kind together.

    Attributes:
        pair: int64 [m], number of the pair, ascending.
        band: int8 [m], which of `BANDS`.
        place: int64 [m], where in what is compared (tokens, or spans) the example is.
        levels_a: uint8 [m, WIDTH], the activation of A's feature from BEFORE places before to AFTER behind, in `LEVELS`
            steps of its highest, rounded up; 0 also beyond the run of places that the example stands in.
        levels_b: uint8 [m, WIDTH], of B's feature.
    """

    pair: Int[ndarray, " m"]
    band: Int[ndarray, " m"]
    place: Int[ndarray, " m"]
    levels_a: Int[ndarray, "m WIDTH"]
    levels_b: Int[ndarray, "m WIDTH"]


@dataclass(frozen=True, eq=False)
class Firing:
    """How often the features of some pairs are active, int64 [n] each: A's, B's, and both at one place."""

    a: Int[ndarray, " n"]
    b: Int[ndarray, " n"]
    both: Int[ndarray, " n"]


Pairs = tuple[Int[ndarray, " n"], Int[ndarray, " n"]]
Columns = tuple[FeatureColumns, FeatureColumns]
_Active = tuple[Int[ndarray, " k"], Float[ndarray, " k"]]  # places, ascending, and shares of the highest activation


def firing_of(columns: Columns, pairs: Pairs) -> Firing:
    """Counts where the features of pairs are active.

    Args:
        columns: of the A features and of the B features, over the same places.
        pairs: A and B features, int64 [n] each.
    """
    found = [
        (len(at_a), len(at_b), len(np.intersect1d(at_a, at_b, assume_unique=True)))
        for (at_a, _), (at_b, _) in _active(columns, pairs)
    ]
    return Firing(*np.array(found, dtype=np.int64).reshape(-1, 3).T)


def chosen_pairs(r: Float[ndarray, " n"], most: int, seed: int) -> Int[ndarray, " k"]:
    """Returns which of some pairs get examples, int64 [k], ascending: all, or half by highest r and half drawn.

    Args:
        r: float64 [n] of the pairs.
        most: pairs that get examples.
        seed: of the run; what is drawn is drawn uniformly from the pairs that are not among those of highest r.
    """
    if len(r) <= most:
        return np.arange(len(r))
    order = np.argsort(-r, kind="stable")
    first, rest = order[: -(-most // 2)], order[-(-most // 2) :]
    return np.sort(np.append(first, generator(seed, 0, _EXAMPLES).permutation(rest)[: most // 2]))


def examples_of(
    columns: Columns,
    pairs: Pairs,
    documents: Int[ndarray, " n_places"],
    runs: Int[ndarray, " n_places"],
    seed: int,
) -> Examples:
    """Chooses the examples of every pair.

    Activations are taken as shares of the highest of their feature. `strongest` are the places of the largest sum of
    both shares; `drawn` are drawn uniformly from all other places where at least one of the two fires; `only A` is
    where A's share is largest among those where B is silent, and `only B` the same of B. All examples of a pair are
    from different documents, so that one text does not stand for all; fewer documents give fewer examples.

    Args:
        columns: of the A features and of the B features, over the same places.
        pairs: A and B features, int64 [n] each.
        documents: document of every place.
        runs: run of every place, ascending; text within a run has no gap.
        seed: of the run; a draw depends on it and the two features alone.
    """
    found: list[tuple[int, int, int]] = []
    levels_a, levels_b = list[ndarray](), list[ndarray]()
    for number, (a, b) in enumerate(_active(columns, pairs)):
        features = int(pairs[0][number]), int(pairs[1][number])
        for band, place in _chosen(a, b, documents, generator(seed, features[0] * 2**32 + features[1], _EXAMPLES)):
            found.append((number, band, place))
            levels_a.append(_levels(a, place, runs))
            levels_b.append(_levels(b, place, runs))
    pair, band, place = np.array(found, dtype=np.int64).reshape(-1, 3).T
    of_a, of_b = (np.array(levels, dtype=np.uint8).reshape(-1, WIDTH) for levels in (levels_a, levels_b))
    return Examples(pair, band.astype(np.int8), place, of_a, of_b)


def _active(columns: Columns, pairs: Pairs) -> Iterator[tuple[_Active, _Active]]:
    """Gives where the features of every pair are active, and how strongly."""
    for a, b in zip(*(part.tolist() for part in pairs), strict=True):
        (at_a, of_a), (at_b, of_b) = columns[0].of(a), columns[1].of(b)
        yield (at_a, of_a / max(of_a.max(initial=1), 1)), (at_b, of_b / max(of_b.max(initial=1), 1))


def _chosen(
    a: _Active, b: _Active, documents: Int[ndarray, " n_places"], rng: np.random.Generator
) -> Iterator[tuple[int, int]]:
    """Gives kind and place of the examples of one pair."""
    places = np.union1d(a[0], b[0])
    of_a, of_b = np.zeros(len(places)), np.zeros(len(places))
    of_a[np.searchsorted(places, a[0])] = a[1]
    of_b[np.searchsorted(places, b[0])] = b[1]
    within, left = documents[places], np.ones(len(places), dtype=bool)
    ranks = (of_a + of_b, rng.random(len(places)), np.where(of_b, 0, of_a), np.where(of_a, 0, of_b))
    for band in (STRONGEST, ONLY_A, ONLY_B, DRAWN):  # what is drawn is what is left
        for _ in range(MOST_OF_BAND[band]):
            at = int(np.argmax(np.where(left, ranks[band], 0))) if len(places) else 0  # the first of equals
            if not len(places) or not left[at] or not ranks[band][at]:
                break
            left &= within != within[at]
            yield band, int(places[at])


def _levels(active: _Active, place: int, runs: Int[ndarray, " n_places"]) -> Int[ndarray, " WIDTH"]:
    """Returns the levels of a feature around a place."""
    out = np.zeros(WIDTH, dtype=np.uint8)
    first, end = np.searchsorted(active[0], (place - BEFORE, place + AFTER + 1))
    at, share = active[0][first:end], active[1][first:end]
    here = runs[at] == runs[place]
    out[at[here] - place + BEFORE] = np.ceil(share[here] * LEVELS)
    return out
