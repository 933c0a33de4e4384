"""How the scores of a layer grid lie over the depths of the two models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from semconv.results.schema.base import EITHER, REASON, VALUE, Interval, Part, Reason
from semconv.system.shape import left_out


@dataclass(frozen=True, kw_only=True)
class DepthTest(Part):
    """A statistic of the layer grid, tested by permuting which depth is which in both models."""

    statistic: float
    """Observed."""
    p: float
    """Share of the permutations that reach it, or (b + 1) / (m + 1) where `null.n_permutations` of them were drawn."""
    exact: bool
    """Whether all permutations were gone through."""
    interval: Interval | None = left_out()
    """Over resampled documents."""


DepthTestOrReason = Annotated[Annotated[DepthTest, VALUE] | Annotated[Reason, REASON], EITHER]


@dataclass(frozen=True, kw_only=True)
class Depths(Part):
    """One measure over the depths."""

    middle_above_ends: DepthTestOrReason
    """Mean score of the layer pairs in the middle third of both models, less the mean of early with early and late with
    late ones."""
    correspondence: DepthTestOrReason
    """Spearman's rank correlation of score and closeness in relative depth, given the number of feature pairs."""
    over_spans: DepthTestOrReason | None = left_out()
    """Rank correlation of the scores over tokens with those over spans."""
    by_category: dict[str, DepthTestOrReason] | None = left_out()
    """Category -> rank correlation of the scores of all features with those of its own."""
