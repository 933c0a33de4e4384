"""The native ops against the plain reference: equality to the last bit, and refusals with the value found."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semconv import InputError, SparseActivations, best_matches
from semconv.core import ops
from semconv.core import oracle as reference
from semconv.core.ops import NO_SCALE, FeatureSum
from tests._helpers.op_results import assert_same_bits, assert_same_matches, csr
from tests.conftest import random_activations


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    n_tokens=st.integers(1, 40),
    n_a=st.integers(1, 40),
    n_b=st.integers(1, 70),
    density=st.sampled_from([0.0, 0.05, 0.4, 1.0]),
    dtype=st.sampled_from([torch.float16, torch.float32]),
    k=st.integers(1, 5),
    ties=st.booleans(),
)
def test_best_matches_equals_the_reference(seed, n_tokens, n_a, n_b, density, dtype, k, ties):
    a = random_activations(seed, n_tokens, n_a, density, dtype)
    b = random_activations(seed + 1, n_tokens, n_b, density, dtype)
    if ties:  # binary activations collide all the time
        a, b = (SparseActivations(x.indptr, x.indices, torch.ones_like(x.values), x.n_features) for x in (a, b))
    k = min(k, n_a, n_b)
    assert_same_matches(best_matches(a, b, k), best_matches(a, b, k, backend="reference"))


def test_the_first_wrong_token_is_named_whatever_the_threads_do():
    a = random_activations(0, 200, 20)
    values = a.values.clone()
    values[[int(a.indptr[20]), int(a.indptr[180])]] = -1.0
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 5) * 5:
            torch.set_num_threads(threads)
            with pytest.raises(InputError, match="at token 20$"):
                ops.best_matches((a.indptr, a.indices, values), 20, csr(a), 20, 1)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("k", [1, 3])
def test_shifted_matches_are_those_of_shifted_tokens(k: int):
    a, b = random_activations(1, 50, 30), random_activations(2, 50, 40)
    shifts = [0, 1, 17, 49]
    found = ops.best_matches_shifted(csr(a), 30, csr(b), 40, shifts, k)
    for i, shift in enumerate(shifts):
        rolled = SparseActivations.from_dense(b.to_dense().roll(-shift, 0))  # row t is row t + shift of b
        expected = ops.best_matches(csr(a), 30, csr(rolled), 40, k)
        for mine, theirs in zip(found, expected[:4], strict=True):
            assert_same_bits(mine[i], theirs)


@pytest.mark.parametrize("k", [1, 3])
def test_permuted_matches_are_those_of_permuted_tokens(k: int):
    a, b = random_activations(1, 50, 30), random_activations(2, 50, 40)
    rng = np.random.default_rng(0)
    permutations = torch.from_numpy(
        np.stack([np.arange(50), *(rng.permutation(50) for _ in range(3))]).astype(np.int32)
    )
    found = ops.best_matches_permuted(csr(a), 30, csr(b), 40, permutations, k)
    for i, permutation in enumerate(permutations):
        moved = b.tokens(permutation.long())
        for mine, theirs in zip(found, ops.best_matches(csr(a), 30, csr(moved), 40, k)[:4], strict=True):
            assert_same_bits(mine[i], theirs)
    of_none = ops.best_matches_permuted(csr(a), 30, csr(b), 40, permutations[:0], k)
    assert [t.shape for t in of_none] == [(0, 30, k)] * 2 + [(0, 40, k)] * 2


@pytest.mark.parametrize(
    ("permutations", "expected"),
    [
        (
            torch.arange(50, dtype=torch.int32).roll(3)[None].repeat(2, 1).fill_(7),
            "got 7 out of range or twice in row 0",
        ),
        (torch.arange(1, 51, dtype=torch.int32)[None], "got 50 out of range"),
        (torch.arange(-1, 49, dtype=torch.int32)[None], "got -1 out of range"),
        (torch.arange(50)[None], "must be int32"),
        (torch.arange(49, dtype=torch.int32)[None], r"must be int32 \[m, 50\]"),
        (torch.arange(50, dtype=torch.int32), "must be int32"),
    ],
)
def test_what_is_no_permutation_of_the_tokens_is_refused(permutations: torch.Tensor, expected: str):
    a = random_activations(1, 50, 30)
    with pytest.raises(InputError, match=expected):
        ops.best_matches_permuted(csr(a), 30, csr(a), 30, permutations, 1)


@pytest.mark.slow
def test_stretches_of_tokens_cannot_be_seen():
    """Where the sums of all features fit into the cache the text is walked in stretches, else feature by feature."""
    a, b = random_activations(1, 20_000, 120, 0.5), random_activations(2, 20_000, 120, 0.5)
    assert 4 * b.nnz > 2**22  # two stretches
    wide = SparseActivations(b.indptr, b.indices, b.values, 20_000)  # silent features, which match nothing
    assert 8 * 120 * 20_000 > 2**24
    permutation = torch.from_numpy(np.random.default_rng(0).permutation(20_000).astype(np.int32))[None]
    narrow = (
        ops.best_matches(csr(a), 120, csr(b), 120, 3),
        ops.best_matches_permuted(csr(a), 120, csr(b), 120, permutation, 3),
    )
    of_wide = (
        ops.best_matches(csr(a), 120, csr(wide), 20_000, 3),
        ops.best_matches_permuted(csr(a), 120, csr(wide), 20_000, permutation, 3),
    )
    for mine, theirs in zip(narrow, of_wide, strict=True):
        for place in range(2):
            assert_same_bits(mine[place], theirs[place])
            assert_same_bits(mine[2 + place], theirs[2 + place][..., :120, :])


@pytest.mark.parametrize("shifts", [[], [-1], [50]])
def test_impossible_shifts_are_refused(shifts: list[int]):
    a = random_activations(1, 50, 30)
    with pytest.raises(InputError, match="shift"):
        ops.best_matches_shifted(csr(a), 30, csr(a), 30, shifts, 1)


def test_the_equality_helper_can_fail():
    a = random_activations(0, 30, 10)
    left, right = best_matches(a, a), best_matches(a, a)
    right.a_to_b.r[3, 0] = np.nextafter(float(right.a_to_b.r[3, 0]), 2)
    with pytest.raises(AssertionError):
        assert_same_matches(left, right)


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_the_number_of_threads_cannot_be_seen(threads: int):
    a, b = random_activations(1, 3000, 300, 0.1), random_activations(2, 3000, 500, 0.1)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        expected = best_matches(a, b, k=4)
        torch.set_num_threads(threads)
        assert_same_matches(best_matches(a, b, k=4), expected)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("size", [1, 7, 100, 1000])
def test_chunking_cannot_be_seen(size: int):
    x = random_activations(3, 1000, 64).to_dense()
    whole = SparseActivations.from_dense(x)
    joined = SparseActivations.concatenate([SparseActivations.from_dense(part) for part in x.split(size)])
    assert joined.sha256 == whole.sha256


def test_the_order_of_tokens_cannot_be_seen():
    a, b = random_activations(4, 500, 60).to_dense(), random_activations(5, 500, 80).to_dense()
    order = torch.randperm(500, generator=torch.Generator().manual_seed(0))
    shuffled = best_matches(SparseActivations.from_dense(a[order]), SparseActivations.from_dense(b[order]), k=3)
    assert_same_matches(shuffled, best_matches(SparseActivations.from_dense(a), SparseActivations.from_dense(b), k=3))


def test_features_beyond_one_column_block():
    """70,001 B-features, all of them active and some twins: the same answer as from two narrow halves, merged here."""
    n_tokens, width, half, k = 300, 70_001, 35_000, 3
    dense = torch.zeros(n_tokens, width)
    g = torch.Generator().manual_seed(0)
    dense[torch.randint(n_tokens, (2 * width,), generator=g), torch.arange(2 * width) % width] = 1.0
    dense[:, 69_000:69_500] = dense[:, :500]  # ties between columns of different halves
    a = random_activations(7, n_tokens, 30, 0.3)
    whole = best_matches(a, SparseActivations.from_dense(dense), k)
    parts = [best_matches(a, SparseActivations.from_dense(dense[:, s]), k) for s in (slice(0, half), slice(half, None))]
    assert_same_bits(whole.b_to_a.r, torch.cat([p.b_to_a.r for p in parts]))
    assert torch.equal(whole.b_to_a.index, torch.cat([p.b_to_a.index for p in parts]))
    for feature in range(30):
        candidates = [
            (-float(p.a_to_b.r[feature, i]), int(p.a_to_b.index[feature, i]) + offset)
            for p, offset in zip(parts, (0, half), strict=True)
            for i in range(k)
        ]
        best = sorted(candidates)[:k]
        assert whole.a_to_b.index[feature].tolist() == [i for _, i in best]
        assert whole.a_to_b.r[feature].tolist() == [-r for r, _ in best]


def test_self_match_is_exactly_one_and_goes_to_the_lowest_index():
    x = random_activations(8, 400, 50, 0.2).to_dense()
    x[:, 40] = x[:, 7]
    x[:, 11] = 0
    m = best_matches(SparseActivations.from_dense(x), SparseActivations.from_dense(x))
    varying = torch.arange(50) != 11
    assert (m.a_to_b.r[varying, 0] == 1.0).all()
    assert m.a_to_b.index[40, 0] == m.a_to_b.index[7, 0] == 7
    assert m.a_to_b.index[11, 0] == -1
    assert m.a_to_b.r[11, 0].isnan()
    assert m.quantization_noise_a[11].isnan()


def test_a_constant_feature_never_varies_and_never_matches():
    x = random_activations(9, 100, 5, 0.5).to_dense()
    x[:, 2] = 3.0
    m = best_matches(SparseActivations.from_dense(x), SparseActivations.from_dense(x), k=5)
    assert m.a_to_b.index[2].tolist() == [-1] * 5
    assert 2 not in m.a_to_b.index[0].tolist()
    assert m.a_to_b.index[0].tolist()[-1] == -1


def test_pearson_agrees_with_numpy_within_the_quantisation_noise():
    a, b = random_activations(10, 2000, 20, 0.3), random_activations(11, 2000, 30, 0.3)
    r = np.corrcoef(a.to_dense().T.double(), b.to_dense().T.double())[:20, 20:]
    m = best_matches(a, b)
    found = m.a_to_b.r[:, 0].numpy()
    # Each side adds independent noise of that share of its rms to every active value.
    tolerance = 4 * float(m.quantization_noise_a.max() + m.quantization_noise_b.max())
    np.testing.assert_allclose(found, r.max(axis=1), atol=tolerance)
    assert tolerance < 1e-3


@settings(max_examples=60, deadline=None)
@given(maximum=st.floats(2.0**-100, 2.0**100, width=32), shift=st.integers(-20, 20))
def test_scales_are_the_smallest_power_of_two_that_fits(maximum, shift):
    e = reference.scale_exponent(maximum)
    assert maximum / 2.0**e <= 65535 < maximum / 2.0 ** (e - 1)
    assert reference.scale_exponent(maximum * 2.0**shift) == e + shift


def test_codes_round_half_to_even():
    # Scale 2^0: the maximum is 65535, so the halves below are exact ties.
    assert reference.quantize([65535.0, 0.5, 1.5, 2.5]) == [65535, 0, 2, 2]
    x = torch.tensor([[65535.0, 1.0], [0.5, 2.0], [1.5, 1.0], [2.5, 4.0]])
    acts = SparseActivations.from_dense(x)
    assert_same_matches(best_matches(acts, acts, 2), best_matches(acts, acts, 2, backend="reference"))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    shape=st.tuples(st.integers(1, 30), st.integers(1, 100)),
    source=st.sampled_from([torch.float32, torch.float16, torch.bfloat16]),
    target=st.sampled_from([torch.float16, torch.float32]),
)
def test_compact_rows_equals_nonzero(seed, shape, source, target):
    x = random_activations(seed, *shape).to_dense().clamp(max=1000).to(source)
    acts = SparseActivations.from_dense(x, target)
    expected = x.float().to(target)
    rows, columns = expected.nonzero(as_tuple=True)
    assert torch.equal(acts.indices, columns.int())
    assert torch.equal(acts.token_of_entry(), rows)
    assert torch.equal(acts.values, expected[rows, columns])
    assert torch.equal(acts.to_dense(), expected)


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [
        (float("nan"), torch.float32, "finite"),
        (float("inf"), torch.float32, "finite"),
        (-1.0, torch.float32, "got -1 at row 1, feature 2"),
        (70000.0, torch.float16, "within the range of Half, got 70000"),
    ],
)
def test_compact_rows_refuses(value: float, dtype: torch.dtype, message: str):
    x = torch.zeros(3, 4)
    x[1, 2] = value
    with pytest.raises(InputError, match=message):
        SparseActivations.from_dense(x, dtype)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    n_tokens=st.integers(1, 9),
    n_features=st.integers(1, 200),
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32]),
    with_threshold=st.booleans(),
)
def test_compact_rows_keeps_what_a_dense_threshold_keeps(seed, n_tokens, n_features, dtype, with_threshold):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n_tokens, n_features, generator=g)
    x[torch.rand(x.shape, generator=g) < 0.7] = -0.0
    x = (x if with_threshold else x.relu()).to(dtype)
    threshold = torch.rand(n_features, generator=g) if with_threshold else None
    kept = torch.where(x.float() > (0 if threshold is None else threshold), x, 0).half()
    acts = SparseActivations.from_dense(x, torch.float16, threshold)
    assert torch.equal(acts.to_dense(), kept)
    assert acts.nnz == int((kept != 0).sum())


def test_compact_rows_takes_a_value_at_its_threshold_as_zero():
    x = torch.tensor([[1.0, 1.0, 1.0]])
    acts = SparseActivations.from_dense(x, threshold=torch.tensor([1.0, 0.999, 2.0]))
    assert acts.indices.tolist() == [1]


def test_compact_rows_with_a_threshold_refuses():
    x = torch.zeros(2, 3)
    with pytest.raises(InputError, match=r"threshold must be float32 \[3\], got Float \[2\]"):
        SparseActivations.from_dense(x, threshold=torch.zeros(2))
    with pytest.raises(InputError, match="threshold must be finite and >= 0, got -1 for feature 1"):
        SparseActivations.from_dense(x, threshold=torch.tensor([0.0, -1.0, 0.0]))
    x[1, 2] = float("nan")
    with pytest.raises(InputError, match="finite.*at row 1, feature 2"):
        SparseActivations.from_dense(x, threshold=torch.ones(3))


def test_compact_rows_refuses_wrong_shape_and_dtype():
    with pytest.raises(InputError, match=r"x must have shape \[n_tokens, n_features\], got \[3\]"):
        ops.compact_rows(torch.zeros(3), torch.float32)
    with pytest.raises(InputError, match="float32, bfloat16 or float16, got Double"):
        ops.compact_rows(torch.zeros(3, 3, dtype=torch.float64), torch.float32)
    with pytest.raises(InputError, match="dtype must be float16 or float32, got Int"):
        ops.compact_rows(torch.zeros(3, 3), torch.int32)


def _valid() -> dict[str, torch.Tensor]:
    return {
        "indptr": torch.tensor([0, 2, 3]),
        "indices": torch.tensor([0, 2, 1], dtype=torch.int32),
        "values": torch.tensor([1.0, 2.0, 3.0]),
    }


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("indices", torch.tensor([0, 5, 1], dtype=torch.int32), r"in \[0, 3\), got 5"),
        ("indices", torch.tensor([0, -1, 1], dtype=torch.int32), r"in \[0, 3\), got -1"),
        ("indices", torch.tensor([2, 0, 1], dtype=torch.int32), "strictly increasing"),
        ("indices", torch.tensor([1, 1, 1], dtype=torch.int32), "strictly increasing"),
        ("indices", torch.tensor([0, 2, 1]), "int32"),
        ("indptr", torch.tensor([0, 3, 2]), "indptr"),
        ("indptr", torch.tensor([0, 2, 4]), "indptr"),
        ("indptr", torch.tensor([1, 2, 3]), "indptr"),
        ("indptr", torch.tensor([0, 2, 3], dtype=torch.int32), "int64"),
        ("indptr", torch.tensor([0]), "at least one token"),
        ("values", torch.tensor([1.0, float("nan"), 3.0]), "finite"),
        ("values", torch.tensor([1.0, float("inf"), 3.0]), "finite"),
        ("values", torch.tensor([1.0, -2.0, 3.0]), "got .*-2"),
        ("values", torch.tensor([1.0, 2.0]), r"values must"),
        ("values", torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64), "float16 or float32"),
    ],
)
def test_malformed_csr_is_refused_by_python_and_by_the_op(field: str, value: torch.Tensor, message: str):
    parts = {**_valid(), field: value}
    with pytest.raises(InputError, match=message):
        SparseActivations(**parts, n_features=3)
    good = _valid()
    with pytest.raises(InputError, match=field):
        ops.best_matches((parts["indptr"], parts["indices"], parts["values"]), 3, tuple(good.values()), 3, 1)


def test_best_matches_refuses_other_tokens_and_k_out_of_range():
    a, b = random_activations(0, 10, 4), random_activations(0, 11, 4)
    with pytest.raises(InputError, match="same tokens, got 10 and 11"):
        best_matches(a, b)
    with pytest.raises(InputError, match="same tokens, got 10 and 11"):
        ops.best_matches(csr(a), 4, csr(b), 4, 1)
    for backend in ("native", "reference"):
        for k in (0, 5):
            with pytest.raises(InputError, match=f"between 1 and 4.*got {k}"):
                best_matches(a, a, k, backend=backend)


def test_tensors_of_two_devices_are_refused():
    a = random_activations(0, 10, 4)
    elsewhere = tuple(part.to("meta") for part in csr(a))
    with pytest.raises(InputError, match="best_matches needs all tensors on one device, got cpu and meta"):
        ops.best_matches(csr(a), 4, elsewhere, 4, 1)


def stream_arguments() -> list[torch.Tensor]:
    a, b = random_activations(0, 30, 20), random_activations(1, 30, 20)
    state = [torch.zeros(20, 20, dtype=torch.int64), *(torch.zeros(len(FeatureSum), 20).long() for _ in range(2))]
    for sums in state[1:]:
        sums[FeatureSum.SCALE_EXPONENT] = NO_SCALE
    return [*state, *csr(a), *csr(b)]


STREAM_NAMES = ("s_ab", "sums_a", "sums_b", "a.indptr", "a.indices", "a.values", "b.indptr", "b.indices", "b.values")


@pytest.mark.parametrize(("written", "read"), [(w, r) for w in range(3) for r in range(w + 1, 9)])
def test_a_stream_whose_state_shares_memory_is_refused(written: int, read: int):
    """Whole or in part, through views of one tensor or arrays of NumPy's that PyTorch knows nothing of."""
    for numpy in (False, True):
        arguments = stream_arguments()
        one, other = arguments[written], arguments[read]
        size, gap = other.numel() * other.element_size(), one.numel() * one.element_size() - 8
        memory = torch.zeros(gap + size, dtype=torch.uint8)  # the other begins in the last word of the one
        whole = torch.from_numpy(memory.numpy()) if numpy else memory
        arguments[written] = memory[: gap + 8].view(one.dtype).view(one.shape)
        arguments[read] = whole[gap:].view(other.dtype).view(other.shape)
        arguments[written].copy_(one)
        arguments[read].copy_(other)
        before = memory.clone()
        told = f"{STREAM_NAMES[written]} and {STREAM_NAMES[read]} must lie in memory of their own"
        with pytest.raises(ValueError, match=re.escape(told)):
            torch.ops.semconv.cross_moments_(*arguments, 0)
        assert torch.equal(memory, before)
    torch.ops.semconv.cross_moments_(*stream_arguments(), 0)


