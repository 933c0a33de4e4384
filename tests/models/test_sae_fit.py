"""How well SAEs fit: variance and loss as plain torch computes them; identity is 1, zeros are 0, misplaced is low."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import semconv.models.fitting
from semconv import InputError, TokenBlocks
from semconv.models import memory_plan
from semconv.models.fitting import reader_of
from semconv.models.model_activations import streams
from semconv.models.sae_fit import Reader, Variance, explained_variances, losses, sample
from semconv.models.splicing import next_token_loss, spliced, targets, why_not_spliced
from semconv.pipeline.encoded_sides import load_encoded, measure_fits
from semconv.pipeline.facts_read import fit_facts
from semconv.pipeline.reproduce import encode_all, load_blocks
from semconv.runs.run import Run
from semconv.runs.task_cache import TaskCache
from semconv.study.result_warnings import EXPLAINED, warnings_of
from semconv.suite.config import SaeConfig, load_suite
from tests._helpers.made_up import results
from tests.conftest import requires_models

pytestmark = requires_models
HOOK = "blocks.1.hook_resid_post"
WIDTH = 16


def network(seed: int = 0, scale: float = 1.0) -> Any:
    """A tiny Llama; with a scale, its logits are not all alike."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=WIDTH,
        intermediate_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
        initializer_range=0.3 * scale,
        attn_implementation="eager",
    )
    return LlamaForCausalLM(config).eval()


