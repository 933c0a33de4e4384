"""What many pairs and features have in common, held once: words, lists of words, and pieces of text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypedDict

from semconv.report.page_numbers import pack, pack_lists


class SharedData(TypedDict):
    """Words; lists of numbers of words (`pack_lists`); windows of text: document, which piece is the place, how many
    pieces, and their numbers among the words (`pack`)."""

    words: list[str]
    lists: str
    windows: str


class Shared:
    """Gives words, lists and windows numbers, in the order in which they come; the same one the same number."""

    def __init__(self) -> None:
        self._words = dict[str, int]()
        self._lists = dict[tuple[int, ...], int]()
        self._windows = dict[tuple[int, ...], int]()

    def word(self, text: str) -> int:
        """Returns the number of a word."""
        return self._words.setdefault(text, len(self._words))

    def numbers(self, texts: Iterable[str]) -> list[int]:
        """Returns the numbers of words."""
        return [self.word(text) for text in texts]

    def list_of(self, texts: Iterable[str]) -> int:
        """Returns the number of a list of words."""
        return self._lists.setdefault(tuple(self.numbers(texts)), len(self._lists))

    def window(self, document: int, at: int, pieces: Sequence[int]) -> int:
        """Returns the number of a window of text; `at` is the place among its pieces, which are numbers of words."""
        return self._windows.setdefault((document, at, len(pieces), *pieces), len(self._windows))

    def data(self) -> SharedData:
        """Returns all of it for the script."""
        windows = pack([number for window in self._windows for number in window])
        return SharedData(words=list(self._words), lists=pack_lists(self._lists), windows=windows)
