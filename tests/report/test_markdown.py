"""The report: says first and plainly whether the floor is beaten, and holds every part of the results."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from semconv.report.answer import answer
from semconv.report.beyond_tokens import beyond_tokens
from semconv.report.markdown import claims_table, headline, write_markdown
from semconv.report.page import page
from semconv.report.page_data import grid_data
from semconv.report.page_heat_maps import grid_table
from semconv.report.page_tables import facts, headline_rows
from semconv.report.result_values import control_rows, key_of, score_of
from semconv.report.rows import grid_test_rows
from semconv.report.shown import show
from semconv.report.texts import SEEDS_TEXT, interval_covers, least_together, text_compared
from semconv.report.told_apart import undecided
from semconv.report.verdict import embeddings_rows, embeddings_verdict, floor_comparison, floor_verdict
from semconv.results.claims import Checked, Claim, about, value_at
from semconv.results.schema import Reason, Results, Spread
from tests._helpers.made_up import MEASURES, changed, read_by_b, results
from tests._helpers.made_up_page import tables

TOO_FEW = {name: Reason(reason="too few") for name in MEASURES}
TITLES = ("RSA, Spearman", "SVCCA, first component (as published)")


def with_p(made: Results, p: float, floor_p: float, null: str = "shuffle") -> Results:
    """The results with a p of every test against a null, of the trained models and of their twins at layers 1 x 2."""
    cells = {"grid.1x2": p, "controls.pairs.untrained": floor_p}
    changes = {f"{cell}.measures.{name}.nulls.{null}.p": value for cell, value in cells.items() for name in MEASURES}
    return changed(made, changes | _tested(made))


def _tested(made: Results) -> dict[str, object]:
    """What a test against the shuffled pairing tests is the score itself."""
    cells = {"grid.1x2": made.grid["1x2"], "controls.pairs.untrained": made.controls.pairs["untrained"]}
    return {
        f"{path}.measures.{name}.nulls.shuffle.score": value_at(cell, f"measures.{name}.score")
        for path, cell in cells.items()
        for name in MEASURES
    }


def test_a_floor_that_is_beaten_is_told_by_tests():
    """A count of measures is one of tests with p below 0.05, and says that the difference itself has none."""
    text = floor_verdict(with_p(results(0.61, 9.0, 0.34, 4.0), 0.001, 0.2))
    assert text.startswith("At layers 1 x 2, where the suite has untrained twins, on all their pairs (212 and 212), ")
    assert "the trained models lie above `shuffle` by 2 of 2 measures and their twins by 0" in text
    assert "Whether one lies further above than the other has no test" in text
    assert "beat" not in text
    assert "They do not" not in text
    rows = floor_comparison(with_p(results(0.61, 9.0, 0.34, 4.0), 0.001, 0.2)).rows
    assert rows is not None
    assert [row[:5] for row in rows.rows] == [[title, 0.61, 0.34, 9.0, 4.0] for title in TITLES]


@pytest.mark.parametrize(("score", "floor_score", "told"), [(0.61, 0.34, False), (0.34, 0.61, True), (0.5, 0.5, True)])
def test_a_floor_that_scores_as_high_is_warned_of(score: float, floor_score: float, told: bool):
    text = floor_verdict(with_p(results(score, 9.0, floor_score, 9.0), 0.001, 0.001))
    assert "by 2 of 2 measures and their twins by 2," in text
    assert (f"**They do not score higher by {TITLES[0]} {score:.3f} against {floor_score:.3f}" in text) == told
    assert ("no more than what SAEs of models that learned nothing show" in text) == told


def test_no_measure_is_dropped_without_a_word():
    """One whose draws do not differ has no z: it is left out by name, and the count says of how many measures it is."""
    made = with_p(results(), 0.001, 0.2)
    flat = {f"controls.pairs.untrained.measures.svcca_pc1.nulls.shuffle.{field}": 0.0 for field in ("sd",)}
    text = floor_verdict(changed(made, flat))
    assert "by 1 of 1 measures and their twins by 0" in text
    assert f"Left out: {TITLES[1]} (no draw differs from another)." in text
    none = changed(made, {"controls.pairs.untrained.measures.svcca_pc1": Reason(reason="too few")})
    assert f"Left out: {TITLES[1]} (it does not score both)." in floor_verdict(none)


def test_without_a_floor_nothing_is_said_to_be_learned():
    made = changed(results(), {"controls.pairs.untrained": ...})
    assert floor_verdict(made).startswith("No untrained twin was compared")
    made = changed(results(), {"controls.pairs.untrained.sae_a": "7"})  # not in the grid
    assert floor_verdict(made).startswith("No untrained twin was compared at layers of the grid")


def test_a_floor_is_compared_with_the_layers_it_has():
    made = with_p(results(), 0.001, 0.2)
    floor = made.controls.pairs["untrained"]
    elsewhere = replace(floor, sae_a="7", measures={name: Reason(reason="of other layers") for name in MEASURES})
    made = changed(made, {"controls.pairs": {"elsewhere": elsewhere, "untrained": floor}})
    assert "by 2 of 2 measures" in floor_verdict(made)


def test_a_floor_without_pairs_is_scored_on_its_strongest():
    """By the score of the pairs that the sentence names, which the table and the chart of the controls show too."""
    changes: dict[str, object] = {"controls.pairs.untrained.measures": TOO_FEW}
    for name, wins in zip(MEASURES, (True, False), strict=True):
        for side, score in (("floor", 0.5), ("trained", 0.6 if wins else 0.4)):
            found = f"controls.strongest.untrained.{side}.measures.{name}"
            changes |= {f"{found}.score": score, f"{found}.nulls.rematch.p": 0.01 if side == "trained" else 0.5}
            changes[f"{found}.nulls.rematch.score"] = 1 - score
    made = changed(results(), changes)
    text = floor_verdict(made)
    assert f"On the {made.controls.strongest['untrained'].trained.pairs} strongest pairs of each" in text
    assert "the trained models lie above `rematch` by 2 of 2 measures and their twins by 0" in text
    assert f"**They do not score higher by {TITLES[1]} 0.400 against 0.500**" in text


def test_a_floor_without_scores_says_so():
    made = changed(results(), {"controls.strongest": {}, "controls.pairs.untrained.measures": TOO_FEW})
    text = floor_verdict(made)
    assert "no measure scores both" in text
    floor, cross = (next(cell for k, _, cell in control_rows(made) if k == kind) for kind in ("floor", "cross-model"))
    assert f"{floor.pairs} of their twins" in text
    assert f"{cross.pairs} feature pairs of the trained models" in text
    assert "lie above" not in text


def test_twins_with_trained_embeddings_are_a_floor_of_their_own():
    made = results()
    assert embeddings_verdict(made) == ""
    twin = replace(made.controls.pairs["untrained"], trained_embeddings=True)
    both = changed(made, {"controls.pairs": {"blocks": twin, **made.controls.pairs}})
    assert floor_verdict(both) == floor_verdict(made)  # which is about models that learned nothing
    assert "untrained blocks in 1 of 1 comparisons" in embeddings_verdict(both)
    assert embeddings_rows(both).rows == [
        ["blocks", "1x2", "all that pass every filter", 212, twin.pairs, 0.61, 0.34],
    ]
    assert embeddings_verdict(both).endswith("So trained blocks add to the agreement that the embeddings bring.")
    low = changed(both, {f"grid.{key_of(twin)}.measures.rsa.score": 0.3})
    assert "**So nothing here says that trained blocks add" in embeddings_verdict(low)
    higher = replace(made.controls.strongest["untrained"], trained=made.grid["1x2"], floor=twin)
    mixed = changed(low, {"controls.strongest": {"blocks": changed(higher, {"trained.measures.rsa.score": 0.9})}})
    assert embeddings_rows(mixed).rows[1] == ["blocks", "1x2", "as many of the strongest", 212, 212, 0.9, 0.34]
    assert "in 1 of 2 comparisons" in embeddings_verdict(mixed)
    assert "**The answer depends on which pairs are scored" in embeddings_verdict(mixed)
    none = changed(made, {"controls.pairs": {"blocks": twin}})
    assert floor_verdict(none).startswith("No untrained twin was compared")


def test_the_headline_holds_the_numbers_of_the_summary():
    made = results()
    lines = headline(made).splitlines()[6:]  # after the answer
    assert len(lines) == 2 * (1 + 3)
    rsa = made.summary["rsa"]
    assert lines[0].startswith(
        "- **RSA, Spearman**: best at layers 1x2 of small x large, by calibrated score against `rematch`: 0.610 "
        "(95% interval for the best of 2 layer pairs, over documents, features and seeds: "
    )
    assert f"mean over the grid {rsa.mean_score:.3f}" in lines[0]
    best = value_at(rsa, "nulls.shuffle.best_of_grid.p")
    assert "`shuffle`: 1 of 2 layer pairs lie above it (q < 0.05)" in lines[1]
    assert f"p of the best of the grid {show(best)}" in lines[1]


@pytest.mark.parametrize(("smallest", "least"), [(0.0499, 1), (0.05, 2), (0.0999, 2), (0.15, 4), (9 / 21, 9)])
def test_beside_every_count_stands_how_many_must_be_found_together(smallest: float, least: int):
    """In command line (`headline`), the table of tests, the page's summary and the answer."""
    changes: dict[str, object] = {f"summary.{name}.nulls.rematch.smallest_q": smallest for name in MEASURES}
    changes |= {f"summary.{name}.nulls.rematch.layer_pairs": 8 for name in MEASURES}
    made = changed(results(), changes)
    said = f"at least {least} together or none" if least <= 8 else "none possible with so few draws"
    lines = headline(made).splitlines()
    above = f"1 of 8 layer pairs lie above it (q < 0.05{f'; {said}' if least > 1 else ''})"
    assert above in lines[9]
    assert said not in lines[7]
    assert (said in str(headline_rows(made).header[-1])) == (least > 1)
    assert [row[5] for row in grid_test_rows(made).rows][2] == smallest
    reach = f"at least {least} layer pairs reach" if least <= 8 else "no layer pair can reach"
    assert (f"draws of the null {reach} q < 0.05" in answer(made).sure) == (least > 1)


