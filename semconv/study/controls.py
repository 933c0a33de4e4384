"""Controls: what the scores must be where the answer is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from semconv.core.correlate import best_matches
from semconv.results.schema import SelfMatch
from semconv.study.nulls import without_agreement
from semconv.study.observations import SelfObservation
from semconv.study.settings import StudySettings
from semconv.study.sides import PairedRows, Side
from semconv.system.errors import InputError
from semconv.system.shape import number

SCORED = 4096
"""Features whose geometry a self-match scores: a check of the machinery, and an RSA of 16,384 rows takes 10 GB."""


def self_match(settings: StudySettings, side: Side) -> SelfObservation:
    """Matches a side with itself: every feature must find itself with r = 1, and every measure must say 1.

    Scored is the dictionary, its first SCORED features that vary, paired with itself.
    """
    found = best_matches(side.acts, side.acts).to("cpu").a_to_b
    varies = np.flatnonzero(found.index[:, 0].numpy() >= 0)
    r = found.r[:, 0].numpy()[varies]
    scores: dict[str, float | None] = {}
    scored = PairedRows(settings.measures, side, side, varies[:SCORED], varies[:SCORED])
    for measure in settings.measures:
        try:
            scores[measure.name] = number(scored.prepare(measure).score)
        except InputError:
            scores[measure.name] = None
    match = SelfMatch(
        features=len(varies),
        found_itself=number(float((np.abs(r - 1) < 1e-12).mean())) if len(r) else None,
        lowest_r=number(float(r.min())) if len(r) else None,
        scores=scores,
    )
    return SelfObservation(match)


def of_strongest(settings: StudySettings, n: int) -> StudySettings:
    """Returns the same settings for the n strongest pairs, whether they agree or not.

    Filters that ask for agreement leave next to nothing of models that learned nothing. Without them a floor gives as
    many pairs as the trained models have, or all it has, and the trained models give as many, so that the geometry of
    both is scored on the same number of pairs, each beside its nulls.
    """
    return replace(settings, match=replace(without_agreement(settings.match), strongest=n))
