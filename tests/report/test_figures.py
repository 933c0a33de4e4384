"""Figures: the numbers behind them, and that the same results give the same bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from semconv.report.answer_figure import write_answer_figure
from semconv.report.figures import _heat_map, write_figures
from semconv.report.pair_figures import write_pair_figures
from semconv.report.result_values import Grid, control_rows, grid_of, title_of, value_of
from semconv.results.claims import value_at
from semconv.results.schema import Reason
from semconv.study.order import in_order
from tests._helpers.drawn_texts import badly_placed
from tests._helpers.made_up import LAYER_PAIRS, MEASURES, changed, results


def test_a_grid_is_sorted_by_number_and_has_gaps_where_nothing_is():
    made = results()
    layers_b, layers_a, values = grid_of(made, "rsa", "score")
    assert (layers_b, layers_a) == (["2", "10"], ["0", "1"])  # 10 after 2
    score = value_at(made, "grid.0x2.measures.rsa.score")
    assert np.array_equal(values, [[score, 0.61], [np.nan, np.nan]], equal_nan=True)
    assert np.array_equal(grid_of(made, "rsa", "pairs").values, [[202, 212], [np.nan, 220]], equal_nan=True)


def test_values_of_fields():
    made = results()
    cell, empty = made.grid["1x2"], made.grid["1x10"]
    assert value_of(cell, "rsa", "shuffle.z") == 9.0
    assert value_of(cell, "rsa", "rematch.mean") == value_at(cell, "measures.rsa.nulls.rematch.mean")
    assert value_of(cell, "rsa", "other.mean") is None
    assert value_of(cell, "cka", "score") is None
    assert value_of(empty, "rsa", "score") is value_of(empty, "rsa", "shuffle.mean") is None
    assert value_of(empty, "rsa", "pairs") == 220


def test_titles():
    assert title_of("cka_unbiased") == "Linear CKA, unbiased"
    assert title_of("unheard of") == "unheard of"


def test_control_rows_hold_the_cross_model_pair_of_every_floor_once():
    made = results()
    floor = made.controls.pairs["untrained"]
    made = changed(made, {"controls.pairs": {"untrained": floor, "second": floor, **made.controls.pairs}})
    rows = control_rows(made)
    assert [(kind, name) for kind, name, _ in rows] == [
        ("floor", "untrained"),
        ("floor", "second"),
        ("cross-model", "layers 1x2"),
        ("ceiling", "other SAE"),
    ]
    assert rows[2].pair is made.grid["1x2"]
    made = changed(made, {"controls.pairs.untrained.sae_a": "7", "controls.pairs.second": ...})
    assert [kind for kind, _, _ in control_rows(made)] == ["floor", "ceiling"]


@pytest.mark.slow
def test_figures_are_drawn_for_every_measure_and_twice_the_same(tmp_path: Path):
    made = changed(results(), {"summary.svcca_pc1": ...})
    first, again = (write_figures(made, tmp_path / name) for name in ("0", "1"))
    assert [path.name for path in first] == ["rsa.png", "controls.png", "function.png"]
    for one, other in zip(first, again, strict=True):
        assert one.read_bytes().startswith(b"\x89PNG")
        assert one.read_bytes() == other.read_bytes()
    another = changed(results(score=0.62), {"summary": made.summary, "controls.pairs": {}, "function": None})
    other = write_figures(another, tmp_path / "2")
    assert [path.name for path in other] == ["rsa.png"]
    assert other[0].read_bytes() != first[0].read_bytes()


def test_a_measure_without_any_score_is_drawn_too(tmp_path: Path):
    none = {name: Reason(reason="none") for name in MEASURES}
    changes = {f"grid.{key}.{field}": new for key in LAYER_PAIRS for field, new in (("measures", none), ("pairs", 0))}
    made = changed(results(), {**changes, "summary.svcca_pc1": ..., "controls.pairs": {}, "function": None})
    assert write_figures(made, tmp_path)[0].stat().st_size > 1000


def test_no_text_of_a_figure_covers_another_or_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A label of an axis lay under the legend, and titles of maps ran into each other."""
    figures = dict[str, Figure]()

    def keep(figure: Figure, path: Path, dpi: int = 150) -> None:
        figures[path.stem] = figure

    for module in ("figures", "answer_figure", "pair_figures"):
        monkeypatch.setattr(f"semconv.report.{module}.save", keep)
    made = in_order(results())
    write_figures(made, tmp_path)
    write_answer_figure(made, tmp_path)
    write_pair_figures(made, tmp_path, tmp_path)
    assert {"rsa", "controls", "function", "answer", "filters", "scores"} <= set(figures)
    assert {name: found for name, one in figures.items() if (found := badly_placed(one, monkeypatch))} == {}
    for name in ("controls", "scores"):
        labels = [ax.get_xlabel() for ax in figures[name].axes]
        assert "score" in labels, name


def test_texts_that_cover_each_other_are_found(monkeypatch: pytest.MonkeyPatch):
    figure = Figure()
    figure.text(0.5, 0.5, "one")
    figure.text(0.51, 0.5, "two")
    figure.text(0.99, 0.2, "three")
    assert badly_placed(figure, monkeypatch) == ["'three' is cut off", "'one' lies on 'two'"]


def test_the_figure_of_the_answer_is_written_as_png_and_as_svg(tmp_path: Path):
    write_answer_figure(in_order(results()), tmp_path)
    assert (tmp_path / "answer.png").read_bytes().startswith(b"\x89PNG")
    assert "RSA, Spearman" in (tmp_path / "answer.svg").read_text()


def test_a_large_grid_has_no_numbers_in_its_cells_and_labels_that_have_room():
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    labels = [str(layer) for layer in range(42)]
    _heat_map(ax, Grid(labels, labels[:26], np.linspace(0, 1, 42 * 26).reshape(42, 26)), ("score", "t"), (0.0, 1.0))
    assert list(ax.texts) == []
    assert [one.get_text() for one in ax.get_xticklabels()] == labels[:26:2]
    assert [one.get_text() for one in ax.get_yticklabels()] == labels[::2]
    assert ax.get_title() == "t"
    few = Figure().subplots()
    _heat_map(few, Grid(["0", "1"], ["0"], np.array([[0.25], [np.nan]])), ("score", "t"), (0.0, 1.0))
    assert [one.get_text() for one in few.texts] == ["0.250", "none"]
