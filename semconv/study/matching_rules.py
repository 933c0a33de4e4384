"""The pairs that several rules of matching find between two SAEs, and what ablating them does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from semconv.compare.stitching import assigned, cosines, product_at
from semconv.core.correlate import BestMatches, TopMatches, best_matches
from semconv.matching.filters import FeaturePairs
from semconv.matching.hard_negatives import hard_negatives
from semconv.statistics.permutation import generator
from semconv.statistics.resampling import halves
from semconv.study.effects_of_pairs import PARTNERS, AblatedPairs, ChosenPairs, first_tokens
from semconv.study.function_observations import COMPARED, RulesFacts, RulesObservation
from semconv.study.sides import Side, match_sides, pair_correlations
from semconv.study.stitching import Stitchable, StitchedStream, checked_stream, fitted_map, most_active
from semconv.suite.config import MatchConfig
from semconv.system.errors import InputError

STRATEGIES: tuple[Literal["best", "mutual", "greedy", "optimal"], ...] = ("best", "mutual", "greedy", "optimal")
ABOVE = {"r_above_0_3": 0.3, "r_above_0_5": 0.5}
"""Rules that keep those pairs of the suite's own rule whose r is above a bound -> the bound."""
RULES = (*STRATEGIES, "within_token", "decoder_cosine", *ABOVE)
"""Ways of matching that are compared. The first four are `match.strategy`; `within_token` is match.by =
"r_within_token" with the strategy of the suite; `decoder_cosine` the one-to-one assignment of the highest sum of
cosines between A's decoder rows, mapped into B's stream, and B's."""
NO_STREAMS = "decoder rows are mapped by way of the streams, which the suite does not compare ([streams])"
_DRAWN = 15  # stream of the generator, beside those of `joint_positions` and of `semconv.statistics`


def own_rule(match: MatchConfig) -> str:
    """Returns the rule that a suite itself matches by."""
    return "within_token" if match.within_tokens else match.strategy


@dataclass(frozen=True, eq=False)
class AblatedRules:
    """How rules of matching are compared at a layer pair.

    Attributes:
        ablated: how the features of pairs are ablated; of its number of pairs those of all rules together.
        streams: of A and of B, as a map fitted on the half of the documents takes them that pairs are matched on; None
            where the suite compares no streams.
        features: of an SAE, the most often active, whose decoder rows are mapped.
    """

    ablated: AblatedPairs
    streams: tuple[StitchedStream, StitchedStream] | None = None
    features: int = 0

    def observe(self, a: Side, network_a: Any, network_b: Any, *rest: Any) -> RulesObservation:
        """Returns what ablation says of the pairs of every rule; each distinct pair is ablated once.

        Every rule gives a feature of B at most one partner. Features of B are drawn, and of each the pairs of all
        rules are taken, until there are as many pairs as are wanted: so the pairs of every rule are a random sample of
        all that it finds, and rules are compared at the same features.

        Args:
            a: side of A.
            network_a: its model, as `StoredModel.read` gives it.
            network_b: likewise.
            rest: both streams, where there are some, and the side of B.
        """
        *of_streams, b = rest
        settings = self.ablated.settings
        found, reasons = dict[str, FeaturePairs](), dict[str, str]()
        try:
            self.ablated.check_tokens()
            first, second = halves(settings.starts, a.n_tokens, settings.null.seed)
            half = a.at(first), b.at(first)
            k = min(max(PARTNERS, settings.match.candidates), a.n_features, b.n_features)
            matches = best_matches(half[0].acts, half[1].acts, k).to("cpu")
            for rule, pairs in self._pairs(half, matches, of_streams):
                if isinstance(pairs, str):
                    reasons[rule] = pairs
                else:
                    found[rule] = pairs
            union = _Union.of(found, a.n_features)
            drawn = union.drawn(self.ablated.n_pairs, settings.null.seed)
            chosen = _chosen(half, matches, union.a[drawn], union.b[drawn])
            ablated = self.ablated.ablate((network_a, network_b), (a, b), chosen, second.numpy())
        except InputError as error:
            return _nothing(str(error), found, reasons)
        return RulesObservation(
            RulesFacts(
                tokens=self.ablated.given.n_tokens,
                matched={rule: len(pairs) for rule, pairs in found.items()},
                reasons=reasons,
                partners=len(np.unique(union.b)),
                drawn=len(np.unique(union.b[drawn])),
            ),
            a=union.a[drawn],
            b=union.b[drawn],
            by=union.by[:, drawn],
            r=chosen.r,
            token=first_tokens(b.tokens)[union.b[drawn]],
            documents=ablated.at.documents,
            positions=ablated.told.positions,
            residual=ablated.residual,
        )

    def _pairs(
        self, half: tuple[Side, Side], matches: BestMatches, streams: list[Any]
    ) -> Iterator[tuple[str, FeaturePairs | str]]:
        """Gives every rule with the pairs that it finds on one half of the documents, or why it finds none."""
        (a, b), match = half, self.ablated.settings.match

        def by_r(strategy: Literal["best", "mutual", "greedy", "optimal"]) -> FeaturePairs:
            return match_sides(a, b, replace(match, by=None, strategy=strategy), matches)

        find: dict[str, Callable[[], FeaturePairs]] = {strategy: partial(by_r, strategy) for strategy in STRATEGIES}
        find["within_token"] = lambda: match_sides(a, b, replace(match, by="r_within_token"))
        find["decoder_cosine"] = lambda: self._mapped(a, b, streams)
        found = {rule: _or_reason(one) for rule, one in find.items()}
        yield from found.items()
        own = found[own_rule(match)]
        for rule, bound in ABOVE.items():
            yield rule, own if isinstance(own, str) else _above(half, own, bound)

    def _mapped(self, a: Side, b: Side, streams: list[Any]) -> FeaturePairs:
        """Returns the pairs of the features whose decoder rows are assigned to each other, which no r has chosen.

        Of the filters of the suite those that ask for r are left out; the others, on activity and tokens, stay.
        """
        if self.streams is None:
            raise InputError(NO_STREAMS)
        x, y = (
            checked_stream(one, of.stream, side) for one, of, side in zip(streams, self.streams, (a, b), strict=True)
        )
        match = self.ablated.settings.match
        weights = _weights(x, y, self.streams[0])
        of_a, of_b = (most_active(side, max(1, match.min_activations), self.features) for side in (a, b))
        rows_a, rows_b = (
            torch.from_numpy(side.decoder[rows]).double().to(weights.device) for side, rows in ((a, of_a), (b, of_b))
        )
        similar = cosines(rows_a @ weights, rows_b)
        i, j = assigned(similar)
        without_r = replace(match, by=None, strategy="best", one_to_one=False, min_r=-1, without_strongest=0)
        return match_sides(a, b, without_r, _as_matches((a, b), of_a[i], of_b[j], similar[i, j]))


