"""Everything that was encoded, compared: corrected p-values, the best of the grid, intervals, every section."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from statsmodels.stats.multitest import multipletests

from semconv import SparseActivations
from semconv.pipeline.own_pair import MOST_REMATCHES, needed_rematches
from semconv.planning.planned_tasks import planned_sides, planned_tasks
from semconv.planning.shapes import SaeShape, Shapes
from semconv.results.schema import (
    Corpus,
    Fit,
    LayerPair,
    Measures,
    Model,
    NotCounted,
    NullTest,
    Read,
    Reason,
    Results,
    Sae,
    Score,
    Sinks,
    Spread,
)
from semconv.runs.task_cache import FinishedTasks, TaskCache
from semconv.runs.tasks import Task, Workplace
from semconv.statistics.permutation import calibrated_score, permutation_ids
from semconv.study.observations import Observations
from semconv.study.observe import Encoded, Progress, observe, stages
from semconv.study.observe_pair import resamples
from semconv.study.published_protocol import STEPS, PublishedSides
from semconv.study.read_observations import read_observations
from semconv.study.sides import Side
from semconv.study.subspaces import observe_part, pooled, spans_of
from semconv.study.tell import Stated, tell
from semconv.study.tell_grid import corrected, summarise
from semconv.suite.config import (
    CompareConfig,
    ControlConfig,
    CorpusConfig,
    NullConfig,
    PublishedConfig,
    SpanConfig,
    SubspaceConfig,
    SuiteConfig,
)
from semconv.suite.models import SeedConfig
from semconv.system.errors import InputError
from semconv.system.shape import plain, read_as
from semconv.text.top_tokens import TopTokens
from tests._helpers.worlds import MATCH, TEXTS, make_world, model, pair_of, study

WORLD = make_world()


def a_test(p: float, score: float = 0.5, mean: float = 0.0, q: float | None = None, by: float | None = None):
    """A test with a p, and perhaps q-values."""
    return NullTest(score=score, mean=mean, sd=1.0, z=1.0, p=p, calibrated=score / 10, q=q, q_by=by)


def table_of(ps: list[float | None], null: str = "shuffle") -> dict[int, Measures]:
    """A table whose one measure has these p, or none."""
    tests = [Reason(reason="none") if p is None else a_test(p) for p in ps]
    return {place: {"m": Score(score=0.5, nulls={null: test})} for place, test in enumerate(tests)}


def q_of(table: dict[int, Measures], place: int, null: str = "shuffle") -> tuple[float | None, float | None]:
    score = table[place]["m"]
    assert isinstance(score, Score)
    test = score.nulls[null]
    assert isinstance(test, NullTest)
    return test.q, test.q_by


@pytest.mark.parametrize("seed", range(4))
def test_q_values_equal_those_of_statsmodels(seed: int):
    rng = np.random.default_rng(seed)
    ps = np.ceil(rng.uniform(size=17) ** 3 * 100) / 100  # with ties, as permutations give
    table = corrected(table_of(ps.tolist()))
    for at, method in enumerate(("fdr_bh", "fdr_by")):
        wanted = multipletests(ps, method=method)[1]
        # two orders of the same products in float64
        np.testing.assert_allclose([q_of(table, place)[at] for place in table], wanted, rtol=1e-12)


def test_q_values_leave_out_what_has_no_p_and_keep_nulls_and_measures_apart():
    table = table_of([0.01, None, 0.5])
    first = table[0]["m"]
    assert isinstance(first, Score)
    table[0] = {"m": replace(first, nulls={**first.nulls, "rematch": a_test(0.04)}), "other": first}
    table |= {3: {"m": Reason(reason="too few")}, 4: {}}
    found = corrected(table)
    wanted = multipletests([0.01, 0.5], method="fdr_bh")[1]
    assert [q_of(found, place)[0] for place in (0, 2)] == pytest.approx(wanted)
    assert found[1] == table[1]
    assert q_of(found, 0, "rematch") == (0.04, 0.04)
    alone = found[0]["other"]
    assert isinstance(alone, Score)
    assert alone.nulls["shuffle"] == a_test(0.01, q=0.01, by=0.01)
    assert {place: found[place] for place in (3, 4)} == {place: table[place] for place in (3, 4)}
    assert corrected(table_of([None])) == table_of([None])


def scored(score: float, null: np.ndarray, q: float | None = None, by: float | None = None, **more: Any) -> LayerPair:
    """A layer pair with a score beside the draws of `shuffle`; q is p, and q_by 2 p, if nothing else is said."""
    p = ((null >= score).sum() + 1) / (len(null) + 1)
    test = a_test(p, score, float(null.mean()), p if q is None else q, 2 * p if by is None else by)
    test = replace(test, calibrated=calibrated_score(score, null))
    return pair_of(Score(score=score, nulls={"shuffle": test}, **more))


def draws_of(nulls: dict[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    return {key: {"shuffle": null[None]} for key, null in nulls.items()}


def test_the_summary_by_hand():
    nulls = {"0x0": np.arange(19) / 100, "0x1": np.arange(19)[::-1] / 20, "1x1": np.full(19, 0.9)}
    grid = {
        "0x0": scored(0.5, nulls["0x0"], spread=Spread(total=0.1, dof=2.0)),
        "0x1": scored(0.7, nulls["0x1"], q=0.049),
        "1x1": scored(0.3, nulls["1x1"]),
        "2x2": pair_of(Reason(reason="too few")),
    }
    out = summarise(grid, {**draws_of(nulls), "2x2": {}}, "m", 0)
    assert out.layer_pairs == 3
    assert (out.best_layer_pair, out.best_score, out.ranked_by) == ("0x0", 0.5, "shuffle")  # 0x1: higher by chance too
    half = 0.1 * scipy.stats.t.ppf(1 - 0.05 / 3 / 2, 2)  # three layer pairs have a score
    assert out.best_interval == pytest.approx((0.5 - half, 0.5 + half))
    assert out.mean_score == pytest.approx(0.5)
    shuffle = out.nulls["shuffle"]
    assert (shuffle.layer_pairs, shuffle.significant, shuffle.significant_by) == (3, 1, 0)
    assert shuffle.largest_p == 1.0
    assert shuffle.smallest_q == 3 / 20
    assert shuffle.mean == pytest.approx((0.09 + 0.45 + 0.9) / 3)
    tau = {"0x0": 0.18, "0x1": 0.85, "1x1": 0.9}  # the 95% of 20 values: the 19th
    assert shuffle.best_calibrated == pytest.approx((0.5 - 0.18) / 0.82)
    best = np.max([(nulls[key] - tau[key]) / (1 - tau[key]) for key in nulls], axis=0)
    of_grid = {"score": pytest.approx(0.32 / 0.82), "null_mean": pytest.approx(best.mean()), "p": 1 / 20}
    assert plain(shuffle.best_of_grid) == of_grid


def test_q_of_exactly_the_level_is_not_significant_and_below_is():
    null = np.zeros(19)
    grid = {"0x0": scored(0.5, null, q=0.05, by=0.05), "0x1": scored(0.5, null, q=0.0499, by=0.0499)}
    shuffle = summarise(grid, draws_of(dict.fromkeys(grid, null)), "m", 0).nulls["shuffle"]
    assert (shuffle.significant, shuffle.significant_by) == (1, 1)


def test_a_summary_of_nothing_holds_no_number():
    out = summarise({"0x0": pair_of(Reason(reason="few"))}, {"0x0": {}}, "m", 0)
    assert out.layer_pairs == 0
    assert out.nulls == {}
    assert all(getattr(out, name) is None for name in ("best_layer_pair", "best_score", "best_interval", "mean_score"))
    grid = {"0x0": pair_of(Score(score=0.5, nulls={"rematch": Reason(reason="1 of 9 draws")}))}
    rematch = summarise(grid, {"0x0": {"rematch": np.zeros((1, 9))}}, "m", 0).nulls["rematch"]
    assert rematch.layer_pairs == 0
    assert rematch.largest_p is rematch.mean is rematch.best_calibrated is rematch.smallest_q is None
    assert list(plain(rematch.best_of_grid)) == ["reason"]


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
    turned = WORLD.a.decoder[:, ::-1] + 0.3 * WORLD.a.decoder
    seed = replace(WORLD.a, model="a-seed1", store_sha256="a-seed1", decoder=turned)
    a, a3, b, floor, seed = together(WORLD.a, other, WORLD.b, untrained, seed)
    suite = SuiteConfig(
        "small",
        "Made up.",
        CorpusConfig("file", "t", 16, 1000, path="x"),
        model("a", 1, 3),
        model("b", 2),
        match=MATCH,
        compare=CompareConfig(("rsa", "svcca_pc1")),
        null=NullConfig(n_permutations=19, n_strata=3, n_rematch=5, n_bootstrap=4, n_pair_halves=6, seed=5),
        controls=(ControlConfig("untrained", "floor", model("u", 1), model("b", 2)),),
        subspaces=SubspaceConfig("mini", measures=("rsa",)),
        spans=SpanConfig("windows", 4),
        published=PublishedConfig(1, 2),
        seeds=(SeedConfig("a-seed1", "a", model("a", 1).saes),),
    )
    published = PublishedSides(shifted=(a3, b), everywhere=(a, b), corrected=(a, b))
    controls, seeds = {"untrained": (floor, b)}, {"a-seed1": [seed]}
    encoded = Encoded(WORLD.blocks, TEXTS, [a, a3], [b], controls, published, seeds=seeds)
    return replace(suite, **changes), encoded


def replace_tokens(side: Side, n_tokens: int) -> SparseActivations:
    return side.acts.tokens(torch.arange(n_tokens) % side.acts.n_tokens)


TEXT_READ = {
    **{"rows": "packed", "bos_rule": "", "separator_rule": "", "tokenizer": "", "tokens_sha256": ""},
    **dict.fromkeys(("n_rows", "skip_positions", "documents", "documents_read", "documents_cut"), 0),
    **dict.fromkeys(("tokens_left_out", "files_ignored", "n_tokens"), 0),
}


def sae_of(model: str, label: str) -> Sae:
    """What is said of an SAE: it explains everything."""
    fit = Fit(tokens=1, explained_variance=1.0, explained_variance_with_sinks=1.0)
    texts = {"hook": "", "architecture": "", "source": "", "activations_sha256": f"{model}/{label}"}
    numbers = {"layer": 0, "n_features": 1, "l0": 1.0, "dead_share": 0.0, "sinks": 0, "sinks_norm_share": 0.0}
    return Sae(**texts, **numbers, head=None, hook_out=None, fit=fit, remarks=())


def stated(suite: SuiteConfig, unfair: frozenset[str] = frozenset()) -> Stated:
    """What is said of text and models: next to nothing."""
    sinks = Sinks(multiple=10.0, excluded=False, positions_a=0, positions_b=0, spans=0)
    more = {"n_documents": 0, "n_spans": None, "context": 2, "text_sha256": "", "sinks": sinks, "b": None}
    corpus = Corpus(**TEXT_READ, **more, excluded=NotCounted())
    a, b = (
        Model(name=m.name, path="", revision="", saes={label: sae_of(m.name, label) for label in m.by_label})
        for m in (suite.model_a, suite.model_b)
    )
    return Stated("", False, corpus, a, b, Read(controls={}, versions={}), unfair)


def compare(
    suite: SuiteConfig,
    encoded: Encoded,
    folder: Path,
    measures: tuple[str, ...] | None = None,
    progress: Progress = lambda *_: None,
    match: dict[str, Any] | None = None,
    **null: Any,
) -> tuple[Results, Observations]:
    """Observes and tells a suite by few draws; `measures`, `match` and `null` change its settings."""
    settings = WORLD.settings(measures or suite.compare.measures, match=match, **null)
    compare = replace(suite.compare, measures=tuple(measure.name for measure in settings.measures))
    suite = replace(suite, compare=compare, match=settings.match, null=settings.null)
    observations = observe(suite, settings, encoded, Workplace(TaskCache(folder)), progress)
    return tell(observations, suite, stated(suite, encoded.unfair)), observations


@dataclass(frozen=True)
class Compared:
    """A small suite and what it says."""

    results: Results
    stages: dict[str, list[tuple[int, int]]]
    suite: SuiteConfig
    encoded: Encoded


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Compared:
    suite, encoded = small()
    stages: dict[str, list[tuple[int, int]]] = {}
    folder = tmp_path_factory.mktemp("tasks")
    progress: Progress = lambda stage, *of: stages.setdefault(stage, []).append(of)  # noqa: E731
    results, _ = compare(suite, encoded, folder, progress=progress, n_rematch=5, n_bootstrap=4, n_pair_halves=6)
    return Compared(results, stages, suite, encoded)


def score_of(measures: Measures, name: str) -> Score:
    """The score of a measure that has one."""
    score = measures[name]
    assert isinstance(score, Score)
    return score


def p_of(measures: Measures, name: str, null: str) -> NullTest:
    """The test of a measure against a null, where it has one."""
    test = score_of(measures, name).nulls[null]
    assert isinstance(test, NullTest)
    return test


def test_the_sections_and_the_stages(compared: Compared):
    results, stages = compared.results, compared.stages
    assert set(results.grid) == {"1x2", "3x2"}
    assert None not in (results.subspaces, results.spans, results.published)
    assert {stage: len(done) for stage, done in stages.items()} == {
        "compare": 2 + 1 + 3,  # layer pairs, the control, every SAE with itself
        "floors": 1,
        "beside floors": 1,
        "rematch": stages["rematch"][0][1],  # of each pair of SAEs that has enough feature pairs left
        "rematch scores": 2 * stages["rematch"][0][1],
        "bootstrap": 2,
        "pair halves": 2,
        "seeds": 1 + 1,  # the layer pair that has another SAE, and that SAE beside A's own
        "subspaces": 2 + 3,
        "spans": 1 + 2,
        "published": 8,
    }
    assert 4 <= stages["rematch"][0][1] <= 5
    assert all(done == [(i + 1, len(done)) for i in range(len(done))] for done in stages.values())
    json.dumps(plain(results), allow_nan=False)
    assert plain(read_as(Results, plain(results), "r")) == plain(results)


def test_the_grid_is_study_with_q_values_and_intervals(compared: Compared, tmp_path: Path):
    grid, suite, encoded = compared.results.grid, compared.suite, compared.encoded
    settings = WORLD.settings(suite.compare.measures, n_rematch=5, n_bootstrap=4, n_pair_halves=6)
    studied = [study(settings, tmp_path / str(a.layer), a.read(), encoded.sides_b[0].read()) for a in encoded.sides_a]
    b = encoded.sides_b[0].read()
    for i, key in enumerate(("1x2", "3x2")):
        found, alone = grid[key], studied[i].pair
        assert found.pairs == alone.pairs
        a = encoded.sides_a[i].read()
        draws = resamples(settings, a, b, range(4))
        for place, name in enumerate(suite.compare.measures):
            score = score_of(found.measures, name)
            assert score.spread is not None
            assert score.spread.documents == pytest.approx(draws.scores[:, place].std(ddof=1))
            assert (score.spread.seeds is None, score.across_seeds is None) == (key == "3x2", key == "3x2")
            for null in score_of(alone.measures, name).nulls:
                of_grid = [p_of(one.pair.measures, name, null).p for one in studied]
                test = p_of(found.measures, name, null)
                assert test.q == pytest.approx(multipletests(of_grid, method="fdr_bh")[1][i])
                assert replace(test, q=None, q_by=None) == p_of(alone.measures, name, null)
    for place, name in enumerate(suite.compare.measures):
        for null in ("shuffle", "frequency", "rematch"):
            arrays = np.stack([one.draws(null, place) for one in studied])
            scores = np.array([p_of(one.pair.measures, name, null).score for one in studied])
            pooled = np.sort(np.column_stack([arrays, scores]), axis=1)
            tau = pooled[:, int(np.ceil(0.95 * pooled.shape[1])) - 1]
            best = ((scores - tau) / (1 - tau)).max()
            highest = ((arrays - tau[:, None]) / (1 - tau[:, None])).max(axis=0)
            p = ((highest >= best - 1e-12).sum() + 1) / (arrays.shape[1] + 1)
            assert plain(compared.results.summary[name].nulls[null].best_of_grid)["p"] == p


def test_controls_hold_the_floor_and_every_self_match(compared: Compared):
    controls = compared.results.controls
    assert set(controls.self_match) == {"a/1", "a/3", "b/2"}
    floor = controls.pairs["untrained"]
    assert (floor.kind, floor.model_a, floor.model_b) == ("floor", "u", "b")
    kept = compared.results.grid["1x2"].pairs  # as many as the trained models keep, whether they agree or not
    strongest = controls.strongest["untrained"]
    n = strongest.floor.pairs
    assert floor.pairs < n == strongest.trained.pairs <= kept
    for pair, most in ((strongest.floor, kept), (strongest.trained, n)):
        assert [step.step for step in pair.filters][-2:] == ["r > -1", f"the {most} strongest"]
        assert set(score_of(pair.measures, "rsa").nulls) == {"shuffle", "frequency", "rematch"}
    assert controls.lowest_self_r == pytest.approx(1.0, abs=1e-12)
    assert controls.lowest_self_score == pytest.approx(1.0, abs=1e-9)


def test_a_floor_outside_of_the_grid_stands_beside_nothing(tmp_path: Path):
    suite, encoded = small(spans=None, subspaces=None, published=None)
    floor, b = encoded.controls["untrained"]
    outside = replace(suite.controls[0], model_a=model("u", 9))
    both = {"untrained": (replace(floor, layer=9), b), "inside": (floor, b)}
    controls = (outside, replace(suite.controls[0], name="inside"))
    for kept in (("untrained",), ("untrained", "inside")):
        here = replace(encoded, published=None, controls={name: both[name] for name in kept})
        of_kept = replace(suite, controls=tuple(c for c in controls if c.name in kept))
        results, _ = compare(of_kept, here, tmp_path / str(len(kept)), ("rsa",))
        against, inside = results.controls.against["rsa"], "inside" in kept
        assert set(results.controls.strongest) == set(kept) - {"untrained"}
        assert (against.cross_model is not None) == inside
        assert (against.above_floor is not None) == (inside and against.floor is not None)


def test_a_floor_that_is_none_is_marked_and_held_against_nothing(tmp_path: Path):
    suite, encoded = small(spans=None, subspaces=None, published=None)
    same = {"untrained": (replace(encoded.sides_a[0], model="u"), encoded.sides_b[0])}
    for unfair in (frozenset[str](), frozenset({"untrained"})):
        here = replace(encoded, published=None, controls=same, unfair=unfair)
        results, _ = compare(suite, here, tmp_path / str(len(unfair)), ("rsa",))
        assert results.controls.pairs["untrained"].trained_saes == bool(unfair)
        against = results.controls.against["rsa"]
        assert (against.floor is None) == bool(unfair)
        assert against.cross_model is not None


def test_a_silent_side_does_not_stop_the_controls(tmp_path: Path):
    suite, encoded = small(spans=None, subspaces=None, published=None)
    side = encoded.sides_a[1].read()
    silent = SparseActivations.from_dense(torch.zeros_like(side.acts.to_dense()))
    sides = [encoded.sides_a[0], replace(side, acts=silent, store_sha256="silent")]
    results, _ = compare(suite, replace(encoded, published=None, sides_a=sides), tmp_path, ("rsa",))
    assert results.controls.self_match["a/3"].lowest_r is None
    assert results.controls.lowest_self_r == pytest.approx(1.0, abs=1e-12)
    assert isinstance(results.grid["3x2"].measures["rsa"], Reason)
    assert results.summary["rsa"].layer_pairs == 1
    json.dumps(plain(results), allow_nan=False)


def test_a_score_that_some_resample_lacks_has_no_interval(tmp_path: Path):
    changes: dict[str, Any] = {"spans": None, "subspaces": None, "published": None, "controls": (), "seeds": None}
    suite, encoded = small(**changes, model_a=model("a", 1))
    a, b = encoded.sides_a[0].read(), encoded.sides_b[0].read()
    loose, strict = WORLD.settings(("rsa",)), WORLD.settings(("rsa",), match={"min_r": 0.55})
    pairs, observed = (study(s, tmp_path / f"{s.match.min_r}", a, b).pair.pairs for s in (loose, strict))
    drawn, counts = (resamples(s, a, b, range(4)).counts.tolist() for s in (loose, strict))
    assert pairs >= min(drawn)
    assert min(counts) < observed
    here = replace(encoded, sides_a=[a], controls={}, published=None)
    match = {"min_r": 0.55, "min_pairs": min(counts) + 1}
    found = compare(suite, here, tmp_path / "bar", ("rsa",), match=match, n_bootstrap=4)[0].grid["1x2"]
    assert score_of(found.measures, "rsa").interval is None
    assert math.isfinite(score_of(found.measures, "rsa").score)
    half = np.std(counts, ddof=1) * scipy.stats.t.ppf(0.975, 3)
    assert found.pairs_interval == pytest.approx((found.pairs - half, found.pairs + half))


def test_spans_and_subspaces_are_those_of_their_modules(compared: Compared):
    results, suite, encoded = compared.results, compared.suite, compared.encoded
    assert suite.spans is not None
    assert results.spans is not None
    assert results.subspaces is not None
    spans = spans_of(suite.spans, WORLD.blocks, TEXTS)
    settings = WORLD.settings(suite.compare.measures)
    a, b = (pooled(side, spans, suite.spans) for side in (encoded.sides_a[1], encoded.sides_b[0]))
    alone = observe_part(settings, settings.measures, a, b, settings.match.min_pairs)
    found = results.spans.grid["3x2"]
    assert found.pairs == alone.facts.pairs
    assert score_of(found.measures, "rsa").score == alone.scores[0]
    assert results.spans.n_spans == len(spans)
    assert results.spans.mean_length == pytest.approx(WORLD.blocks.n_tokens / len(spans))
    for cells in results.subspaces.grid.values():  # no made-up word is a keyword of the mini lists
        assert all((cell.reason or "").startswith("0 features") for cell in cells.values())
    assert isinstance(results.subspaces.relations["1x2"], Reason)


def test_the_last_published_step_is_the_grid(compared: Compared):
    assert compared.results.published is not None
    steps, pair = compared.results.published.steps, compared.results.grid["1x2"]
    first, second, last = (steps[i].rsa for i in (0, 1, -1))
    assert len(steps) == 1 + len(STEPS)
    assert steps[-1].pairs == pair.pairs
    assert not any(isinstance(score, Reason) for score in (first, second, last))
    assert plain(last)["score"] == score_of(pair.measures, "rsa").score
    assert plain(last)["p"] == p_of(pair.measures, "rsa", "shuffle").p
    # Filters that a step has not turned on are off, so the first rows are of the shifted sides.
    assert plain(first)["score"] != plain(second)["score"]


def test_one_run_draws_the_same_whatever_ran_before(tmp_path: Path):
    suite, encoded = small(published=None)
    encoded, more = replace(encoded, published=None), {"n_rematch": 5, "n_bootstrap": 2}
    first, observed = compare(suite, encoded, tmp_path / "0", ("rsa",), **more)
    permutation_ids(50, 3, 11)
    np.random.default_rng(0).random(100)
    torch.manual_seed(3)
    again, observed_again = compare(suite, encoded, tmp_path / "0", ("rsa",), **more)
    fresh, _ = compare(suite, encoded, tmp_path / "1", ("rsa",), **more)
    assert first == again == fresh
    assert set(observed.grid) == set(first.grid)
    for key, studied in observed.grid.items():
        draws = studied.draws()
        assert set(draws) == {"shuffle", "frequency", "rematch"}
        for null, rows in draws.items():
            assert float(rows[0].mean()) == p_of(first.grid[key].measures, "rsa", null).mean
            assert np.array_equal(rows, observed_again.grid[key].draws()[null])


def test_telling_needs_nothing_but_the_finished_tasks(tmp_path: Path):
    """No side, no text: what an archive is told from. And a task that is missing or of another kind is refused."""
    suite, encoded = small()
    results, _ = compare(suite, encoded, tmp_path, n_rematch=5, n_bootstrap=2)
    settings = WORLD.settings(suite.compare.measures, n_rematch=5, n_bootstrap=2)
    suite = replace(suite, match=settings.match, null=settings.null)
    assert tell(read_observations(suite, FinishedTasks(tmp_path)), suite, stated(suite)) == results
    observed, scores = tmp_path / "grid.1x2.observed.safetensors", tmp_path / "grid.1x2.strongest-scores.safetensors"
    content = observed.read_bytes()
    observed.write_bytes(scores.read_bytes())
    with pytest.raises(InputError, match=r"^\w+ in task grid\.1x2\.observed in .* is missing$"):
        read_observations(suite, FinishedTasks(tmp_path))
    observed.write_bytes(content)
    scores.unlink()
    with pytest.raises(InputError, match=r"must hold the finished task grid\.1x2\.strongest-scores, found none"):
        read_observations(suite, FinishedTasks(tmp_path))


def test_every_task_names_the_stores_that_it_needs(tmp_path: Path):
    suite, encoded = small(null=NullConfig(n_permutations=19, n_strata=3, n_rematch=5, n_bootstrap=1, seed=5))
    settings = WORLD.settings(suite.compare.measures, n_rematch=5, n_bootstrap=1)
    cache, seen = TaskCache(tmp_path), dict[str, Task]()
    for _, tasks in stages(suite, settings, encoded, cache):
        assert not seen.keys() & {task.name for task in tasks}
        seen |= {task.name: task for task in tasks}
        Workplace(cache).run(tasks, lambda *_: None)
    sides = *encoded.sides, *encoded.controls["untrained"], *encoded.seeds["a-seed1"]
    names = {side.key: side.name for side in sides}
    needed = {task.name: [need.key for need in task.needs] for task in seen.values()}
    for task in seen.values():
        derived = " over spans", " by category"
        assert {key.removesuffix(derived[0]).removesuffix(derived[1]) for key in needed[task.name]} <= set(names)
        json.dumps(task.inputs)
    assert [names[key] for key in needed["grid.1x2.observed"]] == ["a/1", "b/2"]
    assert [names[key] for key in needed["self.a.3"]] == ["a/3"]
    assert [names[key] for key in needed["control.untrained.observed"]] == ["u/1", "b/2"]
    assert [names[key] for key in needed["grid.1x2.seeds.1x0"]] == ["a-seed1/1", "b/2"]
    assert [names[key] for key in needed["seeds.a.1.0x1"]] == ["a/1", "a-seed1/1"]
    alone = ["categories.a.1", "categories.a.3", "categories.b.2", "spans"]  # need neither activations nor rows
    assert [name for name, keys in needed.items() if not keys] == alone
    assert set(seen) == cache.used


def test_the_tasks_are_those_that_were_planned_without_observing(tmp_path: Path):
    """Where every layer pair and control keeps enough pairs; stage by stage, in order."""
    drawn = {"n_rematch": 25, "n_bootstrap": 21, "n_pair_halves": 22}
    null = NullConfig(n_permutations=19, n_strata=3, **drawn, seed=5)
    loose = {"min_pairs": 3, "min_r": -0.99, "need_shared_token": False, "one_to_one": False}
    suite, encoded = small(null=null, match=replace(MATCH, **loose))
    settings = WORLD.settings(suite.compare.measures, match=loose, **drawn)
    shapes = Shapes({}, {"sae": SaeShape(30, 9, 3.0, 0, 0)}, 0, ())
    cache, listed = TaskCache(tmp_path), list[tuple[str, str, int]]()
    for stage, tasks in stages(suite, settings, encoded, cache):
        listed += [(stage, task.name, len({need.key for need in task.needs})) for task in tasks]
        Workplace(cache).run(tasks, lambda *_: None)
    planned = planned_tasks(suite, planned_sides(suite, shapes), shapes, 9)
    assert [(task.stage, task.name) for task in planned] == [one[:2] for one in listed]
    assert len(listed) > 40
    for task, (_, name, n_needs) in zip(planned, listed, strict=True):
        assert task.name == name
        assert len(task.sides) == n_needs or task.kind == "shared"  # which reads what is known of a store


@pytest.mark.parametrize("n_cells", [1, 2, 3, 9, 10])
def test_with_the_default_number_of_shifts_one_layer_pair_alone_can_be_significant(n_cells: int):
    """And with one shift less it cannot: 20 shifts, once the default, give q = 0.43 in a grid of nine."""
    for draws, told in ((needed_rematches(n_cells), True), (needed_rematches(n_cells) - 1, False)):
        null = np.arange(draws) / draws
        keys = [f"0x{i}" for i in range(n_cells)]
        pairs = {key: scored(2.0 if key == "0x0" else -1.0, null) for key in keys}
        measures = corrected({key: pair.measures for key, pair in pairs.items()})
        grid = {key: replace(pair, measures=measures[key]) for key, pair in pairs.items()}
        shuffle = summarise(grid, draws_of(dict.fromkeys(keys, null)), "m", 0).nulls["shuffle"]
        assert shuffle.smallest_q == pytest.approx(p_of(measures["0x0"], "m", "shuffle").q)  # orders of one product
        assert (shuffle.significant == 1) == told == ((shuffle.smallest_q or 0.0) < 0.05)


def test_the_default_number_of_shifts_is_bounded_and_what_q_can_be_is_never_above_one():
    assert [needed_rematches(n) for n in (1, 9, 11, 1000)] == [20, 180, MOST_REMATCHES, MOST_REMATCHES]
    null, keys = np.zeros(3), [f"0x{i}" for i in range(5)]
    out = summarise({key: scored(1.0, null) for key in keys}, draws_of(dict.fromkeys(keys, null)), "m", 0)
    assert out.nulls["shuffle"].smallest_q == 1.0
