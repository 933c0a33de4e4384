"""What the results say of one layer pair: its scores, each beside the draws of its nulls."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from semconv.matching.influence import INFLUENCES
from semconv.results.schema import Influence, LayerPair, NullTest, Reason, RematchCounts, Score, Tail
from semconv.statistics.permutation import ROUNDING, PermutationResult, p_value
from semconv.statistics.stopping import Stopping, stopping_of
from semconv.statistics.tail import fit_tail
from semconv.study.nulls import UNDEFINED
from semconv.study.observations import Rematch, Studied
from semconv.suite.config import NullConfig, SaeConfig
from semconv.suite.hooks import hook_layer
from semconv.suite.nulls import MATCHED_AGAIN
from semconv.system.shape import number


def tell_pair(
    studied: Studied, names: tuple[str, ...], saes: tuple[SaeConfig, SaeConfig], null: NullConfig, min_r: float
) -> LayerPair:
    """Returns what the results say of two SAEs, before anything is corrected over a table.

    Args:
        studied: what was observed of them.
        names: of the measures, in order.
        saes: of A and of B.
        null: how much was drawn.
        min_r: above which r of a pair must be (`match.min_r`).
    """
    pair, facts = studied.pair, studied.pair.facts
    counts = {null: _counts(len(pair.a), again) for null, again in studied.matched_again.items()}
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
        influence=_influence(pair.influence, min_r) if len(pair.a) else None,
        measures={name: _measure(studied, place, name, null) for place, name in enumerate(names)},
        rematch=counts.get("rematch"),
        same_token=counts.get("same_token"),
        same_bigram=counts.get("same_bigram"),
    )


def _influence(influence: Float[ndarray, "n influences"], min_r: float) -> Influence:
    of = dict(zip(INFLUENCES, influence.T, strict=True))

    def median(name: str) -> float | None:
        defined = of[name][np.isfinite(of[name])]
        return float(np.median(defined)) if len(defined) else None

    def above(name: str, least: float) -> int | None:
        return int((of[name] > least).sum()) if median(name) is not None else None

    return Influence(
        strongest_share=median("strongest_share"),
        document_share=median("document_share"),
        pairs_of_one_document=above("document_share", 0.5) or 0,
        token_share=median("token_share"),
        pairs_of_one_token=above("token_share", 0.5),
        within_token_share=median("within_token_share"),
        r_within_token=median("r_within_token"),
        pairs_within_token=above("r_within_token", min_r),
    )


def _counts(pairs: int, again: Rematch) -> RematchCounts:
    passed = again.passed.astype(np.float64)
    return RematchCounts(
        pairs_mean=float(passed.mean()),
        pairs_max=int(passed.max()),
        pairs_p=p_value(float(pairs), passed),
        scored_pairs=again.n,
        moved_mean=None if again.moved is None else float(again.moved.astype(np.float64).mean()),
    )


def null_test(score: float, draws: Float[ndarray, " m"], rule: Stopping | None = None) -> NullTest | Reason:
    """Returns mean, sd, z, p and calibrated score of a score beside draws, or why there are none.

    Args:
        score: the observed score.
        draws: float64 [m], in order; those after the end of the rule do not count.
        rule: how many were taken; all of them where there is none.
    """
    if not math.isfinite(score):
        return Reason(reason=UNDEFINED)
    rule = rule or Stopping(len(draws))
    draws = draws[: rule.ended(score, draws)]
    if not np.isfinite(draws).all():
        return Reason(reason=f"{int((~np.isfinite(draws)).sum())} of {len(draws)} draws have no score")
    test = PermutationResult(score, draws, rule.p_value(score, draws))
    sd = float(draws.std(ddof=1)) if len(draws) > 1 else math.nan
    return NullTest(
        score=float(score),
        mean=number(float(draws.mean())),
        sd=number(sd),
        z=number(test.z),
        p=test.p_value,
        calibrated=number(test.calibrated),
        p_from="sequential" if rule.ended_early(score, draws) else None,
    )


def pairing_test(score: float, draws: Float[ndarray, " m"], measure: str, null: NullConfig) -> NullTest | Reason:
    """Returns a score beside draws of a null of the pairing, as the suite asks for them, or why there are none.

    Args:
        score: the observed score.
        draws: float64 [m], in order.
        measure: its name, by which the suite says how many draws are taken and whether a tail is fitted.
        null: of the suite.
    """
    rule = stopping_of(null, measure)
    test = null_test(score, draws, rule)
    if isinstance(test, Reason):
        return test
    taken = draws[: rule.ended(score, draws)]
    test = replace(test, draws=len(taken) if len(taken) != null.n_permutations else None)
    if not null.has_tail(measure) or float(taken.max()) >= score - ROUNDING:
        return test
    fit = fit_tail(taken)
    if fit is None:
        return replace(test, tail=Reason(reason="no generalised Pareto distribution fits the largest draws"))
    tail = Tail(
        p=fit.p_value(score),
        p_counted=test.p,
        exceedances=fit.exceedances,
        threshold=fit.threshold,
        shape=fit.shape,
        scale=fit.scale,
        fit_p=fit.fit_p,
    )
    if tail.p >= test.p:
        return replace(test, tail=tail)
    return replace(test, tail=tail, p=tail.p, p_from="tail")


def _measure(studied: Studied, place: int, name: str, null: NullConfig) -> Score | Reason:
    pair = studied.pair
    if pair.facts.reasons[place]:
        return Reason(reason=pair.facts.reasons[place])
    score = float(pair.scores[place])
    strongest = next((float(again.strongest[place]) for again in studied.matched_again.values()), math.nan)
    nulls = {
        name_of_null: null_test(strongest, draws[place])
        if name_of_null in MATCHED_AGAIN
        else pairing_test(score, draws[place], name, null)
        for name_of_null, draws in studied.draws().items()
    }
    return Score(
        score=score,
        nulls=nulls,
        saturated=pair.facts.saturated[place],
        strongest_pairs_score=number(strongest),
    )
