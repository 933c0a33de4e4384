"""Which device and precision are chosen, and that nothing is made on another device than its inputs' by accident.

No GPU is needed here: a default device without data (`meta`) betrays every tensor made without naming one, and fake
tensors of a device that no build supports (`lazy`) refuse to be mixed with those of the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from semconv import ActivationStore, InputError, SparseActivations, StoreWriter, StreamingCorrelation, best_matches
from semconv.core import ops
from semconv.core.device import choose_device, float32_products, resolve_precision
from tests._helpers.op_results import assert_same_bits
from tests._helpers.stores import N_FEATURES, N_TOKENS, identity
from tests.conftest import random_activations

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


def test_auto_takes_the_gpu_only_where_it_can_be_used(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    for available, kernels, chosen, lacking in (
        (False, False, CPU, "torch finds no CUDA device"),
        (False, True, CPU, "torch finds no CUDA device"),
        (True, False, CPU, "this build of semconv has no CUDA kernels"),
        (True, True, CUDA, None),
    ):
        monkeypatch.setattr(torch.cuda, "is_available", lambda available=available: available)
        monkeypatch.setattr(ops, "has_cuda_kernels", lambda kernels=kernels: kernels)
        assert choose_device("auto") == chosen
        assert choose_device("cpu") == CPU
        if lacking is None:
            assert choose_device("cuda") == CUDA
        else:
            with pytest.raises(InputError, match=f"device cuda cannot be used: {lacking}"):
                choose_device("cuda")
    with pytest.raises(InputError, match="one of auto, cpu, cuda, got 'gpu'"):
        choose_device("gpu")


def test_the_build_says_whether_it_has_cuda_kernels():
    registered = torch._C._dispatch_has_kernel_for_dispatch_key("semconv::compact_rows", "CUDA")
    assert ops.has_cuda_kernels() == registered


@pytest.mark.parametrize(
    ("asked", "sae_dtype", "device", "expected"),
    [
        ("sae", "float32", CUDA, "float32"),
        ("sae", "float16", CPU, "float32"),  # how the mini SAEs are stored
        ("sae", "bfloat16", CPU, "bfloat16"),
        ("tf32", "float32", CUDA, "tf32"),
        ("tf32", "float32", CPU, "float32"),
        ("float32", "bfloat16", CUDA, "float32"),
        ("bfloat16", "float32", CUDA, "bfloat16"),
    ],
)
def test_the_precision_of_an_encoder(asked: str, sae_dtype: str, device: torch.device, expected: str):
    assert resolve_precision(asked, sae_dtype, device) == expected


def test_an_unknown_precision_is_refused():
    with pytest.raises(InputError, match="one of sae, float32, tf32, bfloat16, got 'float16'"):
        resolve_precision("float16", "float32", CPU)


@pytest.mark.parametrize("before", ["none", "tf32", "ieee"])
def test_the_mode_of_float32_products_is_set_and_put_back(before: str):
    matmul = torch.backends.cuda.matmul
    kept = matmul.fp32_precision

    def mode_at_an_error(tf32: bool) -> None:
        with float32_products(tf32):
            raise KeyError(matmul.fp32_precision)

    try:
        matmul.fp32_precision = before
        for tf32, mode in ((True, "tf32"), (False, "ieee")):
            with pytest.raises(KeyError, match=mode):
                mode_at_an_error(tf32)
            assert matmul.fp32_precision == before
    finally:
        matmul.fp32_precision = kept


ACTS = [random_activations(seed, N_TOKENS, N_FEATURES) for seed in range(3)]


def _parts(acts: SparseActivations) -> list[torch.Tensor]:
    return [acts.indptr, acts.indices, acts.values]


def _streamed(state_of: Callable[[StreamingCorrelation], object] | None = None) -> list[torch.Tensor]:
    a, b = ACTS[0], ACTS[1]
    maxima = {"feature_max_a": a.feature_max(), "feature_max_b": b.feature_max()}
    streams = [StreamingCorrelation(N_FEATURES, N_FEATURES, **maxima) for _ in range(2)]
    streams[0].update(a.rows(0, 40), b.rows(0, 40))
    streams[0].update(a.rows(40, 60), b.rows(40, 60))
    streams[1].update(a.rows(60, N_TOKENS), b.rows(60, N_TOKENS))
    streams[0].merge(streams[1])
    again = StreamingCorrelation.from_state_dict(streams[0].state_dict())
    found = again.best_matches(2)
    return [again.correlation(), found.a_to_b.index, found.b_to_a.r, *again.state_dict().values()]


def _stored(folder: Path) -> list[torch.Tensor]:
    acts = ACTS[0]
    writer = StoreWriter(folder, identity())
    writer.append(acts.rows(0, 50), 0)
    writer.append(acts.rows(50, N_TOKENS), 50)
    store = ActivationStore(folder)
    return [*_parts(store.load()), store.feature_max()]


def _matched() -> list[torch.Tensor]:
    m = best_matches(ACTS[0], ACTS[1], 3)
    return [m.a_to_b.index, m.a_to_b.r, m.b_to_a.index, m.b_to_a.r, m.quantization_noise_a, m.quantization_noise_b]


WORK: dict[str, Callable[[Path], list[torch.Tensor]]] = {
    "concatenate": lambda _: _parts(SparseActivations.concatenate([ACTS[0], ACTS[1], ACTS[2]])),
    "rows": lambda _: _parts(ACTS[0].rows(3, 50)),
    "columns": lambda _: _parts(ACTS[0].columns(torch.tensor([1, 4], device="cpu"))),
    "to": lambda _: _parts(ACTS[0].to("cpu")),
    "to_dense": lambda _: [ACTS[0].to_dense()],
    "token_of_entry": lambda _: [ACTS[0].token_of_entry()],
    "active_counts": lambda _: [ACTS[0].active_counts()],
    "feature_max": lambda _: [ACTS[0].feature_max()],
    "best_matches": lambda _: _matched(),
    "streams": lambda _: _streamed(),
    "stores": _stored,
}


@pytest.mark.parametrize("name", list(WORK))
def test_every_tensor_is_made_where_the_inputs_are(name: str, tmp_path: Path):
    expected = WORK[name](tmp_path / "one")
    with torch.device("meta"):
        found = WORK[name](tmp_path / "two")
    for x, y in zip(found, expected, strict=True):
        assert_same_bits(x, y)


def test_a_tensor_made_without_a_device_is_betrayed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def careless(acts: SparseActivations) -> torch.Tensor:
        return torch.repeat_interleave(torch.arange(acts.n_tokens), acts.indptr.diff())

    monkeypatch.setattr(SparseActivations, "token_of_entry", careless)
    for name in ("token_of_entry", "to_dense"):
        with pytest.raises((AssertionError, RuntimeError, TypeError)):
            test_every_tensor_is_made_where_the_inputs_are(name, tmp_path)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Generator[SparseActivations]:
    """Fake activations on a device that is not the CPU; without data there is nothing to check."""
    monkeypatch.setattr("semconv.core.sparse._check", lambda _: None)
    with FakeTensorMode(shape_env=ShapeEnv()):
        yield SparseActivations(
            torch.zeros(11, dtype=torch.int64, device="lazy"),
            torch.zeros(30, dtype=torch.int32, device="lazy"),
            torch.zeros(30, device="lazy"),
            7,
        )


def test_fake_devices_refuse_to_be_mixed(elsewhere: SparseActivations):
    with pytest.raises(RuntimeError, match="same device"):
        elsewhere.values + torch.ones(30)


def test_work_stays_on_the_device_of_its_inputs(elsewhere: SparseActivations):
    a = elsewhere
    for tensor in (
        SparseActivations.concatenate([a, a, a]).indptr,
        a.to_dense(),
        a.token_of_entry(),
        a.active_counts(),
        a.feature_max(),
        best_matches(a, a, 2).a_to_b.r,
        best_matches(a, a).quantization_noise_b,
    ):
        assert tensor.device.type == "lazy"
    assert best_matches(a, a).to("cpu").b_to_a.index.device.type == "cpu"
    assert best_matches(a, a.to("cpu"), device="lazy").a_to_b.r.device.type == "lazy"
    assert best_matches(a, a, device="cpu").a_to_b.r.device.type == "cpu"
    assert a.to("lazy") is a
    stream = StreamingCorrelation(7, 7, device="lazy")
    stream.update(a, a)
    stream.update(a, a)
    assert {name: t.device.type for name, t in stream.state_dict().items()} == dict.fromkeys(
        ("s_ab", "sums_a", "sums_b", "n_tokens"), "lazy"
    )
    assert stream.device.type == "lazy"


def test_two_devices_are_one_sentence(elsewhere: SparseActivations):
    a, here = elsewhere, elsewhere.to("cpu")
    with pytest.raises(InputError, match="a and b must be on one device, got lazy and cpu; say which with device="):
        best_matches(a, here)
    with pytest.raises(InputError, match="chunks must be on one device, got cpu and lazy"):
        SparseActivations.concatenate([here, a])
    stream, other = StreamingCorrelation(7, 7), StreamingCorrelation(7, 7, device="lazy")
    with pytest.raises(InputError, match="chunks must be on cpu like the stream, got cpu and lazy"):
        stream.update(here, a)
    assert stream.n_tokens == 0
    with pytest.raises(InputError, match="streams must be on one device to be merged, got cpu and lazy"):
        stream.merge(other)


def test_the_arrays_of_activations_are_on_one_device():
    acts = ACTS[0]
    with pytest.raises(InputError, match="indptr, indices and values must be on one device, got cpu, cpu, meta"):
        SparseActivations(acts.indptr, acts.indices, acts.values.to("meta"), acts.n_features)
