"""The calibration study: honest p-values pass it, broken ones do not, and it can be taken up where it stopped."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from semconv.compare import RSA, make_measures
from semconv.statistics.permutation import calibrated_score, generator, max_statistic, p_value, permutation_ids
from semconv.study.nulls import rematch
from semconv.study.sides import match_sides
from semconv.validation.null_cases import CASES, Text, models, models_case
from semconv.validation.synthetic import document_lengths, planted_spaces, topical_activations
from semconv.validation.uniformity import Case, p_and_u, randomised, run_case, summarise_case
from tests._helpers.forks import Ended, usual_forks

SCRIPT = Path(__file__).parents[2] / "scripts" / "measure" / "calibration.py"
N = 60


def verdicts(make, n: int = N) -> dict[str, str]:
    case = Case("case", ("null",), make, "about")
    return {row.measure: row.verdict for row in summarise_case(case, run_case(case, 0, range(n)))}


def case_of(name: str) -> tuple[Case, int]:
    return next((case, i) for i, case in enumerate(CASES) if case.name == name)


def test_u_is_uniform_even_if_the_statistic_has_few_values():
    rng = np.random.default_rng(0)

    def coarse(_):
        values = rng.integers(0, 3, 20).astype(float)
        return {"null.coarse": p_and_u(values[0], values[1:], rng)}

    assert verdicts(coarse, 400) == {"coarse": "ok"}


def test_u_by_hand():
    null = np.array([0.0, 1.0, 1.0, 2.0])
    assert randomised(1.0, null, 0.0) == 1 / 5  # one above
    assert randomised(1.0, null, 1.0) == 4 / 5 == p_value(1.0, null)
    assert randomised(3.0, null, 0.5) == 0.5 / 5


def test_p_without_the_plus_one_is_flagged():
    """With few draws the share of the null at or above the score is 0 in a quarter of all null data sets."""

    def broken(rng):
        values = rng.normal(size=4)
        share = float(np.mean(values[1:] >= values[0]))
        return {"null.broken": (share, share - rng.random() / 4), "null.right": p_and_u(values[0], values[1:], rng)}

    assert verdicts(broken, 200) == {"broken": "FAIL", "right": "ok"}


def test_a_seed_used_for_every_data_set_is_flagged():
    def broken(_):
        rng = np.random.default_rng(0)
        values = rng.normal(size=20)
        return {"null.broken": p_and_u(values[0], values[1:], rng)}

    assert verdicts(broken) == {"broken": "FAIL"}


def test_permutations_of_other_pairs_are_flagged():
    """A null of a space that is not the one scored: its columns are scaled, so that RSA has another spread."""

    def broken(rng):
        X, Y = planted_spaces(rng, 20, 3, 4, 0.0)
        measure = RSA()
        x, y = measure.prepare(X), measure.prepare(Y)
        null = measure.null_scores(x, y, permutation_ids(20, 19, int(rng.integers(2**62))))
        return {"null.broken": p_and_u(measure.score(x, y), null / 3, rng)}

    assert verdicts(broken, 200) == {"broken": "FAIL"}


def test_a_score_that_is_undefined_is_left_out():
    case = Case("case", ("null",), lambda rng: {"null.x": p_and_u(float("nan"), rng.normal(size=9), rng)}, "about")
    assert summarise_case(case, run_case(case, 0, range(3))) == []


def test_data_set_i_depends_on_seed_stream_and_i_alone():
    case, stream = case_of("coarse strata")
    whole = run_case(case, stream, range(4))
    assert run_case(case, stream, [2]) == whole[2:3]
    assert run_case(case, stream, [2], seed=1) != whole[2:3]
    assert run_case(case, stream + 1, [2]) != whole[2:3]
    assert whole[0] != whole[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["frequency nuisance", "grid"])
def test_what_must_be_uniform_is_and_the_nulls_beside_it_mislead(name):
    case, stream = case_of(name)
    rows = summarise_case(case, run_case(case, stream, range(N)))
    assert {row.verdict for row in rows} == {"ok", "shown"}
    misleading = [row.rate for row in rows if row.verdict == "shown"]
    honest = [row.rate for row in rows if row.verdict == "ok"]
    assert np.mean(misleading) > 2 * 0.05
    assert np.mean(honest) < 2 * 0.05


@pytest.mark.slow
def test_matched_pairs_of_unrelated_models_beat_shuffle_but_not_rematch():
    """What argmax pairs resembles in geometry that follows activations: `shuffle` is circular."""
    case = Case("case", ("rematch",), models_case(Text(decoders="activations"), ("rsa", "cka_unbiased")), "about")
    rows = {(row.null, row.measure): row for row in summarise_case(case, run_case(case, 0, range(N)))}
    for measure in ("rsa", "cka_unbiased"):
        assert rows["shuffle", measure].rate > 0.12  # 0.05 + 2.5 standard errors of 60 data sets
        assert rows["rematch", measure].verdict == "ok"


def test_planted_features_are_found():
    case = Case("case", (), models_case(Text(planted=0.4), ("rsa",)), "about")
    rows = {(row.null, row.measure): row for row in summarise_case(case, run_case(case, 0, range(20)))}
    assert rows["rematch", "pairs"].rate > 0.6  # the unshifted text is among the draws of some data sets
    assert rows["rematch", "rsa"].rate > 0.5


def test_a_shift_leaves_fewer_pairs_than_real_partners_make():
    """Why `rematch` scores as many pairs of the true text as the poorest shift leaves (docs/statistics.md)."""
    observed, shifted = list[int](), list[int]()
    for i in range(5):
        a, b, starts = models(generator(0, i, 40), Text(planted=0.4))
        observed.append(len(match_sides(a, b, Text().match)))
        shifted.append(min(len(pairs[0]) for pairs in rematch(a, b, Text().match, starts, i, range(9))[1]))
    assert np.mean(observed) > 1.4 * np.mean(shifted) > 30


def test_planted_spaces_have_the_correlation_they_are_asked_for():
    X, Y = planted_spaces(generator(0, 0), 20_000, 3, 5, 0.4)
    rho = np.linalg.svd(np.linalg.qr(X)[0].T @ np.linalg.qr(Y)[0])[1]
    np.testing.assert_allclose(rho, 0.4, atol=0.03)  # 4 standard errors of a correlation of 20,000


def test_topical_features_are_active_together_within_a_model_only():
    lengths = document_lengths(generator(0, 0), 2000, 5, "equal")
    (a, topics), (b, _) = (topical_activations(generator(0, i), lengths, 24) for i in (1, 2))
    r = np.corrcoef(np.hstack([a, b]).T)
    same = np.equal.outer(topics, topics) & ~np.eye(24, dtype=bool)
    assert r[:24, :24][same].min() > 0.2
    assert np.abs(r[:24, 24:]).max() < 0.1


@pytest.mark.slow
def test_the_script_resumes_in_parts_and_its_exit_code_tells(tmp_path):
    def run(*arguments: str) -> Ended:
        sizes = ["--datasets", "1", "--power-datasets", "0", "--work", str(tmp_path / "work")]
        return usual_forks().run([SCRIPT, *sizes, *arguments], tmp_path)

    first = run("--part", "0/2")
    assert first.code == 3
    assert "missing" in first.out
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("*.json")}
    assert len(done) == -(-len(CASES) // 2)
    second = run("--part", "1/2", "--out", str(tmp_path / "table.md"))
    assert second.code == ("FAIL" in second.out)  # one data set may fall far out
    assert "### grid" in (tmp_path / "table.md").read_text()
    assert all(path.stat().st_mtime_ns == when for path, when in done.items())

    def plant() -> None:  # a null whose every p is the smallest
        for path in (tmp_path / "work").rglob("*.json"):
            smallest = [{k: [0.01, 1e-3] for k in one} for one in json.loads(path.read_text())]
            path.write_text(json.dumps(smallest))

    plant()
    assert "FAIL: independent, shuffle, rsa" not in run().out, "the fresh data sets are honest"
    plant()
    broken = run()
    assert broken.code == 1
    assert "FAIL: independent, shuffle, rsa" in broken.out


def on_tensors(measure):
    return lambda x, y: measure.score(measure.prepare(x.numpy()), measure.prepare(y.numpy()))


def in_turn(permutations):
    numbers = iter(permutations)
    return lambda n, device: torch.from_numpy(next(numbers))


@pytest.mark.parametrize("name", ["svcca_fixed_k", "rsa", "cka", "procrustes"])
def test_calibrated_scores_agree_with_the_package_of_their_authors(name):
    """calibrated-similarity 0.1.1 keeps scores in float32, hence the tolerance; its permutations are handed to it."""
    package = pytest.importorskip("calibrated_similarity")
    measure = make_measures([name], svcca_k=4)[0]
    permutations = permutation_ids(30, 60, 5)
    for r in (0.0, 0.5, 0.9):
        X, Y = planted_spaces(generator(3, int(10 * r)), 30, 5, 6, r)
        theirs, p, _ = package.calibrate(
            *map(torch.from_numpy, (X, Y)), on_tensors(measure), K=60, perm_fn=in_turn(permutations)
        )
        x, y = measure.prepare(X), measure.prepare(Y)
        null = measure.null_scores(x, y, permutations)
        assert calibrated_score(measure.score(x, y), null) == pytest.approx(float(theirs), abs=1e-5)
        assert p_value(measure.score(x, y), null) == pytest.approx(float(p), abs=1e-6)


def test_the_best_of_a_grid_agrees_with_the_package_of_the_authors():
    package = pytest.importorskip("calibrated_similarity")
    measure, permutations = RSA(), permutation_ids(30, 60, 5)
    (X, Y), (V, W) = (planted_spaces(generator(4, i), 30, 5, 6, 0.5) for i in (0, 1))
    theirs, p, _ = package.calibrate_layers(
        [torch.from_numpy(X), torch.from_numpy(V)],
        [torch.from_numpy(Y), torch.from_numpy(W)],
        on_tensors(measure),
        K=60,
        perm_fn=in_turn(permutations),
    )
    cells = [(measure.prepare(a), measure.prepare(b)) for a in (X, V) for b in (Y, W)]
    best = max_statistic(
        [measure.score(*cell) for cell in cells], [measure.null_scores(*cell, permutations) for cell in cells]
    )
    assert best.calibrated == pytest.approx(float(theirs), abs=1e-5)
    assert best.p_value == pytest.approx(float(p), abs=1e-6)
