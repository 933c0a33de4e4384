"""Several processes under torchrun: the same bits as one, and a run that lost a process is finished by the next."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from semconv import ActivationStore, SparseActivations, best_matches
from semconv.core.correlate import join_blocks
from semconv.system.processes import Ranks
from tests._helpers.forks import Ended, usual_forks
from tests.conftest import random_activations, requires_models, semconv_cli

DASK = str(Path(__file__).parents[2] / "scripts" / "cluster" / "dask_tasks.py")
STORES = ("a/blocks.0.hook_resid_post", "a/blocks.1.hook_resid_post", "b/blocks.2.hook_resid_post")


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("n", [0, 1, 5, 7, 100])
def test_parts_follow_each_other_and_cover_everything(size: int, n: int):
    parts = [Ranks(rank, size).part(n) for rank in range(size)]
    assert [i for part in parts for i in part] == list(range(n))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("n_blocks", [1, 2, 5])
def test_blocks_of_features_join_to_the_bits_of_the_whole(k: int, n_blocks: int):
    """Also where features tie, double each other across blocks, or never vary."""
    x = random_activations(1, 200, 23).to_dense()
    x[:, 3], x[:, 20], x[:, 7] = x[:, 12], x[:, 12], 0
    a, b = SparseActivations.from_dense(x), SparseActivations.from_dense(x.flip(1)[:, :17].contiguous())
    whole = best_matches(a, b, k)
    blocks = [Ranks(i, n_blocks).part(23) for i in range(n_blocks)]
    parts = [best_matches(a.columns(torch.arange(p.start, p.stop)), b, k) for p in blocks]
    joined = join_blocks(parts, [p.start for p in blocks], k)
    for one, other in ((joined.a_to_b, whole.a_to_b), (joined.b_to_a, whole.b_to_a)):
        assert torch.equal(one.index, other.index)
        assert one.r.numpy().tobytes() == other.r.numpy().tobytes()
    assert joined.quantization_noise_a.numpy().tobytes() == whole.quantization_noise_a.numpy().tobytes()


def torchrun(size: int, *command: str | Path, script: tuple[str, ...] = ("-m", "semconv")):
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            f"--nproc-per-node={size}",
            *script,
            *map(str, command),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=300,
    )


def as_by_torchrun(size: int, *command: str | Path) -> list[Ended]:
    """Runs the command line as so many processes that are told of each other as torchrun tells them."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    envs = [{**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(size)]
    return usual_forks().together(command, Path.cwd(), envs)


