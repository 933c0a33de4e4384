"""What the results say of what features do."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from semconv.results.schema import (
    ComparedRulesOrReason,
    Function,
    FunctionMean,
    FunctionPair,
    FunctionPairOrReason,
    FunctionTest,
    FunctionTestOrReason,
    LensPair,
    LensPairOrReason,
    PositionKindsOrReason,
    Reason,
    Retrieval,
)
from semconv.statistics.clusters import clustered_error
from semconv.statistics.depth import Thirds
from semconv.statistics.sign_flips import sign_flip_test
from semconv.study.function_observations import (
    COMPARED,
    OF_PAIRS,
    TOGETHER,
    FunctionObservation,
    LensObservation,
)
from semconv.study.observations import Observations
from semconv.study.task_names import control_tag, function_controls, function_pairs, saes_of_grid
from semconv.study.tell_position_kinds import tell_position_kinds
from semconv.study.tell_rules import tell_rules
from semconv.suite.config import SuiteConfig
from semconv.suite.hooks import hook_layer
from semconv.system.shape import number

N_FLIPS = 9999
"""Draws of the sign-flip test."""
THIRDS = ("early", "middle", "late")
NO_BOTH = "no feature pair has both a partner's effect and a hard negative's"


def tell_function(observations: Observations, suite: SuiteConfig) -> Function | None:
    """Returns what features do, over layer pairs, thirds of the depths and controls; None where not asked for."""
    if suite.function is None:
        return None
    seed = suite.null.seed
    studied = {key: observations.effects[key] for key in function_pairs(suite)}
    controls = {name: observations.effects[control_tag(name)] for name in function_controls(suite)}
    return Function(
        positions=suite.function.positions,
        grid={key: _pair(found, seed) for key, found in studied.items()},
        thirds={
            name: _test([studied[key] for key in keys], seed) for name, keys in _thirds(suite, list(studied)).items()
        },
        controls={name: _pair(found, seed) for name, found in controls.items()},
        lens={key: _lens(found) for key, found in observations.lenses.items()},
        rules=_rules(observations, suite),
        position_kinds=_position_kinds(observations, suite),
    )


def _rules(observations: Observations, suite: SuiteConfig) -> dict[str, ComparedRulesOrReason] | None:
    rules = suite.function.rules if suite.function is not None else None
    if rules is None:
        return None
    return {key: tell_rules(found, suite.match, rules.positions) for key, found in observations.rules.items()}


def _position_kinds(observations: Observations, suite: SuiteConfig) -> dict[str, PositionKindsOrReason] | None:
    kinds, seed = suite.function.position_kinds if suite.function is not None else None, suite.null.seed
    if kinds is None:
        return None
    return {key: tell_position_kinds(one, kinds.positions, seed) for key, one in observations.position_kinds.items()}


def function_agreement(observations: Observations, key: str) -> Float[ndarray, " n"]:
    """Returns how alike what both features do is, of every feature pair of a layer pair, NaN where not studied."""
    pair, found = observations.grid[key].pair, observations.effects.get(key)
    out = np.full(len(pair.a), np.nan)
    if found is not None:
        known = dict(zip(zip(found.a.tolist(), found.b.tolist(), strict=True), found.residual[:, 0], strict=True))
        both = enumerate(zip(pair.a.tolist(), pair.b.tolist(), strict=True))
        for place, features in both:
            out[place] = known.get(features, np.nan)
    return out


def thirds_of(suite: SuiteConfig) -> list[str]:
    """Returns what the thirds of the depths are called; one name for all where a model has fewer than three depths."""
    return list(_thirds(suite, []))


def _thirds(suite: SuiteConfig, keys: list[str]) -> Mapping[str, list[str]]:
    """Returns the layer pairs by third of the depths, both of whose layers lie in it; all of them without thirds."""
    saes = saes_of_grid(suite)
    depths = [sorted({hook_layer(sae.hook) for sae in model.saes}) for model in suite.models.values()]
    if min(map(len, depths)) < len(THIRDS):
        return {"all": keys}
    thirds = [Thirds.of(len(of_model)) for of_model in depths]

    def lies_in(key: str, name: str) -> bool:
        layers = (hook_layer(sae.hook) for sae in saes[key])
        return all(
            bool(getattr(third, name)[of_model.index(layer)])
            for third, of_model, layer in zip(thirds, depths, layers, strict=True)
        )

    return {name: [key for key in keys if lies_in(key, name)] for name in THIRDS}


def _pair(found: FunctionObservation, seed: int) -> FunctionPairOrReason:
    if found.facts.reason is not None:
        return Reason(reason=found.facts.reason)
    score = {name: _mean(column) for name, column in zip(OF_PAIRS, found.scores.T, strict=True)}
    together = {name: number(float(value)) for name, value in zip(TOGETHER, found.together, strict=True)}
    counted = int((found.positions > 0).sum())
    return FunctionPair(
        matched=found.facts.matched,
        pairs=len(found.a),
        too_few=len(found.a) - counted,
        alike={name: _alike(found, place) for place, name in enumerate(COMPARED)},
        beyond=_test([found], seed),
        among_negatives=Retrieval(top1=score["top1"], mrr=score["mrr"], chance=score["chance_top1"]),
        among_pairs=Retrieval(top1=together["top1"], mrr=together["mrr"], chance=1 / counted if counted else None),
        within_token=Retrieval(
            top1=together["within_token_top1"],
            mrr=together["within_token_mrr"],
            chance=together["within_token_chance"],
        ),
        rsa=together["rsa"],
        **{name: score[name] for name in ("cosine", "residual_r", "signs", "kl_r", "kl_r_others", "size")},
        points=_points(found),
        agree=found.facts.agree,
        differ=found.facts.differ,
    )


def _points(found: FunctionObservation) -> tuple[tuple[float, float, float | None], ...]:
    best, points = found.best_negative, list[tuple[float, float, float | None]]()
    for place in np.flatnonzero(np.isfinite(found.residual[:, 0])).tolist():
        negative = round(float(best[place]), 4) if np.isfinite(best[place]) else None
        points.append((round(float(found.r[place]), 4), round(float(found.residual[place, 0]), 4), negative))
    return tuple(points)


def _alike(found: FunctionObservation, place: int) -> FunctionMean:
    residual, plain = found.residual[:, place], found.plain[:, place]
    known = np.isfinite(residual)
    error = clustered_error(residual[known], found.token[known])
    return FunctionMean(pairs=int(known.sum()), residual=_mean(residual), residual_error=error, plain=_mean(plain))


def _test(several: list[FunctionObservation], seed: int) -> FunctionTestOrReason:
    """Tests partner less best hard negative over the pairs of some layer pairs, those of one top token together."""
    above = [found.residual[:, 0] - found.best_negative for found in several]
    differences = np.concatenate([np.zeros(0), *above])
    tokens = np.concatenate([np.zeros(0, dtype=np.int64), *(found.token for found in several)])
    known = np.isfinite(differences)
    if not known.any():
        return Reason(reason=NO_BOTH)
    differences, tokens = differences[known], tokens[known]
    found = sign_flip_test(differences, tokens, N_FLIPS, seed)
    return FunctionTest(
        difference=found.statistic,
        error=clustered_error(differences, tokens),
        p=found.p_value,
        draws=N_FLIPS,
        pairs=len(differences),
        tokens=len(np.unique(tokens)),
        higher=float((differences > 0).mean()),
    )


def _lens(found: LensObservation) -> LensPairOrReason:
    if found.facts.reason is not None:
        return Reason(reason=found.facts.reason)
    correlation, promoted, suppressed = (_mean(column) for column in found.agreement.T)
    return LensPair(
        pairs=len(found.agreement),
        correlation=correlation,
        promoted=promoted,
        suppressed=suppressed,
        chance=found.promoted_a.shape[1] / max(1, found.facts.tokens),
    )


def _mean(values: Float[ndarray, " n"]) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None
