"""From the published protocol to the corrected one, one departure after another, on one layer pair.

METHOD: arXiv 2410.06981 and its public code differ in the ways listed here; each is a switch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from semconv.compare import make_measures
from semconv.statistics.permutation import permutation_ids
from semconv.study.layer_pairs import Protocol, null_summary, number
from semconv.study.sides import Side, match_sides, prepare_pairs
from semconv.suite.config import CompareConfig, MatchConfig
from semconv.system.errors import InputError

PUBLISHED_SHUFFLES = 10


@dataclass(frozen=True)
class Departures:
    """Where a run follows the published code instead of the published text.

    Attributes:
        layer_shift: the SAE of a layer reads the stream one block early.
        all_positions: BOS, EOS and padding count in the correlations.
        shrunk_r: r is (N - 1) / N of Pearson's.
        no_concept_filters: the filters on top tokens have no effect.
        few_shuffles: ten shuffles, p their share at or above the score, which can be 0.
        one_component: SVCCA keeps one component.
    """

    layer_shift: bool = True
    all_positions: bool = True
    shrunk_r: bool = True
    no_concept_filters: bool = True
    few_shuffles: bool = True
    one_component: bool = True


STEPS = {
    "layer_shift": "SAEs read the block they were trained on",
    "all_positions": "BOS, EOS and padding left out",
    "shrunk_r": "exact Pearson r",
    "no_concept_filters": "filters on top tokens in effect",
    "few_shuffles": "all shuffles, p = (b + 1) / (m + 1)",
    "one_component": "SVCCA on {threshold:g}% of the variance",
}
"""What turning a departure off does, in the order of the table; `threshold` is the suite's."""

SideOf = Callable[[bool, bool], tuple[Side, Side]]
"""Takes layer_shift and all_positions, gives both sides encoded that way."""


def step_tasks(protocol: Protocol, compare: CompareConfig, sides: SideOf) -> list[Callable[[], dict[str, Any]]]:
    """Returns what makes the rows: of the published protocol, then with one departure after another turned off.

    They depend on nothing of each other, and can run in any order.
    """
    departures = Departures()
    tasks = [partial(_row, protocol, compare, sides, departures, "as published")]
    for name, label in STEPS.items():
        departures = replace(departures, **{name: False})
        step = label.format(threshold=100 * compare.svcca_threshold)
        tasks.append(partial(_row, protocol, compare, sides, departures, step))
    return list(tasks)


def _row(
    protocol: Protocol, compare: CompareConfig, sides: SideOf, departures: Departures, step: str
) -> dict[str, Any]:
    a, b = sides(departures.layer_shift, departures.all_positions)
    if departures.no_concept_filters:
        a, b = (replace(side, tokens=side.tokens.without_stops()) for side in (a, b))
    pairs = match_sides(a, b, _match_config(protocol.match, departures, a.acts.n_tokens))
    names = ("svcca_pc1" if departures.one_component else "svcca_variance", "rsa")
    out: dict[str, Any] = {"step": step, "pairs": len(pairs)}
    n_permutations = PUBLISHED_SHUFFLES if departures.few_shuffles else protocol.null.n_permutations
    for column, measure in zip(("svcca", "rsa"), make_measures(names, compare.svcca_threshold), strict=True):
        if len(pairs) < protocol.match.min_pairs:
            out[column] = {"reason": f"{len(pairs)} pairs, at least {protocol.match.min_pairs} are needed"}
            continue
        try:
            prepared = prepare_pairs(measure, a, b, pairs.a, pairs.b)
            ids = permutation_ids(len(pairs), n_permutations, protocol.null.seed)
            null = measure.null_scores(prepared.x, prepared.y, ids)
        except InputError as error:
            out[column] = {"reason": str(error)}
            continue
        summary = null_summary(prepared.score, null)
        if "reason" in summary:
            out[column] = summary
            continue
        p = published_p(prepared.score, null) if departures.few_shuffles else summary["p"]
        out[column] = {"score": number(prepared.score), "null_mean": summary["mean"], "p": p}
        if not departures.few_shuffles:
            out[column]["calibrated"] = summary["calibrated"]
    return out


def published_p(score: float, null: Float[ndarray, " m"]) -> float:
    """Returns the share of the null at or above the score, as the published code does: 0 where none is."""
    return float(np.mean(null >= score))


def _match_config(config: MatchConfig, departures: Departures, n_tokens: int) -> MatchConfig:
    """Returns the filters of a step; a shrunk r passes a bar when r passes one that is higher in proportion."""
    if departures.shrunk_r:
        config = replace(config, min_r=config.min_r * n_tokens / (n_tokens - 1))
    if departures.no_concept_filters:
        config = replace(config, need_shared_token=False, stop_tokens=())
    return config
