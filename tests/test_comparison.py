"""Everything that was encoded, compared: corrected p-values, the best of the grid, intervals, every section."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from statsmodels.stats.multitest import multipletests

from semconv import SparseActivations
from semconv.pipeline.own_pair import MOST_REMATCHES, needed_rematches
from semconv.statistics.permutation import permutation_ids
from semconv.study.comparison import Encoded, add_q_values, compare_all, interval, n_steps, summarise
from semconv.study.layer_pairs import bootstrap, study
from semconv.study.published_protocol import STEPS
from semconv.study.sides import Side
from semconv.study.subspaces import pooled, spans_of, study_spans
from semconv.suite.config import (
    CompareConfig,
    ControlConfig,
    CorpusConfig,
    ModelConfig,
    NullConfig,
    PublishedConfig,
    SaeConfig,
    SpanConfig,
    SubspaceConfig,
    SuiteConfig,
)
from semconv.text.top_tokens import TopTokens
from tests.worlds import MATCH, TEXTS, make_world

WORLD = make_world()


def cells_of(ps: list[float | None], null: str = "shuffle") -> list[dict[str, Any]]:
    return [{"nulls": {null: {"reason": "none"} if p is None else {"p": p}}} for p in ps]


@pytest.mark.parametrize("seed", range(4))
def test_q_values_equal_those_of_statsmodels(seed: int):
    rng = np.random.default_rng(seed)
    ps = np.ceil(rng.uniform(size=17) ** 3 * 100) / 100  # with ties, as permutations give
    cells = cells_of(ps.tolist())
    add_q_values(cells)
    for key, method in (("q", "fdr_bh"), ("q_by", "fdr_by")):
        wanted = multipletests(ps, method=method)[1]
        # two orders of the same products in float64
        np.testing.assert_allclose([cell["nulls"]["shuffle"][key] for cell in cells], wanted, rtol=1e-12)


def test_q_values_leave_out_what_has_no_p_and_keep_nulls_apart():
    cells = [*cells_of([0.01, None, 0.5]), {"reason": "too few"}, {}]
    cells[0]["nulls"]["rematch"] = {"p": 0.04}
    add_q_values(cells)
    wanted = multipletests([0.01, 0.5], method="fdr_bh")[1]
    assert [cells[i]["nulls"]["shuffle"]["q"] for i in (0, 2)] == pytest.approx(wanted)
    assert cells[1]["nulls"]["shuffle"] == {"reason": "none"}
    assert cells[0]["nulls"]["rematch"] == {"p": 0.04, "q": 0.04, "q_by": 0.04}
    assert cells[3:] == [{"reason": "too few"}, {}]
    none = cells_of([None])
    add_q_values(none)
    assert none == cells_of([None])


def cell(score: float, null: np.ndarray, **more: Any) -> dict[str, Any]:
    p = ((null >= score).sum() + 1) / (len(null) + 1)
    test = {"score": score, "p": p, "q": p, "q_by": 2 * p, "mean": float(null.mean()), "calibrated": score / 10}
    return {"measures": {"m": {"score": score, "nulls": {"shuffle": {**test, **more}}}}}


def test_the_summary_by_hand():
    nulls = {"0x0": np.arange(19) / 100, "0x1": np.arange(19)[::-1] / 20, "1x1": np.full(19, 0.9)}
    grid = {"0x0": cell(0.5, nulls["0x0"]), "0x1": cell(0.7, nulls["0x1"], q=0.049), "1x1": cell(0.3, nulls["1x1"])}
    grid["2x2"] = {"measures": {"m": {"reason": "too few"}}}
    grid["0x1"]["measures"]["m"]["interval"] = [0.6, 0.8]
    arrays = {key: {"shuffle.m": null} for key, null in nulls.items()}
    out = summarise(grid, arrays, "m")
    assert out["layer_pairs"] == 3
    assert (out["best_layer_pair"], out["best_score"], out["best_interval"]) == ("0x1", 0.7, [0.6, 0.8])
    assert out["mean_score"] == pytest.approx(0.5)
    shuffle = out["nulls"]["shuffle"]
    assert (shuffle["layer_pairs"], shuffle["significant"], shuffle["significant_by"]) == (3, 1, 0)
    assert shuffle["largest_p"] == 1.0
    assert shuffle["smallest_q"] == 3 / 20
    assert shuffle["mean"] == pytest.approx((0.09 + 0.45 + 0.9) / 3)
    assert shuffle["best_calibrated"] == pytest.approx(0.07)
    assert shuffle["best_of_grid"] == {"score": 0.7, "null_mean": pytest.approx(0.9), "p": 1.0}


def test_q_of_exactly_the_level_is_not_significant_and_below_is():
    null = np.zeros(19)
    grid = {"0x0": cell(0.5, null, q=0.05, q_by=0.05), "0x1": cell(0.5, null, q=0.0499, q_by=0.0499)}
    shuffle = summarise(grid, {key: {"shuffle.m": null} for key in grid}, "m")["nulls"]["shuffle"]
    assert (shuffle["significant"], shuffle["significant_by"]) == (1, 1)


def test_a_summary_of_nothing_holds_no_number():
    out = summarise({"0x0": {"measures": {"m": {"reason": "few"}}}}, {"0x0": {}}, "m")
    assert out["layer_pairs"] == 0
    assert out["nulls"] == {}
    assert all(out[key] is None for key in ("best_layer_pair", "best_score", "best_interval", "mean_score"))
    grid = {"0x0": {"measures": {"m": {"score": 0.5, "nulls": {"rematch": {"reason": "1 of 9 draws"}}}}}}
    rematch = summarise(grid, {"0x0": {}}, "m")["nulls"]["rematch"]
    assert rematch["layer_pairs"] == 0
    assert rematch["largest_p"] is rematch["mean"] is rematch["best_calibrated"] is rematch["smallest_q"] is None
    assert list(rematch["best_of_grid"]) == ["reason"]


def test_intervals_by_hand():
    low, high = interval(5.0, np.array([1.0, 2.0, 3.0])) or (0.0, 0.0)  # sd 1; t of 2 degrees of freedom at 0.975
    assert (low, high) == (pytest.approx(5 - 4.302652729911275), pytest.approx(5 + 4.302652729911275))
    assert interval(0.2, np.array([0.1, np.nan, 0.3])) is None
    assert interval(0.2, np.array([0.1])) is None
    assert interval(0.25, np.full(5, 0.3)) == [0.25, 0.25]


def test_an_interval_holds_the_truth_as_often_as_it_says_though_the_draws_are_shifted():
    rng = np.random.default_rng(0)
    observed = rng.normal(size=4000)
    draws = observed[:, None] + rng.normal(size=(4000, 40)) + 3  # resampling raises every score by as much
    held = np.mean([low <= 0 <= high for o, d in zip(observed, draws, strict=True) for low, high in [interval(o, d)]])  # pyright: ignore
    assert abs(held - 0.95) < 3 * np.sqrt(0.95 * 0.05 / 4000)


def model(name: str, *layers: int) -> ModelConfig:
    return ModelConfig(name, name, tuple(SaeConfig(f"blocks.{layer}.hook_resid_post", "sae") for layer in layers))


def together(*sides: Side) -> list[Side]:
    """Sides whose tables of top tokens belong together."""
    rows = [[[s.tokens.texts[i] for i in row if i >= 0] for row in s.tokens.numbers] for s in sides]
    tables = TopTokens.of_sides(rows, ())
    return [replace(side, tokens=table) for side, table in zip(sides, tables, strict=True)]


def small(**changes: Any) -> tuple[SuiteConfig, Encoded]:
    """Two layers of A and one of B, one floor, two categories' worth of words, and the published variants."""
    noise = make_world(7)
    untrained = replace(noise.a, model="u", acts=replace_tokens(noise.a, WORLD.a.acts.n_tokens))
    other = replace(WORLD.a, layer=3, decoder=WORLD.a.decoder[::-1].copy())
    a, a3, b, floor = together(WORLD.a, other, WORLD.b, untrained)
    suite = SuiteConfig(
        "small",
        "Made up.",
        CorpusConfig("file", "t", 16, 1000, path="x"),
        model("a", 1, 3),
        model("b", 2),
        match=MATCH,
        compare=CompareConfig(("rsa", "svcca_pc1")),
        null=NullConfig(n_permutations=19, n_strata=3, n_rematch=5, n_bootstrap=4, seed=5),
        controls=(ControlConfig("untrained", "floor", model("u", 1), model("b", 2)),),
        subspaces=SubspaceConfig("mini", measures=("rsa",)),
        spans=SpanConfig("windows", 4),
        published=PublishedConfig(1, 2),
    )
    published = {True: (a3, b), False: (a, b)}
    encoded = Encoded(WORLD.blocks, [a, a3], [b], {"untrained": (floor, b)}, published)
    return replace(suite, **changes), encoded


