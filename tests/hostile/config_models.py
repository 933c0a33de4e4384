"""Hostile models."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from tests.hostile.configs import Arguments, Hostile, _dictionary, _edited


def _model(change: Callable[[Path], object]) -> Callable[[Path, Path], Arguments]:
    def make(tiny: Path, folder: Path) -> Arguments:
        shutil.copytree(tiny / "model_a", folder / "model")
        change(folder / "model")
        return _dictionary(tiny, folder)

    return make


def _config(**changes: Any) -> Callable[[Path, Path], Arguments]:
    """A model whose config says something else."""
    return _model(lambda model: _edited(model / "config.json", changes))


def _twin(**changes: Any) -> Callable[[Path, Path], Arguments]:
    """The same for the untrained twin, which has no weights that the config could be compared with."""

    def make(tiny: Path, folder: Path) -> Arguments:
        (folder / "model").mkdir()
        shutil.copy(tiny / "model_a" / "config.json", folder / "model")
        _edited(folder / "model" / "config.json", changes)
        return [*_dictionary(tiny, folder), "--untrained-seed", "1"]

    return make


def _weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path, Path], Arguments]:
    """A model whose weights are others."""

    def edit(model: Path) -> None:
        tensors = load_file(model / "model.safetensors")
        changed = change(tensors)
        save_file(changed if isinstance(changed, dict) else tensors, model / "model.safetensors", {"format": "pt"})

    return _model(edit)


def _written(name: str, text: str | bytes) -> Callable[[Path, Path], Arguments]:
    """A model with a file of other contents."""
    data = text if isinstance(text, bytes) else text.encode()
    return _model(lambda model: (model / name).write_bytes(data))


HUGE = 10**18
Q = "model.layers.0.self_attn.q_proj.weight"
MODELS = [
    Hostile("a width of 10**18", _config(hidden_size=HUGE)),
    Hostile("a width of 10**9", _config(hidden_size=10**9), "parameters by its config"),
    Hostile("a width of 2**19", _config(hidden_size=2**19)),
    Hostile("an MLP of 10**18", _config(intermediate_size=HUGE)),
    Hostile("an MLP of 2**20", _config(intermediate_size=2**20)),
    Hostile("a vocabulary of 10**18", _config(vocab_size=HUGE)),
    Hostile("a vocabulary of 2**26", _config(vocab_size=2**26)),
    Hostile("10**18 heads", _config(num_attention_heads=HUGE)),
    Hostile("heads of 10**18", _config(head_dim=HUGE)),
    Hostile("heads of 2**26", _config(head_dim=2**26)),
    Hostile("10**9 layers", _config(num_hidden_layers=10**9, layer_types=None)),
    Hostile("100,000 layers", _config(num_hidden_layers=100_000, layer_types=None)),
    Hostile("a negative width", _config(hidden_size=-16)),
    Hostile("no width", _config(hidden_size=0)),
    Hostile("a width of text", _config(hidden_size="16")),
    Hostile("a width of null", _config(hidden_size=...)),
    Hostile("a width with a fraction", _config(hidden_size=16.5)),
    Hostile("a list for a width", _config(hidden_size=[16])),
    Hostile("a width that is true", _config(hidden_size=True)),
    Hostile("layers of text", _config(num_hidden_layers="two")),
    Hostile("no layers", _config(num_hidden_layers=0)),
    Hostile("a negative number of layers", _config(num_hidden_layers=-1)),
    Hostile("layers of null", _config(num_hidden_layers=...)),
    Hostile("more layers than weights", _config(num_hidden_layers=4, layer_types=None)),
    Hostile("fewer layers than weights", _config(num_hidden_layers=1, layer_types=None)),
    Hostile("no heads", _config(num_attention_heads=0)),
    Hostile("negative heads", _config(num_attention_heads=-2)),
    Hostile("heads that do not divide", _config(num_attention_heads=3, num_key_value_heads=2)),
    Hostile("no key heads", _config(num_key_value_heads=0)),
    Hostile("odd heads", _config(head_dim=7)),
    Hostile("a vocabulary below the ids", _config(vocab_size=300)),
    Hostile("a vocabulary of text", _config(vocab_size="many")),
    Hostile("no vocabulary", _config(vocab_size=0)),
    Hostile("positions of text", _config(max_position_embeddings="64")),
    Hostile("an architecture nobody knows", _config(model_type="gemma99")),
    Hostile("no architecture", _config(model_type=None, architectures=None)),
    Hostile("an architecture of a list", _config(model_type=["gemma2"])),
    Hostile("another architecture", _config(model_type="llama")),
    Hostile("an architecture of images", _config(model_type="vit")),
    Hostile("code of its own", _config(model_type="own", auto_map={"AutoConfig": "own.Own"})),
    Hostile("rope of text", _config(rope_parameters="yes")),
    Hostile("rope of no kind", _config(rope_parameters={"rope_type": "none such", "rope_theta": 1e4})),
    Hostile("rope of base zero", _config(rope_parameters={"rope_type": "default", "rope_theta": 0})),
    Hostile("rope of a base of text", _config(rope_parameters={"rope_type": "default", "rope_theta": "x"})),
    Hostile(
        "rope with a factor of null",
        _config(rope_parameters={"rope_type": "linear", "factor": None, "rope_theta": 1e4}),
        "",
    ),
    Hostile("layers of no kind", _config(layer_types=["full", "half"])),
    Hostile("layer kinds of a number", _config(layer_types=7)),
    Hostile("fewer kinds than layers", _config(layer_types=["full_attention"])),
    Hostile("a window of text", _config(sliding_window="wide")),
    Hostile("an activation nobody knows", _config(hidden_activation="none such")),
    Hostile("an activation of a number", _config(hidden_activation=3)),
    Hostile("an epsilon of text", _config(rms_norm_eps="small")),
    Hostile("a dtype nobody knows", _config(dtype="float99", torch_dtype="float99")),
    Hostile("padding beyond the vocabulary", _config(pad_token_id=10**6)),
    Hostile("padding of text", _config(pad_token_id="pad")),
    Hostile("tied weights of text", _config(tie_word_embeddings="no")),
    Hostile("a config that is a list", _written("config.json", "[]")),
    Hostile("a config of nothing", _written("config.json", "{}")),
    Hostile("a config of deep lists", _written("config.json", '{"a":' + "[" * 100_000)),
    Hostile("a config with 5,000 digits", _written("config.json", '{"hidden_size":' + "9" * 5000 + "}")),
    Hostile("a config that is not UTF-8", _written("config.json", b"\xff\xfe{}")),
    Hostile(
        "a config that is a folder", _model(lambda m: ((m / "config.json").unlink(), (m / "config.json").mkdir())), ""
    ),
    Hostile("no config", _model(lambda m: (m / "config.json").unlink())),
    Hostile("a text config of a number", _config(text_config=7)),
    Hostile("quantised by text", _config(quantization_config="int8")),
    Hostile("a generation config of a list", _written("generation_config.json", "[]")),
    Hostile("a deep generation config", _written("generation_config.json", "[" * 100_000)),
    Hostile("weights of another shape", _weights(lambda t: t.update({Q: torch.zeros(3, 5)}))),
    Hostile("weights of another rank", _weights(lambda t: t.update({Q: torch.zeros(16)}))),
    Hostile("weights without a number", _weights(lambda t: t.update({Q: torch.zeros(0)}))),
    Hostile("weights that are NaN", _weights(lambda t: t.update({Q: torch.full((16, 16), torch.nan)}))),
    Hostile("no weights at all", _weights(lambda t: {})),
    Hostile("an empty file of weights", _written("model.safetensors", b"")),
    Hostile("weights with a header of 2**60 bytes", _written("model.safetensors", (2**60).to_bytes(8, "little"))),
    Hostile("no file of weights", _model(lambda m: (m / "model.safetensors").unlink())),
    Hostile("an index of a list", _written("model.safetensors.index.json", '{"weight_map": []}')),
    Hostile("a twin of a width of 10**9", _twin(hidden_size=10**9)),
    Hostile("a twin of 100,000 layers", _twin(num_hidden_layers=100_000, layer_types=None)),
    Hostile("a twin with NaN for a spread", _twin(initializer_range=float("nan"))),
    Hostile("a twin with text for a spread", _twin(initializer_range="wide")),
    Hostile("a twin with a negative spread", _twin(initializer_range=-1)),
]
