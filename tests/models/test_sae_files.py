"""SAEs as people have them on disk: what each says of itself, what it computes, and what is refused in one sentence."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from semconv import InputError
from semconv.models.sae_encode import encode_stream
from semconv.models.sae_files import load_sae, read_metadata
from tests._helpers.sae_folders import D, F, K, drawn, plain, write_sae_lens
from tests.conftest import requires_models

pytestmark = requires_models

X = torch.randn(50, D, generator=torch.Generator().manual_seed(9))


def jump(pre: Tensor, threshold: Tensor | float) -> Tensor:
    return pre.relu() * (pre > threshold)


def top(pre: Tensor) -> Tensor:
    kept = pre.relu().topk(K, dim=1)
    return torch.zeros_like(pre).scatter(1, kept.indices, kept.values)


def gated(x: Tensor, w_enc: Tensor, t: dict[str, Tensor], gate: str, mag: str) -> Tensor:
    raw = x @ w_enc
    return (raw + t[gate] > 0) * (raw * t["r_mag"].exp() + t[mag]).relu()


GATES = {"b_gate": drawn(F, seed=5), "b_mag": drawn(F, seed=6), "r_mag": drawn(F, seed=7)}
THRESHOLD = drawn(F, seed=8).abs()
TRANSCODER = {"apply_b_dec_to_input": False, "d_out": D}
P = plain()
PRE, LESS = X @ P["W_enc"] + P["b_enc"], (X - P["b_dec"]) @ P["W_enc"] + P["b_enc"]
SAE_LENS: dict[str, tuple[dict[str, Tensor], dict[str, Any], Tensor]] = {
    "standard": (P, {}, LESS.relu()),
    "gated": (
        {k: v for k, v in P.items() if k != "b_enc"} | GATES,
        {},
        gated(X - P["b_dec"], P["W_enc"], GATES, "b_gate", "b_mag"),
    ),
    "jumprelu": (P | {"threshold": THRESHOLD}, {}, jump(LESS, THRESHOLD)),
    "topk": (P, {"k": K}, top(LESS)),
    "transcoder": (P, TRANSCODER, PRE.relu()),
    "skip_transcoder": (P | {"W_skip": drawn(D, D)}, TRANSCODER, PRE.relu()),
    "jumprelu_transcoder": (P | {"threshold": THRESHOLD}, TRANSCODER, jump(PRE, THRESHOLD)),
    "jumprelu_skip_transcoder": (
        P | {"threshold": THRESHOLD, "W_skip": drawn(D, D)},
        TRANSCODER,
        jump(PRE, THRESHOLD),
    ),
}


@pytest.mark.parametrize("architecture", list(SAE_LENS))
def test_every_architecture_of_sae_lens_encodes_by_its_formula(architecture: str, tmp_path: Path):
    tensors, config, expected = SAE_LENS[architecture]
    folder = write_sae_lens(tmp_path / "sae", architecture, tensors, **config)
    assert read_metadata(folder).architecture == architecture
    assert read_metadata(folder).transcoder == ("transcoder" in architecture)
    found = encode_stream(load_sae(folder), X, torch.float32).to_dense()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("architecture", ["standard", "jumprelu", "topk", "jumprelu_transcoder"])
@pytest.mark.parametrize("normalize", ["constant_norm_rescale", "layer_norm"])
def test_streams_are_normalised_as_in_training(architecture: str, normalize: str, tmp_path: Path):
    tensors, config, _ = SAE_LENS[architecture]
    folder = write_sae_lens(tmp_path / "sae", architecture, tensors, normalize_activations=normalize, **config)
    sae, plain = load_sae(folder), load_sae(write_sae_lens(tmp_path / "plain", architecture, tensors, **config))
    scaled = X * D**0.5 / X.norm(dim=1, keepdim=True)
    if normalize == "layer_norm":
        scaled = (X - X.mean(1, keepdim=True)) / (X.std(1, keepdim=True) + 1e-5)
    found = encode_stream(sae, X, torch.float32).to_dense()
    with torch.no_grad():
        assert torch.equal(found, sae.encode(X))
    torch.testing.assert_close(found, encode_stream(plain, scaled, torch.float32).to_dense(), rtol=1e-5, atol=1e-5)


def write_training_checkpoint(folder: Path, architecture: str) -> Tensor:
    """A checkpoint of sae-lens's training, not yet saved for use; returns what its learned threshold leaves of `X`."""
    from sae_lens.registry import get_sae_training_class

    cls, config_cls = get_sae_training_class(architecture)
    more: dict[str, Any] = {"matryoshka_widths": [8, F]} if architecture.startswith("matryoshka") else {}
    sae: Any = cls(config_cls(d_in=D, d_sae=F, k=K, rescale_acts_by_decoder_norm=False, **more))
    sae.load_state_dict({**plain(), "topk_threshold": torch.tensor(0.7, dtype=torch.double)}, strict=False)
    sae.save_model(folder)
    return jump(LESS, 0.7)