def _or_reason(find: Callable[[], FeaturePairs]) -> FeaturePairs | str:
    try:
        return find()
    except InputError as error:
        return str(error)


def _above(half: tuple[Side, Side], pairs: FeaturePairs, bound: float) -> FeaturePairs:
    """Returns the pairs whose r over all positions of a half is above a bound."""
    r = pair_correlations(*half, pairs.a, pairs.b)
    return pairs.filtered(r > bound, r, f"r > {bound:g}")


def _chosen(half: tuple[Side, Side], matches: BestMatches, a: Int[ndarray, " n"], b: Int[ndarray, " n"]) -> ChosenPairs:
    """Returns pairs with r and alternates, both over all positions of the half whatever the rule."""
    kept = replace(matches, a_to_b=TopMatches(matches.a_to_b.index[:, :PARTNERS], matches.a_to_b.r[:, :PARTNERS]))
    r = pair_correlations(*half, a, b)
    return ChosenPairs((a, b), r, hard_negatives(kept, (a, b), first_tokens(half[1].tokens)))


def _weights(x: Stitchable, y: Stitchable, of_a: StitchedStream) -> Float[torch.Tensor, "d_a d_b"]:
    """Returns the map from A's stream to B's, fitted on one half of the documents."""
    products = [product_at(x.rows, part, y.rows, part) for part in of_a.split().parts]
    return fitted_map(x, y, products).weights


def _as_matches(
    sides: tuple[Side, Side], a: Int[ndarray, " n"], b: Int[ndarray, " n"], score: Float[ndarray, " n"]
) -> BestMatches:
    """Returns pairs as the best matches that filters take, their score in the place of r."""
    of_a, of_b = (
        TopMatches(
            torch.full((side.n_features, 1), -1), torch.full((side.n_features, 1), torch.nan, dtype=torch.float64)
        )
        for side in sides
    )
    for one, own, other in ((of_a, a, b), (of_b, b, a)):
        one.index[own, 0] = torch.from_numpy(other).long()
        one.r[own, 0] = torch.from_numpy(score)
    noise = [torch.full((side.n_features,), torch.nan, dtype=torch.float64) for side in sides]
    return BestMatches(of_a, of_b, sides[0].n_tokens, noise[0], noise[1])


@dataclass(frozen=True, eq=False)
class _Union:
    """The pairs of all rules, each once, by ascending B feature and then A feature.

    Attributes:
        a: int64 [n].
        b: int64 [n].
        by: bool [rules, n], by `RULES`.
    """

    a: Int[ndarray, " n"]
    b: Int[ndarray, " n"]
    by: Bool[ndarray, "rules n"]

    @classmethod
    def of(cls, found: dict[str, FeaturePairs], n_a: int) -> _Union:
        """Raises InputError if no rule finds a pair."""
        keys = {rule: pairs.b.astype(np.int64) * n_a + pairs.a for rule, pairs in found.items()}
        every = np.unique(np.concatenate(list(keys.values())))
        if not len(every):
            raise InputError("no rule of matching finds a feature pair on one half of the documents")
        by = np.stack([np.isin(every, keys.get(rule, every[:0])) for rule in RULES])
        return cls(every % n_a, every // n_a, by)

    def drawn(self, most: int, seed: int) -> Int[ndarray, " m"]:
        """Returns the places of all pairs of as many drawn B features as come to so many pairs at most, ascending."""
        features, counts = np.unique(self.b, return_counts=True)
        order = generator(seed, 0, _DRAWN).permutation(len(features))
        n = max(1, int((np.cumsum(counts[order]) <= most).sum()))
        return np.flatnonzero(np.isin(self.b, features[order[:n]]))


def _nothing(reason: str, found: dict[str, FeaturePairs], reasons: dict[str, str]) -> RulesObservation:
    whole = np.zeros(0, dtype=np.int64)
    matched = {rule: len(pairs) for rule, pairs in found.items()}
    return RulesObservation(
        RulesFacts(reason=reason, matched=matched, reasons=reasons),
        a=whole,
        b=whole,
        by=np.zeros((len(RULES), 0), dtype=bool),
        r=np.zeros(0),
        token=whole,
        documents=whole,
        positions=whole,
        residual=np.zeros((0, len(COMPARED))),
    )
