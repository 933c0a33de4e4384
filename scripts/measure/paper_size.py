"""Does one task of every kind at the paper's size, on made-up activations with planted matches: seconds and memory.

    python scripts/measure/paper_size.py                      # 1M tokens, 16,384 features, L0 100: 6 GiB, minutes
    python scripts/measure/paper_size.py --device cuda        # on a GPU
    python scripts/measure/paper_size.py --tokens 20000 --features 1024 --l0 20 --width 48 --planted 300    # seconds

Both sides have as many active features at every token as the suite `gemma2` is planned with. Some features of A are
planted in B: where one is active in A, it is active in B four times out of five, by a value that goes with A's, and its
decoder row follows from A's. The tasks are the functions of a study with the settings of `gemma2`, but for the draws:
`--draws` of every null, and one resample. If the task `observe` finds fewer than nine tenths of the planted pairs, the
script ends with exit code 1.

Memory is what a task holds at most beside the two sides, by the process (`RssAnon`), or by torch on a GPU; beside it
what `semconv plan` counts for it. Seconds are those of this many draws, one task after the other, as a thread does it.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import re
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from semconv.core.device import choose_device
from semconv.core.sparse import SparseActivations
from semconv.planning.cost_model import CostModel
from semconv.planning.planned import PlannedSide, PlannedTask
from semconv.planning.shapes import SaeShape
from semconv.study.controls import self_match
from semconv.study.observations import PairObservation
from semconv.study.observe_pair import observe_pair, rematch_chunk, resamples, strongest_scores, swapped_chunk
from semconv.study.settings import StudySettings, settings_of
from semconv.study.sides import Side
from semconv.suite.config import SuiteConfig, load_suite
from semconv.system.errors import SemconvError
from semconv.system.markdown import table
from semconv.system.provenance import code_commit, processor
from semconv.system.side_by_side import side_by_side
from semconv.text.token_blocks import TokenBlocks
from semconv.text.top_tokens import TopTokens

GIB = 2**30
WIDTHS = (2304, 3584)
_ROWS = 1 << 16  # tokens drawn at once
_LATENT = 512  # directions that the planted decoder rows share
_DOCUMENT = 1000  # tokens of one
_WORDS = 5000  # of the text


@dataclass(frozen=True)
class Size:
    """Of the two sides.

    Attributes:
        tokens: that count.
        features: of either dictionary.
        l0: active features a token.
        widths: columns of the decoder rows of A and of B.
        planted: features of A that are in B too.
    """

    tokens: int
    features: int
    l0: int
    widths: tuple[int, int]
    planted: int


def activations(size: Size, seed: int = 0) -> tuple[SparseActivations, SparseActivations]:
    """Returns the activations of both sides: `l0` features at every token, one of each stretch of the dictionary.

    The first features of every stretch are planted.
    """
    rng, n, k = np.random.default_rng(seed), size.tokens, size.l0
    stretch, planted = size.features // k, -(-size.planted // k)
    first = (np.arange(k) * stretch).astype(np.int32)
    indices, values = ([np.empty((n, k), dtype) for _ in range(2)] for dtype in (np.int32, np.float16))
    for begin in range(0, n, _ROWS):
        part = slice(begin, min(begin + _ROWS, n))
        shape = (part.stop - part.start, k)
        of_a = rng.integers(0, stretch, shape, dtype=np.int32)
        of_b = rng.integers(planted, stretch, shape, dtype=np.int32)
        strong = rng.gamma(2.0, 1.0, shape) + 0.01
        follows = (of_a < planted) & (rng.random(shape) < 0.8)
        indices[0][part], values[0][part] = first + of_a, strong
        indices[1][part] = first + np.where(follows, of_a, of_b)
        values[1][part] = np.where(follows, strong * (0.5 + rng.random(shape)), rng.gamma(2.0, 1.0, shape) + 0.01)
    indptr = torch.arange(0, n * k + 1, k)
    a, b = (
        SparseActivations(indptr, torch.from_numpy(i.ravel()), torch.from_numpy(v.ravel()), size.features)
        for i, v in zip(indices, values, strict=True)
    )
    return a, b


def decoders(size: Size, seed: int = 1) -> list[np.ndarray]:
    """Returns the decoder rows of both sides, float32: both follow from the same few directions, and noise."""
    rng = np.random.default_rng(seed)
    latent = rng.standard_normal((size.features, min(_LATENT, *size.widths)), dtype=np.float32)
    found: list[np.ndarray] = []
    for width in size.widths:
        rows = latent @ rng.standard_normal((latent.shape[1], width), dtype=np.float32)
        rows += rng.standard_normal(rows.shape, dtype=np.float32) * np.float32(latent.shape[1] ** 0.5)
        found.append(rows / np.linalg.norm(rows, axis=1, keepdims=True))
    return found


def sides_of(size: Size, suite: SuiteConfig, device: torch.device) -> tuple[Side, Side]:
    """Returns the two sides; features of one number have the same top tokens."""
    words = np.random.default_rng(2).integers(0, 500, (size.features, 5)).astype(np.int32)
    texts = tuple(f"t{i}" for i in range(500))
    tokens = TopTokens(words, np.zeros(size.features, dtype=bool), texts, suite.match.stop_tokens)
    a, b = (
        Side(name, 0, acts.to(device), name, rows, tokens)
        for name, acts, rows in zip("ab", activations(size), decoders(size), strict=True)
    )
    return a, b


def text_of(size: Size) -> TokenBlocks:
    """Returns a text of random tokens in documents of one length, all of whose positions count."""
    n = size.tokens
    ids = torch.from_numpy(np.random.default_rng(3).integers(0, _WORDS, n).astype(np.int32))
    document = (torch.arange(n) // _DOCUMENT).int()
    return TokenBlocks(ids[None], torch.ones(1, n, dtype=torch.bool), document[None])


class Peak:
    """The most memory that the process holds inside, above what it held before, in bytes."""

    def __init__(self, device: torch.device) -> None:
        self.bytes, self._device, self._end = 0, device, threading.Event()

    def __enter__(self) -> Peak:
        with suppress(OSError):
            ctypes.CDLL(None).malloc_trim(0)  # what earlier tasks freed
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self._device)
            self._before = torch.cuda.memory_allocated(self._device)
            return self
        self._before = self._held()
        self._looking = threading.Thread(target=self._look, daemon=True)
        self._looking.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._device.type == "cuda":
            self.bytes = torch.cuda.max_memory_allocated(self._device) - self._before
            return
        self._end.set()
        self._looking.join()

    def _look(self) -> None:
        while True:
            self.bytes = max(self.bytes, self._held() - self._before)
            if self._end.wait(0.005):
                return

    def _held(self) -> int:
        found = re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())
        return int(found[1]) * 1024 if found else 0


@dataclass(frozen=True)
class Done:
    """What a task took.

    Attributes:
        kind: of the task, as the plan calls it.
        seconds: by the clock.
        cpu_seconds: of the process.
        peak: bytes beside the sides at the most.
        planned: bytes that a plan counts for it.
        pairs: feature pairs that it found or scored.
    """

    kind: str
    seconds: float
    cpu_seconds: float
    peak: int
    planned: int
    pairs: int


class Tasks:
    """One task of every kind, each with the settings of the suite."""

    def __init__(self, size: Size, suite: SuiteConfig, device: torch.device, draws: int) -> None:
        self.device, self.draws, self.size, self.suite = device, draws, size, suite
        text = text_of(size)
        starts = np.arange(0, size.tokens, _DOCUMENT)
        self.settings: StudySettings = settings_of(suite, starts, text)
        self.a, self.b = sides_of(size, suite, device)
        self.pair: PairObservation | None = None

    def observe(self) -> int:
        self.pair = observe_pair(self.settings, self.a, self.b)
        return len(self.pair.a)

    def self(self) -> int:
        self_match(self.settings, self.a)
        return self.size.features

    def rematch(self) -> int:
        found = rematch_chunk(self.settings, self.a, self.b, range(self.draws), self.size.planted)
        return int(found.ends[1])

    def same_token(self) -> int:
        swaps = self.settings.swaps["same_token"]
        found = swapped_chunk(self.settings, swaps, self.a, self.b, range(self.draws), self.size.planted)
        return int(found.ends[1])

    def scores(self) -> int:
        if self.pair is None:
            self.observe()
        assert self.pair is not None
        ranked = self.pair.ranked_a, self.pair.ranked_b
        n = min(len(self.pair.a), len(ranked[0]))
        strongest_scores(self.settings, self.a, self.b, [ranked], n)
        return n

    def resample(self) -> int:
        return int(resamples(self.settings, self.a, self.b, range(1)).counts[0])


KINDS = ("observe", "self", "rematch", "same_token", "scores", "resample")


def planned(kind: str, tasks: Tasks) -> int:
    """Returns the bytes that a plan counts for a task of a kind on these sides."""
    size = tasks.size
    sides = tuple(
        PlannedSide(name, SaeShape(size.features, width, float(size.l0), 0, 0), size.tokens)
        for name, width in zip("ab", size.widths, strict=True)
    )
    of_task = PlannedTask("", kind, kind, sides[:1] if kind == "self" else sides, tasks.draws)  # pyright: ignore
    nothing: Any = None
    return CostModel(tasks.suite, nothing, size.planted, 0).working(of_task)


def done_by(kind: str, tasks: Tasks) -> Done:
    """Does a task as a thread of a study does it."""
    call: Callable[[], int] = getattr(tasks, kind)
    with Peak(tasks.device) as peak:
        began, cpu = time.perf_counter(), time.process_time()
        (pairs,) = side_by_side([call], tasks.device.type == "cpu")
        if tasks.device.type == "cuda":
            torch.cuda.synchronize()
        took, computed = time.perf_counter() - began, time.process_time() - cpu
    return Done(kind, took, computed, peak.bytes, planned(kind, tasks), pairs)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Does the tasks and returns what the JSON holds."""
    device = choose_device(options.device)
    suite = load_suite("gemma2")
    null = {"n_permutations": options.draws, "n_rematch": options.draws, "n_same_token": options.draws}
    suite = replace(suite, null=replace(suite.null, **null, draws=None, tail=None))
    widths = WIDTHS if options.width is None else (options.width, options.width + options.width // 2)
    size = Size(options.tokens, options.features, options.l0, widths, options.planted)
    tasks, found = Tasks(size, suite, device, options.draws), list[Done]()
    for kind in options.kinds:
        found.append(done_by(kind, tasks))
        print(f"paper_size: {kind}, {found[-1].seconds:.0f} s, {found[-1].peak / GIB:.2f} GiB", file=sys.stderr)
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else processor(),
        "torch": torch.__version__,
        "commit": code_commit(),
        "size": asdict(size),
        "draws": options.draws,
        "tasks": [asdict(one) for one in found],
    }