def test_benjamini_hochberg_finds_so_many_together_or_none():
    """`least_together` against the q of every number of tests that are above all of m draws."""
    for n, m in ((16, 100), (9, 20), (3, 59), (40, 999)):
        found = next(k for k in range(1, n + 1) if n / (k * (m + 1)) < 0.05)
        null = replace(results().summary["rsa"].nulls["shuffle"], smallest_q=n / (m + 1), layer_pairs=n)
        assert least_together(null) == found


def test_beside_a_count_of_one_measure_stands_what_is_not_the_same_of_all():
    made = changed(results(), {"summary.rsa.nulls.rematch.smallest_q": 0.06})
    assert ["at least 2 together or none" in str(row[-1]) for row in headline_rows(made).rows] == [True, False]


def test_where_the_number_of_draws_decides_it_cannot_be_told():
    """Above all 56 draws and not below 0.05: not `not significant`, as in the published SVCCA of a former run."""
    cells = {"0x2": (1 / 57, 0.07), "1x2": (3 / 57, 0.07)}
    changes: dict[str, object] = {"summary.rsa.nulls.rematch.significant": 0}
    for key, (p, q) in cells.items():
        changes |= {f"grid.{key}.measures.rsa.nulls.rematch.{name}": n for name, n in (("p", p), ("q", q))}
    made = changed(results(), changes)
    assert undecided(made, "rsa", "rematch") == 1
    said = "1 cannot be told: above every draw, but too few draws"
    assert said in str(headline_rows(made).rows[0][-1])
    assert said in headline(made)
    assert "; 1 cannot be told" in answer(made).sure
    assert grid_test_rows(made).rows[2][4] == 1
    marks = [[cell.mark for cell in cells if cell] for _, cells in grid_table(made, "rsa", "rematch").rows]
    assert marks == [[""], ["?", "n.s."]]
    of_script = [cell.get("nulls", {}) for cell in grid_data(made, {})["measures"]["rsa"]["cells"]]
    assert [nulls.get("rematch", {}).get("mark") for nulls in of_script] == ["?", "n.s.", None]


