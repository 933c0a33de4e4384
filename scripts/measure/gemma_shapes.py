"""Times the device-resident path on random models of the exact shapes of Gemma-2-2B and 9B with SAEs of 16k features.

    python scripts/measure/gemma_shapes.py --out gemma_shapes.json   # a CUDA GPU with 40 GB, transformers, no download
    python scripts/measure/gemma_shapes.py --scale small --device cpu    # tiny shapes, to see that it runs

Both models read the same random tokens. At some blocks of each, evenly spread, a random JumpReLU SAE with thresholds
for a realistic L0 encodes the residual stream; the compacted activations stay on the device, and every pair of blocks
is correlated. What is timed is measured; what a full run over all pairs of blocks would take is extrapolated from it
and labelled so. Random weights say nothing about features: only shapes, sparsity and time are realistic.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from semconv import SparseActivations, best_matches
from semconv.core.device import DTYPES, choose_device, float32_products
from semconv.models.model_activations import streams
from semconv.suite.hooks import hook_name
from semconv.system.errors import SemconvError
from semconv.system.provenance import code_commit, peak_memory_mib

OURS = ("compact_rows", "correlate")  # the stages that are code of semconv; the others are transformers and cuBLAS
STAGES = ("model forward", "SAE encode", *OURS)
GRID_TOKENS = 1_000_000
BOS = 2


@dataclass(frozen=True)
class Shape:
    """What of a Gemma-2 config decides its size."""

    name: str
    hidden_size: int
    num_hidden_layers: int
    intermediate_size: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int = 256
    vocab_size: int = 256_000


SHAPES = {
    "full": (Shape("Gemma-2-2B", 2304, 26, 9216, 8, 4), Shape("Gemma-2-9B", 3584, 42, 14336, 16, 8)),
    "small": (
        Shape("tiny A", 32, 3, 64, 2, 1, head_dim=16, vocab_size=5000),
        Shape("tiny B", 48, 5, 96, 2, 1, head_dim=16, vocab_size=5000),
    ),
}
D_SAE = {"full": 16_384, "small": 256}
CONTEXT = {"full": 1024, "small": 64}
TOKENS = {"full": 262_144, "small": 8_192}
L0 = {"full": 100.0, "small": 12.0}
CALIBRATION_TOKENS = 4096


class Clock:
    """Seconds per stage: CUDA events on a GPU, so that nothing waits for the clock; the processor's time elsewhere."""

    def __init__(self, device: torch.device) -> None:
        self.cuda = device.type == "cuda"
        self._spans: list[tuple[str, Any, Any]] = []

    def _mark(self) -> Any:
        if not self.cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    @contextmanager
    def stage(self, name: str) -> Generator[None]:
        begin = self._mark()
        yield
        self._spans.append((name, begin, self._mark()))

    def seconds(self) -> dict[str, float]:
        """Waits for the device and returns the time of every stage that was entered."""
        if self.cuda:
            torch.cuda.synchronize()
        total: dict[str, float] = {}
        for name, begin, end in self._spans:
            took = begin.elapsed_time(end) / 1000 if self.cuda else end - begin
            total[name] = total.get(name, 0.0) + took
        return total


@dataclass(frozen=True)
class RandomSae:
    """The encoder of a JumpReLU SAE as plain tensors: W_enc [d_in, d_sae], b_enc [d_sae], threshold float32 [d_sae]."""

    W_enc: Tensor
    b_enc: Tensor
    threshold: Tensor

    def pre_activations(self, stream: Tensor) -> Tensor:
        return stream.to(self.W_enc.dtype) @ self.W_enc + self.b_enc


def densities(d_sae: int, l0: float, seed: int) -> Tensor:
    """Returns on which share of tokens each feature is active: log-normal, adding up to l0, none above one half."""
    share = torch.exp(1.5 * torch.randn(d_sae, generator=torch.Generator().manual_seed(seed)))
    for _ in range(50):  # what is cut off at one half goes to the others
        share = (share * (l0 / share.sum())).clamp(max=0.5)
    return share


