"""The report page without a browser: complete, self-contained, safe to open whatever the text, the same every time."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from semconv import InputError
from semconv.report import write_report
from semconv.report.explorer_cells import visible
from semconv.report.histograms import N_BINS, binned, read_draws
from semconv.report.page import page, write_page
from semconv.report.page_data import NullData, ReasonData, ScoreData, grid_data, limits
from semconv.report.page_heat_maps import HeatCell, category_maps, grid_table
from semconv.report.page_json import embedded
from semconv.report.page_parts import inline
from semconv.report.page_tables import headline_rows
from semconv.report.scales import rounded
from semconv.results.claims import value_at
from semconv.results.schema import Reason, Results, Score
from semconv.study.order import in_order, label_order
from semconv.system.harmless_text import as_code
from semconv.system.shape import plain, read_as
from tests._helpers.made_up import LAYER_PAIRS, MEASURES, NULLS, changed, labelled, results, score_at
from tests._helpers.made_up_page import (
    LINK,
    NASTY,
    Outline,
    claims,
    draws,
    explorer_of,
    labelled_tables,
    large,
    pairs,
    tables,
)

pytest.importorskip("vl_convert")
pytest.importorskip("jinja2")
pytest.importorskip("pyarrow")

Change = Callable[[Results], Results]


def unchanged(found: Results) -> Results:
    return found


def made(change: Change = unchanged) -> Results:
    """The made-up results, changed, in order."""
    return in_order(change(results()))


def drawn(change: Change = unchanged, **given: Any) -> str:
    """The page of the made-up results with everything a run folder can hold."""
    found = made(change)
    parts = {"checked": claims(), "tables": tables(), "draws": draws(found), **given}
    return page(found, parts["checked"], parts["tables"], parts["draws"])


@pytest.fixture(scope="module")
def whole() -> str:
    return drawn()


def test_every_part_is_there(whole: str):
    outline = Outline(whole)
    assert whole.startswith("<!doctype html>")
    assert outline.titles() == [
        "What was found",
        "What was read",
        "Claims",
        "Layer by layer",
        "Null distributions",
        "Controls",
        "Feature pairs",
        "From the published protocol to the corrected one",
        "Semantic categories",
        "Over spans of text",
        "Residual streams",
        "What features do",
        "Filters",
    ]
    sections = {str(a["href"])[1:] for tag, a in outline.tags if tag == "a" and str(a["href"]).startswith("#")}
    ids = outline.ids()
    assert sections <= set(ids)
    assert len(ids) == len(set(ids))
    charts = [a for tag, a in outline.tags if tag == "svg"]
    # Answer and twins; overview, nulls and controls of each measure; of the published steps SVCCA alone has scores.
    # Three of what features do.
    assert len(charts) == 2 + 3 * len(MEASURES) + 1 + 3
    assert all(a["role"] == "img" and a["aria-label"] for a in charts)


BESIDE = {
    "https://arxiv.org/abs/2507.22918",
    "https://arxiv.org/abs/2410.06981",
    "report.md",
    "results.json",
    "pairs.parquet",
    "figures/",
    "ro-crate-metadata.json",
}
"""Where the page leads: the papers, and what lies beside it in the run folder."""


def test_a_browser_has_nothing_to_request(whole: str):
    outline = Outline(whole)
    assert not {tag for tag, _ in outline.tags} & {"link", "iframe", "object", "embed", "base", "img", "video", "audio"}
    for tag, attributes in outline.tags:
        assert not {"src", "srcset", "action", "xlink:href", "background", "style"} & set(attributes), tag
        assert not any(name.startswith("on") for name in attributes), tag
        if "href" in attributes:
            assert str(attributes["href"]).startswith("#") or attributes["href"] in BESIDE
    code = "".join(outline.inside["style"] + [s for s in outline.inside["script"] if not s.startswith("{")])
    for word in (
        "url(",
        "@import",
        "fetch(",
        "XMLHttpRequest",
        "import(",
        "WebSocket",
        "sendBeacon",
        "innerHTML",
        "eval(",
    ):
        assert word not in code
    addresses = set(re.findall(r"https?://[^\s\"'<>\\]+", whole))
    own = {"http://www.w3.org/2000/svg", LINK, LINK.removesuffix("/model/1-res/")}
    assert addresses == {*own, *(to for to in BESIDE if to.startswith("https"))}
    assert {a["href"] for tag, a in outline.tags if tag == "a"} >= BESIDE


def test_the_policy_allows_this_style_and_these_scripts_and_nothing_else(whole: str):
    outline = Outline(whole)
    policy = next(str(a["content"]) for tag, a in outline.tags if a.get("http-equiv") == "Content-Security-Policy")
    allowed = {part.split()[0]: part.split()[1:] for part in policy.split("; ")}
    assert allowed["default-src"] == ["'none'"]
    assert set(allowed) == {"default-src", "style-src", "script-src", "img-src", "base-uri", "form-action"}

    def hashes(parts: list[str]) -> list[str]:
        return [f"'sha256-{base64.b64encode(hashlib.sha256(p.encode()).digest()).decode()}'" for p in parts]

    assert hashes(outline.inside["style"]) == allowed["style-src"]
    assert hashes([s for s in outline.inside["script"] if not s.startswith("{")]) == allowed["script-src"]


def test_text_of_tokens_claims_and_names_stays_text():
    def rename(found: Results) -> Results:
        names = {"model_a.name": NASTY[0], "suite": NASTY[1]}
        return changed(found, {**names, "grid.1x10.measures.rsa": Reason(reason=NASTY[0])})

    text = drawn(rename)
    outline = Outline(text)
    assert [tag for tag, _ in outline.tags].count("script") == 4
    assert "alert(1)</script>" not in text
    assert "<img" not in text
    assert "<b>" not in text
    data = outline.data()
    assert data["names"]["a"] == NASTY[0]
    tokens = data["explorer"]["shared"]["words"]
    assert {NASTY[0], NASTY[1], NASTY[2], "\u2400\u241b\ufffd\ufffd"} <= set(tokens)
    assert data["explorer"]["saes"]["a"]["0"]["link"] == LINK
    assert "javascript:" not in text


def test_embedded_json_is_what_went_in_and_holds_no_sign_of_html():
    value = {"a": [*NASTY, "é\U0001f600\u2029"], "b": [1.5, None, True]}
    text = embedded(value)
    assert json.loads(text) == value
    assert not set(text) & set("<>&\u2028\u2029")
    with pytest.raises(ValueError, match="JSON compliant"):
        embedded(float("nan"))


def test_control_characters_are_seen():
    assert visible("a\nb\tc\x00\x7f") == "a↵b⇥c␀␡"
    assert not set(visible("".join(map(chr, range(0x2000, 0x2070))))) & set(
        "\u202a\u202b\u202d\u202e\u2066\u2067\u2069"
    )


def test_inline_markdown_is_escaped_first():
    assert str(inline("**a <b>** and `c & d`")) == "<strong>a &lt;b&gt;</strong> and <code>c &amp; d</code>"


@pytest.mark.parametrize("text", ["a", "a*b*c **d**", "``register_", "`", "x` `` y`", "<b>"])
def test_code_is_shown_as_it_is_whatever_backticks_it_holds(text: str):
    shown = f"<code>{escape(text)}</code>"
    assert (
        str(inline(f"one {as_code(text)} and {as_code('`')} *more*")) == f"one {shown} and <code>`</code> <em>more</em>"
    )


def read_back(found: Results) -> Results:
    """The results as `results.json` holds them."""
    return read_as(Results, json.loads(json.dumps(plain(found), sort_keys=True)), "results")


def test_the_same_inputs_give_the_same_bytes_also_read_back_from_json(whole: str):
    assert drawn() == whole
    back = in_order(read_back(results()))
    assert page(back, claims(), tables(), draws(back)) == whole


def test_in_order_sorts_layers_by_number_and_measures_by_the_registry():
    grid = dict(reversed(results().grid.items()))
    shuffled = replace(results(), grid={**grid, "10x2": replace(grid["1x2"], layer_a=10, sae_a="10")})
    ordered = in_order(shuffled)
    assert list(ordered.grid) == ["0x2", "1x2", "1x10", "10x2"]
    assert list(ordered.summary) == ["svcca_pc1", "rsa"]
    assert ordered == shuffled


def test_in_order_sorts_every_other_table_by_name():
    ordered = made()
    assert ordered.subspaces
    assert list(score_at(ordered, "0x2", "rsa").nulls) == ["frequency", "rematch", "shuffle"]
    assert list(ordered.subspaces.grid["0x2"]) == ["Nature", "Rare", "Time"]
    assert list(ordered.controls.pairs) == ["other SAE", "untrained"]
    assert list(ordered.read.versions) == ["sae-lens", "tokenizers", "torch", "transformers"]


def test_the_layer_grid_holds_the_scores_and_what_is_not_told_from_the_null():
    qs = (("rematch", 0.2), ("shuffle", 0.01))
    found = changed(made(), {f"grid.1x2.measures.rsa.nulls.{null}.q": q for null, q in qs})
    table = grid_table(found, "rsa", "rematch")
    assert table.columns == ["0", "1"]
    assert [b for b, _ in table.rows] == ["10", "2"]
    (absent, none), (first, second) = (cells for _, cells in table.rows)
    assert absent is None
    assert none == HeatCell("none", index=2)
    assert first
    assert second
    tested = value_at(score_at(found, "1x2", "rsa"), "nulls.rematch.score")
    assert (second.text, second.mark, second.index) == (rounded(tested), "n.s.", 1)
    assert table.title.endswith(": score of strongest pairs")  # what `rematch` tests, not the score of all pairs
    told = grid_table(found, "rsa", "shuffle").rows[1][1][1]
    assert told
    assert (told.text, told.mark, told.beats) == ("0.610", "", True)
    plain = grid_table(found, "rsa", None)
    assert plain.title.endswith(": score of all pairs")
    assert [cell and cell.text for cell in plain.rows[1][1]] == [
        rounded(score_at(found, k, "rsa").score) for k in ("0x2", "1x2")
    ]
    assert first.step is not None
    assert second.step is not None
    assert first.step < second.step


def shown_score(found: ScoreData | ReasonData) -> ScoreData:
    assert "score" in found
    return found


def shown_test(found: NullData | ReasonData) -> NullData:
    assert "score" in found
    return found


def test_the_data_of_the_grid_are_those_of_the_results():
    found = made()
    data = grid_data(found, draws(found))
    shown = [(cell["a"], cell["b"], cell["pairs"]) for cell in data["cells"]]
    assert shown == [("0", "2", 202), ("1", "2", 212), ("1", "10", 220)]
    scored = score_at(found, "1x2", "rsa")
    shown = shown_score(data["measures"]["rsa"]["cells"][1])
    assert shown["score"] == 0.61
    assert shown["interval"] == pytest.approx(scored.interval, rel=1e-3)
    test = shown_test(shown["nulls"]["rematch"])
    assert test["z"] == pytest.approx(value_at(scored, "nulls.rematch.z"), rel=1e-3)
    assert len(test.get("draws", ("", "", "", ""))[3]) == N_BINS
    without = shown_score(grid_data(found, {})["measures"]["rsa"]["cells"][1])
    assert "draws" not in without["nulls"]["rematch"]
    assert data["measures"]["rsa"]["cells"][2] == {"reason": "7 pairs are too few for rsa"}
    of_null, means = (
        [value_at(score_at(found, key, "rsa"), f"nulls.{n}.{field}") for key in ("0x2", "1x2") for n in NULLS]
        for field in ("score", "mean")
    )
    scores = [score_at(found, key, "rsa").score for key in ("0x2", "1x2")]
    assert limits(found, "rsa")["score"] == (min([*scores, *of_null]), max([*scores, *of_null]))  # not from 0 on
    assert limits(found, "rsa")["mean"] == (min(means), max(means))
    assert limits(found, "rsa")["pairs"] == (202.0, 220.0)


def test_histograms():
    found = binned(np.array([0.0, 0.0, 0.0, 1.0, np.nan]))
    assert found is not None
    assert found[:3] == (0.0, 1.0, 4)
    digits = found.digits
    assert digits[0] == "z"
    assert digits[1:-1] == "0" * (N_BINS - 2)
    assert found.heights[-1] == pytest.approx(12 / 35)  # a third of the fullest, rounded up
    assert binned(np.array([np.nan])) is binned(None) is None
    one = binned(np.array([0.5, 0.5]))
    assert one is not None
    assert (one.low, one.high, sorted(one.digits)[-1]) == (0.5, 0.5, "z")


def test_the_headline_has_every_measure_and_null():
    found = made()
    rows = headline_rows(found)
    assert [*map(str, rows.header[-3:])] == [f"above {null}" for null in ("shuffle", "frequency", "rematch")]
    assert [row[0] for row in rows.rows] == ["SVCCA, first component (as published)", "RSA, Spearman"]
    assert rows.rows[0][1:3] == ["1x2", "0.610"]
    assert re.match(r"1 of 2 \([01]x2: 0\.", str(rows.rows[0][-1]))


def test_category_maps_leave_out_what_has_no_score():
    qs = (("0x2.Time", 0.01), ("1x2.Time", 0.2), ("0x2.Nature", None))
    found = changed(made(), {f"subspaces.grid.{cell}.measures.rsa.nulls.shuffle.q": q for cell, q in qs})
    assert found.subspaces
    (one,) = category_maps(found, found.subspaces)
    shown = [[cell for cell in cells if cell] for _, cells in one.rows]
    assert [[cell.beats for cell in cells] for cells in shown] == [[False, False], [True, False]]
    assert [name for name, _ in one.rows] == ["Nature", "Time"]
    assert one.columns == ["0x2", "1x2"]
    assert all(cell.step is not None for cells in shown for cell in cells)


def _without(*names: str) -> Change:
    return lambda found: changed(found, dict.fromkeys(names))


def _fast(found: Results) -> Results:
    """What `--fast` leaves out."""

    def fast(score: Score | Reason) -> Score | Reason:
        if isinstance(score, Reason):
            return score
        return replace(score, interval=None, nulls={n: test for n, test in score.nulls.items() if n != "rematch"})

    grid = {
        key: replace(pair, measures={name: fast(score) for name, score in pair.measures.items()})
        for key, pair in found.grid.items()
    }
    changes = {f"summary.{name}.nulls.rematch": ... for name in found.summary}
    changes |= {f"summary.{name}.best_interval": None for name in found.summary}
    return changed(found, {"grid": grid, "published": None, "fast": True, "null.n_rematch": 0, **changes})


def _no_controls(found: Results) -> Results:
    return changed(found, {f"controls.{part}": {} for part in ("self_match", "pairs", "strongest")})


def _no_score(found: Results) -> Results:
    none = {"measures": {name: Reason(reason="none") for name in MEASURES}, "mean_r": None, "pairs": 0}
    nothing = {"layer_pairs": 0, "best_layer_pair": None, "best_score": None, "best_interval": None}
    nothing |= {"mean_score": None, "nulls": {}}
    of_grid = {f"grid.{key}.{field}": new for key in LAYER_PAIRS for field, new in none.items()}
    return changed(
        found, {**of_grid, **{f"summary.{name}.{field}": new for name in MEASURES for field, new in nothing.items()}}
    )


def _undefined_null(found: Results) -> Results:
    svcca = "grid.1x2.measures.svcca_pc1.nulls.shuffle"
    none = Reason(reason="3 of 56 draws have no score")
    return changed(found, {"grid.1x2.measures.rsa.nulls.rematch": none, f"{svcca}.z": None, f"{svcca}.sd": None})


@pytest.mark.parametrize(
    ("change", "given", "there", "gone"),
    [
        (_without("published", "subspaces", "spans", "streams", "function"), {}, "Filters", "Semantic categories"),
        (_fast, {}, "A fast run", "shifts of the text"),
        (_no_controls, {}, "No untrained twin was compared", "How far from chance"),
        (_no_score, {}, "too few pairs", "100 draws"),
        (_undefined_null, {}, "3 of 56 draws have no score", ">nan<"),
        (unchanged, {"checked": []}, "Layer by layer", 'id="claims"'),
        (unchanged, {"tables": None}, "holds no <code>pairs.parquet</code>", 'id="query"'),
        (unchanged, {"tables": explorer_of(pairs())}, "holds no <code>shared_contexts.parquet</code>", "before100"),
        (unchanged, {"tables": explorer_of([], [], [])}, "Feature pairs", "before100"),
        (unchanged, {"draws": {}}, "holds no draws", "100 draws"),
    ],
)
def test_results_that_lack_something_make_a_page(change: Change, given: dict[str, Any], there: str, gone: str):
    text = drawn(change, **given)
    Outline(text)
    assert there in text
    assert gone not in text


@pytest.mark.slow
def test_a_grid_of_gemma_size_stays_small():
    found = in_order(large())
    text = page(found, [], tables(), draws(found))
    outline = Outline(text)
    assert len(text.encode()) < 5 * 2**20
    assert [a["class"] for tag, a in outline.tags if tag == "table" and a.get("id") == "map"] == ["heat dense fine"]
    assert sum("data-cell" in a for _, a in outline.tags) == 26 * 42
    assert "every number is in <code>report.md</code>" in text
    assert "zoom" in outline.ids()
    assert "zoom" not in Outline(drawn()).ids()


@pytest.mark.slow
def test_the_report_of_a_folder_has_every_file_and_no_part_of_one(tmp_path: Path):
    write_report(results(), claims(), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"figures", "index.html", "report.md"}
    assert "holds no <code>pairs.parquet</code>" in (tmp_path / "index.html").read_text()
    (tmp_path / "nulls.safetensors").write_bytes(b"junk")
    (tmp_path / "index.html").write_text("old")
    with pytest.raises(InputError, match="nulls.safetensors is missing or damaged"):
        write_page(in_order(results()), [], tmp_path)
    assert (tmp_path / "index.html").read_text() == "old"


def test_draws_are_read_under_the_names_the_pipeline_writes(tmp_path: Path):
    import torch

    from semconv.system.files import write_tensors

    assert read_draws(tmp_path) == {}
    write_tensors(tmp_path / "nulls.safetensors", {"0x2.shuffle.rsa": torch.arange(3.0, dtype=torch.float64)})
    assert read_draws(tmp_path)["0x2.shuffle.rsa"].tolist() == [0.0, 1.0, 2.0]


def test_saes_with_labels_stand_where_layers_do():
    """Order is by layer and label, and what tables, heat maps, charts and filters show are the labels."""
    found = in_order(labelled())
    assert list(found.grid) == ["2.mlp_out x 5", "2.res-16k x 5", "2.res-16k x 5.width_131k"]
    assert list(found.model_a.saes) == ["2.mlp_out", "2.res-16k"]
    table = grid_table(found, "rsa", "rematch")
    assert (table.columns, table.long) == (["2.mlp_out", "2.res-16k"], True)
    assert [(b, [cell and cell.index for cell in cells]) for b, cells in table.rows] == [
        ("5.width_131k", [None, 2]),
        ("5", [0, 1]),
    ]
    whole = page(found, [], labelled_tables(), draws(found))
    for shown in ("<option>2.res-16k</option>", "cross-model: layers 2.res-16k x 5", ">2.mlp_out</text>"):
        assert shown in whole, shown
    assert json.dumps(plain(in_order(read_back(found)))) == json.dumps(plain(found))


def test_numbers_in_labels_are_sorted_by_their_value():
    labels = ["2.width_131k", "2.width_16k", "2.mlp_out", "2"]
    assert sorted(labels, key=lambda label: label_order(2, label)) == ["2", "2.mlp_out", "2.width_16k", "2.width_131k"]
