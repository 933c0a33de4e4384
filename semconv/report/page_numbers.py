"""Whole numbers as text that takes little room on the page: small ones take one sign, and no commas stand between.

Signs are those of ASCII that JSON and HTML leave as they are. The first 44 of them end a number, the others go on: a
number is written in base 44, the lowest digit first. explorer.js reads the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_SIGNS = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"\\<>&')[:88]
BASE = len(_SIGNS) // 2
_LAST, _MORE = _SIGNS[:BASE], _SIGNS[BASE:]


class _Written(dict[int, str]):
    """Numbers as they are written, each made once."""

    def __missing__(self, number: int) -> str:
        text, left = "", number
        while left >= BASE:
            text, left = text + _MORE[left % BASE], left // BASE
        self[number] = text + _LAST[left]
        return self[number]


_WRITTEN = _Written()


def pack(numbers: Iterable[int]) -> str:
    """Returns whole numbers of at least 0 as text.

    Examples:
        >>> from semconv.report.page_numbers import pack, unpack
        >>> pack([0, 1, 44]), unpack(pack([0, 44, 10**9]))
        ('!#Q#', [0, 44, 1000000000])
    """
    return "".join([_WRITTEN[number] for number in numbers])


def unpack(text: str) -> list[int]:
    """Returns the numbers of a text that `pack` made."""
    numbers, number, by = list[int](), 0, 1
    for sign in text:
        digit = _SIGNS.index(sign)
        if digit < BASE:
            numbers.append(number + digit * by)
            number, by = 0, 1
        else:
            number, by = number + (digit - BASE) * by, by * BASE
    return numbers


def pack_signed(numbers: Iterable[int | None]) -> str:
    """Returns whole numbers of either sign, and None, as text: None as 0, others as 2 n + 1, or -2 n below 0."""
    return pack([0 if n is None else 2 * n + 1 if n >= 0 else -2 * n for n in numbers])


def unpack_signed(text: str) -> list[int | None]:
    """Returns the numbers of a text that `pack_signed` made."""
    return [None if n == 0 else n // 2 if n % 2 else -(n // 2) for n in unpack(text)]


def pack_lists(lists: Iterable[Sequence[int]]) -> str:
    """Returns lists of whole numbers of at least 0 as text: of each how many it holds, and these."""
    return pack([number for one in lists for number in (len(one), *one)])


def unpack_lists(text: str) -> list[list[int]]:
    """Returns the lists of a text that `pack_lists` made."""
    numbers, lists = iter(unpack(text)), list[list[int]]()
    for n in numbers:
        lists.append([next(numbers) for _ in range(n)])
    return lists
