"""What a task of a study will be, before anything is read: what it does and the sizes of what it needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from semconv.planning.shapes import SaeShape
from semconv.study.working_memory import working_bytes
from semconv.suite.nulls import AgainNull

OnParts = Literal["categories", "shared", "cut", "spans", "step"]
OnStreams = Literal["sample", "streams", "stitched", "partial", "best_r"]
OnModels = Literal["lens", "effects", "rules", "substitution", "position_kinds"]
Kind = AgainNull | Literal["observe", "self", "scores", "resample", "halves", "match"] | OnParts | OnStreams | OnModels
"""What a task does; `match` matches and scores beside no null, `halves` scores halves of the pairs, `shared` counts
features in several categories, `cut` cuts the text into spans, `sample` tells what streams are compared at."""


@dataclass(frozen=True)
class PlannedSide:
    """An SAE of a model over its text.

    Attributes:
        key: names its store.
        sae: its size.
        n_tokens: positions that count.
    """

    key: str
    sae: SaeShape
    n_tokens: int

    @property
    def entries(self) -> float:
        """Activations that are stored."""
        return self.n_tokens * self.sae.l0

    @property
    def disk(self) -> int:
        """Bytes of its store on disk: 2 for a value, 2 or 4 for the number of its feature, and 12 per position."""
        return int(self.entries * (4 if self.sae.n_features <= 65_536 else 6)) + 12 * self.n_tokens

    @property
    def held(self) -> int:
        """Bytes of its activations and decoder rows in memory."""
        return int(self.entries * 6) + 8 * self.n_tokens + 4 * self.sae.n_features * self.sae.width

    @property
    def working(self) -> int:
        """Bytes that a task holds beside it, at most."""
        return working_bytes(self.entries, self.sae.n_features, self.sae.width)


@dataclass(frozen=True)
class PlannedStream(PlannedSide):
    """A sampled stream, as a side without activations that holds a row for every position.

    Attributes:
        beside: bytes that a task holds beside it, at most.
    """

    beside: int

    @property
    def working(self) -> int:
        return self.beside


@dataclass(frozen=True)
class PlannedRows(PlannedSide):
    """A side of which a task takes decoder rows alone, and holds nothing beside it."""

    @property
    def working(self) -> int:
        return 0


@dataclass(frozen=True)
class PlannedModel(PlannedSide):
    """A whole model, or its head, as a side without activations or features (`semconv.models.whole_models`).

    Attributes:
        n_bytes: of its weights that take memory of their own, in float32.
        mapped: of its weights that are mapped from their files, as they are stored.
        vocab_size: logits of its head.
        beside: bytes that a task holds beside it, at most.
        n_blocks: how many it has.
        of_block: numbers in one block.
        place: path and revision, by which rates know it.
    """

    n_bytes: int = 0
    mapped: int = 0
    vocab_size: int = 0
    beside: int = 0
    n_blocks: int = 1
    of_block: int = 1
    place: str = ""

    @property
    def held(self) -> int:
        return self.n_bytes

    @property
    def working(self) -> int:
        return self.beside


@dataclass(frozen=True)
class PlannedTask:
    """A task of the study.

    Attributes:
        stage: in which it is.
        name: of its file.
        kind: what it does.
        sides: what it reads.
        amount: shifts, resamples or draws of its own.
        grid: whether it is of the layer grid, not of a control.
    """

    stage: str
    name: str
    kind: Kind
    sides: tuple[PlannedSide, ...]
    amount: int = 1
    grid: bool = True

    @property
    def needs(self) -> dict[str, int]:
        """Bytes in memory of what it reads, by name: its sides, or what is made of each of them (`Derived`)."""
        if self.kind in ("categories", "spans"):
            return {f"{side.key} for {self.kind}": 2 * side.held for side in self.sides}
        return {side.key: side.held for side in self.sides}

    @property
    def held(self) -> int:
        """Bytes in memory of all that it reads."""
        return sum(self.needs.values())
