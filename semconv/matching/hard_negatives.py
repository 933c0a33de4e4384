"""Alternates to the partners of features that are hard to beat: what a better pair must do better than."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Int
from numpy import ndarray

from semconv.core.correlate import BestMatches
from semconv.core.sparse import SparseActivations
from semconv.matching.joint_positions import JointPositions
from semconv.system.errors import InputError

NEGATIVES = ("same_token", "second_best")
"""Alternates by name, in the order of the columns that `hard_negatives` returns."""


def hard_negatives(
    matches: BestMatches,
    pairs: tuple[Int[ndarray, " n"], Int[ndarray, " n"]],
    top_tokens_b: Int[ndarray, " F_b"],
) -> Int[ndarray, "n 2"]:
    """Returns, for every pair, features of B that could be mistaken for the partner.

    Args:
        matches: the best partners of every A feature, as many as alternates are looked for among.
        pairs: features of A and of B.
        top_tokens_b: number of the text of each B feature's top token, -1 for none.

    Returns:
        int64 [n, 2]: `same_token`, the feature of the highest r with the A feature among those that share the partner's
        top token; `second_best`, that of the highest r of all. The partner is neither; -1 where there is none.

    Raises:
        InputError: tokens of another number of features.
    """
    candidates = matches.a_to_b.index.numpy()
    if len(top_tokens_b) != len(matches.b_to_a.index):
        raise InputError(f"a token is needed for {len(matches.b_to_a.index)} features, got {len(top_tokens_b)}")
    a, b = pairs
    others = candidates[a]
    others = np.where((others == b[:, None]) | (others < 0), -1, others)
    token = np.where(others >= 0, top_tokens_b[others], -1)
    same = np.where((token >= 0) & (token == top_tokens_b[b][:, None]), others, -1)
    return np.stack([_first(same), _first(others)], axis=1)


def most_co_active(acts: SparseActivations, at: JointPositions, partners: Int[ndarray, " n"]) -> Int[ndarray, " n"]:
    """Returns, for every pair, the feature of B that fires at most of its positions beside the partner.

    Args:
        acts: of B.
        at: positions of the pairs.
        partners: feature of B of every pair.

    Returns:
        int64 [n], of equals the lowest; -1 for a pair without positions or at whose positions no other feature fires.
    """
    out = np.full(len(partners), -1)
    cuts = np.searchsorted(at.pair, np.arange(len(partners) + 1))
    for pair in np.unique(at.pair).tolist():
        tokens = torch.from_numpy(at.token[cuts[pair] : cuts[pair + 1]]).to(acts.device)
        counts = acts.tokens(tokens).active_counts()
        counts[int(partners[pair])] = 0
        if int(counts.max()):
            out[pair] = int(counts.argmax())
    return out


def _first(candidates: Int[ndarray, "n k"]) -> Int[ndarray, " n"]:
    """Returns the first that is not -1 of each row, -1 where there is none."""
    there = candidates >= 0
    place = there.argmax(axis=1)
    return np.where(there.any(axis=1), candidates[np.arange(len(candidates)), place], -1)
