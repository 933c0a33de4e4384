"""A small activation store."""

from __future__ import annotations

from pathlib import Path

from semconv import ActivationStore, SparseActivations, StoreIdentity, StoreWriter

N_TOKENS, N_FEATURES, SHARD = 100, 30, 32


def identity(**changes: object) -> StoreIdentity:
    fields: dict[str, object] = {
        "model": "m",
        "model_sha256": "0",
        "sae": "s",
        "sae_sha256": "1",
        "hook": "blocks.0.hook_resid_post",
        "tokens_sha256": "2",
        "n_tokens": N_TOKENS,
        "n_features": N_FEATURES,
        "dtype": "float32",
        "shard_tokens": SHARD,
    }
    return StoreIdentity(**{**fields, **changes})


def write(path: Path, acts: SparseActivations, chunk: int = 7, **changes: object) -> ActivationStore:
    writer, position = StoreWriter(path, identity(**changes)), 0
    for part in acts.to_dense().split(chunk):
        writer.append(SparseActivations.from_dense(part), position)
        position += len(part)
    return ActivationStore(path)
