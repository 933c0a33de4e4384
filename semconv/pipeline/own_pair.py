"""Makes a suite of two models that a user names on the command line, each with SAEs of theirs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from semconv.models.decoders import sae_metadata
from semconv.models.model_files import GGUF
from semconv.models.sae_metadata import check_hook, read_hook
from semconv.models.sources import HUB, model_folder, release_repository
from semconv.suite.config import (
    PUBLISHED_STOP_TOKENS,
    AlignConfig,
    CompareConfig,
    CorpusConfig,
    EncodeConfig,
    FunctionConfig,
    MatchConfig,
    ModelConfig,
    NullConfig,
    RulesConfig,
    SaeConfig,
    StreamsConfig,
    SubstitutionConfig,
    SuiteConfig,
)
from semconv.suite.hooks import hook_name, parse_hook
from semconv.suite.sae_labels import differences, fit_name, split_name
from semconv.system.errors import InputError
from semconv.system.files import sha256_of_file
from semconv.text.text_files import source_files, texts_of
from semconv.text.tokenizer import find_tokenizer, load_tokenizer, special_tokens
from semconv.text.tokenizer_difference import difference

_LONGEST_NAME = 60
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


def models_of_pair(
    where: tuple[str, str],
    saes: tuple[Sequence[str], Sequence[str]],
    names: tuple[str, str] = ("", ""),
    bidirectional: bool = False,
) -> tuple[ModelConfig, ModelConfig]:
    """Returns the two models of a pair, named after their folders or repositories where no name is given.

    Two models that would have one name get `-a` and `-b` after it.

    Raises:
        InputError: a model is neither a folder nor a repository; the stream of an SAE is not known, or is named in two
            ways; or two SAEs cannot be distinguished by name.
    """
    a, b = (name or found for name, found in zip(names, _short_names(where), strict=True))
    if a == b:
        a, b = f"{a}-a", f"{b}-b"
    one, other = (
        replace(model_of(*parts), bidirectional=bidirectional) for parts in zip((a, b), where, saes, strict=True)
    )
    return one, other


def _short_names(where: tuple[str, str]) -> tuple[str, str]:
    """Returns the last parts of two folders or repositories, with as many of those before as tell the two apart."""
    parts = [_name_parts(place) for place in where]
    lengths = range(1, max(map(len, parts)) + 1)
    found = [("-".join(parts[0][-n:]), "-".join(parts[1][-n:])) for n in lengths]
    a, b = next((pair for pair in found if pair[0] != pair[1]), found[0])
    return a[-_LONGEST_NAME:].lstrip("-."), b[-_LONGEST_NAME:].lstrip("-.")


def _name_parts(where: str) -> list[str]:
    """Returns the parts of a folder, or of OWNER/NAME@COMMIT, with what cannot stand in a file's name replaced."""
    if Path(where).is_dir():
        parts = list(_own_parts(Path(where).resolve()))
        if len(parts) > 2 and parts[-2] == "snapshots" and parts[-3].startswith("models--"):  # of the hub's cache
            parts = [*parts[-3].split("--")[1:], parts[-1]]
            return _fit([parts[-1][:8], *parts[:-1]])
        return _fit(parts)
    if Path(where).is_file():
        return _fit([*_own_parts(Path(where).resolve())[:-1], Path(where).stem])
    name, _, revision = where.partition("@")
    return _fit([revision[:8], *name.split("/")])


def _own_parts(path: Path) -> tuple[str, ...]:
    """Returns the parts of a path, below the user's home folder without those that name the user."""
    home = Path(os.path.expanduser("~"))
    return (path.relative_to(home) if path.is_relative_to(home) and path != home else path).parts


def _fit(parts: Sequence[str]) -> list[str]:
    return [part for part in map(fit_name, parts) if part] or ["model"]


