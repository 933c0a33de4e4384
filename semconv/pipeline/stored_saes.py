"""What is known of the store of an SAE without holding it: kept once, so that a start reads no activations again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Int32, Int64
from numpy import ndarray
from torch import Tensor

from semconv.core.activation_store import ActivationStore
from semconv.core.sparse import SparseActivations
from semconv.models.decoders import decoder_rows, decoder_shape
from semconv.models.roles import ModelOnText, Roles
from semconv.models.sinks import Sinks, find_sinks
from semconv.pipeline.facts_read import SaeActivity
from semconv.runs.run import Run
from semconv.runs.tasks import Task, Workplace
from semconv.study.facts import Facts
from semconv.study.sides import Side, StoredSide
from semconv.study.working_memory import working_bytes
from semconv.suite.config import SaeConfig
from semconv.suite.hooks import hook_layer
from semconv.system.digests import sha256_of
from semconv.system.errors import InputError
from semconv.text.top_tokens import TopTokens, counted_ids, top_positions


@dataclass(frozen=True, kw_only=True)
class StreamFacts(Facts):
    """The attention sinks of a stream.

    Attributes:
        norm_share: their share of the squared norm of the whole stream.
    """

    norm_share: float


@dataclass(frozen=True, eq=False)
class StreamSinks:
    """The attention sinks of a stream.

    Attributes:
        facts: what is known beside arrays.
        at: bool [n_tokens], which positions are one.
    """

    facts: StreamFacts
    at: Bool[ndarray, " n"]


@dataclass(frozen=True, kw_only=True)
class ActivityFacts(Facts):
    """What is known of activations that count.

    Attributes:
        nnz: stored entries.
        decoder_sha256: of the decoder rows of the SAE.
    """

    nnz: int
    decoder_sha256: str


@dataclass(frozen=True, eq=False)
class StoredActivity:
    """When the features of an SAE are active.

    Attributes:
        facts: what is known beside arrays.
        active: int64 [F], on how many positions.
        top: int32 [F, k], ids of the tokens that activate each feature most, strongest first; -1 where there are fewer.
    """

    facts: ActivityFacts
    active: Int64[ndarray, " F"]
    top: Int32[ndarray, "F k"]


@dataclass(frozen=True, eq=False)
class StoredSae:
    """The store of an SAE, and the positions of it that count.

    Attributes:
        one: its model, and the text with the positions that count.
        sae: which SAE.
        store: its activations, at every position that was encoded.
        decoder: file of its decoder rows.
        device: where it will be correlated.
        kept: bool [n_tokens] encoded positions that count; None for all.
    """

    one: ModelOnText
    sae: SaeConfig
    store: ActivationStore
    decoder: Path
    device: torch.device
    kept: Tensor | None = None

    def at(self, kept: Tensor, one: ModelOnText) -> StoredSae:
        """Returns it at some of its positions, bool [n_tokens], for a model whose text counts there alone."""
        return replace(self, kept=kept, one=one)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the store, and of the positions that count where they are not all."""
        return self.store.sha256 if self.kept is None else sha256_of(f"{self.store.sha256} at ", self.kept)

    @property
    def name(self) -> str:
        """Names it in the folder `sides`."""
        return f"{self.one.model.name}.{self.sae.place}"

    @property
    def key(self) -> str:
        return f"{self.name} {self.sha256}"

    @property
    def n_bytes(self) -> int:
        return self.store.n_bytes

    @property
    def working(self) -> int:
        """Memory that a task takes beside it: those that count are a copy, and the strongest are sorted."""
        return 2 * self.store.n_bytes

    def read(self) -> SparseActivations:
        """Returns the activations that count, on the CPU.

        Raises:
            InputError: the store is missing or damaged.
        """
        acts = self.store.load()
        return acts if self.kept is None else acts.tokens(self.kept.nonzero()[:, 0])

    def read_side(self, tokens: TopTokens) -> Side:
        """Returns the side whose features have these top tokens."""
        acts, rows, blocks = self.read(), decoder_rows(self.decoder), self.one.blocks
        return Side(
            self.one.model.name,
            hook_layer(self.sae.hook),
            acts.to(self.device),
            self.sha256,
            rows,
            tokens,
            blocks.document[blocks.mask],
            self.sae.label,
            blocks.ids[blocks.mask],
        )

    def side(self, tokens: TopTokens, activity: StoredActivity) -> StoredSide:
        """Returns what is known of the side."""
        n_features, width = decoder_shape(self.decoder)
        return StoredSide(
            model=self.one.model.name,
            layer=hook_layer(self.sae.hook),
            store_sha256=self.sha256,
            decoder_sha256=activity.facts.decoder_sha256,
            tokens=tokens,
            n_features=n_features,
            n_tokens=self.one.blocks.n_tokens,
            n_bytes=self.store.n_bytes + 4 * n_features * width,
            working=working_bytes(self.store.nnz, n_features, width),
            on_cpu=self.device.type == "cpu",
            load=partial(self.read_side, tokens),
            sae=self.sae.label,
        )


