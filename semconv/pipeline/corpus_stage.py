"""The text of a suite as its models read it: documents, then rows of tokens, kept in the run folder."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semconv.models.sources import model_folder, text_files, tokenizer_file
from semconv.runs.run import Progress, Run
from semconv.suite.config import CorpusConfig, ModelConfig, SuiteConfig
from semconv.system.digests import sha256_of
from semconv.system.errors import InputError
from semconv.system.file_hashes import file_hashes
from semconv.system.files import read_sealed, write_tensors
from semconv.text.packing import CorpusFacts, Layout, rows_of
from semconv.text.token_blocks import TokenBlocks
from semconv.text.tokenizer import SETTINGS, describe, load_tokenizer, special_tokens

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from semconv.text.corpus import Document


@dataclass(frozen=True)
class Corpus:
    """The token blocks of a suite, the hash of the text they come from, and what became of the text."""

    blocks: TokenBlocks
    text_sha256: str
    facts: CorpusFacts


def corpus_of_b(suite: SuiteConfig) -> CorpusConfig:
    """Returns the corpus as model B reads it: through its own tokenizer where the suite aligns two."""
    if suite.align is None:
        return suite.corpus
    revision = suite.align.tokenizer_b_revision
    return replace(suite.corpus, tokenizer=suite.align.tokenizer_b, tokenizer_revision=revision, tokens_sha256="")


def load_corpus(run: Run, config: CorpusConfig | None = None, model: ModelConfig | None = None) -> Corpus:
    """Returns the token blocks of a corpus, kept in the run folder after the first time.

    Args:
        run: whose folder keeps them.
        config: the corpus; that of the suite by default.
        model: whose settings are asked where none lie beside the tokenizer; A by default.

    Raises:
        InputError: the text or the tokens are not those that the suite expects.
    """
    config, model = config or run.suite.corpus, model or run.suite.model_a
    tokenizer = tokenizer_file(config)
    if not tokenizer.is_file():
        raise InputError(f"tokenizer {tokenizer} does not exist")
    run.progress("corpus", 0, 1)
    with run.timed("corpus"):
        key = _corpus_key(run.progress, config, tokenizer, _settings_folders(tokenizer, model, run.progress))
        cached = run.folder / f"tokens-{key}.safetensors"
        corpus = _read_corpus(cached)
        if corpus is None:
            corpus = make_corpus(config, model, run.progress)
            _write_corpus(cached, corpus)
    for what, expected, found in (
        ("text", config.text_sha256, corpus.text_sha256),
        ("tokens", config.tokens_sha256, corpus.blocks.sha256),
    ):
        if expected and expected != found:
            python = ".".join(map(str, sys.version_info[:2]))
            here = f"; packages hold other docstrings for other versions of Python, this is {python}"
            raise InputError(
                f"the corpus gives other {what} than the suite {run.suite.name} expects: SHA-256 {expected[:16]}... "
                f"expected, {found[:16]}... found{here if config.kind == 'docstrings' else ''}"
            )
    run.progress("corpus", 1, 1)
    return corpus


def make_corpus(config: CorpusConfig, model: ModelConfig, progress: Progress | None = None) -> Corpus:
    """Reads and tokenizes the text of a corpus, for a model whose settings are asked where the tokenizer has none.

    Args:
        config: the corpus.
        model: as in a suite.
        progress: shown the stages `read text`, and `tokenize` with the positions that count.

    Raises:
        InputError: whatever text, tokenizer or layout are refused for.
    """
    from semconv.text.corpus import corpus_sha256

    def tokenized(done: int, total: int) -> None:
        if progress is not None:
            progress("tokenize", done, total)

    if progress is not None:
        progress("read text", 0, 1)
    documents, file = documents_of(config), tokenizer_file(config)
    if progress is not None:
        progress("read text", 1, 1)
    tokenizer = load_tokenizer(file)
    special = special_tokens(tokenizer, file, _settings_folders(file, model))
    layout = Layout(config.context, config.rows, config.bos, config.skip_positions)
    blocks, facts = rows_of(documents, tokenizer, layout, config.max_tokens, special, progress=tokenized)
    ignored = 0
    if config.kind == "file":
        from semconv.text.text_files import files_ignored

        ignored = files_ignored(Path(config.path))
    facts = replace(facts, tokenizer=describe(tokenizer, file), files_ignored=ignored)
    return Corpus(blocks, corpus_sha256(documents), facts)


def tokenizer_of_corpus(config: CorpusConfig) -> Tokenizer:
    """Returns the tokenizer that a corpus is read through.

    Raises:
        InputError: what `tokenizer_file` or `load_tokenizer` refuses.
    """
    return load_tokenizer(tokenizer_file(config))


def documents_of(config: CorpusConfig) -> list[Document]:
    """Returns the documents of a corpus, of the split that it names, in order.

    Raises:
        InputError: a package, a file or text that is refused.
    """
    from semconv.text.corpus import docstring_documents
    from semconv.text.text_files import file_documents

    if config.kind == "docstrings":
        documents = docstring_documents(config.packages, exclude=config.exclude or ())
    else:
        documents = file_documents(text_files(config), config.column)
    if config.split != "all":
        documents = [d for d in documents if d.split == config.split]
    return documents


def _settings_folders(tokenizer: Path, model: ModelConfig, progress: Progress | None = None) -> list[Path]:
    """Returns where special tokens are looked up: beside the tokenizer; where nothing is, beside the model."""
    beside = tokenizer.parent
    if any((beside / name).is_file() for name in SETTINGS):
        return [beside]
    place = model_folder(model, progress)
    return [place.parent if place.is_file() else place]


def _corpus_key(progress: Progress, config: CorpusConfig, tokenizer: Path, folders: list[Path]) -> str:
    """Names the cache after everything the tokens depend on: settings, and what is in tokenizer and text, not where."""
    settings = asdict(config) | {"tokenizer": "", "path": ""}
    beside = [folder / name for folder in folders for name in SETTINGS]
    texts = text_files(config, progress) if config.kind != "docstrings" else []
    files = [tokenizer, *(file for file in beside if file.is_file()), *texts]
    found = file_hashes(files, lambda done, total: progress("hash text", done, total))
    return sha256_of(repr(settings), *found)[:16]


def _write_corpus(path: Path, corpus: Corpus) -> None:
    blocks = corpus.blocks
    parts = {"ids": blocks.ids, "mask": blocks.mask, "document": blocks.document}
    if blocks.place is not None:
        parts["place"] = blocks.place
    facts = json.dumps(asdict(corpus.facts))
    told = {"text_sha256": corpus.text_sha256, "rule": blocks.rule, "facts": facts}
    write_tensors(path, parts, told, sealed=True)


def _read_corpus(path: Path) -> Corpus | None:
    """Reads the cache; None when it is not there or not what was written, for then it is made again from the text."""
    try:
        parts, told = read_sealed(path)
        blocks = TokenBlocks(parts["ids"], parts["mask"], parts["document"], parts["place"], told["rule"])
        facts: dict[str, Any] = json.loads(told["facts"])
        return Corpus(blocks, told["text_sha256"], CorpusFacts(**facts))
    except (KeyError, TypeError, ValueError):  # InputError is a ValueError
        return None
