"""What ships with the package: size, format, and the bars that models and SAEs must clear."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import train_mini

from semconv._paths import ASSETS
from semconv.suite.config import load_suite, resolve
from semconv.suite.hooks import hook_name
from tests.conftest import requires_models

MINI = ASSETS / "mini"
CARD = json.loads((MINI / "card.json").read_text())
SAES = [(name, hook) for name, model in CARD["models"].items() for hook in model["saes"]]
CONTROLS: dict[str, dict[str, Any]] = CARD["controls"]


def random_ids() -> torch.Tensor:
    return torch.randint(3, 4096, (2, 64), generator=torch.Generator().manual_seed(0))


def test_assets_are_small_and_half_precision_safetensors():
    files = [p for p in MINI.rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in files) <= 32 * 2**20
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


def test_every_sae_that_ships_is_on_the_card():
    saes = MINI / "saes"
    shipped = {str(p.parent.relative_to(saes)) for p in saes.rglob("cfg.json")}
    assert shipped == {f"{name}/{hook}" for name, hook in SAES} | set(CONTROLS)


def test_the_model_card_is_made_from_the_figures():
    assert (MINI / "README.md").read_text() == train_mini.card_text(CARD, train_mini.VOCABULARY)


def test_stages_skip_what_exists(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def refuse(*_: object) -> None:
        raise AssertionError("a stage ran although its result exists")

    for name in ("collect_activations", "train_sae", "load_blocks"):
        monkeypatch.setattr(train_mini, name, refuse)
    for name in train_mini.RECIPES:
        train_mini.train_model(name, tmp_path)
        train_mini.train_saes(train_mini.depths(name) + train_mini.controls(name), tmp_path)
    with pytest.raises(AssertionError, match="a stage ran"):
        train_mini.train_saes([train_mini.SaeJob("small", 2, sae_seed=99)], tmp_path)


def test_the_suite_uses_at_least_four_depths_of_each_model():
    suite = load_suite("mini")
    assert len(suite.model_a.saes) >= 4
    assert len(suite.model_b.saes) >= 4
    assert {(m.name, s.hook) for m in (suite.model_a, suite.model_b) for s in m.saes} == set(SAES)


@requires_models
@pytest.mark.parametrize("side", ["model_a", "model_b"])
def test_models_and_saes_load_with_the_fields_own_loaders_and_fit(side: str):
    from semconv.models.model_activations import load_model, streams
    from semconv.models.sae_encode import encode_stream
    from semconv.models.sae_files import load_sae
    from semconv.suite.hooks import hook_layer

    model_config = getattr(load_suite("mini"), side)
    model = load_model(resolve(model_config.path))
    assert type(model).__name__ == "Gemma2ForCausalLM"
    ids = random_ids()
    read = streams(model, ids, [sae.hook for sae in model_config.saes])
    with torch.no_grad():
        hidden = model(input_ids=ids, output_hidden_states=True).hidden_states
    for sae_config in model_config.saes:
        layer, stream = hook_layer(sae_config.hook), read[sae_config.hook]
        if layer + 1 < model.config.num_hidden_layers:  # the last entry of hidden_states is after the final norm
            assert torch.equal(stream, hidden[layer + 1])
        sae = load_sae(resolve(sae_config.path))
        assert type(sae).__name__ == "JumpReLUSAE"
        acts = encode_stream(sae, stream.flatten(0, 1), torch.float16)
        pre = (stream.flatten(0, 1) - sae.b_dec) @ sae.W_enc + sae.b_enc
        assert torch.equal(acts.to_dense(), (pre.relu() * (pre > sae.threshold)).half())


def model_and_hook(folder: str) -> tuple[str, str]:
    """The trained model that a control belongs to, and its hook."""
    name, hook = folder.split("/")
    return name.split("-")[0], hook.partition(".seed")[0]


def test_controls_are_twins_of_each_model_and_two_more_seeds_at_every_hook_of_the_suite():
    twins = [(0, False), (0, True), (1, True)]
    found = [
        (*model_and_hook(folder), (c["untrained_seed"], c["trained_embeddings"]), c["sae_seed"])
        for folder, c in CONTROLS.items()
    ]
    places = [(name, hook_name(recipe.control_layer)) for name, recipe in train_mini.RECIPES.items()]
    wanted = [
        *((*place, twin, 0) for place in places for twin in twins),
        *((*place, (None, False), seed) for place in SAES for seed in (1, 2)),
    ]
    assert sorted(map(repr, found)) == sorted(map(repr, wanted))


def test_every_control_and_seed_of_the_suite_is_on_the_card():
    suite = load_suite("mini")
    used = {m.saes[0].path for control in suite.controls for m in (control.model_a, control.model_b)}
    used |= {sae.path for seed in suite.seeds or () for sae in seed.saes}
    of_grid = {f"asset:mini/saes/{name}/{hook}" for name, hook in SAES}
    assert used - of_grid == {f"asset:mini/saes/{folder}" for folder in CONTROLS}


@pytest.mark.parametrize("folder", CONTROLS)
def test_controls_clear_their_bars(folder: str):
    sae, (name, hook) = CONTROLS[folder], model_and_hook(folder)
    assert 16 <= sae["l0"] <= 64
    assert sae["dead_share"] <= 0.2
    if sae["untrained_seed"] is not None:
        assert sae["explained_variance"] >= 0.5  # nothing taught this stream to be sparse; the recipe stays
    else:
        first = CARD["models"][name]["saes"][hook]["explained_variance"]
        assert abs(sae["explained_variance"] - first) < 0.01  # a seed decides which features, not how good


@pytest.mark.parametrize("folder", CONTROLS)
def test_controls_differ_from_the_suites_saes_in_nothing_but_what_they_control(folder: str):
    saes = MINI / "saes"
    ours, theirs = saes / folder, saes.joinpath(*model_and_hook(folder))
    weights = "sae_weights.safetensors"
    assert (ours / weights).stat().st_size == (theirs / weights).stat().st_size
    assert (ours / weights).read_bytes() != (theirs / weights).read_bytes()
    cfg, other = (json.loads((path / "cfg.json").read_text()) for path in (ours, theirs))
    assert cfg["metadata"]["model_name"] == f"semconv-mini-{folder.split('/')[0]}"
    for differs in ("model_name", "l0", "num_dead_features"):
        del cfg["metadata"][differs], other["metadata"][differs]
    assert cfg == other


@requires_models
@pytest.mark.parametrize("folder", CONTROLS)
def test_controls_load_fit_and_explain_their_own_model_alone(folder: str):
    from semconv.models.model_activations import load_model, streams
    from semconv.models.sae_encode import encode_stream
    from semconv.models.sae_files import load_sae

    name, hook = model_and_hook(folder)
    own = CONTROLS[folder]["untrained_seed"], CONTROLS[folder]["trained_embeddings"]
    sae = load_sae(MINI / "saes" / folder)
    assert type(sae).__name__ == "JumpReLUSAE"
    explained: dict[tuple[int | None, bool], float] = {}
    for source in dict.fromkeys([own, (None, False), (0, False), (0, True)]):
        model = load_model(MINI / "models" / name, untrained_seed=source[0], trained_embeddings=source[1])
        stream = streams(model, random_ids(), [hook])[hook].flatten(0, 1)
        with torch.no_grad():
            explained[source] = train_mini.measure_sae(sae, stream)["explained_variance"]
        if source != own:
            continue
        pre = (stream - sae.b_dec) @ sae.W_enc + sae.b_enc
        acts = encode_stream(sae, stream, torch.float16)
        assert torch.equal(acts.to_dense(), (pre.relu() * (pre > sae.threshold)).half())
        if own[0] is not None:
            parameters = b"".join(p.numpy(force=True).tobytes() for p in model.parameters())
            assert hashlib.sha256(parameters).hexdigest() == CONTROLS[folder]["parameters_sha256"]
    # Random tokens are unlike the training text, so `own` lies below the card's figure. The narrowest lead was 0.11, of
    # the large twin over a twin of another seed; rounding on another machine moves the fifth digit.
    assert explained.pop(own) > max(explained.values()) + 0.05
