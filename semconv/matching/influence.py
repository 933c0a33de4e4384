"""What the correlation of a pair rests on: few positions, one document, one token, or what is left within tokens."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray

from semconv.core.sparse import SparseActivations

STRONGEST = 10
"""Positions of a pair whose share of its covariance is told."""
INFLUENCES: tuple[str, ...] = (
    "r_without_strongest",
    "r_ranks",
    "r_within_token",
    "strongest_share",
    "document_share",
    "token_share",
    "within_token_share",
)
"""What is told of every pair, in the order of the columns; see `influences`."""
_MOST_CODE = 65535
_ROUNDING = 1e-12
_ENTRIES_AT_ONCE = 2**22  # of all features, from which those of some are taken


class FeatureColumns:
    """Some features of a side by feature: where each is active, and its codes (`semconv.core.oracle.quantize`).

    Args:
        acts: activations over all tokens.
        features: int64 [n], in any order and as often as they come.
    """

    def __init__(self, acts: SparseActivations, features: Int[ndarray, " n"]) -> None:
        from scipy.sparse import csr_array

        self.n_tokens, self._features = acts.n_tokens, np.unique(np.append(features, 0))  # one column at least
        wanted = torch.from_numpy(self._features).to(acts.device)
        rows = max(1, _ENTRIES_AT_ONCE * acts.n_tokens // max(acts.nnz, 1))
        stretches = (acts.rows(first, min(first + rows, acts.n_tokens)) for first in range(0, acts.n_tokens, rows))
        part = SparseActivations.concatenate([stretch.columns(wanted).to("cpu") for stretch in stretches])
        parts = (part.values.float().numpy(), part.indices.numpy(), part.indptr.numpy())
        columns = csr_array(parts, shape=(part.n_tokens, part.n_features)).tocsc()
        begin, position = np.asarray(columns.indptr), np.asarray(columns.indices)
        code = np.empty(len(position), dtype=np.uint16)
        for first, end in pairwise(begin.tolist()):
            code[first:end] = _codes(columns.data[first:end])
        active = np.flatnonzero(code)  # what is below half a step has no part in r
        self._begin, self._position, self._code = np.searchsorted(active, begin), position[active], code[active]

    def of(self, feature: int) -> tuple[Int[ndarray, " k"], Int[ndarray, " k"]]:
        """Returns the positions at which a feature is active, int64 [k], ascending, and its codes there, int64 [k]."""
        place = int(np.searchsorted(self._features, feature))
        part = slice(self._begin[place], self._begin[place + 1])
        return self._position[part].astype(np.int64), self._code[part].astype(np.int64)


def _codes(values: Float[ndarray, " k"]) -> Float[ndarray, " k"]:
    """round_half_even(v / 2^e) of one feature, e the smallest that fits its largest value."""
    if not len(values):
        return values
    fraction, exponent = np.frexp(np.float64(values.max()))
    exponent = int(exponent) - 16 + int(fraction * 2**16 > _MOST_CODE)
    return np.rint(np.ldexp(values.astype(np.float64), -exponent))


@dataclass(frozen=True, eq=False)
class _Pair:
    """The codes of two features, where either is active."""

    n: int
    at_x: Int[ndarray, " k"]
    x: Int[ndarray, " k"]
    at_y: Int[ndarray, " l"]
    y: Int[ndarray, " l"]
    both: Int[ndarray, " m"]
    """Which of `at_x` B is active at, too."""
    y_there: Int[ndarray, " m"]

    @property
    def x_there(self) -> Int[ndarray, " m"]:
        return self.x[self.both]

    def contributions(self) -> Float[ndarray, " m"]:
        """What each position where both are active adds to the sum of products of deviations."""
        return (self.x_there - self.x.sum() / self.n) * (self.y_there - self.y.sum() / self.n)

    def strongest(self, k: int) -> Int[ndarray, " k"]:
        """Which of the positions where both are active add most, the first of equals; k, or all there are."""
        added = self.contributions()
        if k == 0 or len(added) <= k:
            return np.arange(min(k, len(added)))
        least = np.partition(added, -k)[-k]
        above = np.flatnonzero(added > least)
        return np.concatenate([above, np.flatnonzero(added == least)[: k - len(above)]])

    def r_without(self, k: int) -> float:
        """Pearson r over all positions but the `strongest` k; NaN where one side does not vary there."""
        out = self.strongest(k)
        x, y = self.x_there[out], self.y_there[out]
        sums_x, sums_y = (_sums(whole) - _sums(part) for whole, part in ((self.x, x), (self.y, y)))
        products = int(self.x_there @ self.y_there) - int(x @ y)
        return _pearson(self.n - len(out), sums_x, sums_y, products)


def _sums(codes: Int[ndarray, " k"]) -> ndarray:
    """Sum and sum of squares, as Python integers: n times one of them passes 64 bits."""
    return np.array([int(codes.sum()), int(codes @ codes)], dtype=object)


def _pearson(n: int, x: ndarray, y: ndarray, products: int) -> float:
    """r from sums over n positions, as the native core takes it from its integers."""
    variance_x, variance_y = n * x[1] - x[0] ** 2, n * y[1] - y[0] ** 2
    if not (variance_x > 0 and variance_y > 0):
        return math.nan
    return float(n * products - x[0] * y[0]) / math.sqrt(float(variance_x) * float(variance_y))


def _pairs(
    a: FeatureColumns,
    b: FeatureColumns,
    features_a: Int[ndarray, " n"],
    features_b: Int[ndarray, " n"],
    partner: Int[ndarray, " n_tokens"] | None,
) -> Iterator[_Pair]:
    of_b = np.zeros(b.n_tokens, dtype=np.int64)
    for feature_a, feature_b in zip(features_a.tolist(), features_b.tolist(), strict=True):
        (at_x, x), (at_y, y) = a.of(feature_a), b.of(feature_b)
        of_b[at_y] = y
        there = of_b[at_x if partner is None else partner[at_x]]
        both = np.flatnonzero(there)
        yield _Pair(a.n_tokens, at_x, x, at_y, y, both, there[both])
        of_b[at_y] = 0


def r_without_strongest(
    a: FeatureColumns,
    b: FeatureColumns,
    features_a: Int[ndarray, " n"],
    features_b: Int[ndarray, " n"],
    k: int,
    partner: Int[ndarray, " n_tokens"] | None = None,
) -> Float[ndarray, " n"]:
    """Returns r of every pair without the k positions that add most to its covariance, float64 [n].

    These are the positions of the largest (x - mean x)(y - mean y) among those where both features are active, fewer
    where there are fewer, the first of equals. r is taken from the codes of `best_matches`: with k = 0 it is its r.

    Args:
        a: columns of the A features.
        b: of the B features, over the same tokens.
        features_a: int64 [n].
        features_b: int64 [n].
        k: positions left out.
        partner: token t of A is paired with token `partner[t]` of B; None for its own.
    """
    pairs = _pairs(a, b, features_a, features_b, partner)
    return np.array([pair.r_without(k) for pair in pairs], dtype=np.float64)


def influences(
    a: FeatureColumns,
    b: FeatureColumns,
    features_a: Int[ndarray, " n"],
    features_b: Int[ndarray, " n"],
    document: Int[ndarray, " n_tokens"],
    token: Int[ndarray, " n_tokens"] | None,
) -> Float[ndarray, "n influences"]:
    """Returns what the correlation of every pair rests on, float64 [n, 7], columns `INFLUENCES`.

    `r_without_strongest` is r without the `STRONGEST` positions that add most to the covariance, `r_ranks` Spearman's
    rank correlation (zeros tie), `r_within_token` r after the mean of each token is taken off both features. The shares
    are parts of the covariance: that of the `STRONGEST` positions, the largest of a document, the largest of a token,
    and what is left within tokens. A part may be above 1, since others are below 0. NaN where one is not defined, or
    without `token` (where what is compared are no tokens).

    Args:
        a: columns of the A features.
        b: of the B features, over the same tokens.
        features_a: int64 [n].
        features_b: int64 [n].
        document: which document each token is from, numbered from 0.
        token: which token stands at each place.
    """
    groups = [_Groups(document), _Groups(token) if token is not None else None]
    out = np.full((len(features_a), len(INFLUENCES)), math.nan)
    for row, pair in zip(out, _pairs(a, b, features_a, features_b, None), strict=True):
        sum_x, sum_y, products = int(pair.x.sum()), int(pair.y.sum()), int(pair.x_there @ pair.y_there)
        covariance = products - sum_x * sum_y / pair.n or math.nan
        row[0], row[1] = pair.r_without(STRONGEST), _spearman(pair)
        row[3] = pair.contributions()[pair.strongest(STRONGEST)].sum() / covariance
        row[4], row[5] = (math.nan if of is None else of.added(pair).max() / covariance for of in groups)
        if groups[1] is not None:
            row[2], within = groups[1].within(pair)
            row[6] = within / covariance
    return out


def _spearman(pair: _Pair) -> float:
    """Twice the ranks above that of the zeros are integers, and zero where a feature is silent."""
    from scipy.stats import rankdata

    def above(codes: Int[ndarray, " k"]) -> Int[ndarray, " k"]:
        n_zero = pair.n - len(codes)
        return np.rint(2 * (n_zero + rankdata(codes)) - (n_zero + 1)).astype(np.int64)

    x, y = above(pair.x), np.zeros(pair.n, dtype=np.int64)
    y[pair.at_y] = above(pair.y)
    y_on_x = y[pair.at_x]
    return _pearson(pair.n, _sums(x), _sums(y[pair.at_y]), int(x @ y_on_x))


class _Groups:
    """A partition of the positions, by document or by token."""

    def __init__(self, of: Int[ndarray, " n_tokens"]) -> None:
        self._of = np.unique(of, return_inverse=True)[1]
        self._sizes = np.bincount(self._of)
        self._weights = 1.0 / self._sizes

    def _summed(self, at: Int[ndarray, " k"], codes: Int[ndarray, " k"]) -> Float[ndarray, " groups"]:
        """Sums by group: integers, which float64 holds exactly up to 2^53."""
        return np.bincount(self._of[at], codes, len(self._sizes))

    def added(self, pair: _Pair) -> Float[ndarray, " groups"]:
        """What each group adds to the sum of products of deviations."""
        x, y = pair.x.sum() / pair.n, pair.y.sum() / pair.n
        products = self._summed(pair.at_x[pair.both], pair.x_there * pair.y_there)
        by_x, by_y = self._summed(pair.at_x, pair.x), self._summed(pair.at_y, pair.y)
        return products - y * by_x - x * by_y + self._sizes * x * y

    def within(self, pair: _Pair) -> tuple[float, float]:
        """r, and the sum of products, of the deviations from the group's means, as `best_matches_within` takes them."""
        x, y = self._summed(pair.at_x, pair.x), self._summed(pair.at_y, pair.y)

        def left(whole: int, one: ndarray, other: ndarray) -> float:
            return float(whole) - float(np.add.accumulate(one * other * self._weights)[-1])  # group after group

        variance_x, variance_y = left(int(pair.x @ pair.x), x, x), left(int(pair.y @ pair.y), y, y)
        covariance = left(int(pair.x_there @ pair.y_there), x, y)
        for codes, variance in ((pair.x, variance_x), (pair.y, variance_y)):
            if variance <= _ROUNDING * float(codes @ codes):  # its values follow from the token
                return math.nan, covariance
        return covariance / math.sqrt(variance_x * variance_y), covariance
