"""How far a whole run is: the steps that its stages belong to, and the time that is left over all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from semconv.planning.room import in_words

_STAGES = {
    "text": ("corpus", "read text", "tokenize", "hash text"),
    "encode": ("hash", "encode"),
    "read stores": ("load stores", "sinks", "activity"),
    "sample and fit": (),
    "match": ("compare", "floors", "beside floors"),
    "match again": ("rematch", "rematch scores"),
    "intervals": ("bootstrap", "pair halves", "seeds"),
    "further comparisons": (
        "subspaces",
        "spans",
        "streams",
        "decoders",
        "logit lens",
        "function",
        "published",
    ),
    "contexts": ("contexts",),
    "report": ("report",),
}
"""Step -> the stages of it, as progress and plan call them."""
_BEGINNINGS = {
    "hash ": "encode",
    "download ": "encode",
    "load ": "encode",
    "SAEs of ": "encode",
    "encode ": "encode",
    "fit ": "sample and fit",
    "streams ": "sample and fit",
}
"""How stages of one model begin -> their step."""
_ALWAYS = ("corpus", "encode", "load stores", "fit ", "contexts", "report")
"""A stage of every step that no run is without."""
_FROM_CACHE = 0.1  # of its planned time: a step that took less was done before, and says nothing of the speed


def step_of(stage: str) -> str | None:
    """Returns the step that a stage belongs to; None of one that belongs to none, as waiting does."""
    named = next((step for step, stages in _STAGES.items() if stage in stages), None)
    return named or next((step for begin, step in _BEGINNINGS.items() if stage.startswith(begin)), None)


@dataclass
class WholeRun:
    """The steps of a run, which of them it is at, and how long it will take.

    What is left is what the plan says, times how much slower this run has been than planned.

    Attributes:
        planned: stage -> seconds by the plan, None where nothing was measured on this machine.
        clock: gives seconds.
    """

    planned: dict[str, float | None]
    clock: Callable[[], float] = time.monotonic
    took: dict[str, float] = field(default_factory=dict[str, float])
    """Finished step -> seconds that it took."""
    _seconds: dict[str, float] = field(init=False)
    _known: bool = field(init=False)
    _at: str | None = None
    _since: float = 0.0
    _shares: dict[str, float] = field(default_factory=dict[str, float])

    @classmethod
    def of(cls, stages: Iterable[tuple[str, float | None]]) -> WholeRun:
        """Returns that of planned stages, each with its seconds; what every run does is always among them."""
        return cls(dict.fromkeys(_ALWAYS) | dict(stages))

    def __post_init__(self) -> None:
        known = {stage: seconds for stage, seconds in self.planned.items() if seconds is not None}
        self._known, self._seconds = bool(known), {}
        for stage, seconds in self.planned.items():
            step = step_of(stage)
            if step is not None:
                self._seconds[step] = self._seconds.get(step, 0.0) + (seconds or 0.0)
        self._seconds = {step: self._seconds[step] for step in _STAGES if step in self._seconds}

    @property
    def steps(self) -> list[str]:
        """The steps in their order."""
        return list(self._seconds)

    def update(self, stage: str, done: int, total: int) -> bool:
        """Takes what a progress callback is told; returns whether another step has begun.

        A stage of an earlier step, whose files are looked at again, is part of the step that the run is at.
        """
        step, now = step_of(stage), self.clock()
        if step is None:
            return False
        if step not in self._seconds:  # nobody planned it
            self._seconds = {name: self._seconds.get(name, 0.0) for name in _STAGES if name in {*self._seconds, step}}
        self._shares[stage] = done / total if total else 0.0
        if self._at is not None and self.steps.index(step) <= self.steps.index(self._at):
            return False
        self.close(now)
        self._at, self._since = step, now
        return True

    def close(self, now: float | None = None) -> None:
        """Ends the step that the run is at."""
        if self._at is not None:
            self.took[self._at] = self.took.get(self._at, 0.0) + (self.clock() if now is None else now) - self._since
            self._at = None

    @property
    def left(self) -> float | None:
        """Seconds that are left over all steps; None where the plan knows no seconds."""
        if not self._known:
            return None
        before = self.steps[: self.steps.index(self._at)] if self._at is not None else [*self.took]
        spent = {step: (self._seconds[step], self.took.get(step, 0.0)) for step in before}
        if self._at is not None:
            spent[self._at] = self._planned_part(), self.clock() - self._since + self.took.get(self._at, 0.0)
        done = sum(planned for planned, _ in spent.values())
        measured = [(planned, took) for planned, took in spent.values() if took >= _FROM_CACHE * planned > 0]
        slower = sum(took for _, took in measured) / sum(planned for planned, _ in measured) if measured else 1.0
        return max(0.0, sum(self._seconds.values()) - done) * slower

    def _planned_part(self) -> float:
        """Returns the planned seconds of what is done of the step that the run is at."""
        stages = {stage: seconds or 0.0 for stage, seconds in self.planned.items() if step_of(stage) == self._at}
        return sum(seconds * self._shares.get(stage, 0.0) for stage, seconds in stages.items())

    def __str__(self) -> str:
        """Which step of how many, and the time left."""
        if self._at is None:
            return f"{len(self.steps)} steps"
        left = self.left
        told = "" if left is None else f", about {in_words(left)} left"
        return f"step {self.steps.index(self._at) + 1} of {len(self.steps)}, {self._at}{told}"
