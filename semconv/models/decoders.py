"""Opens the SAEs of a suite, and keeps their decoder rows in the run folder so that comparing needs no SAE."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from numpy import ndarray

from semconv.core.device import Precision, resolve_precision
from semconv.models.sae_metadata import SaeMetadata, centres, check_hook
from semconv.models.sources import check_release_revision, release_repository
from semconv.suite.config import SaeConfig, resolve
from semconv.system.digests import sha256_of
from semconv.system.file_hashes import folder_sha256
from semconv.system.files import read_header, read_sealed, read_tensors, write_tensors
from semconv.system.shown_paths import shown_path

if TYPE_CHECKING:
    from sae_lens import SAE


def open_sae(sae: SaeConfig, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> SAE[Any]:
    """Loads an SAE of a suite, from its folder or from its release on the hub.

    Raises:
        InputError: it cannot be found or read, or the release is not at the pinned commit.
    """
    from semconv.models.sae_files import load_sae

    if sae.path:
        return load_sae(resolve(sae.path), dtype=dtype, device=device)
    release_repository(sae)  # names the nearest release or SAE if there is no such
    return load_sae(None, sae.release, sae.sae_id, dtype=dtype, device=device, loader=sae.loader, revision=sae.revision)


def sae_metadata(sae: SaeConfig) -> SaeMetadata:
    """Returns the metadata of an SAE of a suite, which is read from its config without its weights.

    Raises:
        InputError: it cannot be found or read, or is not compared.
    """
    from semconv.models.sae_files import read_metadata

    if sae.path:
        return read_metadata(resolve(sae.path))
    release_repository(sae)
    return read_metadata(None, sae.release, sae.sae_id, sae.loader, sae.revision)


def check_place(sae: SaeConfig, metadata: SaeMetadata) -> None:
    """Raises InputError if an SAE's own metadata names another hook than the suite, unless it has `other_hook = true`.

    Raises:
        InputError: the hooks differ (the message names both), or the SAE was trained on a stream that was processed in
            a way that cannot be reproduced at this hook.
    """
    if not sae.other_hook:
        check_hook(metadata, sae.source, sae.hook)
    centres(metadata, sae.source, sae.hook)


def sae_precision(sae: SaeConfig, metadata: SaeMetadata, asked: str, device: torch.device) -> Precision:
    """Returns what an SAE's products are computed in (`resolve_precision`); one of a release was trained in float32."""
    return resolve_precision(asked, metadata.dtype if sae.path else "float32", device)


@dataclass(frozen=True)
class KeptDecoder:
    """What the run folder keeps of an SAE.

    Attributes:
        source: where it came from: its path as `shown_path` gives it, or its release with the commit.
        sae_sha256: of the SAE: the files of its folder, or the tensors and settings of a release.
        shape: d_sae and the width of its decoder rows.
        metadata: from its config.
    """

    source: str
    sae_sha256: str
    shape: tuple[int, int]
    metadata: SaeMetadata


def keep_decoder(path: Path, sae: SaeConfig) -> KeptDecoder:
    """Writes the decoder rows of an SAE, float32 [d_sae, width], to `path` unless they are there; returns what is kept.

    A folder is known by its hash (`semconv.system.file_hashes`). A release is loaded once, and what was kept is used as
    long as its repository is at the same commit.

    Raises:
        InputError: the SAE cannot be found or read, its release is not at the pinned commit, or its own metadata names
            another hook than the suite.
    """
    if sae.path:
        source, expected = shown_path(sae.path), folder_sha256(resolve(sae.path))
    else:
        source, expected = f"{sae.source}@{check_release_revision(sae)}", None
    kept = _read(path)
    if kept is not None and (kept.sae_sha256 == expected if expected else kept.source == source):
        check_place(sae, kept.metadata)
        return replace(kept, source=source)
    metadata = sae_metadata(sae)
    check_place(sae, metadata)
    opened = open_sae(sae)
    rows = opened.W_dec.detach().float().contiguous()
    kept = KeptDecoder(source, expected or _release_sha256(opened, metadata), (rows.shape[0], rows.shape[1]), metadata)
    facts = {"source": source, "sae_sha256": kept.sae_sha256, "metadata": metadata.to_json()}
    write_tensors(path, {"W_dec": rows}, facts, sealed=True)
    return kept


def decoder_rows(path: Path) -> Float[ndarray, "d_sae width"]:
    """Returns kept decoder rows, float32."""
    return read_tensors(path)[0]["W_dec"].numpy()


def decoder_shape(path: Path) -> tuple[int, int]:
    """Returns d_sae and width of kept decoder rows, without reading them."""
    n_features, width = read_header(path)[0]["W_dec"]
    return n_features, width


def decoder_source(path: Path, sae: SaeConfig) -> str:
    """Returns where the SAE of kept decoder rows came from: its path, or release, SAE and commit."""
    return sae.path or read_header(path)[1]["source"]


def decoder_metadata(path: Path) -> SaeMetadata:
    """Returns the metadata of the SAE whose decoder rows were kept."""
    return SaeMetadata.from_json(read_header(path)[1]["metadata"])


def _release_sha256(sae: SAE[Any], metadata: SaeMetadata) -> str:
    known = {name: value for name, value in sae.cfg.to_dict().items() if name not in ("metadata", "device")}
    state = sorted(sae.state_dict().items())
    weights = [f"{name} {tuple(tensor.shape)} {sha256_of(tensor.float())}\n" for name, tensor in state]
    return sha256_of(f"{json.dumps(known, sort_keys=True, default=str)} {metadata.to_json()}", *weights)


def _read(path: Path) -> KeptDecoder | None:
    """Reads what was kept; None when it is not there, or not what was written."""
    try:
        tensors, facts = read_sealed(path)
        rows, metadata = tensors["W_dec"], SaeMetadata.from_json(facts["metadata"])
        return KeptDecoder(facts["source"], facts["sae_sha256"], (rows.shape[0], rows.shape[1]), metadata)
    except (KeyError, TypeError, ValueError):  # InputError is a ValueError
        return None
