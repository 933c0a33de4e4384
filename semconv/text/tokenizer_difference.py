"""Finds what two tokenizers do differently, and says it in words."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import chain
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_PROBE = (
    "The THE the tHE Straße",
    "É é e\u0301 ñ ß İ ﬁ ½",
    " one  two   three\t\ttabs\n\n\nlines \r\n end ",
    "0 12 345 6789 1234567890 3.14 1,000",
    "😀👩‍🔬 日本語 Привет مرحبا",
    "don't it's (x)[y]{z} <b>a_b-c/d\\e</b> e.g. -- «x» “y”",
)
"""Text in which tokenizers differ: case, accents and their composition, white space, digits, scripts, punctuation."""


def difference(one: Tokenizer, other: Tokenizer, texts: Iterable[str], max_tokens: int) -> str | None:
    """Returns in words what two tokenizers do differently, or None where they do the same.

    Compared are the ids of all tokens, both ways, but for special tokens that only one has, since no text holds them;
    and, unless both are written alike, how both encode difficult texts, every added token, and texts of the user's.

    Args:
        one: as `load_tokenizer` gives it.
        other: likewise.
        texts: of which as many are encoded as give `max_tokens` tokens.
        max_tokens: how much to look at.
    """
    mine, theirs = (_ordinary_vocabulary(of, beside) for of, beside in ((one, other), (other, one)))
    differing = [token for token in {**mine, **theirs} if mine.get(token) != theirs.get(token)]
    if differing:
        return f"differ in {len(differing)} of {len({**mine, **theirs})} tokens (such as {differing[0]!r})"
    if _behaviour(one) == _behaviour(other):
        return None
    added = {token.content for of in (one, other) for token in of.get_added_tokens_decoder().values()}
    ours, seen = [*_PROBE, *(f"a {content} b" for content in sorted(added))], 0
    for number, text in enumerate(chain(ours, texts)):
        a, b = (of.encode(text, add_special_tokens=False) for of in (one, other))
        if a.ids != b.ids:
            return f"give other tokens to the same text ({_first_difference(text, a, b)})"
        seen += len(a.ids) if number >= len(ours) else 0
        if seen > max_tokens:
            break
    return None


def _ordinary_vocabulary(of: Tokenizer, beside: Tokenizer) -> dict[str, int]:
    """Returns the ids of all tokens, without the special ones that the other tokenizer does not have."""
    other = beside.get_vocab()
    special = {t.content for t in of.get_added_tokens_decoder().values() if t.special}
    return {token: i for token, i in of.get_vocab().items() if token in other or token not in special}


def _behaviour(of: Tokenizer) -> tuple[object, ...]:
    """Returns all that decides how a text is encoded, as it would be written."""
    table = json.loads(of.to_str())
    added = sorted(json.dumps(token, sort_keys=True) for token in table["added_tokens"] if not token["special"])
    return table["normalizer"], table["pre_tokenizer"], table["model"], added


def _first_difference(text: str, a: Any, b: Any) -> str:
    at = next((i for i, (x, y) in enumerate(zip(a.ids, b.ids, strict=False)) if x != y), min(len(a.ids), len(b.ids)))
    start = max((e.offsets[at - 1][1] for e in (a, b) if 0 < at <= len(e.ids)), default=0)
    shown = text[start : start + 12]
    tokens = [" ".join(repr(t) for t in e.tokens[at : at + 3]) or "nothing" for e in (a, b)]
    return f"{shown!r} is {tokens[0]} to one, {tokens[1]} to the other"
