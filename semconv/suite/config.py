"""Suites: what is compared with what, read from TOML, checked on load and hashed into every result."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import unicodedata
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from semconv._paths import ASSETS, SUITES
from semconv.compare import MEASURES
from semconv.suite.hooks import hook_name, parse_hook
from semconv.suite.sae_labels import hook_label
from semconv.system.errors import InputError, nearest
from semconv.system.json_toml import read_json, read_toml
from semconv.system.shown_paths import with_shown_paths

_NAME = re.compile(r"[\w.-]+")

Config = TypeVar("Config")


def resolve(path: str) -> Path:
    """Returns the file behind a path of a suite: `asset:mini/x` lies inside the package, anything else is as given."""
    return ASSETS / path.removeprefix("asset:") if path.startswith("asset:") else Path(path)


def _choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InputError(f"{name} must be one of {', '.join(allowed)}, got {value!r}{nearest(value, allowed)}")


def _file_name(what: str, name: str) -> None:
    """Raises InputError for a name that cannot be part of a file's name: it would lead elsewhere or be unreadable."""
    stripped = name.strip() == name != ""
    if not stripped or len(name) > 100 or name.startswith(".") or not name.isprintable() or set(name) & set("/\\"):
        raise InputError(
            f"the name of a {what} must be fit for a file's name (1 to 100 printable characters, no slash, no leading "
            f"dot, no space at either end), got {name!r}"
        )


MOST_DRAWS = 10_000_000
"""Permutations, shifts or resamples that a suite may ask for: more would fit neither into memory nor into any sensible
time."""


def _draws(name: str, value: int, low: int) -> None:
    if not low <= value <= MOST_DRAWS:
        raise InputError(f"{name} must be between {low} and {MOST_DRAWS}, got {value}")


MOST = 2**53
"""Largest value of any other whole number in a suite: sums and products of a few such fit into 64 bits or a float."""


def _at_least(name: str, value: float, low: float, most: int = MOST) -> None:
    if value < low:
        raise InputError(f"{name} must be at least {low}, got {value}")
    if value > most:
        raise InputError(f"{name} must be at most {most}, got {value}")


def _seed(name: str, value: int) -> None:
    if not 0 <= value < 2**64:
        raise InputError(f"{name} must be at least 0 and below 2^64, got {value}")


@dataclass(frozen=True)
class CorpusConfig:
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
    files: tuple[str, ...] = ()
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
    packages: dict[str, str] = field(default_factory=dict[str, str])
    """Distribution -> exact version, for kind `docstrings`."""
    text_sha256: str = ""
    """Expected SHA-256 of the documents, in order; empty to accept any."""
    tokens_sha256: str = ""
    """Expected SHA-256 of ids and mask; empty to accept any."""

    def __post_init__(self) -> None:
        _choice("corpus.kind", self.kind, ("docstrings", "file", "hub"))
        _choice("corpus.split", self.split, ("train", "heldout", "all"))
        _choice("corpus.rows", self.rows, ("packed", "documents"))
        _choice("corpus.bos", self.bos, ("auto", "yes", "no"))
        _at_least("corpus.skip_positions", self.skip_positions, 0)
        _at_least("corpus.context", self.context, 2, 2**20)
        _at_least("corpus.max_tokens", self.max_tokens, 1)
        if self.kind == "file" and not self.path:
            raise InputError("corpus.path is needed for kind 'file'")
        if self.kind == "hub" and not (self.path and self.files):
            raise InputError("corpus.path (OWNER/NAME) and corpus.files are needed for kind 'hub'")


@dataclass(frozen=True)
class AlignConfig:
    """How the activations of two models with different tokenizers are aligned."""

    tokenizer_b: str
    """Tokenizer file of model B, as `corpus.tokenizer` is of A."""
    tokenizer_b_revision: str = ""
    """Commit of the model whose tokenizer it is."""
    how: Literal["max", "mean", "sum"] = "max"
    """What a span's activation is."""

    def __post_init__(self) -> None:
        _choice("align.how", self.how, ("max", "mean", "sum"))


