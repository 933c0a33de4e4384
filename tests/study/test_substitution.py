"""Replaced contributions: what a study asks of models in both directions, and what it tells of their answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from semconv.core.correlate import best_matches
from semconv.matching.hard_negatives import hard_negatives
from semconv.matching.joint_positions import activations_at
from semconv.results.schema import FunctionTest, Reason, SubstitutedPair
from semconv.statistics.clusters import ratio_of_sums
from semconv.statistics.resampling import halves
from semconv.statistics.sign_flips import sign_flip_test
from semconv.statistics.substitution import SubstitutionSums
from semconv.study.check_function import check_substitution
from semconv.study.effects_of_pairs import PARTNERS, AblatedPairs, first_tokens
from semconv.study.function_observations import ALTERNATES, REPLACEMENTS, SubstitutionObservation
from semconv.study.matching_rules import NO_STREAMS
from semconv.study.sides import Side
from semconv.study.stitching import StitchedStream
from semconv.study.substitution import SubstitutedPairs
from semconv.study.task_names import substituted_pairs
from semconv.study.tell_flips import N_FLIPS
from semconv.study.tell_substitution import BEST_ALTERNATE, NO_ALTERNATE, tell_substitution
from semconv.suite.config import FunctionConfig, SubstitutionConfig, load_suite
from semconv.system.errors import InputError
from tests._helpers.worlds import make_world
from tests.study.test_function import ablated
from tests.study.test_matching_rules import stitched

WORLD = make_world(3)
K = len(REPLACEMENTS)
RNG = np.random.default_rng(2)
MAPPING = RNG.normal(size=(9, 12))
"""From A's stream to B's: whatever B reads is what A reads, mapped."""
A = replace(WORLD.a, decoder=RNG.normal(size=(WORLD.a.n_features, 9)))
B = replace(WORLD.b, decoder=RNG.normal(size=(WORLD.b.n_features, 9)) @ MAPPING)


class MadeUp:
    """Models that keep what they are asked, and give sums that are drawn: the partner leaves least."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def substitutions(
        self, network: Any, place: Any, rows: Any, mapped: Any, activations: Any, *, at: Any, blocks: Any
    ) -> SubstitutionSums:
        self.asked.append(
            {"network": network, "rows": rows, "mapped": mapped, "activations": activations, "at": at, "blocks": blocks}
        )
        rng, n = np.random.default_rng(len(self.asked)), len(rows)
        counts = np.bincount(at.pair, minlength=n)
        kl, loss = rng.gamma(4, 1, (n, 1 + 2 * K)), rng.normal(1, 0.3, (n, 1 + 2 * K))
        kl[:, [1, 1 + K]] /= 3
        missing = np.isnan(mapped).any(axis=2)
        kl[np.column_stack([np.zeros(n, dtype=bool), missing, missing])] = np.nan
        for of in (kl, loss):
            of[counts == 0] = np.nan
        norms = rng.random((n, 2)) * counts[:, None]
        return SubstitutionSums(counts, np.maximum(counts - 1, 0), kl, loss, norms, rng.uniform(-1, 1, (n, K)))


def settings_of(models: Any, n_pairs: int = 12, n_positions: int = 4) -> AblatedPairs:
    one = replace(ablated(), n_pairs=n_pairs, n_positions=n_positions)
    return replace(one, given=replace(one.given, models=models))


def on_one_half() -> tuple[Any, np.ndarray]:
    first = halves(WORLD.starts, WORLD.a.n_tokens, 5)[0]
    return first, np.unique(WORLD.blocks.document[WORLD.blocks.mask][first].numpy())


def streams_of_half() -> tuple[StitchedStream, StitchedStream]:
    return stitched(MAPPING, on_one_half()[1])


def observed(models: Any = None, a: Side = A, b: Side = B, **how: Any) -> SubstitutionObservation:
    streams = streams_of_half()
    one = SubstitutedPairs(settings_of(models or MadeUp(), **how), streams)
    return one.observe(a, "of a", "of b", *(stream.read() for stream in streams), b)


