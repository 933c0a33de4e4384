"""Untrained twins: the shape of a model, nothing of its weights, the same bits for the same seed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch

from semconv import InputError
from semconv.models.model_activations import load_model, streams
from semconv.suite.config import load_suite, resolve
from tests._helpers.tiny_models import tiny_model
from tests.conftest import requires_models

pytestmark = requires_models


@pytest.fixture(scope="module")
def folder(tiny_suite: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder whose config asks for float16 and whose weights cannot be read."""
    folder = tmp_path_factory.mktemp("twin")
    shutil.copy(resolve(load_suite(tiny_suite).model_a.path) / "config.json", folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"dtype": "float16"}))
    (folder / "model.safetensors").write_bytes(b"not weights")
    return folder


def fresh(folder: Path):
    """The model as transformers itself starts it, from torch's generator."""
    from transformers import AutoConfig, Gemma2ForCausalLM

    torch.manual_seed(5)
    return Gemma2ForCausalLM(AutoConfig.from_pretrained(folder, dtype=torch.float32))


def bits(model: torch.nn.Module) -> bytes:
    return b"".join(p.numpy(force=True).tobytes() for p in model.parameters())


def test_the_seed_alone_decides_the_bits(folder: Path):
    torch.manual_seed(1)
    first = load_model(folder, untrained_seed=3)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    again = load_model(folder, untrained_seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    assert bits(again) == bits(first)
    assert bits(load_model(folder, untrained_seed=4)) != bits(first)


def test_matrices_follow_their_formula(folder: Path):
    twin = load_model(folder, untrained_seed=3)
    seen = 0
    for number, (name, parameter) in enumerate(twin.named_parameters()):
        if parameter.dim() == 1:
            continue
        # The two halves of Philox's 128-bit key, written as one integer.
        normal = np.random.Generator(np.random.Philox(key=3 + (number << 64))).standard_normal(parameter.shape)
        expected = (0.3 * normal).astype(np.float32)  # initializer_range of the fixture
        if name == "model.embed_tokens.weight":
            expected[twin.config.pad_token_id] = 0
        assert np.array_equal(parameter.numpy(force=True), expected), name
        seen += 1
    assert seen == 1 + 7 * twin.config.num_hidden_layers


def test_matrices_are_as_wide_as_those_of_transformers(folder: Path):
    twin, started = load_model(folder, untrained_seed=0), fresh(folder)
    for (name, drawn), other in zip(twin.named_parameters(), started.parameters(), strict=True):
        if drawn.dim() == 1:
            continue
        a, b = (p.numpy(force=True).astype(np.float64).ravel() for p in (drawn, other))
        a, b = a[a != 0], b[b != 0]  # the padding row
        assert len(a) == len(b)
        # Five standard errors: of a mean, sd / sqrt(n); of an sd, sd / sqrt(2 n); of a difference, sqrt(2) more.
        assert abs(a.mean()) < 5 * 0.3 / np.sqrt(len(a)), name
        assert abs(a.std() - 0.3) < 5 * 0.3 / np.sqrt(2 * len(a)), name
        assert abs(a.std() - b.std()) < 5 * 0.3 / np.sqrt(len(a)), name
        # The seed is fixed, so this fails always or never; 15 matrices seldom go below 1e-4 by chance.
        assert scipy.stats.kstest(a / 0.3, "norm").pvalue > 1e-4, name


def test_everything_else_is_as_transformers_starts_it(folder: Path):
    twin, started = load_model(folder, untrained_seed=0), fresh(folder)
    assert type(twin) is type(started)
    assert not twin.training
    assert twin.config._attn_implementation == "eager"
    theirs = dict(started.named_parameters())
    assert [name for name, _ in twin.named_parameters()] == list(theirs)
    vectors = [name for name, p in twin.named_parameters() if p.dim() == 1]
    assert len(vectors) == 1 + 4 * twin.config.num_hidden_layers
    for name, parameter in twin.named_parameters():
        assert parameter.dtype == torch.float32
        if parameter.dim() == 1:
            assert torch.equal(parameter, theirs[name]), name
            assert not parameter.any(), name  # Gemma2RMSNorm scales by 1 + weight
    ours, buffers = dict(twin.named_buffers()), dict(started.named_buffers())
    assert ours.keys() == buffers.keys()
    assert all(torch.equal(ours[name], buffers[name]) for name in ours)
    assert twin.lm_head.weight is twin.model.embed_tokens.weight
    padding = twin.model.embed_tokens.weight[twin.config.pad_token_id]
    assert not padding.any()
    assert torch.equal(padding, started.model.embed_tokens.weight[twin.config.pad_token_id])


def test_a_twin_keeps_nothing_of_the_trained_model(tiny_suite: Path):
    path = resolve(load_suite(tiny_suite).model_a.path)
    ids = torch.arange(3, 35)[None]
    hook = "blocks.1.hook_resid_post"
    trained, twin = (streams(load_model(path, untrained_seed=s), ids, [hook])[hook] for s in (None, 0))
    assert twin.shape == trained.shape
    assert torch.isfinite(twin).all()
    assert not torch.isclose(twin, trained).all(-1).any()


def test_a_twin_with_trained_embeddings_has_the_blocks_of_the_twin_and_the_rest_of_the_model(tiny_suite: Path):
    path = resolve(load_suite(tiny_suite).model_a.path)
    trained, twin = load_model(path), load_model(path, untrained_seed=3)
    mixed = load_model(path, untrained_seed=3, trained_embeddings=True)
    learned, drawn = dict(trained.named_parameters()), dict(twin.named_parameters())
    for name, parameter in mixed.named_parameters():
        of_block = name.startswith("model.layers.")
        assert torch.equal(parameter, (drawn if of_block else learned)[name]), name
        assert of_block or not torch.equal(parameter, drawn[name]) or parameter.dim() == 1, name
    assert mixed.lm_head.weight is mixed.model.embed_tokens.weight
    first = load_model(path, untrained_seed=3, trained_embeddings=True, n_blocks=1)
    assert torch.equal(first.model.embed_tokens.weight, learned["model.embed_tokens.weight"])
    assert not any(name.startswith("model.layers.1") for name, _ in first.named_parameters())


def test_a_state_space_model_has_no_twin(tmp_path: Path):
    tiny_model("mamba").config.save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"of a state-space model \(MambaForCausalLM\) is not made"):
        load_model(tmp_path, untrained_seed=0)


def test_refusals(folder: Path, tmp_path: Path):
    with pytest.raises(InputError, match="cannot load model"):
        load_model(folder)  # the same folder, weights wanted
    with pytest.raises(InputError, match="cannot load model"):
        load_model(tmp_path, untrained_seed=0)
    with pytest.raises(InputError, match="untrained_seed must be at least 0, got -1"):
        load_model(folder, untrained_seed=-1)
    opt = {"model_type": "opt", "vocab_size": 8, "hidden_size": 8, "ffn_dim": 8, "word_embed_proj_dim": 8}
    opt |= {"num_hidden_layers": 1, "num_attention_heads": 1, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    (tmp_path / "config.json").write_text(json.dumps(opt))
    with pytest.raises(InputError, match=r"needs config\.initializer_range, OPTConfig has none"):
        load_model(tmp_path, untrained_seed=0)
