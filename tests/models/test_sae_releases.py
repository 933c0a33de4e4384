"""Published releases of SAEs, tiny, in the layouts of their repositories, from a hub on the loopback.

Of each: the stream that it is read at, and what it computes.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from semconv import ActivationStore
from semconv.models.model_activations import load_model, streams
from semconv.pipeline.reproduce import load_corpus
from semconv.results.read import load_results
from semconv.runs.run import Run
from semconv.suite.config import suite_from_json
from tests._helpers.drawn import drawn, vectors
from tests._helpers.hub import Client, Repository
from tests.conftest import requires_models

pytestmark = requires_models

D, F, K = 16, 48, 4


def weights(d: int, f: int) -> dict[str, Tensor]:
    """Weights of any size that compress well: one direction of the stream for each feature."""
    one = torch.zeros(d, f)
    one[torch.arange(f) % d, torch.arange(f)] = 1
    return {"W_enc": one, "b_enc": drawn(f, seed=1), "W_dec": one.T.contiguous(), "b_dec": drawn(d, seed=2)}


def jump(pre: Tensor, threshold: Tensor | float) -> Tensor:
    return pre.relu() * (pre > threshold)


def top(pre: Tensor) -> Tensor:
    kept = pre.relu().topk(K, dim=1)
    return torch.zeros_like(pre).scatter(1, kept.indices, kept.values)


def gemma_scope(folder: Path, d: int, f: int = 16384) -> Tensor:
    """Gemma Scope: all in one `params.npz`; returns what the vectors activate."""
    w, threshold = weights(d, f), drawn(f, seed=4).abs()
    folder.mkdir(parents=True)
    np.savez_compressed(folder / "params.npz", **{k: v.numpy() for k, v in w.items()}, threshold=threshold.numpy())
    return jump(vectors(d) @ w["W_enc"] + w["b_enc"], threshold)


def gemma_scope_2(folder: Path) -> Tensor:
    """Gemma Scope 2: transcoders with a skip connection, in safetensors, their hooks by transformers' names."""
    w, threshold = weights(D, F), drawn(F, seed=4).abs()
    raw = {"w_enc": w["W_enc"], "b_enc": w["b_enc"], "w_dec": w["W_dec"], "b_dec": w["b_dec"], "threshold": threshold}
    save(folder / "params.safetensors", {**raw, "affine_skip_connection": drawn(D, D, seed=5)})
    at = "model.layers.9.{}_feedforward_layernorm.output"
    told = {"hf_hook_point_in": at.format("pre"), "hf_hook_point_out": at.format("post"), "affine_connection": True}
    write(folder / "config.json", {"architecture": "jump_relu", "model_name": "gemma-v3-270m-pt", **told})
    return jump(vectors(D) @ w["W_enc"] + w["b_enc"], threshold)


def res_jb(folder: Path) -> Tensor:
    """gpt2-small-res-jb: the config of an early sae-lens, which says hook_point and nothing of the architecture."""
    w = weights(D, F)
    save(folder / "sae_weights.safetensors", w)
    save(folder / "sparsity.safetensors", {"sparsity": torch.zeros(F)})
    told = {"model_name": "gpt2-small", "hook_point": folder.name, "hook_point_layer": 1, "hook_point_head_index": None}
    write(folder / "cfg.json", {**told, "context_size": 128, "d_in": D, "d_sae": F, "dtype": "torch.float32"})
    return ((vectors(D) - w["b_dec"]) @ w["W_enc"] + w["b_enc"]).relu()


def hook_z(file: Path) -> Tensor:
    """gpt2-small-hook-z-kk: state dicts by torch.save, a config beside each."""
    w = weights(D, F)
    file.parent.mkdir(parents=True)
    torch.save(w, file)
    told = {"act_size": D, "dict_size": F, "act_name": "blocks.0.attn.hook_z"}
    write(file.with_name(file.name.removesuffix(".pt") + "_cfg.json"), told)
    return ((vectors(D) - w["b_dec"]) @ w["W_enc"] + w["b_enc"]).relu()


def llama_scope(folder: Path) -> Tensor:
    """Llama Scope: the norm of the streams is in the list of sae-lens, and folded into the weights."""
    w = weights(D, F)
    raw = {"encoder.weight": w["W_enc"].T, "decoder.weight": w["W_dec"].T}
    save(folder / "checkpoints" / "final.safetensors", {**raw, "encoder.bias": w["b_enc"], "decoder.bias": w["b_dec"]})
    norm = D**0.5 / LLAMA_FACTOR
    told = {"d_model": D, "d_sae": F, "jump_relu_threshold": 0.5, "hook_point_in": "blocks.1.hook_resid_post"}
    write(folder / "hyperparams.json", {**told, "dataset_average_activation_norm": {"in": norm, "out": norm}})
    return jump(LLAMA_FACTOR * vectors(D) @ w["W_enc"] + w["b_enc"], 0.5 * LLAMA_FACTOR)


