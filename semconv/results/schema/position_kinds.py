"""What the results say of features at positions of several kinds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from semconv.results.schema.base import EITHER, REASON, VALUE, Count, Part, Reason


@dataclass(frozen=True, kw_only=True)
class PositionKind(Part):
    """How alike features act at positions of one kind, over the pairs that have some."""

    pairs: Count
    """That have one at least."""
    positions: Count
    """Of all pairs together."""
    agreement: float | None
    """Mean over pairs of the mean correlation of residual effects."""
    error: float | None
    """Its standard error, pairs of one top token taken together."""
    beyond: float | None
    """Mean of partner less best hard negative, which is found at the same positions."""
    beyond_error: float | None
    """Its standard error."""


@dataclass(frozen=True, kw_only=True)
class PositionDifference(Part):
    """By how much features act more alike at positions of one kind than of another, over the pairs that have both."""

    difference: float
    """Mean over pairs."""
    error: float | None
    """Its standard error, pairs of one top token taken together; null for pairs of a single token."""
    p: float
    """(b + 1) / (m + 1), b of m draws that are as far from zero when the signs of all pairs of a token are flipped."""
    draws: Count
    """m."""
    pairs: Count
    """That have both."""
    tokens: Count
    """Different top tokens among them."""
    higher: float
    """Share of the pairs above zero."""


PositionDifferenceOrReason = Annotated[
    Annotated[PositionDifference, VALUE] | Annotated[Reason, REASON],
    EITHER,
]


@dataclass(frozen=True, kw_only=True)
class PositionKinds(Part):
    """At which positions features act alike: the same pairs, ablated at positions of several kinds."""

    matched: Count
    """Feature pairs that were matched on one half of the documents."""
    pairs: Count
    """Of them, those that were studied."""
    too_few: Count
    """Of these, those that fire together in too few documents of the other half."""
    positions: Count
    """Of each pair and kind, each in another document."""
    kinds: dict[str, PositionKind]
    """`uniform` (drawn among those where both features fire), `strongest` (of the largest product of both activations),
    `elsewhere` (those of the drawn ones whose token stands at another such position of the pair, in another document,
    with A's feature ablated at that other position and B's where it was), `here` (these as they are) -> what was
    found."""
    strongest_less_uniform: PositionDifferenceOrReason
    """At the strongest positions less at those drawn uniformly."""
    here_less_elsewhere: PositionDifferenceOrReason
    """With both features at one position less with A's at another of the same token, which leaves what the token alone
    has both do."""


PositionKindsOrReason = Annotated[Annotated[PositionKinds, VALUE] | Annotated[Reason, REASON], EITHER]
