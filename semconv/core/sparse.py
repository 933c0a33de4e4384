"""SparseActivations: feature activations over tokens in compressed sparse rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from semconv.core import ops
from semconv.system.digests import sha256_of
from semconv.system.errors import InputError

_AT_ONCE = 2**24  # entries that are turned into wider types at once
_MARKS = 2**26  # flags of a document and a feature held at once, a byte each


_LONG = 8
"""Mean length from which stretches of consecutive tokens are copied whole."""


@dataclass(frozen=True, eq=False)
class SparseActivations:
    """The feature activations of one SAE, as compressed sparse rows (CSR): one row for every token.

    Token t has the entries indptr[t] to indptr[t + 1] of `indices` and `values`. All tensors lie on one device, and so
    does whatever the methods return.

    Attributes:
        indptr: int64 [n_tokens + 1], from 0 to nnz, never decreasing.
        indices: int32 [nnz], feature numbers, strictly increasing within a token.
        values: float16 or float32 [nnz], finite and >= 0.
        n_features: F, the width of the dictionary.

    Raises:
        InputError: a wrong dtype or shape; indptr that does not rise from 0 to nnz; indices out of range or not
            strictly increasing within a token; values that are negative or not finite; n_features below 1 or above 2^31
            - 1; or tensors on more than one device.

    Examples:
        Three tokens, four features; the second token activates none:

        >>> import torch
        >>> from semconv import SparseActivations
        >>> acts = SparseActivations.from_dense(torch.tensor([[0.0, 2, 0, 1], [0, 0, 0, 0], [3, 0, 0, 0]]))
        >>> acts.indptr.tolist(), acts.indices.tolist(), acts.values.tolist()
        ([0, 2, 2, 3], [1, 3, 0], [2.0, 1.0, 3.0])
        >>> acts.n_tokens, acts.n_features, acts.l0  # active features per token: 3 / 3
        (3, 4, 1.0)
        >>> acts.active_counts().tolist()  # tokens per feature
        [1, 1, 0, 1]
    """

    indptr: Tensor
    indices: Tensor
    values: Tensor
    n_features: int

    def __post_init__(self) -> None:
        _check(self)

    @classmethod
    def from_dense(
        cls, x: Tensor, dtype: torch.dtype | None = None, threshold: Tensor | None = None
    ) -> SparseActivations:
        """Compacts a dense matrix, in the order of its rows.

        Args:
            x: [n_tokens, n_features] float32, bfloat16 or float16, finite and >= 0.
            dtype: float16 or float32; None keeps what loses nothing (float16 stays, the others become float32).
            threshold: float32 [n_features]: what does not exceed it counts as zero, so that x may hold the
                pre-activations of a JumpReLU SAE.

        Raises:
            InputError: wrong shape or dtype, or a value that `dtype` cannot hold.
        """
        if dtype is None:
            dtype = torch.float16 if x.dtype == torch.float16 else torch.float32
        return cls(*ops.compact_rows(x, dtype, threshold), n_features=x.shape[1])

    @classmethod
    def concatenate(cls, chunks: Sequence[SparseActivations]) -> SparseActivations:
        """Joins chunks of consecutive tokens.

        Raises:
            InputError: no chunk, or chunks of different width, dtype or device.
        """
        if not chunks:
            raise InputError("at least one chunk is needed, got none")
        first = chunks[0]
        for chunk in chunks:
            if (chunk.n_features, chunk.values.dtype) != (first.n_features, first.values.dtype):
                raise InputError(
                    f"chunks must agree in features and dtype, got {first.n_features} {first.values.dtype} "
                    f"and {chunk.n_features} {chunk.values.dtype}"
                )
            if chunk.device != first.device:
                raise InputError(f"chunks must be on one device, got {first.device} and {chunk.device}")
        starts = accumulate((c.nnz for c in chunks[:-1]), initial=0)
        indptr = torch.cat([first.indptr[:1], *(c.indptr[1:] + s for c, s in zip(chunks, starts, strict=True))])
        return cls(
            indptr, torch.cat([c.indices for c in chunks]), torch.cat([c.values for c in chunks]), first.n_features
        )

    def to(self, device: torch.device | str) -> SparseActivations:
        """Returns the activations on a device: these themselves when they are there, else a copy."""
        parts = [part.to(device) for part in (self.indptr, self.indices, self.values)]
        return self if parts[0] is self.indptr else SparseActivations(*parts, n_features=self.n_features)

    def rows(self, begin: int, end: int) -> SparseActivations:
        """Returns the tokens [begin, end), 0 <= begin < end <= n_tokens; entries share memory with these."""
        first, last = int(self.indptr[begin]), int(self.indptr[end])
        return SparseActivations(
            self.indptr[begin : end + 1] - first, self.indices[first:last], self.values[first:last], self.n_features
        )

    def columns(self, features: Tensor) -> SparseActivations:
        """Returns the same tokens with some of the features, which get the numbers 0, 1, ... in the order given.

        Args:
            features: int64 [n], at least one, strictly increasing, within [0, n_features).

        Raises:
            InputError: any of that does not hold.
        """
        _check_features(features, self.n_features)
        number = torch.full((self.n_features,), -1, dtype=torch.int32, device=self.indices.device)
        number[features] = torch.arange(len(features), dtype=torch.int32, device=number.device)
        renumbered = number.index_select(0, self.indices)
        kept, indptr = _chosen(renumbered >= 0, self.indptr)
        return SparseActivations(
            indptr, renumbered.index_select(0, kept), self.values.index_select(0, kept), len(features)
        )

    def tokens(self, positions: Tensor) -> SparseActivations:
        """Returns the tokens at int64 [n] positions, n >= 1, in that order; a position may come more than once."""
        counts = self.indptr.diff()[positions]
        indptr = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        begins = torch.cat([counts.new_zeros(1), (positions.diff() != 1).nonzero()[:, 0] + 1])
        if len(begins) * _LONG <= len(positions):  # whole documents, say: stretches are copied
            ends = torch.cat([begins[1:], begins.new_tensor([len(positions)])]) - 1
            cuts = zip(self.indptr[positions[begins]].tolist(), self.indptr[positions[ends] + 1].tolist(), strict=True)
            stretches = [slice(first, last) for first, last in cuts]
            indices, values = (torch.cat([part[one] for one in stretches]) for part in (self.indices, self.values))
            return SparseActivations(indptr, indices, values, self.n_features)
        # Entry i of the result is entry i - (where its token starts here) + (where its token started) of these.
        entries = torch.arange(int(indptr[-1]), device=counts.device)
        entries += torch.repeat_interleave(self.indptr[positions] - indptr[:-1], counts)
        return SparseActivations(indptr, self.indices[entries], self.values[entries], self.n_features)

    def to_dense(self) -> Tensor:
        """Returns [n_tokens, n_features] in the dtype of the values."""
        dense = torch.zeros(self.n_tokens, self.n_features, dtype=self.values.dtype, device=self.values.device)
        dense[self.token_of_entry(), self.indices.long()] = self.values
        return dense

    def token_of_entry(self) -> Tensor:
        """Returns the token of every stored entry, int64 [nnz]."""
        counts = self.indptr.diff()
        return torch.repeat_interleave(torch.arange(self.n_tokens, device=counts.device), counts)

    def active_counts(self) -> Tensor:
        """Returns on how many tokens each feature is stored, int64 [n_features]."""
        counts = torch.zeros(self.n_features, dtype=torch.int64, device=self.device)
        for part in self.indices.split(_AT_ONCE):  # which bincount takes as int64, twice as much
            counts += torch.bincount(part.long(), minlength=self.n_features)
        return counts

    def document_counts(self, documents: Tensor) -> Tensor:
        """Returns in how many documents each feature is stored, int64 [n_features].

        Documents are taken some at a time, so that no more than `_MARKS` flags are held.

        Args:
            documents: integer [n_tokens] document of every token, in any order, on the device of these.

        Raises:
            InputError: another number of tokens.
        """
        if documents.shape != (self.n_tokens,):
            raise InputError(f"documents must be [{self.n_tokens}], one for every token, got {list(documents.shape)}")
        if bool((documents.diff() < 0).any()):
            order = torch.argsort(documents, stable=True)
            return self.tokens(order).document_counts(documents[order])
        place, sizes = torch.unique_consecutive(documents, return_inverse=True, return_counts=True)[1:]
        ends = [0, *sizes.cumsum(0).tolist()]  # document i has the tokens ends[i] to ends[i + 1]
        counts = torch.zeros(self.n_features, dtype=torch.int64, device=self.device)
        at_once = max(_MARKS // self.n_features, 1)
        for first in range(0, len(sizes), at_once):
            last = min(first + at_once, len(sizes))
            part = self.rows(ends[first], ends[last])
            marks = torch.zeros((last - first, self.n_features), dtype=torch.bool, device=self.device)
            marks[(place[ends[first] : ends[last]] - first)[part.token_of_entry()], part.indices.long()] = True
            counts += marks.sum(dim=0)
        return counts

    def feature_max(self) -> Tensor:
        """Returns the largest stored value of every feature, float32 [n_features], 0 where there is none."""
        out = torch.zeros(self.n_features, dtype=torch.float32, device=self.values.device)
        for indices, values in zip(self.indices.split(_AT_ONCE), self.values.split(_AT_ONCE), strict=True):
            out.scatter_reduce_(0, indices.long(), values.float(), "amax")
        return out

    @property
    def n_tokens(self) -> int:
        """Number of tokens, which are the rows."""
        return self.indptr.numel() - 1

    @property
    def device(self) -> torch.device:
        """The device of all three tensors."""
        return self.values.device

    @property
    def nnz(self) -> int:
        """Number of stored entries over all tokens."""
        return self.indices.numel()

    @property
    def l0(self) -> float:
        """Mean number of active features per token."""
        return self.nnz / self.n_tokens

    @property
    def sha256(self) -> str:
        """SHA-256 over width, dtype and the three arrays."""
        return sha256_of(f"{self.n_features} {self.values.dtype}", self.indptr, self.indices, self.values)


def _chosen(flags: Tensor, indptr: Tensor) -> tuple[Tensor, Tensor]:
    """Returns which entries are chosen, int64, ascending, and where the tokens begin among them, like `indptr`.

    On a CPU NumPy counts them in a fifth of the time that torch takes.

    Args:
        flags: bool [nnz].
        indptr: int64 [n_tokens + 1] of all entries.
    """
    if flags.device.type != "cpu":
        before = torch.cat([indptr[:1], flags.cumsum(0)])  # [nnz + 1], indptr[0] being 0
        return flags.nonzero()[:, 0], before[indptr]
    before = np.zeros(len(flags) + 1, dtype=np.int32 if len(flags) < 2**31 else np.int64)
    np.cumsum(flags.numpy(), out=before[1:])
    return torch.from_numpy(np.flatnonzero(flags.numpy())), torch.from_numpy(before[indptr.numpy()].astype(np.int64))


def _check_features(features: Tensor, n_features: int) -> None:
    """Raises InputError unless these are feature numbers in strictly increasing order."""
    if features.dtype != torch.int64 or features.dim() != 1 or not features.numel():
        raise InputError(f"features must be int64 [n] with n >= 1, got {features.dtype} {list(features.shape)}")
    if bool((features.diff() <= 0).any()):
        at = int((features.diff() <= 0).nonzero()[0]) + 1
        raise InputError(f"features must be strictly increasing, got {features[at - 1]} then {features[at]}")
    if int(features[0]) < 0 or int(features[-1]) >= n_features:
        wrong = int(features[0]) if int(features[0]) < 0 else int(features[-1])
        raise InputError(f"features must be in [0, {n_features}), got {wrong}")


def _check(acts: SparseActivations) -> None:
    """Raises InputError at the first rule of the format that does not hold."""
    indptr, indices, values = acts.indptr, acts.indices, acts.values
    if indptr.dtype != torch.int64 or indptr.dim() != 1 or indptr.numel() < 2:
        raise InputError(
            f"indptr must be int64 [n_tokens + 1] with at least one token, got {indptr.dtype} {list(indptr.shape)}"
        )
    if indices.dtype != torch.int32 or indices.dim() != 1:
        raise InputError(f"indices must be int32 [nnz], got {indices.dtype} {list(indices.shape)}")
    if values.dtype not in (torch.float16, torch.float32) or values.shape != indices.shape:
        raise InputError(
            f"values must be float16 or float32 {list(indices.shape)} like indices, "
            f"got {values.dtype} {list(values.shape)}"
        )
    if not 1 <= acts.n_features < 2**31:
        raise InputError(f"n_features must be between 1 and 2^31 - 1, got {acts.n_features}")
    if not indptr.device == indices.device == values.device:
        devices = ", ".join(str(part.device) for part in (indptr, indices, values))
        raise InputError(f"indptr, indices and values must be on one device, got {devices}")
    if int(indptr[0]) != 0 or int(indptr[-1]) != indices.numel() or bool((indptr.diff() < 0).any()):
        raise InputError(
            f"indptr must rise from 0 to nnz = {indices.numel()} without decreasing, "
            f"got {int(indptr[0])} to {int(indptr[-1])}"
        )
    if indices.numel() == 0:
        return
    low, high = (int(v) for v in indices.aminmax())
    if low < 0 or high >= acts.n_features:
        raise InputError(f"indices must be in [0, {acts.n_features}), got {low if low < 0 else high}")
    falls = indices[1:] <= indices[:-1]
    row_starts = indptr[1:-1]
    falls[row_starts[(row_starts > 0) & (row_starts < indices.numel())] - 1] = False
    if bool(falls.any()):
        at = int(falls.nonzero()[0]) + 1
        raise InputError(
            f"indices must be strictly increasing within a token, got {int(indices[at - 1])} then {int(indices[at])} "
            f"at entry {at}"
        )
    smallest, largest = (float(v) for v in values.aminmax())
    if not (smallest >= 0 and largest < float("inf")):
        raise InputError(f"values must be finite and >= 0, got values between {smallest} and {largest}")
