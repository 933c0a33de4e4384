"""pytest-benchmark suite of the native core: `pytest tests/bench --benchmark-only`; in `make test` each runs once."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from semconv import InputError, StreamingCorrelation, best_matches
from semconv.bench import Job, run_job
from semconv.bench.checks import check_best
from semconv.bench.measure import peak_mib
from semconv.bench.other_ops import compact_rows, permuted_dot, streaming
from semconv.bench.peers import PEERS, SEMCONV, Peer, Prepared
from semconv.bench.runner import AXES, sweep
from semconv.bench.session import Session, write_session
from semconv.bench.tables import slope, timing_notes
from semconv.core import ops
from tests.conftest import semconv_cli

SMALL = Job(n_tokens=2000, n_features=256, l0=20)


@pytest.fixture(scope="module")
def job() -> Prepared:
    return Prepared(*Job(n_tokens=20_000, n_features=2048, l0=40).make(), k=1)


def test_best_matches(benchmark, job):
    m = benchmark(best_matches, job.a, job.b)
    index, r = m.a_to_b.index[job.sample].numpy(), m.a_to_b.r[job.sample].numpy()
    check_best(index, r, job.expected_r, tolerance=1e-3)
    with pytest.raises(InputError, match="best matches are off"):
        check_best(np.flip(index, 0), r, job.expected_r, tolerance=1e-3)
    with pytest.raises(InputError, match="1 partners were expected in row 0, got 0"):
        check_best(np.full_like(index, -1), r, job.expected_r, tolerance=1e-3)


def test_compact_rows(benchmark, job):
    dense = job.a.rows(0, 4096).to_dense().float()
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


def test_streaming(benchmark, job):
    def stream() -> StreamingCorrelation:
        out = StreamingCorrelation(2048, 2048, feature_max_a=job.a.feature_max(), feature_max_b=job.b.feature_max())
        for begin in range(0, 20_000, 500):
            out.update(job.a.rows(begin, begin + 500), job.b.rows(begin, begin + 500))
        out.flush()
        return out

    out = benchmark(stream)
    assert torch.equal(out.best_matches().a_to_b.index, best_matches(job.a, job.b).a_to_b.index)


@pytest.mark.slow
@pytest.mark.parametrize("density", ["uniform", "log-normal", "token"])
def test_a_job_has_the_density_it_names(density):
    a, b = (side for side in Job(n_tokens=20_000, n_features=2048, l0=40, density=density).make())
    assert a.n_tokens == b.n_tokens == 20_000
    assert a.l0 == pytest.approx(40, rel=0.06)
    again, _ = Job(n_tokens=20_000, n_features=2048, l0=40, density=density).make()
    assert again.sha256 == a.sha256
    spread = float(a.active_counts().double().log1p().std())
    assert spread < 0.1 if density == "uniform" else spread > 0.5


def test_a_job_may_be_wider_on_one_side():
    a, b = Job(n_tokens=500, n_features=300, l0=5, n_features_b=40).make()
    assert (a.n_features, b.n_features, a.n_tokens) == (300, 40, b.n_tokens)


def test_features_of_two_models_correlate_more_when_both_belong_to_token_types():
    def median_r(density: str) -> float:
        m = best_matches(*Job(n_tokens=20_000, n_features=1024, l0=20, density=density).make())
        return float(m.a_to_b.r[:, 0].nanmedian())

    # The best of 1024 unrelated features already reaches four standard deviations, about 0.07.
    assert median_r("token") > 1.5 * median_r("log-normal")


def test_a_job_refuses_what_it_cannot_make():
    for changes in ({"n_tokens": 0}, {"k": 300}, {"l0": 0.0}, {"l0": 256.0}, {"density": "gamma"}):
        with pytest.raises(InputError, match="got"):
            replace(SMALL, **changes)


@pytest.mark.slow
def test_every_competitor_is_listed_and_checked():
    timings = run_job(SMALL, repeats=1)
    assert [t.peer for t in timings] == [SEMCONV.name, *(p.name for p in PEERS)]
    assert timings[0].ratio == 1.0
    assert all(t.seconds is not None or t.note == "not installed" for t in timings)
    assert "of what its inner loop does" in timing_notes(timings)[0]


@pytest.mark.slow
def test_a_wrong_answer_of_a_peer_is_a_result_and_of_ours_an_error():
    wrong = Peer("wrong", "nothing", lambda p: p.b_scipy, lambda p, _: PEERS[0].check(p, p.b_scipy))
    timings = run_job(SMALL, 1, (wrong,))
    assert timings[1].seconds is None
    assert timings[1].note.startswith(("wrong answer", "failed"))


def test_the_other_ops_are_checked_and_compared():
    rows = [*compact_rows(SMALL), *permuted_dot(50), *streaming(SMALL, 7)]
    assert len(rows) == 9
    assert all(row.ours > 0 and row.ratio > 0 for row in rows)


@pytest.mark.slow
def test_the_axes_are_written_as_tables_and_a_plot(tmp_path, monkeypatch):
    ceilings = ops.measure_ceilings(10)  # which takes a second, and would be done for every job
    monkeypatch.setattr(ops, "measure_ceilings", lambda row_length: ceilings)
    monkeypatch.setitem(AXES, "n_tokens", (500, 1000))
    monkeypatch.setitem(AXES, "n_features", (64, 128))
    monkeypatch.setitem(AXES, "l0", (5.0, 10.0))
    axes = list(sweep(replace(SMALL, n_features=128, l0=10.0), wide=False))
    assert [axis for axis, _, _ in axes].count("density") == 3
    write_session(Session("caption", {}, axes[0][2], [], axes), tmp_path)
    text = (tmp_path / "bench.md").read_text()
    assert "Slope of log seconds over log n_tokens" in text
    assert json.loads((tmp_path / "bench.json").read_text())["axes"][0]["axis"] == "n_tokens"
    assert (tmp_path / "bench.png").stat().st_size > 10_000


def test_slope_and_peak_memory_measure_what_they_say():
    assert slope([1, 10, 100], [3, 300, 30_000]) == pytest.approx(2)
    assert peak_mib(lambda: torch.ones(2**24).sum()) == pytest.approx(64, abs=16)


def test_the_peak_of_best_matches_is_what_the_packed_inputs_take(job):
    # 8 bytes a posting of A, 4 a record of B and its row ends, and tables of the features; huge pages round up.
    packed = (8 * job.a.nnz + 4 * (job.b.nnz + 4 * job.b.n_tokens)) / 2**20
    peak = peak_mib(lambda: best_matches(job.a, job.b))
    assert peak is not None
    assert peak <= 1.2 * packed + 4 * torch.get_num_threads() + 8


@pytest.mark.slow
def test_the_command_prints_a_table_and_json(tmp_path):
    arguments = ("bench", "--tokens", "2000", "--features", "256", "--l0", "20", "--repeats", "1")
    out = semconv_cli(*arguments, "--out", tmp_path)
    assert out.returncode == 0, out.stderr
    assert "sparse_dot_topn" in out.stdout
    assert (tmp_path / "bench.md").exists()
    out = semconv_cli(*arguments, "--json")
    assert json.loads(out.stdout)["timings"][0]["ratio"] == 1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--quick", "--full"), "exclude each other"),
        (("--density", "gamma"), "density must be uniform, log-normal or token, got 'gamma'"),
        (("--tokens", "0"), "at least one token"),
        (("--stores", "nowhere", "nowhere"), "nowhere is no activation store"),
    ],
)
def test_bad_options_are_one_sentence_and_exit_code_2(arguments, message):
    out = semconv_cli("bench", *arguments)
    assert out.returncode == 2
    assert message in out.stderr
