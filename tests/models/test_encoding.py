"""Encoding a model: as many passes as memory asks for, the same stores whatever it holds; what is shown or refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from semconv import ActivationStore, InputError, SparseActivations
from semconv.models import encoding, memory_plan
from semconv.models.decoders import KeptDecoder
from semconv.models.encoding import check_model, encode_models
from semconv.models.roles import ModelOnText
from semconv.models.sae_metadata import SaeMetadata
from semconv.pipeline.reproduce import load_blocks
from semconv.runs.run import Run
from semconv.suite.config import SaeConfig, load_suite, resolve
from semconv.system import file_hashes
from semconv.text.token_blocks import TokenBlocks
from tests.conftest import requires_models


@requires_models
def test_one_pass_and_two_write_the_same_stores(tiny_suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    suite, stages = load_suite(tiny_suite), list[str]()
    stores: list[list[str]] = []
    positions = suite.encode.batch * suite.corpus.context
    # One SAE of 96 x 16 in float32 with the stream that it reads, and what encoding holds besides, as the plan says.
    held = 2 * 96 * 16 * 4 + positions * 16 * 4 + positions * 96 * 4 + 3 * positions * 16 * 4
    for name, room in (("one", 2**40), ("two", int((held + 99) / memory_plan.SHARE))):
        run = Run(suite, tmp_path / name, lambda stage, done, total: stages.append(stage))
        blocks = load_blocks(run)[0]
        monkeypatch.setattr(memory_plan, "free_memory", {torch.device("cpu"): room}.__getitem__)
        encode_models(run, [ModelOnText(suite.model_a, blocks)])
        stores.append([ActivationStore(run.store_path(suite.model_a, sae)).sha256 for sae in suite.model_a.saes])
    assert stores[0] == stores[1]
    assert {stage for stage in stages if "pass" in stage} == {"encode a, pass 1 of 2", "encode a, pass 2 of 2"}


@requires_models
@pytest.mark.parametrize(("dense", "total"), [(4 * 96 * 50, 2**40), (4 * 96 * 7, 2**40), (2**28, 2**18)])
def test_stores_are_the_same_bytes_whatever_is_held_at_once(
    dense: int, total: int, tiny_suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    suite, stages = load_suite(tiny_suite), list[str]()
    largest, usual = list[int](), SparseActivations.from_dense

    def compacting(x: torch.Tensor, *rest: object) -> SparseActivations:
        largest.append(4 * x.numel())
        return usual(x, *rest)

    for name in ("whole", "parts"):
        run = Run(suite, tmp_path / name, lambda stage, done, total: stages.append(stage))
        blocks = load_blocks(run)[0]
        encode_models(run, [ModelOnText(suite.model_a, blocks)])
        monkeypatch.setattr(memory_plan, "DENSE_BYTES", dense)
        monkeypatch.setattr(memory_plan, "total_memory", lambda device: total)
        monkeypatch.setattr(SparseActivations, "from_dense", compacting)
    assert max(largest) <= dense
    for sae in suite.model_a.saes:
        one, other = (tmp_path / name / "stores" / "a" / sae.place for name in ("whole", "parts"))
        assert [file.name for file in sorted(one.iterdir())] == [file.name for file in sorted(other.iterdir())]
        for file in one.glob("shard-*"):
            assert file.read_bytes() == (other / file.name).read_bytes()
        assert ActivationStore(one).sha256 == ActivationStore(other).sha256
    at_once = [stage for stage in stages if "at once" in stage]
    assert set(at_once) == ({f"encode a, 1 of {suite.encode.batch} rows at once"} if total < 2**40 else set())


@requires_models
def test_every_stage_is_shown_before_it_begins_and_a_model_is_hashed_once(
    tiny_suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    suite, read, usual = load_suite(tiny_suite), list[Path](), file_hashes._read
    told: list[tuple[str, int, int]] = []
    monkeypatch.setattr(file_hashes, "_read", lambda file, done: (read.append(file.resolve()), usual(file, done))[1])
    monkeypatch.setattr(file_hashes, "LARGE", 1)
    monkeypatch.setattr(file_hashes, "_GRANULARITY", -(10**10))  # the files were made long ago
    for folder in ("first", "first", "second"):
        run = Run(suite, tmp_path / folder, lambda *what: told.append(what))
        blocks = load_blocks(run)[0]
        check_model(suite.model_a, blocks, run.progress)
        encode_models(run, [ModelOnText(suite.model_a, blocks)])
        monkeypatch.setattr(file_hashes, "_known", {})
    assert len(read) == len(set(read))
    stages = list(dict.fromkeys(stage for stage, _, _ in told))
    assert [stage for stage in stages if stage != "hash text"] == [
        *("corpus", "read text", "tokenize", "SAEs of a", "hash a", "load a", "encode a")
    ]
    hashed = [(done, total) for stage, done, total in told if stage == "hash a"]
    size = hashed[0][1]  # of what was not hashed for the text
    assert size >= (resolve(suite.model_a.path) / "model.safetensors").stat().st_size
    assert (hashed[0], hashed[-1], hashed.count(hashed[0])) == ((0, size), (size, size), 1)
    encoded = [(done, total) for stage, done, total in told if stage == "encode a"]
    positions = blocks.ids.numel()
    assert encoded[0] == (0, positions)
    assert 0 < encoded[1][0] < positions
    assert (positions, positions) in encoded
    assert (1, 1) in encoded  # the second time everything is there
    assert ("tokenize", suite.corpus.max_tokens, suite.corpus.max_tokens) in told


@requires_models
def test_an_sae_of_another_width_is_refused_before_the_model_runs(tiny_suite: Path, tmp_path: Path):
    suite = load_suite(tiny_suite)
    other = SaeConfig("blocks.0.hook_resid_post", suite.model_b.saes[0].path)
    run = Run(suite, tmp_path)
    with pytest.raises(
        InputError, match=r"model a: SAE .*sae_b2 takes vectors of 24, and blocks.0.hook_resid_post gives 16"
    ):
        encode_models(run, [ModelOnText(replace(suite.model_a, saes=(other,)), load_blocks(run)[0])])
    assert not list(tmp_path.rglob("shard-*"))


def test_an_sae_that_is_active_almost_everywhere_is_refused_where_memory_would_not_hold_it(
    tiny_suite: Path, monkeypatch: pytest.MonkeyPatch
):
    model = load_suite(tiny_suite).model_a
    decoder = KeptDecoder("s", "0", (96, 16), SaeMetadata("jumprelu", 16, 96))

    def wanted(n_tokens: int) -> Any:
        ids = torch.zeros(1, n_tokens, dtype=torch.int32)
        text = TokenBlocks(ids, torch.ones(1, n_tokens, dtype=torch.bool), ids)
        return encoding._Wanted(ModelOnText(model, text), model.saes[0], decoder, Path())

    dense = SparseActivations.from_dense(torch.ones(4, 96))
    monkeypatch.setattr(encoding, "available_memory", lambda: 2**30)
    encoding._check_sparse(wanted(10**6), dense)
    with pytest.raises(
        InputError, match=r"sae_a0 of model a has 96 of 96 features active at a position; those of 2000000"
    ):
        encoding._check_sparse(wanted(2 * 10**6), dense)
