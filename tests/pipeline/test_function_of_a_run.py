"""What a run says of the function of features: against the models themselves, with plain NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from semconv.models.decoders import decoder_rows
from semconv.models.sources import tokenizer_file
from semconv.runs.pairs_table import read_pairs
from semconv.runs.run import Run
from semconv.runs.task_cache import FinishedTasks
from semconv.study.function_observations import LensObservation
from semconv.study.task_names import lens_task
from semconv.suite.config import ModelConfig, load_suite
from semconv.text.tokenizer import load_tokenizer
from semconv.text.top_tokens import token_texts
from tests.conftest import requires_models

pytestmark = requires_models


@pytest.fixture(scope="module")
def run(tiny_suite: Path, tiny_run: Path) -> Run:
    return Run(load_suite(tiny_suite), tiny_run)


def lens(run: Run, model: ModelConfig, label: str, features: np.ndarray) -> np.ndarray:
    """Final norm and head of the decoder rows, written out; float64 [n, V]."""
    from transformers import AutoModelForCausalLM

    network: Any = AutoModelForCausalLM.from_pretrained(model.path)
    rows = decoder_rows(run.decoder_path(model, model.by_label[label]))[features].astype(float)
    gain = 1 + network.model.norm.weight.detach().double().numpy()
    head = network.get_output_embeddings().weight.detach().double().numpy()
    return (gain * rows / np.sqrt((rows**2).mean(axis=1, keepdims=True) + 1e-6)) @ head.T


def test_every_pair_has_the_tokens_that_its_decoder_rows_promote_and_suppress(run: Run):
    texts = token_texts(load_tokenizer(tokenizer_file(run.suite.corpus)))
    table, n = read_pairs(run.folder).to_pandas(), 0
    for (a, b), pairs in table.groupby(["sae_a", "sae_b"]):
        x = lens(run, run.suite.model_a, a, pairs.feature_a.to_numpy())[:, : len(texts)]
        y = lens(run, run.suite.model_b, b, pairs.feature_b.to_numpy())[:, : len(texts)]
        for logits, side in ((x, "a"), (y, "b")):
            order = np.argsort(-logits, axis=1)
            wanted = [[texts[i] for i in row[:4]] for row in order]
            assert [list(row) for row in pairs[f"promoted_{side}"]] == wanted
            wanted = [[texts[i] for i in row[::-1][:4]] for row in order]
            assert [list(row) for row in pairs[f"suppressed_{side}"]] == wanted
        r = [np.corrcoef(p, q)[0, 1] for p, q in zip(x, y, strict=True)]
        np.testing.assert_allclose(pairs.lens_agreement, r, atol=1e-5)
        found = FinishedTasks(run.folder / "tasks").read_as(LensObservation, lens_task(f"{a}x{b}"))
        tops = [[set(np.argsort(-z)[:4]) for z in side] for side in (x, y)]
        shares = [len(p & q) / 4 for p, q in zip(*tops, strict=True)]
        np.testing.assert_allclose(found.agreement[:, 1], shares)
        n += len(pairs)
    assert n == len(table) > 20


def test_copies_of_a_network_share_weights_and_no_hooks(run: Run):
    from semconv.models.whole_models import load_whole, size_of

    shared = load_whole(run.suite.model_a, torch.device("cpu"))
    one, other = shared.copy(), shared.copy()
    calls = list[str]()

    def called(*_: Any) -> None:
        calls.append("one")

    one.get_submodule("model.layers.0").register_forward_hook(called)
    ids = torch.tensor([[3, 4, 5]])
    with torch.inference_mode():
        logits = [network(input_ids=ids).logits for network in (one, other)]
    assert calls == ["one"]
    assert torch.equal(*logits)
    weights = [dict(network.named_parameters()) for network in (one, other)]
    assert all(weights[0][name] is weights[1][name] for name in weights[0])
    n_bytes, vocab_size = size_of(Path(run.suite.model_a.path))
    held = {id(tensor): tensor for tensor in (*one.parameters(), *one.buffers())}
    assert size_of(Path(run.suite.model_a.path), 1)[0] < n_bytes  # without its second block
    assert (n_bytes, vocab_size) == (4 * sum(tensor.numel() for tensor in held.values()), 400)
