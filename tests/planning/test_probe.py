"""What a probe measures, how often it does so, and what doctor makes of it."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from semconv.pipeline.doctor import examine
from semconv.planning.kept_probes import read_rates
from semconv.planning.plan import Planner
from semconv.planning.probe import made_up_activations, probe
from semconv.planning.rates import Line, Rates
from semconv.planning.shapes import Shapes, shapes_of
from semconv.planning.timing import Probe, line_through, power_through
from semconv.runs.run import Progress
from semconv.suite.config import SuiteConfig, load_suite
from semconv.system.files import write_json
from tests.planning.test_plan import CPU, HERE, made_up_rates


def test_the_power_through_two_points_gives_them_back():
    found = power_through([(0.25, 0.1), (0.5, 0.8)])
    assert found.exponent == pytest.approx(3.0)
    assert found.at(0.25) == pytest.approx(0.1)
    assert found.at(1.0) == pytest.approx(6.4)
    assert power_through([(0.5, 1.0)]).at(1.0) == pytest.approx(8.0)
    assert power_through([(0.25, 0.2), (0.5, 0.1)]).exponent == 0.0  # noise, not less work for more


def test_the_line_through_two_points_gives_them_back_and_no_part_is_negative():
    found = line_through([(100, 1.5), (400, 3.0)])
    assert found.fixed == pytest.approx(1.0)
    assert found.per_token == pytest.approx(0.005)
    assert line_through([(100, 3.0), (400, 1.5)]) == Line(1.5, 0.0)
    steep = line_through([(100, 0.1), (400, 4.0)])
    assert steep.fixed == pytest.approx(0.0)
    assert steep.per_token == pytest.approx(0.01)


def test_made_up_activations_are_as_they_are_asked_for():
    acts = made_up_activations(5000, 96, 7.0, 0)
    assert (acts.n_tokens, acts.n_features) == (5000, 96)
    assert acts.l0 == pytest.approx(7.0, rel=0.02)
    assert sorted(set(acts.indptr.diff().tolist())) == [4, 5, 6, 7, 8, 9, 10]
    assert bool((acts.values > 0).all())


def test_calls_are_timed_as_often_as_it_takes():
    calls = list[int]()
    took = Probe(CPU, 1).seconds(lambda: calls.append(sum(range(1000))))
    assert len(calls) > 100
    assert 0 < took < 0.05


def test_calls_that_share_what_they_work_on_are_made_together_and_fitted_each(monkeypatch: pytest.MonkeyPatch):
    made = list[tuple[float, list[str]]]()
    times = {"square": lambda scale: 0.1 * scale**2, "cube": lambda scale: 30 * scale**3}

    def at(scale: float, names: Sequence[str]) -> dict[str, Any]:
        made.append((scale, list(names)))
        return {name: partial(times[name], scale) for name in names}

    probing = Probe(CPU, 1)
    monkeypatch.setattr(probing, "seconds", lambda call, warm: call())
    found = probing.powers(at, list(times))
    assert found["square"].at(2.0) == pytest.approx(0.4)
    assert found["cube"].at(1.0) == pytest.approx(30.0)
    both = ["square", "cube"]
    assert made == [(0.125, both), (0.25, both), (0.5, both), (1.0, ["square"])]  # a cube of 3.75 s is enough


def test_a_long_call_is_not_repeated_where_its_like_has_run_before():
    calls, probing = list[int](), Probe(CPU, 1)

    def long() -> None:
        calls.append(1)
        began = time.thread_time()
        while time.thread_time() - began < 0.26:
            pass

    assert probing.seconds(long, warm=True) >= 0.26
    assert len(calls) == 1
    probing.seconds(long)
    assert len(calls) == 3


def test_doctor_tells_hours_by_a_probe_that_it_makes_once(
    tiny_suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    suite, told, made = load_suite(tiny_suite), list[str](), list[int]()
    rates = made_up_rates(suite, Planner(suite, shapes_of(suite, ask=False)))

    def probed(_suite: SuiteConfig, _shapes: Shapes, _pairs: int, _device: object, progress: Progress) -> Rates:
        made.append(1)
        progress("probe: matching", 0, 1)
        return rates

    monkeypatch.setenv("SEMCONV_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("semconv.planning.kept_probes.probe", probed)

    def time_by(progress: Progress | None) -> str:
        return next(one.needed for one in examine(suite, tmp_path / "run", progress) if one.what == "time")

    assert time_by(None) == "a probe of this machine tells: `semconv plan tiny`"
    first = time_by(lambda stage, done, total: told.append(stage))
    assert (first[:6], told, made) == ("about ", ["probe: matching"], [1])
    assert time_by(lambda stage, done, total: told.append(stage)) == first == time_by(None)
    assert made == [1]


@pytest.mark.slow
def test_a_probe_measures_everything_and_is_kept_in_a_file(tiny_suite: Path, tmp_path: Path):
    suite = load_suite(tiny_suite)
    planner = Planner(suite, shapes_of(suite, ask=False))
    told = list[str]()
    rates = probe(suite, planner.shapes, planner.pairs, CPU, lambda stage, done, total: told.append(stage))
    assert told[0] == "probe: matching"
    write_json(tmp_path / "rates.json", asdict(rates))
    assert read_rates(tmp_path / "rates.json") == rates
    for one in fields(Rates):
        value = getattr(rates, one.name)
        numbers = [value] if isinstance(value, float) else value.values() if isinstance(value, dict) else []
        for number in numbers:
            found = number if isinstance(number, float) else max(vars(number).values())
            assert math.isfinite(found)
            assert found > 0, one.name
    plan = planner.plan(HERE, CPU, rates)
    assert plan.seconds is not None
    assert plan.seconds > 0
