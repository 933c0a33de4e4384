"""Sentences that stand in `report.md` and on the page alike."""

from __future__ import annotations

import math

from semconv.compare.registry import DRAW_CLASSES
from semconv.report.result_values import default_measure, names_of, score_of, spread_sources, title_of
from semconv.report.shown import show
from semconv.results.schema import (
    DepthTest,
    Model,
    NullOverGrid,
    NullTest,
    Published,
    Reason,
    Results,
    SpansGrid,
    StreamsGrid,
    Subspaces,
)
from semconv.statistics.permutation import LEVEL
from semconv.suite.nulls import MATCHED_AGAIN

_ROUNDED_TO_ALL = 0.9995  # what three digits would print as 1
_FEW = 4  # layers up to which each is named
_ROUNDING = 1e-6  # by which a score of 1 may miss it
PAPER, PROTOCOL = "https://arxiv.org/abs/2507.22918", "https://arxiv.org/abs/2410.06981"
"""The study that is repeated, and the one whose protocol it follows."""

COUNTS_TEXT = (
    "Beside a count stands the layer pair among those counted that is furthest above the mean of the null, with that "
    "mean; where none is counted, the furthest of all. Where draws are few, *at least N together or none* says how "
    "many layer pairs can have q < 0.05."
)

SELF_MATCH_TEXT = "Positive control: an SAE matched with itself must find itself and score 1."
CONTROLS_TEXT = (
    "In the table: floors, the same layers of both models, ceilings; z and p against each one's own shuffled pairing. "
    "Rows of the strongest pairs require no shared top token and no minimum r, which leave next to nothing of models "
    "that learned nothing."
)
SEEDS_TEXT = (
    "Ceiling at every layer: SAEs of one model from several seeds, each matched with each; lowest and highest score. "
    "Two models can hardly be more alike than one model is to itself through another seed."
)
SPLIT_HALF_TEXT = "Split half: every feature matched on one half of the documents and again on the other."
RELATIONS_TEXT = (
    "How the categories relate: Spearman between the category-by-category similarities of the two models, p "
    "from permuted labels."
)
INFLUENCE_TEXT = (
    "What the correlation of the pairs rests on: how much of a pair's covariance its ten strongest positions add, its "
    "strongest document and its strongest token; and r when the mean of each token is taken off both features. Counted "
    "are pairs of which one document, or one token, adds more than half, and pairs whose r within tokens is above the "
    "bar too. Every pair's own numbers are columns of `pairs.parquet`."
)
DEPTHS_TEXT = (
    "Middle above ends: the mean over layer pairs in the middle third of both models less the "
    "mean of early with early and late with late ones. Closeness in depth: the rank correlation of the score with the "
    "closeness of the relative depths, given the number of feature pairs. Then the rank correlations with the same "
    "grid over spans, and by category, where enough layer pairs have both. Every p comes of permuting which depth is "
    "which in both models."
)

DECODERS_TEXT = (
    "Baselines beside the correlation of features, each with the mean of its null and p in brackets. An affine map "
    "from A's stream to B's is fitted on half of the documents; R² is the share of the variance that it foretells "
    "on the other half. The decoder rows of A, mapped, have cosines with those of B: as the best one-to-one "
    "assignment pairs them, and the best of every feature of B; then the share of the feature pairs that the "
    "assignment names, too. Their null fits the map to texts that are shifted against each other, as the null of "
    "the mean of every feature's best r does. These two, the share and the mean best r, stand without their p, "
    "which the calibration study in docs/statistics.md finds too small. Last, RSA of the pairs' decoder rows given how "
    "alike the same directions are over the vocabulary; its null permutes the pairing."
)


def two_scores(results: Results) -> str:
    """Returns why every layer pair has two scores; only the nulls of the run that match features again are named."""
    drawn = {null for summary in results.summary.values() for null in summary.nulls}
    again = [f"`{null}`" for null in MATCHED_AGAIN if null in drawn]
    if not again:
        return ""
    rest = "; under `rematch` often no pair passes every filter" if "rematch" in drawn else ""
    return (
        "Every layer pair has two scores: of all pairs that pass every filter, and of the *strongest pairs*, the pairs "
        "of highest r, chosen without requiring a shared top token or a minimum r. Only the latter are as many under "
        f"nulls that match features again ({', '.join(again)}) and can be compared with them{rest}."
    )