def test_how_far_scores_move_stands_beside_them_and_the_ceilings_by_seed_below(tmp_path: Path):
    made = results()
    write_markdown(made, (), tmp_path / "report.md")
    report = (tmp_path / "report.md").read_text()
    assert "| sd over documents / features / seeds | across seeds |" in report
    assert "| 0.0113 / 0.0224 / 0.0335 | 0.211 to 0.234 |" in report
    assert SEEDS_TEXT in report
    assert "| small/1 | 611 to 622 | 0.711 to 0.734 | - |" in report
    without = changed(made, {"controls.seeds": None})
    write_markdown(without, (), tmp_path / "report.md")
    assert SEEDS_TEXT not in (tmp_path / "report.md").read_text()


def test_an_interval_says_what_it_covers():
    made = results()
    scored = [(key, name) for key in made.grid for name in MEASURES if score_of(made.grid[key], name)]
    spreads = [f"grid.{key}.measures.{name}.spread" for key, name in scored]
    alone = changed(made, dict.fromkeys(spreads, Spread(documents=0.1, total=0.1, dof=3.0)))
    assert interval_covers(alone, 1) == "over documents"
    assert interval_covers(changed(made, dict.fromkeys(spreads, None)), 2) == ""


def test_a_measure_that_compared_nothing_is_told_without_a_number():
    nothing = {"layer_pairs": 0, "nulls": {}, "best_score": None, "best_layer_pair": None, "mean_score": None}
    made = changed(results(), {f"summary.rsa.{field}": new for field, new in nothing.items()})
    assert headline(made).startswith("By RSA, Spearman no layer pair left enough feature pairs to be tested.")
    assert headline(made).splitlines()[2] == (
        "- **RSA, Spearman**: no layer pair left enough feature pairs to compare."
    )