@pytest.mark.parametrize("place", range(9))
def test_the_ops_themselves_refuse_tensors_of_another_device(place: int):
    arguments = stream_arguments()
    arguments[place] = arguments[place].to("meta")
    with pytest.raises((ValueError, NotImplementedError), match="on one device|Meta|meta"):
        torch.ops.semconv.cross_moments_(*arguments, 0)
    if place >= 3:
        sides = [*arguments[3:6], 20, *arguments[6:9], 20, 1]
        with pytest.raises((ValueError, NotImplementedError), match="on one device|Meta|meta"):
            torch.ops.semconv.best_matches(*sides)


@pytest.mark.slow
def test_inputs_that_another_thread_changes_end_in_a_result_or_a_sentence():
    """What reads outside its memory dies of it, or says so under `make asan`, which this test is part of."""
    out = subprocess.run(
        [sys.executable, "-m", "tests._helpers.racing_writer"], capture_output=True, text=True, timeout=240
    )
    assert out.returncode == 0, (out.returncode, out.stderr)
    ends = json.loads(out.stdout)
    for name, ways in ends.items():
        assert sum(ways.values()) > 0, name
    for name in ("best_matches", "cross_moments_"):
        assert ends[name].keys() & {"refused", "changed"}, ends  # the writer was heard


