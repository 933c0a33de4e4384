"""Observes one layer pair: its matches, feature pairs, scores, and every null and resample of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from semconv.core.correlate import BestMatches
from semconv.matching.filters import FeaturePairs
from semconv.matching.influence import FeatureColumns, influences
from semconv.results.schema import SplitHalf
from semconv.statistics.resampling import bootstrap_positions, halves
from semconv.statistics.spread import pair_halves
from semconv.statistics.stopping import stopping_of
from semconv.statistics.token_swaps import TokenSwaps
from semconv.study.facts import NoFacts
from semconv.study.nulls import (
    PAIRING_NULLS,
    MatchedAgain,
    Pairs,
    pairing_nulls,
    ranked_pairs,
    rematch,
    score_beside_nulls,
    score_strongest,
    swapped,
)
from semconv.study.observations import PairFacts, PairObservation, RematchChunk, StrongestScores, SwappedChunk
from semconv.study.settings import StudySettings
from semconv.study.sides import Prepared, Side, best_of, match_sides, pair_correlations, scores_of
from semconv.study.spread_observations import PairHalves, Resamples, ScoredFacts, ScoredObservation
from semconv.suite.config import MatchConfig
from semconv.system.digests import sha256_of
from semconv.system.shape import number

NOISE_LIMIT = 1e-3
"""Features whose quantisation noise is above this share of their rms are counted in the results."""


def observe_pair(settings: StudySettings, a: Side, b: Side) -> PairObservation:
    """Matches two sides, keeps the feature pairs that pass every filter and scores them beside the pairing nulls."""
    config = settings.match
    matches = best_of(a, b, config)
    at = halves(settings.starts, a.acts.n_tokens, settings.null.seed)
    pairs = _feature_pairs(a, b, config, at, matches)
    null, counts_b = settings.null, b.active_counts()[pairs.b]

    def draw(prepared: Prepared) -> list[ndarray]:
        rule = stopping_of(null, prepared.measure.name)
        drawn = pairing_nulls(prepared, counts_b, rule, null.seed, null.n_strata)
        return [drawn[name] for name in PAIRING_NULLS]

    shape = len(PAIRING_NULLS), null.most_of([measure.name for measure in settings.measures])
    scored = score_beside_nulls(settings.measures, (a, b), pairs, config.min_pairs, draw, shape)
    nothing = np.zeros(0, dtype=np.int64)
    ranked = ranked_pairs(matches, a, b, config) if null.matched_again else (nothing, nothing)
    facts = PairFacts(
        filters=pairs.counts,
        undefined_a=int((matches.a_to_b.index[:, 0] < 0).sum()),
        undefined_b=int((matches.b_to_a.index[:, 0] < 0).sum()),
        noisy_features_a=int((matches.quantization_noise_a > NOISE_LIMIT).sum()),
        noisy_features_b=int((matches.quantization_noise_b > NOISE_LIMIT).sum()),
        matches_sha256=sha256_of(*(part for best in (matches.a_to_b, matches.b_to_a) for part in (best.index, best.r))),
        split_half=_split_half(a, b, at, config),
        saturated=scored.saturated,
        reasons=scored.reasons,
    )
    columns = FeatureColumns(a.acts, pairs.a), FeatureColumns(b.acts, pairs.b)
    rests_on = influences(*columns, pairs.a, pairs.b, settings.documents(a.n_tokens), settings.tokens)
    return PairObservation(facts, pairs.a, pairs.b, pairs.r, rests_on, scored.scores, scored.draws, *ranked)


def _feature_pairs(
    a: Side, b: Side, config: MatchConfig, at: tuple[Tensor, Tensor], matches: BestMatches | None = None
) -> FeaturePairs:
    """Returns the feature pairs of two sides; `matches` where they are known, `at` the two halves of the documents."""
    return _matched_on_one_half(a, b, config, at) if config.separate_halves else match_sides(a, b, config, matches)


def _matched_on_one_half(a: Side, b: Side, config: MatchConfig, at: tuple[Tensor, Tensor]) -> FeaturePairs:
    """Matches on the first half of the documents; r, and whether it is above min_r, comes from the second."""
    first, second = ((a.at(p), b.at(p)) for p in at)
    pairs = match_sides(*first, config)
    r = pair_correlations(*second, pairs.a, pairs.b)
    kept = r > config.min_r  # NaN, where a feature is silent there, is not
    step = f"r > {config.min_r:g} on the other half"
    return pairs.filtered(kept, r, step)


def _split_half(a: Side, b: Side, at: tuple[Tensor, Tensor], config: MatchConfig) -> SplitHalf:
    """How far two halves of the documents agree on the best A feature of every B feature, and on its r."""
    by = replace(config, strategy="best")
    one, other = (best_of(a.at(p), b.at(p), by).b_to_a for p in at)
    both = (one.index[:, 0] >= 0) & (other.index[:, 0] >= 0)
    same = both & (one.index[:, 0] == other.index[:, 0])
    r = torch.stack([one.r[same, 0], other.r[same, 0]])
    reliability = float(torch.corrcoef(r)[0, 1]) if int(same.sum()) > 2 else math.nan
    return SplitHalf(
        features=int(both.sum()),
        same_partner=number(int(same.sum()) / int(both.sum())) if bool(both.any()) else None,
        r_reliability=number(reliability),
    )


def observe_scores(settings: StudySettings, a: Side, b: Side) -> ScoredObservation:
    """Matches and scores two sides as `observe_pair`, beside no null."""
    at = halves(settings.starts, a.acts.n_tokens, settings.null.seed)
    pairs = _feature_pairs(a, b, settings.match, at)
    scores: ndarray = np.full(len(settings.measures), math.nan)
    if len(pairs) >= settings.match.min_pairs:
        scores = scores_of(settings.measures, a, b, pairs.a, pairs.b)
    return ScoredObservation(ScoredFacts(pairs=len(pairs)), scores)


def score_halves(settings: StudySettings, a: Side, b: Side, pairs: Pairs, numbers: range) -> PairHalves:
    """Scores some random halves of the feature pairs."""
    of_a, of_b = pairs
    drawn = pair_halves(len(of_a), numbers, settings.null.seed)
    rows = [scores_of(settings.measures, a, b, of_a[half], of_b[half]) for half in drawn]
    return PairHalves(NoFacts(), np.stack(rows))


def rematch_chunk(settings: StudySettings, a: Side, b: Side, numbers: range, most: int) -> RematchChunk:
    """Matches two sides again under some shifts of the text, and keeps the `most` strongest pairs of each."""
    again = rematch(a, b, settings.match, settings.starts, settings.null.seed, numbers)
    return RematchChunk(NoFacts(), again.passed, *_joined(again, most), again.best_r)


def swapped_chunk(
    settings: StudySettings, swaps: TokenSwaps, a: Side, b: Side, numbers: range, most: int
) -> SwappedChunk:
    """The same where positions are exchanged."""
    draws = swaps.draws(settings.null.seed, numbers)
    again = swapped(a, b, settings.match, draws)
    moved = (draws != np.arange(draws.shape[1])).sum(axis=1, dtype=np.int64)
    return SwappedChunk(NoFacts(), again.passed, *_joined(again, most), again.best_r, moved)


def _joined(again: MatchedAgain, most: int) -> tuple[ndarray, ndarray, ndarray]:
    """Returns where the `most` strongest pairs of every draw end, int64 [draws + 1], and their A and B features."""
    ranked = [(of_a[:most], of_b[:most]) for of_a, of_b in again.ranked]
    ends = np.cumsum([0, *(len(pairs[0]) for pairs in ranked)])
    return ends, np.concatenate([a for a, _ in ranked]), np.concatenate([b for _, b in ranked])


def strongest_scores(settings: StudySettings, a: Side, b: Side, ranked: Sequence[Pairs], n: int) -> StrongestScores:
    """Scores the n strongest pairs of each ranking."""
    rows = [score_strongest(settings.measures, a, b, pairs, n) for pairs in ranked]
    return StrongestScores(NoFacts(), np.stack(rows))


def resamples(settings: StudySettings, a: Side, b: Side, numbers: range) -> Resamples:
    """Draws documents with replacement, matches two sides again and scores them, for some numbers of the draw."""
    counts = np.zeros(len(numbers), dtype=np.int64)
    scores: ndarray = np.full((len(numbers), len(settings.measures)), math.nan)
    for i, resample in enumerate(numbers):
        drawn = bootstrap_positions(settings.starts, a.n_tokens, settings.null.seed, resample)
        of_a, of_b = a.at(drawn), b.at(drawn)
        pairs = match_sides(of_a, of_b, settings.match)
        del of_a, of_b  # scores are of decoder rows, and need no copy of the activations
        counts[i] = len(pairs)
        if len(pairs) >= settings.match.min_pairs:
            scores[i] = scores_of(settings.measures, a, b, pairs.a, pairs.b)
    return Resamples(NoFacts(), counts, scores)
