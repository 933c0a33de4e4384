"""What a run says: `results.json` as frozen dataclasses, each field with what it is.

A name in the file is the name of a field. A field that is null says that its number is not defined; one that is missing
says that it was not asked for. Layers and features are counted from 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import Discriminator, Field, Tag

from semconv.system.shape import STRICT, TAG, left_out

_Item = TypeVar("_Item")
Many = tuple[_Item, ...]
"""A list."""
Count = Annotated[int, Field(ge=0)]
Interval = tuple[float, float]
"""Lower and upper end, 95%."""


@dataclass(frozen=True, kw_only=True)
class _Part:
    __pydantic_config__: ClassVar[Any] = STRICT


@dataclass(frozen=True, kw_only=True)
class Reason(_Part):
    """Stands where something has no value, and says why."""

    reason: str
    """One sentence, or part of one."""


def _which(value: Any) -> str:
    return f"{TAG}reason" if isinstance(value, Reason) or (isinstance(value, Mapping) and "reason" in value) else TAG


_VALUE, _REASON, _EITHER = Tag(TAG), Tag(f"{TAG}reason"), Discriminator(_which)


# What was read: the text, the models, their SAEs


@dataclass(frozen=True, kw_only=True)
class Loss(_Part):
    """Cross-entropy of the next token in nats, mean over a sample, when the stream is what an SAE makes of it."""

    tokens: Count
    """Positions it was measured on."""
    clean: float
    """With the stream as it is."""
    sae: float
    """With the SAE's reconstruction in its place."""
    zero: float
    """With zeros in its place."""
    recovered: float
    """(zero - sae) / (zero - clean): the share of the damage that the SAE makes good."""


@dataclass(frozen=True, kw_only=True)
class Fit(_Part):
    """How well an SAE fits the text."""

    tokens: Count
    """Positions it was measured on."""
    explained_variance: float | None
    """Share of the variance of its stream that the SAE reconstructs, positions of attention sinks left out; null where
    the stream does not vary."""
    explained_variance_with_sinks: float | None
    """The same over all counted positions."""
    loss: Annotated[Annotated[Loss, _VALUE] | Annotated[Reason, _REASON], _EITHER] | None = left_out()
    """Measured for A and B alone."""


FitOrReason = Annotated[Annotated[Fit, _VALUE] | Annotated[Reason, _REASON], _EITHER]


@dataclass(frozen=True, kw_only=True)
class Sae(_Part):
    """One SAE, and its activations over the counted text."""

    layer: Count
    """Block at which it reads."""
    hook: str
    """Where it reads, by the name of the hook."""
    head: Count | None
    """Of an SAE on one attention head: which; null otherwise."""
    hook_out: str | None
    """Of a transcoder: the hook whose stream it predicts; null otherwise."""
    architecture: str
    """Kind of activation function, as sae-lens names it."""
    source: str
    """Where its weights come from."""
    n_features: Count
    """Width of the dictionary."""
    activations_sha256: str
    """SHA-256 of its activation store, and of the positions that count where they are not all."""
    sae_sha256: str | None = left_out()
    """SHA-256 of its weights, where it lies in a folder of the user's own."""
    l0: float
    """Active features per counted token, mean."""
    dead_share: float
    """Share of its features that are active nowhere in the text."""
    sinks: Count
    """Positions of the text that are attention sinks of its stream."""
    sinks_norm_share: float | None
    """Share of the squared norm of its stream that lies there; null where the stream is zero."""
    fit: FitOrReason
    """How well it fits the text."""
    remarks: Many[str]
    """In what its use differs from its training, one sentence each."""


@dataclass(frozen=True, kw_only=True)
class Model(_Part):
    """Model A or model B."""

    name: str
    """Short name in tables and files."""
    path: str
    """Folder, shipped asset, or repository on the hub."""
    revision: str
    """Commit of the repository; empty where there is none."""
    model_sha256: str | None = left_out()
    """SHA-256 of its files, where they lie in a folder of the user's own."""
    bidirectional: bool | None = left_out()
    """True for a model whose activations at a token depend on the text after it."""
    saes: dict[str, Sae]
    """Label -> SAE."""


@dataclass(frozen=True, kw_only=True)
class NotCounted(_Part):
    """Positions that were read and do not count, by reason."""

    bos: Count | None = left_out()
    """BOS tokens."""
    eos: Count | None = left_out()
    """EOS tokens."""
    padding: Count | None = left_out()
    """Padding."""
    skipped: Count | None = left_out()
    """The first positions of rows (`corpus.skip_positions`)."""
    control: Count | None = left_out()
    """Control tokens that stand in the text itself."""


