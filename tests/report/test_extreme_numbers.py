"""Report, page and figures of any finite numbers and any draws: they are whole and show what is there."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from semconv.report.charts import null_chart
from semconv.report.figures import write_figures
from semconv.report.histograms import N_BINS, Draws, Histogram, binned
from semconv.report.markdown import write_markdown
from semconv.report.page import page
from semconv.report.scales import (
    LARGEST,
    SMALLEST,
    STEPS,
    ends_with_zero,
    ends_within,
    rounded,
    share_of,
    short,
    step_of,
)
from semconv.report.shown import show
from semconv.results.schema import NullTest, Results, Score
from semconv.study.order import in_order
from semconv.system.shape import plain, read_as
from tests._helpers.extreme import POOL, draws_of, numbers, results_of
from tests._helpers.made_up import MEASURES, changed, results
from tests._helpers.made_up_page import Outline, tables

pytest.importorskip("vl_convert")
pytest.importorskip("jinja2")

FEW = settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
MANY = settings(max_examples=300, deadline=None, derandomize=True)


def told(draws: Any) -> Histogram:
    found = binned(np.array(draws, np.float64))
    assert found
    return found


def test_draws_that_differ_by_rounding_alone_are_one_bar():
    """NumPy has too few floats for 28 bins there; every mean squared CC is 1 where pairs are fewer than dimensions."""
    found = told([1 - 4e-16, 1.0, 1 + 4e-16, 1.0])
    assert found == Histogram(1.0, 1.0, 4, "0" * 14 + "z" + "0" * 13)


def test_draws_in_a_narrow_range_keep_the_digits_that_tell_them_apart():
    found = told([0.99991, 0.99991, 0.99999])
    assert (found.low, found.high, found.digits) == (0.99991, 0.99999, "z" + "0" * 26 + "i")
    assert short(0.99995, found.precision) == 0.99995


@given(st.lists(st.one_of(numbers, st.sampled_from((np.nan, np.inf, -np.inf))), max_size=30))
@MANY
def test_any_draws_have_a_histogram_of_all_of_them(draws: list[float]):
    finite = [value for value in draws if np.isfinite(value)]
    found = binned(np.array(draws, np.float64))
    if not finite:
        assert found is None
        return
    assert found
    low, high, n, digits = found
    assert (n, len(digits)) == (len(finite), N_BINS)
    assert "z" in digits
    assert low <= high
    json.dumps([low, high], allow_nan=False)
    kept = np.clip(finite, -LARGEST, LARGEST)
    near = max(SMALLEST, 1e-3 * max(abs(kept)))
    assert low == pytest.approx(kept.min(), abs=near)
    assert high == pytest.approx(kept.max(), abs=near)


@given(st.lists(st.one_of(st.none(), numbers, st.sampled_from((np.nan, np.inf))), max_size=8))
@MANY
def test_any_values_have_ends_that_can_be_drawn(values: list[float | None]):
    for ends in (ends_within(values), ends_with_zero(values)):
        low, high = ends
        assert np.isfinite([low, high, high - low]).all()
        assert high > low
        for value in values:
            if value is not None and np.isfinite(value):
                assert 0.0 <= share_of(value, ends) <= 1.0
                assert step_of(value, ends) in range(STEPS)
    assert ends_with_zero(values)[0] <= 0.0 <= ends_with_zero(values)[1]


@given(numbers)
@MANY
def test_any_number_is_written_in_a_few_letters_and_reads_as_itself(value: float):
    text = rounded(value)
    assert len(text) <= 11
    if abs(value) < 1e308:  # the nearest number of four digits may be more than a float can hold
        assert float(text) == pytest.approx(value, rel=5e-4, abs=5e-4)
    assert short(value) == pytest.approx(value, rel=5e-4)


def svgs(text: str) -> list[ET.Element]:
    """The charts of a page, each well-formed and without a coordinate that is no number."""
    found = re.findall(r"<svg .*?</svg>", text, re.DOTALL)
    for one in found:
        drawn = re.sub(r'aria-label="[^"]*"|>[^<]*<', "", one)
        assert not re.search(r"NaN|[Ii]nfinity|undefined", drawn)
    return [ET.fromstring(one) for one in found]


def shown_as_given(text: str, found: Results, draws: Draws) -> None:
    """The page is whole, and the numbers of its grid are those of the results."""
    outline = Outline(text)
    assert svgs(text)
    grid = outline.data()["grid"]
    for place, (key, pair) in enumerate(found.grid.items()):
        for measure, scored in pair.measures.items():
            shown = grid["measures"][measure]["cells"][place]
            if not isinstance(scored, Score):
                assert shown["reason"] == scored.reason
                continue
            assert shown["score"] == pytest.approx(scored.score, rel=1e-3)
            for null, test in scored.nulls.items():
                if isinstance(test, NullTest):
                    drawn = binned(draws.get(f"{key}.{null}.{measure}"))
                    assert shown["nulls"][null]["p"] == pytest.approx(test.p, rel=1e-3)
                    assert (shown["nulls"][null]["z"] is None) == (test.z is None)
                    assert shown["nulls"][null].get("draws") == (list(drawn) if drawn else None)


def cells(text: str, key: str) -> list[list[str]]:
    """The rows of a report's tables that begin with a key."""
    return [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith(f"| {key} |")]


