"""What the results say of the depths, from made-up layer pairs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from semconv.results.schema import CategoryPair, DepthTest, LayerPair, Reason, Score, SpanPair, SpansGrid, Subspaces
from semconv.study.facts import NoFacts
from semconv.study.spread_observations import Resamples
from semconv.study.tell_depths import tell_depths
from semconv.suite.config import NullConfig
from tests._helpers.worlds import pair_of

NULL = NullConfig(n_permutations=1000, seed=3)
LAYERS = ((0, 4, 10), (3, 11, 20))  # as text 10 comes before 4
SCORES = np.array([[0.1, 0.2, 0.15], [0.25, 0.9, 0.3], [0.05, 0.35, 0.4]])


def grid() -> dict[str, LayerPair]:
    out = dict[str, LayerPair]()
    for i, a in reversed(list(enumerate(LAYERS[0]))):
        for j, b in enumerate(LAYERS[1]):
            pair = pair_of(Score(score=float(SCORES[i, j]), nulls={}))
            out[f"{a}x{b}"] = replace(pair, layer_a=a, layer_b=b, sae_a=str(a), sae_b=str(b), pairs=10 + i + 5 * j)
    return out


def depth_test(found: object) -> DepthTest:
    assert isinstance(found, DepthTest)
    return found


def test_layers_stand_in_the_order_of_their_depth():
    found = tell_depths(grid(), {}, None, None, NULL)["m"]
    middle = depth_test(found.middle_above_ends)
    assert middle.statistic == pytest.approx(0.9 - (0.1 + 0.4) / 2)
    assert middle.exact
    assert middle.p == 4 / 36  # whatever is in the middle, the ends may change places in both
    assert middle.interval is None
    assert depth_test(found.correspondence).statistic > 0.5
    assert found.over_spans is found.by_category is None


def test_intervals_come_of_resamples_of_the_whole_grid():
    spread = np.linspace(-0.1, 0.1, 9)

    def resampled(key: str, pair: LayerPair) -> Resamples:
        score = pair.measures["m"]
        assert isinstance(score, Score)
        draws = score.score + spread * (key == "4x11")
        return Resamples(NoFacts(), np.ones(9, dtype=np.int64), draws[:, None])

    resamples = {key: resampled(key, pair) for key, pair in grid().items()}
    middle = depth_test(tell_depths(grid(), resamples, None, None, NULL)["m"].middle_above_ends)
    assert middle.interval is not None
    half = (middle.interval[1] - middle.interval[0]) / 2
    assert half == pytest.approx(2.306 * spread.std(ddof=1), rel=1e-3)
    assert np.mean(middle.interval) == pytest.approx(middle.statistic)


def test_spans_and_categories_are_held_against_tokens():
    measures = {key: pair.measures for key, pair in grid().items()}
    spans = SpansGrid(
        kind="sentences",
        how="max",
        n_spans=5,
        mean_length=3.0,
        grid={key: SpanPair(pairs=5, measures=of_key) for key, of_key in measures.items()},
    )
    counts = {"features_a": 5, "features_b": 5, "pairs": 5}
    reversed_scores = {
        key: {"m": Score(score=-pair.measures["m"].score, nulls={})}
        for key, pair in grid().items()
        if isinstance(pair.measures["m"], Score)
    }
    cells = {key: {"other way": CategoryPair(**counts, measures=of_key)} for key, of_key in reversed_scores.items()}
    cells["4x11"]["rare"] = CategoryPair(**counts, measures=measures["4x11"])
    subspaces = Subspaces(categories="c", rule="", sha256="", grid=cells, relations={}, shared_features={})
    found = tell_depths(grid(), {}, spans, subspaces, NULL)["m"]
    assert depth_test(found.over_spans).statistic == pytest.approx(1)
    assert found.by_category is not None
    assert depth_test(found.by_category["other way"]).statistic == pytest.approx(-1)
    assert found.by_category["rare"] == Reason(reason="1 layer pairs have both, at least 6 are needed")


def test_where_nothing_can_be_said_it_is_said_why():
    few = {key: pair for key, pair in grid().items() if pair.layer_a < 10}
    found = tell_depths(few, {}, None, None, NULL)["m"]
    assert found.middle_above_ends == Reason(reason="thirds of the depths need three of each model, got 2 and 3")
    missing = grid()
    missing["4x11"] = replace(missing["4x11"], measures={"m": Reason(reason="too few")})
    found = tell_depths(missing, {}, None, None, NULL)["m"]
    assert found.middle_above_ends == Reason(reason="1 of 9 layer pairs have no score")
    twice = grid()
    twice["4.mlpx3"] = replace(twice["4x3"], sae_a="4.mlp")
    assert tell_depths(twice, {}, None, None, NULL) == {}
