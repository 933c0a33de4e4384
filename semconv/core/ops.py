"""Typed wrappers of the native ops, and the fakes that restate their contract for torch.compile."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from enum import IntEnum
from typing import Any, NamedTuple

import torch
from torch import Tensor

from semconv.system.errors import InputError, first_line


def _load() -> tuple[Any, str]:
    """Returns the native core, or None and why there is none: pure Python parts work without it."""
    try:
        core = importlib.import_module("semconv._C")
    except ImportError as error:
        return None, f"the native core is not built for torch {torch.__version__} (run `make build`): {error}"
    if torch.__version__.startswith(f"{core.torch}."):
        return core, ""
    built_for = f"the native core was built for torch {core.torch}"
    return None, f"{built_for}, found {torch.__version__} (install that torch, or run `make build`)"


_core, _LACKING = _load()


class FeatureSum(IntEnum):
    """Rows of the int64 [5, F] sums that a stream keeps for the features of one side (csrc/cross_moments.h)."""

    SCALE_EXPONENT = 0  # NO_SCALE until the feature is first active
    SUM = 1  # of codes
    SUM_SQUARES = 2
    ACTIVE = 3  # tokens with a value above zero
    SATURATED = 4  # values beyond the scale, counted as 65535


NO_SCALE = torch.iinfo(torch.int64).min


class RawMatches(NamedTuple):
    """What the op `best_matches` returns, as bare tensors."""

    a_index: Tensor
    a_r: Tensor
    b_index: Tensor
    b_r: Tensor
    a_noise: Tensor
    b_noise: Tensor


def build_facts() -> dict[str, str]:
    """Returns compiler, flags and CUDA architectures of the native core.

    Raises:
        InputError: the native core is not built, or for another torch.
    """
    if _core is None:
        raise InputError(_LACKING)
    return {"compiler": _core.compiler, "flags": _core.flags, "cuda_archs": _core.cuda_archs}


def has_cuda_kernels() -> bool:
    """Returns whether the native core was built with kernels for CUDA devices."""
    return _core is not None and bool(_core.cuda_archs)


def _call(name: str, *arguments: Any) -> Any:
    """Calls a native op; an error that it raises becomes an InputError of one sentence."""
    build_facts()
    devices = {str(argument.device) for argument in arguments if isinstance(argument, Tensor)}
    if len(devices) > 1:
        raise InputError(f"{name} needs all tensors on one device, got {' and '.join(sorted(devices))}")
    try:
        return getattr(torch.ops.semconv, name)(*arguments)
    except ValueError as error:
        raise InputError(first_line(error)) from None
    except NotImplementedError:
        raise InputError(f"{name} has no kernel for {devices.pop()} in this build") from None


def measure_ceilings(row_length: int) -> tuple[float, float]:
    """Measures what bounds `best_matches` on this machine, with as many threads as torch has.

    Args:
        row_length: records per row, the L0 of the B side.

    Returns:
        Updates per nanosecond of its inner loop on data in L1, and bytes per nanosecond of reading rows of that length
        in random order from an array beyond the caches.

    Raises:
        InputError: the native core is not built, or row_length is outside [1, 65536].
    """
    build_facts()
    assert _core is not None
    if not 1 <= row_length <= 65536:
        raise InputError(f"row_length must be between 1 and 65536, got {row_length}")
    return _core.measure_ceilings(row_length)


def compact_rows(x: Tensor, dtype: torch.dtype, threshold: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Turns a dense chunk into CSR; an entry that is or rounds to zero is not stored.

    Args:
        x: [t, F] float32, bfloat16 or float16, finite and >= 0; with `threshold` anything but NaN and what `dtype`
            cannot hold.
        dtype: float16 or float32, what the values are stored as.
        threshold: float32 [F], finite and >= 0: a value that does not exceed it counts as zero (JumpReLU).

    Returns:
        indptr int64 [t + 1], indices int32 [nnz] increasing per row, values [nnz] of `dtype`.

    Raises:
        InputError: wrong shape or dtype, NaN, inf, a negative value, or one beyond the range of `dtype`.
    """
    return _call("compact_rows", x, dtype, threshold)


def best_matches(
    a: tuple[Tensor, Tensor, Tensor], n_features_a: int, b: tuple[Tensor, Tensor, Tensor], n_features_b: int, k: int
) -> RawMatches:
    """Fused Pearson r and top-k in both directions over two CSR matrices of the same tokens.

    Args:
        a: indptr int64 [n_tokens + 1], indices int32 [nnz], values float16 or float32 [nnz].
        n_features_a: F_a.
        b: the same for the other side.
        n_features_b: F_b.
        k: partners kept per feature, 1 <= k <= min(F_a, F_b).

    Returns:
        a_index int64 [F_a, k], a_r float64 [F_a, k], b_index and b_r [F_b, k], a_noise float64 [F_a], b_noise [F_b].

    Raises:
        InputError: a tensor of another shape or dtype than above, indptr or indices out of order or out of range,
            values that are negative or not finite, k out of range, or tensors on more than one device.
    """
    return RawMatches(*_call("best_matches", *a, n_features_a, *b, n_features_b, k))


