"""What a study observes of the function of features, as its finished tasks keep it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64
from numpy import ndarray

from semconv.results.schema import Count, FunctionExample
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


ALTERNATES = ("same_token", "second_best", "co_active")
"""Features of B that could be mistaken for the partner, in the order of their columns: that of the highest r with A's
feature among those of the partner's top token, that of the highest r of all, that which fires at most of the pair's
positions."""
COMPARED = ("partner", "others", *ALTERNATES, "random")
"""What A's feature is compared with: its partner, the mean of other features that fire there, alternates, and a random
direction."""
TOGETHER = ("rsa", "top1", "mrr", "within_token_top1", "within_token_mrr", "within_token_chance")
"""What the pairs of a layer pair say together (`semconv.statistics.function_scores.LayerFunction`)."""
REPLACEMENTS = ("partner", *ALTERNATES, "random")
"""What is put in the place of a feature's contribution, mapped from the other stream, in the order of their columns."""
OF_PAIRS = ("top1", "mrr", "chance_top1", "cosine", "residual_r", "signs", "kl_r", "kl_r_others", "size")
"""Fields of `semconv.statistics.function_scores.PairFunction` that are kept of every pair."""


@dataclass(frozen=True, kw_only=True)
class FunctionFacts(Facts):
    """What ablating the features of two SAEs does.

    Attributes:
        reason: why nothing was ablated; missing where something was.
        matched: feature pairs that were matched on one half of the documents.
        tokens: that both models tell logits of.
        agree: of the pairs, the one whose partner is furthest above its best hard negative; missing where none has one.
        differ: of those whose r is above the median, the one whose partner is furthest below.
    """

    reason: str | None = left_out()
    matched: Count = 0
    tokens: Count = 0
    agree: FunctionExample | None = left_out()
    differ: FunctionExample | None = left_out()


@dataclass(frozen=True, eq=False)
class FunctionObservation:
    """What ablating the features of two SAEs does, of n pairs; of none where there is a reason.

    Attributes:
        facts: what is known beside arrays.
        a: int64 [n], A features.
        b: int64 [n], their partners.
        r: float64 [n], on the half of the documents that they were matched on.
        token: int64 [n], number of the partner's top token, by which pairs are clustered.
        alternates: int64 [n, 3], B features by `ALTERNATES`, -1 for none.
        documents: int64 [n], held-out documents in which both fire.
        positions: int64 [n], at which both were ablated and compared; 0 where there are too few documents.
        residual: float64 [n, 6], mean correlation of residual effects with each of `COMPARED`, NaN where there is none.
        plain: float64 [n, 6], of effects as they are.
        scores: float64 [n, 9], by `OF_PAIRS`.
        together: float64 [6], by `TOGETHER`.
    """

    facts: FunctionFacts
    a: Int64[ndarray, " n"]
    b: Int64[ndarray, " n"]
    r: Float64[ndarray, " n"]
    token: Int64[ndarray, " n"]
    alternates: Int64[ndarray, "n k"]
    documents: Int64[ndarray, " n"]
    positions: Int64[ndarray, " n"]
    residual: Float64[ndarray, "n compared"]
    plain: Float64[ndarray, "n compared"]
    scores: Float64[ndarray, "n scores"]
    together: Float64[ndarray, " together"]

    @property
    def best_negative(self) -> Float64[ndarray, " n"]:
        """Of the hard negatives, all but partner and random direction, the best of each pair; NaN where it has none."""
        return best_negative(self.residual)


def best_negative(residual: Float64[ndarray, "n compared"]) -> Float64[ndarray, " n"]:
    """Returns of numbers by `COMPARED` the best of the hard negatives of each pair; NaN where it has none."""
    return np.fmax.reduce(residual[:, 1:-1], axis=1)


def no_effects(reason: str, matched: int = 0) -> FunctionObservation:
    """Returns that nothing was ablated, and why."""
    whole, number = np.zeros(0, dtype=np.int64), np.zeros(0)
    return FunctionObservation(
        FunctionFacts(reason=reason, matched=matched),
        a=whole,
        b=whole,
        r=number,
        token=whole,
        alternates=np.zeros((0, len(ALTERNATES)), dtype=np.int64),
        documents=whole,
        positions=whole,
        residual=np.zeros((0, len(COMPARED))),
        plain=np.zeros((0, len(COMPARED))),
        scores=np.zeros((0, len(OF_PAIRS))),
        together=np.full(len(TOGETHER), np.nan),
    )


