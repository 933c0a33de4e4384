"""The few leading eigenvectors of a large symmetric matrix by block Lanczos, with a proof that none was missed."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

_SMALLEST = 1024  # rows below which all eigenvectors cost little
_FEW = 1 / 32  # share of the eigenvectors that is few
_EXTRA = 8  # directions of a block beyond those asked for; they decide how fast the last ones converge
_LARGEST = 2  # the basis may reach half of the matrix; beyond, all eigenvectors are as cheap
_RESIDUAL = 4e-15  # of an eigenvector, as a share of the largest eigenvalue: what the product with the matrix rounds to
_EVERY = 4  # blocks between two tries


def are_few(k: int, m: int) -> bool:
    """Whether k of m eigenvectors are so few, and m so many, that they are found faster alone."""
    return m >= _SMALLEST and k <= _FEW * m


def leading_eigenvectors(
    G: Float[Tensor, "m m"], k: int
) -> tuple[Float[Tensor, " k"], Float[Tensor, "m k"], float] | None:
    """Returns the k largest eigenvalues, descending, their eigenvectors, and a bound that all others are below.

    None where they do not come out well.

    Block Lanczos from a fixed random start, with every block made orthogonal to all before (Golub & Van Loan, Matrix
    Computations, 4th edition, section 10.3.6). Eigenvectors are taken when their residuals are down to the rounding of
    a product with G. That they are the leading ones is proved: with c half-way between the last of them and the next
    value found, c I - G, with their part of G taken out, has a Cholesky factor, so no other eigenvalue reaches c.

    Args:
        G: float64, symmetric, no negative eigenvalues.
        k: how many.
    """
    for values, vectors, residual in _ritz_pairs(G, k):
        if residual <= _RESIDUAL * float(values[0]):
            cut = (values[k - 1] + values[k]) / 2
            others = (vectors[:, :k] * values[:k]) @ vectors[:, :k].mT - G
            others.diagonal().add_(cut)
            failed = torch.linalg.cholesky_ex(others).info
            return None if bool(failed) else (values[:k], vectors[:, :k].contiguous(), float(cut))
    return None


def _ritz_pairs(G: Float[Tensor, "m m"], k: int) -> Iterator[tuple[Tensor, Tensor, float]]:
    """Yields the k + 1 leading Ritz values and vectors of a growing Krylov space, and the largest residual of k."""
    width = k + _EXTRA
    start = torch.randn(len(G), width, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(G.device)
    block = torch.linalg.qr(start).Q
    basis, images = [block], [G @ block]
    most = len(G) // _LARGEST // width
    while len(basis) < most:
        Q = torch.cat(basis, dim=1)
        rest = images[-1]
        for _ in range(2):  # once leaves what rounding put there
            rest = torch.linalg.qr(rest - Q @ (Q.mT @ rest)).Q
        basis.append(rest)
        images.append(G @ rest)
        if len(basis) % _EVERY == 0 or len(basis) == most:
            Q, image = torch.cat(basis, dim=1), torch.cat(images, dim=1)
            values, small = torch.linalg.eigh(Q.mT @ image)
            values, small = values.flip(0)[: k + 1], small.flip(1)[:, : k + 1]
            vectors = Q @ small
            residuals = torch.linalg.norm(image @ small[:, :k] - vectors[:, :k] * values[:k], dim=0)
            yield values, vectors, float(residuals.max())
