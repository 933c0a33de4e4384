"""`semconv bench --device cuda`: what knows no device runs here on the CPU; what needs one is skipped and says so."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from semconv import InputError, SparseActivations, best_matches
from semconv.bench import Job, cuda_measure, cuda_peers, dense_chunks, device_jobs, matmul_stream, runner
from semconv.bench.cuda_peers import CUDA_PEERS, CUDA_SEMCONV, check_both, matmul_peer
from semconv.bench.cuda_session import CUDA_AXES, crossover, crossover_sentence
from semconv.bench.cuda_targets import BOUNDED, MAIN, Target, targets
from semconv.bench.dense_chunks import DevicePrepared
from semconv.bench.device_jobs import make_on_device
from semconv.bench.jobs import StoredJob
from semconv.bench.matmul_stream import BFLOAT16, FLOAT32, TF32, best_by_matmul
from semconv.bench.peers import Peer, Prepared
from semconv.bench.runner import Timing, run_job
from semconv.bench.tables import sweep_markdown
from semconv.core import ops
from tests.conftest import random_activations, semconv_cli

CPU = torch.device("cpu")
SMALL = Job(n_tokens=3000, n_features=256, l0=20)
HAS_KERNELS = torch.cuda.is_available() and bool(ops.build_facts()["cuda_archs"])
requires_device = pytest.mark.skipif(not HAS_KERNELS, reason="no CUDA device, or no CUDA kernels in this build")


def prepared(job: Job = SMALL) -> DevicePrepared:
    return DevicePrepared(*make_on_device(job, CPU), job.k)


@pytest.mark.slow
@pytest.mark.parametrize("density", ["uniform", "log-normal", "token"])
def test_a_device_job_has_the_density_it_names(density, monkeypatch):
    monkeypatch.setattr(device_jobs, "CHUNK_ENTRIES", 100_000)  # eight chunks
    job = Job(n_tokens=20_000, n_features=2048, l0=40, density=density)
    a, b = make_on_device(job, CPU)
    assert a.n_tokens == b.n_tokens == 20_000
    assert a.l0 == pytest.approx(40, rel=0.06)  # as in the test of Job.make: hot features are capped
    assert a.values.float().mean() == pytest.approx(1.01, rel=0.01)
    spread = float(a.active_counts().double().log1p().std())
    assert spread < 0.1 if density == "uniform" else spread > 0.5
    # What a feature's counts are like in the first and the last chunk: the draws do not repeat and do not drift.
    first, last = (a.rows(begin, begin + 2500).active_counts().double() for begin in (0, 17_500))
    assert not torch.equal(first, last)
    assert float((first - last).abs().mean()) < 3 * float(first.mean()) ** 0.5
    again, _ = make_on_device(job, CPU)
    assert again.sha256 == a.sha256
    assert make_on_device(replace(job, seed=1), CPU)[0].sha256 != a.sha256
    assert a.sha256 != b.sha256


def test_a_device_job_may_be_wider_on_one_side():
    a, b = make_on_device(Job(n_tokens=500, n_features=300, l0=5, n_features_b=40), CPU)
    assert (a.n_features, b.n_features, a.n_tokens) == (300, 40, b.n_tokens)


def test_both_sides_of_a_device_job_share_the_types_of_tokens():
    def median_r(density: str) -> float:
        m = best_matches(*make_on_device(Job(n_tokens=20_000, n_features=1024, l0=20, density=density), CPU))
        return float(m.a_to_b.r[:, 0].nanmedian())

    # As in the test of Job.make: unrelated features already reach four standard deviations.
    assert median_r("token") > 1.5 * median_r("log-normal")


def test_stores_are_read_as_they_are(monkeypatch, tmp_path):
    sides = random_activations(0, 30, 8), random_activations(1, 30, 9)
    monkeypatch.setattr(StoredJob, "make", lambda _: sides)
    made = make_on_device(StoredJob(tmp_path, tmp_path), CPU)
    assert [m.sha256 for m in made] == [s.sha256 for s in sides]


@pytest.mark.parametrize("tokens", [1, 7, 50, 53, 64])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_dense_chunks_are_the_dense_matrix(tokens, dtype):
    acts = random_activations(3, 53, 17, density=0.1)
    chunks = list(dense_chunks.dense_chunks(acts, dtype, tokens))
    assert [len(c) for c in chunks] == [min(tokens, 53 - begin) for begin in range(0, 53, tokens)]
    assert torch.equal(torch.cat(chunks), acts.to_dense().to(dtype))


def test_the_oracle_is_that_of_the_cpu(monkeypatch):
    monkeypatch.setattr(dense_chunks, "ORACLE_CELLS", 256 * 400)  # eight chunks
    p = prepared()
    for mine, theirs in ((p, Prepared(p.a, p.b, 1)), (p.swapped, Prepared(p.b, p.a, 1))):
        # float64 sums of 3000 products in another order.
        np.testing.assert_allclose(mine.expected_dot, theirs.expected_dot, rtol=1e-12)
        np.testing.assert_allclose(mine.expected_r, theirs.expected_r, rtol=1e-9, atol=1e-12)
    rounded = p.in_bfloat16
    assert torch.equal(rounded.a.values.bfloat16().float(), rounded.a.values)
    assert 0 < np.nanmax(np.abs(rounded.expected_r - p.expected_r)) < 2**-6  # four roundings of 2^-8


@pytest.mark.parametrize("precision", [BFLOAT16, TF32, FLOAT32], ids=lambda p: p.name)
@pytest.mark.parametrize("density", ["log-normal", "token"])
def test_the_matmul_stream_finds_the_best_partners(precision, density, monkeypatch):
    monkeypatch.setattr(matmul_stream, "CHUNK_CELLS", 256 * 700)  # five chunks
    monkeypatch.setattr(matmul_stream, "SLAB_CELLS", 5000)
    p = prepared(replace(SMALL, density=density, n_features_b=100))
    peer = matmul_peer(precision)
    found = peer.call(p)
    peer.check(p, found)
    blocks = best_by_matmul(p.a, p.b, precision, product_bytes=4 * 256 * 33)  # 33 columns at a time, then one
    for whole, part in zip(found, blocks, strict=True):
        # The same sums, but a product of another width may add in another order: float32 rounding.
        torch.testing.assert_close(whole, part, rtol=1e-4, atol=1e-5)


def test_the_matmul_stream_gives_no_partner_to_what_never_varies():
    a, b = (random_activations(seed, 200, 6).to_dense() for seed in (0, 1))
    a[:, 2] = 0
    b[:, 4] = 0
    sides = SparseActivations.from_dense(a), SparseActivations.from_dense(b)
    found = best_by_matmul(*sides, FLOAT32, 2**20)
    assert found.index_a.lt(0).nonzero().tolist() == [[2]]
    assert found.index_b.lt(0).nonzero().tolist() == [[4]]
    check_both(DevicePrepared(*sides, 1), found, FLOAT32.tolerance(*sides))


def test_a_wrong_partner_on_either_side_is_seen():
    p = prepared()
    found = best_by_matmul(p.a, p.b, FLOAT32, 2**20)
    tolerance = FLOAT32.tolerance(p.a, p.b)
    check_both(p, found, tolerance)
    for field in ("index_a", "index_b"):
        wrong = found._replace(**{field: getattr(found, field).roll(1)})
        with pytest.raises(InputError, match="best matches are off"):
            check_both(p, wrong, tolerance)
    m = best_matches(p.a, p.b)
    CUDA_SEMCONV.check(p, m)
    with pytest.raises(InputError, match="best matches are off"):
        CUDA_SEMCONV.check(p, replace(m, b_to_a=replace(m.b_to_a, index=m.b_to_a.index.roll(1, 0))))


def test_the_published_protocol_runs_on_what_memory_holds(monkeypatch):
    p = prepared()
    published = next(peer for peer in CUDA_PEERS if peer.name == "published protocol")
    r, index = published.call(p)
    published.check(p, (r, index))
    with pytest.raises(InputError, match="best matches are off"):
        published.check(p, (r, index.roll(1)))
    assert published.most_tokens is not None
    monkeypatch.setattr(cuda_peers, "CPU_BYTES", 8 * 4 * 256 * 1000)
    assert published.most_tokens(p) == 1000


def fake_cupy(monkeypatch, spoil: float = 1.0) -> None:
    """CuPy's part in the peer, played by NumPy and SciPy; the product is off by the factor `spoil`."""
    from scipy.sparse import csr_matrix

    sparse = SimpleNamespace(csr_matrix=csr_matrix)
    for name, module in {
        "cupy": SimpleNamespace(from_dlpack=lambda t: t.numpy(), asnumpy=lambda x: x * spoil),
        "cupyx": SimpleNamespace(scipy=SimpleNamespace(sparse=sparse)),
        "cupyx.scipy": SimpleNamespace(sparse=sparse),
        "cupyx.scipy.sparse": sparse,
    }.items():
        monkeypatch.setitem(sys.modules, name, module)