@dataclass(frozen=True, kw_only=True)
class RulesFacts(Facts):
    """Which way of matching finds features that do the same.

    Attributes:
        reason: why nothing was ablated; missing where something was.
        tokens: that both models tell logits of.
        matched: rule (`semconv.study.matching_rules.RULES`) -> how many pairs it finds on one half of the documents.
        reasons: rule -> why it finds none, of those that cannot be applied.
        partners: features of B that some rule gives a partner.
        drawn: of these, those whose pairs were ablated.
    """

    reason: str | None = left_out()
    tokens: Count = 0
    matched: dict[str, Count]
    reasons: dict[str, str]
    partners: Count = 0
    drawn: Count = 0


@dataclass(frozen=True, eq=False)
class RulesObservation:
    """What ablating the pairs of several rules of matching does, of n pairs, each once; of none if there is a reason.

    Attributes:
        facts: what is known beside arrays.
        a: int64 [n], A features.
        b: int64 [n], B features.
        by: bool [rules, n], whether a rule of `RULES` pairs them.
        r: float64 [n], over all positions of the half of the documents that they were matched on.
        token: int64 [n], number of B's top token, by which pairs are clustered.
        documents: int64 [n], held-out documents in which both fire.
        positions: int64 [n], at which both were ablated and compared.
        residual: float64 [n, 6], as in `FunctionObservation`.
    """

    facts: RulesFacts
    a: Int64[ndarray, " n"]
    b: Int64[ndarray, " n"]
    by: Bool[ndarray, "rules n"]
    r: Float64[ndarray, " n"]
    token: Int64[ndarray, " n"]
    documents: Int64[ndarray, " n"]
    positions: Int64[ndarray, " n"]
    residual: Float64[ndarray, "n compared"]


@dataclass(frozen=True, kw_only=True)
class SubstitutionFacts(Facts):
    """Whether partners can stand in for features.

    Attributes:
        reason: why nothing was replaced; missing where something was.
        matched: feature pairs that were matched on one half of the documents.
    """

    reason: str | None = left_out()
    matched: Count = 0


@dataclass(frozen=True, eq=False)
class SubstitutionObservation:
    """What it does to replace contributions by mapped ones, of n pairs, in A and in B; of none if there is a reason.

    Arrays that begin with 2 are of B's contributions in A and of A's in B. Sums, cosines and their columns are those of
    `semconv.statistics.substitution.SubstitutionSums`, with `REPLACEMENTS` as what takes a contribution's place.

    Attributes:
        facts: what is known beside arrays.
        a: int64 [n], A features.
        b: int64 [n], their partners.
        r: float64 [n], on the half of the documents that they were matched on.
        token: int64 [n], number of the top token of B's feature, by which pairs are clustered.
        alternates: int64 [2, n, 3], by `ALTERNATES`, features of B and features of A, -1 for none.
        documents: int64 [n], held-out documents in which both fire.
        positions: int64 [n], at which contributions were replaced; 0 where there are too few documents.
        with_next: int64 [n], those of them with a next token in the text.
        r2: float64 [2], share of the variance of the test part that the map from the other stream foretells.
        kl: float64 [2, n, 11], sums in nats.
        loss: float64 [2, n, 11], likewise.
        norms: float64 [2, n, 2], sums.
        cosine: float64 [2, n, 5].
    """

    facts: SubstitutionFacts
    a: Int64[ndarray, " n"]
    b: Int64[ndarray, " n"]
    r: Float64[ndarray, " n"]
    token: Int64[ndarray, " n"]
    alternates: Int64[ndarray, "2 n alternates"]
    documents: Int64[ndarray, " n"]
    positions: Int64[ndarray, " n"]
    with_next: Int64[ndarray, " n"]
    r2: Float64[ndarray, " 2"]
    kl: Float64[ndarray, "2 n changes"]
    loss: Float64[ndarray, "2 n changes"]
    norms: Float64[ndarray, "2 n 2"]
    cosine: Float64[ndarray, "2 n replacements"]


def no_substitution(reason: str, matched: int = 0) -> SubstitutionObservation:
    """Returns that nothing was replaced, and why."""
    whole, number, k = np.zeros(0, dtype=np.int64), np.zeros(0), len(REPLACEMENTS)
    return SubstitutionObservation(
        SubstitutionFacts(reason=reason, matched=matched),
        a=whole,
        b=whole,
        r=number,
        token=whole,
        alternates=np.zeros((2, 0, len(ALTERNATES)), dtype=np.int64),
        documents=whole,
        positions=whole,
        with_next=whole,
        r2=np.full(2, np.nan),
        kl=np.zeros((2, 0, 1 + 2 * k)),
        loss=np.zeros((2, 0, 1 + 2 * k)),
        norms=np.zeros((2, 0, 2)),
        cosine=np.zeros((2, 0, k)),
    )
