"""One layer pair through the protocol: its numbers, and the reasons that stand where there can be none."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import semconv.study.layer_pairs
from semconv import best_matches
from semconv.compare import MutualKNN
from semconv.runs.task_cache import Result
from semconv.statistics.permutation import calibrated_score
from semconv.statistics.resampling import bootstrap_positions, halves
from semconv.study.layer_pairs import Protocol, bootstrap, null_summary, study
from semconv.study.nulls import pairing_nulls, ranked_pairs, rematch, score_strongest
from semconv.study.sides import match_sides, prepare_pairs, scores_of
from semconv.suite.config import NullConfig
from semconv.text.top_tokens import TopTokens
from tests.worlds import ByNumber, World, make_world

WORLD = make_world()


def as_json(result: Result) -> str:
    values, arrays = result
    return json.dumps([values, {k: v.tolist() for k, v in sorted(arrays.items())}], sort_keys=True)


def test_null_summary_by_hand():
    null = np.array([0.0, 0.1, 0.2, 0.7])
    summary = null_summary(0.5, null)
    assert summary["mean"] == pytest.approx(0.25)
    assert summary["sd"] == pytest.approx(math.sqrt((0.0625 + 0.0225 + 0.0025 + 0.2025) / 3))
    assert summary["z"] == pytest.approx((0.5 - 0.25) / summary["sd"])
    assert summary["p"] == 2 / 5
    assert summary["calibrated"] == calibrated_score(0.5, null)
    assert null_summary(0.5, np.array([0.2]))["sd"] is None


def test_a_null_with_a_draw_that_has_no_score_gives_a_reason_and_no_number():
    assert null_summary(0.5, np.array([0.1, np.nan, np.nan])) == {"reason": "2 of 3 draws have no score"}
    assert null_summary(math.nan, np.array([0.1, 0.2])) == {"reason": "the score is undefined"}


def test_study_is_match_then_score_then_nulls(tmp_path: Path):
    protocol = WORLD.protocol(tmp_path)
    values, arrays = study(protocol, "x", WORLD.a, WORLD.b)
    pairs = match_sides(WORLD.a, WORLD.b, protocol.match)
    assert values["pairs"] == len(pairs) > 15
    assert values["mean_r"] == pytest.approx(pairs.r.mean())
    assert [count["after"] for count in values["filters"]] == [count.after for count in pairs.counts]
    assert (values["layer_a"], values["layer_b"]) == (1, 2)
    counts = WORLD.b.active_counts()[pairs.b]
    for measure in protocol.measures:
        prepared = prepare_pairs(measure, WORLD.a, WORLD.b, pairs.a, pairs.b)
        nulls = pairing_nulls(prepared, counts, 19, 5, 3)
        cell = values["measures"][measure.name]
        assert cell["score"] == prepared.score
        assert set(cell["nulls"]) == {"shuffle", "frequency"}
        for name, null in nulls.items():
            assert (arrays[f"{name}.{measure.name}"] == null).all()
            assert cell["nulls"][name] == null_summary(prepared.score, null)
    assert "rematch" not in values


def test_study_with_rematch_adds_that_null_and_changes_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(semconv.study.layer_pairs, "REMATCH_CHUNK", 4)
    plain, plain_arrays = study(WORLD.protocol(tmp_path / "0"), "x", WORLD.a, WORLD.b)
    protocol = WORLD.protocol(tmp_path / "1", n_rematch=10)
    values, arrays = study(protocol, "x", WORLD.a, WORLD.b)
    passed, ranked = rematch(WORLD.a, WORLD.b, protocol.match, WORLD.starts, 5, range(10))
    observed = ranked_pairs(best_matches(WORLD.a.acts, WORLD.b.acts), WORLD.a, WORLD.b, protocol.match)
    n = min(values["pairs"], len(observed[0]), *(len(pairs[0]) for pairs in ranked))
    scores = np.stack([score_strongest(protocol.measures, WORLD.a, WORLD.b, pairs, n) for pairs in ranked])
    strongest = score_strongest(protocol.measures, WORLD.a, WORLD.b, observed, n)
    least = sum(int(p) >= values["pairs"] for p in passed)
    assert values["rematch"] == {
        "pairs_mean": passed.mean(),
        "pairs_max": passed.max(),
        "pairs_p": (least + 1) / 11,
        "scored_pairs": n,
    }
    for place, measure in enumerate(protocol.measures):
        assert (arrays[f"rematch.{measure.name}"] == scores[:, place]).all()
        cell = values["measures"][measure.name]
        assert cell.pop("strongest_pairs_score") == strongest[place]
        assert cell["nulls"].pop("rematch") == null_summary(float(strongest[place]), scores[:, place])
    del values["rematch"]
    assert as_json((values, {k: v for k, v in arrays.items() if "rematch" not in k})) == as_json((plain, plain_arrays))


@pytest.mark.parametrize("stop_after", [1, 2, 3])
def test_an_interrupted_study_ends_in_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_after: int
):
    monkeypatch.setattr(semconv.study.layer_pairs, "REMATCH_CHUNK", 4)
    whole = study(WORLD.protocol(tmp_path / "whole", n_rematch=10), "x", WORLD.a, WORLD.b)
    ticks = 0

    def stop(stage: str, steps: int) -> None:
        nonlocal ticks
        ticks += 1
        if ticks == stop_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study(WORLD.protocol(tmp_path / "cut", n_rematch=10, tick=stop), "x", WORLD.a, WORLD.b)
    # The observed pair and three chunks of matches come first, then a tick after every chunk of scores.
    kept = len(list((tmp_path / "cut").iterdir()))
    assert kept == (1 if stop_after == 1 else 4 + stop_after - 1)

    def refuse(*_: object) -> None:
        raise AssertionError("a finished task was done again")

    monkeypatch.setattr(semconv.study.layer_pairs, "_observe", refuse)
    again = study(WORLD.protocol(tmp_path / "cut", n_rematch=10), "x", WORLD.a, WORLD.b)
    assert as_json(again) == as_json(whole)


def test_the_steps_told_add_up(tmp_path: Path):
    for match, n_rematch in (({}, 45), ({"min_pairs": 40}, 45), ({}, 0)):
        steps = Counter[str]()
        folder = tmp_path / f"{len(match)}{n_rematch}"
        study(
            WORLD.protocol(
                folder, tick=lambda stage, n, steps=steps: steps.update({stage: n}), match=match, n_rematch=n_rematch
            ),
            "x",
            WORLD.a,
            WORLD.b,
        )
        assert steps == {"compare": 1, "rematch": n_rematch}


def changed_tokens(world: World) -> World:
    texts = tuple(f"other {text}" for text in world.a.tokens.texts)
    return replace(
        world,
        a=replace(world.a, tokens=replace(world.a.tokens, texts=texts)),
        b=replace(world.b, tokens=replace(world.b.tokens, texts=texts)),
    )


CHANGES: dict[str, Callable[[World, Path], tuple[World, Protocol]]] = {
    "store": lambda w, p: (replace(w, a=replace(w.a, store_sha256="x")), w.protocol(p)),
    "decoder": lambda w, p: (replace(w, b=replace(w.b, decoder=2 * w.b.decoder)), w.protocol(p)),
    "top tokens": lambda w, p: (changed_tokens(w), w.protocol(p)),
    "documents": lambda w, p: (w, replace(w.protocol(p), starts=w.starts[::2])),
    "measures": lambda w, p: (w, w.protocol(p, ("rsa",))),
    "filters": lambda w, p: (w, w.protocol(p, match={"min_r": 0.2})),
    "seed": lambda w, p: (w, w.protocol(p, seed=6)),
    "permutations": lambda w, p: (w, w.protocol(p, n_permutations=20)),
    "strata": lambda w, p: (w, w.protocol(p, n_strata=4)),
}


def done_by(world: World, protocol: Protocol) -> list[str]:
    """Does every kind of task and returns the kinds that were not taken from the cache."""
    done: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_observe", "rematch", "bootstrap_positions"):
            real = getattr(semconv.study.layer_pairs, name)

            def told(*arguments: Any, name: str = name, real: Callable[..., Any] = real) -> Any:
                done.append(name)
                return real(*arguments)

            patch.setattr(semconv.study.layer_pairs, name, told)
        study(protocol, "x", world.a, world.b)
        bootstrap(protocol, [world.a], [world.b], 0)
    return done


@pytest.mark.parametrize("what", list(CHANGES))
def test_a_kept_task_is_not_used_for_other_inputs(what: str, tmp_path: Path):
    every = ["_observe", "rematch", "bootstrap_positions"]
    first = replace(WORLD.protocol(tmp_path), null=NullConfig(19, 3, n_rematch=2, seed=5))
    assert done_by(WORLD, first) == every
    assert done_by(WORLD, first) == []
    world, protocol = CHANGES[what](WORLD, tmp_path)
    protocol = replace(protocol, null=replace(protocol.null, n_rematch=2))
    assert done_by(world, protocol) == every
    assert done_by(world, protocol) == []


def test_more_shifts_and_resamples_leave_what_was_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(semconv.study.layer_pairs, "REMATCH_CHUNK", 4)
    done_by(WORLD, WORLD.protocol(tmp_path, n_rematch=8))
    assert done_by(WORLD, WORLD.protocol(tmp_path, n_rematch=12, n_bootstrap=9)) == ["rematch"]  # the third chunk
    assert done_by(WORLD, WORLD.protocol(tmp_path, n_rematch=10)) == ["rematch"]  # a last chunk of two


def test_too_few_pairs_give_a_reason_and_never_a_number(tmp_path: Path):
    values, arrays = study(WORLD.protocol(tmp_path, match={"min_pairs": 25}, n_rematch=5), "x", WORLD.a, WORLD.b)
    assert values["pairs"] == 24
    reason = {"reason": "24 pairs, at least 25 are needed"}
    assert values["measures"] == {"svcca_pc1": reason, "rsa": reason}
    assert arrays == {}
    assert "rematch" not in values
    values, _ = study(WORLD.protocol(tmp_path, match={"min_pairs": 24}, n_rematch=5), "x", WORLD.a, WORLD.b)
    assert "score" in values["measures"]["rsa"]  # just enough
    assert "rematch" in values
    values, _ = study(WORLD.protocol(tmp_path, match={"min_r": 0.99}), "x", WORLD.a, WORLD.b)
    assert values["pairs"] == 0
    assert values["mean_r"] is None
    json.dumps(values, allow_nan=False)


def test_a_measure_that_refuses_or_has_no_score_gives_a_reason_beside_the_others(tmp_path: Path):
    fine = ByNumber(0.5, lambda m: np.zeros(m))
    silent = ByNumber(math.nan, lambda m: np.zeros(m), "silent")
    gaps = ByNumber(0.5, lambda m: np.full(m, np.nan), "gaps")
    protocol = WORLD.protocol(tmp_path, measures=(fine, silent, gaps))
    protocol = replace(protocol, measures=(*protocol.measures, MutualKNN(24)))
    values, _ = study(protocol, "x", WORLD.a, WORLD.b)
    cells = values["measures"]
    assert cells["told"]["nulls"]["shuffle"]["p"] == 1 / 20
    assert cells["silent"] == {"reason": "the score is undefined"}
    assert cells["gaps"]["score"] == 0.5
    assert cells["gaps"]["nulls"]["shuffle"] == {"reason": "19 of 19 draws have no score"}
    assert "more pairs than k = 24" in cells["mutual_knn"]["reason"]
    json.dumps(values, allow_nan=False)


def test_r_on_the_other_half_equals_dense_numpy(tmp_path: Path):
    protocol = WORLD.protocol(tmp_path, match={"separate_halves": True})
    values, _ = study(protocol, "x", WORLD.a, WORLD.b)
    first, second = halves(WORLD.starts, WORLD.a.acts.n_tokens, 5)
    pairs = match_sides(WORLD.a.at(first), WORLD.b.at(first), protocol.match)
    x, y = (side.acts.to_dense().double().numpy()[second] for side in (WORLD.a, WORLD.b))
    r = np.array([np.corrcoef(x[:, i], y[:, j])[0, 1] for i, j in zip(pairs.a, pairs.b, strict=True)])
    assert np.abs(r - 0.1).min() > 1e-3  # so that 16-bit codes cannot move a pair across the bar
    assert values["pairs"] == (r > 0.1).sum()
    assert values["mean_r"] == pytest.approx(r[r > 0.1].mean(), abs=1e-4)
    assert values["filters"][-1] == {
        "step": "r > 0.1 on the other half",
        "before": len(pairs),
        "after": (r > 0.1).sum(),
    }


def test_split_half_by_hand(tmp_path: Path):
    values, _ = study(WORLD.protocol(tmp_path), "x", WORLD.a, WORLD.b)
    found = []
    for part in halves(WORLD.starts, WORLD.a.acts.n_tokens, 5):
        found.append(best_matches(WORLD.a.acts.tokens(part), WORLD.b.acts.tokens(part)).b_to_a)
    one, other = (m.index[:, 0].numpy() for m in found)
    r = [m.r[one == other, 0].numpy() for m in found]
    split = values["split_half"]
    assert split["features"] == len(one)
    assert split["same_partner"] == (one == other).mean()
    assert split["r_reliability"] == pytest.approx(np.corrcoef(*r)[0, 1])


def test_a_split_half_without_features_claims_nothing(tmp_path: Path):
    nothing = replace(WORLD.a, acts=WORLD.a.acts.tokens(torch.zeros(730, dtype=torch.int64)))  # one token over again
    values, _ = study(WORLD.protocol(tmp_path), "x", nothing, WORLD.b)
    assert values["split_half"] == {"features": 0, "same_partner": None, "r_reliability": None}
    assert values["undefined_a"] == 30


def test_a_bootstrap_draw_is_the_protocol_on_the_drawn_documents(tmp_path: Path):
    protocol = WORLD.protocol(tmp_path, match={"min_r": 0.55})  # so that resamples leave different pairs
    counts, scores = bootstrap(protocol, [WORLD.a], [WORLD.b, WORLD.a], 3)
    drawn = bootstrap_positions(WORLD.starts, WORLD.a.acts.n_tokens, 5, 3)
    for j, b in enumerate((WORLD.b, WORLD.a)):
        x, y = WORLD.a.at(drawn), b.at(drawn)
        pairs = match_sides(x, y, protocol.match)
        assert counts[0, j] == len(pairs)
        assert (scores[0, j] == scores_of(protocol.measures, x, y, pairs.a, pairs.b)).all()
    assert scores.shape == (1, 2, 2)
    assert not (bootstrap(protocol, [WORLD.a], [WORLD.b], 4)[1] == scores[0, 0]).all()


def test_a_bootstrap_draw_with_too_few_pairs_has_no_score(tmp_path: Path):
    counts, scores = bootstrap(WORLD.protocol(tmp_path, match={"min_r": 0.99}), [WORLD.a], [WORLD.b], 0)
    assert counts.tolist() == [[0]]
    assert np.isnan(scores).all()


def test_every_setting_that_draws_is_an_input(tmp_path: Path):
    # What is not drawn per task (numbers of shifts and resamples) may change without doing a task again.
    drawn = {"n_permutations", "n_strata", "seed"}
    inputs = json.dumps(WORLD.protocol(tmp_path, seed=77).inputs(WORLD.a, WORLD.b))
    for name in NullConfig.__dataclass_fields__:
        assert (f'"{name}"' in inputs) == (name in drawn)
    assert TopTokens.of_sides([[["x"]]], ())[0].sha256 != TopTokens.of_sides([[["y"]]], ())[0].sha256
