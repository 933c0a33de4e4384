"""What the results say of what features do: both features of pairs ablated, each in its model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from semconv.results.schema.base import EITHER, REASON, VALUE, Count, Many, Part, Reason
from semconv.results.schema.position_kinds import PositionKindsOrReason
from semconv.system.shape import left_out


@dataclass(frozen=True, kw_only=True)
class FunctionExample(Part):
    """A feature pair, with what ablating either feature does to the prediction of the next token."""

    feature_a: Count
    """Of A."""
    feature_b: Count
    """Its partner."""
    r: float
    """On the half of the documents that pairs were matched on."""
    agreement: float
    """Mean over positions of the correlation of the two residual effects."""
    best_negative: float
    """The same with the best hard negative."""
    positions: Count
    """At which both were ablated."""
    tokens_a: Many[str]
    """Top tokens of A's feature."""
    tokens_b: Many[str]
    """Of the partner."""
    lowered_a: Many[str]
    """Tokens that become less likely when A's feature is taken away, the most first."""
    raised_a: Many[str]
    """Tokens that become more likely."""
    lowered_b: Many[str]
    """Of the partner, in B."""
    raised_b: Many[str]
    """Likewise."""


@dataclass(frozen=True, kw_only=True)
class FunctionMean(Part):
    """How alike effects are on average, over the pairs that have a value."""

    pairs: Count
    """That have one."""
    residual: float | None
    """Correlation of residual effects: less the mean effect of other features that fire there, of the same dose."""
    residual_error: float | None
    """Its standard error, pairs of one top token taken together."""
    plain: float | None
    """Correlation of effects as they are."""


@dataclass(frozen=True, kw_only=True)
class FunctionTest(Part):
    """By how much partners agree more than their best hard negatives, beside flipped signs."""

    difference: float
    """Mean over pairs of partner less best hard negative, of residual effects."""
    error: float | None
    """Its standard error, pairs of one top token taken together; null for pairs of a single token."""
    p: float
    """(b + 1) / (m + 1), b of m draws that reach the difference when the signs of all pairs of a token are flipped."""
    draws: Count
    """m."""
    pairs: Count
    """That have both."""
    tokens: Count
    """Different top tokens among them."""
    higher: float
    """Share of the pairs whose partner is above the best hard negative."""


FunctionTestOrReason = Annotated[Annotated[FunctionTest, VALUE] | Annotated[Reason, REASON], EITHER]


@dataclass(frozen=True, kw_only=True)
class Retrieval(Part):
    """How often the partner is the most alike of some candidates."""

    top1: float | None
    """Share in which it is the first."""
    mrr: float | None
    """Mean of 1 / rank."""
    chance: float | None
    """Mean of 1 / candidates."""


@dataclass(frozen=True, kw_only=True)
class FunctionPair(Part):
    """The features of two SAEs, ablated in pairs."""

    matched: Count
    """Feature pairs that were matched on one half of the documents."""
    pairs: Count
    """Of them, those that were studied."""
    too_few: Count
    """Of these, those that fire together in too few documents of the other half."""
    alike: dict[str, FunctionMean]
    """`partner`, `others` (the mean of other features that fire there), `same_token`, `second_best`, `co_active` (the
    hard negatives), `random` (a random direction) -> how alike its effect is to that of A's feature."""
    beyond: FunctionTestOrReason
    """Partner less best hard negative."""
    among_negatives: Retrieval
    """The partner among the hard negatives at each position."""
    among_pairs: Retrieval
    """The partner among all pairs, by mean residual effects."""
    within_token: Retrieval
    """The same among pairs of its top token, where it has others."""
    rsa: float | None
    """Correlation of the similarities among A's mean residual effects with those among B's."""
    cosine: float | None
    """Mean cosine of the two mean effects."""
    residual_r: float | None
    """Mean correlation of the two mean residual effects."""
    signs: float | None
    """Mean share of the tokens moved most that both move the same way."""
    kl_r: float | None
    """Mean correlation over positions of the two Kullback-Leibler divergences."""
    kl_r_others: float | None
    """The same with other features that fire there."""
    size: float | None
    """Mean of log2 of the divergence in A over that in B."""
    points: Many[tuple[float, float, float | None]]
    """Of every pair that was ablated: r, agreement with the partner, and with the best hard negative, to 4 digits."""
    agree: FunctionExample | None = left_out()
    """The pair whose partner is furthest above its best hard negative."""
    differ: FunctionExample | None = left_out()
    """Of the pairs whose r is not below the median, the one whose partner is least above."""