def taught(model: Any, blocks: TokenBlocks) -> Any:
    """The model after some steps on the text itself, so that a stream taken out costs it something."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    model.train()
    for _ in range(40):
        loss = model(input_ids=blocks.ids.long(), labels=blocks.ids.long()).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def text(n_seq: int = 6, context: int = 12) -> TokenBlocks:
    """Rows of a few words; the first position of each and a hole in the second row do not count."""
    ids = torch.randint(5, (n_seq, context), generator=torch.Generator().manual_seed(1), dtype=torch.int32)
    ids[:, 1::2] = ids[:, 0::2] + 5
    mask = torch.ones(n_seq, context, dtype=torch.bool)
    mask[:, 0] = mask[1, 4:6] = False
    return TokenBlocks(ids, mask, torch.where(mask, torch.arange(n_seq)[:, None].expand(-1, context), -1).int())


class Sae(torch.nn.Module):
    """Stands for an SAE: what it makes of a stream is a function."""

    dtype = torch.float32

    def __init__(self, make: Any) -> None:
        super().__init__()
        self.make = make

    def forward(self, x: Tensor) -> Tensor:
        return self.make(x)


def reader(make: Any, hook: str = HOOK, hook_out: str | None = None) -> Reader:
    return Reader(Sae(make), hook, hook if hook_out is None else hook_out)  # pyright: ignore


IDENTITY, ZERO, HALF = (lambda x: x), torch.zeros_like, (lambda x: 0.5 * x)


@pytest.fixture(scope="module")
def model() -> Any:
    return taught(network(), text())


def hidden(model: Any, blocks: TokenBlocks, block: int) -> Tensor:
    with torch.no_grad():
        return model(input_ids=blocks.ids.long(), output_hidden_states=True).hidden_states[block + 1]


def test_variance_is_that_of_the_whole_sample_whatever_the_batch(model: Any):
    blocks = text()
    kept = blocks.mask.clone()
    kept[0, 3] = kept[4, 1] = False
    stream = hidden(model, blocks, 1)

    def expected(at: Tensor) -> float:
        x = stream[at].double()
        return float(1 - (0.5 * x).square().sum() / (x - x.mean(dim=0)).square().sum())

    for batch in (1, 4, 100):
        found = explained_variances(model, {"half": reader(HALF)}, blocks, kept, batch)["half"]
        assert found["tokens"] == int(kept.sum())
        assert found["explained_variance"] == pytest.approx(expected(kept), abs=1e-6)
        assert found["explained_variance_with_sinks"] == pytest.approx(expected(blocks.mask), abs=1e-6)


def test_a_reconstruction_is_the_same_in_pieces(monkeypatch: pytest.MonkeyPatch):
    stream, weights = torch.randn(2, 50, WIDTH, generator=torch.Generator().manual_seed(0))
    sizes: list[int] = []

    def sae(part: Tensor) -> Tensor:
        sizes.append(len(part))
        return part @ weights[:WIDTH]

    whole = replace(reader(sae), d_sae=96).found(stream)
    monkeypatch.setattr(memory_plan, "DENSE_BYTES", 4 * 96 * 20)
    assert torch.equal(replace(reader(sae), d_sae=96).found(stream), whole)
    assert sizes == [50, 17, 17, 16]


def test_identity_explains_all_the_mean_nothing_and_another_stream_less(model: Any):
    blocks = text()
    stream = hidden(model, blocks, 1)[blocks.mask]
    mean, shift = stream.mean(dim=0), 3 * stream.std(dim=0)
    readers = {
        "identity": reader(IDENTITY),
        "mean": reader(lambda x: mean.expand_as(x)),
        "elsewhere": reader(lambda x: x + shift),  # as one that was trained where the stream has another mean
    }
    found = explained_variances(model, readers, blocks, blocks.mask, 2)
    assert found["identity"]["explained_variance"] == 1.0
    assert found["mean"]["explained_variance"] == pytest.approx(0.0, abs=1e-6)
    assert found["elsewhere"]["explained_variance"] < 0


def test_an_sae_at_another_place_than_its_own_explains_little_and_is_warned_of(model: Any):
    """It knows the mean and the main directions of one stream, as a trained SAE does; another stream has others."""
    own, other, blocks = "blocks.0.hook_attn_out", "blocks.0.hook_resid_post", text()
    stream = streams(model, blocks.ids, [own])[own][blocks.mask]
    mean, main = stream.mean(dim=0), torch.linalg.svd(stream - stream.mean(dim=0)).Vh[:5]

    def of_the_attention(x: Tensor) -> Tensor:
        return mean + (x - mean) @ main.T @ main

    readers = {label: reader(of_the_attention, hook) for label, hook in (("0", own), ("1", other))}
    found = explained_variances(model, readers, blocks, blocks.mask, 3)
    assert found["0"]["explained_variance"] > 0.9
    assert found["1"]["explained_variance"] < EXPLAINED
    made = results()
    fits = {label: replace(sae, fit=fit_facts(found[label])) for label, sae in made.model_a.saes.items()}
    made = replace(made, model_a=replace(made.model_a, saes=fits))
    told = warnings_of(made)
    assert len(told) == 1
    assert "is explained by SAE small/1 (" in told[0]


def test_a_transcoder_is_measured_at_what_it_predicts(model: Any):
    """The MLP itself is the best transcoder there is."""
    blocks = text()
    mlp = copy.deepcopy(model.model.layers[1].mlp)
    readers = {"mlp": reader(mlp, "layers.1.mlp.input", "blocks.1.hook_mlp_out")}
    found = explained_variances(model, readers, blocks, blocks.mask, 2)["mlp"]
    assert found["explained_variance"] == pytest.approx(1.0, abs=1e-6)
    loss = losses(model, readers, blocks, blocks.mask)["mlp"]
    assert loss["sae"] == pytest.approx(loss["clean"], abs=1e-6)


def test_a_stream_that_does_not_vary_has_no_explained_variance():
    sums = Variance()
    assert sums.explained is None
    sums.add(torch.ones(4, 3), torch.zeros(4, 3))
    assert sums.explained is None


def test_a_sample_is_of_rows_spread_over_the_text():
    blocks = text(n_seq=20)
    kept = blocks.mask.clone()
    kept[1:, 5] = False
    for n_tokens, rows in ((1, [0, 6, 12, 19]), (50, [0, 4, 9, 14, 19]), (9999, list(range(20)))):
        part, of_kept = sample(blocks, kept, n_tokens)
        assert torch.equal(part.ids, blocks.ids[rows])
        assert torch.equal(part.mask, blocks.mask[rows])
        assert torch.equal(of_kept, kept[rows])
        assert part.document[part.mask].unique().tolist() == rows
    assert len(sample(text(n_seq=2), text(n_seq=2).mask, 1)[1]) == 2


HOOKS = [HOOK, "blocks.1.hook_resid_pre", "blocks.0.hook_mlp_out", "blocks.2.hook_attn_out", "blocks.0.hook_mlp_in"]


@pytest.mark.parametrize("hook", [*HOOKS, "blocks.1.attn.hook_z", "blocks.1.mlp.hook_post", "layers.1.self_attn"])
def test_identity_recovers_all_of_the_loss_and_zero_nothing(model: Any, hook: str):
    blocks = text()
    found = losses(model, {"identity": reader(IDENTITY, hook), "zero": reader(ZERO, hook)}, blocks, blocks.mask)
    assert found["identity"]["tokens"] == int((blocks.mask[:, :-1] & blocks.mask[:, 1:]).sum())
    assert found["identity"]["sae"] == pytest.approx(found["identity"]["clean"], abs=1e-6)
    assert found["zero"]["sae"] == found["zero"]["zero"] > found["zero"]["clean"]
    assert found["identity"]["recovered"] == pytest.approx(1.0, abs=1e-5)
    assert found["zero"]["recovered"] == 0.0


def test_losses_are_those_of_a_loop_over_positions(model: Any):
    blocks = text()
    kept = blocks.mask.clone()
    kept[2, 5] = False  # a sink: it stays as it is, and neither it nor what comes before it is measured

    def plainly(replace: Any) -> float:
        def hook(_module: Any, _args: Any, output: Tensor) -> Tensor:
            out = output.clone()
            for row, place in kept.nonzero().tolist():
                out[row, place] = replace(output[row, place])
            return out

        handle = model.model.layers[1].register_forward_hook(hook)
        with torch.no_grad():
            logits = model(input_ids=blocks.ids.long()).logits.log_softmax(dim=-1)
        handle.remove()
        told = [
            -float(logits[row, place, int(blocks.ids[row, place + 1])])
            for row, place in kept.nonzero().tolist()
            if place + 1 < kept.shape[1] and kept[row, place + 1]
        ]
        return sum(told) / len(told)

    found = losses(model, {"half": reader(HALF)}, blocks, kept)["half"]
    for key, change in (("clean", IDENTITY), ("sae", HALF), ("zero", ZERO)):
        assert found[key] == pytest.approx(plainly(change), abs=1e-5)
    assert found["recovered"] == pytest.approx((found["zero"] - found["sae"]) / (found["zero"] - found["clean"]))


def test_the_same_twice_and_hooks_are_gone_after(model: Any):
    blocks = text()
    readers = {"half": reader(HALF), "zero": reader(ZERO)}
    first = losses(model, readers, blocks, blocks.mask)
    assert losses(model, readers, blocks, blocks.mask) == first
    at = targets(blocks.mask)
    clean = next_token_loss(model, blocks.ids, at)
    with spliced(model, HOOK, blocks.ids.shape, torch.zeros_like):
        assert next_token_loss(model, blocks.ids, at) != clean
    assert next_token_loss(model, blocks.ids, at) == clean


@pytest.mark.parametrize(
    ("hook", "reason"),
    [
        ("blocks.1.hook_resid_mid", "which it also passes by"),
        ("blocks.1.ln2.hook_normalized", "cannot be replaced apart from the norm's weights"),
    ],
)
def test_a_stream_that_cannot_be_replaced_has_a_reason_for_no_loss(model: Any, hook: str, reason: str):
    blocks = text()
    assert reason in why_not_spliced(model, hook)
    found = losses(model, {"x": reader(IDENTITY, hook)}, blocks, blocks.mask)["x"]
    assert set(found) == {"reason"}
    assert reason in found["reason"]
    variance = explained_variances(model, {"x": reader(IDENTITY, hook)}, blocks, blocks.mask, 3)["x"]
    assert variance["explained_variance"] == 1.0


def test_a_model_that_learned_nothing_has_no_loss_to_recover():
    """Random logits are worse than those of a stream of zeros, which are all alike."""
    blocks = text()
    found = losses(network(scale=3.0), {"x": reader(IDENTITY, "blocks.2.hook_resid_post")}, blocks, blocks.mask)["x"]
    assert "do not raise the loss" in found["reason"]
    none = torch.zeros_like(blocks.mask)
    none[0, 3] = True
    alone = losses(network(), {"x": reader(IDENTITY)}, blocks, none)["x"]
    assert alone == {"reason": "no position is followed by one that counts"}


def mirrored(width: int, **told: Any) -> Any:
    """An SAE of sae-lens that gives back what it takes: every direction and its opposite."""
    from sae_lens.saes.standard_sae import StandardSAE, StandardSAEConfig

    config = StandardSAEConfig(d_in=width, d_sae=2 * width, apply_b_dec_to_input=False)
    for key, value in told.items():
        config.metadata[key] = value
    sae, both = StandardSAE(config), torch.cat([torch.eye(width), -torch.eye(width)])
    sae.W_enc.data, sae.W_dec.data = both.T.contiguous(), both
    return sae


def fitted(model: Any, sae: Any, hook: str) -> tuple[dict[str, Any], dict[str, Any]]:
    blocks, of_sae = text(), {"x": reader_of(sae, SaeConfig(hook, "folder"), model)}
    variance = explained_variances(model, of_sae, blocks, blocks.mask, 4)["x"]
    return variance, losses(model, of_sae, blocks, blocks.mask)["x"]


def test_an_sae_of_one_head_stands_for_that_head_alone(model: Any):
    hook, width = "blocks.1.attn.hook_z", WIDTH // 2
    sae = mirrored(width, hook_name=hook, hook_head_index=1)
    variance, loss = fitted(model, sae, hook)
    assert variance["explained_variance"] == pytest.approx(1.0, abs=1e-9)
    assert loss["sae"] == pytest.approx(loss["clean"], abs=1e-6)
    at, blocks = text().mask, text()

    def without_head(_module: Any, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        out = args[0].clone()
        out[..., width:][at] = 0
        return (out,)

    handle = model.model.layers[1].self_attn.o_proj.register_forward_pre_hook(without_head)
    expected = next_token_loss(model, blocks.ids, targets(at)) / int(targets(at).sum())
    handle.remove()
    assert (loss.get("zero") or 0) == pytest.approx(expected, abs=1e-6)


def test_a_centred_stream_is_explained_centred_and_put_back_with_its_mean():
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(n_embd=WIDTH, n_head=2, n_layer=3, vocab_size=50, n_positions=16, attn_implementation="eager")
    model = taught(GPT2LMHeadModel(config), text())
    centred = {"hook_name": HOOK, "model_from_pretrained_kwargs": {"center_writing_weights": True}}
    variance, loss = fitted(model, mirrored(WIDTH, **centred), HOOK)
    assert variance["explained_variance"] == pytest.approx(1.0, abs=1e-9)
    assert loss["recovered"] == pytest.approx(1.0, abs=1e-5)
    none = mirrored(WIDTH, **centred)
    none.W_dec.data = torch.zeros_like(none.W_dec)
    blocks = text()
    stream = hidden(model, blocks, 1)[blocks.mask].double()
    stream = stream - stream.mean(dim=1, keepdim=True)
    left = stream.square().sum() / (stream - stream.mean(dim=0)).square().sum()
    assert fitted(model, none, HOOK)[0]["explained_variance"] == pytest.approx(float(1 - left), abs=1e-6)


@pytest.mark.parametrize(
    ("out", "d_out", "told"),
    [
        ("blocks.1.hook_mlp_out", WIDTH, ""),
        ("", WIDTH, "it predicts a stream that its metadata does not name, which is not read here"),
        ("blocks.7.hook_mlp_out", WIDTH, "it predicts blocks.7.hook_mlp_out, which is not read here"),
        ("blocks.1.mlp.hook_post", WIDTH, f"it predicts vectors of {WIDTH}, and blocks.1.mlp.hook_post gives 32"),
    ],
)
def test_a_transcoder_says_what_it_predicts_or_has_no_fit(model: Any, out: str, d_out: int, told: str):
    from sae_lens.saes.transcoder import Transcoder, TranscoderConfig

    config = TranscoderConfig(d_in=WIDTH, d_sae=64, d_out=d_out, apply_b_dec_to_input=False)
    config.metadata.hook_name, config.metadata.hook_name_out = "blocks.1.hook_mlp_in", out
    torch.manual_seed(0)
    sae = Transcoder(config)
    if told:
        with pytest.raises(InputError, match=f"^{told}$"):
            reader_of(sae, SaeConfig("blocks.1.hook_mlp_in", "folder"), model)
        return
    found = reader_of(sae, SaeConfig("blocks.1.hook_mlp_in", "folder"), model)
    assert (found.hook, found.hook_out) == ("blocks.1.hook_mlp_in", "blocks.1.hook_mlp_out")
    variance, loss = fitted(model, sae, "blocks.1.hook_mlp_in")
    assert variance["explained_variance"] < 0.5
    assert set(loss) == {"tokens", "clean", "sae", "zero", "recovered"}
    assert loss["recovered"] < 1


@pytest.mark.slow
def test_every_sae_of_a_run_is_fitted_once(tiny_suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A, B and the controls; kept like any task, so that nothing is loaded the second time."""
    run = Run(load_suite(tiny_suite), tmp_path)
    blocks = load_blocks(run)
    models = encode_all(run, blocks)
    loaded, cache = load_encoded(run, run.workplace(), blocks, models), TaskCache(tmp_path / "tasks")
    fits = measure_fits(run, cache, models, loaded)
    (twin_a, twin_b), (other_a, other_b) = fits.controls["twin"], fits.controls["other"]
    found = fits.a, fits.b, twin_a, twin_b, other_a, other_b
    assert [list(fit) for fit in found] == [["0", "1"], ["2"], ["1"], ["2"], ["0"], ["0"]]
    assert cache.used == {"fit.a", "fit.b", "fit.twin.a", "fit.twin.b"}  # both SAEs of the ceiling are, in bytes, A's
    assert other_a["0"] is other_b["0"] is fits.a["0"]
    for fit in (*fits.a.values(), *fits.b.values()):
        assert fit["tokens"] == blocks[0].n_tokens
        assert fit["explained_variance"] == fit["explained_variance_with_sinks"] < 1
        assert fit["loss"].get("recovered", 0) < 1
        assert set(fit["loss"]) in ({"reason"}, {"tokens", "clean", "sae", "zero", "recovered"})
    assert all("loss" not in fit for of_model in (twin_a, twin_b) for fit in of_model.values())

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a model was loaded although all is known")

    monkeypatch.setattr(semconv.models.fitting, "open_model", refuse)
    assert measure_fits(run, cache, models, loaded).every == fits.every


def test_the_fit_is_the_same_on_any_device(model: Any, device: str):
    blocks, there = text(), copy.deepcopy(model).to(device)
    readers = {"half": reader(HALF), "mlp": reader(HALF, "layers.1.mlp.input", "blocks.1.hook_mlp_out")}
    for measure, arguments in ((explained_variances, (3,)), (losses, ())):
        on_cpu, found = (measure(net, readers, blocks, blocks.mask, *arguments) for net in (model, there))
        for label, values in on_cpu.items():
            assert found[label] == pytest.approx(values, rel=1e-4), label
