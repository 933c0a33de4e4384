"""delphi's latent cache: the activations that were put into it come out, and what is damaged is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from semconv import ActivationStore, InputError, SparseActivations, best_matches
from semconv.models.delphi_cache import import_delphi_cache, read_delphi_cache
from tests._helpers.delphi import CONTEXT, ROWS, write_cache
from tests.conftest import random_activations, semconv_cli


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.arange(ROWS * CONTEXT).reshape(ROWS, CONTEXT)


@pytest.fixture
def acts() -> SparseActivations:
    return random_activations(0, ROWS * CONTEXT, 20, dtype=torch.float16)


def test_what_was_cached_comes_back(tmp_path: Path, acts: SparseActivations, tokens: torch.Tensor):
    write_cache(tmp_path / "layers.1", acts, [0, 7, 13, 20], tokens)
    found, of = read_delphi_cache(tmp_path / "layers.1")
    assert found.sha256 == acts.sha256
    assert torch.equal(of, tokens)


@pytest.mark.slow
def test_two_imported_caches_correlate_and_other_tokens_refuse(
    tmp_path: Path, acts: SparseActivations, tokens: torch.Tensor
):
    other = random_activations(1, ROWS * CONTEXT, 12, dtype=torch.float16)
    write_cache(tmp_path / "a", acts, [0, 20], tokens)
    write_cache(tmp_path / "b", other, [0, 5, 12], tokens)
    write_cache(tmp_path / "c", other, [0, 12], tokens + 1)
    for name in "abc":
        done = semconv_cli("store", "import-delphi", tmp_path / name, "--out", tmp_path / f"store-{name}")
        assert done.returncode == 0, done.stderr
    stores = [ActivationStore(tmp_path / f"store-{name}") for name in "abc"]
    m, expected = best_matches(stores[0], stores[1]), best_matches(acts, other)
    assert torch.equal(m.a_to_b.index, expected.a_to_b.index)
    assert m.a_to_b.r.numpy().tobytes() == expected.a_to_b.r.numpy().tobytes()
    with pytest.raises(InputError, match="different tokens"):
        best_matches(stores[0], stores[2])


def damage(folder: Path, name: str, **changes: torch.Tensor | None) -> None:
    from safetensors.torch import load_file

    tensors = {**load_file(folder / name), **changes}
    save_file({key: value for key, value in tensors.items() if value is not None}, folder / name)


def test_damaged_caches_are_refused(tmp_path: Path, acts: SparseActivations, tokens: torch.Tensor):
    with pytest.raises(InputError, match="is no delphi cache of a hookpoint"):
        read_delphi_cache(tmp_path)
    folder = tmp_path / "gap"
    write_cache(folder, acts, [0, 7, 13, 20], tokens)
    (folder / "7_12.safetensors").rename(tmp_path / "away")
    with pytest.raises(InputError, match=r"no file that begins with feature 7; the next is 13_19.safetensors"):
        read_delphi_cache(folder)
    (tmp_path / "away").rename(folder / "7_12.safetensors")
    damage(folder, "7_12.safetensors", tokens=tokens + 1)
    with pytest.raises(InputError, match=r"7_12.safetensors is of other tokens"):
        read_delphi_cache(folder)
    damage(folder, "7_12.safetensors", tokens=None)
    with pytest.raises(InputError, match="it has no 'tokens'"):
        read_delphi_cache(folder)
    damage(folder, "7_12.safetensors", tokens=tokens, locations=torch.tensor([[0, 0, 6]]), activations=torch.ones(1))
    with pytest.raises(InputError, match=r"locations must be \[nnz, 3\] below \[6, 8, 6\]"):
        read_delphi_cache(folder)
    twice = torch.tensor([[0, 0, 1], [0, 0, 1]])
    damage(folder, "7_12.safetensors", locations=twice, activations=torch.ones(2))
    with pytest.raises(InputError, match="names a location twice"):
        read_delphi_cache(folder)
    write_cache(tmp_path / "x", acts, [0, 20], tokens)
    import_delphi_cache(tmp_path / "x", tmp_path / "store")
    write_cache(tmp_path / "y", random_activations(0, ROWS * CONTEXT, 9), [0, 9], tokens)
    with pytest.raises(InputError, match="differs in"):
        import_delphi_cache(tmp_path / "y", tmp_path / "store")
