"""Correlates every feature of one model with every feature of the other and keeps the best partners of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from semconv import ops, reference
from semconv.sparse import SparseActivations
from semconv.types import InputError

if TYPE_CHECKING:
    from semconv.activation_store import ActivationStore


@dataclass(frozen=True)
class TopMatches:
    """The k best partners of every feature of one side, best first.

    Attributes:
        index: int64 [F, k], feature of the other side, -1 where there is none.
        r: float64 [F, k], Pearson correlation, NaN where there is none.
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

    Raises:
        InputError: other tokens, malformed activations, two devices, or k out of range.
    """
    if not isinstance(a, SparseActivations) and not isinstance(b, SparseActivations):
        a.check_same_tokens(b)
    x, y = _on_one_device(a, b, device)
    if x.n_tokens != y.n_tokens:
        raise InputError(f"a and b must hold the same tokens, got {x.n_tokens} and {y.n_tokens}")
    if backend not in ("native", "reference"):
        raise InputError(f"backend must be native or reference, got {backend!r}")
    if backend == "native":
        raw = ops.best_matches(
            (x.indptr, x.indices, x.values), x.n_features, (y.indptr, y.indices, y.values), y.n_features, k
        )
    elif not 1 <= k <= min(x.n_features, y.n_features):
        raise InputError(f"k must be between 1 and {min(x.n_features, y.n_features)}, got {k}")
    else:
        raw = ops.RawMatches(*(part.to(x.device) for part in reference.best_matches(x, y, k)))
    return BestMatches(
        TopMatches(raw.a_index, raw.a_r), TopMatches(raw.b_index, raw.b_r), x.n_tokens, raw.a_noise, raw.b_noise
    )


def _on_one_device(
    a: SparseActivations | ActivationStore, b: SparseActivations | ActivationStore, device: torch.device | str | None
) -> tuple[SparseActivations, SparseActivations]:
    """Loads stores and moves activations; the other side decides where a store goes if nobody else does."""
    homes = [side.device for side in (a, b) if isinstance(side, SparseActivations)]
    target = device if device is not None else homes[0] if homes else "cpu"
    if device is None and len(set(homes)) > 1:
        raise InputError(f"a and b must be on one device, got {homes[0]} and {homes[1]}; say which with device=")
    x, y = (side.to(target) if isinstance(side, SparseActivations) else side.load(target) for side in (a, b))
    return x, y