@dataclass(frozen=True)
class SaeConfig:
    """One SAE and the hook whose stream it takes."""

    hook: str
    """Where the SAE reads, by any name that `parse_hook` knows; kept by its canonical name."""
    path: str = ""
    """Folder in the format of sae-lens, sparsify or dictionary_learning; without it, `release` and `sae_id` are
    needed."""
    release: str = ""
    """Release in sae-lens's list, or OWNER/NAME of a repository."""
    sae_id: str = ""
    """SAE of the release."""
    name: str = ""
    """Short name in files and tables, needed where a model has two SAEs at one hook; by default the block's number, and
    the stream where it is not the output of the block."""
    revision: str = ""
    """Commit of the release's repository; sae-lens always reads the main branch, so a run stops with an error if that
    branch is at another commit."""
    loader: str = ""
    """`sparsify` or `dictionary_learning`, for repositories of these; empty for what sae-lens's list says."""
    other_hook: bool = False
    """Read the SAE at `hook` although its own metadata names another stream; without this, that is an error."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "hook", str(parse_hook(self.hook)))
        if bool(self.path) == bool(self.release) or bool(self.release) != bool(self.sae_id):
            raise InputError(f"the SAE at {self.hook} needs either a path, or a release and a sae_id")
        if self.name and not _NAME.fullmatch(self.name):
            raise InputError(f"the name of an SAE must be of letters, digits, _, . and -, got {self.name!r}")

    @property
    def label(self) -> str:
        """Which SAE of its model this is, in files and tables."""
        return self.name or hook_label(self.hook)

    @property
    def place(self) -> str:
        """Name of its files in a run folder."""
        return f"{self.hook}.{self.name}" if self.name else self.hook

    @property
    def source(self) -> str:
        """Where it comes from, in one string."""
        return self.path or f"{self.release}:{self.sae_id}"


@dataclass(frozen=True)
class ModelConfig:
    """One model and its SAEs."""

    name: str
    """Short name used in files and tables."""
    path: str
    """Folder in transformers' format, or `hub:OWNER/NAME`."""
    saes: tuple[SaeConfig, ...]
    """At least one SAE, each at its own hook or of its own name; in a suite file `sae_grid` may stand for them
    (`SaeGrid`)."""
    revision: str = ""
    """Commit of the hub repository; empty takes what its main branch has."""
    untrained_seed: int | None = None
    """Take only the shape of the model and draw its weights from this seed: an untrained twin."""
    bidirectional: bool = False
    """The model reads in both directions (BERT and its kind); without this, such a model is an error."""

    def __post_init__(self) -> None:
        _file_name("model", self.name)
        if self.untrained_seed is not None:
            _seed("untrained_seed", self.untrained_seed)
        if not self.saes:
            raise InputError(f"model {self.name} needs at least one SAE")
        labels = [sae.label for sae in self.saes]
        for label in labels:
            if labels.count(label) > 1:
                same = " and ".join(sae.source for sae in self.saes if sae.label == label)
                raise InputError(f"model {self.name} has two SAEs called {label} ({same}); give each a name")

    @property
    def by_label(self) -> dict[str, SaeConfig]:
        """The SAEs by what files and tables call them."""
        return {sae.label: sae for sae in self.saes}

    def sae_at(self, layer: int) -> SaeConfig:
        """Returns the one SAE on the output of a block.

        Raises:
            InputError: there is none, or several.
        """
        found = [sae for sae in self.saes if sae.hook == hook_name(layer)]
        if len(found) != 1:
            names = ", ".join(sae.label for sae in found)
            got = f"got {len(found)} ({names})" if found else "got none"
            raise InputError(f"published needs one SAE of model {self.name} on the output of block {layer}, {got}")
        return found[0]

    @property
    def label(self) -> str:
        """Which model this is, for the identity of its stores."""
        path = f"{self.path}@{self.revision}" if self.revision else self.path
        return path if self.untrained_seed is None else f"{path} untrained, seed {self.untrained_seed}"


