"""The study of intervals: the same data sets every time, and intervals that hold the truth where it is known."""

from __future__ import annotations

import numpy as np
import pytest

from semconv.validation import coverage
from semconv.validation.coverage import CASES, Case, held, truths


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
