"""What a study observes of the streams of two models, as its finished tasks keep it."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float64
from numpy import ndarray

from semconv.results.schema import Count, Many
from semconv.system.shape import Strict, left_out


@dataclass(frozen=True, kw_only=True)
class StreamsFacts(Strict):
    """The sample of the text at which streams are compared.

    Attributes:
        positions: how many.
        rows: of the text that A reads for them.
        documents: that they are from.
        repeated: positions whose token occurs more than once among them.
        tokens: different tokens that do.
        rsa_positions: that RSA compares.
    """

    positions: Count
    rows: Count
    documents: Count
    repeated: Count
    tokens: Count
    rsa_positions: Count


@dataclass(frozen=True, eq=False)
class StreamsObservation:
    """The sample of the text at which streams are compared.

    Attributes:
        facts: what is known of it.
    """

    facts: StreamsFacts


@dataclass(frozen=True, kw_only=True)
class StreamPairFacts(Strict):
    """The streams of two SAEs, compared.

    Attributes:
        reasons: of every measure as they are, then within tokens, why there is no score; empty where there is one.
        directions_a: that SVCCA keeps of A's stream as it is, and within tokens; 0 where it has none.
        directions_b: of B's.
    """

    reasons: Many[str]
    directions_a: Many[Count]
    directions_b: Many[Count]


@dataclass(frozen=True, eq=False)
class StreamPairObservation:
    """The streams of two SAEs, compared.

    Attributes:
        facts: what is known beside arrays.
        scores: float64 [variants, measures], in the orders of `semconv.study.streams`, NaN where there is none.
    """

    facts: StreamPairFacts
    scores: Float64[ndarray, "variants measures"]


@dataclass(frozen=True, kw_only=True)
class StitchFacts(Strict):
    """A map between two streams, and the decoder rows that it takes from A to B.

    Attributes:
        reason: why nothing was fitted; missing where something was.
        fitted: positions that the map was fitted on.
        tested: positions that it was tested on.
        documents: of the sample, one half of which each are from.
        penalty_a_to_b: that was chosen, of `semconv.compare.stitching.PENALTIES`.
        penalty_b_to_a: of the map back.
        features_a: of A whose decoder rows were mapped.
        features_b: of B that they were compared with.
        compared: feature pairs by activations both of whose features are among them.
    """

    reason: str | None = left_out()
    fitted: Count = 0
    tested: Count = 0
    documents: Count = 0
    penalty_a_to_b: float = 0.0
    penalty_b_to_a: float = 0.0
    features_a: Count = 0
    features_b: Count = 0
    compared: Count = 0


@dataclass(frozen=True, eq=False)
class StitchObservation:
    """A map between two streams, and the decoder rows that it takes from A to B.

    Attributes:
        facts: what is known beside arrays.
        r2: float64 [2], of A to B and of B to A; of none where nothing was fitted, like what follows.
        scores: float64 [3], of `semconv.study.decoder_baselines.STITCHED`, NaN where there is none.
        shifted: float64 [3, m], the same of maps fitted to shifted texts.
        partners: float64 [m], the last of them under permuted partners.
    """

    facts: StitchFacts
    r2: Float64[ndarray, " directions"]
    scores: Float64[ndarray, " scores"]
    shifted: Float64[ndarray, "scores m"]
    partners: Float64[ndarray, " m"]


@dataclass(frozen=True, kw_only=True)
class PartialFacts(Strict):
    """What the vocabulary leaves of the RSA of decoder rows.

    Attributes:
        pairs: feature pairs.
        reasons: given what of `semconv.study.decoder_baselines.GIVEN` there is no score, and why; empty where there is.
    """

    pairs: Count
    reasons: Many[str]


@dataclass(frozen=True, eq=False)
class PartialObservation:
    """What the vocabulary leaves of the RSA of decoder rows.

    Attributes:
        facts: what is known beside arrays.
        scores: float64 [given], NaN where there is none.
        shuffle: float64 [given, m], under permuted pairings.
    """

    facts: PartialFacts
    scores: Float64[ndarray, " given"]
    shuffle: Float64[ndarray, "given m"]


@dataclass(frozen=True, kw_only=True)
class BestRFacts(Strict):
    """The best r of every feature.

    Attributes:
        vary_a: features of A that vary.
        vary_b: of B.
    """

    vary_a: Count
    vary_b: Count


@dataclass(frozen=True, eq=False)
class BestRObservation:
    """The best r of every feature.

    Attributes:
        facts: how many have one.
        scores: float64 [2], mean over the features of A, and over those of B; NaN where none varies.
        shifted: float64 [2, m], under shifts of the text.
    """

    facts: BestRFacts
    scores: Float64[ndarray, " sides"]
    shifted: Float64[ndarray, "sides m"]


@dataclass(frozen=True, eq=False)
class DecoderObservations:
    """The decoder baselines of a layer pair.

    Attributes:
        stitched: decoder rows mapped from A's stream to B's.
        partial: what the vocabulary leaves of RSA.
        best_r: the best r of every feature.
    """

    stitched: StitchObservation
    partial: PartialObservation
    best_r: BestRObservation
