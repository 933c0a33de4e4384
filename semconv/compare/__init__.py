"""Similarity of two paired spaces: arrays X [n, d_a] and Y [n, d_b], whose row i belong together, to one number."""

from semconv.compare.cka import CKA, cka
from semconv.compare.mean_squared_cc import MeanSquaredCC, mean_squared_cc
from semconv.compare.measure import Measure, RowSubsets, SaturationWarning
from semconv.compare.mutual_knn import MutualKNN, mutual_knn
from semconv.compare.procrustes import Procrustes, procrustes
from semconv.compare.pwcca import PWCCA, pwcca
from semconv.compare.registry import MEASURES, make_measures
from semconv.compare.rsa import RSA, rsa
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
    "cka",
    "make_measures",
    "mean_squared_cc",
    "mutual_knn",
    "procrustes",
    "pwcca",
    "rsa",
    "svcca",
]