def test_the_partner_s_row_is_mapped_into_the_stream_that_it_is_put_in():
    models = MadeUp()
    found = observed(models)
    into_a, into_b = models.asked
    assert (into_a["network"], into_b["network"]) == ("of a", "of b")
    np.testing.assert_allclose(into_a["rows"], A.decoder[found.a])
    np.testing.assert_allclose(into_b["rows"], B.decoder[found.b])
    back = np.linalg.pinv(MAPPING)
    np.testing.assert_allclose(into_a["mapped"][:, 0], B.decoder[found.b] @ back, atol=0.02)  # a ridge shrinks
    np.testing.assert_allclose(into_b["mapped"][:, 0], A.decoder[found.a] @ MAPPING, atol=0.02)
    for asked, decoder, mapping, alternates in (
        (into_a, B.decoder, back, found.alternates[0]),
        (into_b, A.decoder, MAPPING, found.alternates[1]),
    ):
        for place in range(len(ALTERNATES)):
            known = alternates[:, place] >= 0
            mapped = asked["mapped"][:, 1 + place]
            np.testing.assert_allclose(mapped[known], decoder[alternates[known, place]] @ mapping, atol=0.02)
            assert np.isnan(mapped[~known]).all()


def test_a_random_direction_is_a_pair_s_own_whatever_else_is_studied():
    every, some = MadeUp(), MadeUp()
    both = [(models, observed(models, n_pairs=n)) for models, n in ((every, 12), (some, 5))]
    for model in (0, 1):
        drawn, fewer = (
            {
                (a, b): models.asked[model]["mapped"][place, -1]
                for place, (a, b) in enumerate(zip(found.a.tolist(), found.b.tolist(), strict=True))
            }
            for models, found in both
        )
        same = drawn.keys() & fewer.keys()
        assert len(same) > 1
        assert all(np.array_equal(drawn[pair], fewer[pair]) for pair in same)
        assert len({float(of[0]) for of in drawn.values()}) == len(drawn) == 12


def test_activations_are_those_of_both_features_at_held_out_positions():
    models = MadeUp()
    found = observed(models)
    at, own, partner = models.asked[0]["at"], *models.asked[0]["activations"]
    np.testing.assert_array_equal(own, activations_at(A.acts, at.token, found.a[at.pair]))
    np.testing.assert_array_equal(partner, activations_at(B.acts, at.token, found.b[at.pair]))
    assert (own > 0).all()
    assert (partner > 0).all()
    swapped = models.asked[1]["activations"]
    np.testing.assert_array_equal(swapped[0], partner)
    np.testing.assert_array_equal(swapped[1], own)
    fitted = set(on_one_half()[1].tolist())
    document = WORLD.blocks.document[WORLD.blocks.mask].numpy()
    assert not fitted & set(document[at.token].tolist())


def test_alternates_are_the_hard_negatives_of_the_side_that_is_mapped():
    found, first = observed(), on_one_half()[0]
    a, b = A.at(first), B.at(first)
    k = min(PARTNERS, a.n_features, b.n_features)
    there, back = best_matches(a.acts, b.acts, k), best_matches(b.acts, a.acts, k)
    expected = hard_negatives(there, (found.a, found.b), first_tokens(B.tokens))
    np.testing.assert_array_equal(found.alternates[0][:, :2], expected)
    other = hard_negatives(back, (found.b, found.a), first_tokens(A.tokens))
    np.testing.assert_array_equal(found.alternates[1][:, :2], other)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"n_positions": 500}, "no feature pair fires together in 500 held-out documents"),
        ({"a": replace(A, decoder=np.zeros((A.n_features, 7)))}, "have 7 columns, the stream that it reads 9"),
    ],
)
def test_why_nothing_is_replaced_is_said(how: dict[str, Any], reason: str):
    found = observed(**how)
    assert reason in (found.facts.reason or "")
    told = tell_substitution(found, 4, 0)
    assert told == Reason(reason=found.facts.reason or "")
    check_substitution(suite_with(), found, "x")


