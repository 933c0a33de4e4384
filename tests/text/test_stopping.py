"""Ending a run from outside: nothing goes on without it, and nothing temporary stays."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CORPUS = """
import os, signal, time
signal.signal(signal.SIGTERM, lambda *_: exit(1))  # as the command line does
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell ignores it otherwise
from semconv.text import corpus

def slow(name, exclude):
    os.write(1, b"at work\\n")
    time.sleep(600)

corpus._docstrings_of_package = slow
corpus.check_packages = lambda packages: None
corpus.docstring_documents({"a": "1", "b": "1", "c": "1"})
"""


def children_of(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def until(condition: object, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=lambda s: s.name)
def test_workers_of_the_corpus_end_with_their_parent(number: signal.Signals):
    process = subprocess.Popen(
        [sys.executable, "-c", CORPUS],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == [b"at work\n"] * 2
    workers = children_of(process.pid)
    assert len(workers) >= 2
    process.send_signal(number)
    process.wait(timeout=60)
    until(lambda: not any(map(alive, workers)))
