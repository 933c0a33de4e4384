"""Second-order comparison: do two models relate the same categories to each other in the same way?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice, permutations

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from semconv.compare.categories import category_similarity, rank_correlations, ranked
from semconv.statistics.permutation import PermutationResult, p_value, permutation_ids
from semconv.system.errors import InputError


@dataclass(frozen=True, eq=False)
class CategoryRelations:
    """How the categories relate in two models, and whether they do so alike.

    Attributes:
        names: the categories compared, in the order of the first model's.
        left_out: those with too few features in one of the models, or none outside another category.
        similarity_a: float64 [C, C] of model A, see `category_similarity`.
        similarity_b: float64 [C, C] of model B.
        test: Spearman's rho between the lower triangles of the two, and its null under permuted labels.
        exact: True when the null holds every permutation of the labels (but the identity) once.
    """

    names: tuple[str, ...]
    left_out: tuple[str, ...]
    similarity_a: Float[ndarray, "C C"]
    similarity_b: Float[ndarray, "C C"]
    test: PermutationResult
    exact: bool


def relate_categories(
    X: Float[ndarray, "F_a d_a"],
    Y: Float[ndarray, "F_b d_b"],
    members_a: Mapping[str, Int[ndarray, " n"]],
    members_b: Mapping[str, Int[ndarray, " n"]],
    *,
    n_permutations: int = 1000,
    seed: int = 0,
    min_features: int = 1,
) -> CategoryRelations:
    """Compares the relations between categories in two models, which needs no pairing of their features.

    Args:
        X: decoder rows of model A, all features.
        Y: decoder rows of model B.
        members_a: category -> its A features.
        members_b: the same categories -> their B features.
        n_permutations: of the labels; all C! are taken when there are no more.
        seed: key of the permutations.
        min_features: a category with fewer in one of the models is left out, and so is one whose features all are in
            another too (of two equal ones the first).

    Raises:
        InputError: other categories on the two sides, or fewer than 3 left; decoder rows that are not finite or of
            length zero; features out of range or named twice; a pair of categories that leaves fewer than two features
            outside, or whose features cancel out; similarities that are all the same; n_permutations < 1; or a seed
            outside [0, 2^64).
    """
    if set(members_a) != set(members_b):
        odd = sorted(set(members_a) ^ set(members_b))
        raise InputError(f"both models need the same categories, got {', '.join(odd)} on one side only")
    names = _comparable(members_a, members_b, max(min_features, 1))
    if len(names) < 3:
        raise InputError(
            f"at least 3 categories with {max(min_features, 1)} features in both models are needed, got {len(names)}"
        )
    S_a = category_similarity(X, {name: members_a[name] for name in names})
    S_b = category_similarity(Y, {name: members_b[name] for name in names})
    test, exact = label_permutation_test(S_a, S_b, n_permutations, seed)
    left_out = tuple(name for name in members_a if name not in names)
    return CategoryRelations(names, left_out, S_a, S_b, test, exact)


def _comparable(
    members_a: Mapping[str, Int[ndarray, " n"]], members_b: Mapping[str, Int[ndarray, " n"]], min_features: int
) -> tuple[str, ...]:
    """Returns the categories with enough features on both sides that lie wholly in no other category."""
    size = {name: min(len(members_a[name]), len(members_b[name])) for name in members_a}
    names = [name for name in members_a if size[name] >= min_features]
    for name in tuple(names):
        others = [other for other in names if other != name]
        sides = (members_a, members_b)
        if any(not len(np.setdiff1d(side[name], side[other])) for side in sides for other in others):
            names.remove(name)
    return tuple(names)


def label_permutation_test(
    S_a: Float[ndarray, "C C"], S_b: Float[ndarray, "C C"], n_permutations: int = 1000, seed: int = 0
) -> tuple[PermutationResult, bool]:
    """Tests whether two symmetric matrices over the same labels agree, by permuting the labels of one (Mantel 1967).

    The statistic is Spearman's rho between the strict lower triangles, and large values are evidence. With
    C! <= n_permutations the null is every permutation but the identity, which stands for the statistic itself, so that
    (b + 1) / (m + 1) is the exact p, b over all C!; otherwise it is drawn by `permutation_ids`.

    Returns:
        The result, and whether it is exact.

    Raises:
        InputError: n_permutations < 1, seed out of range, matrices of another shape, not finite, not symmetric, or of
            one value, or fewer than 3 labels.
    """
    if n_permutations < 1:
        raise InputError(f"n_permutations must be at least 1, got {n_permutations}")
    if not 0 <= seed < 2**64:
        raise InputError(f"seed must be at least 0 and below 2^64, got {seed}")
    if S_a.shape != S_b.shape:
        raise InputError(f"both matrices must have the same shape, got {list(S_a.shape)} and {list(S_b.shape)}")
    x, y, n = ranked(S_a), ranked(S_b), len(S_a)
    exact = math.factorial(n) <= n_permutations
    if exact:
        orders = np.array(list(islice(permutations(range(n)), 1, None)))  # the identity comes first
    else:
        orders = permutation_ids(n, n_permutations, seed)
    statistic, null = float(rank_correlations(x, y, np.arange(n)[None])[0]), rank_correlations(x, y, orders)
    return PermutationResult(statistic, null, p_value(statistic, null)), exact
