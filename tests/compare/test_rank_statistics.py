"""Ranks, inversions, and the two rank correlations of RSA against SciPy and rsatoolbox."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from scipy.stats import kendalltau, rankdata, spearmanr

from semconv.compare import rsa
from semconv.compare.ranks import average_ranks, dense_ranks, inversions, stable_order, tied_pairs
from tests._helpers.spaces import spaces

RNG = np.random.default_rng(0)
ARRAYS = {
    "empty": np.array([]),
    "one": np.array([3.0]),
    "zeros": np.zeros(7),
    "negative": -RNG.random(1000),
    "around zero": RNG.normal(size=1000),
    "ties": RNG.integers(-3, 4, 1000).astype(float),
    "many magnitudes": np.ldexp(RNG.normal(size=3000), RNG.integers(-900, 900, 3000)),
    # The leading bits agree for all of these, so the order rests on the second sort.
    "last bits": 1 + RNG.integers(0, 500, 1000) * np.finfo(float).eps,
    "last bits below a large one": np.append(1 + RNG.integers(0, 500, 1000) * np.finfo(float).eps, 1e9),
    "smallest numbers": RNG.integers(0, 9, 100) * 5e-324,
    "largest numbers": RNG.choice([-1.7e308, 1.7e308, 1.6e308], 100),
}


@pytest.mark.parametrize("values", ARRAYS.values(), ids=ARRAYS)
def test_ranks_equal_scipy(values: np.ndarray):
    np.testing.assert_array_equal(stable_order(values), np.argsort(values, kind="stable"))
    np.testing.assert_array_equal(average_ranks(values), rankdata(values))
    np.testing.assert_array_equal(dense_ranks(values), rankdata(values, method="dense") - 1)


@pytest.mark.parametrize("m", [0, 1, 2, 15, 16, 17, 31, 33, 500])
@pytest.mark.parametrize("kind", ["permutation", "ties", "ascending", "descending"])
def test_inversions_and_ties_equal_counting_pairs(m: int, kind: str):
    rng = np.random.default_rng(m)
    values = {
        "permutation": rng.permutation(m),
        "ties": rng.integers(0, max(m // 3, 1), m),
        "ascending": np.arange(m),
        "descending": np.arange(m)[::-1],
    }[kind]
    assert inversions(values) == sum(int((values[:j] > values[j]).sum()) for j in range(m))
    assert tied_pairs(values) == sum(int((values[:j] == values[j]).sum()) for j in range(m))


@pytest.mark.parametrize("rdm", ["correlation", "cosine"])
def test_rsa_equals_scipy_without_ties(rdm):
    X, Y = spaces(n=80)
    x, y = pdist(X, rdm), pdist(Y, rdm)
    assert rsa(X, Y, rdm) == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)
    # Without ties tau-b is tau-a. Both counts are exact, so only the division rounds.
    assert rsa(X, Y, rdm, "kendall") == pytest.approx(kendalltau(x, y).statistic, abs=1e-14)


def sign_rows(n: int, d: int, seed: int) -> np.ndarray:
    """Rows of +-1 in a power of 4 of columns: their cosines are exact, so their ties are, too."""
    return np.random.default_rng(seed).choice([-1.0, 1.0], (n, d))


def test_rsa_with_exact_ties_equals_its_definition():
    X, Y = sign_rows(25, 16, 0), sign_rows(25, 64, 1)
    x, y = pdist(X, "cosine").round(12), pdist(Y, "cosine").round(12)
    m = len(x)
    assert len(np.unique(x)) < m / 10, "there must be ties"
    concordance = sum(float(np.sign(x[i] - x[j]) * np.sign(y[i] - y[j])) for i in range(m) for j in range(i))
    assert rsa(X, Y, "cosine", "kendall") == pytest.approx(concordance / (m * (m - 1) / 2), abs=1e-14)
    assert rsa(X, Y, "cosine") == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)
    untied = spaces(n=25)[1]
    u = pdist(untied, "cosine")
    for a, b, p, q in ((X, untied, x, u), (untied, X, u, x)):
        concordance = sum(float(np.sign(p[i] - p[j]) * np.sign(q[i] - q[j])) for i in range(m) for j in range(i))
        assert rsa(a, b, "cosine", "kendall") == pytest.approx(concordance / (m * (m - 1) / 2), abs=1e-14)


def test_kendall_of_a_tied_space_with_itself_is_below_one():
    X = sign_rows(25, 16, 0)
    ties = tied_pairs(dense_ranks(pdist(X, "cosine").round(12)))
    assert rsa(X, X, "cosine", "kendall") == pytest.approx(1 - ties / (300 * 299 / 2), abs=1e-14)


@pytest.mark.parametrize(("rank", "method"), [("spearman", "spearman"), ("kendall", "tau-a")])
def test_rsa_equals_rsatoolbox(rank, method: str):
    toolbox = pytest.importorskip("rsatoolbox", reason="rsatoolbox is not installed")
    for X, Y in (spaces(n=60), (sign_rows(30, 16, 2), sign_rows(30, 16, 3))):
        # Its own distances would break the exact ties, so it gets SciPy's, rounded.
        rdms = [toolbox.rdm.RDMs(pdist(M, "cosine").round(12)[None]) for M in (X, Y)]
        expected = float(toolbox.rdm.compare(*rdms, method=method)[0, 0])
        assert rsa(X, Y, "cosine", rank) == pytest.approx(expected, abs=1e-9)
