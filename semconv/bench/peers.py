"""The competitors: each gets the same CSR inputs and computes what its library offers for the job."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy import ndarray

from semconv.bench.checks import DENSE_TOLERANCE, check_best, check_close, pearson_from_dot, quantization_tolerance
from semconv.core.correlate import best_matches
from semconv.core.sparse import SparseActivations

SAMPLE = 64  # A features whose answers are checked
DENSE_TOKENS = 8  # the dense competitors run on this fraction of the tokens ...
DENSE_WIDTHS = (64, 192)  # ... and on these many A features; their time is linear in both


class Prepared:
    """One job's inputs and the oracle's answers for a sample of A features."""

    def __init__(self, a: SparseActivations, b: SparseActivations, k: int) -> None:
        self.a, self.b, self.k = a, b, k
        self.sample: ndarray = np.random.default_rng(0).choice(a.n_features, min(SAMPLE, a.n_features), replace=False)

    def head(self, n_tokens: int) -> Prepared:
        """Returns the same job on its first tokens."""
        return type(self)(self.a.rows(0, n_tokens), self.b.rows(0, n_tokens), self.k)

    def build(self) -> None:
        """Makes what the peers and the checks read, before anything is timed or weighed."""
        _ = self.a_scipy, self.b_scipy, self.expected_r

    @cached_property
    def a_scipy(self) -> Any:
        """float32 SciPy CSR [n_tokens, F_a]."""
        return to_scipy(self.a)

    @cached_property
    def b_scipy(self) -> Any:
        """float32 SciPy CSR [n_tokens, F_b]."""
        return to_scipy(self.b)

    @cached_property
    def expected_dot(self) -> ndarray:
        """float64 [SAMPLE, F_b], A.T @ B of the sample."""
        return (self.a_scipy[:, self.sample].astype(np.float64).T @ self.b_scipy.astype(np.float64)).toarray()

    @cached_property
    def expected_r(self) -> ndarray:
        """float64 [SAMPLE, F_b], Pearson r of the sample."""
        return pearson_from_dot(self.expected_dot, self.a_scipy[:, self.sample], self.b_scipy)

    @cached_property
    def updates(self) -> int:
        """Products of two stored values that share a token."""
        return int((self.a.indptr.diff() * self.b.indptr.diff()).sum())


def to_scipy(acts: SparseActivations) -> Any:
    """Returns float32 SciPy CSR [n_tokens, n_features]."""
    from scipy.sparse import csr_matrix

    parts = (acts.values.float(), acts.indices, acts.indptr)
    return csr_matrix(tuple(part.cpu().numpy() for part in parts), shape=(acts.n_tokens, acts.n_features))


@dataclass(frozen=True)
class Peer:
    """One competitor.

    Attributes:
        name: library and call.
        does: what it computes, for jobs that are not quite the same.
        call: takes the job, returns the answer; this is timed.
        check: raises InputError unless the answer is right.
        once: the call that is checked is the one that is timed, because it is slow.
        most_tokens: on how many of the first tokens it runs at most; its time is linear in them. None: on all.
    """

    name: str
    does: str
    call: Callable[[Prepared], Any]
    check: Callable[[Prepared, Any], None]
    once: bool = False
    most_tokens: Callable[[Prepared], int] | None = None


@dataclass(frozen=True)
class DensePeer:
    """A competitor whose whole job would take minutes to an hour: run on less, its time extrapolated.

    Attributes:
        name: library and call.
        does: what it computes.
        call: takes the job and how many of the first A features to do, returns their best r and partner.
    """

    name: str
    does: str
    call: Callable[[Prepared, int], tuple[torch.Tensor, torch.Tensor]]

    def check(self, p: Prepared, found: tuple[torch.Tensor, torch.Tensor]) -> None:
        """Raises InputError unless the best r of the first A features is right."""
        r = found[0].numpy()
        x = p.a_scipy[:, np.arange(len(r))]
        expected = pearson_from_dot((x.astype(np.float64).T @ p.b_scipy.astype(np.float64)).toarray(), x, p.b_scipy)
        varies = ~np.all(np.isnan(expected), axis=1)
        check_close(r[varies], np.nanmax(expected[varies], axis=1), DENSE_TOLERANCE, "the best r")


def _check_semconv(p: Prepared, m: Any) -> None:
    tolerance = quantization_tolerance(m.quantization_noise_a, m.quantization_noise_b)
    check_best(m.a_to_b.index[p.sample].numpy(), m.a_to_b.r[p.sample].numpy(), p.expected_r, tolerance)


def _topn(p: Prepared) -> Any:
    from sparse_dot_topn import sp_matmul_topn

    return sp_matmul_topn(p.a_scipy.T.tocsr(), p.b_scipy, top_n=p.k, n_threads=torch.get_num_threads(), sort=False)


def _check_topn(p: Prepared, found: Any) -> None:
    best = np.asarray(found[p.sample].max(axis=1).todense()).ravel()
    # float32 sums of up to n_tokens positive terms lose at most a few thousandths.
    check_close(best, p.expected_dot.max(axis=1), 5e-3, "the top dot product")


def _scipy(p: Prepared) -> Any:
    return p.a_scipy.T.tocsr() @ p.b_scipy


def _check_sparse_product(p: Prepared, found: Any) -> None:
    check_close(found[p.sample].toarray(), p.expected_dot, 5e-3, "the product")


def _mkl(p: Prepared) -> ndarray:
    # The wheel keeps its library where the loader does not look.
    library = next(iter(sorted(Path(sys.prefix, "lib").glob("libmkl_rt.so*"))), None)
    if library is not None:
        os.environ.setdefault("MKL_RT", str(library))
    from sparse_dot_mkl import dot_product_mkl, mkl_set_num_threads  # pyright: ignore[reportMissingImports]

    mkl_set_num_threads(torch.get_num_threads())
    return np.asarray(dot_product_mkl(p.a_scipy.T.tocsr(), p.b_scipy, dense=True))


def _chunked_dense(p: Prepared, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Best r and partner of the first A features: float32 matmul over chunks of tokens, r at the end."""
    n = p.a.n_tokens
    s_ab = torch.zeros(width, p.b.n_features)
    sums = [torch.zeros(2, f) for f in (width, p.b.n_features)]
    for begin in range(0, n, 4096):
        x, y = (torch.from_numpy(m[begin : begin + 4096].toarray()) for m in (p.a_scipy[:, :width], p.b_scipy))
        s_ab.addmm_(x.T, y)
        for total, part in zip(sums, (x, y), strict=True):
            total += torch.stack([part.sum(0), part.square().sum(0)])
    (s_a, q_a), (s_b, q_b) = sums
    r = (n * s_ab - torch.outer(s_a, s_b)) / torch.sqrt(torch.outer(n * q_a - s_a**2, n * q_b - s_b**2))
    return r.nan_to_num(-2).max(dim=1)