def model_of(name: str, where: str, saes: Sequence[str]) -> ModelConfig:
    """Returns a model and its SAEs.

    Args:
        name: short name.
        where: a folder in transformers' format, a `.gguf` file or a folder with one, or OWNER/NAME on the hub, with
            `@COMMIT` to pin it.
        saes: each a folder, or RELEASE:SAE_ID; its metadata says which stream it reads, or else `@LAYER` or `@HOOK`
            after it, or its name where that is the name of a stream. `NAME=` before it says what it is called.

    Raises:
        InputError: `where` is neither a folder nor a repository; the stream of an SAE is not known, or is named in two
            ways; or two SAEs cannot be distinguished by name.
    """
    place, revision = place_of(where)
    return ModelConfig(name, place, _told_apart(name, [_sae_of(sae) for sae in saes]), revision)


def _told_apart(model: str, saes: Sequence[SaeConfig]) -> tuple[SaeConfig, ...]:
    """Returns the SAEs, those without a name that would be called the same named after what differs in their places."""
    unnamed = [i for i, sae in enumerate(saes) if not sae.name]
    named = list(saes)
    for label in dict.fromkeys(saes[i].label for i in unnamed):
        alike = [i for i in unnamed if saes[i].label == label]
        if len(alike) == 1:
            continue
        places = [_place_parts(saes[i]) for i in alike]
        for place in places:
            if places.count(place) > 1:
                raise InputError(f"model {model} is given the SAE {saes[alike[places.index(place)]].source} twice")
        for i, found in zip(alike, differences(places), strict=True):
            named[i] = replace(saes[i], name=f"{label}.{found}")
    return tuple(named)


def _place_parts(sae: SaeConfig) -> tuple[str, ...]:
    return (
        _own_parts(Path(os.path.abspath(sae.path))) if sae.path else (*sae.release.split("/"), *sae.sae_id.split("/"))
    )


def place_of(where: str) -> tuple[str, str]:
    """Returns path and revision of a model by its folder or GGUF file, or by OWNER/NAME and `@COMMIT`.

    Raises:
        InputError: neither a folder nor a repository.
    """
    if Path(where).is_dir() or (Path(where).is_file() and Path(where).suffix == GGUF):
        return where, ""
    if Path(where).is_file():
        raise InputError(f"model {where!r} is a file; a folder in transformers' format or a {GGUF} file is read")
    name, _, revision = where.partition("@")
    if not _REPOSITORY.fullmatch(name):
        raise InputError(f"model {where!r} is neither a folder nor OWNER/NAME of the hub")
    return HUB + name, revision


def _sae_of(given: str) -> SaeConfig:
    """Returns an SAE at the hook that its own metadata names, or else what follows it as `@LAYER` or `@HOOK`."""
    from semconv.models.sae_files import format_on_hub, listed

    name, given = split_name(given)
    where, _, at = given.rpartition("@") if "@" in given and not Path(given).is_dir() else (given, "", "")
    if Path(where).is_dir():
        sae = SaeConfig(hook_name(0), where)
    else:
        release, _, sae_id = where.partition(":")
        if not sae_id:
            raise InputError(f"SAE {given!r} is neither a folder nor RELEASE:SAE_ID")
        release, sae_id = listed(release, sae_id)
        sae = SaeConfig(hook_name(0), release=release, sae_id=sae_id)
        if release_repository(sae) == (release, sae_id):  # in no list of sae-lens
            sae = replace(sae, loader=format_on_hub(release, sae_id))
    return replace(sae, hook=_hook_of(sae, at), name=name)


def _hook_of(sae: SaeConfig, at: str) -> str:
    metadata = sae_metadata(sae)
    if metadata.hook:
        own = read_hook(metadata, sae.source)
        if at.isdigit() and int(at) != own.layer:
            raise InputError(
                f"SAE {sae.source} was trained on {own}, as its own metadata says, and @{at} asks for another"
            )
        if at and not at.isdigit():
            check_hook(metadata, sae.source, at)
        return str(own)
    if at:
        return hook_name(int(at)) if at.isdigit() else str(parse_hook(at))
    for part in (Path(sae.path).resolve().name,) if sae.path else PurePosixPath(sae.sae_id).parts:
        with suppress(InputError):
            return str(parse_hook(part))
    raise InputError(
        f"SAE {sae.source} does not say which stream it reads; add @LAYER for the output of a block, or @HOOK, "
        "as in @blocks.3.hook_mlp_out"
    )