def test_a_tensor_without_its_memory_is_refused():
    a = random_activations(0, 10, 4)
    values = a.values.clone()
    values.untyped_storage().resize_(8)
    with pytest.raises(InputError, match=r"a tensor of shape \[\d+\] must have its memory, got a storage of 8 bytes"):
        ops.best_matches((a.indptr, a.indices, values), 4, csr(a), 4, 1)
    x = torch.zeros(3, 4)
    x.untyped_storage().resize_(0)
    with pytest.raises(InputError, match="must have its memory"):
        ops.compact_rows(x, torch.float32)


@pytest.mark.parametrize(
    ("row", "value"),
    [
        (FeatureSum.SCALE_EXPONENT, 1101),
        (FeatureSum.SUM, -1),
        (FeatureSum.SUM, 2**62),
        (FeatureSum.SUM_SQUARES, 2**63 - 1),
        (FeatureSum.ACTIVE, 2**31),
        (FeatureSum.SATURATED, 31),
    ],
)
def test_a_stream_whose_state_no_data_can_have_is_refused(row: int, value: int):
    arguments = stream_arguments()
    torch.ops.semconv.cross_moments_(*arguments, 0)
    arguments[1][row, 7] = value
    before = [part.clone() for part in arguments]
    with pytest.raises(
        ValueError, match=rf"sums_a must be of a stream that holds at most 2\^31.*{value}.*for feature 7"
    ):
        torch.ops.semconv.cross_moments_(*arguments, 0)
    assert all(torch.equal(part, was) for part, was in zip(arguments, before, strict=True))


