"""Figures of feature pairs as the field knows them, each from a table of the run folder, ready for print."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from semconv.compare.registry import score_range
from semconv.report.figure_files import SHARP, WIDTH, drawing, save
from semconv.report.result_values import cut, default_measure, names_of, null_names, score_of, test_of, title_of
from semconv.report.shown import percent
from semconv.results.schema import Results
from semconv.runs import best_r_table
from semconv.runs.pairs_table import pair_batches
from semconv.system.files import TensorFile

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TEXT, _NULL = "#1f5fa8", "#9a9a9a"
_SMALL: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "legend.fontsize": 7,
    "legend.frameon": False,
}
_SMALL |= {"xtick.labelsize": 7, "ytick.labelsize": 7, "axes.spines.top": False, "axes.spines.right": False}
_MOST_CURVES = 8  # in a legend; more are told by a colour bar
_NORMAL = 1.96  # standard deviations that hold 95% of normal draws

CAPTIONS = {
    "best_r": "r of every feature with its best partner, over all layer pairs, beside the same after one shift of the "
    "text (`rematch`), which is what the search for a partner finds by chance.",
    "r_by_layer": "Mean r of features with their best partner, by layer; dashed: after one shift of the text.",
    "r_by_frequency": "r of the feature pairs that pass every filter, against how often their features are active.",
    "filters": "How many features every filter leaves, of all layer pairs together.",
    "scores": "The score of every measure, with its 95% interval, at the best layer pair by the measure that is shown "
    "first. Below it each null: the bar is its mean and 1.96 standard deviations to either side, as far as scores go, "
    "the dot the score that is tested against it (of the strongest pairs, where the null matches again).",
    "decoders": "Decoder rows of the pairs of that layer pair, each model by its own first two principal components, B "
    "turned onto A. A pair has one colour, by its place in A: where these planes are shared, colours lie alike in B.",
}
"""Figures by name, and what is seen in them."""


def write_pair_figures(results: Results, run: Path, folder: Path) -> list[Path]:
    """Draws what tables of a run show of its pairs; what it has no table for is left out.

    Args:
        results: of the run, in order (`in_order`).
        run: its folder.
        folder: for the figures, `NAME.png` and `NAME.svg` each.

    Returns:
        The PNG files.

    Raises:
        InputError: a table is damaged.
    """
    import matplotlib as mpl

    makers: dict[str, tuple[str, Callable[[], Figure | None]]] = {
        "best_r": (best_r_table.NAME, lambda: _best_r(results, run)),
        "r_by_layer": (best_r_table.NAME, lambda: _r_by_layer(results, run)),
        "r_by_frequency": ("pairs.parquet", lambda: _r_by_frequency(results, run)),
        "filters": ("", lambda: _filters(results)),
        "scores": ("", lambda: _scores(results)),
        "decoders": ("decoders.safetensors", lambda: _decoders(results, run)),
    }
    written: list[Path] = []
    with drawing(), mpl.rc_context(_SMALL):
        for name, (needed, make) in makers.items():
            figure = make() if (run / needed).exists() else None
            if figure is not None:
                written.append(folder / f"{name}.png")
                save(figure, written[-1], SHARP)
    return written


def _write_plainly(axis: Any) -> None:
    """Writes the numbers of a logarithmic axis, powers of ten alone, as numbers and not as formulas."""
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter("")


def _new(height: float, columns: int, **more: Any) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.subplots(1, columns, squeeze=False, **more)[0]


def _best_r(results: Results, run: Path) -> Figure | None:
    """Draws how r of best partners lies, of A's features and of B's."""
    table = best_r_table.read_best_r(run)
    if not table.num_rows:
        return None
    figure, axes = _new(2.6, 2, sharey=True)
    for ax, of, name, other in zip(axes, "ab", names_of(results), names_of(results)[::-1], strict=True):
        for null, colour, label in (("rematch", _NULL, "one shift of the text (rematch)"), ("", _TEXT, "the text")):
            counts = _counts(table, of, null)
            if counts is None:
                continue
            edges = np.linspace(-1, 1, len(counts) + 1)
            ax.stairs(counts / counts.sum(), edges, fill=True, color=colour, alpha=0.75, label=label)
        ax.set_yscale("log")
        _write_plainly(ax.yaxis)
        ax.set_xlim(-0.05, 1)
        ax.set_title(f"features of {cut(name)}, best in {cut(other)}")
        ax.set_xlabel("r with the best partner")
    axes[0].set_ylabel("share of features")
    axes[0].legend(loc="upper right")
    return figure


def _counts(table: Any, of: str, null: str) -> Int[ndarray, " bins"] | None:
    """Returns the histogram of some rows together; None of none."""
    rows = zip(*(table[name].to_pylist() for name in ("of", "null", "counts")), strict=True)
    found = [counts for its_of, its_null, counts in rows if (its_of, its_null) == (of, null)]
    return np.array(found).sum(axis=0) if found else None


def _r_by_layer(results: Results, run: Path) -> Figure | None:
    """Draws the mean r of best partners: for every SAE of one model a curve over the SAEs of the other."""
    rows = best_r_table.read_best_r(run).to_pylist()
    if not rows:
        return None
    figure, axes = _new(2.8, 2, sharey=True)
    for ax, of, other, names in zip(axes, "ab", "ba", (names_of(results), names_of(results)[::-1]), strict=True):
        own, others = _labels(rows, of), _labels(rows, other)
        means = {(row[f"sae_{of}"], row[f"sae_{other}"], row["null"]): row["mean"] for row in rows if row["of"] == of}
        _curves(ax, own, others, means)
        ax.set_xticks(*_thinned(others))
        ax.set_xlabel(f"layer of {cut(names[1])}")
        ax.set_title(f"features of {cut(names[0])}, a curve per layer")
        ax.set_ylim(0, 1.3 * max(row["mean"] for row in rows))
    axes[0].set_ylabel("mean r with the best partner")
    return figure


def _curves(ax: Axes, own: Sequence[str], others: Sequence[str], means: dict[tuple[str, str, str], float]) -> None:
    import matplotlib as mpl
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    colours, x = mpl.colormaps["viridis"], range(len(others))
    for place, label in enumerate(own):
        colour = colours(0.9 * place / max(1, len(own) - 1))
        for null, style in (("", "-"), ("rematch", "--")):
            values = [means.get((label, one, null), np.nan) for one in others]
            known = f"layer {cut(label)}" if null == "" and len(own) <= _MOST_CURVES else None
            ax.plot(x, values, style, marker="." if null == "" else None, color=colour, linewidth=1, label=known)
    if any(null for _, _, null in means):
        ax.plot([], [], "--", color="black", linewidth=1, label="one shift of the text")
    ax.legend(ncols=3, loc="upper center")
    if len(own) <= _MOST_CURVES:
        return
    bar = ScalarMappable(Normalize(0, len(own) - 1), colours)
    scale = ax.figure.colorbar(bar, ax=ax, label="layer")  # pyright: ignore - a figure, not a part of one
    places, labels = _thinned(own, 6)
    scale.set_ticks(places, labels=labels)


def _labels(rows: Iterable[dict[str, Any]], side: str) -> list[str]:
    """Returns the SAEs of a model, by layer."""
    return [label for _, label in sorted({(row[f"layer_{side}"], row[f"sae_{side}"]) for row in rows})]


def _thinned(labels: Sequence[str], most: int = 14) -> tuple[list[int], list[str]]:
    """Returns places and labels of as many ticks as have room."""
    places = list(range(0, len(labels), -(-len(labels) // most)))
    return places, [cut(labels[place]) for place in places]


def _r_by_frequency(results: Results, run: Path) -> Figure | None:
    """Draws how many pairs have which r and which frequency."""
    from matplotlib.colors import LogNorm

    n = results.corpus.n_spans or results.corpus.n_tokens
    edges = np.linspace(-np.log10(max(n, 10)), 0, 49), np.linspace(-0.1, 1, 45)
    counts: dict[str, Float[ndarray, "48 44"]] = {side: np.zeros((48, 44)) for side in "ab"}
    for batch in pair_batches(run, ("r", "active_a", "active_b")):
        r = batch["r"].to_numpy()
        for side, held in counts.items():
            active = batch[f"active_{side}"].to_numpy().astype(np.float64)
            known = np.nan_to_num(active) > 0
            held += np.histogram2d(np.log10(active[known] / n), r[known], edges)[0]
    most = max(held.max() for held in counts.values())
    if not most:
        return None
    figure, axes = _new(2.8, 2, sharey=True)
    for ax, side, name in zip(axes, "ab", names_of(results), strict=True):
        shown = np.ma.masked_equal(counts[side].T, 0)
        image = ax.pcolormesh(
            10 ** edges[0], edges[1], shown, norm=LogNorm(1, max(most, 2)), cmap="viridis_r", rasterized=True
        )
        ax.set_xscale("log")
        _write_plainly(ax.xaxis)
        ax.set_xlim(10 ** edges[0][np.flatnonzero(counts[side].any(axis=1))[0]], 1)
        ax.set_xlabel(f"share of positions at which {cut(name)}'s\nfeature is active")
        if ax is axes[-1]:
            _write_plainly(figure.colorbar(image, ax=list(axes), label="feature pairs").ax.yaxis)
    axes[0].set_ylabel("r of the pair")
    lowest = edges[1][min(np.flatnonzero(held.any(axis=0))[0] for held in counts.values() if held.any())]
    axes[0].set_ylim(min(0.0, lowest), 1)
    return figure


def _filters(results: Results) -> Figure | None:
    """Draws how many features are left after each filter."""
    steps: dict[str, int] = {}
    first = sum(pair.filters[0].before for pair in results.grid.values() if pair.filters)
    for pair in results.grid.values():
        for step in pair.filters:
            steps[step.step] = steps.get(step.step, 0) + step.after
    if not first:
        return None
    bars = {f"features of {names_of(results)[1]}": first, **steps}
    figure, (ax,) = _new(0.6 + 0.3 * len(bars), 1)
    ax.barh(range(len(bars)), list(bars.values()), color=_TEXT, height=0.65)
    for place, count in enumerate(bars.values()):
        ax.text(count, place, f" {count:,} ({percent(count / first)})", va="center", fontsize=7)
    ax.set_yticks(range(len(bars)), list(bars))
    ax.invert_yaxis()
    ax.set_xlim(0, 1.25 * first)
    ax.xaxis.set_major_formatter("{x:,.0f}")
    ax.set_xlabel(f"features left after each filter, sum over {len(results.grid):,} layer pairs")
    return figure


@dataclass(frozen=True)
class _Row:
    """A line of a panel: what was tested, and where 95% of its draws are."""

    name: str
    score: float
    draws: tuple[float, float] | None = None
    interval: tuple[float, float] | None = None


def _score_rows(results: Results, key: str, measure: str) -> list[_Row]:
    """Returns the score of a measure, and what is tested against each of its nulls."""
    pair = results.grid[key]
    found = score_of(pair, measure)
    if found is None:
        return []
    rows = [_Row("score", found.score, None, found.interval)]
    for null in null_names(results):
        test = test_of(pair, measure, null)
        if test is not None and test.mean is not None:
            spread, (low, high) = _NORMAL * (test.sd or 0.0), score_range(measure)
            rows.append(_Row(null, test.score, (max(low, test.mean - spread), min(high, test.mean + spread))))
    return rows


def best_key(results: Results) -> str | None:
    """Returns the best layer pair by the measure that is shown first, None where it has no score."""
    return results.summary[default_measure(results)].best_layer_pair or None


def _scores(results: Results) -> Figure | None:
    """Draws for every measure a panel: its score with its interval, and every null."""
    from matplotlib.figure import Figure

    key = best_key(results)
    found = {name: _score_rows(results, key, name) for name in results.summary} if key else {}
    found = {name: rows for name, rows in found.items() if rows}
    if not found:
        return None
    lines = -(-len(found) // 3)
    figure = Figure(figsize=(WIDTH, 0.45 + 1.35 * lines), layout="constrained")
    axes = figure.subplots(lines, 3, squeeze=False)
    for ax in axes.flat[len(found) :]:
        ax.set_axis_off()
    for place, (ax, (name, rows)) in enumerate(zip(axes.flat, found.items(), strict=False)):
        for y, row in enumerate(rows):
            if row.draws:
                ax.barh(y, row.draws[1] - row.draws[0], left=row.draws[0], color=_NULL, height=0.5)
            if row.interval:
                ax.plot(row.interval, (y, y), color=_TEXT, linewidth=1.5, solid_capstyle="butt")
            ax.plot(row.score, y, "o", color=_TEXT, markersize=4)
        ax.set_yticks(range(len(rows)), [row.name for row in rows] if place % 3 == 0 else [""] * len(rows))
        ax.set_ylim(len(rows) - 0.4, -0.6)
        ax.use_sticky_edges = False  # room beside bars, too
        ax.margins(x=0.08)
        ax.set_title(title_of(name), fontsize=7)
        if place + 3 >= len(found):
            ax.set_xlabel("score", fontsize=7)
    names = names_of(results)
    figure.suptitle(f"Layers {key} of {cut(names[0])} x {cut(names[1])}", fontsize=8)
    figure.legend(handles=_score_key(), loc="outside lower center", ncols=3)
    return figure


def _score_key() -> list[Any]:
    """Returns what the marks of the figure of scores are."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    return [
        Line2D([], [], color=_TEXT, marker="o", markersize=4, linestyle="none", label="score that is tested"),
        Line2D([], [], color=_TEXT, linewidth=1.5, label="its 95% interval"),
        Patch(color=_NULL, label="null: mean and 1.96 standard deviations to either side"),
    ]