def calibrated_sae(stream: Tensor, d_sae: int, l0: float, dtype: torch.dtype, seed: int) -> RandomSae:
    """Returns an SAE whose mean L0 on this stream [n, d_in] is the one asked for: every threshold is a quantile."""
    n, device = len(stream), stream.device
    g = torch.Generator(device=device).manual_seed(seed)
    W_enc = torch.randn(stream.shape[1], d_sae, generator=g, device=device).mul_(stream.shape[1] ** -0.5).to(dtype)
    sae = RandomSae(W_enc, torch.zeros(d_sae, dtype=dtype, device=device), torch.zeros(d_sae, device=device))
    centre = sae.pre_activations(stream).float().mean(dim=0)  # else a threshold above zero could not give one half
    sae = RandomSae(W_enc, (-centre).to(dtype), sae.threshold)
    pre = sae.pre_activations(stream).float()
    # A new value exceeds the j-th largest of n with probability j / (n + 1). What is left of a whole j is drawn, so
    # that the mean L0 stays; j = 0 is a feature that never jumps.
    wanted = densities(d_sae, l0, seed) * (n + 1)
    left = torch.rand(d_sae, generator=torch.Generator().manual_seed(seed + 1)) < wanted.frac()
    rank = (wanted.floor() + left).long().clamp(max=n).to(device)
    reached = pre.sort(dim=0, descending=True).values.gather(0, (rank - 1).clamp(min=0)[None])[0]
    never = torch.finfo(torch.float16).max
    return RandomSae(W_enc, sae.b_enc, torch.where(rank > 0, reached, never).clamp(min=0).contiguous())


def random_model(shape: Shape, device: torch.device, dtype: torch.dtype, seed: int) -> Any:
    """Returns a Gemma-2 of this shape with random weights, made on the device."""
    from transformers import Gemma2Config, Gemma2Model

    sizes = {name: value for name, value in asdict(shape).items() if name != "name"}
    torch.manual_seed(seed)
    with device:
        model = Gemma2Model._from_config(Gemma2Config(**sizes), dtype=dtype, attn_implementation="eager")
    return model.to(device).eval()


def spread_layers(n_layers: int, wanted: int) -> list[int]:
    """Returns `wanted` blocks evenly spread, the last among them, so that the whole model is run."""
    wanted = min(wanted, n_layers)
    return [round((i + 1) * n_layers / wanted) - 1 for i in range(wanted)]


