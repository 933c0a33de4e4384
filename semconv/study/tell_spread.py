"""How far scores would move with other documents, features or seeds: intervals, and ceilings as ranges."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from semconv.compare.registry import score_range
from semconv.results.schema import Interval, LayerPair, Reason, Score, SeedCeiling, SeedRange, Spread
from semconv.statistics.permutation import LEVEL
from semconv.statistics.spread import Component, half_width, of_documents, of_features, of_seeds, together
from semconv.study.observations import Observations
from semconv.study.spread_observations import ScoredObservation


def with_intervals(grid: Mapping[str, LayerPair], observations: Observations) -> dict[str, LayerPair]:
    """Returns the grid with an interval beside every score and number of pairs, and what it covers.

    It covers documents, features and seeds of the SAEs, as far as the suite has them; a source for which some draw has
    no score is left out. Another seed draws other features too, so that where both are given the interval is rather
    too wide than too narrow.
    """
    return {key: _with_intervals(pair, key, observations) for key, pair in grid.items()}


def _with_intervals(pair: LayerPair, key: str, observations: Observations) -> LayerPair:
    drawn, halves, seeds = observations.resamples.get(key), observations.halves.get(key), observations.seeds.get(key)
    measures = dict(pair.measures)
    for place, (name, found) in enumerate(pair.measures.items()):
        if isinstance(found, Reason):
            continue
        components = {
            "documents": of_documents(drawn.scores[:, place]) if drawn is not None else None,
            "features": of_features(halves[:, place], pair.pairs) if halves is not None else None,
            "seeds": of_seeds(seeds.scores[:, :, place]) if seeds is not None else None,
        }
        spread = _spread(components)
        measures[name] = replace(
            found,
            interval=interval(found.score, spread, LEVEL, score_range(name)),
            spread=spread,
            across_seeds=seed_range(seeds.scores[:, :, place].ravel()) if seeds is not None else None,
        )
    counts = {
        "documents": of_documents(drawn.counts.astype(np.float64)) if drawn is not None else None,
        "seeds": of_seeds(seeds.pairs.astype(np.float64)) if seeds is not None else None,
    }
    counted = interval(pair.pairs, _spread(counts), LEVEL, (0.0, math.inf))
    return replace(pair, measures=measures, pairs_interval=counted)


def _spread(components: Mapping[str, Component | None]) -> Spread | None:
    known = {name: component for name, component in components.items() if component is not None}
    if not known:
        return None
    total, dof = together(known.values())
    sds = {name: component.sd for name, component in known.items()}
    return Spread(**sds, total=total, dof=min(dof, _MOST_DOF))


_MOST_DOF = 1e9  # where nothing varies; JSON has no infinity


def interval(
    observed: float, spread: Spread | None, level: float, within: tuple[float, float] = (-math.inf, math.inf)
) -> Interval | None:
    """Returns the interval of a score at 1 - level, or None where nothing is known of its spread.

    None as well where it would leave the values `within` which the score must be: its shape is then not that of the
    sampling distribution.

    Observed plus and minus the standard deviation times Student's t (Efron & Tibshirani 1993, 12.2), not the
    percentiles of the draws: a document drawn twice repeats its text, which raises the best of many correlations, so
    that the draws lie beside the observed score and only their spread can be used.
    """
    if spread is None:
        return None
    half = half_width(spread.total, spread.dof, level)
    low, high = observed - half, observed + half
    return (low, high) if within[0] <= low and high <= within[1] else None


def best_interval(best: Score, n: int, measure: str) -> Interval | None:
    """Returns the interval of the best of n layer pairs: of a level at which those of all n hold at once (Bonferroni).

    The best was chosen for its score, so the usual interval would miss what it covers more often than it says.
    """
    return interval(best.score, best.spread, LEVEL / n, score_range(measure))


def seed_range(scores: Float[ndarray, " n"]) -> SeedRange | None:
    """Returns lowest, mean and highest of the scores that there are; None of none."""
    known = scores[np.isfinite(scores)]
    if not len(known):
        return None
    return SeedRange(n=len(known), lowest=float(known.min()), mean=float(known.mean()), highest=float(known.max()))


def seed_ceilings(names: Sequence[str], ceilings: Mapping[str, list[ScoredObservation]]) -> dict[str, SeedCeiling]:
    """Returns `MODEL/SAE` -> the range over its seeds.

    Args:
        names: of the measures, in order.
        ceilings: what was observed of every pair of SAEs of one model at one hook.
    """
    found: dict[str, SeedCeiling] = {}
    for side, pairs in ceilings.items():
        scores, counts = np.stack([one.scores for one in pairs]), [one.facts.pairs for one in pairs]
        ranges = {name: seed_range(scores[:, place]) for place, name in enumerate(names)}
        found[side] = SeedCeiling(pairs_lowest=min(counts), pairs_highest=max(counts), measures=ranges)
    return found
