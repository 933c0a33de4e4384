"""What a study observes, as its finished tasks keep it: facts and arrays, before anything is told of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64
from numpy import ndarray

from semconv.results.schema import Count, FilterStep, Many, RelationOrReason, SelfMatch, SplitHalf
from semconv.study.facts import Facts, NoFacts
from semconv.study.function_observations import FunctionObservation, LensObservation, RulesObservation
from semconv.study.nulls import PAIRING_NULLS
from semconv.study.position_observations import PositionKindsObservation
from semconv.study.spread_observations import AcrossSeeds, Resamples, ScoredObservation
from semconv.study.stream_observations import DecoderObservations, StreamPairObservation, StreamsFacts
from semconv.suite.nulls import AgainNull
from semconv.system.shape import left_out


@dataclass(frozen=True, kw_only=True)
class PairFacts(Facts):
    """What is known of two SAEs beside arrays; names as in `LayerPair`. Which they are says the suite.

    Attributes:
        saturated: by measure, whether its score is near its top whatever the pairing.
        reasons: by measure, why it has no score; empty where it has one.
    """

    filters: Many[FilterStep]
    undefined_a: Count
    undefined_b: Count
    noisy_features_a: Count
    noisy_features_b: Count
    matches_sha256: str
    split_half: SplitHalf
    saturated: Many[bool]
    reasons: Many[str]


@dataclass(frozen=True, eq=False)
class PairObservation:
    """Two SAEs matched and scored.

    Attributes:
        facts: what is known beside arrays.
        a: int64 [n], A features of the feature pairs.
        b: int64 [n], their B features.
        r: float64 [n].
        influence: float64 [n, influences], what r rests on (`semconv.matching.influence.INFLUENCES`), NaN where that is
            not defined.
        scores: float64 [measures], NaN where there is none.
        draws: float64 [nulls, measures, m], scores under the nulls of `PAIRING_NULLS`; NaN where there is none, and
            after the last draw of a row that the suite ends before m (`semconv.statistics.stopping`).
        ranked_a: int64 [k], A features of the pairs without the filters that ask for agreement, by falling r; empty
            where `rematch` is not drawn.
        ranked_b: int64 [k], their B features.
    """

    facts: PairFacts
    a: Int64[ndarray, " n"]
    b: Int64[ndarray, " n"]
    r: Float64[ndarray, " n"]
    influence: Float64[ndarray, "n influences"]
    scores: Float64[ndarray, " measures"]
    draws: Float64[ndarray, "nulls measures m"]
    ranked_a: Int64[ndarray, " k"]
    ranked_b: Int64[ndarray, " k"]


@dataclass(frozen=True, eq=False)
class RematchChunk:
    """Two sides matched again under some draws of a null.

    Attributes:
        facts: none.
        passed: int64 [draws], feature pairs that pass every filter.
        ends: int64 [draws + 1], where the ranked pairs of each draw begin and end in `a` and `b`.
        a: int64 [k], A features of the ranked pairs of all draws, one draw after the other; of each at most as many
            as pass every filter on the true text.
        b: int64 [k], their B features.
        best_r: float64 [2, draws], mean over the features of A of their highest r, and over those of B, before every
            filter; NaN where none varies.
    """

    facts: NoFacts
    passed: Int64[ndarray, " draws"]
    ends: Int64[ndarray, " ends"]
    a: Int64[ndarray, " k"]
    b: Int64[ndarray, " k"]
    best_r: Float64[ndarray, "sides draws"]

    @property
    def ranked(self) -> list[tuple[Int64[ndarray, " n"], Int64[ndarray, " n"]]]:
        """The ranked pairs of each draw."""
        cuts = self.ends[1:-1]
        return list(zip(np.split(self.a, cuts), np.split(self.b, cuts), strict=True))


@dataclass(frozen=True, eq=False)
class SwappedChunk(RematchChunk):
    """Two sides matched again under some exchanges of positions, of `same_token` or `same_bigram`.

    Attributes:
        moved: int64 [draws], positions of B that were moved.
    """

    moved: Int64[ndarray, " draws"]


@dataclass(frozen=True, eq=False)
class StrongestScores:
    """Scores of the strongest pairs: on the true text one row, and of draws a row for each.

    Attributes:
        facts: none.
        scores: float64 [rows, measures], NaN where there is none.
    """

    facts: NoFacts
    scores: Float64[ndarray, "rows measures"]


@dataclass(frozen=True, eq=False)
class SelfObservation:
    """An SAE matched with itself.

    Attributes:
        facts: what was found.
    """

    facts: SelfMatch


@dataclass(frozen=True, kw_only=True)
class PartFacts(Facts):
    """Features matched and scored beside `shuffle` alone.

    Attributes:
        pairs: feature pairs after every filter.
        reason: why nothing was scored; missing where something was.
        reasons: by measure, why it has no score; empty where it has one, and for nothing where nothing was scored.
    """

    pairs: Count
    reason: str | None = left_out()
    reasons: Many[str] = ()


@dataclass(frozen=True, eq=False)
class PartObservation:
    """Features of a part of the dictionaries, or over pooled activations, matched and scored.

    Attributes:
        facts: what is known beside arrays.
        scores: float64 [measures], of none where nothing was scored.
        shuffle: float64 [measures, m], scores under permuted pairings; rows of fewer end in NaN.
    """

    facts: PartFacts
    scores: Float64[ndarray, " measures"]
    shuffle: Float64[ndarray, "measures m"]


@dataclass(frozen=True, kw_only=True)
class SpansFacts(Facts):
    """The spans of a text.

    Attributes:
        n_spans: how many.
        mean_length: tokens per span.
    """

    n_spans: Count
    mean_length: float


@dataclass(frozen=True, eq=False)
class SpansObservation:
    """The spans of a text.

    Attributes:
        facts: how many, and how long.
    """

    facts: SpansFacts


@dataclass(frozen=True, kw_only=True)
class CategoryFacts(PartFacts):
    """One category of two SAEs.

    Attributes:
        features_a: features of A in it.
        features_b: features of B.
    """

    features_a: Count
    features_b: Count


@dataclass(frozen=True, kw_only=True)
class CategoriesFacts(Facts):
    """All categories of two SAEs.

    Attributes:
        categories: category -> what is known of it.
        relation: how the categories relate, or why they cannot be compared.
    """

    categories: dict[str, CategoryFacts]
    relation: RelationOrReason


@dataclass(frozen=True, eq=False)
class CategoriesObservation:
    """All categories of two SAEs.

    Attributes:
        facts: what is known beside arrays.
        scores: float64 [scored, measures], of the categories that were scored, in order.
        shuffle: float64 [scored, measures, m], scores under permuted pairings; rows of fewer end in NaN.
    """

    facts: CategoriesFacts
    scores: Float64[ndarray, "scored measures"]
    shuffle: Float64[ndarray, "scored measures m"]


@dataclass(frozen=True, kw_only=True)
class SharedFacts(Facts):
    """Features of one SAE in several categories.

    Attributes:
        shared: `CATEGORY & CATEGORY` -> how many are in both.
    """

    shared: dict[str, Count]


@dataclass(frozen=True, eq=False)
class SharedObservation:
    """Features of one SAE in several categories.

    Attributes:
        facts: how many.
    """

    facts: SharedFacts


@dataclass(frozen=True, kw_only=True)
class StepFacts(Facts):
    """One variant between the published protocol and the corrected one.

    Attributes:
        pairs: feature pairs after every filter.
        reasons: of SVCCA and RSA, why there is no score; empty where there is one.
    """

    pairs: Count
    reasons: Many[str]


@dataclass(frozen=True, eq=False)
class StepObservation:
    """One variant between the published protocol and the corrected one.

    Attributes:
        facts: what is known beside arrays.
        scores: float64 [2], of SVCCA and RSA, NaN where there is none.
        shuffle: float64 [2, m], scores under permuted pairings; rows of fewer end in NaN.
    """

    facts: StepFacts
    scores: Float64[ndarray, " measures"]
    shuffle: Float64[ndarray, "measures m"]


@dataclass(frozen=True, eq=False)
class Rematch:
    """A null under which two SAEs are matched again.

    Attributes:
        passed: int64 [m], feature pairs that pass every filter under each draw.
        n: strongest pairs that were scored, as many under every draw of every such null as on the true text.
        strongest: float64 [measures], their scores on the true text.
        scores: float64 [m, measures], under the draws.
        moved: int64 [m], positions of B that each moved; None where a draw moves the whole text.
    """

    passed: Int64[ndarray, " m"]
    n: int
    strongest: Float64[ndarray, " measures"]
    scores: Float64[ndarray, "m measures"]
    moved: Int64[ndarray, " m"] | None = None


@dataclass(frozen=True, eq=False)
class Studied:
    """Two SAEs put through everything.

    Attributes:
        pair: matched and scored.
        matched_again: null -> its draws, in the order of `MATCHED_AGAIN`; none where too few pairs are left.
    """

    pair: PairObservation
    matched_again: dict[AgainNull, Rematch]

    def draws(self) -> dict[str, Float64[ndarray, "measures m"]]:
        """Returns null -> its draws of every measure, NaN where a measure has no score."""
        found: dict[str, Float64[ndarray, "measures m"]] = dict(zip(PAIRING_NULLS, self.pair.draws, strict=True))
        return {**found, **{null: again.scores.T for null, again in self.matched_again.items()}}


@dataclass(frozen=True, eq=False)
class Observations:
    """Everything that a study observed; tables are in the order of the suite.

    Attributes:
        grid: layer pair, such as `0x2` -> the two SAEs.
        resamples: layer pair -> its resamples of the documents, for intervals; empty where the suite wants none.
        halves: layer pair -> scores of random halves of its feature pairs, float64 [m, measures], likewise.
        seeds: layer pair -> the same layers through SAEs from other seeds; only those for which there are some.
        ceilings: `MODEL/SAE` -> that SAE and those of other seeds at its hook, each matched with each once, for those
            of which there are some.
        self_match: `MODEL/SAE` -> that SAE with itself.
        controls: control -> its two SAEs.
        floors: floor -> its strongest pairs, where the trained models at its layers have enough.
        trained: floor -> as many of the strongest pairs of the trained models at its layers.
        categories: layer pair -> its categories; empty where the suite has none, like the following.
        shared: `MODEL/SAE` -> features in several categories.
        spans: of the text.
        over_spans: layer pair -> over pooled activations.
        steps: from the published protocol to the corrected one.
        streams: the sample at which streams are compared; None where the suite has none.
        of_streams: layer pair -> its streams.
        of_decoders: layer pair -> its decoder baselines; empty where the suite has none.
        lenses: layer pair -> the logit lens of its pairs; empty where the suite has no section on function.
        effects: layer pair, or `control.NAME` -> what ablating its features does.
        rules: layer pair -> what ablating the pairs of several rules of matching does; empty where none are compared.
        position_kinds: layer pair -> what ablation does at positions of several kinds, likewise.
    """

    grid: dict[str, Studied]
    resamples: dict[str, Resamples]
    self_match: dict[str, SelfMatch]
    controls: dict[str, Studied]
    halves: dict[str, Float64[ndarray, "m measures"]] = field(default_factory=dict[str, Any])
    seeds: dict[str, AcrossSeeds] = field(default_factory=dict[str, AcrossSeeds])
    ceilings: dict[str, list[ScoredObservation]] = field(default_factory=dict[str, list[ScoredObservation]])
    floors: dict[str, Studied] = field(default_factory=dict[str, Studied])
    trained: dict[str, Studied] = field(default_factory=dict[str, Studied])
    categories: dict[str, CategoriesObservation] = field(default_factory=dict[str, CategoriesObservation])
    shared: dict[str, dict[str, int]] = field(default_factory=dict[str, dict[str, int]])
    spans: SpansFacts | None = None
    over_spans: dict[str, PartObservation] = field(default_factory=dict[str, PartObservation])
    steps: list[StepObservation] = field(default_factory=list[StepObservation])
    streams: StreamsFacts | None = None
    of_streams: dict[str, StreamPairObservation] = field(default_factory=dict[str, StreamPairObservation])
    of_decoders: dict[str, DecoderObservations] = field(default_factory=dict[str, DecoderObservations])
    lenses: dict[str, LensObservation] = field(default_factory=dict[str, LensObservation])
    effects: dict[str, FunctionObservation] = field(default_factory=dict[str, FunctionObservation])
    rules: dict[str, RulesObservation] = field(default_factory=dict[str, RulesObservation])
    position_kinds: dict[str, PositionKindsObservation] = field(default_factory=dict[str, PositionKindsObservation])