def test_inputs_that_are_not_contiguous_give_the_same_answer():
    a, b = random_activations(0, 50, 6), random_activations(1, 50, 7)
    strided = tuple(torch.stack([part, part], dim=1)[:, 0] for part in csr(a))
    assert not strided[1].is_contiguous()
    for left, right in zip(
        ops.best_matches(strided, 6, csr(b), 7, 2), ops.best_matches(csr(a), 6, csr(b), 7, 2), strict=True
    ):
        assert_same_bits(left, right)
    x = a.to_dense()
    for left, right in zip(
        ops.compact_rows(x.T, torch.float32), ops.compact_rows(x.T.contiguous(), torch.float32), strict=True
    ):
        assert_same_bits(left, right)


@pytest.mark.parametrize("threads", [1, 2])
def test_features_beyond_one_column_block_equal_the_reference_of_their_block(threads: int):
    # 66,000 columns take two blocks of 65,536; the same columns alone must score the same.
    a, b = random_activations(2, 60, 5, 0.4), random_activations(3, 60, 66_000, 0.02)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        m = best_matches(a, b, k=2)
    finally:
        torch.set_num_threads(before)
    columns = torch.cat([m.a_to_b.index.flatten(), torch.tensor([0, 65_535, 65_536, 65_999])]).unique()
    part = SparseActivations.from_dense(b.to_dense()[:, columns])
    small = best_matches(a, part, k=2, backend="reference")
    assert torch.equal(columns[small.a_to_b.index], m.a_to_b.index)
    assert_same_bits(small.a_to_b.r, m.a_to_b.r)
    assert_same_bits(small.b_to_a.r, m.b_to_a.r[columns])


