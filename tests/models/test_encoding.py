"""Encoding a model: as many passes as memory asks for, the same stores from any number; what does not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from semconv import ActivationStore, InputError, SparseActivations
from semconv.models import encoding
from semconv.models.encoding import encode_model, plan_passes
from semconv.pipeline.reproduce import load_blocks
from semconv.runs.run import Run
from semconv.suite.config import SaeConfig, load_suite
from tests.conftest import requires_models


@pytest.mark.parametrize(
    ("sizes", "room", "passes"),
    [
        ([3, 3, 3], 9, [range(0, 3)]),
        ([3, 3, 3], 8, [range(0, 2), range(2, 3)]),
        ([5, 1, 4, 2], 6, [range(0, 2), range(2, 4)]),
        ([6], 6, [range(0, 1)]),
    ],
)
def test_as_few_passes_as_the_room_allows(sizes: list[int], room: int, passes: list[range]):
    assert plan_passes(sizes, room) == passes


def test_an_sae_larger_than_the_room_is_refused():
    with pytest.raises(InputError, match=r"one SAE takes 2.0 GiB, the device has 1.0 GiB for it"):
        plan_passes([2**20, 2**31], 2**30)


@requires_models
def test_one_pass_and_two_write_the_same_stores(tiny_suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    suite, stages = load_suite(tiny_suite), list[str]()
    stores: list[list[str]] = []
    chunk = 4 * suite.encode.batch * suite.corpus.context * 96
    one = int((2 * 96 * 16 * 4 + chunk + 99) / encoding.SHARE)  # room for one SAE of 96 x 16 in float32, and its chunk
    for name, room in (("one", 2**40), ("two", one)):
        run = Run(suite, tmp_path / name, lambda stage, done, total: stages.append(stage))
        blocks = load_blocks(run)[0]
        monkeypatch.setattr(encoding, "free_memory", {torch.device("cpu"): room}.__getitem__)
        encode_model(run, suite.model_a, blocks)
        stores.append([ActivationStore(run.store_path(suite.model_a, sae)).sha256 for sae in suite.model_a.saes])
    assert stores[0] == stores[1]
    assert {stage for stage in stages if "pass" in stage} == {"encode a, pass 1 of 2", "encode a, pass 2 of 2"}


@requires_models
def test_an_sae_of_another_width_is_refused_before_the_model_runs(tiny_suite: Path, tmp_path: Path):
    suite = load_suite(tiny_suite)
    other = SaeConfig("blocks.0.hook_resid_post", suite.model_b.saes[0].path)
    run = Run(suite, tmp_path)
    with pytest.raises(
        InputError, match=r"model a: SAE .*sae_b2 takes vectors of 24, and blocks.0.hook_resid_post gives 16"
    ):
        encode_model(run, replace(suite.model_a, saes=(other,)), load_blocks(run)[0])
    assert not list(tmp_path.rglob("shard-*"))


def test_an_sae_that_is_active_almost_everywhere_is_refused_where_memory_would_not_hold_it(
    tiny_suite: Path, monkeypatch: pytest.MonkeyPatch
):
    model = load_suite(tiny_suite).model_a
    dense = SparseActivations.from_dense(torch.ones(4, 96))
    monkeypatch.setattr(encoding, "available_memory", lambda: 2**30)
    encoding._check_sparse(model, model.saes[0], dense, 10**6)
    with pytest.raises(
        InputError, match=r"sae_a0 of model a has 96 of 96 features active at a position; those of 2000000"
    ):
        encoding._check_sparse(model, model.saes[0], dense, 2 * 10**6)
