"""Reads SAEs of the dictionary_learning library (`ae.pt` beside `config.json`), in the form that sae-lens loads.

`ae.pt` is a pickle. torch's restricted unpickler reads it, which makes tensors and containers of them and runs no code
of the file's; a file that holds anything else is refused.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from semconv.models.libraries import import_sae_lens
from semconv.suite.hooks import hook_name
from semconv.system.errors import InputError
from semconv.system.json_toml import read_json

FILES = ("config.json", "ae.pt")

_CLASSES = {
    "AutoEncoder": ("standard", True),
    "AutoEncoderNew": ("standard", False),
    "GatedAutoEncoder": ("gated", True),
    "AutoEncoderTopK": ("topk", True),
    "JumpReluAutoEncoder": ("jumprelu", False),
    "BatchTopKSAE": ("jumprelu", True),
    "MatryoshkaBatchTopKSAE": ("jumprelu", True),
}
"""Class -> architecture in sae-lens, and whether the decoder's bias is taken from the input. The batch TopK classes
encode by the threshold that they have learned, which is a JumpReLU."""

_NAMES = {
    "encoder.bias": "b_enc",
    "bias": "b_dec",
    "decoder.bias": "b_dec",
    "decoder_bias": "b_dec",
    "gate_bias": "b_gate",
    "mag_bias": "b_mag",
}
_TRANSPOSED = {"encoder.weight": "W_enc", "decoder.weight": "W_dec"}
_KEPT = ("W_enc", "W_dec", "b_enc", "b_dec", "r_mag")


def is_config(config: dict[str, Any]) -> bool:
    """Whether a `config.json` is of a dictionary."""
    return "dict_class" in (config.get("trainer") or {})


def read_config(folder: Path) -> dict[str, Any]:
    """Returns the config of an SAE in sae-lens's form; its hook where it is the output of a block.

    Raises:
        InputError: a class of dictionary that is not read.
        KeyError, ValueError: damaged files.
    """
    import_sae_lens()
    from sae_lens import __version__

    written = read_json(folder / "config.json")
    trainer, buffer = written["trainer"], written.get("buffer") or {}
    kind = str(trainer["dict_class"])
    if kind not in _CLASSES:
        raise InputError(f"SAE {folder} of dictionary_learning is of class {kind}; read are {', '.join(_CLASSES)}")
    architecture, from_input = _CLASSES[kind]
    named = re.fullmatch(r"resid_post_layer_(\d+)", str(trainer.get("submodule_name") or ""))
    return {
        "architecture": architecture,
        **({"k": trainer["k"]} if architecture == "topk" else {}),
        "d_in": int(trainer["activation_dim"]),
        "d_sae": int(trainer["dict_size"]),
        "dtype": "float32",
        "apply_b_dec_to_input": from_input,
        "normalize_activations": "none",
        "metadata": {
            "sae_lens_version": __version__,
            "hook_name": hook_name(int(named[1])) if named and buffer.get("io", "out") == "out" else "",
            "model_name": trainer.get("lm_name"),
            "context_size": buffer.get("ctx_len"),
        },
    }


def read_tensors(folder: Path, config: dict[str, Any], device: str) -> dict[str, Tensor]:
    """Returns the weights of an SAE by sae-lens's names.

    Raises:
        InputError: `ae.pt` holds other things than tensors, or is compressed.
        OSError, RuntimeError: it is missing or damaged.
    """
    file = folder / "ae.pt"
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as packed:  # torch never packs, and zeros that are packed fill any memory
            if any(info.compress_type != zipfile.ZIP_STORED for info in packed.infolist()):
                raise InputError(f"{file} is compressed, which torch.save never does, and is not read")
    try:
        written: dict[str, Tensor] = torch.load(file, map_location=device, weights_only=True)
    except pickle.UnpicklingError:
        raise InputError(
            f"{file} holds more than tensors, which is not read because it could run code; save the "
            "dictionary's state_dict() alone, with torch.save"
        ) from None
    _check(file, written)
    tensors = {_NAMES.get(key, key): tensor for key, tensor in written.items() if key in (*_NAMES, *_KEPT)}
    tensors |= {name: written[key].T.contiguous() for key, name in _TRANSPOSED.items() if key in written}
    if config["architecture"] == "jumprelu":
        tensors["threshold"] = written["threshold"].expand(tensors["W_enc"].shape[1]).clone()
    return tensors


def _check(file: Path, written: Any) -> None:
    """Raises InputError unless it is a table of tensors with no more numbers than the file has: they fill memory."""
    if not isinstance(written, dict) or not all(isinstance(tensor, Tensor) for tensor in written.values()):  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
        raise InputError(f"{file} must hold tensors by their names")
    tensors: dict[str, Tensor] = written
    dense = all(tensor.layout == torch.strided for tensor in tensors.values())
    if not dense or sum(tensor.numel() * tensor.itemsize for tensor in tensors.values()) > file.stat().st_size:
        raise InputError(f"the tensors of {file} must share no memory and have all of their numbers in it")
    for key in _TRANSPOSED:
        if key in tensors and tensors[key].dim() != 2:
            raise InputError(f"{key} in {file} must be a matrix, got {list(tensors[key].shape)}")