@dataclass(frozen=True)
class SaeGrid:
    """One SAE of a release for each of many layers, instead of a list of `saes`."""

    release: str
    """As in `SaeConfig`."""
    sae_id: str
    """With `{layer}` where the layer's number goes."""
    layers: tuple[int, ...]
    """Blocks whose outputs are compared."""
    n_layers: int
    """Blocks of the model, for `--all-layers`."""
    hook: str = "blocks.{layer}.hook_resid_post"
    """With `{layer}` likewise."""
    revision: str = ""
    """As in `SaeConfig`."""
    loader: str = ""
    """As in `SaeConfig`."""

    def __post_init__(self) -> None:
        for key, value in (("sae_id", self.sae_id), ("hook", self.hook)):
            if "{layer}" not in value:
                raise InputError(f"sae_grid.{key} must hold {{layer}}, got {value!r}")
        _at_least("sae_grid.n_layers", self.n_layers, 1, 1024)
        if not self.layers or not all(0 <= layer < self.n_layers for layer in self.layers):
            raise InputError(f"sae_grid.layers must be in 0..{self.n_layers - 1}, got {list(self.layers)}")

    def saes(self, all_layers: bool) -> tuple[SaeConfig, ...]:
        """Returns the SAEs of the layers that are asked for."""
        layers = range(self.n_layers) if all_layers else self.layers
        return tuple(
            SaeConfig(
                self.hook.replace("{layer}", str(layer)),
                release=self.release,
                sae_id=self.sae_id.replace("{layer}", str(layer)),
                revision=self.revision,
                loader=self.loader,
            )
            for layer in layers
        )


@dataclass(frozen=True)
class EncodeConfig:
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
        _at_least("encode.batch", self.batch, 1, 2**20)
        _at_least("encode.shard_tokens", self.shard_tokens, 1)
        _choice("encode.dtype", self.dtype, ("float16", "float32"))
        _choice("encode.precision", self.precision, ("sae", "float32", "tf32", "bfloat16"))
        _choice("encode.model_precision", self.model_precision, ("float32", "tf32", "bfloat16"))


@dataclass(frozen=True)
class MatchConfig:
    """The filters between best matches and feature pairs, in the order in which they are applied."""

    top_tokens: int = 5
    """Top-activating tokens looked at per feature."""
    stop_tokens: tuple[str, ...] = ()
    """A pair is dropped when one of these, spaces stripped, is among the top tokens of either feature."""
    need_shared_token: bool = True
    """A pair is kept only if the two lists of top tokens share one."""
    one_to_one: bool = True
    """Keep only the best pair of every A feature."""
    min_r: float = 0.1
    """A pair is dropped when r is not above this."""
    min_pairs: int = 50
    """With fewer pairs left nothing is compared and the reason is stated."""
    separate_halves: bool = False
    """Match on one half of the documents and measure r, and apply min_r, on the other; in the layer grid and controls
    only, and not together with `rematch` or intervals, whose draws match on all documents."""
    strategy: Literal["best", "mutual", "greedy", "optimal"] = "best"
    """Who is paired with whom: `best` gives every B feature its best A feature (published, many B features may share
    one), `mutual` keeps pairs that are each other's best, `greedy` takes pairs by falling r and every feature once,
    `optimal` the one-to-one pairing of the highest total r."""
    candidates: int = 10
    """Best partners of every feature, in both directions, that `greedy` and `optimal` choose from."""
    min_activations: int = 0
    """A pair is dropped when one of its features is active on fewer tokens; 0 keeps all."""
    min_documents: int = 0
    """A pair is dropped when one of its features is active in fewer documents; 0 keeps all."""
    sink_norm: float = 0.0
    """Attention sinks do not count: positions where the norm of the stream that an SAE reads is above so many times its
    median over the text, for any SAE of either model; 0 keeps them, and the report says how many there are."""
    strongest: int = 0
    """Of the pairs that pass everything else, keep so many of the highest r; 0 keeps all."""

    def __post_init__(self) -> None:
        _at_least("match.top_tokens", self.top_tokens, 1, 1000)
        _at_least("match.strongest", self.strongest, 0)
        _choice("match.strategy", self.strategy, ("best", "mutual", "greedy", "optimal"))
        _at_least("match.candidates", self.candidates, 1, 10_000)
        _at_least("match.min_activations", self.min_activations, 0)
        _at_least("match.min_documents", self.min_documents, 0)
        if self.sink_norm and not self.sink_norm > 1:
            raise InputError(f"match.sink_norm must be 0 or above 1 (times the median), got {self.sink_norm}")
        _at_least("match.min_pairs", self.min_pairs, 3)
        if not -1 <= self.min_r < 1:
            raise InputError(f"match.min_r must be in [-1, 1), got {self.min_r}")


