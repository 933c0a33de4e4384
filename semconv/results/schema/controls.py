"""Controls: what the scores are where the answer is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from semconv.results.schema.base import Count, Part
from semconv.results.schema.layer_pairs import LayerPair, SeedRange
from semconv.system.shape import left_out


@dataclass(frozen=True, kw_only=True)
class SelfMatch(Part):
    """An SAE matched with itself."""

    features: Count
    """Features that vary."""
    found_itself: float | None
    """Share of them whose best partner is itself or an exact double of it."""
    lowest_r: float | None
    """Lowest r of a feature with its best partner."""
    scores: dict[str, float | None]
    """Measure -> score of its features paired with themselves."""


@dataclass(frozen=True, kw_only=True)
class ControlPair(LayerPair):
    """A layer pair whose outcome says what the others are worth."""

    kind: Literal["ceiling", "floor"]
    """`ceiling`: the same model through another SAE; `floor`: models that learned nothing."""
    model_a: str
    """Name of one model."""
    model_b: str
    """Of the other."""
    trained_saes: bool | None = left_out()
    """Of a floor: whether its models are read through an SAE of A or B, which was not trained on them."""
    trained_embeddings: bool | None = left_out()
    """Of a floor: true where only the blocks of its models are untrained."""


@dataclass(frozen=True, kw_only=True)
class StrongestPairs(Part):
    """A floor and the trained models at its layers, each on as many of its strongest pairs, agreeing or not."""

    floor: LayerPair
    """Models that learned nothing."""
    trained: LayerPair
    """A and B."""


@dataclass(frozen=True, kw_only=True)
class SeedCeiling(Part):
    """The SAEs of one model at one hook, from several seeds, matched with each other: the most that can be expected."""

    pairs_lowest: Count
    """Feature pairs, fewest of all pairs of SAEs."""
    pairs_highest: Count
    """Most."""
    measures: dict[str, SeedRange | None]
    """Measure -> its scores; null where none has one."""


@dataclass(frozen=True, kw_only=True)
class Against(Part):
    """One measure between floor and ceiling."""

    ceiling: float | None
    """Lowest score of the ceilings."""
    cross_model: float | None
    """Lowest score of A and B at the layers of the floors."""
    floor: float | None
    """Highest score of the floors."""
    below_ceiling: bool | None
    """Whether A and B lie below the ceiling."""
    above_floor: bool | None
    """Whether they lie above the floor."""


@dataclass(frozen=True, kw_only=True)
class Controls(Part):
    """What the scores are where the answer is known."""

    self_match: dict[str, SelfMatch]
    """`MODEL/SAE` -> that SAE with itself."""
    pairs: dict[str, ControlPair]
    """Control -> its layer pair."""
    strongest: dict[str, StrongestPairs]
    """Floor -> itself and the trained models on their strongest pairs."""
    seeds: dict[str, SeedCeiling] | None = left_out()
    """`MODEL/SAE` -> that SAE beside those from other seeds."""
    against: dict[str, Against]
    """Measure -> where the scores lie between floor and ceiling."""
    lowest_self_score: float | None
    """Lowest score of any SAE with itself."""
    lowest_self_r: float | None
    """Lowest r of any feature with its best partner in its own SAE."""
