"""Alignment of two tokenizers: spans of the same text on both sides, the smallest there are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from semconv import InputError
from semconv.text.alignment import aligned_spans, common_boundaries
from semconv.text.corpus import Document
from semconv.text.packing import tokenize
from semconv.text.spans import Spans
from semconv.text.token_blocks import TokenBlocks

tokenizers = pytest.importorskip("tokenizers")

TEXTS = [
    "the matrix returns a sparse array of float values",
    "an index for each row — naïve 日本語 text, and   white space\n\nends here ",
    "x",
    "so that the sum over columns stays exact while the model reads tokens from text",
]


def bpe(vocabulary: int) -> tokenizers.Tokenizer:
    """A byte-level BPE of some size, trained on the texts."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<pad>", "<bos>", "<eos>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


def words() -> tokenizers.Tokenizer:
    """A tokenizer of whole words and single marks, which keeps no white space."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(unk_token="<unk>"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    trainer = tokenizers.trainers.WordLevelTrainer(special_tokens=["<unk>", "<pad>", "<bos>", "<eos>"])
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


def blocks_of(tokenizer: tokenizers.Tokenizer, context: int, max_tokens: int | None = None) -> TokenBlocks:
    return tokenize([Document.of(text) for text in TEXTS], tokenizer, context, max_tokens)


def texts_of(spans: Spans, tokenizer: tokenizers.Tokenizer, blocks: TokenBlocks) -> list[str]:
    """The text of every span, from where the one before it in the document ends to where its last token ends."""
    ends = [[end for _, end in encoded.offsets] for encoded in encodings(tokenizer)]
    counts = torch.bincount(blocks.document[blocks.mask].long(), minlength=len(TEXTS))
    firsts = (counts.cumsum(0) - counts).tolist()
    found, reached = list[str](), [0] * len(TEXTS)
    for end, document in zip(spans.ends.tolist(), spans.document.tolist(), strict=True):
        last = ends[document][end - 1 - firsts[document]]
        found.append(TEXTS[document][reached[document] : last])
        reached[document] = last
    return found


def encodings(tokenizer: tokenizers.Tokenizer) -> list[tokenizers.Encoding]:
    return tokenizer.encode_batch(TEXTS, add_special_tokens=False)


def test_boundaries_by_hand():
    a, b = np.array([3, 5, 5, 9, 12]), np.array([1, 3, 9, 11, 12, 12])
    assert common_boundaries(a, b).tolist() == [3, 9, 12]
    assert common_boundaries(np.array([2]), np.array([3])).tolist() == []


@pytest.mark.parametrize("pair", [(270, 330), (400, 270), (330, "words")])
@pytest.mark.parametrize("contexts", [(16, 16), (9, 23)])
def test_spans_hold_the_same_text_on_both_sides_and_are_the_smallest(pair, contexts):
    sides = [words() if size == "words" else bpe(size) for size in pair]
    blocks = tuple(blocks_of(side, context) for side, context in zip(sides, contexts, strict=True))
    spans = aligned_spans(TEXTS, tuple(sides), blocks)
    assert len(spans[0]) == len(spans[1])
    assert torch.equal(spans[0].document, spans[1].document)
    texts = [texts_of(*side) for side in zip(spans, sides, blocks, strict=True)]
    assert texts[0] == texts[1]
    for document, text in enumerate(TEXTS):
        ends = [{end for _, end in encodings(side)[document].offsets} for side in sides]
        assert int((spans[0].document == document).sum()) == len(ends[0] & ends[1]), "every common end ends a span"
        joined = "".join(t for t, d in zip(texts[0], spans[0].document.tolist(), strict=True) if d == document)
        assert text.startswith(joined)
        assert not text[len(joined) :].strip(), "only what follows the last common end is lost"


def test_one_tokenizer_on_both_sides_gives_its_tokens():
    """Bytes of one character are one span: their ends are the same."""
    tokenizer = bpe(330)
    blocks = blocks_of(tokenizer, 16)
    one, other = aligned_spans(TEXTS, (tokenizer, tokenizer), (blocks, blocks))
    assert torch.equal(one.starts, other.starts)
    assert torch.equal(one.ends, other.ends)
    assert len(one) == sum(len({end for _, end in encoded.offsets}) for encoded in encodings(tokenizer))
    assert len(one) < int(one.lengths.sum()) == blocks.n_tokens


def test_text_that_one_side_did_not_reach_is_in_no_span():
    sides = bpe(270), bpe(400)
    blocks = blocks_of(sides[0], 16, 20), blocks_of(sides[1], 16)
    spans = aligned_spans(TEXTS, sides, blocks)
    texts = [texts_of(*side) for side in zip(spans, sides, blocks, strict=True)]
    assert texts[0] == texts[1]
    characters = [end for _, end in encodings(sides[0])[0].offsets][blocks[0].n_tokens - 1]
    assert blocks[0].n_tokens < len(encodings(sides[0])[0].offsets), "the first document is cut"
    assert len("".join(texts[0])) <= characters


def test_blocks_of_another_text_are_refused():
    tokenizer = bpe(330)
    blocks = blocks_of(tokenizer, 16)
    with pytest.raises(InputError, match="document 0 has fewer tokens than its blocks hold"):
        aligned_spans(["the", *TEXTS[1:]], (tokenizer, tokenizer), (blocks, blocks))


def test_no_common_boundary():
    sides = bpe(259), words()
    blocks = blocks_of(sides[0], 2, 1), blocks_of(sides[1], 2, 1)
    with pytest.raises(InputError, match="no common boundary"):
        aligned_spans(TEXTS, sides, blocks)
    with pytest.raises(InputError, match="1 texts, the blocks hold 4 documents"):
        aligned_spans(TEXTS[:1], sides, (blocks_of(sides[0], 16), blocks[1]))