def tokenizer_of(model: ModelConfig) -> Path:
    """Returns the tokenizer file that lies beside a model (`semconv.text.tokenizer.find_tokenizer`).

    Raises:
        InputError: there is none.
    """
    found = find_tokenizer(model_folder(model))
    if found is None:
        raise InputError(f"model {model.name} has no tokenizer.json; name the one both share with --tokenizer")
    return found


def check_same_tokenizer(
    a: ModelConfig, b: ModelConfig, texts: Iterable[str] = (), max_tokens: int = 300_000, bos: str = "auto"
) -> Path:
    """Returns the tokenizer file of A after checking that B's does the same.

    Args:
        a: model A.
        b: model B.
        texts: of the user's, on which both must agree.
        max_tokens: as many tokens of the texts are looked at.
        bos: whether rows begin with BOS, as in `CorpusConfig`.

    Raises:
        InputError: a model without a tokenizer, or tokenizers that differ.
    """
    files = [tokenizer_of(model) for model in (a, b)]
    one, other = (load_tokenizer(file) for file in files)
    same_file = sha256_of_file(files[0]) == sha256_of_file(files[1])
    found = None if same_file else difference(one, other, texts, max_tokens)
    if found is not None:
        raise InputError(
            f"the tokenizers of the two models {found}, and features are correlated token by token; name one that is "
            "right for both with --tokenizer, or let --align max pool features over spans of text that both share"
        )
    first, second = (special_tokens(t, file).bos for t, file in zip((one, other), files, strict=True))
    if bos != "no" and first != second:
        begins = [repr(one.id_to_token(i)) if i is not None else "nothing" for i in (first, second)]
        raise InputError(
            f"the tokenizer of model {a.name} begins a row with {begins[0]}, that of {b.name} with {begins[1]}; "
            "leave BOS out with --bos no, or name the tokenizer that is right for both with --tokenizer"
        )
    return files[0]


@dataclass(frozen=True)
class PairOptions:
    """What a user may say of a pair beside models, SAEs and text; the defaults are those of `semconv compare`."""

    tokenizer: Path | None = None
    """Tokenizer of both models, or of A where `align` is given, a file or a folder; that of A's folder by default."""
    tokenizer_b: Path | None = None
    """Tokenizer of B, with `align`; that of B's folder by default."""
    align: Literal["max", "mean", "sum"] | None = None
    """How activations are pooled over spans of text where the tokenizers differ."""
    column: str = "text"
    """Field of the text in JSONL and Parquet files."""
    context: int = 256
    """Tokens per row, BOS included."""
    tokens: int = 300_000
    """Tokens to compare on, of each model with `align`."""
    rows: Literal["packed", "documents"] = "packed"
    """As in `CorpusConfig`."""
    bos: Literal["auto", "yes", "no"] = "auto"
    """As in `CorpusConfig`."""
    skip_positions: int = 0
    """As in `CorpusConfig`."""
    batch: int = 32
    """Rows per forward pass."""
    precision: Literal["sae", "float32", "tf32", "bfloat16"] = "sae"
    """What the SAEs compute in."""
    model_precision: Literal["float32", "tf32", "bfloat16"] = "float32"
    """What the models compute in."""
    min_activations: int = 20
    """Tokens on which both features of a pair must be active."""
    min_documents: int = 3
    """Documents in which both features of a pair must be active."""
    without_strongest: int = 10
    """As in `MatchConfig`."""
    sink_norm: float = 10.0
    """As in `MatchConfig`."""
    match_by: Literal["r", "r_within_token"] = "r"
    """As `by` in `MatchConfig`."""
    stop_tokens: tuple[str, ...] = PUBLISHED_STOP_TOKENS
    """As in `MatchConfig`."""
    rematches: int | None = None
    """Shifts of the `rematch` null; 0 leaves it and the intervals out; None takes `needed_rematches` of them."""
    same_token: int = 0
    """Exchanges of the null `same_token`; 0 leaves it out."""
    same_bigram: int = 0
    """Exchanges of the null `same_bigram`; 0 leaves it out."""
    functional: bool = False
    """Whether the features of pairs are ablated in both models."""
    functional_layers: Literal["diagonal", "all"] = "diagonal"
    """As `layers` in `FunctionConfig`."""