def random_rows(n_tokens: int, context: int, vocab_size: int) -> Tensor:
    """Returns token ids [rows, context] with a BOS first, which does not count, for at least n_tokens that do."""
    rows = -(-n_tokens // (context - 1))
    ids = torch.randint(3, vocab_size, (rows, context), generator=torch.Generator().manual_seed(0))
    ids[:, 0] = BOS
    return ids.int()


def counted_rows(stream: Tensor) -> Tensor:
    return stream[:, 1:].flatten(0, 1)


@dataclass(frozen=True)
class Side:
    """One model's part: what was measured, and the activations that stay on the device."""

    measured: dict[str, Any]
    acts: dict[int, SparseActivations]


@torch.inference_mode()
def run_model(shape: Shape, ids: Tensor, options: argparse.Namespace, device: torch.device, seed: int) -> Side:
    """Runs one model over all rows, encodes and compacts at its blocks; times all but the first, unmeasured, batch."""
    model = random_model(shape, device, torch.bfloat16, seed)
    layers = spread_layers(shape.num_hidden_layers, options.layers)
    dtype, tf32 = DTYPES[options.precision], options.precision == "tf32"
    batches = ids.split(options.batch)
    with float32_products(tf32):
        hooks = {layer: hook_name(layer) for layer in layers}
        first = streams(model, batches[0], list(hooks.values()))
        saes = {
            layer: calibrated_sae(
                counted_rows(first[hooks[layer]])[:CALIBRATION_TOKENS].float(),
                D_SAE[options.scale],
                options.l0,
                dtype,
                1000 * seed + layer,
            )
            for layer in layers
        }
        for layer, sae in saes.items():  # so that no library is set up inside the measurement
            SparseActivations.from_dense(
                sae.pre_activations(counted_rows(first[hooks[layer]])), torch.float16, sae.threshold
            )
    del first
    reset_peak(device)
    clock, began = Clock(device), now(device)
    chunks: dict[int, list[SparseActivations]] = {layer: [] for layer in layers}
    for batch in batches:
        with clock.stage("model forward"):
            read = streams(model, batch, list(hooks.values()))
        for layer, sae in saes.items():
            with float32_products(tf32), clock.stage("SAE encode"):
                pre = sae.pre_activations(counted_rows(read[hooks[layer]]))
            with clock.stage("compact_rows"):
                chunks[layer].append(SparseActivations.from_dense(pre, torch.float16, sae.threshold))
    with clock.stage("compact_rows"):
        acts = {layer: SparseActivations.concatenate(parts) for layer, parts in chunks.items()}
    seconds, wall = clock.seconds(), now(device) - began
    n_tokens = acts[layers[0]].n_tokens
    measured = {
        "model": shape.name,
        "layers": layers,
        "of_layers": shape.num_hidden_layers,
        "tokens": n_tokens,
        "seconds": seconds,
        "wall_seconds": wall,
        "tokens_per_second": n_tokens / wall,
        "l0": {str(layer): a.l0 for layer, a in acts.items()},
        "peak_memory_gib": peak_gib(device),
    }
    return Side(measured, acts)


def now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_gib(device: torch.device) -> float:
    """Returns the most memory held on the GPU since the last reset; of the whole process on a CPU."""
    return torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else peak_memory_mib() / 2**10


def correlate(a: Side, b: Side, device: torch.device) -> dict[str, Any]:
    """Correlates every pair of blocks, once before the clock runs."""
    best_matches(next(iter(a.acts.values())), next(iter(b.acts.values())))
    reset_peak(device)
    clock, began, pairs = Clock(device), now(device), 0
    for x in a.acts.values():
        for y in b.acts.values():
            with clock.stage("correlate"):
                best_matches(x, y)
            pairs += 1
    return {
        "pairs": pairs,
        "seconds": clock.seconds(),
        "wall_seconds": now(device) - began,
        "peak_memory_gib": peak_gib(device),
    }


def summary(a: dict[str, Any], b: dict[str, Any], pairs: dict[str, Any]) -> dict[str, Any]:
    """Returns the end-to-end figures of what was measured: stages, total, and the share that is our code."""
    seconds = {stage: sum(part["seconds"].get(stage, 0.0) for part in (a, b, pairs)) for stage in STAGES}
    wall = sum(part["wall_seconds"] for part in (a, b, pairs))
    return {
        "seconds": {**seconds, "other": max(0.0, wall - sum(seconds.values()))},
        "wall_seconds": wall,
        "tokens_per_second": a["tokens"] / wall,
        "our_share": sum(seconds[stage] for stage in OURS) / wall,
        "peak_memory_gib": max(part["peak_memory_gib"] for part in (a, b, pairs)),
    }


def extrapolate(a: dict[str, Any], b: dict[str, Any], pairs: dict[str, Any], n_tokens: int) -> dict[str, Any]:
    """Returns what all pairs of all blocks would take, every stage in proportion to tokens, blocks and pairs.

    One forward pass serves all blocks; encoding and compacting are per block; correlating is per pair. Time that no
    stage covers, and writing stores, are left out.
    """
    seconds = dict.fromkeys(STAGES, 0.0)
    for side in (a, b):
        per_token = n_tokens / side["tokens"]
        seconds["model forward"] += side["seconds"]["model forward"] * per_token
        for stage in ("SAE encode", "compact_rows"):
            seconds[stage] += side["seconds"][stage] * per_token * side["of_layers"] / len(side["layers"])
    n_pairs = a["of_layers"] * b["of_layers"]
    seconds["correlate"] = pairs["seconds"]["correlate"] / pairs["pairs"] * n_pairs * n_tokens / a["tokens"]
    total = sum(seconds.values())
    return {
        "label": f"extrapolated, not measured: {a['of_layers']} x {b['of_layers']} blocks at {n_tokens} tokens",
        "seconds": seconds,
        "total_seconds": total,
        "our_share": sum(seconds[stage] for stage in OURS) / total,
    }


def table(result: dict[str, Any]) -> str:
    """Returns the figures as one Markdown table."""
    measured, grid = result["measured"], result["extrapolated"]
    lines = [f"| stage | measured, s | share | {grid['label']}, s | share |", "|---|---|---|---|---|"]
    for stage, took in measured["seconds"].items():
        far = grid["seconds"].get(stage)
        grid_cells = "- | -" if far is None else f"{far:.2f} | {far / grid['total_seconds']:.1%}"
        lines.append(f"| {stage} | {took:.3f} | {took / measured['wall_seconds']:.1%} | {grid_cells} |")
    lines.append(f"| total | {measured['wall_seconds']:.3f} | | {grid['total_seconds']:.2f} | |")
    lines.append(f"| our code | | {measured['our_share']:.1%} | | {grid['our_share']:.1%} |")
    l0 = [value for side in result["models"] for value in side["l0"].values()]
    lines += [
        "",
        f"{result['device']}; {result['models'][0]['tokens']} tokens at {len(result['models'][0]['layers'])} x "
        f"{len(result['models'][1]['layers'])} blocks end to end: {measured['tokens_per_second']:.0f} tokens/s; "
        f"peak memory {measured['peak_memory_gib']:.2f} GiB; L0 {min(l0):.1f} to {max(l0):.1f}; "
        f"SAEs in {result['options']['precision']}.",
    ]
    return "\n".join(lines)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Runs everything and returns what the JSON holds."""
    device = choose_device(options.device)
    shapes = SHAPES[options.scale]
    ids = random_rows(options.tokens, CONTEXT[options.scale], shapes[0].vocab_size)
    sides = [run_model(shape, ids, options, device, seed) for seed, shape in enumerate(shapes)]
    a, b = (side.measured for side in sides)
    pairs = correlate(*sides, device)
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        "torch": torch.__version__,
        "commit": code_commit(),
        "options": {key: value for key, value in vars(options).items() if key != "out"},
        "models": [a, b],
        "pairs": pairs,
        "measured": summary(a, b, pairs),
        "extrapolated": extrapolate(a, b, pairs, GRID_TOKENS),
    }


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--layers", type=int, default=4, help="blocks encoded per model, evenly spread")
    parser.add_argument("--tokens", type=int, help=f"counted tokens, rounded up to whole rows ({TOKENS['full']})")
    parser.add_argument("--batch", type=int, default=8, help="rows per forward pass")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--scale", choices=list(SHAPES), default="full", help="small: tiny shapes, to see that it runs")
    parser.add_argument("--precision", choices=list(DTYPES), default="float32", help="of the SAEs; models are bfloat16")
    parser.add_argument("--l0", type=float, help=f"mean active features per token to calibrate for ({L0['full']:g})")
    parser.add_argument("--out", type=Path, help="also write the JSON to this file")
    options = parser.parse_args(arguments)
    options.tokens = TOKENS[options.scale] if options.tokens is None else options.tokens
    options.l0 = L0[options.scale] if options.l0 is None else options.l0
    for name in ("layers", "tokens", "batch", "l0"):
        if not (getattr(options, name) > 0 and math.isfinite(getattr(options, name))):
            parser.error(f"--{name} must be above 0, got {getattr(options, name)}")
    if options.l0 > D_SAE[options.scale] / 4:
        parser.error(f"--l0 must be at most a quarter of {D_SAE[options.scale]} features, got {options.l0:g}")
    return options


def main() -> None:
    options = parse()
    try:
        result = measure(options)
    except SemconvError as error:
        sys.exit(f"gemma_shapes: {error}")
    print(table(result))
    print(json.dumps(result))
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
