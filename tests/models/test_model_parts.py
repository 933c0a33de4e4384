"""The first blocks of a model: the same streams as of the whole one, and a checkpoint is checked all the same."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from semconv import InputError
from semconv.models import model_activations
from semconv.models.families import FAMILIES
from semconv.models.model_activations import load_model, streams
from semconv.models.model_parts import can_be_cut, first_blocks, is_mapped
from semconv.system.errors import SemconvWarning
from tests._helpers.tiny_models import CONFIGS, model_type, save, tiny_llava, tiny_model
from tests.conftest import requires_models

pytestmark = requires_models
IDS = torch.randint(3, 48, (2, 12), generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory):
    """Family -> the folder of a tiny model of 3 blocks, made when first asked for."""
    made: dict[str, Path] = {}

    def of(family: str) -> Path:
        if family not in made:
            made[family] = save(tiny_model(family), tmp_path_factory.mktemp(family))
        return made[family]

    return of


def blocks_of(model: Any) -> int:
    return len(model_activations.transformer_blocks(model))


FAMILIES_AND_SEEDS = [
    (family, seed)
    for family in CONFIGS
    for seed in (None, 3)
    if family != "bert" and not (seed and model_type(family) in ("mamba", "opt"))  # which have no untrained twins
]


@pytest.mark.parametrize("n_blocks", [1, 2, 3, 4])
@pytest.mark.parametrize(("family", "seed"), FAMILIES_AND_SEEDS)
def test_the_first_blocks_give_the_bits_of_the_whole_model(folder, family: str, seed: int | None, n_blocks: int):
    whole, first = (load_model(folder(family), untrained_seed=seed, n_blocks=n) for n in (None, n_blocks))
    assert blocks_of(first) == (min(n_blocks, 3) if model_type(family) in FAMILIES else 3)
    hooks = [f"blocks.{i}.hook_resid_{end}" for i in range(min(n_blocks, 3)) for end in ("pre", "post")]
    expected, found = streams(whole, IDS, hooks), streams(first, IDS, hooks)
    for hook in hooks:
        assert torch.equal(found[hook], expected[hook])


def test_only_what_is_known_is_cut():
    assert {family for family in CONFIGS if not can_be_cut(tiny_model(family).config)} == {"mamba", "bert"}
    llava = tiny_llava(2).config
    assert first_blocks(llava, 1) is llava
    gemma = tiny_model("gemma2").config
    assert first_blocks(gemma, 2).layer_types == gemma.layer_types[:2]
    assert gemma.num_hidden_layers == len(gemma.layer_types) == 3  # it stays as it was


def test_weights_that_are_missing_or_belong_nowhere_are_refused_in_the_first_blocks(folder, tmp_path: Path):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder("llama") / "model.safetensors")
    (tmp_path / "config.json").write_bytes((folder("llama") / "config.json").read_bytes())
    name = "model.layers.{}.mlp.down_proj.weight"
    for change, told in (
        ({name.format(0): None}, r"lack model\.layers\.0\.mlp\.down_proj\.weight"),
        ({name.format(0).replace("weight", "bias"): torch.zeros(16)}, r"hold model\.layers\.0\.mlp\.down_proj\.bias"),
    ):
        changed = {key: value for key, value in {**weights, **change}.items() if value is not None}
        save_file(changed, tmp_path / "model.safetensors", {"format": "pt"})
        with pytest.raises(InputError, match=told):
            load_model(tmp_path, n_blocks=1)
    changed = {key: value for key, value in weights.items() if key != name.format(2)}
    save_file(changed, tmp_path / "model.safetensors", {"format": "pt"})
    assert blocks_of(load_model(tmp_path, n_blocks=2)) == 2  # nobody asked for the block that lacks something
    with pytest.raises(InputError, match=r"lack model\.layers\.2"):
        load_model(tmp_path)


def mapped_files(model: torch.nn.Module) -> set[str]:
    """Names of the files that the weights of a model lie in; empty for memory of its own."""
    places = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    ranges = [(*(int(x, 16) for x in p[0].split("-")), Path(p[-1]).name if len(p) > 5 else "") for p in places]
    return {
        next(name for begin, end, name in ranges if begin <= parameter.data_ptr() < end)
        for parameter in model.parameters()
    }


def test_a_model_larger_than_the_memory_is_mapped_from_its_files(
    folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    half = save(tiny_model("gemma2").bfloat16(), tmp_path / "half")
    hook = "blocks.2.hook_resid_post"
    with warnings.catch_warnings():
        warnings.simplefilter("error", SemconvWarning)
        expected = streams(load_model(half, dtype=torch.bfloat16), IDS, [hook])[hook]
    monkeypatch.setattr(model_activations, "free_memory", lambda device: 1000)
    with pytest.warns(SemconvWarning, match=r"GiB of memory are free; its files are read again in every forward pass"):
        model = load_model(half, dtype=torch.bfloat16)
    assert mapped_files(model) == {"model.safetensors"}
    assert torch.equal(streams(model, IDS, [hook])[hook], expected)
    for where, dtype in ((half, torch.float32), (folder("gemma2"), torch.bfloat16)):  # which are copied
        with pytest.raises(InputError, match=r"parameters by its config, 0\.0 GiB, and 0\.0 GiB of memory are free"):
            load_model(where, dtype=dtype)


def test_weights_that_are_used_twice_count_once(folder, monkeypatch: pytest.MonkeyPatch):
    """As Gemma's embedding, which is its head too: a tenth of the 9B, for which a machine of 24 GiB was refused."""
    model = load_model(folder("gemma2"))
    assert model.config.tie_word_embeddings
    held = sum(one.numel() for one in (*model.parameters(), *model.buffers()))
    monkeypatch.setattr(model_activations, "free_memory", lambda device: 1000)
    with pytest.raises(InputError, match=f"has {held} parameters by its config"):
        load_model(folder("gemma2"), dtype=torch.bfloat16)


def test_files_that_do_not_hold_the_weights_are_not_mapped(folder, tmp_path: Path):
    file = folder("llama") / "model.safetensors"
    assert is_mapped(folder("llama"), torch.float32, file.stat().st_size // 2)
    assert not is_mapped(folder("llama"), torch.float32, file.stat().st_size + 1)
    assert not is_mapped(folder("llama"), torch.bfloat16, 0)
    assert not is_mapped(tmp_path, torch.float32, 0)
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 100)
    assert not is_mapped(tmp_path, torch.float32, 0)
