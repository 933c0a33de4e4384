"""What a reader must know before believing the results: sentences made from the results alone."""

from __future__ import annotations

from typing import Any

from semconv.sae_labels import key_of_cell


def warnings_of(results: dict[str, Any]) -> list[str]:
    """Returns the sentences for `results["warnings"]`, most serious first; none where all is well.

    They follow from the rest of the results, so that an archive without models gives the same ones.
    """
    checks = (_floors_through_trained_saes, _reads_both_ways, _floors_outside_the_grid)
    return [sentence for check in checks for sentence in check(results)]


def _floors_through_trained_saes(results: dict[str, Any]) -> list[str]:
    return [
        f"The floor {name} reads untrained models through an SAE of the trained ones, which says nothing of them; the "
        "verdict leaves this floor out. Train SAEs on the untrained models, by the recipe of the others."
        for name, pair in results["controls"]["pairs"].items()
        if pair.get("trained_saes")
    ]


def _reads_both_ways(results: dict[str, Any]) -> list[str]:
    return [
        f"Model {results[side]['name']} reads in both directions: what it makes of a token depends on the text after "
        "it, which a causal model does not see. It is compared because that was asked for."
        for side in ("model_a", "model_b")
        if results[side].get("bidirectional")
    ]


def _floors_outside_the_grid(results: dict[str, Any]) -> list[str]:
    return [
        f"The floor {name} is at layers {pair['sae_a']} x {pair['sae_b']}, which are not in the grid, so no score "
        "of the trained models stands beside it."
        for name, pair in results["controls"]["pairs"].items()
        if pair["kind"] == "floor" and key_of_cell(pair) not in results["grid"]
    ]
