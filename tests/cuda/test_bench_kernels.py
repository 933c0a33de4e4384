"""The CUDA kernels that only the benchmark uses, and its whole session, run on the host by the emulator."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semconv.bench import Job, cuda_measure, cuda_session
from semconv.bench.cuda_measure import CeilingSizes
from semconv.bench.cuda_peers import CUDA_PEERS, CUDA_SEMCONV
from semconv.bench.session import write_session
from tests._helpers.device_ops import LIMITS, assert_same, bad_inputs, cpu, new_state
from tests._helpers.op_results import csr
from tests.conftest import random_activations

PRODUCT = 0x10001  # kSharedAddsProduct


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    n_tokens=st.integers(2, 80),
    n_a=st.integers(1, 30),
    n_b=st.integers(1, 100),
    density=st.sampled_from([0.0, 0.05, 0.4, 1.0]),
    headroom=st.integers(0, 3),
)
def test_the_naive_kernel_equals_cross_moments(emulated, seed, n_tokens, n_a, n_b, density, headroom):
    a, b = random_activations(seed, n_tokens, n_a, density), random_activations(seed + 1, n_tokens, n_b, density)
    states = new_state(n_a, n_b), new_state(n_a, n_b)
    for chunk in ((a, b), (a.rows(0, 2), b.rows(0, 2))):  # the second adds to what is there
        emulated.naive_cross_moments_(*states[0], *csr(chunk[0]), *csr(chunk[1]), headroom)
        cpu.cross_moments_(*states[1], *csr(chunk[0]), *csr(chunk[1]), headroom)
    assert_same(*states)


@pytest.mark.parametrize("arguments", [arguments for name, arguments in bad_inputs() if name == "cross_moments_"])
def test_the_naive_kernel_refuses_what_cross_moments_refuses(emulated, arguments):
    said: list[str] = []
    for op in (emulated.naive_cross_moments_, cpu.cross_moments_):
        state = [x.clone() for x in arguments[:3]]
        with pytest.raises(ValueError) as refusal:  # noqa: PT011 - the words are compared below
            op(*state, *arguments[3:])
        said.append(str(refusal.value).splitlines()[0])
        assert_same(state, arguments[:3])
    assert said[0] == said[1]


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("n_features", [1, 100, 100_000])
def test_shared_adds_does_what_it_says_it_did(emulated, limits, n_features):
    emulated.set_limits(*limits)
    sums, n_adds = emulated.shared_adds(torch.zeros(1), n_features)
    assert sums.shape == (limits[0], emulated.columns_per_pass(n_features, 1))
    assert int(sums.sum()) == n_adds * PRODUCT
    adds = sums // PRODUCT
    assert torch.equal(adds * PRODUCT, sums)  # no limb overflowed
    # 1024 adds a column on average, in random order: a standard deviation is 32; 8 of them over thousands of columns.
    wanted = n_adds / adds.numel()
    assert float((adds - wanted).abs().max()) <= 8 * wanted**0.5
    if sums.shape[0] > 1 and sums.shape[1] > 1:
        assert not torch.equal(sums[0], sums[1])


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("quads", [1, 3, 25])
def test_gather_rows_reads_every_word_once(emulated, limits, quads):
    emulated.set_limits(*limits)
    g = torch.Generator().manual_seed(0)
    rows = torch.randint(0, 2**31 - 1, (50, 4 * quads), generator=g, dtype=torch.int32)
    picks = torch.randint(0, 50, (1001,), generator=g, dtype=torch.int32)
    assert int(emulated.gather_rows(rows, picks)) == int(rows.long()[picks].sum())
    assert int(emulated.gather_rows(rows, picks[:0])) == 0
    for bad in ((rows[:, :-1], picks), (rows.long(), picks), (rows, picks.long())):
        with pytest.raises(ValueError, match="must be contiguous int32"):
            emulated.gather_rows(*bad)


@pytest.fixture
def on_the_host(emulated, monkeypatch):
    """A benchmark that calls the emulator and looks at no clock."""

    def one_second(call, repeats, device):
        call()
        return 1.0

    emulated.set_limits(*LIMITS[0])
    monkeypatch.setitem(sys.modules, "cupy", None)  # as where it is not installed
    monkeypatch.setattr(cuda_measure, "library", emulated)
    monkeypatch.setattr(cuda_measure, "median_seconds", one_second)
    monkeypatch.setattr(cuda_measure, "SIZES", CeilingSizes(2**12, 16, 2**10, 2**16, 2**14))


JOB = Job(n_tokens=1500, n_features=96, l0=8)


@pytest.mark.slow
@pytest.mark.usefixtures("on_the_host")
def test_a_session_holds_every_peer_ceiling_and_target(tmp_path):
    session = cuda_session.run(JOB, 1, False, lambda stage, done, total: None, torch.device("cpu"))
    assert [t.peer for t in session.timings] == [CUDA_SEMCONV.name, *(p.name for p in CUDA_PEERS)]
    notes = [t.note for t in session.timings]
    assert notes == [""] * len(CUDA_PEERS) + ["not installed"]
    assert session.timings[0].cache_share == session.timings[0].updates_per_ns / session.ceilings.shared_updates_per_ns
    assert session.ceilings.copied_bytes_per_ns == 2 * 2**12 * 1e-9
    assert session.ceilings.matmul_per_ns == 2 * 16**3 * 1e-9
    write_session(session, tmp_path)
    text = (tmp_path / "bench.md").read_text()
    for words in ("torch matmul stream, bfloat16", "shared updates per ns", "times the speed of", "needs --full"):
        assert words in text
    written = json.loads((tmp_path / "bench.json").read_text())
    assert written["targets"][0]["measured"] is None
    assert written["ceilings"]["gathered_bytes_per_ns"] > 0
    assert not (tmp_path / "bench.png").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("on_the_host")
def test_a_full_session_holds_every_axis(tmp_path, monkeypatch):
    for axis, values in {"n_tokens": (500, 1000), "n_features": (64, 128), "l0": (4.0, 8.0), "k": (1, 3)}.items():
        monkeypatch.setitem(cuda_session.CUDA_AXES, axis, values)
    monkeypatch.setattr(cuda_session, "WIDE", {"n_features": 200, "n_features_b": 50})

    def run_job(job, *rest):
        if job.n_features == 128:
            raise torch.OutOfMemoryError("the device is full")
        return real(job, *rest)

    real = cuda_session.run_job
    monkeypatch.setattr(cuda_session, "run_job", run_job)
    session = cuda_session.run(JOB, 1, True, lambda stage, done, total: None, torch.device("cpu"))
    assert [axis for axis, _, _ in session.axes] == ["n_tokens"] * 2 + ["n_features"] * 2 + ["l0"] * 2 + ["k"] * 2 + [
        "wide"
    ]
    full = next(t for _, value, t in session.axes if value == 128)
    assert [t.note for t in full] == ["failed: OutOfMemoryError, the device is full"]
    assert "wins at no L0: none up to L0 8" in session.crossover  # every call takes one second: nobody wins
    assert session.targets[-1].measured is not None
    write_session(session, tmp_path)
    assert session.crossover in (tmp_path / "bench.md").read_text()
    assert (tmp_path / "bench.png").stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.usefixtures("on_the_host")
def test_a_peer_that_answers_wrongly_is_a_line_of_the_session(monkeypatch):
    wrong = replace(
        CUDA_PEERS[0], call=lambda p: CUDA_PEERS[0].call(p)._replace(index_a=torch.zeros(96, dtype=torch.int64))
    )
    monkeypatch.setattr(cuda_session, "CUDA_PEERS", (wrong, *CUDA_PEERS[1:]))
    session = cuda_session.run(JOB, 1, False, lambda stage, done, total: None, torch.device("cpu"))
    assert session.timings[1].note.startswith("wrong answer: the best matches are off by")
    assert session.targets[2].measured is None
