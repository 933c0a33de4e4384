"""Decoder baselines against plain NumPy: the map between streams, whom it names, partial RSA, the best r."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from scipy.stats import rankdata

import semconv.study.decoder_baselines
from semconv.compare.stitching import PENALTIES
from semconv.results.schema import BaselineScore, NullTest, Reason, Stitched
from semconv.runs.task_cache import FinishedTasks
from semconv.statistics.permutation import permutation_ids
from semconv.statistics.resampling import document_shift
from semconv.statistics.sampled_text import SampledText, sample_text
from semconv.study.decoder_baselines import GIVEN, observe_best_r, observe_partial
from semconv.study.observations import Observations, RematchChunk
from semconv.study.observe_pair import rematch_chunk
from semconv.study.sides import Side
from semconv.study.stitching import Split, StitchedStream, Stitching
from semconv.study.stream_observations import BestRObservation, DecoderObservations, StitchObservation
from semconv.study.streams import PreparedStream, StoredStream, StreamSettings, compare_streams
from semconv.study.tell_streams import tell_streams
from semconv.suite.config import StreamsConfig
from tests._helpers.worlds import make_world
from tests.conftest import requires_models

WORLD = make_world(3)
SAMPLE = sample_text((WORLD.blocks, WORLD.blocks), None, 10_000, seed=1)
PAIRS = np.arange(0, 20), np.arange(5, 25)


def settings_of(sample: SampledText = SAMPLE, **changes: Any) -> StreamSettings:
    return StreamSettings(sample, replace(StreamsConfig(10_000, 60, draws=4), **changes), 0.99, seed=1)


def streams() -> tuple[np.ndarray, np.ndarray]:
    """Streams as wide as the decoder rows, the second an affine map of the first and noise; float32."""
    rng, n = np.random.default_rng(0), len(SAMPLE)
    X = rng.normal(size=(n, 9)) * np.logspace(0, 1, 9) + 3
    return X.astype(np.float32), (X @ rng.normal(size=(9, 12)) + rng.normal(size=(n, 12)) * 5 - 2).astype(np.float32)


def stitched(
    x: np.ndarray, y: np.ndarray, a: Side = WORLD.a, settings: StreamSettings | None = None, **of_a: Any
) -> StitchObservation:
    settings = settings or settings_of()
    stored = [
        StoredStream(name, name, (len(values), values.shape[1]), lambda values=values: torch.from_numpy(values), **more)
        for name, values, more in (("a", x, of_a), ("b", y, {}))
    ]
    study = WORLD.settings(match={"min_activations": 3})
    ready = [StitchedStream(one, settings).read() for one in stored]
    return Stitching(study, settings, (stored[0], stored[1]), PAIRS).observe(*ready, a, WORLD.b)


def ridge(X: np.ndarray, Y: np.ndarray, penalty: float) -> np.ndarray:
    x, y = X - X.mean(0), Y - Y.mean(0)
    S = x.T @ x
    return np.linalg.solve(S + penalty * np.trace(S) / len(S) * np.eye(len(S)), x.T @ y)


def r2(train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray], penalty: float) -> float:
    W, (X, Y) = ridge(*train, penalty), test
    left = Y - train[1].mean(0) - (X - train[0].mean(0)) @ W
    return 1 - np.square(left).sum() / np.square(Y - Y.mean(0)).sum()


def scores_by_hand(W: np.ndarray) -> list[float]:
    active = [np.flatnonzero(side.active_counts() >= 3) for side in (WORLD.a, WORLD.b)]
    x, y = WORLD.a.decoder[active[0]] @ W, WORLD.b.decoder[active[1]]
    S = (x / np.linalg.norm(x, axis=1)[:, None]) @ (y / np.linalg.norm(y, axis=1)[:, None]).T
    rows, columns = linear_sum_assignment(-S)
    named = {active[0][i]: active[1][j] for i, j in zip(rows, columns, strict=True)}
    among = [(a, b) for a, b in zip(*PAIRS, strict=True) if a in active[0] and b in active[1]]
    return [S[rows, columns].mean(), S.max(axis=0).mean(), float(np.mean([named.get(a) == b for a, b in among]))]


def test_the_map_and_whom_it_names_are_those_of_plain_numpy():
    X, Y = streams()
    found, split = stitched(X, Y), Split.of(settings_of())
    one, other, test = (part.numpy() for part in split.parts)
    train = np.sort(np.concatenate([one, other]))
    documents = [set(SAMPLE.document[part].tolist()) for part in (one, other, test)]
    assert sum(map(len, documents)) == len(set.union(*documents)) == found.facts.documents == 40
    x, y = X.astype(float), Y.astype(float)

    def chosen(x: np.ndarray, y: np.ndarray) -> float:
        both = [(one, other), (other, one)]
        return max(PENALTIES, key=lambda c: sum(r2((x[i], y[i]), (x[j], y[j]), c) for i, j in both))

    penalty, back = chosen(x, y), chosen(y, x)
    assert (found.facts.penalty_a_to_b, found.facts.penalty_b_to_a) == (penalty, back)
    wanted = [r2((p[train], q[train]), (p[test], q[test]), c) for p, q, c in ((x, y, penalty), (y, x, back))]
    np.testing.assert_allclose(found.r2, wanted, atol=1e-9)
    assert (found.facts.fitted, found.facts.tested) == (len(train), len(test))
    np.testing.assert_allclose(found.scores, scores_by_hand(ridge(x[train], y[train], penalty)), atol=1e-9)
    starts = np.flatnonzero(np.diff(SAMPLE.document[train], prepend=-1))
    for number in range(4):
        shift = document_shift(starts, 1, number)
        again = ridge(x[train], np.roll(y[train], -shift, axis=0), penalty)
        np.testing.assert_allclose(found.shifted[:, number], scores_by_hand(again), atol=1e-9)
    assert found.partners.shape == (19,)


def test_where_the_map_is_known_rows_come_to_their_partners():
    """B's stream and rows are a rotation of A's: every mapped row is its own partner, under no shift it is."""
    X, _ = streams()
    rotation = np.linalg.qr(np.random.default_rng(2).normal(size=(9, 9)))[0]
    b = replace(WORLD.b, acts=WORLD.a.acts, decoder=WORLD.a.decoder @ rotation)
    settings, study = settings_of(), WORLD.settings()
    stored = [StoredStream(n, n, X.shape, lambda v=v: torch.from_numpy(v)) for n, v in (("a", X), ("b", X @ rotation))]
    ready = [StitchedStream(one, settings).read() for one in stored]
    same = np.arange(20)
    found = Stitching(study, settings, (stored[0], stored[1]), (same, same)).observe(*ready, WORLD.a, b)
    np.testing.assert_allclose(found.scores, 1, atol=1e-4)  # the least penalty of all is 1e-6
    np.testing.assert_allclose(found.r2, 1, atol=1e-4)
    assert found.shifted[0].max() < 0.95 or (found.shifted[2] == 1).any()
    assert found.partners.mean() < 0.3


def test_permuted_partners_are_counted():
    found, names = stitched(*streams()), found_names()
    active = [np.flatnonzero(side.active_counts() >= 3) for side in (WORLD.a, WORLD.b)]
    among = np.isin(PAIRS[0], active[0]) & np.isin(PAIRS[1], active[1])
    a, b = PAIRS[0][among], PAIRS[1][among]
    wanted = [
        np.mean([names.get(i) == j for i, j in zip(a, b[p], strict=True)]) for p in permutation_ids(len(a), 19, 5)
    ]
    np.testing.assert_allclose(found.partners, wanted)
    assert found.facts.compared == len(a)


def found_names() -> dict[int, int]:
    X, Y = (values.astype(float) for values in streams())
    split = Split.of(settings_of())
    W = ridge(X[split.train], Y[split.train], stitched(*streams()).facts.penalty_a_to_b)
    active = [np.flatnonzero(side.active_counts() >= 3) for side in (WORLD.a, WORLD.b)]
    x, y = WORLD.a.decoder[active[0]] @ W, WORLD.b.decoder[active[1]]
    S = (x / np.linalg.norm(x, axis=1)[:, None]) @ (y / np.linalg.norm(y, axis=1)[:, None]).T
    return {int(active[0][i]): int(active[1][j]) for i, j in zip(*linear_sum_assignment(-S), strict=True)}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"decoder_elsewhere": "it is a transcoder"}, "SAE a/1: it is a transcoder"),
        ({"a": replace(WORLD.a, decoder=WORLD.a.decoder[:, :5])}, "have 5 columns, the stream that it reads 9"),
        ({"settings": settings_of(replace(SAMPLE, document=SAMPLE.document * 0))}, "4 are needed, got 1"),
        (
            {"settings": settings_of(features=2), "a": replace(WORLD.a, acts=WORLD.a.acts.tokens(torch.arange(2)))},
            "2 are",
        ),
    ],
)
def test_what_cannot_be_mapped_has_a_reason(change: dict[str, Any], reason: str):
    found = stitched(*streams(), **change)
    assert reason in (found.facts.reason or "")
    assert found.scores.size == found.r2.size == found.partners.size == found.shifted.size == 0


def test_fewer_positions_than_columns_have_a_reason():
    rng = np.random.default_rng(0)
    X, Y = (rng.normal(size=(len(SAMPLE), 400)).astype(np.float32) for _ in range(2))
    wide = replace(WORLD.a, decoder=rng.normal(size=(30, 400)))
    assert "400 columns needs more positions than that" in (stitched(X, Y, wide).facts.reason or "")


def moments(d: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A vocabulary [50, d], and its second moment less its mean."""
    U = np.random.default_rng(seed).normal(size=(50, d))
    return U, (U - U.mean(0)).T @ (U - U.mean(0))


