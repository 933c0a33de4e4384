"""At which positions features do the same, in words and numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from semconv.report.function_charts import shown_function
from semconv.report.function_section import function_section
from semconv.report.position_kinds_section import KINDS, kinds_sentences, shown_kinds
from semconv.results.schema import Function, PositionDifference, PositionKind, PositionKinds, Reason
from semconv.study.position_observations import KINDS as OBSERVED
from tests._helpers.made_up import results

MEANS = {"uniform": 0.11, "strongest": 0.08, "elsewhere": 0.09, "here": 0.12}


def function() -> Function:
    found = results().function
    assert found is not None
    return found


def compared(strongest: tuple[float, float] | Reason, token: tuple[float, float] | Reason, **how: Any) -> PositionKinds:
    """Made-up kinds with these differences and their p."""

    def difference(of: tuple[float, float] | Reason) -> PositionDifference | Reason:
        if isinstance(of, Reason):
            return of
        return PositionDifference(difference=of[0], error=0.005, p=of[1], draws=9999, pairs=24, tokens=17, higher=0.4)

    assert function().position_kinds is not None
    one = (function().position_kinds or {})["0x2"]
    assert isinstance(one, PositionKinds)
    kinds = {
        name: PositionKind(pairs=25, positions=70, agreement=mean, error=0.01, beyond=0.02, beyond_error=0.03)
        for name, mean in MEANS.items()
    }
    both = {"strongest_less_uniform": difference(strongest), "here_less_elsewhere": difference(token)}
    return replace(one, kinds=kinds, **both, **how)


def test_every_kind_has_a_name_and_a_row_below_what_it_is_compared_with():
    assert sorted(KINDS) == sorted(OBSERVED)
    one = compared((-0.03, 0.01), (0.03, 0.01))
    shown = shown_kinds(replace(function(), position_kinds={"0x2": one, "1x2": Reason(reason="none")}))
    assert shown is not None
    rows = {str(row[1]): list(row) for row in shown.rows.rows}
    assert all(len(row) == len(shown.rows.header) for row in shown.rows.rows)
    assert list(rows) == ["drawn", "strongest", "A's elsewhere", "both here"]
    few = "3 pairs fire together in too few documents"
    assert rows["drawn"][2:] == [25, 70, 0.11, 0.01, 0.02, 0.03, *[None] * 4, few]
    assert rows["strongest"][8:] == [-0.03, 0.005, 0.01, "40%", ""]
    assert rows["both here"][8:] == [0.03, 0.005, 0.01, "40%", ""]
    assert shown.summary[1] == "**At which positions features do the same**, layers 1x2: not told (none)."


def test_the_sentence_says_which_way_and_whether_p_tells_it_from_none():
    text = kinds_sentences("2x4", compared((-0.03, 0.01), (0.03, 0.0001)))
    assert text.startswith("**At which positions features do the same** (layers 2x4; 25 pairs, 5 positions of a kind)")
    assert "0.110 ± 0.010 at positions drawn uniformly and 0.080 ± 0.010 at the strongest" in text
    assert "less alike by 0.030 ± 0.005 (p 0.0100)." in text
    assert "same token they still correlate 0.090 ± 0.010, beside 0.120 ± 0.010 at one position: the one" in text
    assert "context adds 0.030 ± 0.005 (p " in text
    other = kinds_sentences("2x4", compared((0.03, 0.2), (-0.03, 0.01)))
    assert "more alike by 0.030 ± 0.005 (p 0.200, not told from no difference)" in other
    assert "the one context adds nothing; it takes away 0.030" in other


def test_reasons_stand_where_kinds_could_not_be_compared():
    none = Reason(reason="no token stands twice")
    text = kinds_sentences("2x4", compared((-0.03, 0.01), none))
    assert "adds not told (no token stands twice)" not in text
    assert "no token stands twice" in text
    found = results()
    report = function_section(found, function())
    assert "layers 1x10: not told (nothing fires)" in report
    assert "| 0x2 | both here |" in report
    shown = shown_function(found)
    assert shown is not None
    assert shown.kinds is not None
    assert len(shown.kinds.rows.rows) == 4
    without = replace(function(), position_kinds=None)
    assert "At which positions" not in function_section(found, without)
    assert shown_kinds(without) is None
