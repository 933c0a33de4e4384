"""Reads the activations of one SAE over one corpus from disk: checksummed, append-only, resumable shards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from semconv.core.sparse import SparseActivations
from semconv.core.store_manifest import MANIFEST, StoreIdentity, read_manifest, stored_identity
from semconv.core.store_shards import DTYPES, check_shard, may_hold, read_shard
from semconv.core.store_writer import StoreWriter
from semconv.system.digests import sha256_of
from semconv.system.errors import InputError

__all__ = ["ActivationStore", "StoreIdentity", "StoreWriter", "stored_identity"]


class ActivationStore:
    """A complete store opened for reading.

    Args:
        path: the store's folder.

    Raises:
        InputError: no store there, another version, a damaged manifest, or a store that was never finished.

    Examples:
        Write a store of four tokens, then read it:

        >>> import tempfile
        >>> import torch
        >>> import semconv
        >>> acts = semconv.SparseActivations.from_dense(torch.tensor([[0.0, 2], [1, 0], [0, 0], [3, 1]]))
        >>> identity = semconv.StoreIdentity(
        ...     model="my model", model_sha256="a1" * 32, sae="my SAE", sae_sha256="b2" * 32,
        ...     hook="blocks.3.hook_resid_post", tokens_sha256="c3" * 32, n_tokens=4, n_features=2, dtype="float32")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     semconv.StoreWriter(folder, identity).append(acts, first_token=0)
        ...     store = semconv.ActivationStore(folder)
        ...     store.n_tokens, store.n_features, store.verify(), store.feature_max().tolist()
        (4, 2, 4, [3.0, 2.0])
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        manifest = read_manifest(self.path)
        self.identity, self._shards, self.versions = manifest.identity, manifest.shards, manifest.versions
        expected = self.identity.n_shards
        if len(self._shards) != expected:
            raise InputError(
                f"{self.path} is not complete: {len(self._shards)} of {expected} shards written; "
                "run the same command again to continue"
            )

    @property
    def n_tokens(self) -> int:
        """Counted positions of the text."""
        return self.identity.n_tokens

    @property
    def n_features(self) -> int:
        """F, the width of the dictionary."""
        return self.identity.n_features

    @property
    def sha256(self) -> str:
        """SHA-256 over the shards' checksums: the activations a result was computed from."""
        return sha256_of(*(shard.sha256 for shard in self._shards))

    @property
    def nnz(self) -> int:
        """Stored entries."""
        return sum(shard.nnz for shard in self._shards)

    @property
    def n_bytes(self) -> int:
        """Bytes that the activations take in memory: 8 for every token, and an int32 and a value for every entry."""
        return 8 * (self.n_tokens + 1) + (4 + DTYPES[self.identity.dtype].itemsize) * self.nnz

    def shards(self) -> Iterator[SparseActivations]:
        """Yields every shard in order, each verified.

        Raises:
            InputError: a shard is missing, altered or malformed.
        """
        return (acts for acts, _ in self._verified())

    def _verified(self) -> Iterator[tuple[SparseActivations, torch.Tensor | None]]:
        """Yields activations and norms of every shard in order, each verified."""
        for index, shard in enumerate(self._shards):
            check_shard(self.path, index, shard, self.identity)
            yield read_shard(self.path / shard.file, shard, self.identity)

    def load(self, device: torch.device | str = "cpu") -> SparseActivations:
        """Reads the whole store into the memory of a device, shard by shard; needs room for `n_bytes` and a shard.

        Raises:
            InputError: a shard is missing, altered or malformed.
        """
        return self.load_with_norms(device)[0]

    def load_with_norms(self, device: torch.device | str = "cpu") -> tuple[SparseActivations, torch.Tensor | None]:
        """Reads the whole store like `load`, and the norm of the stream that the SAE took at every token.

        Returns:
            The activations, and the norms float32 [n_tokens] on the CPU, None where a shard has none.

        Raises:
            InputError: a shard is missing, altered or malformed.
        """
        if not all(may_hold(self.path / shard.file, shard, self.identity) for shard in self._shards):
            self.verify()  # says what is wrong, before anything as large as the manifest says is made
            raise InputError(f"{self.path / MANIFEST} is damaged: it says more entries than its shards hold")
        indptr = torch.zeros(self.n_tokens + 1, dtype=torch.int64, device=device)
        indices = torch.empty(self.nnz, dtype=torch.int32, device=device)
        values = torch.empty(self.nnz, dtype=DTYPES[self.identity.dtype], device=device)
        token, entry, norms = 0, 0, list[torch.Tensor | None]()
        for part, of_part in self._verified():
            indptr[token + 1 : token + part.n_tokens + 1] = part.indptr[1:] + entry
            indices[entry : entry + part.nnz] = part.indices
            values[entry : entry + part.nnz] = part.values
            token, entry = token + part.n_tokens, entry + part.nnz
            norms.append(of_part)
        return SparseActivations(indptr, indices, values, self.n_features), _joined(norms)

    def load_norms(self) -> torch.Tensor | None:
        """Returns the norms alone, as `load_with_norms` does.

        Raises:
            InputError: a shard is missing, altered or malformed.
        """
        return _joined([norms for _, norms in self._verified()])

    def feature_max(self) -> torch.Tensor:
        """Returns the largest value of every feature over all tokens, float32 [n_features], 0 where there is none.

        Raises:
            InputError: a shard is missing, altered or malformed.
        """
        return torch.stack([acts.feature_max() for acts in self.shards()]).amax(dim=0)

    def verify(self) -> int:
        """Checks checksums, shapes, sortedness and maxima of every shard; returns the number of stored entries.

        Raises:
            InputError: a shard is missing, altered or malformed.
        """
        return sum(acts.nnz for acts in self.shards())

    def check_same_tokens(self, other: ActivationStore) -> None:
        """Raises InputError unless both stores were computed over the same tokens."""
        mine, theirs = self.identity, other.identity
        if (mine.tokens_sha256, mine.n_tokens) != (theirs.tokens_sha256, theirs.n_tokens):
            raise InputError(
                f"the stores hold different tokens: {self.path} has {mine.n_tokens} with SHA-256 "
                f"{mine.tokens_sha256[:16]}..., {other.path} has {theirs.n_tokens} with {theirs.tokens_sha256[:16]}..."
            )


def _joined(norms: list[torch.Tensor | None]) -> torch.Tensor | None:
    """Returns the norms of all shards one after another, None where one has none."""
    known = [one for one in norms if one is not None]
    return torch.cat(known) if len(known) == len(norms) else None
