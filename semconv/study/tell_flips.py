"""What the results say of differences between partners and what they must beat, beside flipped signs."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from semconv.results.schema import FunctionTest, PositionDifference
from semconv.statistics.clusters import clustered_error
from semconv.statistics.permutation import p_value
from semconv.statistics.sign_flips import sign_flip_test

N_FLIPS = 9999
"""Draws of the sign-flip test."""


def flipped(differences: Float[ndarray, " n"], tokens: Int[ndarray, " n"], seed: int) -> FunctionTest:
    """Tests the mean of the differences of pairs, flipping the signs of those of one top token together.

    Args:
        differences: of pairs, finite, at least one.
        tokens: number of the top token of each.
        seed: of the run.
    """
    found = sign_flip_test(differences, tokens, N_FLIPS, seed)
    return FunctionTest(difference=found.statistic, p=found.p_value, **_facts(differences, tokens))


def flipped_on_both_sides(
    differences: Float[ndarray, " n"], tokens: Int[ndarray, " n"], seed: int
) -> PositionDifference:
    """Tests on both sides of zero; arguments as for `flipped`."""
    found = sign_flip_test(differences, tokens, N_FLIPS, seed)
    p = p_value(abs(found.statistic), np.abs(found.null))
    return PositionDifference(difference=found.statistic, p=p, **_facts(differences, tokens))


def _facts(differences: Float[ndarray, " n"], tokens: Int[ndarray, " n"]) -> dict[str, Any]:
    return {
        "error": clustered_error(differences, tokens),
        "draws": N_FLIPS,
        "pairs": len(differences),
        "tokens": len(np.unique(tokens)),
        "higher": float((differences > 0).mean()),
    }
