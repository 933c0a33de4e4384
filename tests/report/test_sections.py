"""Sections of the report: every cell of the results is there, in its row and under its heading."""

from __future__ import annotations

import pytest

from semconv.report import sections
from semconv.report.page_tables import headline_rows
from semconv.report.result_values import null_names, title_of
from semconv.report.rows import seed_rows
from semconv.report.shown import show
from semconv.results.claims import value_at
from semconv.results.schema import BestOfGrid, NullTest, Reason, Results, Score, SeedCeiling, SeedRange
from tests._helpers.made_up import LAYER_PAIRS, MEASURES, NULLS, changed, results, score_at


def tables(text: str) -> list[list[dict[str, str]]]:
    """The tables of a text, each row as heading -> cell; headings that stand twice get a number."""
    found: list[list[dict[str, str]]] = []
    lines = text.splitlines()
    for at, line in enumerate(lines):
        if not line.startswith("|---"):
            continue
        head = [cell.strip() for cell in lines[at - 1].strip("|").split("|")]
        names = [name if name not in head[:i] else f"{name} {i}" for i, name in enumerate(head)]
        rows: list[dict[str, str]] = []
        for row in lines[at + 1 :]:
            if not row.startswith("|"):
                break
            cells = [cell.strip() for cell in row.removeprefix("|").removesuffix("|").split("|")]
            rows.append(dict(zip(names, cells, strict=True)))
        found.append(rows)
    return found


@pytest.mark.parametrize("name", MEASURES)
def test_a_measure_shows_every_layer_pair_and_every_null(name: str):
    made = results()
    rows = {row["A x B layer"]: row for row in tables(sections.measure_section(made, name))[0]}
    assert set(rows) == set(LAYER_PAIRS)
    for key in ("0x2", "1x2"):
        score, row = score_at(made, key, name), rows[key]
        assert row["pairs"] == str(made.grid[key].pairs)
        assert row["score"] == show(score.score)
        assert score.interval
        assert row["score of the strongest pairs"] == show(value_at(score, "nulls.rematch.score"))
        assert row["95% interval"] == f"{show(score.interval[0])} to {show(score.interval[1])}"
        for null in NULLS:
            for field in ("mean", "sd", "z", "calibrated", "p", "q"):
                assert row[f"{null}: {field}"] == show(value_at(score, f"nulls.{null}.{field}"))
    assert rows["1x10"]["note"] == f"7 pairs are too few for {name}"
    assert {value for head, value in rows["1x10"].items() if head not in ("A x B layer", "pairs", "note")} == {"-"}


def test_saturation_a_null_without_a_p_and_no_interval_are_told():
    cell, none = "grid.0x2.measures.rsa", Reason(reason="3 of 56 draws have no score")
    changes = {f"{cell}.saturated": True, f"{cell}.interval": None, f"{cell}.nulls.rematch": none}
    made = changed(results(), changes)
    row = tables(sections.measure_section(made, "rsa"))[0][0]
    assert row["note"] == "saturated; rematch: 3 of 56 draws have no score"
    assert row["rematch: p"] == "-"
    assert row["shuffle: p"] != "-"


def test_only_nulls_that_were_drawn_are_shown():
    made = changed(results(), {f"summary.{name}.nulls.rematch": ... for name in MEASURES})
    assert null_names(made) == ["shuffle", "frequency"]
    assert "rematch" not in sections.measure_section(made, "rsa")
    assert "rematch" not in sections.grid_tests_section(made)


