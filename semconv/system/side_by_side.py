"""Runs tasks at once, each on one thread, so that nothing in their results depends on how many threads there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Value = TypeVar("Value")


def side_by_side(tasks: Sequence[Callable[[], Value]], on_cpu: bool) -> list[Value]:
    """Runs tasks and returns their values in order; on the CPU as many at once as there are threads, one thread each.

    Several threads round sums in another order than one, so with one each a task gives the same bits for any number of
    threads; and its matrices are too small for several, whose barriers cost more than they save. NumPy's BLAS has its
    own number of threads, which torch's setting does not change. Where the GPU correlates, tasks come one after the
    other: semconv's measures run there too, and what is left on the CPU takes all threads.
    """
    if not on_cpu:
        return [task() for task in tasks]
    from threadpoolctl import threadpool_limits

    n_threads = torch.get_num_threads()
    try:
        with (
            threadpool_limits(1, user_api="blas"),
            ThreadPoolExecutor(n_threads, initializer=torch.set_num_threads, initargs=(1,)) as pool,
        ):
            futures = [pool.submit(task) for task in tasks]
            try:
                return [future.result() for future in futures]
            except BaseException:  # the first failure, or Ctrl-C: what has not begun is not begun
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    finally:
        torch.set_num_threads(n_threads)  # some of what the workers set is not theirs alone
