"""What the report of a large run takes: seconds, memory, and the bytes of its files.

    python scripts/measure/report_size.py --out /tmp/large [--layers 26x42] [--pairs 4000]

Writes a run folder with made-up numbers: the results of the reference run in expected/mini, repeated over a grid of so
many layers, every float another one; so many feature pairs of every layer pair, with top tokens; four contexts of every
feature; and all draws of the nulls. Decoder rows and finished tasks, which no report reads, are not made. Then
`semconv report` writes the report in a process of its own, one thread. Prints Markdown; --keep leaves the folder. Linux
only, for the peak memory is read from /proc.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from semconv.matching.influence import INFLUENCES
from semconv.results.read import read_results
from semconv.runs.crate import write_crate
from semconv.runs.pairs_table import MatchedPairs, write_pairs
from semconv.suite.sae_labels import pair_key
from semconv.system.errors import InputError
from semconv.system.files import write_json, write_tensors
from semconv.system.markdown import table
from semconv.system.parquet import write_tables
from semconv.system.shape import plain
from semconv.text.contexts import N_CONTEXTS, contexts_schema
from semconv.text.top_tokens import TopTokens

REFERENCE = Path(__file__).parents[2] / "expected" / "mini"
FEATURES = 16_384
_TEXTS = 500  # different contexts
_PAIRING = ("shuffle", "frequency")  # the other nulls have draws of their own number


def moved(value: Any, by: float) -> Any:
    """Returns plain values with every float a little larger, so that no two layer pairs are the same."""
    if isinstance(value, float):
        return value * (1 + by)
    if isinstance(value, dict):
        return {key: moved(inner, by) for key, inner in value.items()}
    return [moved(inner, by) for inner in value] if isinstance(value, list) else value


def made_results(layers: tuple[int, int], pairs: int) -> dict[str, Any]:
    """Returns the reference run as plain values, its layer pairs repeated over a grid of so many layers."""
    made = plain(read_results(REFERENCE))
    keys = list(made["grid"])
    every = ((a, b) for a in range(layers[0]) for b in range(layers[1]))
    of_grid = {pair_key(str(a), str(b)): keys[place % len(keys)] for place, (a, b) in enumerate(every)}

    def spread(part: dict[str, Any]) -> dict[str, Any]:
        return {new: moved(part[old], place * 1e-6) for place, (new, old) in enumerate(of_grid.items())}

    grid = spread(made["grid"])
    for key, cell in grid.items():
        a, b = key.split("x")
        cell |= {"layer_a": int(a), "layer_b": int(b), "sae_a": a, "sae_b": b, "pairs": pairs}
    for name, n in zip(("model_a", "model_b"), layers, strict=True):
        saes = list(made[name]["saes"].values())
        made[name]["saes"] = {str(layer): {**saes[layer % len(saes)], "layer": layer} for layer in range(n)}
    for summary in made["summary"].values():
        summary |= {"layer_pairs": len(grid), "best_layer_pair": f"{layers[0] - 1}x{layers[1] - 1}"}
        for null in summary["nulls"].values():
            null |= {"layer_pairs": len(grid)}
    for part in ("subspaces", "spans", "streams"):
        if part not in made:  # not every run compares streams
            continue
        made[part]["grid"] = spread(made[part]["grid"])
    made["subspaces"]["relations"] = spread(made["subspaces"]["relations"])
    return {**made, "grid": grid, "suite": "made-up"}


def write_draws(folder: Path, results: dict[str, Any]) -> None:
    """Writes `nulls.safetensors`: normal draws about the mean of every null."""
    rng, tensors = np.random.default_rng(0), dict[str, torch.Tensor]()
    for key, cell in results["grid"].items():
        for measure, scored in cell["measures"].items():
            for null, test in scored["nulls"].items():
                n = results["null"]["n_permutations" if null in _PAIRING else f"n_{null}"]
                drawn = rng.normal(test["mean"], test["sd"] or 1.0, n)
                tensors[f"{key}.{null}.{measure}"] = torch.from_numpy(drawn)
    write_tensors(folder / "nulls.safetensors", tensors)


def layer_pairs(layers: tuple[int, int], pairs: int) -> Iterator[MatchedPairs]:
    """Gives the feature pairs of every layer pair, one after the other."""
    rng, texts, none = np.random.default_rng(1), tuple(f"word{n}" for n in range(4096)), np.zeros(FEATURES, bool)
    for a in range(layers[0]):
        for b in range(layers[1]):
            tokens = [
                TopTokens(rng.integers(len(texts), size=(FEATURES, 10), dtype=np.int32), none, texts, ()) for _ in "ab"
            ]
            one, other = (np.sort(rng.choice(FEATURES, pairs, replace=False)) for _ in "ab")
            yield MatchedPairs(
                layer_a=a,
                layer_b=b,
                sae_a=str(a),
                sae_b=str(b),
                a=rng.permutation(one),
                b=other,
                r=rng.uniform(0.1, 1, pairs),
                influence=rng.uniform(0, 1, (pairs, len(INFLUENCES))),
                tokens_a=tokens[0],
                tokens_b=tokens[1],
                neuronpedia_a=f"gemma-2-2b/{a}-gemmascope-res-16k",
                neuronpedia_b=f"gemma-2-9b/{b}-gemmascope-res-16k",
            )


def context_tables(layers: tuple[int, int]) -> Iterator[Any]:
    """Gives the contexts of all features of every SAE, one SAE after the other."""
    rng, schema = np.random.default_rng(2), contexts_schema()
    words = [f"word{n} " for n in range(4096)]
    before, after = (pa.array(["".join(rng.choice(words, n)) for _ in range(_TEXTS)]) for n in (10, 6))
    number, n = np.repeat(np.arange(FEATURES), N_CONTEXTS), FEATURES * N_CONTEXTS
    for side, count in zip("ab", layers, strict=True):
        for layer in range(count):
            places = [pa.array(rng.integers(_TEXTS, size=n)) for _ in range(3)]
            texts = [before.take(places[0]), pa.array(words).take(places[1]), after.take(places[2])]
            ranks = np.tile(np.arange(N_CONTEXTS, dtype=np.int32), FEATURES)
            yield pa.table(
                [
                    pa.array([side]).take(pa.array(np.zeros(n, np.int64))),
                    np.full(n, layer, np.int32),
                    pa.array([str(layer)]).take(pa.array(np.zeros(n, np.int64))),
                    number,
                    ranks,
                    rng.integers(1000, size=n, dtype=np.int32),
                    *texts,
                    (8 / (1 + ranks)).astype(np.float32),
                ],
                schema=schema,
            )


def write_run(folder: Path, layers: tuple[int, int], pairs: int) -> None:
    """Writes everything that the report of a run is made from, and a crate that lists it."""
    results = made_results(layers, pairs)
    write_json(folder / "results.json", results)
    write_draws(folder, results)
    del results
    write_pairs(folder / "pairs.parquet", layer_pairs(layers, pairs))
    write_tables(folder / "contexts.parquet", contexts_schema(), context_tables(layers))
    write_crate(folder, "made-up", (), time.time(), time.time(), {"device": "cpu"})


def reported(folder: Path) -> dict[str, float]:
    """Writes the report in a process of its own, and returns its seconds and its peak memory in MiB."""
    began = time.monotonic()
    child = subprocess.Popen(
        [sys.executable, "-m", "semconv", "report", str(folder)], env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    peak, ended, status = 0, 0, 0
    while not ended:  # what the system says at the end counts memory of this process too
        said = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{child.pid}/status").read_text())
        peak = max(peak, int(said[1])) if said else peak
        time.sleep(0.05)
        ended, status, usage = os.wait4(child.pid, os.WNOHANG)
    if status:
        sys.exit(f"report_size: `semconv report {folder}` ended with status {status}")
    seconds = time.monotonic() - began
    return {"seconds": seconds, "CPU seconds": usage.ru_utime + usage.ru_stime, "peak memory, MiB": peak / 1024}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--out", type=Path, required=True, help="folder for the run, new or empty")
    options.add_argument("--layers", default="26x42", help="layers of A x layers of B")
    options.add_argument("--pairs", type=int, default=4000, help="feature pairs of every layer pair")
    options.add_argument("--keep", action="store_true", help="leave the folder")
    given = options.parse_args()
    sizes = given.layers.split("x")
    if len(sizes) != 2 or not all(size.isdecimal() and int(size) for size in sizes):
        raise InputError(f"--layers must be two numbers of at least 1, such as 26x42, got {given.layers}")
    if not 0 < given.pairs <= FEATURES:
        raise InputError(f"--pairs must be 1 to {FEATURES}, got {given.pairs}")
    folder, layers = given.out, (int(sizes[0]), int(sizes[1]))
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"--out must be a new or empty folder, got {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        write_run(folder, layers, given.pairs)
        read = [name for name in ("results.json", "nulls.safetensors", "pairs.parquet", "contexts.parquet")]
        rows = [["read", name, f"{(folder / name).stat().st_size / 2**20:,.1f} MiB"] for name in read]
        found = reported(folder)
        written = [folder / "report.md", folder / "index.html", *sorted((folder / "figures").glob("*.png"))]
        rows += [["written", str(one.relative_to(folder)), f"{one.stat().st_size / 2**20:,.1f} MiB"] for one in written]
        rows += [["took", what, f"{number:,.0f}"] for what, number in found.items()]
        print(f"{layers[0]} x {layers[1]} layers, {given.pairs:,} feature pairs of each pair of layers; one thread.\n")
        print(table(["", "what", "how much"], rows))
    finally:
        if not given.keep:
            shutil.rmtree(folder)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"report_size: {error}")