def _decoders(results: Results, run: Path) -> Figure | None:
    """Draws the decoder rows of the pairs of one layer pair in both models, a pair in one colour."""
    from matplotlib.colors import hsv_to_rgb

    key = best_key(results)
    found = _paired_rows(run, results, key) if key else None
    if found is None:
        return None
    a, b = (principal_plane(rows) for rows in found)
    u, _, v = np.linalg.svd(b.T @ a)
    b = b @ (u @ v)
    turn = np.arctan2(a[:, 1], a[:, 0]) / (2 * np.pi) % 1
    far = np.argsort(np.argsort(np.hypot(*a.T))) / max(1, len(a) - 1)
    colours = hsv_to_rgb(np.stack([turn, 0.25 + 0.75 * far, np.full(len(a), 0.82)], axis=1))
    figure, axes = _new(3.3, 2)
    for ax, rows, name, sae in zip(axes, (a, b), names_of(results), _saes_of(results, key), strict=True):
        ax.scatter(*rows.T, c=colours, s=9, linewidths=0)
        ax.set_title(f"{cut(name)}, layer {cut(sae)}: {len(rows):,} decoder rows")
        ax.set_xlabel("first principal component")
        ax.set_aspect("equal", "datalim")
    axes[0].set_ylabel("second principal component")
    figure.suptitle("A pair has one colour in both maps, by its place in the left one", fontsize=8)
    return figure


