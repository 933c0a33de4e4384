"""The residual streams themselves beside a layer pair: how alike they are at a sample of the text, without any SAE."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from semconv.compare import RSA
from semconv.compare.tall import TallRows, cross, repeated, tall_cka, tall_svcca
from semconv.statistics.permutation import generator
from semconv.statistics.sampled_text import SampledText
from semconv.study.stream_observations import StreamPairFacts, StreamPairObservation, StreamsFacts, StreamsObservation
from semconv.study.working_memory import stream_working_bytes
from semconv.suite.config import StreamsConfig
from semconv.system.digests import sha256_of
from semconv.system.errors import InputError

VARIANTS = ("raw", "within_token")
"""The streams as they are, and less the mean of each token, at the positions whose token occurs more than once."""
STREAM_MEASURES = ("cka_unbiased", "svcca_variance", "rsa")
"""What is taken of each."""
_SUBSAMPLE = 7  # stream of the generator, beside those of `semconv.statistics`
_Value = TypeVar("_Value")


@dataclass(frozen=True, eq=False)
class StoredStream:
    """A stream at the positions of a sample, on disk.

    Attributes:
        key: names it; SAEs at one hook share it.
        identity: SHA-256 of what it depends on.
        shape: positions and width.
        load: reads it, float32 [n, width].
        on: device on which it is compared.
        decoder_elsewhere: why the decoder rows of its SAE are no directions of it; empty where they are.
    """

    key: str
    identity: str
    shape: tuple[int, int]
    load: Callable[[], Tensor]
    on: torch.device = field(default_factory=lambda: torch.device("cpu"))
    decoder_elsewhere: str = ""


@dataclass(frozen=True, eq=False)
class StoredVocabulary:
    """What a model's vocabulary makes alike, on disk.

    Attributes:
        identity: SHA-256 of what it depends on.
        load: gives name of a similarity -> its second moment, or why there is none.
    """

    identity: str
    load: Callable[[], dict[str, Tensor | str]]


@dataclass(frozen=True, eq=False)
class SampledStreams:
    """The streams that the SAEs of two models read, at the same positions of a text.

    Attributes:
        text: the sample.
        a: of model A, in the order of its SAEs.
        b: of model B.
        vocabularies: of A and of B.
    """

    text: SampledText
    a: list[StoredStream]
    b: list[StoredStream]
    vocabularies: tuple[StoredVocabulary, StoredVocabulary]

    @cached_property
    def sha256(self) -> str:
        """SHA-256 over the sample."""
        text = self.text
        return sha256_of(f"{text.a.sha256} {text.b.sha256} ", text.a.tokens, text.b.tokens, text.document)


@dataclass(frozen=True, eq=False)
class StreamSettings:
    """What the streams of every layer pair are put through.

    Attributes:
        sample: the sample.
        config: of the suite.
        threshold: share of variance that SVCCA keeps.
        seed: of what is drawn.
    """

    sample: SampledText
    config: StreamsConfig
    threshold: float
    seed: int

    @cached_property
    def repeated(self) -> tuple[Int[ndarray, " n"], Int[ndarray, " n"]]:
        """Positions whose token occurs more than once in the sample, and the token of each (`repeated`)."""
        return repeated(self.sample.a.tokens, self.sample.b.tokens)

    @cached_property
    def subsample(self) -> Int[ndarray, " k"]:
        """Positions that RSA compares, ascending: drawn from those whose token occurs more than once, where there are
        any, so that both variants compare the same."""
        at = self.repeated[0] if len(self.repeated[0]) else np.arange(len(self.sample))
        order = generator(self.seed, 0, _SUBSAMPLE).permutation(len(at))
        return at[np.sort(order[: self.config.rsa_positions])]

    def facts(self) -> StreamsObservation:
        """Returns what there is to say of the sample."""
        at, token = self.repeated
        return StreamsObservation(
            StreamsFacts(
                positions=len(self.sample),
                rows=len(self.sample.a.rows),
                documents=len(np.unique(self.sample.document)),
                repeated=len(at),
                tokens=int(token.max(initial=-1)) + 1,
                rsa_positions=len(self.subsample),
            )
        )


@dataclass(frozen=True, eq=False)
class _Variant:
    """A stream in one variant, with what every layer pair takes of it; or why there is none.

    Attributes:
        rows: the positions, less the mean or the means.
        directions: the leading ones, and their singular values.
        ranks: prepared by RSA.
    """

    rows: TallRows | str
    directions: tuple[Tensor, Tensor] | str
    ranks: Float[Tensor, "k k"] | str


@dataclass(frozen=True, eq=False)
class PreparedStream:
    """A stream with what every layer pair takes of it: a need of tasks (`semconv.runs.shelf`).

    Attributes:
        stream: which.
        settings: what it is put through.
    """

    stream: StoredStream
    settings: StreamSettings

    @property
    def key(self) -> str:
        return f"stream {self.stream.key} {self.stream.identity}"

    @property
    def n_bytes(self) -> int:
        """Of the values, of the means of tokens, of two Gram matrices with their directions, and of ranks."""
        (n, width), settings = self.stream.shape, self.settings
        groups = int(settings.repeated[1].max(initial=0)) + 1
        return 4 * n * width + 8 * (groups * width + 4 * width**2 + 2 * len(settings.subsample) ** 2)

    @property
    def working(self) -> int:
        """Memory that a task holds beside it, at most."""
        return stream_working_bytes(self.stream.shape[1], self.settings.config)

    def read(self) -> tuple[_Variant, ...]:
        """Reads the stream and takes what depends on it alone, for each of `VARIANTS`."""
        values, (at, token), on = self.stream.load(), self.settings.repeated, self.stream.on
        subsample = torch.from_numpy(self.settings.subsample)

        def within() -> TallRows:
            if not len(at):
                raise InputError("no token occurs more than once in the sample")
            return TallRows(values, torch.from_numpy(at), torch.from_numpy(token), on)

        raw = _or_reason(lambda: TallRows.centred(values, on))
        less = _or_reason(within)
        places = torch.from_numpy(np.searchsorted(at, self.settings.subsample))
        return (
            self._variant(raw, lambda _: values[subsample].to(on).double()),
            self._variant(less, lambda rows: rows.at(places)),
        )

    def _variant(self, rows: TallRows | str, of_rsa: Callable[[TallRows], Tensor]) -> _Variant:
        if isinstance(rows, str):
            return _Variant(rows, rows, rows)
        directions = _or_reason(lambda: rows.directions(self.settings.threshold))
        return _Variant(rows, directions, _or_reason(lambda: RSA().prepare(of_rsa(rows))))


def _or_reason(make: Callable[[], _Value]) -> _Value | str:
    """Returns a value, or why there is none."""
    try:
        return make()
    except InputError as error:
        return str(error)


def compare_streams(a: tuple[_Variant, ...], b: tuple[_Variant, ...]) -> StreamPairObservation:
    """Compares two prepared streams by every measure, in every variant."""
    found = [_compared(x, y) for x, y in zip(a, b, strict=True)]
    scores = [[math.nan if isinstance(score, str) else score for score in of_variant] for of_variant in found]
    reasons = tuple(score if isinstance(score, str) else "" for of_variant in found for score in of_variant)
    kept = [
        tuple(0 if isinstance(one.directions, str) else one.directions[0].shape[1] for one in side) for side in (a, b)
    ]
    facts = StreamPairFacts(reasons=reasons, directions_a=kept[0], directions_b=kept[1])
    return StreamPairObservation(facts, np.array(scores))


def _given(found: _Value | str) -> _Value:
    """Returns what `_or_reason` found, and raises InputError with the reason where there is none."""
    if isinstance(found, str):
        raise InputError(found)
    return found


def _compared(x: _Variant, y: _Variant) -> list[float | str]:
    """Returns the score of each of `STREAM_MEASURES`, or why there is none."""
    product = _or_reason(lambda: cross(_given(x.rows), _given(y.rows)))
    return [
        _or_reason(lambda: tall_cka(_given(x.rows), _given(y.rows), _given(product))),
        _or_reason(lambda: _svcca(x, y, _given(product))),
        _or_reason(lambda: RSA().score(_given(x.ranks), _given(y.ranks))),
    ]


def _svcca(x: _Variant, y: _Variant, product: Tensor) -> float:
    rows, (d_x, d_y) = _given(x.rows), product.shape
    left = len(rows.rows) - rows.n_groups
    if left < d_x + d_y:
        raise InputError(
            f"SVCCA of streams of {d_x} and {d_y} columns needs at least {d_x + d_y} positions beside the means that "
            f"are taken off, got {left}"
        )
    return tall_svcca(product, _given(x.directions), _given(y.directions))
