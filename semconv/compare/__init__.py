"""Similarity of two paired spaces: arrays X [n, d_a] and Y [n, d_b], whose row i belong together, to one number."""

from semconv.compare.measure import Measure
from semconv.compare.rsa import RSA, rsa
from semconv.compare.svcca import SVCCA, svcca

__all__ = ["RSA", "SVCCA", "Measure", "rsa", "svcca"]