def test_the_grid_tests_show_every_measure_and_null():
    made = changed(results(), {"summary.rsa.nulls.rematch.best_of_grid": Reason(reason="no p")})
    rows = tables(sections.grid_tests_section(made))[0]
    assert [(row["measure"], row["null"]) for row in rows] == [
        (title, null) for title in ("RSA, Spearman", "SVCCA, first component (as published)") for null in NULLS
    ]
    best = made.summary["svcca_pc1"].nulls["frequency"].best_of_grid
    assert isinstance(best, BestOfGrid)
    assert rows[4]["q < 0.05 (BH)"] == "1 of 2"
    assert rows[4]["q < 0.05 (BY)"] == "0 of 2"
    key, test = _best(made, "svcca_pc1", "frequency")
    assert (rows[4]["best layer pair"], rows[4]["score of"]) == (key, "all pairs")
    assert (rows[4]["its score"], rows[4]["its null mean"]) == (show(test.score), show(test.mean))
    assert rows[4]["calibrated"] == show(test.calibrated)
    assert rows[4]["mean of the best of each draw, calibrated"] == show(best.null_mean)
    assert rows[4]["p of the best"] == show(best.p)
    assert rows[2]["p of the best"] == "-"


def _best(made: Results, measure: str, null: str) -> tuple[str, NullTest]:
    """The layer pair whose calibrated score is the highest, and its test, found apart from the report."""
    found = {key: value_of for key in made.grid if isinstance(value_of := _test_at(made, key, measure, null), NullTest)}
    key = max(found, key=lambda key: found[key].calibrated or 0)
    return key, found[key]


def _test_at(made: Results, key: str, measure: str, null: str) -> object:
    found = made.grid[key].measures[measure]
    return found.nulls[null] if isinstance(found, Score) else None


def test_the_best_of_the_grid_is_one_cell_with_its_own_score():
    """A null that matches again tests another score: the best by it was printed under the best by the other.

    The best is that of the highest calibrated score, not of the highest score.
    """
    changes = {"0x2": (0.61, 0.1), "1x2": (0.48, 0.3)}
    made = changed(
        results(),
        {
            f"grid.{key}.measures.rsa.nulls.rematch.{field}": value
            for key, values in changes.items()
            for field, value in zip(("score", "calibrated"), values, strict=True)
        }
        | {"grid.0x2.measures.rsa.score": 0.9, "summary.rsa.best_layer_pair": "0x2", "summary.rsa.best_score": 0.9},
    )
    row = tables(sections.grid_tests_section(made))[0][2]
    assert (row["null"], row["best layer pair"], row["its score"]) == ("rematch", "1x2", "0.480")
    assert row["score of"] == "strongest pairs"
    test = score_at(made, "1x2", "rsa").nulls["rematch"]
    assert row["its null mean"] == show(value_at(test, "mean"))
    of_page = headline_rows(made).rows[0]
    assert of_page[1] == "0x2"
    assert f"1x2: 0.480, null {value_at(test, 'mean'):.3f}" in str(of_page[-1])


@pytest.mark.parametrize(("q", "shown"), [((0.01, 0.9), "0x2: 0.300"), ((0.9, 0.9), "1x2: 0.800")])
def test_below_a_count_stands_a_layer_pair_that_is_counted_and_the_best_of_these(q: tuple[float, float], shown: str):
    """One of a higher score that lies below its null stood under a count of those above it."""
    changes: dict[str, object] = {}
    for key, of_q, score, mean in zip(("0x2", "1x2"), q, (0.3, 0.8), (0.2, 0.5), strict=True):
        numbers = {"q": of_q, "p": 0.5, "score": score, "mean": mean, "calibrated": score / 10}
        changes |= {f"grid.{key}.measures.rsa.nulls.rematch.{name}": value for name, value in numbers.items()}
    assert shown in str(headline_rows(changed(results(), changes)).rows[0][-1])


def test_controls_show_selves_kinds_and_halves():
    made = results()
    selves, kinds, seeds, halves = tables(sections.controls_section(made))
    assert [(row["SAE and its other seeds"], row["RSA, Spearman"]) for row in seeds] == [("small/1", "0.711 to 0.734")]
    assert selves[0]["found themselves"] == "99.9%"
    assert (selves[0]["RSA, Spearman"], selves[0]["SVCCA, first component (as published)"]) == ("1", "-")
    assert [(row["kind"], row["pair"]) for row in kinds] == [
        ("floor", "untrained"),
        ("cross-model", "layers 1x2"),
        ("ceiling", "other SAE"),
        ("floor", "untrained, 212 strongest"),
        ("cross-model", "layers 1x2, 212 strongest"),
    ]
    for row, (score, z) in zip(kinds, ((0.34, 4.0), (0.61, 9.0), (0.97, 30.0)), strict=False):
        assert row["RSA, Spearman"].startswith(f"{show(score)} (z {show(z)}, p 0.")
    assert [row["A x B layer"] for row in halves] == list(LAYER_PAIRS)
    for row, key in zip(halves, LAYER_PAIRS, strict=True):
        assert row["same best partner"] == show(made.grid[key].split_half.same_partner)