def test_without_streams_or_documents_for_a_map_nothing_is_replaced():
    assert SubstitutedPairs(settings_of(MadeUp())).observe(A, None, None, B).facts.reason == NO_STREAMS
    streams = stitched(MAPPING, np.array([0]))
    one = SubstitutedPairs(settings_of(MadeUp()), streams)
    found = one.observe(A, None, None, *(stream.read() for stream in streams), B)
    assert "fitted on 2 documents of the sample or more" in (found.facts.reason or "")
    elsewhere = replace(streams_of_half()[0].stream, decoder_elsewhere="its rows are of another stream")
    pair = (replace(streams_of_half()[0], stream=elsewhere), streams_of_half()[1])
    found = SubstitutedPairs(settings_of(MadeUp()), pair).observe(A, None, None, *(s.read() for s in pair), B)
    assert "its rows are of another stream" in (found.facts.reason or "")


def test_what_a_model_refuses_is_the_reason(monkeypatch: pytest.MonkeyPatch):
    def refused(*_: Any, **__: Any) -> Any:
        raise InputError("a model without a head")

    monkeypatch.setattr(MadeUp, "substitutions", refused)
    found = observed()
    assert found.facts.reason == "a model without a head"
    assert found.facts.matched > 0


def test_the_error_of_a_ratio_is_that_of_leaving_clusters_out():
    rng = np.random.default_rng(0)
    under, clusters = rng.gamma(2, 1, 600), rng.integers(0, 120, 600)
    over = 0.6 * under + rng.normal(0, 0.3, 600) + 0.2 * rng.normal(size=120)[clusters]
    ratio, error = ratio_of_sums(over, under, clusters)
    assert ratio == pytest.approx(over.sum() / under.sum())
    left = np.array([over[clusters != c].sum() / under[clusters != c].sum() for c in np.unique(clusters)])
    n = len(left)
    assert error == pytest.approx(np.sqrt((n - 1) / n * ((left - left.mean()) ** 2).sum()), rel=0.02)
    assert ratio_of_sums(over, 0 * under, clusters) == (None, None)
    assert ratio_of_sums(over, under, 0 * clusters)[1] is None


def test_what_is_told_is_what_was_observed():
    found = observed()
    told = tell_substitution(found, 4, 3)
    assert isinstance(told, SubstitutedPair)
    known = found.positions > 0
    assert (told.pairs, told.too_few, told.positions) == (len(found.a), (~known).sum(), 4)
    assert told.with_next == found.with_next.sum()
    for model, one in enumerate((told.into_a, told.into_b)):
        kl, loss = found.kl[model], found.loss[model]
        assert one.kl_without == pytest.approx(kl[known, 0].sum() / found.positions.sum())
        assert one.loss_without == pytest.approx(loss[known, 0].sum() / found.with_next.sum())
        assert one.norm == pytest.approx(found.norms[model][:, 1].sum() / found.norms[model][:, 0].sum())
        assert one.cosine["co_active"] == pytest.approx(found.cosine[model][known, 3].mean())
        for first, size in ((1, one.as_mapped), (1 + K, one.same_norm)):
            for place, name in enumerate(REPLACEMENTS):
                has = np.isfinite(kl[:, first + place])
                by = size.by[name]
                assert by.pairs == has.sum()
                assert by.kl_recovered == pytest.approx(1 - kl[has, first + place].sum() / kl[has, 0].sum())
                assert by.loss_recovered == pytest.approx(1 - loss[has, first + place].sum() / loss[has, 0].sum())
            of_alternates = kl[:, first + 1 : first + 1 + len(ALTERNATES)]
            has = np.isfinite(of_alternates).any(axis=1)
            best = np.nanmin(of_alternates[has], axis=1)
            assert size.by[BEST_ALTERNATE].kl_recovered == pytest.approx(1 - best.sum() / kl[has, 0].sum())
            above = (best - kl[has, first]) / found.positions[has]
            assert isinstance(size.beyond, FunctionTest)
            expected = sign_flip_test(above, found.token[has], N_FLIPS, 3)
            assert (size.beyond.difference, size.beyond.p) == (pytest.approx(above.mean()), expected.p_value)
            assert size.beyond.higher == (above > 0).mean()


