"""What was found of layer pairs, and over the layer grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from semconv.results.schema.base import EITHER, REASON, VALUE, Count, Interval, Many, Part, Reason
from semconv.system.shape import left_out


@dataclass(frozen=True, kw_only=True)
class Tail(Part):
    """A generalised Pareto distribution fitted to the largest draws (Knijnenburg et al. 2009)."""

    p: float
    """Upper end of the one-sided 95% interval of the probability of the score, not below 1 / (10 (m + 1))."""
    p_counted: float
    """(b + 1) / (m + 1) of the m draws, which needs no fit; 1 / (m + 1), as the score is above all of them."""
    exceedances: Count
    """Draws it was fitted to."""
    threshold: float
    """The largest draw that is none of them."""
    shape: float
    """xi; below 0 the tail ends."""
    scale: float
    """sigma, in units of the score."""
    fit_p: float
    """p of the Anderson-Darling test that they come from it; at most 0.05 is no fit."""


TailOrReason = Annotated[Annotated[Tail, VALUE] | Annotated[Reason, REASON], EITHER]


@dataclass(frozen=True, kw_only=True, slots=True)  # a large grid has many
class NullTest(Part):
    """A score beside the draws of a null."""

    score: float
    """The score that is tested; under a null that matches again that of the strongest pairs."""
    mean: float | None
    """Of the draws."""
    sd: float | None
    """Standard deviation of the draws, n - 1; null for a single draw."""
    z: float | None
    """(score - mean) / sd; null where the draws do not vary."""
    p: float
    """(b + 1) / (m + 1), b of m draws at or above the score (Phipson & Smyth 2010), unless `p_from` says otherwise."""
    calibrated: float | None
    """max(score - c, 0) / (1 - c) with c the 95th percentile of the draws: 0 is chance, 1 is the top of the measure."""
    q: float | None = left_out()
    """p corrected over the layer pairs of a table (Benjamini & Hochberg 1995)."""
    q_by: float | None = left_out()
    """The same under any dependence (Benjamini & Yekutieli 2001)."""
    draws: Count | None = left_out()
    """m, where it is not `null.n_permutations`, or under another null its own number in `null`."""
    p_from: Literal["sequential", "tail"] | None = left_out()
    """How p was got, unless counted from draws whose number was fixed: `sequential`, the draws ended once
    `null.stop_after` of them reached the score (Besag & Clifford 1991, exact); `tail`, an approximation, the p of
    `tail`."""
    tail: TailOrReason | None = left_out()
    """Where `null.tail` asks for it, of a score above every draw: the fitted tail, or why there is none."""


TestOrReason = Annotated[Annotated[NullTest, VALUE] | Annotated[Reason, REASON], EITHER]


@dataclass(frozen=True, kw_only=True)
class Spread(Part):
    """How far a score would move by chance: standard deviations, from one source each, and of their sum."""

    documents: float | None = left_out()
    """Over documents drawn with replacement and matched again."""
    features: float | None = left_out()
    """Over features, from random halves of the feature pairs (Shao & Wu 1989)."""
    seeds: float | None = left_out()
    """Over the seeds of both SAEs, from all pairs of SAEs at these layers."""
    total: float
    """Of the sum of those that are given."""
    dof: float
    """Degrees of freedom of the total (Satterthwaite 1946)."""


@dataclass(frozen=True, kw_only=True)
class SeedRange(Part):
    """A score through SAEs from several seeds."""

    n: Count
    """Pairs of SAEs that have a score."""
    lowest: float
    """Of their scores."""
    mean: float
    """Likewise."""
    highest: float
    """Likewise."""


@dataclass(frozen=True, kw_only=True, slots=True)  # a large grid has many
class Score(Part):
    """The score of a measure for one layer pair, beside its nulls."""

    score: float
    """Similarity of the paired decoder rows."""
    nulls: dict[str, TestOrReason]
    """`shuffle`, `frequency`, and those that match again, `rematch`, `same_token`, `same_bigram` -> the test."""
    saturated: bool | None = left_out()
    """Whether the measure is near its top whatever the pairing, for there are few pairs for so many directions."""
    interval: Interval | None = left_out()
    """At 95%, over all that `spread` names."""
    spread: Spread | None = left_out()
    """How far it would move with other documents, features or seeds."""
    across_seeds: SeedRange | None = left_out()
    """The same layers through SAEs from other seeds, these among them."""
    strongest_pairs_score: float | None = left_out()
    """Score of the strongest pairs without the filters that ask for agreement: what nulls that match again are
    compared with."""


ScoreOrReason = Annotated[Annotated[Score, VALUE] | Annotated[Reason, REASON], EITHER]
Measures = dict[str, ScoreOrReason]
"""Name of a measure -> its score, or why there is none."""


@dataclass(frozen=True, kw_only=True)
class FilterStep(Part):
    """One filter between best matches and feature pairs."""

    step: str
    """What is kept."""
    before: Count
    """Pairs before it; before the first, every B feature counts as one."""
    after: Count
    """Pairs after it."""


@dataclass(frozen=True, kw_only=True)
class SplitHalf(Part):
    """How far the matches on two halves of the documents agree."""

    features: Count
    """B features that vary in both halves."""
    same_partner: float | None
    """Share of them whose best partner is the same; null where there is none."""
    r_reliability: float | None
    """Pearson correlation of their r between the halves, of those with the same partner."""


@dataclass(frozen=True, kw_only=True)
class RematchCounts(Part):
    """How many feature pairs the filters leave under a null that matches again."""

    pairs_mean: float
    """Mean over the draws."""
    pairs_max: Count
    """Largest."""
    pairs_p: float
    """p of the true number among them."""
    scored_pairs: Count
    """Strongest pairs that were scored under every draw, and on the true text."""
    moved_mean: float | None = left_out()
    """Positions that get B's activations of another one, mean over the draws; not under `rematch`."""


