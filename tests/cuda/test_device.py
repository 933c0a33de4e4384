"""The registered CUDA kernels, on a real device, against the CPU's: the same bits, words and refusals, every time.

Every test also runs with the CPU in the device's place, so that the tests themselves are run where there is no GPU.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from semconv import ActivationStore, InputError, SparseActivations, StoreWriter, StreamingCorrelation, best_matches
from semconv.compare import MEASURES, SharedRows, make_measures
from semconv.core import ops
from semconv.models.sae_encode import encode
from semconv.text.token_blocks import TokenBlocks
from tests._helpers.device_ops import bad_inputs, new_state, with_hot_features
from tests._helpers.op_results import assert_same_matches, csr
from tests._helpers.spaces import spaces
from tests._helpers.stores import N_FEATURES, N_TOKENS, identity, write
from tests.conftest import random_activations, requires_cuda

native = torch.ops.semconv


def moved(arguments, device: str) -> list:
    return [x.clone().to(device) if isinstance(x, Tensor) else x for x in arguments]


def assert_same(device: str, found, expected) -> None:
    """On the device, and every bit as on the CPU."""
    for x, y in zip(found, expected, strict=True):
        assert x.device.type == device
        assert x.dtype == y.dtype
        pair = (x.cpu(), y) if x.dtype != torch.bfloat16 else (x.cpu().float(), y.float())  # numpy has no bfloat16
        np.testing.assert_array_equal(*(side.numpy() for side in pair), strict=True)


def test_the_comparison_can_fail(device: str):
    x = torch.rand(5, dtype=torch.float64)
    y = x.clone()
    y[3] = np.nextafter(float(y[3]), 2)
    with pytest.raises(AssertionError):
        assert_same(device, [x.to(device)], [y])


def assert_op_is_that_of_the_cpu(device: str, name: str, *arguments) -> None:
    on_device, on_cpu = moved(arguments, device), moved(arguments, "cpu")
    found, expected = (getattr(native, name)(*mine) for mine in (on_device, on_cpu))
    if isinstance(expected, Tensor):
        found, expected = [found], [expected]
    assert_same(device, found or (), expected or ())
    tensors = [[x for x in mine if isinstance(x, Tensor)] for mine in (on_device, on_cpu)]
    assert_same(device, *tensors)  # what an op changes in place, and that it changes nothing else


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    n_tokens=st.integers(1, 300),
    n_a=st.integers(1, 80),
    n_b=st.integers(1, 400),
    density=st.sampled_from([0.0, 0.05, 0.4, 1.0]),
    dtype=st.sampled_from([torch.float16, torch.float32]),
    k=st.integers(1, 20),
    ties=st.booleans(),
)
def test_best_matches(device, seed, n_tokens, n_a, n_b, density, dtype, k, ties):
    a, b = (random_activations(seed + i, n_tokens, n, density, dtype) for i, n in enumerate((n_a, n_b)))
    if ties:  # binary activations collide all the time
        a, b = (SparseActivations(x.indptr, x.indices, torch.ones_like(x.values), x.n_features) for x in (a, b))
    assert_op_is_that_of_the_cpu(device, "best_matches", *csr(a), n_a, *csr(b), n_b, min(k, n_a, n_b))


@pytest.mark.parametrize("width", [16_384, 70_001])
def test_best_matches_of_many_features(device: str, width: int):
    """Widths that take one and several passes over the columns; A's features from hot to never active."""
    g = torch.Generator().manual_seed(width)
    a = with_hot_features(0, 2000)
    columns = (torch.rand(2000, 40, generator=g) ** 3 * width).int().sort(dim=1).values
    rows = [row.unique() for row in columns]
    indices = torch.cat(rows)
    indptr = torch.tensor([0, *(len(row) for row in rows)]).cumsum(0)
    b = SparseActivations(indptr, indices, torch.rand(len(indices), generator=g) + 0.01, width)
    assert_op_is_that_of_the_cpu(device, "best_matches", *csr(a), a.n_features, *csr(b), width, 10)
    assert_op_is_that_of_the_cpu(device, "best_matches", *csr(b), width, *csr(a), a.n_features, 10)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    shape=st.tuples(st.integers(0, 40), st.integers(1, 3000)),
    density=st.sampled_from([0.0, 0.02, 1.0]),
    source=st.sampled_from([torch.float32, torch.float16, torch.bfloat16]),
    stored=st.sampled_from([torch.float16, torch.float32]),
    with_threshold=st.booleans(),
)
def test_compact_rows(device, seed, shape, density, source, stored, with_threshold):
    g = torch.Generator().manual_seed(seed)
    # From below the smallest float16 to beyond what rounds to zero, with negative zeros.
    x = torch.exp(6 * torch.randn(shape, generator=g) - 6).clamp(max=60000)
    x[torch.rand(shape, generator=g) >= density] = -0.0
    threshold = torch.rand(shape[1], generator=g) if with_threshold else None
    x = (x - (0.01 if with_threshold else 0)).to(source)
    assert_op_is_that_of_the_cpu(device, "compact_rows", x, stored, threshold)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    n_tokens=st.integers(2, 200),
    n_a=st.integers(1, 60),
    n_b=st.integers(1, 300),
    density=st.sampled_from([0.05, 0.4, 1.0]),
    k=st.integers(1, 30),
)
def test_moments_and_what_is_made_of_them(device, seed, n_tokens, n_a, n_b, density, k):
    a, b = (random_activations(seed + i, n_tokens, n, density) for i, n in enumerate((n_a, n_b)))
    first = SparseActivations(a.indptr, a.indices, a.values / 16, n_a)  # so that later values saturate
    state = new_state(n_a, n_b)
    for chunk in (first, a):
        assert_op_is_that_of_the_cpu(device, "cross_moments_", *state, *csr(chunk), *csr(b), 2)
        native.cross_moments_(*state, *csr(chunk), *csr(b), 2)
    assert_op_is_that_of_the_cpu(device, "correlation_from_moments", *state, 2 * n_tokens)
    assert_op_is_that_of_the_cpu(device, "best_from_moments", *state, 2 * n_tokens, min(k, n_a, n_b))


