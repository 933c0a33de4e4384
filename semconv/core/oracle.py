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


def best_matches(a: SparseActivations, b: SparseActivations, k: int) -> RawMatches:
    """The native op of the same name, one Python step at a time."""
    r = correlation(a, b)

    def stack(rows: list[list[float]]) -> tuple[Tensor, Tensor]:
        best = [top_k(row, k) for row in rows]
        return torch.tensor([i for i, _ in best]), torch.tensor([s for _, s in best], dtype=torch.float64)

    noise = [
        torch.tensor([quantization_noise(c) for c in x.to_dense().T.double().tolist()], dtype=torch.float64)
        for x in (a, b)
    ]
    return RawMatches(*stack(r), *stack([list(column) for column in zip(*r, strict=True)]), *noise)