@pytest.mark.slow
def test_cusparse_is_checked_and_its_wrong_answer_a_result(monkeypatch):
    cusparse = CUDA_PEERS[-1]
    fake_cupy(monkeypatch)
    monkeypatch.setattr(cuda_measure, "median_seconds", lambda call, repeats, device: 1.0)
    assert run_job(SMALL, 1, (cusparse,))[1].note == ""
    fake_cupy(monkeypatch, spoil=1.1)
    assert run_job(SMALL, 1, (cusparse,))[1].note.startswith("wrong answer: the product is off by")


@pytest.mark.slow
def test_every_way_to_fail_is_a_line_of_the_table():
    def failing(error: Exception) -> Peer:
        def call(_: Prepared) -> None:
            raise error

        return Peer("peer", "nothing", call, lambda p, found: None)

    errors = [
        ImportError("no cupy"),
        torch.OutOfMemoryError("out of memory"),
        RuntimeError("a\nb"),
        ValueError("int64"),
    ]
    timings = run_job(SMALL, 1, tuple(failing(e) for e in errors))
    assert [t.seconds for t in timings[1:]] == [None] * 4
    assert [t.note for t in timings[1:]] == [
        "not installed",
        "failed: OutOfMemoryError, out of memory",
        "failed: RuntimeError, a",
        "failed: ValueError, int64",
    ]