def partial_by_hand(rows: list[np.ndarray], seen: list[list[np.ndarray]]) -> float:
    """Correlation of the residuals of ranks on the ranks of what is held fixed."""
    lower = np.tril_indices(len(rows[0]), -1)
    ranks = [rankdata(1 - np.corrcoef(one)[lower]) for one in rows]
    given = [rankdata(1 - np.corrcoef(one)[lower]) for of_side in seen for one in of_side]
    A = np.column_stack([np.ones(len(ranks[0])), *given])
    left = [r - A @ np.linalg.lstsq(A, r, rcond=None)[0] for r in ranks]
    return float(np.corrcoef(*left)[0, 1])


def test_partial_rsa_is_the_correlation_of_residuals():
    """Correlations over the vocabulary are cosines of what the moments see, and permutations move rows of B."""
    study, pairs = WORLD.settings(), PAIRS
    words = {"logit_lens": (moments(9, 1), moments(12, 2)), "embedding": (moments(9, 3), moments(12, 4))}
    read = [{name: torch.from_numpy(of[side][1]) for name, of in words.items()} for side in (0, 1)]
    found = observe_partial(study, (lambda: read[0], lambda: read[1]), pairs, 3, WORLD.a, WORLD.b)
    x, y = WORLD.a.decoder[pairs[0]], WORLD.b.decoder[pairs[1]]
    for place, given in enumerate(GIVEN.values()):
        orders = [np.arange(len(x)), *permutation_ids(len(x), 3, 5)]
        told = [found.scores[place], *found.shuffle[place]]
        for p, score in zip(orders, told, strict=True):
            seen = [[rows @ words[name][side][0].T for name in given] for side, rows in ((0, x), (1, y[p]))]
            assert score == pytest.approx(partial_by_hand([x, y[p]], seen), abs=1e-9)
    assert found.facts.reasons == ("", "", "")


