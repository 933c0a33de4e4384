"""What more draws would cost: the rules by hand, and what an interval owes to documents."""

from __future__ import annotations

import more_draws
import numpy as np
import pytest

from semconv.results.schema import Score, Spread
from semconv.statistics.stopping import Stopping
from tests._helpers.made_up import changed, results


def test_draws_that_a_rule_takes_are_counted_or_foretold_from_those_there_are():
    above = np.zeros(100)
    low = np.where(np.arange(100) % 2, 1.0, 0.0)  # every second draw reaches 1
    some = np.where(np.arange(100) < 4, 1.0, 0.0)
    early, kept = Stopping(400, 10), Stopping(400, 10, 100)
    assert [more_draws.expected_draws(early, 1.0, null) for null in (above, low)] == [400, 20]
    assert more_draws.expected_draws(kept, 1.0, low) == 100
    assert more_draws.expected_draws(early, 1.0, some) == pytest.approx(10 * 101 / 5)
    assert more_draws.expected_draws(Stopping(400), 1.0, low) == 400
    assert more_draws.expected_draws(Stopping(100), 1.0, low) == 100


def test_an_interval_moves_by_what_the_spread_over_documents_is_of_it():
    made = results()
    scored = [key for key, pair in made.grid.items() if isinstance(pair.measures["rsa"], Score)]
    spreads = {f"grid.{key}.measures.rsa.spread": Spread(documents=0.3, total=0.5, dof=9.0) for key in scored}
    made = changed(made, {"primary": "rsa", **spreads})
    table = more_draws.spread_table(made, 9).splitlines()
    assert "moved by an error of 25% of the first" in table[0]  # 1 / sqrt(2 x 8)
    low, high = (np.sqrt(0.16 + (0.3 * factor) ** 2) / 0.5 - 1 for factor in (0.75, 1.25))
    assert len(table) == 2 + len(scored)
    assert table[2].endswith(f"| 0.3000 | 0.5000 | {low:+.1%} to {high:+.1%} |")
