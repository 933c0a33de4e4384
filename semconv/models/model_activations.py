"""Loads a language model, runs it over token blocks and returns the streams at the hooks that are asked for."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from semconv.core.device import free_memory
from semconv.models.families import Point, point_of
from semconv.models.memory_plan import rows_on
from semconv.models.model_files import (
    check_files,
    check_kind,
    check_room,
    check_shapes,
    check_weights,
    read_config,
    reads_both_ways,
    weights_file,
    where_to_load,
)
from semconv.models.model_parts import first_blocks, is_mapped, without_blocks
from semconv.suite.hooks import hook_name, parse_hook
from semconv.system.errors import InputError, SemconvWarning, nearest, refusing
from semconv.text.token_blocks import TokenBlocks

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def load_model(
    path: str | Path,
    revision: str | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    untrained_seed: int | None = None,
    bidirectional: bool = False,
    *,
    n_blocks: int | None = None,
    trained_embeddings: bool = False,
) -> PreTrainedModel:
    """Loads a language model with eager attention, or its untrained twin.

    Gemma-2 soft-caps its attention logits, which fused attention kernels skip. The twin has the model's shape and
    the weights of `draw_parameters`; of its folder only the config is read, and with `trained_embeddings` the weights
    that lie outside the blocks.

    On the CPU, weights that are stored in `dtype` are mapped from their files, so that a model may be larger than the
    memory; its forward pass then reads the disk.

    Args:
        path: a folder, a `.gguf` file or a folder with one, or a name on the model hub.
        revision: commit of the hub repository; ignored for a folder.
        device: torch device.
        dtype: of the weights and of what is computed with them, float32 or bfloat16.
        untrained_seed: None for the trained model, else the seed of the twin.
        bidirectional: whether a model that reads in both directions (BERT and its kind) is meant; it has no head.
        n_blocks: load only so many blocks, the first ones, whose streams have the same bits as in the whole model; what
            the model predicts is then worth nothing. All by default, and for families where that is not known to hold
            (`semconv.models.model_parts.can_be_cut`).
        trained_embeddings: of a twin, keep what the trained model has outside its blocks (embeddings, last norm, head);
            the blocks are those of the twin that keeps nothing.

    Raises:
        InputError: the model cannot be found or read, is of a kind that is not read (`check_kind`), its weights are
            not all there (`check_weights`), or it cannot have a twin.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()  # one bar, ours, is enough
    what, config = f"model {path}", read_config(path, revision)
    check_kind(config, what, bidirectional)
    n_whole = int(config.get_text_config().num_hidden_layers)
    config = config if weights_file(Path(path)) else first_blocks(config, n_blocks)
    reads_weights = untrained_seed is None or trained_embeddings
    _check_room(path, config, dtype, torch.device(device), weights=reads_weights)
    load: dict[str, Any] = {"dtype": dtype, "attn_implementation": "eager", "trust_remote_code": False}
    trained = _trained(path, config, load | {"revision": revision}, n_whole) if reads_weights else None
    model = trained if untrained_seed is None else _twin(path, config, load, untrained_seed, trained)
    placed: Any = model
    return placed.to(device).eval()


@torch.no_grad()
def _twin(
    path: str | Path, config: Any, load: dict[str, Any], seed: int, trained: PreTrainedModel | None
) -> PreTrainedModel:
    """Returns the untrained twin of a model; with the trained model, all but its blocks is taken from there."""
    from transformers import AutoModel

    headless = trained is not None and trained.get_output_embeddings() is None
    kind: Any = AutoModel if headless else _auto_class(config)
    with refusing(f"cannot load model {path}"), torch.random.fork_rng(devices=[]):  # transformers draws too
        model = kind.from_config(config, **load)
    draw_parameters(model, seed)
    if trained is not None:
        drawn = {id(parameter) for parameter in transformer_blocks(model).parameters()}
        for mine, learned in zip(model.parameters(), trained.parameters(), strict=True):
            if id(mine) not in drawn:
                mine.copy_(learned)
    return model


def n_numbers(path: str | Path, config: Any) -> tuple[int, int]:
    """Returns how many numbers the parameters and the buffers of a model hold; nothing is allocated.

    Raises:
        InputError: a config from which no model can be made.
    """
    from transformers.initialization import no_init_weights

    with refusing(f"cannot load model {path}"), torch.device("meta"), no_init_weights():
        shape: Any = _auto_class(config).from_config(copy.deepcopy(config), attn_implementation="eager")
        shape.tie_weights()  # weights that are used twice are held once; without initialising, nothing is tied
    parameters, buffers = (sum(one.numel() for one in held) for held in (shape.parameters(), shape.buffers()))
    return parameters, buffers


