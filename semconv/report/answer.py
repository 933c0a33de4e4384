"""The answer of a run to the title of its report: what was compared, found, how sure it is, and what is not shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from semconv.report.beyond_tokens import depth_parts, in_words
from semconv.report.result_values import (
    default_measure,
    embeddings_floors,
    key_of,
    names_of,
    null_names,
    score_of,
    test_of,
    title_of,
)
from semconv.report.scales import rounded
from semconv.report.shown import show
from semconv.report.texts import size_in_words, text_compared
from semconv.report.told_apart import BestCell, best_cell, draws_of, undecided
from semconv.report.verdict import embeddings_agree
from semconv.results.schema import LayerPair, NullOverGrid, Results
from semconv.suite.nulls import MATCHED_AGAIN

_EXPLAINS = {
    "same_bigram": "the last two tokens explain",
    "same_token": "the token that is read explains",
    "rematch": "text shifted by whole documents gives",
    "frequency": "pairing features at random that are active about equally often gives",
    "shuffle": "pairing the same features at random gives",
}
"""Null -> what a score above it is more than."""
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
        sure: one sentence: how sure, how much, and beside another seed of the same SAE.
        open: one sentence: what is not shown.
    """

    compared: str
    found: str
    sure: str
    open: str

    @property
    def sentences(self) -> tuple[str, str, str]:
        """What was found, how sure, what not."""
        return self.found, self.sure, self.open


def answer(results: Results) -> Answer:
    """Returns the answer of a run, made from its numbers."""
    if not results.summary:
        return Answer("", "No measure was taken, so there is nothing to answer with.", "", "")
    measure = default_measure(results)
    null = asked_null(results)
    best = best_cell(results, measure, null) if null is not None else None
    if null is None or best is None:
        nothing = f"By {title_of(measure)} no layer pair left enough feature pairs to be tested."
        if results.summary[measure].layer_pairs:
            nothing = f"No null of {title_of(measure)} was drawn, so a score says nothing."
        return Answer(_compared(results, measure, null), nothing, "", "")
    summary = results.summary[measure].nulls[null]
    found = _found(results, measure, null, summary)
    return Answer(
        _compared(results, measure, null), found, _sure(results, measure, null, best), _open(results, null, summary)
    )


def asked_null(results: Results) -> str | None:
    """Returns the null that the answer is against: `same_token` where it was drawn, or else the hardest to beat."""
    measure = default_measure(results)
    drawn = [null for null in null_names(results) if null in results.summary[measure].nulls]
    return "same_token" if "same_token" in drawn else drawn[-1] if drawn else None


def _null_in_words(null: str | None) -> str:
    return f"; here `{null}`, under which {_DRAWN[null]}" if null else ""


def _compared(results: Results, measure: str, null: str | None) -> str:
    (a, b), pairs = names_of(results), [pair.pairs for pair in results.grid.values()]
    widths = sorted({sae.n_features for model in (results.model_a, results.model_b) for sae in model.saes.values()})
    of = " to ".join(f"{n:,}" for n in dict.fromkeys((widths[0], widths[-1])))
    most = f"{min(pairs):,} to {max(pairs):,}" if min(pairs) < max(pairs) else f"{pairs[0]:,}"
    declared = ", the measure declared beforehand" if results.primary == measure else ""
    sizes = [f" ({size})" if (size := size_in_words(model)) else "" for model in (results.model_a, results.model_b)]
    origin = f"{results.corpus.origin}: " if results.corpus.origin else ""
    return (
        f"Model A, {a}{sizes[0]}, and model B, {b}{sizes[1]}, read the same text, {origin}{text_compared(results)}. At "
        "each layer a sparse autoencoder (SAE) writes what a model computes at a token as a few active numbers out of "
        f"{of}, its *features*. Features of a layer of {a} and a layer of {b}, a *layer pair*, were paired where they "
        f"are active at the same places: {most} pairs out of {of} features in each of {len(pairs):,} layer pairs. A "
        "*score* "
        f"says how alike the pairs lie in both models, 1 at the most; here by {title_of(measure)}{declared}. A *null* "
        f"is what scores are by chance{_null_in_words(null)}."
    )


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
    """Gives how many layer pairs of every third of the depths lie above a null."""
    for part in depth_parts([*results.grid.values()]):
        tests = [test_of(pair, measure, null) for pair in part.pairs]
        q = [test.q for test in tests if test is not None and test.q is not None]
        name = {"other": "that join different thirds of the depths", "": ""}.get(part.name, f"of the {part.name} third")
        if q and part.name:
            yield f"{sum(value < 0.05 for value in q)} of {len(q)} {name}"


def _sure(results: Results, measure: str, null: str, best: BestCell) -> str:
    summary, pair = results.summary[measure].nulls[null], results.grid[best.key]
    n, few = summary.significant, undecided(results, measure, null)
    strict = f"{summary.significant_by} of them if tests may depend on each other in any way"
    chance = f"of these {n} at most 5% are expected to be chance (q < 0.05; {strict})" if n else "no q is below 0.05"
    alone = f"one alone could reach q {show(summary.smallest_q)} at best"
    draws = f"with {draws_of(results, null):,} draws of the null {alone}"
    decided = f", and {few} cannot be told" if few else ""
    of = "of the pairs of highest r at" if null in MATCHED_AGAIN else "at"
    highest = f"the highest score, {of} layers {best.key}, is {rounded(best.score)} against {rounded(best.null_mean)}"
    said = f"{chance}; {draws}{decided}", f"{highest} under the null", ceiling_text(results, measure, pair)
    return f"**How sure:** {'; '.join(filter(None, said))}."


def ceiling_text(results: Results, measure: str, pair: LayerPair) -> str:
    """Returns the score of all pairs of a layer pair beside those of other seeds or SAEs of one and the same model."""
    score, summary = score_of(pair, measure), results.summary[measure]
    reached = ceilings(results, measure, pair)
    if score is None or not reached:
        return ""
    covers = summary.best_interval if key_of(pair) == summary.best_layer_pair else score.interval
    within = f" (95% interval {' to '.join(map(rounded, covers))})" if covers else ""
    values = sorted(reached.values())
    over = " to ".join(dict.fromkeys(map(rounded, (values[0], values[-1]))))
    return (
        f"of all pairs there it is {rounded(score.score)}{within}, where one model reaches {over} with itself through "
        "an "
        "SAE of another seed"
    )


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
        said.append("that trained blocks add to what trained embeddings bring")
    said.append("what the paired features do, which this score does not ask")
    return f"**Not shown:** {'; '.join(said)}."


def diagonal(results: Results) -> list[tuple[str, list[LayerPair]]]:
    """Returns the layer pairs of the figure of the answer, by the third of the depths that both layers lie in."""
    parts = [part for part in depth_parts([*results.grid.values()]) if part.name != "other"]
    return [(part.name or "all layer pairs", part.pairs) for part in parts]
