"""What a study observes of the function of features, as its finished tasks keep it."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float64, Int32
from numpy import ndarray

from semconv.results.schema import Count
from semconv.study.facts import Facts
from semconv.system.shape import left_out


@dataclass(frozen=True, kw_only=True)
class LensFacts(Facts):
    """The logit lens of the pairs of a layer pair.

    Attributes:
        reason: why there is none; missing where there is.
        tokens: that both models tell logits of.
    """

    reason: str | None = left_out()
    tokens: Count = 0


@dataclass(frozen=True, eq=False)
class LensObservation:
    """The logit lens of the pairs of a layer pair; of no pair where there is a reason.

    Attributes:
        facts: what is known beside arrays.
        promoted_a: int32 [n, k], as in `semconv.study.function_models.Lenses`.
        suppressed_a: int32 [n, k].
        promoted_b: int32 [n, k].
        suppressed_b: int32 [n, k].
        agreement: float64 [n, 3].
    """

    facts: LensFacts
    promoted_a: Int32[ndarray, "n k"]
    suppressed_a: Int32[ndarray, "n k"]
    promoted_b: Int32[ndarray, "n k"]
    suppressed_b: Int32[ndarray, "n k"]
    agreement: Float64[ndarray, "n measures"]
