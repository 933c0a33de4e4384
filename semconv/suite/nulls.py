"""What a suite says of nulls and intervals: which are drawn, and how often."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from semconv.compare.registry import DRAW_CLASSES, draw_class
from semconv.suite import ranges
from semconv.system.errors import InputError
from semconv.system.shape import Must, Strict, Texts, left_out

AgainNull = Literal["rematch", "same_token", "same_bigram"]
MATCHED_AGAIN: tuple[AgainNull, ...] = get_args(AgainNull)
"""Nulls under which all features are matched again and the strongest pairs are scored, the easier first."""
_EASIEST_FIRST = ("shuffle", "frequency", *MATCHED_AGAIN)


def primary_null(drawn: Collection[str]) -> str | None:
    """Returns the null that an answer is held against and a grid is ranked by, None where none was drawn.

    It is `same_token` where it was drawn, or else the hardest to beat.

    Args:
        drawn: names of nulls.
    """
    return "same_token" if "same_token" in drawn else max(drawn, key=_EASIEST_FIRST.index, default=None)


@dataclass(frozen=True)
class NullConfig(Strict):
    """The null distributions every score is printed beside, and the intervals."""

    n_permutations: int = 1000
    """Permutations of the pairing (`shuffle` and `frequency`), for every measure that `draws` does not name."""
    n_strata: int = 10
    """Strata of equal size by activation frequency, for `frequency`."""
    n_rematch: int = 0
    """Shifts by whole documents, each matched again (`rematch`); 0 leaves it out."""
    n_bootstrap: int = 0
    """Resamples of the documents for the intervals, each matched again; 0 leaves them out."""
    n_pair_halves: int | None = left_out()
    """Random halves of the feature pairs for the intervals, each scored; left out by default."""
    n_same_token: int | None = left_out()
    """Exchanges of positions of the same token between documents, each matched again (`same_token`); left out by
    default."""
    n_same_bigram: int | None = left_out()
    """The same where a position keeps the token before it too (`same_bigram`); left out by default."""
    seed: int = 0
    """Key of everything that is drawn."""
    draws: Annotated[dict[str, int] | None, Must("a table of class = draws")] = left_out()
    """Permutations of the pairing for the measures of a class, by what a draw costs: `scalars`, `products`, `orders`,
    `singular_values` (`semconv.compare.registry.DRAW_CLASSES`)."""
    stop_after: int | None = left_out()
    """A null of the pairing ends once so many of its draws reach the observed score (Besag & Clifford 1991)."""
    stop_from: int | None = left_out()
    """Draws before which nothing ends, on which the best of the grid is tested; `stop_after` where it is not given."""
    tail: Annotated[Texts | None, Must("a list of text")] = left_out()
    """Classes of `draws` whose p, of a score above every draw, comes from a fitted tail (Knijnenburg et al. 2009)."""

    def __post_init__(self) -> None:
        ranges.draws("null.n_permutations", self.n_permutations, 1)
        for name, number in (self.draws or {}).items():
            ranges.choice("null.draws", name, tuple(DRAW_CLASSES))
            ranges.draws(f"null.draws.{name}", number, 1)
        if self.stop_after is not None:
            ranges.at_least("null.stop_after", self.stop_after, 1, self.n_permutations)
        if self.stop_from is not None:
            if self.stop_after is None:
                raise InputError(f"null.stop_from needs null.stop_after, got {self.stop_from} without it")
            ranges.at_least("null.stop_from", self.stop_from, self.stop_after, self.n_permutations)
        for name in self.tail or ():
            ranges.choice("null.tail", name, tuple(DRAW_CLASSES))
            drawn = (self.draws or {}).get(name, self.n_permutations)
            ranges.at_least(f"draws of null.tail {name}", drawn, ranges.TAIL_DRAWS)
        ranges.at_least("null.n_strata", self.n_strata, 1)
        ranges.draws("null.n_rematch", self.n_rematch, 0)
        for name, number in (("same_token", self.n_same_token), ("same_bigram", self.n_same_bigram)):
            if number is not None:
                ranges.draws(f"null.n_{name}", number, 0)
        ranges.draws("null.n_bootstrap", self.n_bootstrap, 0)
        if self.n_pair_halves is not None:
            ranges.draws("null.n_pair_halves", self.n_pair_halves, 0)
        ranges.seed("null.seed", self.seed)

    @property
    def matched_again(self) -> dict[AgainNull, int]:
        """Those of `MATCHED_AGAIN` that are drawn -> how many draws."""
        drawn: dict[AgainNull, int] = {
            "rematch": self.n_rematch,
            "same_token": self.n_same_token or 0,
            "same_bigram": self.n_same_bigram or 0,
        }
        return {null: n for null, n in drawn.items() if n}

    def most_draws(self, measure: str) -> int:
        """Returns how many permutations of the pairing are drawn for a measure, by its name, at most."""
        return (self.draws or {}).get(draw_class(measure) or "", self.n_permutations)

    def most_of(self, measures: Sequence[str]) -> int:
        """Returns the most permutations that are drawn for any of some measures: columns of a table of their draws."""
        return max(map(self.most_draws, measures), default=self.n_permutations)

    def has_tail(self, measure: str) -> bool:
        """Whether a score of a measure above every permutation gets its p from a fitted tail."""
        return draw_class(measure) in (self.tail or ())