def replace_tokens(side: Side, n_tokens: int) -> SparseActivations:
    return side.acts.tokens(torch.arange(n_tokens) % side.acts.n_tokens)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Counter[str], SuiteConfig, Encoded]:
    suite, encoded = small()
    steps = Counter[str]()
    folder = tmp_path_factory.mktemp("tasks")
    protocol = WORLD.protocol(
        folder, suite.compare.measures, tick=lambda stage, n: steps.update({stage: n}), n_rematch=5, n_bootstrap=4
    )
    return compare_all(suite, protocol, encoded, TEXTS)[0], steps, suite, encoded


def test_the_sections_and_the_steps(compared: tuple[dict[str, Any], Counter[str], SuiteConfig, Encoded]):
    results, steps, suite, _ = compared
    assert set(results) == {"grid", "summary", "controls", "subspaces", "spans", "published"}
    assert set(results["grid"]) == {"1x2", "3x2"}
    assert steps == {stage: n_steps(suite, stage) for stage in ("compare", "rematch", "bootstrap", "subspaces")}
    json.dumps(results, allow_nan=False)


def test_the_grid_is_study_with_q_values_and_intervals(
    compared: tuple[dict[str, Any], Counter[str], SuiteConfig, Encoded], tmp_path: Path
):
    results, _, suite, encoded = compared
    protocol = WORLD.protocol(tmp_path, suite.compare.measures, n_rematch=5, n_bootstrap=4)
    studied = [study(protocol, f"s{i}", a, encoded.sides_b[0]) for i, a in enumerate(encoded.sides_a)]
    draws = [bootstrap(protocol, encoded.sides_a, encoded.sides_b, i) for i in range(4)]
    for i, key in enumerate(("1x2", "3x2")):
        found, alone = results["grid"][key], studied[i][0]
        assert found["pairs"] == alone["pairs"]
        counts = np.array([d[0][i, 0] for d in draws], dtype=np.float64)
        assert found["pairs_interval"] == interval(found["pairs"], counts)
        for place, name in enumerate(suite.compare.measures):
            scores = np.array([d[1][i, 0, place] for d in draws])
            assert found["measures"][name]["interval"] == interval(found["measures"][name]["score"], scores)
            for null, test in alone["measures"][name]["nulls"].items():
                of_grid = [s[0]["measures"][name]["nulls"][null]["p"] for s in studied]
                q = multipletests(of_grid, method="fdr_bh")[1][i]
                assert found["measures"][name]["nulls"][null]["q"] == pytest.approx(q)
                assert test.items() <= found["measures"][name]["nulls"][null].items()
    for name in suite.compare.measures:
        for null in ("shuffle", "frequency", "rematch"):
            arrays = np.stack([s[1][f"{null}.{name}"] for s in studied])
            best = max(s[0]["measures"][name]["nulls"][null]["score"] for s in studied)
            p = ((arrays.max(axis=0) >= best - 1e-12).sum() + 1) / (arrays.shape[1] + 1)
            assert results["summary"][name]["nulls"][null]["best_of_grid"]["p"] == p


