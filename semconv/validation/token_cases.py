"""Data sets in which two models share what one token, or two, say and nothing else: for the nulls that keep tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Int
from numpy import ndarray

from semconv.compare import make_measures
from semconv.core.correlate import best_matches
from semconv.core.sparse import SparseActivations
from semconv.statistics.token_swaps import TokenSwaps
from semconv.study.nulls import ranked_pairs, rematch, score_strongest, swapped
from semconv.study.sides import Side, match_sides
from semconv.suite.config import MatchConfig
from semconv.suite.nulls import AgainNull
from semconv.text.token_blocks import TokenBlocks
from semconv.text.top_tokens import TopTokens
from semconv.validation.uniformity import Tests, p_and_u

N_DOCUMENTS, DOCUMENT, N_FEATURES, N_DRAWS = 25, 24, 40, 19
_LATENT, _D_A, _D_B = 6, 10, 12
_FEWEST = 5  # pairs that RSA is taken of
_MATCH = MatchConfig(need_shared_token=False, min_r=0.1)
_MEASURES = make_measures(["rsa"])


@dataclass(frozen=True)
class TokenText:
    """What the features of both models follow.

    Attributes:
        follow: the current token, or it and the one before.
        n_tokens: token ids that there are.
        common: share of positions at which a feature and its partner fire together for another reason.
    """

    follow: Literal["token", "bigram"] = "token"
    n_tokens: int = 12
    common: float = 0.0


def _sides(rng: np.random.Generator, what: Int[ndarray, " n"], common: float) -> tuple[Side, Side]:
    """Features of the same number fire by the same probabilities of what stands there, so weakly that partners err."""
    probability = 0.25 * rng.random((int(what.max()) + 1, N_FEATURES)) ** 2
    latent = rng.normal(size=(N_FEATURES, _LATENT))
    together = rng.random((len(what), N_FEATURES)) < common
    tokens = TopTokens.of_sides([[["x"]] * N_FEATURES], ())[0]

    def side(name: str, d: int) -> Side:
        fires = (rng.random((len(what), N_FEATURES)) < probability[what]) | together
        values = np.where(fires, rng.uniform(0.5, 2.0, fires.shape), 0).astype(np.float32)
        acts = SparseActivations.from_dense(torch.from_numpy(values))
        decoder = latent @ rng.normal(size=(_LATENT, d)) + rng.normal(size=(N_FEATURES, d))
        return Side(name, 0, acts, acts.sha256, decoder, tokens)

    return side("a", _D_A), side("b", _D_B)


def token_case(text: TokenText) -> Callable[[np.random.Generator], Tests]:
    """Returns a function that tests the number of pairs and RSA under every null that matches again.

    The pairs have decoder rows of a common latent; whether they are found depends on the text alone.
    """

    def make(rng: np.random.Generator) -> Tests:
        ids = torch.from_numpy(rng.integers(0, text.n_tokens, (N_DOCUMENTS, DOCUMENT)).astype(np.int32))
        document = torch.arange(N_DOCUMENTS, dtype=torch.int32)[:, None].expand_as(ids).contiguous()
        blocks = TokenBlocks(ids, torch.ones_like(ids, dtype=torch.bool), document)
        swaps: dict[AgainNull, TokenSwaps] = {
            "same_token": TokenSwaps.of(blocks),
            "same_bigram": TokenSwaps.of_bigrams(blocks),
        }
        what = swaps["same_token" if text.follow == "token" else "same_bigram"].token
        a, b = _sides(rng, what, text.common)
        seed = int(rng.integers(2**62))
        starts = np.arange(N_DOCUMENTS) * DOCUMENT
        found = {null: swapped(a, b, _MATCH, of.draws(seed, range(N_DRAWS))) for null, of in swaps.items()}
        found["rematch"] = rematch(a, b, _MATCH, starts, seed, range(N_DRAWS))
        pairs, ranked = match_sides(a, b, _MATCH), ranked_pairs(best_matches(a.acts, b.acts), a, b, _MATCH)
        out = Tests()
        for null, again in found.items():
            out[f"{null}.pairs"] = p_and_u(float(len(pairs)), again.passed.astype(np.float64), rng)
            n = min(len(pairs), len(ranked[0]), *(len(rows[0]) for rows in again.ranked))
            if n >= _FEWEST:
                score = score_strongest(_MEASURES, a, b, ranked, n)[0]
                draws = np.array([score_strongest(_MEASURES, a, b, rows, n)[0] for rows in again.ranked])
                out[f"{null}.rsa"] = p_and_u(float(score), draws, rng)
        return out

    return make
