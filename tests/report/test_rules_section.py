"""Which way of matching finds features that do the same, in words and numbers."""

from __future__ import annotations

from dataclasses import replace

from semconv.report.function_charts import shown_function
from semconv.report.function_section import function_section
from semconv.report.rules_section import RULES, rules_rows, rules_sentences
from semconv.results.schema import ComparedRules, Reason, RuleAgreement
from semconv.study import matching_rules
from tests._helpers.made_up import results


def compared(**differences: tuple[float, float]) -> ComparedRules:
    """Made-up rules whose pairs differ from those of the suite's own by so much, with this standard error."""
    found = results().function
    assert found is not None
    assert found.rules is not None
    one = found.rules["0x2"]
    assert isinstance(one, ComparedRules)
    rules = dict(one.rules)
    for name, rule in one.rules.items():
        if isinstance(rule, RuleAgreement) and name != one.own:
            difference, error = differences.get(name, (0.0, 0.01))
            rules[name] = replace(rule, difference=difference, difference_error=error)
    return replace(one, rules=rules)


def test_every_rule_has_a_name_and_a_row():
    assert tuple(RULES) == matching_rules.RULES
    one = compared()
    table = rules_rows(one)
    rows = {row[0]: row for row in table.rows}
    assert all(len(row) == len(table.header) for row in table.rows)
    best = one.rules["best"]
    assert isinstance(best, RuleAgreement)
    assert list(rows["best"][1:7]) == [best.matched, best.pairs, best.agreement, best.error, None, None]
    assert rows["best"][-1] == "4 fire together in too few documents"
    assert rows["mapped decoder rows"][-1] == "no streams"
    assert table.header[10:12] == ["r up to 0.1 (pairs)", "r above 0.1 up to 0.3 (pairs)"]
    assert table.header[13] == "r above 0.5 (pairs)"


def test_a_rule_is_named_only_where_it_is_told_apart_from_the_suite_s_own():
    alike = rules_sentences("2x4", compared(mutual=(0.02, 0.01)))
    assert "No other rule differs from it by more than 2.7 standard errors" in alike
    text = rules_sentences("2x4", compared(mutual=(0.03, 0.01), greedy=(-0.05, 0.01)))
    assert "Higher: mutual by 0.030 ± 0.010 (99 pairs found). Lower: greedy by 0.050 ± 0.010" in text
    assert "Pairs that do more alike are found here by this rule; the suite's own rule finds 99 pairs." in text
    worse = rules_sentences("2x4", compared(greedy=(-0.05, 0.01)))
    assert "Higher" not in worse
    assert "So nothing here speaks for another rule." in worse


def test_reasons_stand_where_rules_could_not_be_compared():
    found = results()
    assert found.function is not None
    text = function_section(found, found.function)
    assert "layers 1x10: not told (nothing fires)" in text
    shown = shown_function(found)
    assert shown is not None
    assert [len(one.rows.rows) for one in shown.rules] == [8, 0]
    assert "Which matching" not in function_section(found, replace(found.function, rules=None))
    one = compared()
    assert "no pair that could be compared" in rules_sentences(
        "2x4", replace(one, rules={**one.rules, "best": Reason(reason="none")})
    )