def test_controls_hold_the_floor_and_every_self_match(
    compared: tuple[dict[str, Any], Counter[str], SuiteConfig, Encoded],
):
    controls = compared[0]["controls"]
    assert set(controls["self_match"]) == {"a/1", "a/3", "b/2"}
    floor = controls["pairs"]["untrained"]
    assert (floor["kind"], floor["model_a"], floor["model_b"]) == ("floor", "u", "b")
    kept = compared[0]["grid"]["1x2"]["pairs"]  # as many as the trained models keep, whether they agree or not
    strongest = controls["strongest"]["untrained"]
    n = strongest["floor"]["pairs"]
    assert floor["pairs"] < n == strongest["trained"]["pairs"] <= kept
    for cell, most in ((strongest["floor"], kept), (strongest["trained"], n)):
        assert [count["step"] for count in cell["filters"]][-2:] == ["r > -1", f"the {most} strongest"]
        assert set(cell["measures"]["rsa"]["nulls"]) == {"shuffle", "frequency", "rematch"}
    assert controls["lowest_self_r"] == pytest.approx(1.0, abs=1e-12)
    assert controls["lowest_self_score"] == pytest.approx(1.0, abs=1e-9)


def test_a_floor_outside_of_the_grid_stands_beside_nothing(tmp_path: Path):
    suite, encoded = small(spans=None, subspaces=None, published=None)
    floor, b = encoded.controls["untrained"]
    both = {"untrained": (replace(floor, layer=9), b), "inside": (floor, b)}
    controls = (*suite.controls, replace(suite.controls[0], name="inside"))
    for kept in (("untrained",), ("untrained", "inside")):
        here = replace(encoded, controls={name: both[name] for name in kept})
        of_kept = replace(suite, controls=tuple(c for c in controls if c.name in kept))
        results = compare_all(of_kept, WORLD.protocol(tmp_path / str(len(kept)), ("rsa",)), here, TEXTS)[0]
        against, inside = results["controls"]["against"]["rsa"], "inside" in kept
        assert set(results["controls"]["strongest"]) == set(kept) - {"untrained"}
        assert (against["cross_model"] is not None) == inside
        assert (against["above_floor"] is not None) == (inside and against["floor"] is not None)


