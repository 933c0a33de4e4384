"""How a command ends before it is done: by Ctrl-C, or the signal by which a cluster or a container stops a job."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType

LONG = 2.0
"""Seconds after which it is said what is waited for."""


def end_on_signals(tell: Callable[[str], None]) -> None:
    """Makes a first Ctrl-C (or SIGTERM) end the command, and a second one end it at once.

    After the first nothing new is begun, what is temporary is removed, and tasks that are running are waited for, since
    their threads cannot be stopped; a task may take hours. Exit codes are those of a shell, 128 and the number of the
    signal.

    Args:
        tell: says a sentence, from another thread.
    """

    def at_once(number: int, frame: FrameType | None) -> None:
        os._exit(128 + number)

    def first(number: int, frame: FrameType | None) -> None:
        for one in (signal.SIGINT, signal.SIGTERM):
            signal.signal(one, at_once)
        said = threading.Timer(
            LONG,
            tell,
            ["waits for the tasks that are running; a second Ctrl-C ends it at once (what is done stays)"],
        )
        said.daemon = True
        said.start()
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, first)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as in the background of a shell
        signal.signal(signal.SIGINT, first)
