"""What a run leaves beside its results: matched pairs, their contexts and decoder rows, the draws of the nulls."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Int
from numpy import ndarray

from semconv.comparison import Encoded, Nulls
from semconv.feature_contexts import ReadText, Wanted, strongest, write_contexts
from semconv.files import write_tensors
from semconv.layer_pairs import Protocol, observed_pairs
from semconv.matched_pairs import MatchedPairs, write_pairs
from semconv.model_activations import hook_layer
from semconv.run import Run
from semconv.sides import Side
from semconv.sources import neuronpedia_id
from semconv.task_cache import Result
from semconv.types import TokenBlocks

DECODERS = "decoders.safetensors"
NULLS = "nulls.safetensors"
Name = Literal["a", "b"]


def write_matched_pairs(run: Run, protocol: Protocol, encoded: Encoded) -> list[MatchedPairs]:
    """Writes `pairs.parquet`; returns the pairs of every layer pair."""
    saes = [{hook_layer(sae.hook): sae for sae in model.saes} for model in (run.suite.model_a, run.suite.model_b)]
    groups = [
        MatchedPairs(
            a.layer,
            b.layer,
            *observed_pairs(protocol, f"{a.layer}x{b.layer}", a, b),
            a.tokens,
            b.tokens,
            neuronpedia_id(saes[0][a.layer]),
            neuronpedia_id(saes[1][b.layer]),
        )
        for a in encoded.sides_a
        for b in encoded.sides_b
    ]
    write_pairs(run.folder / "pairs.parquet", groups)
    return groups


def _paired(groups: list[MatchedPairs], name: Name, layer: int) -> Int[ndarray, " n"]:
    """Returns the features of one side that stand in any pair, ascending."""
    of_layers = [(g.a, g.layer_a) if name == "a" else (g.b, g.layer_b) for g in groups]
    return np.unique(np.concatenate([found for found, at in of_layers if at == layer]))


def _sides(encoded: Encoded) -> list[tuple[Name, Side]]:
    return [*(("a", side) for side in encoded.sides_a), *(("b", side) for side in encoded.sides_b)]


def write_texts(
    run: Run,
    protocol: Protocol,
    encoded: Encoded,
    blocks: tuple[TokenBlocks, TokenBlocks],
    texts: tuple[list[str], list[str]],
    groups: list[MatchedPairs],
) -> None:
    """Writes `contexts.parquet`: the text that activates the features of the pairs most.

    Args:
        run: whose folder it goes to.
        protocol: keeps what was found.
        encoded: all sides.
        blocks: what A and B read.
        texts: text of every token id of A's tokenizer and of B's.
        groups: the pairs.
    """
    spans = encoded.spans or (None, None)
    of_a, of_b = (ReadText(*parts) for parts in zip(blocks, texts, spans, strict=True))

    def wanted(name: Name, side: Side) -> Wanted:
        features = _paired(groups, name, side.layer)

        def make() -> Result:
            positions, values = strongest(side.acts, features)
            return {}, {"positions": positions, "values": values}

        inputs = [side.store_sha256, features.tolist()]
        _, kept = protocol.cache.get(f"contexts.{name}.{side.layer}", inputs, make)
        text = of_a if name == "a" else of_b
        return Wanted(name, side.layer, features, kept["positions"], kept["values"], text)

    write_contexts(run.folder / "contexts.parquet", [wanted(name, side) for name, side in _sides(encoded)])


def write_pair_decoders(run: Run, encoded: Encoded, groups: list[MatchedPairs]) -> None:
    """Writes the decoder rows of the paired features: `a.LAYER.rows` float32 [n, d], `a.LAYER.features` int64 [n]."""
    tensors: dict[str, torch.Tensor] = {}
    for name, side in _sides(encoded):
        features = _paired(groups, name, side.layer)
        tensors[f"{name}.{side.layer}.features"] = torch.from_numpy(features)
        tensors[f"{name}.{side.layer}.rows"] = torch.from_numpy(side.decoder[features].astype(np.float32))
    write_tensors(run.folder / DECODERS, tensors)


def null_tensors(nulls: Nulls) -> dict[str, torch.Tensor]:
    """Returns every draw over the layer grid, float64, named like `0x2.shuffle.rsa`."""
    return {
        f"{key}.{name}": torch.from_numpy(np.ascontiguousarray(array))
        for key, arrays in nulls.items()
        for name, array in arrays.items()
    }


def write_nulls(folder: Path, nulls: Nulls) -> None:
    """Writes `nulls.safetensors`: what `null_tensors` names."""
    write_tensors(folder / NULLS, null_tensors(nulls))
