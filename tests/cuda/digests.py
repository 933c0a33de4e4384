"""SHA-256 of what every op gives on inputs that are the same everywhere: made on the CPU, checked on any device.

python -m tests.cuda.digests --write           # on the CPU
python -m tests.cuda.digests --device cuda     # prints what differs; exit code 1 if anything does
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import semconv  # noqa: F401 - registers the ops
from semconv.core.ops import NO_SCALE, FeatureSum

PATH = Path(__file__).with_name("digests.json")
ops = torch.ops.semconv


def activations(seed: int, n_tokens: int, n_features: int, density: float, dtype: torch.dtype, device: str):
    """CSR with feature scales over many powers of two, from a counter-based generator."""
    rng = np.random.Generator(np.random.Philox(key=np.array([seed, 7], dtype=np.uint64)))
    scale = np.exp2(rng.integers(-8, 8, n_features))
    rows = [range(start, min(start + 512, n_tokens)) for start in range(0, n_tokens, 512)]  # the draws of all at once
    drawn = [rng.integers(0, 2**12, (len(part), n_features)).astype(np.uint16) for part in rows]
    places = [np.nonzero(rng.random(part.shape) < density) for part in drawn]
    token = np.concatenate([part.start + place[0] for part, place in zip(rows, places, strict=True)])
    feature = np.concatenate([place[1] for place in places])
    value = (1 + np.concatenate([part[place] for part, place in zip(drawn, places, strict=True)])) / 2**12
    indptr = np.concatenate([[0], np.cumsum(np.bincount(token, minlength=n_tokens))])
    active = value * scale[feature]
    parts = (torch.from_numpy(indptr), torch.from_numpy(feature.astype(np.int32)), torch.from_numpy(active))
    return tuple(t.to(device) for t in (parts[0], parts[1], parts[2].to(dtype)))


def cases(device: str) -> Iterator[tuple[str, Callable[[], tuple[Tensor, ...]]]]:
    """Yields names and calls."""
    for n_tokens, f_a, f_b, density, dtype, k in (
        (1, 1, 1, 1.0, torch.float32, 1),
        (300, 40, 70, 0.2, torch.float16, 3),
        (2000, 513, 300, 0.05, torch.float32, 10),
        (9000, 64, 40_000, 0.002, torch.float16, 2),
        (70_000, 12, 9, 0.9, torch.float16, 1),
    ):
        a, b = (
            activations(1, n_tokens, f_a, density, dtype, device),
            activations(2, n_tokens, f_b, density, dtype, device),
        )
        name = f"{n_tokens} tokens, {f_a} x {f_b}, {str(dtype).removeprefix('torch.')}"
        yield (
            f"best_matches, {name}, k {k}",
            lambda a=a, b=b, f=(f_a, f_b), k=k: ops.best_matches(*a, f[0], *b, f[1], k),
        )
        shifts = [0, n_tokens // 3]
        yield (
            f"best_matches_shifted, {name}",
            lambda a=a, b=b, f=(f_a, f_b), s=shifts: ops.best_matches_shifted(*a, f[0], *b, f[1], s, 1),
        )
        draws = torch.from_numpy(
            np.stack([np.arange(n_tokens)[::-1], np.roll(np.arange(n_tokens), 1)]).astype(np.int32)
        )
        yield (
            f"best_matches_permuted, {name}",
            lambda a=a, b=b, f=(f_a, f_b), p=draws: ops.best_matches_permuted(*a, f[0], *b, f[1], p.to(device), 1),
        )
        if f_a * f_b <= 200_000:
            yield f"stream, {name}", lambda a=a, b=b, f=(f_a, f_b), n=n_tokens: _stream(a, b, f, n, device)
    rng = np.random.Generator(np.random.Philox(key=np.array([3, 7], dtype=np.uint64)))
    dense = torch.from_numpy(np.where(rng.random((100, 700)) < 0.1, rng.integers(0, 2**14, (100, 700)) / 64, 0)).float()
    threshold = torch.full((700,), 3.0)
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        x = dense.to(device, dtype)
        for stored in (torch.float16, torch.float32):
            name = f"compact_rows, {dtype} as {stored}".replace("torch.", "")
            yield name, lambda x=x, s=stored: ops.compact_rows(x, s)
            yield f"{name}, threshold", lambda x=x, s=stored: ops.compact_rows(x, s, threshold.to(device))
    n = 150
    # Divided here: a device's division by a number multiplies by its reciprocal, which rounds otherwise.
    x, y = (torch.from_numpy(rng.integers(-(2**20), 2**20, (n, n)) / 2**10 / by).to(device) for by in (3, 7))
    permutations = torch.from_numpy(np.stack([rng.permutation(n) for _ in range(40)]).astype(np.int32)).to(device)
    yield "permuted_dot", lambda: (ops.permuted_dot(x, y, permutations),)


def _stream(a, b, features: tuple[int, int], n_tokens: int, device: str) -> tuple[Tensor, ...]:
    sums = [torch.zeros(len(FeatureSum), f, dtype=torch.int64, device=device) for f in features]
    for side in sums:
        side[FeatureSum.SCALE_EXPONENT] = NO_SCALE
    s_ab = torch.zeros(features, dtype=torch.int64, device=device)
    for _ in range(2):
        ops.cross_moments_(s_ab, *sums, *a, *b, 1)
    found = ops.best_from_moments(s_ab, *sums, 2 * n_tokens, 1)
    return (s_ab, *sums, ops.correlation_from_moments(s_ab, *sums, 2 * n_tokens), *found)


def digest(tensors: tuple[Tensor, ...]) -> str:
    """SHA-256 over shapes, dtypes and bytes; every NaN counts as one."""
    out = hashlib.sha256()
    for t in tensors:
        values = t.cpu().contiguous().numpy()
        if values.dtype.kind == "f":
            values = np.where(np.isnan(values), np.array(np.nan, values.dtype), values)
        out.update(f"{values.dtype} {values.shape}".encode() + values.tobytes())
    return out.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    found = {name: digest(tuple(call())) for name, call in cases(arguments.device)}
    if arguments.write:
        PATH.write_text(json.dumps(found, indent=1) + "\n")
        return
    expected = json.loads(PATH.read_text())
    wrong = [name for name in expected if found.get(name) != expected[name]]
    print("\n".join(f"differs: {name}" for name in wrong) or f"{len(expected)} digests equal the CPU's")  # noqa: T201
    sys.exit(bool(wrong) or set(found) != set(expected))


if __name__ == "__main__":
    main()
