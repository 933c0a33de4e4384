"""StreamingCorrelation: the bits of best_matches from any chunking, order and merge; scales, saturation, refusals."""

from __future__ import annotations

import math
import subprocess
import sys
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from semconv import InputError, SparseActivations, StreamingCorrelation, best_matches
from semconv.core import oracle as reference
from semconv.core.ops import NO_SCALE, FeatureSum
from tests._helpers.op_results import assert_same_bits, assert_same_matches
from tests.conftest import random_activations


def stream_of(a: SparseActivations, b: SparseActivations, cuts: list[int], **options) -> StreamingCorrelation:
    """A stream fed with the tokens between the cuts, its scales those of best_matches."""
    stream = StreamingCorrelation(
        a.n_features, b.n_features, feature_max_a=a.feature_max(), feature_max_b=b.feature_max(), **options
    )
    for begin, end in zip([0, *cuts], [*cuts, a.n_tokens], strict=True):
        stream.update(a.rows(begin, end), b.rows(begin, end))
    return stream


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    n_tokens=st.integers(3, 60),
    n_a=st.integers(1, 30),
    n_b=st.integers(1, 70),
    density=st.sampled_from([0.05, 0.4, 1.0]),
    dtype=st.sampled_from([torch.float16, torch.float32]),
    data=st.data(),
)
def test_any_chunking_any_buffer_and_the_oracle_agree(seed, n_tokens, n_a, n_b, density, dtype, data):
    a, b = (random_activations(seed + i, n_tokens, n, density, dtype) for i, n in enumerate((n_a, n_b)))
    cuts = sorted(data.draw(st.sets(st.integers(1, n_tokens - 1), max_size=6)))
    stream = stream_of(a, b, cuts, buffer_bytes=data.draw(st.sampled_from([1, 10_000, 2**27])))
    k = data.draw(st.integers(1, min(n_a, n_b)))
    assert_same_matches(stream.best_matches(k), best_matches(a, b, k))
    expected = torch.tensor(reference.correlation(a, b), dtype=torch.float64)
    assert_same_bits(stream.correlation(), expected)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_and_column_blocks_cannot_be_seen(threads: int):
    a, b = random_activations(1, 400, 20, 0.2), random_activations(2, 400, 66_000, 0.001)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        stream = stream_of(a, b, [100, 101])
        assert_same_matches(stream.best_matches(3), best_matches(a, b, 3))
    finally:
        torch.set_num_threads(before)


def test_merged_streams_equal_one_stream():
    a, b = random_activations(5, 300, 40), random_activations(6, 300, 50)
    maxima = {"feature_max_a": a.feature_max(), "feature_max_b": b.feature_max()}
    parts = [StreamingCorrelation(40, 50, **maxima) for _ in range(3)]
    for part, (begin, end) in zip(parts, [(0, 120), (120, 130), (130, 300)], strict=True):
        part.update(a.rows(begin, end), b.rows(begin, end))
    parts[2].merge(parts[0])
    parts[2].merge(parts[1])
    assert parts[2].n_tokens == 300
    assert_same_matches(parts[2].best_matches(2), best_matches(a, b, 2))


def test_merging_takes_the_scale_of_whoever_saw_the_feature():
    x = torch.zeros(4, 2)
    x[:, 0] = torch.tensor([1.0, 2.0, 0.0, 3.0])
    y = x.flip(1)
    left, right = StreamingCorrelation(2, 2), StreamingCorrelation(2, 2)
    left.update(SparseActivations.from_dense(x), SparseActivations.from_dense(x))
    right.update(SparseActivations.from_dense(y), SparseActivations.from_dense(y))
    left.merge(right)
    both = SparseActivations.from_dense(torch.cat([x, y]))
    # Three is 49152 / 2^14 and with two bits of headroom 12288 / 2^12: small integers are exact at either scale.
    assert_same_bits(left.correlation(), torch.tensor(reference.correlation(both, both), dtype=torch.float64))


def test_the_state_survives_a_file(tmp_path):
    a, b = random_activations(7, 200, 30), random_activations(8, 200, 31)
    stream = stream_of(a.rows(0, 90), b.rows(0, 90), [50])
    save_file(stream.state_dict(), tmp_path / "state.safetensors")
    again = StreamingCorrelation.from_state_dict(load_file(tmp_path / "state.safetensors"))
    for s in (stream, again):
        s.update(a.rows(90, 200), b.rows(90, 200))
    assert again.n_tokens == 200
    assert_same_matches(again.best_matches(3), stream.best_matches(3))


def test_learned_scales_have_two_bits_of_headroom():
    stream = StreamingCorrelation(2, 1)
    x = torch.tensor([[1.0, 0.0], [0.5, 0.0]])
    stream.update(SparseActivations.from_dense(x), SparseActivations.from_dense(x[:, :1]))
    exponents = stream.state_dict()["sums_a"][FeatureSum.SCALE_EXPONENT]
    assert int(exponents[1]) == NO_SCALE
    assert int(exponents[0]) == reference.scale_exponent(1.0) + 2
    x = torch.tensor([[3.9, 7.0]])  # fits the headroom; the other feature is new
    stream.update(SparseActivations.from_dense(x), SparseActivations.from_dense(x[:, :1]))
    assert stream.saturated == (0, 0)
    exponents = stream.state_dict()["sums_a"][FeatureSum.SCALE_EXPONENT]
    assert int(exponents[1]) == reference.scale_exponent(7.0) + 2


