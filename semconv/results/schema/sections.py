"""Subspaces, and the published protocol corrected step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from semconv.results.schema.base import EITHER, REASON, VALUE, Count, Many, Part, Reason
from semconv.results.schema.layer_pairs import Measures
from semconv.system.shape import left_out


@dataclass(frozen=True, kw_only=True)
class SpanPair(Part):
    """A layer pair over activations pooled over spans of text."""

    pairs: Count
    """Feature pairs after every filter."""
    measures: Measures
    """Scores beside `shuffle`."""
    reason: str | None = left_out()
    """Why nothing was scored."""


@dataclass(frozen=True, kw_only=True)
class CategoryPair(SpanPair):
    """The features of one category in A and in B, matched among themselves."""

    features_a: Count
    """Features of A in the category."""
    features_b: Count
    """Features of B."""


@dataclass(frozen=True, kw_only=True)
class Relation(Part):
    """How the categories relate to each other in A and in B."""

    categories: Many[str]
    """Categories with enough features in both."""
    left_out: Many[str]
    """The others."""
    rho: float | None
    """Spearman correlation of the two category-by-category similarities."""
    p: float
    """(b + 1) / (m + 1) over permuted categories, or b / m over all permutations where they were gone through."""
    exact: bool
    """Whether all permutations were gone through."""
    similarity_a: Many[Many[float]]
    """Mean cosine of decoder rows between every two categories of A."""
    similarity_b: Many[Many[float]]
    """Of B."""


RelationOrReason = Annotated[Annotated[Relation, VALUE] | Annotated[Reason, REASON], EITHER]


@dataclass(frozen=True, kw_only=True)
class Subspaces(Part):
    """Features by the category of their top tokens."""

    categories: str
    """Name of the keyword lists."""
    rule: str
    """When a token belongs to a keyword."""
    sha256: str
    """Of the keyword lists."""
    grid: dict[str, dict[str, CategoryPair]]
    """Layer pair -> category -> what was found."""
    relations: dict[str, RelationOrReason]
    """Layer pair -> how the categories relate."""
    shared_features: dict[str, dict[str, Count]]
    """`MODEL/SAE` -> `CATEGORY & CATEGORY` -> features that are in both."""


@dataclass(frozen=True, kw_only=True)
class SpansGrid(Part):
    """The layer grid over activations pooled over spans."""

    kind: str
    """What a span is."""
    how: str
    """How activations are pooled."""
    n_spans: Count
    """Spans."""
    mean_length: float
    """Tokens per span."""
    grid: dict[str, SpanPair]
    """Layer pair -> what was found."""


@dataclass(frozen=True, kw_only=True)
class StepScore(Part):
    """A score under one variant of the protocol."""

    score: float
    """Similarity of the paired decoder rows."""
    null_mean: float | None
    """Mean of the shuffled pairings."""
    p: float
    """Among them; 0 is possible where the published code is followed."""
    calibrated: float | None = left_out()
    """As in `NullTest`."""
    draws: Count | None = left_out()
    """Shuffles, where the number is neither ten nor `null.n_permutations`."""


StepOrReason = Annotated[Annotated[StepScore, VALUE] | Annotated[Reason, REASON], EITHER]


@dataclass(frozen=True, kw_only=True)
class Step(Part):
    """One variant between the published protocol and the corrected one."""

    step: str
    """What is corrected in it, on top of those before."""
    pairs: Count
    """Feature pairs after every filter."""
    svcca: StepOrReason
    """By SVCCA."""
    rsa: StepOrReason
    """By RSA."""


@dataclass(frozen=True, kw_only=True)
class Published(Part):
    """From the published protocol to the corrected one, one departure after another."""

    layer_a: Count
    """Layer of A."""
    layer_b: Count
    """Layer of B."""
    steps: Many[Step]
    """The published protocol first."""