@dataclass(frozen=True)
class CompareConfig:
    """Which measures, and their settings."""

    measures: tuple[str, ...] = ("svcca_pc1", "svcca_variance", "svcca_fixed_k", "rsa")
    """Names as in `semconv.compare.MEASURES`, in the order of the tables."""
    svcca_threshold: float = 0.99
    """Share of variance kept by `svcca_variance`."""
    svcca_k: int = 20
    """Directions kept by `svcca_fixed_k`."""
    knn_k: int = 10
    """Neighbours of `mutual_knn`."""

    def __post_init__(self) -> None:
        if not self.measures or len(set(self.measures)) != len(self.measures):
            raise InputError(f"compare.measures must name at least one measure and none twice, got {self.measures}")
        for name in self.measures:
            _choice("compare.measures", name, tuple(MEASURES))
        if not 0 < self.svcca_threshold <= 1:
            raise InputError(f"compare.svcca_threshold must be in (0, 1], got {self.svcca_threshold}")
        _at_least("compare.svcca_k", self.svcca_k, 1)
        _at_least("compare.knn_k", self.knn_k, 1)


@dataclass(frozen=True)
class NullConfig:
    """The null distributions every score is printed beside, and the intervals."""

    n_permutations: int = 1000
    """Permutations of the pairing (`shuffle` and `frequency`)."""
    n_strata: int = 10
    """Strata of equal size by activation frequency, for `frequency`."""
    n_rematch: int = 0
    """Shifts by whole documents, each matched again (`rematch`); 0 leaves it out."""
    n_bootstrap: int = 0
    """Resamples of the documents for the intervals, each matched again; 0 leaves them out."""
    seed: int = 0
    """Key of everything that is drawn."""

    def __post_init__(self) -> None:
        _draws("null.n_permutations", self.n_permutations, 1)
        _at_least("null.n_strata", self.n_strata, 1)
        _draws("null.n_rematch", self.n_rematch, 0)
        _draws("null.n_bootstrap", self.n_bootstrap, 0)
        _seed("null.seed", self.seed)


@dataclass(frozen=True)
class ControlConfig:
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
        _file_name("control", self.name)
        _choice("controls.kind", self.kind, ("ceiling", "floor"))
        for model in (self.model_a, self.model_b):
            if len(model.saes) != 1:
                raise InputError(f"control {self.name} needs one SAE per model, got {len(model.saes)} of {model.name}")


@dataclass(frozen=True)
class SubspaceConfig:
    """Semantic categories: features whose top tokens hold a keyword, matched among themselves."""

    categories: str
    """Name of keyword lists that ship with the package, or a TOML file."""
    min_pairs: int = 10
    """With fewer pairs left, a category gets no score."""
    measures: tuple[str, ...] = ("svcca_pc1", "rsa")
    """Measures that are taken of categories, which have few pairs."""

    def __post_init__(self) -> None:
        _at_least("subspaces.min_pairs", self.min_pairs, 3)
        for name in self.measures:
            _choice("subspaces.measures", name, tuple(MEASURES))


@dataclass(frozen=True)
class SpanConfig:
    """Multi-token subspaces: activations pooled over spans of text before they are correlated."""

    kind: Literal["sentences", "windows"] = "sentences"
    """Sentences, or windows of `width` tokens."""
    width: int = 8
    """Tokens of a window."""
    how: Literal["max", "mean", "sum"] = "max"
    """What a span's activation is."""

    def __post_init__(self) -> None:
        _choice("spans.kind", self.kind, ("sentences", "windows"))
        _choice("spans.how", self.how, ("max", "mean", "sum"))
        _at_least("spans.width", self.width, 1, 2**20)


@dataclass(frozen=True)
class PublishedConfig:
    """The layer pair on which the published protocol is turned into the corrected one, step by step."""

    layer_a: int
    """Layer of model A, at least 1: the published code reads the stream one block early."""
    layer_b: int
    """Layer of model B, at least 1."""

    def __post_init__(self) -> None:
        _at_least("published.layer_a", self.layer_a, 1)
        _at_least("published.layer_b", self.layer_b, 1)


@dataclass(frozen=True)
class NeedsConfig:
    """What a run needs, checked by `semconv doctor`."""

    disk_gib: float = 1.0
    """Free space for the run folder."""
    memory_gib: float = 4.0
    """Available memory."""
    minutes: float = 10.0
    """On two cores."""
    gpu_gib: float = 0.0
    """GPU memory; 0 when no GPU is needed."""