def test_partial_rsa_says_why_there_is_none():
    study, words = WORLD.settings(), moments(9, 1)[1]
    of_a = {"logit_lens": "the model has no head", "embedding": torch.from_numpy(words)}
    of_b = {"logit_lens": torch.eye(12).double(), "embedding": torch.eye(5).double()}
    found = observe_partial(study, (lambda: of_a, lambda: of_b), PAIRS, 3, WORLD.a, WORLD.b)
    assert [reason.split(": ")[-1] for reason in found.facts.reasons] == [
        "the model has no head",
        "the decoder rows of SAE b/2 have 12 columns, the vocabulary of its model 5",
        "the model has no head",
    ]
    assert np.isnan(found.scores).all()
    few = observe_partial(study, (lambda: of_a, lambda: of_b), (PAIRS[0][:3], PAIRS[1][:3]), 3, WORLD.a, WORLD.b)
    assert set(few.facts.reasons) == {"3 pairs, at least 8 are needed"}
    same = {"logit_lens": torch.from_numpy(words), "embedding": torch.from_numpy(2 * words)}
    tied = observe_partial(study, (lambda: same, lambda: same), (PAIRS[0], PAIRS[0]), 3, WORLD.a, WORLD.a)
    assert "determine each other" in tied.facts.reasons[2]


