"""Whether what was observed of the function of features is of the sizes that the suite gives."""

from __future__ import annotations

import numpy as np
from numpy import ndarray

from semconv.study.function_observations import (
    ALTERNATES,
    COMPARED,
    OF_PAIRS,
    REPLACEMENTS,
    TOGETHER,
    FunctionObservation,
    LensObservation,
    RulesObservation,
    SubstitutionObservation,
)
from semconv.study.matching_rules import ABOVE, RULES, own_rule
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


def check_rules(suite: SuiteConfig, found: RulesObservation, what: str) -> None:
    """Refuses pairs that no rule of matching finds, or more than the suite asks for, and numbers that cannot be.

    Raises:
        InputError: as `check_lens`.
    """
    assert suite.function is not None
    assert suite.function.rules is not None
    config, facts, n = suite.function.rules, found.facts, len(found.a)
    most_of_one = len(RULES)  # of the first B feature drawn all pairs are taken
    if n > max(config.pairs, most_of_one) or (facts.reason is not None) != (n == 0):
        raise InputError(f"{what} must be of 1 to {config.pairs} pairs, or have a reason, got {n}")
    _shape(found.by, (len(RULES), n), f"rules of the pairs of {what}")
    _shape(found.residual, (n, len(COMPARED)), f"numbers of {what}")
    for array in (found.b, found.r, found.token, found.documents, found.positions):
        _shape(array, (n,), f"pairs of {what}")
    if n:
        _check_named(suite, found, what)
    if n and not 0 <= int(found.positions.min()) <= int(found.positions.max()) <= config.positions:
        raise InputError(f"positions of {what} must be from 0 to {config.positions}")
    for array in (found.r, found.residual):
        if bool((np.abs(array[~np.isnan(array)]) > 1 + 1e-6).any()):
            raise InputError(f"correlations of {what} must be between -1 and 1")
    if bool((np.isfinite(found.residual[:, 0]) & (found.positions == 0)).any()):
        raise InputError(f"pairs of {what} without positions must have no agreement")


def _check_named(suite: SuiteConfig, found: RulesObservation, what: str) -> None:
    """Refuses rules that are not those which are compared, and pairs that are not as rules find them."""
    facts = found.facts
    if sorted([*facts.matched, *facts.reasons]) != sorted(RULES):
        raise InputError(f"{what} must have pairs or a reason for each of {', '.join(RULES)}")
    for rule, by in zip(RULES, found.by, strict=True):
        most = facts.matched.get(rule, 0)
        if int(by.sum()) > most:
            raise InputError(f"{what} must have at most the {most} pairs that {rule} finds, got {by.sum()}")
        if len(np.unique(found.b[by])) < int(by.sum()):
            raise InputError(f"{what} must have one partner of a feature of B by {rule}")
    if not bool(found.by.any(axis=0).all()) or len(np.unique(np.stack([found.a, found.b]), axis=1).T) < len(found.a):
        raise InputError(f"{what} must have every pair once, by one rule at least")
    own = found.by[RULES.index(own_rule(suite.match))]
    for rule, bound in ABOVE.items():
        if not np.array_equal(found.by[RULES.index(rule)], own & (found.r > bound)):
            raise InputError(f"{what} must have by {rule} the pairs of the suite's own rule whose r is above {bound:g}")
    drawn = len(np.unique(found.b))
    if facts.drawn != drawn or facts.partners < drawn:
        raise InputError(
            f"{what} must be of the {drawn} features of B that were drawn, got {facts.drawn} of {facts.partners}"
        )


def check_substitution(suite: SuiteConfig, found: SubstitutionObservation, what: str) -> None:
    """Refuses replaced contributions of more pairs or positions than the suite asks for, and numbers that cannot be.

    Raises:
        InputError: as `check_lens`.
    """
    assert suite.function is not None
    assert suite.function.substitution is not None
    config, n, k = suite.function.substitution, len(found.a), len(REPLACEMENTS)
    if n > config.pairs or (found.facts.reason is not None) != (n == 0):
        raise InputError(f"{what} must be of 1 to {config.pairs} pairs, or have a reason, got {n}")
    for array in (found.b, found.r, found.token, found.documents, found.positions, found.with_next):
        _shape(array, (n,), f"pairs of {what}")
    _shape(found.r2, (2,), f"maps of {what}")
    for array, columns in (
        (found.alternates, len(ALTERNATES)),
        (found.kl, 1 + 2 * k),
        (found.loss, 1 + 2 * k),
        (found.norms, 2),
        (found.cosine, k),
    ):
        _shape(array, (2, n, columns), f"numbers of {what}")
    if n:
        _check_sums(found, config.positions, what)


def _check_sums(found: SubstitutionObservation, positions: int, what: str) -> None:
    """Refuses sums over more positions than there are, of pairs without positions, and below 0 where that cannot be."""
    if not 0 <= int(found.positions.min()) <= int(found.positions.max()) <= positions:
        raise InputError(f"positions of {what} must be from 0 to {positions}")
    if bool(((found.with_next < 0) | (found.with_next > found.positions)).any()):
        raise InputError(f"positions of {what} with a next token must be some of its positions")
    known = found.positions > 0
    for array in (found.kl, found.loss):
        if not np.array_equal(np.isfinite(array[:, :, 0]), np.broadcast_to(known, (2, len(known)))):
            raise InputError(f"pairs of {what} must have sums where they have positions, and nowhere else")
    if bool((found.kl < 0).any()) or bool((found.norms < 0).any()):
        raise InputError(f"divergences and norms of {what} must be at least 0")
    for array in (found.r, found.cosine):
        if bool((np.abs(array[~np.isnan(array)]) > 1 + 1e-6).any()):
            raise InputError(f"correlations and cosines of {what} must be between -1 and 1")
    if bool((found.r2 > 1).any()):
        raise InputError(f"a map of {what} must foretell 1 of the variance at most")