def test_a_side_that_found_nothing_shows_a_dash_and_no_percentage():
    own = "controls.self_match.small/0"
    made = changed(results(), {f"{own}.features": 0, f"{own}.found_itself": None, f"{own}.lowest_r": None})
    row = tables(sections.controls_section(made))[0][0]
    assert row["found themselves"] == row["lowest r"] == "-"


def test_without_controls_of_pairs_only_selves_and_halves_are_shown():
    made = changed(results(), {"controls.pairs": {}, "controls.strongest": {}, "controls.seeds": None})
    assert len(tables(sections.controls_section(made))) == 2
    assert "controls.png" not in sections.controls_section(made)


def test_every_published_step_is_shown_with_scores_or_reasons():
    made = results()
    assert made.published
    rows = tables(sections.published_section(made, made.published))[0]
    assert [row["step (each on top of those above)"] for row in rows] == ["as published", "exact Pearson r"]
    for row, step in zip(rows, made.published.steps, strict=True):
        assert row["pairs"] == "345"
        p = value_at(step.svcca, "p")
        assert (row["SVCCA"], row["its null mean"]) == tuple(
            show(value_at(step.svcca, field)) for field in ("score", "null_mean")
        )
        assert row["p"] == ("≥ 0.999" if p >= 0.9995 else show(p))  # what three digits would print as 1
        assert row["RSA"] == "too few for RSA"


def test_every_category_cell_is_shown_or_counted():
    made = results()
    assert made.subspaces
    text = sections.subspaces_section(made, made.subspaces)
    cells, relations = tables(text)
    assert [(row["A x B layer"], row["category"]) for row in cells] == [
        (key, name) for key in ("0x2", "1x2") for name in ("Time", "Nature")
    ]
    assert "2 category cells hold too few" in text
    scored = made.subspaces.grid["1x2"]["Nature"].measures["rsa"]
    assert cells[3]["RSA, Spearman"] == show(value_at(scored, "score"))
    for head, field in ((": null mean", "mean"), (": p", "p"), (": q", "q")):
        assert cells[3][f"RSA, Spearman{head}"] == show(value_at(scored, f"nulls.shuffle.{field}"))
    assert relations[0]["rho"] == show(value_at(made, "subspaces.relations.0x2.rho"))
    assert (relations[0]["categories"], relations[0]["note"]) == ("3", "exact")
    assert (relations[1]["rho"], relations[1]["note"]) == ("-", "at least 3 categories")


def test_the_smallest_p_of_a_relation_is_marked_where_permutations_were_drawn():
    made = results()
    assert made.subspaces
    drawn = {"subspaces.relations.0x2.p": 1 / (made.null.n_permutations + 1), "subspaces.relations.0x2.exact": False}
    rows = tables(sections.subspaces_section(changed(made, drawn), changed(made, drawn).subspaces or made.subspaces))[1]
    assert rows[0]["p"].startswith("≤ ")
    drawn["subspaces.relations.0x2.exact"] = True
    rows = tables(sections.subspaces_section(changed(made, drawn), changed(made, drawn).subspaces or made.subspaces))[1]
    assert not rows[0]["p"].startswith("≤ ")


def test_a_measure_that_refuses_a_category_says_why():
    made = changed(results(), {"subspaces.grid.0x2.Time.measures.rsa": Reason(reason="it refuses")})
    assert made.subspaces
    assert tables(sections.subspaces_section(made, made.subspaces))[0][0]["RSA, Spearman"] == "it refuses"