def test_the_best_r_is_that_of_all_correlations():
    found = observe_best_r(WORLD.settings(), 3, np.zeros((2, 0)), WORLD.a, WORLD.b)
    x, y = (side.acts.to_dense().double().numpy() for side in (WORLD.a, WORLD.b))
    for number, shift in enumerate([0, *(document_shift(WORLD.starts, 5, i) for i in range(3))]):
        with np.errstate(invalid="ignore", divide="ignore"):
            r = np.corrcoef(x.T, np.roll(y, -shift, axis=0).T)[: x.shape[1], x.shape[1] :]
        wanted = [np.nanmean(r.max(axis=1)), np.nanmean(r.max(axis=0))]
        told = found.scores if number == 0 else found.shifted[:, number - 1]
        np.testing.assert_allclose(told, wanted, atol=1e-3)  # activations are quantised
    assert (found.facts.vary_a, found.facts.vary_b) == (30, 34)


def test_shifts_that_rematch_has_matched_are_not_matched_again_for_the_best_r(monkeypatch: pytest.MonkeyPatch):
    study, none = WORLD.settings(), np.zeros((2, 0))
    whole = observe_best_r(study, 5, none, WORLD.a, WORLD.b)
    known = rematch_chunk(study, WORLD.a, WORLD.b, range(5), 10).best_r
    assert (observe_best_r(study, 5, known[:, :3], WORLD.a, WORLD.b).shifted == whole.shifted).all()  # to the last bit
    monkeypatch.setattr(semconv.study.decoder_baselines, "shifted_best_r", None)  # and none is drawn beyond them
    assert (observe_best_r(study, 5, known, WORLD.a, WORLD.b).shifted == whole.shifted).all()


@pytest.mark.slow
@requires_models
def test_a_run_has_the_best_r_of_its_shifts_once(tiny_run: Path):
    kept = FinishedTasks(tiny_run / "tasks")
    for key in ("0x2", "1x2"):
        drawn = kept.read_as(RematchChunk, f"grid.{key}.rematch.0").best_r
        found = kept.read_as(BestRObservation, f"best-r.{key}").shifted
        assert (drawn.shape, found.shape) == ((2, 5), (2, 3))  # n_rematch, streams.draws
        assert (found == drawn[:, :3]).all()


def test_baselines_are_told_beside_their_nulls():
    (X, Y), settings, study = streams(), settings_of(), WORLD.settings()
    nothing = {"logit_lens": "no head", "embedding": "none"}
    found = DecoderObservations(
        stitched(X, Y),
        observe_partial(study, (lambda: nothing, lambda: nothing), PAIRS, 19, WORLD.a, WORLD.b),
        observe_best_r(study, 4, np.zeros((2, 0)), WORLD.a, WORLD.b),
    )
    prepared = [
        PreparedStream(StoredStream(n, n, v.shape, lambda v=v: torch.from_numpy(v)), settings).read()
        for n, v in (("a", X), ("b", Y))
    ]
    observed = Observations({}, {}, {}, {}, streams=settings.facts().facts)
    observed = replace(observed, of_streams={"1x2": compare_streams(*prepared)}, of_decoders={"1x2": found})
    told = tell_streams(observed, study.null)
    assert told is not None
    decoders = told.grid["1x2"].decoders
    assert decoders is not None
    assert isinstance(decoders.stitched, Stitched)
    same = decoders.stitched.same_partner
    assert isinstance(same, BaselineScore)
    assert list(same.nulls) == ["shift", "partners"]
    for name, draws in (("shift", found.stitched.shifted[2]), ("partners", found.stitched.partners)):
        test = same.nulls[name]
        assert isinstance(test, NullTest)
        assert test.p == ((draws >= same.score - 1e-12).sum() + 1) / (len(draws) + 1)
        assert test.draws == (4 if name == "shift" else None)  # 19 are usual
    assert {name: isinstance(one, Reason) for name, one in decoders.partial_rsa.items()} == dict.fromkeys(GIVEN, True)