def test_a_floor_that_is_none_is_marked_and_held_against_nothing(tmp_path: Path):
    suite, encoded = small(spans=None, subspaces=None, published=None)
    same = {"untrained": (replace(encoded.sides_a[0], model="u"), encoded.sides_b[0])}
    for unfair in (frozenset[str](), frozenset({"untrained"})):
        protocol = WORLD.protocol(tmp_path / str(len(unfair)), ("rsa",))
        results = compare_all(suite, protocol, replace(encoded, controls=same, unfair=unfair), TEXTS)[0]
        assert results["controls"]["pairs"]["untrained"]["trained_saes"] == bool(unfair)
        against = results["controls"]["against"]["rsa"]
        assert (against["floor"] is None) == bool(unfair)
        assert against["cross_model"] is not None


def test_a_silent_side_does_not_stop_the_controls(tmp_path: Path):
    suite, encoded = small(spans=None, subspaces=None, published=None)
    silent = SparseActivations.from_dense(torch.zeros_like(encoded.sides_a[1].acts.to_dense()))
    sides = [encoded.sides_a[0], replace(encoded.sides_a[1], acts=silent, store_sha256="silent")]
    results = compare_all(suite, WORLD.protocol(tmp_path, ("rsa",)), replace(encoded, sides_a=sides), TEXTS)[0]
    assert results["controls"]["self_match"]["a/3"]["lowest_r"] is None
    assert results["controls"]["lowest_self_r"] == pytest.approx(1.0, abs=1e-12)
    assert "reason" in results["grid"]["3x2"]["measures"]["rsa"]
    assert results["summary"]["rsa"]["layer_pairs"] == 1
    json.dumps(results, allow_nan=False)


def test_a_score_that_some_resample_lacks_has_no_interval(tmp_path: Path):
    suite, encoded = small(spans=None, subspaces=None, published=None, controls=())
    protocol = WORLD.protocol(tmp_path, ("rsa",), n_bootstrap=4)
    pairs = study(protocol, "x", encoded.sides_a[0], encoded.sides_b[0])[0]["pairs"]
    drawn = [int(bootstrap(protocol, encoded.sides_a[:1], encoded.sides_b, i)[0][0, 0]) for i in range(4)]
    protocol = WORLD.protocol(tmp_path / "few", ("rsa",), n_bootstrap=4, match={"min_r": 0.55})
    counts = [int(bootstrap(protocol, encoded.sides_a[:1], encoded.sides_b, i)[0][0, 0]) for i in range(4)]
    observed = study(protocol, "x", encoded.sides_a[0], encoded.sides_b[0])[0]["pairs"]
    assert pairs >= min(drawn)
    assert min(counts) < observed
    bar = WORLD.protocol(tmp_path / "bar", ("rsa",), n_bootstrap=4, match={"min_r": 0.55, "min_pairs": min(counts) + 1})
    results, _ = compare_all(suite, bar, replace(encoded, sides_a=encoded.sides_a[:1], controls={}), TEXTS)
    found = results["grid"]["1x2"]
    assert found["measures"]["rsa"]["interval"] is None
    assert math.isfinite(found["measures"]["rsa"]["score"])
    assert found["pairs_interval"] == interval(found["pairs"], np.array(counts, dtype=np.float64))


