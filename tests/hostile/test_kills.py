"""A run that is killed again and again, at any moment, and then left alone, is the run that was never killed."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests._helpers.forks import usual_forks
from tests._helpers.run_folders import files_of_run
from tests.conftest import requires_models
from tests.hostile.conftest import OUTCOMES

RUNS, KILLS = 5, 10  # of each test
TRIED, _, ACCEPTED, _, _ = OUTCOMES


@requires_models
@pytest.mark.parametrize("seed", range(4))
def test_runs_that_were_killed_are_the_run_that_was_not(
    seed: int, tiny_suite: Path, tmp_path: Path, record_property: Callable[[str, object], None]
):
    moments = random.Random(seed)

    def reproduce(name: str) -> list[str | Path]:
        claims = tiny_suite.with_name("claims.toml")
        return ["reproduce", tiny_suite, "--out", tmp_path / name, "--claims", claims]

    box = usual_forks()
    whole = box.run(reproduce("whole"), tmp_path, mib=8192, seconds=600)
    assert whole.code == 0, whole.err
    expected = files_of_run(tmp_path / "whole")
    for run in range(RUNS):
        name, killed = f"run-{run}", 0
        while killed < KILLS:
            ended = box.run(reproduce(name), tmp_path, mib=8192, seconds=moments.uniform(0, 0.7 * whole.seconds))
            assert ended.code in (0, None), ended.err
            killed += ended.code is None
            if ended.code == 0:  # finished before it could be killed often enough: from the beginning
                _assert_same(tmp_path / name, expected)
                shutil.rmtree(tmp_path / name)
        ended = box.run(reproduce(name), tmp_path, mib=8192, seconds=600)
        assert ended.code == 0, ended.err
        _assert_same(tmp_path / name, expected)
    record_property("hostile", ("kills", {TRIED: RUNS * KILLS, ACCEPTED: RUNS * KILLS}))


def _assert_same(folder: Path, expected: dict[str, bytes]) -> None:
    made = files_of_run(folder)
    assert sorted(made) == sorted(expected)
    assert [name for name in made if made[name] != expected[name]] == []
    assert not list(folder.rglob(".*partial*"))