def test_claims_show_expected_observed_and_verdict():
    claim = Claim("C1", "It | holds.", "here", "mini", "a.b", "within", 0.5, 0.1)
    row = claims_table([Checked(claim, 0.61, "FAIL"), Checked(claim, None, "not run")]).splitlines()[2:]
    assert row == [
        "| C1 | It \\| holds. | within 0.5 ± 0.1 | 0.61 | FAIL |",
        "| C1 | It \\| holds. | within 0.5 ± 0.1 | - | not run |",
    ]


def test_claims_have_a_section(tmp_path: Path):
    claim = Claim("C1", "It holds.", "here", "made-up", "a.b", "equal", 1)
    write_markdown(results(), [Checked(claim, 1, "pass")], tmp_path / "report.md")
    assert "## Claims\n\n1 of the expected numbers holds, 0 fail.\n\n| claim |" in (tmp_path / "report.md").read_text()


HOSTILE = "<script>x</script><b> ![i](http://e/x.png) [c](javascript:alert) \x1b[2J \u202e | `a`\n\n# forged\n- x"


def test_nothing_in_results_or_claims_is_markup(tmp_path: Path):
    markdown_it = pytest.importorskip("markdown_it")
    plain = results()
    kept = ("layer_a", "layer_b", "sae_a", "sae_b", "kind", "hook", "best_layer_pair")

    def spoil(value: Any, key: str = "") -> Any:
        if is_dataclass(value) and not isinstance(value, type):
            return replace(value, **{one.name: spoil(getattr(value, one.name), one.name) for one in fields(value)})
        if isinstance(value, dict):
            return {k: spoil(v, k) for k, v in value.items()}
        if isinstance(value, tuple):
            return tuple(spoil(v, key) for v in value)
        return value + HOSTILE if isinstance(value, str) and key not in (*kept, "rows") else value

    made: Results = replace(spoil(plain), warnings=(HOSTILE,))
    claim = Claim("C" + HOSTILE, HOSTILE, HOSTILE, made.suite, "a", "equal", 1)
    write_markdown(made, [Checked(claim, HOSTILE, "pass")], tmp_path / "report.md")
    write_markdown(plain, [], tmp_path / "plain.md")
    text, expected = (tmp_path / "report.md").read_text(), (tmp_path / "plain.md").read_text()
    assert text.count("forged") > 20
    assert not {c for c in text if not c.isprintable() and c != "\n"}
    reader = markdown_it.MarkdownIt("gfm-like", {"html": True, "linkify": False})
    html, usual = reader.render(text), reader.render(expected)
    for tag in ("<script", "<b>", "<img", "<a "):
        assert html.count(tag) == usual.count(tag), tag
    assert "javascript:" not in html.replace("(javascript:alert)", "")
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert [h.split(":")[0].split(" \\")[0] for h in headings[1:] if "Claims" not in h] == [
        h.split(":")[0] for h in expected.splitlines() if h.startswith("#")
    ][1:]


