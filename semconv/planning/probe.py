"""Measures what the work of a suite costs on this machine, by its own functions on smaller sizes."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy import ndarray

from semconv._paths import PACKAGE
from semconv.compare import Measure, make_measures
from semconv.compare.registry import DRAW_CLASSES
from semconv.core import ops
from semconv.core.correlate import best_matches
from semconv.core.sparse import SparseActivations
from semconv.matching.examples import examples_of
from semconv.matching.filters import match_features
from semconv.matching.influence import FeatureColumns
from semconv.planning.cost_model import SMALL, SPAN, measures_to_draw
from semconv.planning.probe_models import model_rates
from semconv.planning.rates import Power, Rates, Sizes
from semconv.planning.shapes import Shapes
from semconv.planning.timing import Probe, line_through
from semconv.statistics.category_relations import relate_categories
from semconv.study.controls import SCORED
from semconv.study.sides import SHARED_ROWS, PairedRows, Side, scores_of
from semconv.suite.config import SuiteConfig
from semconv.system.errors import InputError
from semconv.system.files import read_sealed, temporary_folder, write_tensors
from semconv.system.provenance import processor
from semconv.text.corpus import docstrings_of_source, installed_sources
from semconv.text.feature_table import activation_histograms
from semconv.text.keywords import features_of, load_categories
from semconv.text.spans import Spans, pool
from semconv.text.top_tokens import FIRST_TOKENS, TopTokens, top_positions

Progress = Callable[[str, int, int], None]
_FEWEST = 24  # pairs that every measure can be drawn on
_DRAWS, _DEAR_DRAWS = 8, 2
_SHOWN, _DOCUMENT, _SOURCES = 64, 256, 100  # pairs with examples, tokens of a document, files that are parsed
_ENTRIES = 800_000  # activations on which matching is tried
_BYTES = 1 << 25


def sizes_of(suite: SuiteConfig, shapes: Shapes, n_pairs: int) -> Sizes:
    """Returns the sizes of the largest SAEs of A and of B."""
    a, b = (
        max((shapes.saes[sae.source] for sae in model.saes), key=lambda one: one.n_features)
        for model in (suite.model_a, suite.model_b)
    )
    return Sizes(n_pairs, a.width, b.width, a.n_features, b.n_features, a.l0, b.l0)


def made_up_activations(n_tokens: int, n_features: int, l0: float, seed: int) -> SparseActivations:
    """Returns activations of about L0 features a token, from half to one and a half times as many, float16 values.

    That they differ from token to token counts: where every token has as many, loops over them are foreseen by the
    processor, and a shift of the mini suite's text seems to take a quarter less than it does.
    """
    rng, k = np.random.default_rng(seed), max(1, round(l0))
    counts = rng.integers(k - k // 2, k + k // 2 + 1, n_tokens).clip(max=n_features)
    most = int(counts.max())
    room = n_features // most
    active = np.arange(most) < counts[:, None]
    indices = (np.arange(most) * room + rng.integers(0, room, (n_tokens, most)))[active].astype(np.int32)
    values = rng.gamma(2.0, 1.0, len(indices)).astype(np.float16) + np.float16(0.01)
    indptr = np.append(0, np.cumsum(counts))
    return SparseActivations(torch.from_numpy(indptr), torch.from_numpy(indices), torch.from_numpy(values), n_features)


def made_up_side(acts: SparseActivations, width: int, stop_tokens: Sequence[str], seed: int, name: str) -> Side:
    """Returns a side with random decoder rows and top tokens."""
    rng, n_features = np.random.default_rng(seed), acts.n_features
    numbers = rng.integers(0, 500, (n_features, 5)).astype(np.int32)
    tokens = TopTokens(
        numbers, np.zeros(n_features, dtype=bool), tuple(f"t{i}" for i in range(500)), tuple(stop_tokens)
    )
    rows = rng.standard_normal((n_features, width), dtype=np.float32)
    return Side(name, 0, acts, name, rows, tokens)


def probe(
    suite: SuiteConfig, shapes: Shapes, n_pairs: int, device: torch.device, progress: Progress, models: bool = True
) -> Rates:
    """Measures the rates of a suite on this machine.

    Args:
        suite: whose sizes and measures are taken.
        shapes: of its models and SAEs.
        n_pairs: feature pairs of a layer pair.
        device: that encodes and correlates.
        progress: called with what is measured next.
        models: whether forward passes and encoders are measured too.

    Raises:
        InputError: the machine has too little memory for it.
    """
    began, probing, sizes = time.perf_counter(), Probe(device), sizes_of(suite, shapes, n_pairs)
    found: dict[str, Any] = {}
    stages: list[tuple[str, Callable[[], dict[str, Any]]]] = [
        ("matching", lambda: _matching(probing, suite, sizes)),
        ("tokens", lambda: _tokens(probing, suite, sizes)),
        ("scores", lambda: _scores(probing, suite, sizes)),
        ("draws", lambda: _draws(probing, suite, sizes)),
        ("categories", lambda: _categories(probing, suite, sizes)),
        ("disk and text", lambda: _disk(probing, suite)),
        ("models", lambda: model_rates(probing, suite, shapes) if models else {"blocks": {}, "whole": {}, "saes": {}}),
    ]
    for number, (name, stage) in enumerate(stages):
        progress(f"probe: {name}", number, len(stages))
        found |= stage()
    progress("probe", len(stages), len(stages))
    machine = machine_in_words(device, probing.threads)
    return Rates(machine, device.type, probing.threads, sizes, seconds=time.perf_counter() - began, **found)


def machine_in_words(device: torch.device, threads: int | None = None) -> str:
    """Returns what rates depend on: processor, device, tasks at once and the version of torch."""
    at_once = threads or (torch.get_num_threads() if device.type == "cpu" else 1)
    gpu = f" ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else ""
    return f"{processor()}, {device.type}{gpu}, {at_once} at once, torch {torch.__version__}"


def _matching(probing: Probe, suite: SuiteConfig, sizes: Sizes) -> dict[str, Any]:
    l0 = max(sizes.l0_a, sizes.l0_b, 1.0)
    many = max(1000, min(suite.corpus.max_tokens, int(_ENTRIES / l0)))
    few = many // 4
    shape = ((sizes.features_a, sizes.l0_a), (sizes.features_b, sizes.l0_b))
    whole = [made_up_activations(many, f, k, seed).to(probing.device) for seed, (f, k) in enumerate(shape)]
    match, shift = list[tuple[int, float]](), list[tuple[int, float]]()
    for n in (few, many):
        a, b = (side.rows(0, n) for side in whole)
        raw_a, raw_b = (a.indptr, a.indices, a.values), (b.indptr, b.indices, b.values)

        def shifts(number: int, x: Any = raw_a, y: Any = raw_b, n: int = n) -> Callable[[], object]:
            at = [n * (i + 1) // 9 for i in range(number)]
            return lambda: ops.best_matches_shifted(x, sizes.features_a, y, sizes.features_b, at, 1)

        match.append((n, probing.seconds(lambda x=a, y=b: best_matches(x, y))))
        two, six = probing.seconds(shifts(2)), probing.seconds(shifts(6))
        shift.append((n, max((six - two) / 4, six / 12)))
    a, b = (
        made_up_side(acts, 1, suite.match.stop_tokens, seed, name)
        for seed, (name, acts) in enumerate(zip("ab", whole, strict=True))
    )
    matches, config = (
        best_matches(a.acts, b.acts).to("cpu"),
        replace(suite.match, min_documents=0, strategy="best", without_strongest=0),
    )
    active = a.activity(config), b.activity(config)
    filters = probing.seconds(lambda: match_features(matches, a.tokens, b.tokens, config, *active))
    half = torch.arange(0, many, 2)
    starts = torch.arange(0, many - SPAN, SPAN)
    spans = Spans(starts, starts + SPAN, torch.zeros(len(starts), dtype=torch.int32), many)
    on_cpu = b.acts.to("cpu")
    entries = on_cpu.nnz
    some = np.arange(0, sizes.features_b, 4)
    return {
        "match": line_through(match),
        "shift": line_through(shift),
        "filters": filters / sizes.features_b,
        "cut": probing.seconds(lambda: b.at(half)) / (entries / 2),
        "columns": probing.seconds(lambda: FeatureColumns(b.acts, some)) / entries,
        "pool": probing.seconds(lambda: pool(on_cpu, spans, "max")) / entries,
    }


def _tokens(probing: Probe, suite: SuiteConfig, sizes: Sizes) -> dict[str, Any]:
    """Times what is taken of one side: top tokens, of which the first cost most, and what is shown of pairs."""
    many = min(suite.corpus.max_tokens, 4 * FIRST_TOKENS)
    acts = made_up_activations(many, sizes.features_b, max(sizes.l0_b, 1.0), 1)
    parts = [acts.rows(0, n) for n in (many // 2, many)]
    top = [(one.nnz, probing.seconds(lambda one=one: top_positions(one, suite.match.top_tokens))) for one in parts]
    rows = np.arange(min(_SHOWN, sizes.features_b))
    documents, columns = np.arange(many) // _DOCUMENT, FeatureColumns(acts, rows)
    shown = probing.seconds(lambda: examples_of((columns, columns), (rows, rows), documents, documents, 0))
    return {
        "top": line_through(top),
        "histograms": probing.seconds(lambda: activation_histograms(acts)) / acts.nnz,
        "examples": shown / max(1.0, 2 * len(rows) * acts.nnz / acts.n_features),
    }


def _measures(suite: SuiteConfig, names: Sequence[str]) -> list[Measure[Any]]:
    compare = suite.compare
    return list(make_measures(tuple(names), compare.svcca_threshold, compare.svcca_k, compare.knn_k))


def _pair_of_sides(probing: Probe, sizes: Sizes, scale: float) -> tuple[Side, Side, int]:
    """Returns two sides whose every size is `scale` of the suite's, and how many pairs they have.

    Where the suite's dictionaries are too large for measures to keep something of a whole one, so are these.
    """
    n = max(_FEWEST, round(scale * sizes.n_pairs))
    sides = list[Side]()
    for seed, (features, width) in enumerate(((sizes.features_a, sizes.width_a), (sizes.features_b, sizes.width_b))):
        least = 2 * n if features <= SHARED_ROWS else SHARED_ROWS + 1
        acts = made_up_activations(1, max(least, round(scale * features)), 1.0, seed).to(probing.device)
        sides.append(made_up_side(acts, max(2, round(scale * width)), (), seed, "ab"[seed]))
    return sides[0], sides[1], n


def _scores(probing: Probe, suite: SuiteConfig, sizes: Sizes) -> dict[str, Any]:
    measures, rng = _measures(suite, suite.compare.measures), np.random.default_rng(0)

    def of_pairs(scale: float) -> Callable[[], object]:
        a, b, n = _pair_of_sides(probing, sizes, scale)
        rows = [np.sort(rng.permutation(side.n_features)[:n]) for side in (a, b)]

        def call() -> object:
            return scores_of(measures, a, b, rows[0], rows[1])

        if max(a.n_features, b.n_features) <= SHARED_ROWS:
            call()  # what is kept of whole dictionaries is made once, not by every task
        return call

    largest, width = max((sizes.features_a, sizes.width_a), (sizes.features_b, sizes.width_b))
    n_self = min(largest, SCORED)

    def of_itself(scale: float) -> Callable[[], object]:
        n = max(_FEWEST, round(scale * n_self))
        acts = made_up_activations(1, n, 1.0, 0).to(probing.device)
        rows = np.arange(n)

        def call() -> object:  # a side anew each time, for nothing of it is shared by tasks
            side = made_up_side(acts, max(2, round(scale * width)), (), 0, "a")
            return scores_of(measures, side, side, rows, rows)

        return call

    return {"score_set": probing.power(of_pairs), "self_set": probing.power(of_itself)}


def _permutations(n: int, number: int) -> ndarray:
    rng = np.random.default_rng(1)
    return np.stack([rng.permutation(n) for _ in range(number)])


def _drawing(rows: PairedRows, measure: Measure[Any], number: int) -> Callable[[], object] | None:
    """Returns the call that takes some draws of a measure; None where it refuses these pairs."""
    try:
        prepared = rows.prepare(measure)
    except InputError:
        return None
    permutations = _permutations(len(rows.rows_a), number)
    return lambda: measure.null_scores(prepared.x, prepared.y, permutations)


def _draws(probing: Probe, suite: SuiteConfig, sizes: Sizes) -> dict[str, Any]:
    """Times draws of all measures: most of it would be to prepare the rows, which the measures share."""
    measures = {measure.name: measure for measure in _measures(suite, measures_to_draw(suite))}
    number = {name: _DEAR_DRAWS if name in DRAW_CLASSES["singular_values"] else _DRAWS for name in measures}

    def at(scale: float, names: Sequence[str]) -> dict[str, Callable[[], object]]:
        a, b, n = _pair_of_sides(probing, sizes, scale)
        rows = PairedRows([measures[name] for name in names], a, b, np.arange(n), np.arange(n))
        return {name: _drawing(rows, measures[name], number[name]) or (lambda: None) for name in names}

    found = probing.powers(at, list(measures))
    return {"draws": {name: Power(one.at_one / number[name], one.exponent) for name, one in found.items()}}


def _categories(probing: Probe, suite: SuiteConfig, sizes: Sizes) -> dict[str, Any]:
    config, nothing = suite.subspaces, {"members": 0.0, "small_set": 0.0, "small_draws": {}, "relations": 0.0}
    if config is None:
        return nothing
    categories, measures = load_categories(config.categories), _measures(suite, config.measures)
    small = replace(sizes, n_pairs=SMALL, features_a=4 * SMALL, features_b=4 * SMALL)
    a, b, n = _pair_of_sides(probing, small, 1.0)
    rows, some = np.arange(n), 100
    paired = PairedRows(measures, a, b, rows, rows)
    drawing = {measure.name: _drawing(paired, measure, some) for measure in measures}
    texts = [[f"token{i}", f"part{i}", "word", "the", "of"] for i in range(1000)]
    wide = min(1000, sizes.features_a, sizes.features_b)
    members = {name: np.arange(i, wide, len(categories.keywords)) for i, name in enumerate(categories.keywords)}
    x, y = (np.random.default_rng(2).standard_normal((wide, width)) for width in (sizes.width_a, sizes.width_b))
    n_permutations = suite.null.n_permutations
    related = _refused(
        lambda: relate_categories(x, y, members, members, n_permutations=n_permutations, seed=0, min_features=1)
    )
    return {
        "members": probing.seconds(lambda: features_of(categories, texts)) / len(texts),
        "small_set": probing.seconds(lambda: scores_of(measures, a, b, rows, rows)),
        "small_draws": {name: probing.seconds(call) / some for name, call in drawing.items() if call is not None},
        "relations": probing.seconds(related),
    }


def _refused(call: Callable[[], object]) -> Callable[[], object]:
    """Returns a call that gives None where the first refuses its input."""

    def quietly() -> object:
        try:
            return call()
        except InputError:
            return None

    return quietly


def _some_sources(suite: SuiteConfig) -> list[bytes]:
    """Returns some files of the packages whose docstrings are the text, evenly spread; for want of any, one of ours."""
    files = installed_sources(suite.corpus.packages, suite.corpus.exclude or ())
    some = files[:: max(1, len(files) // _SOURCES)] or [Path(PACKAGE / "suite" / "schema.py")]
    return [file.read_bytes() for file in some]


def _disk(probing: Probe, suite: SuiteConfig) -> dict[str, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    alone = Probe(torch.device("cpu"), 1)
    block, sources = b"\0" * (1 << 22), _some_sources(suite)
    words = [f"word{i % 977} {i}" for i in range(2000)]
    with temporary_folder() as folder:
        file, tensors = folder / "probe.safetensors", {"x": torch.arange(_BYTES // 8)}
        write = probing.seconds(lambda: write_tensors(file, tensors, {}, sealed=True), at_once=False, wall=True)
        read = probing.seconds(lambda: read_sealed(file))

    def drawn() -> object:
        figure = Figure(figsize=(8, 6))
        FigureCanvasAgg(figure)
        for place in range(4):
            axes = figure.add_subplot(2, 2, place + 1)
            axes.imshow(np.arange(64.0).reshape(8, 8))
        figure.canvas.draw()
        return figure

    return {
        "hashed": alone.seconds(lambda: hashlib.sha256(block).digest()) / len(block),
        "write": write / _BYTES,
        "read": read / _BYTES,
        "figure": alone.seconds(drawn),
        "parse": alone.seconds(lambda: [list(docstrings_of_source(one)) for one in sources]) / sum(map(len, sources)),
        "tokenize": alone.seconds(lambda: [word.encode() for line in words for word in line.split()]) / len(words),
    }
