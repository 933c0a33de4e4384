"""What the results say of controls: floors, ceilings, and every SAE matched with itself."""

from __future__ import annotations

from collections.abc import Mapping

from semconv.results.schema import (
    Against,
    ControlPair,
    Controls,
    LayerPair,
    Score,
    SeedCeiling,
    SelfMatch,
    StrongestPairs,
)
from semconv.suite.config import SuiteConfig
from semconv.suite.sae_labels import pair_key


def tell_controls(
    suite: SuiteConfig,
    grid: Mapping[str, LayerPair],
    selves: Mapping[str, SelfMatch],
    controls: Mapping[str, LayerPair],
    strongest: Mapping[str, tuple[LayerPair, LayerPair]],
    *,
    unfair: frozenset[str],
    seeds: dict[str, SeedCeiling],
) -> Controls:
    """Returns the section of the results on controls.

    Args:
        suite: whose controls.
        grid: layer pair -> what was found.
        selves: `MODEL/SAE` -> that SAE matched with itself.
        controls: control -> its layer pair.
        strongest: floor -> itself and the trained models, on their strongest pairs.
        unfair: floors that are none: they read untrained models through an SAE of A or B.
        seeds: `MODEL/SAE` -> the range over its seeds.
    """
    pairs = {
        control.name: ControlPair(
            **vars(controls[control.name]),
            kind=control.kind,
            model_a=control.model_a.name,
            model_b=control.model_b.name,
            trained_saes=control.name in unfair if control.kind == "floor" else None,
            trained_embeddings=any(m.trained_embeddings for m in (control.model_a, control.model_b)) or None,
        )
        for control in suite.controls
    }
    scores = [score for match in selves.values() for score in match.scores.values() if score is not None]
    lowest = [match.lowest_r for match in selves.values() if match.lowest_r is not None]
    return Controls(
        self_match=dict(selves),
        pairs=pairs,
        strongest={name: StrongestPairs(floor=floor, trained=trained) for name, (floor, trained) in strongest.items()},
        seeds=seeds or None,
        against={measure: _against(grid, pairs, measure) for measure in suite.compare.measures},
        lowest_self_score=min(scores, default=None),
        lowest_self_r=min(lowest, default=None),
    )


def _against(grid: Mapping[str, LayerPair], pairs: Mapping[str, ControlPair], measure: str) -> Against:
    """Returns for one measure the lowest ceiling, the cross-model score at the layers of the floors, and the floor.

    A floor at layers that are not in the grid has no cross-model score to be held against, and is left out, like one
    that is none (`unfair`).
    """
    scores: dict[str, list[float]] = {"ceiling": [], "floor": []}
    keys = set[str]()
    for pair in pairs.values():
        key, found = pair_key(pair.sae_a, pair.sae_b), pair.measures[measure]
        if pair.kind == "floor":
            if key not in grid:
                continue
            keys.add(key)
        if isinstance(found, Score) and not pair.trained_saes:
            scores[pair.kind].append(found.score)
    of_grid = [grid[key].measures[measure] for key in keys]
    cross = [found.score for found in of_grid if isinstance(found, Score)]
    ceiling, floor = min(scores["ceiling"], default=None), max(scores["floor"], default=None)
    lowest = min(cross, default=None)
    return Against(
        ceiling=ceiling,
        cross_model=lowest,
        floor=floor,
        below_ceiling=None if ceiling is None or lowest is None else max(cross) < ceiling,
        above_floor=None if floor is None or lowest is None else lowest > floor,
    )
