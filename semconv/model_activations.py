"""Loads a language model, runs it over token blocks and hands out the streams at the wanted hooks."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from semconv.families import Point, point_of
from semconv.hooks import hook_name, parse_hook
from semconv.types import InputError, first_line, nearest

if TYPE_CHECKING:
    from transformers import PreTrainedModel


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


def text_config(model: nn.Module) -> Any:
    """Returns the config of the part of a model that reads text: depth, width, vocabulary and positions are in it."""
    config: Any = model.config
    return config.get_text_config()


def language_model(model: nn.Module) -> nn.Module:
    """Returns the part of a model that turns token ids into hidden states: no head, no tower for images."""
    wrapper: Any = model
    return wrapper.get_decoder()


def transformer_blocks(model: nn.Module) -> nn.ModuleList:
    """Returns the list of the transformer blocks that read text, whatever the architecture calls it.

    Raises:
        InputError: no list of modules has `num_hidden_layers` entries.
    """
    n_layers = int(text_config(model).num_hidden_layers)
    for module in language_model(model).modules():
        if isinstance(module, nn.ModuleList) and len(module) == n_layers:
            return module
    raise InputError(f"{type(model).__name__} has no list of {n_layers} transformer blocks to hook")


class _Truncated(Exception):  # noqa: N818 - a signal, not an error
    """Ends a forward pass after the last wanted stream."""


@contextmanager
def _captured(points: Sequence[Point]) -> Generator[dict[Point, Any]]:
    captured: dict[Point, Any] = {}

    def keep(point: Point, value: Any) -> None:
        captured[point] = value[0] if isinstance(value, tuple) else value  # pyright: ignore
        if len(captured) == len(points):
            raise _Truncated

    def hooked(point: Point):
        def before(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            keep(point, args[0] if args else kwargs.get("hidden_states"))

        def after(_module: nn.Module, _args: Any, output: Any) -> None:
            keep(point, output)

        if point.side == "input":
            return point.module.register_forward_pre_hook(before, with_kwargs=True)
        return point.module.register_forward_hook(after)

    handles = [hooked(point) for point in points]
    try:
        yield captured
    finally:
        for handle in handles:
            handle.remove()


def points(model: nn.Module, hooks: Sequence[str]) -> dict[str, Point]:
    """Returns where in a model the streams at some hooks pass, by the names given.

    Raises:
        InputError: a hook that the model does not have.
    """
    blocks, config = transformer_blocks(model), text_config(model)
    found: dict[str, Point] = {}
    for name in hooks:
        hook = parse_hook(name)
        if hook.layer >= len(blocks):
            hint = nearest(name, [hook_name(i) for i in range(len(blocks))])
            raise InputError(f"no hook {name!r}{hint} in this model; it has {len(blocks)} blocks")
        found[name] = point_of(blocks[hook.layer], config, hook)
    return found


def _per_position(name: str, point: Point, value: Any, shape: torch.Size) -> Tensor:
    """Returns what was seen at a hook as [batch, ctx, width], heads one after the other."""
    found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
    flat = isinstance(value, Tensor) and value.dim() == 2 and len(value) == shape.numel()  # OPT's MLP
    if not flat and (not isinstance(value, Tensor) or value.dim() < 3 or value.shape[:2] != shape):
        raise InputError(f"hook {name!r} gives no vector per position: {found} for text of shape {tuple(shape)}")
    return point.take(value.reshape(*shape, -1))


@torch.inference_mode()
def streams(model: nn.Module, ids: Tensor, hooks: Sequence[str]) -> dict[str, Tensor]:
    """Runs one forward pass, as far as the last wanted stream, and returns the streams at the hooks.

    Args:
        model: a language model in evaluation mode, all of it on one device.
        ids: integer token ids [batch, ctx], on any device.
        hooks: names that `parse_hook` knows, of streams that the model has.

    Returns:
        Hook name, as given -> [batch, ctx, width] on the model's device. `attn.hook_z` holds the heads one after the
        other, [batch, ctx, n_heads * d_head].

    Raises:
        InputError: a hook that the model does not have, or that gives no vector per position.
    """
    places = points(model, hooks)
    if not places:
        return {}
    with _captured(list(set(places.values()))) as captured, suppress(_Truncated):
        language_model(model)(input_ids=ids.to(next(model.parameters()).device).long(), use_cache=False)
    missing = [name for name, point in places.items() if point not in captured]
    if missing:
        raise InputError(f"hook {missing[0]!r} is never reached when the model reads text")
    return {name: _per_position(name, point, captured[point], ids.shape) for name, point in places.items()}


def stream_width(model: nn.Module, hook: str) -> int:
    """Returns the width of the stream at a hook, found by reading two tokens.

    Raises:
        InputError: what `streams` refuses.
    """
    return streams(model, torch.zeros(1, 2, dtype=torch.int64), [hook])[hook].shape[-1]
