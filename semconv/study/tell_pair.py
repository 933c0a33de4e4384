"""What the results say of one layer pair: its scores, each beside the draws of its nulls."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from semconv.results.schema import LayerPair, NullTest, Reason, RematchCounts, Score
from semconv.statistics.permutation import PermutationResult, p_value
from semconv.study.nulls import UNDEFINED
from semconv.study.observations import Studied
from semconv.suite.config import SaeConfig
from semconv.suite.hooks import hook_layer
from semconv.system.shape import number


def tell_pair(studied: Studied, names: tuple[str, ...], saes: tuple[SaeConfig, SaeConfig]) -> LayerPair:
    """Returns what the results say of two SAEs, before anything is corrected over a table.

    Args:
        studied: what was observed of them.
        names: of the measures, in order.
        saes: of A and of B.
    """
    pair, facts, rematch = studied.pair, studied.pair.facts, studied.rematch
    plain = {name: value for name, value in vars(facts).items() if name not in ("reasons", "saturated")}
    sae_a, sae_b = saes
    return LayerPair(
        **plain,
        layer_a=hook_layer(sae_a.hook),
        layer_b=hook_layer(sae_b.hook),
        sae_a=sae_a.label,
        sae_b=sae_b.label,
        pairs=len(pair.a),
        mean_r=number(float(pair.r.mean())) if len(pair.r) else None,
        measures={name: _measure(studied, place) for place, name in enumerate(names)},
        rematch=None
        if rematch is None
        else RematchCounts(
            pairs_mean=float(rematch.passed.astype(np.float64).mean()),
            pairs_max=int(rematch.passed.max()),
            pairs_p=p_value(float(len(pair.a)), rematch.passed.astype(np.float64)),
            scored_pairs=rematch.n,
        ),
    )


def null_test(score: float, draws: Float[ndarray, " m"]) -> NullTest | Reason:
    """Returns mean, sd, z, p and calibrated score of a score beside draws, float64 [m], or why there are none."""
    if not math.isfinite(score):
        return Reason(reason=UNDEFINED)
    if not np.isfinite(draws).all():
        return Reason(reason=f"{int((~np.isfinite(draws)).sum())} of {len(draws)} draws have no score")
    test = PermutationResult(score, draws, p_value(score, draws))
    sd = float(draws.std(ddof=1)) if len(draws) > 1 else math.nan
    return NullTest(
        score=float(score),
        mean=number(float(draws.mean())),
        sd=number(sd),
        z=number(test.z),
        p=test.p_value,
        calibrated=number(test.calibrated),
    )


def _measure(studied: Studied, place: int) -> Score | Reason:
    pair, rematch = studied.pair, studied.rematch
    if pair.facts.reasons[place]:
        return Reason(reason=pair.facts.reasons[place])
    score = float(pair.scores[place])
    strongest = math.nan if rematch is None else float(rematch.strongest[place])
    tested = {"shuffle": score, "frequency": score, "rematch": strongest}
    nulls = {null: null_test(tested[null], draws[place]) for null, draws in studied.draws().items()}
    return Score(
        score=score,
        nulls=nulls,
        saturated=pair.facts.saturated[place],
        strongest_pairs_score=number(strongest),
    )