def test_permuted_dot_equals_numpy_on_integers():
    # Integers below 2^53 make every order of summation exact.
    rng = np.random.default_rng(0)
    for n in (1, 2, 9, 40):
        x, y = (np.tril(rng.integers(-100, 100, (n, n)), -1).astype(float) for _ in range(2))
        x, y = x + x.T, y + y.T
        permutations = np.stack([rng.permutation(n) for _ in range(5)])
        expected = [np.sum(np.tril(x, -1) * y[np.ix_(p, p)]) for p in permutations]
        found = ops.permuted_dot(torch.from_numpy(x), torch.from_numpy(y), torch.from_numpy(permutations).int())
        assert found.tolist() == expected


def test_permuted_dot_refuses():
    x = torch.zeros(3, 3, dtype=torch.float64)
    with pytest.raises(InputError, match="out of range or twice"):
        ops.permuted_dot(x, x, torch.tensor([[0, 1, 1]], dtype=torch.int32))
    with pytest.raises(InputError, match="out of range or twice"):
        ops.permuted_dot(x, x, torch.tensor([[0, 1, 3]], dtype=torch.int32))
    with pytest.raises(InputError, match="float64"):
        ops.permuted_dot(x.float(), x, torch.tensor([[0, 1, 2]], dtype=torch.int32))
    with pytest.raises(InputError, match=r"shape \[n, n\]"):
        ops.permuted_dot(x[:2], x, torch.tensor([[0, 1, 2]], dtype=torch.int32))


