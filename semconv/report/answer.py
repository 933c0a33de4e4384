"""The answer of a run to the title of its report: what was compared, found, how sure it is, and what is not shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from semconv.report.beyond_tokens import depth_parts, in_words, thirds_in_words
from semconv.report.function_section import difference, layers_by_third, of_third, third_tests
from semconv.report.result_values import (
    counts_under,
    default_measure,
    embeddings_floors,
    key_of,
    names_of,
    score_of,
    test_of,
    title_of,
)
from semconv.report.scales import rounded
from semconv.report.texts import least_together, size_in_words, text_compared
from semconv.report.told_apart import BestCell, best_cell, draws_of, undecided
from semconv.report.verdict import embeddings_agree
from semconv.results.schema import LayerPair, NullOverGrid, Results
from semconv.statistics.permutation import LEVEL
from semconv.suite.nulls import MATCHED_AGAIN, primary_null

_EXPLAINS = {
    "same_bigram": "the last two tokens explain",
    "same_token": "the token that is read explains",
    "rematch": "text shifted by whole documents gives",
    "frequency": "pairing features at random that are active about equally often gives",
    "shuffle": "pairing the same features at random gives",
}
"""Null -> what a score above it is more than."""
_FEW = 10
"""Layer pairs up to which those that are found are named."""
_AGAIN = "and features are matched again"
_DRAWN = {
    "same_bigram": f"B's activations are exchanged between positions of the same two tokens, {_AGAIN}",
    "same_token": f"B's activations are exchanged between positions of the same token, {_AGAIN}",
    "rematch": f"one model's text is shifted by whole documents, {_AGAIN}",
    "frequency": "partners are exchanged among features that are active about equally often",
    "shuffle": "partners are exchanged",
}
"""Null -> what a draw of it does."""
_LEAVES_OPEN = {
    "rematch": "whether that is more than which token is read (the null `same_token` was not drawn)",
    "frequency": "what matching the features again by chance would give (`rematch` was not drawn)",
    "shuffle": "what matching the features again by chance would give (`rematch` was not drawn)",
}


@dataclass(frozen=True)
class Answer:
    """The answer in words, as Markdown.

    Attributes:
        compared: what was compared, with the terms that the rest uses.
        found: one sentence: for how many layer pairs, which, against which null.
        sure: one sentence: how sure.
        size: one sentence: how far from the null, and beside another seed of the same SAE.
        does: one sentence: what the paired features do when ablated; empty where the suite did not ask.
        open: one sentence: what is not shown.
    """

    compared: str
    found: str
    sure: str = ""
    size: str = ""
    does: str = ""
    open: str = ""

    @property
    def sentences(self) -> tuple[str, ...]:
        """Those there are: what was found, how sure, how much, what the features do, what is not shown."""
        return tuple(filter(None, (self.found, self.sure, self.size, self.does, self.open)))


def answer(results: Results) -> Answer:
    """Returns the answer of a run, made from its numbers."""
    if not results.summary:
        return Answer("", "No measure was taken, so there is nothing to answer with.")
    measure = default_measure(results)
    null = asked_null(results)
    best = best_cell(results, measure, null) if null is not None else None
    if null is None or best is None:
        nothing = f"By {title_of(measure)} no layer pair left enough feature pairs to be tested."
        if results.summary[measure].layer_pairs:
            nothing = f"No null of {title_of(measure)} was drawn, so a score says nothing."
        return Answer(_compared(results, measure, null), nothing)
    summary = results.summary[measure].nulls[null]
    found = _found(results, measure, null, summary)
    return Answer(
        compared=_compared(results, measure, null),
        found=found,
        sure=_sure(results, measure, null),
        size=_size(results, measure, null, best),
        does=_does(results),
        open=_open(results, null, summary),
    )


def asked_null(results: Results) -> str | None:
    """Returns the null that the answer is against: `same_token` where it was drawn, or else the hardest to beat."""
    return primary_null(list(results.summary[default_measure(results)].nulls))


def _null_in_words(null: str | None) -> str:
    return f"; here `{null}`, under which {_DRAWN[null]}" if null else ""


def _compared(results: Results, measure: str, null: str | None) -> str:
    (a, b), pairs = names_of(results), [pair.pairs for pair in results.grid.values()]
    widths = sorted({sae.n_features for model in (results.model_a, results.model_b) for sae in model.saes.values()})
    of = " to ".join(f"{n:,}" for n in dict.fromkeys((widths[0], widths[-1])))
    most = f"{min(pairs):,} to {max(pairs):,}" if min(pairs) < max(pairs) else f"{pairs[0]:,}"
    declared = ", the measure declared beforehand" if results.primary == measure else ""
    sizes = [f" ({size})" if (size := size_in_words(model)) else "" for model in (results.model_a, results.model_b)]
    thirds = thirds_in_words(results)
    depths = f" By depth the compared layers are {thirds}." if thirds else ""
    origin = f"{results.corpus.origin}: " if results.corpus.origin else ""
    return (
        f"Model A, {a}{sizes[0]}, and model B, {b}{sizes[1]}, read the same text, {origin}{text_compared(results)}. At "
        "each layer a sparse autoencoder (SAE) writes what a model computes at a token as a few active numbers out of "
        f"{of}, its *features*. Features of a layer of {a} and a layer of {b}, a *layer pair*{_written(results)}, were "
        f"paired where they are active at the same places, by their correlation r: {most} pairs out of {of} features "
        f"in each of {len(pairs):,} layer pairs. A *score* says how alike the pairs lie in both models, 1 at the most; "
        f"here by {title_of(measure)}{declared}. A *null* "
        f"is what scores are by chance{_null_in_words(null)}.{depths}"
    )


def _written(results: Results) -> str:
    """Returns how a layer pair is written, by that of the last layers; empty where SAEs have other names."""
    key, pair = list(results.grid.items())[-1]
    plain = (pair.sae_a, pair.sae_b) == (str(pair.layer_a), str(pair.layer_b))
    a, b = names_of(results)
    return f" (`{key}` is layer {pair.layer_a} of {a} and layer {pair.layer_b} of {b})" if plain else ""


def _found(results: Results, measure: str, null: str, summary: NullOverGrid) -> str:
    n, of = summary.significant, summary.layer_pairs
    parts = [*_by_depth(results, measure, null)] if n else []
    where = f": {in_words(parts)}" if parts else ""
    opening = "**Not shown.**" if not n else "**Yes, by this test.**" if n == of else "**In part.**"
    return (
        f"{opening} The features of both models agree more than {_EXPLAINS[null]} (the null `{null}`) in {n} of {of} "
        f"layer pairs{where}."
    )


def _by_depth(results: Results, measure: str, null: str) -> Iterable[str]:
    """Gives how many layer pairs of every third of the depths lie above a null, and which, if they are few."""
    every = [test_of(pair, measure, null) for pair in results.grid.values()]
    few = sum(test is not None and test.q is not None and test.q < LEVEL for test in every) <= _FEW
    for part in depth_parts([*results.grid.values()]):
        tests = [(key_of(pair), test_of(pair, measure, null)) for pair in part.pairs]
        q = {key: test.q for key, test in tests if test is not None and test.q is not None}
        name = {"other": "that join different thirds of the depths", "": ""}.get(part.name, f"of the {part.name} third")
        above = [key for key, value in q.items() if value < LEVEL]
        which = f" ({', '.join(above)})" if few and above else ""
        if q and part.name:
            yield f"{len(above)} of {len(q)} {name}{which}"


def _sure(results: Results, measure: str, null: str) -> str:
    summary = results.summary[measure].nulls[null]
    n, few, least = summary.significant, undecided(results, measure, null), least_together(summary) or 1
    said = ["at most 5% of such findings are expected to be chance (q < 0.05)" if n else "no q is below 0.05"]
    reach = f"at least {least} layer pairs reach q < 0.05 together or none does"
    reach = "no layer pair can reach q < 0.05" if least > summary.layer_pairs else reach
    said += [f"with {draws_of(results, null):,} draws of the null {reach}"] if least > 1 else []
    said += [f"{few} cannot be told, above every draw but with too few draws"] if few else []
    return f"**How sure:** {'; '.join(said)}.{_stricter(summary, draws_of(results, null)) if n else ''}"


def _stricter(summary: NullOverGrid, draws: int) -> str:
    """Returns how many of the layer pairs found pass the stricter correction, or that so few could not have."""
    n, strict, least = summary.significant, summary.significant_by, least_together(summary, any_dependence=True) or 1
    whose = " The stricter Benjamini-Yekutieli correction, which holds for any dependence,"
    if not strict and n < least:
        needed = f"it needs at least {least} at once"
        needed = "none can pass it, whatever the data" if least > summary.layer_pairs else needed
        found, them = ("the one found", "it") if n == 1 else (f"any of the {n} found", "them")
        return (
            f"{whose} could not have passed {found}: with {draws:,} draws {needed}. "
            f"So it neither confirms nor refutes {them}."
        )
    passed = {0: f"none of the {n}", n: f"all {n}"}.get(strict, f"{strict} of the {n}")
    if n == 1:
        return f"{whose} {'passes it, too' if strict else 'does not pass it'}."
    return f"{whose} passes {passed}."


def _size(results: Results, measure: str, null: str, best: BestCell) -> str:
    pair, found = results.grid[best.key], [(key, test_of(pair, measure, null)) for key, pair in results.grid.items()]
    tests = [(key, test, test.score - test.mean) for key, test in found if test is not None and test.mean is not None]
    above = sorted(excess for _, test, excess in tests if test.q is not None and test.q < LEVEL)
    below = sorted((excess, key) for key, _, excess in tests if excess < 0)
    said, whose = list[str](), "the scores found lie" if len(above) > 1 else "the score found lies"
    if above:
        over = " to ".join(dict.fromkeys(map(rounded, (above[0], above[-1]))))
        said.append(f"{whose} {over} above the mean of the null")
    if below:
        lie = "lie below it" if above else "scores lie below the mean of the null"
        furthest = f"by {rounded(-below[0][0])} at the most, layers {below[0][1]}"
        said.append(f"{len(below)} of {len(tests)} {lie} ({furthest})")
    strongest = " of its pairs of highest r" if null in MATCHED_AGAIN else ""
    at = (
        f"The best layer pair by calibrated score (0 is what chance reaches, 1 the top) is {best.key}: the score"
        f"{strongest} is {rounded(best.score)}, against {rounded(best.null_mean)} under the null"
    )
    rest = at, _pairs_there(pair, null), ceiling_text(results, measure, pair, null)
    return f"**How much:** {'. '.join(filter(None, ('; '.join(said), *rest)))}."


def _pairs_there(pair: LayerPair, null: str) -> str:
    """Returns how many feature pairs pass every filter, of the text and under a null that matches again."""
    counts = counts_under(pair, null)
    if counts is None:
        return ""
    return f"There {pair.pairs} feature pairs pass every filter, and {counts.pairs_mean:.0f} on average under the null"


def ceiling_text(results: Results, measure: str, pair: LayerPair, null: str) -> str:
    """Returns the score of all pairs of a layer pair beside those of other seeds or SAEs of one and the same model.

    The interval is of the score of all pairs, so it stands there only where this is what the null tests.
    """
    score, summary = score_of(pair, measure), results.summary[measure]
    reached = ceilings(results, measure, pair)
    if score is None or not reached:
        return ""
    best_of = summary.layer_pairs if key_of(pair) == summary.best_layer_pair else 1
    covers = summary.best_interval if best_of > 1 else score.interval
    adjusted = f", adjusted for picking the best of {best_of}" if best_of > 1 else ""
    tested = covers if null not in MATCHED_AGAIN else None
    within = f" (95% interval {' to '.join(map(rounded, tested))}{adjusted})" if tested else ""
    values = sorted(reached.items(), key=lambda one: one[1])
    over = in_words([f"{rounded(value)} ({name})" for name, value in values])
    if all(name in (results.controls.seeds or {}) for name in reached):
        top = f"SAEs of one model from different seeds reach {over} among themselves on average"
    else:
        top = f"one model reaches {over} with itself through another SAE"
    of = "On all pairs that pass every filter, which alone can be set beside a ceiling, the score there is"
    of = of if null in MATCHED_AGAIN else "The score of all pairs there is"
    return f"{of} {rounded(score.score)}{within}; {top}"


def ceilings(results: Results, measure: str, pair: LayerPair) -> Mapping[str, float]:
    """Returns the mean score of the SAEs of a layer pair with those of other seeds, by SAE; of ceilings at the same
    layers where the run has no seeds."""
    found = dict[str, float]()
    for model, sae in ((results.model_a.name, pair.sae_a), (results.model_b.name, pair.sae_b)):
        seeds = (results.controls.seeds or {}).get(f"{model}/{sae}")
        of_measure = seeds.measures.get(measure) if seeds else None
        if of_measure is not None:
            found[f"{model}/{sae}"] = of_measure.mean
            continue
        for control in results.controls.pairs.values():
            score = score_of(control, measure)
            if control.kind == "ceiling" and (control.model_a, control.sae_a) == (model, sae) and score is not None:
                found[f"{model}/{sae}"] = score.score
    return found


def _open(results: Results, null: str, summary: NullOverGrid) -> str:
    rest = summary.layer_pairs - summary.significant
    said = [f"whether the other {rest} layer pairs agree"] if rest and summary.significant else []
    said += [_LEAVES_OPEN[null]] if null in _LEAVES_OPEN else []
    if embeddings_floors(results) and not embeddings_agree(results):
        said.append("that the trained blocks, and not only the embeddings, make the models agree")
    if not _does(results):
        said.append("what the paired features do, which this score does not ask")
    return f"**Not shown:** {'; '.join(said)}."


def _does(results: Results) -> str:
    """Returns for which layers partners agree more than their best hard negatives when ablated; empty if not tested."""
    tests = third_tests(results.function) if results.function else []
    if not tests:
        return ""
    layers, known = layers_by_third(results), dict(tests)
    negative = "the *best hard negative*, another feature that is active there or shares the token,"
    more = [name for name, test in known.items() if test.difference > 0 and test.p < LEVEL]
    of = {name: of_third(name, layers) for name in known}
    rest = [of[name] for name in known if name not in more]
    if not more:
        agree = f"It is not shown that these effects agree more than with {negative} {in_words(rest)}"
    else:
        found = [f"{of[name]} by {difference(known[name])}" for name in more]
        agree = f"These effects agree more than with {negative} {in_words(found)}"
        agree += f"; this is not shown {in_words(rest)}" if rest else ""
    ablated = "both features of a pair are *ablated*, each taken out of its model, and what the models expect next "
    ablated += "changes"
    return f"**What they do:** {ablated}. {agree}."


def diagonal(results: Results) -> list[tuple[str, list[LayerPair]]]:
    """Returns the layer pairs of the figure of the answer, by the third of the depths that both layers lie in."""
    parts = [part for part in depth_parts([*results.grid.values()]) if part.name != "other"]
    return [(part.name or "all layer pairs", part.pairs) for part in parts]
