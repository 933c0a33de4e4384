"""Sections of a suite for which its models run once more: on their streams, and on what features do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from semconv.suite import ranges
from semconv.system.shape import Strict, left_out


@dataclass(frozen=True)
class StreamsConfig(Strict):
    """The residual streams themselves, compared at a sample of the text beside every layer pair."""

    positions: int = 40_000
    """Counted positions of the sample: whole rows are drawn until they hold so many."""
    rsa_positions: int = 2000
    """Positions of the sample that RSA compares, every one with every other."""
    draws: int = 19
    """Draws of the nulls of the decoder baselines that shift the text; 0 leaves these baselines out."""
    features: int = 4096
    """Features of an SAE, the most often active, whose decoder rows are mapped and assigned one to one."""

    def __post_init__(self) -> None:
        ranges.at_least("streams.positions", self.positions, 1)
        ranges.draws("streams.draws", self.draws, 0)
        ranges.at_least("streams.features", self.features, 2, 2**16)
        ranges.at_least("streams.rsa_positions", self.rsa_positions, 3, 20_000)


@dataclass(frozen=True)
class RulesConfig(Strict):
    """Which way of matching finds features that do the same: the pairs of several rules, ablated alike."""

    layers: Literal["middle", "diagonal"] = "middle"
    """Layer pairs at which rules are compared: the one in the middle of those of matching depth, or all of these."""
    pairs: int = 300
    """Feature pairs of all rules together that are ablated at a layer pair, at most; one that several rules name counts
    once."""
    positions: int = 6
    """Positions of each pair."""

    def __post_init__(self) -> None:
        ranges.choices("function.rules", self)
        ranges.at_least("function.rules.pairs", self.pairs, 1, 100_000)
        ranges.at_least("function.rules.positions", self.positions, 2, 1000)


@dataclass(frozen=True)
class PositionKindsConfig(Strict):
    """At which positions features do the same: the same pairs, ablated at positions of several kinds."""

    layers: Literal["middle", "diagonal"] = "middle"
    """Layer pairs at which kinds of positions are compared, as in `RulesConfig`."""
    pairs: int = 100
    """Feature pairs of each, spread evenly over those that are matched on one half of the documents."""
    positions: int = 6
    """Positions of each pair and kind; a pair must fire together in twice as many documents."""

    def __post_init__(self) -> None:
        ranges.choices("function.position_kinds", self)
        ranges.at_least("function.position_kinds.pairs", self.pairs, 1, 100_000)
        ranges.at_least("function.position_kinds.positions", self.positions, 2, 1000)


@dataclass(frozen=True)
class FunctionConfig(Strict):
    """What the features of the pairs do to the prediction of the next token, in both models."""

    layers: Literal["diagonal", "all"] = "diagonal"
    """Layer pairs whose features are ablated: those of matching depth, or all."""
    pairs: int = 300
    """Feature pairs of each, spread evenly over those that are matched on one half of the documents."""
    positions: int = 16
    """Positions at which both features of a pair are ablated, each in another document of the other half."""
    control_pairs: int = 100
    """Feature pairs of each control; 0 leaves controls out."""
    lens_tokens: int = 10
    """Tokens that a feature promotes most, and suppresses most, by the logit lens, that are kept for every pair."""
    rules: RulesConfig | None = left_out()
    """Which way of matching finds features that do the same; without this table it is not asked."""
    position_kinds: PositionKindsConfig | None = left_out()
    """At which kinds of positions features do the same; without this table it is not asked."""

    def __post_init__(self) -> None:
        ranges.choices("function", self)
        ranges.at_least("function.pairs", self.pairs, 1, 100_000)
        ranges.at_least("function.positions", self.positions, 2, 1000)
        ranges.at_least("function.control_pairs", self.control_pairs, 0, 100_000)
        ranges.at_least("function.lens_tokens", self.lens_tokens, 1, 100)
