"""What the decoder row of a feature says about the next token by itself: the logit lens, of one side and of pairs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from semconv.models.readout import Readout
from semconv.models.widened import HEAD_BYTES
from semconv.suite.hooks import SUMS, parse_hook
from semconv.system.errors import InputError
from semconv.text.shared_tokens import SharedTokens

_LOGITS = 2**24
"""Logits of decoder rows held at once, of one side, 64 MB in float32."""


@dataclass(frozen=True, eq=False)
class LensTokens:
    """The tokens that features promote and suppress most, by the logit lens.

    Attributes:
        promoted: int64 [F, k] token ids, the largest logit first.
        suppressed: int64 [F, k], the smallest first.
        promoted_logits: float32 [F, k].
        suppressed_logits: float32 [F, k].
    """

    promoted: Tensor
    suppressed: Tensor
    promoted_logits: Tensor
    suppressed_logits: Tensor


@dataclass(frozen=True, eq=False)
class LensAgreement:
    """How alike the logit lens is of both features of each pair, over the tokens that both vocabularies have.

    Attributes:
        correlation: float64 [n], Pearson correlation of the logits; NaN where one side's do not vary.
        promoted: float64 [n], share of the k most promoted shared tokens of A that are among B's.
        suppressed: float64 [n], the same of those suppressed.
        chance: what two features that have nothing to do with each other share of their top k, k / tokens.
    """

    correlation: Tensor
    promoted: Tensor
    suppressed: Tensor
    chance: float


def why_no_lens(hook: str) -> str:
    """Returns why decoder rows at a hook are no directions of the residual stream, empty where they are.

    Raises:
        InputError: a name that is no hook.
    """
    if parse_hook(hook).stream in SUMS:
        return ""
    return f"decoder rows at {hook} are not directions of the residual stream, which the head reads"


@dataclass(frozen=True, eq=False)
class PairLenses:
    """The logit lens of the two features of every pair, over the tokens that both vocabularies have.

    Attributes:
        a: tokens of A's features, by their ids in A's vocabulary.
        b: of B's, in B's.
        agreement: how alike both are.
    """

    a: LensTokens
    b: LensTokens
    agreement: LensAgreement


class _Side:
    """Decoder rows of one side: logits of one piece of the vocabulary after the other, and the k at either end so far.

    Every weight of the head is read, and widened where it is stored in 16 bits, once for all rows.
    """

    def __init__(self, readout: Readout, rows: Tensor, k: int) -> None:
        width, self.k = readout.norm_width, k
        if rows.dim() != 2 or (width is not None and rows.shape[1] != width):
            raise InputError(
                f"decoder rows must be [n, {width}], as wide as the residual stream, got {list(rows.shape)}"
            )
        self.readout, self._normed = readout, readout.normed(rows.to(next(readout.head.parameters()).device))
        nothing = self._normed.new_empty(len(rows), 0, dtype=torch.float32)
        self._ends = [(nothing, nothing.long()) for _ in range(2)]

    @property
    def at_once(self) -> int:
        """Tokens of a piece, so that its logits and its weights stay within a bound."""
        n, width = self._normed.shape
        return max(1, min(_LOGITS // max(1, n), HEAD_BYTES // (4 * width)))

    def add(self, ids: Tensor, first: int) -> Tensor:
        """Takes some tokens, int64 [t] ids that are told by numbers from `first` on; returns their logits [n, t]."""
        device = self._normed.device
        follow = bool((ids.diff() == 1).all())  # a slice is not copied
        tokens = slice(int(ids[0]), int(ids[-1]) + 1) if follow else ids.to(device)
        logits = self.readout.lens(self._normed, tokens)
        for i, largest in enumerate((True, False)):
            top = logits.topk(min(self.k, logits.shape[1]), dim=1, largest=largest)
            values = torch.cat([self._ends[i][0], top.values], dim=1)
            places = torch.cat([self._ends[i][1], top.indices + first], dim=1)
            best = values.topk(min(self.k, values.shape[1]), dim=1, largest=largest)
            self._ends[i] = best.values, places.gather(1, best.indices)
        return logits

    def numbers(self) -> tuple[Tensor, Tensor]:
        """Returns the numbers of the k tokens at either end, int64 [n, k]."""
        return self._ends[0][1], self._ends[1][1]

    def tokens(self, ids: Tensor) -> LensTokens:
        """Returns the k tokens at either end, with their ids by number, int64 [s]."""
        (promoted, of_promoted), (suppressed, of_suppressed) = ((v.cpu(), at.cpu()) for v, at in self._ends)
        return LensTokens(ids[of_promoted], ids[of_suppressed], promoted, suppressed)


class _Correlation:
    """Pearson correlation of the rows of two matrices that come some columns at a time, by sums in float64.

    The sums are those of what is above the mean of the first columns, so that a mean far from 0 costs no digits.
    """

    def __init__(self) -> None:
        self._n, self._shift, self._sums = 0, list[Tensor](), list[Tensor]()

    def add(self, x: Tensor, y: Tensor) -> None:
        """Takes some columns of both, [n, t]."""
        wide = [x.double(), y.double()]
        self._shift = self._shift or [z.mean(dim=1, keepdim=True) for z in wide]
        for z, shift in zip(wide, self._shift, strict=True):
            z -= shift
        a, b = wide
        found = [a.sum(dim=1), b.sum(dim=1), *(torch.einsum("nt,nt->n", *two) for two in ((a, a), (b, b), (a, b)))]
        self._sums = [sum_ + more for sum_, more in zip(self._sums, found, strict=True)] if self._sums else found
        self._n += x.shape[1]

    def result(self) -> Tensor:
        """Returns the correlations, float64 [n]; NaN where one side does not vary."""
        a, b, aa, bb, ab = self._sums
        scale = ((aa - a * a / self._n).clamp(min=0) * (bb - b * b / self._n).clamp(min=0)).sqrt()
        return torch.where(scale > 0, (ab - a * b / self._n) / scale, torch.nan)


@torch.inference_mode()
def lens_tokens(readout: Readout, rows: Tensor, k: int = 10, size: int | None = None) -> LensTokens:
    """Returns the k tokens that each feature promotes and suppresses most (`Readout.lens`).

    Args:
        readout: of the model.
        rows: float [F, d_model] decoder rows.
        k: tokens per feature, 1 <= k <= size.
        size: token ids from 0 on that are looked at; None for all. The last logits of some models stand for no token.

    Raises:
        InputError: rows of another width, or k out of range.
    """
    most = min(size or readout.vocab_size, readout.vocab_size)
    if not 1 <= k <= most:
        raise InputError(f"k must be between 1 and {most} tokens, got {k}")
    side, ids = _Side(readout, rows, k), torch.arange(most)
    for first in range(0, most, side.at_once):
        side.add(ids[first : first + side.at_once], first)
    return side.tokens(ids)


@torch.inference_mode()
def lens_of_pairs(
    readouts: tuple[Readout, Readout], rows: tuple[Tensor, Tensor], shared: SharedTokens, k: int = 10
) -> PairLenses:
    """Returns the logit lens of both features of each pair and how alike it is, by one pass over both heads.

    Args:
        readouts: of both models.
        rows: float [n, d_model], decoder rows of both sides, paired row by row.
        shared: tokens that both have.
        k: tokens at either end, 1 <= k <= their number.

    Raises:
        InputError: sides of different length, rows of another width, or k out of range.
    """
    if len(rows[0]) != len(rows[1]):
        raise InputError(f"decoder rows must be paired, got {len(rows[0])} and {len(rows[1])}")
    if not 1 <= k <= len(shared):
        raise InputError(f"k must be between 1 and {len(shared)} shared tokens, got {k}")
    a, b = (_Side(readout, side, k) for readout, side in zip(readouts, rows, strict=True))
    sums, at_once = _Correlation(), min(a.at_once, b.at_once)
    for first in range(0, len(shared), at_once):
        part = slice(first, first + at_once)
        sums.add(a.add(shared.a[part], first), b.add(shared.b[part], first))
    promoted, suppressed = (_overlap(*of_both).cpu() for of_both in zip(a.numbers(), b.numbers(), strict=True))
    agreement = LensAgreement(sums.result().cpu(), promoted, suppressed, chance=k / len(shared))
    return PairLenses(a.tokens(shared.a), b.tokens(shared.b), agreement)


def _overlap(a: Tensor, b: Tensor) -> Tensor:
    return (a[:, :, None] == b[:, None, :]).any(dim=2).double().mean(dim=1)
