"""How far a whole run is: steps, and the time left over all of them from the plan and what was spent."""

from __future__ import annotations

import pytest

from semconv.planning.steps import WholeRun, step_of


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


PLANNED = {"corpus": 10.0, "encode small": 20.0, "encode large": 30.0, "compare": 40.0, "rematch": 60.0, "report": 4.0}


def started(planned: dict[str, float | None]) -> tuple[WholeRun, Clock]:
    clock = Clock()
    whole = WholeRun.of(planned.items())
    whole.clock = clock
    return whole, clock


@pytest.mark.parametrize(
    ("stage", "step"),
    [
        ("corpus", "text"),
        ("hash text", "text"),
        ("hash small", "encode"),
        ("SAEs of small", "encode"),
        ("load stores", "read stores"),
        ("load small", "encode"),
        ("streams small", "sample and fit"),
        ("streams", "further comparisons"),
        ("rematch scores", "match again"),
        ("wait for another run that writes here", None),
    ],
)
def test_every_stage_has_its_step(stage: str, step: str | None):
    assert step_of(stage) == step


def test_steps_are_counted_over_the_whole_run_and_time_left_over_all_of_them():
    whole, clock = started(dict(PLANNED))
    always = ["text", "encode", "read stores", "sample and fit"]
    assert whole.steps == [*always, "match", "match again", "contexts", "report"]
    assert str(whole) == "8 steps"
    assert whole.update("corpus", 0, 1)
    assert str(whole) == "step 1 of 8, text, about 164 s left".replace("164 s", "3 min")
    clock.now += 20  # twice as slow as planned
    assert whole.update("encode small", 0, 10)
    assert whole.left == pytest.approx(2 * (164 - 10))
    clock.now += 20
    assert not whole.update("encode small", 5, 10)  # half of 20 s in 20 s
    assert whole.left == pytest.approx(2 * (164 - 20))
    assert whole.took == {"text": 20.0}
    assert str(whole).startswith("step 2 of 8, encode, about ")
    whole.update("report", 0, 1)
    whole.update("report", 1, 1)
    assert whole.left == 0.0
    assert str(whole) == "step 8 of 8, report, about 0 s left"
    clock.now += 3
    whole.close()
    assert whole.took == {"text": 20.0, "encode": 20.0, "report": 3.0}


def test_without_a_probe_there_are_steps_and_no_time():
    whole, _ = started({"compare": None, "spans": None})
    assert whole.steps[4:] == ["match", "further comparisons", "contexts", "report"]
    whole.update("compare", 1, 2)
    assert whole.left is None
    assert str(whole) == "step 5 of 8, match"
    assert not whole.update("wait for another run", 0, 1)


def test_a_stage_that_nobody_planned_adds_its_step():
    whole, _ = started({"compare": 5.0})
    assert whole.update("bootstrap", 0, 3)
    assert str(whole).startswith("step 6 of 8, intervals")


def test_a_run_never_goes_back_to_an_earlier_step():
    """Stores of a model are looked at again when the next one is fitted."""
    whole, clock = started(dict(PLANNED))
    assert whole.update("fit small", 0, 1)
    clock.now += 5
    assert not whole.update("encode large", 1, 1)
    assert not whole.update("fit large", 0, 1)
    assert str(whole).startswith("step 4 of 8, sample and fit")
    assert whole.update("compare", 0, 1)
    assert whole.took == {"sample and fit": 5.0}