def test_opcheck():
    a, b = random_activations(0, 20, 8), random_activations(1, 20, 9)
    tests = ("test_schema", "test_faketensor", "test_aot_dispatch_dynamic")
    torch.library.opcheck(torch.ops.semconv.best_matches.default, (*csr(a), 8, *csr(b), 9, 2), test_utils=tests)
    shifted = (*csr(a), 8, *csr(b), 9, [0, 3], 2)
    torch.library.opcheck(torch.ops.semconv.best_matches_shifted.default, shifted, test_utils=tests)
    reversed_tokens = torch.arange(19, -1, -1, dtype=torch.int32)[None]
    permuted = (*csr(a), 8, *csr(b), 9, reversed_tokens, 2)
    torch.library.opcheck(torch.ops.semconv.best_matches_permuted.default, permuted, test_utils=tests)
    within = (*csr(a), 8, *csr(b), 9, torch.arange(20, dtype=torch.int32) % 4, 4, 2)
    torch.library.opcheck(torch.ops.semconv.best_matches_within.default, within, test_utils=tests)
    torch.library.opcheck(torch.ops.semconv.compact_rows.default, (a.to_dense(), torch.float16), test_utils=tests)
    state = (torch.zeros(8, 9, dtype=torch.int64), *(torch.zeros(5, n, dtype=torch.int64) for n in (8, 9)))
    for sums in state[1:]:  # scales not fixed yet; NaN, of features that round away, would not compare equal
        sums[ops.FeatureSum.SCALE_EXPONENT] = ops.NO_SCALE
    torch.library.opcheck(torch.ops.semconv.cross_moments_.default, (*state, *csr(a), *csr(b), 2), test_utils=tests)
    torch.ops.semconv.cross_moments_(*state, *csr(a), *csr(b), 2)
    torch.library.opcheck(torch.ops.semconv.correlation_from_moments.default, (*state, 20), test_utils=tests)
    torch.library.opcheck(torch.ops.semconv.best_from_moments.default, (*state, 20, 2), test_utils=tests)
    x = torch.rand(6, 6, dtype=torch.float64)
    permutations = torch.arange(6, dtype=torch.int32)[None]
    torch.library.opcheck(torch.ops.semconv.permuted_dot.default, (x + x.T, x + x.T, permutations), test_utils=tests)


