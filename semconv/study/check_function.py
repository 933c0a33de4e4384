"""Whether what was observed of the function of features is of the sizes that the suite gives."""

from __future__ import annotations

import numpy as np
from numpy import ndarray

from semconv.study.function_observations import LensObservation
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
