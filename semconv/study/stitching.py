"""Decoder rows mapped from one stream to the other: an affine map fitted to both, and the partners it names."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from semconv.compare.stitching import PENALTIES, Moments, Ridge, assigned, cosines, product_at
from semconv.compare.tall import TallRows
from semconv.statistics.permutation import permutation_ids
from semconv.statistics.resampling import document_shift, halves, spans_document_starts
from semconv.study.settings import StudySettings
from semconv.study.sides import Side
from semconv.study.stream_observations import StitchFacts, StitchObservation
from semconv.study.streams import StoredStream, StreamSettings
from semconv.system.digests import sha256_of
from semconv.system.errors import InputError

STITCHED = ("assigned_cosine", "best_cosine", "same_partner")
"""Mean cosine of mapped decoder rows of A with the rows of B that the best one-to-one assignment gives them; mean over
the features of B of their best cosine; share of the feature pairs by activations that the assignment names too."""
_FEWEST_DOCUMENTS = 4  # two to choose the penalty on, and one at least for the test


@dataclass(frozen=True, eq=False)
class Split:
    """The sample by documents: two parts to choose the penalty on, which together fit the map, and one to test it.

    Attributes:
        parts: int64 positions of the first part, the second and the test, each ascending.
        starts: int64, where in the first two together each document begins.
        documents: how many the sample has.
    """

    parts: tuple[Int[Tensor, " n"], Int[Tensor, " n"], Int[Tensor, " n"]]
    starts: Int[ndarray, " D"]
    documents: int

    @classmethod
    def of(cls, settings: StreamSettings) -> Split:
        """Splits the documents of a sample in halves, and one half in halves.

        Raises:
            InputError: too few documents.
        """
        document = torch.from_numpy(settings.sample.document)
        n_documents = len(torch.unique_consecutive(document))
        if n_documents < _FEWEST_DOCUMENTS:
            raise InputError(
                f"a map is fitted and tested on different documents: {_FEWEST_DOCUMENTS} are needed, got {n_documents}"
            )
        test, train = halves(spans_document_starts(document), len(document), settings.seed)
        return cls._cut(settings, train, test)

    @classmethod
    def fitted_on(cls, settings: StreamSettings, documents: Int[ndarray, " k"]) -> Split:
        """Splits a sample so that the map is fitted on some documents, by their numbers, and tested on all others.

        Raises:
            InputError: too few documents of either kind.
        """
        document = settings.sample.document
        fitted = np.isin(document, documents)
        counts = [len(np.unique(document[part])) for part in (fitted, ~fitted)]
        if min(counts) < _FEWEST_DOCUMENTS // 2:
            raise InputError(
                f"a map is fitted on {_FEWEST_DOCUMENTS // 2} documents of the sample or more and tested on as many "
                f"others, got {counts[0]} and {counts[1]}"
            )
        train, test = (torch.from_numpy(np.flatnonzero(part)) for part in (fitted, ~fitted))
        return cls._cut(settings, train, test)

    @classmethod
    def _cut(cls, settings: StreamSettings, train: Int[Tensor, " n"], test: Int[Tensor, " m"]) -> Split:
        """Cuts the documents of the fitted part in halves."""
        document = torch.from_numpy(settings.sample.document)
        starts = spans_document_starts(document[train])
        one, other = halves(starts, len(train), settings.seed)
        return cls((train[one], train[other], test), starts, len(torch.unique_consecutive(document)))

    @property
    def train(self) -> Int[Tensor, " n"]:
        """Positions of the first two parts, ascending."""
        return torch.cat(self.parts[:2]).sort().values


@dataclass(frozen=True, eq=False)
class Stitchable:
    """A stream and its moments in each part of a split.

    Attributes:
        rows: the stream less its mean.
        moments: of the parts, and of the first two together.
    """

    rows: TallRows
    moments: tuple[Moments, Moments, Moments]
    fitted: Moments


@dataclass(frozen=True, eq=False)
class StitchedStream:
    """A stream as a map takes it: a need of tasks (`semconv.runs.shelf`).

    Attributes:
        stream: which.
        settings: what it is put through.
        documents: numbers of those that a map is fitted on; a random half (`Split.of`) where they are not said.
    """

    stream: StoredStream
    settings: StreamSettings
    documents: Int[ndarray, " k"] | None = None

    @property
    def key(self) -> str:
        on = "" if self.documents is None else f" {sha256_of(self.documents)}"
        return f"stitched {self.stream.key} {self.stream.identity}{on}"

    def split(self) -> Split:
        """Splits the sample; raises InputError where it has too few documents."""
        return Split.of(self.settings) if self.documents is None else Split.fitted_on(self.settings, self.documents)

    @property
    def n_bytes(self) -> int:
        """Of the values, and of four Gram matrices and three sets of eigenvectors."""
        n, width = self.stream.shape
        return 4 * n * width + 8 * 7 * width**2

    @property
    def working(self) -> int:
        """Nothing: map and cosines fit into what the sides count that a task reads beside it and does not correlate."""
        return 0

    def read(self) -> Stitchable | str:
        """Reads the stream and takes its moments; or why no map is fitted."""
        try:
            rows = TallRows.centred(self.stream.load(), self.stream.on)
            one, other, test = (Moments.of(rows, part) for part in self.split().parts)
        except InputError as error:
            return str(error)
        return Stitchable(rows, (one, other, test), one + other)


@dataclass(frozen=True, eq=False)
class Stitching:
    """How the decoder rows of a layer pair are mapped and compared.

    Attributes:
        study: filters by activity, and the seed of permuted partners.
        settings: sample, draws and features.
        streams: of A and of B.
        pairs: A and B features of the feature pairs by activations.
    """

    study: StudySettings
    settings: StreamSettings
    streams: tuple[StoredStream, StoredStream]
    pairs: tuple[Int[ndarray, " n"], Int[ndarray, " n"]]

    def observe(self, x: Stitchable | str, y: Stitchable | str, a: Side, b: Side) -> StitchObservation:
        """Fits a map from A's stream x to B's y, and compares A's decoder rows, mapped, with B's.

        Draws of the null fit the map, with the penalty that was chosen, to B's stream shifted by whole documents of the
        fitted half, among them the unshifted one, as under `rematch`.
        """
        try:
            checked = checked_stream(x, self.streams[0], a), checked_stream(y, self.streams[1], b)
            return self._observed(*checked, _MappedRows.of(self, a, b))
        except InputError as error:
            none = np.zeros(0)
            return StitchObservation(StitchFacts(reason=str(error)), none, none, np.zeros((0, 0)), none)

    def _observed(self, x: Stitchable, y: Stitchable, rows: _MappedRows) -> StitchObservation:
        settings, split = self.settings, Split.of(self.settings)
        products = [product_at(x.rows, part, y.rows, part) for part in split.parts]
        there, back = fitted_map(x, y, products), fitted_map(y, x, [product.mT for product in products])
        train, n = split.train, len(split.train)

        def shifted(number: int) -> Float[ndarray, " scores"]:
            shift = document_shift(split.starts, settings.seed, number)
            product = product_at(x.rows, train, y.rows, train[(torch.arange(n) + shift) % n])
            return rows.scores(Ridge(x.fitted, y.fitted, product).weights(there.penalty))[0]

        scores, names = rows.scores(there.weights)
        draws = np.stack([shifted(number) for number in range(settings.config.draws)], axis=1)
        partners = rows.permuted(names, self.study.null.n_permutations, self.study.null.seed)
        facts = StitchFacts(
            fitted=x.fitted.n,
            tested=x.moments[2].n,
            documents=split.documents,
            penalty_a_to_b=there.penalty,
            penalty_b_to_a=back.penalty,
            features_a=len(rows.a),
            features_b=len(rows.b),
            compared=len(rows.of_a),
        )
        return StitchObservation(facts, np.array([there.r2, back.r2]), scores, draws, partners)


def checked_stream(one: Stitchable | str, stream: StoredStream, side: Side) -> Stitchable:
    """Returns a stream of which the decoder rows of its SAE are directions, and that has positions enough for a map.

    Raises:
        InputError: it is not one, or why nothing could be made of it.
    """
    if isinstance(one, str):
        raise InputError(one)
    if stream.decoder_elsewhere:
        raise InputError(f"SAE {side.name}: {stream.decoder_elsewhere}")
    width, columns = side.decoder.shape[1], stream.shape[1]
    if width != columns:
        raise InputError(f"decoder rows of SAE {side.name} have {width} columns, the stream that it reads {columns}")
    fewest = min(moments.n for moments in one.moments)
    if fewest <= columns:
        raise InputError(
            f"a map from a stream of {columns} columns needs more positions than that in every part of the sample, "
            f"got {fewest}"
        )
    return one


@dataclass(frozen=True, eq=False)
class StitchMap:
    """A map from one stream to another that was fitted; a direction d of the one is d @ weights in the other.

    Attributes:
        weights: float64 [d_x, d_y].
        penalty: that was chosen.
        r2: share of the variance of the test part that it foretells.
    """

    weights: Float[Tensor, "d_x d_y"]
    penalty: float
    r2: float


def fitted_map(x: Stitchable, y: Stitchable, products: list[Float[Tensor, "d_x d_y"]]) -> StitchMap:
    """Chooses the penalty that foretells either part of the fitted half best from the other, and fits on both.

    Args:
        x: what is mapped.
        y: what it is mapped to.
        products: X'Y of the parts of their split.
    """
    of_parts = [
        Ridge(x.moments[i], y.moments[i], products[i]).r2(x.moments[j], y.moments[j], products[j], PENALTIES)
        for i, j in ((0, 1), (1, 0))
    ]
    penalty = PENALTIES[int(np.argmax(sum(of_parts)))]
    ridge = Ridge(x.fitted, y.fitted, products[0] + products[1])
    return StitchMap(
        ridge.weights(penalty), penalty, float(ridge.r2(x.moments[2], y.moments[2], products[2], [penalty])[0])
    )


@dataclass(frozen=True, eq=False)
class _MappedRows:
    """The decoder rows that a map takes from A to B, and the pairs by activations among their features.

    Attributes:
        a: int64, features of A whose rows are mapped, ascending.
        b: int64, features of B.
        rows_a: float64, their decoder rows.
        rows_b: of B's.
        of_a: int64, places in `a` of the feature pairs.
        of_b: int64, places in `b`.
    """

    a: Int[ndarray, " n_a"]
    b: Int[ndarray, " n_b"]
    rows_a: Float[Tensor, "n_a d_a"]
    rows_b: Float[Tensor, "n_b d_b"]
    of_a: Int[ndarray, " pairs"]
    of_b: Int[ndarray, " pairs"]

    @classmethod
    def of(cls, one: Stitching, *sides: Side) -> _MappedRows:
        """Takes the features that are active often enough, the most active where there are too many.

        Raises:
            InputError: fewer than two features of a side are.
        """
        least, pairs = max(1, one.study.match.min_activations), one.pairs
        a, b = (most_active(side, least, one.settings.config.features) for side in sides)
        rows_a, rows_b = (
            torch.from_numpy(side.decoder[at]).double().to(one.streams[0].on)
            for side, at in zip(sides, (a, b), strict=True)
        )
        among = np.isin(pairs[0], a) & np.isin(pairs[1], b)
        return cls(a, b, rows_a, rows_b, np.searchsorted(a, pairs[0][among]), np.searchsorted(b, pairs[1][among]))

    def scores(self, weights: Float[Tensor, "d_a d_b"]) -> tuple[Float[ndarray, " scores"], Int[ndarray, " n_a"]]:
        """Returns the scores of `STITCHED`, and the place in `b` that each of `a` is assigned, -1 for none."""
        similar = cosines(self.rows_a @ weights, self.rows_b)
        names, (of_a, of_b) = np.full(len(self.a), -1), assigned(similar)
        names[of_a] = of_b
        same = float((names[self.of_a] == self.of_b).mean()) if len(self.of_a) else math.nan
        return np.array([similar[of_a, of_b].mean(), similar.max(axis=0).mean(), same]), names

    def permuted(self, names: Int[ndarray, " n_a"], m: int, seed: int) -> Float[ndarray, " m"]:
        """Returns the share of feature pairs that an assignment names when their partners are permuted."""
        if not len(self.of_a):
            return np.full(m, math.nan)
        found = names[self.of_a]
        return np.array([(found == self.of_b[p]).mean() for p in permutation_ids(len(found), m, seed)])


def most_active(side: Side, least: int, most: int) -> Int[ndarray, " n"]:
    """Returns the features of a side that are active at so many tokens or more, ascending; of too many the most active.

    Raises:
        InputError: fewer than two are.
    """
    counts = side.active_counts()
    order = np.argsort(-counts, kind="stable")[:most]
    found = np.sort(order[counts[order] >= least])
    if len(found) < 2:
        raise InputError(f"{len(found)} features of SAE {side.name} are active at {least} tokens or more, 2 are needed")
    return found
