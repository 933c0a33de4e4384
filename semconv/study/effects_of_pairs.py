"""Ablates the features of pairs in both models, and keeps what that says of every pair."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from semconv.core.correlate import best_matches
from semconv.matching.hard_negatives import hard_negatives, most_co_active
from semconv.matching.joint_positions import JointPositions, joint_positions
from semconv.results.schema import FunctionExample
from semconv.statistics.effects import EffectSums
from semconv.statistics.function_scores import LayerFunction, PairFunction, layer_function, pair_function
from semconv.statistics.resampling import halves
from semconv.study.function_models import Acting, FunctionModels
from semconv.study.function_observations import (
    ALTERNATES,
    OF_PAIRS,
    TOGETHER,
    FunctionFacts,
    FunctionObservation,
    no_effects,
)
from semconv.study.settings import StudySettings
from semconv.study.sides import Side, match_sides
from semconv.system.errors import InputError
from semconv.text.top_tokens import TopTokens

FEWEST_TOKENS = 100
"""Tokens that two vocabularies must share."""
PARTNERS = 50
"""Best partners of every A feature among which alternates are looked for."""
SHOWN = 5
"""Tokens that examples show of each kind."""


@dataclass(frozen=True, eq=False)
class _Matched:
    """Pairs of one half of the documents, spread evenly over all that were matched there.

    Attributes:
        features: of A and of B, int64 [n] each.
        r: float64 [n].
        alternates: int64 [n, 2], `semconv.matching.hard_negatives.NEGATIVES`.
        n_matched: how many were matched there.
    """

    features: tuple[Int[ndarray, " n"], Int[ndarray, " n"]]
    r: Float[ndarray, " n"]
    alternates: Int[ndarray, "n 2"]
    n_matched: int


@dataclass(frozen=True, eq=False)
class AblatedPairs:
    """How the features of pairs are ablated.

    Attributes:
        settings: of the suite, over this text.
        given: the models.
        acting: of A and of B.
        n_pairs: that are ablated, fewer where fewer are matched.
        n_positions: of each.
    """

    settings: StudySettings
    given: FunctionModels
    acting: tuple[Acting, Acting]
    n_pairs: int
    n_positions: int

    def observe(self, a: Side, network_a: Any, network_b: Any, b: Side) -> FunctionObservation:
        """Returns what ablation says of pairs that are matched on one half of the documents, in the other half.

        Args:
            a: side of A.
            network_a: its model, as `StoredModel.read` gives it.
            network_b: likewise.
            b: side of B.
        """
        size = self.given.n_tokens
        if size < FEWEST_TOKENS:
            return no_effects(
                f"predictions are compared over the tokens that both models tell logits of, at least {FEWEST_TOKENS}; "
                f"there are {size}"
            )
        first, second = halves(self.settings.starts, a.n_tokens, self.settings.null.seed)
        matched = self._matched(a.at(first), b.at(first))
        if not len(matched.r):
            return no_effects("no feature pair passes every filter on one half of the documents")
        at = joint_positions(
            (a.acts.to("cpu"), b.acts.to("cpu")),
            matched.features,
            self.settings.documents(a.n_tokens),
            second.numpy(),
            contexts=self.given.blocks.mask.nonzero()[:, 0].numpy(),
            n_uniform=self.n_positions,
            fewest=self.n_positions,
            seed=self.settings.null.seed,
        )
        if not len(at):
            return no_effects(
                f"no feature pair fires together in {self.n_positions} held-out documents", matched.n_matched
            )
        beside = most_co_active(b.acts.to("cpu"), at, matched.features[1])
        alternates = np.column_stack([matched.alternates, beside])
        try:
            sums = self.given.models.effects(
                (network_a, network_b),
                (self.acting[0].place, self.acting[1].place),
                (a, b),
                matched.features,
                at,
                alternates,
                blocks=self.given.blocks,
                size=size,
                seed=self.settings.null.seed,
            )
        except InputError as error:
            return no_effects(str(error), matched.n_matched)
        return self._told(matched, at, alternates, sums, (a.tokens, b.tokens))

    def _matched(self, a: Side, b: Side) -> _Matched:
        """Matches two sides at one half of the documents."""
        k = min(PARTNERS, a.n_features, b.n_features)
        within = a.token if self.settings.match.within_tokens else None
        matches = best_matches(a.acts, b.acts, k, within=within).to("cpu")
        pairs = match_sides(a, b, self.settings.match, matches)
        some = np.unique(np.linspace(0, len(pairs) - 1, min(self.n_pairs, len(pairs))).astype(np.int64))
        features = pairs.a[some], pairs.b[some]
        negatives = hard_negatives(matches, features, _first_tokens(b.tokens))
        return _Matched(features, pairs.r[some], negatives, len(pairs))

    def _told(
        self,
        matched: _Matched,
        at: JointPositions,
        alternates: Int[ndarray, "n k"],
        sums: EffectSums,
        tables: tuple[TopTokens, TopTokens],
    ) -> FunctionObservation:
        told, (a, b) = pair_function(sums), matched.features
        token = _first_tokens(tables[1])[b]
        together = layer_function(sums, told, token, range(len(ALTERNATES)), n_flips=1)
        found = FunctionObservation(
            FunctionFacts(matched=matched.n_matched, tokens=self.given.n_tokens),
            a=a.astype(np.int64),
            b=b.astype(np.int64),
            r=matched.r,
            token=token,
            alternates=alternates.astype(np.int64),
            documents=at.documents,
            positions=told.positions,
            residual=np.column_stack([told.r, told.r_others, told.r_alternates]),
            plain=np.column_stack([told.plain, told.plain_others, told.plain_alternates]),
            scores=np.column_stack([getattr(told, name) for name in OF_PAIRS]),
            together=_together(together),
        )
        return self._with_examples(found, sums, told, tables)

    def _with_examples(
        self, found: FunctionObservation, sums: EffectSums, told: PairFunction, tables: tuple[TopTokens, TopTokens]
    ) -> FunctionObservation:
        """Adds the pair that agrees most, and of those that correlate well the one that does least."""
        above = found.residual[:, 0] - found.best_negative
        known = np.isfinite(above)
        if not known.any():
            return found
        agree = int(np.nanargmax(above))
        high = known & (found.r >= np.median(found.r[known]))
        differ = int(np.flatnonzero(high)[np.argmin(above[high])])
        shown = [self._example(found, sums, int(told.positions[pair]), pair, tables) for pair in (agree, differ)]
        facts = replace(found.facts, agree=shown[0], differ=shown[1])
        return replace(found, facts=facts)

    def _example(
        self, found: FunctionObservation, sums: EffectSums, n: int, pair: int, tables: tuple[TopTokens, TopTokens]
    ) -> FunctionExample:
        both = [
            self._moved(sums.over_shared(total[pair][None], side)[0] / n)
            for side, total in enumerate((sums.effect_a, sums.effect_b))
        ]
        return FunctionExample(
            feature_a=int(found.a[pair]),
            feature_b=int(found.b[pair]),
            r=float(found.r[pair]),
            agreement=float(found.residual[pair, 0]),
            best_negative=float(found.best_negative[pair]),
            positions=n,
            tokens_a=_texts(tables[0], int(found.a[pair])),
            tokens_b=_texts(tables[1], int(found.b[pair])),
            lowered_a=both[0][0],
            raised_a=both[0][1],
            lowered_b=both[1][0],
            raised_b=both[1][1],
        )

    def _moved(self, effect: Tensor) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Returns the tokens that a mean effect [tokens] makes less likely most, and those it makes more likely."""
        k = min(SHOWN, len(effect))
        lowered, raised = (effect.topk(k, largest=largest).indices.tolist() for largest in (False, True))
        return tuple(self.given.texts[i] for i in lowered), tuple(self.given.texts[i] for i in raised)


def _together(found: LayerFunction) -> Float[ndarray, " together"]:
    names = {"top1": "retrieval_top1", "mrr": "retrieval_mrr"}
    return np.array([getattr(found, names.get(name, name)) for name in TOGETHER])


def _first_tokens(table: TopTokens) -> Int[ndarray, " F"]:
    """Returns the number of the text of every feature's top token, int64, -1 for none."""
    if not table.numbers.shape[1]:
        return np.full(len(table), -1, dtype=np.int64)
    return table.numbers[:, 0].astype(np.int64)


def _texts(table: TopTokens, feature: int) -> tuple[str, ...]:
    return tuple(dict.fromkeys(table.texts[i] for i in table.numbers[feature].tolist() if i >= 0))
