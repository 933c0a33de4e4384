"""The heat maps of the report page: the layer grid and the categories, as tables whose cells have colours."""

from __future__ import annotations

from dataclasses import dataclass, replace

from semconv.report.page_data import limits
from semconv.report.result_values import (
    category_measures,
    saes_of,
    test_of,
    title_of,
    value_of,
)
from semconv.report.scales import Ends, ends_within, rounded, step_of
from semconv.report.told_apart import MARKS, Told, scored_on, told_apart
from semconv.results.schema import CategoryPair, Results, Subspaces
from semconv.suite.nulls import MATCHED_AGAIN


@dataclass(frozen=True)
class HeatCell:
    """A cell of a heat map.

    Attributes:
        text: the value, or `none`.
        step: of the colour scale, None where there is no value.
        mark: what says that it is not told from its null (`MARKS`); empty where it is.
        beats: whether it is.
        index: place of the layer pair in the grid.
    """

    text: str
    step: int | None = None
    mark: str = ""
    beats: bool = False
    index: int = 0


@dataclass(frozen=True)
class HeatMap:
    """A heat map made of table cells.

    Attributes:
        title: of the measure, and what of it is shown.
        columns: labels of the columns.
        rows: label and cells of every row, None where no layer pair is.
        ends: of the colour scale.
    """

    title: str
    columns: list[str]
    rows: list[tuple[str, list[HeatCell | None]]]
    ends: Ends

    @property
    def long(self) -> bool:
        """Whether labels are more than the numbers of layers."""
        return not all(map(str.isdecimal, (*self.columns, *(label for label, _ in self.rows))))


def _heat(value: float | None, ends: Ends, told: Told | None) -> HeatCell:
    if value is None:
        return HeatCell("none")
    cell = HeatCell(rounded(value), step_of(value, ends))
    return cell if told is None else replace(cell, mark=MARKS[told], beats=told == "above")


def grid_table(results: Results, measure: str, null: str | None) -> HeatMap:
    """Returns the scores of one measure over the layer grid that a null tests, deep layers of B on top.

    Args:
        results: of a suite, in order (`in_order`).
        measure: which.
        null: which null a score is compared with, None for none. Of one that matches again the score is that of the
            strongest pairs, of all else that of all pairs.
    """
    field = f"{null}.score" if null in MATCHED_AGAIN else "score"
    ends = limits(results, measure)["score"]
    places = {(pair.sae_a, pair.sae_b): (place, pair) for place, pair in enumerate(results.grid.values())}
    saes_a, saes_b = saes_of(results, "a"), saes_of(results, "b")[::-1]

    def heat(a: str, b: str) -> HeatCell | None:
        if (a, b) not in places:
            return None
        place, pair = places[a, b]
        told = told_apart(results, null, test_of(pair, measure, null)) if null else None
        return replace(_heat(value_of(pair, measure, field), ends, told), index=place)

    title = f"{title_of(measure)}: score of {scored_on(null or '')}"
    return HeatMap(title, saes_a, [(b, [heat(a, b) for a in saes_a]) for b in saes_b], ends)


def category_maps(results: Results, subspaces: Subspaces) -> list[HeatMap]:
    """Returns for every measure of the categories a heat map: categories by layer pairs; RSA first."""
    measures = sorted(category_measures(subspaces), key=lambda measure: (measure != "rsa", title_of(measure)))
    return [_category_map(results, subspaces.grid, measure) for measure in measures]


def _category_map(results: Results, grid: dict[str, dict[str, CategoryPair]], measure: str) -> HeatMap:
    names = list(dict.fromkeys(name for cells in grid.values() for name in cells))
    scored = {
        (key, name): value_of(cell, measure, "score") for key, cells in grid.items() for name, cell in cells.items()
    }
    known = [value for value in scored.values() if value is not None]
    ends = ends_within(known)

    def heat(key: str, name: str) -> HeatCell | None:
        cell = grid[key].get(name)
        test = test_of(cell, measure, "shuffle") if cell else None
        return _heat(scored.get((key, name)), ends, told_apart(results, "shuffle", test))

    rows = [
        (name, [heat(key, name) for key in grid])
        for name in names
        if any(scored.get((k, name)) is not None for k in grid)
    ]
    return HeatMap(title_of(measure), list(grid), rows, ends)
