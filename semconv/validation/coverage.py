"""How often intervals hold the truth: scores of made-up features and SAE seeds, whose expectation is drawn too.

The truth is the expected score over everything that is drawn: features, or seeds, or both. A data set is one draw, with
the interval that `semconv.statistics.spread` gives for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from semconv.compare import make_measures
from semconv.compare.measure import Measure, collected_saturation
from semconv.statistics.permutation import LEVEL, generator
from semconv.statistics.spread import Component, half_width, of_features, of_seeds, pair_halves, together

MEASURES = ("svcca_pc1", "svcca_variance", "mean_squared_cc", "rsa", "cka_unbiased", "procrustes", "mutual_knn")
PAIRS, WIDTHS, LATENT, SEEDS = 200, (16, 24), 8, 3
_STREAM = 96  # of the generator; the calibration study has those from 16 on, the check of draws those from 64 on
TRUTH = 1 << 24
"""Data sets from this number on are drawn for the truth."""

Space = Float[ndarray, "n d"]


@dataclass(frozen=True)
class Case:
    """One way to make data sets.

    Attributes:
        name: of the case.
        about: one line for the table.
        shared: how much of a feature's row is common to both models.
        seed_noise: how much of it the seed of its SAE decides.
        seeds: SAEs from different seeds on each side; with 1 the interval is over features alone.
    """

    name: str
    about: str
    shared: float
    seed_noise: float
    seeds: int


CASES = (
    Case("features", "one SAE a side, new features in every data set", 0.6, 0.0, 1),
    Case("features, weak", "the same where the models share little", 0.2, 0.0, 1),
    Case(
        "seeds",
        "three SAEs a side that perturb the same features; features and seeds are new each time",
        0.6,
        0.6,
        3,
    ),
    Case("seeds, strong", "the same where the seed decides more", 0.6, 1.2, 3),
)


def _sides(case: Case, rng: np.random.Generator) -> tuple[list[Space], list[Space]]:
    """Returns the rows of the features through every SAE of A and of B; one map from latents to rows for all draws."""
    maps = [generator(0, i, _STREAM).normal(size=(LATENT, width)) for i, width in enumerate(WIDTHS)]
    common = rng.normal(size=(PAIRS, LATENT))
    sides: list[list[Space]] = []
    for matrix in maps:
        own = math.sqrt(case.shared) * common + math.sqrt(1 - case.shared) * rng.normal(size=common.shape)
        perturbed = [own + case.seed_noise * rng.normal(size=own.shape) for _ in range(case.seeds)]
        sides.append([latents @ matrix + 0.3 * rng.normal(size=(PAIRS, matrix.shape[1])) for latents in perturbed])
    return sides[0], sides[1]


def _score(measure: Measure[Any], x: Space, y: Space) -> float:
    with collected_saturation():
        return measure.score(measure.prepare(x), measure.prepare(y))


def truths(case: Case, n: int) -> dict[str, tuple[float, float]]:
    """Returns measure -> its expected score, and the standard error of that, from n fresh data sets of one seed."""
    found: dict[str, list[float]] = {name: [] for name in MEASURES}
    for number in range(TRUTH, TRUTH + n):
        a, b = _sides(case, generator(0, number, _STREAM))
        for measure in make_measures(MEASURES):
            found[measure.name].append(_score(measure, a[0], b[0]))
    return {name: (float(np.mean(one)), float(np.std(one, ddof=1) / math.sqrt(n))) for name, one in found.items()}


def held(case: Case, number: int, truth: dict[str, float], n_halves: int) -> dict[str, tuple[bool, float]]:
    """Returns measure -> whether the interval of a data set holds the truth, and its half width.

    Args:
        case: how the data set is made.
        number: which one.
        truth: measure -> the expected score.
        n_halves: random halves of the feature pairs.
    """
    a, b = _sides(case, generator(0, number, _STREAM))
    halves = pair_halves(PAIRS, range(n_halves), number)
    out: dict[str, tuple[bool, float]] = {}
    for measure in make_measures(MEASURES):
        table = np.array([[_score(measure, x, y) for y in b] for x in a])
        of_halves = np.array([_score(measure, a[0][half], b[0][half]) for half in halves])
        components = [of_features(of_halves, PAIRS), of_seeds(table)]
        half = half_width(*together(_known(components)), LEVEL)
        out[measure.name] = (abs(float(table[0, 0]) - truth[measure.name]) <= half, half)
    return out


def _known(components: Sequence[Component | None]) -> list[Component]:
    return [component for component in components if component is not None]
