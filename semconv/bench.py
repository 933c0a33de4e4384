"""Times the native core against its peers on one job, each answer checked before its time counts."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy import ndarray

from semconv.correlate import best_matches
from semconv.sparse import SparseActivations
from semconv.types import InputError


@dataclass(frozen=True)
class Job:
    """A synthetic pair of activation matrices: log-normal feature densities, exponential values.

    Attributes:
        n_tokens: rows.
        n_features: columns on either side.
        l0: mean active features per token.
        sigma: spread of the logarithm of the densities.
        seed: of the generator.
    """

    n_tokens: int = 100_000
    n_features: int = 16_384
    l0: float = 80.0
    sigma: float = 1.5
    seed: int = 0

    def make(self, side: int) -> SparseActivations:
        """Returns one side of the job (0 or 1)."""
        rng = np.random.default_rng([self.seed, side])
        density = rng.lognormal(0.0, self.sigma, self.n_features)
        density = np.minimum(density * self.l0 / density.sum(), 0.9)
        tokens = [np.flatnonzero(rng.random(self.n_tokens, dtype=np.float32) < p) for p in density]
        feature = np.repeat(np.arange(self.n_features, dtype=np.int32), [len(t) for t in tokens])
        token = np.concatenate(tokens)
        order = np.argsort(token, kind="stable")  # features ascend within a token, because they did before
        values = rng.exponential(1.0, len(token)).astype(np.float32) + np.float32(0.01)
        indptr = np.concatenate([[0], np.cumsum(np.bincount(token, minlength=self.n_tokens))])
        return SparseActivations(
            torch.from_numpy(indptr.astype(np.int64)),
            torch.from_numpy(feature[order]),
            torch.from_numpy(values).half(),
            self.n_features,
        )


@dataclass(frozen=True)
class Timing:
    """One competitor's result.

    Attributes:
        name: library and call.
        does: what it computes, for jobs that are not quite the same.
        seconds: median of the repeats; None where it could not run.
        ratio: its seconds over those of semconv.
        note: why it did not run, or what the check found.
    """

    name: str
    does: str
    seconds: float | None
    ratio: float | None
    note: str


def to_scipy(acts: SparseActivations) -> Any:
    """Returns float32 SciPy CSR [n_tokens, n_features]."""
    from scipy.sparse import csr_matrix

    parts = (acts.values.float().numpy(), acts.indices.numpy(), acts.indptr.numpy())
    return csr_matrix(parts, shape=(acts.n_tokens, acts.n_features))


def oracle(a: Any, b: Any, sample: ndarray) -> ndarray:
    """Returns float64 Pearson r [len(sample), F_b] of some A features with every B feature, from SciPy in float64."""
    n = a.shape[0]
    x, y = a[:, sample].astype(np.float64), b.astype(np.float64)
    mean_x, mean_y = np.asarray(x.mean(axis=0)).ravel(), np.asarray(y.mean(axis=0)).ravel()
    sd_x = np.sqrt(np.asarray(x.multiply(x).mean(axis=0)).ravel() - mean_x**2)
    sd_y = np.sqrt(np.asarray(y.multiply(y).mean(axis=0)).ravel() - mean_y**2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return ((x.T @ y).toarray() / n - np.outer(mean_x, mean_y)) / np.outer(sd_x, sd_y)


def check_best(index: ndarray, r: ndarray, expected: ndarray, tolerance: float) -> None:
    """Raises InputError unless the partners found score what they are said to, and none scores more."""
    best = np.nanmax(expected, axis=1)
    own = expected[np.arange(len(index)), index]
    worst = float(np.max(np.abs(np.stack([r - best, own - best]))))
    if not worst <= tolerance:
        raise InputError(f"the best matches are off by {worst:.2g}, at most {tolerance:.2g} is quantisation")


def _median_seconds(run: Callable[[], object], repeats: int) -> float:
    run()
    times: list[float] = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def run(job: Job, repeats: int = 5, with_scipy: bool = True, progress: Callable[[str, int, int], None] | None = None):
    """Runs the job with every competitor that is installed.

    Returns:
        List of Timing, semconv first; every competitor gets the same CSR inputs and as many threads as torch has.

    Raises:
        InputError: an answer is wrong.
    """

    def say(stage: str) -> None:
        if progress is not None:
            progress(stage, 0, 1)

    threads = torch.get_num_threads()
    say("make the job")
    a, b = job.make(0), job.make(1)
    a_scipy, b_scipy = to_scipy(a), to_scipy(b)
    sample = np.random.default_rng(0).choice(job.n_features, min(64, job.n_features), replace=False)
    say("check")
    m = best_matches(a, b)
    expected = oracle(a_scipy, b_scipy, sample)
    tolerance = 4 * float(m.quantization_noise_a.nan_to_num().max() + m.quantization_noise_b.nan_to_num().max())
    varying = (m.a_to_b.index[sample, 0] >= 0).numpy()
    found = m.a_to_b.index[sample, 0].numpy()[varying], m.a_to_b.r[sample, 0].numpy()[varying]
    check_best(*found, expected[varying], tolerance)
    say("semconv")
    ours = _median_seconds(lambda: best_matches(a, b), repeats)
    timings = [
        Timing("semconv best_matches", "Pearson, top 1, both directions, exact", ours, 1.0, "checked on 64 features")
    ]
    say("sparse_dot_topn")
    timings.append(_sparse_dot_topn(a_scipy, b_scipy, sample, threads, repeats, ours))
    if with_scipy:
        say("scipy")
        # 2.7e8 cells or more come out of it: once is enough, and it checks itself, being the oracle's own product.
        seconds = _median_seconds(lambda: a_scipy.T.tocsr() @ b_scipy, 1)
        timings.append(
            Timing("scipy.sparse A.T @ B", "dot products, all cells, no top-k", seconds, seconds / ours, "1 thread")
        )
    return timings


def _sparse_dot_topn(a: Any, b: Any, sample: ndarray, threads: int, repeats: int, ours: float) -> Timing:
    does = "dot products, top 1, one direction, float32"
    try:
        from sparse_dot_topn import sp_matmul_topn
    except ImportError:
        return Timing("sparse_dot_topn", does, None, None, "not installed")

    def product() -> Any:
        return sp_matmul_topn(a.T.tocsr(), b, top_n=1, n_threads=threads, sort=False)

    found = np.asarray(product()[sample].max(axis=1).todense()).ravel()
    expected = np.asarray((a[:, sample].astype(np.float64).T @ b.astype(np.float64)).max(axis=1).todense()).ravel()
    # float32 sums of up to n_tokens positive terms lose at most a few thousandths.
    if not np.allclose(found, expected, rtol=5e-3, atol=1e-6):
        return Timing("sparse_dot_topn", does, None, None, "wrong answer")
    seconds = _median_seconds(product, repeats)
    return Timing("sparse_dot_topn", does, seconds, seconds / ours, f"checked on 64 features, {threads} threads")
