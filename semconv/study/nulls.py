"""The null distributions of a layer pair: what scores the paired features would reach if the pairing meant nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from semconv.compare import Measure
from semconv.core import ops
from semconv.core.correlate import BestMatches, TopMatches
from semconv.matching.filters import FeaturePairs, match_features, needed_partners
from semconv.matching.influence import FeatureColumns, r_without_strongest
from semconv.statistics.permutation import frequency_strata, permutation_ids
from semconv.statistics.resampling import document_shift
from semconv.statistics.stopping import Stopping
from semconv.study.sides import PairedRows, Prepared, Side, best_of, scores_of
from semconv.suite.config import MatchConfig
from semconv.system.errors import InputError

PAIRING_NULLS = ("shuffle", "frequency")
UNDEFINED = "the score is undefined"
_BATCH = 32  # draws between two looks at whether to stop; what is drawn beyond the stop is dropped
Permutations = Callable[[int, int], Int[ndarray, "m n"]]
"""Gives, from a first number and how many, the permutations of these numbers, int64 [m, n]."""


def permuted_scores(prepared: Prepared, rule: Stopping, permutations: Permutations) -> Float[ndarray, " m"]:
    """Returns the scores of a measure under permuted pairings, in the order of their numbers, as many as a rule takes.

    Args:
        prepared: the pairs as the measure takes them.
        rule: how many are taken; which depends on draws and score alone, not on how many are drawn at once.
        permutations: of the pairs.
    """

    def scores(first: int, n: int) -> Float[ndarray, " m"]:
        return prepared.measure.null_scores(prepared.x, prepared.y, permutations(first, n))

    null = scores(0, rule.common)
    while (end := rule.ended(prepared.score, null)) > len(null):
        null = np.append(null, scores(len(null), min(_BATCH, rule.most - len(null))))
    return null[:end]


def pairing_nulls(
    prepared: Prepared, counts_b: Int[ndarray, " n"], rule: Stopping, seed: int, n_strata: int
) -> dict[str, Float[ndarray, " m"]]:
    """Returns the scores of a measure under permuted pairings of the same features.

    `shuffle` (published) permutes all pairs; `frequency` only pairs whose B features are active about equally often.

    Args:
        prepared: the pairs as the measure takes them.
        counts_b: on how many tokens the B feature of every pair is active.
        rule: how many permutations are taken of each.
        seed: key of the permutations.
        n_strata: strata of equal size by activation frequency.
    """
    n = len(counts_b)
    strata = {"shuffle": None, "frequency": frequency_strata(counts_b, n_strata)}

    def drawn(groups: Int[ndarray, " n"] | None) -> Float[ndarray, " m"]:
        return permuted_scores(prepared, rule, lambda first, m: permutation_ids(n, m, seed, first, groups))

    return {name: drawn(groups) for name, groups in strata.items()}


@dataclass(frozen=True, eq=False)
class Scored:
    """Feature pairs scored by some measures, beside the draws of some nulls.

    Attributes:
        scores: float64 [measures], NaN where there is none.
        draws: float64 [nulls, measures, m], likewise; rows of fewer draws than m end in NaN.
        saturated: by measure, whether its score is near its top whatever the pairing.
        reasons: by measure, why it has no score; empty where it has one.
    """

    scores: Float[ndarray, " measures"]
    draws: Float[ndarray, "nulls measures m"]
    saturated: tuple[bool, ...]
    reasons: tuple[str, ...]


def too_few(pairs: int, needed: int) -> str:
    """Returns why nothing is scored where too few feature pairs are left."""
    return f"{pairs} pairs, at least {needed} are needed"


def score_beside_nulls(
    measures: Sequence[Measure[Any]],
    sides: tuple[Side, Side],
    pairs: FeaturePairs,
    needed: int,
    draw: Callable[[Prepared], list[Float[ndarray, " m"]]],
    shape: tuple[int, int],
) -> Scored:
    """Scores feature pairs by every measure beside the draws of its nulls, or says why there is no score.

    Args:
        measures: to score by.
        sides: A and B.
        pairs: of their features.
        needed: pairs below which nothing is scored.
        draw: gives, for the rows of the pairs as a measure takes them, its scores under each null.
        shape: how many nulls, and how many draws of each at most.
    """
    scores, reasons = np.full(len(measures), math.nan), [""] * len(measures)
    saturated, draws = [False] * len(measures), np.full((shape[0], len(measures), shape[1]), math.nan)
    rows = PairedRows(measures, *sides, pairs.a, pairs.b)
    for i, measure in enumerate(measures):
        if len(pairs) < needed:
            reasons[i] = too_few(len(pairs), needed)
            continue
        try:
            prepared = rows.prepare(measure)
            drawn = draw(prepared)
        except InputError as error:
            reasons[i] = str(error)
            continue
        if not math.isfinite(prepared.score):
            reasons[i] = UNDEFINED
            continue
        scores[i], saturated[i] = prepared.score, prepared.saturated
        for row, scores_drawn in zip(draws[:, i], drawn, strict=True):
            row[: len(scores_drawn)] = scores_drawn
    return Scored(scores, draws, tuple(saturated), tuple(reasons))


Pairs = tuple[Int[ndarray, " n"], Int[ndarray, " n"]]
"""A and B features, the strongest pair first."""


def without_agreement(config: MatchConfig) -> MatchConfig:
    """Returns the same matching without the filters that ask for agreement: r, and a shared top token."""
    return replace(config, need_shared_token=False, min_r=-1.0, without_strongest=0)


def ranked_pairs(matches: BestMatches, a: Side, b: Side, config: MatchConfig) -> Pairs:
    """Pairs features without the filters that ask for agreement, however many there are; by falling r."""
    free = replace(without_agreement(config), strongest=0)
    pairs = match_features(matches, a.tokens, b.tokens, free, a.activity(free), b.activity(free))
    order = np.argsort(-pairs.r, kind="stable")
    return pairs.a[order], pairs.b[order]


def score_strongest(measures: Sequence[Measure[Any]], a: Side, b: Side, pairs: Pairs, n: int) -> ndarray:
    """Scores the n strongest pairs by every measure, float64 [measures], in ascending order of the B feature."""
    rows = np.argsort(pairs[1][:n], kind="stable")
    return scores_of(measures, a, b, pairs[0][:n][rows], pairs[1][:n][rows])


class MatchedAgain(NamedTuple):
    """Features matched again under some draws of a null.

    Attributes:
        passed: int64 [m], pairs that pass every filter.
        ranked: the ranked pairs of every draw.
        best_r: float64 [2, m], `mean_best_r` of every draw.
    """

    passed: Int[ndarray, " m"]
    ranked: list[Pairs]
    best_r: Float[ndarray, "sides m"]


def mean_best_r(matches: BestMatches) -> tuple[float, float]:
    """Returns the mean over the features of A of their highest r, and over those of B; NaN where none varies."""

    def mean(best: TopMatches) -> float:
        r = best.r[:, 0].numpy()
        varying = r[np.isfinite(r)]
        return float(varying.mean()) if len(varying) else math.nan

    return mean(matches.a_to_b), mean(matches.b_to_a)


def rematch(
    a: Side, b: Side, config: MatchConfig, starts: Int[ndarray, " D"], seed: int, numbers: Sequence[int]
) -> MatchedAgain:
    """Shifts the text of one model against the other's by whole documents and matches again.

    This breaks the shared text and keeps firing rates, documents and the search for the best partner. So it tests the
    whole procedure. The filters that ask for agreement leave next to nothing under it; how many pairs they leave is a
    statistic of its own, and the geometry is scored without them (`ranked_pairs`), on the same number of pairs under
    every shift as on the true text, because most measures depend on how many pairs there are.

    Args:
        a: one side.
        b: the other, over the same tokens.
        config: how features are matched.
        starts: first position of every document.
        seed: key of the shifts.
        numbers: which shifts of that key.
    """
    shifts, tokens = [document_shift(starts, seed, number) for number in numbers], np.arange(a.n_tokens)

    def partner(draw: int) -> Int[ndarray, " n"]:
        return (tokens + shifts[draw]) % a.n_tokens

    if config.within_tokens:
        draws = _moved(a, b, config, [partner(draw) for draw in range(len(shifts))])
    else:
        draws = _shifted(a, b, shifts, needed_partners(config, a.n_features, b.n_features))
    return _matched_again(a, b, config, draws, partner)


def shifted_best_r(
    a: Side, b: Side, starts: Int[ndarray, " D"], seed: int, numbers: Sequence[int]
) -> Float[ndarray, "sides m"]:
    """Returns `mean_best_r` under shifts of `rematch`, float64 [2, m]; arguments as there."""
    shifts = [document_shift(starts, seed, number) for number in numbers]
    return np.array([mean_best_r(matches) for matches in _shifted(a, b, shifts, 1)]).T


def _shifted(a: Side, b: Side, shifts: list[int], k: int) -> list[BestMatches]:
    return _of_draws(a, ops.best_matches_shifted(_csr(a), a.n_features, _csr(b), b.n_features, shifts, k))


def swapped(a: Side, b: Side, config: MatchConfig, draws: Int[ndarray, "m n"]) -> MatchedAgain:
    """Exchanges B's activations between positions of the same token in different documents and matches again.

    This is `same_token`: every feature keeps its tokens and how often it is active on each; what it owes to the context
    is another document's. So what is above the draws is what the two models share beyond the current token. Where the
    exchanged positions follow the same token too it is `same_bigram`, and what is above it is shared beyond two tokens.
    Filters and scores are as under `rematch`; features keep their top tokens and their numbers of documents.

    Args:
        a: one side.
        b: the other, over the same tokens.
        config: how features are matched.
        draws: exchanges of positions (`TokenSwaps.draws`), int32 [m, n].
    """
    if config.within_tokens:
        return _matched_again(a, b, config, _moved(a, b, config, list(draws)), lambda draw: draws[draw])
    k, moved = needed_partners(config, a.n_features, b.n_features), torch.from_numpy(draws).to(b.acts.device)
    found = ops.best_matches_permuted(_csr(a), a.n_features, _csr(b), b.n_features, moved, k)
    return _matched_again(a, b, config, _of_draws(a, found), lambda draw: draws[draw])


def _moved(a: Side, b: Side, config: MatchConfig, draws: list[Int[ndarray, " n"]]) -> list[BestMatches]:
    """Matches with the positions of B moved, one draw after the other; the means are those of A's tokens."""
    return [best_of(a, b.at(torch.from_numpy(draw).long()), config) for draw in draws]


