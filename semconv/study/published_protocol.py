"""From the published protocol to the corrected one, one departure after another, on one layer pair.

METHOD: arXiv 2410.06981 and its public code differ in the ways listed here; each is a switch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from semconv.compare import make_measures
from semconv.statistics.permutation import permutation_ids
from semconv.study.nulls import score_beside_nulls
from semconv.study.observations import StepFacts, StepObservation
from semconv.study.settings import StudySettings
from semconv.study.sides import AnySide, Prepared, Side, match_sides
from semconv.suite.config import CompareConfig, MatchConfig, NullConfig

PUBLISHED_SHUFFLES = 10


@dataclass(frozen=True)
class Departures:
    """Where a run follows the published code instead of the published text.

    Attributes:
        layer_shift: the SAE of a layer reads the stream one block early.
        all_positions: BOS, EOS and padding count in the correlations.
        shrunk_r: r is (N - 1) / N of Pearson's.
        no_concept_filters: the filters on top tokens have no effect.
        few_positions: pairs stay whose r is above the bar by a few positions alone.
        few_shuffles: ten shuffles, p their share at or above the score, which can be 0.
        one_component: SVCCA keeps one component.
    """

    layer_shift: bool = True
    all_positions: bool = True
    shrunk_r: bool = True
    no_concept_filters: bool = True
    few_positions: bool = True
    few_shuffles: bool = True
    one_component: bool = True


STEPS = {
    "layer_shift": "SAEs read the block they were trained on",
    "all_positions": "BOS, EOS and padding left out",
    "shrunk_r": "exact Pearson r",
    "no_concept_filters": "filters on top tokens in effect",
    "few_positions": "pairs that rest on few positions left out",
    "few_shuffles": "all shuffles, p = (b + 1) / (m + 1)",
    "one_component": "SVCCA on {threshold:g}% of the variance",
}
"""What turning a departure off does, in the order of the table; `threshold` is the suite's."""

MEASURED = ("svcca", "rsa")
"""Columns of the table."""


@dataclass(frozen=True, eq=False)
class PublishedSides:
    """The two layers of the published protocol, encoded in three ways; of each, the side of A and that of B.

    Attributes:
        shifted: read one block early, over every position.
        everywhere: read where the SAEs were trained, over every position.
        corrected: read there, over the positions that count: sides of the layer grid.
    """

    shifted: tuple[AnySide, AnySide]
    everywhere: tuple[AnySide, AnySide]
    corrected: tuple[AnySide, AnySide]

    def of(self, departures: Departures) -> tuple[AnySide, AnySide]:
        """Returns the sides that departures leave."""
        if departures.layer_shift:
            return self.shifted
        return self.everywhere if departures.all_positions else self.corrected


def variants() -> dict[str, Departures]:
    """Returns name -> departures: all of them (`as_published`), then one after another turned off, by its name."""
    departures = Departures()
    out = {"as_published": departures}
    for name in STEPS:
        departures = replace(departures, **{name: False})
        out[name] = departures
    return out


def step_label(name: str, compare: CompareConfig) -> str:
    """Returns what the table calls a variant."""
    return STEPS.get(name, "as published").format(threshold=100 * compare.svcca_threshold)


def observe_step(settings: StudySettings, compare: CompareConfig, name: str, a: Side, b: Side) -> StepObservation:
    """Matches and scores the two layers, as `PublishedSides.of` gives them, by one variant of the protocol."""
    departures = variants()[name]
    if departures.no_concept_filters:
        a, b = (replace(side, tokens=side.tokens.without_stops()) for side in (a, b))
    pairs = match_sides(a, b, _match_config(settings.match, departures, a.acts.n_tokens))
    drawn = step_draws(settings.null, departures)
    seed, needed = settings.null.seed, settings.match.min_pairs

    def draw(prepared: Prepared) -> list[ndarray]:
        ids = permutation_ids(len(pairs), drawn[prepared.measure.name], seed)
        return [prepared.measure.null_scores(prepared.x, prepared.y, ids)]

    measures = make_measures(tuple(drawn), compare.svcca_threshold)
    scored = score_beside_nulls(measures, (a, b), pairs, needed, draw, (1, max(drawn.values())))
    facts = StepFacts(pairs=len(pairs), reasons=scored.reasons)
    return StepObservation(facts, scored.scores, scored.draws[0])


def step_draws(null: NullConfig, departures: Departures) -> dict[str, int]:
    """Returns the two measures of a variant -> how many shuffles are drawn for it; they never end early."""
    names = ("svcca_pc1" if departures.one_component else "svcca_variance", "rsa")
    return {name: PUBLISHED_SHUFFLES if departures.few_shuffles else null.most_draws(name) for name in names}


def published_p(score: float, null: Float[ndarray, " m"]) -> float:
    """Returns the share of the null at or above the score, as the published code does: 0 where none is."""
    return float(np.mean(null >= score))


def _match_config(config: MatchConfig, departures: Departures, n_tokens: int) -> MatchConfig:
    """Returns the filters of a step, by r over all positions as published; a shrunk r passes a bar when r passes one
    that is higher in proportion."""
    config = replace(config, by=None)
    if departures.shrunk_r:
        config = replace(config, min_r=config.min_r * n_tokens / (n_tokens - 1))
    if departures.no_concept_filters:
        config = replace(config, need_shared_token=False, stop_tokens=())
    return replace(config, without_strongest=0) if departures.few_positions else config
