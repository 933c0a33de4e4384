"""What the results say of rules of matching: how alike what their pairs do is, beside the suite's own rule."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from semconv.results.schema import ComparedRules, ComparedRulesOrReason, Reason, RuleAgreement, RuleBand
from semconv.statistics.clusters import clustered_error, difference_of_means
from semconv.study.function_observations import RulesObservation, best_negative
from semconv.study.matching_rules import RULES, own_rule
from semconv.suite.config import MatchConfig

BOUNDS = (-1.0, 0.1, 0.3, 0.5, 1.0)
"""Of the bands of r."""


def tell_rules(found: RulesObservation, match: MatchConfig, positions: int) -> ComparedRulesOrReason:
    """Returns what ablation says of the pairs of every rule; a reason where nothing was ablated.

    Args:
        found: what was observed.
        match: how the suite itself matches.
        positions: of each pair.
    """
    facts = found.facts
    if facts.reason is not None:
        return Reason(reason=facts.reason)
    own, places = own_rule(match), {rule: place for place, rule in enumerate(RULES)}

    def rule(name: str) -> RuleAgreement | Reason:
        if name in facts.reasons:
            return Reason(reason=facts.reasons[name])
        reference = None if name == own else found.by[places[own]]
        return _agreement(found, found.by[places[name]], facts.matched[name], reference)

    return ComparedRules(
        own=own,
        partners=facts.partners,
        drawn=facts.drawn,
        pairs=len(found.a),
        positions=positions,
        rules={name: rule(name) for name in RULES},
    )


def _agreement(
    found: RulesObservation, pairs: Bool[ndarray, " n"], matched: int, own: Bool[ndarray, " n"] | None
) -> RuleAgreement:
    value, token = found.residual[:, 0], found.token
    above, known = value - best_negative(found.residual), np.isfinite(value)
    mean, error = mean_and_error(value[pairs & known], token[pairs & known])
    beyond, beyond_error = mean_and_error(above[pairs & np.isfinite(above)], token[pairs & np.isfinite(above)])
    less = (None, None) if own is None else difference_of_means(value, token, pairs & known, own & known)
    bands = [_band(found, pairs, above, edge) for edge in pairwise(BOUNDS)]
    return RuleAgreement(
        matched=matched,
        drawn=int(pairs.sum()),
        pairs=int((pairs & known).sum()),
        agreement=mean,
        error=error,
        beyond=beyond,
        beyond_error=beyond_error,
        higher=_share(above[pairs]),
        difference=less[0],
        difference_error=less[1],
        by_r=tuple(bands),
    )


def _band(
    found: RulesObservation,
    pairs: Bool[ndarray, " n"],
    above: Float[ndarray, " n"],
    edge: tuple[float, float],
) -> RuleBand:
    low, high = edge
    inside = pairs & np.isfinite(found.residual[:, 0])
    inside &= (found.r > low) | (low == BOUNDS[0])
    inside &= (found.r <= high) | (high == BOUNDS[-1])
    mean, error = mean_and_error(found.residual[inside, 0], found.token[inside])
    return RuleBand(
        above=low, up_to=high, pairs=int(inside.sum()), agreement=mean, error=error, higher=_share(above[inside])
    )


def _share(above: Float[ndarray, " n"]) -> float | None:
    known = above[np.isfinite(above)]
    return float((known > 0).mean()) if len(known) else None


def mean_and_error(
    values: Float[ndarray, " n"], clusters: Int[ndarray, " n"]
) -> tuple[float, float | None] | tuple[None, None]:
    """Returns the mean and its standard error over clusters; None for no value, no error for a single cluster."""
    if not len(values):
        return None, None
    return float(values.mean()), clustered_error(values, clusters)
