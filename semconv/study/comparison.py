"""Compares everything that was encoded: layer grid, controls, subspaces, published steps; gives plain results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from semconv.compare import make_measures
from semconv.runs.task_cache import Result
from semconv.statistics.permutation import max_statistic
from semconv.study.controls import self_match
from semconv.study.layer_pairs import Protocol, bootstrap, study
from semconv.study.nulls import without_agreement
from semconv.study.published_protocol import step_tasks
from semconv.study.sides import Side, key_of
from semconv.study.subspaces import (
    CategoryParts,
    pooled,
    relations,
    shared_features,
    spans_of,
    study_category,
    study_spans,
)
from semconv.suite.config import SuiteConfig
from semconv.suite.sae_labels import key_of_cell
from semconv.system.errors import InputError
from semconv.system.side_by_side import side_by_side
from semconv.text.keywords import load_categories
from semconv.text.spans import Spans
from semconv.text.token_blocks import TokenBlocks

LEVEL = 0.05
"""False discovery rate of what is called significant, and one minus the coverage of intervals."""

Grid = dict[str, dict[str, Any]]
Nulls = dict[str, dict[str, Float[ndarray, " m"]]]


@dataclass(frozen=True, eq=False)
class Encoded:
    """Everything a suite encodes.

    Attributes:
        blocks: the text.
        sides_a: SAEs of model A, by layer.
        sides_b: of model B.
        controls: control -> its two sides.
        published: whether layers are shifted -> the two sides of the published layer pair, over every position.
        spans: of A and of B, what the activations were pooled over where a suite aligns two tokenizers.
        unfair: floors that read untrained models through an SAE of A or B, which are a floor of nothing.
    """

    blocks: TokenBlocks
    sides_a: list[Side]
    sides_b: list[Side]
    controls: dict[str, tuple[Side, Side]]
    published: dict[bool, tuple[Side, Side]]
    spans: tuple[Spans, Spans] | None = None
    unfair: frozenset[str] = frozenset()

    @property
    def on_cpu(self) -> bool:
        """Whether the CPU correlates, and so several tasks at once keep it busy."""
        return self.sides_a[0].acts.device.type == "cpu"


def n_steps(suite: SuiteConfig, stage: str) -> int:
    """Returns how many steps a stage takes, for its progress bar."""
    n_pairs = len(suite.model_a.saes) * len(suite.model_b.saes)
    # A floor is studied once more on its strongest pairs, and so are the trained models beside it.
    studied = n_pairs + sum(3 if control.kind == "floor" else 1 for control in suite.controls)
    categories = len(load_categories(suite.subspaces.categories).keywords) if suite.subspaces else 0
    steps = {
        "compare": studied,
        "rematch": studied * suite.null.n_rematch,
        "bootstrap": suite.null.n_bootstrap,
        "subspaces": n_pairs * (categories + (suite.spans is not None)),
    }
    return steps[stage]


def compare_all(
    suite: SuiteConfig, protocol: Protocol, encoded: Encoded, texts: list[str]
) -> tuple[dict[str, Any], Nulls]:
    """Returns every section of the results that compares, and the draws of the grid: layer pair -> `NULL.MEASURE`."""
    cells = [(key_of(a, b), a, b) for a in encoded.sides_a for b in encoded.sides_b]
    studied = side_by_side([partial(study, protocol, *cell) for cell in cells], encoded.on_cpu)
    grid: Grid = {key: values for (key, _, _), (values, _) in zip(cells, studied, strict=True)}
    nulls: Nulls = {key: arrays for (key, _, _), (_, arrays) in zip(cells, studied, strict=True)}
    names = [measure.name for measure in protocol.measures]
    for name in names:
        add_q_values([cell["measures"][name] for cell in grid.values()])
    if protocol.null.n_bootstrap:
        _add_intervals(protocol, encoded, grid)
    results: dict[str, Any] = {"grid": grid, "summary": {name: summarise(grid, nulls, name) for name in names}}
    results["controls"] = _controls(suite, protocol, encoded, grid)
    sides = [protocol.inputs(a, b) for a in encoded.sides_a for b in encoded.sides_b]
    compare, steps = asdict(suite.compare), len(sides)
    if suite.subspaces is not None:
        categories = load_categories(suite.subspaces.categories)
        settings = asdict(replace(suite.subspaces, categories=categories.name))  # whatever the path of the lists
        inputs = [sides, compare, settings, categories.sha256]
        make = partial(_subspaces, suite, protocol, encoded)
        results["subspaces"] = _kept(protocol, "subspaces", inputs, make, steps * len(categories.keywords))
    if suite.spans is not None:
        inputs = [sides, compare, asdict(suite.spans), texts]
        results["spans"] = _kept(protocol, "spans", inputs, partial(_spans, suite, protocol, encoded, texts), steps)
    if suite.published is not None:
        inputs = [sides, compare, asdict(suite.published), [protocol.inputs(*p) for p in encoded.published.values()]]
        results["published"] = _kept(protocol, "published", inputs, partial(_published, suite, protocol, encoded))
    return results, nulls


def _kept(
    protocol: Protocol, name: str, inputs: list[Any], make: Callable[[], dict[str, Any]], steps: int = 0
) -> dict[str, Any]:
    """Returns a section of the results, kept from an earlier run if nothing it depends on has changed.

    Args:
        protocol: holds the cache.
        name: of the section.
        inputs: everything it depends on.
        make: makes it, telling its own progress.
        steps: of the stage `subspaces` that are done when it need not be made.
    """
    made = False

    def task() -> Result:
        nonlocal made
        made = True
        return make(), {}

    values, _ = protocol.cache.get(f"section.{name}", inputs, task)
    if steps and not made:
        protocol.tick("subspaces", steps)
    return values


def add_q_values(cells: list[dict[str, Any]]) -> None:
    """Adds q-values over a table, Benjamini-Hochberg and, for any dependence, Benjamini-Yekutieli, to every null."""
    from scipy.stats import false_discovery_control

    for null_name in sorted({name for cell in cells for name in cell.get("nulls", {})}):
        tested = [cell["nulls"][null_name] for cell in cells if "p" in cell.get("nulls", {}).get(null_name, {})]
        for method, key in (("bh", "q"), ("by", "q_by")):
            for test, q in zip(
                tested, false_discovery_control([t["p"] for t in tested], method=method) if tested else [], strict=True
            ):
                test[key] = float(q)


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def summarise(grid: Grid, nulls: Nulls, measure: str) -> dict[str, Any]:
    """Returns for one measure the best layer pair, the mean, and per null how many layer pairs beat it.

    `best_of_grid` tests the best layer pair against the best that each draw of the null reaches anywhere in the grid.
    `smallest_q` is the q of a layer pair above every draw when no other is: n tests of m draws give it n / (m + 1).
    """
    scored = {key: cell["measures"][measure] for key, cell in grid.items() if "score" in cell["measures"][measure]}
    best = max(scored, key=lambda key: (scored[key]["score"], key), default=None)
    out: dict[str, Any] = {
        "layer_pairs": len(scored),
        "best_layer_pair": best,
        "best_score": scored[best]["score"] if best else None,
        "best_interval": scored[best].get("interval") if best else None,
        "mean_score": _mean([cell["score"] for cell in scored.values()]),
        "nulls": {},
    }
    for null_name in sorted({name for cell in scored.values() for name in cell["nulls"]}):
        tested = {key: cell["nulls"][null_name] for key, cell in scored.items() if "p" in cell["nulls"][null_name]}
        out["nulls"][null_name] = {
            "layer_pairs": len(tested),
            "significant": sum(test["q"] < LEVEL for test in tested.values()),
            "significant_by": sum(test["q_by"] < LEVEL for test in tested.values()),
            "smallest_q": _smallest_q(nulls, null_name, measure, list(tested)),
            "largest_p": max((test["p"] for test in tested.values()), default=None),
            "mean": _mean([test["mean"] for test in tested.values()]),
            "best_calibrated": tested[best]["calibrated"] if best in tested else None,
            "best_of_grid": _best_of_grid(scored, nulls, null_name, measure, list(tested)),
        }
    return out


def _smallest_q(nulls: Nulls, null_name: str, measure: str, keys: list[str]) -> float | None:
    draws = [len(nulls[key][f"{null_name}.{measure}"]) for key in keys]
    return min(1.0, len(keys) / (min(draws) + 1)) if draws else None


def _best_of_grid(scored: Grid, nulls: Nulls, null_name: str, measure: str, keys: list[str]) -> dict[str, Any]:
    try:
        arrays = [nulls[key][f"{null_name}.{measure}"] for key in keys]
        test = max_statistic([scored[key]["nulls"][null_name]["score"] for key in keys], arrays)
    except InputError as error:
        return {"reason": str(error)}
    return {"score": test.statistic, "null_mean": float(test.null.mean()), "p": test.p_value}


def _add_intervals(protocol: Protocol, encoded: Encoded, grid: Grid) -> None:
    """Adds intervals over resampled documents to every score and number of pairs."""
    replicates = range(protocol.null.n_bootstrap)
    draw = partial(bootstrap, protocol, encoded.sides_a, encoded.sides_b)
    drawn = side_by_side([partial(draw, replicate) for replicate in replicates], encoded.on_cpu)
    all_counts, all_scores = (np.stack(arrays) for arrays in zip(*drawn, strict=True))
    for i, a in enumerate(encoded.sides_a):
        for j, b in enumerate(encoded.sides_b):
            cell = grid[key_of(a, b)]
            cell["pairs_interval"] = interval(cell["pairs"], all_counts[:, i, j].astype(np.float64))
            for place, measure in enumerate(protocol.measures):
                scored = cell["measures"][measure.name]
                if "score" in scored:
                    scored["interval"] = interval(scored["score"], all_scores[:, i, j, place])


def interval(observed: float, draws: Float[ndarray, " m"]) -> list[float] | None:
    """Returns the interval of a score at LEVEL from its resampled scores, or None where some have none.

    Observed plus and minus the standard deviation of the draws times Student's t (Efron & Tibshirani 1993, 12.2), not
    the percentiles of the draws: a document drawn twice repeats its text, which raises the best of many correlations,
    so that the draws lie beside the observed score and only their spread can be used.
    """
    from scipy.stats import t

    if len(draws) < 2 or not np.isfinite(draws).all():
        return None
    half = float(t.ppf(1 - LEVEL / 2, len(draws) - 1) * draws.std(ddof=1))
    return [observed - half, observed + half]


def _controls(suite: SuiteConfig, protocol: Protocol, encoded: Encoded, grid: Grid) -> dict[str, Any]:
    kinds = {control.name: control.kind for control in suite.controls}
    sides = [*encoded.sides_a, *encoded.sides_b]
    matched = side_by_side([partial(_self_match, protocol, side) for side in sides], encoded.on_cpu)
    selves = {side.name: match for side, match in zip(sides, matched, strict=True)}
    out: dict[str, Any] = {"self_match": selves, "pairs": {}}
    tasks = [partial(study, protocol, f"control.{name}", a, b) for name, (a, b) in encoded.controls.items()]
    for (name, (a, b)), (values, _) in zip(encoded.controls.items(), side_by_side(tasks, encoded.on_cpu), strict=True):
        out["pairs"][name] = {"kind": kinds[name], "model_a": a.model, "model_b": b.model, **values}
        if kinds[name] == "floor":
            out["pairs"][name]["trained_saes"] = name in encoded.unfair
    out["strongest"] = _strongest_pairs(protocol, encoded, grid, kinds)
    out["against"] = {m.name: _against(grid, out["pairs"], m.name) for m in protocol.measures}
    scores = [s for match in out["self_match"].values() for s in match["scores"].values()]
    out["lowest_self_score"] = min((s for s in scores if s is not None), default=None)
    lowest = [m["lowest_r"] for m in out["self_match"].values()]
    out["lowest_self_r"] = min((r for r in lowest if r is not None), default=None)
    return out


def _self_match(protocol: Protocol, side: Side) -> dict[str, Any]:
    name, inputs = f"self.{side.model}.{side.label}", protocol.inputs(side, side)
    return _kept(protocol, name, inputs, partial(self_match, protocol, side))


def _strongest_pairs(
    protocol: Protocol, encoded: Encoded, grid: Grid, kinds: dict[str, str]
) -> dict[str, dict[str, Any]]:
    """Puts every floor, and the trained models at its layers, through the protocol once more without agreement filters.

    Those leave next to nothing of models that learned nothing. Here the floor gives as many of its strongest pairs as
    the trained models have after the filters, or all it has, and the trained models give as many, so that the geometry
    of both is scored on the same number of pairs, each beside its nulls.
    """
    cells = {key_of(a, b): (a, b) for a in encoded.sides_a for b in encoded.sides_b}

    def both(name: str, floor: tuple[Side, Side]) -> dict[str, Any]:
        key = key_of(*floor)
        n = grid[key]["pairs"] if key in grid else 0
        if n < protocol.match.min_pairs:
            protocol.tick("compare", 2)
            protocol.tick("rematch", 2 * protocol.null.n_rematch)
            return {}
        out: dict[str, Any] = {}
        for tag, (a, b) in (("floor", floor), ("trained", cells[key])):
            match = replace(without_agreement(protocol.match), strongest=n)
            out[tag], _ = study(replace(protocol, match=match), f"strongest.{name}.{tag}", a, b)
            n = max(out[tag]["pairs"], 1)
        return out

    floors = {name: pair for name, pair in encoded.controls.items() if kinds[name] == "floor"}
    studied = side_by_side([partial(both, name, pair) for name, pair in floors.items()], encoded.on_cpu)
    return {name: values for name, values in zip(floors, studied, strict=True) if values}


def _against(grid: Grid, pairs: dict[str, dict[str, Any]], measure: str) -> dict[str, Any]:
    """Returns for one measure the lowest ceiling, the cross-model score at the layers of the floors, and the floor.

    A floor at layers that are not in the grid has no cross-model score to be held against, and is left out, like one
    that is none (`Encoded.unfair`).
    """
    scores: dict[str, list[float]] = {"ceiling": [], "floor": []}
    keys = set[str]()
    for pair in pairs.values():
        key = key_of_cell(pair)
        if pair["kind"] == "floor":
            if key not in grid:
                continue
            keys.add(key)
        if "score" in pair["measures"][measure] and not pair.get("trained_saes"):
            scores[pair["kind"]].append(pair["measures"][measure]["score"])
    cross = [grid[key]["measures"][measure]["score"] for key in keys if "score" in grid[key]["measures"][measure]]
    ceiling, floor = min(scores["ceiling"], default=None), max(scores["floor"], default=None)
    lowest = min(cross, default=None)
    return {
        "ceiling": ceiling,
        "cross_model": lowest,
        "floor": floor,
        "below_ceiling": None if ceiling is None or lowest is None else max(cross) < ceiling,
        "above_floor": None if floor is None or lowest is None else lowest > floor,
    }


def _subspaces(suite: SuiteConfig, protocol: Protocol, encoded: Encoded) -> dict[str, Any]:
    config = suite.subspaces
    assert config is not None
    categories = load_categories(config.categories)
    compare = suite.compare
    measures = make_measures(config.measures, compare.svcca_threshold, compare.svcca_k, compare.knn_k)
    parts_a, parts_b = ([CategoryParts(s, categories) for s in group] for group in (encoded.sides_a, encoded.sides_b))
    out: dict[str, Any] = {"categories": categories.name, "rule": categories.rule, "sha256": categories.sha256}
    out["grid"], out["relations"] = {}, {}
    out["shared_features"] = {part.side.name: shared_features(part.members) for part in (*parts_a, *parts_b)}

    def layer_pair(a: CategoryParts, b: CategoryParts) -> tuple[dict[str, Any], dict[str, Any]]:
        cells = dict[str, Any]()
        for name in categories.keywords:
            cells[name] = study_category(protocol, measures, config, a, b, name)
            protocol.tick("subspaces", 1)
        return cells, relations(protocol, a, b, config.min_pairs)

    pairs = [(a, b) for a in parts_a for b in parts_b]
    studied = side_by_side([partial(layer_pair, *pair) for pair in pairs], encoded.on_cpu)
    for (a, b), (cells, related) in zip(pairs, studied, strict=True):
        key = key_of(a.side, b.side)
        out["grid"][key], out["relations"][key] = cells, related
    for measure in measures:
        tables = [cell["measures"].get(measure.name, {}) for cells in out["grid"].values() for cell in cells.values()]
        add_q_values(tables)
    return out


def _spans(suite: SuiteConfig, protocol: Protocol, encoded: Encoded, texts: list[str]) -> dict[str, Any]:
    config = suite.spans
    assert config is not None
    spans = spans_of(config, encoded.blocks, texts)
    sides_a, sides_b = ([pooled(side, spans, config) for side in group] for group in (encoded.sides_a, encoded.sides_b))

    def layer_pair(a: Side, b: Side) -> dict[str, Any]:
        values = study_spans(protocol, a, b)
        protocol.tick("subspaces", 1)
        return values

    pairs = [(a, b) for a in sides_a for b in sides_b]
    studied = side_by_side([partial(layer_pair, *pair) for pair in pairs], encoded.on_cpu)
    grid: Grid = {key_of(a, b): values for (a, b), values in zip(pairs, studied, strict=True)}
    for measure in protocol.measures:
        add_q_values([cell["measures"].get(measure.name, {}) for cell in grid.values()])
    lengths = spans.lengths.double()
    return {
        "kind": config.kind,
        "how": config.how,
        "n_spans": len(spans),
        "mean_length": float(lengths.mean()),
        "grid": grid,
    }


def _published(suite: SuiteConfig, protocol: Protocol, encoded: Encoded) -> dict[str, Any]:
    config = suite.published
    assert config is not None
    labels = suite.model_a.sae_at(config.layer_a).label, suite.model_b.sae_at(config.layer_b).label
    ends = zip((encoded.sides_a, encoded.sides_b), labels, strict=True)
    corrected = tuple(next(side for side in sides if side.label == label) for sides, label in ends)

    def sides(layer_shift: bool, all_positions: bool) -> tuple[Side, Side]:
        return encoded.published[layer_shift] if all_positions else (corrected[0], corrected[1])

    return {
        "layer_a": config.layer_a,
        "layer_b": config.layer_b,
        "steps": side_by_side(step_tasks(protocol, suite.compare, sides), encoded.on_cpu),
    }
