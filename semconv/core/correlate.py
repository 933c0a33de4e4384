"""Correlates every feature of one model with every feature of the other and keeps the best partners of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from semconv.core import ops
from semconv.core import oracle as reference
from semconv.core.sparse import SparseActivations
from semconv.system.errors import InputError
from semconv.system.processes import Ranks

if TYPE_CHECKING:
    from semconv.core.activation_store import ActivationStore


@dataclass(frozen=True)
class TopMatches:
    """The k best partners of every feature of one side, best first.

    Attributes:
        index: int64 [F, k], feature of the other side, -1 where there is none.
        r: float64 [F, k], Pearson correlation, NaN where there is none.

    Examples:
        Feature 0 of A fires where feature 1 of B does. Feature 1 of A never fires and has no partner:

        >>> import torch
        >>> from semconv import SparseActivations, best_matches
        >>> a = SparseActivations.from_dense(torch.tensor([[1.0, 0], [0, 0], [2, 0], [0, 0]]))
        >>> b = SparseActivations.from_dense(torch.tensor([[0.0, 3], [1, 0], [0, 6], [0, 0]]))
        >>> top = best_matches(a, b).a_to_b
        >>> top.index.tolist(), top.r.tolist()
        ([[1], [-1]], [[1.0], [nan]])
    """

    index: Tensor
    r: Tensor

    def to(self, device: torch.device | str) -> TopMatches:
        """Returns the same on a device."""
        return TopMatches(self.index.to(device), self.r.to(device))


@dataclass(frozen=True)
class BestMatches:
    """Best partners in both directions.

    Attributes:
        a_to_b: for every A feature its best B features.
        b_to_a: for every B feature its best A features.
        n_tokens: positions the correlations were taken over.
        quantization_noise_a: float64 [F_a], quantisation step over sqrt(12) rms of the active values, NaN if there is
            none.
        quantization_noise_b: float64 [F_b].

    Examples:
        Two features of A, three of B, four tokens:

        >>> import torch
        >>> from semconv import SparseActivations, best_matches
        >>> a = SparseActivations.from_dense(torch.tensor([[1.0, 0], [0, 1], [1, 0], [0, 1]]))
        >>> b = SparseActivations.from_dense(torch.tensor([[0.0, 2, 0], [2, 0, 0], [0, 2, 0], [2, 0, 1]]))
        >>> matches = best_matches(a, b)
        >>> matches.a_to_b.index.tolist(), matches.b_to_a.index.tolist(), matches.n_tokens
        ([[1], [0]], [[1], [0], [1]], 4)
        >>> matches.b_to_a.r[2].item()  # 1 / sqrt(3), to 16 digits
        0.5773502691896258
    """

    a_to_b: TopMatches
    b_to_a: TopMatches
    n_tokens: int
    quantization_noise_a: Tensor
    quantization_noise_b: Tensor

    def to(self, device: torch.device | str) -> BestMatches:
        """Returns the same on a device."""
        noise_a, noise_b = self.quantization_noise_a.to(device), self.quantization_noise_b.to(device)
        return BestMatches(self.a_to_b.to(device), self.b_to_a.to(device), self.n_tokens, noise_a, noise_b)


def best_matches(
    a: SparseActivations | ActivationStore,
    b: SparseActivations | ActivationStore,
    k: int = 1,
    backend: Literal["native", "reference"] = "native",
    device: torch.device | str | None = None,
    within: Tensor | None = None,
) -> BestMatches:
    """Finds for every feature its k best partners on the other side by Pearson r, in both directions at once.

    No F_a x F_b matrix is built and the result is bit-identical for any number of threads, chunks or shards: values are
    quantised to 16 bits with one power-of-two scale per feature, and r = (n S_ab - S_a S_b) / sqrt((n Q_a - S_a^2)
    (n Q_b - S_b^2)) is formed from exact integer sums. Ties go to the lowest index. The work is done where the
    activations lie, to the same bits on every device, and the result stays there (`BestMatches.to`).

    Args:
        a: SparseActivations or ActivationStore.
        b: the same over the same tokens.
        k: partners kept per feature, 1 <= k <= min(F_a, F_b).
        backend: `native`, or `reference` for the slow oracle in Python integers.
        device: where to bring both sides first; None leaves activations where they are and loads a store to where the
            other side is, two stores to the CPU.
        within: integer [n_tokens], which token stands at every position: r is that of the deviations from each
            feature's mean over the positions of the token, and partners are those of the highest such r. It has no
            value where the token says all of a feature. It is taken on the CPU, wherever the activations lie.

    Raises:
        InputError: a and b cover different tokens or lie on two devices and `device` is None; a store is damaged; k is
            not between 1 and min(F_a, F_b); an unknown backend; or `within` is of another shape or no integers, or has
            no token twice.

    Examples:
        Rows are tokens and columns are features. B holds the features of A in another order and on another scale, and
        Pearson r sees neither:

        >>> import torch
        >>> import semconv
        >>> dense = torch.tensor([[0.0, 2, 0], [1, 0, 0], [0, 1, 3], [2, 0, 1]])  # 4 tokens, 3 features
        >>> a = semconv.SparseActivations.from_dense(dense)
        >>> b = semconv.SparseActivations.from_dense(5 * dense[:, [2, 0, 1]])
        >>> matches = semconv.best_matches(a, b)
        >>> matches.a_to_b.index[:, 0].tolist(), matches.a_to_b.r[:, 0].tolist()
        ([1, 2, 0], [1.0, 1.0, 1.0])
    """
    if not isinstance(a, SparseActivations) and not isinstance(b, SparseActivations):
        a.check_same_tokens(b)
    x, y = _on_one_device(a, b, device)
    if x.n_tokens != y.n_tokens:
        raise InputError(f"a and b must hold the same tokens, got {x.n_tokens} and {y.n_tokens}")
    if backend not in ("native", "reference"):
        raise InputError(f"backend must be native or reference, got {backend!r}")
    if within is None:
        raw = _raw(x, y, k, backend, None)
    else:
        raw = _raw(x.to("cpu"), y.to("cpu"), k, backend, token_groups(within, x.n_tokens))
        raw = ops.RawMatches(*(part.to(x.device) for part in raw))
    return BestMatches(
        TopMatches(raw.a_index, raw.a_r), TopMatches(raw.b_index, raw.b_r), x.n_tokens, raw.a_noise, raw.b_noise
    )


def _raw(
    x: SparseActivations, y: SparseActivations, k: int, backend: str, groups: tuple[Tensor, int] | None
) -> ops.RawMatches:
    """Returns the matches of two sides on one device; within groups where there are some."""
    if backend == "native":
        of_both = (x.indptr, x.indices, x.values), x.n_features, (y.indptr, y.indices, y.values), y.n_features
        return ops.best_matches(*of_both, k) if groups is None else ops.best_matches_within(*of_both, groups, k)
    if not 1 <= k <= min(x.n_features, y.n_features):
        raise InputError(f"k must be between 1 and {min(x.n_features, y.n_features)}, got {k}")
    found = reference.best_matches(x, y, k, None if groups is None else groups[0].tolist())
    return ops.RawMatches(*(part.to(x.device) for part in found))


def token_groups(token: Tensor, n_tokens: int) -> tuple[Tensor, int]:
    """Returns the tokens that stand at the positions numbered from 0 by rising id, int32 [n_tokens], and how many.

    Args:
        token: integer [n_tokens].
        n_tokens: that are wanted.

    Raises:
        InputError: another shape, no integers, or no token twice: then nothing varies within tokens.
    """
    if token.shape != (n_tokens,) or token.is_floating_point() or token.is_complex():
        raise InputError(f"tokens must be integers [{n_tokens}], got {token.dtype} {list(token.shape)}")
    known, number = torch.unique(token.cpu(), return_inverse=True)
    if len(known) == n_tokens:
        raise InputError("correlation within tokens needs a token that stands at two positions, got none")
    return number.int(), len(known)


def best_matches_shared(
    a: SparseActivations | ActivationStore,
    b: SparseActivations | ActivationStore,
    k: int,
    ranks: Ranks,
    device: torch.device | str | None = None,
) -> BestMatches | None:
    """As `best_matches`, each process taking a block of A features; the result is on the CPU of the first process.

    Every process reads both sides and quantises its block by the maxima of its own features, so nothing is summed
    across processes and the bits are those of one.

    Args:
        a: as for `best_matches`.
        b: as for `best_matches`.
        k: as for `best_matches`.
        ranks: this process among the others.
        device: as for `best_matches`.

    Returns:
        The matches on the first process, None on the others.

    Raises:
        InputError: as for `best_matches`.
    """
    if not isinstance(a, SparseActivations) and not isinstance(b, SparseActivations):
        a.check_same_tokens(b)
    x, y = _on_one_device(a, b, device)
    if not 1 <= k <= min(x.n_features, y.n_features):
        raise InputError(f"k must be between 1 and {min(x.n_features, y.n_features)}, got {k}")
    n_blocks = min(ranks.size, x.n_features // k)  # a block holds at least the k partners that are asked for
    blocks = [Ranks(i, n_blocks).part(x.n_features) for i in range(n_blocks)]
    mine: BestMatches | None = None
    if ranks.rank < n_blocks:
        block = blocks[ranks.rank]
        columns = x.columns(torch.arange(block.start, block.stop, device=x.device))
        mine = best_matches(columns, y, k).to("cpu")
    found = [part for part in ranks.gathered(mine) if part is not None]
    return join_blocks(found, [block.start for block in blocks], k) if ranks.first else None


def join_blocks(parts: Sequence[BestMatches], starts: Sequence[int], k: int) -> BestMatches:
    """Returns the matches of all A features from those of consecutive blocks, the first feature of each in `starts`."""
    index = torch.cat([p.b_to_a.index + s * (p.b_to_a.index >= 0) for p, s in zip(parts, starts, strict=True)], dim=1)
    r = torch.cat([p.b_to_a.r for p in parts], dim=1)
    # By falling r, and stable: blocks follow each other and each has its ties by rising index.
    order = torch.where(index >= 0, r, -torch.inf).argsort(dim=1, descending=True, stable=True)[:, :k]
    b_to_a = TopMatches(index.gather(1, order), r.gather(1, order))
    a_to_b = TopMatches(torch.cat([p.a_to_b.index for p in parts]), torch.cat([p.a_to_b.r for p in parts]))
    noise_a = torch.cat([p.quantization_noise_a for p in parts])
    return BestMatches(a_to_b, b_to_a, parts[0].n_tokens, noise_a, parts[0].quantization_noise_b)


def _on_one_device(
    a: SparseActivations | ActivationStore, b: SparseActivations | ActivationStore, device: torch.device | str | None
) -> tuple[SparseActivations, SparseActivations]:
    """Brings both sides to `device`, if None to the device of the side that is in memory, if none is to the CPU."""
    homes = [side.device for side in (a, b) if isinstance(side, SparseActivations)]
    target = device if device is not None else homes[0] if homes else "cpu"
    if device is None and len(set(homes)) > 1:
        raise InputError(f"a and b must be on one device, got {homes[0]} and {homes[1]}; say which with device=")
    x, y = (side.to(target) if isinstance(side, SparseActivations) else side.load(target) for side in (a, b))
    return x, y
