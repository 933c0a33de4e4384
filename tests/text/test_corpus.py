"""The corpus: order, deduplication and split by content hash, packing, and a user's own text."""

from __future__ import annotations

import importlib.metadata
import inspect
from pathlib import Path

import pytest

from semconv import InputError
from semconv.text.corpus import (
    Document,
    _without_indent,
    corpus_sha256,
    docstring_documents,
    docstrings_of_source,
    is_english,
)
from semconv.text.packing import tokenize
from semconv.text.text_files import file_documents, source_files

tokenizers = pytest.importorskip("tokenizers")

SOURCE = b'''
"""Module."""
import a_package_that_does_not_exist
raise SystemExit("a corpus never runs what it reads")
class A:
    """Class."""
    def method(self):
        """Method."""
        x = """not a docstring"""
        if x:
            def inner():
                """Inner."""
try:
    pass
except ImportError:
    def fallback():
        """Fallback."""
'''


@pytest.fixture
def tokenizer(tiny_suite: Path):
    return tokenizers.Tokenizer.from_file(str(tiny_suite.with_name("tokenizer.json")))


def test_docstrings_are_parsed_and_never_imported():
    assert sorted(docstrings_of_source(SOURCE)) == ["Class.", "Fallback.", "Inner.", "Method.", "Module."]
    assert list(docstrings_of_source(b"def broken(:")) == []


def test_indent_is_stripped_as_the_standard_library_strips_it_here():
    for text in ("one", "one\n    two\n      three\n    ", "\n    a\n\n    b\n", "  x\ty\n\tz", "a\n\n\n"):
        assert _without_indent(text) == inspect.cleandoc(text)


def test_documents_are_ordered_by_hash_unique_and_independent_of_workers():
    packages = {name: importlib.metadata.version(name) for name in ("jaxtyping", "safetensors", "typer")}
    documents = docstring_documents(packages, workers=2)
    hashes = [d.sha256 for d in documents]
    assert hashes == sorted(set(hashes))
    assert len({" ".join(d.text.split()) for d in documents}) == len(documents)
    reversed_packages = dict(reversed(packages.items()))
    assert corpus_sha256(docstring_documents(reversed_packages, workers=1)) == corpus_sha256(documents)
    assert all(len(d.text) >= 200 and is_english(d.text) for d in documents)


def test_folders_of_a_package_are_left_out():
    packages = {"typer": importlib.metadata.version("typer")}
    every, without = (docstring_documents(packages, exclude=left_out) for left_out in ((), ("typer/", "other")))
    sources = {str(file).split("/")[0] for file in importlib.metadata.files("typer") or [] if file.suffix == ".py"}
    assert "typer" in sources
    assert len(every) > len(without) == 0
    assert docstring_documents(packages, exclude=("typ",)) == every  # a folder is named whole


def test_packages_of_other_versions_are_refused_all_at_once():
    right = importlib.metadata.version("typer")
    with pytest.raises(InputError) as refused:
        docstring_documents({"numpy": "0.1", "typer": right, "no-such-package": "1"})
    assert str(refused.value) == (
        f"the corpus needs numpy==0.1 (found: {importlib.metadata.version('numpy')}), no-such-package==1 (found: "
        "absent); `pip install numpy==0.1 no-such-package==1` brings them"
    )


def test_the_split_depends_on_the_text_alone_and_keeps_its_share():
    splits = [Document.of(f"text number {i}").split for i in range(5000)]
    # 2cf24dba... is above the first tenth of the hashes, 0263829989b6... below.
    assert Document.of("hello").split == "train"
    assert Document("", "0263829989b6fd95").split == "heldout"
    assert 0.08 < splits.count("heldout") / 5000 < 0.12


def test_english():
    assert is_english("the sum of all the values in the array is returned as it was given")
    assert not is_english("xarray.foo bar_baz qux_quux lorem ipsum dolor sit amet consectetur")
    assert not is_english("значение of the the the the")


