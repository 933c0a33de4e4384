"""Every measure by its name, as suites and tables call it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from semconv.compare.cka import CKA
from semconv.compare.mean_squared_cc import MeanSquaredCC
from semconv.compare.measure import Measure
from semconv.compare.mutual_knn import MutualKNN
from semconv.compare.procrustes import Procrustes
from semconv.compare.pwcca import PWCCA
from semconv.compare.rsa import RSA
from semconv.compare.svcca import SVCCA
from semconv.system.errors import InputError

MEASURES = {
    "svcca_pc1": "SVCCA, first component (as published)",
    "svcca_variance": "SVCCA, by share of variance",
    "svcca_fixed_k": "SVCCA, fixed number of components",
    "pwcca": "PWCCA",
    "mean_squared_cc": "Mean squared canonical correlation",
    "rsa": "RSA, Spearman",
    "rsa_cosine": "RSA, cosine, Spearman",
    "rsa_kendall": "RSA, Kendall tau-a",
    "cka": "Linear CKA, biased",
    "cka_unbiased": "Linear CKA, unbiased",
    "procrustes": "Orthogonal Procrustes",
    "mutual_knn": "Mutual nearest neighbours",
}
"""The name of every measure, as suites and result files write it -> its title in tables.

Examples:
    >>> from semconv.compare import MEASURES
    >>> MEASURES["rsa"]
    'RSA, Spearman'
    >>> [name for name in MEASURES if name.startswith("svcca")]
    ['svcca_pc1', 'svcca_variance', 'svcca_fixed_k']
"""

DRAW_CLASSES = {
    "scalars": ("svcca_pc1", "svcca_fixed_k", "mutual_knn"),
    "products": ("mean_squared_cc", "rsa", "rsa_cosine", "cka", "cka_unbiased"),
    "orders": ("rsa_kendall",),
    "singular_values": ("svcca_variance", "pwcca", "procrustes"),
}
"""What a draw of a null costs -> the measures of which it does, the cheapest first; keys of `null.draws` in a suite.

`scalars`: a few numbers per pair. `products`: one product of matrices, or one pass over the similarities of all rows.
`orders`: that many comparisons of ranks. `singular_values`: singular values of a matrix with a row for every direction.
"""


def draw_class(measure: str) -> str | None:
    """Returns the key of `DRAW_CLASSES` that a measure belongs to; None of a measure that is not registered."""
    return next((name for name, measures in DRAW_CLASSES.items() if measure in measures), None)


def score_range(measure: str) -> tuple[float, float]:
    """Returns the least and the largest score that a measure can have; infinite where there is no bound, or it is
    unknown."""
    if measure not in MEASURES:
        return -math.inf, math.inf
    if measure == "cka_unbiased":
        return -math.inf, 1.0
    return (-1.0 if measure.startswith("rsa") else 0.0), 1.0


def make_measures(
    names: Sequence[str], svcca_threshold: float = 0.99, svcca_k: int = 20, knn_k: int = 10
) -> list[Measure[Any]]:
    """Returns measures by name, in the order given.

    Args:
        names: keys of MEASURES.
        svcca_threshold: share of variance that `svcca_variance` keeps.
        svcca_k: directions that `svcca_fixed_k` keeps.
        knn_k: neighbours of `mutual_knn`.

    Raises:
        InputError: a name that is no key of MEASURES, svcca_threshold outside (0, 1], svcca_k < 1, or knn_k < 1.

    Examples:
        >>> import numpy as np
        >>> from semconv.compare import make_measures
        >>> X = np.random.default_rng(0).normal(size=(40, 5))
        >>> for measure in make_measures(["rsa", "mutual_knn"], knn_k=5):
        ...     space = measure.prepare(X)
        ...     print(measure.name, round(measure.score(space, space), 6))  # a space with itself
        rsa 1.0
        mutual_knn 1.0
    """
    known: dict[str, Measure[Any]] = {
        "svcca_pc1": SVCCA("pc1"),
        "svcca_variance": SVCCA("variance", threshold=svcca_threshold),
        "svcca_fixed_k": SVCCA("fixed_k", k=svcca_k),
        "pwcca": PWCCA(),
        "mean_squared_cc": MeanSquaredCC(),
        "rsa": RSA(),
        "rsa_cosine": RSA(rdm="cosine"),
        "rsa_kendall": RSA(rank="kendall"),
        "cka": CKA(),
        "cka_unbiased": CKA(unbiased=True),
        "procrustes": Procrustes(),
        "mutual_knn": MutualKNN(knn_k),
    }
    for name in names:
        if name not in known:
            raise InputError(f"unknown measure {name!r}; known are {', '.join(MEASURES)}")
    return [known[name] for name in names]
