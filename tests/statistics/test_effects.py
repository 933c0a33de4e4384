"""Effects of two models compared, against NumPy that goes item by item; and the sign-flip test."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from semconv import InputError
from semconv.compare import rsa
from semconv.statistics.effects import OTHER, STUDIED, EffectRows, EffectSums, residual_effects
from semconv.statistics.function_scores import MOVED, layer_function, pair_function
from semconv.statistics.sign_flips import sign_flip_test

V_A, V_B, N_PAIRS, PER_PAIR, N_OTHERS = 50, 40, 7, 6, 4
SHARED = np.arange(5, 35), np.arange(30)[::-1].copy()
PAIR = np.repeat(np.arange(N_PAIRS), PER_PAIR)
M = len(PAIR)


def made(seed: int = 0) -> dict[str, np.ndarray]:
    """Effects of every item, dense: A's, B's partner with a part of A's, two alternates, others of both."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(M, V_A)) + rng.normal(size=(N_PAIRS, V_A))[PAIR]
    b = rng.normal(size=(M, V_B))
    b[:, SHARED[1]] += 0.8 * a[:, SHARED[0]]
    common_a, common_b = rng.normal(size=(M, 1, V_A)), rng.normal(size=(M, 1, V_B))
    others_a = rng.normal(size=(M, N_OTHERS, V_A)) + common_a
    others_b = rng.normal(size=(M, N_OTHERS, V_B)) + common_b
    alternates = rng.normal(size=(M, 2, V_B)) + common_b
    return {
        "a": a + common_a[:, 0],
        "b": b + common_b[:, 0],
        "others_a": others_a,
        "others_b": others_b,
        "alternates": alternates,
        "kl_a": rng.gamma(1, size=M),
        "kl_b": rng.gamma(1, size=(M, 3)),
        "kl_others": rng.gamma(1, size=(M, N_OTHERS)),
    }


def rows_of(x: dict[str, np.ndarray], items: np.ndarray, side: str, seed: int) -> EffectRows:
    """The rows of some items in a random order; item 3 has no first alternate, item 5 no others at all."""
    change, kl, item, kind = [], [], [], []
    for place, number in enumerate(items.tolist()):
        named = [(x["a"][number], x["kl_a"][number], STUDIED)]
        if side == "b":
            alternates = [(x["alternates"][number, i], x["kl_b"][number, 1 + i], 1 + i) for i in range(2)]
            named = [(x["b"][number], x["kl_b"][number, 0], STUDIED), *alternates[int(number == 3) :]]
        if number != 5:
            others = x[f"others_{side}"][number]
            named += [(others[i], x["kl_others"][number, i], OTHER) for i in range(N_OTHERS)]
        for effect, divergence, what in named:
            change.append(effect)
            kl.append(divergence)
            item.append(place)
            kind.append(what)
    order = np.random.default_rng(seed).permutation(len(item))
    as_float = (torch.tensor(np.array(part)[order], dtype=torch.float32) for part in (change, kl))
    return EffectRows(*as_float, *(torch.tensor(np.array(part)[order]) for part in (item, kind)), len(items))


def summed(x: dict[str, np.ndarray]) -> EffectSums:
    shared = torch.from_numpy(SHARED[0]), torch.from_numpy(SHARED[1])
    sums = EffectSums(torch.from_numpy(PAIR), N_PAIRS, (V_A, V_B), shared, n_kinds=3)
    order = np.random.default_rng(9).permutation(M)
    for number, items in enumerate(np.split(order, [3, 10, 30])):
        a, b = (rows_of(x, items, side, number) for side in "ab")
        sums.add(torch.from_numpy(items), a, b, unranked=(2,))
    return sums


