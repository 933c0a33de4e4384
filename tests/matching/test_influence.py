"""What a pair's r rests on, against dense NumPy and SciPy by the definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from semconv import SparseActivations, best_matches
from semconv.core.oracle import quantize
from semconv.matching.influence import INFLUENCES, STRONGEST, FeatureColumns, influences, r_without_strongest
from tests.conftest import random_activations


def dense_codes(acts: SparseActivations) -> np.ndarray:
    """int64 [tokens, features]."""
    return np.array([quantize(column) for column in acts.to_dense().T.double().tolist()], dtype=np.int64).T


def columns(acts: SparseActivations) -> FeatureColumns:
    return FeatureColumns(acts, np.arange(acts.n_features))


def every_pair(n_a: int, n_b: int) -> tuple[np.ndarray, np.ndarray]:
    return np.repeat(np.arange(n_a), n_b), np.tile(np.arange(n_b), n_a)


def left(x: np.ndarray, y: np.ndarray, k: int) -> np.ndarray:
    """bool [tokens]: all but the k co-active positions of the largest product of deviations, the first of equals."""
    both = np.flatnonzero((x > 0) & (y > 0))
    added = ((x - x.sum() / len(x)) * (y - y.sum() / len(y)))[both]
    kept = np.ones(len(x), dtype=bool)
    kept[both[np.argsort(-added, kind="stable")[:k]]] = False
    return kept


def pearson(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.corrcoef(x, y)[0, 1]) if len(x) > 1 and x.std() and y.std() else float("nan")


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_without_no_position_r_is_that_of_best_matches(dtype: torch.dtype):
    a, b = random_activations(0, 400, 9, 0.3, dtype), random_activations(1, 400, 11, 0.2, dtype)
    found = best_matches(a, b, k=9).b_to_a
    of_b, of_a = np.repeat(np.arange(11), 9), found.index.numpy().ravel()
    assert r_without_strongest(columns(a), columns(b), of_a, of_b, 0).tolist() == found.r.numpy().ravel().tolist()


@given(
    st.integers(0, 10**6),
    st.integers(2, 60),
    st.sampled_from([0.05, 0.3, 1.0]),
    st.sampled_from([1, 3, 10]),
    st.booleans(),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_the_strongest_positions_are_left_out(seed: int, n: int, density: float, k: int, ties: bool):
    a, b = random_activations(seed, n, 4, density), random_activations(seed + 1, n, 5, density)
    if ties:
        a, b = (SparseActivations(m.indptr, m.indices, torch.ones_like(m.values), m.n_features) for m in (a, b))
    partner = np.random.default_rng(seed).permutation(n)
    x, y = dense_codes(a), dense_codes(b)
    pairs = every_pair(4, 5)
    for moved, order in ((None, np.arange(n)), (partner, partner)):
        found = r_without_strongest(columns(a), columns(b), *pairs, k, moved)
        for value, i, j in zip(found, *pairs, strict=True):
            one, other = x[:, i], y[order, j]
            kept = left(one, other, k)
            np.testing.assert_allclose(value, pearson(one[kept], other[kept]), atol=1e-9)


@given(st.integers(0, 10**6), st.integers(20, 120), st.sampled_from([0.1, 0.5]))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_influences_are_those_of_the_definitions(seed: int, n: int, density: float):
    a, b = random_activations(seed, n, 3, density), random_activations(seed + 1, n, 4, density)
    rng = np.random.default_rng(seed)
    document, token = np.sort(rng.integers(0, 5, n)), rng.integers(3, 9, n)
    x, y, pairs = dense_codes(a).astype(float), dense_codes(b).astype(float), every_pair(3, 4)
    found = influences(columns(a), columns(b), *pairs, document, token)
    for row, i, j in zip(found, *pairs, strict=True):
        one, other = x[:, i], y[:, j]
        added = (one - one.mean()) * (other - other.mean())
        total = added.sum()
        if not one.std() or not other.std() or abs(total) < 1e-9 * np.abs(added).sum():
            continue
        kept = left(one, other, STRONGEST)

        def rest(z: np.ndarray) -> np.ndarray:
            return z - (np.bincount(token, z) / np.maximum(np.bincount(token), 1))[token]

        within, scale = rest(one) @ rest(other), np.sqrt((rest(one) @ rest(one)) * (rest(other) @ rest(other)))
        expected = {
            "r_without_strongest": pearson(one[kept], other[kept]),
            "r_ranks": spearmanr(one, other).statistic,
            "r_within_token": within / scale if scale > 1e-3 else np.nan,
            "strongest_share": added[~kept].sum() / total,
            "document_share": max(added[document == d].sum() for d in set(document)) / total,
            "token_share": max(added[token == t].sum() for t in set(token)) / total,
            "within_token_share": within / total,
        }
        np.testing.assert_allclose(row, [expected[name] for name in INFLUENCES], rtol=1e-7, atol=1e-7)


def test_r_within_tokens_knows_what_follows_from_the_token():
    token = np.tile(np.arange(4), 25)
    by_token = np.where(token == 2, 3.0, 0.0)
    more = np.where(np.arange(100) % 8 == 2, 3.0, 0.0)  # every second time that token 2 stands there
    acts = [SparseActivations.from_dense(torch.tensor(z, dtype=torch.float32)[:, None]) for z in (by_token, more)]
    first = np.zeros(1, dtype=np.int64)
    document = np.arange(100) // 20
    same, alike = (influences(columns(acts[i]), columns(acts[i]), first, first, document, token)[0] for i in (0, 1))
    r, share = INFLUENCES.index("r_within_token"), INFLUENCES.index("within_token_share")
    assert np.isnan(same[r])
    assert same[share] == 0
    assert alike[r] == 1
    assert 0 < alike[share] < 1


def test_without_tokens_nothing_is_said_of_them():
    a = random_activations(0, 50, 2, 0.5)
    row = influences(columns(a), columns(a), np.array([0]), np.array([1]), np.zeros(50, dtype=int), None)[0]
    of_tokens = [name for name, value in zip(INFLUENCES, row, strict=True) if np.isnan(value)]
    assert of_tokens == ["r_within_token", "token_share", "within_token_share"]