LLAMA_FACTOR = 39.76699029126213  # of l1r_8x in sae-lens's list


def of_sparsify(folder: Path, **config: Any) -> Tensor:
    """sparsify: a folder named after a module."""
    w = weights(D, F)
    raw = {"encoder.weight": w["W_enc"].T, "encoder.bias": w["b_enc"], "W_dec": w["W_dec"], "b_dec": w["b_dec"]}
    skip = {"W_skip": drawn(D, D, seed=5)} if config.get("skip_connection") else {}
    save(folder / "sae.safetensors", {**raw, **skip})
    write(folder / "cfg.json", {"expansion_factor": 3, "normalize_decoder": True, "k": K, "d_in": D, **config})
    write(folder.parent / "config.json", {"model": "EleutherAI/pythia-70m", "ctx_len": 2048})
    return top((vectors(D) - (0 if config.get("transcode") else w["b_dec"])) @ w["W_enc"] + w["b_enc"])


def of_dictionary_learning(folder: Path) -> Tensor:
    """dictionary_learning: `ae.pt` by torch.save."""
    w = weights(D, F)
    folder.mkdir(parents=True)
    raw = {"encoder.weight": w["W_enc"].T, "encoder.bias": w["b_enc"], "decoder.weight": w["W_dec"].T}
    torch.save({**raw, "b_dec": w["b_dec"], "k": torch.tensor(K), "threshold": torch.tensor(0.2)}, folder / "ae.pt")
    trainer = {"dict_class": "AutoEncoderTopK", "activation_dim": D, "dict_size": F, "k": K, "layer": 3}
    trainer |= {"lm_name": "EleutherAI/pythia-70m-deduped", "submodule_name": "resid_post_layer_3"}
    write(folder / "config.json", {"trainer": trainer, "buffer": {"ctx_len": 128, "io": "out"}})
    return top((vectors(D) - w["b_dec"]) @ w["W_enc"] + w["b_enc"])


def save(file: Path, tensors: dict[str, Tensor]) -> None:
    from safetensors.torch import save_file

    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous() for key, value in tensors.items()}, file)


def write(file: Path, value: object) -> None:
    file.write_text(json.dumps(value))


@dataclass(frozen=True)
class Release:
    """An SAE as a user names it, where it lies, and what must be found."""

    given: str
    repository: str
    folder: str
    make: Callable[[Path], Tensor]
    hook: str
    out: str = ""
    d: int = D
    more: dict[str, Any] = field(default_factory=dict[str, Any])


