"""Attention sinks: found by the norm of the stream, and out of everything that is counted over positions."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from semconv import InputError
from semconv.models.sinks import dropped_positions, find_sinks, spans_without, without
from semconv.pipeline.encoded_sides import load_encoded
from semconv.pipeline.reproduce import encode_all, load_blocks, reproduce
from semconv.runs.run import Run
from semconv.suite.config import AlignConfig, SuiteConfig, load_suite
from semconv.system.shape import plain
from semconv.text.contexts import read_contexts
from semconv.text.spans import Spans, fixed_windows
from semconv.text.top_tokens import counted_ids
from tests._helpers.worlds import make_blocks
from tests.conftest import requires_models


@pytest.mark.parametrize(
    ("norms", "at", "share"),
    [
        ([1, 1, 1, 1, 11], [4], 121 / 125),
        ([1, 1, 1, 1, 10], [], 0.0),  # above, not at, ten medians
        ([2, 1, 3, 2, 2], [], 0.0),
        ([1, 30, 1, 20, 1, 1, 1], [1, 3], 1300 / 1305),
        ([0, 0, 0, 5, 9], [], 0.0),  # silent at most positions: nothing is usual here
        ([0, 0, 0, 0], [], 0.0),
    ],
)
def test_a_sink_is_above_the_multiple_of_the_median(norms: list[float], at: list[int], share: float):
    found = find_sinks(torch.tensor(norms, dtype=torch.float32), 10.0)
    assert found.at.nonzero()[:, 0].tolist() == at
    assert found.n == len(at)
    assert found.norm_share == pytest.approx(share, rel=1e-12)


def test_norms_near_the_top_of_float32_do_not_overflow_in_the_share():
    found = find_sinks(torch.tensor([1.0, 1.0, 3e30]), 10.0)
    assert found.norm_share == 1.0


def test_sinks_of_any_stream_are_dropped_from_the_text():
    blocks = make_blocks([20, 9, 14])
    some = [find_sinks(torch.ones(43).index_fill(0, torch.tensor(at), 99.0), 10.0) for at in ([0, 7], [7, 42])]
    dropped, of_b = dropped_positions((some[:1], some[1:]), shared=True)
    assert torch.equal(dropped, of_b)
    apart = dropped_positions((some[:1], some[1:]), shared=False)
    assert [one.nonzero()[:, 0].tolist() for one in apart] == [[0, 7], [7, 42]]
    kept = without(blocks, dropped)
    assert kept.n_tokens == 40
    assert torch.equal(kept.ids, blocks.ids)
    assert kept.document[kept.mask].tolist() == [
        d for i, d in enumerate([0] * 20 + [1] * 9 + [2] * 14) if i not in (0, 7, 42)
    ]
    assert (kept.document[~kept.mask] == -1).all()
    assert blocks.n_tokens == 43
    assert (
        len(torch.unique(kept.runs())) == len(torch.unique(blocks.runs())) + 1
    )  # 7 lies within a run, 0 and 42 at ends
    with pytest.raises(InputError, match="no position is left of 43 without attention sinks"):
        without(blocks, torch.ones(43, dtype=torch.bool))


def test_spans_that_hold_a_sink_on_either_side_are_left_out():
    a = fixed_windows(make_blocks([12]), 3)
    b = Spans(torch.tensor([0, 1, 2, 7]), torch.tensor([1, 2, 7, 8]), a.document, 8)
    of_a, of_b = torch.zeros(12, dtype=torch.bool), torch.zeros(8, dtype=torch.bool)
    of_a[2], of_b[6] = True, True
    (one, other), n = spans_without((a, b), (of_a, of_b))
    assert n == 2
    assert one.starts.tolist() == [3, 9]
    assert other.starts.tolist() == [1, 7]
    assert (one.n_tokens, other.n_tokens) == (12, 8)
    with pytest.raises(InputError, match="every one of 4 shared spans holds an attention sink"):
        spans_without((a, b), (torch.ones(12, dtype=torch.bool), of_b))


SINK = " matrix"  # the word whose embedding is made a thousand times as long, in model A alone


@pytest.fixture(scope="module")
def planted(tiny_suite: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[SuiteConfig, int]:
    """The tiny suite where one token of A is a sink, as few draws as there can be; and the id of the token."""
    from safetensors.torch import load_file, save_file
    from tokenizers import Tokenizer

    folder = Path(shutil.copytree(tiny_suite.parent, tmp_path_factory.mktemp("planted") / "suite"))
    token = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(SINK, add_special_tokens=False).ids
    assert len(token) == 1
    weights = load_file(folder / "model_a" / "model.safetensors")
    weights["model.embed_tokens.weight"][token[0]] *= 1000
    save_file(weights, folder / "model_a" / "model.safetensors", {"format": "pt"})
    suite = folder / "tiny.toml"
    suite.write_text(tiny_suite.read_text().replace(str(tiny_suite.parent), str(folder)))
    loaded = load_suite(suite)
    null = replace(loaded.null, n_permutations=9, n_rematch=0, n_bootstrap=0)
    return replace(loaded, null=null, match=replace(loaded.match, sink_norm=10.0)), token[0]


@pytest.mark.slow
@requires_models
def test_sinks_of_one_model_count_for_nobody(planted: tuple[SuiteConfig, int], tmp_path: Path):
    suite, sink = planted
    run = Run(suite, tmp_path)
    blocks = load_blocks(run)
    found = load_encoded(run, run.workplace(), blocks, encode_all(run, blocks))
    n_all, of_sink = blocks[0].n_tokens, int((counted_ids(blocks[0]) == sink).sum())
    assert of_sink > 20
    assert sink not in counted_ids(found.blocks[0])
    assert found.blocks[0].n_tokens == n_all - of_sink
    assert plain(found.sinks) == {
        "multiple": 10.0,
        "excluded": True,
        "positions_a": of_sink,
        "positions_b": of_sink,
        "spans": 0,
    }
    encoded = found.encoded
    sides = [*encoded.sides_a, *encoded.sides_b, *(side for pair in encoded.controls.values() for side in pair)]
    read = [side.read() for side in sides]
    assert {side.n_tokens for side in sides} == {side.acts.n_tokens for side in read} == {n_all - of_sink}
    assert {len(side.documents) for side in read if side.documents is not None} == {n_all - of_sink}
    assert encoded.published is not None
    published = [side.read().acts.n_tokens for side in (*encoded.published.shifted, *encoded.published.everywhere)]
    assert published == [blocks[0].mask.numel()] * 4
    assert found.starts[-1] < n_all - of_sink
    facts_a, facts_b = found.activity
    assert [facts.sinks for facts in facts_a] == [of_sink] * 2
    assert all((facts.sinks_norm_share or 0) > 0.9 for facts in facts_a)
    assert [(facts.sinks, facts.sinks_norm_share) for facts in facts_b] == [(0, 0.0)]
    assert facts_a[0].l0 == read[0].acts.l0


@pytest.mark.slow
@requires_models
def test_a_run_without_sinks_is_not_that_with_them(planted: tuple[SuiteConfig, int], tmp_path: Path):
    """Also not where an earlier run that kept them has left its tasks."""
    suite, _ = planted
    with_sinks = replace(suite, match=replace(suite.match, sink_norm=0.0), published=None, controls=())
    kept = plain(reproduce(Run(with_sinks, tmp_path)))
    in_contexts = [c["token"] for c in read_contexts(tmp_path).to_pylist()]
    assert SINK in in_contexts
    assert kept["corpus"]["sinks"]["excluded"] is False
    assert [w for w in kept["warnings"] if "attention sinks" in w and "Such positions count, and features" in w]
    assert kept["corpus"]["sinks"]["positions_a"] > 20
    assert kept["model_a"]["saes"]["0"]["sinks"] == kept["corpus"]["sinks"]["positions_a"]
    without = Run(replace(suite, published=None, controls=()), tmp_path)
    with pytest.raises(InputError, match="holds the stream of another model, text or sample; remove it"):
        reproduce(without)  # other positions are sampled without sinks
    shutil.rmtree(tmp_path / "streams")
    left = plain(reproduce(without))
    assert SINK not in [c["token"] for c in read_contexts(tmp_path).to_pylist()]
    n_sinks = left["corpus"]["sinks"]["positions_a"]
    assert [w for w in left["warnings"] if w.startswith(f"{n_sinks} positions") and "are left out" in w]
    assert left["corpus"]["n_tokens"] == kept["corpus"]["n_tokens"] - n_sinks
    assert left["corpus"]["tokens_sha256"] == kept["corpus"]["tokens_sha256"]
    for key in ("matches_sha256", "split_half", "measures"):
        assert left["grid"]["1x2"][key] != kept["grid"]["1x2"][key]
    assert left["spans"]["grid"]["1x2"] != kept["spans"]["grid"]["1x2"]
    assert left["spans"]["n_spans"] > kept["spans"]["n_spans"] / 2


@requires_models
def test_aligned_spans_that_hold_a_sink_are_left_out(planted: tuple[SuiteConfig, int], tmp_path: Path):
    suite, _ = planted
    align = AlignConfig(suite.corpus.tokenizer, how="max")
    null = replace(suite.null, n_same_token=None)
    run = Run(replace(suite, controls=(), spans=None, published=None, function=None, null=null, align=align), tmp_path)
    blocks = load_blocks(run)
    found = load_encoded(run, run.workplace(), blocks, encode_all(run, blocks))
    n_sinks = found.sinks.spans
    assert n_sinks == found.sinks.positions_a > 20  # with one tokenizer on both sides a span is a token
    assert found.sinks.positions_b == 0
    assert found.encoded.sides_a[0].read().acts.n_tokens == blocks[0].n_tokens - n_sinks
    assert found.blocks[0].n_tokens == blocks[0].n_tokens
