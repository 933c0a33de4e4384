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
class ChosenPairs:
    """Pairs that are ablated, by one half of the documents.

    Attributes:
        features: of A and of B, int64 [n] each.
        r: float64 [n].
        alternates: int64 [n, 2], `semconv.matching.hard_negatives.NEGATIVES`.
    """

    features: tuple[Int[ndarray, " n"], Int[ndarray, " n"]]
    r: Float[ndarray, " n"]
    alternates: Int[ndarray, "n 2"]


@dataclass(frozen=True, eq=False)
class AblatedAt:
    """What was found of pairs at positions of the other half.

    Attributes:
        chosen: the pairs.
        at: the positions.
        alternates: int64 [n, 3], by `ALTERNATES`.
        sums: of the effects.
        told: of every pair.
    """

    chosen: ChosenPairs
    at: JointPositions
    alternates: Int[ndarray, "n 3"]
    sums: EffectSums
    told: PairFunction

    @property
    def residual(self) -> Float[ndarray, "n compared"]:
        """Mean correlation of residual effects of A's feature with each of `COMPARED`, float64."""
        return np.column_stack([self.told.r, self.told.r_others, self.told.r_alternates])

    @property
    def plain(self) -> Float[ndarray, "n compared"]:
        """The same of effects as they are."""
        return np.column_stack([self.told.plain, self.told.plain_others, self.told.plain_alternates])


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
        matched = 0
        try:
            self.check_tokens()
            first, second = halves(self.settings.starts, a.n_tokens, self.settings.null.seed)
            chosen, matched = self.matched(a.at(first), b.at(first))
            found = self.ablate((network_a, network_b), (a, b), chosen, second.numpy())
        except InputError as error:
            return no_effects(str(error), matched)
        return self._told(found, matched, (a.tokens, b.tokens))

    def check_tokens(self) -> None:
        """Raises InputError if both models tell logits of too few tokens."""
        if self.given.n_tokens < FEWEST_TOKENS:
            raise InputError(
                f"predictions are compared over the tokens that both models tell logits of, at least {FEWEST_TOKENS}; "
                f"there are {self.given.n_tokens}"
            )

    def ablate(
        self, networks: tuple[Any, Any], sides: tuple[Side, Side], chosen: ChosenPairs, held_out: Int[ndarray, " h"]
    ) -> AblatedAt:
        """Ablates the features of pairs at some positions where both fire, beside alternates to the partner.

        Args:
            networks: of both models, as `StoredModel.read` gives them.
            sides: of both.
            chosen: the pairs.
            held_out: positions that may be taken.

        Raises:
            InputError: no pair fires together in enough documents, or a model refuses.
        """
        a, b = sides
        acts = a.acts.to("cpu"), b.acts.to("cpu")
        at = joint_positions(
            acts,
            chosen.features,
            self.settings.documents(a.n_tokens),
            held_out,
            contexts=self.given.blocks.mask.nonzero()[:, 0].numpy(),
            n_uniform=self.n_positions,
            fewest=self.n_positions,
            seed=self.settings.null.seed,
        )
        if not len(at):
            raise InputError(f"no feature pair fires together in {self.n_positions} held-out documents")
        alternates = np.column_stack([chosen.alternates, most_co_active(acts[1], at, chosen.features[1])])
        sums = self.given.models.effects(
            networks,
            (self.acting[0].place, self.acting[1].place),
            sides,
            chosen.features,
            at,
            alternates,
            blocks=self.given.blocks,
            size=self.given.n_tokens,
            seed=self.settings.null.seed,
        )
        return AblatedAt(chosen, at, alternates.astype(np.int64), sums, pair_function(sums))

    def matched(self, a: Side, b: Side) -> tuple[ChosenPairs, int]:
        """Matches two sides at one half of the documents.

        Returns:
            Pairs, spread evenly over all that were matched there, and how many these are.

        Raises:
            InputError: none is.
        """
        k = min(PARTNERS, a.n_features, b.n_features)
        within = a.token if self.settings.match.within_tokens else None
        matches = best_matches(a.acts, b.acts, k, within=within).to("cpu")
        pairs = match_sides(a, b, self.settings.match, matches)
        if not len(pairs):
            raise InputError("no feature pair passes every filter on one half of the documents")
        some = np.unique(np.linspace(0, len(pairs) - 1, min(self.n_pairs, len(pairs))).astype(np.int64))
        features = pairs.a[some], pairs.b[some]
        negatives = hard_negatives(matches, features, first_tokens(b.tokens))
        return ChosenPairs(features, pairs.r[some], negatives), len(pairs)

    def _told(self, of: AblatedAt, n_matched: int, tables: tuple[TopTokens, TopTokens]) -> FunctionObservation:
        told, sums, (a, b) = of.told, of.sums, of.chosen.features
        token = first_tokens(tables[1])[b]
        together = layer_function(sums, told, token, range(len(ALTERNATES)), n_flips=1)
        found = FunctionObservation(
            FunctionFacts(matched=n_matched, tokens=self.given.n_tokens),
            a=a.astype(np.int64),
            b=b.astype(np.int64),
            r=of.chosen.r,
            token=token,
            alternates=of.alternates,
            documents=of.at.documents,
            positions=told.positions,
            residual=of.residual,
            plain=of.plain,
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


def first_tokens(table: TopTokens) -> Int[ndarray, " F"]:
    """Returns the number of the text of every feature's top token, int64, -1 for none."""
    if not table.numbers.shape[1]:
        return np.full(len(table), -1, dtype=np.int64)
    return table.numbers[:, 0].astype(np.int64)


def _texts(table: TopTokens, feature: int) -> tuple[str, ...]:
    return tuple(dict.fromkeys(table.texts[i] for i in table.numbers[feature].tolist() if i >= 0))