def told(found: dict[str, Any]) -> str:
    """Returns the figures as Markdown."""
    size = found["size"]
    widths = " and ".join(f"{width:,}" for width in size["widths"])
    head = (
        f"{size['tokens']:,} tokens, {size['features']:,} features of {widths} columns, L0 {size['l0']}, "
        f"{size['planted']:,} planted; {found['draws']} draws; {found['device']}."
    )
    rows = [
        [
            one["kind"],
            f"{one['pairs']:,}",
            f"{one['seconds']:.1f}",
            f"{one['cpu_seconds']:.1f}",
            f"{one['peak'] / GIB:.2f}",
            f"{one['planned'] / GIB:.2f}",
        ]
        for one in found["tasks"]
    ]
    heads = ["task", "pairs", "seconds", "CPU seconds", "memory beside its sides, GiB", "planned, GiB"]
    return "\n".join([head, "", table(heads, rows)])


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--tokens", type=int, default=1_000_000)
    parser.add_argument("--features", type=int, default=16_384, help="of either side")
    parser.add_argument("--l0", type=int, default=100, help="active features a token")
    parser.add_argument("--planted", type=int, default=4000, help="features of A that are in B too")
    parser.add_argument("--width", type=int, help="columns of A's decoder rows; B's are half as many more (2304, 3584)")
    parser.add_argument("--draws", type=int, default=2, help="of every null")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="of tasks, in this order")
    parser.add_argument("--device", default="cpu", help="auto, cpu or cuda")
    parser.add_argument("--out", type=Path, help="also write the JSON to this file")
    options = parser.parse_args(arguments)
    for name in ("tokens", "features", "l0", "planted", "draws"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1, got {getattr(options, name)}")
    if options.tokens < 2 * _DOCUMENT:
        parser.error(f"--tokens must be at least {2 * _DOCUMENT}, two documents, got {options.tokens}")
    if options.l0 > options.features // 4 or options.planted > options.features // 2:
        parser.error("--l0 must be at most a quarter, and --planted a half, of --features")
    return options


def main() -> int:
    options = parse()
    try:
        found = measure(options)
    except SemconvError as error:
        print(f"paper_size: {error}", file=sys.stderr)
        return 2
    print(told(found))
    if options.out:
        options.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    observed = [one["pairs"] for one in found["tasks"] if one["kind"] == "observe"]
    if observed and observed[0] < 0.9 * options.planted:
        print(f"paper_size: {observed[0]} pairs found of {options.planted} that were planted", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
