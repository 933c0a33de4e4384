"""What the results say of features at positions of several kinds: how alike they act, and by how much kinds differ."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from semconv.results.schema import (
    PositionDifferenceOrReason,
    PositionKind,
    PositionKinds,
    PositionKindsOrReason,
    Reason,
)
from semconv.study.position_observations import KINDS, PositionKindsObservation
from semconv.study.tell_flips import flipped_on_both_sides
from semconv.study.tell_rules import mean_and_error


def tell_position_kinds(found: PositionKindsObservation, positions: int, seed: int) -> PositionKindsOrReason:
    """Returns what ablation says of positions of every kind; a reason where nothing was ablated.

    Args:
        found: what was observed.
        positions: of each pair and kind.
        seed: of the run.
    """
    if found.facts.reason is not None:
        return Reason(reason=found.facts.reason)
    drawn, strongest, elsewhere, here = found.partner.T
    return PositionKinds(
        matched=found.facts.matched,
        pairs=len(found.a),
        too_few=int((found.positions == 0).all(axis=1).sum()),
        positions=positions,
        kinds={name: _kind(found, place) for place, name in enumerate(KINDS)},
        strongest_less_uniform=_difference(
            strongest - drawn, found.token, seed, "no feature pair has an agreement at both kinds of positions"
        ),
        here_less_elsewhere=_difference(
            here - elsewhere, found.token, seed, "no feature pair has two positions of one token"
        ),
    )


def _kind(found: PositionKindsObservation, place: int) -> PositionKind:
    value, beyond, token = found.partner[:, place], found.beyond[:, place], found.token
    known, both = np.isfinite(value), np.isfinite(beyond)
    mean, error = mean_and_error(value[known], token[known])
    above, above_error = mean_and_error(beyond[both], token[both])
    return PositionKind(
        pairs=int(known.sum()),
        positions=int(found.positions[:, place].sum()),
        agreement=mean,
        error=error,
        beyond=above,
        beyond_error=above_error,
    )


def _difference(
    values: Float[ndarray, " n"], token: Int[ndarray, " n"], seed: int, reason: str
) -> PositionDifferenceOrReason:
    """Tests on both sides of zero whether a difference is more than flipped signs of all pairs of a token give."""
    known = np.isfinite(values)
    if not known.any():
        return Reason(reason=reason)
    return flipped_on_both_sides(values[known], token[known], seed)
