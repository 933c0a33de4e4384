"""Reads the latent cache of EleutherAI's delphi, so that activations that are on disk already need not be made again.

One folder per hookpoint holds `{start}_{end}.safetensors`, a file per range of features, both ends included:
`locations` [nnz, 3] (row, position, feature - start), `activations` float16 [nnz], and `tokens` [rows, context].
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

from semconv.core.activation_store import StoreIdentity, StoreWriter
from semconv.core.sparse import SparseActivations
from semconv.system.digests import sha256_of
from semconv.system.errors import InputError
from semconv.system.files import read_tensors

MOST_FEATURES = 2**24
"""Features that a cache may have; every shard of a store has a number for each."""
_FILE = re.compile(r"(\d+)_(\d+)\.safetensors")


def read_delphi_cache(folder: Path) -> tuple[SparseActivations, Tensor]:
    """Returns the activations of one hookpoint over all positions, row after row, and its tokens.

    Args:
        folder: of the hookpoint.

    Returns:
        Activations, float16, with rows * context tokens and as many features as the files cover; tokens int64
        [rows, context].

    Raises:
        InputError: no such files, ranges with gaps, files without tokens or of different tokens, or locations out of
            range or named twice.
    """
    names = [(match, path) for path in folder.glob("*.safetensors") if (match := _FILE.fullmatch(path.name))]
    ranges = sorted((int(match[1]), int(match[2]), path) for match, path in names)
    if not ranges:
        raise InputError(f"{folder} is no delphi cache of a hookpoint: it has no START_END.safetensors")
    expected, tokens = 0, None
    keys: list[Tensor] = []
    values: list[Tensor] = []
    n_features = ranges[-1][1] + 1
    for start, end, path in ranges:
        if start != expected or end < start:
            raise InputError(f"{folder} has no file that begins with feature {expected}; the next is {path.name}")
        expected = end + 1
        if end >= MOST_FEATURES:
            raise InputError(f"{path} holds feature {end}, and features below {MOST_FEATURES} are read")
        locations, found, these = _tensors(path)
        if tokens is not None and not torch.equal(tokens, these):
            raise InputError(f"{path} is of other tokens than the files before it")
        tokens = these
        limits = torch.tensor([*these.shape, end - start + 1])
        if len(locations) != len(found) or bool(((locations < 0) | (locations >= limits)).any()):
            raise InputError(f"{path} is malformed: locations must be [nnz, 3] below {limits.tolist()}")
        place = locations[:, 0] * these.shape[1] + locations[:, 1]
        kept = found != 0
        keys.append((place * n_features + start + locations[:, 2])[kept])
        values.append(found[kept].half())
    assert tokens is not None
    if not tokens.numel():
        raise InputError(f"{folder} has no tokens")
    key, order = torch.cat(keys).sort()
    if bool((key.diff() == 0).any()):
        raise InputError(f"{folder} names a location twice")
    counts = torch.bincount(key // n_features, minlength=tokens.numel())
    indptr = torch.cat([counts[:1] * 0, counts.cumsum(0)])
    return SparseActivations(indptr, (key % n_features).int(), torch.cat(values)[order], n_features), tokens


def _tensors(path: Path) -> tuple[Tensor, Tensor, Tensor]:
    """Returns locations int64 [nnz, 3], activations [n] and tokens int64 [rows, context] of a file."""
    tensors, _ = read_tensors(path)
    for name, shape, dim in (
        ("locations", "[nnz, 3]", 2),
        ("activations", "[nnz]", 1),
        ("tokens", "[rows, context]", 2),
    ):
        tensor = tensors.get(name)
        if tensor is None:
            raise InputError(f"{path} is malformed: it has no {name!r}")
        real, whole = tensor.is_floating_point(), tensor.dtype != torch.bool and not tensor.is_complex()
        numbers = real if name == "activations" else whole and not real
        if tensor.dim() != dim or not numbers or (name == "locations" and tensor.shape[1] != 3):
            kind = "numbers" if name == "activations" else "whole numbers"
            raise InputError(
                f"{path} is malformed: {name} must be {kind} {shape}, got {tensor.dtype} {list(tensor.shape)}"
            )
    return tensors["locations"].long(), tensors["activations"], tensors["tokens"].long()


def import_delphi_cache(folder: Path, target: Path) -> StoreIdentity:
    """Writes a hookpoint's cache as an activation store, over every position of its tokens.

    Raises:
        InputError: as `read_delphi_cache`, or `target` holds another store.
    """
    acts, tokens = read_delphi_cache(folder)
    identity = StoreIdentity(
        model="delphi cache",
        model_sha256="",
        sae=folder.name,
        sae_sha256="",
        hook=folder.name,
        tokens_sha256=sha256_of(repr(tuple(tokens.shape)), tokens),
        n_tokens=acts.n_tokens,
        n_features=acts.n_features,
        mask_rule="all positions",
    )
    StoreWriter(target, identity).append(acts, 0)
    return identity