def best_matches_permuted(
    a: tuple[Tensor, Tensor, Tensor],
    n_features_a: int,
    b: tuple[Tensor, Tensor, Tensor],
    n_features_b: int,
    permutations: Tensor,
    k: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`best_matches` under permutations of the tokens of b, sharing all work that does not depend on them.

    Args:
        a: indptr int64 [n_tokens + 1], indices int32 [nnz], values float16 or float32 [nnz].
        n_features_a: F_a.
        b: the same for the other side.
        n_features_b: F_b.
        permutations: int32 [m, n_tokens], on the device of a and b: token t of a is paired with token
            `permutations[i, t]` of b.
        k: partners kept per feature, 1 <= k <= min(F_a, F_b).

    Returns:
        a_index int64 [m, F_a, k], a_r float64 [m, F_a, k], b_index and b_r [m, F_b, k].

    Raises:
        InputError: a tensor of another shape or dtype than above, indptr or indices out of order or out of range,
            values that are negative or not finite, k out of range, a row that is no permutation of 0..n_tokens-1, or
            tensors on more than one device.
    """
    return _call("best_matches_permuted", *a, n_features_a, *b, n_features_b, permutations, k)


def best_matches_shifted(
    a: tuple[Tensor, Tensor, Tensor],
    n_features_a: int,
    b: tuple[Tensor, Tensor, Tensor],
    n_features_b: int,
    shifts: list[int],
    k: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`best_matches_permuted` under circular shifts of the tokens.

    Args:
        a: indptr int64 [n_tokens + 1], indices int32 [nnz], values float16 or float32 [nnz].
        n_features_a: F_a.
        b: the same for the other side.
        n_features_b: F_b.
        shifts: token t of a is paired with token (t + shift) mod n_tokens of b, 0 <= shift < n_tokens; at least one.
        k: partners kept per feature, 1 <= k <= min(F_a, F_b).

    Returns:
        a_index int64 [n_shifts, F_a, k], a_r float64 [n_shifts, F_a, k], b_index and b_r [n_shifts, F_b, k].

    Raises:
        InputError: a tensor of another shape or dtype than above, indptr or indices out of order or out of range,
            values that are negative or not finite, k or a shift out of range, or tensors on more than one device.
    """
    return _call("best_matches_shifted", *a, n_features_a, *b, n_features_b, shifts, k)


def best_matches_within(
    a: tuple[Tensor, Tensor, Tensor],
    n_features_a: int,
    b: tuple[Tensor, Tensor, Tensor],
    n_features_b: int,
    groups: tuple[Tensor, int],
    k: int,
) -> RawMatches:
    """`best_matches` after the mean of every group of tokens is taken off each feature; on the CPU alone.

    Args:
        a: indptr int64 [n_tokens + 1], indices int32 [nnz], values float16 or float32 [nnz].
        n_features_a: F_a.
        b: the same for the other side.
        n_features_b: F_b.
        groups: int32 [n_tokens], the group of every token, and how many groups there are, each of which is below that.
        k: partners kept per feature, 1 <= k <= min(F_a, F_b).

    Returns:
        As `best_matches`.

    Raises:
        InputError: as `best_matches`; groups of another shape, dtype or range, or on a GPU.
    """
    return RawMatches(*_call("best_matches_within", *a, n_features_a, *b, n_features_b, *groups, k))


def cross_moments_(
    s_ab: Tensor,
    sums_a: Tensor,
    sums_b: Tensor,
    a: tuple[Tensor, Tensor, Tensor],
    b: tuple[Tensor, Tensor, Tensor],
    headroom_bits: int,
) -> None:
    """Adds one chunk of tokens to the sufficient statistics of a stream, in place; a refused chunk changes nothing.

    Args:
        s_ab: int64 [F_a, F_b], sums of products of codes.
        sums_a: int64 [5, F_a], rows as in FeatureSum.
        sums_b: int64 [5, F_b].
        a: indptr int64 [n_tokens + 1], indices int32 [nnz], values float16 or float32 [nnz].
        b: the same for the other side, over the same tokens.
        headroom_bits: a feature's scale is fixed when it is first active, this many powers of two above what it needs.

    Raises:
        InputError: a tensor of another shape or dtype than above, indptr or indices out of order or out of range,
            values that are negative or not finite, headroom_bits out of range, or tensors on more than one device.
    """
    _call("cross_moments_", s_ab, sums_a, sums_b, *a, *b, headroom_bits)


def correlation_from_moments(s_ab: Tensor, sums_a: Tensor, sums_b: Tensor, n_tokens: int) -> Tensor:
    """Turns sufficient statistics into Pearson r.

    Args:
        s_ab: int64 [F_a, F_b] as `cross_moments_` leaves it.
        sums_a: int64 [5, F_a].
        sums_b: int64 [5, F_b].
        n_tokens: tokens they were summed over.

    Returns:
        float64 [F_a, F_b], NaN where a feature never varies.

    Raises:
        InputError: wrong shapes or dtypes, or sums that no data can have.
    """
    return _call("correlation_from_moments", s_ab, sums_a, sums_b, n_tokens)


def best_from_moments(s_ab: Tensor, sums_a: Tensor, sums_b: Tensor, n_tokens: int, k: int) -> RawMatches:
    """Top-k partners in both directions from sufficient statistics: the last step of `best_matches`, to the same bits.

    Args:
        s_ab: int64 [F_a, F_b] as `cross_moments_` leaves it.
        sums_a: int64 [5, F_a].
        sums_b: int64 [5, F_b].
        n_tokens: tokens they were summed over.
        k: partners kept per feature, 1 <= k <= min(F_a, F_b).

    Returns:
        As `best_matches`.

    Raises:
        InputError: wrong shapes or dtypes, k out of range, or sums that no data can have.
    """
    return RawMatches(*_call("best_from_moments", s_ab, sums_a, sums_b, n_tokens, k))


def permuted_dot(x: Tensor, y: Tensor, permutations: Tensor) -> Tensor:
    """Inner products of one symmetric matrix with many permutations of another, over the strict lower triangle.

    Args:
        x: float64 [n, n], symmetric.
        y: float64 [n, n], symmetric.
        permutations: int32 [m, n], every row a permutation of 0..n-1.

    Returns:
        float64 [m]: sum over j < i of x[i, j] y[p[i], p[j]], the same bits for any number of threads.

    Raises:
        InputError: wrong shape or dtype, or a row that is no permutation.
    """
    return _call("permuted_dot", x, y, permutations)


def _fake_compact_rows(x: Tensor, dtype: torch.dtype, threshold: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    nnz = torch.library.get_ctx().new_dynamic_size()
    return (
        x.new_empty(x.shape[0] + 1, dtype=torch.int64),
        x.new_empty(nnz, dtype=torch.int32),
        x.new_empty(nnz, dtype=dtype),
    )


def _fake_best_matches(*given: Any) -> tuple[Tensor, ...]:
    a_indptr, _, _, n_features_a, _, _, _, n_features_b, k = given
    return _empty_matches(a_indptr, n_features_a, n_features_b, k)


def _fake_best_matches_within(*given: Any) -> tuple[Tensor, ...]:
    *of_both, _, _, k = given  # groups, and how many
    return _fake_best_matches(*of_both, k)


def _empty_matches(like: Tensor, n_features_a: int, n_features_b: int, k: int) -> tuple[Tensor, ...]:
    shapes = [
        (n_features_a, k),
        (n_features_a, k),
        (n_features_b, k),
        (n_features_b, k),
        (n_features_a,),
        (n_features_b,),
    ]
    dtypes = [torch.int64, torch.float64, torch.int64, torch.float64, torch.float64, torch.float64]
    return tuple(like.new_empty(shape, dtype=dtype) for shape, dtype in zip(shapes, dtypes, strict=True))


def _fake_best_matches_again(*given: Any) -> tuple[Tensor, ...]:
    *of_both, draws, k = given  # permutations, or shifts
    found = _fake_best_matches(*of_both, k)[:4]
    return tuple(t.new_empty((len(draws), *t.shape)) for t in found)


def _fake_cross_moments_(*_: object) -> None:
    return None


def _fake_correlation_from_moments(s_ab: Tensor, sums_a: Tensor, sums_b: Tensor, n_tokens: int) -> Tensor:
    return s_ab.new_empty(s_ab.shape, dtype=torch.float64)


def _fake_best_from_moments(s_ab: Tensor, sums_a: Tensor, sums_b: Tensor, n_tokens: int, k: int) -> tuple[Tensor, ...]:
    return _empty_matches(s_ab, s_ab.shape[0], s_ab.shape[1], k)


def _fake_permuted_dot(x: Tensor, y: Tensor, permutations: Tensor) -> Tensor:
    return x.new_empty(permutations.shape[0])


def _on_one_device(fake: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the kernels' check of devices to a fake, which is also called for real tensors beside a meta tensor."""

    def checked(*arguments: Any) -> Any:
        devices = {str(argument.device) for argument in arguments if isinstance(argument, Tensor)}
        if len(devices) > 1:
            raise ValueError(f"all tensors must be on one device, got {' and '.join(sorted(devices))}")
        return fake(*arguments)

    return checked


if _core is not None:
    for _name, _fake in (
        ("compact_rows", _fake_compact_rows),
        ("best_matches", _fake_best_matches),
        ("best_matches_permuted", _fake_best_matches_again),
        ("best_matches_shifted", _fake_best_matches_again),
        ("best_matches_within", _fake_best_matches_within),
        ("cross_moments_", _fake_cross_moments_),
        ("correlation_from_moments", _fake_correlation_from_moments),
        ("best_from_moments", _fake_best_from_moments),
        ("permuted_dot", _fake_permuted_dot),
    ):
        torch.library.register_fake(f"semconv::{_name}")(_on_one_device(_fake))
