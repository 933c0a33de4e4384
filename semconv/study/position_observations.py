"""What a study observes of features at positions of several kinds, as its finished tasks keep it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64
from numpy import ndarray

from semconv.results.schema import Count
from semconv.study.facts import Facts
from semconv.study.function_observations import COMPARED
from semconv.system.shape import left_out

KINDS = ("uniform", "strongest", "elsewhere", "here")
"""Of positions: drawn uniformly; the strongest of the pair; of those drawn, the ones whose token stands at another
position where both features fire, with A's feature ablated at that other position; and these as they are."""
BESIDE = COMPARED[:-1]
"""What A's feature is compared with: its partner, and the hard negatives."""


@dataclass(frozen=True, kw_only=True)
class PositionKindsFacts(Facts):
    """At which positions features do the same.

    Attributes:
        reason: why nothing was ablated; missing where something was.
        tokens: that both models tell logits of.
        matched: feature pairs that were matched on one half of the documents.
    """

    reason: str | None = left_out()
    tokens: Count = 0
    matched: Count = 0


@dataclass(frozen=True, eq=False)
class PositionKindsObservation:
    """What ablating n pairs does at positions of several kinds; of no pair where there is a reason.

    Attributes:
        facts: what is known beside arrays.
        a: int64 [n], A features.
        b: int64 [n], their partners.
        r: float64 [n], on the half of the documents that they were matched on.
        token: int64 [n], number of the partner's top token, by which pairs are clustered.
        documents: int64 [n], held-out documents in which both fire.
        positions: int64 [n, 4], by `KINDS`, at which both were ablated and compared; 0 where there are too few
            documents.
        residual: float64 [n, 4, 5], by `KINDS`, mean correlation of residual effects with each of `BESIDE`, NaN where
            there is none.
    """

    facts: PositionKindsFacts
    a: Int64[ndarray, " n"]
    b: Int64[ndarray, " n"]
    r: Float64[ndarray, " n"]
    token: Int64[ndarray, " n"]
    documents: Int64[ndarray, " n"]
    positions: Int64[ndarray, "n kinds"]
    residual: Float64[ndarray, "n kinds beside"]

    @property
    def partner(self) -> Float64[ndarray, "n kinds"]:
        """Mean correlation with the partner."""
        return self.residual[:, :, 0]

    @property
    def beyond(self) -> Float64[ndarray, "n kinds"]:
        """Partner less best hard negative; NaN where there is no partner's effect or no negative's."""
        return self.partner - np.fmax.reduce(self.residual[:, :, 1:], axis=2)


def no_kinds(reason: str, matched: int = 0) -> PositionKindsObservation:
    """Returns that nothing was ablated, and why."""
    whole, kinds = np.zeros(0, dtype=np.int64), len(KINDS)
    return PositionKindsObservation(
        PositionKindsFacts(reason=reason, matched=matched),
        a=whole,
        b=whole,
        r=np.zeros(0),
        token=whole,
        documents=whole,
        positions=np.zeros((0, kinds), dtype=np.int64),
        residual=np.zeros((0, kinds, len(BESIDE))),
    )