def kinds_text(results: Results) -> str:
    """Returns what floor and ceiling are in this run, and by which measures a floor lies above a ceiling."""
    floors, ceilings = ([p for p in results.controls.pairs.values() if p.kind == kind] for kind in ("floor", "ceiling"))
    trained = {bool(floor.trained_embeddings) for floor in floors}
    nothing, embeddings = "nothing was trained", "only the embeddings were trained"
    of = " or ".join(what for what, some in ((nothing, False), (embeddings, True)) if some in trained)
    said = [
        f"Floor: models of which {of}." if of else "",
        "Ceiling: one model through another SAE." if ceilings else "",
    ]
    fewer, others = list[str](), list[str]()
    for measure in results.summary:
        both = [
            (floor.pairs, ceiling.pairs)
            for floor in floors
            for ceiling in ceilings
            if (low := score_of(floor, measure)) and (top := score_of(ceiling, measure)) and low.score > top.score
        ]
        if both:
            (fewer if all(a < b for a, b in both) else others).append(title_of(measure))
    if fewer:
        said.append(
            f"By these measures a floor scores higher than a ceiling of more pairs: {'; '.join(fewer)}. That does not "
            "say that its models agree more: some measures rise as pairs get fewer, whatever is shared, so that floor "
            "and ceiling can be compared only where they have about as many pairs."
        )
    if others:
        said.append(f"By these measures a floor scores higher than a ceiling of no more pairs: {'; '.join(others)}.")
    return " ".join(filter(None, said))


def best_layer_pair_text(results: Results) -> str:
    """Returns by what the best layer pair of a measure is chosen, in words."""
    by = dict.fromkeys(s.ranked_by for s in results.summary.values() if s.best_layer_pair)
    against = " or ".join(f"`{null}`" for null in by if null)
    if not any(by):
        return "of its highest score"
    calibrated = f"of its highest calibrated score against {against}, which need not be that of its highest score"
    return calibrated + (" (where no null was drawn, of its highest score)" if None in by else "")


def self_match_text(results: Results) -> str:
    """Returns what an SAE matched with itself must give, and whether every one gave it."""
    score, r = results.controls.lowest_self_score, results.controls.lowest_self_r
    if score is None or r is None:
        return SELF_MATCH_TEXT
    if min(score, r) > 1 - _ROUNDING:
        return f"{SELF_MATCH_TEXT} Every one does, up to rounding."
    return f"{SELF_MATCH_TEXT} The lowest score is {show(score)}, the lowest r {show(r)}."


def size_in_words(model: Model) -> str:
    """Returns what a model is: its family, blocks, width and parameters, as far as the results say."""
    if model.blocks is None or model.width is None or model.parameters is None:
        return ""
    size, unit = (model.parameters / 1e9, "billion") if model.parameters >= 1e9 else (model.parameters / 1e6, "million")
    return f"{model.family}, {model.blocks} blocks of width {model.width:,}, {show(size)} {unit} parameters"


def layers_in_words(model: Model) -> str:
    """Returns which layers of a model are compared, and of how many."""
    layers = sorted({sae.layer for sae in model.saes.values()})
    if model.blocks and layers == list(range(model.blocks)):
        return f"every layer, 0 to {model.blocks - 1}"
    of = f" of 0 to {model.blocks - 1}, as the suite chooses" if model.blocks else ""
    run = len(layers) > _FEW and layers == list(range(layers[0], layers[-1] + 1))
    return f"layers {f'{layers[0]} to {layers[-1]}' if run else ', '.join(map(str, layers))}{of}"