def test_everything_kept_is_what_the_definitions_say_item_by_item():
    x = made()
    sums, n_studied = summed(x), 0
    residual_a, residual_b = np.zeros((N_PAIRS, V_A)), np.zeros((N_PAIRS, V_B))
    for m in range(M):
        if m == 5:
            assert bool(sums.r[m].isnan().all())
            continue
        own = x["a"][m] - x["others_a"][m].mean(axis=0)
        partner = x["b"][m] - x["others_b"][m].mean(axis=0)
        n_studied += 1
        residual_a[PAIR[m]] += own
        residual_b[PAIR[m]] += partner

        def r(effect: np.ndarray, own: np.ndarray = own) -> float:
            return float(np.corrcoef(own[SHARED[0]], effect[SHARED[1]])[0, 1])

        assert float(sums.r[m, 0]) == pytest.approx(r(partner), abs=1e-5)
        assert float(sums.plain[m, 0]) == pytest.approx(r(x["b"][m], x["a"][m]), abs=1e-5)
        assert float(sums.plain[m, 2]) == pytest.approx(r(x["alternates"][m, 1], x["a"][m]), abs=1e-5)
        plain_others = np.mean([r(one, x["a"][m]) for one in x["others_b"][m]])
        assert float(sums.plain_others[m]) == pytest.approx(plain_others, abs=1e-5)
        alternates = [r(x["alternates"][m, i] - x["others_b"][m].mean(axis=0)) for i in range(2)]
        if m == 3:
            assert np.isnan(float(sums.r[m, 1]))
            alternates[0] = -1.0
        else:
            assert float(sums.r[m, 1]) == pytest.approx(alternates[0], abs=1e-5)
        assert float(sums.r[m, 2]) == pytest.approx(alternates[1], abs=1e-5)
        left_out = [np.delete(x["others_b"][m], i, axis=0).mean(axis=0) for i in range(N_OTHERS)]
        others = [r(x["others_b"][m, i] - left_out[i]) for i in range(N_OTHERS)]
        assert float(sums.r_others[m]) == pytest.approx(np.mean(others), abs=1e-5)
        negatives = others + alternates[: 1 if m != 3 else 0]  # the second alternate is no hard negative
        assert (int(sums.negatives[m]), int(sums.better[m])) == (
            len(negatives),
            sum(n >= r(partner) for n in negatives),
        )
    assert n_studied == M - 1 == int(sums.counts.sum())
    np.testing.assert_allclose(sums.residual_a.numpy(), residual_a, atol=1e-4)
    np.testing.assert_allclose(sums.residual_b.numpy(), residual_b, atol=1e-4)


def test_the_statistics_of_a_pair_are_those_of_its_positions():
    x = made()
    sums = summed(x)
    told, shared = pair_function(sums), (lambda z, side: z[:, SHARED[side]].astype(float))
    effects = [np.stack([x[s][(i == PAIR) & (np.arange(M) != 5)].sum(axis=0) for i in range(N_PAIRS)]) for s in "ab"]
    residuals = [shared(z.numpy(), side) for side, z in enumerate((sums.residual_a, sums.residual_b))]
    for i in range(N_PAIRS):
        at = i == PAIR
        assert told.r[i] == pytest.approx(np.nanmean(sums.r[at, 0].numpy()))
        assert told.r_alternates[i, 1] == pytest.approx(np.nanmean(sums.r[at, 2].numpy()))
        ranks = 1 + sums.better[at].numpy()[sums.negatives[at].numpy() > 0]
        assert (told.top1[i], told.mrr[i]) == (pytest.approx((ranks == 1).mean()), pytest.approx((1 / ranks).mean()))
        assert told.kl_r[i] == pytest.approx(np.corrcoef(x["kl_a"][at], x["kl_b"][at, 0])[0, 1], abs=1e-5)
        assert told.size[i] == pytest.approx(np.log2(x["kl_a"][at].mean() / x["kl_b"][at, 0].mean()), abs=1e-5)
        p, q = effects[0][i, SHARED[0]], effects[1][i, SHARED[1]]
        assert told.cosine[i] == pytest.approx(p @ q / np.linalg.norm(p) / np.linalg.norm(q), abs=1e-5)
        p, q = residuals[0][i], residuals[1][i]
        assert told.residual_r[i] == pytest.approx(np.corrcoef(p, q)[0, 1], abs=1e-5)
        tops = [np.argsort(-np.abs(z))[:MOVED] for z in (p, q)]
        assert told.signs[i] == pytest.approx(np.mean([(np.sign(p[t]) == np.sign(q[t])).mean() for t in tops]))
    assert told.positions.tolist() == [PER_PAIR - 1] + [PER_PAIR] * (N_PAIRS - 1)
    np.testing.assert_allclose(told.best_negative([], plain=True), told.plain_others)
    assert told.plain[2] == pytest.approx(sums.plain[PAIR == 2, 0].mean())
    best = told.best_negative([0])
    np.testing.assert_allclose(best, np.maximum(told.r_others, told.r_alternates[:, 0]))


