"""Reads SAEs and transcoders that EleutherAI's sparsify wrote (Pythia, Llama), in the form that sae-lens loads.

sae-lens 6.54 has a loader of this name, which fails on these repositories: it looks for a config that it did not
download, transposes `W_dec` (sparsify stores it [d_sae, d_in], as sae-lens wants it), takes every one for an SAE of a
block's output, and leaves the decoder's bias in the input, which sparsify subtracts before encoding.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from torch import Tensor

from semconv.models.libraries import import_sae_lens
from semconv.suite.hooks import parse_hook
from semconv.system.errors import InputError
from semconv.system.json_toml import read_json

Folder = TypeVar("Folder", Path, PurePosixPath)

FILES = ("cfg.json", "sae.safetensors")
ABOVE = "config.json"
"""What the folder of all SAEs of a training run holds, if it was kept: the model and the context."""


def is_config(config: dict[str, Any]) -> bool:
    """Whether a `cfg.json` is sparsify's: sae-lens's have always named an architecture, a dtype or a hook."""
    return "d_in" in config and not {"architecture", "dtype", "hook_name", "hook_point", "metadata"} & set(config)


def read_config(folder: Path) -> dict[str, Any]:
    """Returns the config of an SAE in sae-lens's form.

    The folder, or the one above a folder `seedN`, is named after the module of transformers whose output was encoded,
    or whose output a transcoder predicts from its input.

    Raises:
        InputError: activations that sae-lens cannot compute.
        KeyError, ValueError: damaged files.
    """
    import_sae_lens()
    from sae_lens import __version__

    written = read_json(folder / "cfg.json")
    for key, read in (("signed", (False, None)), ("activation", ("topk", None))):
        if written.get(key) not in read:
            raise InputError(f"SAE {folder} of sparsify has {key} = {written[key]!r}, and only unsigned TopK is read")
    hookpoint = hookpoint_of(folder)
    run = read_json(hookpoint.parent / ABOVE) if (hookpoint.parent / ABOVE).is_file() else {}
    module, transcode = _module(hookpoint.name), bool(written.get("transcode"))
    d_in = int(written["d_in"])
    return {
        "architecture": "topk",
        "k": written["k"],
        "d_in": d_in,
        "d_sae": int(written.get("num_latents") or d_in * written["expansion_factor"]),
        "dtype": "float32",
        "apply_b_dec_to_input": not transcode,
        "normalize_activations": "none",
        "metadata": {
            "sae_lens_version": __version__,
            "hook_name": f"{module}.input" if module and transcode else module,
            "hook_name_out": module if transcode else "",
            "transcode": transcode,
            "model_name": run.get("model"),
            "context_size": run.get("ctx_len"),
        },
    }


def hookpoint_of(folder: Folder) -> Folder:
    """Returns the folder that is named after the module; several seeds of one lie inside it."""
    return folder.parent if folder.name.startswith("seed") else folder


def _module(name: str) -> str:
    """Returns the name of a folder if it is that of a module; folders can be given other names."""
    try:
        parse_hook(name)
    except InputError:
        return ""
    return name


def read_tensors(folder: Path, config: dict[str, Any], device: str) -> dict[str, Tensor]:
    """Returns the weights of an SAE by sae-lens's names, and `W_skip` where it has a skip connection.

    Raises:
        KeyError, ValueError, SafetensorError: damaged files.
    """
    from safetensors.torch import load_file

    tensors = load_file(folder / "sae.safetensors", device=device)
    if tensors["encoder.weight"].dim() != 2:
        raise ValueError(f"encoder.weight must be a matrix, got {list(tensors['encoder.weight'].shape)}")
    skip = {"W_skip": tensors["W_skip"]} if "W_skip" in tensors else {}
    return {
        "W_enc": tensors["encoder.weight"].T.contiguous(),
        "b_enc": tensors["encoder.bias"],
        "W_dec": tensors["W_dec"],
        "b_dec": tensors["b_dec"],
        **skip,
    }
