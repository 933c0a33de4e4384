"""What the results say of the residual streams themselves, without any SAE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from semconv.results.schema.base import EITHER, REASON, VALUE, Count, Part, Reason
from semconv.results.schema.layer_pairs import TestOrReason
from semconv.system.shape import left_out


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
class BaselineScore(Part):
    """A baseline of a layer pair beside its nulls."""

    score: float
    """The score."""
    nulls: dict[str, TestOrReason]
    """`shift` (the map, or the matching, of a text that is shifted by whole documents), `partners` (the partners of the
    feature pairs permuted), `shuffle` (the pairing permuted) -> the test."""


BaselineOrReason = Annotated[Annotated[BaselineScore, VALUE] | Annotated[Reason, REASON], EITHER]


@dataclass(frozen=True, kw_only=True)
class Stitched(Part):
    """An affine map between two streams, fitted on half of the documents of the sample and tested on the other half."""

    documents: Count
    """Documents of the sample."""
    fitted: Count
    """Positions that it was fitted on."""
    tested: Count
    """Positions that it was tested on."""
    r2_a_to_b: float
    """Share of the variance of B's stream, where it was tested, that is foretold from A's; below 0 is worse than its
    mean."""
    r2_b_to_a: float
    """Of A's from B's, by a map of its own."""
    penalty_a_to_b: float
    """Ridge penalty that was chosen, times the mean variance of a column of A's stream."""
    penalty_b_to_a: float
    """Of the map back."""
    features_a: Count
    """Features of A whose decoder rows were mapped: those active often enough, the most active where they are many."""
    features_b: Count
    """Features of B that they were compared with."""
    compared: Count
    """Feature pairs by activations both of whose features are among them."""
    assigned_cosine: BaselineOrReason
    """Mean cosine of the mapped rows with the rows of B that the one-to-one assignment of the highest sum gives
    them."""
    best_cosine: BaselineOrReason
    """Mean over the features of B of the highest cosine of their row with a mapped one."""
    same_partner: BaselineOrReason
    """Share of the compared pairs whose features the assignment brings together too."""


StitchedOrReason = Annotated[Annotated[Stitched, VALUE] | Annotated[Reason, REASON], EITHER]


@dataclass(frozen=True, kw_only=True)
class DecoderBaselines(Part):
    """What decoder rows and matching come to without, or beside, the correlation of features."""

    stitched: StitchedOrReason
    """Decoder rows mapped from A's stream to B's."""
    partial_rsa: dict[str, BaselineOrReason]
    """`logit_lens`, `embedding`, `both` -> RSA of the decoder rows of the feature pairs, given (partial rank
    correlation) how alike the same directions are over the vocabulary of either model."""
    best_r_a: BaselineOrReason
    """Mean over the features of A that vary of the highest r with a feature of B."""
    best_r_b: BaselineOrReason
    """Mean over the features of B, with those of A."""


@dataclass(frozen=True, kw_only=True)
class StreamPair(Part):
    """The streams that the SAEs of a layer pair read."""

    raw: StreamVariant
    """As they are."""
    within_token: StreamVariant
    """Each less the mean of its token, at the positions whose token occurs more than once in the sample."""
    decoders: DecoderBaselines | None = left_out()
    """Baselines of the decoder rows; not where `streams.draws` is 0."""


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
