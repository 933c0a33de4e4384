"""How near the categories of one model stand to each other, and how alike two models are in that."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray

from semconv.compare.measure import check_space
from semconv.core import ops
from semconv.system.errors import InputError


def category_similarity(X: Float[ndarray, "F d"], members: Mapping[str, Int[ndarray, " n"]]) -> Float[ndarray, "C C"]:
    """Returns the cosine between the mean directions of every two categories, 1 on the diagonal.

    Rows are scaled to unit length, so that every feature counts alike. The cosine between means is taken rather than
    the mean cosine between members, because the latter is the former times how tight each category is: it would rank
    pairs by the breadth of the categories as much as by their relation. Two things that any two models have in common
    must not look like relation:
    - A direction common to the whole dictionary is taken off both means. It is estimated from the features in neither
      category, from every other one for each of the two means, and both ways round: with one estimate for both, its
      error would give large categories a similarity that depends on nothing but their sizes.
    - Features in both categories are left out of both means, for keyword lists overlap in the same way in any model.

    Args:
        X: float [F, d] decoder rows of one model, all features.
        members: category -> its features, each once.

    Returns:
        float64 [C, C], symmetric, in the order of the categories.

    Raises:
        InputError: rows that are not finite or of length zero, features out of range or named twice, fewer than two
            categories, an empty one, a pair of which one holds only features of the other or that leaves fewer than
            two features outside, or a mean of length zero.
    """
    X = check_space(X, at_least=2)
    lengths = np.linalg.norm(X, axis=1, keepdims=True)
    if not lengths.all():
        raise InputError(f"rows must have a direction, and row {int(np.flatnonzero(lengths == 0)[0])} is zero")
    unit = X / lengths
    _check_members(members, len(X))
    names = list(members)
    out = np.eye(len(names))
    for i, one in enumerate(names):
        for j, other in enumerate(names[:i]):
            out[i, j] = out[j, i] = _cosine(unit, members, one, other)
    return out


def _cosine(unit: Float[ndarray, "F d"], members: Mapping[str, Int[ndarray, " n"]], one: str, other: str) -> float:
    """Returns the similarity of one pair, as `category_similarity` defines it."""
    rest = np.setdiff1d(np.arange(len(unit)), np.union1d(members[one], members[other]))
    if len(rest) < 2:
        raise InputError(f"at least 2 features must be in neither {one!r} nor {other!r}, got {len(rest)}")
    common = unit[rest[::2]].mean(axis=0), unit[rest[1::2]].mean(axis=0)
    means = [
        unit[_own(members[name], members[against], name, against)].mean(axis=0)
        for name, against in ((one, other), (other, one))
    ]
    cosines = [
        float(_direction(means[0] - first, one) @ _direction(means[1] - second, other))
        for first, second in (common, common[::-1])
    ]
    return sum(cosines) / 2


def _check_members(members: Mapping[str, Int[ndarray, " n"]], n_features: int) -> None:
    if len(members) < 2:
        raise InputError(f"at least 2 categories are needed, got {len(members)}")
    for name, features in members.items():
        if not len(features):
            raise InputError(f"category {name!r} has no feature")
        if len(np.unique(features)) != len(features):
            raise InputError(f"category {name!r} names a feature twice")
        if features.min() < 0 or features.max() >= n_features:
            wrong = features.min() if features.min() < 0 else features.max()
            raise InputError(f"features of category {name!r} must be in [0, {n_features}), got {wrong}")


def _own(features: Int[ndarray, " n"], others: Int[ndarray, " m"], name: str, other: str) -> Int[ndarray, " k"]:
    """Returns the features of one category that are not in the other too."""
    own = np.setdiff1d(features, others)
    if not len(own):
        raise InputError(f"category {name!r} has no feature that is not in {other!r} too")
    return own


def _direction(mean: Float[ndarray, " d"], name: str) -> Float[ndarray, " d"]:
    """Returns a mean scaled to unit length."""
    length = float(np.linalg.norm(mean))
    if length <= 1e-12:  # far above the rounding of a mean of unit rows, far below any direction
        raise InputError(f"category {name!r} has no direction: its features cancel out")
    return mean / length


def ranked(S: Float[ndarray, "C C"]) -> Float[ndarray, "C C"]:
    """Returns the average ranks of the strict lower triangle, centred, of unit norm, symmetric, zero diagonal.

    Raises:
        InputError: not a finite symmetric matrix, fewer than 3 rows, or one value everywhere.
    """
    from scipy.stats import rankdata

    S = check_space(S, at_least=3)
    if S.shape[0] != S.shape[1] or not (S == S.T).all():
        raise InputError(f"similarities of categories must be symmetric, got a matrix {list(S.shape)} that is not")
    lower = np.tril_indices(len(S), -1)
    ranks = rankdata(S[lower])
    ranks -= ranks.mean()
    norm = np.linalg.norm(ranks)
    if norm == 0:
        raise InputError("similarities of categories must differ to be ranked, got one value")
    out = np.zeros_like(S)
    out[lower] = ranks / norm
    return out + out.T


def rank_correlations(
    x: Float[ndarray, "C C"], y: Float[ndarray, "C C"], permutations: Int[ndarray, "m C"]
) -> Float[ndarray, " m"]:
    """Returns Spearman's rho between the triangles behind x and y (`ranked`), the labels of y permuted by every row."""
    orders = torch.from_numpy(permutations.astype(np.int32))
    return ops.permuted_dot(torch.from_numpy(x), torch.from_numpy(y), orders).numpy()