@pytest.mark.parametrize("architecture", ["batchtopk", "matryoshka_batchtopk"])
def test_a_training_checkpoint_is_read_as_what_would_be_saved_for_use(architecture: str, tmp_path: Path):
    expected = write_training_checkpoint(tmp_path / "sae", architecture)
    sae = load_sae(tmp_path / "sae")
    assert sae.cfg.architecture() == "jumprelu"
    torch.testing.assert_close(encode_stream(sae, X, torch.float32).to_dense(), expected, rtol=1e-5, atol=1e-5)


def write_sparsify(folder: Path, tensors: dict[str, Tensor] | None = None, **config: Any) -> Path:
    """A folder as sparsify saves it."""
    from safetensors.torch import save_file

    p = plain()
    weights = {"encoder.weight": p["W_enc"].T, "encoder.bias": p["b_enc"], "W_dec": p["W_dec"], "b_dec": p["b_dec"]}
    folder.mkdir(parents=True)
    written = {k: v.contiguous() for k, v in {**weights, **(tensors or {})}.items()}
    save_file(written, folder / "sae.safetensors")
    cfg = {"expansion_factor": 3, "normalize_decoder": True, "num_latents": 0, "k": K, "d_in": D, **config}
    (folder / "cfg.json").write_text(json.dumps(cfg))
    return folder


@pytest.mark.parametrize(
    ("place", "config", "hook", "out", "expected"),
    [
        ("layers.3", {}, "blocks.3.hook_resid_post", "", top(LESS)),
        ("layers.3.mlp", {"signed": False}, "layers.3.mlp", "", top(LESS)),
        ("layers.3.mlp/seed1", {"activation": "topk"}, "layers.3.mlp", "", top(LESS)),
        ("h.3", {"multi_topk": True}, "blocks.3.hook_resid_post", "", top(LESS)),
        ("layers.3.mlp", {"transcode": True}, "layers.3.mlp.input", "layers.3.mlp", top(PRE)),
        ("renamed", {}, "", "", top(LESS)),
    ],
)
def test_saes_of_sparsify(place: str, config: dict[str, Any], hook: str, out: str, expected: Tensor, tmp_path: Path):
    folder = write_sparsify(tmp_path / "run" / place, **config)
    (tmp_path / "run" / "config.json").write_text(json.dumps({"model": "EleutherAI/pythia-70m", "ctx_len": 2048}))
    metadata = read_metadata(folder)
    assert (metadata.hook, metadata.hook_out, metadata.d_sae) == (hook, out, F)
    if place != "renamed":
        assert (metadata.model, metadata.context) == ("EleutherAI/pythia-70m", 2048)
    found = encode_stream(load_sae(folder), X, torch.float32).to_dense()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_a_skip_connection_of_sparsify_is_kept_beside_the_encoder(tmp_path: Path):
    skip = drawn(D, D, seed=11)
    folder = write_sparsify(tmp_path / "layers.1.mlp", {"W_skip": skip}, transcode=True, skip_connection=True)
    sae = load_sae(folder)
    with torch.no_grad():
        torch.testing.assert_close(sae(X), top(PRE) @ P["W_dec"] + P["b_dec"] + X @ skip.T, rtol=1e-5, atol=1e-5)


def write_dictionary(folder: Path, kind: str, state: Any, **trainer: Any) -> Path:
    """A folder as dictionary_learning saves it."""
    folder.mkdir(parents=True)
    torch.save(state, folder / "ae.pt")
    told = {"dict_class": kind, "activation_dim": D, "dict_size": F, "k": K, "lm_name": "EleutherAI/pythia-70m"}
    told |= {"layer": 3, "submodule_name": "resid_post_layer_3", **trainer}
    (folder / "config.json").write_text(json.dumps({"trainer": told, "buffer": {"ctx_len": 128, "io": "out"}}))
    return folder


LINEAR = {"encoder.weight": P["W_enc"].T, "encoder.bias": P["b_enc"], "decoder.weight": P["W_dec"].T}
DICTIONARIES: dict[str, tuple[dict[str, Tensor], Tensor]] = {
    "AutoEncoder": (LINEAR | {"bias": P["b_dec"]}, LESS.relu()),
    "AutoEncoderNew": (LINEAR | {"decoder.bias": P["b_dec"]}, PRE.relu()),
    "AutoEncoderTopK": (
        LINEAR | {"b_dec": P["b_dec"], "k": torch.tensor(K), "threshold": torch.tensor(0.1)},
        top(LESS),
    ),
    "BatchTopKSAE": (
        LINEAR | {"b_dec": P["b_dec"], "k": torch.tensor(K), "threshold": torch.tensor(0.7)},
        jump(LESS, 0.7),
    ),
    "MatryoshkaBatchTopKSAE": (P | {"k": torch.tensor(K), "threshold": torch.tensor(0.7)}, jump(LESS, 0.7)),
    "JumpReluAutoEncoder": (P | {"threshold": THRESHOLD}, jump(PRE, THRESHOLD)),
    "GatedAutoEncoder": (
        {
            **{"encoder.weight": P["W_enc"].T, "decoder.weight": P["W_dec"].T, "decoder_bias": P["b_dec"]},
            **{"gate_bias": GATES["b_gate"], "mag_bias": GATES["b_mag"], "r_mag": GATES["r_mag"]},
        },
        gated(X - P["b_dec"], P["W_enc"], GATES, "b_gate", "b_mag"),
    ),
}


