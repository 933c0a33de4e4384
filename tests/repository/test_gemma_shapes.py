"""The dry run on Gemma's shapes: the published sizes, the L0 that was asked for, and figures that add up."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import gemma_shapes
import pytest
import torch

from tests._helpers.forks import Ended, usual_environment, usual_forks

transformers = pytest.importorskip("transformers")

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "measure" / "gemma_shapes.py"


@pytest.mark.parametrize(("number", "parameters"), [(0, 2_614_341_888), (1, 9_241_705_984)])
def test_the_shapes_have_the_published_number_of_parameters(number: int, parameters: int):
    """As the hub counts the tensors of google/gemma-2-2b and google/gemma-2-9b; embeddings are tied."""
    sizes = dataclasses.asdict(gemma_shapes.SHAPES["full"][number])
    del sizes["name"]
    with torch.device("meta"):
        model = transformers.Gemma2Model(transformers.Gemma2Config(**sizes))
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_layers_are_spread_and_end_with_the_last():
    assert gemma_shapes.spread_layers(26, 4) == [5, 12, 19, 25]
    for n in (1, 3, 26, 42):
        for wanted in (1, 2, 5, 100):
            layers = gemma_shapes.spread_layers(n, wanted)
            assert layers == sorted(set(layers))
            assert len(layers) == min(n, wanted)
            assert layers[-1] == n - 1
            assert layers[0] >= 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_thresholds_give_the_l0_asked_for_on_other_tokens(dtype: torch.dtype):
    g = torch.Generator().manual_seed(0)
    streams = torch.randn(2, 2000, 64, generator=g) + 3 * torch.randn(64, generator=g)
    sae = gemma_shapes.calibrated_sae(streams[0], 1024, 20.0, dtype, seed=1)
    acts = gemma_shapes.SparseActivations.from_dense(sae.pre_activations(streams[1]), torch.float16, sae.threshold)
    # Thresholds from n tokens shift the sum of all densities by about sqrt(20 / 2000) = 0.1. In bfloat16 values tie at
    # a threshold: at 2 numbers are 2^-6 apart, which shifts each density by a few hundredths of itself.
    assert acts.l0 == pytest.approx(20.0, rel=0.05)
    counts = acts.active_counts()
    assert counts.max() < 0.6 * 2000
    assert counts.float().quantile(0.9) > 4 * counts.float().quantile(0.1)  # log-normal, not uniform


def test_extrapolation_is_in_proportion_to_tokens_blocks_and_pairs():
    def side(of_layers: int, forward: float) -> dict:
        seconds = {"model forward": forward, "SAE encode": 2.0, "compact_rows": 1.0}
        return {"seconds": seconds, "tokens": 1000, "layers": [1, 3], "of_layers": of_layers}

    far = gemma_shapes.extrapolate(side(4, 5.0), side(6, 7.0), {"seconds": {"correlate": 8.0}, "pairs": 4}, 10_000)
    assert far["seconds"] == {
        "model forward": 120.0,
        "SAE encode": 2.0 * 10 * (2 + 3),
        "compact_rows": 1.0 * 10 * (2 + 3),
        "correlate": 2.0 * 24 * 10,
    }
    assert far["total_seconds"] == 750.0
    assert far["our_share"] == pytest.approx(530 / 750)
    assert far["label"] == "extrapolated, not measured: 4 x 6 blocks at 10000 tokens"


def run(*arguments: str | Path) -> Ended:
    whole = {**usual_environment(), "PYTHONPATH": str(ROOT)}
    return usual_forks().run([SCRIPT, "--scale", "small", "--device", "cpu", *arguments], ROOT, env=whole)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict]:
    out = tmp_path_factory.mktemp("shapes") / "result.json"
    done = run("--tokens", "6000", "--layers", "2", "--l0", "12", "--batch", "20", "--out", out)
    assert done.code == 0, done.err
    *table, line = done.out.strip().splitlines()
    result = json.loads(line)
    assert json.loads(out.read_text()) == result
    return "\n".join(table), result


def test_a_small_run_reports_figures_that_add_up(small: tuple[str, dict]):
    _, result = small
    measured = result["measured"]
    assert [m["tokens"] for m in result["models"]] == [96 * 63] * 2  # rows of 64 whose first position is BOS
    assert result["pairs"]["pairs"] == 4
    for stage in gemma_shapes.STAGES:
        assert measured["seconds"][stage] > 0
    assert sum(measured["seconds"].values()) == pytest.approx(measured["wall_seconds"])
    ours = measured["seconds"]["compact_rows"] + measured["seconds"]["correlate"]
    assert measured["our_share"] == pytest.approx(ours / measured["wall_seconds"])
    assert measured["tokens_per_second"] == pytest.approx(6048 / measured["wall_seconds"])
    assert 0.05 < measured["peak_memory_gib"] < 16
    for model in result["models"]:
        for l0 in model["l0"].values():
            # Thresholds are from 1260 tokens of a model whose streams of 32 and 48 numbers make features go together,
            # so the mean L0 of the others may be off by a tenth or two; a wrong quantile would be off by factors.
            assert l0 == pytest.approx(12.0, rel=0.25)


def test_the_table_says_what_is_extrapolated(small: tuple[str, dict]):
    table, result = small
    assert table.count("| stage |") == 1
    assert "extrapolated, not measured: 3 x 5 blocks at 1000000 tokens" in table
    assert f"{result['measured']['our_share']:.1%}" in table
    for stage in gemma_shapes.STAGES:
        assert f"| {stage} |" in table


@pytest.mark.slow
def test_bad_options_are_one_sentence():
    done = run("--tokens", "0")
    assert done.code == 2
    assert "--tokens must be above 0, got 0" in done.err
    done = run("--l0", "100")
    assert "--l0 must be at most a quarter of 256 features, got 100" in done.err
    done = run("--device", "gpu")  # the last --device counts
    assert done.code != 0
    assert done.err.strip() == "gemma_shapes: device must be one of auto, cpu, cuda, got 'gpu'"