def text_compared(results: Results) -> str:
    """Returns how much text was compared, in words."""
    corpus, (a, b) = results.corpus, names_of(results)
    of_a, of_documents = f"{corpus.n_tokens:,} tokens", f"of {corpus.n_documents:,} documents"
    if not corpus.n_spans:
        return f"{of_a} {of_documents}"
    other = f" and {corpus.b.n_tokens:,} of {b}" if corpus.b else ""
    return (
        f"{corpus.n_spans:,} spans of text that both read, pooled from {of_a} of {a}{other}, {of_documents}; "
        "wherever tokens are counted below, these spans are"
    )


def depth_text(results: Results) -> str:
    """Returns by how many measures scores are higher where layers correspond in depth; empty where not asked."""
    tests = {name: of.correspondence for name, of in results.depths.items()} if results.depths else {}
    known = {name: test for name, test in tests.items() if isinstance(test, DepthTest)}
    if not known:
        return ""
    n = sum(test.statistic > 0 and test.p < LEVEL for test in known.values())
    shown = known.get(measure := default_measure(results))
    own = (
        f"; by {title_of(measure)} the rank correlation is {show(shown.statistic)}, p {show(shown.p)}" if shown else ""
    )
    by = f"By {n or 'none'} of {len(known)} measures"
    return f"{by} scores are higher where layers correspond in depth (p < {LEVEL:g}){own}."


def interval_covers(results: Results, n: int) -> str:
    """Returns what the interval of the best of n layer pairs covers, in words."""
    sources = spread_sources(results)
    if not sources:
        return ""
    over = " and ".join(filter(None, [", ".join(sources[:-1]), *sources[-1:]]))
    return f"for the best of {n} layer pairs, over {over}" if n > 1 else f"over {over}"


def least_together(summary: NullOverGrid, any_dependence: bool = False) -> int | None:
    """Returns how many layer pairs at least have q < 0.05 if any has, None where none was tested.

    Of N p that are at least p_0, k have q below the level only if N p_0 / k is, and N p_0 is the smallest q of one.
    Where that is cut off at 1 it is a bound that may be too low.

    Args:
        summary: of one null of one measure.
        any_dependence: q is after Benjamini-Yekutieli, which multiplies it by 1 + 1/2 + ... + 1/N.
    """
    if summary.smallest_q is None:
        return None
    factor = sum(1 / i for i in range(1, summary.layer_pairs + 1)) if any_dependence else 1.0
    return math.floor(min(max(summary.smallest_q, 0.0), 1.0) * factor / LEVEL + 1e-9) + 1


def together_or_none(summary: NullOverGrid) -> str:
    """Returns what stands beside a count of layer pairs with q < 0.05 where so few draws cannot tell one alone.

    Args:
        summary: of one null of one measure.
    """
    least = least_together(summary)
    if least is None or least == 1:
        return ""
    if least > summary.layer_pairs:
        return "none possible with so few draws"
    return f"at least {least} together or none"


def cannot_tell(n: int) -> str:
    """Returns what stands beside a count of layer pairs with q < 0.05 where the number of draws decides on others."""
    return f"{n} cannot be told: above every draw, but too few draws" if n else ""


def counted_alone(summary: NullOverGrid) -> str:
    """Returns what stands beside a count of layer pairs with q < 0.05 where some p come from fitted tails."""
    if not summary.from_tail:
        return ""
    counted = f"{summary.significant_counted} layer pairs with counted p alone"
    return f"{summary.from_tail} of the p from fitted tails, {counted}"


def draws_text(results: Results) -> str:
    """Returns how the draws of the nulls of the pairing depart from one number for all; empty where they do not."""
    null, parts = results.null, list[str]()
    for name, n in (null.draws or {}).items():
        parts.append(f"{n:,} for {', '.join(m for m in DRAW_CLASSES.get(name, ()) if m in results.summary) or name}")
    said = [f"Permutations: {null.n_permutations:,}, but {'; '.join(parts)}."] if parts else []
    if null.stop_after:
        said.append(
            f"A null of the pairing ends once {null.stop_after} draws reach the score, after "
            f"{null.stop_from or null.stop_after} at the earliest (Besag & Clifford 1991); p is exact, and the best of "
            "the grid is tested on the draws that all have."
        )
    if null.tail:
        said.append(
            "p marked as of a fitted tail is an approximation: the upper end of an interval, never below a tenth of "
            "the counted p, which stands beside it (Knijnenburg et al. 2009)."
        )
    return " ".join(said)