def best_by_published_protocol(
    x: torch.Tensor, columns_of_b: Callable[[int, int], torch.Tensor], n_features_b: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Best r and partner of every column of x: dense matrices, standardised, multiplied in column batches.

    Args:
        x: float32 [n_tokens, n].
        columns_of_b: returns columns [begin, end) of the other side, float32 [n_tokens, end - begin].
        n_features_b: F_b.
    """

    def standardised(m: torch.Tensor) -> torch.Tensor:
        return (m - m.mean(0)) / (m.std(0) + 1e-8)

    x = standardised(x)
    best, index = x.new_full((x.shape[1],), -2.0), torch.zeros(x.shape[1], dtype=torch.int64, device=x.device)
    for begin in range(0, n_features_b, 1024):
        y = standardised(columns_of_b(begin, min(begin + 1024, n_features_b)))
        r, partner = (x.T @ y / len(x)).nan_to_num(-2).max(dim=1)
        better = r > best
        best[better], index[better] = r[better], partner[better] + begin
    return best, index


def _published(p: Prepared, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The published protocol for the first A features."""

    def columns(m: Any, begin: int, end: int) -> torch.Tensor:
        return torch.from_numpy(m[:, begin:end].toarray())

    return best_by_published_protocol(
        columns(p.a_scipy, 0, width), lambda begin, end: columns(p.b_scipy, begin, end), p.b.n_features
    )


SEMCONV = Peer(
    "semconv best_matches",
    "Pearson, top k, both directions, exact",
    lambda p: best_matches(p.a, p.b, p.k),
    _check_semconv,
)
PEERS: tuple[Peer | DensePeer, ...] = (
    Peer("sparse_dot_topn", "dot products, top k, one direction, float32", _topn, _check_topn),
    Peer(
        "MKL (sparse_dot_mkl)",
        "dot products, all cells, float32",
        _mkl,
        lambda p, found: check_close(found[p.sample], p.expected_dot, 5e-3, "the product"),
    ),
    Peer("scipy.sparse", "dot products, all cells, 1 thread", _scipy, _check_sparse_product, once=True),
    DensePeer("torch, chunked dense", "Pearson, top 1, one direction, float32", _chunked_dense),
    DensePeer("published protocol", "dense Pearson, top 1, one direction", _published),
)
