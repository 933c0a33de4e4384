"""What the results say of replaced contributions: how much of what their absence does a partner undoes."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from semconv.results.schema import (
    FunctionTestOrReason,
    Reason,
    Replacement,
    Replacements,
    SubstitutedPair,
    SubstitutedPairOrReason,
    Substitution,
)
from semconv.statistics.clusters import ratio_of_sums
from semconv.statistics.substitution import best_of, column_of
from semconv.study.function_observations import ALTERNATES, REPLACEMENTS, SubstitutionObservation
from semconv.study.tell_flips import flipped
from semconv.system.shape import number

BEST_ALTERNATE = "best_alternate"
"""Of the alternates to each partner that after which the divergence is least."""
NO_ALTERNATE = "no feature pair has an alternate to the partner"
_TOLD_FROM_0 = 2.0
"""Standard errors that the loss without contributions must be above 0 by to be divided by."""


def tell_substitution(found: SubstitutionObservation, positions: int, seed: int) -> SubstitutedPairOrReason:
    """Returns how much partners undo in either model; a reason where nothing was replaced.

    Args:
        found: what was observed.
        positions: of each pair.
        seed: of the run.
    """
    if found.facts.reason is not None:
        return Reason(reason=found.facts.reason)
    return SubstitutedPair(
        matched=found.facts.matched,
        pairs=len(found.a),
        too_few=int((found.positions == 0).sum()),
        positions=positions,
        with_next=int(found.with_next.sum()),
        into_a=_into(found, 0, seed),
        into_b=_into(found, 1, seed),
    )


def _into(found: SubstitutionObservation, model: int, seed: int) -> Substitution:
    known = found.positions > 0
    kl, loss, token = found.kl[model], found.loss[model], found.token[known]
    norms = found.norms[model][known].sum(axis=0)
    without, error = ratio_of_sums(loss[known, 0], found.with_next[known].astype(np.float64), token)
    told = without is not None and error is not None and without > _TOLD_FROM_0 * error

    def at(size: str) -> Replacements:
        k = len(REPLACEMENTS)
        columns = {name: np.full(len(kl), column_of(size, place, k)) for place, name in enumerate(REPLACEMENTS)}
        best = best_of(kl, size, [REPLACEMENTS.index(name) for name in ALTERNATES], k)
        columns[BEST_ALTERNATE] = best
        partner = kl[:, column_of(size, 0, k)]
        return Replacements(
            by={name: _replacement(found, model, column, told) for name, column in columns.items()},
            beyond=_beyond(found, _taken(kl, best) - partner, seed),
        )

    return Substitution(
        r2=float(found.r2[model]),
        kl_without=float(kl[known, 0].sum() / found.positions[known].sum()),
        loss_without=without,
        loss_without_error=error,
        norm=number(float(norms[1] / norms[0])) if norms[0] else None,
        cosine={name: _mean(of[known]) for name, of in zip(REPLACEMENTS, found.cosine[model].T, strict=True)},
        as_mapped=at("as_mapped"),
        same_norm=at("same_norm"),
    )


def _replacement(found: SubstitutionObservation, model: int, column: ndarray, told: bool) -> Replacement:
    """Returns what a replacement undoes, by the column in which it stands for each pair, -1 for none."""
    kl, loss = found.kl[model], found.loss[model]
    after, after_loss = _taken(kl, column), _taken(loss, column)
    known = np.isfinite(after)
    token = found.token[known]
    left, error = ratio_of_sums(after[known], kl[known, 0], token)
    loss_left, loss_error = ratio_of_sums(after_loss[known], loss[known, 0], token) if told else (None, None)
    return Replacement(
        pairs=int(known.sum()),
        kl_recovered=None if left is None else 1 - left,
        kl_error=error,
        loss_recovered=None if loss_left is None else 1 - loss_left,
        loss_error=loss_error,
    )


def _taken(sums: Float[ndarray, "n changes"], column: ndarray) -> Float[ndarray, " n"]:
    """Returns of every pair the sum in a column of its own, NaN where that is -1."""
    return np.where(column >= 0, sums[np.arange(len(sums)), np.maximum(column, 0)], np.nan)


def _beyond(found: SubstitutionObservation, above: Float[ndarray, " n"], seed: int) -> FunctionTestOrReason:
    known = np.isfinite(above)
    if not known.any():
        return Reason(reason=NO_ALTERNATE)
    return flipped(above[known] / found.positions[known], found.token[known], seed)


def _mean(values: Float[ndarray, " n"]) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None