@pytest.mark.parametrize(
    ("n_own", "suites", "told"),
    [
        (1, (), ""),
        (2, ("b",), "1 claim is about another suite (b), which this run says nothing of."),
        (1, ("b", "c", "b"), "3 claims are about other suites (b, c), which this run says nothing of."),
        (0, ("b", "c"), "2 claims are about other suites (b, c), which this run says nothing of."),
    ],
)
def test_claims_about_other_suites_are_one_line(n_own: int, suites: tuple[str, ...], told: str, tmp_path: Path):
    """In report and page; none of them is listed, and each counts as not run here."""
    made = results()
    own = [Checked(Claim(f"O{i}", "Mine.", "s", made.suite, "a", "equal", 1), 1, "pass") for i in range(n_own)]
    others = [
        Checked(Claim(f"X{i}", "Theirs.", "s", s, "a", "equal", 1), None, "not run") for i, s in enumerate(suites)
    ]
    assert about([*others, *own], made.suite) == (own, told)
    write_markdown(made, [*own, *others], tmp_path / "report.md")
    shown = (tmp_path / "report.md").read_text(), page(made, [*own, *others], tables(), {})
    for text in shown:
        assert told in text
        assert "Theirs" not in text
        assert ("Mine." in text) == bool(n_own)
        assert ("No claim is about" in text) == (not n_own)
    counted = dict(facts(made, [*own, *others]))["Claims"]
    assert (f"{len(suites)} not run here (about " in counted) == bool(suites)
    paper = [replace(one, claim=replace(one.claim, source="arXiv 2507.22918")) for one in others]
    counted = dict(facts(made, [*own, *paper]))["Claims"]
    assert ("not run here (all of published papers, about " in counted) == bool(suites)


def written(made: Results, tmp_path: Path) -> str:
    write_markdown(made, [], tmp_path / "report.md")
    return (tmp_path / "report.md").read_text()


def test_the_answer_and_the_verdict_on_the_floor_come_first_and_every_part_is_there(tmp_path: Path):
    made = results(0.34, 4.0, 0.61, 9.0)
    text = written(made, tmp_path)
    said = answer(made)
    assert text.split("\n\n")[1:7] == [said.compared, *said.sentences]
    assert text.split("\n\n")[7] == "![answer](figures/answer.png)"
    for part in (
        beyond_tokens(made),
        floor_verdict(made),
        "123,456 tokens of 1,789 documents",
        "Seed 99",
        "1234 permutations",
        "56 shifts",
        "| cannot tell | q of one alone above every draw |",
        "## Controls",
        "## From the published protocol to the corrected one",
        "## Semantic categories",
        "## Over spans of text",
        "## Filters",
        "## What was read",
        "(figures/rsa.png)",
        "a" * 64,
        "b" * 64,
    ):
        assert part in text


def test_parts_that_were_not_run_are_not_there(tmp_path: Path):
    made = replace(results(), published=None, subspaces=None, spans=None, streams=None, function=None)
    made = changed(made, {f"summary.{name}.nulls.rematch": ... for name in MEASURES})
    text = written(made, tmp_path)
    assert "published protocol" not in text
    assert "## Claims" not in text
    assert "categories" not in text
    assert "shifts" not in text
    assert "Residual streams" not in text


def test_where_tokenizers_are_aligned_spans_are_counted():
    of_b = read_by_b(results().corpus, n_tokens=4321)
    made = changed(results(), {"corpus.n_spans": 9876, "corpus.b": of_b})
    told = "9,876 spans of text that both read, pooled from 123,456 tokens of small and 4,321 of large, "
    assert told in text_compared(made)
    assert told in answer(made).compared