def test_a_peer_that_runs_on_fewer_tokens_is_extrapolated():
    seen: list[int] = []
    peer = Peer("peer", "nothing", lambda p: seen.append(p.a.n_tokens), lambda p, _: None, most_tokens=lambda p: 300)
    machine = replace(runner.CPU, median_seconds=lambda call, repeats: 0.5, ceilings=lambda p: (1.0, 1.0))
    ours, theirs = run_job(SMALL, 1, (peer,), machine=machine)
    assert seen == [300]
    assert (ours.seconds, theirs.seconds, theirs.ratio) == (0.5, 5.0, 10.0)  # 3000 tokens
    assert (ours.note, theirs.note) == ("", "extrapolated from the first 300 tokens")


def test_the_crossover_is_interpolated_in_log_log():
    l0 = [50.0, 100.0, 400.0]
    # Ours grows with the square of L0, theirs does not: they meet where ours reaches 1 s, at L0 200.
    ours = [(x / 200) ** 2 for x in l0]
    assert crossover(l0, ours, [1.0] * 3) == pytest.approx(200)
    assert crossover(l0, ours, [10.0] * 3) is None
    assert crossover(l0, ours, [0.01] * 3) == 50


def timing(seconds: float | None, ratio: float | None = 1.0, peak: float = 1000.0, note: str = "", peer: str = "x"):
    rate = None if seconds is None else 10.0 / seconds
    return Timing("job", peer, "", seconds, ratio, peak, rate, 0.5, 0.5, note)


def test_the_crossover_is_said_in_a_sentence():
    def axes(theirs: float):
        return [("l0", x, [timing((x / 200) ** 2), timing(theirs)]) for x in CUDA_AXES["l0"]]

    assert "from L0 200 on" in crossover_sentence(axes(1.0))
    assert "none up to L0 600" in crossover_sentence(axes(100.0))
    assert "smallest L0 measured, 50" in crossover_sentence(axes(0.001))
    assert "not known" in crossover_sentence([("l0", 50.0, [timing(None), timing(1.0)])])


def test_a_job_that_did_not_fit_leaves_a_gap_in_the_tables():
    axes = [("n_tokens", n, [timing(s)]) for n, s in ((10, 1.0), (100, 10.0), (1000, None))]
    text = sweep_markdown(axes)
    assert "| 1000 | - |" in text
    assert "Slope of log seconds over log n_tokens: 1.00" in text


