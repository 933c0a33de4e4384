"""What ships with the package: size, format, and the bars that models and SAEs must clear."""

from __future__ import annotations

import json

import pytest
import torch

from semconv.config import ASSETS, load_suite, resolve
from tests.conftest import requires_models

MINI = ASSETS / "mini"
CARD = json.loads((MINI / "card.json").read_text())
SAES = [(name, hook) for name, model in CARD["models"].items() for hook in model["saes"]]


def test_assets_are_small_and_half_precision_safetensors():
    files = [p for p in MINI.rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in files) <= 24 * 2**20
    assert {p.suffix for p in files} == {".json", ".safetensors", ".md"}


def test_the_larger_model_beats_the_smaller_and_both_beat_the_bigram():
    small, large = CARD["models"]["small"], CARD["models"]["large"]
    assert large["heldout_loss"] < small["heldout_loss"] < CARD["baselines"]["bigram"] < CARD["baselines"]["unigram"]
    assert 3.5 < large["non_embedding_parameters"] / small["non_embedding_parameters"] < 4.5


@pytest.mark.parametrize(("name", "hook"), SAES)
def test_saes_clear_their_bars(name: str, hook: str):
    sae = CARD["models"][name]["saes"][hook]
    assert 16 <= sae["l0"] <= 64
    assert sae["explained_variance"] >= 0.8
    assert sae["dead_share"] <= 0.2


def test_the_suite_uses_at_least_four_depths_of_each_model():
    suite = load_suite("mini")
    assert len(suite.model_a.saes) >= 4
    assert len(suite.model_b.saes) >= 4
    assert {(m.name, s.hook) for m in (suite.model_a, suite.model_b) for s in m.saes} == set(SAES)


@requires_models
@pytest.mark.parametrize("side", ["model_a", "model_b"])
def test_models_and_saes_load_with_the_fields_own_loaders_and_fit(side: str):
    from semconv.model_activations import hook_layer, load_model, residual_streams
    from semconv.sae_encode import encode_stream, load_sae

    model_config = getattr(load_suite("mini"), side)
    model = load_model(resolve(model_config.path))
    assert type(model).__name__ == "Gemma2ForCausalLM"
    ids = torch.randint(3, 4096, (2, 64), generator=torch.Generator().manual_seed(0))
    layers = [hook_layer(sae.hook) for sae in model_config.saes]
    streams = residual_streams(model, ids, layers)
    with torch.no_grad():
        hidden = model(input_ids=ids, output_hidden_states=True).hidden_states
    for sae_config, layer in zip(model_config.saes, layers, strict=True):
        if layer + 1 < model.config.num_hidden_layers:  # the last entry of hidden_states is after the final norm
            assert torch.equal(streams[layer], hidden[layer + 1])
        sae = load_sae(resolve(sae_config.path))
        assert type(sae).__name__ == "JumpReLUSAE"
        acts = encode_stream(sae, streams[layer].flatten(0, 1), torch.float16)
        pre = (streams[layer].flatten(0, 1) - sae.b_dec) @ sae.W_enc + sae.b_enc
        assert torch.equal(acts.to_dense(), (pre.relu() * (pre > sae.threshold)).half())
