"""Side: what the comparison needs of one SAE, and the scores of features paired between two of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from semconv.compare import Measure, SharedRows
from semconv.compare.measure import RowSubsets, collected_saturation
from semconv.core.correlate import BestMatches
from semconv.core.sparse import SparseActivations
from semconv.core.streaming import StreamingCorrelation
from semconv.matching.filters import Activity, FeaturePairs, best_by, match_features, r_without_of
from semconv.suite.config import MatchConfig
from semconv.suite.sae_labels import pair_key
from semconv.system.digests import sha256_of
from semconv.system.errors import InputError
from semconv.text.top_tokens import TopTokens

_PAIRS_AT_ONCE = 2048  # all of whose features are correlated with each other, in 8 bytes per two
SHARED_ROWS = 8192
"""Dictionaries up to this wide keep what their row subsets share; beyond, an RSA would hold 8 F^2 bytes of it."""

_Spaces = dict[str, tuple[ndarray, RowSubsets[Any]]]
"""Measure with its settings -> decoder rows, and what their subsets share."""


class _Named:
    """What a side is called, from which SAE of which model it is."""

    model: str
    layer: int
    sae: str
    store_sha256: str

    @property
    def label(self) -> str:
        """Which SAE of the model it is, in keys and file names."""
        return self.sae or str(self.layer)

    @property
    def name(self) -> str:
        """`MODEL/LABEL`."""
        return f"{self.model}/{self.label}"

    @property
    def key(self) -> str:
        """Names the side among all that a run has: of one SAE there may be several, over other positions."""
        return f"{self.name} {self.store_sha256}"


@dataclass(frozen=True, eq=False)
class StoredSide(_Named):
    """A side that lies on disk: what is known of it without its activations and decoder rows.

    Attributes:
        model: short name of the model.
        layer: block at which the SAE reads.
        store_sha256: of the store its activations come from, and of the positions that count where they are not all.
        decoder_sha256: of its decoder rows.
        tokens: table of the top-activating tokens of every feature.
        n_features: F.
        n_tokens: positions that count.
        n_bytes: how much memory it takes once it is read.
        working: how much a task holds beside it, at most (`working_bytes`).
        on_cpu: whether the CPU will correlate it.
        load: reads it.
        sae: which SAE of the model it is (`SaeConfig.label`); empty for the layer.
    """

    model: str
    layer: int
    store_sha256: str
    decoder_sha256: str
    tokens: TopTokens
    n_features: int
    n_tokens: int
    n_bytes: int
    working: int
    on_cpu: bool
    load: Callable[[], Side]
    sae: str = ""

    def read(self) -> Side:
        """Reads activations and decoder rows.

        Raises:
            InputError: the store is missing or damaged.
        """
        return self.load()


@dataclass(frozen=True, eq=False)
class Side(_Named):
    """One SAE at one layer of one model.

    Attributes:
        model: short name of the model.
        layer: block at which the SAE reads.
        acts: its activations over the counted tokens, on the device that correlates.
        store_sha256: of the store they come from.
        decoder: float32 or float64 [F, d_model]; measures compute in float64.
        tokens: table of the top-activating tokens of every feature.
        documents: integer [n_tokens], which document each token is from; None where nothing asks.
        sae: which SAE of the model it is (`SaeConfig.label`); empty for the layer.
        token: integer [n_tokens], which token stands at each position; None where nothing asks, and over spans.
    """

    model: str
    layer: int
    acts: SparseActivations
    store_sha256: str
    decoder: Float[ndarray, "F d"]
    tokens: TopTokens
    documents: Tensor | None = None
    sae: str = ""
    token: Tensor | None = None
    _spaces: _Spaces = field(default_factory=dict[str, tuple[ndarray, RowSubsets[Any]]])

    @property
    def n_features(self) -> int:
        """F."""
        return self.acts.n_features

    @property
    def n_tokens(self) -> int:
        """Positions that count."""
        return self.acts.n_tokens

    @property
    def n_bytes(self) -> int:
        """Memory that holding it for a task takes: none, it is in memory already."""
        return 0

    @property
    def working(self) -> int:
        """Memory that a task takes beside it, where that is counted: not for a side in memory."""
        return 0

    @property
    def on_cpu(self) -> bool:
        """Whether the CPU correlates it."""
        return self.acts.device.type == "cpu"

    def read(self) -> Side:
        """Returns itself: like a `StoredSide`, a task can need it."""
        return self

    @cached_property
    def decoder_sha256(self) -> str:
        """SHA-256 of the decoder rows."""
        return sha256_of(self.decoder)

    def active_counts(self) -> Int[ndarray, " F"]:
        """On how many tokens each feature is active, int64 [F]."""
        return self.acts.active_counts().cpu().numpy()

    def activity(self, config: MatchConfig) -> Activity:
        """How often each feature is active, as far as the filters of the config ask; counted once.

        Raises:
            InputError: `min_documents` where the documents are not known.
        """
        tokens = self._active_tokens if config.min_activations else None
        return Activity(tokens, self._active_documents if config.min_documents else None)

    @cached_property
    def _active_tokens(self) -> Int[ndarray, " F"]:
        return self.active_counts()

    @cached_property
    def _active_documents(self) -> Int[ndarray, " F"]:
        if self.documents is None:
            raise InputError(f"match.min_documents needs the documents of the text of {self.name}, which are not known")
        return self.acts.document_counts(self.documents.to(self.acts.device)).cpu().numpy()

    def rows(self, rows: Int[ndarray, " n"], measures: Sequence[Measure[Any]]) -> SharedRows:
        """Returns some decoder rows, on the device that correlates, for measures to share what they compute of them."""
        all_directions = any(measure.needs_all_directions for measure in measures)
        return SharedRows(torch.from_numpy(self.decoder[rows]).to(self.acts.device), all_directions)

    def subset(self, measure: Measure[Any], rows: Int[ndarray, " n"], shared: SharedRows) -> Any:
        """Returns some decoder rows as the measure's prepared space.

        Args:
            measure: whose. One that shares work between subsets of a dictionary (`Measure.space`) does so on the CPU up
                to SHARED_ROWS features; the others share the decomposition of these rows.
            rows: which.
            shared: these rows, with what measures before have computed of them.

        Raises:
            InputError: what the measure refuses.
        """
        alone = type(measure).space is Measure.space
        if alone or len(self.decoder) > SHARED_ROWS or self.acts.device.type != "cpu":
            return measure.prepare_shared(shared)
        decoder, space = self._spaces.get(repr(measure), (None, None))
        if space is None or decoder is not self.decoder:  # a side made by `replace` from this one shares the table
            space = measure.space(self.decoder)
            self._spaces[repr(measure)] = (self.decoder, space)
        return space.subset(rows)

    def at(self, positions: Tensor) -> Side:
        """Returns the same side over other tokens, int64 [n] positions of these; features keep their top tokens."""
        acts = self.acts.tokens(positions.to(self.acts.device))
        documents, token = (None if of is None else of[positions.to(of.device)] for of in (self.documents, self.token))
        return replace(self, acts=acts, documents=documents, token=token)


AnySide = Side | StoredSide
"""A side in memory or on disk."""
Value = TypeVar("Value")


@dataclass(frozen=True, eq=False)
class Derived(Generic[Value]):
    """What is made of a side for several tasks.

    Attributes:
        key: names it.
        side: of which it is made.
        make: makes it; it must not take more memory than the side.
    """

    key: str
    side: AnySide
    make: Callable[[Side], Value]

    @property
    def n_bytes(self) -> int:
        """Memory that it takes, with the side of which it is made."""
        return 2 * self.side.n_bytes

    @property
    def working(self) -> int:
        """Memory that a task takes beside it."""
        return self.side.working

    def read(self) -> Value:
        """Reads the side and makes it."""
        return self.make(self.side.read())


def key_of(a: AnySide, b: AnySide) -> str:
    """Returns what the results call two sides, such as `0x2`."""
    return pair_key(a.label, b.label)


def best_of(a: Side, b: Side, config: MatchConfig) -> BestMatches:
    """Returns the best partners of the features of two sides by what the config matches by, on the CPU.

    Raises:
        InputError: as `semconv.matching.filters.best_by`.
    """
    return best_by(a.acts, b.acts, config, a.token).to("cpu")


def match_sides(a: Side, b: Side, config: MatchConfig, matches: BestMatches | None = None) -> FeaturePairs:
    """Correlates and pairs the features of two sides over the same tokens.

    Args:
        a: one side.
        b: the other.
        config: how they are paired.
        matches: their best partners, where they are known already.
    """
    if matches is None:
        matches = best_of(a, b, config)
    active, r_without = (a.activity(config), b.activity(config)), r_without_of(a.acts, b.acts, config)
    return match_features(matches, a.tokens, b.tokens, config, *active, r_without=r_without)


@dataclass(frozen=True, eq=False)
class Prepared:
    """The paired rows of two sides as one measure takes them, and their score.

    Attributes:
        measure: whose.
        x: prepared space of A's rows.
        y: of B's.
        score: the similarity.
        saturated: the measure warned that the score is near its top whatever the pairing.
    """

    measure: Measure[Any]
    x: Any
    y: Any
    score: float
    saturated: bool


class PairedRows:
    """The paired decoder rows of two sides. All measures that score them share one decomposition of each side's rows.

    Attributes:
        a: one side.
        b: the other.
        rows_a: int64 [n] features of A.
        rows_b: int64 [n] features of B, paired with them.
        measures: all that will score them.
    """

    def __init__(
        self,
        measures: Sequence[Measure[Any]],
        a: Side,
        b: Side,
        rows_a: Int[ndarray, " n"],
        rows_b: Int[ndarray, " n"],
    ) -> None:
        self.measures, self.a, self.b, self.rows_a, self.rows_b = measures, a, b, rows_a, rows_b
        self._x = a.rows(rows_a, measures)
        self._y = self._x if a is b and np.array_equal(rows_a, rows_b) else b.rows(rows_b, measures)

    def prepare(self, measure: Measure[Any]) -> Prepared:
        """Scores the pairs by one measure.

        Raises:
            InputError: what the measure refuses.
        """
        with collected_saturation() as saturated:
            x = self.a.subset(measure, self.rows_a, self._x)
            y = x if self._y is self._x else self.b.subset(measure, self.rows_b, self._y)
            score = measure.score(x, y)
        return Prepared(measure, x, y, score, bool(saturated))


def prepare_pairs(
    measure: Measure[Any], a: Side, b: Side, rows_a: Int[ndarray, " n"], rows_b: Int[ndarray, " n"]
) -> Prepared:
    """Scores the paired decoder rows by one measure alone, as `PairedRows.prepare`."""
    return PairedRows([measure], a, b, rows_a, rows_b).prepare(measure)


def scores_of(
    measures: Sequence[Measure[Any]], a: Side, b: Side, rows_a: Int[ndarray, " n"], rows_b: Int[ndarray, " n"]
) -> Float[ndarray, " measures"]:
    """Scores the paired decoder rows by every measure, NaN where one refuses them."""
    out, pairs = np.full(len(measures), math.nan), PairedRows(measures, a, b, rows_a, rows_b)
    for i, measure in enumerate(measures):
        try:
            out[i] = pairs.prepare(measure).score
        except InputError:
            continue
    return out


def pair_correlations(a: Side, b: Side, rows_a: Int[ndarray, " n"], rows_b: Int[ndarray, " n"]) -> Float[ndarray, " n"]:
    """Returns r of given feature pairs, float64 [n], NaN where one of the two never varies."""
    out = np.empty(len(rows_a))
    for begin in range(0, len(rows_a), _PAIRS_AT_ONCE):
        part = slice(begin, begin + _PAIRS_AT_ONCE)
        (one, at_one), (other, at_other) = (np.unique(rows[part], return_inverse=True) for rows in (rows_a, rows_b))
        x, y = (side.acts.columns(torch.from_numpy(rows).to(side.acts.device)) for side, rows in ((a, one), (b, other)))
        # With these maxima the stream has the scales of best_matches.
        stream = StreamingCorrelation(
            len(one), len(other), feature_max_a=x.feature_max(), feature_max_b=y.feature_max(), device=x.device
        )
        stream.update(x, y)
        out[part] = stream.correlation().cpu().numpy()[at_one, at_other]
    return out
