"""Writes the activations of one SAE over one corpus to disk, shard by shard, by one process or several."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict
from pathlib import Path

import torch

from semconv.core.sparse import SparseActivations
from semconv.core.store_manifest import (
    FORMAT,
    MANIFEST,
    PART_FORMAT,
    PARTS,
    VERSION,
    Manifest,
    PartManifest,
    Shard,
    StoreIdentity,
    read_manifest,
    read_part,
    shard_name,
)
from semconv.core.store_shards import DTYPES, NORM, are_norms, check_shard, has_norms, index_dtype
from semconv.system.errors import InputError
from semconv.system.files import sha256_of_file, write_json, write_tensors
from semconv.system.processes import Ranks
from semconv.system.provenance import code_commit, package_versions


class StoreWriter:
    """Writes a store shard by shard; opened on an unfinished one it continues with the shards that are not there.

    Several processes may write one store, each its part of what is missing. Until the store is whole, shards that do
    not follow on each other from the first are listed in files of their own beside the manifest.

    Args:
        path: the store's folder, made if need be.
        identity: what the store will hold.
        ranks: this process among those that write; all must open the store before one of them appends.
        norms: whether every shard must hold the norm of the stream; those that lack it are written again.

    Raises:
        InputError: the folder holds a store of another identity.

    Examples:
        A run that is stopped after three of four tokens; shards hold two tokens each here. The next run asks where to
        go on, and gives the tokens from there:

        >>> import tempfile
        >>> import torch
        >>> import semconv
        >>> acts = semconv.SparseActivations.from_dense(torch.tensor([[0.0, 2], [1, 0], [0, 0], [3, 1]]))
        >>> identity = semconv.StoreIdentity(
        ...     model="my model", model_sha256="a1" * 32, sae="my SAE", sae_sha256="b2" * 32,
        ...     hook="blocks.3.hook_resid_post", tokens_sha256="c3" * 32, n_tokens=4, n_features=2, dtype="float32",
        ...     shard_tokens=2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     semconv.StoreWriter(folder, identity).append(acts.rows(0, 3), first_token=0)
        ...     writer = semconv.StoreWriter(folder, identity)  # another process, later
        ...     begin = writer.tokens_written
        ...     writer.append(acts.rows(begin, 4), first_token=begin)
        ...     begin, writer.complete
        (2, True)
    """

    def __init__(
        self,
        path: str | Path,
        identity: StoreIdentity,
        ranks: Ranks = Ranks(),  # noqa: B008 - frozen
        norms: bool = False,
    ) -> None:
        self.path = Path(path)
        self.identity = identity
        self._ranks = ranks
        self._norms = norms
        self._pending: list[tuple[SparseActivations, torch.Tensor | None]] = []
        self._versions = {**package_versions(), "commit": code_commit()}
        self._shards = self._found()
        missing = [i for i in range(identity.n_shards) if i not in self._shards]
        self._mine = deque(missing[i] for i in ranks.part(len(missing)))

    @property
    def tokens_written(self) -> int:
        """Tokens in shards that are safely on disk, as far as this process knows."""
        return sum(shard.n_tokens for shard in self._shards.values())

    @property
    def complete(self) -> bool:
        """Whether every shard of the store is on disk, as far as this process knows."""
        return self.tokens_written == self.identity.n_tokens

    @property
    def done(self) -> bool:
        """Whether this process has written its part."""
        return not self._mine

    def wants(self, first_token: int, end_token: int) -> bool:
        """Whether a shard that this process has still to write holds some of these tokens."""
        size = self.identity.shard_tokens
        return any(index * size < end_token and first_token < (index + 1) * size for index in self._mine)

    def append(self, chunk: SparseActivations, first_token: int, norms: torch.Tensor | None = None) -> None:
        """Adds a chunk. Tokens of shards that are already written are skipped, so a resumed run may send them again.

        Args:
            chunk: activations of consecutive counted tokens, on any device: a shard is copied to the host when it is
                full, in one piece, and what is not yet a shard stays where it is.
            first_token: position of the chunk's first token in the corpus.
            norms: norm of the stream that the SAE took, float32 [n_tokens], finite and >= 0, on any device; all chunks
                of a shard have norms, or none has.

        Raises:
            InputError: the chunk leaves a gap, passes the end, or has another width or dtype; norms that are not as
                above, or that are missing.
            OSError: the disk is full; shards already written stay good.
        """
        end_token = first_token + chunk.n_tokens
        if end_token > self.identity.n_tokens:
            raise InputError(
                f"chunk must end at or before token {self.identity.n_tokens}, got tokens {first_token} to {end_token}"
            )
        if chunk.n_features != self.identity.n_features or chunk.values.dtype != DTYPES[self.identity.dtype]:
            raise InputError(
                f"chunk must have {self.identity.n_features} features in {self.identity.dtype}, "
                f"got {chunk.n_features} in {chunk.values.dtype}"
            )
        if norms is not None and not are_norms(norms, chunk.n_tokens):
            raise InputError(
                f"norms must be float32 [{chunk.n_tokens}], finite and >= 0, got {norms.dtype} {list(norms.shape)}"
            )
        if norms is None and self._norms:
            raise InputError(f"{self.path} is to hold the norm of the stream at every token, got a chunk without norms")
        while self._mine:
            begin = self._mine[0] * self.identity.shard_tokens
            end = begin + self.identity.shard_size(self._mine[0])
            position = begin + sum(part.n_tokens for part, _ in self._pending)
            if end_token <= position:
                return
            if first_token > position:
                raise InputError(
                    f"chunk must continue at token {position} of {self.identity.n_tokens}, "
                    f"got tokens {first_token} to {end_token}"
                )
            take = min(end, end_token)
            part = slice(position - first_token, take - first_token)
            self._pending.append((chunk.rows(part.start, part.stop), None if norms is None else norms[part]))
            if take == end:
                self._flush()

    def _flush(self) -> None:
        acts = SparseActivations.concatenate([part for part, _ in self._pending]).to("cpu")
        norms = [of_part for _, of_part in self._pending if of_part is not None]
        if norms and len(norms) < len(self._pending):
            raise InputError(f"all chunks of a shard have norms, or none has, got {len(norms)} of {len(self._pending)}")
        tensors = {
            "indptr": acts.indptr,
            "indices": acts.indices.to(index_dtype(acts.n_features)),
            "values": acts.values,
            "feature_max": acts.feature_max(),
            **({NORM: torch.cat(norms).cpu()} if norms else {}),
        }
        index = self._mine[0]
        file = self.path / shard_name(index)
        write_tensors(file, tensors)
        self._shards[index] = Shard(file.name, sha256_of_file(file), acts.n_tokens, acts.nnz)
        self._mine.popleft()
        self._pending = []
        self._write_manifest()

    def _write_manifest(self) -> None:
        n_first = next((i for i in range(self.identity.n_shards) if i not in self._shards), self.identity.n_shards)
        if self._ranks.size == 1 and n_first == len(self._shards):
            shards = tuple(self._shards[i] for i in range(n_first))
            write_json(self.path / MANIFEST, asdict(Manifest(FORMAT, VERSION, self.identity, shards, self._versions)))
            for part in self.path.glob(PARTS):
                part.unlink()
        else:
            part = self.path / PARTS.replace("*", f"{self._ranks.rank}-of-{self._ranks.size}")
            listed = {str(i): shard for i, shard in sorted(self._shards.items())}
            write_json(part, asdict(PartManifest(PART_FORMAT, VERSION, self.identity, listed, self._versions)))

    def finish(self) -> None:
        """Makes one manifest of what several processes have listed; one of them calls this when all are done.

        Raises:
            InputError: shards are missing.
        """
        self._ranks = Ranks()
        self._shards = self._found()
        if not self.complete:
            n = self.identity.n_shards
            raise InputError(f"{self.path} is not complete: {len(self._shards)} of {n} shards written")
        self._write_manifest()

    def _found(self) -> dict[int, Shard]:
        """Returns the good shards on disk, by number; the others are written again."""
        listed: dict[int, Shard] = {}
        if (self.path / MANIFEST).exists():
            manifest = read_manifest(self.path)
            self._check_identity(manifest.identity)
            listed = dict(enumerate(manifest.shards))
        for part in sorted(self.path.glob(PARTS)):
            identity, shards = read_part(part)
            self._check_identity(identity)
            listed |= shards
        good: dict[int, Shard] = {}
        for index, shard in sorted(listed.items()):
            try:
                check_shard(self.path, index, shard, self.identity)
            except InputError:
                continue
            if self._norms and not has_norms(self.path / shard.file):
                continue
            good[index] = shard
        return good

    def _check_identity(self, identity: StoreIdentity) -> None:
        if identity != self.identity:
            differing = [name for name, value in identity.compared.items() if value != self.identity.compared[name]]
            raise InputError(f"{self.path} holds another store (it differs in {', '.join(differing)}); remove it first")