MOST_STREAMED = 40_000
"""Positions at which the streams are compared by default, and no more than a quarter of the text, which the models read
once more for it."""
MOST_REMATCHES = 200
"""Of the default: a shift matches every layer pair again, so the time grows with both."""


def needed_rematches(n_cells: int) -> int:
    """Returns how many shifts let a single layer pair above all of them reach q < 0.05.

    Its p is 1 / (m + 1), which Benjamini-Hochberg multiplies by the number of layer pairs, so 20 shifts for each. Grids
    of more than 10 layer pairs get `MOST_REMATCHES`, and their reports say what q one alone can reach.
    """
    return min(20 * n_cells, MOST_REMATCHES)


def suite_of_pair(models: tuple[ModelConfig, ModelConfig], text: Path, options: PairOptions) -> SuiteConfig:
    """Returns the suite that compares two models on a user's own text.

    Raises:
        InputError: settings out of range; or, if no tokenizer is named, a model without one, or tokenizers that differ.
    """
    a, b = models
    o = options
    if o.tokenizer_b is not None and o.align is None:
        raise InputError("--tokenizer-b names the tokenizer of B for --align, which was not given")
    if o.functional_layers != "diagonal" and not o.functional:
        raise InputError("--functional-layers names layer pairs for --functional, which was not given")
    brought = AlignConfig(str(o.tokenizer_b or tokenizer_of(b)), how=o.align) if o.align is not None else None
    if o.tokenizer is not None or brought is not None:
        shared = o.tokenizer or tokenizer_of(a)
    else:
        shared = check_same_tokenizer(a, b, texts_of(source_files(text), o.column), o.tokens, o.bos)
    corpus = CorpusConfig(
        "file",
        str(shared),
        o.context,
        o.tokens,
        split="all",
        path=str(text),
        column=o.column,
        rows=o.rows,
        bos=o.bos,
        skip_positions=o.skip_positions,
    )
    rematches = needed_rematches(len(a.saes) * len(b.saes)) if o.rematches is None else o.rematches
    return SuiteConfig(
        f"{a.name}-{b.name}",
        "A user's own pair.",
        corpus,
        a,
        b,
        encode=EncodeConfig(o.batch, precision=o.precision, model_precision=o.model_precision),
        match=MatchConfig(
            min_activations=o.min_activations,
            min_documents=o.min_documents,
            without_strongest=o.without_strongest,
            sink_norm=o.sink_norm,
            stop_tokens=o.stop_tokens,
            by=None if o.match_by == "r" else o.match_by,
        ),
        compare=CompareConfig(("svcca_pc1", "svcca_fixed_k", "rsa", "cka_unbiased", "procrustes", "mutual_knn")),
        null=NullConfig(
            n_rematch=rematches,
            n_same_token=o.same_token or None,
            n_same_bigram=o.same_bigram or None,
            n_bootstrap=10 if rematches else 0,
        ),
        align=brought,
        streams=StreamsConfig(min(MOST_STREAMED, max(1, o.tokens // 4))),
        function=FunctionConfig(o.functional_layers, rules=RulesConfig(), substitution=SubstitutionConfig())
        if o.functional
        else None,
    )