@pytest.mark.slow
@given(st.data())
@FEW
def test_page_and_markdown_of_any_numbers_are_whole_and_show_them(tmp_path_factory: Any, data: st.DataObject):
    found = in_order(data.draw(results_of(results())))
    draws = data.draw(draws_of(found))
    shown_as_given(page(found, [], tables(4), draws), found, draws)
    path = tmp_path_factory.mktemp("report") / "report.md"
    write_markdown(found, [], path)
    scored = found.grid["1x2"].measures["rsa"]
    assert isinstance(scored, Score)
    assert show(scored.score) in [row[2] for row in cells(path.read_text(), "1x2")]
    back = read_as(Results, json.loads(json.dumps(plain(found), allow_nan=False)), "results")
    assert in_order(back) == found


def image(path: Path) -> np.ndarray:
    from matplotlib.image import imread

    return imread(path)


@pytest.mark.slow
@given(st.data())
@FEW
def test_figures_of_any_numbers_are_images(tmp_path_factory: Any, data: st.DataObject):
    made = changed(data.draw(results_of(results())), {"summary.svcca_pc1": ...})
    for path in write_figures(made, tmp_path_factory.mktemp("figures")):
        assert np.ptp(image(path)[..., :3]) > 0.5  # there is dark on light


@pytest.mark.parametrize("score", [1.0, -1e21, 1.7e308])
@pytest.mark.parametrize("draw", POOL)
def test_a_score_beside_equal_draws_is_drawn(score: float, draw: float):
    found = in_order(results())
    tests = {null: replace(test, score=score) for null, test in found.grid["1x2"].measures["rsa"].nulls.items()}
    found = changed(found, {"grid.1x2.measures.rsa.nulls": tests})
    drawn = null_chart(found, {"1x2.shuffle.rsa": np.full(3, draw)}, "rsa", "1x2")
    assert drawn
    assert len(svgs(drawn)) == 1
    assert max(float(width) for width in re.findall(r'd="M[-\d.e,]*h([-\d.e]+)v', drawn)) > 0.1  # of the bar, in pixels


def test_one_layer_pair_and_one_measure_without_nulls_make_a_report(tmp_path: Path):
    found = changed(results(), {f"summary.{name}": ... for name in MEASURES[1:]})
    bare = {name: Score(score=0.5, nulls={}) for name in MEASURES[:1]}
    found = changed(found, {"grid": {"1x2": replace(found.grid["1x2"], measures=bare)}, "summary.rsa.nulls": {}})
    found = changed(found, {"subspaces": None, "spans": None, "published": None, "controls.pairs": {}})
    found = in_order(changed(found, {"controls.strongest": {}, "controls.self_match": {}}))
    shown_as_given(page(found, [], tables(1), {}), found, {})
    write_markdown(found, [], tmp_path / "report.md")
    assert "0.5" in (tmp_path / "report.md").read_text()