@pytest.fixture(scope="module")
def suite(tiny_suite: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny suite in shards of 512 tokens, without what needs no encoding."""
    path = tmp_path_factory.mktemp("sharded") / "sharded.toml"
    text = tiny_suite.read_text().split("[[controls]]")[0]
    path.write_text(text.replace("batch = 8", "batch = 8\nshard_tokens = 512").replace('"tiny"', '"sharded"'))
    return path


def hashes(run: Path) -> list[str]:
    return [ActivationStore(run / "stores" / store).sha256 for store in STORES]


@pytest.mark.slow
@requires_models
def test_one_two_and_three_processes_write_and_match_the_same_bits(suite: Path, tmp_path: Path):
    found: list[tuple[list[str], bytes]] = []
    for size in (1, 2, 3):
        run = tmp_path / str(size)
        ended = as_by_torchrun(size, "encode", suite, "--out", run)
        assert [one.code for one in ended] == [0] * size, ended
        assert sum(one.out.count("Stores:") for one in ended) == 1
        assert not list(run.rglob("manifest.part-*"))
        stores = [run / "stores" / store for store in STORES[1:]]
        ended = as_by_torchrun(size, "correlate", *stores, "--out", run / "matches.safetensors", "--k", "3")
        assert [one.code for one in ended] == [0] * size, ended
        found.append((hashes(run), (run / "matches.safetensors").read_bytes().split(b"}", 2)[2]))
    assert found[0] == found[1] == found[2]


@pytest.mark.slow
@requires_models
def test_a_killed_process_ends_the_run_and_another_run_finishes_it(suite: Path, tmp_path: Path):
    script = (str(Path(__file__).parents[1] / "_helpers" / "killed_rank.py"),)
    done = torchrun(2, "encode", suite, "--out", tmp_path / "run", script=script)
    assert done.returncode != 0
    assert "SIGKILL" in done.stderr
    with pytest.raises(ValueError, match=r"no manifest.json|not complete"):
        hashes(tmp_path / "run")
    assert semconv_cli("encode", suite, "--out", tmp_path / "run").returncode == 0
    assert semconv_cli("encode", suite, "--out", tmp_path / "whole").returncode == 0
    assert hashes(tmp_path / "run") == hashes(tmp_path / "whole")


@pytest.mark.slow
@requires_models
def test_processes_share_a_folder_of_stores_with_other_runs(suite: Path, tmp_path: Path):
    shared = tmp_path / "shared"
    done = torchrun(2, "encode", suite, "--out", tmp_path / "one", "--stores", shared)
    assert done.returncode == 0, done.stderr
    assert not list(shared.rglob("manifest.part-*"))
    written = {shard: shard.stat().st_mtime_ns for shard in shared.rglob("shard-*")}
    stores = [ActivationStore(path) for path in shared.iterdir()]
    assert sum(store.identity.n_shards for store in stores) == len(written) > len(stores) == len(STORES)
    done = semconv_cli("encode", suite, "--out", tmp_path / "two", "--stores", shared)
    assert done.returncode == 0, done.stderr
    assert {shard: shard.stat().st_mtime_ns for shard in shared.rglob("shard-*")} == written


def tasks_of(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (run / "tasks").iterdir()}


@pytest.mark.slow
@requires_models
def test_a_study_shared_by_processes_is_the_study_of_one(suite: Path, tmp_path: Path):
    """Under torchrun, as an array of shards that begin one after another, by Dask, and alone: the same bytes."""
    runs = {how: tmp_path / how for how in ("alone", "torchrun", "array", "dask")}
    for run in runs.values():
        assert semconv_cli("encode", suite, "--out", run).returncode == 0
    ended = as_by_torchrun(2, "run-tasks", suite, "--out", runs["torchrun"], "--memory", "0.001")
    assert [one.code for one in ended] == [0, 0], ended
    assert sum(one.out.count("All tasks are finished") for one in ended) == 1
    for shard in ("2/3", "0/3"):  # the first to come does everything, and the next finds it done
        done = semconv_cli("run-tasks", suite, "--out", runs["array"], "--shard", shard)
        assert done.returncode == 0, done.stderr
    done = subprocess.run(
        [sys.executable, DASK, str(suite), "--out", str(runs["dask"]), "--workers", "2", "--memory", "0.001"],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("All tasks are finished")
    shared = {how: tasks_of(run) for how, run in runs.items() if how != "alone"}
    assert shared["torchrun"] == shared["array"] == shared["dask"]
    for run in runs.values():
        assert semconv_cli("reproduce", suite, "--out", run).returncode == 0
    whole = {how: tasks_of(run) for how, run in runs.items()}
    assert whole["alone"] == whole["torchrun"] == whole["array"] == whole["dask"]
    assert shared["array"].items() <= whole["array"].items()
    assert {"grid.0x2.observed.safetensors", "grid.1x2.rematch.0.safetensors"} <= shared["array"].keys()
    results = {how: (run / "results.json").read_bytes() for how, run in runs.items()}
    assert results["alone"] == results["torchrun"] == results["array"] == results["dask"]


def test_dask_without_workers_or_stores_is_one_sentence(suite: Path, tmp_path: Path):
    command = [sys.executable, DASK, str(suite), "--out", str(tmp_path / "new"), "--workers", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"dask_tasks: semconv: {tmp_path / 'new'} holds no stores")


@pytest.mark.slow
@requires_models
def test_tasks_find_shared_stores_when_told_their_folder(suite: Path, tmp_path: Path):
    fast = suite, "--out", tmp_path / "run", "--stores", tmp_path / "shared"
    assert semconv_cli("encode", *fast).returncode == 0
    done = semconv_cli("run-tasks", suite, "--fast", "--out", tmp_path / "run")
    assert done.returncode == 2
    assert "are shared with other runs: give --stores" in done.stderr
    done = semconv_cli("run-tasks", "--fast", *fast)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "tasks" / "grid.0x2.observed.safetensors").exists()
    assert str(tmp_path) not in (tmp_path / "run" / "stores.json").read_text()


@requires_models
def test_tasks_without_stores_say_what_to_run_first(suite: Path, tmp_path: Path):
    done = semconv_cli("run-tasks", suite, "--out", tmp_path / "new")
    assert done.returncode == 2
    assert done.stderr.startswith(f"semconv: {tmp_path / 'new'} holds no stores: run `semconv encode` with this folder")
    assert not (tmp_path / "new").exists()
    done = semconv_cli("run-tasks", suite, "--out", tmp_path / "new", "--shard", "2/2")
    assert done.returncode == 2
    assert done.stderr == "semconv: a shard must be I/N with 0 <= I < N, got 2/2\n"


@requires_models
def test_reproduce_under_torchrun_says_what_to_run(suite: Path, tmp_path: Path):
    done = semconv_cli("reproduce", suite, "--out", tmp_path, env={"WORLD_SIZE": "2"})
    assert done.returncode == 2
    assert "torchrun runs `semconv encode`" in done.stderr
