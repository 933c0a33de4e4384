"""The words of a report: an answer, one name for each thing, digits that mean something, and no colour words."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from semconv.compare.registry import MEASURES as TITLES_OF_MEASURES
from semconv.compare.registry import score_range
from semconv.pipeline.facts_read import origin_in_words
from semconv.report import texts
from semconv.report.answer import answer
from semconv.report.answer_chart import answer_rows
from semconv.report.charts import controls_chart
from semconv.report.first_pairs import FirstPairs
from semconv.report.markdown import headline, write_markdown
from semconv.report.page import page
from semconv.report.page_data import grid_data, grid_json
from semconv.report.page_tables import facts, headline_rows
from semconv.report.rows import measure_rows
from semconv.report.section_titles import SHORT, TITLES
from semconv.report.shown import show
from semconv.report.texts import least_together
from semconv.report.told_apart import p_of
from semconv.report.words import WORDS
from semconv.results.schema import Reason, RematchCounts, Results, Score, SeedCeiling, SeedRange, Spread
from semconv.runs.pairs_table import pairs_schema
from semconv.statistics.depth import Thirds
from semconv.study.order import in_order
from semconv.study.tell_spread import interval
from semconv.suite.schema import CorpusConfig
from tests._helpers.made_up import LAYER_PAIRS, MEASURES, changed, results, score_at
from tests._helpers.made_up_page import Outline, claims, draws, tables

PAPERS = {"2507.22918", "2410.06981"}
DOCS = Path(__file__).parents[2] / "docs"


class Words(HTMLParser):
    """The text that a reader of a page sees."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.text, self._skipped = "", 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._skipped += tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._skipped -= tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        self.text += "" if self._skipped else f"{data} "


@pytest.fixture(scope="module")
def html() -> str:
    found = in_order(results())
    return page(found, claims(), tables(), draws(found))


def with_same_token(made: Results, q: dict[str, float], measure: str = "rsa") -> Results:
    """The results with a null `same_token` of one measure, q by layer pair."""
    changes: dict[str, object] = {"null.n_same_token": 19}
    for key, value in q.items():
        test = replace(score_at(made, key, measure).nulls["rematch"], q=value, p=0.05, score=0.4, mean=0.3)
        changes[f"grid.{key}.measures.{measure}.nulls.same_token"] = test
    of_grid = made.summary[measure].nulls["rematch"]
    significant = sum(value < 0.05 for value in q.values())
    changes[f"summary.{measure}.nulls.same_token"] = replace(of_grid, significant=significant, layer_pairs=len(q))
    return changed(made, changes)


# The answer


def test_the_first_screen_answers_the_title_in_a_few_sentences_and_one_figure(html: str):
    """What was found, for which layers, against which null, how sure, how much, what they do, what is not shown."""
    said = answer(in_order(results()))
    header = html[html.index("<header>") : html.index("</header>")]
    assert header.count('<p class="lead">') == 5
    assert header.count("<svg") == header.count("<figure") == 1
    assert "(the null <code>rematch</code>) in 1 of 2 layer pairs." in header
    assert said.sure.startswith("**How sure:** at most 5% of such findings are expected to be chance (q < 0.05)")
    assert "Benjamini-Yekutieli correction, which holds for any dependence, " in said.sure
    assert said.open.startswith("**Not shown:** whether the other 1 layer pairs agree; ")
    assert "the null `same_token` was not drawn" in said.open
    assert "202 to 220 pairs out of 512 features in each of 3 layer pairs" in said.compared
    for sentence in said.sentences:  # a paragraph of short sentences, not a chain of half ones
        assert sentence.count(". ") <= 3
        assert max(len(one.split()) for one in sentence.split(". ")) <= 60


