"""How many contexts the ablations of a layer pair read, expected from how often features fire."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.stats import binom, norm

_HELD_OUT = 2 / 3
"""Of all contexts, those that hold a document of one half: 774 of 1,180 of the mini suite, whose documents are split
over contexts."""
_MEDIAN, _SD = 0.049, 0.78
"""How often both features of a pair fire in a context, as the mean of a Poisson number that gives the share of contexts
in which they do: its median over pairs, in units of how often a feature fires in a context on average, and the standard
deviation of its logarithm. Fitted to the pairs of the diagonal layer pairs of the mini suite (medians 0.045 to 0.053,
deviations 0.73 to 0.89)."""


def shares_of_pairs(n_pairs: int, firings: float) -> Float[ndarray, " n_pairs"]:
    """Returns the share of contexts in which both features of a pair fire, evenly spread over a log-normal law.

    Args:
        n_pairs: how many.
        firings: of a feature on average in a context: positions of the context times L0 / F.
    """
    spread = norm.ppf((np.arange(n_pairs) + 0.5) / n_pairs)
    return -np.expm1(-_MEDIAN * firings * np.exp(_SD * spread))


@dataclass(frozen=True)
class Reading:
    """What is read of a text for some positions in it.

    Attributes:
        contexts: how many, each once.
        whole: as many whole contexts hold as many positions: each is read up to the last that is needed.
    """

    contexts: float
    whole: float


def expected_reading(shares: Float[ndarray, " n"], positions: int, n_contexts: int) -> Reading:
    """Returns what pairs are expected to read that all go through the contexts in one random order.

    A pair takes the j-th context if both of its features fire there and in fewer than `positions` of those before it,
    which follows a binomial law. Pairs are taken to fire independently of each other and to take one position of a
    context, uniformly, so that of m positions the last stands at m / (m + 1) of it; m is taken for a Poisson number.

    Args:
        shares: of the contexts in which both features of each pair fire.
        positions: that a pair takes.
        n_contexts: that there are.
    """
    before = np.arange(n_contexts)
    none, mean = np.ones(n_contexts), np.zeros(n_contexts)
    for share in shares.tolist():
        taken = share * binom.cdf(positions - 1, before, share)
        none *= 1 - taken
        mean += taken
    beyond = -np.expm1(-mean) / np.maximum(mean, 1e-12)  # mean of 1 / (m + 1)
    return Reading(float((1 - none).sum()), float((1 - beyond).sum()))


def ablation_reading(n_pairs: int, positions: int, context: int, max_tokens: int, density: float) -> Reading:
    """Returns what the ablations of a layer pair are expected to read.

    Args:
        n_pairs: that are ablated.
        positions: of each.
        context: tokens of a row of text.
        max_tokens: of the text.
        density: L0 / F, of the side whose features fire less.
    """
    firings = density * max(1, context - 1)
    return expected_reading(shares_of_pairs(n_pairs, firings), positions, held_out_contexts(context, max_tokens))


def reading_apart(n_positions: int, context: int, max_tokens: int) -> Reading:
    """Returns what positions are expected to read that lie anywhere, as the strongest of each pair do.

    A context holds a Poisson number m of them, the last at m / (m + 1) of it.

    Args:
        n_positions: of all pairs together.
        context: tokens of a row of text.
        max_tokens: of the text.
    """
    n = held_out_contexts(context, max_tokens)
    mean = max(n_positions / n, 1e-12)
    some = -np.expm1(-mean)
    return Reading(float(n * some), float(n * (1 - some / mean)))


def held_out_contexts(context: int, max_tokens: int) -> int:
    """Returns the contexts that hold a document of one half."""
    return max(1, round(_HELD_OUT * -(-max_tokens // max(1, context - 1))))
