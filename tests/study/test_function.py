"""What a study asks of models and tells of their answers; the models themselves are in tests/pipeline."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from semconv.results.schema import FunctionPair, FunctionTest, Reason
from semconv.statistics.clusters import clustered_error
from semconv.statistics.effects import EffectRows, EffectSums
from semconv.statistics.resampling import halves
from semconv.statistics.sign_flips import sign_flip_test
from semconv.study.check_function import check_effects
from semconv.study.effects_of_pairs import AblatedPairs
from semconv.study.function_models import Acting, FunctionModels, Place, StoredModel
from semconv.study.function_observations import COMPARED, FunctionObservation, no_effects
from semconv.study.task_names import function_controls, function_pairs
from semconv.study.tell_function import N_FLIPS, THIRDS, tell_function, thirds_of
from semconv.suite.config import FunctionConfig, SaeConfig, load_suite
from semconv.suite.hooks import hook_name
from semconv.system.errors import InputError
from tests._helpers.worlds import TEXTS, make_world

WORLD = make_world(3)
VOCABULARY = [*TEXTS, *(f"more{i}" for i in range(90))]


class MadeUp:
    """Models whose effects are drawn by position: the partner's is A's and noise, others' are noise."""

    def lenses(self, *_: Any) -> Any:
        raise InputError("a model without a head")

    def effects(self, networks: Any, places: Any, sides: Any, pairs: Any, at: Any, alternates: Any, **of: Any) -> Any:
        rng, size, n_kinds = np.random.default_rng(0), of["size"], 2 + alternates.shape[1]
        every = torch.arange(size)
        sums = EffectSums(torch.from_numpy(at.pair), len(pairs[0]), (size, size), (every, every), n_kinds)
        self.given = {"at": at, "pairs": pairs, "alternates": alternates}
        n = len(at)
        kinds = np.concatenate([np.zeros(n), -np.ones(2 * n)]).astype(int)
        items = torch.from_numpy(np.tile(np.arange(n), 3))

        def rows(x: np.ndarray, kinds: np.ndarray, items: Any) -> EffectRows:
            kl = torch.from_numpy(rng.gamma(2, 1, len(x)).astype(np.float32))
            return EffectRows(torch.from_numpy(x.astype(np.float32)), kl, items, torch.from_numpy(kinds), n)

        a = rng.normal(size=(3 * n, size))
        b = np.concatenate([a[:n] + 0.5 * rng.normal(size=(n, size)), rng.normal(size=(2 * n, size))])
        alternate = rng.normal(size=(n, size)) + 0.2 * a[:n]
        more = np.concatenate([b, alternate]), np.append(kinds, np.full(n, 2)), torch.cat([items, torch.arange(n)])
        sums.add(torch.arange(n), rows(a, kinds, items), rows(*more), unranked=(n_kinds - 1,))
        return sums


def ablated(models: Any = None, n_positions: int = 4, texts: list[str] = VOCABULARY) -> AblatedPairs:
    stored = StoredModel("m", "sha", 100, 200, lambda: None)
    acting = Acting(stored, stored, Place(hook_name(0)))
    acts: Any = models or MadeUp()
    given = FunctionModels({"a.1": acting, "b.2": acting}, acts, WORLD.blocks, texts)
    return AblatedPairs(WORLD.settings(), given, (acting, acting), 12, n_positions)


def observed(**of: Any) -> FunctionObservation:
    return ablated(**of).observe(WORLD.a, None, None, WORLD.b)


def test_pairs_of_one_half_are_ablated_in_the_other():
    models = MadeUp()
    found = observed(models=models)
    documents = WORLD.settings().documents(WORLD.a.n_tokens)
    first, second = (set(documents[half.numpy()]) for half in halves(WORLD.starts, WORLD.a.n_tokens, 5))
    used = set(documents[models.given["at"].token])
    assert used
    assert used <= second - first
    assert len(found.a) == min(12, found.facts.matched)
    known = found.positions > 0
    assert known.any()
    assert (found.positions[known] == 4).all()
    assert (found.documents[~known] < 4).all()
    assert np.isnan(found.residual[~known]).all()
    expected = 1 / np.sqrt(1 + 0.25)  # correlation of x and x + noise of half its size
    assert np.nanmean(found.plain[:, 0]) == pytest.approx(expected, abs=0.02)
    assert np.nanmean(found.residual[:, COMPARED.index("second_best")]) < 0.4
    assert found.facts.agree is not None
    assert found.facts.agree.lowered_a != found.facts.agree.raised_a


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"texts": TEXTS}, "both models tell logits of, at least 100; there are 30"),
        ({"n_positions": 500}, "no feature pair fires together in 500 held-out documents"),
    ],
)
def test_why_nothing_is_ablated_is_said(how: dict[str, Any], reason: str):
    found = observed(**how)
    assert reason in (found.facts.reason or "")
    assert len(found.a) == 0


