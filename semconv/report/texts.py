"""Sentences that stand in `report.md` and on the page alike."""

from __future__ import annotations

from semconv.report.result_values import names_of
from semconv.results.schema import NullOverGrid, Published, Results, SpansGrid, Subspaces
from semconv.statistics.permutation import LEVEL
from semconv.system.markdown import show

SELF_MATCH_TEXT = "Positive control: an SAE matched with itself must find itself and score 1."
CONTROLS_TEXT = (
    "Floor (models that learned nothing), the same layers across models, ceiling (same model, other SAE); "
    "z and p against each pair's own shuffled pairing. Rows of the strongest pairs are without the filters "
    "that ask for agreement, which leave next to nothing of models that learned nothing."
)
SPLIT_HALF_TEXT = "Split half: every feature matched on one half of the documents and again on the other."
RELATIONS_TEXT = (
    "How the categories relate: Spearman between the category-by-category similarities of the two models, p "
    "from permuted labels."
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


def cannot_tell(summary: NullOverGrid) -> str:
    """Returns what stands beside a count of layer pairs with q < 0.05 where one alone could not be among them.

    Args:
        summary: of one null of one measure.
    """
    smallest = summary.smallest_q
    return "" if smallest is None or smallest < LEVEL else f"cannot tell one alone, whose q is {show(smallest)} at best"


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
