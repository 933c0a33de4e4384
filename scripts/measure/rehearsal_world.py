"""Writes what the suite `gemma2` reads from the hub: folders of repositories, with random weights of the real shapes.

Weights are written tensor by tensor, in pieces of some megabytes, so that 18 GB need no memory. What is real: names of
repositories and files, shapes, dtypes, shards, Gemma Scope's `params.npz`. What is not: the weights, and the tokenizer,
which is that of the mini suite with entries that no text has, up to Gemma's 256,000.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from gemma_shapes import SHAPES, Shape

from semconv._paths import ASSETS
from semconv.suite.config import SaeConfig, load_suite
from semconv.system.files import write_json

SHARD_BYTES = 5 * 10**9
_PIECE = 2**24  # numbers drawn at once
_ADDED = 0.1
"""What attention and MLP of a block add, per number of a stream that begins with 1: features follow tokens, as in real
models, and the length of a stream is known without running the model."""
L0 = 100


@dataclass(frozen=True)
class Scale:
    """How large the rehearsal is.

    Attributes:
        shapes: of the two models.
        tokens: that both read.
        layers: of each model.
        packages: of the mini suite, whose docstrings are the text; empty for all of them.
        fast: what `semconv reproduce --fast` leaves out is left out, and few draws are taken.
        features: of an SAE that Gemma Scope calls 16k; one of 65k has four times as many.
        l0: of these, about how many are active at a token.
        draws: of every null and interval at most; None for those of the suite.
        min_pairs: feature pairs that are scored at least; None for as many as the suite says.
    """

    shapes: tuple[Shape, Shape]
    tokens: int
    layers: int
    packages: tuple[str, ...]
    fast: bool = False
    features: int = 16_384
    l0: int = L0
    draws: int | None = None
    min_pairs: int | None = None


_A, _B = SHAPES["full"]
SCALES = {
    "least": Scale(
        (
            Shape("48 wide, tiny", 48, 13, 16, 2, 1, head_dim=8, vocab_size=4096),
            Shape("64 wide, tiny", 64, 21, 16, 2, 1, head_dim=8, vocab_size=4096),
        ),
        2_000,
        1,
        ("numpy",),
        features=512,
        l0=16,
        draws=3,
        min_pairs=20,
    ),
    "tiny": Scale(
        (
            Shape("2304 wide, the rest tiny", _A.hidden_size, 13, 16, 2, 1, head_dim=8, vocab_size=4096),
            Shape("3584 wide, the rest tiny", _B.hidden_size, 21, 16, 2, 1, head_dim=8, vocab_size=4096),
        ),
        2_000,
        1,
        ("numpy",),
        fast=True,
    ),
    "small": Scale(
        (_A, Shape("Gemma-2-9B with a narrow MLP", _B.hidden_size, _B.num_hidden_layers, 1024, 4, 2)),
        4_000,
        1,
        ("numpy", "scipy"),
    ),
    "full": Scale((_A, _B), 8_000, 2, ()),
}
NUMBER_OF_LAYERS = 7  # that the suite names of each model
_ORDER = ((12, 4, 20, 0, 8, 16, 25), (20, 7, 33, 0, 14, 26, 41))  # those of the published steps first


def layers_of(n: int) -> tuple[list[int], list[int]]:
    """Returns n of the layers that the suite names of each model, those of its published steps among them."""
    a, b = (sorted(order[:n]) for order in _ORDER)
    return a, b


def tensors_of(shape: Shape) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yields name and shape of every tensor of a Gemma 2, as its checkpoint holds them."""
    d, inner = shape.hidden_size, shape.intermediate_size
    queries, keys = shape.num_attention_heads * shape.head_dim, shape.num_key_value_heads * shape.head_dim
    yield "model.embed_tokens.weight", (shape.vocab_size, d)
    for i in range(shape.num_hidden_layers):
        block = f"model.layers.{i}"
        for norm in ("input", "post_attention", "pre_feedforward", "post_feedforward"):
            yield f"{block}.{norm}_layernorm.weight", (d,)
        for name, rows in (("q", queries), ("k", keys), ("v", keys)):
            yield f"{block}.self_attn.{name}_proj.weight", (rows, d)
        yield f"{block}.self_attn.o_proj.weight", (d, queries)
        yield f"{block}.mlp.gate_proj.weight", (inner, d)
        yield f"{block}.mlp.up_proj.weight", (inner, d)
        yield f"{block}.mlp.down_proj.weight", (d, inner)
    yield "model.norm.weight", (d,)


