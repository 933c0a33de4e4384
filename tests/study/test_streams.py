"""The residual streams beside a layer pair: scores as NumPy and SciPy give them, and reasons where there are none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from semconv.compare import cka
from semconv.planning.planned_tasks import planned_sides, planned_tasks
from semconv.planning.shapes import SaeShape, Shapes
from semconv.results.schema import BaselineScore, Reason, StreamScore, StreamsGrid, StreamVariant
from semconv.runs.task_cache import FinishedTasks, TaskCache
from semconv.runs.tasks import Workplace
from semconv.statistics.sampled_text import SampledText, sample_text
from semconv.study.check_observations import check_observations
from semconv.study.observations import Observations
from semconv.study.observe import Encoded, stages
from semconv.study.read_observations import read_observations
from semconv.study.streams import (
    PreparedStream,
    SampledStreams,
    StoredStream,
    StoredVocabulary,
    StreamSettings,
    compare_streams,
)
from semconv.study.tell_streams import tell_streams
from semconv.suite.config import CompareConfig, CorpusConfig, NullConfig, StreamsConfig, SuiteConfig
from semconv.system.errors import InputError
from tests._helpers.worlds import MATCH, TEXTS, make_blocks, make_world, model

BLOCKS = make_blocks([30] * 30, seed=2)
OF_STREAMS = ("streams", "decoders")
SAMPLE = sample_text((BLOCKS, BLOCKS), None, 300, seed=1)


def settings_of(sample: SampledText = SAMPLE, **changes: Any) -> StreamSettings:
    return StreamSettings(sample, replace(StreamsConfig(300, 60), **changes), 0.99, seed=1)


def two_streams(n: int = len(SAMPLE)) -> tuple[np.ndarray, np.ndarray]:
    """Streams of 6 and 8 columns that share what the token says, and something else; float32."""
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(40, 4))[SAMPLE.a.tokens[:n]] + 0.5 * rng.normal(size=(n, 4))
    return tuple((shared @ rng.normal(size=(4, d)) + rng.normal(size=(n, d)) + 2).astype(np.float32) for d in (6, 8))


def prepared(values: np.ndarray, settings: StreamSettings) -> PreparedStream:
    stream = torch.from_numpy(values)
    return PreparedStream(StoredStream("m hook", "id", (len(values), values.shape[1]), lambda: stream), settings)


def told(x: np.ndarray, y: np.ndarray, settings: StreamSettings) -> StreamsGrid:
    """What the results say of two streams."""
    found = compare_streams(prepared(x, settings).read(), prepared(y, settings).read())
    observed = Observations({}, {}, {}, {}, streams=settings.facts().facts, of_streams={"0x1": found})
    grid = tell_streams(observed, NullConfig())
    assert grid is not None
    return grid


def score_of(variant: StreamVariant, measure: str) -> float:
    found = variant.measures[measure]
    assert isinstance(found, StreamScore)
    return found.score


def reason_of(variant: StreamVariant, measure: str) -> str:
    found = variant.measures[measure]
    assert isinstance(found, Reason)
    return found.reason


def residuals(values: np.ndarray, token: np.ndarray) -> np.ndarray:
    """Rows less the mean of their token."""
    out = values.astype(np.float64)
    for one in np.unique(token):
        out[token == one] -= out[token == one].mean(axis=0)
    return out


def svcca_by_hand(x: np.ndarray, y: np.ndarray) -> tuple[float, int, int]:
    """Mean canonical correlation of the leading directions by SVDs of the whole spaces, and how many there are."""
    kept = []
    for rows in (x - x.mean(0), y - y.mean(0)):
        U, s, _ = np.linalg.svd(rows, full_matrices=False)
        kept.append(U[:, : int(np.argmax(np.cumsum(s**2) / (s**2).sum() >= 0.99)) + 1])
    return float(np.linalg.svd(kept[0].T @ kept[1])[1].mean()), kept[0].shape[1], kept[1].shape[1]


def test_every_score_is_that_of_plain_numpy():
    (X, Y), settings = two_streams(), settings_of()
    grid = told(X, Y, settings)
    pair, (at, _) = grid.grid["0x1"], settings.repeated
    token, sub = SAMPLE.a.tokens, settings.subsample
    assert [np.sum(token == one) > 1 for one in token] == np.isin(np.arange(len(token)), at).tolist()
    within = [residuals(rows, token) for rows in (X, Y)]
    whole = [rows.astype(float) for rows in (X, Y)]
    for variant, (x, y) in ((pair.raw, whole), (pair.within_token, [rows[at] for rows in within])):
        assert score_of(variant, "cka_unbiased") == pytest.approx(cka(x, y, unbiased=True), abs=1e-12)
        svcca, *kept = svcca_by_hand(x, y)
        assert score_of(variant, "svcca_variance") == pytest.approx(svcca, abs=1e-9)
        assert [variant.directions_a, variant.directions_b] == kept
    for variant, rows in ((pair.raw, whole), (pair.within_token, within)):
        lower = np.tril_indices(len(sub), -1)
        rdms = [1 - np.corrcoef(one[sub])[lower] for one in rows]
        assert score_of(variant, "rsa") == pytest.approx(float(spearmanr(*rdms)[0]), abs=1e-9)
    assert score_of(pair.raw, "cka_unbiased") > score_of(pair.within_token, "cka_unbiased") > 0.1


def test_the_sample_is_counted():
    settings = settings_of()
    grid = told(*two_streams(), settings)
    counts = np.bincount(SAMPLE.a.tokens)
    assert (grid.positions, grid.rows) == (len(SAMPLE), len(SAMPLE.a.rows))
    assert grid.documents == len(set(SAMPLE.document.tolist()))
    assert (grid.repeated, grid.tokens) == (counts[counts > 1].sum(), (counts > 1).sum())
    assert grid.rsa_positions == len(settings.subsample) == 60
    assert np.isin(settings.subsample, settings.repeated[0]).all()
    assert (np.diff(settings.subsample) > 0).all()
    assert told(*two_streams(), settings_of(rsa_positions=20_000)).rsa_positions == grid.repeated


def test_a_stream_is_as_like_itself_as_can_be_and_a_rotation_changes_nothing():
    (X, _), settings = two_streams(), settings_of()
    rotation = np.linalg.qr(np.random.default_rng(5).normal(size=(6, 6)))[0]
    pair = told(X, (3 * X @ rotation).astype(np.float32), settings).grid["0x1"]
    for variant in (pair.raw, pair.within_token):
        # float32 holds the turned stream to 6e-8 of its entries
        assert score_of(variant, "cka_unbiased") == pytest.approx(1, abs=1e-6)
        assert score_of(variant, "svcca_variance") == pytest.approx(1, abs=1e-6)


def test_without_a_token_twice_there_is_a_reason_within_tokens_alone():
    X, Y = two_streams()
    every = np.arange(len(SAMPLE))
    once = replace(SAMPLE, a=replace(SAMPLE.a, tokens=every), b=replace(SAMPLE.b, tokens=every))
    grid = told(X, Y, settings_of(once))
    assert (grid.repeated, grid.tokens, grid.rsa_positions) == (0, 0, 60)
    pair = grid.grid["0x1"]
    for measure in pair.raw.measures:
        score_of(pair.raw, measure)
        assert reason_of(pair.within_token, measure) == "no token occurs more than once in the sample"
    assert (pair.within_token.directions_a, pair.within_token.directions_b) == (0, 0)


def test_a_stream_that_is_its_token_does_not_vary_within_it():
    _, Y = two_streams()
    X = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)[SAMPLE.a.tokens]
    pair = told(X, Y, settings_of()).grid["0x1"]
    assert {reason_of(pair.within_token, m) for m in pair.raw.measures} == {"the stream does not vary within tokens"}
    score_of(pair.raw, "rsa")


def test_fewer_positions_than_columns_leave_no_canonical_correlation():
    rng, settings = np.random.default_rng(0), settings_of()
    X, Y = (rng.normal(size=(len(SAMPLE), len(SAMPLE) // 2 + 1)).astype(np.float32) for _ in range(2))
    pair = told(X, Y, settings).grid["0x1"]
    n = len(SAMPLE)
    wanted = f"needs at least {2 * (n // 2 + 1)} positions beside the means that are taken off, got {n - 1}"
    assert wanted in reason_of(pair.raw, "svcca_variance")
    assert abs(score_of(pair.raw, "cka_unbiased")) < 0.1
    assert abs(score_of(pair.raw, "rsa")) < 0.2


def test_what_a_stream_takes_of_memory_is_said():
    need = prepared(two_streams()[0], settings_of())
    (raw, within), n = need.read(), len(SAMPLE)
    assert need.n_bytes > 4 * n * 6
    assert not any(isinstance(one, str) for of in (raw, within) for one in (of.rows, of.directions, of.ranks))
    assert need.key == "stream m hook id"


def test_the_tasks_of_a_study_are_those_that_were_planned(tmp_path: Path):
    world = make_world()
    suite = SuiteConfig(
        "small",
        "Made up.",
        CorpusConfig("file", "t", 16, 1000, path="x"),
        model("a", 1),
        model("b", 2),
        match=MATCH,
        compare=CompareConfig(("rsa",)),
        null=NullConfig(n_permutations=19, n_strata=3, seed=1),
        streams=StreamsConfig(300, 60),
    )
    of_a, of_b = (prepared(values, settings_of()).stream for values in two_streams())
    words = StoredVocabulary("v", lambda: {"logit_lens": "no head", "embedding": torch.eye(3).double()})
    streams = SampledStreams(SAMPLE, [of_a], [replace(of_b, key="b hook")], (words, words))
    encoded = Encoded(world.blocks, TEXTS, [world.a], [world.b], {}, streams=streams)
    cache, listed = TaskCache(tmp_path), list[tuple[str, str, int]]()
    for stage, tasks in stages(suite, world.settings(("rsa",)), encoded, cache):
        listed += [(stage, task.name, len(task.needs)) for task in tasks if stage in OF_STREAMS]
        Workplace(cache).run(tasks, lambda *_: None)
    sides = planned_sides(suite, Shapes({}, {"sae": SaeShape(30, 9, 3.0, 0, 0)}, 0, ()))
    planned = [task for task in planned_tasks(suite, sides, Shapes({}, {}, 0, ()), 9) if task.stage in OF_STREAMS]
    assert [(task.stage, task.name, len(task.sides)) for task in planned] == listed
    assert [name for _, name, _ in listed] == [
        *("streams", "streams.1x2", "stitched.1x2", "partial-rsa.1x2", "best-r.1x2")
    ]
    observed = read_observations(replace(suite, match=MATCH), FinishedTasks(tmp_path))
    grid = tell_streams(observed, suite.null)
    alone = told(*two_streams(), settings_of())
    assert grid is not None
    assert grid.grid["1x2"].raw == alone.grid["0x1"].raw
    decoders = grid.grid["1x2"].decoders
    assert decoders is not None
    assert isinstance(decoders.stitched, Reason)  # 6 columns, and decoder rows of 9
    assert "have 9 columns, the stream that it reads 6" in decoders.stitched.reason
    assert isinstance(decoders.best_r_a, BaselineScore)
    fewer = replace(suite, streams=StreamsConfig(300, 60, draws=18))
    with pytest.raises(InputError, match=r"draws of the mean best r of layers 1x2: \[2, 18\] expected, got \[2, 19\]"):
        check_observations(fewer, observed)
    wrong = replace(observed.of_streams["1x2"], scores=np.zeros((2, 2)))
    with pytest.raises(InputError, match=r"scores of the streams of layers 1x2: \[2, 3\] expected, got \[2, 2\]"):
        check_observations(suite, replace(observed, of_streams={"1x2": wrong}))
