"""How well an SAE fits a text: the variance of the stream that it explains, and the model's loss that it recovers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from semconv.core.device import float32_products
from semconv.models.memory_plan import pieces
from semconv.models.model_activations import has_head, row_streams, streams
from semconv.models.splicing import next_token_loss, rows_per_pass, spliced, targets, why_not_spliced
from semconv.text.token_blocks import TokenBlocks

if TYPE_CHECKING:
    from sae_lens import SAE

FIT_TOKENS = 8192
"""About how many counted positions variance is measured on. Another sample of the mini text moves it by 0.002 at most,
and a model of 135M parameters reads so much in some fifteen seconds on two cores."""
LOSS_TOKENS = 1024
"""About how many the loss is measured on: over these the whole model is run twice for every SAE. Another sample of the
mini text moves the share that is recovered by 0.008 at most."""
_FEWEST_ROWS = 4  # that a sample is of, where the text has so many: rows next to each other are of one document


@dataclass(frozen=True, eq=False)
class Reader:
    """An SAE at a stream of a model.

    Attributes:
        sae: on the model's device.
        hook: the stream that it reads.
        hook_out: the stream that it stands for: the one that it reads or, of a transcoder, another.
        take: what it takes of the stream at `hook`, [n, width] -> [n, d_in].
        aim: what it stands for of the stream at `hook_out`, [n, width] -> [n, d_out].
        first: where in the width of the stream at `hook_out` that begins, such as the first of one head's.
        d_sae: its features, so that positions are taken in pieces.
    """

    sae: SAE[Any]
    hook: str
    hook_out: str
    take: Callable[[Tensor], Tensor] = lambda stream: stream
    aim: Callable[[Tensor], Tensor] = lambda stream: stream
    first: int = 0
    d_sae: int = 1

    def found(self, stream: Tensor) -> Tensor:
        """Returns the SAE's reconstruction (or prediction) from the stream at `hook`, float32 [n, d_out]."""
        read = self.take(stream).to(self.sae.dtype)
        parts = [self.sae(part).float() for part in read.split(pieces(len(read), self.d_sae))]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def replaced(self, stream: Tensor, found: Tensor | None) -> Tensor:
        """Returns the stream at `hook_out`, [n, width], with what the SAE found in its place, or zeros for None."""
        aimed, out = self.aim(stream), stream.clone()
        place = slice(self.first, self.first + aimed.shape[1])
        out[:, place] += ((0 if found is None else found) - aimed).to(out.dtype)
        return out


class Variance:
    """Sums over positions from which the explained variance follows, in float64."""

    def __init__(self) -> None:
        self.n = 0
        self._total: Tensor | float = 0.0
        self._squares = self._left = 0.0

    def add(self, stream: Tensor, found: Tensor) -> None:
        """Adds positions: what is there, and what the SAE makes of it, both [n, width]."""
        x, left = stream.double(), stream.double() - found.double()
        self.n += len(x)
        self._total = self._total + x.sum(dim=0)
        self._squares += float(x.square().sum())
        self._left += float(left.square().sum())

    @property
    def explained(self) -> float | None:
        """1 - sum |x - x_hat|^2 / sum |x - mean|^2; None where the stream does not vary."""
        if not self.n:
            return None
        total = torch.as_tensor(self._total)
        variance = self._squares - float(total.square().sum()) / self.n
        return 1 - self._left / variance if variance > 0 else None


