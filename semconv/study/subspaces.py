"""Semantic subspaces of a layer pair: single-token categories, multi-token spans, and how categories relate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Int
from numpy import ndarray

from semconv.compare import Measure
from semconv.statistics.category_relations import relate_categories
from semconv.statistics.permutation import permutation_ids
from semconv.study.layer_pairs import Protocol, null_summary, number
from semconv.study.sides import Side, match_sides, prepare_pairs
from semconv.suite.config import SpanConfig, SubspaceConfig
from semconv.system.errors import InputError
from semconv.text.keywords import Categories, features_of, overlaps
from semconv.text.spans import Spans, fixed_windows, pool, sentences
from semconv.text.token_blocks import TokenBlocks

Members = dict[str, Int[ndarray, " n"]]


def category_members(side: Side, categories: Categories) -> Members:
    """Returns the features of every category, by the top tokens of the side."""
    texts = side.tokens.texts
    rows = [[texts[number] for number in row if number >= 0] for row in side.tokens.numbers]
    return features_of(categories, rows)


def _part(side: Side, features: Int[ndarray, " n"]) -> Side:
    """Returns the side as if its dictionary held some features only, ascending."""
    acts = side.acts.columns(torch.from_numpy(features).to(side.acts.device))
    rows, tokens = side.decoder[features], side.tokens.take(features)
    return Side(side.model, side.layer, acts, side.store_sha256, rows, tokens, side.documents, side.sae)


class CategoryParts:
    """One side cut into its categories, each when it is first asked for."""

    def __init__(self, side: Side, categories: Categories) -> None:
        self.side = side
        self.members = category_members(side, categories)
        self._parts: dict[str, Side] = {}

    def part(self, name: str) -> Side:
        if name not in self._parts:
            self._parts[name] = _part(self.side, self.members[name])
        return self._parts[name]


def study_category(
    protocol: Protocol,
    measures: Sequence[Measure[Any]],
    config: SubspaceConfig,
    a: CategoryParts,
    b: CategoryParts,
    name: str,
) -> dict[str, Any]:
    """Matches the features of one category among themselves and scores the pairs beside their shuffles."""
    counts = {"features_a": len(a.members[name]), "features_b": len(b.members[name])}
    if min(counts.values()) < config.min_pairs:
        reason = f"{min(counts.values())} features on one side, at least {config.min_pairs} are needed"
        return {**counts, "pairs": 0, "measures": {}, "reason": reason}
    return {**counts, **_scored(protocol, measures, a.part(name), b.part(name), config.min_pairs)}


def study_spans(protocol: Protocol, a: Side, b: Side) -> dict[str, Any]:
    """Matches two sides over spans and scores the pairs beside their shuffles."""
    return _scored(protocol, protocol.measures, a, b, protocol.match.min_pairs)


def _scored(protocol: Protocol, measures: Sequence[Measure[Any]], a: Side, b: Side, min_pairs: int) -> dict[str, Any]:
    pairs, null = match_sides(a, b, protocol.match), protocol.null
    out: dict[str, Any] = {"pairs": len(pairs), "measures": {}}
    if len(pairs) < min_pairs:
        return {**out, "reason": f"{len(pairs)} pairs, at least {min_pairs} are needed"}
    permutations = permutation_ids(len(pairs), null.n_permutations, null.seed)
    for measure in measures:
        try:
            prepared = prepare_pairs(measure, a, b, pairs.a, pairs.b)
            scores = measure.null_scores(prepared.x, prepared.y, permutations)
        except InputError as error:
            out["measures"][measure.name] = {"reason": str(error)}
            continue
        shuffle = null_summary(prepared.score, scores)
        if not math.isfinite(prepared.score):
            out["measures"][measure.name] = shuffle
            continue
        out["measures"][measure.name] = {"score": number(prepared.score), "nulls": {"shuffle": shuffle}}
    return out


def relations(protocol: Protocol, a: CategoryParts, b: CategoryParts, min_features: int) -> dict[str, Any]:
    """Compares how the categories relate to each other in the two models; needs no pairing of features."""
    try:
        found = relate_categories(
            a.side.decoder,
            b.side.decoder,
            a.members,
            b.members,
            protocol.null.n_permutations,
            protocol.null.seed,
            min_features,
        )
    except InputError as error:
        return {"reason": str(error)}
    return {
        "categories": list(found.names),
        "left_out": list(found.left_out),
        "rho": number(found.test.statistic),
        "p": found.test.p_value,
        "exact": found.exact,
        "similarity_a": found.similarity_a.tolist(),
        "similarity_b": found.similarity_b.tolist(),
    }


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
    return replace(side, acts=acts, documents=spans.document)
