"""Figures of feature pairs: from the tables of a run, the same bytes every time, left out where a table is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from semconv.report.pair_figures import CAPTIONS, best_key, principal_plane, write_pair_figures
from semconv.report.sections import pair_figures_section
from semconv.runs.best_r_table import BestR, read_best_r, write_best_r
from semconv.study.order import in_order
from semconv.system.files import write_tensors
from tests._helpers.made_up import results
from tests._helpers.made_up_page import pairs, write_rows

pytest.importorskip("pyarrow")


def best(sae_a: str, n: int) -> BestR:
    rng = np.random.default_rng(n)
    r = [[rng.uniform(0.1, 0.9, n), rng.uniform(0.1, 0.9, n)], [rng.uniform(0, 0.05, n), np.zeros(0)]]
    histograms = np.array([[np.histogram(one, 200, (-1, 1))[0] for one in row] for row in r])
    means = np.array([[one.mean() if len(one) else np.nan for one in row] for row in r])
    return BestR(layer_a=int(sae_a), layer_b=2, sae_a=sae_a, sae_b="2", histograms=histograms, means=means)


def test_best_partners_are_told_row_by_row_and_a_draw_not_taken_is_none(tmp_path: Path):
    write_best_r(tmp_path / "best_r.parquet", [best("0", 30), best("1", 40)])
    rows = read_best_r(tmp_path).to_pylist()
    assert [(row["sae_a"], row["of"], row["null"], row["features"]) for row in rows] == [
        ("0", "a", "", 30),
        ("0", "b", "", 30),
        ("0", "a", "rematch", 30),
        ("1", "a", "", 40),
        ("1", "b", "", 40),
        ("1", "a", "rematch", 40),
    ]
    assert rows[0]["counts"] == best("0", 30).histograms[0, 0].tolist()


@pytest.mark.slow
def test_every_figure_is_drawn_twice_the_same_and_none_without_its_table(tmp_path: Path):
    made = in_order(results())
    assert best_key(made) == "1x2"
    write_rows(tmp_path, pairs(40))
    write_best_r(tmp_path / "best_r.parquet", [best("0", 30), best("1", 40)])
    rng, tensors = np.random.default_rng(0), dict[str, torch.Tensor]()
    of_cell = [row for row in pairs(40) if row["sae_a"] == "1"]
    for side, sae, width in (("a", "1", 5), ("b", "2", 8)):
        features = np.array(sorted(row[f"feature_{side}"] for row in of_cell))
        tensors[f"{side}.{sae}.features"] = torch.from_numpy(features)
        tensors[f"{side}.{sae}.rows"] = torch.from_numpy(rng.normal(size=(len(features), width)).astype(np.float32))
    write_tensors(tmp_path / "decoders.safetensors", tensors)
    first, again = (write_pair_figures(made, tmp_path, tmp_path / name) for name in ("0", "1"))
    assert [path.stem for path in first] == list(CAPTIONS)
    for one, other in zip(first, again, strict=True):
        assert one.read_bytes().startswith(b"\x89PNG")
        assert one.read_bytes() == other.read_bytes()
        drawn = one.with_suffix(".svg").read_text()
        assert drawn == other.with_suffix(".svg").read_text()
        assert "<text" in drawn
        assert "mathdefault" not in drawn, "no number is a formula"
    title, *parts = pair_figures_section(tmp_path / "0")
    assert title == "## Feature pairs in figures"
    assert [part.splitlines()[-1] for part in parts] == [f"![{name}](figures/{name}.png)" for name in CAPTIONS]
    (tmp_path / "elsewhere").mkdir()
    assert [path.stem for path in write_pair_figures(made, tmp_path / "elsewhere", tmp_path / "2")] == [
        "filters",
        "scores",
    ]
    assert pair_figures_section(tmp_path / "3") == []


def test_the_principal_plane_is_that_of_the_covariance_and_its_signs_are_fixed():
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(50, 6)) * [5, 3, 1, 1, 1, 1]
    plane = principal_plane(rows)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    values, vectors = np.linalg.eigh(np.cov(unit.T))
    for component in range(2):
        direction = vectors[:, -1 - component]
        direction *= np.sign(direction[np.abs(direction).argmax()])
        np.testing.assert_allclose(plane[:, component], (unit - unit.mean(axis=0)) @ direction, atol=1e-12)
        np.testing.assert_allclose(plane[:, component].var(ddof=1), values[-1 - component])
    np.testing.assert_array_equal(principal_plane(rows), plane)
