"""Compares what features of two models do at the same positions, effect by effect, as they come.

An effect is a vector over a vocabulary: what a change of one feature at one position adds to the log-probabilities of
the next token. Much of it is what any change of that size does there. So from every effect the mean effect of other
features is taken that fire at the same position in the same model and are changed by the same dose (the norm of what is
added to the stream); what is left is the *residual effect*. Effects are correlated both ways. The others at a position
are alternates to the partner as well; over them residual effects add up to zero, so that their mean correlation with
anything is zero but for differences in length: it says something of effects as they are alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

OTHER = -1
"""Kind of a row: another feature that fires at the position, changed by the dose of the feature that is studied."""
STUDIED = 0
"""Kind of a row: the feature that is studied, of model B the partner. Kinds above it are alternates to the partner."""


@dataclass(frozen=True, eq=False)
class EffectRows:
    """Effects of one model at some items, an item being a pair at a position.

    Attributes:
        change: float32 [R, V], log-softmax after the change minus before.
        kl: float32 [R], in nats.
        item: int64 [R], 0 <= item < n_items.
        kind: int64 [R], `OTHER`, `STUDIED` or an alternate.
        n_items: P.
    """

    change: Tensor
    kl: Tensor
    item: Tensor
    kind: Tensor
    n_items: int


def residual_effects(rows: EffectRows) -> tuple[Tensor, Tensor]:
    """Returns effects without the mean effect of the others at their item.

    Of another feature itself, the mean is over the remaining others, so that a pair's partner and the others are
    treated alike: each is compared with the mean of features that it is not among.

    Returns:
        float32 [R, V], and bool [R], False where there are no others to take a mean of.
    """
    other = rows.kind == OTHER
    place = rows.item[other]
    total = rows.change.new_zeros(rows.n_items, rows.change.shape[1])
    total.index_add_(0, place, rows.change[other])
    count = torch.bincount(place, minlength=rows.n_items)[rows.item] - other.long()
    valid, divisor = count > 0, count.clamp(min=1).to(rows.change.dtype)[:, None]
    # (x (n + 1) - total) / n of another feature, total holding x; x - total / n of the rest
    weight = torch.where(other[:, None], (divisor + 1) / divisor, torch.ones_like(divisor))
    return torch.addcdiv(rows.change * weight, total[rows.item], divisor, value=-1), valid


def effect_correlations(a: Tensor, b: Tensor, item: Tensor) -> Tensor:
    """Returns Pearson correlations over the vocabulary between the effect of A at an item and every effect of B there.

    Args:
        a: float [P, V], one effect per item.
        b: float [R, V].
        item: int64 [R], of each effect of B.

    Returns:
        float64 [R]; NaN where an effect does not vary.
    """
    a, b = (x - x.mean(dim=1, keepdim=True) for x in (a, b))
    products = torch.einsum("rv,rv->r", a[item], b).double()
    squares = torch.einsum("pv,pv->p", a, a).double()[item] * torch.einsum("rv,rv->r", b, b).double()
    return torch.where(squares > 0, products / squares.sqrt(), torch.nan)


class EffectSums:
    """What is kept of the effects of a layer pair: numbers per item, and per pair one mean effect of either side.

    Nothing is held per item and token, so memory is 4 floats per pair and token, whatever the number of positions.

    Args:
        pair: int64 [m], pair of every item.
        n_pairs: number of pairs.
        sizes: of the two vocabularies.
        shared: int64 [s] ids in A's vocabulary, and of the same tokens in B's.
        n_kinds: kinds of rows of B from `STUDIED` on, the alternates included.

    Attributes:
        r: float64 [m, n_kinds], correlation of the residual effect of A's feature with that of each kind of B.
        r_others: float64 [m], its mean over the others at the item.
        plain: as `r`, of effects as they are.
        plain_others: as `r_others`, of effects as they are.
        better: int64 [m], how many of the hard negatives (others and alternates) do at least as well as the partner.
        negatives: int64 [m], how many there are.
        kl_a: float64 [m].
        kl_b: float64 [m, n_kinds].
        kl_others: float64 [m], mean over the others of B.
        effect_a: float32 [n_pairs, V_a], sum over items of A's effects.
        effect_b: float32 [n_pairs, V_b], of the partner's.
        residual_a: as `effect_a`, of residual effects.
        residual_b: as `effect_b`.
        counts: int64 [n_pairs], items that were added and had others to compare with on both sides.
    """

    def __init__(
        self, pair: Tensor, n_pairs: int, sizes: tuple[int, int], shared: tuple[Tensor, Tensor], n_kinds: int
    ) -> None:
        self.pair, self.shared, self.n_kinds = pair, shared, n_kinds
        self._all_shared = all(
            len(ids) == size and bool((ids == torch.arange(size)).all())
            for ids, size in zip(shared, sizes, strict=True)
        )
        m = len(pair)
        self.r = torch.full((m, n_kinds), torch.nan, dtype=torch.float64)
        self.plain = torch.full((m, n_kinds), torch.nan, dtype=torch.float64)
        self.r_others, self.plain_others = (torch.full((m,), torch.nan, dtype=torch.float64) for _ in range(2))
        self.better, self.negatives = (torch.zeros(m, dtype=torch.int64) for _ in range(2))
        self.kl_a = torch.full((m,), torch.nan, dtype=torch.float64)
        self.kl_b = torch.full((m, n_kinds), torch.nan, dtype=torch.float64)
        self.kl_others = torch.full((m,), torch.nan, dtype=torch.float64)
        self.effect_a, self.residual_a = (torch.zeros(n_pairs, sizes[0]) for _ in range(2))
        self.effect_b, self.residual_b = (torch.zeros(n_pairs, sizes[1]) for _ in range(2))
        self.counts = torch.zeros(n_pairs, dtype=torch.int64)

    def over_shared(self, effects: Tensor, side: int) -> Tensor:
        """Returns effects [n, V] of A (0) or B (1) at the tokens that both have, [n, s]."""
        return effects if self._all_shared else effects.index_select(1, self.shared[side].to(effects.device))

    def add(self, items: Tensor, a: EffectRows, b: EffectRows, unranked: tuple[int, ...] = ()) -> None:
        """Takes in the effects of some items, each once and whole.

        Args:
            items: int64 [P], their numbers; item i of the rows is number `items[i]`.
            a: rows of A: one `STUDIED` per item, and others.
            b: rows of B: one `STUDIED` per item, others, and alternates where an item has them.
            unranked: kinds that are no hard negatives, such as a random direction.
        """
        residual_a, valid_a = residual_effects(a)
        residual_b, valid_b = residual_effects(b)
        own_a, own_b = _studied(a), _studied(b)
        at_item = self.over_shared(residual_a[own_a], 0)
        r = effect_correlations(at_item, self.over_shared(residual_b, 1), b.item)
        r = torch.where(valid_b & valid_a[own_a][b.item], r, torch.nan).cpu()
        plain = effect_correlations(self.over_shared(a.change[own_a], 0), self.over_shared(b.change, 1), b.item).cpu()
        item, kind = b.item.cpu(), b.kind.cpu()
        place, named, other = items[item], kind >= STUDIED, kind == OTHER
        self.r[place[named], kind[named]], self.plain[place[named], kind[named]] = r[named], plain[named]
        self.r_others[items] = _means(r[other], item[other], len(items))
        self.plain_others[items] = _means(plain[other], item[other], len(items))
        self._rank(items, item, kind, r, unranked)
        kl = b.kl.cpu().double()
        self.kl_a[items] = a.kl[own_a].cpu().double()
        self.kl_b[place[named], kind[named]] = kl[named]
        self.kl_others[items] = _means(kl[other], item[other], len(items))
        counted = (valid_a[own_a] & valid_b[own_b]).cpu()
        pair = self.pair[items]
        self.counts.index_add_(0, pair[counted], torch.ones_like(pair[counted]))
        for total, part in (
            (self.effect_a, a.change[own_a]),
            (self.residual_a, residual_a[own_a]),
            (self.effect_b, b.change[own_b]),
            (self.residual_b, residual_b[own_b]),
        ):
            total.index_add_(0, pair[counted], part.cpu()[counted])

    def _rank(self, items: Tensor, item: Tensor, kind: Tensor, r: Tensor, unranked: tuple[int, ...]) -> None:
        partner = torch.full((len(items),), torch.nan, dtype=torch.float64)
        partner[item[kind == STUDIED]] = r[kind == STUDIED]
        negative = (kind != STUDIED) & r.isfinite() & partner[item].isfinite()
        for one in unranked:
            negative &= kind != one
        better = negative & (r >= partner[item])
        self.negatives[items] = torch.bincount(item[negative], minlength=len(items))
        self.better[items] = torch.bincount(item[better], minlength=len(items))


def _studied(rows: EffectRows) -> Tensor:
    """Returns the row of the studied feature of each item, int64 [P]."""
    which = (rows.kind == STUDIED).nonzero()[:, 0]
    return which[torch.argsort(rows.item[which])]


def _means(values: Tensor, group: Tensor, n: int) -> Tensor:
    """Returns the mean of each group's finite values, float64 [n], NaN where it has none."""
    finite = values.isfinite()
    total = torch.zeros(n, dtype=torch.float64).index_add_(0, group[finite], values[finite].double())
    count = torch.bincount(group[finite], minlength=n)
    return torch.where(count > 0, total / count, torch.nan)
