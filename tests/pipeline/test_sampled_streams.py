"""The streams of a run: those of the models, read once more and never again, and of no other text or sample."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from semconv.models import stream_files
from semconv.models.roles import suite_models
from semconv.pipeline import sampled_streams
from semconv.pipeline.encoded_sides import Loaded, load_encoded
from semconv.pipeline.reproduce import load_corpora
from semconv.pipeline.sampled_streams import with_streams
from semconv.runs.run import Run
from semconv.study.streams import SampledStreams
from semconv.suite.config import StreamsConfig, load_suite
from semconv.system.errors import InputError
from tests.conftest import requires_models

pytestmark = requires_models


@pytest.fixture(scope="module")
def run(tiny_suite: Path, tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run, in a folder that may be changed."""
    folder = tmp_path_factory.mktemp("streams") / "tiny"
    shutil.copytree(tiny_run, folder)
    found = Run(load_suite(tiny_suite), folder)
    found.read_places()
    return found


@pytest.fixture(scope="module")
def loaded(run: Run) -> Loaded:
    corpus, other = load_corpora(run)
    blocks = corpus.blocks, other.blocks
    return load_encoded(run, run.workplace(), blocks, suite_models(run.suite, blocks))


def streams_of(run: Run, loaded: Loaded) -> SampledStreams:
    found = with_streams(run, run.workplace(), loaded, suite_models(run.suite, loaded.blocks)).encoded.streams
    assert found is not None
    return found


def files(run: Run) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((run.folder / "streams").rglob("*.safetensors"))}


def never(*_: Any) -> None:
    raise AssertionError("a model was read again")


def test_streams_are_what_the_models_give_where_the_sample_says(
    run: Run, loaded: Loaded, tiny_suite: Path, monkeypatch: pytest.MonkeyPatch
):
    from transformers import AutoModelForCausalLM

    monkeypatch.setattr(sampled_streams, "write_streams", never)  # the run has kept them
    streams, text = streams_of(run, loaded), loaded.blocks[0]
    model = AutoModelForCausalLM.from_pretrained(tiny_suite.with_name("model_a"), attn_implementation="eager")
    rows = torch.from_numpy(streams.text.a.rows)
    assert 600 <= len(streams.text) < 600 + text.ids.shape[1]
    with torch.no_grad():
        wanted = model(text.ids[rows].long(), output_hidden_states=True).hidden_states[1]  # block 0
    # the same products in rows of other batches
    torch.testing.assert_close(streams.a[0].load(), wanted[text.mask[rows]], rtol=1e-5, atol=1e-5)
    assert [one.shape for one in (*streams.a, *streams.b)] == [(len(streams.text), width) for width in (16, 16, 24)]


def test_what_is_missing_or_damaged_is_made_again_and_nothing_else(
    run: Run, loaded: Loaded, monkeypatch: pytest.MonkeyPatch
):
    before, made = files(run), list[list[str]]()
    missing, damaged = (run.folder / "streams" / "a" / f"blocks.{i}.hook_resid_post.safetensors" for i in (0, 1))
    missing.unlink()
    damaged.write_bytes(b"no tensors")
    write = stream_files.write_streams

    def counted(*of: Any) -> None:
        made.append(sorted(of[-2]))
        write(*of)

    monkeypatch.setattr(sampled_streams, "write_streams", counted)
    streams_of(run, loaded)
    assert made == [["blocks.0.hook_resid_post", "blocks.1.hook_resid_post"]]
    (run.folder / "streams" / "a" / "vocabulary.safetensors").unlink()
    streams_of(run, loaded)
    assert made[1:] == [[]]
    assert files(run) == before
    assert not [path for path in (run.folder / "streams").iterdir() if path.name not in ("a", "b")]


def test_streams_of_another_sample_are_refused(run: Run, loaded: Loaded):
    other = replace(run, suite=replace(run.suite, streams=StreamsConfig(300, 50)))
    with pytest.raises(InputError, match="holds the stream of another model, text or sample; remove it, or choose"):
        streams_of(other, loaded)


def test_a_suite_without_streams_reads_none(run: Run, loaded: Loaded, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sampled_streams, "write_streams", never)
    none = replace(run, suite=replace(run.suite, streams=None))
    models = suite_models(none.suite, loaded.blocks)
    assert with_streams(none, none.workplace(), loaded, models) is loaded


def test_a_stream_that_is_not_finite_is_refused(run: Run, loaded: Loaded, monkeypatch: pytest.MonkeyPatch):
    from semconv.models import model_activations

    (run.folder / "streams" / "b" / "blocks.2.hook_resid_post.safetensors").unlink()
    monkeypatch.setattr(
        model_activations, "row_streams", lambda *of: {hook: torch.full((8, 32, 24), torch.inf) for hook in of[-1]}
    )
    with pytest.raises(InputError, match=r"model b gives a stream at blocks\.2\.hook_resid_post that is not finite"):
        streams_of(run, loaded)
    assert not (run.folder / "streams" / "b" / "blocks.2.hook_resid_post.safetensors").exists()