@pytest.mark.slow
def test_ceilings_are_rates_of_a_real_machine():
    updates_per_ns, bytes_per_ns = ops.measure_ceilings(80)
    # No core is a hundred times slower than one update a nanosecond, none a thousand times faster.
    assert 0.01 < updates_per_ns < 1000 * torch.get_num_threads()
    assert 0.01 < bytes_per_ns < 1000 * torch.get_num_threads()
    for row_length in (0, 65_537):
        with pytest.raises(InputError, match=f"between 1 and 65536, got {row_length}"):
            ops.measure_ceilings(row_length)


def test_build_facts_name_the_flags():
    facts = ops.build_facts()
    assert "-ffp-contract=off" in facts["flags"]
    assert "fast-math" not in facts["flags"]


def test_a_core_for_another_torch_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch, "__version__", "9.8.7")
    core, lacking = ops._load()
    assert core is None
    assert f"was built for torch {importlib.import_module('semconv._C').torch}, found 9.8.7" in lacking
    monkeypatch.setattr(ops, "_core", core)
    monkeypatch.setattr(ops, "_LACKING", lacking)
    with pytest.raises(InputError, match="built for torch"):
        ops.build_facts()
    assert not ops.has_cuda_kernels()


def test_a_core_that_is_not_built_is_one_sentence(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "semconv._C", None)  # what `import` takes for not there
    assert ops._load()[0] is None
    assert re.match(
        rf"the native core is not built for torch {re.escape(torch.__version__)} \(run `make build`\)", ops._load()[1]
    )


