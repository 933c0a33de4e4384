"""The section on what features do: every number where it belongs, reasons where there is none, two charts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from semconv.report import function_charts, function_section
from semconv.report.figures import write_figures
from semconv.report.first_pairs import FirstPairs, NamedPair, PairShown
from semconv.report.function_charts import shown_function
from semconv.report.function_figure import binned_by_r
from semconv.report.page_parts import pairs_to_see
from semconv.report.scales import rounded
from semconv.report.shown import show
from semconv.results.schema import Function, FunctionPair, FunctionTest, Reason, Results
from tests._helpers.made_up import results


def made() -> tuple[Results, Function, FunctionPair]:
    found = results()
    assert found.function
    pair = found.function.grid["0x2"]
    assert isinstance(pair, FunctionPair)
    return found, found.function, pair


def row_of(text: str, name: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {name} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_row_has_the_partner_what_it_must_beat_and_the_test():
    found, function, pair = made()
    table = function_section.agreement_rows(found, function)
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["0x2"][:3] == [31, pair.alike["partner"].residual, pair.alike["partner"].residual_error]
    kinds = ("same_token", "second_best", "co_active", "others", "random")
    assert rows["0x2"][3:8] == [pair.alike[kind].residual for kind in kinds]
    assert isinstance(pair.beyond, FunctionTest)
    assert rows["0x2"][8:10] == [pair.beyond.difference, pair.beyond.p]
    assert rows["1x10"][-1] == "a model without a head"
    assert set(rows["1x10"][:-1]) == {None}
    assert "floor: untrained" in rows
    assert all(len(row) == len(table.header) for row in table.rows)


def test_the_section_says_the_primary_statistic_the_examples_and_the_lens():
    found, function, pair = made()
    text = function_section.function_section(found, function)
    test = function.thirds["all"]
    assert isinstance(test, FunctionTest)
    assert f"over all layer pairs (0x2) {rounded(test.difference)}" in text
    assert f"(p {show(test.p)}, 31 pairs" in text
    assert pair.agree
    assert "best hard negative), layers 0x2: feature 71 of A, which fires on `␣tokens_a`, `` `x ``" in text
    assert f"agreement {rounded(pair.agree.agreement)}" in text
    assert row_of(text, "1x2")[-1] == "not of the stream"
    assert "![function](figures/function.png)" in text


def test_the_summary_names_the_layer_pairs_above_every_floor_and_partners_below_their_rivals():
    found, function, pair = made()
    partner = replace(pair.alike["partner"], residual=0.3)
    floor = function.controls["untrained"]
    assert isinstance(floor, FunctionPair)

    def told(mean: float, difference: float) -> str:
        controls = {"untrained": replace(floor, alike={**floor.alike, "partner": replace(partner, residual=mean)})}
        test = function.thirds["all"]
        assert isinstance(test, FunctionTest)
        thirds = {"all": replace(test, difference=difference, error=0.01)}
        grid = {**function.grid, "0x2": replace(pair, alike={**pair.alike, "partner": partner})}
        changed = replace(function, grid=grid, controls=controls, thirds=thirds)
        return function_section.summary_sentences(found, changed)

    below, above = told(0.2, -0.05), told(0.4, 0.05)
    assert "correlate 0.200 (`untrained`); 1 of 1 layer pairs lie above all of them (0x2)." in below
    assert "so partners are less alike than their best rivals)" in below
    assert "correlate 0.400 (`untrained`); 0 of 1 layer pairs lie above all of them." in above
    assert "rivals" not in above


def test_without_any_pair_there_are_reasons_and_no_chart(tmp_path: Path):
    found, function, _ = made()
    none = Reason(reason="too few")
    bare = replace(function, grid={"0x2": none}, controls={}, thirds={"all": none}, lens={})
    found = replace(found, function=bare)
    text = function_section.function_section(found, bare)
    assert "not told (too few)" in text
    assert "figures/function.png" not in text
    shown = shown_function(found)
    assert shown is not None
    assert list(shown.charts) == []
    assert shown_function(replace(found, function=None)) is None


def test_the_chart_of_the_test_is_first_and_that_of_r_says_of_which_layers():
    found, _, _ = made()
    shown = shown_function(found)
    assert shown is not None
    titles = ["Partner less best hard negative", "Partner and what it must beat", "Agreement against r"]
    assert [chart.title for chart in shown.charts] == titles
    assert "layer pairs that were ablated (0x2)." in shown.charts[2].below


def test_charts_say_to_a_screen_reader_what_they_show(tmp_path: Path):
    found, function, pair = made()
    first, second = (function_charts.negatives_chart(found, function), function_charts.r_chart(function))
    assert first is not None
    assert second is not None
    assert f"partner {show(pair.alike['partner'].residual)}" in first
    assert "31 pairs; means of groups" in second
    third, test = function_charts.beyond_chart(found, function), pair.beyond
    assert isinstance(test, FunctionTest)
    assert f"0x2, {test.pairs} pairs: {show(test.difference)}, standard error {show(test.error)}" in (third or "")
    alone = replace(function, grid={"0x2": replace(pair, beyond=replace(test, error=None))}, controls={})
    assert "standard error" not in (function_charts.beyond_chart(found, alone) or "standard error")
    untested = replace(function, grid={"0x2": replace(pair, beyond=Reason(reason="too few"))}, controls={})
    assert function_charts.beyond_chart(found, untested) is None
    assert (tmp_path / "function.png") in write_figures(found, tmp_path)


def test_groups_by_r_hold_every_pair_once():
    rng = np.random.default_rng(0)
    points = [(r, r / 2, 0.1) for r in rng.uniform(size=83).tolist()]
    means = binned_by_r(points)
    assert len(means) == 8
    assert [m[0] for m in means] == sorted(m[0] for m in means)
    np.testing.assert_allclose([m[1] for m in means], [m[0] / 2 for m in means])
    assert binned_by_r([(0.1, 0.2, None)]) == []


def test_an_example_has_what_the_tables_say_of_it_with_its_text_and_address(tmp_path: Path):
    found, function, pair = made()
    assert pair.agree
    key = function_section.wanted_pairs(found)[0]
    assert key == ("0", "2", pair.agree.feature_a, pair.agree.feature_b)
    others = [("0", "2", key[2] + 1, key[3], 0.9, None), ("1", "2", key[2], key[3], 0.8, None)]
    columns = ("sae_a", "sae_b", "feature_a", "feature_b", "r", "r_within_token")
    pieces = [
        pa.table([*zip(*rows, strict=True)], names=columns).append_column("top_tokens_a", [[["x"]] * len(rows)])
        for rows in (others, [(*key, 0.75, 0.5)])
    ]
    pieces = [piece.append_column("top_tokens_b", piece["top_tokens_a"]) for piece in pieces]
    named = FirstPairs.of_tables(pieces, [key]).named
    assert named == {key: NamedPair(0.75, 0.5, None)}
    named = {key: replace(named[key], text=("be[fore↵", "<at>", " after"))}
    text = function_section.function_section(found, function, named)
    assert "Over the whole text r is 0.750, 0.500 within tokens; both are strongest at `&lt;at>` in " in text
    assert r"`be\[fore↵&lt;at> after`. [This pair with its text](index.html#view?pair=0~2~" in text
    assert "This pair with its text" not in function_section.function_section(found, function)
    shown = shown_function(found, named)
    assert shown is not None
    assert shown.examples[0].link == f"#view?pair={'~'.join(map(str, key))}"
    assert "`be[fore↵<at> after`" in shown.examples[0].text
    unknown = shown_function(found)
    assert unknown is not None
    assert [one.link for one in unknown.examples] == ["", ""]
    assert function_section.address(("a b", "&", 1, 2)) == "#view?pair=a%20b~%26~1~2"
    alone = replace(found, grid={name: cell for name, cell in found.grid.items() if name != "0x2"})
    assert function_section.wanted_pairs(alone) == []


def test_the_first_screen_leads_to_a_pair_that_convinces_and_one_to_doubt():
    found, _, pair = made()
    keys = function_section.wanted_pairs(found)
    shown = [
        PairShown(r, within, "0", place, ("x",), "2", place, ("y",))
        for place, (r, within) in enumerate([(0.9, 0.8), (0.7, None)])
    ]
    some = FirstPairs(2, 0, (), (shown[0],), (shown[1],))
    assert pairs_to_see(found, some) == [
        ("one that agrees beyond its tokens", "r 0.900, 0.800 within tokens", "#view?pair=0~2~0~0"),
        ("one that may agree in the token alone", "r 0.700", "#view?pair=0~2~1~1"),
    ]
    named = replace(some, named={key: NamedPair(0.5, 0.25, None) for key in keys})
    assert pair.agree
    link = f"#view?pair=0~2~{pair.agree.feature_a}~{pair.agree.feature_b}"
    assert pairs_to_see(found, named)[0] == ("one whose effects agree", "r 0.500, 0.250 within tokens", link)
    assert pairs_to_see(found, replace(some, doubtful=())) == pairs_to_see(found, None) == []
