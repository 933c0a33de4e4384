"""Runs the command line as one process of torchrun; process 1 is killed once it has written its first shard."""

from __future__ import annotations

import os
import signal

from semconv import StoreWriter
from semconv.cli import main

if os.environ["RANK"] == "1":
    flush = StoreWriter._flush

    def flush_and_die(self: StoreWriter) -> None:
        flush(self)
        os.kill(os.getpid(), signal.SIGKILL)

    StoreWriter._flush = flush_and_die

main()