@pytest.mark.parametrize(
    ("q", "opening"),
    [
        ({"0x2": 0.01, "1x2": 0.01}, "**Yes, by this test.**"),
        ({"0x2": 0.2, "1x2": 0.01}, "**In part.**"),
        ({"0x2": 0.2, "1x2": 0.2}, "**Not shown.**"),
    ],
)
def test_the_answer_follows_the_tests_against_what_the_token_explains(q: dict[str, float], opening: str):
    said = answer(with_same_token(results(), q))
    assert said.found.startswith(opening)
    n = sum(value < 0.05 for value in q.values())
    assert f"more than the token that is read explains (the null `same_token`) in {n} of 2 layer pairs" in said.found
    assert ("no q is below 0.05" in said.sure) == (not n)
    assert "here `same_token`, under which B's activations are exchanged between positions of the same" in said.compared
    assert "was not drawn" not in said.open


def test_the_answer_says_how_far_from_the_null_and_how_many_lie_below_it():
    """Against plain differences: a count of findings hid that they are small, and that others lie below the null."""
    made = with_same_token(results(), {"0x2": 0.01, "1x2": 0.01})
    below = {"grid.1x2.measures.rsa.nulls.same_token.mean": 0.45, "grid.1x2.measures.rsa.nulls.same_token.q": 0.9}
    below |= {"grid.0x2.measures.rsa.nulls.same_token.calibrated": 0.05}
    below |= {"grid.1x2.measures.rsa.nulls.same_token.calibrated": 0.0}
    counts = RematchCounts(pairs_mean=151.6, pairs_max=240, pairs_p=0.05, scored_pairs=50)
    made = changed(made, below | {"grid.0x2.same_token": counts, "summary.rsa.nulls.same_token.significant": 1})
    said = answer(made).size
    assert said.startswith(
        "**How much:** the score found lies 0.100 above the mean of the null; 1 of 2 lie below it (by 0.050 at the "
        "most, layers 1x2). The best layer pair by calibrated score (0 is what chance reaches, 1 the top) is 0x2: the "
        "score of its pairs of highest r is 0.400, against 0.300 under the null. There "
        f"{made.grid['0x2'].pairs} feature pairs pass every filter, and 152 on average under the null"
    )
    none = changed(made, {"grid.0x2.measures.rsa.nulls.same_token.q": 0.9})
    assert answer(none).size.startswith("**How much:** 1 of 2 scores lie below the mean of the null (by 0.050")


@pytest.mark.parametrize(
    ("difference", "p", "told"),
    [
        (0.1, 0.01, "These effects agree more than with the *best hard negative*, another feature"),
        (0.1, 0.2, "It is not shown that these effects agree more"),
        (-0.1, 0.01, "It is not shown that these effects agree more"),
    ],
)
def test_the_answer_says_what_the_features_do_where_that_was_asked(difference: float, p: float, told: str):
    made = changed(results(), {"function.thirds.all.difference": difference, "function.thirds.all.p": p})
    assert told in answer(made).does
    assert "which this score does not ask" not in answer(made).open
    without = replace(made, function=None)
    assert answer(without).does == ""
    assert answer(without).open.endswith("what the paired features do, which this score does not ask.")


def test_no_term_of_the_answer_stands_before_it_is_said_what_it_is():
    said = answer(with_same_token(results(), {"0x2": 0.01, "1x2": 0.2}))
    told = re.sub(r"\*", "", said.compared)
    for term, what in (
        ("feature", "its features"),
        ("layer pair", "a layer pair ("),
        ("score", "A score says"),
        ("null", "A null is"),
    ):
        assert any(re.search(rf"\b{term}", sentence) for sentence in said.sentences), term
        assert what in told, term


def test_layers_are_told_by_third_of_the_depths():
    made, sides = results(), (0, 5, 9)
    one = made.grid["1x2"]
    grid = {f"{a}x{b}": replace(one, layer_a=a, layer_b=b, sae_a=str(a), sae_b=str(b)) for a in sides for b in sides}
    q = {key: 0.01 if key in ("5x5", "9x9", "0x9") else 0.5 for key in grid}
    found = with_same_token(replace(made, grid=grid), q)
    assert Thirds.of(3).middle.tolist() == [False, True, False]
    assert answer(found).found.endswith(
        "in 3 of 9 layer pairs: 0 of 1 of the early third, 1 of 1 of the middle third (5x5), 1 of 1 of the late "
        "third (9x9) and 1 of 6 that join different thirds of the depths (0x9)."
    )
    drawn = [row for row in answer_rows(found) if row.mark == "null"]
    assert [row.part for row in drawn] == ["early", "middle", "late", "different thirds"]
    assert drawn[-1].score == pytest.approx(drawn[0].score)  # every layer pair has the numbers of one


