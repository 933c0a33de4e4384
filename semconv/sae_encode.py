"""Encodes residual streams with sparse autoencoders, chunk by chunk, never a dense tokens x features matrix."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from semconv.model_activations import hook_layer, residual_streams
from semconv.sparse import SparseActivations
from semconv.types import InputError, TokenBlocks, first_line

if TYPE_CHECKING:
    from sae_lens import SAE
    from transformers import PreTrainedModel


def load_sae(path: str | Path | None = None, release: str | None = None, sae_id: str | None = None) -> SAE[Any]:
    """Loads an SAE in float32 with sae-lens's own loader, from a folder or from a release on the model hub.

    Raises:
        InputError: the SAE cannot be found or read.
    """
    from sae_lens import SAE
    from safetensors import SafetensorError

    try:
        if path is not None:
            return SAE.load_from_disk(path, dtype="float32").eval()
        if release is None or sae_id is None:
            raise InputError("an SAE needs a path, or a release and an sae_id")
        return SAE.from_pretrained(release, sae_id, dtype="float32").eval()
    except InputError:
        raise
    except (OSError, KeyError, ValueError, RuntimeError, SafetensorError) as error:
        raise InputError(f"cannot load SAE {path or f'{release}:{sae_id}'}: {first_line(error)}") from error


@torch.inference_mode()
def encode_stream(sae: SAE[Any], stream: Tensor, dtype: torch.dtype) -> SparseActivations:
    """Encodes residual vectors and compacts them.

    Args:
        sae: any SAE of the ReLU family.
        stream: [n, d_model] float32.
        dtype: of the stored values, float16 or float32.

    Raises:
        InputError: `d_model` does not fit the SAE, or an activation overflows `dtype`.
    """
    if stream.shape[-1] != sae.cfg.d_in:
        raise InputError(f"the SAE takes vectors of {sae.cfg.d_in}, the hook gives {stream.shape[-1]}")
    return SparseActivations.from_dense(sae.encode(stream), dtype)


def encode(
    model: PreTrainedModel,
    saes: dict[str, SAE[Any]],
    blocks: TokenBlocks,
    batch: int,
    dtype: torch.dtype = torch.float16,
    first_batch: int = 0,
) -> Iterator[tuple[int, dict[str, SparseActivations]]]:
    """Yields, batch by batch, the position of its first counted token and the activations at every hook.

    One forward pass feeds all SAEs. Batches always hold the same rows, so a run that starts at `first_batch` yields
    what an unbroken run would have; the counted tokens of all batches, in order, are those of `blocks`.

    Args:
        model: a causal LM in evaluation mode.
        saes: hook name -> SAE.
        blocks: the corpus.
        batch: rows per forward pass.
        dtype: of the stored values.
        first_batch: where to start.

    Raises:
        InputError: an unknown hook, an SAE that does not fit, or an overflow.
    """
    layers = {hook: hook_layer(hook) for hook in saes}
    counted = blocks.mask.sum(dim=1)
    position = int(counted[: first_batch * batch].sum())
    for start in range(first_batch * batch, len(blocks.ids), batch):
        mask = blocks.mask[start : start + batch]
        streams = residual_streams(model, blocks.ids[start : start + batch], sorted(set(layers.values())))
        if bool(mask.any()):
            yield position, {hook: encode_stream(sae, streams[layers[hook]][mask], dtype) for hook, sae in saes.items()}
        position += int(mask.sum())
