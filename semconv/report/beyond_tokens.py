"""The answer of a run in plain words: what two models share beyond the token read, for each third of the depths."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from semconv.report.result_values import counts_under, test_of, title_of
from semconv.report.scales import rounded
from semconv.report.texts import cannot_tell, together_or_none
from semconv.report.told_apart import undecided
from semconv.results.schema import LayerPair, Results
from semconv.statistics.depth import Thirds
from semconv.statistics.permutation import LEVEL
from semconv.suite.nulls import MATCHED_AGAIN

_THIRDS = ("early", "middle", "late")
_FEW = 4  # layers that are listed; of more the first and the last are told
_BAR = re.compile(r"r( within tokens)? > ")
NOT_DRAWN = (
    "The null that keeps every token where it is (`null.n_same_token`) was not drawn, so "
    "nothing here says whether the models share more than which token they are at."
)


@dataclass(frozen=True)
class Part:
    """Some layer pairs: those of one third of the depths in both models, or the others.

    Attributes:
        name: `early`, `middle`, `late` or `other`; empty where it is all of a small grid.
        pairs: the layer pairs.
    """

    name: str
    pairs: list[LayerPair]


def beyond_tokens(results: Results) -> str:
    """Returns how many layer pairs lie above `same_token`, and how many feature pairs agree within tokens."""
    if not results.null.n_same_token or not results.summary:
        return NOT_DRAWN
    measure = results.primary or next(iter(results.summary))
    of = f"By {title_of(measure)}" + (" (the primary end point)" if results.primary else "")
    parts = depth_parts([*results.grid.values()])
    tested = [part for part in parts if any(test_of(pair, measure, "same_token") for pair in part.pairs)]
    if not tested:
        return f"{of} no layer pair left enough feature pairs to be tested."
    counts = in_words([_above(part, measure) for part in tested])
    said = (
        f"{of} the models agree more than what the current token explains in {counts} "
        f"(above `same_token`, q < {LEVEL:g}{_undecided(results, measure)}). Elsewhere nothing is shown beyond which "
        "token "
        "is read, which is no evidence that there is nothing."
    )
    return " ".join(filter(None, (said, _sizes(tested, measure), _passing(results), _within(parts))))


def depth_parts(pairs: Sequence[LayerPair]) -> list[Part]:
    """Returns the layer pairs by third of the depths, where each model has three depths or more; else all of them."""
    layers = [sorted({pair.layer_a for pair in pairs}), sorted({pair.layer_b for pair in pairs})]
    if min(map(len, layers)) < len(_THIRDS):
        return [Part("", list(pairs))]
    third = [
        {layer: int(np.argmax([t.early[i], t.middle[i], t.late[i]])) for i, layer in enumerate(of_side)}
        for of_side, t in zip(layers, (Thirds.of(len(of_side)) for of_side in layers), strict=True)
    ]
    found = [Part(name, []) for name in (*_THIRDS, "other")]
    for pair in pairs:
        a, b = third[0][pair.layer_a], third[1][pair.layer_b]
        found[a if a == b else -1].pairs.append(pair)
    return [part for part in found if part.pairs]


def _above(part: Part, measure: str) -> str:
    tests = [test_of(pair, measure, "same_token") for pair in part.pairs]
    q = [test.q for test in tests if test is not None and test.q is not None]
    above = sum(value < LEVEL for value in q)
    if part.name == "other":
        return f"{above} of {len(q)} of layers from different thirds"
    return f"{above} of {len(q)} {part.name} layer pairs".replace("  ", " ")


def _undecided(results: Results, measure: str) -> str:
    found = results.summary[measure].nulls.get("same_token")
    said = together_or_none(found) if found else "", cannot_tell(undecided(results, measure, "same_token"))
    return "".join(f"; {one}" for one in said if one)


def _sizes(parts: Sequence[Part], measure: str) -> str:
    """How far the scores are from what the current token explains, on average."""
    told = list[str]()
    for part in parts:
        tests = [test_of(pair, measure, "same_token") for pair in part.pairs]
        both = [(test.score, test.mean) for test in tests if test is not None and test.mean is not None]
        if both and part.name != "other":
            score, mean = np.mean(both, axis=0)
            third = f" ({part.name})" if part.name else ""
            told.append(f"{rounded(float(score))} against {rounded(float(mean))}{third}")
    return f"The mean score of the strongest pairs, against that under the null: {in_words(told)}." if told else ""


def _passing(results: Results) -> str:
    """How many feature pairs pass the filters under the nulls that match again, as a share of those of the text."""
    told = list[str]()
    for null in reversed(MATCHED_AGAIN):
        both = [(counts_under(pair, null), pair.pairs) for pair in results.grid.values()]
        shares = sorted(counts.pairs_mean / n for counts, n in both if counts is not None and n)
        if shares:
            ends = dict.fromkeys(f"{share:.0%}" for share in (shares[0], shares[-1]))
            told.append(f"{' to '.join(ends)} under `{null}`")
    if not told:
        return ""
    return (
        "Feature pairs that pass every filter, on average and as a share of those of the text itself: "
        f"{in_words(told)}, by layer pair."
    )


def thirds_in_words(results: Results) -> str:
    """Returns which of the compared layers are early, middle and late; empty where a model has fewer than three."""
    told = list[str]()
    for part in depth_parts([*results.grid.values()]):
        if part.name in _THIRDS:
            a, b = (_layers({getattr(pair, side) for pair in part.pairs}) for side in ("layer_a", "layer_b"))
            told.append(f"{part.name} ({a} of A; {b} of B)")
    return in_words(told) if told else ""


def _layers(layers: Collection[int]) -> str:
    found = sorted(layers)
    return f"{found[0]} to {found[-1]}" if len(found) > _FEW else ", ".join(map(str, found))


def _within(parts: Sequence[Part]) -> str:
    """What share of the feature pairs keeps an r above the bar when each token's mean is taken off."""
    told, steps = list[str](), [count.step for part in parts for pair in part.pairs for count in pair.filters]
    for part in parts:
        found = [(pair.influence.pairs_within_token, pair.pairs) for pair in part.pairs if pair.influence is not None]
        kept = [(within, n) for within, n in found if within is not None]
        if kept and part.name != "other":
            share = sum(within for within, _ in kept) / sum(n for _, n in kept)
            told.append(f"{share:.0%} of the {part.name} feature pairs".replace("  ", " "))
    if not told:
        return ""
    bar = next((f"the bar of the filter `{step}`" for step in steps if _BAR.match(step)), "the bar of the filters")
    return f"Where only positions of one and the same token are compared, r stays above {bar} for {in_words(told)}."


def in_words(parts: Sequence[str]) -> str:
    """Returns parts of a sentence with commas and an `and` before the last."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
