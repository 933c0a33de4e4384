"""Documents become rows, packed or one each, with BOS or without; every position that does not count has a reason."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from semconv import InputError
from semconv.text.alignment import aligned_spans
from semconv.text.corpus import Document
from semconv.text.packing import CorpusFacts, Layout, rows_of
from semconv.text.token_blocks import TokenBlocks
from semconv.text.tokenizer import SpecialTokens

tokenizers = pytest.importorskip("tokenizers")

BOS, EOS, PAD = 0, 1, 2
SPECIAL = SpecialTokens(BOS, EOS, PAD, "the test")
TEXTS = ["abcdefgh", "ijk", "lmnopqrstuvw", "x"]


def letters() -> Any:
    """Every letter is a token: `a` is 3, `b` is 4 and so on."""
    vocabulary = {name: i for i, name in enumerate(["<bos>", "<eos>", "<pad>", *"abcdefghijklmnopqrstuvwxyz"])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, []))
    tokenizer.add_special_tokens(["<bos>", "<eos>", "<pad>"])
    return tokenizer


def rows(
    special: SpecialTokens = SPECIAL, max_tokens: int | None = None, **layout: Any
) -> tuple[list[str], list[str], TokenBlocks, CorpusFacts]:
    """The rows as letters, `<`, `>`, `_` for BOS, EOS and padding; and again, with dots for what does not count."""
    documents = [Document.of(text) for text in TEXTS]
    blocks, facts = rows_of(documents, letters(), Layout(**layout), max_tokens, special)
    shown = ["".join("<>_abcdefghijklmnopqrstuvwxyz"[i] for i in row) for row in blocks.ids.tolist()]
    counted = [
        "".join(c if counts else "." for c, counts in zip(row, mask, strict=True))
        for row, mask in zip(shown, blocks.mask.tolist(), strict=True)
    ]
    return shown, counted, blocks, facts


NO_BOS, NO_EOS, NEITHER = (SpecialTokens(b, e, PAD, "the test") for b, e in ((None, EOS), (BOS, None), (None, None)))


@pytest.mark.parametrize(
    ("special", "layout", "shown"),
    [
        (SPECIAL, {"context": 8}, ["<abcdefg", "<h>ijk>l", "<mnopqrs", "<tuvw>x>"]),
        (SPECIAL, {"context": 8, "bos": "yes"}, ["<abcdefg", "<h>ijk>l", "<mnopqrs", "<tuvw>x>"]),
        (SPECIAL, {"context": 8, "bos": "no"}, ["abcdefgh", ">ijk>lmn", "opqrstuv", "w>x>____"]),
        (NO_BOS, {"context": 8}, ["abcdefgh", ">ijk>lmn", "opqrstuv", "w>x>____"]),
        (NO_EOS, {"context": 8}, ["<abcdefg", "<h<ijk<l", "<mnopqrs", "<tuvw<x<"]),
        (NO_EOS, {"context": 8, "bos": "no"}, ["abcdefgh", "ijklmnop", "qrstuvwx"]),
        (NEITHER, {"context": 8}, ["abcdefgh", "ijklmnop", "qrstuvwx"]),
        (SPECIAL, {"context": 8, "rows": "documents"}, ["<abcdefg", "<ijk>___", "<lmnopqr", "<x>_____"]),
        (
            SPECIAL,
            {"context": 99, "rows": "documents"},
            ["<abcdefgh>____", "<ijk>_________", "<lmnopqrstuvw>", "<x>___________"],
        ),
        (NEITHER, {"context": 4, "rows": "documents"}, ["abcd", "ijk_", "lmno", "x___"]),
    ],
)
def test_rows_by_hand(special: SpecialTokens, layout: dict[str, Any], shown: list[str]):
    assert rows(special, **layout)[0] == shown


@pytest.mark.parametrize(
    ("layout", "counted"),
    [
        ({"context": 8, "skip_positions": 2}, ["...cdefg", "...ijk.l", "...opqrs", "...vw.x."]),
        ({"context": 8, "skip_positions": 1, "bos": "no"}, [".bcdefgh", ".ijk.lmn", ".pqrstuv", "..x....."]),
        ({"context": 8, "skip_positions": 2, "rows": "documents"}, ["...cdefg", "...k....", "...nopqr", "........"]),
    ],
)
def test_the_first_positions_of_rows_can_be_left_out(layout: dict[str, Any], counted: list[str]):
    _, found, blocks, facts = rows(**layout)
    assert found == counted
    assert facts.excluded["skipped"] > 0
    assert facts.skip_positions == layout["skip_positions"]
    assert blocks.rule.endswith(f"and the first {layout['skip_positions']} of text in every row")


@pytest.mark.parametrize("context", [5, 8, 30])
@pytest.mark.parametrize("skip", [0, 1, 3])
@pytest.mark.parametrize("mode", ["packed", "documents"])
@pytest.mark.parametrize("bos", ["auto", "no"])
def test_every_position_is_a_token_of_its_document_or_has_a_reason(context: int, skip: int, mode: str, bos: str):
    _, _, blocks, facts = rows(context=context, skip_positions=skip, rows=mode, bos=bos)
    assert blocks.place is not None
    document, place = blocks.document[blocks.mask].tolist(), blocks.place[blocks.mask].tolist()
    ids = blocks.ids[blocks.mask].tolist()
    assert [ord(TEXTS[d][p]) - ord("a") + 3 for d, p in zip(document, place, strict=True)] == ids
    assert (blocks.place[~blocks.mask] == -1).all()
    assert (blocks.document[~blocks.mask] == -1).all()
    assert facts.n_rows == len(blocks.ids)
    assert blocks.n_tokens + sum(facts.excluded.values()) == blocks.ids.numel()
    special = {name: int((blocks.ids == i).sum()) for name, i in (("bos", BOS), ("eos", EOS), ("padding", PAD))}
    assert {name: facts.excluded[name] for name in special} == special
    in_rows = blocks.n_tokens + facts.excluded["skipped"]
    assert in_rows + facts.tokens_left_out == sum(map(len, TEXTS)), "every token is read, or counted as left out"
    assert facts.documents == len(TEXTS)
    assert facts.documents_read == len(set(document))
    assert (facts.documents_cut == 0) == (mode == "packed" or context == 30)


@pytest.mark.parametrize("skip", [0, 2])
@pytest.mark.parametrize("mode", ["packed", "documents"])
def test_the_row_that_reaches_the_wanted_positions_is_the_last(skip: int, mode: str):
    _, counted, whole, _ = rows(context=8, skip_positions=skip, rows=mode)
    for wanted in range(1, whole.n_tokens + 1):
        _, part, blocks, facts = rows(context=8, skip_positions=skip, rows=mode, max_tokens=wanted)
        assert part == counted[: len(part)]
        assert blocks.n_tokens >= wanted
        assert blocks.n_tokens - int(blocks.mask[-1].sum()) < wanted
        assert facts.documents_read <= len(TEXTS)


def test_enough_of_a_long_text_is_read_whatever_does_not_count():
    documents = [Document.of(text) for text in ["ab", "abcdefghij"] * 1500]
    for layout in (Layout(8, skip_positions=5), Layout(6, "documents", skip_positions=2), Layout(8)):
        blocks, _ = rows_of(documents, letters(), layout, 2000, SPECIAL)
        whole, _ = rows_of(documents, letters(), layout, None, SPECIAL)
        assert whole.n_tokens > blocks.n_tokens >= 2000
        assert torch.equal(whole.mask[: len(blocks.mask)], blocks.mask)


@pytest.mark.parametrize(
    ("special", "layout", "told"),
    [
        (SPECIAL, {"bos": "auto"}, "rows begin with <bos> (the test); documents are closed by <eos>"),
        (
            replace(SPECIAL, added=False),
            {},
            "rows begin with <bos> (the test), which the tokenizer does not put there by itself; "
            "documents are closed by <eos>",
        ),
        (SPECIAL, {"bos": "no"}, "rows begin with text, as asked for; documents are closed by <eos>"),
        (NO_BOS, {}, "rows begin with text: the tokenizer has no BOS (the test); documents are closed by <eos>"),
        (NO_EOS, {}, "rows begin with <bos> (the test); documents are closed by <bos>"),
        (
            NEITHER,
            {},
            "rows begin with text: the tokenizer has no BOS (the test); "
            "documents follow each other without anything between them",
        ),
    ],
)
def test_the_rules_are_said_in_words(special: SpecialTokens, layout: dict[str, Any], told: str):
    facts = rows(special, context=8, **layout)[3]
    assert f"{facts.bos_rule}; {facts.separator_rule}" == told
    assert set(facts.plain()) >= {
        "rows",
        "n_rows",
        "bos_rule",
        "excluded",
        "documents_cut",
        "tokenizer",
        "files_ignored",
    }


@pytest.mark.parametrize(
    ("special", "layout", "told"),
    [
        (NO_BOS, {"context": 8, "bos": "yes"}, r"rows are to begin with BOS, but the tokenizer has none \(the test\)"),
        (SPECIAL, {"context": 8, "skip_positions": 7}, "skip_positions must be below the 7 tokens of a row, got 7"),
        (SPECIAL, {"context": 1}, "context must be at least 2"),
        (SPECIAL, {"context": 99, "rows": "documents", "skip_positions": 50}, "gives no token to compare on"),
    ],
)
def test_layouts_that_leave_no_text_are_refused(special: SpecialTokens, layout: dict[str, Any], told: str):
    with pytest.raises(InputError, match=told):
        rows(special, **layout)


@pytest.mark.parametrize(
    "layouts", [(Layout(6, skip_positions=1), Layout(9, skip_positions=2)), (Layout(6, "documents"), Layout(9))]
)
def test_spans_are_those_whose_tokens_count_on_both_sides(layouts: tuple[Layout, Layout]):
    documents, tokenizer = [Document.of(text) for text in TEXTS], letters()
    blocks = tuple(rows_of(documents, tokenizer, layout, None, SPECIAL)[0] for layout in layouts)
    spans = aligned_spans(TEXTS, (tokenizer, tokenizer), (blocks[0], blocks[1]))
    counted = [set(zip(b.document[b.mask].tolist(), b.place[b.mask].tolist(), strict=True)) for b in blocks]
    for side, of_side in zip(blocks, spans, strict=True):
        at = of_side.starts
        assert (of_side.lengths == 1).all()
        found = zip(side.document[side.mask][at].tolist(), side.place[side.mask][at].tolist(), strict=True)
        assert list(found) == sorted(counted[0] & counted[1])
    assert 0 < len(spans[0]) < max(block.n_tokens for block in blocks)
