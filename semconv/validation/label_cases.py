"""Data sets for the tests that permute labels or flip signs: depths, categories, and effects of features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from semconv.statistics.category_relations import relate_categories
from semconv.statistics.depth import Labels, Thirds, closeness, middle_above_ends, over_labels, rank_correlation
from semconv.statistics.sign_flips import sign_flip_test
from semconv.validation.uniformity import Test, Tests, p_and_u, randomised

N_DRAWS = 99
_EXACT = (3, 4)  # depths of the grid whose 144 orders are all gone through
_DRAWN = (4, 4)  # of the grid of whose 576 orders some are drawn
_CATEGORIES, _FEATURES, _D_A, _D_B = 6, 120, 12, 16
_TOKENS, _NEGATIVES = 24, 4  # clusters of differences, and hard negatives of a partner
_Statistic = Callable[[Labels], float]


@dataclass(frozen=True)
class DepthGrid:
    """How the scores of a layer grid come about.

    Attributes:
        kind: what a layer adds to its scores is drawn for every depth alone, or walks from one depth to the next.
        bump: how much higher two middle depths score, in standard deviations of what a layer adds.
        near: how much the score rises from the farthest depths to like ones.
    """

    kind: Literal["apart", "walk"] = "apart"
    bump: float = 0.0
    near: float = 0.0


def _layers(rng: np.random.Generator, n: int, kind: Literal["apart", "walk"]) -> Float[ndarray, " n"]:
    drawn = rng.normal(size=n)
    return np.cumsum(drawn) if kind == "walk" else drawn


def over_labels_test(
    statistic: _Statistic, shape: tuple[int, int], n_permutations: int, rng: np.random.Generator
) -> Test:
    """Returns p of `over_labels` and its randomised form, from the values that it asked for.

    Args:
        statistic: of the labels.
        shape: depths of both models.
        n_permutations: as there.
        rng: gives the key of the permutations and the number that spreads the steps of p.
    """
    values = list[float]()

    def kept(labels: Labels) -> float:
        values.append(statistic(labels))
        return values[-1]

    found = over_labels(kept, shape, n_permutations, int(rng.integers(2**62)))
    # the first value is the observed one; where all orders are gone through, the first of them is the identity
    return found.p, randomised(found.statistic, np.array(values[2 if found.exact else 1 :]), rng.random())


def depth_case(grid: DepthGrid) -> Callable[[np.random.Generator], Tests]:
    """Returns a function that tests `middle_above_ends` and correspondence under permuted depths.

    On one grid all orders are gone through (null `depths, all orders`), on the other some are drawn (`depths`).
    """

    def make(rng: np.random.Generator) -> Tests:
        out = Tests()
        for null, shape, orders in (("depths", _DRAWN, N_DRAWS), ("depths, all orders", _EXACT, 144)):
            near = closeness(*shape)
            a, b = (_layers(rng, n, grid.kind) for n in shape)
            scores = a[:, None] + b + 0.5 * rng.normal(size=shape) + grid.near * near
            scores[np.ix_(*(Thirds.of(n).middle for n in shape))] += grid.bump
            pairs = np.rint(100 + 20 * (a[:, None] + b + rng.normal(size=shape)))
            of: dict[str, _Statistic] = {
                "middle above ends": lambda labels, scores=scores: middle_above_ends(scores[np.ix_(*labels)]),
                "correspondence": lambda labels, scores=scores, near=near, pairs=pairs: rank_correlation(
                    scores[np.ix_(*labels)], near, given=pairs[np.ix_(*labels)]
                ),
            }
            for name, statistic in of.items():
                out[f"{null}.{name}"] = over_labels_test(statistic, shape, orders, rng)
        return out

    return make


@dataclass(frozen=True)
class CategoryWorld:
    """Which features the categories have, and whether two models relate them alike.

    Attributes:
        kind: every category has ten features of its own; or from five to fifteen, two of them those of the next
            category too, in both models.
        shared: how much of the variance of a category's mean direction both models have in common.
    """

    kind: Literal["equal", "uneven"] = "equal"
    shared: float = 0.0


def _members(rng: np.random.Generator, kind: Literal["equal", "uneven"]) -> dict[str, ndarray]:
    sizes = [10] * _CATEGORIES if kind == "equal" else [5 + 2 * i for i in range(_CATEGORIES)]
    order, members = rng.permutation(_FEATURES), dict[str, ndarray]()
    begin = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    for i, size in enumerate(sizes):
        of_next = order[begin[(i + 1) % _CATEGORIES] :][:2] if kind == "uneven" else order[:0]
        members[str(i)] = np.concatenate([order[begin[i] : begin[i] + size], of_next])
    return members


def category_case(world: CategoryWorld) -> Callable[[np.random.Generator], Tests]:
    """Returns a function that tests whether two models relate the same categories alike (null `categories`)."""

    def make(rng: np.random.Generator) -> Tests:
        latent = rng.normal(size=(_CATEGORIES, _D_A))
        decoders, members = list[ndarray](), list[dict[str, ndarray]]()
        for d in (_D_A, _D_B):
            of_side = _members(rng, world.kind)
            turned = np.linalg.qr(rng.normal(size=(d, d)))[0][:_D_A]  # lengths and angles stay
            own = rng.normal(size=latent.shape)
            means = (np.sqrt(world.shared) * latent + np.sqrt(1 - world.shared) * own) @ turned
            rows = rng.normal(size=(_FEATURES, d)) + rng.normal(size=d)  # and a direction common to all features
            for mean, features in zip(means, of_side.values(), strict=True):
                rows[features] += mean
            decoders.append(rows)
            members.append(of_side)
        seed = int(rng.integers(2**62))
        (x, y), (of_x, of_y) = decoders, members
        found = relate_categories(x, y, of_x, of_y, n_permutations=N_DRAWS, seed=seed).test
        return {"categories.relations": p_and_u(found.statistic, found.null, rng)}

    return make


@dataclass(frozen=True)
class Effects:
    """How far the effects of partners lie above those of hard negatives.

    Attributes:
        kind: `symmetric`, differences as likely as their negatives, those of a token together; `skewed`, of mean zero
            and a long tail to the right; `best`, a partner that is one of several alike, less the best of the others.
        above: mean of the differences, in their standard deviations.
    """

    kind: Literal["symmetric", "skewed", "best"] = "symmetric"
    above: float = 0.0


def effects_case(effects: Effects) -> Callable[[np.random.Generator], Tests]:
    """Returns a function that flips signs of differences, those of a token together, and one by one beside it.

    The nulls are `signs` and `signs, one by one`.
    """

    def make(rng: np.random.Generator) -> Tests:
        tokens = np.repeat(np.arange(_TOKENS), rng.integers(1, 6, _TOKENS))
        n = len(tokens)
        if effects.kind == "best":
            r = rng.normal(size=(n, _NEGATIVES + 1)) + rng.normal(size=_TOKENS)[tokens][:, None]
            differences = r[:, 0] - r[:, 1:].max(axis=1)
        else:
            of_token, own = (
                rng.normal(size=size) if effects.kind == "symmetric" else rng.exponential(size=size) - 1
                for size in (_TOKENS, n)
            )
            differences = (of_token[tokens] + own) / np.sqrt(2)
        differences = differences + effects.above
        out = Tests()
        for null, clusters in (("signs", tokens), ("signs, one by one", np.arange(n))):
            found = sign_flip_test(differences, clusters, N_DRAWS, int(rng.integers(2**62)))
            out[f"{null}.partner less negative"] = p_and_u(found.statistic, found.null, rng)
        return out

    return make