SCOPE = "layer_0/width_16k/average_l0_"
HOOK_Z = "gpt2-small_L0_Hcat_z_lr1.20e-03_l11.80e+00_ds24576_bs4096_dc1.00e-06_rsanthropic_rie25000_nr4_v9.pt"
RELEASES = [
    Release(
        f"gemma-scope-2b-pt-res:{SCOPE}105",
        *("google/gemma-scope-2b-pt-res", f"{SCOPE}105", lambda f: gemma_scope(f, 2304), "blocks.0.hook_resid_post"),
        d=2304,
        more={"model": "gemma-2-2b", "context": 1024, "prepend_bos": True},
    ),
    Release(
        f"gemma-scope-2b-pt-mlp:{SCOPE}119",
        *("google/gemma-scope-2b-pt-mlp", f"{SCOPE}119", lambda f: gemma_scope(f, 2304), "blocks.0.hook_mlp_out"),
        d=2304,
    ),
    Release(
        f"gemma-scope-2b-pt-att:{SCOPE}104",
        *("google/gemma-scope-2b-pt-att", f"{SCOPE}104", lambda f: gemma_scope(f, 2048), "blocks.0.attn.hook_z"),
        d=2048,
    ),
    Release(
        f"gemma-scope-2b-pt-transcoders:{SCOPE}76",
        *("google/gemma-scope-2b-pt-transcoders", f"{SCOPE}76", lambda f: gemma_scope(f, 2304)),
        *("blocks.0.ln2.hook_normalized", "blocks.0.hook_mlp_out"),
        d=2304,
    ),
    Release(
        "gemma-scope-2-270m-pt-transcoders:transcoder/layer_9_width_16k_l0_small_affine",
        *("google/gemma-scope-2-270m-pt", "transcoder/layer_9_width_16k_l0_small_affine", gemma_scope_2),
        *("layers.9.pre_feedforward_layernorm", "blocks.9.hook_mlp_out"),
    ),
    Release(
        "gpt2-small-res-jb:blocks.1.hook_resid_pre",
        *("jbloom/GPT2-Small-SAEs-Reformatted", "blocks.1.hook_resid_pre", res_jb, "blocks.1.hook_resid_pre"),
        more={"centred": True, "context": 128, "prepend_bos": True, "dtype": "float32"},
    ),
    Release(  # by its repository: the list says what the repository does not
        "jbloom/GPT2-Small-SAEs-Reformatted:blocks.2.hook_resid_pre",
        *("jbloom/GPT2-Small-SAEs-Reformatted", "blocks.2.hook_resid_pre", res_jb, "blocks.2.hook_resid_pre"),
        more={"centred": True},
    ),
    Release(
        "gpt2-small-hook-z-kk:blocks.0.hook_z",
        *("ckkissane/attn-saes-gpt2-small-all-layers", HOOK_Z, hook_z, "blocks.0.attn.hook_z"),
    ),
    Release(
        "llama_scope_lxr_8x:l1r_8x",
        *("fnlp/Llama3_1-8B-Base-LXR-8x", "Llama3_1-8B-Base-L1R-8x", llama_scope, "blocks.1.hook_resid_post"),
        more={"normalize": "none"},
    ),
    Release(
        "EleutherAI/sae-pythia-70m-32k:layers.1",
        *("EleutherAI/sae-pythia-70m-32k", "layers.1", of_sparsify, "blocks.1.hook_resid_post"),
        more={"model": "EleutherAI/pythia-70m", "context": 2048},
    ),
    Release(
        "somebody/saes:run/layers.1.mlp",
        *("somebody/saes", "run/layers.1.mlp", of_sparsify, "layers.1.mlp"),
    ),
    Release(
        "somebody/transcoders:layers.1.mlp",
        *("somebody/transcoders", "layers.1.mlp"),
        lambda f: of_sparsify(f, transcode=True, skip_connection=True),
        *("layers.1.mlp.input", "layers.1.mlp"),
    ),
    Release(
        "sae_bench_pythia70m_sweep_topk_ctx128_0730:blocks.3.hook_resid_post__trainer_0",
        *("canrager/lm_sae", "pythia70m_sweep_topk_ctx128_0730/resid_post_layer_3/trainer_0", of_dictionary_learning),
        "blocks.3.hook_resid_post",
    ),
    Release(
        "somebody/dictionaries:resid_post_layer_3/trainer_7",
        *("somebody/dictionaries", "resid_post_layer_3/trainer_7", of_dictionary_learning, "blocks.3.hook_resid_post"),
    ),
]

READ = """
import json, sys, torch
from dataclasses import asdict
from semconv import InputError
from semconv.models.decoders import open_sae, sae_metadata
from semconv.pipeline.own_pair import model_of
from semconv.models.sae_encode import encode_stream
from tests._helpers.drawn import vectors
found = {}
for given, d in json.loads(sys.argv[1]):
    try:
        sae = model_of("m", "owner/name", [given]).saes[0]
        metadata, opened = sae_metadata(sae), open_sae(sae)
        acts = encode_stream(opened, vectors(d), torch.float32).to_dense()
        told = {**asdict(metadata), "centred": metadata.centred, "asked": sae.hook, "width": opened.W_dec.shape[1]}
        found[given] = (told, acts)
    except InputError as error:
        found[given] = (str(error), None)
torch.save(found, sys.argv[2])
"""

REFUSED = [
    (
        "mntss-gemma-2-2b-2.5m-clt-as-per-layer:layer_0",
        "of architecture 'clt', which is not compared: its features write",
    ),
    ("temporal-sae-gemma-2-2b:blocks.12.hook_resid_post", "of architecture 'temporal', which is not compared"),
    ("somebody/saes:nowhere", "has neither a cfg.json (sae-lens, sparsify) nor a config.json with ae.pt"),
    ("somebody/signed:layers.0", "has signed = True, and only unsigned TopK is read"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Tensor]]:
    """A folder of repositories, and what each release has to compute of the vectors."""
    root = tmp_path_factory.mktemp("releases")
    expected = {one.given: one.make(root / one.repository / one.folder) for one in RELEASES}
    clt = root / "mntss" / "clt-gemma-2-2b-2.5M"
    save(clt / "W_enc_0.safetensors", {"b_dec_0": torch.zeros(D), "b_enc_0": torch.zeros(F)})
    hooks = "feature_input_hook: hook_resid_mid\nfeature_output_hook: hook_mlp_out\n"
    (clt / "config.yaml").write_text(f"model_name: google/gemma-2-2b\n{hooks}")
    temporal = root / "canrager" / "temporalSAEs" / "gemma-2-2B" / "layer_12" / "temporal"
    temporal.mkdir(parents=True)
    (temporal / "conf.yaml").write_text(TEMPORAL)
    of_sparsify(root / "somebody" / "signed" / "layers.0", signed=True)
    return root, expected