def _saes_of(results: Results, key: str | None) -> tuple[str, str]:
    pair = results.grid[key or ""]
    return pair.sae_a, pair.sae_b


def _paired_rows(run: Path, results: Results, key: str) -> tuple[ndarray, ndarray] | None:
    """Returns the decoder rows of the pairs of a layer pair; None of fewer than three, or of SAEs that have none."""
    wanted = [
        (row["feature_a"], row["feature_b"])
        for batch in pair_batches(run, ("sae_a", "sae_b", "feature_a", "feature_b"))
        for row in _of_cell(batch, _saes_of(results, key))
    ]
    file = TensorFile(run / "decoders.safetensors")
    out: list[ndarray] = []
    for side, sae, features in zip(
        "ab", _saes_of(results, key), np.array(wanted, dtype=int).reshape(-1, 2).T, strict=True
    ):
        names = f"{side}.{sae}.features", f"{side}.{sae}.rows"
        if len(features) < 3 or not set(names) <= set(file.names):
            return None
        known, rows = (file.read(name).numpy() for name in names)
        places = np.searchsorted(known, features)
        if places.max() >= len(known) or not np.array_equal(known[places], features):
            return None
        out.append(rows[places].astype(np.float64))
    return out[0], out[1]


def _of_cell(batch: Any, saes: tuple[str, str]) -> list[dict[str, Any]]:
    import pyarrow.compute as pc

    compute: Any = pc
    here = compute.and_(compute.equal(batch["sae_a"], saes[0]), compute.equal(batch["sae_b"], saes[1]))
    return batch.filter(here).to_pylist()


def principal_plane(rows: Float[ndarray, "n d"]) -> Float[ndarray, "n 2"]:
    """Returns unit rows on their first two principal components.

    A component points to where the entry of largest size in its direction is positive, the first of equals, so that the
    same rows give the same map.

    Args:
        rows: float [n, d], n and d at least 2; none is zero.
    """
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    unit = unit - unit.mean(axis=0)
    directions = np.linalg.svd(unit, full_matrices=False)[2][:2]
    largest = np.abs(directions).argmax(axis=1)
    return unit @ (directions * np.sign(directions[[0, 1], largest])[:, None]).T