def test_the_ceiling_stands_beside_the_score_of_the_same_kind_of_pairs():
    """One model with itself through an SAE of another seed, all pairs both; never beside the strongest pairs."""
    made = results()
    seeds = {
        name: SeedCeiling(
            pairs_lowest=1, pairs_highest=2, measures={"rsa": SeedRange(n=3, lowest=0, mean=m, highest=1)}
        )
        for name, m in (("small/1", 0.8), ("large/2", 0.9))
    }
    found = changed(made, {"controls.seeds": seeds, "grid.1x2.measures.rsa.nulls.rematch.score": 0.99})
    over = (
        "SAEs of one model from different seeds reach 0.800 (small/1) and 0.900 (large/2) among themselves on average"
    )
    assert f"which alone can be set beside a ceiling, the score there is 0.610; {over}" in answer(found).size
    nulls = {name: null for name, null in made.summary["rsa"].nulls.items() if name != "rematch"}
    tested = changed(found, {"summary.rsa.nulls": nulls})  # against a null that tests the score of all pairs
    interval_of_best = " to ".join(f"{end:.3f}" for end in made.summary["rsa"].best_interval or ())
    assert (
        f"The score of all pairs there is 0.610 (95% interval {interval_of_best}, adjusted for picking the best of 2); "
        f"{over}"
    ) in answer(tested).size
    without = changed(found, {"controls.seeds": None})
    assert " with itself through another SAE" in answer(without).size
    top = next(row for row in answer_rows(found) if row.mark == "top")
    both = (0.61 + score_at(made, "0x2", "rsa").score) / 2  # at 0x2 only the SAE of B has other seeds
    assert (top.label, top.score, top.other) == ("all layer pairs, all pairs", pytest.approx(both), (0.85 + 0.9) / 2)


def test_models_text_and_layers_are_named_for_what_they_are():
    made = results()
    assert "Model A, small, and model B, large, read the same text, 123,456 tokens" in answer(made).compared
    sizes = {"family": "gemma2", "blocks": 4, "width": 128, "parameters": 1_509_504}
    changes = {f"model_a.{name}": value for name, value in sizes.items()} | {"corpus.origin": "letters"}
    found = changed(made, changes | {"model_b.parameters": 9_241_705_984, "model_b.blocks": 42, "model_b.width": 3584})
    said = answer(found).compared
    assert "small (gemma2, 4 blocks of width 128, 1.51 million parameters)" in said
    assert "42 blocks of width 3,584, 9.24 billion parameters)" in said
    assert "the same text, letters: 123,456 tokens" in said
    assert dict(facts(found, []))["Model A"] == "small: 2 SAEs, at layers 0, 1 of 0 to 3, as the suite chooses"
    sae = made.model_a.saes["0"]
    many = changed(found, {"model_a.blocks": 9, "model_a.saes": {str(n): replace(sae, layer=n) for n in range(2, 8)}})
    assert dict(facts(many, []))["Model A"] == "small: 6 SAEs, at layers 2 to 7 of 0 to 8, as the suite chooses"
    every = changed(found, {"model_a.blocks": 2})
    assert dict(facts(every, []))["Model A"] == "small: 2 SAEs, at every layer, 0 to 1"


def test_a_text_is_told_without_a_path_of_its_reader():
    packages = {name: "1" for name in ("numpy", "scipy", "sympy", "nltk")}
    usual = CorpusConfig("docstrings", "t", 8, 9, packages=packages)
    assert origin_in_words(usual) == "documentation of 4 Python packages (numpy, scipy, sympy and others)"
    assert origin_in_words(CorpusConfig("file", "t", 8, 9, path="/home/me/x.txt")) == "text of the user's own"
    assert origin_in_words(CorpusConfig("hub", "t", 8, 9, path="a/b", files=("c",))) == "the data set a/b"


