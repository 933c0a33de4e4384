"""What the report of a large run takes: seconds, memory, and the bytes of its files.

    python scripts/measure/report_size.py --out /tmp/large [--layers 26x42] [--pairs 5000] [--browser]

Writes a run folder with made-up numbers: the results of the reference run in expected/mini, repeated over a grid of so
many layers, every float another one; so many feature pairs of every layer pair, with top tokens, text of 100 of them,
and all else that is shown of them; every feature of every SAE; and all draws of the nulls. Words are as frequent as in
text (Zipf). Decoder rows and finished tasks are not made. Then
`semconv report` writes the report in a process of its own, one thread. With --browser the page is opened in headless
Chromium, from the disk, all pairs are read from its folder, and searches are timed (needs what `make page-check`
installs). Prints Markdown; --keep leaves the folder. Linux only, for the peak memory is read from /proc.
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
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Int
from numpy import ndarray

from semconv.matching.examples import BANDS, BEFORE, MOST_OF_BAND, WIDTH
from semconv.matching.influence import INFLUENCES
from semconv.pipeline.shown import LEAST_WITH_TEXT
from semconv.results.read import read_results
from semconv.runs.best_r_table import BestR, write_best_r
from semconv.runs.crate import write_crate
from semconv.runs.pairs_table import MatchedPairs, write_pairs
from semconv.study.shown_pairs import BINS
from semconv.suite.sae_labels import pair_key
from semconv.system.errors import InputError
from semconv.system.files import write_json, write_tensors
from semconv.system.markdown import table
from semconv.system.parquet import write_tables
from semconv.system.shape import plain
from semconv.text.feature_table import PARTS, SaeFeatures, write_features
from semconv.text.shared_contexts import shared_contexts_schema
from semconv.text.top_tokens import TopTokens

REFERENCE = Path(__file__).parents[2] / "expected" / "mini"
FEATURES = 16_384
VOCABULARY, TOP = 50_000, 10
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


def drawn_words(rng: np.random.Generator, shape: tuple[int, ...]) -> Int[ndarray, ...]:
    """Returns numbers of words, int32, the n-th about as often as 1 / n."""
    return (VOCABULARY ** rng.random(shape)).astype(np.int32) - 1


def top_tokens(count: int) -> list[TopTokens]:
    """Returns the top tokens of the features of so many SAEs."""
    rng, texts, none = np.random.default_rng(1), tuple(f"word{n}" for n in range(VOCABULARY)), np.zeros(FEATURES, bool)
    shape = FEATURES, TOP
    return [TopTokens(drawn_words(rng, shape), none, texts, ()) for _ in range(count)]


def layer_pairs(layers: tuple[int, int], pairs: int) -> Iterator[MatchedPairs]:
    """Gives the feature pairs of every layer pair, one after the other."""
    rng, tokens = np.random.default_rng(2), [top_tokens(count) for count in layers]
    for a, b in product(*map(range, layers)):
        one, other = (np.sort(rng.choice(FEATURES, pairs, replace=False)) for _ in "ab")
        active = rng.integers(100, 5000, (2, pairs))
        none = np.full(pairs, None, dtype=object)
        none[: pairs // 10] = [["Time"]] * (pairs // 10)
        yield MatchedPairs(
            layer_a=a,
            layer_b=b,
            sae_a=str(a),
            sae_b=str(b),
            a=rng.permutation(one),
            b=other,
            r=rng.uniform(0.1, 1, pairs),
            influence=rng.uniform(0, 1, (pairs, len(INFLUENCES))),
            tokens_a=tokens[0][a],
            tokens_b=tokens[1][b],
            neuronpedia_a=f"gemma-2-2b/{a}-gemmascope-res-16k",
            neuronpedia_b=f"gemma-2-9b/{b}-gemmascope-res-16k",
            details={
                "active_a": active[0],
                "active_b": active[1],
                "active_both": rng.integers(1, 100, pairs),
                "mutual": rng.random(pairs) < 0.7,
                "next_a": rng.integers(FEATURES, size=pairs),
                "next_r_a": rng.uniform(0, 0.5, pairs),
                "next_b": rng.integers(FEATURES, size=pairs),
                "next_r_b": rng.uniform(0, 0.5, pairs),
                "categories_a": none,
                "categories_b": none[::-1],
            },
        )


def sae_features(layers: tuple[int, int]) -> Iterator[SaeFeatures]:
    """Gives the features of every SAE."""
    rng = np.random.default_rng(3)
    sides: tuple[tuple[Literal["a", "b"], int, int], ...] = (("a", *layers[::-1]), ("b", *layers))
    for side, other, count in sides:
        for layer, tokens in enumerate(top_tokens(count)):
            yield SaeFeatures(
                side=side,
                layer=layer,
                sae=str(layer),
                highest=rng.uniform(1, 9, FEATURES).astype(np.float32),
                histogram=rng.integers(0, 500, (FEATURES, PARTS)),
                paired=rng.random(FEATURES) < 0.9,
                best_sae=[str(one) for one in rng.integers(other, size=FEATURES).tolist()],
                best_feature=rng.integers(FEATURES, size=FEATURES),
                best_r=rng.uniform(0, 0.9, FEATURES),
                tokens=tokens,
                neuronpedia=f"model-{side}/{layer}-res-16k",
            )


def examples(layers: tuple[int, int], pairs: int) -> Iterator[Any]:
    """Gives the text of some pairs of every layer pair: eight examples of each."""
    rng, schema = np.random.default_rng(4), shared_contexts_schema()
    words = pa.array([f" word{n}" for n in range(VOCABULARY)])
    some = min(pairs, LEAST_WITH_TEXT)
    bands = pa.array([band for band, most in zip(BANDS, MOST_OF_BAND, strict=True) for _ in range(most)])
    n = some * len(bands)
    ends = np.arange(n + 1, dtype=np.int32) * WIDTH
    for group in layer_pairs(layers, pairs):
        pieces = words.take(pa.array(drawn_words(rng, (n * WIDTH,))))
        of_pieces = [pieces, *(pa.array((rng.integers(36, size=n * WIDTH) // 4 * 4).astype(np.uint8)) for _ in "ab")]
        columns = [
            *([one] * n for one in (group.layer_a, group.layer_b, group.sae_a, group.sae_b)),
            *(np.repeat(one[:some], len(bands)) for one in (group.a, group.b)),
            bands.take(pa.array(np.tile(np.arange(len(bands)), some))),
            rng.integers(1000, size=n, dtype=np.int32),
            np.full(n, BEFORE, np.int32),
            *(pa.ListArray.from_arrays(ends, values) for values in of_pieces),
        ]
        yield pa.table(columns, schema=schema)


def best_r(layers: tuple[int, int]) -> Iterator[BestR]:
    """Gives how r of best partners lies, of every layer pair."""
    rng = np.random.default_rng(5)
    for a, b in product(*map(range, layers)):
        r = np.stack([rng.beta(2, 3, (2, FEATURES)), rng.beta(1, 60, (2, FEATURES))])
        counts = np.array([[np.histogram(one, BINS, (-1, 1))[0] for one in row] for row in r])
        yield BestR(layer_a=a, layer_b=b, sae_a=str(a), sae_b=str(b), histograms=counts, means=r.mean(axis=2))


def write_run(folder: Path, layers: tuple[int, int], pairs: int) -> None:
    """Writes everything that the report of a run is made from, and a crate that lists it."""
    results = made_results(layers, pairs)
    write_json(folder / "results.json", results)
    write_draws(folder, results)
    del results
    write_pairs(folder / "pairs.parquet", layer_pairs(layers, pairs))
    write_features(folder / "features.parquet", sae_features(layers))
    write_best_r(folder / "best_r.parquet", best_r(layers))
    write_tables(folder / "shared_contexts.parquet", shared_contexts_schema(), examples(layers, pairs))
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


def searched(page: Path) -> dict[str, float]:
    """Opens a page from the disk in headless Chromium, reads all its pairs, and returns how long things take."""
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.support.ui import WebDriverWait

    options = Options()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu"):
        options.add_argument(argument)
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    options.binary_location = str(chromium)
    browser = webdriver.Chrome(options=options, service=Service(str(shutil.which("chromedriver"))))

    def timed(script: str) -> float:
        """Runs a script that begins a search, and returns how long the page searched."""
        browser.execute_script(f"document.getElementById('pairs').dataset.ms = ''; {script}")
        done = "return document.getElementById('pairs').dataset.ms"
        WebDriverWait(browser, 600, 0.05).until(lambda _: browser.execute_script(done))
        return float(browser.execute_script(done))

    def typed(**fields: str) -> str:
        return "".join(
            f"{{ const f = document.getElementById('{name.replace('_', '-')}'); f.value = '{value}'; "
            "f.dispatchEvent(new Event('input')); }"
            for name, value in fields.items()
        )

    try:
        browser.get(page.resolve().as_uri())
        timing = "return performance.getEntriesByType('navigation')[0].loadEventEnd"
        found = {"page loaded, ms": browser.execute_script(timing)}
        began = time.monotonic()
        found["search of a layer pair, ms"] = timed(typed(layer_a="1", layer_b="1"))
        found["layer pair read from the folder and shown, ms"] = 1000 * (time.monotonic() - began)
        timed(typed(layer_a="", layer_b=""))
        began = time.monotonic()
        found["all pairs, ms"] = timed("document.getElementById('read-all').click()")
        found["all pairs read from the folder, ms"] = 1000 * (time.monotonic() - began)
        found["part of a token, all pairs, ms"] = timed(typed(query="word123"))
        found["regular expression, all pairs, ms"] = timed(typed(mode="regex"))
        found["feature, all pairs, ms"] = timed(typed(mode="", query="3:123"))
        found["ordered by another measure, all pairs, ms"] = timed(typed(query="", order="both"))
        return found
    finally:
        browser.quit()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--out", type=Path, required=True, help="folder for the run, new or empty")
    options.add_argument("--layers", default="26x42", help="layers of A x layers of B")
    options.add_argument("--pairs", type=int, default=5000, help="feature pairs of every layer pair")
    options.add_argument("--browser", action="store_true", help="time searches in headless Chromium")
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
        tables = [f"{name}.parquet" for name in ("pairs", "features", "shared_contexts", "best_r")]
        read = ["results.json", "nulls.safetensors", *tables]
        rows = [["read", name, f"{(folder / name).stat().st_size / 2**20:,.1f} MiB"] for name in read]
        found = reported(folder)
        written = [folder / "report.md", folder / "index.html", *sorted((folder / "figures").glob("*.png"))]
        rows += [["written", str(one.relative_to(folder)), f"{one.stat().st_size / 2**20:,.1f} MiB"] for one in written]
        shards = [one.stat().st_size for one in (folder / "explorer").glob("*.js")]
        rows.append(["written", f"explorer/, {len(shards):,} files", f"{sum(shards) / 2**20:,.1f} MiB"])
        rows += [["took", what, f"{number:,.0f}"] for what, number in found.items()]
        if given.browser:
            rows += [
                ["in Chromium", what, f"{number:,.0f}"] for what, number in searched(folder / "index.html").items()
            ]
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
