"""Runs a causal language model over token blocks and hands out the residual streams at the wanted blocks."""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from semconv.types import InputError, first_line

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_HOOK = re.compile(r"^blocks\.(\d+)\.hook_resid_post$")


def hook_name(layer: int) -> str:
    """Returns the field's name for the output of block `layer`."""
    return f"blocks.{layer}.hook_resid_post"


def hook_layer(name: str) -> int:
    """Returns the block index of a hook name.

    Raises:
        InputError: the name is not of the form `blocks.{i}.hook_resid_post`.
    """
    match = _HOOK.match(name)
    if match is None:
        raise InputError(f"hook must look like 'blocks.3.hook_resid_post', got {name!r}")
    return int(match.group(1))


def load_model(
    path: str | Path,
    revision: str | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    untrained_seed: int | None = None,
) -> PreTrainedModel:
    """Loads a causal LM with eager attention, or its untrained twin.

    Gemma-2 soft-caps its attention logits, which fused attention kernels skip. The twin has the model's shape and
    the weights of `draw_parameters`; of its folder only the config is read.

    Args:
        path: a folder, or a name on the model hub.
        revision: commit of the hub repository; ignored for a folder.
        device: torch device.
        dtype: of the weights and of what is computed with them, float32 or bfloat16.
        untrained_seed: None for the trained model, else the seed of the twin.

    Raises:
        InputError: the model cannot be found or read, or it cannot have a twin.
    """
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # one bar, ours, is enough

    load: dict[str, Any] = {"dtype": dtype, "attn_implementation": "eager", "trust_remote_code": False}
    try:
        if untrained_seed is None:
            model: Any = AutoModelForCausalLM.from_pretrained(str(path), revision=revision, **load)
        else:
            config = AutoConfig.from_pretrained(str(path), revision=revision, trust_remote_code=False)
            with torch.random.fork_rng(devices=[]):  # transformers draws too; the caller's generator stays where it is
                model = AutoModelForCausalLM.from_config(config, **load)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise InputError(f"cannot load model {path}: {first_line(error)}") from error
    if untrained_seed is not None:
        draw_parameters(model, untrained_seed)
    return model.to(device).eval()


@torch.no_grad()
def draw_parameters(model: PreTrainedModel, seed: int) -> None:
    """Draws the weights of a model that was just built from its config, in place, as its architecture starts them.

    Matrices and embeddings are normal(0, config.initializer_range), parameter number i from a counter-based generator
    keyed by (seed, i), whatever torch's own generator does; the padding token's embedding is zero. Vectors (norm
    weights, biases) start as constants and stay as transformers has set them; tied weights stay tied.

    The twin is the control of Heap et al. 2025 (arXiv 2501.17727): SAEs of a model that has learned nothing.

    Raises:
        InputError: a negative seed, or a config without `initializer_range`.
    """
    std: float | None = getattr(model.config, "initializer_range", None)
    if std is None:
        raise InputError(f"an untrained twin needs config.initializer_range, {type(model.config).__name__} has none")
    if seed < 0:
        raise InputError(f"untrained_seed must be at least 0, got {seed}")
    for number, parameter in enumerate(model.parameters()):
        if parameter.dim() > 1:
            generator = np.random.Generator(np.random.Philox(key=np.array([seed, number], dtype=np.uint64)))
            parameter.copy_(torch.from_numpy(std * generator.standard_normal(tuple(parameter.shape))))
    for module in model.modules():
        if isinstance(module, nn.Embedding) and module.padding_idx is not None:
            module.weight[module.padding_idx] = 0


def transformer_blocks(model: nn.Module) -> nn.ModuleList:
    """Returns the list of a model's transformer blocks, whatever the architecture calls it.

    Raises:
        InputError: no list of modules has `config.num_hidden_layers` entries.
    """
    n_layers = int(model.config.num_hidden_layers)  # pyright: ignore
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == n_layers:
            return module
    raise InputError(f"{type(model).__name__} has no list of {n_layers} transformer blocks to hook")


class _Truncated(Exception):  # noqa: N818 - a signal, not an error
    """Ends a forward pass after the last wanted block."""


@contextmanager
def _captured(blocks: nn.ModuleList, layers: Sequence[int]) -> Generator[dict[int, Tensor]]:
    captured: dict[int, Tensor] = {}

    def hook_of(layer: int):
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            captured[layer] = output[0] if isinstance(output, tuple) else output
            if layer == max(layers):
                raise _Truncated

        return hook

    handles = [blocks[layer].register_forward_hook(hook_of(layer)) for layer in layers]
    try:
        yield captured
    finally:
        for handle in handles:
            handle.remove()


@torch.inference_mode()
def residual_streams(model: nn.Module, ids: Tensor, layers: Sequence[int]) -> dict[int, Tensor]:
    """Runs one truncated forward pass and returns the output of every wanted block.

    Args:
        model: a causal LM in evaluation mode, all of it on one device.
        ids: integer token ids [batch, ctx], on any device.
        layers: block indices; the pass stops after the highest.

    Returns:
        Block index -> residual stream [batch, ctx, d_model] on the model's device, the output of that block
        (`hook_resid_post`).

    Raises:
        InputError: a layer the model does not have.
    """
    blocks = transformer_blocks(model)
    for layer in layers:
        if not 0 <= layer < len(blocks):
            raise InputError(f"layer must be in 0..{len(blocks) - 1} for this model, got {layer}")
    with _captured(blocks, layers) as captured, suppress(_Truncated):
        model(input_ids=ids.to(next(model.parameters()).device).long(), use_cache=False)
    return {layer: captured[layer] for layer in layers}
