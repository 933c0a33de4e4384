"""What was read: the text, the models and their SAEs, and how much is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from semconv.results.schema.base import EITHER, REASON, VALUE, Count, Many, Part, Reason
from semconv.system.shape import left_out


@dataclass(frozen=True, kw_only=True)
class Loss(Part):
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
class Fit(Part):
    """How well an SAE fits the text."""

    tokens: Count
    """Positions it was measured on."""
    explained_variance: float | None
    """Share of the variance of its stream that the SAE reconstructs, positions of attention sinks left out; null where
    the stream does not vary."""
    explained_variance_with_sinks: float | None
    """The same over all counted positions."""
    loss: Annotated[Annotated[Loss, VALUE] | Annotated[Reason, REASON], EITHER] | None = left_out()
    """Measured for A and B alone."""


FitOrReason = Annotated[Annotated[Fit, VALUE] | Annotated[Reason, REASON], EITHER]


@dataclass(frozen=True, kw_only=True)
class Sae(Part):
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
class Model(Part):
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
    family: str | None = left_out()
    """Its architecture, as its config names it."""
    blocks: Count | None = left_out()
    """Transformer blocks that it has, whether they are compared or not."""
    width: Count | None = left_out()
    """Numbers in the vector of its residual stream."""
    parameters: Count | None = left_out()
    """Numbers in its weights."""
    saes: dict[str, Sae]
    """Label -> SAE."""


@dataclass(frozen=True, kw_only=True)
class NotCounted(Part):
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
class TextRead(Part):
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
class Sinks(Part):
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

    origin: str | None = left_out()
    """Where the text comes from, in words."""
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
class ControlFits(Part):
    """How the SAEs of a control fit the text."""

    a: FitOrReason
    """One side."""
    b: FitOrReason
    """The other."""


@dataclass(frozen=True, kw_only=True)
class Read(Part):
    """What else is known of what was read."""

    controls: dict[str, ControlFits]
    """Control -> fits of its two SAEs."""
    versions: dict[str, str]
    """Package -> version, of those that run models and SAEs and make tokens."""


@dataclass(frozen=True, kw_only=True)
class NullSettings(Part):
    """How much was drawn."""

    n_permutations: Count
    """Permutations of the pairing (`shuffle` and `frequency`), of measures that `draws` does not name."""
    n_strata: Count
    """Strata by activation frequency, of `frequency`."""
    n_rematch: Count
    """Shifts of the text, each matched again (`rematch`)."""
    n_bootstrap: Count
    """Resamples of the documents, for intervals."""
    n_pair_halves: Count | None = left_out()
    """Random halves of the feature pairs, for intervals."""
    n_same_token: Count | None = left_out()
    """Exchanges of positions of the same token, each matched again (`same_token`)."""
    n_same_bigram: Count | None = left_out()
    """Exchanges of positions of the same token after the same token, each matched again (`same_bigram`)."""
    seed: Count
    """Key of everything that is drawn."""
    draws: dict[str, Count] | None = left_out()
    """Class of measures, by what a draw costs -> permutations of the pairing."""
    stop_after: Count | None = left_out()
    """Draws that reach the score after which a null of the pairing ends."""
    stop_from: Count | None = left_out()
    """Draws before which none ends; `stop_after` where it is left out."""
    tail: Many[str] | None = left_out()
    """Classes of measures whose p, of a score above every draw, comes from a fitted tail."""