def tail_note(test: NullTest) -> str:
    """Returns what there is to say of the tail of a null; empty where none was to be fitted."""
    if isinstance(test.tail, Reason):
        return test.tail.reason
    if test.tail is None:
        return ""
    return f"tail fitted to the {test.tail.exceedances} largest draws, counted p {show(test.tail.p_counted)}"


def draws_note(test: NullTest) -> str:
    """Returns how the p of a test was got; empty where it is counted from as many draws as the suite has for all."""
    told = [f"{test.draws:,} draws" if test.draws is not None else ""]
    told += ["ended early" if test.p_from == "sequential" else "", tail_note(test)]
    return ", ".join(filter(None, told))


def is_smallest(p: float, draws: int | None) -> bool:
    """Whether p is 1 / (m + 1), the smallest that m draws can give."""
    return draws is not None and p * (draws + 1) <= 1 + 1e-9


def p_bound(p: float, draws: int | None) -> str | None:
    """Returns p with the sign before it of a number that so many draws cannot tell from a smaller or a larger one.

    Args:
        p: (b + 1) / (m + 1) of m draws.
        draws: m; None where p was not counted from draws.

    Examples:
        >>> from semconv.report.texts import p_bound
        >>> p_bound(1 / 101, 100), p_bound(0.5, 100), p_bound(1.0, 100), p_bound(1.0, 9999)
        ('≤ 0.0099', None, '≥ 0.99', '≥ 0.999')
    """
    if draws is None:
        return None
    if is_smallest(p, draws):
        return f"≤ {show(p)}"
    if p < _ROUNDED_TO_ALL:
        return None
    steps = 1000 if draws >= 999 else 100
    return f"≥ {math.floor(min(p, draws / (draws + 1)) * steps + 1e-9) / steps}"


def p_told(p: float, draws: int | None, p_from: str | None = None, of: int | None = None) -> float | str:
    """Returns p as a table shows it: where the results say so, with its number of draws and how it was got.

    Args:
        p: of a test.
        draws: that it was counted from, where the results state them of it.
        p_from: how it was got, as `NullTest` says.
        of: draws that bound it (`p_bound`), also where the results do not state them; None where none do.
    """
    marks = [f"{draws:,} draws"] if draws is not None else []
    marks += {"sequential": ["ended early"], "tail": ["fitted tail"]}.get(p_from or "", [])
    bound = p_bound(p, of)
    return f"{bound or show(p)}" + (f" ({', '.join(marks)})" if marks else "") if marks or bound else p


def published_text(results: Results, published: Published) -> str:
    """Returns where the published steps were taken."""
    a, b = names_of(results)
    where = f"Layers {published.layer_a} of {a} and {published.layer_b} of {b}."
    return f"{where} A p of 0 is what ten shuffles without + 1 print."


def subspaces_text(subspaces: Subspaces, left_out: int) -> str:
    """Returns what the categories are, and how many cells are left out."""
    return (
        f"Keyword lists `{subspaces.categories}`, rule `{subspaces.rule}`; features are matched again inside "
        f"each category. {left_out} category cells hold too few features or pairs to claim anything and are left out."
    )


def spans_text(spans: SpansGrid) -> str:
    """Returns what was pooled over."""
    return (
        f"Activations pooled by {spans.how} over {spans.n_spans:,} {spans.kind} of {spans.mean_length:.1f} "
        "tokens on average, then the same pipeline; q against the shuffled pairing."
    )


def streams_text(streams: StreamsGrid) -> str:
    """Returns at what the streams were compared, and what the numbers are for."""
    left_out = streams.positions - streams.repeated
    return (
        f"The residual streams that the SAEs read, compared without any SAE at {streams.positions:,} positions of "
        f"{streams.documents:,} documents (RSA at {streams.rsa_positions:,} of them). It is what models share before "
        "there are features: a score of features is no evidence of more than that. Within tokens, the mean of each "
        f"token is taken off both streams; {left_out:,} positions whose token occurs only once are left out there."
    )
