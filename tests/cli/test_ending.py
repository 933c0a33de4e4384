"""Ending a command from outside while a task is running that cannot be stopped."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

COMMAND = """
import os, sys, time
from semconv.cli import ending
from semconv.system.side_by_side import side_by_side

ending.LONG = 0.05
ending.end_on_signals(lambda sentence: print(sentence, file=sys.stderr, flush=True))

def task():
    os.write(1, b"at work\\n")
    for _ in range(int(sys.argv[1])):
        time.sleep(0.1)
    os.write(1, b"done\\n")

side_by_side([task, task, task], on_cpu=True)
"""


def started(tenths: int) -> subprocess.Popen[bytes]:
    """A command of two threads at work, whose tasks take so many tenths of a second."""
    process = subprocess.Popen(
        [sys.executable, "-c", f"import torch; torch.set_num_threads(2)\n{COMMAND}", str(tenths)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == [b"at work\n"] * 2
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda s: s.name)
def test_a_second_signal_ends_at_once_what_the_first_waits_for(number: signal.Signals):
    process = started(36_000)
    assert process.stderr is not None
    process.send_signal(number)
    assert b"waits for the tasks that are running; a second Ctrl-C ends it at once" in process.stderr.readline()
    assert process.poll() is None
    process.send_signal(number)
    assert process.wait(timeout=60) == 128 + number


def test_the_first_signal_lets_running_tasks_end_and_begins_no_other():
    process = started(10)
    process.send_signal(signal.SIGTERM)
    told, _ = process.communicate(timeout=60)
    assert told == b"done\n" * 2
    assert process.returncode == 128 + signal.SIGTERM