def sample(blocks: TokenBlocks, kept: Tensor, n_tokens: int) -> tuple[TokenBlocks, Tensor]:
    """Returns rows of a text, and of `kept`, of about so many kept positions: the same every time, evenly spread.

    Args:
        blocks: the text.
        kept: bool [n_seq, context].
        n_tokens: positions wanted; the whole text where it has fewer.
    """
    n_rows, n_kept = len(kept), int(kept.sum())
    wanted = min(n_rows, max(_FEWEST_ROWS, -(-n_rows * n_tokens // max(n_kept, 1))))
    rows = torch.arange(wanted) * (n_rows - 1) // max(wanted - 1, 1)
    place = None if blocks.place is None else blocks.place[rows]
    mask, document = blocks.mask[rows], blocks.document[rows]
    return replace(blocks, ids=blocks.ids[rows], mask=mask, document=document, place=place), kept[rows]


@torch.inference_mode()
def explained_variances(
    model: nn.Module,
    readers: dict[str, Reader],
    blocks: TokenBlocks,
    kept: Tensor,
    batch: int,
    *,
    tf32: bool = False,
    model_tf32: bool = False,
) -> dict[str, dict[str, Any]]:
    """Returns how much of the variance of its stream every SAE explains on a sample of a text.

    Args:
        model: a language model in evaluation mode.
        readers: label -> SAE, of which `hook_out` is known.
        blocks: the text.
        kept: bool [n_seq, context], the counted positions that are no attention sinks.
        batch: rows per forward pass.
        tf32: whether float32 products of the SAEs are taken in TF32, on CUDA.
        model_tf32: the same of the model's.

    Returns:
        Label -> `tokens` that it was measured on, `explained_variance` over them, and `explained_variance_with_sinks`
        over the sinks among them too; None where a stream does not vary.
    """
    usual, every = ({label: Variance() for label in readers} for _ in range(2))
    hooks = sorted({hook for reader in readers.values() for hook in (reader.hook, reader.hook_out)})
    blocks, kept = sample(blocks, kept, FIT_TOKENS)
    for begin in range(0, len(kept), batch):
        part = slice(begin, begin + batch)
        with float32_products(model_tf32):
            read = row_streams(model, blocks, part, hooks)
        counted, without_sinks = blocks.mask[part], kept[part][blocks.mask[part]]
        for label, reader in readers.items():
            x, y = (read[hook][counted.to(read[hook].device)] for hook in (reader.hook, reader.hook_out))
            with float32_products(tf32):
                found = reader.found(x)
            y, at = reader.aim(y), without_sinks.to(y.device)
            usual[label].add(y[at], found[at])
            every[label].add(y, found)
    return {
        label: {
            "tokens": usual[label].n,
            "explained_variance": usual[label].explained,
            "explained_variance_with_sinks": every[label].explained,
        }
        for label in readers
    }


@torch.inference_mode()
def losses(
    model: nn.Module,
    readers: dict[str, Reader],
    blocks: TokenBlocks,
    kept: Tensor,
    *,
    tf32: bool = False,
    model_tf32: bool = False,
) -> dict[str, dict[str, Any]]:
    """Returns, for every SAE, how much of the loss is recovered when its reconstruction replaces its stream.

    The cross-entropy of the next token, in nats, is taken on a sample of the text three times: of the model as it is,
    with the stream replaced by the SAE's reconstruction, and with zeros in its place. Only positions that count are
    replaced, and only those whose successor counts too are measured, so that BOS and attention sinks, which SAEs are
    seldom trained on, stay as they are. Loss recovered is (L_zero - L_sae) / (L_zero - L_clean): 1 where the SAE costs
    nothing, 0 where it is no better than zeros (zero ablation; Rajamanoharan et al. 2024, arXiv 2404.16014).

    Args:
        model: as for `explained_variances`.
        readers: as there.
        blocks: as there.
        kept: as there.
        tf32: as there.
        model_tf32: as there.

    Returns:
        Label -> `tokens` measured, the three mean losses `clean`, `sae` and `zero`, and `recovered`; or a `reason`.
    """
    if not has_head(model):
        return {label: {"reason": "the model has no head that predicts the next token"} for label in readers}
    text = _Sample(model, *sample(blocks, kept, LOSS_TOKENS), tf32, model_tf32)
    n_measured = text.n_measured
    out: dict[str, dict[str, Any]] = {}
    clean = text.mean_loss(None) if n_measured else 0.0
    of_zeros: dict[tuple[str, int], float] = {}
    for label, reader in readers.items():
        reason = why_not_spliced(model, reader.hook_out) if n_measured else "no position is followed by one that counts"
        if not reason:
            where = reader.hook_out, reader.first
            if where not in of_zeros:
                of_zeros[where] = text.mean_loss(reader, zero=True)
            zero = of_zeros[where]
            values = {"tokens": n_measured, "clean": clean, "sae": text.mean_loss(reader), "zero": zero}
            if zero > clean:
                out[label] = {**values, "recovered": (zero - values["sae"]) / (zero - clean)}
                continue
            reason = f"zeros in place of the stream do not raise the loss ({zero:.3f} nats, {clean:.3f} without)"
        out[label] = {"reason": reason}
    return out


@dataclass(frozen=True, eq=False)
class _Sample:
    """A sample of a text on which a model's loss is measured; `kept`, `tf32` and `model_tf32` as in `losses`."""

    model: nn.Module
    blocks: TokenBlocks
    kept: Tensor
    tf32: bool
    model_tf32: bool

    @property
    def n_measured(self) -> int:
        """Positions whose next token is predicted."""
        return int(targets(self.kept).sum())

    def mean_loss(self, reader: Reader | None, zero: bool = False) -> float:
        """Returns the mean loss in nats: of the model as it is, or with an SAE or zeros in place of its stream."""
        rows = rows_per_pass(self.model, self.blocks.ids.shape[1])
        total = 0.0
        for begin in range(0, len(self.kept), rows):
            total += self._loss(slice(begin, begin + rows), reader, zero)
        return total / self.n_measured

    def _loss(self, part: slice, reader: Reader | None, zero: bool) -> float:
        """Returns the sum of the losses over some rows."""
        ids, at = self.blocks.ids[part], self.kept[part]
        with float32_products(self.model_tf32):
            if reader is None:
                return next_token_loss(self.model, ids, targets(at))
            elsewhere = not zero and reader.hook != reader.hook_out
            x = streams(self.model, ids, [reader.hook])[reader.hook] if elsewhere else None

        def change(stream: Tensor) -> Tensor:
            places, out = at.to(stream.device), stream.clone()
            with float32_products(self.tf32):
                found = None if zero else reader.found((stream if x is None else x)[places])
            out[places] = reader.replaced(stream[places], found)
            return out

        with float32_products(self.model_tf32), spliced(self.model, reader.hook_out, ids.shape, change):
            return next_token_loss(self.model, ids, targets(at))
