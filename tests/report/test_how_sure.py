"""What the report says of its own limits: a correction that could not pass, floors of few pairs, best layer pairs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from semconv.report.answer import answer
from semconv.report.texts import best_layer_pair_text, kinds_text
from semconv.study.order import in_order
from tests._helpers.made_up import changed, results


def q_by_of_all(p: float, k: int, n: int) -> float:
    """q after Benjamini-Yekutieli of k of n tests, each of this p, where all others have p = 1; by its definition."""
    return min(1.0, p * n / k * sum(1 / i for i in range(1, n + 1)))


@pytest.mark.parametrize(("n", "m"), [(16, 100), (9, 1000), (3, 59), (40, 999), (1, 100), (16, 10_000)])
def test_how_many_the_stricter_correction_needs_is_told_only_where_fewer_were_found(n: int, m: int):
    """Against q of every number of layer pairs that are above all of m draws."""
    passing = [k for k in range(1, n + 1) if q_by_of_all(1 / (m + 1), k, n) < 0.05]
    base = results().summary["rsa"].nulls["rematch"]
    for k in range(1, n + 1):
        summary = replace(base, smallest_q=n / (m + 1), layer_pairs=n, significant=k, significant_by=0)
        sure = answer(changed(results(), {"summary.rsa.nulls.rematch": summary})).sure
        assert ("neither confirms nor refutes" in sure) == (not passing or k < passing[0])
        assert (f"it needs at least {passing[0]} at once" in sure) == (k < passing[0]) if passing else True
        assert ("none can pass it, whatever the data" in sure) == (not passing)
        all_pass = replace(summary, significant_by=k)
        told = "passes it, too." if k == 1 else f"passes all {k}."
        assert answer(changed(results(), {"summary.rsa.nulls.rematch": all_pass})).sure.endswith(told)


def test_a_floor_above_a_ceiling_is_told_with_the_numbers_of_pairs():
    made = in_order(results())
    floor = next(name for name, pair in made.controls.pairs.items() if pair.kind == "floor")
    ceiling = next(name for name, pair in made.controls.pairs.items() if pair.kind == "ceiling")
    at = "controls.pairs.{}.measures.rsa.score"
    usual = {at.format(name): 0.9 if pair.kind == "ceiling" else 0.1 for name, pair in made.controls.pairs.items()}
    others = {name.replace(".rsa.", ".svcca_pc1."): score for name, score in usual.items()}
    low = changed(made, usual | others)
    assert "scores higher than a ceiling" not in kinds_text(low)
    high = {at.format(floor): 0.95, f"controls.pairs.{floor}.pairs": 10, f"controls.pairs.{ceiling}.pairs": 300}
    assert "higher than a ceiling of more pairs: RSA, Spearman. That does not say" in kinds_text(changed(low, high))
    many = changed(low, {**high, f"controls.pairs.{floor}.pairs": 300})
    assert kinds_text(many).endswith("higher than a ceiling of no more pairs: RSA, Spearman.")
    assert kinds_text(changed(made, {"controls.pairs": {}})) == ""


def test_the_best_layer_pair_is_told_by_what_it_is_chosen():
    made = results()
    by = {f"summary.{name}.ranked_by": None for name in made.summary}
    assert best_layer_pair_text(made).startswith("of its highest calibrated score against `rematch`")
    assert best_layer_pair_text(changed(made, by)) == "of its highest score"


@pytest.mark.parametrize("again", [True, False])
def test_the_answer_holds_the_interval_only_of_the_score_that_is_tested(again: bool):
    """The interval is of the score of all pairs, which a null that matches again does not test."""
    made = results()
    nulls = {name: null for name, null in made.summary["rsa"].nulls.items() if again or name != "rematch"}
    size = answer(changed(made, {"summary.rsa.nulls": nulls})).size
    assert ("95% interval" in size) == (not again)
    assert ("which alone can be set beside a ceiling" in size) == again
