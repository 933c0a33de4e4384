"""What a run leaves beside its results: matched pairs, their contexts and decoder rows, the draws of the nulls."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Int
from numpy import ndarray

from semconv.models.sources import neuronpedia_id
from semconv.runs.pairs_table import MatchedPairs, write_pairs
from semconv.runs.run import Run
from semconv.runs.task_cache import Result
from semconv.study.comparison import Encoded, Nulls
from semconv.study.layer_pairs import Protocol, observed_pairs
from semconv.study.sides import Side, key_of
from semconv.system.files import write_tensors
from semconv.text.contexts import FeaturesToShow, ReadText, strongest, write_contexts
from semconv.text.token_blocks import TokenBlocks

DECODERS = "decoders.safetensors"
NULLS = "nulls.safetensors"
Name = Literal["a", "b"]


def write_matched_pairs(run: Run, protocol: Protocol, encoded: Encoded) -> list[MatchedPairs]:
    """Writes `pairs.parquet`; returns the pairs of every layer pair."""
    saes_a, saes_b = run.suite.model_a.by_label, run.suite.model_b.by_label
    groups = [
        MatchedPairs(
            a.layer,
            b.layer,
            a.label,
            b.label,
            *observed_pairs(protocol, key_of(a, b), a, b),
            a.tokens,
            b.tokens,
            neuronpedia_id(saes_a[a.label]),
            neuronpedia_id(saes_b[b.label]),
        )
        for a in encoded.sides_a
        for b in encoded.sides_b
    ]
    write_pairs(run.folder / "pairs.parquet", groups)
    return groups


def _paired(groups: list[MatchedPairs], name: Name, label: str) -> Int[ndarray, " n"]:
    """Returns the features of one side that stand in any pair, ascending."""
    of_saes = [(g.a, g.sae_a) if name == "a" else (g.b, g.sae_b) for g in groups]
    return np.unique(np.concatenate([found for found, sae in of_saes if sae == label]))


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

    def wanted(name: Name, side: Side) -> FeaturesToShow:
        features = _paired(groups, name, side.label)

        def make() -> Result:
            positions, values = strongest(side.acts, features)
            return {}, {"positions": positions, "values": values}

        inputs = [side.store_sha256, features.tolist()]
        _, kept = protocol.cache.get(f"contexts.{name}.{side.label}", inputs, make)
        text = of_a if name == "a" else of_b
        return FeaturesToShow(name, side.layer, side.label, features, kept["positions"], kept["values"], text)

    write_contexts(run.folder / "contexts.parquet", [wanted(name, side) for name, side in _sides(encoded)])


def write_pair_decoders(run: Run, encoded: Encoded, groups: list[MatchedPairs]) -> None:
    """Writes the decoder rows of the paired features: `a.SAE.rows` float32 [n, d], `a.SAE.features` int64 [n]."""
    tensors: dict[str, torch.Tensor] = {}
    for name, side in _sides(encoded):
        features = _paired(groups, name, side.label)
        tensors[f"{name}.{side.label}.features"] = torch.from_numpy(features)
        tensors[f"{name}.{side.label}.rows"] = torch.from_numpy(side.decoder[features].astype(np.float32))
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
