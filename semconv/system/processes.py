"""Several processes started by torchrun: the rank of this one, its share of the work, and gathering small results.

Only checksums, indices and correlations of best partners cross between processes, as CPU objects, so gloo carries them
whatever the device; activations and sums never do, which is why the bits do not depend on the number of processes.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch

TIMEOUT = timedelta(hours=12)
"""How long a process waits for the slowest; torchrun ends all of them as soon as one fails."""


def share(n: int, index: int, count: int) -> range:
    """Returns share `index` of `count` shares of n things, consecutive, of nearly equal size."""
    return range(n * index // count, n * (index + 1) // count)


@dataclass(frozen=True)
class Ranks:
    """This process among those of a run.

    Attributes:
        rank: its number.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that prints and writes for all."""
        return self.rank == 0

    def part(self, n: int) -> range:
        """Returns this process's share of n things (`share`)."""
        return share(n, self.rank, self.size)

    def wait(self) -> None:
        """Waits until all processes have called it."""
        if self.size > 1:
            torch.distributed.barrier()

    def gathered(self, value: Any) -> list[Any]:
        """Returns the values of all processes on the first, an empty list on the others."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size if self.first else []
        torch.distributed.gather_object(value, values if self.first else None, dst=0)
        return values


def launched() -> int:
    """Returns how many processes torchrun started, 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def ranks() -> Generator[Ranks]:
    """Joins the processes that torchrun started; without it, this process is the only one."""
    if launched() == 1:
        yield Ranks()
        return
    torch.distributed.init_process_group("gloo", timeout=TIMEOUT)
    try:
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
        yield Ranks(torch.distributed.get_rank(), torch.distributed.get_world_size())
    finally:
        torch.distributed.destroy_process_group()