# Two scores of one cell, digits, scales


def test_two_scores_of_a_cell_are_explained_wherever_both_are_shown(html: str, tmp_path: Path):
    write_markdown(in_order(results()), [], tmp_path / "report.md")
    told = texts.two_scores(in_order(results())).split("; ")[0]
    assert "`rematch`" in told
    assert "same_bigram" not in told  # which the run did not draw
    plain = re.sub(r"\s+", " ", Words(html).text).replace(" ,", ",")
    assert plain.count("Every layer pair has two scores: of all pairs that pass every filter") == 1
    assert plain.count("which of its two scores is shown stands above the map") == 1
    assert told in (tmp_path / "report.md").read_text()


def test_no_interval_is_wider_than_the_range_of_its_score():
    made = results()
    for name in ("procrustes", "rsa", "cka_unbiased", "mutual_knn"):
        low, high = score_range(name)
        spread = Spread(documents=0.9, total=0.9, dof=5.5)
        for score in (max(low, -0.2), 0.02, 0.98):
            found = interval(score, spread, 0.05, score_range(name))
            assert found is None or low <= found[0] <= score <= found[1] <= high
    wide = changed(made, {"grid.1x2.measures.rsa.interval": None, "summary.rsa.best_interval": None})
    assert headline_rows(wide).rows[0][3] == measure_rows(wide, "rsa").rows[1][3] == "beyond its range"
    unknown = changed(wide, {"grid.1x2.measures.rsa.spread": None})
    assert headline_rows(unknown).rows[0][3] is measure_rows(unknown, "rsa").rows[1][3] is None


def test_counts_of_pairs_are_whole_numbers():
    counts = RematchCounts(pairs_mean=233.2, pairs_max=240, pairs_p=1 / 57, scored_pairs=50)
    made = changed(results(), {"grid.0x2.rematch": counts, "grid.0x2.pairs_interval": (291.7, 328.3)})
    cell = grid_data(made, {})["cells"][0]
    assert cell["interval"] == (292, 328)
    assert cell["again"] == [
        {"null": "rematch", "pairs": 233, "p": pytest.approx(1 / 57, rel=1e-3), "bound": "≤ 0.0175"}
    ]


@pytest.mark.parametrize(
    ("p", "shown"),
    [(1 / 1235, "≤ 0.00081"), (2 / 1235, "0.0016"), (0.5, "0.500"), (1.0, "≥ 0.999"), (1234.9 / 1235, "≥ 0.999")],
)
def test_the_smallest_and_the_largest_p_are_marked_as_such(p: float, shown: str):
    test = replace(score_at(results(), "1x2", "rsa").nulls["shuffle"], p=p)
    assert show(p_of(results(), "shuffle", test)) == shown  # pyright: ignore[reportArgumentType]


def test_no_table_has_more_than_three_digits(html: str, tmp_path: Path):
    """Made-up numbers have four; hashes, versions and whole numbers keep theirs."""
    write_markdown(in_order(results()), [], tmp_path / "report.md")
    for text in (Words(html).text, (tmp_path / "report.md").read_text()):
        numbers = set(re.findall(r"(?<![\w.])-?\d*\.\d+(?![\w.])", text))
        long = [n for n in numbers if len(n.lstrip("-0.").replace(".", "")) > 3 and n not in PAPERS]
        assert long == []
        assert "100.00%" not in text


def test_scales_hold_what_is_shown_and_no_more():
    """A measure whose scores lie between 0.7 and 0.8 is not coloured, nor drawn, from 0 on."""
    made = in_order(results())
    scores = {f"grid.{key}.measures.rsa.score": 0.7 + 0.05 * i for i, key in enumerate(LAYER_PAIRS[:2])}
    nulls = {
        f"grid.{k}.measures.rsa.nulls.{n}.mean": 0.72
        for k in LAYER_PAIRS[:2]
        for n in ("shuffle", "frequency", "rematch")
    }
    nulls |= {name.replace(".mean", ".score"): 0.71 for name in nulls}
    found = changed(made, scores | nulls)
    low, high = grid_data(found, {})["measures"]["rsa"]["limits"]["score"]
    assert (low, high) == (0.7, 0.75)
    drawn = controls_chart(changed(found, {"controls.strongest": {}}), "rsa") or ""
    ticks = [float(tick) for tick in re.findall(r">(0\.\d+)</text>", drawn)]
    assert min(ticks) > 0


