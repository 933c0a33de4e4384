"""What the results say of the residual streams themselves."""

from __future__ import annotations

import math
from dataclasses import asdict, replace

from jaxtyping import Float
from numpy import ndarray

from semconv.results.schema import (
    BaselineScore,
    DecoderBaselines,
    Reason,
    Stitched,
    StreamPair,
    StreamScore,
    StreamsGrid,
    StreamVariant,
    TestOrReason,
)
from semconv.study.decoder_baselines import GIVEN
from semconv.study.observations import Observations
from semconv.study.stitching import STITCHED
from semconv.study.stream_observations import DecoderObservations, StitchObservation, StreamPairObservation
from semconv.study.streams import STREAM_MEASURES, VARIANTS
from semconv.study.tell_pair import null_test
from semconv.suite.config import NullConfig


def tell_streams(observations: Observations, null: NullConfig) -> StreamsGrid | None:
    """Returns how alike the streams of every layer pair are, with its decoder baselines; None where not asked for.

    Args:
        observations: what was observed.
        null: how many permutations are usual.
    """
    if observations.streams is None:
        return None
    grid = dict[str, StreamPair]()
    for key, found in observations.of_streams.items():
        raw, within = (_variant(found, place) for place in range(len(VARIANTS)))
        decoders = observations.of_decoders.get(key)
        baselines = _decoders(decoders, null.n_permutations) if decoders is not None else None
        grid[key] = StreamPair(raw=raw, within_token=within, decoders=baselines)
    return StreamsGrid(**asdict(observations.streams), grid=grid)


def _variant(found: StreamPairObservation, place: int) -> StreamVariant:
    n = len(STREAM_MEASURES)
    reasons, facts = found.facts.reasons[place * n : (place + 1) * n], found.facts
    return StreamVariant(
        measures={
            name: Reason(reason=reason) if reason else StreamScore(score=float(score))
            for name, reason, score in zip(STREAM_MEASURES, reasons, found.scores[place], strict=True)
        },
        directions_a=facts.directions_a[place],
        directions_b=facts.directions_b[place],
    )


def _decoders(found: DecoderObservations, usual: int) -> DecoderBaselines:
    best = found.best_r
    of_a, of_b = (_baseline(float(best.scores[i]), "no feature varies", usual, shift=best.shifted[i]) for i in range(2))
    partial = {
        name: _baseline(float(score), reason, usual, shuffle=draws)
        for name, score, reason, draws in zip(
            GIVEN, found.partial.scores, found.partial.facts.reasons, found.partial.shuffle, strict=True
        )
    }
    return DecoderBaselines(
        stitched=_stitched(found.stitched, usual), partial_rsa=partial, best_r_a=of_a, best_r_b=of_b
    )


def _stitched(found: StitchObservation, usual: int) -> Stitched | Reason:
    facts = found.facts
    if facts.reason is not None:
        return Reason(reason=facts.reason)
    none = "no feature pair by activations is among the features that were mapped"
    more = {name: {"partners": found.partners} if name == "same_partner" else {} for name in STITCHED}
    assigned, best, same = (
        _baseline(float(score), none, usual, shift=draws, **more[name])
        for name, score, draws in zip(STITCHED, found.scores, found.shifted, strict=True)
    )
    counts = {name: value for name, value in vars(facts).items() if name != "reason"}
    return Stitched(
        **counts,
        r2_a_to_b=float(found.r2[0]),
        r2_b_to_a=float(found.r2[1]),
        assigned_cosine=assigned,
        best_cosine=best,
        same_partner=same,
    )


def _baseline(score: float, reason: str, usual: int, **nulls: Float[ndarray, " m"]) -> BaselineScore | Reason:
    """Returns a score beside draws of its nulls, or the reason where it is not defined."""
    if not math.isfinite(score):
        return Reason(reason=reason)
    tests: dict[str, TestOrReason] = {}
    for name, draws in nulls.items():
        test = null_test(score, draws)
        told = len(draws) if len(draws) != usual else None
        tests[name] = test if isinstance(test, Reason) else replace(test, draws=told)
    return BaselineScore(score=score, nulls=tests)