@pytest.mark.parametrize("n", [1, 2, 9, 40, 97, 700])
def test_permuted_dot(device: str, n: int):
    g = torch.Generator().manual_seed(n)
    x, y = (torch.randn(n, n, generator=g, dtype=torch.float64) for _ in range(2))
    permutations = torch.stack([torch.randperm(n, generator=g) for _ in range(11)]).int()
    assert_op_is_that_of_the_cpu(device, "permuted_dot", x, y, permutations)


@pytest.mark.parametrize(("name", "arguments"), list(bad_inputs()))
def test_refusals_have_the_words_of_the_cpu_and_change_nothing(device: str, name: str, arguments):
    said = []
    for place in (device, "cpu"):
        mine = moved(arguments, place)
        with pytest.raises(ValueError) as refusal:  # noqa: PT011 - the words are compared below
            getattr(native, name)(*mine)
        said.append(str(refusal.value).splitlines()[0])
        for before, after in zip(arguments, mine, strict=True):
            if isinstance(before, Tensor):
                assert torch.equal(torch.nan_to_num(before), torch.nan_to_num(after.cpu()))
    assert said[0] == said[1]


def everything(a: SparseActivations, b: SparseActivations, device: str) -> list[Tensor]:
    """Every op once, over activations with hot features whose posting lists are cut."""
    state = moved(new_state(a.n_features, b.n_features), device)
    native.cross_moments_(*state, *csr(a), *csr(b), 0)
    dense = a.to_dense()
    square = torch.cos(torch.arange(90_000, dtype=torch.float64)).view(300, 300)  # here: a device's cosine is another
    permutations = torch.stack([torch.randperm(300, generator=torch.Generator().manual_seed(i)) for i in range(50)])
    return [
        *ops.best_matches(csr(a), a.n_features, csr(b), b.n_features, 3),
        *state,
        *ops.best_from_moments(*state, a.n_tokens, 3),
        ops.correlation_from_moments(*state, a.n_tokens),
        *ops.compact_rows(dense, torch.float16),
        *ops.compact_rows(dense, torch.float32, torch.ones(a.n_features, device=device)),
        ops.permuted_dot(square.to(device), square.cos().to(device), permutations.int().to(device)),
    ]


