"""Whether what was observed of the function of features is of the sizes that the suite gives."""

from __future__ import annotations

import numpy as np
from numpy import ndarray

from semconv.study.function_observations import (
    ALTERNATES,
    COMPARED,
    OF_PAIRS,
    TOGETHER,
    FunctionObservation,
    LensObservation,
)
from semconv.suite.config import SuiteConfig
from semconv.system.errors import InputError


def _shape(array: ndarray, wanted: tuple[int, ...], what: str) -> None:
    if list(array.shape) != list(wanted):
        raise InputError(f"{what}: {list(wanted)} expected, got {list(array.shape)}")


def check_lens(suite: SuiteConfig, found: LensObservation, n_pairs: int, what: str) -> None:
    """Refuses a logit lens of other pairs, or of more or fewer tokens.

    Raises:
        InputError: names what was observed, what was expected of it and what was found.
    """
    facts = found.facts
    n, k = (
        (0, 0)
        if facts.reason is not None
        else (n_pairs, min(suite.function.lens_tokens, facts.tokens) if suite.function else 0)
    )
    for ids in (found.promoted_a, found.suppressed_a, found.promoted_b, found.suppressed_b):
        _shape(ids, (n, k), f"tokens of {what}")
        if n and k and not 0 <= int(ids.min()) <= int(ids.max()) < facts.tokens:
            raise InputError(f"tokens of {what} must be from 0 to {facts.tokens - 1}, got {ids.min()} to {ids.max()}")
    _shape(found.agreement, (n, 3), f"agreement of {what}")
    if n and bool((np.abs(found.agreement[np.isfinite(found.agreement)]) > 1 + 1e-6).any()):
        raise InputError(f"agreement of {what} must be between -1 and 1")


def check_effects(suite: SuiteConfig, found: FunctionObservation, what: str) -> None:
    """Refuses effects of more pairs or positions than the suite asks for, and numbers that cannot be.

    Raises:
        InputError: as `check_lens`.
    """
    assert suite.function is not None
    n, most = len(found.a), max(suite.function.pairs, suite.function.control_pairs)
    if n > most or (found.facts.reason is not None) != (n == 0):
        raise InputError(f"{what} must be of 1 to {most} pairs, or have a reason, got {n}")
    for array, columns in (
        (found.alternates, ALTERNATES),
        (found.residual, COMPARED),
        (found.plain, COMPARED),
        (found.scores, OF_PAIRS),
    ):
        _shape(array, (n, len(columns)), f"numbers of {what}")
    for array in (found.b, found.r, found.token, found.documents, found.positions):
        _shape(array, (n,), f"pairs of {what}")
    _shape(found.together, (len(TOGETHER),), f"numbers of all pairs of {what}")
    if n and not (0 <= int(found.positions.min()) <= int(found.positions.max()) <= suite.function.positions):
        raise InputError(f"positions of {what} must be from 0 to {suite.function.positions}")
    for array in (found.r, found.residual, found.plain):
        if bool((np.abs(array[~np.isnan(array)]) > 1 + 1e-6).any()):
            raise InputError(f"correlations of {what} must be between -1 and 1")
    if bool((np.isfinite(found.residual[:, 0]) & (found.positions == 0)).any()):
        raise InputError(f"pairs of {what} without positions must have no agreement")
