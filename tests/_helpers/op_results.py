"""Inputs and results of the native ops, and what it is for two results to have the same bits."""

from __future__ import annotations

import numpy as np
import torch

from semconv import SparseActivations
from semconv.core.correlate import BestMatches


def assert_same_matches(left: BestMatches, right: BestMatches) -> None:
    """Every index and every bit of every number, NaN equal to NaN."""
    for side in ("a_to_b", "b_to_a"):
        assert torch.equal(getattr(left, side).index, getattr(right, side).index)
        assert_same_bits(getattr(left, side).r, getattr(right, side).r)
    assert_same_bits(left.quantization_noise_a, right.quantization_noise_a)
    assert_same_bits(left.quantization_noise_b, right.quantization_noise_b)


def assert_same_bits(x: torch.Tensor, y: torch.Tensor) -> None:
    np.testing.assert_array_equal(x.numpy(), y.numpy(), strict=True)


def csr(acts: SparseActivations) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return acts.indptr, acts.indices, acts.values
