"""Row subsets of one big space are what preparing those rows alone gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from semconv import InputError
from semconv.compare import CKA, PWCCA, RSA, SVCCA, MeanSquaredCC, MutualKNN, Procrustes
from semconv.compare.cross import Linear
from tests._helpers.spaces import spaces

MEASURES = [
    SVCCA(),
    RSA(),
    RSA("cosine"),
    RSA(rank="kendall"),
    PWCCA(),
    MeanSquaredCC(),
    CKA(),
    Procrustes(),
    MutualKNN(),
]
SUBSETS = [np.arange(200), np.arange(199, 99, -1), np.random.default_rng(0).permutation(200)[:90].astype(np.int32)]


def arrays(space: Any) -> list[torch.Tensor]:
    if isinstance(space, Linear):
        return [space.features]
    return list(space) if isinstance(space, tuple) else [space]


@pytest.mark.parametrize("measure", MEASURES, ids=lambda m: m.name)
def test_a_subset_is_the_rows_prepared_alone(measure):
    X, Y = spaces()
    x, y = measure.space(X), measure.space(Y)
    for rows in SUBSETS:
        for found, expected in zip(arrays(x.subset(rows)), arrays(measure.prepare(X[rows])), strict=True):
            # No two similarities of these rows agree to 1e-12, so even RSA's ranks must be the same.
            np.testing.assert_array_equal(found, expected)
        assert measure.score(x.subset(rows), y.subset(rows)) == measure.score(
            measure.prepare(X[rows]), measure.prepare(Y[rows])
        )


def test_rsa_subsets_of_tied_rows_are_the_rows_prepared_alone():
    """Cosines of +-1 rows in 16 columns are multiples of 1/8, exact in any order of summation."""
    X = np.random.default_rng(0).choice([-1.0, 1.0], (80, 16))
    rows = np.random.default_rng(1).permutation(80)[:50]
    for rank in ("spearman", "kendall"):
        measure = RSA("cosine", rank)
        np.testing.assert_array_equal(measure.space(X).subset(rows), measure.prepare(X[rows]))


def test_a_row_is_refused_only_where_it_is_used():
    X, _ = spaces()
    X[17] = 0.0
    for measure, message in (
        (RSA(), "row 2 is constant"),
        (RSA("cosine"), "row 2 is zero"),
        (MutualKNN(1), "row 2 is zero"),
    ):
        space = measure.space(X)
        space.subset(np.arange(17))
        with pytest.raises(InputError, match=message):
            space.subset(np.arange(15, 40))


@pytest.mark.parametrize("measure", [RSA(), CKA()], ids=lambda m: m.name)
def test_bad_rows_are_refused(measure):
    space = measure.space(spaces()[0])
    for rows, message in (
        (np.array([0, 1, 200]), r"rows must be in \[0, 200\), got 0 to 200"),
        (np.array([-1, 1, 2]), r"got -1 to 2"),
        (np.array([0.0, 1.0, 2.0]), r"rows must be integers of shape \[n\], got float64 \[3\]"),
        (np.zeros((3, 1), dtype=int), r"got int64 \[3, 1\]"),
        (np.array([0, 1]), "at least 3 pairs, got 2"),
        (np.array([], dtype=int), "at least 3 pairs, got 0"),
    ):
        with pytest.raises(InputError, match=message):
            space.subset(rows)
    with pytest.raises(InputError, match="finite"):
        measure.space(np.full((5, 5), np.nan))
    with pytest.raises(InputError, match=r"shape \[n, d\]"):
        measure.space(np.ones(5))
