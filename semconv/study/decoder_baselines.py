"""Baselines of geometry and matching: what the vocabulary explains of RSA, and the best r of every feature."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from semconv.compare import RSA
from semconv.compare.stitching import partial_correlation
from semconv.core.correlate import best_matches
from semconv.statistics.permutation import permutation_ids
from semconv.study.nulls import mean_best_r, shifted_best_r, too_few
from semconv.study.settings import StudySettings
from semconv.study.sides import Side
from semconv.study.stream_observations import BestRFacts, BestRObservation, PartialFacts, PartialObservation
from semconv.system.errors import InputError

GIVEN: dict[str, tuple[str, ...]] = {
    "logit_lens": ("logit_lens",),
    "embedding": ("embedding",),
    "both": ("logit_lens", "embedding"),
}
"""What is taken out of the RSA of decoder rows -> the similarities of both models that are held fixed."""
Vocabulary = dict[str, Tensor | str]
"""Name of a similarity -> its second moment, float64 [d, d], or why there is none (`semconv.models.vocabulary`)."""


def observe_partial(
    study: StudySettings,
    vocabularies: tuple[Callable[[], Vocabulary], Callable[[], Vocabulary]],
    pairs: tuple[Int[ndarray, " n"], Int[ndarray, " n"]],
    draws: int,
    a: Side,
    b: Side,
) -> PartialObservation:
    """Takes what the vocabulary explains out of the RSA of the decoder rows of the feature pairs.

    Spearman's correlation of the two matrices of dissimilarities, given (partial correlation) those that the same
    directions have by their logit-lens vectors, by their products with the embeddings, and by both.

    Args:
        study: how many pairs are needed, and the seed.
        vocabularies: give what the vocabularies of A's model and of B's make alike.
        pairs: A and B features of the feature pairs by activations.
        draws: of permuted pairings.
        a: one side.
        b: the other.
    """
    n, needed = len(pairs[0]), study.match.min_pairs
    scores, shuffle = np.full(len(GIVEN), math.nan), np.full((len(GIVEN), draws), math.nan)
    reasons = [""] * len(GIVEN)
    if n < needed:
        return PartialObservation(PartialFacts(pairs=n, reasons=(too_few(n, needed),) * len(GIVEN)), scores, shuffle)
    ranks = [_Ranks(side, rows, read()) for side, rows, read in zip((a, b), pairs, vocabularies, strict=True)]
    permutations = np.concatenate([np.arange(n)[None], permutation_ids(n, draws, study.null.seed)])
    for place, given in enumerate(GIVEN.values()):
        try:
            found = _partial(ranks[0], ranks[1], given, permutations)
        except InputError as error:
            reasons[place] = str(error)
            continue
        scores[place], shuffle[place] = found[0], found[1:]
    return PartialObservation(PartialFacts(pairs=n, reasons=tuple(reasons)), scores, shuffle)


class _Ranks:
    """Ranks of the dissimilarities of some decoder rows, as they are and by what the vocabulary makes alike."""

    def __init__(self, side: Side, features: Int[ndarray, " n"], vocabulary: Vocabulary) -> None:
        self._name, self._vocabulary = side.name, vocabulary
        self._rows = torch.from_numpy(side.decoder[features]).double().to(side.acts.device)
        self._kept = dict[str, Tensor]()

    def of(self, name: str) -> Float[Tensor, "n n"]:
        """Returns those of a similarity, "" for that of the rows themselves.

        Raises:
            InputError: there is none, or the rows are of another width.
        """
        if name not in self._kept:
            self._kept[name] = RSA().prepare(self._rows) if not name else RSA("cosine").prepare(self._seen(name))
        return self._kept[name]

    def _seen(self, name: str) -> Float[Tensor, "n d"]:
        """Returns vectors whose inner products are those of the directions over the vocabulary."""
        moment = self._vocabulary[name]
        if isinstance(moment, str):
            raise InputError(f"SAE {self._name}: {moment}")
        if len(moment) != self._rows.shape[1]:
            width = self._rows.shape[1]
            raise InputError(
                f"the decoder rows of SAE {self._name} have {width} columns, the vocabulary of its model {len(moment)}"
            )
        values, vectors = torch.linalg.eigh(moment.to(self._rows.device))
        return self._rows @ (vectors * values.clamp(min=0).sqrt())


def _partial(a: _Ranks, b: _Ranks, given: tuple[str, ...], permutations: Int[ndarray, "m n"]) -> Float[ndarray, " m"]:
    """Returns the partial correlation under every permutation of the rows of B.

    Raises:
        InputError: a similarity is not there, or those that are held fixed determine each other.
    """
    names, itself, rsa = ("", *given), permutations[:1], RSA()
    k = len(names)
    correlations = np.ones((len(permutations), 2 * k, 2 * k))
    for i, one in enumerate(names):
        for j, other in enumerate(names):
            across = rsa.null_scores(a.of(one), b.of(other), permutations)
            correlations[:, i, k + j] = correlations[:, k + j, i] = across
            if i != j:
                for side, offset in ((a, 0), (b, k)):
                    correlations[:, offset + i, offset + j] = rsa.null_scores(side.of(one), side.of(other), itself)
    order = [0, k, *(i for i in range(2 * k) if i not in (0, k))]
    found = partial_correlation(correlations[:, order][:, :, order])
    if not math.isfinite(found[0]):
        raise InputError(f"the similarities by {' and '.join(given)} determine each other")
    return found


def observe_best_r(
    study: StudySettings, draws: int, known: Float[ndarray, "sides k"], a: Side, b: Side
) -> BestRObservation:
    """Takes the mean over the features of each side of their highest r with one of the other, beside shifted texts.

    Args:
        study: documents, and the seed of the shifts.
        draws: shifts; they are those of `rematch`, in their order.
        known: float64 [2, k], what `rematch` has found under the first k of them, k <= draws; the others are drawn.
        a: one side.
        b: the other.
    """
    matches = best_matches(a.acts, b.acts).to("cpu")
    vary = [int(best.r[:, 0].isfinite().sum()) for best in (matches.a_to_b, matches.b_to_a)]
    left = range(known.shape[1], draws)
    drawn = [known, *([shifted_best_r(a, b, study.starts, study.null.seed, left)] if left else [])]
    facts = BestRFacts(vary_a=vary[0], vary_b=vary[1])
    return BestRObservation(facts, np.array(mean_best_r(matches)), np.concatenate(drawn, axis=1))
