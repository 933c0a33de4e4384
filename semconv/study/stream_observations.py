"""What a study observes of the streams of two models, as its finished tasks keep it."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float64
from numpy import ndarray

from semconv.results.schema import Count, Many
from semconv.system.shape import Strict


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
