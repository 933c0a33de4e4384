"""Which tasks a suite is made of, and what each is called in the folder `tasks/` of a run."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np

from semconv.study.observations import PairObservation, RematchChunk, SwappedChunk
from semconv.suite.config import ControlConfig, ModelConfig, SaeConfig, SuiteConfig
from semconv.suite.hooks import hook_layer
from semconv.suite.nulls import AgainNull
from semconv.suite.sae_labels import pair_key

CHUNK = 20
"""Shifts, or resamples, whose results are kept together: what an interruption can cost."""
STRONGEST = "strongest."
"""What begins the names of tasks on strongest pairs."""


def saes_of_grid(suite: SuiteConfig) -> dict[str, tuple[SaeConfig, SaeConfig]]:
    """Returns layer pair, such as `0x2` -> the SAE of A and that of B."""
    return {pair_key(a.label, b.label): (a, b) for a in suite.model_a.saes for b in suite.model_b.saes}


def key_of_control(control: ControlConfig) -> str:
    """Returns the key of the layer pair at the layers of a control."""
    return pair_key(control.model_a.saes[0].label, control.model_b.saes[0].label)


def sides_of(suite: SuiteConfig) -> dict[str, str]:
    """Returns `a.LABEL` and `b.LABEL`, which names of tasks hold, -> `MODEL/SAE`, as the results call the SAEs."""
    models: dict[str, ModelConfig] = {"a": suite.model_a, "b": suite.model_b}
    return {f"{role}.{sae.label}": f"{model.name}/{sae.label}" for role, model in models.items() for sae in model.saes}


def grid_tag(key: str) -> str:
    """Returns what begins the names of the tasks of a layer pair."""
    return f"grid.{key}"


def chunks(n: int) -> list[range]:
    """Returns the numbers of n shifts or resamples, cut into those that are kept together."""
    return [range(first, min(first + CHUNK, n)) for first in range(0, n, CHUNK)]


def observed_task(tag: str) -> str:
    """Returns the name of the task that matches and scores two SAEs."""
    return f"{tag}.observed"


def rematch_task(tag: str, null: str, numbers: range) -> str:
    """Returns the name of the task that matches them again under some draws of a null."""
    return f"{tag}.{null}.{numbers[0]}"


def again_scores_task(tag: str, null: str, numbers: range) -> str:
    """Returns the name of the task that scores the strongest pairs under some draws of a null."""
    return f"{tag}.{null}-scores.{numbers[0]}"


def strongest_task(tag: str) -> str:
    """Returns the name of the task that scores the strongest pairs on the true text."""
    return f"{tag}.strongest-scores"


def control_tag(control: str) -> str:
    """Returns what begins the names of the tasks of a control."""
    return f"control.{control}"


def floor_tag(control: str) -> str:
    """Returns what begins the names of the tasks on the strongest pairs of a floor."""
    return f"{STRONGEST}{control}.floor"


def trained_tag(control: str) -> str:
    """Returns what begins the names of the tasks on the strongest pairs of the trained models beside a floor."""
    return f"{STRONGEST}{control}.trained"


def self_task(side: str) -> str:
    """Returns the name of the task that matches an SAE, `a.LABEL` or `b.LABEL`, with itself."""
    return f"self.{side}"


def shared_task(side: str) -> str:
    """Returns the name of the task that counts features in several categories, of an SAE, `a.LABEL` or `b.LABEL`."""
    return f"categories.{side}"


def halves_task(tag: str, numbers: range) -> str:
    """Returns the name of the task that scores some random halves of the feature pairs of two SAEs."""
    return f"{tag}.halves.{numbers[0]}"


def seeds_of_grid(suite: SuiteConfig) -> dict[str, tuple[int, int]]:
    """Returns layer pair -> how many SAEs from different seeds A and B have there; only where one has several."""
    counts = {key: tuple(1 + n for n in _others(suite, pair)) for key, pair in saes_of_grid(suite).items()}
    return {key: (i, j) for key, (i, j) in counts.items() if i * j > 1}


def _others(suite: SuiteConfig, pair: tuple[SaeConfig, SaeConfig]) -> tuple[int, int]:
    a, b = (len(suite.seeds_at(of, sae.label)) for of, sae in zip("ab", pair, strict=True))
    return a, b


def ceilings_of(suite: SuiteConfig) -> dict[str, list[tuple[int, int]]]:
    """Returns `a.LABEL` or `b.LABEL` -> pairs of the SAEs from different seeds there; only where there are several."""
    found: dict[str, list[tuple[int, int]]] = {}
    for of, model in suite.models.items():
        for label in model.by_label:
            pairs = list(combinations(range(1 + len(suite.seeds_at(of, label))), 2))
            if pairs:
                found[f"{of}.{label}"] = pairs
    return found


def seeds_task(tag: str, i: int, j: int) -> str:
    """Returns the name of the task that matches and scores SAE i of A and j of B; 0 is the model's own."""
    return f"{tag}.seeds.{i}x{j}"


