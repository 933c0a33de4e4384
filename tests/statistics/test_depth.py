"""How scores lie over depths: thirds, correspondence given the number of pairs, and permuted labels."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from scipy.stats import rankdata, spearmanr

from semconv.statistics.depth import (
    Labels,
    Thirds,
    closeness,
    middle_above_ends,
    over_labels,
    rank_correlation,
)
from semconv.system.errors import InputError


@pytest.mark.parametrize(
    ("n", "expected"),
    [(1, "m"), (2, "el"), (3, "eml"), (4, "emml"), (5, "eemll"), (6, "eemmll"), (7, "eemmmll"), (9, "eeemmmlll")],
)
def test_thirds_hold_the_middles_of_the_depths(n: int, expected: str):
    thirds = Thirds.of(n)
    found = ["eml"[int(np.argmax(one))] for one in zip(thirds.early, thirds.middle, thirds.late, strict=True)]
    assert "".join(found) == expected
    assert (thirds.early.astype(int) + thirds.middle + thirds.late == 1).all()


def test_the_middle_is_held_against_both_ends():
    scores = np.array([[0.1, 9, 9, 9], [9, 0.5, 0.7, 9], [9, 0.6, 0.8, 9], [9, 9, 9, 0.3]])
    assert middle_above_ends(scores) == pytest.approx(0.65 - 0.2)
    with pytest.raises(InputError, match="thirds of the depths need three of each model, got 4 and 2"):
        middle_above_ends(scores[:, :2])
    scores[0, 3] = math.nan
    with pytest.raises(InputError, match="1 of 16 layer pairs have no score"):
        middle_above_ends(scores)


def test_rank_correlation_is_spearmans_and_partial_that_of_residuals():
    rng = np.random.default_rng(0)
    x, y, z = (rng.normal(size=(4, 5)) for _ in range(3))
    y, z = y + x, z + x
    assert rank_correlation(x, y) == pytest.approx(spearmanr(x.ravel(), y.ravel()).statistic, abs=1e-12)
    ranks = [rankdata(part) for part in (x, y, z)]
    rest = [r - np.polyval(np.polyfit(ranks[2], r, 1), ranks[2]) for r in ranks[:2]]
    assert rank_correlation(x, y, given=z) == pytest.approx(np.corrcoef(rest)[0, 1], abs=1e-12)
    x[0, :] = math.nan
    assert rank_correlation(x, y) == pytest.approx(spearmanr(x[1:].ravel(), y[1:].ravel()).statistic, abs=1e-12)
    x[1:3] = math.nan
    with pytest.raises(InputError, match="5 layer pairs have both, at least 6 are needed"):
        rank_correlation(x, y)
    with pytest.raises(InputError, match="the layer pairs do not differ"):
        rank_correlation(np.ones((3, 3)), rng.normal(size=(3, 3)))
    with pytest.raises(InputError, match="what is given leaves no difference"):
        rank_correlation(y, z, given=z)


def test_all_labels_are_gone_through_where_they_are_few():
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(3, 4))
    near = closeness(3, 4)
    assert near[0].tolist() == pytest.approx([-abs(1 / 6 - (i + 0.5) / 4) for i in range(4)])

    def statistic(labels: Labels) -> float:
        return rank_correlation(scores[np.ix_(*labels)], near)

    found = over_labels(statistic, (3, 4), 1000, 0)
    values = [statistic((np.array(a), np.array(b))) for a in permutations(range(3)) for b in permutations(range(4))]
    assert found.exact
    assert found.statistic == values[0]
    assert found.p == np.mean([value >= values[0] - 1e-12 for value in values])
    drawn = over_labels(statistic, (3, 4), 143, 0)  # 144 there are
    assert not drawn.exact
    assert drawn.p == pytest.approx(found.p, abs=0.13)
    assert (drawn.p * 144) == pytest.approx(round(drawn.p * 144))


def test_a_pattern_of_the_depths_is_found_and_none_is_not():
    middle = np.exp(-(((np.arange(7)[:, None] - 3) ** 2 + (np.arange(7) - 3) ** 2) / 8))
    found = over_labels(lambda labels: middle_above_ends(middle[np.ix_(*labels)]), (7, 7), 500, 0)
    assert found.statistic > 0.5
    assert found.p == 1 / 501
    p = [
        over_labels(lambda labels, s=scores: middle_above_ends(s[np.ix_(*labels)]), (4, 4), 1000, 0).p
        for scores in np.random.default_rng(2).normal(size=(60, 4, 4))
    ]
    assert 0.35 < np.mean(p) < 0.65
    assert np.mean(np.array(p) <= 0.05) < 0.17
