"""Ablates the features of pairs at positions of several kinds: drawn, strongest, and A's at another of its token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from semconv.matching.hard_negatives import most_co_active
from semconv.matching.joint_positions import JointPositions, at_same_token, joint_positions
from semconv.statistics.resampling import halves
from semconv.study.effects_of_pairs import AblatedPairs, ChosenPairs, first_tokens
from semconv.study.position_observations import KINDS, PositionKindsFacts, PositionKindsObservation, no_kinds
from semconv.study.sides import Side
from semconv.system.errors import InputError

DOCUMENTS = 2
"""Documents in which a pair must fire together for each position of a kind, lest the strongest be all there are."""
SEARCHED = 4
"""Positions of a pair among which its token is looked for again, for each that is ablated; the first of the same draw.
Among those that are ablated alone, fewer would have another."""
_UNIFORM, _STRONGEST, _ELSEWHERE, _HERE = range(len(KINDS))


@dataclass(frozen=True, eq=False)
class KindsOfPositions:
    """Positions of several kinds, all to be ablated at once, those of a pair together.

    Attributes:
        at: the positions; B's feature is ablated at them.
        tokens_a: int64 [m], where A's feature is ablated.
        kind: int64 [m], by `KINDS`; those with another of the same token are `uniform` and, once more, `elsewhere`.
        again: int64 [m], of each that is `elsewhere` its number among the `uniform` ones; of others -1.
    """

    at: JointPositions
    tokens_a: Int[ndarray, " m"]
    kind: Int[ndarray, " m"]
    again: Int[ndarray, " m"]

    @classmethod
    def of(cls, drawn: JointPositions, searched: JointPositions, ids: Int[ndarray, " n_tokens"]) -> KindsOfPositions:
        """Joins positions of both kinds with those whose token stands again.

        Args:
            drawn: of both kinds.
            searched: drawn uniformly, those of `drawn` among them.
            ids: token of every position that counts.
        """
        uniform, strongest = drawn.kind(False), drawn.kind(True)
        again, others = at_same_token(searched, ids)
        keys = [one.pair * len(ids) + one.token for one in (uniform, again)]
        found = np.isin(keys[1], keys[0])
        kept, number = keys[1][found], np.argsort(keys[0])
        place = number[np.searchsorted(keys[0], kept, sorter=number)]
        parts = (
            (uniform.pair, uniform.token, uniform.token, _UNIFORM),
            (strongest.pair, strongest.token, strongest.token, _STRONGEST),
            (again.pair[found], again.token[found], others[found], _ELSEWHERE),
        )
        pair, token, tokens_a = (np.concatenate([part[i] for part in parts]) for i in range(3))
        kind = np.concatenate([np.full(len(part[0]), part[3]) for part in parts])
        number = np.concatenate([np.full(len(kind) - len(place), -1), place])
        order = np.argsort(pair, kind="stable")
        of_pairs = (pair[order], token[order], (kind == _STRONGEST)[order], drawn.documents, drawn.reasons)
        return cls(JointPositions(*of_pairs), tokens_a[order], kind[order], number[order])

    @property
    def uniform(self) -> JointPositions:
        """Those drawn uniformly, each once."""
        return _taken(self.at, self.kind == _UNIFORM)

    def by_pair(
        self, r: Float[ndarray, "m beside"]
    ) -> tuple[Int[ndarray, "n kinds"], Float[ndarray, "n kinds beside"]]:
        """Returns at how many positions of each kind the partner has a value, and the means of all, of every pair.

        Of positions whose token stands again, those count that have a value of the partner here and there.

        Args:
            r: correlation of residual effects at every position, with the partner first; NaN where there is none.

        Returns:
            Counts, and means over the positions that have a value, NaN where none has.
        """
        known = np.isfinite(r[:, 0])
        there = np.flatnonzero(self.kind == _ELSEWHERE)
        here = np.flatnonzero(self.kind == _UNIFORM)[self.again[there]]
        both = known[there] & known[here]
        numbers = [np.flatnonzero((self.kind == kind) & known) for kind in (_UNIFORM, _STRONGEST)]
        numbers += [there[both], here[both]]
        n = len(self.at.documents)
        means = np.stack([_means(r[some], self.at.pair[some], n) for some in numbers], axis=1)
        return np.stack([np.bincount(self.at.pair[some], minlength=n) for some in numbers], axis=1), means


def _taken(at: JointPositions, some: Bool[ndarray, " m"]) -> JointPositions:
    return JointPositions(at.pair[some], at.token[some], at.strongest[some], at.documents, at.reasons)


def _means(r: Float[ndarray, "k beside"], pair: Int[ndarray, " k"], n: int) -> Float[ndarray, "n beside"]:
    """Returns the mean of the finite values of each pair, NaN where it has none."""
    known = np.isfinite(r)
    counts, total = np.zeros((2, n, r.shape[1]))
    np.add.at(counts, pair, known)
    np.add.at(total, pair, np.where(known, r, 0.0))
    return np.divide(total, counts, out=np.full_like(total, np.nan), where=counts > 0)


@dataclass(frozen=True, eq=False)
class AblatedPositions:
    """How kinds of positions are compared at a layer pair.

    Attributes:
        ablated: which pairs are ablated and by what; its positions are those of a kind.
    """

    ablated: AblatedPairs

    def observe(self, a: Side, network_a: Any, network_b: Any, b: Side) -> PositionKindsObservation:
        """Returns what ablation says of pairs that are matched on one half of the documents, in the other half.

        Args:
            a: side of A.
            network_a: its model, as `StoredModel.read` gives it.
            network_b: likewise.
            b: side of B.
        """
        of, matched = self.ablated, 0
        try:
            of.check_tokens()
            first, second = halves(of.settings.starts, a.n_tokens, of.settings.null.seed)
            chosen, matched = of.matched(a.at(first), b.at(first))
            positions = self._positions((a, b), chosen, second.numpy())
            co_active = most_co_active(b.acts.to("cpu"), positions.uniform, chosen.features[1])
            sums = of.given.models.effects(
                (network_a, network_b),
                (of.acting[0].place, of.acting[1].place),
                (a, b),
                chosen.features,
                positions.at,
                np.column_stack([chosen.alternates, co_active]),
                blocks=of.given.blocks,
                size=of.given.n_tokens,
                seed=of.settings.null.seed,
                random=False,
                tokens_a=positions.tokens_a,
            )
        except InputError as error:
            return no_kinds(str(error), matched)
        r = sums.r.numpy()
        counts, residual = positions.by_pair(np.column_stack([r[:, 0], sums.r_others.numpy(), r[:, 1:]]))
        return PositionKindsObservation(
            PositionKindsFacts(tokens=of.given.n_tokens, matched=matched),
            a=chosen.features[0].astype(np.int64),
            b=chosen.features[1].astype(np.int64),
            r=chosen.r,
            token=first_tokens(b.tokens)[chosen.features[1]],
            documents=positions.at.documents,
            positions=counts,
            residual=residual,
        )

    def _positions(
        self, sides: tuple[Side, Side], chosen: ChosenPairs, held_out: Int[ndarray, " h"]
    ) -> KindsOfPositions:
        """Returns positions of all kinds for every pair that fires together in enough documents.

        Raises:
            InputError: none does.
        """
        of, text = self.ablated, self.ablated.given.blocks
        n, acts = of.n_positions, (sides[0].acts.to("cpu"), sides[1].acts.to("cpu"))
        fewest = DOCUMENTS * n

        def at(n_uniform: int, n_strongest: int) -> JointPositions:
            return joint_positions(
                acts,
                chosen.features,
                of.settings.documents(sides[0].n_tokens),
                held_out,
                contexts=text.mask.nonzero()[:, 0].numpy(),
                n_uniform=n_uniform,
                n_strongest=n_strongest,
                fewest=fewest,
                seed=of.settings.null.seed,
            )

        drawn = at(n, n)
        if not len(drawn):
            raise InputError(f"no feature pair fires together in {fewest} held-out documents")
        return KindsOfPositions.of(drawn, at(SEARCHED * n, 0), text.ids[text.mask].numpy())
