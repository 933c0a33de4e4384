"""What a suite says, section by section: what is compared with what, and how."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, TypeVar

from semconv.compare import MEASURES
from semconv.suite import ranges
from semconv.suite.matching import MatchConfig, Number
from semconv.suite.models import ModelConfig, SeedConfig
from semconv.suite.nulls import NullConfig
from semconv.suite.on_models import FunctionConfig, StreamsConfig
from semconv.system.digests import sha256_of
from semconv.system.errors import InputError
from semconv.system.shape import Must, Strict, Texts, left_out, plain
from semconv.system.shown_paths import with_shown_paths

Config = TypeVar("Config")


@dataclass(frozen=True)
class CorpusConfig(Strict):
    """The text that both models read."""

    kind: Literal["docstrings", "file", "hub"]
    """`docstrings` of pinned packages, a `file` of the user's own, or files of a data set on the `hub`."""
    tokenizer: str
    """Tokenizer that both models share: a file, a folder that holds one, or `hub:OWNER/NAME`, that of a model there."""
    context: int
    """Tokens per row, BOS included."""
    max_tokens: int
    """Counted positions to compare on; the row that reaches it is the last."""
    split: Literal["train", "heldout", "all"] = "heldout"
    """Part of the documents, by content hash."""
    path: str = ""
    """Text file or folder, for kind `file`; OWNER/NAME of the data set, for kind `hub`."""
    files: Texts = ()
    """Files of the data set, of the kinds that `semconv.text.text_files` reads, for kind `hub`."""
    revision: str = ""
    """Commit of the data set."""
    tokenizer_revision: str = ""
    """Commit of the model whose tokenizer it is."""
    column: str = "text"
    """Field of the text in JSONL and Parquet files."""
    rows: Literal["packed", "documents"] = "packed"
    """How documents become rows of `context` tokens: `packed` one after the other, so that rows begin in the middle of
    documents, or `documents`, each at the beginning of a row of its own."""
    bos: Literal["auto", "yes", "no"] = "auto"
    """Whether a row begins with BOS: `auto` where the tokenizer or the model has one (`semconv.text.tokenizer`)."""
    skip_positions: int = 0
    """The first positions of text in every row, after BOS, that do not count."""
    packages: Annotated[dict[str, str], Must("a table of name = version")] = field(default_factory=dict[str, str])
    """Distribution -> exact version, for kind `docstrings`."""
    exclude: Texts | None = left_out()
    """Folders of the packages whose docstrings are left out, such as `numpy/distutils`, for kind `docstrings`."""
    text_sha256: str = ""
    """Expected SHA-256 of the documents, in order; empty to accept any."""
    tokens_sha256: str = ""
    """Expected SHA-256 of ids and mask; empty to accept any."""

    def __post_init__(self) -> None:
        ranges.choices("corpus", self)
        ranges.at_least("corpus.skip_positions", self.skip_positions, 0)
        ranges.at_least("corpus.context", self.context, 2, 2**20)
        ranges.at_least("corpus.max_tokens", self.max_tokens, 1)
        if self.exclude is not None and self.kind != "docstrings":
            raise InputError(f"corpus.exclude is for kind 'docstrings', got kind {self.kind!r}")
        if self.kind == "file" and not self.path:
            raise InputError("corpus.path is needed for kind 'file'")
        if self.kind == "hub" and not (self.path and self.files):
            raise InputError("corpus.path (OWNER/NAME) and corpus.files are needed for kind 'hub'")


@dataclass(frozen=True)
class AlignConfig(Strict):
    """How the activations of two models with different tokenizers are aligned."""

    tokenizer_b: str
    """Tokenizer file of model B, as `corpus.tokenizer` is of A."""
    tokenizer_b_revision: str = ""
    """Commit of the model whose tokenizer it is."""
    how: Literal["max", "mean", "sum"] = "max"
    """What a span's activation is."""

    def __post_init__(self) -> None:
        ranges.choices("align", self)


@dataclass(frozen=True)
class EncodeConfig(Strict):
    """How activations are computed and stored."""

    batch: int = 32
    """Rows per forward pass."""
    dtype: Literal["float16", "float32"] = "float16"
    """Of the stored values."""
    precision: Literal["sae", "float32", "tf32", "bfloat16"] = "sae"
    """What the SAEs compute in; `sae` is what each was trained in (`semconv.core.device.resolve_precision`)."""
    model_precision: Literal["float32", "tf32", "bfloat16"] = "float32"
    """What the models compute in."""
    shard_tokens: int = 65536
    """Tokens per shard of the stores: what an interruption can cost, and what several processes share out."""

    def __post_init__(self) -> None:
        ranges.at_least("encode.batch", self.batch, 1, 2**20)
        ranges.at_least("encode.shard_tokens", self.shard_tokens, 1)
        ranges.choices("encode", self)


