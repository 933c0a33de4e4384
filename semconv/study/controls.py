"""Controls: what the scores must be where the answer is known."""

from __future__ import annotations

from typing import Any

import numpy as np

from semconv.core.correlate import best_matches
from semconv.study.layer_pairs import Protocol, number
from semconv.study.sides import Side, prepare_pairs
from semconv.system.errors import InputError

SCORED = 4096
"""Features whose geometry a self-match scores: a check of the machinery, and an RSA of 16,384 rows takes 10 GB. Beyond
15,000 rows X X' also crashes the threaded OpenBLAS 0.3.31 of NumPy."""


def self_match(protocol: Protocol, side: Side) -> dict[str, Any]:
    """Matches a side with itself: every feature must find itself with r = 1, and every measure must say 1.

    Returns:
        How many features vary, the share that found themselves or an exact double, the lowest r, and per measure the
        score of the dictionary, its first SCORED features that vary, paired with itself.
    """
    found = best_matches(side.acts, side.acts).to("cpu").a_to_b
    varies = np.flatnonzero(found.index[:, 0].numpy() >= 0)
    r = found.r[:, 0].numpy()[varies]
    scores: dict[str, float | None] = {}
    for measure in protocol.measures:
        try:
            scores[measure.name] = number(prepare_pairs(measure, side, side, varies[:SCORED], varies[:SCORED]).score)
        except InputError:
            scores[measure.name] = None
    return {
        "features": len(varies),
        "found_itself": number(float((np.abs(r - 1) < 1e-12).mean())) if len(r) else None,
        "lowest_r": number(float(r.min())) if len(r) else None,
        "scores": scores,
    }