@pytest.mark.slow
def test_ctrl_c_stops_a_long_call_soon():
    # 3e10 updates in all; processor seconds are compared, which other work on the machine does not change much.
    script = """
import signal, threading, time, torch
from semconv import SparseActivations, best_matches
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell ignores it otherwise
torch.set_num_threads(2)
g = torch.Generator().manual_seed(0)
a = SparseActivations.from_dense(torch.rand(12_000, 1600, generator=g))
few = a.rows(0, 1_200)
start = time.process_time()
best_matches(few, few)
tenth = time.process_time() - start
began = []
def interrupt():
    start = time.process_time()
    while time.process_time() < start + tenth / 2:
        time.sleep(0.005)
    began.append(time.process_time())
    signal.raise_signal(signal.SIGINT)
threading.Thread(target=interrupt, daemon=True).start()
try:
    best_matches(a, a)
except KeyboardInterrupt:
    print((time.process_time() - began[0]) / tenth)
best_matches(SparseActivations.from_dense(torch.rand(50, 8)), SparseActivations.from_dense(torch.rand(50, 8)))
"""
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=240)
    assert out.returncode == 0, out.stderr
    assert out.stdout, "the call ended without the interrupt"
    assert float(out.stdout) < 1.0, "it went on for longer than a tenth of the work takes"
