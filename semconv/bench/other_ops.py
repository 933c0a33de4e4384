"""The remaining ops against the plain way of doing the same, each answer checked before its time counts."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy import ndarray

from semconv.bench.jobs import Job
from semconv.bench.measure import median_seconds
from semconv.core import ops
from semconv.core.sparse import SparseActivations
from semconv.core.streaming import StreamingCorrelation
from semconv.system.errors import InputError


@dataclass(frozen=True)
class OpTiming:
    """Two ways of one task.

    Attributes:
        task: what is done.
        ours: seconds of the native way.
        other: what it is compared with.
        seconds: of the other way.
    """

    task: str
    ours: float
    other: str
    seconds: float

    @property
    def ratio(self) -> float:
        """Seconds of the other way over ours."""
        return self.seconds / self.ours


def _expect(right: bool, what: str) -> None:
    if not right:
        raise InputError(f"{what} gave another answer")


def compact_rows(job: Job) -> list[OpTiming]:
    """4096 tokens, in the three dtypes: torch.nonzero with a gather, and reading the chunk once."""
    out: list[OpTiming] = []
    acts, _ = job.make()
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        x = acts.to_dense().to(dtype)

        def with_nonzero(x: torch.Tensor = x) -> tuple[torch.Tensor, torch.Tensor]:
            where = x.nonzero()
            return where, x[where[:, 0], where[:, 1]].half()

        def read(x: torch.Tensor = x) -> torch.Tensor:
            return x.view(torch.int64).amax()

        ours = median_seconds(lambda x=x: ops.compact_rows(x, torch.float16), 9)
        _, indices, values = ops.compact_rows(x, torch.float16)
        where, gathered = with_nonzero()
        _expect(torch.equal(indices.long(), where[:, 1]) and torch.equal(values, gathered), "torch.nonzero")
        task = f"compact_rows, {list(x.shape)} {str(dtype).split('.')[1]}, L0 {acts.l0:.0f}"
        out.append(OpTiming(task, ours, "torch.nonzero and a gather", median_seconds(with_nonzero, 3)))
        out.append(OpTiming(task, ours, "reading the chunk (max of its words)", median_seconds(read, 9)))
    return out


def permuted_dot(n: int, n_permutations: int = 20) -> list[OpTiming]:
    """RSA's null at n items, per permutation: SciPy from scratch, and NumPy indexing of ranks made beforehand."""
    from scipy.stats import rankdata, spearmanr

    rng = np.random.default_rng(0)
    x, y = (np.asarray(np.corrcoef(rng.standard_normal((n, 64)))) for _ in range(2))
    lower = np.tril_indices(n, -1)

    def ranks(m: ndarray) -> ndarray:
        out = np.zeros((n, n))
        out[lower] = rankdata(m[lower])
        return out + out.T

    rank_x, rank_y = ranks(x), ranks(y)
    permutations = np.stack([rng.permutation(n) for _ in range(n_permutations)]).astype(np.int32)
    tensors = torch.from_numpy(rank_x), torch.from_numpy(rank_y), torch.from_numpy(permutations)
    ours = median_seconds(lambda: ops.permuted_dot(*tensors), 3) / n_permutations
    dots = ops.permuted_dot(*tensors).numpy()
    p = permutations[0].astype(np.int64)
    tril_x = np.tril(rank_x, -1)

    def indexed() -> float:
        return float(np.vdot(tril_x, rank_y[p][:, p]))

    def afresh() -> float:
        result: Any = spearmanr(x[lower], y[np.ix_(p, p)][lower])
        return float(result.statistic)

    _expect(bool(np.isclose(indexed(), dots[0], rtol=1e-12)), "NumPy indexing")
    m = len(lower[0])
    mean, variance = (m + 1) / 2, np.var(rank_x[lower])
    rho: list[float] = []
    scipy_seconds = median_seconds(lambda: rho.append(afresh()), 1, warm_up=False)
    _expect(bool(np.isclose(rho[0], (dots[0] / m - mean**2) / variance, atol=1e-9)), "SciPy")
    task = f"permuted_dot, n {n:,}, one permutation"
    return [
        OpTiming(task, ours, "NumPy indexing of the ranks", median_seconds(indexed, 3)),
        OpTiming(task, ours, "SciPy: permute, rank and correlate afresh", scipy_seconds),
    ]


def streaming(job: Job, n_updates: int = 200) -> list[OpTiming]:
    """Many small updates against one large update of the same tokens."""
    a, b = job.make()
    max_a, max_b = a.feature_max(), b.feature_max()
    cuts = [job.n_tokens * i // n_updates for i in range(n_updates + 1)]

    def run(chunks: list[tuple[SparseActivations, SparseActivations]]) -> StreamingCorrelation:
        stream = StreamingCorrelation(a.n_features, b.n_features, feature_max_a=max_a, feature_max_b=max_b)
        for chunk in chunks:
            stream.update(*chunk)
        stream.flush()
        return stream

    small = [(a.rows(begin, end), b.rows(begin, end)) for begin, end in pairwise(cuts)]
    one, many = run([(a, b)]), run(small)
    _expect(torch.equal(one.state_dict()["s_ab"], many.state_dict()["s_ab"]), "the chunked stream")
    del one, many
    seconds = median_seconds(lambda: run(small), 3)
    size = f"{job.n_tokens // n_updates} tokens, {job.n_features:,} features"
    return [
        OpTiming(
            f"StreamingCorrelation, {n_updates} updates of {size}",
            seconds,
            "one update of all",
            median_seconds(lambda: run([(a, b)]), 3),
        )
    ]
