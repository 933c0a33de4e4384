"""Spans: cut where they should be and nowhere else, and pooled as a dense loop would."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from semconv import InputError, SparseActivations, TokenBlocks
from semconv.text.spans import Spans, fixed_windows, pool, sentences, user_spans
from tests.conftest import random_activations


def blocks_of(document: list[list[int]], ids: list[list[int]] | None = None) -> TokenBlocks:
    owner = torch.tensor(document, dtype=torch.int32)
    tokens = torch.zeros_like(owner) if ids is None else torch.tensor(ids, dtype=torch.int32)
    return TokenBlocks(tokens, owner >= 0, owner)


BLOCKS = blocks_of([[-1, 0, 0, 0, -1, 1, 1], [-1, 1, 1, 2, 2, -1, 2]])


def random_blocks(seed: int, n_texts: int) -> TokenBlocks:
    g = torch.Generator().manual_seed(seed)
    document = torch.randint(-1, 3, (20, 6), generator=g).repeat_interleave(5, dim=1)
    return blocks_of(document.tolist(), torch.randint(0, n_texts, (20, 30), generator=g).tolist())


def bounds(spans: Spans) -> list[tuple[int, int]]:
    return list(zip(spans.starts.tolist(), spans.ends.tolist(), strict=True))


def test_fixed_windows_by_hand():
    spans = fixed_windows(BLOCKS, 2)
    assert bounds(spans) == [(0, 2), (2, 3), (3, 5), (5, 7), (7, 9), (9, 10)]
    assert spans.document.tolist() == [0, 0, 1, 1, 2, 2]
    assert spans.lengths.tolist() == [2, 1, 2, 2, 2, 1]
    assert bounds(fixed_windows(BLOCKS, 100)) == [(0, 3), (3, 5), (5, 7), (7, 9), (9, 10)]


@pytest.mark.parametrize("width", [1, 3, 7])
def test_windows_cover_every_token_and_stay_in_one_run(width: int):
    blocks = random_blocks(0, 3)
    spans, runs = fixed_windows(blocks, width), blocks.runs()
    assert [t for first, last in bounds(spans) for t in range(first, last)] == list(range(blocks.n_tokens))
    assert int(spans.lengths.max()) == width
    for first, last in bounds(spans):
        assert (runs[first:last] == runs[first]).all()
        if last - first < width:
            assert last == len(runs) or runs[last] != runs[first]


def cut(texts: list[str]) -> list[str]:
    """The sentences of one run of tokens of these texts."""
    blocks = blocks_of([[0] * len(texts)], [list(range(len(texts)))])
    return ["".join(texts[first:last]) for first, last in bounds(sentences(blocks, texts))]


@pytest.mark.parametrize(
    ("texts", "wanted"),
    [
        (["One", " two", ".", " Three", "!", " Four", "?"], ["One two.", " Three!", " Four?"]),
        (["pi", " is", " 3", ".", "14", ".", " np", ".", "array"], ["pi is 3.14.", " np.array"]),
        (["(See", " it", ".)", " Next"], ["(See it.)", " Next"]),
        (["Say", ' "', "no", ".", '"', ")", " Next"], ['Say "no.")', " Next"]),
        (["a", ".", ' "', "b"], ["a.", ' "b']),
        (["Title", "\n", "\n", "Text", "\n", "more"], ["Title\n\n", "Text\nmore"]),
        (["Title", "\n \n", "Text"], ["Title\n \n", "Text"]),
        (["a.\n", "\n b"], ["a.\n", "\n b"]),
        (["a\n", "  ", "\nb"], ["a\n  ", "\nb"]),
        (["a", ".", "\n", "\n", "b"], ["a.\n\n", "b"]),
        (["\n", "\n", "a"], ["\n\na"]),
        ([" ", "\n"], [" \n"]),
        (["...", " and", "…", " on"], ["...", " and…", " on"]),
        (["e.g.", " this"], ["e.g.", " this"]),
    ],
)
def test_sentences_by_hand(texts: list[str], wanted: list[str]):
    assert cut(texts) == wanted


def sentence_starts(texts: list[str]) -> list[int]:
    """The rule again, on the characters of one run: where in the list a sentence opens."""
    starts = [0]
    for i in range(1, len(texts)):
        before, token = "".join(texts[:i]), texts[i]
        if not token.strip() or not before.strip():
            continue
        space = re.search(r"\s*$", before)[0] + re.match(r"\s*", token)[0]  # pyright: ignore
        ended = re.search(r"[.!?…][\"'`)\]}>”’»*_]*$", before.rstrip()) is not None
        if space.count("\n") >= 2 or (ended and space):
            starts.append(i)
    return starts


@pytest.mark.parametrize("seed", range(5))
def test_sentences_equal_the_rule_read_on_characters(seed: int):
    texts = [
        "a",
        " b",
        "c ",
        ".",
        " .",
        ". ",
        ".)",
        ")",
        '"',
        ' "',
        "\n",
        " ",
        "\n\n",
        "x\n",
        "\ny",
        "?",
        "d.e",
        "!\n\nf",
    ]
    blocks = random_blocks(seed, len(texts))
    ids, runs = blocks.ids[blocks.mask], blocks.runs()
    wanted: list[int] = []
    for run in range(int(runs.max()) + 1):
        places = (runs == run).nonzero()[:, 0].tolist()
        wanted += [places[i] for i in sentence_starts([texts[int(ids[p])] for p in places])]
    spans = sentences(blocks, texts)
    assert spans.starts.tolist() == wanted
    assert spans.ends.tolist() == [*wanted[1:], blocks.n_tokens]
    assert len(wanted) > int(runs.max()) + 20  # sentences end within runs too
    assert torch.equal(spans.document, blocks.document[blocks.mask][spans.starts])


def test_user_spans_may_leave_gaps():
    spans = user_spans(BLOCKS, torch.tensor([[1, 3], [4, 5], [5, 7]]))
    assert bounds(spans) == [(1, 3), (4, 5), (5, 7)]
    assert spans.document.tolist() == [0, 1, 1]
    assert spans.n_tokens == 10


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([[0, 4]], r"within one row and one document, without a gap, got span 0 \[0, 4\)"),
        ([[0, 2], [4, 6]], r"within one row and one document, without a gap, got span 1 \[4, 6\)"),
        ([[8, 10]], r"without a gap, got span 0 \[8, 10\)"),
        ([[0, 2], [1, 3]], r"in order and not overlap, got span 1 \[1, 3\)"),
        ([[5, 7], [0, 2]], r"in order and not overlap, got span 1 \[0, 2\)"),
        ([[2, 2]], r"at least one token, got span 0 \[2, 2\)"),
        ([[-1, 2]], r"in \[0, 10\), got span 0 \[-1, 2\)"),
        ([[9, 11]], r"in \[0, 10\), got span 0 \[9, 11\)"),
        ([[1, 2, 3]], r"int64 \[n_spans, 2\], got torch.int64 \[1, 3\]"),
        ([[0.0, 1.0]], r"int64 \[n_spans, 2\], got torch.float32 \[1, 2\]"),
    ],
)
def test_bad_user_spans_are_refused(given: list[list[int]], message: str):
    with pytest.raises(InputError, match=message):
        user_spans(BLOCKS, torch.tensor(given))


def test_no_spans_are_refused():
    with pytest.raises(InputError, match="at least one span is needed, got none"):
        user_spans(BLOCKS, torch.empty(0, 2, dtype=torch.int64))
    nothing = blocks_of([[-1, -1]])
    for make in (lambda: fixed_windows(nothing, 3), lambda: sentences(nothing, ["a"])):
        with pytest.raises(InputError, match="at least one span is needed, got none"):
            make()
    with pytest.raises(InputError, match="width must be at least 1, got 0"):
        fixed_windows(BLOCKS, 0)
    with pytest.raises(InputError, match=r"Spans.ends must be torch.int64 \[n_spans\], got torch.int64 \[2\]"):
        Spans(torch.tensor([0]), torch.tensor([1, 2]), torch.tensor([0], dtype=torch.int32), 3)


def some_spans(seed: int, n_tokens: int) -> Spans:
    """Spans of one to several tokens, some with a gap before them."""
    g = np.random.default_rng(seed)
    edges = np.unique(g.integers(0, n_tokens + 1, n_tokens // 3))
    starts, ends = edges[:-1], edges[1:]
    kept = g.random(len(starts)) < 0.8
    starts, ends = torch.from_numpy(starts[kept]), torch.from_numpy(ends[kept])
    return Spans(starts, ends, torch.zeros(len(starts), dtype=torch.int32), n_tokens)


def by_loop(acts: SparseActivations, spans: Spans, how: str) -> np.ndarray:
    """Pools the dense matrix span by span in float64, rounded to float32 once."""
    dense = acts.to_dense().double().numpy()
    of = {"max": lambda x: x.max(axis=0), "sum": lambda x: x.sum(axis=0), "mean": lambda x: x.sum(axis=0) / len(x)}
    return np.stack([of[how](dense[first:last]) for first, last in bounds(spans)]).astype(np.float32)


@pytest.mark.parametrize("how", ["max", "mean", "sum"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("seed", range(3))
def test_pooling_equals_a_dense_loop(how: str, dtype: torch.dtype, seed: int):
    acts, spans = random_activations(seed, 200, 17, 0.15, dtype), some_spans(seed, 200)
    pooled = pool(acts, spans, how)  # pyright: ignore
    wanted = by_loop(acts, spans, how)
    assert pooled.n_tokens == len(spans)
    assert pooled.n_features == 17
    assert pooled.values.dtype == torch.float32
    assert pooled.nnz == np.count_nonzero(wanted)
    if how == "max" or dtype == torch.float16:  # a sum of float16 values is exact in float64, whatever its order
        assert (pooled.to_dense().numpy() == wanted).all()
    else:  # the orders of two float64 sums may differ, which can tip the last bit of a float32
        np.testing.assert_allclose(pooled.to_dense().numpy(), wanted, rtol=2.0**-23, atol=0)


def test_pooling_to_single_tokens_changes_nothing():
    acts = random_activations(0, 30, 8)
    every = torch.arange(30)
    spans = Spans(every, every + 1, torch.zeros(30, dtype=torch.int32), 30)
    for how in ("max", "mean", "sum"):
        assert pool(acts, spans, how).sha256 == acts.sha256


def test_pooling_where_nothing_is_active():
    x = torch.zeros(6, 3)
    x[5, 1] = 1
    acts = SparseActivations.from_dense(x)
    pooled = pool(acts, Spans(torch.tensor([0, 2]), torch.tensor([2, 5]), torch.zeros(2, dtype=torch.int32), 6), "max")
    assert pooled.nnz == 0
    assert pooled.indptr.tolist() == [0, 0, 0]


def test_a_stored_zero_pools_to_nothing():
    acts = SparseActivations(torch.tensor([0, 1]), torch.tensor([2], dtype=torch.int32), torch.tensor([0.0]), 3)
    spans = Spans(torch.tensor([0]), torch.tensor([1]), torch.zeros(1, dtype=torch.int32), 1)
    assert pool(acts, spans, "sum").nnz == 0


def test_pooling_refuses_bad_input():
    acts, spans = random_activations(0, 30, 8), some_spans(0, 31)
    with pytest.raises(InputError, match="spans over 31 tokens cannot pool activations over 30"):
        pool(acts, spans, "max")
    with pytest.raises(InputError, match="how must be max, mean or sum, got 'median'"):
        pool(acts, some_spans(0, 30), "median")  # pyright: ignore
    huge = SparseActivations.from_dense(torch.full((2, 1), 3e38))
    whole = Spans(torch.tensor([0]), torch.tensor([2]), torch.zeros(1, dtype=torch.int32), 2)
    with pytest.raises(InputError, match=r"must fit float32, got 6e\+38"):
        pool(huge, whole, "sum")
    assert torch.equal(pool(huge, whole, "mean").values, huge.values[:1])
