"""What a reader must know before believing the results: sentences made from the results alone."""

from __future__ import annotations

from statistics import median
from typing import Any

from semconv.suite.sae_labels import key_of_cell

EXPLAINED = 0.5
"""Share of the variance of its stream that an SAE must explain. At their places SAEs explain 0.85 to 0.95 in the
mini suite, 0.7 to 0.8 of models that learned nothing. Two blocks away it is mostly below
0.5, often below 0, but can be 0.7: the meshes are wide, and where an SAE belongs is for its own metadata to say."""
AGREEING = 0.4
"""Share of features that must find the same best partner on either half of the text, in the middle of the grid: 0.84 in
the mini suite, and 0.51 for its models on 15,000 tokens."""
DEAD = 0.5
"""Share of features that may be active nowhere in the text; beyond, the dictionary is mostly of something else."""
_NAMED = 4  # SAEs that a sentence names


def warnings_of(results: dict[str, Any]) -> list[str]:
    """Returns the sentences for `results["warnings"]`, most serious first; none where all is well. Takes them in order.

    They follow from the rest of the results, so that an archive without models gives the same ones.
    """
    checks = (
        _poor_fits,
        _kept_sinks,
        _same_activations,
        _unlike_halves,
        _floors_through_trained_saes,
        _reads_both_ways,
        _floors_outside_the_grid,
        _dead_features,
        _excluded_sinks,
    )
    return [sentence for check in checks for sentence in check(results)]


def _saes(results: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Returns name and facts of every SAE of A and B."""
    models = (results["model_a"], results["model_b"])
    return [(f"{model['name']}/{label}", sae) for model in models for label, sae in model["saes"].items()]


def _poor_fits(results: dict[str, Any]) -> list[str]:
    fits = {name: sae["fit"] for name, sae in _saes(results)}
    for control, both in results["read"]["controls"].items():
        pair = results["controls"]["pairs"].get(control)
        if pair is None or pair.get("trained_saes"):  # of these it is to be expected, and told by another sentence
            continue
        for side, fit in both.items():
            fits.setdefault(f"{pair[f'model_{side}']}/{pair[f'sae_{side}']} (control {control})", fit)
    shares = {name: fit.get("explained_variance") for name, fit in fits.items()}
    poor = [f"{name} ({_percent(s)})" for name, s in shares.items() if s is not None and s < EXPLAINED]
    if not poor:
        return []
    return [
        f"Less than {_percent(EXPLAINED)} of the variance of its stream on this text is explained by SAE "
        f"{_several(poor)}: it may belong to another place, model or kind of text; what it finds then means nothing."
    ]


def _several(names: list[str]) -> str:
    """Returns names joined by commas, the first few of many."""
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%"


def _sinks(results: dict[str, Any]) -> str:
    """Returns what is to be said of attention sinks whether they count or not; empty where there are none."""
    sinks, saes = results["corpus"]["sinks"], [sae for _, sae in _saes(results)]
    shares = [sae["sinks_norm_share"] for sae in saes if sae["sinks"]]
    if not shares:
        return ""
    low, high = _percent(min(shares)), _percent(max(shares))
    n_a, n_b = sinks["positions_a"], sinks["positions_b"]
    one = n_a == n_b == 1
    found = (
        "1 position of the text is an attention sink"
        if one
        else f"{n_a:,}{'' if n_a == n_b else f' and {n_b:,}'} positions of the text are attention sinks"
    )
    return (
        f"{found}, where the norm of a stream is above {sinks['multiple']:g} times its median; "
        f"{'it holds' if one else 'they hold'} {low if low == high else f'{low} to {high}'} of the squared norm of the "
        f"streams of {len(shares)} of {len(saes)} SAEs."
    )


def _kept_sinks(results: dict[str, Any]) -> list[str]:
    found = "" if results["corpus"]["sinks"]["excluded"] else _sinks(results)
    if not found:
        return []
    return [
        f"{found} Such positions count, and features that are active there alone correlate whatever they mean; "
        "--sink-norm 10, or match.sink_norm = 10 in a suite, leaves them out."
    ]


def _excluded_sinks(results: dict[str, Any]) -> list[str]:
    found = _sinks(results) if results["corpus"]["sinks"]["excluded"] else ""
    return (
        [f"{found} Such positions are left out of everything that is compared; --sink-norm 0 keeps them."]
        if found
        else []
    )


def _same_activations(results: dict[str, Any]) -> list[str]:
    """Tells of pairs of SAEs that are one and the same SAE on one text: their scores are 1 by construction."""
    same = [
        f"{results['model_a']['name']}/{cell['sae_a']} and {results['model_b']['name']}/{cell['sae_b']}"
        for cell in results["grid"].values()
        if results["model_a"]["saes"][cell["sae_a"]]["activations_sha256"]
        == results["model_b"]["saes"][cell["sae_b"]]["activations_sha256"]
    ]
    if not same:
        return []
    return [
        f"The features of {_several(same)} are active in exactly the same way: that is one SAE compared with itself, "
        "every feature is its own best partner, and the score of the pair says nothing. The highest score of the grid "
        "and its mean contain it."
    ]


def _unlike_halves(results: dict[str, Any]) -> list[str]:
    shares = [cell["split_half"]["same_partner"] for cell in results["grid"].values()]
    known = [share for share in shares if share is not None]
    if not known or median(known) >= AGREEING:
        return []
    return [
        f"Matched on either half of the documents, only {_percent(median(known))} of the features find the same best "
        f"partner, in the middle of the grid (at least {_percent(AGREEING)} is wanted): the pairs rest on few "
        "positions, or there is too little text."
    ]


def _dead_features(results: dict[str, Any]) -> list[str]:
    dead = [f"{name} ({_percent(sae['dead_share'])})" for name, sae in _saes(results) if sae["dead_share"] > DEAD]
    if not dead:
        return []
    return [f"More than {_percent(DEAD)} of the features are active nowhere in this text: {_several(dead)}."]


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
