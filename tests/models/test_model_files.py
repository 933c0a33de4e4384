"""Models as people have them on disk: what is wrong with one is said before it runs, and what can be read is read."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from semconv import InputError
from semconv.models import model_files
from semconv.models.encoding import check_model
from semconv.models.model_activations import has_head, load_model, streams
from semconv.models.sae_fit import Reader, losses
from semconv.models.sources import model_folder
from semconv.pipeline.own_pair import place_of
from semconv.suite.config import ModelConfig, SaeConfig
from semconv.system.file_hashes import folder_sha256
from semconv.text.token_blocks import TokenBlocks
from tests._helpers.tiny_models import CONFIGS, save, tiny_model, tiny_multimodal
from tests.conftest import requires_models

pytestmark = requires_models


def rows(context: int) -> TokenBlocks:
    """One row of so many tokens."""
    ids = torch.full((1, context), 3, dtype=torch.int32)
    return TokenBlocks(ids, ids > 0, ids * 0)


IDS = torch.randint(3, 48, (1, 8), generator=torch.Generator().manual_seed(1))
HOOK = "blocks.2.hook_resid_post"
Tensors = dict[str, torch.Tensor]


def rewrite(folder: Path, change: Callable[[Tensors], Tensors]) -> Path:
    """Changes the weights of a checkpoint in place."""
    from safetensors.torch import load_file, save_file

    tensors = change(load_file(folder / "model.safetensors"))
    save_file(
        {name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors", {"format": "pt"}
    )
    return folder


def reconfigure(folder: Path, **settings: Any) -> Path:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | settings))
    return folder


def without(*parts: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {name: x for name, x in tensors.items() if not any(part in name for part in parts)}


def renamed(old: str, new: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {name.replace(old, new, 1): x for name, x in tensors.items()}


def prefixed(prefix: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {prefix + name: x for name, x in tensors.items()}


def wider(tensors: Tensors) -> Tensors:
    return tensors | {"model.layers.1.mlp.up_proj.weight": torch.zeros(30, 16)}


def biased(tensors: Tensors) -> Tensors:
    return tensors | {"model.layers.1.self_attn.q_proj.bias": torch.zeros(16)}


REFUSED: list[tuple[str, str, Callable[[Tensors], Tensors], str]] = [
    (
        "a layer is missing",
        "llama",
        without("layers.1."),
        r"lack model\.layers\.1\.input_layer.* and 6 more",
    ),
    ("one tensor is missing", "gpt2", without("h.2.mlp.c_fc.bias"), r"lack transformer\.h\.2\.mlp\.c_fc\.bias$"),
    ("compiled", "llama", prefixed("_orig_mod."), r"begin with '_orig_mod\.', which the model's do not"),
    ("compiled, tied head", "gemma2", prefixed("_orig_mod."), r"begin with '_orig_mod\.'"),
    ("of several processes", "gpt2", prefixed("module."), r"begin with 'module\.'"),
    ("compiled by layer", "llama", renamed("mlp.", "mlp._orig_mod."), r"lack .*; it holds instead .*_orig_mod"),
    ("another width", "llama", wider, r"in the weights of model .* is \[.*\], its config says \["),
    ("more layers than the config says", "llama", renamed("layers.2.", "layers.3."), r"lack model\.layers\.2\."),
    (
        "biases without a place",
        "llama",
        biased,
        r"hold model.*q_proj\.bias, for which its config",
    ),
    ("a twice renamed norm", "bert", renamed("LayerNorm", "Norm"), "lack bert|lack embeddings"),
]


@pytest.mark.parametrize(("what", "family", "change", "says"), REFUSED, ids=[row[0] for row in REFUSED])
def test_weights_that_are_not_all_there_are_refused_by_name(
    tmp_path: Path, what: str, family: str, change: Any, says: str
):
    folder = rewrite(save(tiny_model(family), tmp_path), change)
    with pytest.raises(InputError, match=says) as error:
        load_model(folder, bidirectional=True)
    assert "\n" not in str(error.value)
    load_model(folder, untrained_seed=0, bidirectional=True)  # of a twin's folder only the config is read


def test_layers_beyond_the_configs_are_refused(tmp_path: Path):
    folder = reconfigure(save(tiny_model("llama"), tmp_path), num_hidden_layers=2)
    with pytest.raises(InputError, match=r"hold model\.layers\.2\..*, for which its config has no place"):
        load_model(folder)


def frequencies(tensors: Tensors) -> Tensors:
    return tensors | {
        "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(2),
        "value_head.weight": torch.ones(1, 16),
    }


def causal_masks(tensors: Tensors) -> Tensors:
    return tensors | {
        "transformer.h.0.attn.bias": torch.ones(1, 1, 32, 32),
        "transformer.h.0.attn.masked_bias": torch.ones(1),
    }


def as_base(tensors: Tensors) -> Tensors:
    return {name.removeprefix("model."): x for name, x in tensors.items() if not name.startswith("lm_head")}


HARMLESS: list[tuple[str, str, Callable[[Tensors], Tensors]]] = [
    ("rotary frequencies of an old version, another head", "llama", frequencies),
    ("causal masks of an old version", "gpt2", causal_masks),
    ("no head", "llama", without("lm_head")),
    ("no head, saved from the base model", "llama", as_base),
    ("a masked model's head is not needed", "bert", without("cls.")),
]


@pytest.mark.parametrize(("what", "family", "change"), HARMLESS, ids=[row[0] for row in HARMLESS])
def test_keys_that_no_stream_needs_change_nothing(tmp_path: Path, what: str, family: str, change: Any):
    model = tiny_model(family)
    folder = rewrite(save(model, tmp_path), change)
    read = load_model(folder, bidirectional=family == "bert")
    assert torch.equal(streams(read, IDS, [HOOK])[HOOK], streams(model, IDS, [HOOK])[HOOK])
    assert has_head(read) == (family != "bert" and not what.startswith("no head"))


def test_the_loss_of_a_model_without_a_head_is_not_told(tmp_path: Path):
    read = load_model(rewrite(save(tiny_model("llama"), tmp_path), without("lm_head")))
    blocks = rows(8)
    told = losses(read, {"2": Reader(torch.nn.Identity(), HOOK, HOOK)}, blocks, blocks.mask)
    assert told == {"2": {"reason": "the model has no head that predicts the next token"}}


def test_a_multimodal_checkpoint_needs_its_language_model_only(tmp_path: Path):
    model = tiny_multimodal(2)
    folder = rewrite(save(model, tmp_path), without("vision_tower", "multi_modal_projector"))
    assert torch.equal(streams(load_model(folder), IDS, [HOOK])[HOOK], streams(model, IDS, [HOOK])[HOOK])
    rewrite(folder, without("language_model.model.layers.1."))
    with pytest.raises(InputError, match=r"lack model\.language_model\.layers\.1\."):
        load_model(folder)


KINDS: list[tuple[str, str, dict[str, Any], str | None]] = [
    ("bert", "bert", {}, "is of type 'bert', which reads in both directions"),
    ("bert with other special tokens", "bert", {"bos_token_id": 5, "eos_token_id": 6}, "reads in both directions"),
    ("bert as a decoder", "bert", {"is_decoder": True}, None),
    (
        "a gemma 3 that embeds",
        "gemma3_text",
        {"use_bidirectional_attention": True},
        "'gemma3_text', which reads",
    ),
    ("llama", "llama", {}, None),
]


@pytest.mark.parametrize(("what", "family", "settings", "says"), KINDS, ids=[row[0] for row in KINDS])
def test_masked_models_are_compared_only_if_that_is_meant(
    tmp_path: Path, what: str, family: str, settings: dict[str, Any], says: str | None
):
    folder = reconfigure(save(tiny_model(family), tmp_path), **settings)
    model = ModelConfig("m", str(folder), (SaeConfig(HOOK, "s"),))
    other = IDS.clone()
    other[0, -1] = 3 if other[0, -1] != 3 else 4
    if says is None:
        check_model(model, rows(8))
        read = load_model(folder)
    else:
        for refused in (
            lambda: check_model(model, rows(8)),
            lambda: load_model(folder),
            lambda: load_model(folder, untrained_seed=0),
        ):
            with pytest.raises(InputError, match=says):
                refused()
        check_model(ModelConfig("m", str(folder), model.saes, bidirectional=True), rows(8))
        read = load_model(folder, bidirectional=True)
    first, second = (streams(read, ids, [HOOK])[HOOK][0, 0] for ids in (IDS, other))
    assert torch.equal(first, second) == (says is None)  # what it does, beside what its config says


def test_an_encoder_with_a_decoder_is_refused(tmp_path: Path):
    (tmp_path / "config.json").write_text('{"model_type": "t5", "d_model": 8}')
    with pytest.raises(InputError, match="'t5', an encoder with a decoder"):
        load_model(tmp_path)


LIMITED = [family for family in CONFIGS if family != "mamba"]


@pytest.mark.parametrize(
    ("family", "context", "says"),
    [
        *((family, 32, None) for family in CONFIGS),
        *(
            (family, 33, "model m reads at most 32 tokens at once, the rows have 33")
            for family in CONFIGS
            if family != "mamba"
        ),
        ("mamba", 1000, None),
    ],
)
def test_rows_longer_than_a_model_reads_are_refused_before_it_is_loaded(
    tmp_path: Path, family: str, context: int, says: str | None
):
    tiny_model(family).config.save_pretrained(tmp_path)  # no weights
    model = ModelConfig("m", str(tmp_path), (SaeConfig(HOOK, "s"),), bidirectional=True)
    if says is None:
        check_model(model, rows(context))
        return
    with pytest.raises(InputError, match=says):
        check_model(model, rows(context))


def test_robertas_positions_begin_after_its_padding_token(tmp_path: Path):
    from transformers import RobertaConfig

    RobertaConfig(max_position_embeddings=34, pad_token_id=1, num_hidden_layers=3).save_pretrained(tmp_path)
    model = ModelConfig("m", str(tmp_path), (SaeConfig(HOOK, "s"),), bidirectional=True)
    check_model(model, rows(32))
    with pytest.raises(InputError, match="at most 32 tokens"):
        check_model(model, rows(33))


def test_of_both_depths_of_a_multimodal_model_that_of_the_language_model_counts(tmp_path: Path):
    tiny_multimodal(5).config.save_pretrained(tmp_path)
    check_model(ModelConfig("m", str(tmp_path), (SaeConfig(HOOK, "s"),)), rows(32))
    with pytest.raises(InputError, match=r"has no hook 'blocks\.4\.hook_resid_post' .*; it has 3 blocks"):
        check_model(ModelConfig("m", str(tmp_path), (SaeConfig("model.layers.4", "s"),)), rows(32))


def write_gguf(path: Path, model: Any) -> Path:
    """Writes a tiny Llama as llama.cpp's converter does; it permutes what rotary positions turn."""
    import gguf

    c, writer = model.config, gguf.GGUFWriter(path, "llama")
    writer.add_block_count(c.num_hidden_layers)
    writer.add_context_length(c.max_position_embeddings)
    writer.add_embedding_length(c.hidden_size)
    writer.add_feed_forward_length(c.intermediate_size)
    writer.add_head_count(c.num_attention_heads)
    writer.add_head_count_kv(c.num_key_value_heads)
    writer.add_layer_norm_rms_eps(c.rms_norm_eps)
    writer.add_rope_freq_base(c.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(c.hidden_size // c.num_attention_heads)
    writer.add_vocab_size(c.vocab_size)
    names = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate"}
    names |= {"mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
    names |= {f"self_attn.{x}_proj": f"attn_{x if x != 'o' else 'output'}" for x in "qkvo"}
    top = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    for name, tensor in model.state_dict().items():
        x, module = tensor.numpy().astype(np.float32), name.removesuffix(".weight")
        for part, heads in (("q_proj", c.num_attention_heads), ("k_proj", c.num_key_value_heads)):
            if module.endswith(part):
                x = x.reshape(heads, 2, -1, x.shape[1]).swapaxes(1, 2).reshape(x.shape)
        _, _, rest = module.partition("model.layers.")
        layer, _, inside = rest.partition(".")
        writer.add_tensor(f"{top[module] if module in top else f'blk.{layer}.{names[inside]}'}.weight", x)
    for finish in (
        writer.write_header_to_file,
        writer.write_kv_data_to_file,
        writer.write_tensors_to_file,
        writer.close,
    ):
        finish()
    return path


def test_a_gguf_file_and_the_folder_that_holds_it_are_one_model(tmp_path: Path):
    model = tiny_model("llama")
    file = write_gguf(tmp_path / "tiny.gguf", model)
    (tmp_path / "README.md").write_text("A model.")
    model.config.save_pretrained(tmp_path)  # as many repositories of GGUF files have it
    of_file, of_folder = (ModelConfig("m", str(where), (SaeConfig(HOOK, "s"),)) for where in (file, tmp_path))
    assert model_folder(of_file) == model_folder(of_folder) == file
    assert folder_sha256(model_folder(of_file)) == folder_sha256(model_folder(of_folder))
    for where in (file, tmp_path):
        check_model(ModelConfig("m", str(where), of_file.saes), rows(32))
        read = load_model(where)
        torch.testing.assert_close(
            streams(read, IDS, [HOOK])[HOOK], streams(model, IDS, [HOOK])[HOOK], rtol=0, atol=1e-5
        )
    with pytest.raises(InputError, match="at most 32 tokens"):
        check_model(of_folder, rows(33))


def test_several_gguf_files_and_other_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = write_gguf(tmp_path / "a.gguf", tiny_model("llama"))
    assert place_of(str(file)) == (str(file), "")
    monkeypatch.setattr(model_files, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"needs the package gguf \(pip install gguf\)"):
        load_model(file)
    monkeypatch.undo()
    shutil.copy(file, tmp_path / "b.gguf")
    for act in (load_model, lambda where: model_folder(ModelConfig("m", str(where), (SaeConfig(HOOK, "s"),)))):
        with pytest.raises(InputError, match=r"holds 2 GGUF files \(a\.gguf, b\.gguf\); name the one that is meant"):
            act(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    for act in (load_model, lambda where: place_of(str(where))):
        with pytest.raises(InputError, match=r"is a file"):
            act(tmp_path / "pytorch_model.bin")
    file.write_bytes(b"GGUF")
    with pytest.raises(InputError, match="cannot load model"):
        load_model(file)


@pytest.mark.parametrize("model_type", ["llama", "evil"])
def test_code_that_a_model_brings_is_never_run(model_type: str, tmp_path: Path):
    """A kind that transformers knows is read by transformers' own code, another is refused."""
    folder = save(tiny_model("llama"), tmp_path / "m")
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Config: pass\nclass Model: pass\n")
    classes = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model", "AutoModel": "evil.Model"}
    reconfigure(folder, model_type=model_type, auto_map=classes)
    if model_type == "llama":
        assert type(load_model(folder)).__name__ == "LlamaForCausalLM"
    else:
        with pytest.raises(InputError, match="cannot load model"):
            load_model(folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "consolidated.00.pth"])
def test_pickled_weights_are_refused_by_name(name: str, tmp_path: Path):
    folder = save(tiny_model("llama"), tmp_path / "m")
    torch.save(tiny_model("llama").state_dict(), folder / name)
    load_model(folder)  # beside safetensors it is not read
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match=f"has its weights in {name}, a pickle, which could run code and is not read"):
        load_model(folder)


@pytest.mark.parametrize(
    ("index", "told"),
    [
        ({"weight_map": {"model.norm.weight": "../other/model.safetensors"}}, "names the file '../other/model.safe"),
        ({"weight_map": {"model.norm.weight": "/etc/passwd"}}, "names the file '/etc/passwd'"),
        ({"weight_map": {"model.norm.weight": "absent.safetensors"}}, "lie in the same folder"),
        ({"weight_map": {"model.norm.weight": 3}}, "names the file '3'"),
        ({"weight_map": []}, "must hold a weight_map, a JSON object, got list"),
        ({}, "must hold a weight_map, a JSON object, got NoneType"),
        ([], "must hold a JSON object"),
    ],
)
def test_an_index_of_weights_that_leads_elsewhere_is_refused(index: Any, told: str, tmp_path: Path):
    folder = save(tiny_model("llama"), tmp_path / "m")
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    (tmp_path / "other").mkdir()
    shutil.copy(folder / "model-00001-of-00001.safetensors", tmp_path / "other" / "model.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match=re.escape(told)):
        load_model(folder)


@pytest.mark.slow
def test_nothing_lowers_the_warnings_of_other_libraries():
    """transformer-lens, which sae-lens imports, sets transformers' logger to errors only."""
    code = """
import logging, warnings
import torch  # has filters and levels of its own
import transformers
def state():
    names = ["", "transformers", "torch", "safetensors", "huggingface_hub"]
    return [logging.getLogger(name).getEffectiveLevel() for name in names], logging.root.manager.disable
before = state()
from semconv.models.libraries import import_sae_lens
from semconv.suite.config import SaeConfig
from semconv.models.sources import release_repository, neuronpedia_id
from semconv.models.sae_files import load_sae
from semconv.models.dictionaries import as_sae
import_sae_lens()
filters = list(warnings.filters)
unknown = SaeConfig("blocks.0.hook_resid_post", release="x", sae_id="y")
for act in (lambda: load_sae("nowhere"), lambda: release_repository(unknown)):
    try:
        act()
    except Exception as error:
        print(type(error).__name__)
as_sae(torch.eye(3), torch.zeros(3), 0)
assert state() == before, (before, state())
assert not [f for f in warnings.filters if "generation flags" in str(f)], warnings.filters
print("kept")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["InputError", "InputError", "kept"], done.stderr


def test_every_function_that_imports_sae_lens_does_it_our_way():
    """What `import_sae_lens` is for is undone by one import that goes around it."""
    for path in (Path(__file__).parents[2] / "semconv").rglob("*.py"):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef):
                imported = [str(x.module) for x in ast.walk(function) if isinstance(x, ast.ImportFrom)]
                needed = any(module.startswith("sae_lens") for module in imported)
                assert not needed or "import_sae_lens()" in ast.unparse(function), f"{path}: {function.name}"
