"""Sentences that stand in `report.md` and on the page alike."""

from __future__ import annotations

from semconv.compare.registry import DRAW_CLASSES
from semconv.report.result_values import names_of, spread_sources
from semconv.results.schema import NullOverGrid, NullTest, Published, Reason, Results, SpansGrid, StreamsGrid, Subspaces
from semconv.statistics.permutation import LEVEL
from semconv.system.markdown import show

SELF_MATCH_TEXT = "Positive control: an SAE matched with itself must find itself and score 1."
CONTROLS_TEXT = (
    "Floor (models that learned nothing, or whose blocks did), the same layers across models, ceiling (same model, "
    "other SAE); z and p against each pair's own shuffled pairing. Rows of the strongest pairs are without the filters "
    "that ask for agreement, which leave next to nothing of models that learned nothing."
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
    "Where scores are high. Middle above ends: the mean over layer pairs in the middle third of both models less the "
    "mean of early with early and late with late ones. Closeness in depth: the rank correlation of the score with the "
    "closeness of the relative depths, given the number of feature pairs. Then the rank correlations with the same "
    "grid over spans, and by category. Every p comes of permuting which depth is which in both models."
)

DECODERS_TEXT = (
    "Baselines beside the correlation of features, each with the mean of its null and p in brackets. An affine map "
    "from A's stream to B's is fitted on half of the documents; R² is the share of the variance that it foretells "
    "on the other half. The decoder rows of A, mapped, have cosines with those of B: as the best one-to-one "
    "assignment pairs them, and the best of every feature of B; then the share of the feature pairs that the "
    "assignment names, too. Their null fits the map to texts that are shifted against each other, as the null of "
    "the mean of every feature's best r does. Last, RSA of the pairs' decoder rows given how alike the same "
    "directions are over the vocabulary; its null permutes the pairing."
)


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


def interval_covers(results: Results, n: int) -> str:
    """Returns what the interval of the best of n layer pairs covers, in words."""
    sources = spread_sources(results)
    if not sources:
        return ""
    over = " and ".join(filter(None, [", ".join(sources[:-1]), *sources[-1:]]))
    return f"for the best of {n} layer pairs, over {over}" if n > 1 else f"over {over}"


def lowest_q(summary: NullOverGrid) -> str:
    """Returns what stands beside a count of layer pairs with q < 0.05: the lowest q that one alone could have.

    Args:
        summary: of one null of one measure.
    """
    smallest = summary.smallest_q
    if smallest is None:
        return ""
    beside = f"one alone has q {show(smallest)} at best"
    return beside if smallest < LEVEL else f"{beside} and cannot be told"


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


def p_told(p: float, draws: int | None, p_from: str | None = None) -> float | str:
    """Returns p as a table shows it: where the results say so, with its number of draws and how it was got."""
    marks = [f"{draws:,} draws"] if draws is not None else []
    marks += {"sequential": ["ended early"], "tail": ["fitted tail"]}.get(p_from or "", [])
    return f"{show(p)} ({', '.join(marks)})" if marks else p


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
