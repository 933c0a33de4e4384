"""Keeps the activations of one SAE over one corpus on disk: checksummed, append-only, resumable shards."""

from __future__ import annotations

import hashlib
import json
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from semconv.core.sparse import SparseActivations
from semconv.system.errors import InputError, first_line
from semconv.system.files import read_tensors, sha256_of_file, write_json, write_tensors
from semconv.system.json_toml import read_json
from semconv.system.processes import Ranks
from semconv.system.provenance import code_commit, package_versions

FORMAT = "semconv-activation-store"
PART_FORMAT = f"{FORMAT}-part"
VERSION = 1
SHARD_TOKENS = 65536
"""Default tokens per shard; part of a store's identity, whatever the batch size or number of writers."""

_NORM = "stream_norm"  # tensor of a shard: the norm of the stream at every token; stores of others may lack it
_DTYPES = {"float16": torch.float16, "float32": torch.float32}
_MANIFEST = "manifest.json"
_PARTS = "manifest.part-*.json"
_TWIN = re.compile(r" untrained, seed (\d+)$")


@dataclass(frozen=True)
class StoreIdentity:
    """What a store holds; two runs with the same identity write the same bytes.

    Models and SAEs are compared by their SHA-256. Their names are kept for people to read and are not compared, so a
    store is found again after its model was moved or renamed.

    Attributes:
        model: path or id of the model; not compared.
        model_sha256: SHA-256 of the model's files.
        sae: release and id, or path, of the SAE; not compared.
        sae_sha256: SHA-256 of the SAE's weights.
        hook: hook name of the residual stream.
        tokens_sha256: SHA-256 of ids and mask (`TokenBlocks.sha256`).
        n_tokens: counted positions.
        n_features: width of the dictionary.
        dtype: `float16` or `float32`, of the stored values.
        mask_rule: which positions count, in words.
        shard_tokens: tokens per shard.
        precision: what the SAE's products were computed in, `float32`, `tf32` or `bfloat16`.
        model_precision: the same of the model's.
        untrained_seed: of the weights, for an untrained twin; None for the trained model.

    Raises:
        InputError: a field of another type, a dtype that is neither float16 nor float32, or a count that is not between
            1 and 2^31 - 1.

    Examples:
        >>> from semconv import StoreIdentity
        >>> known = dict(model_sha256="a1" * 32, sae_sha256="b2" * 32, hook="blocks.3.hook_resid_post",
        ...     tokens_sha256="c3" * 32, n_tokens=150_000, n_features=16_384)
        >>> identity = StoreIdentity(model="models/small", sae="saes/small-3", **known)
        >>> identity.n_shards, identity.shard_size(2)  # of 65,536 tokens each, and the rest
        (3, 18928)
        >>> identity == StoreIdentity(model="moved/elsewhere", sae="saes/small-3", **known)
        True
    """

    model: str = field(compare=False)
    model_sha256: str
    sae: str = field(compare=False)
    sae_sha256: str
    hook: str
    tokens_sha256: str
    n_tokens: int
    n_features: int
    dtype: str = "float16"
    mask_rule: str = "all positions but BOS, EOS and PAD"
    shard_tokens: int = SHARD_TOKENS
    precision: str = "float32"
    model_precision: str = "float32"
    untrained_seed: int | None = None

    def __post_init__(self) -> None:
        _check_types(self)
        if self.dtype not in _DTYPES:
            raise InputError(f"dtype must be float16 or float32, got {self.dtype!r}")
        for name in ("n_tokens", "n_features", "shard_tokens"):
            if not 1 <= getattr(self, name) < 2**31:
                raise InputError(f"{name} must be between 1 and 2^31 - 1, got {getattr(self, name)}")

    @property
    def compared(self) -> dict[str, str | int | None]:
        """The fields that tell one store from another, by name."""
        return {one.name: getattr(self, one.name) for one in fields(self) if one.compare}

    @property
    def sha256(self) -> str:
        """SHA-256 of the fields that tell one store from another (`compared`)."""
        return hashlib.sha256(json.dumps(self.compared, sort_keys=True).encode()).hexdigest()

    @property
    def n_shards(self) -> int:
        """How many shards a whole store has."""
        return -(-self.n_tokens // self.shard_tokens)

    def shard_size(self, index: int) -> int:
        """Returns the number of tokens of one shard, 0 past the last."""
        return max(0, min(self.shard_tokens, self.n_tokens - index * self.shard_tokens))


@dataclass(frozen=True)
class Shard:
    """One line of the manifest."""

    file: str
    sha256: str
    n_tokens: int
    nnz: int

    def __post_init__(self) -> None:
        _check_types(self)


def _check_types(record: StoreIdentity | Shard) -> None:
    """Raises InputError unless every field is a string or a whole number as declared; JSON may hold anything."""
    for one in fields(record):
        value = getattr(record, one.name)
        kind, _, optional = str(one.type).partition(" | ")
        expected = {"int": int, "str": str}[kind]
        if type(value) is not expected and not (optional and value is None):
            raise InputError(f"{one.name} must be {expected.__name__}, got {value!r}")


def _shard_name(index: int) -> str:
    return f"shard-{index:05d}.safetensors"


def _index_dtype(n_features: int) -> torch.dtype:
    return torch.uint16 if n_features <= 65536 else torch.int32


def _identity(table: dict[str, Any]) -> StoreIdentity:
    """Reads an identity. Older stores have no field for the seed of an untrained twin, but name it in `model`."""
    known: dict[str, Any] = dict(table)
    if "untrained_seed" not in known and (twin := _TWIN.search(str(known.get("model")))):
        known["untrained_seed"] = int(twin[1])
    return StoreIdentity(**known)


def stored_identity(path: Path) -> StoreIdentity | None:
    """Returns what a store holds, whole or not yet; None where no store can be read."""
    for manifest in (path / _MANIFEST, *sorted(path.glob(_PARTS))):
        try:
            return _identity(read_json(manifest)["identity"])
        except (KeyError, TypeError, ValueError, AttributeError):  # InputError is a ValueError
            continue
    return None


def _read_manifest(path: Path) -> tuple[StoreIdentity, list[Shard], dict[str, str]]:
    manifest = read_json(path / _MANIFEST, f"{path} is no activation store: it has no {_MANIFEST}")
    if manifest.get("format") != FORMAT:
        raise InputError(f"{path / _MANIFEST} is no manifest of a {FORMAT}")
    if manifest.get("version") != VERSION:
        raise InputError(f"{path} has store version {manifest.get('version')}, this semconv reads version {VERSION}")
    try:
        return (
            _identity(manifest["identity"]),
            [Shard(**shard) for shard in manifest["shards"]],
            dict(manifest["versions"]),
        )
    except (KeyError, TypeError, ValueError) as error:  # InputError is a ValueError
        raise InputError(f"{path / _MANIFEST} is damaged: {error}") from None


def _check_shard(path: Path, index: int, shard: Shard, identity: StoreIdentity) -> None:
    """Raises InputError unless the shard's file is there and is byte for byte what was written."""
    if shard.file != _shard_name(index) or shard.n_tokens == 0 or shard.n_tokens != identity.shard_size(index):
        raise InputError(f"{path / _MANIFEST} is damaged: shard {index} does not fit the store's identity")
    file = path / shard.file
    if not file.exists():
        raise InputError(f"{path} is missing {shard.file}")
    found = sha256_of_file(file)
    if found != shard.sha256:
        raise InputError(f"{file} is altered: expected SHA-256 {shard.sha256[:16]}..., found {found[:16]}...")


def _read_shard(file: Path, shard: Shard, identity: StoreIdentity) -> tuple[SparseActivations, torch.Tensor | None]:
    """Returns the activations of a shard and the norms of the stream, None where it has none, both checked."""
    tensors, _ = read_tensors(file)
    maxima = tensors.get("feature_max", torch.empty(0))
    if maxima.shape != (identity.n_features,):  # before anything as wide as the manifest says is made
        raise InputError(f"{file} is malformed: feature_max must be [{identity.n_features}], got {list(maxima.shape)}")
    indices, kind = tensors.get("indices"), _index_dtype(identity.n_features)
    if indices is not None and indices.dtype != kind:  # others would be converted silently
        raise InputError(f"{file} is malformed: indices must be {kind}, got {indices.dtype}")
    try:
        acts = SparseActivations(
            tensors["indptr"], tensors["indices"].to(torch.int32), tensors["values"], identity.n_features
        )
    except KeyError as error:
        raise InputError(f"{file} is malformed: it has no {error}") from None
    except InputError as error:
        raise InputError(f"{file} is malformed: {error}") from None
    if acts.n_tokens != shard.n_tokens or acts.nnz != shard.nnz or acts.values.dtype != _DTYPES[identity.dtype]:
        raise InputError(
            f"{file} is malformed: expected {shard.n_tokens} tokens, {shard.nnz} {identity.dtype} entries, "
            f"found {acts.n_tokens}, {acts.nnz} {acts.values.dtype}"
        )
    if not torch.equal(maxima, acts.feature_max()):
        raise InputError(f"{file} is malformed: feature_max does not match the values")
    norms = tensors.get(_NORM)
    if norms is not None and not _are_norms(norms, shard.n_tokens):
        raise InputError(
            f"{file} is malformed: {_NORM} must be float32 [{shard.n_tokens}], finite and >= 0, "
            f"got {norms.dtype} {list(norms.shape)}"
        )
    return acts, norms


def _are_norms(norms: torch.Tensor, n_tokens: int) -> bool:
    if norms.dtype != torch.float32 or norms.shape != (n_tokens,):
        return False
    return bool(norms.isfinite().all()) and bool((norms >= 0).all())


def _has_norms(file: Path) -> bool:
    """Whether a shard that is known to be good holds the norms of the stream."""
    from safetensors import safe_open

    with safe_open(file, framework="pt") as shard:  # pyright: ignore
        return _NORM in shard.keys()  # noqa: SIM118


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
        self.identity, self._shards, self.versions = _read_manifest(self.path)
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
        return hashlib.sha256("".join(shard.sha256 for shard in self._shards).encode()).hexdigest()

    def shards(self) -> Iterator[SparseActivations]:
        """Yields every shard in order, each verified.

        Raises:
            InputError: a shard is missing, altered or malformed.
        """
        return (acts for acts, _ in self._verified())

    def _verified(self) -> Iterator[tuple[SparseActivations, torch.Tensor | None]]:
        """Yields activations and norms of every shard in order, each verified."""
        for index, shard in enumerate(self._shards):
            _check_shard(self.path, index, shard, self.identity)
            yield _read_shard(self.path / shard.file, shard, self.identity)

    def load(self, device: torch.device | str = "cpu") -> SparseActivations:
        """Reads the whole store into the memory of a device, shard by shard; needs room for twice the store.

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
        acts, norms = list[SparseActivations](), list[torch.Tensor | None]()
        for part, of_part in self._verified():
            acts.append(part.to(device))
            norms.append(of_part)
        known = [one for one in norms if one is not None]
        return SparseActivations.concatenate(acts), torch.cat(known) if len(known) == len(norms) else None

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
        if chunk.n_features != self.identity.n_features or chunk.values.dtype != _DTYPES[self.identity.dtype]:
            raise InputError(
                f"chunk must have {self.identity.n_features} features in {self.identity.dtype}, "
                f"got {chunk.n_features} in {chunk.values.dtype}"
            )
        if norms is not None and not _are_norms(norms, chunk.n_tokens):
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
            "indices": acts.indices.to(_index_dtype(acts.n_features)),
            "values": acts.values,
            "feature_max": acts.feature_max(),
            **({_NORM: torch.cat(norms).cpu()} if norms else {}),
        }
        index = self._mine[0]
        file = self.path / _shard_name(index)
        write_tensors(file, tensors)
        self._shards[index] = Shard(file.name, sha256_of_file(file), acts.n_tokens, acts.nnz)
        self._mine.popleft()
        self._pending = []
        self._write_manifest()

    def _write_manifest(self) -> None:
        n_first = next((i for i in range(self.identity.n_shards) if i not in self._shards), self.identity.n_shards)
        if self._ranks.size == 1 and n_first == len(self._shards):
            self._write(self.path / _MANIFEST, FORMAT, [asdict(self._shards[i]) for i in range(n_first)])
            for part in self.path.glob(_PARTS):
                part.unlink()
        else:
            part = self.path / _PARTS.replace("*", f"{self._ranks.rank}-of-{self._ranks.size}")
            self._write(part, PART_FORMAT, {str(i): asdict(shard) for i, shard in sorted(self._shards.items())})

    def _write(self, path: Path, kind: str, shards: object) -> None:
        manifest = {
            "format": kind,
            "version": VERSION,
            "identity": asdict(self.identity),
            "shards": shards,
            "versions": self._versions,
        }
        write_json(path, manifest)

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
        if (self.path / _MANIFEST).exists():
            identity, shards, _ = _read_manifest(self.path)
            self._check_identity(identity)
            listed = dict(enumerate(shards))
        for part in sorted(self.path.glob(_PARTS)):
            listed |= self._read_part(part)
        good: dict[int, Shard] = {}
        for index, shard in sorted(listed.items()):
            try:
                _check_shard(self.path, index, shard, self.identity)
            except InputError:
                continue
            if self._norms and not _has_norms(self.path / shard.file):
                continue
            good[index] = shard
        return good

    def _read_part(self, path: Path) -> dict[int, Shard]:
        try:
            part = read_json(path)
            if (part["format"], part["version"]) != (PART_FORMAT, VERSION):
                raise InputError(f"it is no {PART_FORMAT} of version {VERSION}")
            identity = _identity(part["identity"])
            shards = {int(index): Shard(**shard) for index, shard in part["shards"].items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{path} is damaged: {first_line(error)}; remove it") from None
        self._check_identity(identity)
        return shards

    def _check_identity(self, identity: StoreIdentity) -> None:
        if identity != self.identity:
            differing = [name for name, value in identity.compared.items() if value != self.identity.compared[name]]
            raise InputError(f"{self.path} holds another store (it differs in {', '.join(differing)}); remove it first")