FunctionPairOrReason = Annotated[Annotated[FunctionPair, VALUE] | Annotated[Reason, REASON], EITHER]


@dataclass(frozen=True, kw_only=True)
class LensPair(Part):
    """How alike the logit lens is of the features of all pairs of a layer pair."""

    pairs: Count
    """That have one."""
    correlation: float | None
    """Mean correlation of the two features' logits."""
    promoted: float | None
    """Mean share of the tokens promoted most that both name."""
    suppressed: float | None
    """Of those suppressed."""
    chance: float
    """What two features that have nothing in common share."""


LensPairOrReason = Annotated[Annotated[LensPair, VALUE] | Annotated[Reason, REASON], EITHER]


@dataclass(frozen=True, kw_only=True)
class RuleBand(Part):
    """The pairs of a rule of matching whose r lies in a band."""

    above: float
    """r is above this; -1 for the lowest band."""
    up_to: float
    """r is at most this; 1 for the highest band."""
    pairs: Count
    """That have an agreement."""
    agreement: float | None
    """Their mean correlation of residual effects."""
    error: float | None
    """Its standard error, pairs of one top token taken together."""
    higher: float | None
    """Share of the pairs whose partner is above the best hard negative, of those that have one."""


@dataclass(frozen=True, kw_only=True)
class RuleAgreement(Part):
    """What the features do that a rule of matching pairs."""

    matched: Count
    """Feature pairs that the rule finds on one half of the documents."""
    drawn: Count
    """Of them, those that were ablated."""
    pairs: Count
    """Of these, those that fire together in enough documents of the other half and so have an agreement."""
    agreement: float | None
    """Their mean correlation of residual effects."""
    error: float | None
    """Its standard error, pairs of one top token taken together."""
    beyond: float | None
    """Mean of partner less best hard negative, which is found by r whatever the rule."""
    beyond_error: float | None
    """Its standard error."""
    higher: float | None
    """Share of the pairs whose partner is above the best hard negative, of those that have one."""
    difference: float | None
    """Mean agreement less that of the suite's own rule; null for that rule itself."""
    difference_error: float | None
    """Its standard error; that many pairs are of both rules is taken into account."""
    by_r: Many[RuleBand]
    """By r over all positions of that half, whatever the rule; the lowest band first."""


RuleAgreementOrReason = Annotated[Annotated[RuleAgreement, VALUE] | Annotated[Reason, REASON], EITHER]


@dataclass(frozen=True, kw_only=True)
class ComparedRules(Part):
    """Which way of matching finds features that do the same, at a layer pair."""

    own: str
    """The rule that the suite itself matches by."""
    partners: Count
    """Features of B that some rule gives a partner."""
    drawn: Count
    """Of these, those drawn at random of which the pairs of all rules were ablated."""
    pairs: Count
    """Distinct feature pairs that were ablated."""
    positions: Count
    """At which, each in another document."""
    rules: dict[str, RuleAgreementOrReason]
    """`best`, `mutual`, `greedy`, `optimal` (`match.strategy`), `within_token` (by r within tokens), `decoder_cosine`
    (decoder rows mapped between the streams), `r_above_0_3` and `r_above_0_5` (of the suite's own pairs) -> its
    pairs."""


ComparedRulesOrReason = Annotated[Annotated[ComparedRules, VALUE] | Annotated[Reason, REASON], EITHER]


@dataclass(frozen=True, kw_only=True)
class Function(Part):
    """What features do to the prediction of the next token."""

    positions: Count
    """At which the features of a pair are ablated, each in another document."""
    grid: dict[str, FunctionPairOrReason]
    """Layer pair -> what was found, of those that are studied."""
    thirds: dict[str, FunctionTestOrReason]
    """`early`, `middle`, `late` -> partner less best hard negative over the layer pairs of that third of the depths of
    both models: the primary statistic. Without three depths in each model `all` takes their place."""
    controls: dict[str, FunctionPairOrReason]
    """Control -> what was found."""
    lens: dict[str, LensPairOrReason]
    """Layer pair -> the logit lens of its pairs."""
    rules: dict[str, ComparedRulesOrReason] | None = left_out()
    """Layer pair -> which way of matching finds features that do the same, where the suite compares some."""
    position_kinds: dict[str, PositionKindsOrReason] | None = left_out()
    """Layer pair -> at which kinds of positions features do the same, where the suite compares some."""
