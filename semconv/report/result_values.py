"""The one place that turns results into values, names, titles and rows; report, page and figures all use it."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from semconv.compare import MEASURES
from semconv.results.schema import (
    ControlPair,
    LayerPair,
    NullTest,
    RematchCounts,
    Results,
    Score,
    SpanPair,
    Subspaces,
)
from semconv.study.order import label_order
from semconv.suite.nulls import MATCHED_AGAIN
from semconv.suite.sae_labels import pair_key

NULLS = ("shuffle", "frequency", *MATCHED_AGAIN)
"""The nulls in the order of the tables, the easiest first."""
_LONGEST = 18  # letters of a label on an axis

Scored = LayerPair | SpanPair
"""Whatever holds scores: a layer pair, also of a control, one over spans, or a category of one."""
Kind = Literal["floor", "cross-model", "ceiling"]


class Compared(NamedTuple):
    """A layer pair among the controls."""

    kind: Kind
    name: str
    pair: LayerPair


class Grid(NamedTuple):
    """One number of every layer pair.

    Attributes:
        rows: SAEs of B.
        columns: SAEs of A.
        values: the numbers, NaN where there is none.
    """

    rows: list[str]
    columns: list[str]
    values: Float[ndarray, "b a"]


# Names and titles


def title_of(measure: str) -> str:
    """Returns the title of a measure in tables and figures."""
    return MEASURES.get(measure, measure)


def names_of(results: Results) -> tuple[str, str]:
    """Returns the names of model A and of model B."""
    return results.model_a.name, results.model_b.name


def key_of(pair: LayerPair) -> str:
    """Returns the key that the SAEs of a layer pair have in the grid."""
    return pair_key(pair.sae_a, pair.sae_b)


def cut(label: str) -> str:
    """Returns the label of an SAE as axes of charts have room for it: of a long one the middle is left out."""
    return label if len(label) <= _LONGEST else f"{label[: _LONGEST // 2]}…{label[-(_LONGEST // 2 - 1) :]}"


def null_names(results: Results) -> list[str]:
    """Returns the nulls of the results, the easiest first."""
    found = {null for summary in results.summary.values() for null in summary.nulls}
    return [null for null in NULLS if null in found]


def hardest_null(results: Results) -> str | None:
    """Returns the null of the results that is hardest to beat, None where no null was drawn."""
    return next((null for null in reversed(NULLS) if null in null_names(results)), None)


def default_measure(results: Results) -> str:
    """Returns the measure that is shown first: the primary one, or RSA, which does not saturate, where it was taken."""
    names = list(results.summary)
    if results.primary in names:
        return results.primary
    return "rsa" if "rsa" in names else names[0]


def category_measures(subspaces: Subspaces) -> list[str]:
    """Returns the measures that categories were scored by."""
    return sorted({name for cells in subspaces.grid.values() for cell in cells.values() for name in cell.measures})


# Values


def score_of(cell: Scored, measure: str) -> Score | None:
    """Returns the score of a measure, None where it was not taken or has no value."""
    found = cell.measures.get(measure)
    return found if isinstance(found, Score) else None


def test_of(cell: Scored, measure: str, null: str) -> NullTest | None:
    """Returns the test of a measure against a null, None where there is none."""
    score = score_of(cell, measure)
    found = score.nulls.get(null) if score else None
    return found if isinstance(found, NullTest) else None


def value_of(cell: Scored, measure: str, field: str) -> float | None:
    """Returns one number of a layer pair: `pairs`, `score`, or `NULL.FIELD`; None where there is none."""
    if field == "pairs":
        return cell.pairs
    null, _, of_null = field.rpartition(".")
    found = test_of(cell, measure, null) if null else score_of(cell, measure)
    return None if found is None else getattr(found, of_null)


def tests_others(score: float, test: NullTest) -> bool:
    """Whether a test is of another score than that of all pairs, beyond rounding."""
    return not math.isclose(score, test.score, rel_tol=1e-9, abs_tol=1e-12)


def saes_of(results: Results, side: Literal["a", "b"]) -> list[str]:
    """Returns the labels of the SAEs of one model in the grid, by layer."""
    pairs = results.grid.values()
    found = (
        {pair.sae_a: pair.layer_a for pair in pairs} if side == "a" else {pair.sae_b: pair.layer_b for pair in pairs}
    )
    return sorted(found, key=lambda label: label_order(found[label], label))


def grid_of(results: Results, measure: str, field: str) -> Grid:
    """Returns one number of every layer pair, named as by `value_of`, SAEs in the order of their layers."""
    saes_a, saes_b = saes_of(results, "a"), saes_of(results, "b")
    values = np.full((len(saes_b), len(saes_a)), np.nan)
    for pair in results.grid.values():
        value = value_of(pair, measure, field)
        if value is not None:
            values[saes_b.index(pair.sae_b), saes_a.index(pair.sae_a)] = value
    return Grid(saes_b, saes_a, values)


def counts_under(pair: LayerPair, null: str) -> RematchCounts | None:
    """Returns how many feature pairs the filters leave under a null that matches again; None of any other."""
    return {"rematch": pair.rematch, "same_token": pair.same_token, "same_bigram": pair.same_bigram}.get(null)


# How far scores would move


def scores_of(results: Results) -> list[tuple[str, Score]]:
    """Returns every score of the layer grid, with its measure."""
    return [
        (name, found)
        for pair in results.grid.values()
        for name, found in pair.measures.items()
        if isinstance(found, Score)
    ]


def spread_sources(results: Results) -> list[str]:
    """Returns what the intervals of a run cover, of documents, features and seeds."""
    spreads = [score.spread for _, score in scores_of(results) if score.spread is not None]
    sources = "documents", "features", "seeds"
    return [source for source in sources if any(getattr(one, source) is not None for one in spreads)]


# Controls


def _floor_name(name: str, pair: ControlPair | None) -> str:
    return f"{name} (SAEs of the trained models)" if pair and pair.trained_saes else name


def control_rows(results: Results) -> list[Compared]:
    """Returns the floors, the cross-model pairs at the same layers, and the ceilings."""
    controls = results.controls.pairs.items()
    rows = [Compared("floor", _floor_name(name, pair), pair) for name, pair in controls if pair.kind == "floor"]
    for key in dict.fromkeys(key_of(pair) for _, _, pair in rows):
        if key in results.grid:
            rows.append(Compared("cross-model", f"layers {key}", results.grid[key]))
    return rows + [Compared("ceiling", name, pair) for name, pair in controls if pair.kind == "ceiling"]


def strongest_rows(results: Results) -> list[Compared]:
    """Returns floors, and the trained models at their layers, on their strongest pairs without agreement filters."""
    rows: list[Compared] = []
    for name, both in results.controls.strongest.items():
        floor = f"{_floor_name(name, results.controls.pairs.get(name))}, {both.floor.pairs} strongest"
        rows.append(Compared("floor", floor, both.floor))
        trained = f"layers {key_of(both.trained)}, {both.trained.pairs} strongest"
        rows.append(Compared("cross-model", trained, both.trained))
    return rows


def compared_floor(results: Results) -> str | None:
    """Returns the floor that the verdict is about: the first at layers of the grid whose models learned nothing."""
    return next((name for name, pair in _floors(results) if not pair.trained_embeddings), None)


def embeddings_floors(results: Results) -> list[tuple[str, ControlPair]]:
    """Returns the floors at layers of the grid whose models have trained embeddings and untrained blocks."""
    return [(name, pair) for name, pair in _floors(results) if pair.trained_embeddings]


def _floors(results: Results) -> list[tuple[str, ControlPair]]:
    """Returns the floors at layers of the grid, through SAEs of their own models."""
    pairs = results.controls.pairs.items()
    return [
        (name, pair)
        for name, pair in pairs
        if pair.kind == "floor" and not pair.trained_saes and key_of(pair) in results.grid
    ]


def null_of_strongest(results: Results) -> str:
    """Returns the null that the strongest pairs of twins and trained models are held against."""
    return next((null for null in MATCHED_AGAIN if getattr(results.null, f"n_{null}")), "shuffle")