_NO_SETTING = {"setting": False}


@dataclass(frozen=True)
class SuiteConfig:
    """A whole comparison."""

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
    needs: NeedsConfig = field(default_factory=NeedsConfig)
    folder: str = field(default="", metadata=_NO_SETTING)
    """Folder of the suite's file, empty if there is none. It is not a setting, and no file of a run contains it."""

    def __post_init__(self) -> None:
        _file_name("suite", self.name)
        if self.model_a.name == self.model_b.name:
            raise InputError(f"the two models need different names, got {self.model_a.name!r} twice")
        names = [control.name for control in self.controls]
        if len(set(names)) != len(names):
            raise InputError(f"every control needs a name of its own, got {', '.join(names)}")
        if self.align is not None and (self.controls or self.spans is not None or self.published is not None):
            raise InputError(
                "align brings two tokenizers together and cannot stand beside controls, spans or published, "
                "which need one"
            )
        if self.match.separate_halves and (self.null.n_rematch or self.null.n_bootstrap):
            raise InputError(
                "match.separate_halves needs null.n_rematch = 0 and null.n_bootstrap = 0, "
                f"which match on all documents, got {self.null.n_rematch} and {self.null.n_bootstrap}"
            )
        if self.published is not None:
            self.model_a.sae_at(self.published.layer_a)
            self.model_b.sae_at(self.published.layer_b)

    def fast(self) -> SuiteConfig:
        """Returns the suite without what takes longest: no rematches, intervals, ceilings or published steps."""
        null = replace(self.null, n_rematch=0, n_bootstrap=0)
        floors = tuple(control for control in self.controls if control.kind == "floor")
        return replace(self, null=null, controls=floors, published=None)

    def shown(self, settings: Config) -> Config:
        """Returns the suite, or a part of it, with paths as a run shows them: from the folder of the suite's file."""
        return with_shown_paths(settings, [self.folder] if self.folder else [])

    @property
    def settings(self) -> dict[str, Any]:
        """The settings as plain tables, lists and values."""
        return {key: value for key, value in asdict(self).items() if key != "folder"}

    @property
    def sha256(self) -> str:
        """SHA-256 of the settings, whatever the order and layout of the file."""
        return hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()


_NESTED: dict[str, type] = {
    "corpus": CorpusConfig,
    "model_a": ModelConfig,
    "model_b": ModelConfig,
    "encode": EncodeConfig,
    "match": MatchConfig,
    "compare": CompareConfig,
    "null": NullConfig,
    "subspaces": SubspaceConfig,
    "spans": SpanConfig,
    "published": PublishedConfig,
    "align": AlignConfig,
    "needs": NeedsConfig,
}
_LISTS_OF_TEXT = ("stop_tokens", "measures", "files")
_KINDS: dict[str, type | tuple[type, ...]] = {
    "str": str,
    "int": int,
    "float": (int, float),
    "bool": bool,
    "int | None": int,
}

PUBLISHED_STOP_TOKENS = (".", "\n", "", "-", ",", "!", "?", "<bos>", "<pad>", "<eos>", "<|endoftext|>")
"""The stop list of the published protocol and the EOS of Gemma; spaces around a token are stripped before."""


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise InputError(f"{where} must be a list, got {value!r}")
    return list(value)


def _expand_grid(table: dict[str, Any], where: str, all_layers: bool) -> dict[str, Any]:
    """Returns a model's table with its `sae_grid`, if it has one, turned into `saes`."""
    if "sae_grid" not in table:
        return table
    if "saes" in table:
        raise InputError(f"{where} has both saes and sae_grid, one is needed")
    given = table["sae_grid"]
    if isinstance(given, dict) and "layers" in given:
        layers = _list(given["layers"], f"{where}.sae_grid.layers")
        if not all(type(layer) is int for layer in layers):
            raise InputError(f"{where}.sae_grid.layers must be whole numbers, got {layers}")
        given = {**given, "layers": tuple(layers)}
    grid = _build(SaeGrid, given, f"{where}.sae_grid")
    return {**{k: v for k, v in table.items() if k != "sae_grid"}, "saes": grid.saes(all_layers)}


