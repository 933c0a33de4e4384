"""Runs commands of semconv, each in a fork of one process that has loaded torch and the other libraries.

A fork is what a new process would be, without the seconds of loading: it has its own folder, environment, output and
end. Only what libraries read from the environment while they are loaded is that of the process that is forked.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import resource
import runpy
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parents[2]
SECONDS = 300.0
_LOADED = (  # all but semconv.cli, whose consoles read the environment while they are made
    "semconv.pipeline.rebuild_archive",
    "semconv.pipeline.own_pair",
    "semconv.pipeline.reproduce",
    "semconv.report",
    "semconv.report.figures",
    "semconv.runs.run",
    "matplotlib.backends.backend_agg",
    "pyarrow.parquet",
    "rich.progress",
    "rich.table",
    "scipy.linalg",
    "scipy.stats",
    "transformers",
    "transformers.models.gemma2.modeling_gemma2",
    "typer",
)
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: its exit code; minus the number of the signal that ended it; None if it was killed.
        out: what it wrote to stdout.
        err: what it wrote to stderr.
        seconds: that it took.
    """

    code: int | None
    out: str
    err: str
    seconds: float


class Forks:
    """A process that forks one child for each command."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(
        self,
        arguments: Sequence[str | Path],
        folder: Path,
        *,
        env: Mapping[str, str] | None = None,
        mib: int | None = None,
        seconds: float = SECONDS,
        until: str = "",
    ) -> Ended:
        """Runs `semconv ARGUMENTS`, `python FILE.py ARGUMENTS` or `python -c CODE ARGUMENTS`.

        Args:
            arguments: of the command line.
            folder: to run in.
            env: the whole environment; that of the process that is forked by default.
            mib: of memory that it may take beyond what loading the libraries took.
            seconds: until it is killed.
            until: pattern below `folder`; the command is killed as soon as a file matches it.
        """
        return self.together(arguments, folder, [env], mib=mib, seconds=seconds, until=until)[0]

    def together(
        self,
        arguments: Sequence[str | Path],
        folder: Path,
        envs: Sequence[Mapping[str, str] | None],
        *,
        mib: int | None = None,
        seconds: float = SECONDS,
        until: str = "",
    ) -> list[Ended]:
        """Runs one command as several processes at once, each with an environment of its own."""
        asked, answered = self._process.stdin, self._process.stdout
        assert asked is not None
        assert answered is not None
        order = {
            "arguments": [*map(str, arguments)],
            "folder": str(folder),
            "envs": [None if env is None else dict(env) for env in envs],
            "mib": mib,
            "seconds": seconds,
            "until": until,
        }
        asked.write(json.dumps(order) + "\n")
        asked.flush()
        return [Ended(**one) for one in json.loads(answered.readline())]

    def close(self) -> None:
        """Ends the process."""
        with self._process:  # closes the pipes, at which it ends, and waits
            pass


def start(env: Mapping[str, str], *, light: bool = False) -> Forks:
    """Starts the process that is forked, with an environment; a light one loads torch alone."""
    command = [sys.executable, "-m", "tests._helpers.forks", *(["light"] if light else [])]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return Forks(subprocess.Popen(command, **pipes, env=dict(env), cwd=ROOT))


@cache
def usual_forks() -> Forks:
    """The process that this one has commands run in forks of; it ends with this one."""
    one = start(usual_environment())
    atexit.register(one.close)
    return one


def usual_environment() -> dict[str, str]:
    """The environment of this process, with wide lines, without colours, without a network and with one thread."""
    more = {"HF_HUB_OFFLINE": "1", "COLUMNS": "200", "NO_COLOR": "1"}
    return {**os.environ, **more, **dict.fromkeys(_THREADS, "1")}


@contextmanager
def forks(env: Mapping[str, str], *, light: bool = False) -> Generator[Forks]:
    """Another such process, with some more variables, for as long as the block lasts."""
    one = start({**usual_environment(), **env}, light=light)
    try:
        yield one
    finally:
        one.close()


def _load() -> None:
    from semconv.models.libraries import import_sae_lens

    import_sae_lens()
    for name in _LOADED:
        __import__(name)
    from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory

    get_pretrained_saes_directory()  # which sae-lens keeps
    gc.collect()
    gc.freeze()  # a child looks for garbage among what it made itself


def _serve(orders: IO[str], answers: IO[str]) -> None:
    for line in orders:
        answers.write(json.dumps([asdict(one) for one in _run(**json.loads(line))]) + "\n")
        answers.flush()


def _run(
    arguments: list[str], folder: str, envs: list[dict[str, str] | None], mib: int | None, seconds: float, until: str
) -> list[Ended]:
    began, begun, ended = time.monotonic(), list[tuple[int, int, int]](), list[Ended]()
    for env in envs:
        out, err = (os.memfd_create(name) for name in ("out", "err"))
        child = os.fork()
        if child == 0:
            os._exit(_command(arguments, folder, env, mib, out, err))
        os.setpgid(child, child)  # here, so that it leads a group before anyone can ask to kill it
        begun.append((child, out, err))
    for child, out, err in begun:
        code = _wait(child, began + seconds, Path(folder), until)
        ended.append(Ended(code, _text(out), _text(err), time.monotonic() - began))
    return ended


def _wait(child: int, end: float, folder: Path, until: str) -> int | None:
    """Waits for a child until it ends, its time is up or a file appears; returns its exit code, None if it was killed.

    The file is looked for every hundredth of a second.
    """
    ended = select.poll()
    watched = os.pidfd_open(child)
    ended.register(watched)
    while True:
        left = end - time.monotonic()
        found = ended.poll(max(1000 * (min(left, 0.01) if until else left), 0))
        stopped = not found and (left <= 0 or (until and any(folder.glob(until))))
        if stopped:
            os.killpg(child, signal.SIGKILL)
        if found or stopped:
            os.close(watched)
            _, status = os.waitpid(child, 0)
            return None if stopped else os.waitstatus_to_exitcode(status)


def _text(descriptor: int) -> str:
    with open(descriptor, "rb") as file:
        file.seek(0)
        return file.read().decode(errors="replace")


def _command(arguments: list[str], folder: str, env: dict[str, str] | None, mib: int | None, out: int, err: int) -> int:
    """What the child does; returns its exit code."""
    os.chdir(folder)
    if env is not None:
        os.environ.clear()
        os.environ.update(env)
    for target, descriptor in ((0, os.open(os.devnull, os.O_RDONLY)), (1, out), (2, err)):
        os.dup2(descriptor, target)
    usual = {1: sys.stdout, 2: sys.stderr}
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout, sys.stderr = (
        os.fdopen(n, "w", encoding=one.encoding, errors=one.errors, closefd=False) for n, one in usual.items()
    )
    if mib is not None:
        most = _data_bytes() + mib * 2**20
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    code: Any = 0
    try:
        _python(arguments)
    except SystemExit as left:
        code = left.code
        if code is not None and not isinstance(code, int):
            sys.stderr.write(f"{code}\n")  # as Python itself does
    except BaseException:  # noqa: BLE001 - as Python itself does with what nobody caught
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code if isinstance(code, int) else int(code is not None)


def _python(arguments: list[str]) -> None:
    if arguments[0] == "-c":
        sys.argv = ["-c", *arguments[2:]]
        exec(compile(arguments[1], "<string>", "exec"), {"__name__": "__main__"})
    elif arguments[0].endswith(".py"):
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")
    else:
        from semconv.cli import main

        sys.argv = ["semconv", *arguments]
        main()


def _data_bytes() -> int:
    """Bytes that count for RLIMIT_DATA, so far."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    if sys.argv[1:] == ["light"]:
        import torch  # noqa: F401
    else:
        _load()
    _serve(sys.stdin, sys.stdout)