@dataclass(frozen=True)
class CompareConfig(Strict):
    """Which measures, and their settings."""

    measures: Texts = ("svcca_pc1", "svcca_variance", "svcca_fixed_k", "rsa")
    """Names as in `semconv.compare.MEASURES`, in the order of the tables."""
    svcca_threshold: Number = 0.99
    """Share of variance kept by `svcca_variance`."""
    svcca_k: int = 20
    """Directions kept by `svcca_fixed_k`."""
    knn_k: int = 10
    """Neighbours of `mutual_knn`."""
    primary: str | None = left_out()
    """The measure whose tests under the nulls that match again are the primary end point; all else is exploratory."""

    def __post_init__(self) -> None:
        if not self.measures or len(set(self.measures)) != len(self.measures):
            raise InputError(f"compare.measures must name at least one measure and none twice, got {self.measures}")
        for name in self.measures:
            ranges.choice("compare.measures", name, tuple(MEASURES))
        if not 0 < self.svcca_threshold <= 1:
            raise InputError(f"compare.svcca_threshold must be in (0, 1], got {self.svcca_threshold}")
        ranges.at_least("compare.svcca_k", self.svcca_k, 1)
        ranges.at_least("compare.knn_k", self.knn_k, 1)
        if self.primary is not None:
            ranges.choice("compare.primary", self.primary, self.measures)


@dataclass(frozen=True)
class ControlConfig(Strict):
    """A comparison whose outcome is known beforehand, beside which the others are read."""

    name: str
    """Short name for files and tables."""
    kind: Literal["ceiling", "floor"]
    """`ceiling`: the same model through another SAE; `floor`: models that learned nothing."""
    model_a: ModelConfig
    """One side, with one SAE."""
    model_b: ModelConfig
    """The other."""

    def __post_init__(self) -> None:
        ranges.file_name("control", self.name)
        ranges.choices("controls", self)
        for model in (self.model_a, self.model_b):
            if len(model.saes) != 1:
                raise InputError(f"control {self.name} needs one SAE per model, got {len(model.saes)} of {model.name}")


@dataclass(frozen=True)
class SubspaceConfig(Strict):
    """Semantic categories: features whose top tokens hold a keyword, matched among themselves."""

    categories: str
    """Name of keyword lists that ship with the package, or a TOML file."""
    min_pairs: int = 10
    """With fewer pairs left, a category gets no score."""
    measures: Texts = ("svcca_pc1", "rsa")
    """Measures that are taken of categories, which have few pairs."""

    def __post_init__(self) -> None:
        ranges.at_least("subspaces.min_pairs", self.min_pairs, 3)
        for name in self.measures:
            ranges.choice("subspaces.measures", name, tuple(MEASURES))


@dataclass(frozen=True)
class SpanConfig(Strict):
    """Multi-token subspaces: activations pooled over spans of text before they are correlated."""

    kind: Literal["sentences", "windows"] = "sentences"
    """Sentences, or windows of `width` tokens."""
    width: int = 8
    """Tokens of a window."""
    how: Literal["max", "mean", "sum"] = "max"
    """What a span's activation is."""

    def __post_init__(self) -> None:
        ranges.choices("spans", self)
        ranges.at_least("spans.width", self.width, 1, 2**20)


@dataclass(frozen=True)
class PublishedConfig(Strict):
    """The layer pair on which the published protocol is turned into the corrected one, step by step."""

    layer_a: int
    """Layer of model A, at least 1: the published code reads the stream one block early."""
    layer_b: int
    """Layer of model B, at least 1."""

    def __post_init__(self) -> None:
        ranges.at_least("published.layer_a", self.layer_a, 1)
        ranges.at_least("published.layer_b", self.layer_b, 1)


@dataclass(frozen=True)
class NeedsConfig(Strict):
    """What earlier versions were told that a run needs. It is accepted and no longer read: `semconv plan` finds it."""

    disk_gib: Number = 1.0
    """Not read."""
    memory_gib: Number = 4.0
    """Not read."""
    minutes: Number = 10.0
    """Not read."""
    gpu_gib: Number = 0.0
    """Not read."""


