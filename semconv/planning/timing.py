"""Times calls as a study will make them, and fits how their time grows."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence

import torch

from semconv.planning.rates import Line, Power
from semconv.system.side_by_side import side_by_side

_LEAST = 0.05  # seconds that are timed at least
_ENOUGH = 1.0  # seconds of one call, beyond which no larger size is tried
_MOST = 4.0  # seconds of one call, beyond which one size must do
_LONG = 0.25  # seconds of one call, beyond which it is not repeated if its like has run before
_MADE = 1.0  # seconds to make the calls of one size, beyond which no larger size is tried: it takes eight times as long
_SMALLEST = 1 / 8  # scale that is tried first


class Probe:
    """Times calls as they will run: as many at once as the study does tasks, each on one thread.

    Args:
        device: that correlates.
        threads: tasks at once; None for torch's number of threads, and one where a GPU correlates.
    """

    def __init__(self, device: torch.device, threads: int | None = None) -> None:
        self.device = device
        self.on_cpu = device.type == "cpu"
        self.threads = (threads or torch.get_num_threads()) if self.on_cpu else 1

    def seconds(
        self, call: Callable[[], object], at_once: bool = True, wall: bool = False, warm: bool = False
    ) -> float:
        """Returns how long a call takes, repeated until it can be timed; its first run does not count.

        On the CPU that is the time that its threads compute, so that what else the machine does at the moment does not
        count; a GPU is waited for.

        Args:
            call: what is timed.
            at_once: whether every thread does it at the same time; else it has all threads to itself.
            wall: count waiting too, for what waits for a disk.
            warm: whether the same was done on smaller sizes before, so that nothing is loaded at its first run, which
                then counts if it is long.
        """
        first = self._took(call, 1, at_once, wall)
        if warm and first >= _LONG:
            return first
        repeats = 1
        while True:
            took = self._took(call, repeats, at_once, wall)
            if took >= _LEAST:
                return took / repeats
            repeats = max(2 * repeats, math.ceil(repeats * 1.2 * _LEAST / max(took, 1e-6)))

    def _took(self, call: Callable[[], object], repeats: int, at_once: bool, wall: bool) -> float:
        def repeated() -> float:
            began = time.thread_time()
            for _ in range(repeats):
                call()
            return time.thread_time() - began

        if at_once and self.on_cpu:
            return max(side_by_side([repeated] * self.threads, self.on_cpu))
        computed, began = time.process_time(), time.perf_counter()
        repeated()
        if not self.on_cpu:
            torch.cuda.synchronize(self.device)
        if wall or not self.on_cpu:
            return time.perf_counter() - began
        return (time.process_time() - computed) / self.threads

    def power(self, at: Callable[[float], Callable[[], object]]) -> Power:
        """Fits seconds = c scale^p to the two largest scales up to 1 that are quick enough.

        Args:
            at: gives for a scale the call that is timed.
        """
        return self.powers(lambda scale, names: dict.fromkeys(names, at(scale)), ["one"])["one"]

    def powers(
        self, at: Callable[[float, Sequence[str]], Mapping[str, Callable[[], object]]], names: Sequence[str]
    ) -> dict[str, Power]:
        """Fits the same for several calls, which are made together since they share what they work on.

        Args:
            at: gives for a scale and some of the names the calls that are timed.
            names: of the calls.
        """
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
        scale, left = _SMALLEST, list(names)
        while left:
            began = time.process_time()
            calls = at(scale, left)
            made = time.process_time() - began
            for name in left:
                found[name].append((scale, self.seconds(calls[name], warm=scale > _SMALLEST)))
            if scale >= 1 or made > _MADE * self.threads:
                break
            left = [name for name in left if not _is_enough([took for _, took in found[name]])]
            scale = min(1.0, 2 * scale)
        return {name: power_through(points[-2:]) for name, points in found.items()}


def _is_enough(took: Sequence[float]) -> bool:
    """Whether no larger size is tried of a call that took so many seconds at each size."""
    return took[-1] > _MOST or (took[-1] > _ENOUGH and len(took) > 1)


def power_through(found: Sequence[tuple[float, float]]) -> Power:
    """Returns the power through one or two points (scale, seconds); of one alone, the cube.

    The exponent is kept between 0 and 3, which nothing here exceeds but by noise.
    """
    (scale, took), first = found[-1], found[0]
    exponent = 3.0 if len(found) == 1 else math.log(took / first[1]) / math.log(scale / first[0])
    exponent = min(max(exponent, 0.0), 3.0)
    return Power(took * scale**-exponent, exponent)


def line_through(found: Sequence[tuple[int, float]]) -> Line:
    """Returns the line through two points (tokens, seconds), neither part of it negative."""
    (few, quick), (many, slow) = found
    slope = min(max((slow - quick) / (many - few), 0.0), slow / many)
    return Line(slow - slope * many, slope)
