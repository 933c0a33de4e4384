"""The CUDA kernels, run on the host by the emulator, against the CPU kernels: the same bits and the same refusals."""

from __future__ import annotations

import random
import struct

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semconv import SparseActivations
from tests._helpers.device_ops import LIMITS, assert_same, bad_inputs, cpu, new_state, with_hot_features
from tests._helpers.op_results import csr
from tests.conftest import random_activations


def both_best_matches(emulated, a: SparseActivations, b: SparseActivations, k: int):
    arguments = (*csr(a), a.n_features, *csr(b), b.n_features, k)
    return emulated.best_matches(*arguments), cpu.best_matches(*arguments)


@settings(max_examples=120, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    n_tokens=st.integers(1, 60),
    n_a=st.integers(1, 50),
    n_b=st.integers(1, 300),
    density=st.sampled_from([0.0, 0.05, 0.4, 1.0]),
    dtype=st.sampled_from([torch.float16, torch.float32]),
    k=st.integers(1, 50),
    ties=st.booleans(),
    limits=st.sampled_from(LIMITS),
)
def test_best_matches_equals_the_cpu(emulated, seed, n_tokens, n_a, n_b, density, dtype, k, ties, limits):
    emulated.set_limits(*limits)
    a = random_activations(seed, n_tokens, n_a, density, dtype)
    b = random_activations(seed + 1, n_tokens, n_b, density, dtype)
    if ties:  # binary activations collide all the time
        a, b = (SparseActivations(x.indptr, x.indices, torch.ones_like(x.values), x.n_features) for x in (a, b))
    assert_same(*both_best_matches(emulated, a, b, min(k, n_a, n_b)))


@pytest.mark.parametrize("limits", [*LIMITS[:3], (1, 4096, 64, 200)])  # the last: two rows, so two launches
@pytest.mark.parametrize("k", [1, 3])
def test_cut_posting_lists_cannot_be_seen(emulated, limits, k):
    emulated.set_limits(*limits)
    a, b = with_hot_features(0, 10_000), with_hot_features(1, 10_000)
    assert emulated.part_postings(a.nnz, limits[0]) < 10_000  # they are cut
    assert_same(*both_best_matches(emulated, a, b, k))


@pytest.mark.parametrize("limits", LIMITS)
def test_shifts_equal_the_cpu(emulated, limits):
    emulated.set_limits(*limits)
    a, b = random_activations(1, 50, 30), random_activations(2, 50, 40)
    arguments = (*csr(a), 30, *csr(b), 40, [0, 1, 17, 49], 2)
    assert_same(*(library.best_matches_shifted(*arguments) for library in (emulated, cpu)))


@pytest.mark.parametrize("limits", LIMITS)
def test_permutations_equal_the_cpu(emulated, limits):
    emulated.set_limits(*limits)
    a, b = random_activations(1, 50, 30), random_activations(2, 50, 40)
    rng = np.random.default_rng(0)
    permutations = torch.from_numpy(np.stack([rng.permutation(50) for _ in range(3)]).astype(np.int32))
    arguments = (*csr(a), 30, *csr(b), 40, permutations, 2)
    assert_same(*(library.best_matches_permuted(*arguments) for library in (emulated, cpu)))
    permutations[1, 3] = permutations[1, 4]
    with pytest.raises(ValueError, match=r"permutations of 0\.\.49, got \d+ out of range or twice in row 1"):
        emulated.best_matches_permuted(*arguments)


