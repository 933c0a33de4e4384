"""What the results say of the depths: where scores are high, and whether spans and categories say the same."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from semconv.results.schema import Depths, DepthTest, Interval, LayerPair, Measures, Reason, Score, SpansGrid, Subspaces
from semconv.statistics.depth import Labels, closeness, middle_above_ends, over_labels, rank_correlation
from semconv.statistics.permutation import LEVEL
from semconv.statistics.spread import half_width, of_documents
from semconv.study.spread_observations import Resamples
from semconv.suite.config import NullConfig
from semconv.suite.sae_labels import pair_key
from semconv.system.errors import InputError

_Cells = Float[ndarray, "a b"]


@dataclass(frozen=True, eq=False)
class _Grid:
    """The layer pairs by depth.

    Attributes:
        keys: of the layer pairs, by depth of A and of B, ascending.
        null: how many permutations are drawn, and their seed.
    """

    keys: list[list[str]]
    null: NullConfig

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.keys), len(self.keys[0])

    def cells(self, value: Callable[[str], float]) -> _Cells:
        """Returns a number of every layer pair."""
        return np.array([[value(key) for key in row] for row in self.keys])

    def test(self, statistic: Callable[[Labels], float], draws: list[float] | None = None) -> DepthTest | Reason:
        """Returns a statistic beside its permutations; `draws` are its values on resampled documents."""
        try:
            found = over_labels(statistic, self.shape, self.null.n_permutations, self.null.seed)
        except InputError as error:
            return Reason(reason=str(error))
        return DepthTest(
            statistic=found.statistic,
            p=found.p,
            exact=found.exact,
            interval=_interval(found.statistic, draws) if draws else None,
        )


def _interval(statistic: float, draws: list[float]) -> Interval | None:
    """Returns the interval of a statistic over resampled documents; None where one has none."""
    documents = of_documents(np.array(draws))
    if documents is None:
        return None
    half = half_width(documents.sd, len(draws) - 1, LEVEL)
    return statistic - half, statistic + half


def tell_depths(
    grid: Mapping[str, LayerPair],
    resamples: Mapping[str, Resamples],
    spans: SpansGrid | None,
    subspaces: Subspaces | None,
    null: NullConfig,
) -> dict[str, Depths]:
    """Returns for every measure how its scores lie over the depths; none where a block has several SAEs.

    Args:
        grid: layer pair -> what was found.
        resamples: layer pair -> scores on resampled documents; empty where there are none.
        spans: the grid over spans.
        subspaces: the grid by category.
        null: how many permutations are drawn, and their seed.
    """
    labels = [{(p.layer_a, p.sae_a) for p in grid.values()}, {(p.layer_b, p.sae_b) for p in grid.values()}]
    if any(len({layer for layer, _ in of_side}) < len(of_side) for of_side in labels):
        return {}
    a, b = (sorted(of_side) for of_side in labels)
    by_depth = _Grid([[pair_key(of_a, of_b) for _, of_b in b] for _, of_a in a], null)
    names = list(next(iter(grid.values())).measures)
    return {
        name: _depths(by_depth, name, place, grid, resamples=resamples, spans=spans, subspaces=subspaces)
        for place, name in enumerate(names)
    }


def _depths(
    by_depth: _Grid,
    name: str,
    place: int,
    grid: Mapping[str, LayerPair],
    *,
    resamples: Mapping[str, Resamples],
    spans: SpansGrid | None,
    subspaces: Subspaces | None,
) -> Depths:
    scores = by_depth.cells(lambda key: _score(grid[key].measures, name))
    pairs, near = by_depth.cells(lambda key: grid[key].pairs), closeness(*by_depth.shape)
    drawn = _resampled(by_depth, resamples, place)

    def correspondence(labels: Labels, of: _Cells = scores) -> float:
        at = np.ix_(*labels)
        return rank_correlation(of[at], near, given=pairs[at])

    def agreement(other: Callable[[str], float]) -> DepthTest | Reason:
        cells = by_depth.cells(other)
        return by_depth.test(lambda labels: rank_correlation(scores[np.ix_(*labels)], cells))

    def of_category(category: str, key: str) -> float:
        assert subspaces is not None
        cell = subspaces.grid[key].get(category)
        return _score(cell.measures, name) if cell is not None else math.nan

    categories = sorted({one for cells in subspaces.grid.values() for one in cells}) if subspaces else []
    return Depths(
        middle_above_ends=by_depth.test(
            lambda labels: middle_above_ends(scores[np.ix_(*labels)]), _each(middle_above_ends, drawn)
        ),
        correspondence=by_depth.test(correspondence, None),
        over_spans=agreement(lambda key: _score(spans.grid[key].measures, name)) if spans else None,
        by_category={one: agreement(partial(of_category, one)) for one in categories}
        if subspaces and any(name in cell.measures for cells in subspaces.grid.values() for cell in cells.values())
        else None,
    )


def _score(measures: Measures, name: str) -> float:
    found = measures.get(name)
    return found.score if isinstance(found, Score) else math.nan


def _resampled(by_depth: _Grid, resamples: Mapping[str, Resamples], place: int) -> list[_Cells]:
    """Returns the scores of a measure over the grid on every resample of the documents."""
    if not resamples:
        return []
    n = len(next(iter(resamples.values())).counts)
    return [by_depth.cells(lambda key, draw=draw: float(resamples[key].scores[draw, place])) for draw in range(n)]


def _each(statistic: Callable[[_Cells], float], drawn: list[_Cells]) -> list[float]:
    """Returns a statistic of every resample, NaN where there is none."""

    def value(cells: _Cells) -> float:
        try:
            return statistic(cells)
        except InputError:
            return math.nan

    return [value(cells) for cells in drawn]