def test_targets_are_set_against_what_was_measured():
    peers = [timing(1.0, 10.0, peer=p.name) for p in CUDA_PEERS]
    axes = [("n_features", BOUNDED, [timing(2.0, peak=4096.0)]), ("wide", "", [timing(3.0)])]
    found = {t.figure: t for t in targets(MAIN, [timing(0.015), *peers], axes)}
    seconds, rate, stream, float32, memory, wide = found.values()
    assert [t.ratio for t in (seconds, stream, float32, memory)] == pytest.approx([2.0, 0.5, 0.05, 0.5])
    assert rate.measured == pytest.approx(10 / 0.015 * 1e9)
    assert (wide.measured, wide.ratio, wide.row()[1]) == (3.0, None, "runs")


def test_targets_that_were_not_measured_say_what_they_need():
    peers = [timing(None, None, note="failed: OutOfMemoryError", peer=p.name) for p in CUDA_PEERS]
    found = targets(MAIN, [timing(0.015), *peers], [])
    assert [t.note for t in found[2:]] == ["failed: OutOfMemoryError"] * 2 + ["needs --full"] * 2
    assert all(t.row()[2:] == ("not run", "-") for t in found[2:])
    assert all("needs 1,000,000 tokens" in t.note for t in targets(SMALL, [timing(1.0), *peers], [])[:4])
    assert Target("", 1.0, True, 0.5).ratio == Target("", 0.5, False, 1.0).ratio == 2.0


def test_events_are_not_needed_on_the_cpu():
    calls: list[int] = []
    assert cuda_measure.median_seconds(lambda: calls.append(1), 3, CPU) >= 0
    assert len(calls) == 4  # one warms up
    assert cuda_measure.peak_mib(lambda: torch.ones(2**24).sum(), CPU) == pytest.approx(64, abs=16)


@pytest.mark.skipif(HAS_KERNELS, reason="there is a CUDA device with kernels")
def test_without_a_device_the_command_says_so():
    out = semconv_cli("bench", "--device", "cuda")
    assert out.returncode == 2
    assert out.stderr.startswith("semconv: --device cuda needs ")
    assert out.stderr.count("\n") == 1


def test_a_build_without_kernels_is_told_apart_from_a_machine_without_a_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(ops, "build_facts", lambda: {"cuda_archs": ""})
    with pytest.raises(InputError, match="this build of the native core has none"):
        cuda_measure.cuda_device()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="needs a CUDA device"):
        cuda_measure.cuda_device()


@pytest.mark.parametrize("name", ["naive_cross_moments_", "shared_adds", "gather_rows"])
def test_the_kernels_of_the_benchmark_are_declared_but_not_for_the_cpu(name):
    schema = getattr(torch.ops.semconv, name).default._schema
    arguments = [0 if str(a.type) == "int" else torch.zeros(1, dtype=torch.int32) for a in schema.arguments]
    with pytest.raises(NotImplementedError, match="CPU"):
        getattr(torch.ops.semconv, name)(*arguments)


def test_an_unknown_device_is_refused():
    out = semconv_cli("bench", "--device", "tpu")
    assert (out.returncode, out.stderr) == (2, "semconv: --device must be cpu or cuda, got 'tpu'\n")


@requires_device
def test_a_session_on_the_device(tmp_path):
    out = semconv_cli(
        "bench", "--device", "cuda", "--tokens", "20000", "--features", "2048", "--l0", "40", "--repeats", "1",
        "--out", tmp_path,
    )  # fmt: skip
    assert out.returncode == 0, out.stderr
    text = (tmp_path / "bench.md").read_text()
    for peer in CUDA_PEERS[:-1]:
        assert f"{peer.name}: failed" not in text
        assert f"{peer.name}: wrong" not in text


@requires_device
def test_a_job_on_the_device_repeats():
    device = torch.device("cuda")
    sides = [make_on_device(SMALL, device)[0] for _ in range(2)]
    assert sides[0].sha256 == sides[1].sha256
    assert sides[0].l0 == pytest.approx(20, rel=0.1)


@requires_device
def test_a_product_of_bfloat16_is_added_up_in_float32():
    p = DevicePrepared(*make_on_device(SMALL, torch.device("cuda")), 1)
    for precision in (BFLOAT16, TF32, FLOAT32):
        peer = matmul_peer(precision)
        peer.check(p, peer.call(p))
