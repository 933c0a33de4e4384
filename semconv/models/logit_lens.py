"""What the decoder row of a feature says about the next token by itself: the logit lens, of one side and of pairs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from semconv.models.readout import Readout
from semconv.suite.hooks import SUMS, parse_hook
from semconv.system.errors import InputError
from semconv.text.shared_tokens import SharedTokens

_LOGITS = 2**24
"""Logits of decoder rows held at once, 64 MB in float32."""


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


def _pieces(readout: Readout, rows: Tensor, n_at_once: int) -> Iterator[tuple[slice, Tensor]]:
    width = readout.norm_width
    if rows.dim() != 2 or (width is not None and rows.shape[1] != width):
        raise InputError(f"decoder rows must be [n, {width}], as wide as the residual stream, got {list(rows.shape)}")
    device = next(readout.head.parameters()).device
    for begin in range(0, len(rows), n_at_once):
        yield slice(begin, begin + n_at_once), readout.lens(rows[begin : begin + n_at_once].to(device))


@torch.inference_mode()
def lens_tokens(readout: Readout, rows: Tensor, k: int = 10, size: int | None = None) -> LensTokens:
    """Returns the k tokens that each feature promotes and suppresses most (`Readout.lens`), some features at a time.

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
    ids = [torch.empty(len(rows), k, dtype=torch.int64) for _ in range(2)]
    logits = [torch.empty(len(rows), k) for _ in range(2)]
    for part, found in _pieces(readout, rows, max(1, _LOGITS // readout.vocab_size)):
        for i, largest in enumerate((True, False)):
            top = found[:, :most].topk(k, dim=1, largest=largest)
            ids[i][part], logits[i][part] = top.indices.cpu(), top.values.cpu()
    return LensTokens(*ids, *logits)


@torch.inference_mode()
def lens_agreement(
    readouts: tuple[Readout, Readout], rows: tuple[Tensor, Tensor], shared: SharedTokens, k: int = 10
) -> LensAgreement:
    """Returns how alike the logit lens is of both features of each pair.

    Args:
        readouts: of both models.
        rows: float [n, d_model], decoder rows of both sides, paired row by row.
        shared: tokens that both have.
        k: tokens at either end that are compared, 1 <= k <= their number.

    Raises:
        InputError: sides of different length, rows of another width, or k out of range.
    """
    if len(rows[0]) != len(rows[1]):
        raise InputError(f"decoder rows must be paired, got {len(rows[0])} and {len(rows[1])}")
    if not 1 <= k <= len(shared):
        raise InputError(f"k must be between 1 and {len(shared)} shared tokens, got {k}")
    n_at_once = max(1, _LOGITS // max(readout.vocab_size for readout in readouts))
    out = torch.empty(3, len(rows[0]), dtype=torch.float64)
    both = zip(*(_pieces(readout, side, n_at_once) for readout, side in zip(readouts, rows, strict=True)), strict=True)
    for (part, of_a), (_, of_b) in both:
        x, y = of_a[:, shared.a.to(of_a.device)].cpu(), of_b[:, shared.b.to(of_b.device)].cpu()
        out[0, part] = _pearson(x, y)
        for i, largest in ((1, True), (2, False)):
            out[i, part] = _overlap(*(z.topk(k, dim=1, largest=largest).indices for z in (x, y)))
    return LensAgreement(*out, chance=k / len(shared))


def _pearson(x: Tensor, y: Tensor) -> Tensor:
    x, y = (z.double() - z.double().mean(dim=1, keepdim=True) for z in (x, y))
    scale = (x.square().sum(dim=1) * y.square().sum(dim=1)).sqrt()
    return torch.where(scale > 0, (x * y).sum(dim=1) / scale, torch.nan)


def _overlap(a: Tensor, b: Tensor) -> Tensor:
    return (a[:, :, None] == b[:, None, :]).any(dim=2).double().mean(dim=1)