def test_packing_conserves_every_token(tokenizer):
    texts = ["the matrix returns", "a sparse array of float values and an index", "row"]
    blocks = tokenize([Document.of(t) for t in texts], tokenizer, context=8)
    expected = [i for t in texts for i in tokenizer.encode(t, add_special_tokens=False).ids]
    assert blocks.ids[blocks.mask].tolist() == expected
    bos, eos, pad = (tokenizer.token_to_id(f"<{t}>") for t in ("bos", "eos", "pad"))
    assert (blocks.ids[:, 0] == bos).all()
    assert not blocks.mask[:, 0].any()
    assert int((blocks.ids == eos).sum()) == len(texts)
    assert set(blocks.ids[~blocks.mask].tolist()) <= {bos, eos, pad}
    assert blocks.document[blocks.mask].unique().tolist() == [0, 1, 2]
    assert (blocks.document[~blocks.mask] == -1).all()


def test_max_tokens_ends_with_the_row_that_reaches_it(tokenizer):
    documents = [Document.of("the matrix returns a sparse array of float values") for _ in range(20)]
    whole = tokenize(documents, tokenizer, context=8)
    part = tokenize(documents, tokenizer, context=8, max_tokens=30)
    assert part.n_tokens >= 30
    assert part.n_tokens - int(part.mask[-1].sum()) < 30
    assert (part.ids == whole.ids[: len(part.ids)]).all()


def test_the_token_hash_sees_ids_and_mask(tokenizer):
    a = tokenize([Document.of("the matrix returns")], tokenizer, context=8)
    b = tokenize([Document.of("the matrix reads")], tokenizer, context=8)
    assert a.sha256 == tokenize([Document.of("the matrix returns")], tokenizer, context=8).sha256
    assert a.sha256 != b.sha256


def test_bad_contexts_and_tokenizers_are_refused(tokenizer):
    with pytest.raises(InputError, match="no document to compare on"):
        tokenize([], tokenizer, context=8)
    with pytest.raises(InputError, match="context must be at least 2"):
        tokenize([Document.of("text")], tokenizer, context=1)


def test_a_users_own_text(tmp_path: Path):
    (tmp_path / "a.txt").write_text("first document\n\nsecond document")
    (tmp_path / "b.jsonl").write_text('{"body": "third"}\n\n{"body": "fourth"}\n')
    assert [d.text for d in file_documents([tmp_path / "a.txt"])] == ["first document", "second document"]
    assert [d.text for d in file_documents([tmp_path / "b.jsonl"], "body")] == ["third", "fourth"]
    with pytest.raises(InputError, match="line 1 has no text column 'text'"):
        file_documents([tmp_path / "b.jsonl"])
    (tmp_path / "c.jsonl").write_text("{")
    with pytest.raises(InputError, match="c.jsonl line 1 is not JSON"):
        file_documents([tmp_path / "c.jsonl"])
    with pytest.raises(InputError, match="does not exist"):
        source_files(tmp_path / "none.txt")
    (tmp_path / "d.csv").write_text("x")
    with pytest.raises(InputError, match=r"text is read from .txt, .md, .*, got d.csv"):
        file_documents([tmp_path / "d.csv"])
    (tmp_path / "f.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="f.txt is not UTF-8"):
        file_documents([tmp_path / "f.txt"])
    (tmp_path / "e.txt").write_text("\n\n  \n")
    with pytest.raises(InputError, match="holds no text"):
        file_documents([tmp_path / "e.txt"])


def test_parquet(tmp_path: Path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"text": ["one", "two"], "n": [1, 2]}), tmp_path / "a.parquet")
    assert [d.text for d in file_documents([tmp_path / "a.parquet"])] == ["one", "two"]
    (tmp_path / "b.parquet").write_bytes(b"junk")
    with pytest.raises(InputError, match="b.parquet is not a Parquet file"):
        file_documents([tmp_path / "b.parquet"])
    with pytest.raises(InputError, match="no column 'body'; it has text, n"):
        file_documents([tmp_path / "a.parquet"], "body")