def hot_pair(device: str) -> tuple[SparseActivations, SparseActivations]:
    a, b = with_hot_features(0, 20_000), with_hot_features(1, 20_000)
    scale = 60_000 / 65_536  # within float16
    return tuple(SparseActivations(x.indptr, x.indices, x.values * scale, x.n_features).to(device) for x in (a, b))  # type: ignore[return-value]


def test_five_runs_give_the_same_bits(device: str):
    expected = everything(*hot_pair("cpu"), "cpu")
    pair = hot_pair(device)
    for _ in range(5):
        assert_same(device, everything(*pair, device), expected)


@requires_cuda
def test_streams_give_the_same_bits():
    """The ops work on the current stream, also while others are busy."""
    expected = everything(*hot_pair("cpu"), "cpu")
    pair = hot_pair("cuda")
    torch.cuda.synchronize()
    streams, found = [torch.cuda.Stream() for _ in range(4)], []
    for stream in streams:
        with torch.cuda.stream(stream):
            busy = torch.rand(4096, 4096, device="cuda")
            for _ in range(10):
                busy = busy @ busy
            found.append(everything(*pair, "cuda"))
    torch.cuda.synchronize()
    for one in found:
        assert_same("cuda", one, expected)


def test_the_api_stays_on_the_device(device: str):
    a, b = (random_activations(i, 200, n, 0.2) for i, n in enumerate((30, 41)))
    x, y = a.to(device), b.to(device)
    found, expected = best_matches(x, y, 3), best_matches(a, b, 3)
    assert found.a_to_b.r.device.type == device
    assert_same_matches(found.to("cpu"), expected)
    assert_same_matches(best_matches(a, b, 3, device=device).to("cpu"), expected)
    assert_same_matches(best_matches(x, y, 3, backend="reference").to("cpu"), expected)
    assert (x.sha256, y.rows(3, 90).sha256) == (a.sha256, b.rows(3, 90).sha256)
    assert SparseActivations.concatenate([x.rows(0, 7), x.rows(7, 200)]).sha256 == a.sha256
    part = torch.tensor([0, 3, 17])
    assert x.columns(part.to(device)).sha256 == a.columns(part).sha256
    for method in ("to_dense", "token_of_entry", "active_counts", "feature_max"):
        assert_same(device, [getattr(x, method)()], [getattr(a, method)()])


def test_streaming_correlation(device: str):
    a, b = (random_activations(i, 300, n, 0.2) for i, n in enumerate((40, 50)))
    expected = best_matches(a, b, 2)
    maxima = {"feature_max_a": a.feature_max(), "feature_max_b": b.feature_max().to(device)}
    streams = [StreamingCorrelation(40, 50, **maxima, device=device) for _ in range(2)]
    for stream, begin, end in ((streams[0], 0, 100), (streams[1], 100, 130), (streams[0], 130, 300)):
        stream.update(a.rows(begin, end).to(device), b.rows(begin, end).to(device))
    streams[0].merge(streams[1])
    assert_same_matches(streams[0].best_matches(2).to("cpu"), expected)
    state = streams[0].state_dict()
    assert {t.device.type for t in state.values()} == {device}
    for place in ("cpu", device):
        again = StreamingCorrelation.from_state_dict(state, device=place)
        assert again.device.type == place
        assert_same_matches(again.best_matches(2).to("cpu"), expected)


def test_stores(device: str, tmp_path: Path):
    acts = random_activations(0, N_TOKENS, N_FEATURES)
    store = write(tmp_path / "cpu", acts)
    writer, position = StoreWriter(tmp_path / "device", identity()), 0
    for size in (3, 60, 37):
        writer.append(acts.rows(position, position + size).to(device), position)
        position += size
    same = ActivationStore(tmp_path / "device")
    assert same.sha256 == store.sha256
    assert same.load(device).device.type == device
    assert same.load(device).sha256 == acts.sha256
    assert_same_matches(best_matches(same, store, device=device).to("cpu"), best_matches(acts, acts))
    assert best_matches(same, acts.to(device)).a_to_b.r.device.type == device