def weight_bytes(shape: Shape) -> int:
    """Returns how many bytes a checkpoint of a shape takes in bfloat16."""
    return 2 * sum(math.prod(size) for _, size in tensors_of(shape))


def bytes_of_sae(width: int, d_in: int) -> int:
    """Returns how many bytes the `params.npz` of an SAE takes: encoder, decoder, and what is added."""
    return 4 * (2 * width * d_in + 2 * width + d_in)


def _shards(shape: Shape) -> list[list[tuple[str, tuple[int, ...]]]]:
    shards: list[list[tuple[str, tuple[int, ...]]]] = [[]]
    held = 0
    for name, size in tensors_of(shape):
        n_bytes = 2 * math.prod(size)
        if held and held + n_bytes > SHARD_BYTES:
            shards.append([])
            held = 0
        shards[-1].append((name, size))
        held += n_bytes
    return shards


def _write_shard(path: Path, tensors: list[tuple[str, tuple[int, ...]]], d: int, generator: torch.Generator) -> None:
    """Writes a safetensors file of random bfloat16 weights without holding more than a piece of one."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    begin = 0
    for name, size in tensors:
        end = begin + 2 * math.prod(size)
        header[name] = {"dtype": "BF16", "shape": list(size), "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(header).encode()
    text = text.ljust(-(-len(text) // 8) * 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, size in tensors:
            left = math.prod(size)
            while left:
                n = min(left, _PIECE)
                file.write(_numbers(name, n, d, generator).bfloat16().view(torch.int16).numpy().data)
                left -= n


def _numbers(name: str, n: int, d: int, generator: torch.Generator) -> torch.Tensor:
    if "layernorm" in name or name == "model.norm.weight":  # Gemma multiplies by 1 + weight
        return torch.full((n,), _ADDED - 1 if ".post_" in name else 0.0)
    return torch.randn(n, generator=generator).mul_(d**-0.5)  # the embedding is multiplied by sqrt(d)


def write_model(folder: Path, shape: Shape, seed: int) -> None:
    """Writes config, shards and index of a Gemma 2 with random weights, but no tokenizer."""
    from transformers import Gemma2Config

    sizes = {name: value for name, value in asdict(shape).items() if name != "name"}
    config = Gemma2Config(**sizes, architectures=["Gemma2ForCausalLM"], dtype="bfloat16", query_pre_attn_scalar=256)
    config.save_pretrained(folder)
    shards, generator = _shards(shape), torch.Generator().manual_seed(seed)
    names = [f"model-{i + 1:05}-of-{len(shards):05}.safetensors" for i in range(len(shards))]
    for name, tensors in zip(names, shards, strict=True):
        _write_shard(folder / name, tensors, shape.hidden_size, generator)
    files = {tensor: name for name, tensors in zip(names, shards, strict=True) for tensor, _ in tensors}
    index = {"metadata": {"total_size": weight_bytes(shape)}, "weight_map": files}
    write_json(folder / "model.safetensors.index.json", index)


def write_sae(file: Path, width: int, d_in: int, layer: int, seed: int, l0: int = L0) -> None:
    """Writes a JumpReLU SAE as Gemma Scope does; its thresholds are set for about `l0` active features a token."""
    rng = np.random.default_rng(seed)
    decoder = rng.standard_normal((width, d_in), dtype=np.float32)
    decoder /= np.linalg.norm(decoder, axis=1, keepdims=True)
    scale = math.sqrt(1 + 2 * (layer + 1) * _ADDED**2)
    quantile = -_normal_quantile(l0 / width) * scale
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        file,
        W_enc=np.ascontiguousarray(decoder.T),
        W_dec=decoder,
        b_enc=np.zeros(width, np.float32),
        b_dec=np.zeros(d_in, np.float32),
        threshold=np.full(width, quantile, np.float32),
    )


def _normal_quantile(share: float) -> float:
    return float(torch.special.ndtri(torch.tensor(share, dtype=torch.float64)))


def write_tokenizer(folder: Path, vocab_size: int) -> None:
    """Writes the tokenizer of the mini suite, with entries that no text has up to a number."""
    table = json.loads((ASSETS / "mini" / "tokenizer.json").read_text(encoding="utf-8"))
    entries = table["model"]["vocab"]
    for i in range(len(entries), vocab_size):
        entries[f"<unused{i}>"] = i
    (folder / "tokenizer.json").write_text(json.dumps(table), encoding="utf-8")


def write_text(file: Path, packages: tuple[str, ...]) -> None:
    """Writes docstrings of installed packages, in whatever version, as the one column of a Parquet file."""
    from importlib.metadata import PackageNotFoundError, version

    import pyarrow as pa
    import pyarrow.parquet as pq

    from semconv.text.corpus import docstring_documents

    known = dict[str, str]()
    for name in packages or load_suite("mini").corpus.packages:
        with suppress(PackageNotFoundError):
            known[name] = version(name)
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"text": [document.text for document in docstring_documents(known)]}), file)


@dataclass(frozen=True)
class Wanted:
    """One SAE that the rehearsal reads: where it lies, its width, its input, its layer and its active features."""

    repository: str
    file: str
    width: int
    d_in: int
    layer: int
    l0: int = L0


def saes_of(layers: tuple[list[int], list[int]], wide: bool, scale: Scale = SCALES["full"]) -> list[Wanted]:
    """Returns the SAEs of the suite `gemma2` at some layers, with the one of 65k features or without."""
    from semconv.models.sources import release_repository

    wanted = [
        (model, "16k", scale.features, shape.hidden_size, layer)
        for model, shape, of_model in zip(("2b", "9b"), scale.shapes, layers, strict=True)
        for layer in of_model
    ]
    if wide:
        wanted.append(("2b", "65k", 4 * scale.features, scale.shapes[0].hidden_size, 12))
    found: list[Wanted] = []
    for model, name, width, d_in, layer in wanted:
        sae = SaeConfig(
            f"blocks.{layer}.hook_resid_post",
            release=f"gemma-scope-{model}-pt-res-canonical",
            sae_id=f"layer_{layer}/width_{name}/canonical",
        )
        repository, folder = release_repository(sae)
        found.append(Wanted(repository, f"{folder}/params.npz", width, d_in, layer, scale.l0))
    return found


def write_world(folder: Path, scale: Scale, saes: list[Wanted]) -> None:
    """Writes all repositories below a folder, `OWNER/NAME` each, those of data sets in `datasets`; a rerun writes what
    is missing."""
    corpus = load_suite("gemma2").corpus
    for seed, (name, shape) in enumerate(zip(("gemma-2-2b", "gemma-2-9b"), scale.shapes, strict=True)):
        place = folder / "google" / name
        if not (place / "model.safetensors.index.json").exists():  # which is written last
            place.mkdir(parents=True, exist_ok=True)
            write_tokenizer(place, shape.vocab_size)
            write_model(place, shape, seed)
    for seed, sae in enumerate(saes):
        file = folder / sae.repository / sae.file
        if not file.exists():
            partial = file.with_name("partial.npz")
            write_sae(partial, sae.width, sae.d_in, sae.layer, 1000 + seed, sae.l0)
            partial.rename(file)
    text = folder / "datasets" / corpus.path / corpus.files[0]
    if not text.exists():
        write_text(text, scale.packages)
