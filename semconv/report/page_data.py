"""What the script of the report page works on: the layer grid with its null distributions, as plain values."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from semconv.report.figures import title_of, value_of
from semconv.report.rows import NULLS, null_names

N_BINS = 28
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
Draws = dict[str, Float[ndarray, " m"]]
"""`LAYERS.NULL.MEASURE`, such as `0x2.shuffle.rsa` -> the draws, as in `nulls.safetensors`."""


def short(value: float | None) -> float | None:
    """Returns a number with four significant digits, which is what the page shows."""
    return None if value is None else float(f"{value:.4g}")


def binned(draws: Float[ndarray, " m"]) -> list[Any] | None:
    """Returns a histogram as [low, high, n, heights], heights a digit 0 to z per bin, the fullest z; None if empty.

    Draws without a score (NaN) are left out. A bin that holds anything has at least height 1.
    """
    finite = draws[np.isfinite(draws)]
    if not len(finite):
        return None
    low, high = float(finite.min()), float(finite.max())
    counts = np.histogram(finite, N_BINS, (low, high) if high > low else (low - 1e-9, high + 1e-9))[0]
    heights = np.ceil(counts / counts.max() * (len(_DIGITS) - 1)).astype(int)
    return [short(low), short(high), len(finite), "".join(_DIGITS[h] for h in heights)]


def heights(histogram: list[Any]) -> list[float]:
    """Returns the heights of a histogram of `binned`, the fullest bin 1."""
    return [_DIGITS.index(digit) / (len(_DIGITS) - 1) for digit in histogram[3]]


def default_measure(results: dict[str, Any]) -> str:
    """Returns the measure that is shown first: RSA, which does not saturate, where it was taken."""
    names = list(results["summary"])
    return "rsa" if "rsa" in names else names[0]


def hardest_null(results: dict[str, Any]) -> str | None:
    """Returns the null of the results that is hardest to beat, None where no null was drawn."""
    return next((null for null in reversed(NULLS) if null in null_names(results)), None)


def limits(results: dict[str, Any], measure: str) -> dict[str, list[float]]:
    """Returns the ends of the colour scales of a measure: one for scores and null means, one for z."""

    def ends(fields: list[str]) -> list[float]:
        values = [value_of(cell, measure, field) for cell in results["grid"].values() for field in fields]
        found = [value for value in values if value is not None]
        low, high = min([0.0, *found]), max([0.0, *found])
        return [low, high if high > low else low + 1.0]

    nulls = null_names(results)
    scored = ["score", *(f"{null}.{field}" for null in nulls for field in ("mean", "calibrated"))]
    return {"score": ends(scored), "z": ends([f"{null}.z" for null in nulls]), "pairs": ends(["pairs"])}


def _null(test: dict[str, Any], draws: ndarray | None) -> dict[str, Any]:
    if "reason" in test:
        return {"reason": test["reason"]}
    out: dict[str, Any] = {
        name: short(test.get(name)) for name in ("score", "mean", "sd", "z", "calibrated", "p", "q", "q_by")
    }
    histogram = None if draws is None else binned(draws)
    return {**out, "draws": histogram} if histogram else out


def _measured(cell: dict[str, Any], key: str, measure: str, draws: Draws) -> dict[str, Any]:
    found = cell["measures"][measure]
    if "score" not in found:
        return {"reason": found.get("reason", "no score")}
    within = found.get("interval")
    nulls = {null: _null(found["nulls"][null], draws.get(f"{key}.{null}.{measure}")) for null in found["nulls"]}
    return {
        "score": short(found["score"]),
        "interval": [short(end) for end in within] if within else None,
        "saturated": bool(found.get("saturated")),
        "nulls": nulls,
    }


def grid_data(results: dict[str, Any], draws: Draws) -> dict[str, Any]:
    """Returns the layer grid for the script: SAEs, feature pairs, every measure's scores, nulls and histograms."""
    grid = results["grid"]
    cells: list[dict[str, Any]] = []
    for cell in grid.values():
        within, again = cell.get("pairs_interval"), cell.get("rematch", {})
        cells.append(
            {
                "a": cell["sae_a"],
                "b": cell["sae_b"],
                "pairs": cell["pairs"],
                "interval": [short(end) for end in within] if within else None,
                "r": short(cell["mean_r"]),
                "pairsP": short(again.get("pairs_p")),
                "rematchPairs": short(again.get("pairs_mean")),
            }
        )
    measures = {
        name: {
            "title": title_of(name),
            "limits": limits(results, name),
            "cells": [_measured(cell, key, name, draws) for key, cell in grid.items()],
        }
        for name in results["summary"]
    }
    return {"nulls": null_names(results), "cells": cells, "measures": measures}