def test_every_row_of_the_controls_says_how_many_pairs_it_scores():
    made = in_order(results())
    label = re.search(r'aria-label="([^"]+)"', controls_chart(made, "rsa") or "")
    assert label is not None
    rows = label[1].split(". ", 1)[1].split("; ")
    assert len(rows) == 5
    assert all(re.search(r", \d+ (pairs|strongest) ", row) for row in rows)


def test_a_null_stands_beside_the_score_that_it_tests():
    """A null that matches again tests the strongest pairs: never beside the score of all pairs alone."""
    made = in_order(results())
    rematch = "grid.1x2.measures.rsa.nulls.rematch"
    found = changed(made, {f"{rematch}.score": 0.9, f"{rematch}.mean": 0.7, "grid.1x2.measures.rsa.score": 0.5})
    assert "cross-model: layers 1x2, 212 pairs 0.500, of its strongest pairs 0.900, null mean 0.700" in (
        controls_chart(found, "rsa") or ""
    )
    same = changed(found, {f"{rematch}.score": 0.5})
    assert "layers 1x2, 212 pairs 0.500, null mean 0.700" in (controls_chart(same, "rsa") or "")
    none = changed(found, {rematch: Reason(reason="too few")})
    assert "layers 1x2, 212 pairs 0.500, null mean -" in (controls_chart(none, "rsa") or "")


def test_no_colour_is_named(html: str):
    """What is blue in the light theme is another colour in the dark one, and on paper."""
    names = r"\b(blue|gr[ae]y|black|white|orange|red|green|yellow|dark|light)(er)?\b"
    text = Words(html).text.replace(" Dark ", " ", 1)  # the button that switches the theme
    assert re.findall(names, text.lower()) == []


def test_correspondence_in_depth_is_said_as_it_was_tested():
    """Not that scores rise along the diagonal, which half of the maps did not show."""
    for statistic, p, n in ((0.4, 0.01, 1), (0.4, 0.2, 0), (-0.4, 0.01, 0)):
        made = changed(
            results(),
            {
                "depths.rsa.correspondence.statistic": statistic,
                "depths.rsa.correspondence.p": p,
                "depths.svcca_pc1.correspondence.p": 0.5,
            },
        )
        assert texts.depth_text(made).startswith(
            f"By {n or 'none'} of 2 measures scores are higher where layers correspond in depth (p < 0.05); by RSA, "
            f"Spearman the rank correlation is {show(statistic)}"
        )


# Pairs


