"""Tests whether paired differences lie above zero, by flipping the signs of whole clusters."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from semconv.statistics.permutation import PermutationResult, generator, p_value
from semconv.system.errors import InputError

_FLIPS = 12  # stream of the generator, beside those of the other modules here


def sign_flip_test(
    differences: Float[ndarray, " n"], clusters: Int[ndarray, " n"], n_flips: int = 9999, seed: int = 0
) -> PermutationResult:
    """Tests whether the mean of differences is above zero.

    Under the null a cluster's differences are as likely as their negatives, all of them together (Winkler et al. 2014,
    doi 10.1016/j.neuroimage.2014.01.060, whole-block exchangeability), so that differences within a cluster may depend
    on each other. p is (b + 1) / (m + 1), b of m draws that reach the observed mean.

    Args:
        differences: float [n], finite.
        clusters: int [n], the cluster of each, any numbers.
        n_flips: m, draws.
        seed: of the run; draw i depends on it and i alone.

    Raises:
        InputError: no difference, one that is not finite, clusters of another length, or no draw.
    """
    if not len(differences) or differences.shape != clusters.shape or n_flips < 1:
        raise InputError(
            f"a sign-flip test needs at least one difference, a cluster for each and a draw, got {len(differences)}, "
            f"{len(clusters)} and {n_flips}"
        )
    if not np.isfinite(differences).all():
        raise InputError(f"differences must be finite, got {(~np.isfinite(differences)).sum()} that are not")
    of_cluster = np.bincount(np.unique(clusters, return_inverse=True)[1], weights=differences) / len(differences)
    null = np.empty(n_flips)
    for number in range(n_flips):
        signs = generator(seed, number, _FLIPS).integers(0, 2, len(of_cluster)) * 2 - 1
        null[number] = signs @ of_cluster
    statistic = float(of_cluster.sum())
    return PermutationResult(statistic, null, p_value(statistic, null))
