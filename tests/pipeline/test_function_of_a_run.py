"""What a run says of the function of features: against the models themselves, with plain NumPy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from semconv.core.activation_store import ActivationStore
from semconv.matching.joint_positions import joint_positions
from semconv.models.decoders import decoder_rows
from semconv.models.sources import tokenizer_file
from semconv.pipeline.reproduce import load_blocks
from semconv.runs.pairs_table import read_pairs
from semconv.runs.run import Run
from semconv.runs.task_cache import FinishedTasks
from semconv.statistics.resampling import document_starts, halves
from semconv.study.function_observations import FunctionObservation, LensObservation, RulesObservation
from semconv.study.matching_rules import RULES
from semconv.study.position_observations import BESIDE, KINDS, PositionKindsObservation
from semconv.study.task_names import function_task, lens_task, position_kinds_task, rules_task
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
    from semconv.models.whole_models import Size, load_whole, size_of

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
    cpu = torch.device("cpu")
    assert size_of(run.suite.model_a, cpu) == Size(0, 0, 400)  # stored in float32 and mapped
    of_twin, of_head = (size_of(replace(run.suite.model_a, untrained_seed=0), cpu, n) for n in (None, 1))
    held = {id(tensor): tensor for tensor in (*one.parameters(), *one.buffers())}
    assert of_head.held < of_twin.held  # without its second block
    assert of_twin == Size(4 * sum(tensor.numel() for tensor in held.values()), 0, 400)


def effect(run: Run, model: ModelConfig, label: str, feature: int, place: tuple[int, int], ids: torch.Tensor) -> Any:
    """Log-softmax after less before the feature's activation times its row is taken away, by two full passes."""
    from transformers import AutoModelForCausalLM

    network: Any = AutoModelForCausalLM.from_pretrained(model.path, attn_implementation="eager")
    row, position = place
    store = ActivationStore(run.store_path(model, model.by_label[label])).load()
    dense = torch.zeros(ids.shape, dtype=torch.float32)
    mask = load_blocks(run)[0].mask
    dense[mask] = store.to_dense()[:, feature].float()
    direction = torch.from_numpy(decoder_rows(run.decoder_path(model, model.by_label[label]))[feature])

    def taken(_module: Any, _args: Any, output: Any) -> Any:
        hidden = output[0] if isinstance(output, tuple) else output
        hidden = hidden.clone()
        hidden[0, position] -= dense[row, position] * direction
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    with torch.inference_mode():
        before = network(input_ids=ids[row : row + 1].long()).logits[0, position].log_softmax(-1)
        network.model.layers[int(label)].register_forward_hook(taken)
        after = network(input_ids=ids[row : row + 1].long()).logits[0, position].log_softmax(-1)
    return (after - before).double().numpy()


def test_partners_agree_as_two_full_forward_passes_say(run: Run):
    """Of one pair: where it is ablated, and the mean correlation of the effects as they are."""
    suite, blocks = run.suite, load_blocks(run)[0]
    run.read_places()
    found = FinishedTasks(run.folder / "tasks").read_as(FunctionObservation, function_task("0x2"))
    pair = int(np.flatnonzero(found.positions > 0)[0])
    stores = [
        ActivationStore(run.store_path(model, model.by_label[label])).load()
        for model, label in ((suite.model_a, "0"), (suite.model_b, "2"))
    ]
    starts = document_starts(blocks)
    documents = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, blocks.n_tokens)))
    held_out = halves(starts, blocks.n_tokens, suite.null.seed)[1].numpy()
    of_pair = found.a[pair : pair + 1], found.b[pair : pair + 1]
    contexts, how = blocks.mask.nonzero()[:, 0].numpy(), {"n_uniform": 4, "fewest": 4, "seed": 0}
    at = joint_positions((stores[0], stores[1]), of_pair, documents, held_out, contexts=contexts, **how)
    assert len(at) == found.positions[pair] == 4
    assert len(set(documents[at.token])) == 4
    places, n = blocks.mask.nonzero().tolist(), len(token_texts(load_tokenizer(tokenizer_file(suite.corpus))))
    r = list[float]()
    for token in at.token.tolist():
        x = effect(run, suite.model_a, "0", int(of_pair[0][0]), places[token], blocks.ids)[:n]
        y = effect(run, suite.model_b, "2", int(of_pair[1][0]), places[token], blocks.ids)[:n]
        r.append(float(np.corrcoef(x, y)[0, 1]))
    np.testing.assert_allclose(found.plain[pair, 0], np.mean(r), atol=1e-4)
    table = read_pairs(run.folder).to_pandas()
    row = table[(table.sae_a == "0") & (table.feature_a == of_pair[0][0]) & (table.feature_b == of_pair[1][0])]
    assert row.function_agreement.tolist() in ([], [found.residual[pair, 0]])
    others = table[table.sae_a == "1"]  # not of matching depth
    assert len(others)
    assert others.function_agreement.isna().all()


def test_pairs_of_rules_agree_as_the_same_pairs_do_that_were_ablated_alone(run: Run):
    """Positions are as many here, and depend on the pair alone, so its partner's agreement is the same."""
    tasks = FinishedTasks(run.folder / "tasks")
    found = tasks.read_as(RulesObservation, rules_task("0x2"))
    alone = tasks.read_as(FunctionObservation, function_task("0x2"))
    known = {(a, b): place for place, (a, b) in enumerate(zip(alone.a.tolist(), alone.b.tolist(), strict=True))}
    same = [(i, known[pair]) for i, pair in enumerate(zip(found.a, found.b, strict=True)) if pair in known]
    assert same
    for here, there in same:
        assert found.r[here] == pytest.approx(alone.r[there], abs=1e-12)
        np.testing.assert_allclose(found.residual[here], alone.residual[there], atol=1e-5)
    assert found.by.shape == (len(RULES), len(found.a))
    assert found.facts.matched["decoder_cosine"] > 0


def test_pairs_agree_at_drawn_positions_as_where_they_are_ablated_for_their_own_sake(run: Run):
    """As many positions of the same pairs; the strongest are others, and A's is elsewhere where its token stands."""
    tasks = FinishedTasks(run.folder / "tasks")
    found = tasks.read_as(PositionKindsObservation, position_kinds_task("0x2"))
    alone = tasks.read_as(FunctionObservation, function_task("0x2"))
    assert found.a.tolist() == alone.a.tolist()
    known = found.positions[:, KINDS.index("uniform")] > 0
    assert known.any()
    drawn, strongest, elsewhere, here = found.partner.T
    np.testing.assert_allclose(found.residual[known, 0], alone.residual[known, : len(BESIDE)], atol=1e-5)
    assert (found.documents[known] >= 8).all()
    assert not np.allclose(strongest[known], drawn[known], atol=1e-3)
    assert not np.allclose(here[np.isfinite(here)], elsewhere[np.isfinite(here)], atol=1e-3)
