"""The first paragraph of a report: what is shared beyond the token, in words made from the numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from semconv.report.beyond_tokens import NOT_DRAWN, beyond_tokens, thirds_in_words
from semconv.results.schema import LayerPair, Reason, RematchCounts, Results, Score
from tests._helpers.made_up import results
from tests._helpers.worlds import null_test_of

MADE = results()


def pair(a: int, b: int, q: float | None, pairs: int, within: int | None) -> LayerPair:
    """A layer pair with a q of RSA under `same_token`, none if it was not tested."""
    one = MADE.grid["1x2"]
    assert one.influence is not None
    tested = Score(score=0.1, nulls={"same_token": null_test_of(q=q, mean=0.25)})
    measures = {
        "rsa": Reason(reason="too few") if q is None else tested,
        "svcca_pc1": Score(score=0.2, nulls={"same_token": null_test_of(q=1.0)}),
    }
    influence = replace(one.influence, pairs_within_token=within)
    where = {"layer_a": a, "layer_b": b, "sae_a": str(a), "sae_b": str(b)}
    return replace(one, **where, measures=measures, pairs=pairs, influence=influence)


def told(pairs: list[LayerPair], primary: str | None = "rsa") -> str:
    null = replace(MADE.null, n_same_token=100)
    grid = {f"{one.sae_a}x{one.sae_b}": one for one in pairs}
    made: Results = replace(MADE, null=null, grid=grid, primary=primary)
    return beyond_tokens(made)


def test_without_the_null_nothing_is_said_to_be_shown():
    assert beyond_tokens(MADE) == NOT_DRAWN


def test_every_third_of_the_depths_is_told():
    layers = [(a, b) for a in (0, 5, 9) for b in (2, 7, 30)]
    q = {(0, 2): 0.5, (5, 7): 0.01, (9, 30): 0.04, (0, 7): 0.04}
    pairs = [pair(a, b, q.get((a, b), 0.2), 100, {0: 5, 5: 40, 9: 77}[a]) for a, b in layers]
    text = told(pairs)
    assert (
        "By RSA, Spearman (the primary end point) the models agree more than what the current token explains in" in text
    )
    assert (
        "0 of 1 early layer pairs, 1 of 1 middle layer pairs, 1 of 1 late layer pairs and "
        "1 of 6 of layers from different thirds (above `same_token`, q < 0.05)"
    ) in text
    assert "The mean score of the strongest pairs, against that under the null: 0.500 against 0.250 (early)" in text
    assert text.endswith(
        "r stays above the bar of the filter `r > 0.1` for 5% of the early feature pairs, 40% of the middle feature "
        "pairs and 77% of the late feature pairs."
    )


def test_how_many_feature_pairs_pass_under_the_nulls_that_match_again():
    counts = RematchCounts(pairs_mean=30.0, pairs_max=240, pairs_p=1 / 57, scored_pairs=50)
    none = replace(counts, pairs_mean=0.0)
    pairs = [
        replace(pair(0, 2, 0.01, 100, 10), rematch=none, same_token=replace(counts, pairs_mean=75.0)),
        replace(pair(1, 2, 0.01, 40, 10), rematch=none, same_token=counts),
        replace(pair(2, 2, 0.01, 200, 10), rematch=none, same_token=replace(counts, pairs_mean=190.0)),
    ]
    said = "of the text itself: 75% to 95% under `same_token` and 0% under `rematch`, by layer pair."
    assert said in told(pairs)


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ([0, 5, 9], "early (0 of A; 0 of B), middle (5 of A; 5 of B) and late (9 of A; 9 of B)"),
        ([*range(15)], "early (0 to 4 of A; 0 to 4 of B), middle (5 to 9 of A; 5 to 9 of B) and late (10 to 14 of A; "),
        ([0, 1], ""),
    ],
)
def test_the_layers_of_every_third_are_named(layers: list[int], said: str):
    grid = {f"{a}x{b}": pair(a, b, 0.5, 10, None) for a in layers for b in layers}
    assert thirds_in_words(replace(MADE, grid=grid)).startswith(said)
    assert bool(thirds_in_words(replace(MADE, grid=grid))) == bool(said)


def test_a_small_grid_is_told_as_a_whole_and_what_has_no_score_is_not_counted():
    text = told([pair(0, 2, 0.01, 100, 10), pair(1, 2, None, 20, None), pair(2, 2, 0.5, 300, 30)], primary=None)
    assert "primary end point" not in text
    assert "in 1 of 2 layer pairs (above" in told(
        [pair(0, 2, 0.01, 100, 10), pair(1, 2, None, 20, None), pair(2, 2, 0.5, 300, 30)]
    )
    assert text.endswith("for 10% of the feature pairs.")  # of the pairs of which it is known
    assert "no layer pair left enough feature pairs to be tested" in told([pair(0, 2, None, 20, None)])


@pytest.mark.parametrize("within", [None, 3])
def test_spans_have_no_tokens(within: int | None):
    assert ("positions of one and the same token" in told([pair(0, 2, 0.01, 100, within)])) == (within is not None)