@pytest.fixture
def client(made: tuple[Path, dict[str, Tensor]], connection: Client) -> Client:
    """A client of a hub that serves all of these, with nothing in its cache."""
    return _serve(made[0], connection)


def _serve(root: Path, client: Client) -> Client:
    client.hub.repositories = {f"{p.parent.name}/{p.name}": Repository(p) for p in root.glob("*/*")}
    client.forget()
    return client


@pytest.fixture(scope="module")
def read(
    made: tuple[Path, dict[str, Tensor]], connection: Client, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Any, Any, Tensor | None]]:
    """By what was given: what was told, what was computed, and what had to be."""
    expected, found_at = made[1], tmp_path_factory.mktemp("found") / "found.pt"
    given = [(one.given, one.d) for one in RELEASES] + [(name, D) for name, _ in REFUSED]
    done = _serve(made[0], connection).run("-c", READ, json.dumps(given), found_at)
    assert done.code == 0, done.err
    found = torch.load(found_at)
    return {name: (*found[name], expected.get(name)) for name, _ in given}


TEMPORAL = """
llm: {dimin: 16}
sae: {exp_factor: 3, n_heads: 1, n_attn_layers: 1, bottleneck_factor: 1, sae_diff_type: topk, kval_topk: 4,
  tied_weights: true, scaling_factor: 1.0}
data: {dtype: float32}
"""


@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.given)
def test_a_release_is_read_where_it_was_trained_and_encodes_by_its_formula(release: Release, read):
    told, found, expected = read[release.given]
    assert found is not None, told
    assert (told["asked"], told["hook"], told["hook_out"]) == (release.hook, release.hook, release.out)
    assert (told["d_in"], told["width"]) == (release.d, release.d)
    assert {key: told[key] for key in release.more} == release.more
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert 0 < (found > 0).double().mean() < 0.6


@pytest.mark.parametrize(("given", "expected"), REFUSED)
def test_what_of_the_hub_is_not_compared_is_refused_in_one_sentence(given: str, expected: str, read):
    told, found, _ = read[given]
    assert found is None
    assert expected in told
    assert "\n" not in told


def save_models(folder: Path, beside: Path) -> None:
    """A GPT-2 and a GPT-NeoX with the tiny suite's tokenizer, and its text."""
    from transformers import GPT2Config, GPT2LMHeadModel, GPTNeoXConfig, GPTNeoXForCausalLM

    torch.manual_seed(0)
    ends = {"bos_token_id": 1, "eos_token_id": 2, "vocab_size": 400, "initializer_range": 0.3}
    gpt2 = GPT2LMHeadModel(GPT2Config(n_embd=D, n_head=2, n_layer=2, n_positions=64, **ends))
    sizes = {"hidden_size": D, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    for name, model in (("gpt2", gpt2), ("pythia", GPTNeoXForCausalLM(GPTNeoXConfig(**sizes, **ends)))):
        model.save_pretrained(folder / name)
        shutil.copy(beside / "tokenizer.json", folder / name)
    shutil.copy(beside / "text.txt", folder)


@pytest.mark.slow
def test_two_releases_are_compared_each_where_it_was_trained(
    client: Client, tiny_suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    save_models(tmp_path, tiny_suite.parent)
    saes = ("--sae-a", "gpt2-small-res-jb:blocks.1.hook_resid_pre", "--sae-b", "somebody/transcoders:layers.1.mlp")
    sizes = ("--tokens", "2000", "--context", "32", "--rematches", "0", "--precision", "float32")
    done = client.run("compare", "gpt2", "pythia", *saes, "--text", "text.txt", *sizes, "--out", "run", cwd=tmp_path)
    assert done.code == 0, done.err
    assert len(load_results(Path("run"))["grid"]) == 1
    blocks = load_corpus(Run(suite_from_json(Path("run/suite.json")), Path("run"))).blocks
    w = weights(D, F)
    for name, hook in (("gpt2", "blocks.1.hook_resid_pre"), ("pythia", "layers.1.mlp.input")):
        stream = streams(load_model(name), blocks.ids, [hook])[hook][blocks.mask]
        if name == "gpt2":
            stream = stream - stream.mean(dim=-1, keepdim=True)
            expected = ((stream - w["b_dec"]) @ w["W_enc"] + w["b_enc"]).relu()
        else:
            expected = top(stream @ w["W_enc"] + w["b_enc"])
        found = ActivationStore(Path("run/stores") / name / hook).load().to_dense().float()
        torch.testing.assert_close(found, expected, rtol=2e-3, atol=1e-3)  # stored as float16
