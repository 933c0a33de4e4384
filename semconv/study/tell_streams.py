"""What the results say of the residual streams themselves."""

from __future__ import annotations

from dataclasses import asdict

from semconv.results.schema import Reason, StreamPair, StreamScore, StreamsGrid, StreamVariant
from semconv.study.observations import Observations
from semconv.study.stream_observations import StreamPairObservation
from semconv.study.streams import STREAM_MEASURES, VARIANTS


def tell_streams(observations: Observations) -> StreamsGrid | None:
    """Returns how alike the streams of every layer pair are; None where the suite does not ask."""
    if observations.streams is None:
        return None
    grid = {key: _pair(found) for key, found in observations.of_streams.items()}
    return StreamsGrid(**asdict(observations.streams), grid=grid)


def _pair(found: StreamPairObservation) -> StreamPair:
    return StreamPair(**{variant: _variant(found, place) for place, variant in enumerate(VARIANTS)})


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
