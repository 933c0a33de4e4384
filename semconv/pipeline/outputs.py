"""What a run leaves beside its results: matched pairs, their contexts and decoder rows, the draws of the nulls."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float32, Int, Int64
from numpy import ndarray

from semconv.models.decoders import decoder_rows, decoder_shape
from semconv.models.sources import neuronpedia_id
from semconv.pipeline.corpus_stage import corpus_of_b, tokenizer_of_corpus
from semconv.pipeline.encoded_sides import Loaded
from semconv.runs.pairs_table import MatchedPairs, PairLenses, write_pairs
from semconv.runs.run import Run
from semconv.runs.tasks import Task, Workplace
from semconv.statistics.stopping import stopping_of
from semconv.study.facts import NoFacts
from semconv.study.function_observations import LensObservation
from semconv.study.observations import Observations
from semconv.study.observe import Encoded
from semconv.study.sides import AnySide, Side
from semconv.study.tell_function import function_agreement
from semconv.suite.config import ModelConfig, SuiteConfig
from semconv.suite.nulls import MATCHED_AGAIN
from semconv.system.files import write_tensors
from semconv.system.large_tensors import Planned, write_large_tensors
from semconv.text.contexts import FeaturesToShow, ReadText, strongest, write_contexts
from semconv.text.top_tokens import token_texts

DECODERS = "decoders.safetensors"
NULLS = "nulls.safetensors"
Name = Literal["a", "b"]


@dataclass(frozen=True, eq=False)
class StrongestPlaces:
    """Where some features are strongest, as `strongest` gives it.

    Attributes:
        facts: none.
        positions: int64 [n, k].
        values: float32 [n, k].
    """

    facts: NoFacts
    positions: Int64[ndarray, "n k"]
    values: Float32[ndarray, "n k"]


def write_beside(run: Run, place: Workplace, loaded: Loaded, observations: Observations) -> None:
    """Writes what belongs to the results: `pairs.parquet`, `contexts.parquet`, decoder rows of pairs, draws of nulls.

    Args:
        run: whose folder it goes to.
        place: where it is found, and kept, which positions activate the features of the pairs most.
        loaded: everything that was encoded.
        observations: of the study.
    """
    encoded = loaded.encoded
    groups = matched_pairs(run.suite, encoded, observations)
    write_pairs(run.folder / "pairs.parquet", groups)
    _write_texts(run, place, loaded, groups)
    _write_pair_decoders(run, encoded, groups)
    write_nulls(run.folder, null_tensors(observations, run.suite))


def matched_pairs(suite: SuiteConfig, encoded: Encoded, observations: Observations) -> list[MatchedPairs]:
    """Returns the feature pairs of every layer pair."""
    saes_a, saes_b = suite.model_a.by_label, suite.model_b.by_label
    return [
        MatchedPairs(
            layer_a=a.layer,
            layer_b=b.layer,
            sae_a=a.label,
            sae_b=b.label,
            a=observations.grid[key].pair.a,
            b=observations.grid[key].pair.b,
            r=observations.grid[key].pair.r,
            influence=observations.grid[key].pair.influence,
            tokens_a=a.tokens,
            tokens_b=b.tokens,
            neuronpedia_a=neuronpedia_id(saes_a[a.label]),
            neuronpedia_b=neuronpedia_id(saes_b[b.label]),
            function=function_agreement(observations, key),
            lenses=_lenses(encoded, observations.lenses.get(key)),
        )
        for key, (a, b) in encoded.grid.items()
    ]


def _lenses(encoded: Encoded, found: LensObservation | None) -> PairLenses | None:
    if found is None or found.facts.reason is not None:
        return None
    tokens = np.stack([found.promoted_a, found.suppressed_a, found.promoted_b, found.suppressed_b])
    return PairLenses(tokens, encoded.texts, found.agreement[:, 0])


def _paired(groups: list[MatchedPairs], name: Name, label: str) -> Int[ndarray, " n"]:
    """Returns the features of one side that stand in any pair, ascending."""
    of_saes = [(g.a, g.sae_a) if name == "a" else (g.b, g.sae_b) for g in groups]
    return np.unique(np.concatenate([found for found, sae in of_saes if sae == label]))


def _sides(encoded: Encoded) -> list[tuple[Name, AnySide]]:
    return [*(("a", side) for side in encoded.sides_a), *(("b", side) for side in encoded.sides_b)]


def _write_texts(run: Run, place: Workplace, loaded: Loaded, groups: list[MatchedPairs]) -> None:
    """Writes `contexts.parquet`: the text that activates the features of the pairs most."""
    suite, encoded = run.suite, loaded.encoded
    texts_b = token_texts(tokenizer_of_corpus(corpus_of_b(suite))) if suite.align else encoded.texts
    spans_a, spans_b = encoded.spans or (None, None)
    read = {
        "a": ReadText(loaded.blocks[0], encoded.texts, spans_a),
        "b": ReadText(loaded.blocks[1], texts_b, spans_b),
    }

    features = {(name, side.label): _paired(groups, name, side.label) for name, side in _sides(encoded)}

    def task(name: Name, side: AnySide) -> Task:
        of_pairs = features[name, side.label]

        def make(held: Side) -> StrongestPlaces:
            return StrongestPlaces(NoFacts(), *strongest(held.acts, of_pairs))

        inputs = [side.store_sha256, of_pairs.tolist()]
        return Task(f"contexts.{name}.{side.label}", (side,), "match", inputs, make)

    place.run([task(name, side) for name, side in _sides(encoded)], partial(run.progress, "contexts"), "contexts")

    def found(name: Name, side: AnySide) -> FeaturesToShow:
        kept = place.cache.read_as(StrongestPlaces, f"contexts.{name}.{side.label}")
        of_pairs = features[name, side.label]
        return FeaturesToShow(name, side.layer, side.label, of_pairs, kept.positions, kept.values, read[name])

    write_contexts(run.folder / "contexts.parquet", [found(name, side) for name, side in _sides(encoded)])


def _write_pair_decoders(run: Run, encoded: Encoded, groups: list[MatchedPairs]) -> None:
    """Writes the decoder rows of the paired features: `a.SAE.rows` float32 [n, d], `a.SAE.features` int64 [n]."""
    tensors: dict[str, Planned] = {}
    models: dict[Name, ModelConfig] = {"a": run.suite.model_a, "b": run.suite.model_b}

    def rows(file: Path, features: Int[ndarray, " n"]) -> torch.Tensor:
        return torch.from_numpy(decoder_rows(file)[features])

    for name, side in _sides(encoded):
        features = _paired(groups, name, side.label)
        file = run.decoder_path(models[name], models[name].by_label[side.label])
        shape = len(features), decoder_shape(file)[1]
        tensors[f"{name}.{side.label}.features"] = Planned(
            torch.int64, (len(features),), partial(torch.from_numpy, features)
        )
        tensors[f"{name}.{side.label}.rows"] = Planned(torch.float32, shape, partial(rows, file, features))
    write_large_tensors(run.folder / DECODERS, tensors)


def null_tensors(observations: Observations, suite: SuiteConfig) -> dict[str, torch.Tensor]:
    """Returns the draws over the layer grid, float64 [m], named like `0x2.shuffle.rsa`; none of what has no score.

    Args:
        observations: of the study.
        suite: of the run, which says how many are taken of each.
    """

    def taken(draws: Float[ndarray, " m"], null: str, measure: str, score: float) -> torch.Tensor:
        most = len(draws) if null in MATCHED_AGAIN else stopping_of(suite.null, measure).ended(score, draws)
        return torch.from_numpy(np.ascontiguousarray(draws[:most]))

    return {
        f"{key}.{null}.{measure}": taken(draws[place], null, measure, float(studied.pair.scores[place]))
        for key, studied in observations.grid.items()
        for null, draws in studied.draws().items()
        for place, measure in enumerate(suite.compare.measures)
        if null in MATCHED_AGAIN or not studied.pair.facts.reasons[place]
    }


def write_nulls(folder: Path, draws: dict[str, torch.Tensor]) -> None:
    """Writes `nulls.safetensors`: what `null_tensors` gives."""
    write_tensors(folder / NULLS, draws)
