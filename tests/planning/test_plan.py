"""The plan of a run: which tasks, how their cost grows, who does them, and what is said where there is no room."""

from __future__ import annotations

import json
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from semconv.planning import shapes
from semconv.planning.contexts_read import ablation_reading, expected_reading, reading_apart, shares_of_pairs
from semconv.planning.cost_model import CostModel, measures_to_draw
from semconv.planning.plan import GIB, Plan, Planner
from semconv.planning.planned_tasks import planned_sides
from semconv.planning.rates import Line, Power, Rates, Sizes
from semconv.planning.room import advice, in_words, lacks
from semconv.planning.schedule import Job, Machines, simulate
from semconv.planning.shapes import SaeShape, Shapes, shapes_of
from semconv.planning.stage_times import Machine
from semconv.study.working_memory import function_working_bytes
from semconv.suite.config import (
    PositionKindsConfig,
    RulesConfig,
    SaeConfig,
    StreamsConfig,
    SubstitutionConfig,
    SuiteConfig,
    load_suite,
)
from semconv.system.errors import InputError
from semconv.system.files import write_json
from semconv.text.corpus import source_files
from tests.conftest import semconv_cli

CPU = torch.device("cpu")
HERE = Machine(2, 16 * GIB)


def made_up_rates(suite: SuiteConfig, planner: Planner) -> Rates:
    """Rates of round numbers for the sizes of a suite."""
    a, b = planner.sides.of.a[0].sae, planner.sides.of.b[0].sae
    sizes = Sizes(planner.pairs, a.width, b.width, a.n_features, b.n_features, a.l0, b.l0)
    numbers = {one.name: 1e-7 for one in fields(Rates) if one.type == "float"}
    numbers |= {"small_set": 1e-3, "relations": 1e-2, "figure": 0.1, "seconds": 60.0, "read": 1e-9}
    of_suite = {
        "draws": {name: Power(1e-3, 2.0) for name in measures_to_draw(suite)},
        "small_draws": {} if suite.subspaces is None else dict.fromkeys(suite.subspaces.measures, 1e-5),
        "blocks": {place: Line(1e-3, 1e-6) for place in planner.shapes.models},
        "whole": {place: Line(2e-3, 3e-6) for place in planner.shapes.models},
        "saes": {f"{sae.width}x{sae.n_features}": 1e-6 for sae in planner.shapes.saes.values()},
    }
    lines: dict[str, Any] = {"match": Line(1e-3, 1e-7), "top": Line(1e-2, 1e-8), "shift": Line(5e-4, 1e-7)}
    powers = {"score_set": Power(0.05, 2.5), "self_set": Power(0.1, 2.5)}
    return Rates(machine="made up", device="cpu", threads=2, sizes=sizes, **lines, **powers, **numbers, **of_suite)


@pytest.fixture(scope="module")
def mini() -> SuiteConfig:
    return load_suite("mini")


@pytest.fixture(scope="module")
def planner(mini: SuiteConfig) -> Planner:
    return Planner(mini, shapes_of(mini, ask=False))


def planned(planner: Planner, machine: Machine = HERE, **changes: Any) -> Plan:
    """The plan by made-up rates, without spread, of a suite with some changes."""
    changed = replace(planner, suite=replace(planner.suite, **changes)) if changes else planner
    return changed.plan(machine, CPU, made_up_rates(planner.suite, planner), spread=0.0)


def seconds(plan: Plan, *stages: str) -> float:
    found = [stage.seconds or 0.0 for stage in plan.stages if not stages or stage.name in stages]
    return sum(found)


def test_one_worker_of_one_thread_does_all_and_more_do_it_faster_but_never_for_less_work():
    jobs = [Job(1.0 + i % 3, ("a", f"b{i % 4}")) for i in range(40)]
    read = {"a": 0.5, **{f"b{i}": 0.25 for i in range(4)}}
    alone = simulate(jobs, Machines(), read)
    assert alone.seconds == pytest.approx(alone.work)
    assert alone.work == pytest.approx(sum(job.seconds for job in jobs) + 0.5 + 4 * 0.25)
    assert alone.reads == 5
    times = [simulate(jobs, Machines(workers), read).seconds for workers in (1, 2, 4, 8)]
    assert times == sorted(times, reverse=True)
    assert times[1] < 0.6 * times[0]
    many = simulate(jobs, Machines(512, 4), read)
    assert many.seconds == pytest.approx(max(3.0 + 0.5 + 0.25, 3.75))
    assert many.work >= alone.work  # each worker reads for itself


