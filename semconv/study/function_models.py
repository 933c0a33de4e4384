"""What tasks on function ask of models: a study knows none, so the pipeline says where they are and acts on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float, Float64, Int, Int32
from numpy import ndarray

from semconv.matching.joint_positions import JointPositions
from semconv.statistics.effects import EffectSums
from semconv.study.sides import Side
from semconv.study.streams import SampledStreams
from semconv.text.token_blocks import TokenBlocks


@dataclass(frozen=True, eq=False)
class StoredModel:
    """A model with its head, on disk.

    Attributes:
        key: names it; models of the same weights share it.
        identity: SHA-256 of what it depends on.
        n_bytes: how much memory of its own it takes once it is read; none for what is mapped from files.
        vocab_size: logits of its head.
        load: reads it.
        working: how much whoever runs it holds beside it, at most.
    """

    key: str
    identity: str
    n_bytes: int
    vocab_size: int
    load: Callable[[], Any]
    working: int = 0

    def read(self) -> Any:
        """Reads it."""
        return self.load()

    def beside(self, working: int) -> StoredModel:
        """Returns the same, with what a task holds beside that, too."""
        return replace(self, working=self.working + working)


@dataclass(frozen=True)
class Place:
    """Where the features of an SAE write.

    Attributes:
        hook: the stream that its decoder rows are directions of.
        first: column of the stream at which they begin.
        reason: why they cannot be taken for directions of a stream; empty where they can.
    """

    hook: str
    first: int = 0
    reason: str = ""


@dataclass(frozen=True, eq=False)
class Acting:
    """What belongs to a side of a comparison.

    Attributes:
        model: that its SAE reads.
        head: the same without most of its blocks, for what final norm and head alone say.
        place: where its features write.
    """

    model: StoredModel
    head: StoredModel
    place: Place

    @property
    def inputs(self) -> list[Any]:
        """All that a task depends on here, as plain values."""
        return [self.model.identity, self.place.hook, self.place.first, self.place.reason]


@dataclass(frozen=True, eq=False)
class Lenses:
    """The logit lens of the features of pairs.

    Attributes:
        promoted_a: int32 [n, k] token ids that A's feature promotes most, the largest logit first.
        suppressed_a: those it suppresses most, the smallest logit first.
        promoted_b: of the partner.
        suppressed_b: likewise.
        agreement: float64 [n, 3], correlation of the two features' logits over all tokens, NaN where one does not vary,
            and the shares of promoted and of suppressed tokens that both name.
    """

    promoted_a: Int32[ndarray, "n k"]
    suppressed_a: Int32[ndarray, "n k"]
    promoted_b: Int32[ndarray, "n k"]
    suppressed_b: Int32[ndarray, "n k"]
    agreement: Float64[ndarray, "n 3"]


class Models(Protocol):
    """What is done with models that were read."""

    def lenses(
        self,
        networks: tuple[Any, Any],
        places: tuple[Place, Place],
        rows: tuple[Float[ndarray, "n d_a"], Float[ndarray, "n d_b"]],
        k: int,
        size: int,
    ) -> Lenses:
        """Returns the logit lens of paired decoder rows.

        Args:
            networks: as `StoredModel.read` gives them.
            places: of both sides.
            rows: paired row by row.
            k: tokens at either end.
            size: of the vocabulary that both share; ids beyond it stand for no token.

        Raises:
            InputError: a model has no head, or rows are not directions of its stream.
        """
        ...

    def effects(
        self,
        networks: tuple[Any, Any],
        places: tuple[Place, Place],
        sides: tuple[Side, Side],
        pairs: tuple[Int[ndarray, " n"], Int[ndarray, " n"]],
        at: JointPositions,
        alternates: Int[ndarray, "n k"],
        *,
        blocks: TokenBlocks,
        size: int,
        seed: int,
        random: bool = True,
        tokens_a: Int[ndarray, " m"] | None = None,
    ) -> EffectSums:
        """Returns what ablating both features of every pair does where both fire, beside alternates to the partner.

        Args:
            networks: as `StoredModel.read` gives them.
            places: of both sides.
            sides: activations and decoder rows.
            pairs: features of A and of B.
            at: positions of the pairs.
            alternates: features of B, -1 for none.
            blocks: the text.
            size: of the vocabulary that both share.
            seed: of the run.
            random: whether a random direction comes after the alternates.
            tokens_a: positions at which A's feature is ablated in place of those of `at`.

        Raises:
            InputError: a model has no head, or its features cannot be changed at one position.
        """
        ...


@dataclass(frozen=True, eq=False)
class FunctionModels:
    """Everything that the tasks on function need beside sides.

    Attributes:
        acting: `a.LABEL`, `b.LABEL`, `control.NAME.a`, `control.NAME.b` -> what belongs to that side.
        models: what is done with them.
        blocks: the text.
        texts: text of every token id of the tokenizer that both models share.
        streams: of both models, at a sample of the text; None where the suite compares none.
    """

    acting: Mapping[str, Acting]
    models: Models
    blocks: TokenBlocks
    texts: list[str]
    streams: SampledStreams | None = None

    def of(self, a: str, b: str) -> tuple[Acting, Acting]:
        """Returns what belongs to two sides by their names."""
        return self.acting[a], self.acting[b]

    @property
    def n_tokens(self) -> int:
        """Tokens that both models tell logits of."""
        return min(len(self.texts), *(one.model.vocab_size for one in self.acting.values()))


def no_lenses() -> Lenses:
    """Returns the logit lens of no pair."""
    ids = np.zeros((0, 0), dtype=np.int32)
    return Lenses(ids, ids, ids, ids, np.zeros((0, 3)))
