"""Dictionaries that are no SAEs: their directions, their codes in two halves, and that they go through the pipeline."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from semconv import InputError
from semconv.models.dictionaries import KINDS, as_sae, directions
from semconv.models.sae_files import load_sae
from semconv.pipeline.reproduce import residual_vectors
from semconv.results.read import load_results
from semconv.suite.config import CorpusConfig, ModelConfig, SaeConfig
from tests.conftest import requires_models, semconv_cli

pytestmark = requires_models


@pytest.fixture
def streams() -> torch.Tensor:
    """500 vectors in 12 dimensions: four independent heavy-tailed sources, mixed, off centre, in a little noise."""
    g = torch.Generator().manual_seed(0)
    sources = torch.randn(500, 4, generator=g) ** 3
    mixed = sources @ torch.randn(4, 12, generator=g)
    return mixed + 5 + 0.01 * torch.randn(500, 12, generator=g)


@pytest.mark.parametrize("kind", KINDS)
def test_directions_are_unit_rows(kind, streams: torch.Tensor):
    pytest.importorskip("sklearn")
    found, centre = directions(kind, streams, 4)
    assert found.shape == (4, 12)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(4))
    expected = torch.zeros(12) if kind == "neurons" else streams.mean(dim=0)
    torch.testing.assert_close(centre, expected, rtol=1e-5, atol=1e-5)
    again, _ = directions(kind, streams, 4)
    assert torch.equal(found, again)


def test_principal_components_are_those_of_the_svd(streams: torch.Tensor):
    found, _ = directions("pca", streams, 4)
    _, _, rows = torch.linalg.svd(streams.double() - streams.double().mean(dim=0), full_matrices=False)
    overlap = (found.double() @ rows[:4].T).abs()
    torch.testing.assert_close(overlap, torch.eye(4).double(), rtol=0, atol=1e-5)


def test_independent_components_are_the_sources(streams: torch.Tensor):
    pytest.importorskip("sklearn")
    found, centre = directions("ica", streams, 4)
    sources = torch.randn(500, 4, generator=torch.Generator().manual_seed(0)) ** 3
    codes = (streams - centre) @ found.T
    r = torch.corrcoef(torch.cat([codes, sources], dim=1).T)[:4, 4:].abs()
    assert r.max(dim=0).values.min() > 0.98


def test_the_two_halves_of_a_code_are_the_signed_code(streams: torch.Tensor, tmp_path: Path):
    found, centre = directions("pca", streams, 5)
    as_sae(found, centre, "blocks.3.hook_resid_post").save_model(tmp_path)
    sae = load_sae(tmp_path)
    halves = sae.encode(streams)
    assert (halves >= 0).all()
    torch.testing.assert_close(halves[:, :5] - halves[:, 5:], (streams - centre) @ found.T, rtol=1e-4, atol=1e-4)
    assert torch.equal(sae.W_dec[5:], -sae.W_dec[:5])


def test_what_is_out_of_range_is_refused(streams: torch.Tensor):
    for kind, n, told in (
        ("svd", 3, "kind must be one of neurons, pca, ica, random, got 'svd'"),
        ("pca", 13, "pca has between 1 and 12 directions in this stream, got 13"),
        ("random", 0, "got 0"),
    ):
        with pytest.raises(InputError, match=told):
            directions(kind, streams, n)  # pyright: ignore
    with pytest.raises(InputError, match="5 components need more than as many tokens, got 5"):
        directions("pca", streams[:5], 5)


@pytest.mark.slow
def test_a_baseline_is_made_and_compared_like_any_sae(tiny_suite: Path, tmp_path: Path):
    for name in ("model_a", "model_b"):
        shutil.copytree(tiny_suite.parent / name, tmp_path / name)
        shutil.copy(tiny_suite.parent / "tokenizer.json", tmp_path / name)
    text = ("--text", tiny_suite.parent / "text.txt")
    for name, layer in (("model_a", 1), ("model_b", 2)):
        made = semconv_cli(
            "dictionary", name, "--kind", "pca", "--layer", str(layer), *text, "--tokens", "2000", "--context", "32",
            "--directions", "8", "--out", f"pca_{name}", cwd=tmp_path,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
    saes = ("--sae-a", "pca_model_a", "--sae-b", "pca_model_b")
    sizes = ("--tokens", "3000", "--context", "32", "--rematches", "0", "--out", "run")
    done = semconv_cli("compare", "model_a", "model_b", *saes, *text, *sizes, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    results = load_results(tmp_path / "run")
    assert list(results["grid"]) == ["1x2"]
    assert results["model_a"]["saes"]["1"]["n_features"] == 16
    assert 6 < results["model_a"]["saes"]["1"]["l0"] <= 8, "one half of every direction is active"


def test_an_untrained_twin_is_decomposed_at_any_stream(tiny_suite: Path, tmp_path: Path):
    folder, hook = tiny_suite.parent, "blocks.1.hook_mlp_out"
    given = ("dictionary", folder / "model_a", "--kind", "pca", "--tokenizer", folder / "tokenizer.json")
    sizes = ("--text", folder / "text.txt", "--tokens", "2000", "--context", "32", "--directions", "4")
    for more, out in (((), "trained"), (("--untrained-seed", "1"), "twin")):
        made = semconv_cli(*given, *sizes, "--hook", hook, *more, "--out", out, cwd=tmp_path)
        assert made.returncode == 0, made.stderr
    trained, twin = (load_sae(tmp_path / name) for name in ("trained", "twin"))
    assert twin.cfg.metadata.hook_name == hook
    assert not torch.allclose(trained.W_dec, twin.W_dec, atol=0.1)
    sae = SaeConfig(hook, "twin")
    corpus = CorpusConfig("file", str(folder / "tokenizer.json"), 32, 2000, "all", str(folder / "text.txt"))
    model = ModelConfig("m", str(folder / "model_a"), (sae,), untrained_seed=1)
    expected, _ = directions("pca", residual_vectors(model, corpus, torch.device("cpu")), 4)
    torch.testing.assert_close(twin.W_dec[:4].detach(), expected)
    laid_out = ("--layer", "1", "--rows", "documents", "--bos", "no", "--skip-positions", "2")
    made = semconv_cli(*given, *sizes, *laid_out, "--out", "laid-out", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    rows = replace(corpus, rows="documents", bos="no", skip_positions=2)
    streams = residual_vectors(
        replace(model, saes=(SaeConfig("blocks.1.hook_resid_post", "x"),), untrained_seed=None),
        rows,
        torch.device("cpu"),
    )
    expected, _ = directions("pca", streams, 4)
    torch.testing.assert_close(load_sae(tmp_path / "laid-out").W_dec[:4].detach(), expected)
    for more, told in (
        (("--layer", "1", "--hook", hook), "got both"),
        ((), "takes --layer or --hook, got neither"),
        (("--layer", "1", "--bos", "never"), "corpus.bos must be"),
    ):
        refused = semconv_cli(*given, *sizes, *more, "--out", "nothing", cwd=tmp_path)
        assert (refused.returncode, told in refused.stderr) == (2, True)
    assert not (tmp_path / "nothing").exists()