def test_full_limbs_do_not_overflow(emulated):
    """The largest codes on every token of the longest list that one block adds in one go."""
    emulated.set_limits(1, 100_000, 64, 2**20)
    n_tokens = 65_536 + 10
    x = torch.full((n_tokens, 2), 65535.0)
    x[0, 0] = x[1, 1] = 65534.0
    a = SparseActivations.from_dense(x)
    assert emulated.part_postings(2**30, 1) == 65_536
    assert_same(*both_best_matches(emulated, a, a, 2))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    n_tokens=st.integers(2, 80),
    n_a=st.integers(1, 30),
    n_b=st.integers(1, 200),
    density=st.sampled_from([0.05, 0.4, 1.0]),
    k=st.integers(1, 30),
    limits=st.sampled_from(LIMITS),
)
def test_streams_equal_the_cpu(emulated, seed, n_tokens, n_a, n_b, density, k, limits):
    emulated.set_limits(*limits)
    a, b = random_activations(seed, n_tokens, n_a, density), random_activations(seed + 1, n_tokens, n_b, density)
    first = SparseActivations(a.indptr, a.indices, a.values / 16, a.n_features)  # so that later values saturate
    states = new_state(n_a, n_b), new_state(n_a, n_b)
    for chunk_a, chunk_b in ((first, b), (a, b), (a.rows(0, 1), b.rows(0, 1))):
        for library, state in zip((emulated, cpu), states, strict=True):
            library.cross_moments_(*state, *csr(chunk_a), *csr(chunk_b), 2)
        assert_same(*states)
    n = 2 * n_tokens + 1
    assert_same(*([library.correlation_from_moments(*states[0], n)] for library in (emulated, cpu)))
    assert_same(*(library.best_from_moments(*states[0], n, min(k, n_a, n_b)) for library in (emulated, cpu)))


def test_a_cut_list_streams_the_same(emulated):
    emulated.set_limits(*LIMITS[0])
    a, b = with_hot_features(0, 10_000), with_hot_features(1, 10_000)
    states = new_state(12, 12), new_state(12, 12)
    for library, state in zip((emulated, cpu), states, strict=True):
        library.cross_moments_(*state, *csr(a), *csr(b), 0)
    assert_same(*states)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    n_rows=st.integers(0, 20),
    n_columns=st.integers(1, 700),
    density=st.sampled_from([0.0, 0.02, 1.0]),
    dtype=st.sampled_from([torch.float32, torch.float16, torch.bfloat16]),
    stored=st.sampled_from([torch.float16, torch.float32]),
    with_threshold=st.booleans(),
)
def test_compact_rows_equals_the_cpu(emulated, seed, n_rows, n_columns, density, dtype, stored, with_threshold):
    g = torch.Generator().manual_seed(seed)
    # From below the smallest float16 to beyond what rounds to zero, with negative zeros.
    x = torch.exp(6 * torch.randn(n_rows, n_columns, generator=g) - 6).clamp(max=60000)
    x[torch.rand(n_rows, n_columns, generator=g) >= density] = -0.0
    threshold = torch.rand(n_columns, generator=g) if with_threshold else None
    x = (x - (0.01 if with_threshold else 0)).to(dtype)
    assert_same(*(library.compact_rows(x, stored, threshold) for library in (emulated, cpu)))


@pytest.mark.parametrize("n", [1, 2, 9, 40, 97])
def test_permuted_dot_equals_the_cpu(emulated, n):
    g = torch.Generator().manual_seed(n)
    x, y = (torch.randn(n, n, generator=g, dtype=torch.float64) for _ in range(2))
    permutations = torch.stack([torch.randperm(n, generator=g) for _ in range(11)]).int()
    assert_same(*([library.permuted_dot(x, y, permutations)] for library in (emulated, cpu)))


@pytest.mark.parametrize(("name", "arguments"), list(bad_inputs()))
def test_what_the_cpu_refuses_is_refused_in_the_same_words(emulated, name, arguments):
    emulated.set_limits(*LIMITS[0])
    said = []
    for library in (emulated, cpu):
        mine = [x.clone() if isinstance(x, torch.Tensor) else x for x in arguments]
        with pytest.raises(ValueError) as refusal:  # noqa: PT011 - the words are compared below
            getattr(library, name)(*mine)
        said.append(str(refusal.value).splitlines()[0])
        for before, after in zip(arguments, mine, strict=True):
            if isinstance(before, torch.Tensor):
                assert torch.equal(torch.nan_to_num(before), torch.nan_to_num(after))
    assert said[0] == said[1]