def test_what_a_model_refuses_is_the_reason(monkeypatch: pytest.MonkeyPatch):
    def refused(*_: Any, **__: Any) -> Any:
        raise InputError("a model without a head")

    monkeypatch.setattr(MadeUp, "effects", refused)
    assert observed().facts.reason == "a model without a head"


def grid(layers_a: list[int], layers_b: list[int], **function: Any) -> Any:
    suite = load_suite("mini")
    saes = [tuple(SaeConfig(hook_name(layer), f"sae{layer}") for layer in of) for of in (layers_a, layers_b)]
    a, b = replace(suite.model_a, saes=saes[0]), replace(suite.model_b, saes=saes[1])
    return replace(suite, model_a=a, model_b=b, seeds=None, published=None, function=FunctionConfig(**function))


def test_layer_pairs_of_matching_depth_are_those_nearest_to_each_other():
    assert function_pairs(load_suite("mini")) == ["0x0", "1x2", "2x4", "3x6"]
    assert function_pairs(grid([0, 1], [0, 1, 2, 3])) == ["0x0", "1x2"]  # 1/4 is as near to 1/8 as to 3/8
    assert function_pairs(grid([0, 5, 9], [3])) == ["5x3"]
    assert len(function_pairs(grid([0, 1], [0, 1, 2, 3], layers="all"))) == 8
    assert function_pairs(replace(load_suite("mini"), function=None)) == []
    assert function_controls(grid([0], [0], control_pairs=0)) == []
    assert thirds_of(grid([0, 1], [0, 1, 2])) == ["all"]
    assert thirds_of(load_suite("mini")) == list(THIRDS)


def test_the_mean_and_its_test_are_over_pairs_clustered_by_token():
    rng = np.random.default_rng(1)
    values, clusters = rng.normal(0.2, 1, 30), rng.integers(0, 7, 30)
    groups = [np.flatnonzero(clusters == c) for c in np.unique(clusters)]
    total = sum((values[g] - values.mean()).sum() ** 2 for g in groups)
    n = len(groups)
    assert clustered_error(values, clusters) == pytest.approx(np.sqrt(n / (n - 1) * total) / 30)
    assert clustered_error(values, np.zeros(30, dtype=int)) is None


def test_what_is_told_is_what_was_observed():
    found, suite = observed(), load_suite("mini")
    observations: Any = type("O", (), {})()
    observations.lenses, observations.rules, observations.position_kinds = {}, {}, {}
    observations.effects = dict.fromkeys(function_pairs(suite), found)
    observations.effects |= {f"control.{name}": no_effects("nothing") for name in function_controls(suite)}
    told = tell_function(observations, suite)
    assert told is not None
    pair, early, middle = told.grid["0x0"], told.thirds["early"], told.thirds["middle"]
    assert isinstance(pair, FunctionPair)
    known = np.isfinite(found.residual[:, 0])
    best = np.nanmax(found.residual[:, 1:5], axis=1, where=np.isfinite(found.residual[:, 1:5]), initial=-2.0)[known]
    difference = found.residual[known, 0] - best
    assert isinstance(early, FunctionTest)
    assert isinstance(middle, FunctionTest)
    assert early.difference == pytest.approx(difference.mean())
    assert early.p == sign_flip_test(difference, found.token[known], N_FLIPS, suite.null.seed).p_value
    assert (middle.pairs, middle.tokens) == (2 * early.pairs, early.tokens)  # two layer pairs lie in the middle
    assert pair.alike["partner"].residual == pytest.approx(found.residual[known, 0].mean())
    assert [point[0] for point in pair.points] == [round(r, 4) for r in found.r[known].tolist()]
    assert pair.too_few == (~known).sum()
    assert told.controls["untrained-twins"] == Reason(reason="nothing")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"residual": np.full((1, 6), 1.5)}, "correlations of x must be between -1 and 1"),
        ({"positions": np.array([99])}, "positions of x must be from 0 to 16"),
        ({"positions": np.array([0])}, "without positions must have no agreement"),
        ({"scores": np.zeros((1, 3))}, r"numbers of x: \[1, 9\] expected, got \[1, 3\]"),
        ({"a": np.arange(400)}, "must be of 1 to 300 pairs, or have a reason, got 400"),
    ],
)
def test_effects_that_no_run_of_the_suite_finds_are_refused(changes: dict[str, Any], message: str):
    found = observed()
    some = int(np.flatnonzero(found.positions > 0)[0])
    one = {name: value[some : some + 1] for name, value in vars(found).items() if name not in ("facts", "together")}
    found = replace(found, **one)
    suite = load_suite("mini")
    check_effects(suite, found, "x")
    with pytest.raises(InputError, match=message):
        check_effects(suite, replace(found, **changes), "x")
