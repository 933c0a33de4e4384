"""Semantic categories: keyword lists, and the features whose top tokens hold one of the keywords."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from semconv._paths import CATEGORIES
from semconv.system.digests import sha256_of
from semconv.system.errors import InputError
from semconv.system.json_toml import read_toml
from semconv.system.shape import Must, Sentences, Strict, read_as


@dataclass(frozen=True)
class Categories:
    """Named keyword lists and the rule by which a token belongs to one.

    A keyword may stand in several categories, and a feature then belongs to all of them: the comparison has a case for
    overlapping subspaces, and `overlaps` counts what they share.

    Attributes:
        name: short name, that of the file.
        rule: `equals`: the token's text, white space around it stripped and lower-cased, is a keyword;
            `contains` (published): a keyword stands anywhere in that text, inside a longer word too.
        keywords: category -> its keywords, lower-case, at least one, each once.
        description: one sentence for tables.

    Raises:
        InputError: an unknown rule, no category, one without keywords, a keyword twice in a category, or a keyword
            that no token could equal: empty, with an upper-case letter, or with white space around it.
    """

    name: str
    rule: str
    keywords: Mapping[str, tuple[str, ...]]
    description: str = ""

    def __post_init__(self) -> None:
        if self.rule not in ("contains", "equals"):
            raise InputError(f"categories {self.name}: rule must be contains or equals, got {self.rule!r}")
        if not self.keywords:
            raise InputError(f"categories {self.name} need at least one category, got none")
        for category, words in self.keywords.items():
            if not words:
                raise InputError(f"category {category!r} of {self.name} needs at least one keyword, got none")
            for number, word in enumerate(words):
                if not word or word != _folded(word):
                    raise InputError(
                        f"keywords must be lower-case and without white space around them, "
                        f"got {word!r} in category {category!r} of {self.name}"
                    )
                if word in words[:number]:
                    raise InputError(f"keyword {word!r} stands twice in category {category!r} of {self.name}")

    @property
    def sha256(self) -> str:
        """SHA-256 of rule and keywords: results with this hash used the same categories."""
        return sha256_of(json.dumps([self.rule, dict(self.keywords)], sort_keys=True))

    def of_token(self, text: str) -> frozenset[str]:
        """Returns the categories that a token of this text belongs to."""
        token = _folded(text)
        if self.rule == "equals":
            return frozenset(name for name, words in self.keywords.items() if token in words)
        return frozenset(name for name, words in self.keywords.items() if any(word in token for word in words))


def _folded(text: str) -> str:
    return text.strip().lower()


def category_names() -> list[str]:
    """Returns the names of the keyword lists that ship with the package."""
    return sorted(path.stem for path in CATEGORIES.glob("*.toml"))


def load_categories(path_or_name: str | Path) -> Categories:
    """Reads keyword lists that ship with the package by name, or a user's own TOML file.

    The file holds `name`, `rule`, optionally `description`, and a table `keywords` of category = list of words.

    Raises:
        InputError: unknown name, TOML that does not parse, a key that is unknown or missing, a value of another type,
            an unknown rule, no category, a category without keywords, or a keyword that is empty, not lower-case, has
            white space around it, or stands twice in its category.
    """
    path = Path(path_or_name)
    if path.suffix != ".toml":
        path = CATEGORIES / f"{path_or_name}.toml"
        if not path.exists():
            raise InputError(f"unknown categories {str(path_or_name)!r}; there are {', '.join(category_names())}")
    elif not path.exists():
        raise InputError(f"category file {path} does not exist")
    read = read_as(_File, read_toml(path), path.name, _OfCategories())
    return Categories(read.name, read.rule, read.keywords, read.description)


@dataclass(frozen=True, kw_only=True)
class _File(Strict):
    """A file of keyword lists; `Categories` checks the values."""

    name: str
    description: str = ""
    rule: str
    keywords: dict[str, Annotated[tuple[str, ...], Must("a list of words")]]


class _OfCategories(Sentences):
    def place(self, names: Sequence[str], what: str) -> str:
        return f"category {names[1]!r} in {what}" if len(names) > 1 else super().place(names, what)

    def missing(self, names: Sequence[str], keys: Sequence[str], given: Sequence[str], what: str) -> str:
        return f"{what} is incomplete: {' and '.join(map(repr, keys))} {'is' if len(keys) == 1 else 'are'} missing"

    def unknown(self, names: Sequence[str], key: str, known: Sequence[str], what: str) -> str:
        return f"unknown key {key!r} in {what}; known are {', '.join(known)}"


def features_of(categories: Categories, top_tokens: Sequence[Sequence[str]]) -> dict[str, Int[ndarray, " n"]]:
    """Returns the features of every category: those one of whose top tokens belongs to it.

    Args:
        categories: keyword lists and rule.
        top_tokens: [F] lists of top-activating tokens (five in the published protocol).

    Returns:
        Category -> int64 features, ascending, in the order of the categories; empty where no feature belongs.
    """
    of_text = {text: categories.of_token(text) for text in {text for row in top_tokens for text in row}}
    found: dict[str, list[int]] = {name: [] for name in categories.keywords}
    for feature, row in enumerate(top_tokens):
        for name in frozenset[str]().union(*(of_text[text] for text in row)):
            found[name].append(feature)
    return {name: np.array(features, dtype=np.int64) for name, features in found.items()}


def overlaps(members: Mapping[str, Int[ndarray, " n"]]) -> Int[ndarray, "C C"]:
    """Returns how many features each two categories share, int64, in the order of the keys; sizes on the diagonal."""
    return np.array([[len(np.intersect1d(x, y)) for y in members.values()] for x in members.values()], dtype=np.int64)