@dataclass(frozen=True, kw_only=True)
class TextRead(_Part):
    """What became of the text on its way through a tokenizer."""

    rows: Literal["packed", "documents"]
    """How documents became rows."""
    n_rows: Count
    """Rows that the models read."""
    bos_rule: str
    """What rows begin with, in words."""
    separator_rule: str
    """What stands between documents, in words."""
    skip_positions: Count
    """First positions of text in every row that do not count."""
    excluded: NotCounted
    """Positions that do not count."""
    documents: Count
    """Documents of the text."""
    documents_read: Count
    """Documents of which a token counts."""
    documents_cut: Count
    """Documents of which only the beginning was read."""
    tokens_left_out: Count
    """Tokens of documents that were cut at the end of their row."""
    tokenizer: str
    """Its kind, in words."""
    files_ignored: Count
    """Files in the folder of the text that are of no kind that is read."""
    n_tokens: Count
    """Positions that count."""
    tokens_sha256: str
    """SHA-256 of token ids and of which positions count."""


@dataclass(frozen=True, kw_only=True)
class Sinks(_Part):
    """Attention sinks: positions where the norm of a stream is many times its median."""

    multiple: float
    """How many times."""
    excluded: bool
    """Whether they are left out of everything that is compared."""
    positions_a: Count
    """Positions of A's text that are one for any SAE of A, or of B where both read the same tokens."""
    positions_b: Count
    """Of B's text."""
    spans: Count
    """Shared spans that were left out because they hold one."""


@dataclass(frozen=True, kw_only=True)
class Corpus(TextRead):
    """The text, as model A reads it."""

    n_documents: Count
    """Documents in what is compared."""
    n_spans: Count | None
    """Spans that both models read, where two tokenizers are aligned; null otherwise."""
    context: Count
    """Tokens per row."""
    text_sha256: str
    """SHA-256 of the documents."""
    sinks: Sinks
    """Attention sinks in it."""
    b: TextRead | None
    """The text as model B reads it, where it has a tokenizer of its own; null otherwise."""


@dataclass(frozen=True, kw_only=True)
class ControlFits(_Part):
    """How the SAEs of a control fit the text."""

    a: FitOrReason
    """One side."""
    b: FitOrReason
    """The other."""


@dataclass(frozen=True, kw_only=True)
class Read(_Part):
    """What else is known of what was read."""

    controls: dict[str, ControlFits]
    """Control -> fits of its two SAEs."""
    versions: dict[str, str]
    """Package -> version, of those that run models and SAEs and make tokens."""


@dataclass(frozen=True, kw_only=True)
class NullSettings(_Part):
    """How much was drawn."""

    n_permutations: Count
    """Permutations of the pairing (`shuffle` and `frequency`)."""
    n_strata: Count
    """Strata by activation frequency, of `frequency`."""
    n_rematch: Count
    """Shifts of the text, each matched again (`rematch`)."""
    n_bootstrap: Count
    """Resamples of the documents, for intervals."""
    seed: Count
    """Key of everything that is drawn."""


# What was found


@dataclass(frozen=True, kw_only=True)
class NullTest(_Part):
    """A score beside the draws of a null."""

    score: float
    """The score that is tested; under `rematch` that of the strongest pairs."""
    mean: float | None
    """Of the draws."""
    sd: float | None
    """Standard deviation of the draws, n - 1; null for a single draw."""
    z: float | None
    """(score - mean) / sd; null where the draws do not vary."""
    p: float
    """(b + 1) / (m + 1), b of m draws at or above the score (Phipson & Smyth 2010)."""
    calibrated: float | None
    """max(score - c, 0) / (1 - c) with c the 95th percentile of the draws: 0 is chance, 1 is the top of the measure."""
    q: float | None = left_out()
    """p corrected over the layer pairs of a table (Benjamini & Hochberg 1995)."""
    q_by: float | None = left_out()
    """The same under any dependence (Benjamini & Yekutieli 2001)."""


TestOrReason = Annotated[Annotated[NullTest, _VALUE] | Annotated[Reason, _REASON], _EITHER]


