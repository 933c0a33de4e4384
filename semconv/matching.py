"""Turns best matches into feature pairs by explicit filters, with a count before and after each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from semconv.config import MatchConfig
from semconv.correlate import BestMatches
from semconv.types import InputError


@dataclass(frozen=True)
class FilterCount:
    """How many pairs went into a filter and how many came out."""

    step: str
    before: int
    after: int


@dataclass(frozen=True, eq=False)
class FeaturePairs:
    """Paired features, in ascending order of the B feature.

    Attributes:
        a: int64 [n] features of model A.
        b: int64 [n] features of model B.
        r: float64 [n] Pearson correlation of each pair.
        counts: every filter in the order in which it was applied.
    """

    a: Int[ndarray, " n"]
    b: Int[ndarray, " n"]
    r: Float[ndarray, " n"]
    counts: tuple[FilterCount, ...]

    def __len__(self) -> int:
        return len(self.a)


def match_features(
    matches: BestMatches,
    top_tokens_a: Sequence[Sequence[str]],
    top_tokens_b: Sequence[Sequence[str]],
    config: MatchConfig,
) -> FeaturePairs:
    """Pairs every B feature with its best A feature, then applies the published filters in their published order.

    Args:
        matches: best partners in both directions.
        top_tokens_a: [F_a] lists of top-activating tokens.
        top_tokens_b: [F_b].
        config: which filters, with their settings; a filter that is off is not listed in the counts.

    Raises:
        InputError: token lists that do not cover every feature.
    """
    best_a, best_r = matches.b_to_a.index[:, 0].numpy(), matches.b_to_a.r[:, 0].numpy()
    if len(top_tokens_b) != len(best_a) or len(top_tokens_a) != len(matches.a_to_b.index):
        raise InputError(
            f"top tokens are needed for {len(matches.a_to_b.index)} and {len(best_a)} features, "
            f"got {len(top_tokens_a)} and {len(top_tokens_b)}"
        )
    tokens_a, tokens_b = ([{t.strip(" ") for t in row} for row in side] for side in (top_tokens_a, top_tokens_b))
    stop = set(config.stop_tokens)
    a, b = best_a, np.arange(len(best_a))
    r, counts = best_r, list[FilterCount]()

    def apply(step: str, keep: Callable[[], Bool[ndarray, " n"]]) -> None:
        nonlocal a, b, r
        kept = keep()
        counts.append(FilterCount(step, len(a), int(kept.sum())))
        a, b, r = a[kept], b[kept], r[kept]

    apply("both features vary", lambda: a >= 0)
    if stop:
        apply(
            "no stop token among the top tokens",
            lambda: np.array([not (tokens_a[i] | tokens_b[j]) & stop for i, j in zip(a, b, strict=True)], dtype=bool),
        )
    if config.need_shared_token:
        apply(
            "a shared top token",
            lambda: np.array([bool(tokens_a[i] & tokens_b[j]) for i, j in zip(a, b, strict=True)], dtype=bool),
        )
    if config.one_to_one:
        apply("one pair per A feature", lambda: _best_of_each(a, b, r))
    apply(f"r > {config.min_r:g}", lambda: r > config.min_r)
    return FeaturePairs(a, b, r, tuple(counts))


def _best_of_each(a: Int[ndarray, " n"], b: Int[ndarray, " n"], r: Float[ndarray, " n"]) -> Bool[ndarray, " n"]:
    """Marks the pair of highest r of every A feature; ties to the lowest B feature."""
    order = np.lexsort((b, -r, a))
    first = np.ones(len(a), dtype=bool)
    first[1:] = a[order][1:] != a[order][:-1]
    keep = np.zeros(len(a), dtype=bool)
    keep[order[first]] = True
    return keep
