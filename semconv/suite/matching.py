"""What a suite says of matching: by what partners are chosen, and which filters their pairs pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import ValidatorFunctionWrapHandler, WrapValidator

from semconv.suite import ranges
from semconv.system.errors import InputError
from semconv.system.shape import Strict, Texts, left_out


def _as_given(value: Any, read: ValidatorFunctionWrapHandler) -> float:
    number = read(value)
    return value if type(value) is int else number


Number = Annotated[float, WrapValidator(_as_given)]
"""A number; 15 stays 15 where 15.0 would change the SHA-256 of the settings."""


@dataclass(frozen=True)
class MatchConfig(Strict):
    """The filters between best matches and feature pairs, in the order in which they are applied."""

    top_tokens: int = 5
    """Top-activating tokens looked at per feature."""
    stop_tokens: Texts = ()
    """A pair is dropped when one of these, spaces stripped, is among the top tokens of either feature."""
    need_shared_token: bool = True
    """A pair is kept only if the two lists of top tokens share one."""
    one_to_one: bool = True
    """Keep only the best pair of every A feature."""
    min_r: Number = 0.1
    """A pair is dropped when r is not above this."""
    without_strongest: int = 0
    """A pair is dropped when r is not above min_r without the so many positions that add most to its covariance; 0 does
    not ask."""
    min_pairs: int = 50
    """With fewer pairs left nothing is compared and the reason is stated."""
    separate_halves: bool = False
    """Match on one half of the documents and measure r, and apply min_r, on the other; in the layer grid and controls
    only, and not together with `rematch` or intervals, whose draws match on all documents."""
    strategy: Literal["best", "mutual", "greedy", "optimal"] = "best"
    """Who is paired with whom: `best` gives every B feature its best A feature (published, many B features may share
    one), `mutual` keeps pairs that are each other's best, `greedy` takes pairs by falling r and every feature once,
    `optimal` the one-to-one pairing of the highest total r."""
    candidates: int = 10
    """Best partners of every feature, in both directions, that `greedy` and `optimal` choose from."""
    min_activations: int = 0
    """A pair is dropped when one of its features is active on fewer tokens; 0 keeps all."""
    min_documents: int = 0
    """A pair is dropped when one of its features is active in fewer documents; 0 keeps all."""
    sink_norm: Number = 0.0
    """Attention sinks do not count: positions where the norm of the stream that an SAE reads is above so many times its
    median over the text, for any SAE of either model; 0 keeps them, and the report says how many there are."""
    strongest: int = 0
    """Of the pairs that pass everything else, keep so many of the highest r; 0 keeps all."""
    by: Literal["r", "r_within_token"] | None = left_out()
    """What r is, of which partners have the highest: `r` (the default) over all positions, or `r_within_token`, r after
    each feature's mean over the positions of a token is taken off. min_r and `strongest` act on it, `without_strongest`
    on r over all positions; spans and the published steps are matched by `r` always."""

    def __post_init__(self) -> None:
        if self.within_tokens and self.separate_halves:
            raise InputError("match.by = 'r_within_token' cannot stand beside match.separate_halves, which measures r")
        ranges.at_least("match.top_tokens", self.top_tokens, 1, 1000)
        ranges.at_least("match.strongest", self.strongest, 0)
        ranges.choices("match", self)
        ranges.at_least("match.candidates", self.candidates, 1, 10_000)
        ranges.at_least("match.min_activations", self.min_activations, 0)
        ranges.at_least("match.min_documents", self.min_documents, 0)
        ranges.at_least("match.without_strongest", self.without_strongest, 0, 10_000)
        if self.sink_norm and not self.sink_norm > 1:
            raise InputError(f"match.sink_norm must be 0 or above 1 (times the median), got {self.sink_norm}")
        ranges.at_least("match.min_pairs", self.min_pairs, 3)
        if not -1 <= self.min_r < 1:
            raise InputError(f"match.min_r must be in [-1, 1), got {self.min_r}")

    @property
    def within_tokens(self) -> bool:
        """Whether partners are those of the highest r within tokens."""
        if self.by is not None:
            ranges.choice("match.by", self.by, ("r", "r_within_token"))
        return self.by == "r_within_token"
