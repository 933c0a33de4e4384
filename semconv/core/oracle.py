"""The plain reference of the native core: Python integers and obvious loops, the oracle of the tests."""

from __future__ import annotations

import math
from fractions import Fraction

import torch
from torch import Tensor

from semconv.core.ops import RawMatches
from semconv.core.sparse import SparseActivations


def scale_exponent(maximum: float) -> int:
    """Returns the smallest e with maximum / 2^e <= 65535 (0 for a feature that is never active)."""
    if maximum == 0:
        return 0
    exponent = -200
    while Fraction(maximum) / Fraction(2) ** exponent > 65535:
        exponent += 1
    return exponent


def quantize(column: list[float]) -> list[int]:
    """Returns the codes round_half_even(v / 2^e) of one feature over all tokens."""
    scale = Fraction(2) ** scale_exponent(max(column))
    return [round(Fraction(v) / scale) for v in column]  # round() of a Fraction is exact and half to even


def pearson(codes_a: list[int], codes_b: list[int]) -> float:
    """Returns r from exact integer sums; NaN when one side never varies."""
    n = len(codes_a)
    s_a, s_b = sum(codes_a), sum(codes_b)
    var_a = n * sum(q * q for q in codes_a) - s_a * s_a
    var_b = n * sum(q * q for q in codes_b) - s_b * s_b
    if var_a == 0 or var_b == 0:
        return math.nan
    numerator = n * sum(p * q for p, q in zip(codes_a, codes_b, strict=True)) - s_a * s_b
    return float(numerator) / math.sqrt(float(var_a) * float(var_b))


def quantization_noise(column: list[float]) -> float:
    """Returns step / (sqrt(12) rms of the active values), the rms taken from the codes; NaN if never active."""
    active = sum(v > 0 for v in column)
    if active == 0:
        return math.nan
    return math.sqrt(float(active) / (12.0 * float(sum(q * q for q in quantize(column)))))


def top_k(scores: list[float], k: int) -> tuple[list[int], list[float]]:
    """Returns the k best indices and scores: highest first, ties to the lowest index, NaN left out, padded with -1."""
    order = sorted((-score, index) for index, score in enumerate(scores) if not math.isnan(score))[:k]
    padding = k - len(order)
    return [i for _, i in order] + [-1] * padding, [-s for s, _ in order] + [math.nan] * padding


def correlation(a: SparseActivations, b: SparseActivations) -> list[list[float]]:
    """Returns r of every pair, [F_a][F_b], by the exact-integer contract."""
    columns_a, columns_b = (x.to_dense().T.double().tolist() for x in (a, b))
    codes_a, codes_b = [quantize(c) for c in columns_a], [quantize(c) for c in columns_b]
    return [[pearson(p, q) for q in codes_b] for p in codes_a]


def within(codes_a: list[int], codes_b: list[int], group: list[int]) -> float:
    """Returns r after the mean of every group is taken off; NaN where the groups say all of one side.

    Sums by group are integers, every product of two of them takes one division, of the group, and is added in float64,
    group after group.
    """
    groups = sorted(set(group))
    sizes = {g: group.count(g) for g in groups}

    def sums(codes: list[int]) -> list[float]:
        found = dict.fromkeys(groups, 0)
        for code, g in zip(codes, group, strict=True):
            found[g] += code
        return [float(found[g]) for g in groups]

    def left(one: list[int], other: list[int]) -> float:
        of_means = 0.0
        for g, x, y in zip(groups, sums(one), sums(other), strict=True):
            of_means += (x * y) * (1.0 / float(sizes[g]))
        return float(sum(p * q for p, q in zip(one, other, strict=True))) - of_means

    var_a, var_b = left(codes_a, codes_a), left(codes_b, codes_b)
    for codes, variance in ((codes_a, var_a), (codes_b, var_b)):
        if not variance > 1e-12 * float(sum(q * q for q in codes)):
            return math.nan
    return left(codes_a, codes_b) / math.sqrt(var_a * var_b)


def correlation_within(a: SparseActivations, b: SparseActivations, group: list[int]) -> list[list[float]]:
    """Returns r of every pair after the means of groups are taken off, [F_a][F_b]."""
    columns_a, columns_b = (x.to_dense().T.double().tolist() for x in (a, b))
    codes_a, codes_b = [quantize(c) for c in columns_a], [quantize(c) for c in columns_b]
    return [[within(p, q, group) for q in codes_b] for p in codes_a]


def best_matches(a: SparseActivations, b: SparseActivations, k: int, group: list[int] | None = None) -> RawMatches:
    """The native op of the same name, one Python step at a time; `best_matches_within` where there are groups."""
    r = correlation(a, b) if group is None else correlation_within(a, b, group)

    def stack(rows: list[list[float]]) -> tuple[Tensor, Tensor]:
        best = [top_k(row, k) for row in rows]
        return torch.tensor([i for i, _ in best]), torch.tensor([s for _, s in best], dtype=torch.float64)

    noise = [
        torch.tensor([quantization_noise(c) for c in x.to_dense().T.double().tolist()], dtype=torch.float64)
        for x in (a, b)
    ]
    return RawMatches(*stack(r), *stack([list(column) for column in zip(*r, strict=True)]), *noise)
