"""Synthetic pairs of activation matrices, and the pair that a mini run leaves on disk."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy import ndarray

from semconv.core.activation_store import ActivationStore
from semconv.core.sparse import SparseActivations
from semconv.system.errors import InputError

Density = Literal["uniform", "log-normal", "token"]
VOCABULARY = 8192  # of the token-structured density


@dataclass(frozen=True)
class Job:
    """A pair of activation matrices over the same tokens, values exponential.

    Attributes:
        n_tokens: rows.
        n_features: columns of A.
        l0: mean active features per token.
        density: `uniform`, every feature equally often; `log-normal`, log densities with sd `sigma`; `token`, every
            feature belongs to few token types of a Zipf vocabulary, as most features of real SAEs do, beside a tenth of
            log-normal background.
        k: partners kept per feature.
        sigma: spread of the logarithm of the densities.
        seed: of the generator.
        n_features_b: columns of B, 0 for as many as A has.

    Raises:
        InputError: a size below 1, k or l0 above n_features, or an unknown density.
    """

    n_tokens: int = 100_000
    n_features: int = 16_384
    l0: float = 80.0
    density: Density = "log-normal"
    k: int = 1
    sigma: float = 1.5
    seed: int = 0
    n_features_b: int = 0

    def __post_init__(self) -> None:
        if min(self.n_tokens, self.n_features, self.k) < 1 or self.k > self.n_features:
            raise InputError(f"a job needs at least one token and feature, and k among them, got {asdict(self)}")
        if not 0 < self.l0 <= 0.9 * self.n_features:
            raise InputError(f"l0 must be above 0 and at most 0.9 n_features = {0.9 * self.n_features}, got {self.l0}")
        if self.density not in ("uniform", "log-normal", "token"):
            raise InputError(f"density must be uniform, log-normal or token, got {self.density!r}")

    @property
    def name(self) -> str:
        """One line that says everything but the seed."""
        features = f"{self.n_features:,}" + (f" x {self.n_features_b:,}" if self.n_features_b else "")
        return f"{self.n_tokens:,} tokens, {features} features, L0 {self.l0:g}, {self.density}, k {self.k}"

    def make(self) -> tuple[SparseActivations, SparseActivations]:
        """Returns both sides; the same job is the same everywhere NumPy's generator is."""
        types = None
        if self.density == "token":
            share = 1 / np.arange(1, VOCABULARY + 1)
            types = np.random.default_rng([self.seed, 2]).choice(VOCABULARY, self.n_tokens, p=share / share.sum())
        return self._side(0, self.n_features, types), self._side(1, self.n_features_b or self.n_features, types)

    def _side(self, side: int, n_features: int, types: ndarray | None) -> SparseActivations:
        rng = np.random.default_rng([self.seed, side])
        if types is None:
            return self._to_csr(*self._independent(rng, self.l0, n_features), side, n_features)
        return self._to_csr(*self._tied(rng, types, n_features), side, n_features)

    def _densities(self, rng: np.random.Generator, l0: float, n_features: int) -> ndarray:
        sigma = 0.0 if self.density == "uniform" else self.sigma
        density = rng.lognormal(0.0, sigma, n_features)
        return np.minimum(density * l0 / density.sum(), 0.9)

    def _independent(self, rng: np.random.Generator, l0: float, n_features: int) -> tuple[ndarray, ndarray]:
        """Token and feature of entries; an entry may come twice, and counts once.

        With Poisson(-n ln(1 - p)) draws a feature, every cell is hit at least once with probability p, independently.
        """
        counts = rng.poisson(-self.n_tokens * np.log1p(-self._densities(rng, l0, n_features)))
        tokens = rng.integers(0, self.n_tokens, counts.sum(), dtype=np.int32)
        return tokens, np.repeat(np.arange(n_features, dtype=np.int32), counts)

    def _tied(self, rng: np.random.Generator, types: ndarray, n_features: int) -> tuple[ndarray, ndarray]:
        token, feature = self._independent(rng, 0.1 * self.l0, n_features)
        popularity = self._densities(rng, 1.0, n_features)
        per_type = min(max(round(self.l0), 1), n_features)
        ties = np.stack(
            [
                rng.choice(n_features, per_type, replace=False, p=popularity / popularity.sum(), shuffle=False)
                for _ in range(VOCABULARY)
            ]
        ).astype(np.int32)
        tokens, features = [token], [feature]
        for begin in range(0, self.n_tokens, 65_536):  # a chunk of dense [tokens, per_type] at a time
            part = types[begin : begin + 65_536]
            row, slot = np.nonzero(rng.random((len(part), per_type), dtype=np.float32) < 0.9)
            tokens.append((row + begin).astype(np.int32))
            features.append(ties[part[row], slot])
        return np.concatenate(tokens), np.concatenate(features)

    def _to_csr(self, token: ndarray, feature: ndarray, side: int, n_features: int) -> SparseActivations:
        key = np.sort(token.astype(np.int64) * n_features + feature)
        key = key[np.diff(key, prepend=-1) != 0]  # each entry once; many times faster than np.unique
        token, feature = np.divmod(key, n_features)
        rng = np.random.default_rng([self.seed, side, 3])
        values = rng.exponential(1.0, len(key)).astype(np.float32) + np.float32(0.01)
        indptr = np.concatenate([[0], np.cumsum(np.bincount(token, minlength=self.n_tokens))])
        return SparseActivations(
            torch.from_numpy(indptr.astype(np.int64)),
            torch.from_numpy(feature.astype(np.int32)),
            torch.from_numpy(values).half(),
            n_features,
        )


@dataclass(frozen=True)
class StoredJob:
    """Two activation stores over the same tokens, for example of `semconv encode mini`.

    Attributes:
        path_a: folder of the first store.
        path_b: folder of the second.
        k: partners kept per feature.
    """

    path_a: Path
    path_b: Path
    k: int = 1

    @property
    def name(self) -> str:
        """One line that says which stores."""
        return f"stores {self.path_a.parent.name}/{self.path_a.name} x {self.path_b.parent.name}/{self.path_b.name}"

    def make(self) -> tuple[SparseActivations, SparseActivations]:
        """Reads both stores.

        Raises:
            InputError: a store is missing or damaged, or the tokens differ.
        """
        a, b = ActivationStore(self.path_a), ActivationStore(self.path_b)
        a.check_same_tokens(b)
        return a.load(), b.load()
