"""The number of threads: every number of the statistics has the same bits for any, on the same stores."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from semconv.compare import MEASURES, make_measures
from semconv.runs.task_cache import TaskCache
from semconv.runs.tasks import Workplace
from semconv.study.observe import observe
from semconv.study.published_protocol import PublishedSides
from semconv.study.sides import Side
from semconv.study.tell import tell
from semconv.suite.config import CompareConfig, SpanConfig
from semconv.system.shape import plain
from semconv.system.side_by_side import side_by_side
from tests._helpers.worlds import make_world
from tests.conftest import requires_models, semconv_cli
from tests.study.test_observe_and_tell import small, stated, together

WORDS = [f"w{i}" for i in range(400)]
N_FEATURES = 400  # enough for the products of several threads to be rounded in another order


@contextmanager
def threads(n: int, of_blas: int) -> Generator[None]:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(n)
        with threadpool_limits(of_blas, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int, int], str]:
    """Compares a world by every measure, with every control and section, under some threads; returns the results."""
    world = make_world(3, N_FEATURES, N_FEATURES + 20, 300, WORDS)

    def wide(side: Side, d: int) -> Side:  # whole numbers, for a product of floats would itself depend on the threads
        rows = np.random.default_rng(d).integers(-9, 9, (len(side.decoder), d)).astype(float)
        return replace(side, decoder=rows + np.arange(len(rows))[:, None] % 7)

    a, b = wide(world.a, 96), wide(world.b, 192)
    other = replace(a, sae="3", decoder=a.decoder[::-1].copy())
    backwards = torch.arange(a.acts.n_tokens).flip(0)
    untrained = replace(a, model="u", store_sha256="u", acts=a.acts.tokens(backwards))
    seed = replace(a, model="a-seed1", store_sha256="a-seed1", decoder=a.decoder[:, ::-1] + a.decoder)
    a, other, b, untrained, seed = together(a, other, b, untrained, seed)
    suite, encoded = small(
        compare=CompareConfig(tuple(MEASURES), svcca_k=10, knn_k=5), spans=SpanConfig("windows", 4, "mean")
    )
    encoded = replace(
        encoded,
        blocks=world.blocks,
        sides_a=[a, other],
        sides_b=[b],
        controls={"untrained": (untrained, b)},
        published=PublishedSides((other, b), (a, b), (a, b)),
        texts=WORDS,
        seeds={"a-seed1": [seed]},
    )
    measures = tuple(make_measures(tuple(MEASURES), svcca_k=10, knn_k=5))

    def compare(n: int, of_blas: int) -> str:
        folder = tmp_path_factory.mktemp("tasks")
        settings = world.settings((), measures, n_rematch=3, n_bootstrap=3, n_pair_halves=3)
        made = replace(suite, match=settings.match, null=settings.null)
        with threads(n, of_blas):
            observations = observe(made, settings, encoded, Workplace(TaskCache(folder)), lambda *_: None)
        results = tell(observations, made, stated(made))
        draws = {key: {k: v.tolist() for k, v in one.draws().items()} for key, one in observations.grid.items()}
        return json.dumps([plain(results), draws], sort_keys=True, indent=1)

    return compare


@pytest.mark.slow
@pytest.mark.parametrize(("n", "of_blas"), [(2, 2), (4, 4), (1, 4), (3, 1)])
def test_every_section_has_the_same_bytes(compared: Callable[[int, int], str], n: int, of_blas: int):
    one, several = compared(1, 1).splitlines(), compared(n, of_blas).splitlines()
    assert len(one) == len(several) > 2000
    assert [pair for pair in zip(one, several, strict=True) if pair[0] != pair[1]] == []


def _seen() -> tuple[int, set[int]]:
    return torch.get_num_threads(), {int(lib["num_threads"]) for lib in threadpool_info() if lib["user_api"] == "blas"}


@pytest.mark.parametrize("n", [1, 2, 4])
def test_a_task_has_one_thread_of_every_kind_and_the_threads_come_back(n: int):
    with threads(n, 4):
        before = _seen()
        found = side_by_side([_seen for _ in range(8)], on_cpu=True)
        assert found == [(1, {1})] * 8
        assert _seen() == before
        with pytest.raises(ZeroDivisionError):
            side_by_side([lambda: 1 // 0], on_cpu=True)
        assert _seen() == before
        assert side_by_side([_seen], on_cpu=False) == [before]


@requires_models
def test_results_on_the_same_stores_are_the_same_bytes_with_another_number_of_threads(
    tiny_run: Path, tiny_suite: Path, tmp_path: Path
):
    folder, claims = tmp_path / "run", tiny_suite.with_name("claims.toml")
    kept: Any = shutil.ignore_patterns("tasks", "results.json", "*.parquet", "figures", "index.html")
    shutil.copytree(tiny_run, folder, ignore=kept)
    another = "1" if torch.get_num_threads() > 1 else "3"
    env = {f"{library}_NUM_THREADS": another for library in ("OMP", "MKL", "OPENBLAS")}
    done = semconv_cli("reproduce", tiny_suite, "--out", folder, "--claims", claims, env=env)
    assert done.returncode == 0, done.stderr
    for name in ("results.json", "nulls.safetensors", "report.md"):
        assert (folder / name).read_bytes() == (tiny_run / name).read_bytes(), name