def test_spans_and_subspaces_are_those_of_their_modules(
    compared: tuple[dict[str, Any], Counter[str], SuiteConfig, Encoded], tmp_path: Path
):
    results, _, suite, encoded = compared
    assert suite.spans is not None
    spans = spans_of(suite.spans, WORLD.blocks, TEXTS)
    protocol = WORLD.protocol(tmp_path, suite.compare.measures)
    a, b = (pooled(side, spans, suite.spans) for side in (encoded.sides_a[1], encoded.sides_b[0]))
    alone, found = study_spans(protocol, a, b), results["spans"]["grid"]["3x2"]
    assert found["pairs"] == alone["pairs"]
    assert found["measures"]["rsa"]["score"] == alone["measures"]["rsa"]["score"]
    assert results["spans"]["n_spans"] == len(spans)
    assert results["spans"]["mean_length"] == pytest.approx(WORLD.blocks.n_tokens / len(spans))
    for cells in results["subspaces"]["grid"].values():  # no made-up word is a keyword of the mini lists
        assert all(cell["reason"].startswith("0 features") for cell in cells.values())
    assert set(results["subspaces"]["relations"]["1x2"]) == {"reason"}


def test_the_last_published_step_is_the_grid(compared: tuple[dict[str, Any], Counter[str], SuiteConfig, Encoded]):
    results = compared[0]
    steps, grid = results["published"]["steps"], results["grid"]["1x2"]
    assert len(steps) == 1 + len(STEPS)
    assert steps[-1]["pairs"] == grid["pairs"]
    assert steps[-1]["rsa"]["score"] == grid["measures"]["rsa"]["score"]
    assert steps[-1]["rsa"]["p"] == grid["measures"]["rsa"]["nulls"]["shuffle"]["p"]
    # Filters that a step has not turned on are off, so the first rows are of the shifted sides.
    assert steps[0]["rsa"]["score"] != steps[1]["rsa"]["score"]


def test_one_run_draws_the_same_whatever_ran_before(tmp_path: Path):
    suite, encoded = small(published=None)
    protocol = WORLD.protocol(tmp_path / "0", ("rsa",), n_rematch=5, n_bootstrap=2)
    first, nulls = compare_all(suite, protocol, encoded, TEXTS)
    permutation_ids(50, 3, 11)
    np.random.default_rng(0).random(100)
    torch.manual_seed(3)
    again, nulls_again = compare_all(suite, protocol, encoded, TEXTS)
    elsewhere = replace(protocol, cache=type(protocol.cache)(tmp_path / "1"))
    fresh, _ = compare_all(suite, elsewhere, encoded, TEXTS)
    assert json.dumps(first, sort_keys=True) == json.dumps(again, sort_keys=True) == json.dumps(fresh, sort_keys=True)
    assert set(nulls) == set(first["grid"])
    for key, arrays in nulls.items():
        assert {f"{n}.rsa" for n in ("shuffle", "frequency", "rematch")} == set(arrays)
        test = first["grid"][key]["measures"]["rsa"]["nulls"]
        for name, draws in arrays.items():
            assert float(draws.mean()) == test[name.split(".")[0]]["mean"]
            assert np.array_equal(draws, nulls_again[key][name])


@pytest.mark.parametrize("n_cells", [1, 2, 3, 9, 10])
def test_with_the_default_number_of_shifts_one_layer_pair_alone_can_be_significant(n_cells: int):
    """And with one shift less it cannot: 20 shifts, once the default, give q = 0.43 in a grid of nine."""
    for draws, told in ((needed_rematches(n_cells), True), (needed_rematches(n_cells) - 1, False)):
        null = np.arange(draws) / draws
        keys = [f"0x{i}" for i in range(n_cells)]
        grid = {key: cell(2.0 if key == "0x0" else -1.0, null) for key in keys}
        add_q_values([of["measures"]["m"] for of in grid.values()])
        shuffle = summarise(grid, {key: {"shuffle.m": null} for key in keys}, "m")["nulls"]["shuffle"]
        q = grid["0x0"]["measures"]["m"]["nulls"]["shuffle"]["q"]
        assert shuffle["smallest_q"] == pytest.approx(q)  # two orders of one product
        assert (shuffle["significant"] == 1) == told == (shuffle["smallest_q"] < 0.05)


def test_the_default_number_of_shifts_is_bounded_and_what_q_can_be_is_never_above_one():
    assert [needed_rematches(n) for n in (1, 9, 11, 1000)] == [20, 180, MOST_REMATCHES, MOST_REMATCHES]
    null, keys = np.zeros(3), [f"0x{i}" for i in range(5)]
    out = summarise({key: cell(1.0, null) for key in keys}, {key: {"shuffle.m": null} for key in keys}, "m")
    assert out["nulls"]["shuffle"]["smallest_q"] == 1.0
