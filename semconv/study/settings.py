"""What every layer pair of a study is put through."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from semconv.compare import Measure, make_measures
from semconv.statistics.token_swaps import TokenSwaps
from semconv.study.sides import AnySide
from semconv.suite.config import MatchConfig, NullConfig, SuiteConfig
from semconv.suite.nulls import AgainNull
from semconv.system.digests import sha256_of
from semconv.system.errors import InputError
from semconv.text.token_blocks import TokenBlocks


@dataclass(frozen=True, eq=False)
class StudySettings:
    """What every layer pair is put through.

    Attributes:
        measures: scores to take.
        match: how features are paired.
        null: which nulls and intervals, and how many draws.
        starts: int64 [D] first position of every document.
        tokens: int32 [n] which token stands at every position that is compared; None where what is compared are spans.
        swaps: null that exchanges positions, and is drawn -> which positions.
    """

    measures: tuple[Measure[Any], ...]
    match: MatchConfig
    null: NullConfig
    starts: Int[ndarray, " D"]
    tokens: Int[ndarray, " n"] | None = None
    swaps: Mapping[AgainNull, TokenSwaps] = field(default_factory=dict[AgainNull, TokenSwaps])

    @cached_property
    def starts_sha256(self) -> str:
        """SHA-256 of the first positions of the documents."""
        return sha256_of(np.asarray(self.starts, dtype=np.int64))

    @cached_property
    def tokens_sha256(self) -> str:
        """SHA-256 of the tokens; empty without them."""
        return sha256_of(np.asarray(self.tokens, dtype=np.int64)) if self.tokens is not None else ""

    def documents(self, n: int) -> Int[ndarray, " n"]:
        """Returns which document each of n positions is from, numbered from 0, int64 [n]."""
        return np.repeat(np.arange(len(self.starts)), np.diff(np.append(self.starts, n)))

    def inputs(self, a: AnySide, b: AnySide, *more: Any) -> list[Any]:
        """Returns all that a task on two sides depends on, as plain values."""
        null = {
            "n_permutations": self.null.n_permutations,
            "draws": self.null.draws,
            "stop_after": self.null.stop_after,
            "stop_from": self.null.stop_from,
            "rematch": bool(self.null.matched_again),
            "n_strata": self.null.n_strata,
            "seed": self.null.seed,
        }
        of_sides = [(s.store_sha256, s.decoder_sha256, s.tokens.sha256) for s in (a, b)]
        names = [repr(measure) for measure in self.measures]
        within = [self.tokens_sha256] if self.match.within_tokens else []
        return [of_sides, self.starts_sha256, names, asdict(self.match), null, *within, *more]


def suite_measures(suite: SuiteConfig) -> tuple[Measure[Any], ...]:
    """Returns the measures of a suite, as it sets them."""
    compare = suite.compare
    return tuple(make_measures(compare.measures, compare.svcca_threshold, compare.svcca_k, compare.knn_k))


def swaps_of(null: NullConfig, blocks: TokenBlocks) -> dict[AgainNull, TokenSwaps]:
    """Returns what the nulls that exchange positions of a text, and are drawn, exchange.

    Raises:
        InputError: `same_token` is asked for, and no token stands in two documents; or `same_bigram`, and no bigram.
    """
    of: dict[AgainNull, Callable[[TokenBlocks], TokenSwaps]] = {
        "same_token": TokenSwaps.of,
        "same_bigram": TokenSwaps.of_bigrams,
    }
    return {name: of[name](blocks) for name in null.matched_again if name in of}


def settings_of(suite: SuiteConfig, starts: Int[ndarray, " D"], blocks: TokenBlocks) -> StudySettings:
    """Returns the settings of a suite over a text.

    Args:
        suite: whose.
        starts: int64 [D] where its documents start among what is compared, tokens or spans.
        blocks: the text.

    Raises:
        InputError: as `swaps_of`; or the suite matches by r within tokens, and no token stands at two positions.
    """
    tokens = blocks.ids[blocks.mask].numpy() if suite.align is None else None
    if suite.match.within_tokens and tokens is not None and len(np.unique(tokens)) == len(tokens):
        raise InputError("match.by = 'r_within_token' needs a token that stands at two positions, got none")
    return StudySettings(suite_measures(suite), suite.match, suite.null, starts, tokens, swaps_of(suite.null, blocks))