def test_a_loss_that_is_not_told_from_0_is_not_divided_by():
    found = observed()
    loss = found.loss.copy()
    loss[1, :, 0] *= np.where(np.arange(len(found.a)) % 2, -1, 1)
    told = tell_substitution(replace(found, loss=loss), 4, 0)
    assert isinstance(told, SubstitutedPair)
    assert told.into_a.as_mapped.by["partner"].loss_recovered is not None
    assert told.into_b.as_mapped.by["partner"].loss_recovered is None
    assert told.into_b.loss_without is not None
    assert told.into_b.as_mapped.by["partner"].kl_recovered is not None


def test_without_alternates_there_is_no_test():
    found = observed()
    kl = found.kl.copy()
    kl[:, :, 2:5] = kl[:, :, 2 + K : 5 + K] = np.nan
    told = tell_substitution(replace(found, kl=kl), 4, 0)
    assert isinstance(told, SubstitutedPair)
    assert told.into_a.as_mapped.beyond == Reason(reason=NO_ALTERNATE)
    assert told.into_a.as_mapped.by[BEST_ALTERNATE].pairs == 0
    assert told.into_a.as_mapped.by[BEST_ALTERNATE].kl_recovered is None


def suite_with(**substitution: Any) -> Any:
    suite, config = load_suite("mini"), {"pairs": 12, "positions": 4, **substitution}
    function = FunctionConfig(substitution=SubstitutionConfig(**config))
    return replace(suite, match=WORLD.settings().match, function=function)


def test_contributions_are_replaced_at_the_middle_layer_pair_or_at_all_of_matching_depth():
    assert substituted_pairs(load_suite("mini")) == ["2x4"]
    assert substituted_pairs(suite_with(layers="diagonal")) == ["0x0", "1x2", "2x4", "3x6"]
    assert substituted_pairs(replace(load_suite("mini"), function=FunctionConfig())) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kl": lambda f: -f.kl}, "divergences and norms of x must be at least 0"),
        ({"kl": lambda f: f.kl[:, :, :9]}, r"numbers of x: \[2, \d+, 11\] expected"),
        ({"kl": lambda f: f.kl + np.nan}, "must have sums where they have positions, and nowhere else"),
        ({"loss": lambda f: f.loss[:1]}, "numbers of x"),
        ({"cosine": lambda f: f.cosine + 3}, "correlations and cosines of x must be between -1 and 1"),
        ({"positions": lambda f: f.positions + 99}, "positions of x must be from 0 to 4"),
        ({"with_next": lambda f: f.positions + 1}, "next token must be some of its positions"),
        ({"r2": lambda f: f.r2 + 2}, "must foretell 1 of the variance at most"),
        ({"r2": lambda f: f.r2[:1]}, r"maps of x: \[2\] expected, got \[1\]"),
        ({"token": lambda f: f.token[:3]}, "pairs of x"),
        ({"facts": lambda f: replace(f.facts, reason="none")}, "must be of 1 to 12 pairs, or have a reason"),
    ],
)
def test_sums_that_no_run_of_the_suite_makes_are_refused(change: dict[str, Any], message: str):
    found, suite = observed(), suite_with()
    check_substitution(suite, found, "x")
    with pytest.raises(InputError, match=message):
        check_substitution(suite, replace(found, **{name: make(found) for name, make in change.items()}), "x")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"layers": "all"}, "function.substitution.layers must be one of middle, diagonal"),
        ({"pairs": 0}, "function.substitution.pairs must be at least 1"),
        ({"positions": 1}, "function.substitution.positions must be at least 2"),
    ],
)
def test_settings_that_cannot_be_are_refused(config: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        SubstitutionConfig(**config)