@pytest.mark.parametrize("maximum", [1.0, 65535.0, 65536.0, 0.9999, 3e-8, 1e30, 32767.75])
def test_given_maxima_fix_the_scales_of_best_matches(maximum: float):
    value = float(torch.tensor(maximum))  # float32, as stored
    stream = StreamingCorrelation(1, 1, feature_max_a=torch.tensor([value]), feature_max_b=torch.tensor([0.0]))
    exponent = int(stream.state_dict()["sums_a"][FeatureSum.SCALE_EXPONENT, 0])
    assert exponent == reference.scale_exponent(value)
    assert Fraction(value) / Fraction(2) ** exponent <= 65535
    assert int(stream.state_dict()["sums_b"][FeatureSum.SCALE_EXPONENT, 0]) == NO_SCALE


def test_values_beyond_the_scale_are_counted_and_refused_above_the_stated_share():
    x = torch.rand(100, 3, generator=torch.Generator().manual_seed(0)) + 0.1
    acts = SparseActivations.from_dense(x)
    high = SparseActivations.from_dense(torch.tensor([[100.0, 0.5, 0.5]]))
    stream = StreamingCorrelation(3, 3, buffer_bytes=1)
    stream.update(acts, acts)
    stream.update(high, acts.concatenate([acts.rows(0, 1)]))
    assert stream.saturated == (1, 0)
    with pytest.raises(InputError, match="may exceed the scale.*got 1 of 303; give feature_max_a"):
        stream.correlation()
    stream.max_saturated = 0.01
    assert math.isfinite(float(stream.correlation()[0, 0]))


@pytest.mark.slow
def test_small_and_large_updates_take_the_same_buffer_and_bounded_memory():
    # 400,000 tokens x 2 x 40 entries are 0.2 GB as CSR; with a buffer of 8 MB the peak must stay far below that.
    script = """
import resource, torch
from semconv import SparseActivations, StreamingCorrelation
stream = StreamingCorrelation(256, 256, buffer_bytes=2**23)
def chunk(i):
    g = torch.Generator().manual_seed(i)
    return SparseActivations.from_dense(torch.rand(2000, 256, generator=g).sub(0.85).relu().half())
stream.update(chunk(0), chunk(1)); stream.flush()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for i in range(200):
    stream.update(chunk(i), chunk(i + 1))
assert stream.n_tokens == 402_000
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    assert float(out.stdout) < 5 * 8 + 16, f"the peak rose by {out.stdout.strip()} MiB"


def test_refusals_leave_the_stream_as_it_was():
    a = random_activations(0, 20, 5)
    stream = StreamingCorrelation(5, 5)
    with pytest.raises(InputError, match="at least one token before it has a correlation, got none"):
        stream.correlation()
    stream.update(a, a)
    expected = stream.correlation()
    with pytest.raises(InputError, match="must be 5 and 5 features wide, got 5 and 6"):
        stream.update(a, random_activations(0, 20, 6))
    with pytest.raises(InputError, match="same tokens, got 20 and 21"):
        stream.update(a, random_activations(0, 21, 5))
    with pytest.raises(InputError, match="same features, got .5, 5. and .5, 4."):
        stream.merge(StreamingCorrelation(5, 4))
    other = StreamingCorrelation(5, 5)
    loud = SparseActivations.from_dense(a.to_dense() * 64)
    other.update(loud, loud)
    with pytest.raises(InputError, match="same scales, got 2.* for feature 0 of a"):
        stream.merge(other)
    with pytest.raises(InputError, match="between 1 and 5.*got 6"):
        stream.best_matches(6)
    assert_same_bits(stream.correlation(), expected)
    with pytest.raises(InputError, match="at least one feature, got 0 and 3"):
        StreamingCorrelation(0, 3)
    with pytest.raises(InputError, match=r"feature_max_b must be finite and >= 0 \[3\]"):
        StreamingCorrelation(3, 3, feature_max_b=torch.tensor([1.0, float("nan"), 2.0]))


def test_a_damaged_state_is_refused():
    a = random_activations(0, 20, 5)
    stream = StreamingCorrelation(5, 5)
    stream.update(a, a)
    good = stream.state_dict()
    with pytest.raises(InputError, match="state of a stream holds"):
        StreamingCorrelation.from_state_dict({"s_ab": good["s_ab"]})
    with pytest.raises(InputError, match=r"sums_a must be int64 \[5, 5\], got"):
        StreamingCorrelation.from_state_dict({**good, "sums_a": good["sums_a"][:4]})
    wrong = good["sums_a"].clone()
    wrong[FeatureSum.SUM, 2] = -1
    with pytest.raises(InputError, match="must be sums over 20 tokens, got S = -1"):
        StreamingCorrelation.from_state_dict({**good, "sums_a": wrong}).correlation()
    with pytest.raises(InputError, match=r"n_tokens must be between 1 and 2\^31|at least one token"):
        StreamingCorrelation.from_state_dict({**good, "n_tokens": torch.tensor(0)}).correlation()


def test_changing_the_loaded_state_leaves_the_source_alone():
    a = random_activations(0, 20, 5)
    stream = StreamingCorrelation(5, 5)
    stream.update(a, a)
    before = stream.correlation()
    StreamingCorrelation.from_state_dict(stream.state_dict()).update(a, a)
    assert_same_bits(stream.correlation(), before)