def _csr(side: Side) -> tuple[Tensor, Tensor, Tensor]:
    return side.acts.indptr, side.acts.indices, side.acts.values


def _of_draws(a: Side, found: tuple[Tensor, Tensor, Tensor, Tensor]) -> list[BestMatches]:
    """Returns the matches under every draw from what the op returns for all of them."""
    nothing = found[0].new_zeros(0)  # a draw changes no feature's quantisation noise, and it is not read here
    return [
        BestMatches(TopMatches(a_index, a_r), TopMatches(b_index, b_r), a.n_tokens, nothing, nothing)
        for a_index, a_r, b_index, b_r in zip(*(t.cpu() for t in found), strict=True)
    ]


def _matched_again(
    a: Side,
    b: Side,
    config: MatchConfig,
    draws: list[BestMatches],
    partner: Callable[[int], Int[ndarray, " n"]],
) -> MatchedAgain:
    """Pairs the features under every draw.

    Args:
        a: one side.
        b: the other.
        config: how features are matched.
        draws: the matches under every draw.
        partner: of a draw, which token of B each token of A meets.
    """
    active = a.activity(config), b.activity(config)  # of the true text: no draw changes how often a feature is active
    agreeing = replace(config, without_strongest=0, strongest=0)
    pairs = [match_features(matches, a.tokens, b.tokens, agreeing, *active) for matches in draws]
    if config.without_strongest:  # the columns of all draws are made at once
        columns = (
            FeatureColumns(a.acts, np.concatenate([one.a for one in pairs])),
            FeatureColumns(b.acts, np.concatenate([one.b for one in pairs])),
        )
        for draw, one in enumerate(pairs):
            r = r_without_strongest(*columns, one.a, one.b, config.without_strongest, partner(draw))
            pairs[draw] = one.filtered(r > config.min_r, one.r, "r without the strongest positions")
    passed = [min(len(one), config.strongest or len(one)) for one in pairs]
    ranked = [ranked_pairs(matches, a, b, config) for matches in draws]
    return MatchedAgain(np.array(passed, dtype=np.int64), ranked, np.array([mean_best_r(one) for one in draws]).T)
