"""Which names results will have, as far as a suite says so before it is run."""

from __future__ import annotations

from collections.abc import Sequence

from semconv.results.claim_paths import KnownNames
from semconv.study.decoder_baselines import GIVEN
from semconv.study.function_observations import COMPARED
from semconv.study.matching_rules import RULES
from semconv.study.nulls import PAIRING_NULLS
from semconv.study.position_observations import KINDS
from semconv.study.streams import STREAM_MEASURES
from semconv.study.task_names import (
    ceilings_of,
    compared_position_kinds,
    compared_rules,
    function_controls,
    function_pairs,
    seeds_of_grid,
    sides_of,
)
from semconv.study.tell_function import thirds_of
from semconv.suite.config import ModelConfig, SuiteConfig
from semconv.suite.nulls import MATCHED_AGAIN
from semconv.suite.sae_labels import pair_key
from semconv.text.keywords import load_categories


def known_names(suite: SuiteConfig) -> KnownNames:
    """Returns the keys of tables and the absent parts of the results of a suite.

    Raises:
        InputError: the keyword lists of the suite cannot be read.
    """
    pairs = [pair_key(a, b) for a in suite.model_a.by_label for b in suite.model_b.by_label]
    saes = [name for model in (suite.model_a, suite.model_b) for name in _names(model)]
    measures, controls = suite.compare.measures, [control.name for control in suite.controls]
    floors = [control.name for control in suite.controls if control.kind == "floor"]
    again = suite.null.matched_again
    nulls = (*PAIRING_NULLS, *again)
    parts = {"subspaces": suite.subspaces, "spans": suite.spans, "published": suite.published}
    parts |= {"streams": suite.streams, "function": suite.function}
    absent = [name for name, settings in parts.items() if settings is None]
    absent += [] if suite.streams is not None and suite.streams.draws else ["streams.*.decoders"]
    absent += [] if compared_rules(suite) else ["function.rules"]
    absent += [] if compared_position_kinds(suite) else ["function.position_kinds"]
    absent += [f"*.{null}" for null in MATCHED_AGAIN if null not in again]
    absent += [] if again else ["*.strongest_pairs_score"]
    seeds, drawn = seeds_of_grid(suite), suite.null.n_bootstrap or suite.null.n_pair_halves
    absent += [] if seeds else ["*.across_seeds", "controls.seeds"]
    absent += [] if drawn or seeds else ["*.interval", "*_interval", "*.spread"]
    ceilings = [control.name for control in suite.controls if control.kind == "ceiling"]
    categories = list(load_categories(suite.subspaces.categories).keywords) if suite.subspaces else []
    keys = {  # of the patterns that fit a place the first counts, and `*` stands for dots too
        "model_a.saes": list(suite.model_a.by_label),
        "model_b.saes": list(suite.model_b.by_label),
        "summary": measures,
        "controls.seeds": [sides_of(suite)[side] for side in ceilings_of(suite)],
        "controls.pairs": controls,
        **{f"controls.pairs.{name}.*.nulls": PAIRING_NULLS for name in ceilings},
        "controls.strongest.*.nulls": (*PAIRING_NULLS, *list(again)[:1]),
        "controls.strongest": floors,
        "controls.against": measures,
        "controls.self_match": saes,
        "controls.self_match.*.scores": measures,
        "read.controls": controls,
        "grid": pairs,
        "spans.grid": pairs,
        "streams.grid": pairs,
        "streams.*.measures": STREAM_MEASURES,
        "streams.*.partial_rsa": list(GIVEN),
        "streams.*.partial_rsa.*.nulls": ["shuffle"],
        "streams.*.same_partner.nulls": ["shift", "partners"],
        "streams.*.nulls": ["shift"],
        **_of_function(suite, pairs),
        "subspaces.grid": pairs,
        "subspaces.relations": pairs,
        "subspaces.shared_features": saes,
        "spans.*.nulls": ["shuffle"],
        "subspaces.*.nulls": ["shuffle"],
        "subspaces.*.measures": suite.subspaces.measures if suite.subspaces else (),
        "subspaces.grid.*": categories,
        "*.nulls": nulls,
        "*.measures": measures,
    }
    return KnownNames(suite.name, keys, tuple(absent))


def _of_function(suite: SuiteConfig, pairs: list[str]) -> dict[str, Sequence[str]]:
    return {
        "function.grid": function_pairs(suite),
        "function.controls": function_controls(suite),
        "function.lens": pairs,
        "function.thirds": thirds_of(suite),
        "function.*.alike": COMPARED,
        "function.rules.*.rules": RULES,
        "function.rules": compared_rules(suite),
        "function.position_kinds.*.kinds": KINDS,
        "function.position_kinds": compared_position_kinds(suite),
    }


def _names(model: ModelConfig) -> list[str]:
    return [f"{model.name}/{label}" for label in model.by_label]
