"""Similarity of two paired spaces, as one number: X [n, d_a] and Y [n, d_b], row i of X paired with row i of Y.

Every measure comes twice: as a function of two arrays (`rsa(X, Y)`), and as a class (`RSA`) that prepares each space
once and then scores many permutations of the rows cheaply (`Measure`).

Examples:
    In semconv a row is the SAE decoder vector of a feature, and row i of X and of Y are a matched feature pair. Here Y
    is X turned by a rotation, which neither measure sees:

    >>> import numpy as np
    >>> from semconv import compare
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(40, 5))  # 40 feature pairs, 5 dimensions
    >>> rotation, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    >>> round(compare.procrustes(X, X @ rotation), 6), round(compare.cka(X, X @ rotation), 6)
    (1.0, 1.0)
"""

from semconv.compare.cka import CKA, cka
from semconv.compare.mean_squared_cc import MeanSquaredCC, mean_squared_cc
from semconv.compare.measure import Measure, RowSubsets, SaturationWarning
from semconv.compare.mutual_knn import MutualKNN, mutual_knn
from semconv.compare.procrustes import Procrustes, procrustes
from semconv.compare.pwcca import PWCCA, pwcca
from semconv.compare.registry import MEASURES, make_measures
from semconv.compare.rsa import RSA, rsa
from semconv.compare.shared_rows import SharedRows
from semconv.compare.svcca import SVCCA, svcca

__all__ = [
    "CKA",
    "MEASURES",
    "PWCCA",
    "RSA",
    "SVCCA",
    "MeanSquaredCC",
    "Measure",
    "MutualKNN",
    "Procrustes",
    "RowSubsets",
    "SaturationWarning",
    "SharedRows",
    "cka",
    "make_measures",
    "mean_squared_cc",
    "mutual_knn",
    "procrustes",
    "pwcca",
    "rsa",
    "svcca",
]