def _check_room(path: str | Path, config: Any, dtype: torch.dtype, device: torch.device, weights: bool) -> None:
    """Raises InputError if a model of this shape does not fit into memory, before anything is allocated."""
    parameters, buffers = n_numbers(path, config)
    n_bytes, room = parameters * dtype.itemsize + buffers, free_memory(device)
    if (
        n_bytes > room
        and weights
        and device.type == "cpu"
        and is_mapped(Path(path), dtype, parameters * dtype.itemsize)
    ):
        warnings.warn(
            f"model {path} has {n_bytes / 2**30:.1f} GiB of weights, and {room / 2**30:.1f} GiB of memory are free; "
            "its files are read again in every forward pass",
            SemconvWarning,
            stacklevel=3,
        )
        room = n_bytes
    check_room(f"model {path}", path, n_bytes, parameters + buffers, room, weights)


def _auto_class(config: Any) -> Any:
    """Returns the class of transformers that loads such models, with the head that predicts tokens if there is one."""
    from transformers import AutoModel, AutoModelForCausalLM, AutoModelForImageTextToText

    if reads_both_ways(config):
        return AutoModel
    kinds: list[Any] = [AutoModelForCausalLM, AutoModelForImageTextToText]
    return next((kind for kind in kinds if type(config) in kind._model_mapping), AutoModelForCausalLM)


def _trained(path: str | Path, config: Any, load: dict[str, Any], n_whole: int) -> PreTrainedModel:
    """Loads a model with all of its weights, or those of its first blocks; without its head where there is none.

    Args:
        path: as of `load_model`.
        config: of the blocks that are loaded.
        load: options of transformers.
        n_whole: blocks of the whole model.
    """
    from transformers import AutoModel

    check_files(path)
    load = load if weights_file(Path(path)) else load | {"use_safetensors": True}
    load |= {"ignore_mismatched_sizes": True}  # which lists them

    def loaded(kind: Any) -> tuple[Any, set[str], set[str]]:
        with refusing(f"cannot load model {path}"), _without_report():
            model, info = kind.from_pretrained(**where_to_load(path), config=config, output_loading_info=True, **load)
        check_shapes(f"model {path}", info["mismatched_keys"])
        return model, set(info["missing_keys"]), set(info["unexpected_keys"])

    model, missing, unexpected = loaded(_auto_class(config))
    head = model.get_output_embeddings()
    of_head = {key for key in missing if head is not None and model.get_submodule(key.rpartition(".")[0]) is head}
    if of_head and not _needed(model, missing - of_head):
        model, missing, unexpected = loaded(AutoModel)
    left_out = range(int(text_config(model).num_hidden_layers), n_whole)
    check_weights(f"model {path}", _needed(model, missing), without_blocks(f"model {path}", unexpected, left_out))
    return model


