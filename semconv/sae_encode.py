"""Encodes streams of a model with sparse autoencoders, chunk by chunk, never a dense tokens x features matrix."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from semconv.device import float32_products
from semconv.hub import told
from semconv.model_activations import streams
from semconv.sparse import SparseActivations
from semconv.sparsify import sparsify_loader
from semconv.types import InputError, TokenBlocks, first_line

if TYPE_CHECKING:
    from sae_lens import SAE
    from transformers import PreTrainedModel


def load_sae(
    path: str | Path | None = None,
    release: str | None = None,
    sae_id: str | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    loader: str = "",
    revision: str = "",
) -> SAE[Any]:
    """Loads an SAE with sae-lens's own loader, from a folder or from a release on the model hub.

    Args:
        path: a folder in sae-lens's format.
        release: release on the model hub, when there is no path.
        sae_id: name of the SAE in the release.
        dtype: of the weights and of what is computed with them, float32 or bfloat16.
        device: torch device.
        loader: `sparsify` for repositories of EleutherAI's sparsify, which is in no list of sae-lens.
        revision: commit, for `sparsify`; sae-lens's own loaders always read the main branch.

    Raises:
        InputError: the SAE cannot be found or read, or an unknown loader.
    """
    from sae_lens import SAE
    from safetensors import SafetensorError

    if loader not in ("", "sparsify"):
        raise InputError(f"SAE loader must be sparsify, or nothing for sae-lens's own, got {loader!r}")
    converter = sparsify_loader(revision) if loader else None
    name = str(dtype).removeprefix("torch.")
    try:
        if path is not None:
            return SAE.load_from_disk(path, dtype=name).to(device).eval()
        if release is None or sae_id is None:
            raise InputError("an SAE needs a path, or a release and an sae_id")
        with told(f"SAE {release}:{sae_id}"):
            return SAE.from_pretrained(release, sae_id, dtype=name, converter=converter).to(device).eval()
    except InputError:
        raise
    except (OSError, KeyError, ValueError, RuntimeError, SafetensorError) as error:
        raise InputError(f"cannot load SAE {path or f'{release}:{sae_id}'}: {first_line(error)}") from error


def sae_dtype(path: str | Path) -> str:
    """Returns the dtype that the config of an SAE's folder names, float32 where it names none.

    Raises:
        InputError: the config is missing or damaged.
    """
    try:
        return str(json.loads((Path(path) / "cfg.json").read_text(encoding="utf-8")).get("dtype", "float32"))
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"cannot load SAE {path}: {first_line(error)}") from error


def jump_threshold(sae: SAE[Any]) -> Tensor | None:
    """Returns the threshold that turns a JumpReLU SAE's pre-activations into its activations, None for other SAEs.

    relu(pre) * (pre > threshold) is pre where pre > max(threshold, 0) and zero elsewhere. Thresholds that are not all
    finite are left to the SAE.
    """
    if sae.cfg.architecture() != "jumprelu" or not isinstance(sae.activation_fn, nn.ReLU):
        return None
    given: Any = sae.threshold
    threshold: Tensor = given.float().clamp(min=0)
    return threshold if bool(threshold.isfinite().all()) else None


@torch.inference_mode()
def encode_stream(sae: SAE[Any], stream: Tensor, dtype: torch.dtype) -> SparseActivations:
    """Encodes residual vectors and compacts them, without leaving their device.

    The last step of a JumpReLU SAE is taken by the pass that compacts, which saves three passes over the dense chunk.

    Args:
        sae: any SAE of the ReLU family, on the device of the stream.
        stream: [n, d_model] float32 or bfloat16; the SAE computes in the dtype of its own weights.
        dtype: of the stored values, float16 or float32.

    Raises:
        InputError: `d_model` does not fit the SAE, or an activation overflows `dtype`.
    """
    if stream.shape[-1] != sae.cfg.d_in:
        raise InputError(f"the SAE takes vectors of {sae.cfg.d_in}, the hook gives {stream.shape[-1]}")
    threshold = jump_threshold(sae)
    if threshold is None:
        return SparseActivations.from_dense(sae.encode(stream), dtype)
    bias: Any = sae.b_enc
    return SparseActivations.from_dense(sae.process_sae_in(stream) @ sae.W_enc + bias, dtype, threshold)


@dataclass(frozen=True, eq=False)
class Chunk:
    """What one batch gives at one hook.

    Attributes:
        acts: activations of its counted tokens.
        norms: float32 [n_tokens], norm of the stream at each of them.
    """

    acts: SparseActivations
    norms: Tensor


def encode(
    model: PreTrainedModel,
    saes: dict[str, SAE[Any]],
    blocks: TokenBlocks,
    batch: int,
    dtype: torch.dtype = torch.float16,
    batches: Sequence[int] | None = None,
    tf32: bool = False,
    model_tf32: bool = False,
    hooks: Mapping[str, str] | None = None,
) -> Iterator[tuple[int, dict[str, Chunk]]]:
    """Yields, batch by batch, the position of its first counted token and what every SAE gives.

    One forward pass feeds all SAEs. Batches always hold the same rows, so a run that takes some of them yields what an
    unbroken run would have; the counted tokens of all batches, in order, are those of `blocks`. Token ids go to
    the model's device batch by batch; everything after them, the activations too, stays there.

    Args:
        model: a causal LM in evaluation mode.
        saes: label -> SAE, on the model's device.
        blocks: the corpus.
        batch: rows per forward pass.
        dtype: of the stored values.
        batches: which batches to take, by number; all of them by default.
        tf32: whether float32 products of the SAEs are taken in TF32, on CUDA.
        model_tf32: the same of the model's.
        hooks: label -> hook name; by default the labels are hook names.

    Raises:
        InputError: an unknown hook, an SAE that does not fit, or an overflow.
    """
    at = {label: (hooks or {}).get(label, label) for label in saes}
    counted = blocks.mask.sum(dim=1)
    for number in range(-(-len(blocks.ids) // batch)) if batches is None else batches:
        start = number * batch
        position = int(counted[:start].sum())
        with float32_products(model_tf32):
            read = streams(model, blocks.ids[start : start + batch], list(set(at.values())))
        places = blocks.mask[start : start + batch].flatten().nonzero()[:, 0]
        if len(places):
            with float32_products(tf32):
                chunks = {label: _chunk(sae, _rows(read[at[label]], places), dtype) for label, sae in saes.items()}
            yield position, chunks


def _chunk(sae: SAE[Any], stream: Tensor, dtype: torch.dtype) -> Chunk:
    norms = torch.linalg.vector_norm(stream, dim=-1, dtype=torch.float32)
    return Chunk(encode_stream(sae, stream, dtype), norms)


def _rows(stream: Tensor, places: Tensor) -> Tensor:
    """Returns some positions of a stream [batch, ctx, d_model] as [n, d_model]."""
    return stream.flatten(0, 1).index_select(0, places.to(stream.device))