@pytest.mark.parametrize("kind", list(DICTIONARIES))
def test_dictionaries_of_dictionary_learning_encode_by_the_formula_of_their_class(kind: str, tmp_path: Path):
    state, expected = DICTIONARIES[kind]
    folder = write_dictionary(tmp_path / "trainer_0", kind, state)
    metadata = read_metadata(folder)
    assert (metadata.hook, metadata.context) == ("blocks.3.hook_resid_post", 128)
    sae = load_sae(folder)
    torch.testing.assert_close(encode_stream(sae, X, torch.float32).to_dense(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(sae.W_dec.data, P["W_dec"])
    torch.testing.assert_close(sae.b_dec.data, P["b_dec"])


class Harmful:
    """Would write a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.write_text, (self.target, "ran")


def test_a_pickle_that_holds_more_than_tensors_is_refused_and_runs_nothing(tmp_path: Path):
    folder = write_dictionary(tmp_path / "sae", "AutoEncoder", {"bias": Harmful(tmp_path / "ran")})
    with pytest.raises(InputError, match=r"ae.pt holds more than tensors.*state_dict\(\) alone"):
        load_sae(folder)
    assert not (tmp_path / "ran").exists()
    with (folder / "ae.pt").open("rb") as file, pytest.raises((pickle.UnpicklingError, RuntimeError)):
        torch.load(file, weights_only=True)


def nothing(folder: Path) -> Path:
    folder.mkdir()
    return folder


def with_file(name: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        folder.mkdir()
        (folder / name).write_bytes(b"")
        return folder

    return write


def sae_lens_of(architecture: str, **config: Any) -> Callable[[Path], Path]:
    return lambda folder: write_sae_lens(folder, architecture, plain(), **config)


def broken(content: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        folder.mkdir()
        (folder / "cfg.json").write_text(content)
        return folder

    return write


def test_metadata_counts_where_no_version_of_sae_lens_stands_beside_it(tmp_path: Path):
    folder = write_sae_lens(tmp_path / "sae", "standard", plain())
    config = json.loads((folder / "cfg.json").read_text())
    config["metadata"] = {"hook_name": "blocks.2.hook_mlp_out", "model_name": "m"}
    config.pop("sae_lens_version", None)
    (folder / "cfg.json").write_text(json.dumps(config))
    found = read_metadata(folder)
    assert (found.hook, found.model, found.prepend_bos) == ("blocks.2.hook_mlp_out", "m", None)


@pytest.mark.parametrize(
    ("write", "told"),
    [
        (nothing, "an SAE on disk is a folder with cfg.json and safetensors (sae-lens, sparsify) or with config.json"),
        (with_file("params.npz"), "its params.npz is Gemma Scope's; name it by its release"),
        (with_file("ae.pt"), "its ae.pt is dictionary_learning's, without the config.json"),
        (broken("{"), "cfg.json is not JSON that can be read"),
        (broken("[]"), "cfg.json must hold a JSON object, got a list"),
        (broken('{"metadata": {}}'), "cannot load SAE"),
        (
            sae_lens_of("temporal"),
            "of architecture 'temporal', which is not compared: its features at a position depend",
        ),
        (sae_lens_of("abstopk", k=K), "its features take both signs"),
        (sae_lens_of("crosscoder"), "'crosscoder'"),
        (
            sae_lens_of("standard", normalize_activations="expected_average_only_in"),
            "its files do not hold the average norm of the streams it was trained on; fold it into the weights",
        ),
        (sae_lens_of("standard", normalize_activations="covariance_whitening"), "do not hold the whitening"),
        (lambda f: write_sparsify(f, signed=True), "has signed = True, and only unsigned TopK is read"),
        (lambda f: write_sparsify(f, activation="groupmax"), "has activation = 'groupmax'"),
        (lambda f: write_dictionary(f, "IdentityDict", {}), "is of class IdentityDict; read are AutoEncoder"),
        (lambda f: write_dictionary(f, "AutoEncoder", {"bias": P["b_dec"]}), "cannot load SAE"),
    ],
)
def test_what_is_not_read_is_refused_in_one_sentence(write: Callable[[Path], Path], told: str, tmp_path: Path):
    with pytest.raises(InputError, match=re.escape(told)) as refused:
        load_sae(write(tmp_path / "layers.1"))
    assert "\n" not in str(refused.value)