def test_the_emulator_notices_a_kernel_that_depends_on_the_order_of_threads(emulated):
    """The helper that compares bits, on outputs that differ in one."""
    a = random_activations(0, 30, 10)
    left, right = both_best_matches(emulated, a, a, 1)
    right[1][3, 0] = np.nextafter(float(right[1][3, 0]), 2)
    with pytest.raises(AssertionError):
        assert_same(left, right)


@pytest.mark.parametrize("n_features", [1, 17, 16_384, 65_536, 131_072, 1_048_576])
@pytest.mark.parametrize("k", [0, 1, 10, 1000])
def test_passes_over_the_columns_fit_the_device(emulated, n_features, k):
    shared, threads, workers, scratch = 232_448, 1024, 132, 2**30  # an H200
    emulated.set_limits(workers, shared, threads, scratch)
    columns = emulated.columns_per_pass(n_features, k)
    assert 1 <= columns <= min(n_features, 65_536)
    assert 64 + 8 * threads + 8 * columns <= shared
    assert 16 * k * workers * columns <= scratch
    passes = -(-n_features // columns)
    assert (passes - 1) * columns < n_features
    if n_features <= 16_384 and k <= 10:
        assert passes == 1


def test_lists_are_cut_without_gap_or_overlap(emulated):
    rng = random.Random(0)
    for _ in range(200):
        part, n_features, most_rows = rng.randint(1, 50), rng.randint(1, 30), rng.randint(1, 5)
        lengths = sorted((rng.randint(0, 300) for _ in range(n_features)), reverse=True)
        long_lists = [length for length in lengths if length > part]
        rows = emulated.plan_rows(long_lists, n_features, part, most_rows).tolist()
        covered = [0] * n_features
        for launch in {row[0] for row in rows}:
            shared = {row[3] for row in rows if row[0] == launch and row[3] >= 0}
            assert shared == set(range(len(shared)))
            assert len(shared) <= most_rows
        for launch, position, first, row, n_parts in rows:
            if row < 0:
                assert (first, n_parts) == (0, 1)
                covered[position] += lengths[position]
                assert lengths[position] <= part
                continue
            mine = [r for r in rows if r[1] == position]
            assert len(mine) == n_parts
            assert {(r[0], r[3]) for r in mine} == {(launch, row)}
            assert first % part == 0
            covered[position] += min(part, lengths[position] - first)
        assert covered == lengths


@pytest.mark.parametrize(("quads", "n_tokens", "lanes"), [(0, 10, 2), (250, 10, 8), (12, 1, 4), (10**6, 10, 32)])
def test_lanes_follow_the_length_of_rows(emulated, quads, n_tokens, lanes):
    assert emulated.lanes_per_posting(quads, n_tokens) == lanes


def test_128_bit_integers_round_to_the_nearest_double(emulated):
    rng = random.Random(1)
    edges = [0, 1, -1, 2**53, 2**53 + 1, 2**64 - 1, 2**64, 2**64 + 1, 2**117 + 2**64, 2**127 - 1, -(2**127)]
    halfway = [(2**53 + odd) << shift for odd in (1, 3) for shift in range(70)]
    around = [x + d for x in halfway for d in (-1, 0, 1)]
    drawn = [rng.randint(-(2 ** rng.randint(1, 127)), 2 ** rng.randint(1, 127) - 1) for _ in range(5000)]
    for value in [*edges, *around, *drawn]:
        high, low = value >> 64, value & (2**64 - 1)
        assert emulated.to_double(high, struct.unpack("q", struct.pack("Q", low))[0]) == float(value), value


def test_float16_is_that_of_torch(emulated):
    bits = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16)
    floats = emulated.floats_of(bits)
    np.testing.assert_array_equal(floats.numpy(), bits.view(torch.float16).float().numpy())
    g = torch.Generator().manual_seed(0)
    drawn = torch.exp(12 * torch.randn(100_000, generator=g) - 4)
    finite = floats[floats.isfinite() & (floats >= 0)].unique()
    between = (finite[1:].double() + finite[:-1].double()) / 2  # ties
    x = torch.cat([drawn, finite, between.float(), between.float().nextafter(torch.tensor(1e9))])
    assert torch.equal(emulated.halves_of(x), x.half().view(torch.int16))
