"""Semantic subspaces and spans: the same pairs and numbers as the whole dictionaries give when cut by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import semconv.study.subspaces
from semconv import SparseActivations
from semconv.compare import Measure, make_measures
from semconv.matching.filters import FeaturePairs, match_subset
from semconv.results.schema import NullTest, Reason, Relation
from semconv.statistics.category_relations import relate_categories
from semconv.statistics.permutation import permutation_ids
from semconv.study.observations import CategoryFacts, PartObservation
from semconv.study.settings import StudySettings
from semconv.study.sides import Side, match_sides, scores_of
from semconv.study.subspaces import (
    CategoryParts,
    category_members,
    observe_categories,
    observe_part,
    pooled,
    relations,
    shared_features,
    spans_of,
)
from semconv.study.tell_pair import null_test
from semconv.suite.config import SpanConfig
from semconv.system.shape import plain
from semconv.text.keywords import Categories
from semconv.text.spans import fixed_windows, sentences
from tests._helpers.worlds import TEXTS, ByNumber, make_world

WORLD = make_world()
KEYWORDS = {
    "low": tuple(TEXTS[:12]),
    "high": tuple(TEXTS[14:]),
    "middle": tuple(TEXTS[8:20]),
    "few": ("w3",),
    "none": ("elsewhere",),
}
CATEGORIES = Categories("made up", "equals", KEYWORDS)
MIN_PAIRS = 8
MEASURES = make_measures(["rsa", "svcca_pc1"])
A, B = (CategoryParts(side, CATEGORIES) for side in (WORLD.a, WORLD.b))


def category(
    settings: StudySettings, measures: Sequence[Measure[Any]], name: str, min_pairs: int = MIN_PAIRS
) -> tuple[CategoryFacts, PartObservation | None]:
    """What is known of one category, and its rows of the arrays where it was scored."""
    found = observe_categories(settings, measures, min_pairs, A, B)
    categories = found.facts.categories
    scored = [one for one, facts in categories.items() if facts.reason is None]
    assert found.scores.shape == (len(scored), len(measures))
    facts = categories[name]
    if facts.reason is not None:
        return facts, None
    place = scored.index(name)
    return facts, PartObservation(facts, found.scores[place], found.shuffle[place])


def by_loop(side: Side, words: Sequence[str]) -> list[int]:
    rows = side.tokens.numbers.tolist()
    return [f for f, row in enumerate(rows) if any(i >= 0 and side.tokens.texts[i] in words for i in row)]


def test_members_are_features_with_a_keyword_among_their_top_tokens():
    for side in (WORLD.a, WORLD.b):
        members = category_members(side.tokens, CATEGORIES)
        assert {name: found.tolist() for name, found in members.items()} == {
            name: by_loop(side, words) for name, words in KEYWORDS.items()
        }
    assert len(A.members["low"]) >= 8
    assert len(A.members["none"]) == 0


@pytest.mark.parametrize("name", ["low", "high", "middle"])
def test_a_category_is_the_whole_dictionary_cut_to_its_features(name: str):
    settings = WORLD.settings()
    facts, found = category(settings, MEASURES, name)
    of_a, of_b = (torch.tensor(by_loop(side, KEYWORDS[name])) for side in (WORLD.a, WORLD.b))
    pairs = match_subset(
        WORLD.a.acts, WORLD.b.acts, of_a, of_b, WORLD.a.tokens, WORLD.b.tokens, config=settings.match
    )  # in the numbers of the whole dictionaries
    assert facts.features_a == len(of_a)
    assert facts.features_b == len(of_b)
    assert facts.pairs == len(pairs) >= 8
    assert found is not None
    X, Y = WORLD.a.decoder[pairs.a], WORLD.b.decoder[pairs.b]
    ids = permutation_ids(len(pairs), 19, 5)
    for place, measure in enumerate(MEASURES):
        score = measure.score(measure.prepare(X), measure.prepare(Y))
        null = np.array([measure.score(measure.prepare(X), measure.prepare(Y[p])) for p in ids])
        assert found.scores[place] == pytest.approx(score, abs=1e-12)
        wanted, test = null_test(score, null), null_test(float(found.scores[place]), found.shuffle[place])
        assert isinstance(wanted, NullTest)
        assert isinstance(test, NullTest)
        assert test.p == wanted.p
        assert test.mean == pytest.approx(wanted.mean, abs=1e-10)


def test_a_feature_of_a_category_may_pair_otherwise_than_in_the_whole():
    whole = match_sides(WORLD.a, WORLD.b, WORLD.settings().match)
    in_low = set(A.members["low"].tolist()), set(B.members["low"].tolist())
    inside = [(a, b) for a, b in zip(whole.a, whole.b, strict=True) if a in in_low[0] and b in in_low[1]]
    facts, _ = category(WORLD.settings(), MEASURES, "low")
    assert facts.pairs >= len(inside) > 0  # who loses a partner outside may find another inside, nobody loses one


@pytest.mark.parametrize("name", ["few", "none"])
def test_a_category_of_too_few_features_has_a_reason_and_no_number(name: str):
    facts, found = category(WORLD.settings(), MEASURES, name)
    least = min(len(A.members[name]), len(B.members[name]))
    assert facts.reason == f"{least} features on one side, at least 8 are needed"
    assert (facts.pairs, found) == (0, None)


def test_one_side_of_too_few_features_is_enough_for_a_reason():
    sizes = {name: (len(A.members[name]), len(B.members[name])) for name in KEYWORDS}
    name = next(name for name, (x, y) in sizes.items() if x != y)
    facts, _ = category(WORLD.settings(), MEASURES, name, max(sizes[name]))
    assert (facts.reason or "").startswith(f"{min(sizes[name])} features on one side")


def test_a_category_of_too_few_pairs_has_a_reason_and_no_number():
    facts, found = category(WORLD.settings(match={"min_r": 0.9}), MEASURES, "low")
    assert facts.reason == f"{facts.pairs} pairs, at least 8 are needed"
    assert found is None


def test_a_measure_without_a_score_is_a_reason():
    told = [ByNumber(math.nan, np.zeros, "nan"), ByNumber(0.5, lambda m: np.full(m, np.nan), "gaps")]
    knn = make_measures(["mutual_knn"], knn_k=40)
    facts, found = category(WORLD.settings(), [*told, *knn], "low")
    assert facts.reasons[:2] == ("the score is undefined", "")
    assert "more pairs than k = 40" in facts.reasons[2]
    assert found is not None
    assert null_test(float(found.scores[1]), found.shuffle[1]) == Reason(reason="19 of 19 draws have no score")
    json.dumps(plain(facts), allow_nan=False)


def test_parts_are_cut_once(monkeypatch: pytest.MonkeyPatch):
    parts = CategoryParts(WORLD.a, CATEGORIES)
    first = parts.part("low")
    monkeypatch.setattr(semconv.study.subspaces, "_part", lambda *_: pytest.fail("cut again"))
    assert parts.part("low") is first


def test_relations_are_those_of_the_decoder_rows():
    words = {"x": tuple(TEXTS[:4]), "y": tuple(TEXTS[10:14]), "z": tuple(TEXTS[20:24]), "none": ("elsewhere",)}
    a, b = (CategoryParts(side, Categories("narrow", "equals", words)) for side in (WORLD.a, WORLD.b))
    found = relations(WORLD.settings(), a, b, 3)
    assert isinstance(found, Relation)
    whole = relate_categories(
        WORLD.a.decoder, WORLD.b.decoder, a.members, b.members, n_permutations=19, seed=5, min_features=3
    )
    assert list(found.categories) == list(whole.names) == ["x", "y", "z"]
    assert list(found.left_out) == ["none"]
    assert found.rho == whole.test.statistic
    assert found.p == whole.test.p_value
    assert found.exact is whole.exact is True  # 3! permutations of the labels are fewer than 19
    assert np.array_equal(found.similarity_b, whole.similarity_b)
    json.dumps(plain(found), allow_nan=False)


def test_relations_of_too_few_categories_are_a_reason():
    found = relations(WORLD.settings(), A, B, 1000)
    assert isinstance(found, Reason)
    assert "at least 3 categories" in found.reason


def test_shared_features_by_loop():
    sets = {name: set(found.tolist()) for name, found in A.members.items()}
    wanted = {
        f"{x} & {y}": len(sets[x] & sets[y])
        for i, x in enumerate(sets)
        for y in list(sets)[i + 1 :]
        if sets[x] & sets[y]
    }
    assert shared_features(A.members) == wanted
    assert "low & middle" in wanted


def test_spans_are_cut_as_the_suite_says():
    texts = [f"{text}." if i % 5 == 0 else f" {text}" for i, text in enumerate(TEXTS)]
    found = spans_of(SpanConfig("sentences"), WORLD.blocks, texts)
    assert torch.equal(found.starts, sentences(WORLD.blocks, texts).starts)
    for width in (4, 7):
        found = spans_of(SpanConfig("windows", width), WORLD.blocks, texts)
        assert torch.equal(found.starts, fixed_windows(WORLD.blocks, width).starts)


def pooled_by_hand(side: Side, how: str) -> Side:
    spans = fixed_windows(WORLD.blocks, 4)
    dense = side.acts.to_dense().double().numpy()
    of = {"max": lambda x: x.max(axis=0), "sum": lambda x: x.sum(axis=0), "mean": lambda x: x.mean(axis=0)}
    rows = [of[how](dense[i:j]) for i, j in zip(spans.starts.tolist(), spans.ends.tolist(), strict=True)]
    acts = SparseActivations.from_dense(torch.from_numpy(np.stack(rows)).float())
    return replace(side, acts=acts)


@pytest.mark.parametrize("how", ["max", "mean", "sum"])
def test_pooled_then_matched_equals_doing_it_by_hand(how: str):
    config = SpanConfig("windows", 4, how)  # pyright: ignore
    spans = spans_of(config, WORLD.blocks, TEXTS)
    a, b = (pooled(side, spans, config) for side in (WORLD.a, WORLD.b))
    assert a.acts.n_tokens == len(spans) < WORLD.a.acts.n_tokens
    assert a.tokens is WORLD.a.tokens
    settings = WORLD.settings()
    found = observe_part(settings, settings.measures, a, b, settings.match.min_pairs)
    by_hand = [pooled_by_hand(side, how) for side in (WORLD.a, WORLD.b)]
    assert a.documents is not None
    assert torch.equal(a.documents, spans.document)
    pairs: FeaturePairs = match_sides(*by_hand, settings.match)
    assert found.facts.pairs == len(pairs) >= 8
    scores = scores_of(settings.measures, *by_hand, pairs.a, pairs.b)
    assert found.scores.tolist() == scores.tolist()


def test_spans_with_too_few_pairs_are_a_reason():
    settings = WORLD.settings(match={"min_pairs": 25})
    found = observe_part(settings, settings.measures, WORLD.a, WORLD.b, 25)
    assert plain(found.facts) == {"pairs": 24, "reason": "24 pairs, at least 25 are needed", "reasons": []}
    assert (found.scores.shape, found.shuffle.shape) == ((0,), (0, 19))