@dataclass(frozen=True)
class SuiteFile(Strict):
    """A whole comparison: what the file of a suite says."""

    name: str
    """Name of the suite, that of its file."""
    description: str
    """One sentence for tables and `--help`."""
    corpus: CorpusConfig
    model_a: ModelConfig
    model_b: ModelConfig
    encode: EncodeConfig = field(default_factory=EncodeConfig)
    match: MatchConfig = field(default_factory=MatchConfig)
    compare: CompareConfig = field(default_factory=CompareConfig)
    null: NullConfig = field(default_factory=NullConfig)
    controls: tuple[ControlConfig, ...] = ()
    subspaces: SubspaceConfig | None = None
    spans: SpanConfig | None = None
    published: PublishedConfig | None = None
    align: AlignConfig | None = None
    seeds: tuple[SeedConfig, ...] | None = left_out()
    streams: StreamsConfig | None = left_out()
    function: FunctionConfig | None = left_out()
    needs: NeedsConfig | None = left_out()

    def __post_init__(self) -> None:
        ranges.file_name("suite", self.name)
        if self.model_a.name == self.model_b.name:
            raise InputError(f"the two models need different names, got {self.model_a.name!r} twice")
        names = [control.name for control in self.controls]
        if len(set(names)) != len(names):
            raise InputError(f"every control needs a name of its own, got {', '.join(names)}")
        need_one = self.controls, self.spans, self.published, self.function
        if self.align is not None and any(need_one):
            raise InputError(
                "align brings two tokenizers together and cannot stand beside controls, spans, published or function, "
                "which need one"
            )
        self._check_seeds()
        null = self.null
        if self.match.separate_halves and (null.matched_again or null.n_bootstrap):
            raise InputError(
                "match.separate_halves needs null.n_rematch, null.n_same_token, null.n_same_bigram and "
                "null.n_bootstrap of 0, which match on all documents, got "
                f"{null.n_rematch}, {null.n_same_token or 0}, {null.n_same_bigram or 0} and {null.n_bootstrap}"
            )
        swapped = "null.n_same_token" if null.n_same_token else "null.n_same_bigram" if null.n_same_bigram else ""
        if self.align is not None and swapped:
            raise InputError(
                f"align brings two tokenizers together and cannot stand beside {swapped}, "
                "which needs tokens that both models read"
            )
        if self.align is not None and self.match.within_tokens:
            raise InputError(
                "align brings two tokenizers together and cannot stand beside match.by = 'r_within_token', "
                "which needs tokens that both models read"
            )
        if self.published is not None:
            self.model_a.sae_at(self.published.layer_a)
            self.model_b.sae_at(self.published.layer_b)

    def _check_seeds(self) -> None:
        names = [self.model_a.name, self.model_b.name, *(seed.name for seed in self.seeds or ())]
        if len(set(names)) != len(names):
            raise InputError(f"seeds need names of their own, unlike those of the models, got {', '.join(names)}")
        for seed in self.seeds or ():
            seed.check(self.models[seed.of])

    @property
    def models(self) -> dict[str, ModelConfig]:
        """`a` and `b` -> the model."""
        return {"a": self.model_a, "b": self.model_b}

    def seeds_at(self, of: str, label: str) -> list[SeedConfig]:
        """Returns the seeds of model `a` or `b` that have an SAE of this label."""
        return [one for one in self.seeds or () if one.of == of and label in {sae.label for sae in one.saes}]


@dataclass(frozen=True)
class SuiteConfig(SuiteFile):
    """A whole comparison, and where its file lies."""

    folder: str = ""
    """Folder of the suite's file, empty if there is none. It is not a setting, and no file of a run contains it."""

    def fast(self) -> SuiteConfig:
        """Returns the suite without what takes longest: rematches, intervals, ceilings, seeds, steps and ablations."""
        drawn_again = {"n_rematch": 0, "n_same_token": None, "n_same_bigram": None}
        null = replace(self.null, **drawn_again, n_bootstrap=0, n_pair_halves=None)
        floors = tuple(control for control in self.controls if control.kind == "floor")
        return replace(self, null=null, controls=floors, published=None, seeds=None, function=None)

    def shown(self, settings: Config) -> Config:
        """Returns the suite, or a part of it, with paths as a run shows them: from the folder of the suite's file."""
        return with_shown_paths(settings, [self.folder] if self.folder else [])

    @property
    def settings(self) -> dict[str, Any]:
        """The settings as plain tables, lists and values."""
        return {key: value for key, value in plain(self).items() if key != "folder"}

    @property
    def sha256(self) -> str:
        """SHA-256 of the settings, whatever the order and layout of the file."""
        return sha256_of(json.dumps(self.settings, sort_keys=True))
