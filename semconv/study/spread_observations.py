"""What a study observes of how far scores would move: with other documents, other features, other seeds of the SAEs."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float64, Int64
from numpy import ndarray

from semconv.results.schema import Count
from semconv.study.facts import Facts, NoFacts


@dataclass(frozen=True, eq=False)
class Resamples:
    """Two SAEs matched and scored again on documents drawn with replacement.

    Attributes:
        facts: none.
        counts: int64 [m], feature pairs in each resample.
        scores: float64 [m, measures], NaN where there is none.
    """

    facts: NoFacts
    counts: Int64[ndarray, " m"]
    scores: Float64[ndarray, "m measures"]


@dataclass(frozen=True, eq=False)
class PairHalves:
    """Random halves of the feature pairs of two SAEs, scored.

    Attributes:
        facts: none.
        scores: float64 [m, measures], NaN where there is none.
    """

    facts: NoFacts
    scores: Float64[ndarray, "m measures"]


@dataclass(frozen=True, kw_only=True)
class ScoredFacts(Facts):
    """Two SAEs matched and scored beside no null.

    Attributes:
        pairs: feature pairs after every filter.
    """

    pairs: Count


@dataclass(frozen=True, eq=False)
class ScoredObservation:
    """Two SAEs matched and scored beside no null.

    Attributes:
        facts: how many pairs.
        scores: float64 [measures], NaN where there is none.
    """

    facts: ScoredFacts
    scores: Float64[ndarray, " measures"]


@dataclass(frozen=True, eq=False)
class AcrossSeeds:
    """Every SAE at a hook of A, from whatever seed, matched with every one at a hook of B.

    Attributes:
        pairs: int64 [I, J], feature pairs; A's and B's own SAEs first.
        scores: float64 [I, J, measures], NaN where there is none.
    """

    pairs: Int64[ndarray, "i j"]
    scores: Float64[ndarray, "i j measures"]
