"""What the results say of the residual streams themselves, without any SAE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from semconv.results.schema.base import EITHER, REASON, VALUE, Count, Part, Reason


@dataclass(frozen=True, kw_only=True)
class StreamScore(Part):
    """How alike two streams are by one measure."""

    score: float
    """Of the positions of the sample, paired with themselves."""


StreamScoreOrReason = Annotated[Annotated[StreamScore, VALUE] | Annotated[Reason, REASON], EITHER]


@dataclass(frozen=True, kw_only=True)
class StreamVariant(Part):
    """Two streams, as they are or less the mean of each token."""

    measures: dict[str, StreamScoreOrReason]
    """`cka_unbiased`, `svcca_variance`, `rsa` -> its score, or why there is none."""
    directions_a: Count
    """Directions of A's stream that SVCCA keeps; 0 where it has none."""
    directions_b: Count
    """Of B's."""


@dataclass(frozen=True, kw_only=True)
class StreamPair(Part):
    """The streams that the SAEs of a layer pair read."""

    raw: StreamVariant
    """As they are."""
    within_token: StreamVariant
    """Each less the mean of its token, at the positions whose token occurs more than once in the sample."""


@dataclass(frozen=True, kw_only=True)
class StreamsGrid(Part):
    """The residual streams of two models, compared at a sample of the text."""

    positions: Count
    """Positions of the sample."""
    rows: Count
    """Rows of the text that A read for them."""
    documents: Count
    """Documents that they are from."""
    repeated: Count
    """Positions whose token occurs more than once in the sample; the others are left out within tokens."""
    tokens: Count
    """Different tokens that occur more than once."""
    rsa_positions: Count
    """Positions that RSA compares, drawn from the repeated ones."""
    grid: dict[str, StreamPair]
    """Layer pair -> what was found."""
