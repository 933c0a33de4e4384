"""pytest-benchmark suite of the native core: `pytest tests/bench --benchmark-only`; in `make test` each runs once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from semconv import InputError, SparseActivations, best_matches, ops
from semconv.bench import Job, check_best, oracle, run, to_scipy


@pytest.fixture(scope="module")
def job() -> tuple[SparseActivations, SparseActivations]:
    job = Job(n_tokens=20_000, n_features=2048, l0=40)
    return job.make(0), job.make(1)


def test_best_matches(benchmark, job):
    m = benchmark(best_matches, *job)
    expected = oracle(to_scipy(job[0]), to_scipy(job[1]), np.arange(64))
    check_best(m.a_to_b.index[:64, 0].numpy(), m.a_to_b.r[:64, 0].numpy(), expected, tolerance=1e-3)
    with pytest.raises(InputError, match="best matches are off"):
        check_best(m.a_to_b.index[:64, 0].flip(0).numpy(), m.a_to_b.r[:64, 0].numpy(), expected, tolerance=1e-3)


def test_compact_rows(benchmark, job):
    dense = job[0].to_dense()[:4096].float()
    indptr, _, _ = benchmark(ops.compact_rows, dense, torch.float16)
    assert int(indptr[-1]) == int((dense > 0).sum())


def test_permuted_dot(benchmark):
    g = torch.Generator().manual_seed(0)
    x = torch.rand(500, 500, generator=g, dtype=torch.float64)
    x = x + x.T
    permutations = torch.stack([torch.randperm(500, generator=g) for _ in range(20)]).int()
    scores = benchmark(ops.permuted_dot, x, x, permutations)
    p = permutations[7].long()
    expected = torch.tril(x, -1).mul(x[p][:, p]).sum()
    torch.testing.assert_close(scores[7], expected, rtol=1e-12, atol=0)


def test_the_job_has_the_density_it_names(job):
    assert job[0].l0 == pytest.approx(40, rel=0.05)
    assert job[0].n_tokens == 20_000


def test_bench_lists_every_competitor_and_checks_them():
    timings = run(Job(2000, 256, 20), repeats=1)
    assert [t.name.split()[0] for t in timings] == ["semconv", "sparse_dot_topn", "scipy.sparse"]
    assert timings[0].ratio == 1.0
    assert all(t.note != "wrong answer" for t in timings)