def first_pairs(rows: Sequence[Mapping[str, object]], pieces: int = 1) -> FirstPairs:
    """What a reader sees of pairs that stand in so many pieces of a table."""
    import pyarrow as pa

    size = -(-len(rows) // pieces)
    parts = [[*map(dict, rows[start : start + size])] for start in range(0, len(rows), max(1, size))]
    types = [(name, pairs_schema().field(name).type) for name in pairs_schema().names]
    return FirstPairs.of_tables(pa.Table.from_pylist(part, schema=pa.schema(types)) for part in parts)


def made_pairs(n: int = 40) -> list[dict[str, object]]:
    """Pairs of falling r, of which every fourth has one top token alone."""
    return [
        {
            **{"layer_a": 0, "layer_b": 2, "sae_a": "0", "sae_b": "2", "feature_a": 100 + i, "feature_b": 500 + i},
            "r": 0.99 - i / 100,
            "r_within_token": None if i == 5 else (7 * i % n) / n,
            "top_tokens_a": [" in", " in"] if i % 4 == 0 else ["in", "at"],
            "top_tokens_b": [" in"] if i % 4 == 0 else ["at"],
        }
        for i in range(n)
    ]


@pytest.mark.parametrize("pieces", [1, 3, 40])
def test_how_many_pairs_have_a_single_top_token_and_which_are_shown(pieces: int):
    """Against a plain loop over the rows, in however many pieces they are read."""
    rows = made_pairs()
    found = first_pairs(rows, pieces)
    tokens = [{*row["top_tokens_a"], *row["top_tokens_b"]} for row in rows]  # pyright: ignore[reportGeneralTypeIssues]
    assert (found.total, found.one_token) == (40, sum(len(of) == 1 for of in tokens)) == (40, 10)
    within = {row["feature_a"]: row["r_within_token"] for row in rows}
    known = [row for row in rows if row["r_within_token"] is not None]
    assert [pair.feature_a for pair in found.strongest] == [100 + i for i in range(10)]
    several = [row for row in known if row["top_tokens_a"] != [" in", " in"]]
    best = sorted(several, key=lambda row: -float(str(within[row["feature_a"]])))
    assert [pair.feature_a for pair in found.beyond] == [row["feature_a"] for row in best[:10]]
    lost = sorted(known, key=lambda row: float(str(row["r_within_token"])) - float(str(row["r"])))
    assert [pair.feature_a for pair in found.doubtful] == [row["feature_a"] for row in lost[:10]]


def test_what_is_known_of_top_tokens_is_said_near_the_explorer():
    found = in_order(results())
    pairs = first_pairs(made_pairs())
    assert pairs.note.startswith("In 10 of 40 pairs (25%) all top tokens of both features are one and the same token.")
    assert "A filter drops only the stop tokens that the suite lists, and so" in pairs.note
    listed = replace(pairs, stop_tokens=(".", "\n", "", "`", "<eos>"))
    told = "these among their top tokens: `.`, white space, control tokens such as the end of a text; other tokens stay"
    assert f"{told}, and so the pairs of highest r" in listed.note
    assert "No filter drops pairs by what their top tokens are, and so" in replace(pairs, stop_tokens=()).note
    many = replace(pairs, stop_tokens=tuple("abcdefghijklmno"))
    assert "`l`, 3 more; other tokens stay" in many.note
    assert "such as `in`. r within" in pairs.note
    assert first_pairs([]).note == ""
    html = page(found, [], tables(), {}, pairs)
    features = html[html.index('<section id="features">') :]
    assert features.index("one and the same token") < features.index('id="search"')


def test_lists_of_tokens_that_are_empty_or_hold_none_are_not_one_token():
    rows = made_pairs(4)
    rows[0]["top_tokens_b"], rows[1]["top_tokens_a"] = [], []
    assert first_pairs(rows).one_token == 0


# One vocabulary


def test_measures_have_one_name(html: str, tmp_path: Path):
    """The registry's, on the page, in report.md, on the command line and in the glossary."""
    made = in_order(results())
    write_markdown(made, [], tmp_path / "report.md")
    glossary = (DOCS / "glossary.md").read_text()
    for name, title in TITLES_OF_MEASURES.items():
        assert f"| `{name}` | {title} |" in glossary
    for name in MEASURES:
        title = TITLES_OF_MEASURES[name]
        for text in (Words(html).text, (tmp_path / "report.md").read_text(), headline(made)):
            assert title in text
            assert f"`{name}`" not in text


def test_sections_have_one_name(html: str, tmp_path: Path):
    """Of page, report.md and glossary; the navigation has a word of it."""
    found = in_order(results())
    write_markdown(found, claims(), tmp_path / "report.md", first_pairs(made_pairs()))
    of_report = [line[3:] for line in (tmp_path / "report.md").read_text().splitlines() if line.startswith("## ")]
    assert Outline(html).titles() == of_report == [*TITLES.values()]
    assert list(TITLES) == list(SHORT)
    for anchor, title in TITLES.items():
        assert SHORT[anchor].lower().rstrip("s") in title.lower()
        assert f"*{title}*" in re.sub(r"\s+", " ", (DOCS / "glossary.md").read_text()), title


def test_words_of_the_page_are_those_of_the_glossary():
    glossary = (DOCS / "glossary.md").read_text().lower()
    for names in WORDS:
        for word in names.lower().split(", "):
            assert re.search(rf"\*\*[^*]*\b{re.escape(word)}", glossary), word


# report.md


def test_the_report_begins_with_the_answer_and_shows_figures_and_pairs(tmp_path: Path):
    found = in_order(results())
    rows = made_pairs()
    rows[2]["top_tokens_a"] = rows[2]["top_tokens_b"] = ["<b>|*x*_`"]
    write_markdown(found, claims(), tmp_path / "report.md", first_pairs(rows))
    text = (tmp_path / "report.md").read_text()
    parts = text.split("\n\n")
    assert parts[0] == "# Do small (A) and large (B) hold the same features?"
    assert parts[1:7] == [answer(found).compared, *answer(found).sentences]  # no term before it is said what it is
    assert {"figures/answer.png", "figures/rsa.png", "figures/controls.png"} <= set(
        re.findall(r"\((figures/[^)]+)\)", text)
    )
    features = text[text.index("## Feature pairs") :]
    first = features[features.index("| r |") :].splitlines()
    assert first[2].startswith("| 0.990 | 0.00 | 0, #100 |")
    assert len([line for line in first if line.startswith("| 0.")]) >= 30  # three tables of ten
    assert "&lt;b>\\|\\*x\\*\\_'" in features
    assert any("| 0.97 |" in line or "| 0.95 |" in line for line in first)  # a pair of high r within tokens


def test_the_data_of_the_page_are_json_of_the_same_words(html: str):
    data = Outline(html).data()
    assert json.dumps(data)
    measure = data["grid"]["measures"]["rsa"]
    assert measure["title"] == TITLES_OF_MEASURES["rsa"]
    assert isinstance(score_at(results(), "1x2", "rsa"), Score)


@pytest.mark.parametrize(
    ("smallest", "least"), [(None, None), (-1e308, 1), (0.0, 1), (0.0158, 1), (0.158, 4), (1e308, 21)]
)
def test_how_many_layer_pairs_reach_significance_together_is_a_number(smallest: float | None, least: int | None):
    summary = replace(results().summary["rsa"].nulls["shuffle"], smallest_q=smallest)
    assert least_together(summary) == least


@pytest.mark.parametrize("draws", [5, 19, 100, 998, 999, 10_000])
def test_a_bound_of_p_is_true_and_as_close_as_so_many_draws_can_tell(draws: int):
    """Every p that b of m draws can give, against its own fraction."""
    for b in {0, 1, draws // 2, draws - 1, draws}:
        p = (b + 1) / (draws + 1)
        told = texts.p_bound(p, draws)
        if b == 0:
            assert told == f"≤ {show(p)}"
        elif told is not None:
            sign, number = told.split(" ")
            assert (sign, b + 1 >= 0.999 * (draws + 1)) == ("≥", True)
            assert draws / (draws + 1) - 0.01 <= float(number) <= min(p, draws / (draws + 1))
        else:
            assert show(p) not in ("1", "1.00")


def test_the_box_beside_the_map_has_both_intervals_of_the_best_layer_pair():
    """One is of the layer pair alone, the other adjusted for picking the best: the reader sees which is which."""
    made = in_order(results())
    summary = made.summary["rsa"]
    assert summary.best_interval is not None
    best = grid_data(made, {})["measures"]["rsa"]["best"]
    assert best is not None
    assert list(made.grid)[best["cell"]] == summary.best_layer_pair
    assert best["of"] == summary.layer_pairs
    assert best["interval"] == pytest.approx(summary.best_interval, rel=1e-3)
    assert json.loads(grid_json(made, {})) == json.loads(json.dumps(grid_data(made, {})))
    without = changed(made, {"summary.rsa.best_interval": None})
    assert grid_data(without, {})["measures"]["rsa"]["best"] == {**best, "interval": None}
