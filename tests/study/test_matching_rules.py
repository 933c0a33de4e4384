"""Rules of matching: which pairs each finds, which are ablated, and what is told of them; models are made up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from semconv.results.schema import ComparedRules, Reason, RuleAgreement
from semconv.statistics.clusters import clustered_error, difference_of_means
from semconv.statistics.resampling import halves
from semconv.statistics.sampled_text import ReadRows, SampledText
from semconv.study.check_function import check_rules
from semconv.study.effects_of_pairs import AblatedPairs
from semconv.study.function_observations import RulesObservation
from semconv.study.matching_rules import NO_STREAMS, RULES, AblatedRules
from semconv.study.sides import Side, match_sides, pair_correlations
from semconv.study.stitching import StitchedStream
from semconv.study.streams import StoredStream, StreamSettings
from semconv.study.task_names import compared_rules
from semconv.study.tell_rules import tell_rules
from semconv.suite.config import FunctionConfig, RulesConfig, StreamsConfig, load_suite
from semconv.system.errors import InputError
from tests._helpers.worlds import make_world
from tests.study.test_function import MadeUp, ablated

WORLD = make_world(3)
MOST = 12


def observed(n_pairs: int = MOST, match: dict[str, Any] | None = None, **how: Any) -> RulesObservation:
    return AblatedRules(settings_of(n_pairs, match)).observe(WORLD.a, None, None, WORLD.b, **how)


def settings_of(n_pairs: int, match: dict[str, Any] | None = None) -> AblatedPairs:
    return replace(ablated(), n_pairs=n_pairs, settings=WORLD.settings(match=match))


def on_one_half() -> tuple[Side, Side]:
    first = halves(WORLD.starts, WORLD.a.n_tokens, 5)[0]
    return WORLD.a.at(first), WORLD.b.at(first)


def pairs_of(found: RulesObservation, rule: str) -> set[tuple[int, int]]:
    by = found.by[RULES.index(rule)]
    return set(zip(found.a[by].tolist(), found.b[by].tolist(), strict=True))


@pytest.mark.parametrize("own", ["best", "optimal"])
def test_every_rule_has_its_pairs_of_the_features_of_b_that_were_drawn(own: str):
    found, (a, b), config = observed(match={"strategy": own}), on_one_half(), WORLD.settings().match
    drawn = set(found.b.tolist())
    assert len(found.a) <= MOST
    assert len({*zip(found.a.tolist(), found.b.tolist(), strict=True)}) == len(found.a)
    wanted = {strategy: replace(config, strategy=strategy) for strategy in ("best", "mutual", "greedy", "optimal")} | {
        "within_token": replace(config, strategy=own, by="r_within_token")
    }
    for rule, how in wanted.items():
        pairs = match_sides(a, b, how)
        every = set(zip(pairs.a.tolist(), pairs.b.tolist(), strict=True))
        assert pairs_of(found, rule) == {pair for pair in every if pair[1] in drawn}
        assert found.facts.matched[rule] == len(every)
    np.testing.assert_allclose(found.r, pair_correlations(a, b, found.a, found.b))
    for rule, bound in (("r_above_0_3", 0.3), ("r_above_0_5", 0.5)):
        r = dict(zip(zip(found.a.tolist(), found.b.tolist(), strict=True), found.r.tolist(), strict=True))
        assert pairs_of(found, rule) == {pair for pair in pairs_of(found, own) if r[pair] > bound}
    assert found.facts.reasons == {"decoder_cosine": NO_STREAMS}
    assert found.facts.drawn == len(drawn) < found.facts.partners


def test_with_room_all_pairs_are_ablated_and_each_once():
    models = MadeUp()
    one = settings_of(1000)
    one = replace(one, given=replace(one.given, models=models))
    found = AblatedRules(one).observe(WORLD.a, None, None, WORLD.b)
    assert found.facts.drawn == found.facts.partners
    assert [int(by.sum()) for by in found.by] == [found.facts.matched.get(rule, 0) for rule in RULES]
    assert models.given["pairs"][0].tolist() == found.a.tolist()
    assert (found.documents >= 4)[found.positions > 0].all()


def stitched(mapping: np.ndarray, documents: np.ndarray) -> tuple[StitchedStream, StitchedStream]:
    """Streams of which B's is A's by a map, at every position of the text."""
    n = WORLD.a.n_tokens
    x = np.random.default_rng(1).normal(size=(n, mapping.shape[0])).astype(np.float32)
    rows = ReadRows(np.arange(3), np.arange(n), np.zeros(n, dtype=np.int64))
    sample = SampledText(rows, rows, WORLD.blocks.document[WORLD.blocks.mask].numpy().astype(np.int64))
    settings = StreamSettings(sample, StreamsConfig(n, 50, 3), 0.99, 5)
    stored = [
        StoredStream(name, name, values.shape, lambda values=values: torch.from_numpy(values))
        for name, values in (("a", x), ("b", (x @ mapping).astype(np.float32)))
    ]
    return StitchedStream(stored[0], settings, documents), StitchedStream(stored[1], settings, documents)


def test_decoder_rows_name_the_partners_that_a_map_between_the_streams_says():
    """Decoder rows of B are those of A, mapped and in another order; activations have no say beyond the filters."""
    rng = np.random.default_rng(2)
    mapping, order = rng.normal(size=(9, 12)), rng.permutation(30)
    decoder = np.concatenate([(WORLD.a.decoder @ mapping)[order], 0.01 * rng.normal(size=(4, 12))])
    b = replace(WORLD.b, decoder=decoder)
    first = halves(WORLD.starts, WORLD.a.n_tokens, 5)[0]
    document = WORLD.blocks.document[WORLD.blocks.mask]
    streams = stitched(mapping, np.unique(document[first].numpy()))
    one = replace(ablated(), n_pairs=1000, settings=WORLD.settings(match={"need_shared_token": False}))
    found = AblatedRules(one, streams, 4096).observe(WORLD.a, None, None, streams[0].read(), streams[1].read(), b)
    assert pairs_of(found, "decoder_cosine") == {(int(a), i) for i, a in enumerate(order)}
    assert found.facts.matched["decoder_cosine"] == 30
    assert found.r[found.by[RULES.index("decoder_cosine")]].min() < 0.1  # which the filters of r would drop
    one = replace(one, settings=WORLD.settings())
    shared = AblatedRules(one, streams, 4096).observe(WORLD.a, None, None, streams[0].read(), streams[1].read(), b)
    assert pairs_of(shared, "decoder_cosine") < pairs_of(found, "decoder_cosine")
    split = streams[0].split()
    fitted = set(document.numpy()[split.train.numpy()].tolist())
    assert fitted == set(document[first].tolist())
    assert not fitted & set(document.numpy()[split.parts[2].numpy()].tolist())


def test_too_few_documents_to_fit_a_map_are_the_reason_of_that_rule_alone():
    streams = stitched(np.eye(9), np.array([0]))
    read = [one.read() for one in streams]
    found = AblatedRules(settings_of(MOST), streams, 9).observe(WORLD.a, None, None, *read, WORLD.b)
    assert "fitted on 2 documents of the sample or more" in found.facts.reasons["decoder_cosine"]
    assert found.facts.reason is None
    assert found.facts.matched["best"] > 0


def test_the_error_of_a_difference_of_means_counts_pairs_of_both_rules_once():
    rng = np.random.default_rng(0)
    values, clusters = rng.normal(0.1, 1, 40), rng.integers(0, 9, 40)
    one, other = rng.random(40) < 0.6, rng.random(40) < 0.5
    found, error = difference_of_means(values, clusters, one, other)
    means = values[one].mean(), values[other].mean()
    total, groups = 0.0, np.unique(clusters[one | other])
    for group in groups:
        here = clusters == group
        share = (values[here & one] - means[0]).sum() / one.sum()
        share -= (values[here & other] - means[1]).sum() / other.sum()
        total += share**2
    assert found == pytest.approx(means[0] - means[1])
    assert error == pytest.approx(np.sqrt(len(groups) / (len(groups) - 1) * total))
    assert difference_of_means(values, clusters, one, one) == (0.0, pytest.approx(0.0, abs=1e-12))
    apart = difference_of_means(values, np.arange(40), one & ~other, other & ~one)[1]
    assert apart is not None
    alone = [clustered_error(values[part], np.arange(part.sum())) or 0 for part in (one & ~other, other & ~one)]
    assert apart == pytest.approx(np.hypot(*alone), rel=0.05)  # but for G / (G - 1)
    assert difference_of_means(values, clusters, one, one & ~one) == (None, None)


def test_what_is_told_of_a_rule_is_what_was_observed_of_its_pairs():
    found, match = observed(1000), WORLD.settings().match
    told = tell_rules(found, match, 4)
    assert isinstance(told, ComparedRules)
    assert list(told.rules) == list(RULES)
    assert told.rules["decoder_cosine"] == Reason(reason=NO_STREAMS)
    value = found.residual[:, 0]
    best = np.nanmax(np.where(np.isfinite(found.residual[:, 1:5]), found.residual[:, 1:5], -2), axis=1)
    for rule in ("best", "optimal", "r_above_0_5"):
        one = told.rules[rule]
        by = found.by[RULES.index(rule)] & np.isfinite(value)
        assert isinstance(one, RuleAgreement)
        assert one.agreement == pytest.approx(value[by].mean())
        assert one.error == pytest.approx(clustered_error(value[by], found.token[by]))
        assert one.beyond == pytest.approx((value - best)[by].mean())
        assert one.higher == pytest.approx((value > best)[by].mean())
        assert (one.drawn, one.pairs) == (found.by[RULES.index(rule)].sum(), by.sum())
        assert sum(band.pairs for band in one.by_r) == one.pairs
        inside = by & (found.r > 0.3) & (found.r <= 0.5)
        assert one.by_r[2].pairs == inside.sum()
        assert (one.by_r[2].agreement is None) == (not inside.any())
    own, other = told.rules["best"], told.rules["optimal"]
    assert isinstance(own, RuleAgreement)
    assert isinstance(other, RuleAgreement)
    assert own.difference is None
    assert other.difference == pytest.approx((other.agreement or 0) - (own.agreement or 0))


def suite_with(**rules: Any) -> Any:
    suite = load_suite("mini")
    return replace(suite, match=WORLD.settings().match, function=FunctionConfig(rules=RulesConfig(**rules)))


def test_rules_are_compared_at_the_middle_layer_pair_or_at_all_of_matching_depth():
    assert compared_rules(load_suite("mini")) == ["2x4"]
    assert compared_rules(suite_with(layers="diagonal")) == ["0x0", "1x2", "2x4", "3x6"]
    assert compared_rules(replace(load_suite("mini"), function=FunctionConfig())) == []


def test_what_no_model_can_do_is_the_reason(monkeypatch: pytest.MonkeyPatch):
    def refused(*_: Any, **__: Any) -> Any:
        raise InputError("a model without a head")

    monkeypatch.setattr(MadeUp, "effects", refused)
    found = observed()
    check_rules(suite_with(), found, "x")
    assert tell_rules(found, WORLD.settings().match, 4) == Reason(reason="a model without a head")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"residual": lambda f: np.full_like(f.residual, 1.5)}, "correlations of x must be between -1 and 1"),
        ({"positions": lambda f: f.positions + 99}, "positions of x must be from 0 to 6"),
        ({"positions": lambda f: 0 * f.positions}, "without positions must have no agreement"),
        ({"by": lambda f: f.by[:3]}, "rules of the pairs of x"),
        ({"by": lambda f: np.zeros_like(f.by)}, "every pair once, by one rule at least"),
        ({"by": lambda f: np.ones_like(f.by)}, "x must have"),
        ({"r": lambda f: 0 * f.r}, "by r_above_0_3 the pairs of the suite's own rule"),
        ({"b": lambda f: 0 * f.b}, "one partner of a feature of B by best"),
        ({"facts": lambda f: replace(f.facts, drawn=1)}, "features of B that were drawn, got 1 of"),
        ({"facts": lambda f: replace(f.facts, matched={"best": 3})}, "pairs or a reason for each of best, mutual"),
        ({"facts": lambda f: replace(f.facts, reason="none")}, "must be of 1 to 300 pairs, or have a reason"),
    ],
)
def test_pairs_that_no_run_of_the_suite_ablates_are_refused(change: dict[str, Any], message: str):
    found, suite = observed(), suite_with()
    check_rules(suite, found, "x")
    with pytest.raises(InputError, match=message):
        check_rules(suite, replace(found, **{name: make(found) for name, make in change.items()}), "x")
