"""What a reader must know before believing the results: sentences made from the results alone."""

from __future__ import annotations

from statistics import median

from semconv.results.schema import Fit, FitOrReason, Results, Sae
from semconv.suite.sae_labels import pair_key

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


def warnings_of(results: Results) -> tuple[str, ...]:
    """Returns the sentences for `results.warnings`, most serious first; none where all is well. Takes them in order.

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
    return tuple(sentence for check in checks for sentence in check(results))


def _saes(results: Results) -> list[tuple[str, Sae]]:
    """Returns name and facts of every SAE of A and B."""
    models = (results.model_a, results.model_b)
    return [(f"{model.name}/{label}", sae) for model in models for label, sae in model.saes.items()]


def _fits(results: Results) -> dict[str, FitOrReason]:
    """Returns name -> fit of every SAE, of controls too, unless another warning already covers a poor one."""
    fits = {name: sae.fit for name, sae in _saes(results)}
    for control, both in results.read.controls.items():
        pair = results.controls.pairs.get(control)
        if pair is None or pair.trained_saes:
            continue
        fits.setdefault(f"{pair.model_a}/{pair.sae_a} (control {control})", both.a)
        fits.setdefault(f"{pair.model_b}/{pair.sae_b} (control {control})", both.b)
    return fits


def _poor_fits(results: Results) -> list[str]:
    fits = _fits(results).items()
    shares = {name: fit.explained_variance for name, fit in fits if isinstance(fit, Fit)}
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


def _sinks(results: Results) -> str:
    """Returns what is to be said of attention sinks whether they count or not; empty where there are none."""
    sinks, saes = results.corpus.sinks, [sae for _, sae in _saes(results)]
    with_sinks = [sae for sae in saes if sae.sinks]
    if not with_sinks:
        return ""
    shares = [sae.sinks_norm_share or 0.0 for sae in with_sinks]
    low, high = _percent(min(shares)), _percent(max(shares))
    n_a, n_b = sinks.positions_a, sinks.positions_b
    one = n_a == n_b == 1
    found = (
        "1 position of the text is an attention sink"
        if one
        else f"{n_a:,}{'' if n_a == n_b else f' and {n_b:,}'} positions of the text are attention sinks"
    )
    return (
        f"{found}, where the norm of a stream is above {sinks.multiple:g} times its median; "
        f"{'it holds' if one else 'they hold'} {low if low == high else f'{low} to {high}'} of the squared norm of the "
        f"streams of {len(with_sinks)} of {len(saes)} SAEs."
    )


def _kept_sinks(results: Results) -> list[str]:
    found = "" if results.corpus.sinks.excluded else _sinks(results)
    if not found:
        return []
    return [
        f"{found} Such positions count, and features that are active there alone correlate whatever they mean; "
        "--sink-norm 10, or match.sink_norm = 10 in a suite, leaves them out."
    ]


def _excluded_sinks(results: Results) -> list[str]:
    found = _sinks(results) if results.corpus.sinks.excluded else ""
    return (
        [f"{found} Such positions are left out of everything that is compared; --sink-norm 0 keeps them."]
        if found
        else []
    )


def _same_activations(results: Results) -> list[str]:
    """Tells of pairs of SAEs that are one and the same SAE on one text: their scores are 1 by construction."""
    a, b = results.model_a, results.model_b
    same = [
        f"{a.name}/{pair.sae_a} and {b.name}/{pair.sae_b}"
        for pair in results.grid.values()
        if a.saes[pair.sae_a].activations_sha256 == b.saes[pair.sae_b].activations_sha256
    ]
    if not same:
        return []
    return [
        f"The features of {_several(same)} are active in exactly the same way: that is one SAE compared with itself, "
        "every feature is its own best partner, and the score of the pair says nothing. The highest score of the grid "
        "and its mean contain it."
    ]


def _unlike_halves(results: Results) -> list[str]:
    shares = [pair.split_half.same_partner for pair in results.grid.values()]
    known = [share for share in shares if share is not None]
    if not known or median(known) >= AGREEING:
        return []
    return [
        f"Matched on either half of the documents, only {_percent(median(known))} of the features find the same best "
        f"partner, in the middle of the grid (at least {_percent(AGREEING)} is wanted): the pairs rest on few "
        "positions, or there is too little text."
    ]


def _dead_features(results: Results) -> list[str]:
    dead = [f"{name} ({_percent(sae.dead_share)})" for name, sae in _saes(results) if sae.dead_share > DEAD]
    if not dead:
        return []
    return [f"More than {_percent(DEAD)} of the features are active nowhere in this text: {_several(dead)}."]


def _floors_through_trained_saes(results: Results) -> list[str]:
    return [
        f"The floor {name} reads untrained models through an SAE of the trained ones, which says nothing of them; the "
        "verdict leaves this floor out. Train SAEs on the untrained models, by the recipe of the others."
        for name, pair in results.controls.pairs.items()
        if pair.trained_saes
    ]


def _reads_both_ways(results: Results) -> list[str]:
    return [
        f"Model {model.name} reads in both directions: what it makes of a token depends on the text after "
        "it, which a causal model does not see. It is compared because that was asked for."
        for model in (results.model_a, results.model_b)
        if model.bidirectional
    ]


def _floors_outside_the_grid(results: Results) -> list[str]:
    return [
        f"The floor {name} is at layers {pair.sae_a} x {pair.sae_b}, which are not in the grid, so no score "
        "of the trained models stands beside it."
        for name, pair in results.controls.pairs.items()
        if pair.kind == "floor" and pair_key(pair.sae_a, pair.sae_b) not in results.grid
    ]