def ceiling_task(side: str, i: int, j: int) -> str:
    """Returns the name of the task that matches and scores SAEs i and j of one model, of the side `a.LABEL`."""
    return f"seeds.{side}.{i}x{j}"


def resamples_task(tag: str, numbers: range) -> str:
    """Returns the name of the task that matches and scores two SAEs on some resamples of the documents."""
    return f"{tag}.bootstrap.{numbers[0]}"


SPANS_TASK = "spans"


def over_spans_task(key: str) -> str:
    """Returns the name of the task on a layer pair over pooled activations."""
    return f"spans.{key}"


STREAMS_TASK = "streams"


def stream_task(key: str) -> str:
    """Returns the name of the task on the streams of a layer pair."""
    return f"streams.{key}"


def stitched_task(key: str) -> str:
    """Returns the name of the task that maps the decoder rows of a layer pair."""
    return f"stitched.{key}"


def partial_task(key: str) -> str:
    """Returns the name of the task that takes the vocabulary out of the RSA of a layer pair."""
    return f"partial-rsa.{key}"


def lens_task(key: str) -> str:
    """Returns the name of the task on the logit lens of the pairs of a layer pair."""
    return f"lens.{key}"


def function_pairs(suite: SuiteConfig) -> list[str]:
    """Returns the layer pairs whose features are ablated: all, or those of matching depth."""
    if suite.function is None:
        return []
    return list(saes_of_grid(suite)) if suite.function.layers == "all" else _of_matching_depth(suite)


def _of_matching_depth(suite: SuiteConfig) -> list[str]:
    """Returns the layer pairs of matching depth.

    The i-th of n depths that are compared stands at (i + 1/2) / n. Every depth of the model with fewer of them goes
    with the nearest of the other, of two equally near ones the first.
    """
    saes = saes_of_grid(suite)
    depths = [sorted({hook_layer(sae.hook) for sae in model.saes}) for model in suite.models.values()]
    few, many = (0, 1) if len(depths[0]) <= len(depths[1]) else (1, 0)
    n, m = len(depths[few]), len(depths[many])
    kept = set[tuple[int, int]]()
    for i, layer in enumerate(depths[few]):
        nearest = min(range(m), key=lambda j: (abs((2 * i + 1) * m - (2 * j + 1) * n), j))
        both = layer, depths[many][nearest]
        kept.add(both if few == 0 else (both[1], both[0]))
    return [key for key, (a, b) in saes.items() if (hook_layer(a.hook), hook_layer(b.hook)) in kept]


def compared_rules(suite: SuiteConfig) -> list[str]:
    """Returns the layer pairs at which rules of matching are compared: those of matching depth, or the middle one."""
    rules = suite.function.rules if suite.function is not None else None
    return [] if rules is None else _middle_or_all(suite, rules.layers)


def compared_position_kinds(suite: SuiteConfig) -> list[str]:
    """Returns the layer pairs at which kinds of positions are compared, likewise."""
    kinds = suite.function.position_kinds if suite.function is not None else None
    return [] if kinds is None else _middle_or_all(suite, kinds.layers)