def test_a_layer_pair_retrieves_its_partners_and_rsa_needs_no_shared_vocabulary():
    sums = summed(made())
    told, tokens = pair_function(sums), np.array([0, 0, 1, 1, 1, 2, 3])
    layer = layer_function(sums, told, tokens, [0], n_flips=199)
    assert layer.pairs == N_PAIRS
    assert layer.rsa == pytest.approx(rsa(sums.residual_a.numpy(), sums.residual_b.numpy()))
    a, b = (z[:, SHARED[i]] for i, z in enumerate((sums.residual_a.numpy(), sums.residual_b.numpy())))
    alike = np.corrcoef(a, b)[:N_PAIRS, N_PAIRS:]
    rank = [1 + sum(alike[i, j] >= alike[i, i] for j in range(N_PAIRS) if j != i) for i in range(N_PAIRS)]
    assert layer.retrieval_mrr == pytest.approx(np.mean([1 / one for one in rank]))
    assert layer.retrieval_top1 == np.mean([one == 1 for one in rank])
    assert layer.within_token_chance == pytest.approx((2 / 2 + 3 / 3) / 5)
    assert layer.beyond is not None
    assert layer.beyond.statistic == pytest.approx((told.r - told.best_negative([0])).mean())
    assert layer.beyond.p_value < 0.1  # four clusters allow 1 / 16


def test_the_others_of_an_item_are_compared_with_those_that_remain():
    change = torch.tensor([[1.0, 2], [3, 4], [5, 9], [7, 7]])
    kind, item = torch.tensor([OTHER, OTHER, STUDIED, STUDIED]), torch.tensor([0, 0, 0, 1])
    found, valid = residual_effects(EffectRows(change, torch.zeros(4), item, kind, 2))
    torch.testing.assert_close(found[:3], torch.tensor([[-2.0, -2], [2, 2], [3, 6]]))
    assert valid.tolist() == [True, True, True, False]


def test_sign_flips_of_clusters_are_those_of_all_flips():
    rng = np.random.default_rng(0)
    clusters = np.repeat([7, 3, 5, 9, 1, 2], [3, 1, 4, 2, 2, 3])
    differences = rng.normal(0.3, 1, len(clusters))
    result = sign_flip_test(differences, clusters, 20_000)
    names = np.unique(clusters)
    every = [
        sum(sign * differences[clusters == name].sum() for sign, name in zip(signs, names, strict=True)) / len(clusters)
        for signs in product((-1, 1), repeat=6)
    ]
    assert result.statistic == pytest.approx(differences.mean())
    exact = np.mean(np.array(every) >= result.statistic - 1e-12)
    assert result.p_value == pytest.approx(exact, abs=0.01)  # three standard errors of 20,000 draws
    assert np.isclose(result.null[:, None], np.array(every)[None]).any(axis=1).all()
    assert sign_flip_test(differences, clusters, 10).null.tolist() == result.null[:10].tolist()


@pytest.mark.parametrize(("differences", "n"), [([], 9), ([0.0, np.nan], 9), ([1.0, 2.0], 0)])
def test_sign_flips_need_finite_differences_and_a_draw(differences: list[float], n: int):
    with pytest.raises(InputError, match="at least one difference|must be finite, got 1"):
        sign_flip_test(np.array(differences), np.arange(len(differences)), n)