@dataclass(frozen=True, kw_only=True)
class Influence(Part):
    """What the correlation of the pairs rests on; shares are of a pair's covariance, and of all pairs the median."""

    strongest_share: float | None
    """Share of the ten positions that add most."""
    document_share: float | None
    """Share of the document that adds most."""
    pairs_of_one_document: Count
    """Pairs of which one document adds more than half."""
    token_share: float | None = left_out()
    """Share of the token that adds most; this and what follows not where spans are compared."""
    pairs_of_one_token: Count | None = left_out()
    """Pairs of which one token adds more than half."""
    within_token_share: float | None = left_out()
    """Share that is left when the mean of each token is taken off both features."""
    r_within_token: float | None = left_out()
    """r of what is left."""
    pairs_within_token: Count | None = left_out()
    """Pairs of which that r is above `match.min_r` too."""


@dataclass(frozen=True, kw_only=True)
class LayerPair(Part):
    """One SAE of A and one of B: their feature pairs, and every measure."""

    layer_a: Count
    """Block of A's SAE."""
    layer_b: Count
    """Block of B's."""
    sae_a: str
    """Label of A's SAE."""
    sae_b: str
    """Label of B's."""
    pairs: Count
    """Feature pairs after every filter."""
    pairs_interval: Interval | None = left_out()
    """Of that number at 95%, over resampled documents and over seeds where there are several."""
    mean_r: float | None
    """Mean r of the pairs; null where there is none."""
    filters: Many[FilterStep]
    """What each filter left, in order."""
    influence: Influence | None = left_out()
    """What their r rests on; not without pairs."""
    undefined_a: Count
    """A features that never vary over the text."""
    undefined_b: Count
    """B features that never do."""
    noisy_features_a: Count
    """A features whose quantisation noise is above 0.001 of their root mean square."""
    noisy_features_b: Count
    """B features likewise."""
    matches_sha256: str
    """SHA-256 of the best partners of all features, and their r."""
    split_half: SplitHalf
    """How far two halves of the text agree."""
    measures: Measures
    """Scores."""
    rematch: RematchCounts | None = left_out()
    """Counts under shifts of the text."""
    same_token: RematchCounts | None = left_out()
    """Counts where positions of the same token are exchanged between documents."""
    same_bigram: RematchCounts | None = left_out()
    """Counts where positions of the same token after the same token are."""


@dataclass(frozen=True, kw_only=True)
class BestOfGrid(Part):
    """The best layer pair against the best that every draw reaches anywhere (Westfall & Young 1993).

    Scores and draws are calibrated at every layer pair (`calibrated_together`), and not cut at 0.
    """

    score: float
    """Of the best layer pair, calibrated."""
    null_mean: float
    """Mean of the best of every draw."""
    p: float
    """(b + 1) / (m + 1) over the best of every draw."""
    draws: Count | None = left_out()
    """m, where it is not `null.n_permutations`, or under another null its own number in `null`: draws that every layer
    pair has."""


@dataclass(frozen=True, kw_only=True)
class NullOverGrid(Part):
    """One null of one measure over the layer grid."""

    layer_pairs: Count
    """Layer pairs that were tested."""
    significant: Count
    """Of them with q < 0.05."""
    significant_by: Count
    """Of them with q_by < 0.05."""
    smallest_q: float | None
    """q of a layer pair above every draw when no other is: n tests of m draws give it n / (m + 1), or with a fitted
    tail a tenth of that."""
    largest_p: float | None
    """Of all of them."""
    mean: float | None
    """Mean of the means of the draws."""
    best_calibrated: float | None
    """Calibrated score of the best layer pair of the measure (`best_layer_pair`) against this null."""
    best_of_grid: Annotated[Annotated[BestOfGrid, VALUE] | Annotated[Reason, REASON], EITHER]
    """Test of the best layer pair."""
    from_tail: Count | None = left_out()
    """Where `null.tail` names the measure: layer pairs whose p comes from a fitted tail."""
    significant_counted: Count | None = left_out()
    """Where `null.tail` names the measure: layer pairs with q < 0.05 if all p are counted, which needs no fit."""


@dataclass(frozen=True, kw_only=True)
class Summary(Part):
    """One measure over the layer grid."""

    layer_pairs: Count
    """Layer pairs that have a score."""
    best_layer_pair: str | None
    """Key of the one with the highest calibrated score against `ranked_by`; without a null, of the highest score."""
    best_score: float | None
    """Its score, of all its pairs."""
    best_interval: Interval | None
    """Its interval, wide enough for the best of all layer pairs: at 1 - 0.05 / n for n of them (Bonferroni)."""
    mean_score: float | None
    """Mean over the grid."""
    ranked_by: str | None = left_out()
    """Null by which layer pairs are ranked: `same_token` where it was drawn, or else the hardest to beat."""
    nulls: dict[str, NullOverGrid]
    """Null -> how many layer pairs lie above it."""
