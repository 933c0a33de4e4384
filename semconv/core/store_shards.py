"""The files of an activation store: one shard of consecutive tokens each, checked when it is read."""

from __future__ import annotations

from pathlib import Path

import torch

from semconv.core.sparse import SparseActivations
from semconv.core.store_manifest import MANIFEST, Shard, StoreIdentity, shard_name
from semconv.system.errors import InputError
from semconv.system.files import read_tensors, sha256_of_file

NORM = "stream_norm"
"""Tensor of a shard: the norm of the stream at every token. Stores that others wrote may lack it."""
DTYPES = {"float16": torch.float16, "float32": torch.float32}


def index_dtype(n_features: int) -> torch.dtype:
    """Returns the type in which a shard holds the indices of features."""
    return torch.uint16 if n_features <= 65536 else torch.int32


def may_hold(file: Path, shard: Shard, identity: StoreIdentity) -> bool:
    """Whether a shard's file is large enough for what the manifest says, as far as can be seen without reading it."""
    entry = index_dtype(identity.n_features).itemsize + DTYPES[identity.dtype].itemsize
    return file.exists() and 0 <= 8 * shard.n_tokens + entry * shard.nnz <= file.stat().st_size


def check_shard(path: Path, index: int, shard: Shard, identity: StoreIdentity) -> None:
    """Raises InputError unless the shard's file is there and is byte for byte what was written."""
    if shard.file != shard_name(index) or shard.n_tokens == 0 or shard.n_tokens != identity.shard_size(index):
        raise InputError(f"{path / MANIFEST} is damaged: shard {index} does not fit the store's identity")
    file = path / shard.file
    if not file.exists():
        raise InputError(f"{path} is missing {shard.file}")
    found = sha256_of_file(file)
    if found != shard.sha256:
        raise InputError(f"{file} is altered: expected SHA-256 {shard.sha256[:16]}..., found {found[:16]}...")


def read_shard(file: Path, shard: Shard, identity: StoreIdentity) -> tuple[SparseActivations, torch.Tensor | None]:
    """Returns the activations of a shard and the norms of the stream, None where it has none, both checked."""
    tensors, _ = read_tensors(file)
    maxima = tensors.get("feature_max", torch.empty(0))
    if maxima.shape != (identity.n_features,):  # before anything as wide as the manifest says is made
        raise InputError(f"{file} is malformed: feature_max must be [{identity.n_features}], got {list(maxima.shape)}")
    indices, kind = tensors.get("indices"), index_dtype(identity.n_features)
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
    if acts.n_tokens != shard.n_tokens or acts.nnz != shard.nnz or acts.values.dtype != DTYPES[identity.dtype]:
        raise InputError(
            f"{file} is malformed: expected {shard.n_tokens} tokens, {shard.nnz} {identity.dtype} entries, "
            f"found {acts.n_tokens}, {acts.nnz} {acts.values.dtype}"
        )
    if not torch.equal(maxima, acts.feature_max()):
        raise InputError(f"{file} is malformed: feature_max does not match the values")
    norms = tensors.get(NORM)
    if norms is not None and not are_norms(norms, shard.n_tokens):
        raise InputError(
            f"{file} is malformed: {NORM} must be float32 [{shard.n_tokens}], finite and >= 0, "
            f"got {norms.dtype} {list(norms.shape)}"
        )
    return acts, norms


def are_norms(norms: torch.Tensor, n_tokens: int) -> bool:
    if norms.dtype != torch.float32 or norms.shape != (n_tokens,):
        return False
    return bool(norms.isfinite().all()) and bool((norms >= 0).all())


def has_norms(file: Path) -> bool:
    """Whether a shard that is known to be good holds the norms of the stream."""
    from safetensors import safe_open

    with safe_open(file, framework="pt") as shard:  # pyright: ignore
        return NORM in shard.keys()  # noqa: SIM118
