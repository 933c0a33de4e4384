"""Whether what was observed of features at kinds of positions is of the sizes that the suite gives."""

from __future__ import annotations

import numpy as np

from semconv.study.position_observations import BESIDE, KINDS, PositionKindsObservation
from semconv.suite.config import SuiteConfig
from semconv.system.errors import InputError


def check_position_kinds(suite: SuiteConfig, found: PositionKindsObservation, what: str) -> None:
    """Refuses more pairs or positions than the suite asks for, and numbers that cannot be.

    Raises:
        InputError: names what was observed, what was expected of it and what was found.
    """
    assert suite.function is not None
    assert suite.function.position_kinds is not None
    config, facts, n = suite.function.position_kinds, found.facts, len(found.a)
    if n > config.pairs or (facts.reason is not None) != (n == 0):
        raise InputError(f"{what} must be of 1 to {config.pairs} pairs, or have a reason, got {n}")
    if n > facts.matched:
        raise InputError(f"{what} must be of some of the {facts.matched} pairs that were matched, got {n}")
    pairs = [(array, (n,)) for array in (found.b, found.r, found.token, found.documents)]
    kinds = n, len(KINDS)
    for array, wanted in (*pairs, (found.positions, kinds), (found.residual, (*kinds, len(BESIDE)))):
        if array.shape != wanted:
            raise InputError(f"pairs of {what}: {list(wanted)} expected, got {list(array.shape)}")
    if n and not 0 <= int(found.positions.min()) <= int(found.positions.max()) <= config.positions:
        raise InputError(f"positions of {what} must be from 0 to {config.positions}")
    for array in (found.r, found.residual):
        if bool((np.abs(array[~np.isnan(array)]) > 1 + 1e-6).any()):
            raise InputError(f"correlations of {what} must be between -1 and 1")
    if not np.array_equal(np.isfinite(found.partner), found.positions > 0):
        raise InputError(f"pairs of {what} must have an agreement just where they have positions")
    uniform, here, elsewhere = (found.positions[:, KINDS.index(name)] for name in ("uniform", "here", "elsewhere"))
    if bool((here != elsewhere).any() or (here > uniform).any()):
        raise InputError(f"positions of {what} with another of their token must be some of those drawn, here and there")