def open_stores(run: Run, models: Roles[ModelOnText]) -> Roles[list[StoredSae]]:
    """Returns the stores of some models, in the order of their SAEs; nothing but their manifests is read.

    Raises:
        InputError: a store is missing, or its manifest is damaged.
    """

    def opened(one: ModelOnText, sae: SaeConfig) -> StoredSae:
        store = ActivationStore(run.store_path(one.model, sae))
        return StoredSae(one, sae, store, run.decoder_path(one.model, sae), run.device)

    return models.map(lambda one: [opened(one, sae) for sae in one.model.saes])


def _done(run: Run, stage: str, place: Workplace, tasks: Sequence[Task]) -> None:
    unique = {task.name: task for task in tasks}  # a model may have several roles
    place.run(list(unique.values()), partial(run.progress, stage))


def stream_sinks(
    run: Run, place: Workplace, stored: Sequence[Sequence[StoredSae]], multiple: float
) -> list[list[Sinks]]:
    """Returns the attention sinks of the streams of some SAEs.

    Args:
        run: says how far it is.
        place: where it is done, and kept.
        stored: SAEs of several models.
        multiple: as for `find_sinks`.

    Raises:
        InputError: a store is damaged, or lacks the norm of its stream.
    """

    def found(one: StoredSae) -> StreamSinks:
        norms = one.store.load_norms()
        if norms is None:
            raise InputError(f"{one.store.path} lacks the norm of the stream; remove it, so that it is encoded again")
        sinks = find_sinks(norms, multiple)
        return StreamSinks(StreamFacts(norm_share=sinks.norm_share), sinks.at.numpy())

    def task(one: StoredSae) -> Task:
        return Task(f"{one.name}.sinks", (), [one.store.sha256, multiple], partial(found, one))

    _done(run, "sinks", place, [task(one) for group in stored for one in group])
    kept = [[place.cache.read_as(StreamSinks, f"{one.name}.sinks") for one in group] for group in stored]
    return [[Sinks(torch.from_numpy(one.at), one.facts.norm_share) for one in group] for group in kept]


def activities(
    run: Run, place: Workplace, stored: Roles[list[StoredSae]], top_tokens: int
) -> Roles[list[StoredActivity]]:
    """Returns when the features of some SAEs are active, reading every store of which it is not known yet.

    Args:
        run: says how far it is.
        place: where it is done, and kept.
        stored: the SAEs.
        top_tokens: of every feature.

    Raises:
        InputError: a store is damaged.
    """

    def found(one: StoredSae, acts: SparseActivations) -> StoredActivity:
        positions = top_positions(acts, top_tokens)
        ids = counted_ids(one.one.blocks)
        top = torch.where(positions >= 0, ids[positions.clamp(min=0)].to(torch.int32), -1)
        facts = ActivityFacts(nnz=acts.nnz, decoder_sha256=sha256_of(decoder_rows(one.decoder)))
        return StoredActivity(facts, acts.active_counts().numpy(), top.numpy())

    def name(one: StoredSae) -> str:
        return f"{one.name}.{one.sha256[:16]}"

    def task(one: StoredSae) -> Task:
        inputs = [one.sha256, one.one.blocks.sha256, one.store.identity.sae_sha256, top_tokens]
        return Task(name(one), (one,), inputs, partial(found, one))

    _done(run, "activity", place, [task(one) for group in stored.every for one in group])
    return stored.map(lambda group: [place.cache.read_as(StoredActivity, name(one)) for one in group])


def token_lists(activity: StoredActivity, texts: list[str]) -> list[list[str]]:
    """Returns the texts of the top tokens of every feature, strongest first, from the text of every token id."""
    return [[texts[number] for number in row if number >= 0] for row in activity.top.tolist()]


def sae_activity(activity: StoredActivity, n_tokens: int, sinks: Sinks) -> SaeActivity:
    """Returns what the results say of how active an SAE is on this text.

    Args:
        activity: over the positions that count, before any pooling.
        n_tokens: how many those are.
        sinks: of the stream that it reads.
    """
    return SaeActivity(activity.facts.nnz / n_tokens, float(np.mean(activity.active == 0)), sinks.n, sinks.norm_share)