@contextmanager
def _without_report() -> Generator[None]:
    """Keeps transformers from printing which weights it did not take: that is checked, and said, here."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _needed(model: PreTrainedModel, keys: set[str]) -> set[str]:
    """Returns the keys of the part that reads text, or of the head; no pooler for classifying, no tower for images."""
    text, head = language_model(model), model.get_output_embeddings()
    places = [name for name, module in model.named_modules() if module is text or (head is not None and module is head)]
    begins = tuple(f"{name}." if name else "" for name in places)
    return {key for key in keys if key.startswith(begins) and ".pooler." not in f".{key}"}


@torch.no_grad()
def draw_parameters(model: PreTrainedModel, seed: int) -> None:
    """Draws the weights of a model that was just built from its config, in place, as its architecture starts them.

    Matrices and embeddings are normal(0, config.initializer_range), parameter number i from a counter-based generator
    keyed by (seed, i), whatever torch's own generator does; the padding token's embedding is zero. Vectors (norm
    weights, biases) start as constants and stay as transformers has set them; tied weights stay tied.

    The twin is the control of Heap et al. 2025 (arXiv 2501.17727): SAEs of a model that has learned nothing.

    Raises:
        InputError: a negative seed, a config without `initializer_range`, or a state-space model such as Mamba, whose
            matrices do not all start as normal draws.
    """
    std: float | None = getattr(text_config(model), "initializer_range", None)
    if std is None:
        raise InputError(f"an untrained twin needs config.initializer_range, {type(model.config).__name__} has none")
    if any(name.endswith("A_log") for name, _ in model.named_parameters()):
        raise InputError(
            f"an untrained twin of a state-space model ({type(model).__name__}) is not made: not all of its matrices "
            "start as normal draws"
        )
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
    lists = {
        name.rpartition(".")[2]: module
        for name, module in reversed(list(language_model(model).named_modules()))
        if isinstance(module, nn.ModuleList) and len(module) == n_layers
    }
    for name in ("layers", "layer", "h", "blocks", *lists):  # other parts may happen to be as many
        if name in lists:
            return lists[name]
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
    """Returns the tensor seen at a hook as [batch, ctx, width], heads one after the other."""
    found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
    flat = isinstance(value, Tensor) and value.dim() == 2 and len(value) == shape.numel()  # OPT's MLP
    if not flat and (not isinstance(value, Tensor) or value.dim() < 3 or value.shape[:2] != shape):
        raise InputError(f"hook {name!r} gives no vector per position: {found} for text of shape {tuple(shape)}")
    return point.take(value.reshape(*shape, -1))


@torch.inference_mode()
def streams(model: nn.Module, ids: Tensor, hooks: Sequence[str], attended: Tensor | None = None) -> dict[str, Tensor]:
    """Runs one forward pass, as far as the last wanted stream, and returns the streams at the hooks.

    Args:
        model: a language model in evaluation mode, all of it on one device.
        ids: integer token ids [batch, ctx], on any device.
        hooks: names that `parse_hook` knows, of streams that the model has.
        attended: bool [batch, ctx], the positions that others may read; all by default.

    Returns:
        Hook name, as given -> [batch, ctx, width] on the model's device. `attn.hook_z` holds the heads one after the
        other, [batch, ctx, n_heads * d_head].

    Raises:
        InputError: a hook that the model does not have, or that gives no vector per position.
    """
    places = points(model, hooks)
    if not places:
        return {}
    device = next(model.parameters()).device
    mask = {} if attended is None else {"attention_mask": attended.to(device).long()}
    with _captured(list(set(places.values()))) as captured:
        read = {"input_ids": ids.to(device).long(), "use_cache": False, **mask}
        with refusing(f"a model of type {text_config(model).model_type!r} does not read text"), suppress(_Truncated):
            language_model(model)(**read)
    missing = [name for name, point in places.items() if point not in captured]
    if missing:
        raise InputError(f"hook {missing[0]!r} is never reached when the model reads text")
    return {name: _per_position(name, point, captured[point], ids.shape) for name, point in places.items()}


def row_streams(model: nn.Module, blocks: TokenBlocks, rows: slice, hooks: Sequence[str]) -> dict[str, Tensor]:
    """Returns the streams at some hooks over some rows of a text (`streams`), of as many rows at once as memory holds.

    A causal model never attends to the padding after its text. A model that reads in both directions would; so its
    attention mask ends with the token after the last one that counts in a row, which closes the row ([SEP]).

    Args:
        model: as for `streams`.
        blocks: the text.
        rows: which of its rows, with a step of 1; those beyond its end are left out.
        hooks: as for `streams`.
    """
    ids, counted = blocks.ids[rows], blocks.mask[rows]
    attended = None
    if reads_both_ways(text_config(model)):
        later = counted.flip(1).cumsum(dim=1).flip(1) > 0  # a counted token is here, or is still to come
        attended = later | torch.nn.functional.pad(later[:, :-1], (1, 0), value=True)
    at_once = rows_on(model, len(ids), ids.shape[1])
    begins = range(0, len(ids), at_once)
    parts = [
        streams(model, ids[i : i + at_once], hooks, None if attended is None else attended[i : i + at_once])
        for i in begins
    ]
    return parts[0] if len(parts) == 1 else {hook: torch.cat([part[hook] for part in parts]) for hook in hooks}


def has_head(model: nn.Module) -> bool:
    """Whether a model predicts the next token; a masked one, or one whose checkpoint has no head, does not."""
    wrapper: Any = model
    return wrapper.get_output_embeddings() is not None


def stream_width(model: nn.Module, hook: str) -> int:
    """Returns the width of the stream at a hook, found by reading two tokens.

    Raises:
        InputError: a hook that the model does not have, or that gives no vector per position.
    """
    return streams(model, torch.zeros(1, 2, dtype=torch.int64), [hook])[hook].shape[-1]
