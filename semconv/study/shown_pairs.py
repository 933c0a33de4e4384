"""What is shown of a layer pair beside its scores: how pairs fire, whom else they match, text, and r by chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64, Int, Int8, Int32, Int64, UInt8
from numpy import ndarray

from semconv.core import ops
from semconv.core.correlate import BestMatches, TopMatches, best_matches
from semconv.matching.examples import Pairs, chosen_pairs, examples_of, firing_of
from semconv.matching.influence import FeatureColumns
from semconv.statistics.resampling import document_shift
from semconv.study.facts import NoFacts
from semconv.study.sides import Side

BINS = 200
"""Bins of the histograms of r, from -1 to 1."""


@dataclass(frozen=True, eq=False)
class ShownPairs:
    """What is shown of a layer pair: n pairs, m examples, F_a and F_b features.

    Attributes:
        facts: none.
        firing: int64 [3, n], at how many places A's feature of each pair is active, B's, and both.
        mutual: bool [n], whether each of the two is the other's best partner.
        next_a: int64 [n], the best other A feature of the pair's B feature, -1 where there is none.
        next_r_a: float64 [n], its r, NaN where there is none.
        next_b: int64 [n], the best other B feature of the pair's A feature.
        next_r_b: float64 [n], its r.
        pair: int64 [m], which pair an example is of (`semconv.matching.examples.Examples`).
        band: int8 [m], what it was chosen for.
        place: int64 [m], where it is.
        levels_a: uint8 [m, width], A's feature around it.
        levels_b: uint8 [m, width], B's.
        best_a: int32 [F_a], the best partner of every A feature, -1 where there is none.
        best_r_a: float32 [F_a], its r, NaN where there is none.
        best_b: int32 [F_b], of every B feature.
        best_r_b: float32 [F_b].
        histograms: int64 [2, 2, BINS], r of the best partners of A features and of B features, in the text and under
            one shift of it (`rematch`); of nothing where no shift is drawn.
        means: float64 [2, 2], their means, NaN of nothing.
    """

    facts: NoFacts
    firing: Int64[ndarray, "3 n"]
    mutual: Bool[ndarray, " n"]
    next_a: Int64[ndarray, " n"]
    next_r_a: Float64[ndarray, " n"]
    next_b: Int64[ndarray, " n"]
    next_r_b: Float64[ndarray, " n"]
    pair: Int64[ndarray, " m"]
    band: Int8[ndarray, " m"]
    place: Int64[ndarray, " m"]
    levels_a: UInt8[ndarray, "m width"]
    levels_b: UInt8[ndarray, "m width"]
    best_a: Int32[ndarray, " F_a"]
    best_r_a: Float32[ndarray, " F_a"]
    best_b: Int32[ndarray, " F_b"]
    best_r_b: Float32[ndarray, " F_b"]
    histograms: Int64[ndarray, "2 2 bins"]
    means: Float64[ndarray, "2 2"]


@dataclass(frozen=True, eq=False)
class Places:
    """The text as examples need it.

    Attributes:
        documents: int64 [n_places], document of every place that is compared.
        runs: int64 [n_places], run of every place, ascending.
        starts: int64 [D], first place of every document.
    """

    documents: Int[ndarray, " n_places"]
    runs: Int[ndarray, " n_places"]
    starts: Int[ndarray, " D"]


def shown_pairs(
    a: Side, b: Side, pairs: Pairs, r: Float[ndarray, " n"], places: Places, *, most: int, seed: int, shifted: bool
) -> ShownPairs:
    """Finds what is shown of the pairs of two sides.

    Args:
        a: one side.
        b: the other, over the same places.
        pairs: A and B features of the pairs, int64 [n] each.
        r: float64 [n].
        places: the text.
        most: pairs that get examples (`chosen_pairs`).
        seed: of the run.
        shifted: whether r under one shift of the text is wanted.
    """
    matches = best_matches(a.acts, b.acts, min(2, a.n_features, b.n_features)).to("cpu")
    columns = FeatureColumns(a.acts, pairs[0]), FeatureColumns(b.acts, pairs[1])
    firing, chosen = firing_of(columns, pairs), chosen_pairs(r, most, seed)
    examples = examples_of(columns, (pairs[0][chosen], pairs[1][chosen]), places.documents, places.runs, seed)
    best = matches.a_to_b, matches.b_to_a
    mutual = best[0].index[pairs[0], 0].numpy() == pairs[1]
    mutual &= best[1].index[pairs[1], 0].numpy() == pairs[0]
    next_a, next_r_a = _next(best[1], pairs[1], pairs[0])
    next_b, next_r_b = _next(best[0], pairs[0], pairs[1])
    drawn = [_shift_once(a, b, document_shift(places.starts, seed, 0))] if shifted else []
    histograms, means = np.zeros((2, 2, BINS), dtype=np.int64), np.full((2, 2), np.nan)
    for row, found in enumerate([matches, *drawn]):
        for column, top in enumerate((found.a_to_b, found.b_to_a)):
            known = top.r[:, 0].numpy()
            known = known[np.isfinite(known)]
            histograms[row, column] = np.histogram(known, BINS, (-1, 1))[0]
            means[row, column] = known.mean() if len(known) else np.nan
    return ShownPairs(
        facts=NoFacts(),
        firing=np.stack([firing.a, firing.b, firing.both]),
        mutual=mutual,
        next_a=next_a,
        next_r_a=next_r_a,
        next_b=next_b,
        next_r_b=next_r_b,
        pair=chosen[examples.pair],
        band=examples.band,
        place=examples.place,
        levels_a=examples.levels_a,
        levels_b=examples.levels_b,
        best_a=best[0].index[:, 0].int().numpy(),
        best_r_a=best[0].r[:, 0].float().numpy(),
        best_b=best[1].index[:, 0].int().numpy(),
        best_r_b=best[1].r[:, 0].float().numpy(),
        histograms=histograms,
        means=means,
    )


def _next(
    best: TopMatches, features: Int[ndarray, " n"], partners: Int[ndarray, " n"]
) -> tuple[Int[ndarray, " n"], Float[ndarray, " n"]]:
    """Returns the best partner of each feature that is not the one it is paired with, and its r."""
    index, r = best.index[features].numpy(), best.r[features].numpy()
    if index.shape[1] < 2:
        return np.full(len(features), -1), np.full(len(features), np.nan)
    place = (index[:, 0] == partners).astype(int)[:, None]
    return np.take_along_axis(index, place, 1)[:, 0], np.take_along_axis(r, place, 1)[:, 0]


def _shift_once(a: Side, b: Side, shift: int) -> BestMatches:
    """Returns the best partners where B's text is shifted against A's."""
    csr = [(side.acts.indptr, side.acts.indices, side.acts.values) for side in (a, b)]
    found = ops.best_matches_shifted(csr[0], a.n_features, csr[1], b.n_features, [shift], 1)
    a_index, a_r, b_index, b_r = (part[0].cpu() for part in found)
    nothing = torch.zeros(0)
    return BestMatches(TopMatches(a_index, a_r), TopMatches(b_index, b_r), a.n_tokens, nothing, nothing)
