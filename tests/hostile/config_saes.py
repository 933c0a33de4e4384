"""Hostile SAEs."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from tests.hostile.config_models import HUGE
from tests.hostile.configs import Arguments, Hostile, _edited


def _encode(tiny: Path, folder: Path) -> Arguments:
    """The command that loads an SAE, on a suite with `sae` in the folder instead of the first one of A."""
    suite = (tiny / "tiny.toml").read_text().split("[[controls]]")[0]
    suite = suite.replace(str(tiny / "sae_a0"), str(folder / "sae")).replace("max_tokens = 4000", "max_tokens = 200")
    (folder / "tiny.toml").write_text(suite)
    return ["--quiet", "encode", folder / "tiny.toml", "--out", folder / "run"]


def _sae(change: Callable[[Path], object]) -> Callable[[Path, Path], Arguments]:
    def make(tiny: Path, folder: Path) -> Arguments:
        shutil.copytree(tiny / "sae_a0", folder / "sae")
        change(folder / "sae")
        return _encode(tiny, folder)

    return make


def _cfg(**changes: Any) -> Callable[[Path, Path], Arguments]:
    return _sae(lambda sae: _edited(sae / "cfg.json", changes))


def _tensors(**changed: torch.Tensor | None) -> Callable[[Path, Path], Arguments]:
    def edit(sae: Path) -> None:
        tensors: dict[str, Any] = load_file(sae / "sae_weights.safetensors") | changed
        save_file({k: v for k, v in tensors.items() if v is not None}, sae / "sae_weights.safetensors")

    return _sae(edit)


D, F = 16, 96


def _topk(k: Any, n: int = F) -> Callable[[Path, Path], Arguments]:
    def edit(sae: Path) -> None:
        changes = {"architecture": "topk", "k": k, "d_sae": n, "rescale_acts_by_decoder_norm": False}
        _edited(sae / "cfg.json", changes)
        drawn = torch.randn(n, D, generator=torch.Generator().manual_seed(0))
        shapes = {
            "W_dec": drawn,
            "W_enc": drawn.T.contiguous(),
            "b_dec": torch.zeros(D),
            "b_enc": torch.full((n,), 99.0),
        }
        save_file(shapes, sae / "sae_weights.safetensors")

    return _sae(edit)


def _sparsify(changes: dict[str, Any], **tensors: torch.Tensor) -> Callable[[Path, Path], Arguments]:
    def edit(sae: Path) -> None:
        shutil.rmtree(sae)
        sae.mkdir()
        (sae / "cfg.json").write_text(json.dumps({"d_in": D, "num_latents": F, "k": 4, "signed": False, **changes}))
        right = {"encoder.weight": torch.ones(F, D), "encoder.bias": torch.ones(F), "W_dec": torch.ones(F, D)}
        save_file({**right, "b_dec": torch.ones(D), **tensors}, sae / "sae.safetensors")

    return _sae(edit)


def _learned(changes: dict[str, Any], written: Any = None) -> Callable[[Path, Path], Arguments]:
    """An SAE of dictionary_learning."""

    def edit(sae: Path) -> None:
        shutil.rmtree(sae)
        sae.mkdir()
        trainer = {"dict_class": "AutoEncoderTopK", "activation_dim": D, "dict_size": F, "k": 4, **changes}
        (sae / "config.json").write_text(json.dumps({"trainer": trainer}))
        right = {"encoder.weight": torch.ones(F, D), "encoder.bias": torch.ones(F), "decoder.weight": torch.ones(D, F)}
        torch.save({**right, "b_dec": torch.ones(D)} if written is None else written, sae / "ae.pt")

    return _sae(edit)


def _deflated(sae: Path) -> None:
    """Packs `ae.pt` once more: zeros become a thousandth of their size."""
    with zipfile.ZipFile(sae / "ae.pt") as old:
        members = {info.filename: old.read(info) for info in old.infolist()}
    with zipfile.ZipFile(sae / "ae.pt", "w", zipfile.ZIP_DEFLATED) as new:
        for name, data in members.items():
            new.writestr(name, data)


def _bomb(tiny: Path, folder: Path) -> Arguments:
    arguments = _learned({"dict_size": 2**21}, {"encoder.weight": torch.zeros(2**21, D)})(tiny, folder)
    _deflated(folder / "sae")
    return arguments


SAES = [
    Hostile("an input of 10**18", _cfg(d_in=HUGE)),
    Hostile("10**18 features", _cfg(d_sae=HUGE)),
    Hostile("2**28 features", _cfg(d_sae=2**28)),
    Hostile("2**20 features by 2**20", _cfg(d_sae=2**20, d_in=2**20)),
    Hostile("features of text", _cfg(d_sae="many")),
    Hostile("features with a fraction", _cfg(d_sae=96.5)),
    Hostile("features of null", _cfg(d_sae=...)),
    Hostile("negative features", _cfg(d_sae=-96)),
    Hostile("no features", _cfg(d_sae=0)),
    Hostile("an input of 24", _cfg(d_in=24)),
    Hostile("an input of a list", _cfg(d_in=[16])),
    Hostile("no input", _cfg(d_in=None)),
    Hostile("an architecture nobody knows", _cfg(architecture="crosscoder9")),
    Hostile("an architecture of a number", _cfg(architecture=3)),
    Hostile("no architecture", _cfg(architecture=None)),
    Hostile("an activation of 10**18", _topk(HUGE)),
    Hostile("k above F", _topk(F + 1)),
    Hostile("k of zero", _topk(0)),
    Hostile("k below zero", _topk(-1)),
    Hostile("k of text", _topk("4")),
    Hostile("k with a fraction", _topk(4.5)),
    Hostile("k that is true", _topk(True)),
    Hostile("k of null", _topk(...)),
    Hostile("a normalisation nobody knows", _cfg(normalize_activations="none such")),
    Hostile("a normalisation of a number", _cfg(normalize_activations=3)),
    Hostile("metadata of a list", _cfg(metadata=[1])),
    Hostile("metadata of text", _cfg(metadata="none")),
    Hostile("a hook of no kind", _cfg(metadata={"hook_name": "blocks.x.y"})),
    Hostile("a hook of a number", _cfg(metadata={"hook_name": 7})),
    Hostile("a hook of another layer", _cfg(metadata={"hook_name": "blocks.99.hook_resid_post"})),
    Hostile(
        "a hook of a layer of 5,000 digits", _cfg(metadata={"hook_name": f"blocks.{'9' * 5000}.hook_resid_post"}), ""
    ),
    Hostile("a head that is not there", _cfg(metadata={"hook_head_index": 99})),
    Hostile("a head of text", _cfg(metadata={"hook_head_index": "first"})),
    Hostile("a negative head", _cfg(metadata={"hook_head_index": -1})),
    Hostile("a context of text", _cfg(metadata={"context_size": "long"})),
    Hostile("options of a list", _cfg(metadata={"model_from_pretrained_kwargs": [1]})),
    Hostile("centring of a number", _cfg(metadata={"model_from_pretrained_kwargs": 7})),
    Hostile("a version of no kind", _cfg(metadata={"sae_lens_version": "x"})),
    Hostile("a config of deep lists", _sae(lambda f: (f / "cfg.json").write_text('{"a":' + "[" * 100_000))),
    Hostile(
        "a config with 5,000 digits", _sae(lambda f: (f / "cfg.json").write_text('{"d_in":' + "9" * 5000 + "}")), ""
    ),
    Hostile("NaN in a config", _sae(lambda f: (f / "cfg.json").write_text('{"d_in": NaN}'))),
    Hostile("a config of nothing", _sae(lambda f: (f / "cfg.json").write_text("{}"))),
    Hostile("a threshold too short", _tensors(threshold=torch.ones(95))),
    Hostile("a threshold of rank 2", _tensors(threshold=torch.ones(96, 1))),
    Hostile("a threshold that is NaN", _tensors(threshold=torch.full((96,), torch.nan))),
    Hostile("no threshold", _tensors(threshold=None)),
    Hostile("decoder rows that are NaN", _tensors(W_dec=torch.full((96, 16), torch.nan))),
    Hostile("an encoder that is infinite", _tensors(W_enc=torch.full((16, 96), torch.inf))),
    Hostile("an encoder that is NaN", _tensors(W_enc=torch.full((16, 96), torch.nan))),
    Hostile("an encoder of another shape", _tensors(W_enc=torch.ones(16, 97))),
    Hostile("a tensor too many", _tensors(W_none=torch.ones(3))),
    Hostile("every feature active", _tensors(b_enc=torch.full((96,), 1e30))),
    Hostile("no weights", _sae(lambda f: (f / "sae_weights.safetensors").unlink())),
    Hostile("empty weights", _sae(lambda f: (f / "sae_weights.safetensors").write_bytes(b""))),
    Hostile("sparsify: k of F + 1", _sparsify({"k": F + 1})),
    Hostile("sparsify: k below zero", _sparsify({"k": -2})),
    Hostile("sparsify: k of text", _sparsify({"k": "x"})),
    Hostile("sparsify: k of a list", _sparsify({"k": [1]})),
    Hostile("sparsify: 2**28 features", _sparsify({"num_latents": 2**28})),
    Hostile("sparsify: a factor of 10**300", _sparsify({"num_latents": None, "expansion_factor": 1e300})),
    Hostile("sparsify: a factor of text", _sparsify({"num_latents": None, "expansion_factor": "x"})),
    Hostile("sparsify: an encoder of rank 3", _sparsify({}, **{"encoder.weight": torch.ones(F, D, 1)})),
    Hostile("sparsify: biases of another length", _sparsify({}, b_dec=torch.ones(3))),
    Hostile("sparsify: a skip of another shape", _sparsify({"transcode": True}, W_skip=torch.ones(3, 5))),
    Hostile("dictionary: 2**28 features", _learned({"dict_size": 2**28})),
    Hostile("dictionary: k below zero", _learned({"k": -2})),
    Hostile("dictionary: k of null", _learned({"k": None})),
    Hostile("dictionary: a list for a file", _learned({}, [1, 2])),
    Hostile("dictionary: texts for tensors", _learned({}, {"encoder.weight": "x", "b_dec": 3})),
    Hostile("dictionary: a tensor of one number", _learned({}, {"encoder.weight": torch.tensor(1.0)})),
    Hostile(
        "dictionary: a tensor that repeats one number",
        _learned({"dict_size": 2**28}, {"encoder.weight": torch.ones(1, 1).expand(2**28, D)}),
        "",
    ),
    Hostile(
        "dictionary: a sparse tensor",
        _learned(
            {},
            {
                "encoder.weight": torch.ones(F, D).to_sparse(),
                "decoder.weight": torch.ones(D, F),
                "bias": torch.ones(D),
                "encoder.bias": torch.ones(F),
            },
        ),
        "",
    ),
    Hostile("dictionary: a packed file", _bomb),
    Hostile(
        "dictionary: a trainer of a list",
        _sae(lambda f: ((f / "cfg.json").unlink(), (f / "config.json").write_text('{"trainer": ["dict_class"]}'))),
        "",
    ),
]