def _middle_or_all(suite: SuiteConfig, layers: str) -> list[str]:
    keys = _of_matching_depth(suite)
    return keys if layers == "diagonal" else [keys[len(keys) // 2]]


def function_controls(suite: SuiteConfig) -> list[str]:
    """Returns the controls whose features are ablated."""
    wanted = suite.function is not None and suite.function.control_pairs
    return [control.name for control in suite.controls] if wanted else []


def function_task(tag: str) -> str:
    """Returns the name of the task that ablates the features of a layer pair (its key) or control (`control_tag`)."""
    return f"function.{tag}"


def rules_task(key: str) -> str:
    """Returns the name of the task that ablates the pairs of several rules of matching at a layer pair."""
    return f"rules.{key}"


def position_kinds_task(key: str) -> str:
    """Returns the name of the task that ablates the pairs of a layer pair at positions of several kinds."""
    return f"position-kinds.{key}"


def best_r_task(key: str) -> str:
    """Returns the name of the task on the best r of every feature of a layer pair."""
    return f"best-r.{key}"


def categories_task(key: str) -> str:
    """Returns the name of the task on the categories of a layer pair."""
    return f"subspaces.{key}"


def step_task(name: str) -> str:
    """Returns the name of the task on one variant of the protocol."""
    return f"published.{name}"


def n_scored(pair: PairObservation, again: list[RematchChunk]) -> int:
    """Returns how many of the strongest pairs are scored: as many everywhere as there are anywhere.

    Scores of fewer pairs are not comparable with scores of more.
    """
    return min(len(pair.a), len(pair.ranked_a), *(int(n) for chunk in again for n in np.diff(chunk.ends)))


def chunk_of(null: str) -> type[RematchChunk]:
    """Returns what a task under a null that matches again keeps."""
    return RematchChunk if null == "rematch" else SwappedChunk


def matched_again(suite: SuiteConfig, tag: str) -> dict[AgainNull, int]:
    """Returns the nulls under which two SAEs are matched again, by what begins the names of their tasks -> draws.

    Ceilings have none: that one model agrees with itself is not asked of chance. The strongest pairs of floors, and of
    the trained models beside them, are held against each other, and have the first that the suite draws.
    """
    drawn = suite.null.matched_again
    if tag in {control_tag(one.name) for one in suite.controls if one.kind == "ceiling"}:
        return {}
    return dict(list(drawn.items())[:1]) if tag.startswith(STRONGEST) else drawn


def again_chunks(drawn: Mapping[AgainNull, int]) -> list[tuple[AgainNull, range]]:
    """Returns null and numbers of all draws that match again, cut into those that are kept together."""
    return [(name, numbers) for name, n in drawn.items() for numbers in chunks(n)]


def known_shifts(suite: SuiteConfig, tag: str, pair: PairObservation, wanted: int) -> list[range]:
    """Returns the draws of `rematch` that are also among the first `wanted` shifts of the text, as they are kept."""
    n = matched_again(suite, tag).get("rematch", 0) if is_rematched(suite, tag, pair) else 0
    return [numbers for numbers in chunks(n) if numbers[0] < wanted]


def is_rematched(suite: SuiteConfig, tag: str, pair: PairObservation) -> bool:
    """Whether a pair is matched again under nulls: some are drawn of it, and enough feature pairs are left."""
    return bool(matched_again(suite, tag)) and len(pair.a) >= suite.match.min_pairs


def studied_floors(suite: SuiteConfig, counts: Mapping[str, int]) -> list[ControlConfig]:
    """Returns the floors whose strongest pairs are studied: the trained models have enough pairs at their layers.

    Args:
        suite: whose controls.
        counts: layer pair -> its feature pairs.
    """
    floors = [control for control in suite.controls if control.kind == "floor"]
    return [control for control in floors if counts.get(key_of_control(control), 0) >= suite.match.min_pairs]