def scores_or_refusal(measure, rows: list[SharedRows], permutations: np.ndarray) -> list[float] | str:
    try:
        return measure.null_scores(*(measure.prepare_shared(one) for one in rows), permutations).tolist()
    except InputError as refused:
        return str(refused)


@pytest.mark.parametrize("shape", [{}, {"n": 55}, {"n": 20}], ids=["all", "must share directions", "wide"])
@pytest.mark.parametrize("name", MEASURES)
def test_measures_score_on_the_device(device: str, name: str, shape: dict):
    spaces_of_both, measure = spaces(**shape), make_measures([name])[0]
    permutations = np.stack([np.random.default_rng(i).permutation(len(spaces_of_both[0])) for i in range(9)])
    rows = [SharedRows(torch.from_numpy(X).to(device)) for X in spaces_of_both]
    assert rows[0].checked(3).device.type == device
    expected = scores_or_refusal(measure, [SharedRows(X) for X in spaces_of_both], permutations)
    same = expected if isinstance(expected, str) else pytest.approx(expected, abs=1e-10)  # sums in another order
    assert scores_or_refusal(measure, rows, permutations) == same


@requires_cuda
def test_two_devices_are_one_sentence():
    a = random_activations(0, 20, 5)
    with pytest.raises(InputError, match="on one device, got cpu and cuda:0; say which with device="):
        best_matches(a, a.to("cuda"))
    with pytest.raises(InputError, match="chunks must be on cpu like the stream, got cuda:0 and cuda:0"):
        StreamingCorrelation(5, 5).update(a.to("cuda"), a.to("cuda"))


class PlainSae(nn.Module):
    """A JumpReLU SAE with the names that sae-lens uses, for machines that do not have it."""

    def __init__(self, d_in: int, d_sae: int) -> None:
        super().__init__()
        g = torch.Generator().manual_seed(0)
        told = {"d_in": d_in, "architecture": "jumprelu"}
        self.cfg = SimpleNamespace(d_in=d_in, d_sae=d_sae, architecture=lambda: "jumprelu", to_dict=lambda: told)
        self.activation_fn = nn.ReLU()
        self.W_enc = nn.Parameter(torch.randn(d_in, d_sae, generator=g))
        self.b_enc, self.threshold = nn.Parameter(torch.zeros(d_sae)), nn.Parameter(torch.full((d_sae,), 4.0))

    def process_sae_in(self, x: Tensor) -> Tensor:
        return x


@pytest.mark.slow
def test_from_tokens_to_matches_without_leaving_the_device(device: str):
    transformers = pytest.importorskip("transformers")
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1}
    config = transformers.Gemma2Config(vocab_size=100, head_dim=16, num_hidden_layers=2, initializer_range=0.3, **shape)
    torch.manual_seed(0)
    model = transformers.Gemma2Model(config).to(device).eval()
    saes = {f"blocks.{i}.hook_resid_post": PlainSae(32, 200).to(device) for i in range(2)}
    ids = torch.randint(100, (10, 24), generator=torch.Generator().manual_seed(0), dtype=torch.int32)
    mask = torch.ones_like(ids, dtype=torch.bool)
    mask[:, 0] = mask[3] = False
    blocks = TokenBlocks(ids, mask, torch.where(mask, 0, -1).int())
    runs = [
        list(encode(model, saes, blocks, batch=4, batches=part))
        for part in (None, None, range(1, -(-len(blocks.ids) // 4)))
    ]  # pyright: ignore
    for again in (runs[1], [runs[0][0], *runs[2]]):
        for chunks, expected in zip(again, runs[0], strict=True):
            assert {h: c.position for h, c in chunks.items()} == {h: c.position for h, c in expected.items()}
            assert {c.acts.device.type for c in chunks.values()} == {device}
            assert {h: c.acts.sha256 for h, c in chunks.items()} == {h: c.acts.sha256 for h, c in expected.items()}
    sides = [SparseActivations.concatenate([chunks[hook].acts for chunks in runs[0]]) for hook in saes]
    assert sides[0].n_tokens == blocks.n_tokens
    assert sides[0].nnz > 0
    found = best_matches(*sides)
    assert found.a_to_b.r.device.type == device
    assert_same_matches(found.to("cpu"), best_matches(*(side.to("cpu") for side in sides)))