@dataclass(frozen=True, kw_only=True)
class Score(_Part):
    """The score of a measure for one layer pair, beside its nulls."""

    score: float
    """Similarity of the paired decoder rows."""
    nulls: dict[str, TestOrReason]
    """`shuffle`, `frequency`, `rematch` -> the test against it."""
    saturated: bool | None = left_out()
    """Whether the measure is near its top whatever the pairing, for there are few pairs for so many directions."""
    interval: Interval | None = left_out()
    """Over resampled documents."""
    strongest_pairs_score: float | None = left_out()
    """Score of the strongest pairs without the filters that ask for agreement: what `rematch` is compared with."""


ScoreOrReason = Annotated[Annotated[Score, _VALUE] | Annotated[Reason, _REASON], _EITHER]
Measures = dict[str, ScoreOrReason]
"""Name of a measure -> its score, or why there is none."""


@dataclass(frozen=True, kw_only=True)
class FilterStep(_Part):
    """One filter between best matches and feature pairs."""

    step: str
    """What is kept."""
    before: Count
    """Pairs before it; before the first, every B feature counts as one."""
    after: Count
    """Pairs after it."""


@dataclass(frozen=True, kw_only=True)
class SplitHalf(_Part):
    """How far the matches on two halves of the documents agree."""

    features: Count
    """B features that vary in both halves."""
    same_partner: float | None
    """Share of them whose best partner is the same; null where there is none."""
    r_reliability: float | None
    """Pearson correlation of their r between the halves, of those with the same partner."""


@dataclass(frozen=True, kw_only=True)
class RematchCounts(_Part):
    """How many feature pairs the filters leave when the text of one model is shifted."""

    pairs_mean: float
    """Mean over the shifts."""
    pairs_max: Count
    """Largest."""
    pairs_p: float
    """p of the true number among them."""
    scored_pairs: Count
    """Strongest pairs that were scored under every shift, and on the true text."""


@dataclass(frozen=True, kw_only=True)
class LayerPair(_Part):
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
    """Of that number, over resampled documents."""
    mean_r: float | None
    """Mean r of the pairs; null where there is none."""
    filters: Many[FilterStep]
    """What each filter left, in order."""
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


@dataclass(frozen=True, kw_only=True)
class BestOfGrid(_Part):
    """The best layer pair against the best that every draw reaches anywhere (Westfall & Young 1993)."""

    score: float
    """Of the best layer pair."""
    null_mean: float
    """Mean of the best of every draw."""
    p: float
    """(b + 1) / (m + 1) over the best of every draw."""


@dataclass(frozen=True, kw_only=True)
class NullOverGrid(_Part):
    """One null of one measure over the layer grid."""

    layer_pairs: Count
    """Layer pairs that were tested."""
    significant: Count
    """Of them with q < 0.05."""
    significant_by: Count
    """Of them with q_by < 0.05."""
    smallest_q: float | None
    """q of a layer pair above every draw when no other is: n tests of m draws give it n / (m + 1)."""
    largest_p: float | None
    """Of all of them."""
    mean: float | None
    """Mean of the means of the draws."""
    best_calibrated: float | None
    """Calibrated score of the layer pair of the highest score."""
    best_of_grid: Annotated[Annotated[BestOfGrid, _VALUE] | Annotated[Reason, _REASON], _EITHER]
    """Test of the best layer pair."""


@dataclass(frozen=True, kw_only=True)
class Summary(_Part):
    """One measure over the layer grid."""

    layer_pairs: Count
    """Layer pairs that have a score."""
    best_layer_pair: str | None
    """Key of the one with the highest score."""
    best_score: float | None
    """That score."""
    best_interval: Interval | None
    """Its interval."""
    mean_score: float | None
    """Mean over the grid."""
    nulls: dict[str, NullOverGrid]
    """Null -> how many layer pairs lie above it."""


# Controls


@dataclass(frozen=True, kw_only=True)
class SelfMatch(_Part):
    """An SAE matched with itself."""

    features: Count
    """Features that vary."""
    found_itself: float | None
    """Share of them whose best partner is itself or an exact double of it."""
    lowest_r: float | None
    """Lowest r of a feature with its best partner."""
    scores: dict[str, float | None]
    """Measure -> score of its features paired with themselves."""


