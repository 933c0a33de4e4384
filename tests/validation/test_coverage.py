"""The study of intervals: the same data sets every time, and intervals that hold the truth where it is known."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from semconv.statistics.permutation import generator
from semconv.validation import coverage, document_cases
from semconv.validation.coverage import CASES, TRUTH, Case, held, truths

_SPEC = importlib.util.spec_from_file_location(
    "coverage_script", Path(__file__).parents[2] / "scripts" / "measure" / "coverage.py"
)
assert _SPEC is not None
assert _SPEC.loader is not None
coverage_script = importlib.util.module_from_spec(_SPEC)  # `coverage` is also what a library is called
_SPEC.loader.exec_module(coverage_script)


@pytest.fixture(autouse=True)
def one_measure(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(coverage, "MEASURES", ("rsa",))


def test_data_sets_are_those_of_their_numbers():
    truth, error = truths(CASES[0], 8)["rsa"]
    assert (truth, error) == truths(CASES[0], 8)["rsa"]
    assert 0 < error < truth
    assert held(CASES[2], 3, {"rsa": truth}, 6) == held(CASES[2], 3, {"rsa": truth}, 6)
    assert held(CASES[2], 3, {"rsa": truth}, 6) != held(CASES[2], 4, {"rsa": truth}, 6)


@pytest.mark.parametrize("case", [CASES[0], CASES[2]])
def test_intervals_of_rsa_hold_the_expected_score(case: Case):
    expected = {"rsa": truths(case, 300)["rsa"][0]}
    found = [held(case, number, expected, 30)["rsa"] for number in range(60)]
    assert np.mean([one for one, _ in found]) >= 0.88  # four standard errors below 95% would be 0.84
    far = {"rsa": expected["rsa"] + 5 * float(np.median([half for _, half in found]))}
    assert not any(held(case, number, far, 30)["rsa"][0] for number in range(5))


def test_intervals_over_documents_hold_the_expected_score_and_not_one_far_from_it():
    scores = [document_cases.score(generator(0, TRUTH + i, document_cases.STREAM)) for i in range(60)]
    truth = {name: float(np.mean([one[name] for one in scores])) for name in scores[0]}
    spread = np.std([one["rsa"] for one in scores], ddof=1)
    found = [document_cases.held(generator(0, i, document_cases.STREAM), truth, 8) for i in range(12)]
    assert sum(one["rsa"][0] for one in found) >= 9
    half = np.median([one["rsa"][1] for one in found])
    assert 1.2 * spread < half < 4 * spread  # Student's t with 7 degrees of freedom is 2.36
    far = {name: value + 1 for name, value in truth.items()}
    assert not any(document_cases.held(generator(0, i, document_cases.STREAM), far, 8)["rsa"][0] for i in range(2))


def test_an_interval_that_holds_too_seldom_fails_the_study(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """95% of 400 are 380; 364 have a one-sided p of 0.0006, 365 of 0.0011 (SciPy's binomial distribution)."""
    p = scipy.stats.binom.cdf([364, 365], 400, 0.95)
    assert p[0] <= coverage_script.FAILS < p[1]
    assert [coverage_script.fails(k, 400) for k in (364, 365, 380, 400)] == [True, False, False, False]
    out = tmp_path / "table.md"
    sizes = ["--case", "features", "--datasets", "6", "--truth", "20", "--halves", "6", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["coverage", *sizes])
    assert coverage_script.main() == 0
    monkeypatch.setattr(coverage_script, "held", lambda *_: {"rsa": (False, 0.1)})
    assert coverage_script.main() == 1
    assert out.read_text().endswith("FAIL: features, rsa\n")
