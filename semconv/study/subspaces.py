"""Semantic subspaces of a layer pair: single-token categories, multi-token spans, and how categories relate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from numpy import ndarray

from semconv.compare import Measure
from semconv.results.schema import Reason, Relation
from semconv.statistics.category_relations import relate_categories
from semconv.statistics.permutation import permutation_ids
from semconv.statistics.stopping import stopping_of
from semconv.study.nulls import permuted_scores, score_beside_nulls, too_few
from semconv.study.observations import (
    CategoriesFacts,
    CategoriesObservation,
    CategoryFacts,
    PartFacts,
    PartObservation,
)
from semconv.study.settings import StudySettings
from semconv.study.sides import Prepared, Side, match_sides
from semconv.suite.config import SpanConfig
from semconv.system.errors import InputError
from semconv.system.shape import number
from semconv.text.keywords import Categories, features_of, overlaps
from semconv.text.spans import Spans, fixed_windows, pool, sentences
from semconv.text.token_blocks import TokenBlocks
from semconv.text.top_tokens import TopTokens

Members = dict[str, Int[ndarray, " n"]]


def category_members(tokens: TopTokens, categories: Categories) -> Members:
    """Returns the features of every category, by the top tokens of a side."""
    texts = tokens.texts
    rows = [[texts[number] for number in row if number >= 0] for row in tokens.numbers]
    return features_of(categories, rows)


def _part(side: Side, features: Int[ndarray, " n"]) -> Side:
    """Returns the side as if its dictionary held some features only, ascending."""
    acts = side.acts.columns(torch.from_numpy(features).to(side.acts.device))
    rows, tokens = side.decoder[features], side.tokens.take(features)
    return Side(side.model, side.layer, acts, side.store_sha256, rows, tokens, side.documents, side.sae, side.token)


class CategoryParts:
    """One side cut into its categories, each when it is first asked for."""

    def __init__(self, side: Side, categories: Categories) -> None:
        self.side, self._categories = side, categories
        self._parts: dict[str, Side] = {}
        self._lock = Lock()  # tasks run side by side, and each part is cut once

    @cached_property
    def members(self) -> Members:
        """Category -> its features."""
        return category_members(self.side.tokens, self._categories)

    def part(self, name: str) -> Side:
        """Returns the side with the features of one category alone."""
        with self._lock:
            if name not in self._parts:
                self._parts[name] = _part(self.side, self.members[name])
            return self._parts[name]


def observe_categories(
    settings: StudySettings,
    measures: Sequence[Measure[Any]],
    min_pairs: int,
    a: CategoryParts,
    b: CategoryParts,
) -> CategoriesObservation:
    """Matches the features of each category among themselves, scores the pairs beside their shuffles, and relates the
    categories to each other."""
    facts, scored = dict[str, CategoryFacts](), list[PartObservation]()
    for name in a.members:
        counts = len(a.members[name]), len(b.members[name])
        if min(counts) < min_pairs:
            reason = f"{min(counts)} features on one side, at least {min_pairs} are needed"
            facts[name] = CategoryFacts(features_a=counts[0], features_b=counts[1], pairs=0, reason=reason)
            continue
        part = observe_part(settings, measures, a.part(name), b.part(name), min_pairs)
        facts[name] = CategoryFacts(features_a=counts[0], features_b=counts[1], **vars(part.facts))
        scored += [part] if part.facts.reason is None else []
    shape = len(scored), len(measures)
    scores = np.array([part.scores for part in scored], dtype=np.float64).reshape(shape)
    shuffle = np.array([part.shuffle for part in scored], dtype=np.float64)
    of_all = CategoriesFacts(categories=facts, relation=relations(settings, a, b, min_pairs))
    return CategoriesObservation(of_all, scores, shuffle.reshape(*shape, _most_draws(settings, measures)))


def observe_part(
    settings: StudySettings, measures: Sequence[Measure[Any]], a: Side, b: Side, min_pairs: int
) -> PartObservation:
    """Matches two sides, as whole dictionaries, and scores the pairs beside their shuffles."""
    pairs, null = match_sides(a, b, settings.match), settings.null
    most = _most_draws(settings, measures)
    if len(pairs) < min_pairs:
        nothing = np.zeros((0, most))
        return PartObservation(
            PartFacts(pairs=len(pairs), reason=too_few(len(pairs), min_pairs)), nothing[:, 0], nothing
        )
    permutations = permutation_ids(len(pairs), most, null.seed)

    def draw(prepared: Prepared) -> list[ndarray]:
        rule = stopping_of(null, prepared.measure.name)
        return [permuted_scores(prepared, rule, lambda first, n: permutations[first : first + n])]

    scored = score_beside_nulls(measures, (a, b), pairs, min_pairs, draw, (1, most))
    return PartObservation(PartFacts(pairs=len(pairs), reasons=scored.reasons), scored.scores, scored.draws[0])


def _most_draws(settings: StudySettings, measures: Sequence[Measure[Any]]) -> int:
    return settings.null.most_of([measure.name for measure in measures])


def relations(settings: StudySettings, a: CategoryParts, b: CategoryParts, min_features: int) -> Relation | Reason:
    """Compares how the categories relate to each other in the two models; needs no pairing of features."""
    rows, null = (a.side.decoder, b.side.decoder), settings.null
    try:
        draws = {"n_permutations": null.n_permutations, "seed": null.seed}
        found = relate_categories(*rows, a.members, b.members, **draws, min_features=min_features)
    except InputError as error:
        return Reason(reason=str(error))
    return Relation(
        categories=tuple(found.names),
        left_out=tuple(found.left_out),
        rho=number(found.test.statistic),
        p=found.test.p_value,
        exact=bool(found.exact),
        similarity_a=tuple(map(tuple, found.similarity_a.tolist())),
        similarity_b=tuple(map(tuple, found.similarity_b.tolist())),
    )


def shared_features(members: Members) -> dict[str, int]:
    """Returns for every two categories of a side that share features how many they share."""
    counts, names = overlaps(members), list(members)
    pairs = [(i, j) for i in range(len(names)) for j in range(i) if counts[i, j]]
    return {f"{names[j]} & {names[i]}": int(counts[i, j]) for i, j in pairs}


def spans_of(config: SpanConfig, blocks: TokenBlocks, texts: list[str]) -> Spans:
    """Cuts the corpus into the spans of a suite."""
    return sentences(blocks, texts) if config.kind == "sentences" else fixed_windows(blocks, config.width)


def pooled(side: Side, spans: Spans, config: SpanConfig) -> Side:
    """Returns the side over spans instead of tokens; features keep their top tokens."""
    acts = pool(side.acts.to("cpu"), spans, config.how).to(side.acts.device)
    return replace(side, acts=acts, documents=spans.document, token=None)
