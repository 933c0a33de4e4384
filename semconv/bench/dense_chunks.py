"""Sparse activations as dense chunks on their own device, and what an oracle sums over them in float64."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from semconv.bench.checks import pearson_from_means
from semconv.bench.peers import Prepared
from semconv.core.sparse import SparseActivations

ORACLE_CELLS = 2**27  # of a dense float64 chunk: 1 GiB


def dense_chunks(acts: SparseActivations, dtype: torch.dtype, tokens: int) -> Iterator[Tensor]:
    """Yields [t, n_features] in `dtype` for `tokens` rows at a time, the last one shorter."""
    n, width = acts.n_tokens, acts.n_features
    cuts = acts.indptr[torch.arange(0, n + tokens, tokens, device=acts.indptr.device).clamp_(max=n)].tolist()
    for chunk, (first, last) in enumerate(pairwise(cuts)):
        begin, end = chunk * tokens, min((chunk + 1) * tokens, n)
        row = torch.arange(end - begin, device=acts.indptr.device) * width
        cell = row.repeat_interleave(acts.indptr[begin : end + 1].diff(), output_size=last - first)
        cell += acts.indices[first:last]
        dense = torch.zeros((end - begin) * width, dtype=dtype, device=row.device)
        yield dense.scatter_(0, cell, acts.values[first:last].to(dtype)).view(end - begin, width)


class DevicePrepared(Prepared):
    """One job's inputs on a device; the oracle multiplies dense float64 chunks there."""

    def build(self) -> None:
        """Makes what the checks read."""
        _ = self.expected_r, self.swapped.expected_r

    @cached_property
    def swapped(self) -> DevicePrepared:
        """The same job seen from B."""
        return DevicePrepared(self.b, self.a, self.k)

    @cached_property
    def in_bfloat16(self) -> DevicePrepared:
        """The same job with its values rounded to bfloat16: what a competitor that rounds them answers."""
        a, b = (
            SparseActivations(x.indptr, x.indices, x.values.bfloat16().float(), x.n_features) for x in (self.a, self.b)
        )
        return DevicePrepared(a, b, self.k)

    @cached_property
    def _sums(self) -> tuple[ndarray, ...]:
        """float64: A.T @ B of the sample, and sums and sums of squares of the sample and of B."""
        sample = torch.from_numpy(self.sample).to(self.a.values.device)
        tokens = max(1, ORACLE_CELLS // max(self.a.n_features, self.b.n_features))
        totals: list[Tensor] = []
        for x, y in zip(
            dense_chunks(self.a, torch.float64, tokens), dense_chunks(self.b, torch.float64, tokens), strict=True
        ):
            x = x[:, sample]
            parts = [x.T @ y, x.sum(0), y.sum(0), x.square().sum(0), y.square_().sum(0)]
            totals = [total.add_(part) for total, part in zip(totals, parts, strict=True)] if totals else parts
        return tuple(total.cpu().numpy() for total in totals)

    @cached_property
    def expected_dot(self) -> ndarray:
        return self._sums[0]

    @cached_property
    def expected_r(self) -> ndarray:
        return pearson_from_means(*(np.asarray(total) / self.a.n_tokens for total in self._sums))