def test_every_span_cell_is_shown_with_scores_or_reasons():
    made = results()
    assert made.spans
    text = sections.spans_section(made, made.spans)
    rows = tables(text)[0]
    assert "98,765 sentences of 12.3 tokens" in text
    assert [row["A x B layer"] for row in rows] == list(LAYER_PAIRS)
    score, q = (value_at(made, f"spans.grid.0x2.measures.rsa.{path}") for path in ("score", "nulls.shuffle.q"))
    assert rows[0]["RSA, Spearman"] == f"{show(score)} (q {show(q)})"
    assert [row["note"] for row in rows] == [
        "",
        "3 pairs, at least 50 are needed",
        "SVCCA, first component (as published): it refuses",
    ]


def test_streams_are_shown_as_they_are_and_within_tokens_with_reasons():
    made = results()
    assert made.streams
    text = sections.streams_section(made.streams, 1234)
    rows = tables(text)[0]
    assert "at 40,178 positions of 224 documents (RSA at 2,000 of them)" in text
    assert "611 positions whose token occurs only once" in text
    assert [row["A x B layer"] for row in rows] == list(LAYER_PAIRS)
    for measure in ("cka_unbiased", "rsa"):
        for variant, suffix in (("raw", ""), ("within_token", ", within tokens")):
            wanted = value_at(made, f"streams.grid.1x2.{variant}.measures.{measure}.score")
            assert rows[1][title_of(measure) + suffix] == show(wanted)
    assert rows[0]["directions of SVCCA"] == "21 x 34"
    assert [row[f"{title_of('svcca_variance')}, within tokens"] == "-" for row in rows] == [True, False, False]
    assert [row["note"] for row in rows] == ["too few positions", "", ""]
    decoders = tables(text)[1]
    of = {
        "cosine, assigned": ("stitched.assigned_cosine", "shift"),
        "cosine, best": ("stitched.best_cosine", "shift"),
        "same partner as by r": ("stitched.same_partner", "shift"),
        "mean best r, A": ("best_r_a", "shift"),
        "mean best r, B": ("best_r_b", "shift"),
        "RSA given both": ("partial_rsa.both", "shuffle"),
    }
    too_small = ("same partner as by r", "mean best r, A", "mean best r, B")  # their p, by the calibration study
    for column, (name, null) in of.items():
        found = value_at(made, f"streams.grid.0x2.decoders.{name}")
        score, mean, p = (value_at(found, path) for path in ("score", f"nulls.{null}.mean", f"nulls.{null}.p"))
        told = "" if column in too_small else f", p {show(p)}"
        assert decoders[0][column] == f"{show(score)} ({show(mean)}{told})"
    assert [row["note"] for row in decoders] == ["", "it is a transcoder", "it has no head"]
    assert (decoders[1]["R² A to B"], decoders[2]["RSA given both"]) == ("-", "-")


def test_filters_show_every_count():
    made = results()
    rows = tables(sections.filters_section(made))[0]
    for row, key in zip(rows, LAYER_PAIRS, strict=True):
        filters = made.grid[key].filters
        assert (row["A x B layer"], row["features of large"]) == (key, "512")
        assert (row["both features vary"], row["r > 0.1"]) == tuple(str(step.after) for step in filters)
        assert row["never vary (small / large)"] == "11 / 12"
        assert row["quantisation above 1e-3 (small / large)"] == "13 / 14"


def test_what_the_results_hold_stands_under_its_own_measure():
    """Results that were read hold measures by name; a table has the order of the summary."""
    found = results()
    measures = list(found.summary)
    at = sorted(enumerate(measures), key=lambda one: one[1], reverse=True)
    ranges = {name: SeedRange(n=3, lowest=place, mean=place, highest=place + 0.5) for place, name in at}
    seeds = {"small/1": SeedCeiling(pairs_lowest=5, pairs_highest=6, measures=ranges)}
    rows = seed_rows(changed(found, {"controls.seeds": seeds}))
    (row,) = rows.rows
    assert row[2:] == [f"{show(place)} to {show(place + 0.5)}" for place in range(len(measures))]
    assert rows.header[2:] == [title_of(name) for name in measures]
