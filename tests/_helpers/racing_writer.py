"""Calls ops while another thread writes to their inputs; test_ops.py runs it as a process, which may die of it.

Prints, for every op, how its calls ended: in a result, in a refusal at the check, or in one because the input changed.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import torch

from semconv import InputError
from semconv.core import ops
from semconv.core.ops import NO_SCALE, FeatureSum
from tests.conftest import random_activations

LEAST_SECONDS = 0.3
SECONDS_TO_NOTICE = 5.0  # an op that can notice a change is called until it has, or the time is up
MOST_SECONDS = 100.0  # and until it has refused anything; a busy machine leaves a writer no turn for a while
Call = Callable[[], Sequence[torch.Tensor]]


def spoil_and_restore(tensors: Sequence[torch.Tensor], pause: float, stop: threading.Event) -> None:
    """Writes to one tensor after the other what is out of range or in another order, and then what was there."""
    choose = random.Random(0)
    honest = [tensor.numpy().copy() for tensor in tensors]
    while not stop.is_set():
        array, was = choose.choice(list(zip((tensor.numpy() for tensor in tensors), honest, strict=True)))
        bits = array.view(f"i{array.itemsize}")
        bits[...] = choose.choice([np.iinfo(bits.dtype).max, -1, was.view(bits.dtype)[::-1]])
        time.sleep(choose.random() * pause / 4)
        array[...] = was
        time.sleep(choose.random() * pause * 2)  # for a call to get past its checks


def race(call: Call, tensors: Sequence[torch.Tensor], can_notice: bool) -> Counter[str]:
    """Returns how often the calls ended in which way; the first and the last are left alone and give the same bits."""
    expected = call()
    began = time.monotonic()  # the first call warmed up
    call()
    stop, ends = threading.Event(), Counter[str]()
    writer = threading.Thread(target=spoil_and_restore, args=(tensors, time.monotonic() - began, stop))
    writer.start()
    try:
        while (spent := time.monotonic() - began) < LEAST_SECONDS or (
            can_notice and not ends["changed"] and spent < (SECONDS_TO_NOTICE if ends["refused"] else MOST_SECONDS)
        ):
            try:
                call()
                ends["result"] += 1
            except InputError as error:
                if "\n" in str(error):
                    raise
                ends["changed" if "changed while they were being read" in str(error) else "refused"] += 1
    finally:
        stop.set()
        writer.join()
    for before, after in zip(expected, call(), strict=True):
        np.testing.assert_array_equal(before.numpy(), after.numpy())
    return +ends


def races() -> dict[str, Counter[str]]:
    """Returns the ends of every op's calls."""
    a, b = random_activations(0, 3000, 200, 0.2), random_activations(1, 3000, 300, 0.2)
    left, right = (a.indptr, a.indices, a.values), (b.indptr, b.indices, b.values)
    state = [torch.zeros(200, 300, dtype=torch.int64), *(torch.zeros(len(FeatureSum), n).long() for n in (200, 300))]
    for sums in state[1:]:
        sums[FeatureSum.SCALE_EXPONENT] = NO_SCALE

    def stream() -> list[torch.Tensor]:
        mine = [part.clone() for part in state]
        try:
            ops.cross_moments_(mine[0], mine[1], mine[2], left, right, 2)
        except InputError:
            assert all(torch.equal(part, before) for part, before in zip(mine, state, strict=True))
            raise
        return mine

    x, y = a.to_dense(), torch.rand(200, 200, dtype=torch.float64)
    permutations = torch.stack([torch.randperm(200) for _ in range(50)]).int()
    moved = torch.randperm(3000).int()[None]
    ops.cross_moments_(*(sums := [part.clone() for part in state])[:3], left, right, 2)
    return {
        "best_matches": race(lambda: ops.best_matches(left, 200, right, 300, 2), [*left, *right], True),
        "best_matches_permuted": race(
            lambda: ops.best_matches_permuted(left, 200, right, 300, moved, 2), [*left, *right, moved], True
        ),
        "cross_moments_": race(stream, [*left, *right], True),
        "compact_rows": race(lambda: ops.compact_rows(x, torch.float16), [x], False),
        "permuted_dot": race(lambda: [ops.permuted_dot(y, y, permutations)], [y, permutations], False),
        "best_from_moments": race(lambda: ops.best_from_moments(sums[0], sums[1], sums[2], 3000, 2), sums, False),
    }


if __name__ == "__main__":
    torch.set_num_threads(2)
    sys.stdout.write(json.dumps(races()))
