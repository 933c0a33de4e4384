"""What a run leaves beside its results: matched pairs, what is shown of them, decoder rows, the draws of the nulls."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray

from semconv.models.decoders import decoder_rows, decoder_shape
from semconv.models.sources import neuronpedia_id
from semconv.pipeline.encoded_sides import Loaded
from semconv.pipeline.shown import Name, of_sides, paired, write_shown
from semconv.runs.pairs_table import MatchedPairs, PairLenses
from semconv.runs.run import Run
from semconv.runs.tasks import Workplace
from semconv.statistics.stopping import stopping_of
from semconv.study.function_observations import LensObservation
from semconv.study.observations import Observations
from semconv.study.observe import Encoded
from semconv.study.tell_function import function_agreement
from semconv.suite.config import ModelConfig, SuiteConfig
from semconv.suite.nulls import MATCHED_AGAIN
from semconv.system.files import write_tensors
from semconv.system.large_tensors import Planned, write_large_tensors

DECODERS = "decoders.safetensors"
NULLS = "nulls.safetensors"


def write_beside(run: Run, place: Workplace, loaded: Loaded, observations: Observations) -> None:
    """Writes what belongs to the results: tables of pairs, features and text, decoder rows of pairs, draws of nulls.

    Args:
        run: whose folder it goes to.
        place: where what tables show beside the results is found, and kept.
        loaded: everything that was encoded.
        observations: of the study.
    """
    encoded = loaded.encoded
    groups = matched_pairs(run.suite, encoded, observations)
    write_shown(run, place, loaded, groups)
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


def _write_pair_decoders(run: Run, encoded: Encoded, groups: list[MatchedPairs]) -> None:
    """Writes the decoder rows of the paired features: `a.SAE.rows` float32 [n, d], `a.SAE.features` int64 [n]."""
    tensors: dict[str, Planned] = {}
    models: dict[Name, ModelConfig] = {"a": run.suite.model_a, "b": run.suite.model_b}

    def rows(file: Path, features: Int[ndarray, " n"]) -> torch.Tensor:
        return torch.from_numpy(decoder_rows(file)[features])

    for name, side in of_sides(encoded):
        features = paired(groups, name, side.label)
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
