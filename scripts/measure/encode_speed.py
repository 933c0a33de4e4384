"""What encoding costs beside the models and SAEs themselves, on the mini models; prints Markdown.

    python scripts/measure/encode_speed.py [share | memory | processes]     # all three take nine minutes

Share: seconds of an encode outside the forward passes and the products of the SAEs. Memory: peak of a process that
encodes all 11 layers of both models, over that of one of each. Processes: seconds of two under torchrun against one,
one thread each.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from semconv.core.sparse import SparseActivations
from semconv.models import sae_encode
from semconv.models.encoding import encode_models
from semconv.models.roles import ModelOnText
from semconv.pipeline.reproduce import load_blocks
from semconv.runs.run import Run
from semconv.suite.config import load_suite

SUITES = Path(__file__).resolve().parents[2] / "semconv" / "suites"


def share_outside(folder: Path) -> tuple[float, float]:
    """Returns seconds of encoding model B with its four SAEs, and those of them outside models and SAEs."""
    run = Run(load_suite("mini"), folder)
    blocks, spent = load_blocks(run)[1], [0.0]

    def counted(function: Any) -> Any:
        def call(*arguments: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*arguments)
            finally:
                spent[0] += time.perf_counter() - began

        return call

    def inside(sae: Any, stream: torch.Tensor, dtype: torch.dtype) -> SparseActivations:
        """As `encode_stream`, with the product timed."""
        threshold = sae_encode.jump_threshold(sae)
        assert threshold is not None
        pre = counted(lambda: sae.process_sae_in(stream) @ sae.W_enc + sae.b_enc)()
        return SparseActivations.from_dense(pre, dtype, threshold)

    with torch.inference_mode():
        kept = sae_encode.row_streams, sae_encode.encode_stream
        sae_encode.row_streams, sae_encode.encode_stream = counted(kept[0]), inside
        try:
            encode_models(run, [ModelOnText(run.suite.model_b, blocks)])
        finally:
            sae_encode.row_streams, sae_encode.encode_stream = kept
    total = sum(seconds for stage, seconds in run.seconds.items() if stage.startswith("encode"))
    return total, total - spent[0]


def suite_of(folder: Path, name: str, layers_a: int, layers_b: int, tokens: int, shard: int) -> Path:
    """Writes a suite of the mini models with one SAE at many layers of both."""
    text = (SUITES / "mini.toml").read_text(encoding="utf-8").split("[[controls]]")[0]
    head, rest = text.split("[model_a]")
    head = head.replace('name = "mini"', f'name = "{name}"').replace("max_tokens = 300000", f"max_tokens = {tokens}")
    head = "\n".join(line for line in head.splitlines() if "tokens_sha256" not in line)
    models = ""
    for side, model, n in (("a", "small", layers_a), ("b", "large", layers_b)):
        step = 1 if model == "small" else 2  # of the large model every second layer has an SAE; the next uses it too
        saes = "".join(
            f'    {{ hook = "blocks.{i}.hook_resid_post", '
            f'path = "asset:mini/saes/{model}/blocks.{i - i % step}.hook_resid_post" }},\n'
            for i in range(n)
        )
        models += f'[model_{side}]\nname = "{model}"\npath = "asset:mini/models/{model}"\nsaes = [\n{saes}]\n'
    rest = "[encode]" + rest.split("[encode]")[1].replace("batch = 32", f"batch = 32\nshard_tokens = {shard}")
    path = folder / f"{name}.toml"
    path.write_text(head + "\n" + models + rest, encoding="utf-8")
    return path


def encode(suite: Path, out: Path, *launcher: str, threads: int | None = None) -> tuple[float, int]:
    """Encodes in a process of its own; returns its seconds and peak memory in MiB."""
    env = {**os.environ, **({"OMP_NUM_THREADS": str(threads)} if threads else {})}
    began = time.perf_counter()
    command = [sys.executable, *launcher, "-m", "semconv", "encode", str(suite), "--out", str(out)]
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"encode_speed: {' '.join(command)} ended with {status}")
    return time.perf_counter() - began, usage.ru_maxrss // 1024


def fresh(suite: Path, out: Path, *launcher: str, threads: int | None = None) -> tuple[float, int]:
    """As `encode`, into a run folder that has the corpus but no store."""
    shutil.rmtree(out / "stores", ignore_errors=True)
    return encode(suite, out, *launcher, threads=threads)


def share(folder: Path) -> str:
    total, outside = share_outside(folder)
    rest = total - outside
    return f"{outside:.1f} s outside models and SAEs, beside {rest:.1f} s inside: {outside / rest:.1%}"


def memory(folder: Path) -> str:
    peaks: list[int] = []
    for layers in ((1, 1), (4, 7)):
        suite = suite_of(folder, "memory", *layers, tokens=100_000, shard=65536)
        encode(suite, folder / "run")  # makes the corpus
        peaks.append(fresh(suite, folder / "run")[1])
    ratio = peaks[1] / peaks[0]
    return f"{peaks[1]} MiB for 11 layers, {peaks[0]} MiB for one of either model, ratio {ratio:.2f}"


def processes(folder: Path) -> str:
    suite = suite_of(folder, "ranks", 4, 7, tokens=300_000, shard=10_000)
    encode(suite, folder / "run")
    seconds: list[float] = []
    for size in (1, 2):
        launcher = ("-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={size}")
        seconds.append(fresh(suite, folder / "run", *launcher, threads=1)[0])
    return f"{seconds[0]:.0f} s with one, {seconds[1]:.0f} s with two, ratio {seconds[0] / seconds[1]:.2f}"


def main() -> None:
    measures = {"share": share, "memory": memory, "processes": processes}
    for name in sys.argv[1:] or measures:
        with tempfile.TemporaryDirectory() as folder:
            print(f"{name}: {measures[name](Path(folder))}.", flush=True)


if __name__ == "__main__":
    main()
