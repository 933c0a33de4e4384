"""Functional agreement of feature pairs, told from the effects that were kept, and of a layer pair."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from semconv.compare.rsa import RSA
from semconv.statistics.effects import STUDIED, EffectSums
from semconv.statistics.permutation import PermutationResult
from semconv.statistics.sign_flips import sign_flip_test
from semconv.system.errors import InputError

MOVED = 20
"""Tokens moved most, of either side, whose signs are compared."""
_ROWS = 256
"""Pairs whose mean effects are held in float64 at once."""
_FEWEST = 5  # pairs that second-order similarity is taken of


@dataclass(frozen=True, eq=False)
class PairFunction:
    """How alike what both features of each pair do is; float64 [n_pairs], NaN where it cannot be told.

    Attributes:
        positions: int64, positions that count.
        r: mean over positions of the correlation of residual effects with the partner's.
        r_others: the same with the dose-matched others that fire at the position, mean over them; about zero, because
            residual effects of the others add up to zero.
        r_alternates: [n_pairs, n_alternates], the same with each alternate to the partner.
        plain: as `r`, of effects as they are.
        plain_others: as `r_others`, of effects as they are: what any feature that fires there has in common with A's.
        plain_alternates: as `r_alternates`, of effects as they are.
        top1: share of positions at which the partner does better than every hard negative there.
        mrr: mean over positions of 1 / rank of the partner among the hard negatives there.
        chance_top1: mean over positions of 1 / (hard negatives + 1).
        cosine: cosine of the two mean effects.
        residual_r: correlation of the two mean residual effects.
        signs: share of the `MOVED` tokens that A's mean residual effect moves most, which B's moves the same way, and
            the other way round, averaged.
        kl_r: correlation over positions of the two KL divergences: the per-feature causal agreement of crosscoder
            features (Vicentino 2026, "The Cosine-Causal Gap in Cross-Model Crosscoders").
        kl_r_others: the same of A's with the mean of the others of B.
        size: log2 of mean KL of A over that of B.
    """

    positions: Int[ndarray, " n"]
    r: Float[ndarray, " n"]
    r_others: Float[ndarray, " n"]
    r_alternates: Float[ndarray, "n k"]
    plain: Float[ndarray, " n"]
    plain_others: Float[ndarray, " n"]
    plain_alternates: Float[ndarray, "n k"]
    top1: Float[ndarray, " n"]
    mrr: Float[ndarray, " n"]
    chance_top1: Float[ndarray, " n"]
    cosine: Float[ndarray, " n"]
    residual_r: Float[ndarray, " n"]
    signs: Float[ndarray, " n"]
    kl_r: Float[ndarray, " n"]
    kl_r_others: Float[ndarray, " n"]
    size: Float[ndarray, " n"]

    def best_negative(self, alternates: Sequence[int], *, plain: bool = False) -> Float[ndarray, " n"]:
        """Returns the best of the others' mean and some alternates, per pair; NaN where there is none.

        It is chosen by the same positions that it is compared at, which favours the negative.

        Args:
            alternates: by number from 0.
            plain: whether effects are taken as they are.
        """
        others, of_alternates = (
            (self.plain_others, self.plain_alternates) if plain else (self.r_others, self.r_alternates)
        )
        every = np.column_stack([others, of_alternates[:, list(alternates)]])
        return np.fmax.reduce(every, axis=1)


def pair_function(sums: EffectSums) -> PairFunction:
    """Returns the statistics of every pair."""
    n, pair = len(sums.counts), sums.pair
    r, plain = (
        torch.stack([_mean_by(pair, of_kinds[:, kind], n) for kind in range(sums.n_kinds)], dim=1).numpy()
        for of_kinds in (sums.r, sums.plain)
    )
    ranked = sums.negatives > 0
    rank = torch.where(ranked, sums.better + 1, 1).double()
    nan = torch.full_like(rank, torch.nan)
    top1, mrr, chance = (
        _mean_by(pair, torch.where(ranked, value, nan), n).numpy()
        for value in ((rank == 1).double(), 1 / rank, 1 / (sums.negatives + 1).double())
    )
    cosine, residual_r, signs = _mean_effects(sums)
    own, other = sums.kl_a, sums.kl_b[:, STUDIED]
    mean_a, mean_b = (_mean_by(pair, kl, n).numpy() for kl in (own, other))
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.where((mean_a > 0) & (mean_b > 0), np.log2(mean_a / mean_b), np.nan)
    return PairFunction(
        sums.counts.numpy(),
        r[:, STUDIED],
        _mean_by(pair, sums.r_others, n).numpy(),
        r[:, STUDIED + 1 :],
        plain[:, STUDIED],
        _mean_by(pair, sums.plain_others, n).numpy(),
        plain[:, STUDIED + 1 :],
        top1,
        mrr,
        chance,
        cosine,
        residual_r,
        signs,
        _correlation_by(pair, own, other, n),
        _correlation_by(pair, own, sums.kl_others, n),
        size,
    )


def _mean_effects(sums: EffectSums) -> tuple[Float[ndarray, " n"], Float[ndarray, " n"], Float[ndarray, " n"]]:
    """Returns cosine of mean effects, and correlation and agreement of signs of mean residual effects."""
    out = np.full((3, len(sums.counts)), np.nan)
    for begin in range(0, len(sums.counts), _ROWS):
        part = slice(begin, begin + _ROWS)
        effects, residuals = (
            [sums.over_shared(total[part], side).double() for side, total in enumerate(both)]
            for both in ((sums.effect_a, sums.effect_b), (sums.residual_a, sums.residual_b))
        )
        out[0, part] = _cosines(*effects)
        out[1, part] = _cosines(*(x - x.mean(dim=1, keepdim=True) for x in residuals))
        out[2, part] = _sign_agreement(*residuals)
    out[:, (sums.counts == 0).numpy()] = np.nan
    return out[0], out[1], out[2]


def _cosines(x: Tensor, y: Tensor) -> Tensor:
    scale = x.norm(dim=1) * y.norm(dim=1)
    return torch.where(scale > 0, (x * y).sum(dim=1) / scale, torch.nan)


def _sign_agreement(x: Tensor, y: Tensor) -> Tensor:
    k = min(MOVED, x.shape[1])
    both = [z.abs().topk(k, dim=1).indices for z in (x, y)]
    same = [(x.gather(1, top).sign() == y.gather(1, top).sign()).double().mean(dim=1) for top in both]
    return (same[0] + same[1]) / 2


def _mean_by(group: Tensor, values: Tensor, n: int) -> Tensor:
    finite = values.isfinite()
    total = torch.zeros(n, dtype=torch.float64).index_add_(0, group[finite], values[finite])
    count = torch.bincount(group[finite], minlength=n)
    return torch.where(count > 0, total / count, torch.nan)


def _correlation_by(group: Tensor, x: Tensor, y: Tensor, n: int) -> Float[ndarray, " n"]:
    """Returns Pearson correlations within groups; NaN where one side does not vary."""
    finite = x.isfinite() & y.isfinite()
    group, x, y = group[finite], x[finite], y[finite]
    x, y = (z - _mean_by(group, z, n)[group] for z in (x, y))
    products, squares_x, squares_y = (_mean_by(group, z, n) for z in (x * y, x * x, y * y))
    scale = (squares_x * squares_y).sqrt()
    return torch.where(scale > 0, products / scale, torch.nan).numpy()


@dataclass(frozen=True, eq=False)
class LayerFunction:
    """Functional agreement of a layer pair.

    Attributes:
        pairs: that have enough positions.
        beyond: partner minus best hard negative, tested by flipping signs of the pairs of a token together; None where
            no pair has both.
        rsa: correlation of similarities among A's mean residual effects with those among B's, each over its whole
            vocabulary (second-order: no shared vocabulary is needed); NaN for fewer than five pairs.
        retrieval_top1: share of pairs of which B's mean residual effect is the most alike of all pairs' to A's.
        retrieval_mrr: mean of 1 / rank among all pairs.
        within_token_top1: the same among pairs of the same token, over pairs whose token has another pair.
        within_token_mrr: as above.
        within_token_chance: mean of 1 / (pairs of the token) over these pairs.
    """

    pairs: int
    beyond: PermutationResult | None
    rsa: float
    retrieval_top1: float
    retrieval_mrr: float
    within_token_top1: float
    within_token_mrr: float
    within_token_chance: float


def layer_function(
    sums: EffectSums,
    told: PairFunction,
    tokens: Int[ndarray, " n"],
    alternates: Sequence[int],
    *,
    n_flips: int = 9999,
    seed: int = 0,
) -> LayerFunction:
    """Returns what the pairs of a layer pair say together.

    Args:
        sums: of the layer pair.
        told: statistics of its pairs (`pair_function`).
        tokens: int [n_pairs], number of the top token of each pair, by which pairs are clustered.
        alternates: which alternates are hard negatives, by number from 0.
        n_flips: draws of the sign-flip test.
        seed: of the run.

    Raises:
        InputError: tokens of another number of pairs.
    """
    if len(tokens) != len(told.r):
        raise InputError(f"a token is needed for every pair, got {len(tokens)} for {len(told.r)}")
    difference = told.r - told.best_negative(alternates)
    known, studied = np.isfinite(difference), np.flatnonzero(told.positions > 0)
    beyond = sign_flip_test(difference[known], tokens[known], n_flips, seed) if known.any() else None
    score, ranks, within = math.nan, np.empty(0), np.empty(0)
    sizes = np.empty(0)
    if len(studied):
        at = torch.from_numpy(studied)
        if len(studied) >= _FEWEST:
            measure = RSA()
            prepared = [measure.prepare(x[at].numpy()) for x in (sums.residual_a, sums.residual_b)]
            score = measure.score(*prepared)
        ranks, within, sizes = _ranks(sums, at, tokens[studied])
    several = sizes > 1

    def mean(values: ndarray) -> float:
        return float(values.mean()) if len(values) else math.nan

    return LayerFunction(
        len(studied),
        beyond,
        float(score),
        mean(ranks == 1),
        mean(1 / ranks),
        mean(within[several] == 1),
        mean(1 / within[several]),
        mean(1 / sizes[several]),
    )


def _ranks(
    sums: EffectSums, at: Tensor, tokens: Int[ndarray, " n"]
) -> tuple[Float[ndarray, " n"], Float[ndarray, " n"], Int[ndarray, " n"]]:
    """Returns the rank of the partner among all pairs and among those of its token, and how many these are."""
    sides = [sums.over_shared(x[at], side) for side, x in enumerate((sums.residual_a, sums.residual_b))]
    a, b = (torch.nn.functional.normalize(x - x.mean(dim=1, keepdim=True), dim=1) for x in sides)
    alike = (a @ b.T).double().numpy()
    own = alike.diagonal()[:, None]
    better = (alike >= own) & ~np.eye(len(alike), dtype=bool)
    same = tokens[:, None] == tokens[None, :]
    return 1.0 + better.sum(axis=1), 1.0 + (better & same).sum(axis=1), same.sum(axis=1)
