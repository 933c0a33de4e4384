"""Runs commands of semconv one after another, each in a fork of one process that has loaded everything, under limits.

A fork is what a new process would be, without the seconds of loading torch, and its end is seen from outside: an exit
code, a signal, or that it had to be stopped.
"""

from __future__ import annotations

import json
import os
import resource
import runpy
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

MIB = 1024
"""MiB that a command may take beyond what loading semconv took."""
SECONDS = 60.0
_LOADED = (
    "semconv.cli",
    "semconv.runs.run",
    "semconv.pipeline.archive",
    "transformers",
    "sae_lens",
    "pyarrow.parquet",
    "scipy.linalg",
)


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: its exit code; minus the number of the signal that ended it; None if it was stopped after its time.
        out: what it wrote to stdout.
        err: what it wrote to stderr.
        seconds: that it took.
    """

    code: int | None
    out: str
    err: str
    seconds: float


class Sandbox:
    """A process that forks one child for each command."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, arguments: Sequence[str | Path], folder: Path, mib: int = MIB, seconds: float = SECONDS) -> Ended:
        """Runs `semconv ARGUMENTS`, or a Python file where the first argument ends in `.py`.

        Args:
            arguments: of the command line.
            folder: to run in.
            mib: of memory that it may take.
            seconds: until it is stopped.
        """
        asked, answered = self._process.stdin, self._process.stdout
        assert asked is not None
        assert answered is not None
        order = {"arguments": [*map(str, arguments)], "folder": str(folder), "mib": mib, "seconds": seconds}
        asked.write(json.dumps(order) + "\n")
        asked.flush()
        return Ended(**json.loads(answered.readline()))


@contextmanager
def sandbox() -> Generator[Sandbox]:
    """Starts the process, and ends it."""
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "COLUMNS": "200", "NO_COLOR": "1"}
    env |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")  # no thread to lose
    with subprocess.Popen(
        [sys.executable, "-m", "tests.hostile.sandbox"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=env,
        cwd=Path(__file__).parents[2],
    ) as process:
        yield Sandbox(process)
        assert process.stdin is not None
        process.stdin.close()


def _serve(orders: IO[str], answers: IO[str]) -> None:
    for name in _LOADED:
        __import__(name)
    for line in orders:
        answers.write(json.dumps(asdict(_run(**json.loads(line)))) + "\n")
        answers.flush()


def _run(arguments: list[str], folder: str, mib: int, seconds: float) -> Ended:
    out, err = (os.memfd_create(name) for name in ("out", "err"))
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        os._exit(_command(arguments, folder, mib, out, err))
    os.setpgid(child, child)  # here, so that it leads a group before anyone can ask to kill it
    code = _wait(child, began + seconds)
    texts = [_text(descriptor) for descriptor in (out, err)]
    return Ended(code, *texts, seconds=time.monotonic() - began)


def _wait(child: int, end: float) -> int | None:
    pause = 0.001
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
        time.sleep(pause)
        pause = min(2 * pause, 0.02)


def _text(descriptor: int) -> str:
    with open(descriptor, "rb") as file:
        file.seek(0)
        return file.read().decode(errors="replace")


def _command(arguments: list[str], folder: str, mib: int, out: int, err: int) -> int:
    """What the child does; returns its exit code."""
    from semconv.cli import main

    os.chdir(folder)
    for target, descriptor in ((0, os.open(os.devnull, os.O_RDONLY)), (1, out), (2, err)):
        os.dup2(descriptor, target)
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout, sys.stderr = (os.fdopen(n, "w", encoding="utf-8", closefd=False) for n in (1, 2))
    most = _data_bytes() + mib * 2**20
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    code: Any = 0
    try:
        if arguments[0].endswith(".py"):
            runpy.run_path(arguments[0])
        else:
            sys.argv = ["semconv", *arguments]
            main()
    except SystemExit as left:
        code = left.code
    except BaseException:  # noqa: BLE001 - as Python itself does with what nobody caught
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code if isinstance(code, int) else int(code is not None)


def _data_bytes() -> int:
    """Bytes that count for RLIMIT_DATA, so far."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    _serve(sys.stdin, sys.stdout)
