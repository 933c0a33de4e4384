"""RSA: rank correlation between the two matrices of similarities among the rows of each space."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from numpy import ndarray
from torch import Tensor

from semconv.compare.measure import Measure, RowSubsets, check_paired
from semconv.compare.ranks import kendall_numerator, stable_order, tensor_ranks, tied_pairs
from semconv.compare.row_products import RowProducts
from semconv.compare.shared_rows import Rows, SharedRows
from semconv.compare.symmetric_product import mirror_lower_
from semconv.core import ops
from semconv.system.errors import InputError

RDM = Literal["correlation", "cosine"]
Rank = Literal["spearman", "kendall"]


@dataclass(frozen=True)
class RSA(Measure[Shaped[Tensor, "n n"]]):
    """Representational similarity analysis (Kriegeskorte et al. 2008, doi 10.3389/neuro.06.004.2008).

    The representational dissimilarity matrix (RDM) is 1 - Pearson r between rows, or 1 - their cosine; the score
    compares the strict lower triangles of the two. Permuting items permutes rows and columns of the RDM and leaves its
    ranks as they are.

    `spearman` is Pearson r of average ranks, so that a permutation costs one inner product. `kendall` is tau-a
    (Nili et al. 2014, doi 10.1371/journal.pcbi.1003553): concordant less discordant pairs of the N = n(n-1)/2 entries,
    over all N(N-1)/2 of them, counted exactly; tied pairs count as neither, so a space with tied dissimilarities scores
    below 1 against itself. There is no short cut for a permutation: each costs O(N log^2 N), 30 ms at n = 900 and 4 s
    at n = 5,000 on one thread.

    Attributes:
        rdm: how two rows are compared.
        rank: how two RDMs are compared.

    Raises:
        InputError: unknown rdm or rank.

    Examples:
        What is prepared are the ranks of the similarities between rows, [n, n]; a permutation only moves them.

        >>> import numpy as np
        >>> from semconv.compare import RSA
        >>> angles = np.radians([0, 10, 90])
        >>> X = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        >>> measure = RSA(rdm="cosine", rank="kendall")
        >>> ranks = measure.prepare(X)  # 0 and 10 degrees are nearest, 0 and 90 farthest
        >>> measure.name, ranks.tolist()
        ('rsa_cosine_kendall', [[0, 0, 2], [0, 0, 1], [2, 1, 0]])
        >>> measure.null_scores(ranks, ranks, np.array([[0, 1, 2], [0, 2, 1]])).tolist()
        [1.0, -1.0]
    """

    rdm: RDM = "correlation"
    rank: Rank = "spearman"

    def __post_init__(self) -> None:
        if self.rdm not in ("correlation", "cosine"):
            raise InputError(f"RSA rdm must be correlation or cosine, got {self.rdm!r}")
        if self.rank not in ("spearman", "kendall"):
            raise InputError(f"RSA rank must be spearman or kendall, got {self.rank!r}")

    @property
    def name(self) -> str:
        return "rsa" + ("_cosine" if self.rdm == "cosine" else "") + ("_kendall" if self.rank == "kendall" else "")

    def prepare(self, X: Rows) -> Shaped[Tensor, "n n"]:
        """Returns the ranks of the RDM, symmetric, zero diagonal.

        `spearman`: float64, centred and of unit norm over the lower triangle, on the device of X. `kendall`: int32,
        from 0, without gaps, on the CPU, where it is counted.

        Raises:
            InputError: fewer than 3 rows, fewer than 2 columns (correlation), non-finite entries, a constant row
                (correlation) or a zero row (cosine), or rows whose similarities are all the same.
        """
        return self.prepare_shared(SharedRows(X))

    def prepare_shared(self, rows: SharedRows) -> Shaped[Tensor, "n n"]:
        similarities, flat = self._similarities(rows.products(at_least=3))
        self._refuse(flat)
        return self._ranks(similarities)

    def space(self, X: Rows) -> RowSubsets[Shaped[Tensor, "n n"]]:
        """As `Measure.space`; the similarities of all rows are computed once and take 8 N^2 bytes.

        A subset ranks what `prepare` ranks, except that BLAS may sum a few entries of a smaller matrix in another
        order: two similarities that agree to their last bits may then swap ranks.
        """
        similarities, flat = self._similarities(SharedRows(X).products(at_least=1))

        def subset(rows: Int[ndarray, " n"]) -> Shaped[Tensor, "n n"]:
            if len(rows) < 3:
                raise InputError(f"this measure needs at least 3 pairs, got {len(rows)}")
            at = torch.from_numpy(rows).to(flat.device)
            self._refuse(flat[at])
            return self._ranks(similarities[at][:, at])

        return RowSubsets(len(flat), subset)

    def _similarities(self, rows: RowProducts) -> tuple[Float[Tensor, "n n"], Bool[Tensor, " n"]]:
        """Similarities of all rows, and which rows have no direction."""
        X = rows.X
        if self.rdm == "correlation":
            if X.shape[1] < 2:
                raise InputError(f"RSA correlates rows and needs at least 2 columns, got {X.shape[1]}")
            similarities, lengths = rows.correlations()
        else:
            similarities, lengths = rows.cosines(), rows.lengths
        return similarities, lengths <= torch.finfo(torch.float64).eps * X.abs().amax(dim=1) * X.shape[1]

    def _refuse(self, flat: Bool[Tensor, " n"]) -> None:
        if bool(flat.any()):
            row = int(flat.nonzero()[0])
            raise InputError(
                f"RSA correlates rows, and row {row} is constant"
                if self.rdm == "correlation"
                else f"RSA takes cosines of rows, and row {row} is zero"
            )

    def _ranks(self, similarities: Float[Tensor, "n n"]) -> Shaped[Tensor, "n n"]:
        """The matrix of `prepare`; only the strict lower triangle of the similarities is read."""
        n = len(similarities)
        lower = _lower(n, similarities.device)
        ranks = tensor_ranks(1 - similarities.masked_select(lower), dense=self.rank == "kendall")
        if self.rank == "kendall":
            ranks, lower = ranks.to("cpu", torch.int32), lower.cpu()  # half the memory that permutations gather in
            differ = bool(ranks.any())
        else:
            ranks -= ranks.mean()
            norm = torch.linalg.norm(ranks)
            differ = bool(norm > 0)
            ranks /= norm if differ else 1.0
        if not differ:
            raise InputError("RSA needs rows that differ in their similarities, got an RDM of one value")
        return mirror_lower_(ranks.new_zeros(n, n).masked_scatter_(lower, ranks))

    def score(self, x: Shaped[Tensor, "n n"], y: Shaped[Tensor, "n n"]) -> float:
        return float(self.null_scores(x, y, np.arange(len(x))[None])[0])

    def null_scores(
        self, x: Shaped[Tensor, "n n"], y: Shaped[Tensor, "n n"], permutations: Int[ndarray, "m n"]
    ) -> Float[ndarray, " m"]:
        check_paired(len(x), len(y))
        if self.rank == "kendall":
            return _kendall(x.numpy(), y.numpy(), permutations)
        return ops.permuted_dot(x, y, torch.from_numpy(permutations).to(x.device, torch.int32)).cpu().numpy()


@lru_cache(maxsize=2)
def _lower(n: int, device: torch.device) -> Bool[Tensor, "n n"]:
    """Mask of the strict lower triangle; it is shared, and only read."""
    return torch.ones(n, n, dtype=torch.bool, device=device).tril_(-1)


def _kendall(x: Int[ndarray, "n n"], y: Int[ndarray, "n n"], permutations: Int[ndarray, "m n"]) -> Float[ndarray, " m"]:
    """tau-a between the lower triangles of x and of y[p][:, p], both dense ranks."""
    rows, columns = np.tril_indices(len(x), -1)
    entries = x[rows, columns]
    order = stable_order(entries.astype(np.float64))
    entries, rows, columns = entries[order].astype(np.int64), rows[order], columns[order]
    ties = tied_pairs(entries), tied_pairs(y[np.tril_indices(len(y), -1)])
    out = np.empty(len(permutations))
    for i, p in enumerate(permutations):
        p = p.astype(np.int64)
        out[i] = kendall_numerator(entries, y.take(p[rows] * len(y) + p[columns]), *ties)
    return out / (len(entries) * (len(entries) - 1) // 2)


def rsa(
    X: Float[ndarray, "n d_a"], Y: Float[ndarray, "n d_b"], rdm: RDM = "correlation", rank: Rank = "spearman"
) -> float:
    """Returns the RSA similarity of two paired spaces, in [-1, 1]; see `RSA` for the formula.

    Args:
        X: [n, d_a], finite; any real dtype, computed in float64.
        Y: [n, d_b], row i paired with row i of X.
        rdm: how two rows of one space are compared, `correlation` or `cosine`.
        rank: how the two matrices of dissimilarities are compared, `spearman` or `kendall` (tau-a).

    Raises:
        InputError: X or Y is no matrix, holds NaN or inf, has fewer than 3 rows, or rows whose similarities are all the
            same; a constant row or a single column (correlation), or a row of zeros (cosine); the two differ in their
            number of rows; or unknown rdm or rank.

    Examples:
        A rotation keeps every cosine between rows. In Y the nearest of three rows are farthest apart, and the other way
        round:

        >>> import numpy as np
        >>> from semconv.compare import rsa
        >>> def directions(degrees):
        ...     return np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], axis=1)
        >>> X = directions([0, 10, 90])
        >>> round(rsa(X, directions([45, 55, 135]), rdm="cosine"), 6)
        1.0
        >>> round(rsa(X, directions([0, 90, 10]), rdm="cosine"), 6)
        -1.0
    """
    measure = RSA(rdm, rank)
    return measure.score(measure.prepare(X), measure.prepare(Y))