def _build(cls: type[Config], table: Any, where: str, all_layers: bool = False) -> Config:
    """Makes a config from a TOML table; an unknown key is an InputError that names the nearest known one."""
    if not isinstance(table, dict):
        raise InputError(f"{where} must be a table, got {table!r}")
    if cls is ModelConfig:
        table = _expand_grid(dict(table), where, all_layers)
    known = {f.name: f for f in fields(cls) if not f.metadata}  # pyright: ignore
    for key in table:
        if key not in known:
            raise InputError(f"unknown key {key!r} in {where}{nearest(key, list(known))}")
    values: dict[str, Any] = {}
    for key, given in table.items():
        value: Any = given
        kind = _KINDS.get(str(known[key].type))
        if kind is not None and (not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)):
            raise InputError(f"{where}.{key} must be {known[key].type}, got {value!r}")
        if str(known[key].type).startswith("Literal") and not isinstance(value, str):
            raise InputError(f"{where}.{key} must be text, got {value!r}")
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(f"{where}.{key} must be a finite number, got {value}")
        if key in _NESTED:
            value = _build(_NESTED[key], value, f"{where}.{key}", all_layers)
        elif key == "saes" and not isinstance(given, tuple):
            value = tuple(_build(SaeConfig, sae, f"{where}.saes") for sae in _list(given, f"{where}.saes"))
        elif key == "controls":
            value = tuple(
                _build(ControlConfig, control, f"{where}.controls") for control in _list(given, f"{where}.{key}")
            )
        elif key in _LISTS_OF_TEXT:
            value = tuple(_list(given, f"{where}.{key}"))
            if not all(isinstance(item, str) for item in value):
                raise InputError(f"{where}.{key} must be a list of text, got {given!r}")
        elif key == "packages" and not (isinstance(given, dict) and all(isinstance(v, str) for v in given.values())):
            raise InputError(f"{where}.packages must be a table of name = version, got {given!r}")
        values[key] = value
    try:
        return cls(**values)
    except TypeError as error:
        missing = str(error).split(": ")[-1].removeprefix(f"{cls.__name__}.__init__() ")
        raise InputError(f"{where} is incomplete: {missing}") from None


def suite_from_json(path: Path) -> SuiteConfig:
    """Reads the `suite.json` of a run: a suite with every default filled in.

    Raises:
        InputError: it is missing, damaged, or of a version of semconv with other settings.
    """
    return _build(SuiteConfig, _without_none(read_json(path, f"suite {path} does not exist")), path.name)


def _without_none(value: Any) -> Any:
    """Returns the value without entries that are None, which TOML does not have."""
    if isinstance(value, dict):
        return {key: _without_none(inner) for key, inner in value.items() if inner is not None}
    return [_without_none(inner) for inner in value] if isinstance(value, list) else value


def suite_names() -> list[str]:
    """Returns the names of the suites that ship with the package."""
    return sorted(p.stem for p in SUITES.glob("*.toml"))


def suite_in_words(name: str) -> str:
    """Returns a suite's name and whether it ships with semconv; a name that only looks like a shipped one is marked."""
    if name in suite_names():
        return f"{name}, which ships with semconv"
    looks = "".join(c for c in unicodedata.normalize("NFKD", name).casefold() if c.isascii() and c.isalnum())
    like = next((known for known in suite_names() if known == looks), None)
    return f"{name}, none that ships" + (f"; it is not the suite {like}, whose name it looks like" if like else "")


def load_suite(name_or_path: str | Path, all_layers: bool = False) -> SuiteConfig:
    """Reads a suite by name, or from a user's own TOML file.

    Args:
        name_or_path: which suite.
        all_layers: take every layer of the models whose SAEs are a grid, not only those the suite lists.

    Raises:
        InputError: unknown suite, TOML that does not parse, unknown keys, or values out of range.
    """
    path = Path(name_or_path)
    if path.suffix != ".toml":
        path = SUITES / f"{name_or_path}.toml"
        if not path.exists():
            names = suite_names()
            raise InputError(
                f"unknown suite {str(name_or_path)!r}{nearest(str(name_or_path), names)}; there are {', '.join(names)}"
            )
    elif not path.exists():
        raise InputError(f"suite file {path} does not exist")
    suite = _build(SuiteConfig, read_toml(path), path.name, all_layers)
    if suite.name != path.stem:
        raise InputError(f"the suite in {path.name} must have name = {path.stem!r}, got {suite.name!r}")
    return replace(suite, folder=os.path.abspath(path.parent))
