"""Puts the mapped contribution of a feature's partner in the place of the feature's own, in both models."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray

from semconv.compare.stitching import product_at
from semconv.core.correlate import BestMatches
from semconv.matching.hard_negatives import hard_negatives, most_co_active
from semconv.matching.joint_positions import JointPositions, activations_at
from semconv.statistics.permutation import generator
from semconv.statistics.resampling import halves
from semconv.statistics.substitution import SubstitutionSums
from semconv.study.effects_of_pairs import AblatedPairs, ChosenPairs, first_tokens
from semconv.study.function_observations import SubstitutionFacts, SubstitutionObservation, no_substitution
from semconv.study.matching_rules import NO_STREAMS
from semconv.study.sides import Side
from semconv.study.stitching import Stitchable, StitchedStream, StitchMap, checked_stream, fitted_map
from semconv.system.errors import InputError

_RANDOM = 16  # stream of the generator, beside those of `matching_rules` and of `semconv.statistics`


@dataclass(frozen=True, eq=False)
class SubstitutedPairs:
    """How contributions are replaced at a layer pair.

    Attributes:
        ablated: models, text, number of pairs and of positions.
        streams: of A and of B, as maps fitted on the half of the documents take them that pairs are matched on; None
            where the suite compares no streams.
    """

    ablated: AblatedPairs
    streams: tuple[StitchedStream, StitchedStream] | None = None

    def observe(self, a: Side, network_a: Any, network_b: Any, *rest: Any) -> SubstitutionObservation:
        """Returns what it does to put B's mapped contributions into A, and A's into B.

        Pairs are matched and maps fitted on one half of the documents, contributions replaced in the other. No token
        needs to be in both vocabularies: every model's predictions are compared with its own.

        Args:
            a: side of A.
            network_a: its model, as `StoredModel.read` gives it.
            network_b: likewise.
            rest: both streams, where there are some, and the side of B.
        """
        *of_streams, b = rest
        settings, n_matched = self.ablated.settings, 0
        try:
            a_to_b, b_to_a = self._maps(of_streams, (a, b))
            first, second = halves(settings.starts, a.n_tokens, settings.null.seed)
            chosen, n_matched, matches = self.ablated.matched(a.at(first), b.at(first))
            at = self.ablated.positions((a, b), chosen.features, second.numpy())
            into_a = self._into((network_a, 0), (a, b), chosen, at, b_to_a)
            other_way = _other_way(chosen, matches, first_tokens(a.tokens))
            into_b = self._into((network_b, 1), (b, a), other_way, at, a_to_b)
        except InputError as error:
            return no_substitution(str(error), n_matched)
        both = into_a, into_b
        (_, of_a), (_, of_b) = both
        return SubstitutionObservation(
            SubstitutionFacts(matched=n_matched),
            a=chosen.features[0].astype(np.int64),
            b=chosen.features[1].astype(np.int64),
            r=chosen.r,
            token=first_tokens(b.tokens)[chosen.features[1]],
            alternates=np.stack([alternates for alternates, _ in both]),
            documents=at.documents,
            positions=of_a.positions,
            with_next=of_a.with_next,
            r2=np.array([b_to_a.r2, a_to_b.r2]),
            kl=np.stack([of_a.kl, of_b.kl]),
            loss=np.stack([of_a.loss, of_b.loss]),
            norms=np.stack([of_a.norms, of_b.norms]),
            cosine=np.stack([of_a.cosine, of_b.cosine]),
        )

    def _maps(self, streams: list[Any], sides: tuple[Side, Side]) -> tuple[StitchMap, StitchMap]:
        """Fits a map from A's stream to B's and one back, both on one half of the documents.

        Raises:
            InputError: there are no streams, or why no map is fitted.
        """
        if self.streams is None:
            raise InputError(NO_STREAMS)
        x, y = (
            checked_stream(one, of.stream, side) for one, of, side in zip(streams, self.streams, sides, strict=True)
        )
        return both_maps(x, y, self.streams[0])

    def _into(
        self,
        model: tuple[Any, int],
        sides: tuple[Side, Side],
        chosen: ChosenPairs,
        at: JointPositions,
        mapping: StitchMap,
    ) -> tuple[Int[ndarray, "n 3"], SubstitutionSums]:
        """Replaces the contributions of one model.

        Args:
            model: as it was read, and which of both it is.
            sides: its own, and the other.
            chosen: pairs with the feature of this model first.
            at: positions of the pairs.
            mapping: from the other's stream to its own.

        Returns:
            Features of the other by `ALTERNATES`, -1 for none, and what was found.
        """
        (network, number), (own, other), (features, partners) = model, sides, chosen.features
        acts = own.acts.to("cpu"), other.acts.to("cpu")
        alternates = np.column_stack([chosen.alternates, most_co_active(acts[1], at, partners)]).astype(np.int64)
        named = np.column_stack([partners, alternates])
        mapped = mapped_rows(other, named, mapping)
        width = mapped.shape[2]
        keys = (features * other.n_features + partners) * 2 + number
        seed = self.ablated.settings.null.seed
        random = np.stack([generator(seed, int(key), _RANDOM).standard_normal(width) for key in keys])
        sums = self.ablated.given.models.substitutions(
            network,
            self.ablated.acting[number].place,
            own.decoder[features].astype(np.float64),
            np.concatenate([mapped, random[:, None]], axis=1),
            (
                activations_at(acts[0], at.token, features[at.pair]),
                activations_at(acts[1], at.token, partners[at.pair]),
            ),
            at=at,
            blocks=self.ablated.given.blocks,
        )
        return alternates, sums


def both_maps(x: Stitchable, y: Stitchable, of_x: StitchedStream) -> tuple[StitchMap, StitchMap]:
    """Fits the map from one stream to the other and the one back."""
    products = [product_at(x.rows, part, y.rows, part) for part in of_x.split().parts]
    return fitted_map(x, y, products), fitted_map(y, x, [product.mT for product in products])


def mapped_rows(side: Side, features: Int[ndarray, "n k"], mapping: StitchMap) -> Float[ndarray, "n k d"]:
    """Returns the decoder rows of features taken into another stream, float64; NaN where there is no feature, -1.

    A contribution is a difference of two streams, so of the affine map its linear part alone acts on it: the offset is
    in both and cancels.
    """
    each, back = np.unique(features, return_inverse=True)
    known = each >= 0
    out = np.full((len(each), mapping.weights.shape[1]), np.nan)
    rows = torch.from_numpy(side.decoder[each[known]]).double().to(mapping.weights.device)
    out[known] = (rows @ mapping.weights).cpu().numpy()
    return out[back.reshape(features.shape)]


def _other_way(chosen: ChosenPairs, matches: BestMatches, tokens_a: Int[ndarray, " F_a"]) -> ChosenPairs:
    """Returns the same pairs with B's feature first and, as alternates, the features of A that could be mistaken."""
    features = chosen.features[1], chosen.features[0]
    swapped = replace(matches, a_to_b=matches.b_to_a, b_to_a=matches.a_to_b)
    return ChosenPairs(features, chosen.r, hard_negatives(swapped, features, tokens_a))
