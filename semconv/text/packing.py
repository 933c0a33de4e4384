"""Turns documents into rows of tokens, and says what became of every position."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from jaxtyping import Int
from numpy import ndarray

from semconv.system.errors import InputError, refusing
from semconv.text.token_blocks import COUNTED, TokenBlocks
from semconv.text.tokenizer import SpecialTokens, control_ids, special_tokens

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from semconv.text.corpus import Document

_DOCUMENTS_AT_ONCE = 512  # between two calls of `progress` too
_ID, _WHAT, _DOCUMENT, _PLACE = range(4)  # of a position, rows of the arrays in which positions are laid out
_TEXT, _BOS, _EOS, _PADDING, _SKIPPED, _CONTROL = range(6)  # what it is
_REASONS = ("bos", "eos", "padding", "skipped", "control")


@dataclass(frozen=True)
class Layout:
    """How documents become rows."""

    context: int
    """Tokens per row, BOS included."""
    rows: Literal["packed", "documents"] = "packed"
    """One document after the other, or a row for each, cut at its end."""
    bos: Literal["auto", "yes", "no"] = "auto"
    """Whether rows begin with BOS: `auto` where there is one."""
    skip_positions: int = 0
    """The first positions of text in every row that do not count."""


@dataclass(frozen=True)
class CorpusFacts:
    """What became of the text, for the report; every field is plain, so that `asdict` of it is JSON.

    Attributes:
        rows: `packed` or `documents`.
        n_rows: rows that the models read.
        bos_rule: what rows begin with, in words.
        separator_rule: what stands between documents, in words.
        skip_positions: the first positions of text in every row that do not count.
        excluded: positions that do not count, by reason: `bos`, `eos`, `padding`, `skipped`, and `control` for control
            tokens in the text that the tokenizer has no other way to read.
        documents: in the text.
        documents_read: of which a token counts.
        documents_cut: of which only the beginning was read, because the row, or the wanted number of tokens, ended.
        tokens_left_out: of the documents that were cut at the end of their row.
        tokenizer: its kind.
        files_ignored: files in a folder of text that are of no kind that is read.
    """

    rows: str
    n_rows: int
    bos_rule: str
    separator_rule: str
    skip_positions: int
    excluded: dict[str, int]
    documents: int
    documents_read: int
    documents_cut: int
    tokens_left_out: int
    tokenizer: str = ""
    files_ignored: int = 0

    def plain(self) -> dict[str, Any]:
        """Returns the facts as they are written into results."""
        return asdict(self)


def tokenize(
    documents: Sequence[Document],
    tokenizer: Tokenizer,
    context: int,
    max_tokens: int | None = None,
    special: SpecialTokens | None = None,
) -> TokenBlocks:
    """Packs documents into blocks: each row is BOS, then documents one after the other, each closed by EOS.

    `rows_of` with the default layout; see there.
    """
    return rows_of(documents, tokenizer, Layout(context), max_tokens, special)[0]


def rows_of(
    documents: Sequence[Document],
    tokenizer: Tokenizer,
    layout: Layout,
    max_tokens: int | None = None,
    special: SpecialTokens | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[TokenBlocks, CorpusFacts]:
    """Lays documents out in rows.

    A row begins with BOS where there is one, and is filled up with padding. Documents are closed by EOS; without one,
    by BOS; without either, by nothing. With `rows = "documents"`, every document begins a row of its own, what does not
    fit is left out, and rows are as long as the longest of them, `context` at most.

    Args:
        documents: the texts, in order.
        tokenizer: as `load_tokenizer` gives it.
        layout: how.
        max_tokens: stop after the row that reaches this many counted positions.
        special: BOS, EOS and padding; what `special_tokens` finds by default.
        progress: called with the positions that were counted so far and `max_tokens`; or, where that is None, with the
            documents that were read and all of them.

    Returns:
        Blocks with ids int32 [n_seq, context]; mask bool, False on BOS, EOS, padding, skipped positions and control
        tokens, which no statistic counts; document int32, the place of the document in `documents`, and place int32,
        that of the token in its document, -1 where the mask is False. And what became of the text.

    Raises:
        InputError: a row too short for text, BOS asked for where there is none, or no token at all.
    """
    special = special or special_tokens(tokenizer)
    if not documents:
        raise InputError(
            "no document to compare on; a small text may have none in the split asked for (try split = 'all')"
        )
    bos, body = _beginning(layout, special)
    pieces = _pieces(documents, tokenizer, layout, body, max_tokens, special, progress=progress)
    rows = _in_rows(pieces, layout, body, special.pad)
    skipped = rows[:, :, : layout.skip_positions]
    skipped[_WHAT][skipped[_WHAT] == _TEXT] = _SKIPPED
    if bos is not None:
        first = np.array([bos, _BOS, -1, -1], dtype=np.int32)[:, None, None]
        rows = np.concatenate([np.broadcast_to(first, (4, rows.shape[1], 1)), rows], axis=2)
    if max_tokens is not None:
        reached = int(np.searchsorted(np.cumsum((rows[_WHAT] == _TEXT).sum(axis=1)), max_tokens)) + 1
        rows = rows[:, :reached]
    counts = rows[_WHAT] == _TEXT
    if not counts.any():
        raise InputError("the text source gives no token to compare on")
    facts = _facts(rows, pieces, layout, tokenizer, special, len(documents))
    place = {name: np.where(counts, rows[at], -1) for name, at in (("document", _DOCUMENT), ("place", _PLACE))}
    ids, mask, document, placed = map(torch.from_numpy, (rows[_ID].copy(), counts, place["document"], place["place"]))
    skip = layout.skip_positions
    rule = COUNTED + (f", and the first {skip} of text in every row" if skip else "")
    return TokenBlocks(ids, mask, document, placed, rule), facts


def _beginning(layout: Layout, special: SpecialTokens) -> tuple[int | None, int]:
    """Returns the BOS that rows begin with, if any, and how many tokens of text a row takes.

    Raises:
        InputError: a row too short for text, or BOS asked for where there is none.
    """
    if layout.context < 2:
        raise InputError(f"context must be at least 2 (BOS and one token), got {layout.context}")
    if layout.bos == "yes" and special.bos is None:
        raise InputError(f"rows are to begin with BOS, but the tokenizer has none ({special.source})")
    bos = None if layout.bos == "no" else special.bos
    body = layout.context - (bos is not None)
    if layout.skip_positions >= body:
        raise InputError(f"skip_positions must be below the {body} tokens of a row, got {layout.skip_positions}")
    return bos, body


def _separator(special: SpecialTokens, layout: Layout) -> tuple[int, int] | None:
    """Returns what closes a document: its id, and what it is."""
    if special.eos is not None:
        return special.eos, _EOS
    return None if special.bos is None or layout.bos == "no" else (special.bos, _BOS)


def _pieces(
    documents: Sequence[Document],
    tokenizer: Tokenizer,
    layout: Layout,
    body: int,
    max_tokens: int | None,
    special: SpecialTokens,
    *,
    progress: Callable[[int, int], None] | None,
) -> list[Int[ndarray, "4 n"]]:
    """Returns id, what it is, document and place of every token of the documents, each with what closes it."""
    control = np.array(sorted(control_ids(tokenizer, special)), dtype=np.int64)
    separator = _separator(special, layout)
    closing = np.array([[*separator, -1, -1]] if separator else np.empty((0, 4)), dtype=np.int32).T
    pieces: list[ndarray] = []
    counted = held = 0
    for begin in range(0, len(documents), _DOCUMENTS_AT_ONCE):
        texts = [d.text for d in documents[begin : begin + _DOCUMENTS_AT_ONCE]]
        with refusing("the tokenizer cannot read the text"):
            encoded = tokenizer.encode_batch(texts, add_special_tokens=False)
        for index, encoding in enumerate(encoded, begin):
            ids = np.asarray(encoding.ids, dtype=np.int32)
            what = np.where(np.isin(ids, control), _CONTROL, _TEXT)
            piece = np.stack([ids, what, np.full(len(ids), index), np.arange(len(ids))]).astype(np.int32)
            pieces.append(np.concatenate([piece, closing], axis=1))
            ordinary = what == _TEXT
            if layout.rows == "documents":
                counted += int(ordinary[layout.skip_positions : body].sum())
            else:
                counted, held = counted + int(ordinary.sum()), held + pieces[-1].shape[1]
        if progress is not None:
            read = begin + len(texts)
            progress(*((read, len(documents)) if max_tokens is None else (min(counted, max_tokens), max_tokens)))
        passed = layout.skip_positions * -(-held // body)
        if (
            max_tokens is not None and counted - passed >= max_tokens + layout.context
        ):  # the row that reaches it is full
            break
    return pieces


def _in_rows(pieces: list[ndarray], layout: Layout, body: int, pad: int) -> Int[ndarray, "4 n_seq width"]:
    """Cuts the stream of documents into rows, or gives each document with text one of its own, and fills them up."""
    padding = np.array([pad, _PADDING, -1, -1], dtype=np.int32)[:, None]
    if layout.rows == "packed":
        stream = np.concatenate(pieces, axis=1)
        missing = -stream.shape[1] % body
        return np.concatenate([stream, np.repeat(padding, missing, axis=1)], axis=1).reshape(4, -1, body)
    cut = [piece[:, :body] for piece in pieces if (piece[_DOCUMENT] >= 0).any()]
    width = max((piece.shape[1] for piece in cut), default=1)
    rows = np.repeat(padding, len(cut) * width, axis=1).reshape(4, len(cut), width)
    for row, piece in enumerate(cut):
        rows[:, row, : piece.shape[1]] = piece
    return rows


def _facts(
    rows: Int[ndarray, "4 n_seq width"],
    pieces: list[ndarray],
    layout: Layout,
    tokenizer: Tokenizer,
    special: SpecialTokens,
    documents: int,
) -> CorpusFacts:
    reasons = np.bincount(rows[_WHAT].ravel(), minlength=len(_REASONS) + 1)[1:].tolist()
    read, counted = (
        np.bincount(rows[_DOCUMENT][wanted], minlength=len(pieces))
        for wanted in (rows[_DOCUMENT] >= 0, rows[_WHAT] == _TEXT)
    )
    left = np.array([(piece[_DOCUMENT] >= 0).sum() for piece in pieces]) - read
    cut = (read > 0) & (left > 0)
    return CorpusFacts(
        rows=layout.rows,
        n_rows=rows.shape[1],
        bos_rule=_bos_rule(tokenizer, special, layout),
        separator_rule=_separator_rule(tokenizer, special, layout),
        skip_positions=layout.skip_positions,
        excluded=dict(zip(_REASONS, reasons, strict=True)),
        documents=documents,
        documents_read=int((counted > 0).sum()),
        documents_cut=int(cut.sum()),
        tokens_left_out=int(left[cut].sum()),
    )


def _bos_rule(tokenizer: Tokenizer, special: SpecialTokens, layout: Layout) -> str:
    if layout.bos == "no":
        return "rows begin with text, as asked for"
    if special.bos is None:
        return f"rows begin with text: the tokenizer has no BOS ({special.source})"
    by_itself = "" if special.added else ", which the tokenizer does not put there by itself"
    return f"rows begin with {tokenizer.id_to_token(special.bos)} ({special.source}){by_itself}"


def _separator_rule(tokenizer: Tokenizer, special: SpecialTokens, layout: Layout) -> str:
    separator = _separator(special, layout)
    if separator is None:
        return "documents follow each other without anything between them"
    return f"documents are closed by {tokenizer.id_to_token(separator[0])}"