@dataclass(frozen=True, kw_only=True)
class ControlPair(LayerPair):
    """A layer pair whose outcome says what the others are worth."""

    kind: Literal["ceiling", "floor"]
    """`ceiling`: the same model through another SAE; `floor`: models that learned nothing."""
    model_a: str
    """Name of one model."""
    model_b: str
    """Of the other."""
    trained_saes: bool | None = left_out()
    """Of a floor: whether its models are read through an SAE of A or B, which says nothing of them."""


@dataclass(frozen=True, kw_only=True)
class StrongestPairs(_Part):
    """A floor and the trained models at its layers, each on as many of its strongest pairs, agreeing or not."""

    floor: LayerPair
    """Models that learned nothing."""
    trained: LayerPair
    """A and B."""


@dataclass(frozen=True, kw_only=True)
class Against(_Part):
    """One measure between floor and ceiling."""

    ceiling: float | None
    """Lowest score of the ceilings."""
    cross_model: float | None
    """Lowest score of A and B at the layers of the floors."""
    floor: float | None
    """Highest score of the floors."""
    below_ceiling: bool | None
    """Whether A and B lie below the ceiling."""
    above_floor: bool | None
    """Whether they lie above the floor."""


@dataclass(frozen=True, kw_only=True)
class Controls(_Part):
    """What the scores are where the answer is known."""

    self_match: dict[str, SelfMatch]
    """`MODEL/SAE` -> that SAE with itself."""
    pairs: dict[str, ControlPair]
    """Control -> its layer pair."""
    strongest: dict[str, StrongestPairs]
    """Floor -> itself and the trained models on their strongest pairs."""
    against: dict[str, Against]
    """Measure -> where the scores lie between floor and ceiling."""
    lowest_self_score: float | None
    """Lowest score of any SAE with itself."""
    lowest_self_r: float | None
    """Lowest r of any feature with its best partner in its own SAE."""


# Subspaces, and the published protocol


@dataclass(frozen=True, kw_only=True)
class SpanPair(_Part):
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
class Relation(_Part):
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


@dataclass(frozen=True, kw_only=True)
class Subspaces(_Part):
    """Features by the category of their top tokens."""

    categories: str
    """Name of the keyword lists."""
    rule: str
    """When a token belongs to a keyword."""
    sha256: str
    """Of the keyword lists."""
    grid: dict[str, dict[str, CategoryPair]]
    """Layer pair -> category -> what was found."""
    relations: dict[str, Annotated[Annotated[Relation, _VALUE] | Annotated[Reason, _REASON], _EITHER]]
    """Layer pair -> how the categories relate."""
    shared_features: dict[str, dict[str, Count]]
    """`MODEL/SAE` -> `CATEGORY & CATEGORY` -> features that are in both."""


@dataclass(frozen=True, kw_only=True)
class SpansGrid(_Part):
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
class StepScore(_Part):
    """A score under one variant of the protocol."""

    score: float
    """Similarity of the paired decoder rows."""
    null_mean: float | None
    """Mean of the shuffled pairings."""
    p: float
    """Among them; 0 is possible where the published code is followed."""
    calibrated: float | None = left_out()
    """As in `NullTest`."""


StepOrReason = Annotated[Annotated[StepScore, _VALUE] | Annotated[Reason, _REASON], _EITHER]


@dataclass(frozen=True, kw_only=True)
class Step(_Part):
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
class Published(_Part):
    """From the published protocol to the corrected one, one departure after another."""

    layer_a: Count
    """Layer of A."""
    layer_b: Count
    """Layer of B."""
    steps: Many[Step]
    """The published protocol first."""


@dataclass(frozen=True, kw_only=True)
class Results(_Part):
    """Everything that a run says."""

    suite: str
    """Name of the suite."""
    suite_sha256: str
    """Of its settings."""
    fast: bool
    """Whether it was cut short by `--fast`."""
    null: NullSettings
    """How much was drawn."""
    corpus: Corpus
    """The text."""
    model_a: Model
    """Model A."""
    model_b: Model
    """Model B."""
    read: Read
    """What else was read."""
    grid: dict[str, LayerPair]
    """Layer pair, such as `0x2` -> what was found."""
    summary: dict[str, Summary]
    """Measure -> the whole grid."""
    controls: Controls
    """What the scores are where the answer is known."""
    subspaces: Subspaces | None = left_out()
    """Features by category."""
    spans: SpansGrid | None = left_out()
    """Activations pooled over spans."""
    published: Published | None = left_out()
    """The published protocol, corrected step by step."""
    warnings: Many[str] = field(default=())
    """What to know before believing the results, most serious first."""
