"""Whether partners can stand in for features, in words and numbers."""

from __future__ import annotations

from dataclasses import replace

from semconv.report.function_charts import shown_function
from semconv.report.function_section import function_section
from semconv.report.substitution_section import REPLACED, substitution_rows, substitution_sentences
from semconv.results.schema import FunctionTest, Reason, Replacements, SubstitutedPair, Substitution
from semconv.study.function_observations import REPLACEMENTS
from semconv.study.tell_substitution import BEST_ALTERNATE
from tests._helpers.made_up import results


def substituted(into_a: tuple[float, float], into_b: tuple[float, float]) -> SubstitutedPair:
    """Made-up contributions of which partners recover so much of the divergence, with this p."""
    found = results().function
    assert found is not None
    assert found.substitution is not None
    one = found.substitution["0x2"]
    assert isinstance(one, SubstitutedPair)

    def told(of: Substitution, recovered: float, p: float) -> Substitution:
        test = of.as_mapped.beyond
        assert isinstance(test, FunctionTest)
        by = of.as_mapped.by
        partner = replace(by["partner"], kl_recovered=recovered, kl_error=0.031)
        mapped = Replacements(
            by={**by, "partner": partner, "random": replace(by["random"], kl_recovered=-0.4)},
            beyond=replace(test, p=p, difference=0.012, error=0.002, draws=9999, pairs=31, higher=0.55),
        )
        return replace(of, as_mapped=mapped)

    return replace(one, into_a=told(one.into_a, *into_a), into_b=told(one.into_b, *into_b))


def test_everything_that_takes_a_place_has_a_name_and_a_row_in_both_models():
    assert sorted(REPLACED) == sorted([*REPLACEMENTS, BEST_ALTERNATE])
    one = substituted((0.21, 0.0001), (0.23, 0.0001))
    table = substitution_rows(one)
    assert all(len(row) == len(table.header) for row in table.rows)
    assert [row[0] for row in table.rows] == ["A's"] * 6 + ["B's"] * 6
    first = table.rows[0]
    assert list(first[1:5]) == ["partner", 31, "21%", "3.1%"]
    assert table.rows[5][3] == "-40%"
    assert table.rows[1][-1] is None  # the best alternates of all pairs have no one cosine


def test_the_sentence_says_what_partners_recover_and_whether_alternates_do_as_well():
    ahead = substitution_sentences("2x4", substituted((0.207, 0.0001), (0.232, 0.0001)))
    assert "(layers 2x4; 31 pairs at 8 positions each; 9 more fire together in too few documents)" in ahead
    assert "In place of A's contributions B's mapped ones recover 20.7% ± 3.1% of the divergence" in ahead
    assert "direction -40%; partner beyond best alternate 0.0120 ± 0.0020 nats a position (p ≤ 0.0001" in ahead
    assert "Into A the map has R² 0.600; without contributions predictions diverge by 0.0700 nats and" in ahead
    assert "So partners undo 20.7% to 23.2% of what the absence of features does" in ahead
    assert "and in both models they are ahead of the best alternates; made as large as what they replace" in ahead
    one = substitution_sentences("2x4", substituted((0.207, 0.3), (0.232, 0.01)))
    assert "in one model alone they are ahead of the best alternates; made as large" in one
    none = substitution_sentences("2x4", substituted((-0.1, 0.3), (0.232, 0.3)))
    assert "So partners undo 0% to 23.2% of" in none
    assert "in neither model are they told from the best alternates; made as large" in none
    worse = substitution_sentences("2x4", substituted((-0.1, 0.3), (-0.2, 0.3)))
    assert worse.endswith("cannot stand in for a feature: with it predictions are no nearer than with nothing.")


def test_reasons_stand_where_nothing_was_replaced():
    found = results()
    assert found.function is not None
    text = function_section(found, found.function)
    assert "layers 1x10: not told (no streams there)" in text
    assert "*KL recovered* is 1 less the divergence" in text
    page = shown_function(found)
    assert page is not None
    assert [len(one.rows.rows) for one in page.substitution] == [12, 0]
    alone = replace(found.function, substitution=None)
    assert "KL recovered" not in function_section(found, alone)
    assert substitution_rows(Reason(reason="none")).rows == []