def test_who_holds_less_reads_more():
    jobs = [Job(1.0, (f"a{i % 5}",)) for i in range(50)]
    read = {f"a{i}": 1.0 for i in range(5)}
    found = [simulate(jobs, Machines(held=held), read) for held in (1, 4, 5)]
    assert [one.reads for one in found] == [50, 50, 5]  # in turns, the longest unused is always the next
    assert found[0].seconds == pytest.approx(100.0)


def test_stragglers_make_the_last_task_later_and_draws_repeat():
    jobs = [Job(1.0, ())] * 64
    even, uneven = (simulate(jobs, Machines(64), {}, spread) for spread in (0.0, 0.5))
    assert even.seconds == 1.0
    assert uneven.seconds > 1.5
    assert simulate(jobs, Machines(64), {}, 0.5) == uneven


@pytest.mark.parametrize(("workers", "threads", "held"), [(0, 1, 1), (5000, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_machines_that_there_are_not_are_refused(workers: int, threads: int, held: int):
    with pytest.raises(InputError, match="must be"):
        Machines(workers, threads, held)


def test_sizes_come_from_names_where_nothing_else_is_known():
    unknown = list[str]()
    for release, sae_id, n_features, l0 in (
        ("gemma-scope-2b-pt-res-canonical", "layer_0/width_16k/canonical", 16_384, 100.0),
        ("gemma-scope-2b-pt-res-canonical", "layer_12/width_65k/canonical", 65_536, 100.0),
        ("gemma-scope-2b-pt-res", "layer_12/width_1m/average_l0_26", 2**20, 26.0),
        ("EleutherAI/sae-pythia-70m-32k", "layers.1", 32_768, 100.0),
    ):
        sae = SaeConfig("blocks.0.hook_resid_post", release=release, sae_id=sae_id)
        found = shapes._sae_shape(sae, 2304, None, unknown)
        assert (found.n_features, found.l0, found.width) == (n_features, l0, 2304)
        assert found.to_download == found.n_bytes == 4 * (2 * n_features * 2304 + 2 * n_features + 2304)
    assert len(unknown) == 3  # one of them states its L0
    assert "assumed to have 100 active features" in unknown[0]


@pytest.mark.slow
def test_published_sizes_are_those_of_the_models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """The parameters that the model cards state, of which float32 files take four bytes each."""
    monkeypatch.setattr(shapes, "_cached", lambda *_: None)
    found = shapes_of(load_suite("gemma2"), ask=False)
    by_name = {shape.name: shape for shape in found.models.values()}
    assert by_name["gemma-2-2b"].parameters == 2_614_341_888
    assert by_name["gemma-2-9b"].parameters == 9_241_705_984
    assert by_name["gemma-2-2b"].to_download == 4 * 2_614_341_888
    assert found.are_known  # as a whole; the rest is said
    assert any("parameters x bytes of their dtype" in sentence for sentence in found.assumed)


def test_the_mini_suite_is_known_without_any_assumption(planner: Planner):
    assert planner.shapes.assumed == ()
    assert planner.shapes.text_to_download == 0
    sae = planner.sides.of.a[0].sae
    assert (sae.n_features, sae.width, sae.to_download) == (1024, 128, 0)
    assert 31 < sae.l0 < 33  # as its config states
    assert planned(planner).disk.download == 0


def test_every_stage_has_its_tasks_and_more_work_takes_longer(planner: Planner, mini: SuiteConfig):
    usual = planned(planner)
    assert [stage.name for stage in usual.stages if stage.work is not None] == [
        *("compare", "floors", "beside floors", "rematch", "rematch scores", "bootstrap", "pair halves", "seeds"),
        *("subspaces", "spans", "streams", "decoders", "logit lens", "function", "published"),
    ]
    twice = planned(planner, corpus=replace(mini.corpus, max_tokens=2 * mini.corpus.max_tokens))
    encoding = [stage.name for stage in usual.stages if stage.name.startswith("encode")]
    twins = [f"{size}-untrained{kind}" for kind in ("", "-blocks", "-blocks-1") for size in ("small", "large")]
    assert encoding == [f"encode {name}" for name in ("small", "large", *twins)]
    assert 1.5 < seconds(twice, *encoding) / seconds(usual, *encoding) < 2.5
    assert seconds(twice, "rematch") > seconds(usual, "rematch")
    assert 1.9 < twice.disk.stores / usual.disk.stores < 2.1
    assert seconds(usual, "streams") > seconds(planned(planner, streams=StreamsConfig(4000)), "streams") > 0
    streams = {f"streams {name}" for name in (mini.model_a.name, mini.model_b.name)}
    assert seconds(usual, *streams) > 0
    assert seconds(usual, "decoders") > 0
    fewer = planned(planner, streams=StreamsConfig(draws=0))
    assert "decoders" not in {stage.name for stage in fewer.stages}
    assert not {"streams", *streams} & {stage.name for stage in planned(planner, streams=None).stages}
    kept = 40_000 * 4 * sum(len(model.saes) * width for model, width in ((mini.model_a, 128), (mini.model_b, 192)))
    assert usual.disk.rest - planned(planner, streams=None).disk.rest == kept
    more_draws = planned(planner, null=replace(mini.null, n_permutations=2000))
    assert seconds(more_draws, "compare") > seconds(usual, "compare")
    assert seconds(more_draws, "rematch") == seconds(usual, "rematch")
    without = planned(planner, null=replace(mini.null, n_rematch=0, n_same_token=None, n_bootstrap=0))
    assert not {"rematch", "rematch scores", "bootstrap"} & {stage.name for stage in without.stages}
    assert planned(planner, machine=replace(HERE, cores=8)).seconds < usual.seconds  # type: ignore[operator]
    shared = planned(planner, machine=replace(HERE, workers=4))
    assert seconds(shared, "rematch") < 0.5 * seconds(usual, "rematch")
    assert seconds(shared, *encoding) == seconds(usual, *encoding)  # workers share the study alone


def test_pairs_decide_what_scores_cost(planner: Planner):
    rates = made_up_rates(planner.suite, planner)
    few, many = (replace(planner, n_pairs=n) for n in (128, 256))
    times = [seconds(one.plan(HERE, CPU, rates, spread=0.0), "rematch scores") for one in (few, many)]
    assert times[0] < times[1]
    assert planner.pairs == 256  # a quarter of 1,024
    assert any("--pairs" in sentence for sentence in planned(planner).assumed)
    assert not any("--pairs" in sentence for sentence in many.plan(HERE, CPU, rates).assumed)


def test_less_memory_holds_less_and_a_task_adds_to_it(planner: Planner):
    rates = made_up_rates(planner.suite, planner)
    free, tight = (planner.plan(HERE, CPU, rates, memory=memory).memory for memory in (None, 1))
    assert tight.held < free.held
    assert tight.least <= tight.study < free.study
    model = CostModel(planner.suite, rates, planner.pairs, planner.categories)
    assert free.of_thread == max(model.working(task) for task in planner.tasks)
    assert free.at_once == HERE.cores
    more = planner.plan(replace(HERE, cores=4), CPU, rates).memory
    assert more.study - free.study == 2 * free.of_thread


def test_all_layers_of_gemma_stay_within_16_gib_whatever_the_cores_where_no_feature_is_ablated():
    suite = replace(load_suite("gemma2", all_layers=True), function=None)
    planner = Planner(suite, shapes_of(suite, ask=False))
    assert len(planner.sides.stores) >= 26 + 42
    for cores in (1, 2, 16, 64):
        machine = Machine(cores, 16 * GIB)
        memory = planner.plan(machine, CPU).memory
        assert memory.study <= machine.memory
        assert memory.of_thread < 2.6 * GIB
        assert 1 <= memory.at_once <= cores
        assert memory.study == GIB + min(memory.held + memory.at_once * memory.of_thread, machine.memory - GIB)
    assert (memory.at_once, planner.plan(Machine(64, 256 * GIB), CPU).memory.at_once) == (2, 46)
    (sentence,) = [one for one in advice(planner.plan(machine, CPU)) if "at once" in one]
    assert sentence == "2 of 64 tasks have room at once where they hold most"


def test_what_is_made_of_a_side_is_made_once_for_all_its_layer_pairs(planner: Planner):
    rates = made_up_rates(planner.suite, planner)
    model = CostModel(planner.suite, rates, planner.pairs, planner.categories)
    cut = replace(rates, cut=rates.cut + 1e-6, pool=rates.pool + 2e-6)
    dearer = CostModel(planner.suite, cut, planner.pairs, planner.categories)
    entries = sum(side.entries for side in (*planner.sides.of.a, *planner.sides.of.b))
    for kind, expected in (("categories", planner.categories * 1e-6 * entries), ("spans", 2e-6 * entries)):
        more = sum(dearer.seconds(task) - model.seconds(task) for task in planner.tasks if task.kind == kind)
        assert more == pytest.approx(expected)


def test_the_corpus_is_parsed_by_two_processes(planner: Planner):
    corpus = planner.suite.corpus
    sources = [file for name in corpus.packages for file in source_files(name, corpus.exclude or ())]
    rates = made_up_rates(planner.suite, planner)
    one, two = (seconds(planner.plan(Machine(cores, 16 * GIB), CPU, rates, spread=0.0), "corpus") for cores in (1, 2))
    assert one - two == pytest.approx(sum(file.stat().st_size for file in sources) * rates.parse / 2)


def test_rates_of_another_suite_are_refused(planner: Planner):
    rates = made_up_rates(planner.suite, planner)
    for lacking, what in ((replace(rates, blocks={}), "model small"), (replace(rates, saes={}), "SAE of 128x1024")):
        with pytest.raises(InputError, match=f"the probe did not measure .*{what}; make it again"):
            planner.plan(HERE, CPU, lacking)


def test_no_room_is_said_with_what_would_fit(planner: Planner, tmp_path: Path):
    plan = planned(planner)
    needed = plan.disk.folder + plan.disk.download
    assert lacks(plan, needed, tmp_path) == []
    (sentence,) = lacks(plan, needed - plan.disk.stores // 2, tmp_path)
    assert "of disk (stores 1.3, " in sentence
    assert sentence.endswith("corpus.max_tokens = 150000 would fit")
    tiny = planned(planner, machine=Machine(2, plan.memory.least - 1))
    (sentence,) = lacks(tiny, needed, tmp_path)
    assert "of memory for two SAEs and one task" in sentence
    crowded = planned(planner, machine=Machine(64, plan.memory.least + 1))
    assert any("1 of 64 tasks have room at once" in sentence for sentence in advice(crowded))


@pytest.mark.parametrize(
    ("of", "words"), [(40, "40 s"), (720, "12 min"), (12_240, "3.4 h"), (432_000, "5.0 days"), (0.2, "0 s")]
)
def test_times_are_said_as_a_person_says_them(of: float, words: str):
    assert in_words(of) == words


def test_suites_that_state_their_needs_are_still_read(tiny_suite: Path, tmp_path: Path):
    path = tmp_path / "tiny.toml"
    path.write_text(tiny_suite.read_text() + "[needs]\ngpu_gib = 9999\ndisk_gib = 1e9\n")
    suite = load_suite(path)
    assert suite.needs is not None
    assert suite.needs.gpu_gib == 9999
    assert "needs" not in load_suite(tiny_suite).settings
    assert suite.sha256 != load_suite(tiny_suite).sha256  # as in archives that hold it


def test_the_command_says_what_a_run_takes_and_ends_with_2_where_it_does_not_fit(tiny_suite: Path, tmp_path: Path):
    suite = load_suite(tiny_suite)
    file = tmp_path / "rates.json"
    write_json(file, asdict(made_up_rates(suite, Planner(suite, shapes_of(suite, ask=False)))))
    command = ("plan", tiny_suite, "--probe", file, "--out", tmp_path / "run")
    done = semconv_cli(*command, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["suite"] == "tiny"
    assert found["seconds"] > 0
    assert found["lacks"] == []
    assert sum(stage["tasks"] for stage in found["stages"]) > 20
    shown = semconv_cli(*command, "--machine", "cores=16,memory=0.01")
    assert shown.returncode == 2
    assert "It does not fit: suite tiny needs about" in shown.stdout
    assert "16 threads" in shown.stdout
    assert not (tmp_path / "run").exists()
    for option, value, message in (
        ("--machine", "core=3", "--machine must be cores=N,memory=GiB"),
        ("--machine", "cores=2.5", "--machine must be cores=N,memory=GiB"),
        ("--workers", "0", "workers must be 1 to 4096, got 0"),
        ("--l0", "-1", "--l0 must be above 0, got -1"),
        ("--probe", str(tiny_suite), "tiny.toml"),
    ):
        refused = semconv_cli(*command, option, value)
        assert refused.returncode == 2
        assert message in refused.stderr.replace("\n", " ")
        assert "Traceback" not in refused.stderr


def test_sides_of_one_store_are_one(planner: Planner, mini: SuiteConfig):
    sides = planned_sides(mini, planner.shapes)
    assert len([side for group in sides.of.every for side in group]) == 8 + 2 * 5 + 16 + 4
    assert len(sides.stores) == 34  # both ceilings read a store of the grid again, and one of the seeds
    assert Shapes({}, {"x": SaeShape(1, 1, 1.0, 1, 0)}, 0, ()).are_known


def test_ablating_features_of_gemma_fits_24_gib_where_weights_are_mapped_and_needs_both_in_float32_on_a_gpu():
    suite = load_suite("gemma2")
    found = shapes_of(suite, ask=False)
    models = [found.of(model) for model in (suite.model_a, suite.model_b)]
    numbers, blocks = (sum(getattr(one, name) for one in models) for name in ("parameters", "of_block"))
    half = {place: replace(one, n_bytes=2 * one.parameters) for place, one in found.models.items()}
    for of_models, stored in ((found.models, 4), (half, 2)):
        planner = Planner(suite, replace(found, models=of_models))
        assert {one.stored for one in of_models.values()} == {stored}
        memory = planner.plan(Machine(16, 24 * GIB), CPU).memory
        assert memory.mapped == stored * numbers
        assert memory.least < 13 * GIB
        assert memory.study <= 24 * GIB
        alone = replace(planner, suite=replace(suite, function=None)).plan(HERE, CPU).memory.least
        widened = 4 * blocks + 2 * 2 * 2**26 if stored == 2 else 0
        working = sum(function_working_bytes(suite.function.pairs, 256_000) for _ in models)
        assert memory.of_thread >= widened + working
        assert memory.least > alone
        (sentence,) = [one for one in advice(planner.plan(Machine(16, 24 * GIB), CPU)) if "mapped from" in one]
        assert sentence.startswith(f"tasks run models of {stored * numbers / GIB:.1f} GiB as stored, mapped from their")
    on_gpu = Planner(suite, found).plan(Machine(1, 80 * GIB), torch.device("cuda"))
    assert on_gpu.memory.least > 4 * numbers > 40 * GIB
    assert on_gpu.memory.mapped == 0
    (sentence,) = lacks(replace(on_gpu, machine=HERE), 10**15, Path("runs"))
    assert "GiB of memory" in sentence


def test_ablating_more_takes_longer_and_reading_the_text_is_shared(planner: Planner, mini: SuiteConfig):
    assert mini.function is not None
    usual = planned(planner)
    more = planned(planner, function=replace(mini.function, pairs=600))
    assert seconds(usual, "function") < seconds(more, "function") < 2 * seconds(usual, "function")
    assert spent(planner, "effects")[1] == 4 + len(mini.controls)
    assert spent(planner, "effects", function=replace(mini.function, layers="all", control_pairs=0))[1] == 16


def spent(planner: Planner, kind: str, **changes: Any) -> tuple[float, int]:
    """Seconds of the tasks of a kind by made-up rates, and how many they are, of a suite with some changes."""
    changed = replace(planner, suite=replace(planner.suite, **changes))
    model = CostModel(changed.suite, made_up_rates(planner.suite, planner), changed.pairs, changed.categories)
    tasks = [task for task in changed.tasks if task.kind == kind]
    assert {task.stage for task in tasks} <= {"function"}
    return sum(map(model.seconds, tasks)), len(tasks)


def test_comparing_rules_of_matching_is_foreseen(planner: Planner, mini: SuiteConfig):
    def took(rules: RulesConfig | None) -> tuple[float, int]:
        return spent(planner, "rules", function=replace(mini.function, rules=rules))

    usual, more, every = took(RulesConfig()), took(RulesConfig(pairs=600)), took(RulesConfig(layers="diagonal"))
    assert [usual[1], more[1], every[1], took(None)[1]] == [1, 1, 4, 0]
    assert 0 < usual[0] < more[0] < 2 * usual[0]
    assert every[0] > 1.5 * usual[0]
    assert 0 < spent(planner, "rules", streams=None)[0] < spent(planner, "rules")[0]


def test_replacing_contributions_is_foreseen(planner: Planner, mini: SuiteConfig):
    def took(substitution: SubstitutionConfig | None) -> tuple[float, int]:
        return spent(planner, "substitution", function=replace(mini.function, substitution=substitution))

    few, more = took(SubstitutionConfig(pairs=100)), took(SubstitutionConfig(pairs=200))
    every = took(SubstitutionConfig(pairs=100, layers="diagonal"))
    assert [few[1], more[1], every[1], took(None)[1]] == [1, 1, 4, 0]
    assert 0 < few[0] < more[0] < 2 * few[0]
    assert every[0] > 1.5 * few[0]
    assert 0 < spent(planner, "substitution", streams=None)[0] < spent(planner, "substitution")[0]


def test_comparing_kinds_of_positions_is_foreseen(planner: Planner, mini: SuiteConfig):
    def took(kinds: PositionKindsConfig | None) -> tuple[float, int]:
        return spent(planner, "position_kinds", function=replace(mini.function, position_kinds=kinds))

    usual, more = took(PositionKindsConfig()), took(PositionKindsConfig(pairs=200))
    every = took(PositionKindsConfig(layers="diagonal"))
    assert [usual[1], more[1], every[1], took(None)[1]] == [1, 1, 4, 0]
    assert 0 < usual[0] < more[0] < 2 * usual[0]
    assert every[0] > 1.5 * usual[0]


def test_kinds_of_positions_read_no_more_than_the_text_again_and_again(planner: Planner):
    """Of a text of some five contexts, each of the pieces of positions reads these five at most."""
    short = replace(planner.suite.corpus, max_tokens=2000)
    assert 0 < spent(planner, "position_kinds", corpus=short)[0] < 0.2 * spent(planner, "position_kinds")[0]


def test_contexts_of_positions_that_lie_anywhere_are_those_of_a_simulation():
    rng, contexts, whole = np.random.default_rng(0), list[int](), list[float]()
    n = round(2 / 3 * 4000 / 20)  # of 200 contexts of 20 tokens that count those that hold a document of one half
    for _ in range(300):
        place = rng.integers(0, n, 150)
        last = np.zeros(n)
        np.maximum.at(last, place, rng.random(150))
        contexts.append(int((last > 0).sum()))
        whole.append(float(last.sum()))
    found = reading_apart(150, 21, 4000)
    assert found.contexts == pytest.approx(np.mean(contexts), rel=0.02)
    assert found.whole == pytest.approx(np.mean(whole), rel=0.02)


def test_contexts_that_pairs_share_are_those_of_a_simulation():
    """Pairs that fire by chance, drawn 200 times: as expected, and far fewer than draws of their own would read."""
    rng, n_contexts, positions = np.random.default_rng(0), 120, 6
    shares = shares_of_pairs(30, 8.0)
    assert np.median(shares) == pytest.approx(1 - np.exp(-0.049 * 8), rel=0.05)
    contexts, whole = list[int](), list[float]()
    for _ in range(200):
        fires = rng.random((30, n_contexts)) < shares[:, None]
        taken = fires & (np.cumsum(fires, axis=1) <= positions)
        last = np.where(taken, rng.random(taken.shape), 0).max(axis=0)
        contexts.append(int((last > 0).sum()))
        whole.append(last.sum())
    found = expected_reading(shares, positions, n_contexts)
    assert found.contexts == pytest.approx(np.mean(contexts), rel=0.03)
    assert found.whole == pytest.approx(np.mean(whole), rel=0.05)
    own = 1 - np.prod(1 - np.minimum(shares, positions / n_contexts))
    assert found.contexts < 0.7 * own * n_contexts
    # layers 2x4 of the mini suite: 187 contexts, 34,949 positions of them (scripts/measure/function_speed.py)
    mini = ablation_reading(300, 16, 256, 300_000, 1 / 32)
    assert mini.contexts == pytest.approx(187, rel=0.2)
    assert mini.whole == pytest.approx(34_949 / 256, rel=0.2)
