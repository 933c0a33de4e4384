"""The manifest of an activation store: what the store holds, and the checksums of its shards."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from semconv.system.digests import sha256_of
from semconv.system.errors import InputError, first_line
from semconv.system.json_toml import read_json
from semconv.system.shape import Strict, read_as

FORMAT = "semconv-activation-store"
PART_FORMAT = f"{FORMAT}-part"
VERSION = 1
SHARD_TOKENS = 65536
"""Default tokens per shard; part of a store's identity, whatever the batch size or number of writers."""
MANIFEST = "manifest.json"
PARTS = "manifest.part-*.json"
"""Where each of several processes lists its shards until the store is whole."""

_TWIN = re.compile(r" untrained, seed (\d{1,20})$")


@dataclass(frozen=True)
class StoreIdentity(Strict):
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
        trained_embeddings: whether only the blocks of the twin are untrained.

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
    trained_embeddings: bool = False

    def __post_init__(self) -> None:
        _check_types(self)
        if self.dtype not in ("float16", "float32"):
            raise InputError(f"dtype must be float16 or float32, got {self.dtype!r}")
        for name in ("n_tokens", "n_features", "shard_tokens"):
            if not 1 <= getattr(self, name) < 2**31:
                raise InputError(f"{name} must be between 1 and 2^31 - 1, got {getattr(self, name)}")

    @property
    def compared(self) -> dict[str, str | int | None]:
        """The fields that tell one store from another, by name; `trained_embeddings` where it is true, as older stores
        do not have it."""
        named = {one.name: getattr(self, one.name) for one in fields(self) if one.compare}
        return named if self.trained_embeddings else {k: v for k, v in named.items() if k != "trained_embeddings"}

    @property
    def sha256(self) -> str:
        """SHA-256 of the fields that tell one store from another (`compared`)."""
        return sha256_of(json.dumps(self.compared, sort_keys=True))

    @property
    def n_shards(self) -> int:
        """How many shards a whole store has."""
        return -(-self.n_tokens // self.shard_tokens)

    def shard_size(self, index: int) -> int:
        """Returns the number of tokens of one shard, 0 past the last."""
        return max(0, min(self.shard_tokens, self.n_tokens - index * self.shard_tokens))


def _check_types(record: StoreIdentity | Shard) -> None:
    """Raises InputError unless every field is of the type that is declared; JSON may hold anything."""
    for one in fields(record):
        value = getattr(record, one.name)
        kind, _, optional = str(one.type).partition(" | ")
        expected = {"int": int, "str": str, "bool": bool}[kind]
        if type(value) is not expected and not (optional and value is None):
            raise InputError(f"{one.name} must be {expected.__name__}, got {value!r}")


@dataclass(frozen=True)
class Shard(Strict):
    """One line of a manifest: a file of consecutive tokens."""

    file: str
    """Its name."""
    sha256: str
    """Of the file."""
    n_tokens: int
    """Tokens in it."""
    nnz: int
    """Stored entries: activations above 0."""


@dataclass(frozen=True)
class Manifest(Strict):
    """The manifest of a store, or its first shards in order while more are to be written."""

    format: str
    """`FORMAT`."""
    version: int
    """`VERSION`."""
    identity: StoreIdentity
    """What the store holds."""
    shards: tuple[Shard, ...]
    """From the first token on."""
    versions: dict[str, str]
    """Package -> version, of those that can change a number, and the commit of semconv."""


@dataclass(frozen=True)
class PartManifest(Strict):
    """What one of several processes has written of a store that is not whole yet."""

    format: str
    """`PART_FORMAT`."""
    version: int
    """`VERSION`."""
    identity: StoreIdentity
    """What the store holds."""
    shards: dict[str, Shard]
    """Number of a shard -> the shard."""
    versions: dict[str, str]
    """As in `Manifest`."""


def shard_name(index: int) -> str:
    """Returns the name of a shard's file."""
    return f"shard-{index:05d}.safetensors"


def read_manifest(path: Path) -> Manifest:
    """Returns the manifest of a store.

    Args:
        path: the store's folder.

    Raises:
        InputError: there is none, it is of another format or version, or something in it is missing or of another type.
    """
    manifest = read_json(path / MANIFEST, f"{path} is no activation store: it has no {MANIFEST}")
    if manifest.get("format") != FORMAT:
        raise InputError(f"{path / MANIFEST} is no manifest of a {FORMAT}")
    if manifest.get("version") != VERSION:
        raise InputError(f"{path} has store version {manifest.get('version')}, this semconv reads version {VERSION}")
    try:
        return read_as(Manifest, {**manifest, "identity": _with_seed(manifest.get("identity"))}, "it")
    except InputError as error:
        raise InputError(f"{path / MANIFEST} is damaged: {error}") from None


def read_part(path: Path) -> tuple[StoreIdentity, dict[int, Shard]]:
    """Returns the identity and the shards, by number, that one of several processes has listed.

    Raises:
        InputError: it is damaged, or of another format or version.
    """
    try:
        part = read_json(path)
        if (part.get("format"), part.get("version")) != (PART_FORMAT, VERSION):
            raise InputError(f"it is no {PART_FORMAT} of version {VERSION}")
        read = read_as(PartManifest, {**part, "identity": _with_seed(part.get("identity"))}, "it")
        return read.identity, {int(index): shard for index, shard in read.shards.items()}
    except ValueError as error:  # InputError is one
        raise InputError(f"{path} is damaged: {first_line(error)}; remove it") from None


def stored_identity(path: Path) -> StoreIdentity | None:
    """Returns what a store holds, whole or not yet; None where no store can be read."""
    for manifest in (path / MANIFEST, *sorted(path.glob(PARTS))):
        try:
            return read_as(StoreIdentity, _with_seed(read_json(manifest).get("identity")), "identity")
        except InputError:
            continue
    return None


def _with_seed(identity: Any) -> Any:
    """Returns the table of an identity. Older stores have no field for the seed of an untrained twin, but name it in
    `model`."""
    known = isinstance(identity, Mapping) and "untrained_seed" not in identity
    twin = _TWIN.search(str(identity.get("model"))) if known else None
    return {**identity, "untrained_seed": int(twin[1])} if twin else identity
