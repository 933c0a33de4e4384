"""Models and SAEs: the right stream, every token once, the same bits from the middle as from the start."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from semconv import InputError, SparseActivations
from semconv.models.model_activations import load_model, streams
from semconv.models.sae_encode import encode, encode_stream
from semconv.models.sae_files import load_sae, read_metadata
from semconv.pipeline.reproduce import Run, load_corpus
from semconv.suite.config import load_suite, resolve
from semconv.suite.hooks import hook_layer, hook_name
from semconv.text.token_blocks import TokenBlocks
from tests.conftest import requires_models

pytestmark = requires_models


@pytest.fixture(scope="module")
def loaded(tiny_suite: Path, tmp_path_factory: pytest.TempPathFactory):
    suite = load_suite(tiny_suite)
    model = load_model(resolve(suite.model_a.path))
    saes = {sae.hook: load_sae(resolve(sae.path)) for sae in suite.model_a.saes}
    return model, saes, load_corpus(Run(suite, tmp_path_factory.mktemp("blocks"))).blocks


def test_hooks_give_block_outputs_and_stop_the_pass_after_the_last(loaded):
    model, _, blocks = loaded
    ids = blocks.ids[:4]
    with torch.no_grad():
        hidden = model(input_ids=ids.long(), output_hidden_states=True).hidden_states
    assert torch.equal(streams(model, ids, [hook_name(0)])[hook_name(0)], hidden[1])
    ran: list[int] = []
    handle = model.model.layers[1].register_forward_hook(lambda *_: ran.append(1))
    try:
        streams(model, ids, [hook_name(0)])
    finally:
        handle.remove()
    assert ran == []
    assert set(streams(model, ids, [hook_name(0), hook_name(1)])) == {hook_name(0), hook_name(1)}


def test_every_counted_token_is_encoded_once(loaded):
    model, saes, blocks = loaded
    position = 0
    for chunks in encode(model, saes, blocks, batch=7):
        assert [chunk.position for chunk in chunks.values()] == [position] * len(saes)
        position += next(iter(chunks.values())).acts.n_tokens
    assert position == blocks.n_tokens


def test_an_sae_with_a_mask_of_its_own_gives_what_it_gives_alone(loaded):
    model, saes, blocks = loaded
    first, second = saes
    mask = torch.ones_like(blocks.mask)
    mask[8:16] = False
    batches = list(encode(model, saes, blocks, batch=8, masks={second: mask}))
    alone = TokenBlocks(blocks.ids, mask, blocks.document.clamp(min=0))
    for label, text in ((first, blocks), (second, alone)):
        own = [chunks[label] for chunks in encode(model, {label: saes[label]}, text, batch=8) if label in chunks]
        found = [chunks[label] for chunks in batches if label in chunks]
        assert [c.position for c in found] == [c.position for c in own]
        assert [c.acts.sha256 for c in found] == [c.acts.sha256 for c in own]
    assert second not in batches[1]


def test_starting_in_the_middle_gives_the_same_bits(loaded):
    model, saes, blocks = loaded
    whole = list(encode(model, saes, blocks, batch=8))
    tail = list(encode(model, saes, blocks, batch=8, batches=range(3, len(whole))))
    assert len(tail) == len(whole) - 3
    for chunks, expected in zip(tail, whole[3:], strict=True):
        assert {h: c.position for h, c in chunks.items()} == {h: c.position for h, c in expected.items()}
        assert {h: c.acts.sha256 for h, c in chunks.items()} == {h: c.acts.sha256 for h, c in expected.items()}
        assert all(torch.equal(c.norms, expected[h].norms) for h, c in chunks.items())


def test_activations_equal_the_formula_of_a_jumprelu_sae(loaded):
    model, saes, blocks = loaded
    hook, sae = next(iter(saes.items()))
    chunks = next(iter(encode(model, {hook: sae}, blocks, batch=4, dtype=torch.float32)))
    stream = streams(model, blocks.ids[:4], [hook])[hook][blocks.mask[:4]]
    pre = (stream - sae.b_dec) @ sae.W_enc + sae.b_enc
    expected = pre.relu() * (pre > sae.threshold)
    assert chunks[hook].position == 0
    torch.testing.assert_close(chunks[hook].acts.to_dense(), expected.detach(), rtol=0, atol=0)
    torch.testing.assert_close(chunks[hook].norms.double(), stream.double().square().sum(dim=1).sqrt())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("stored", [torch.float16, torch.float32])
def test_the_jump_taken_while_compacting_gives_the_bits_of_the_sae(loaded, dtype: torch.dtype, stored: torch.dtype):
    _, saes, _ = loaded
    sae = copy.deepcopy(next(iter(saes.values()))).to(dtype=dtype)
    g = torch.Generator().manual_seed(0)
    stream = torch.randn(200, 16, generator=g)
    with torch.no_grad():
        pre = sae.process_sae_in(stream) @ sae.W_enc + sae.b_enc
        sae.threshold.copy_(torch.randn(96, generator=g))  # also below zero, where the relu decides
        sae.threshold[:40] = pre[7, :40]  # and met exactly, where nothing is active
        expected = SparseActivations.from_dense(sae.encode(stream), stored)
    found = encode_stream(sae, stream, stored)
    assert found.sha256 == expected.sha256
    assert 0 < found.nnz < 200 * 96
    assert pre.dtype == dtype


def test_an_sae_without_a_finite_jump_is_asked_itself(loaded):
    from sae_lens.saes.standard_sae import StandardSAE, StandardSAEConfig

    _, saes, _ = loaded
    stream = torch.randn(20, 16, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    plain = StandardSAE(StandardSAEConfig(d_in=16, d_sae=96))
    never = copy.deepcopy(next(iter(saes.values())))
    never.threshold.data[3] = float("inf")
    for sae in (plain, never):
        with torch.no_grad():
            expected = SparseActivations.from_dense(sae.encode(stream), torch.float32)
        assert encode_stream(sae, stream, torch.float32).sha256 == expected.sha256


def test_saes_and_models_load_in_the_dtype_asked_for(tiny_suite: Path):
    suite = load_suite(tiny_suite)
    path = resolve(suite.model_a.saes[0].path)
    full, half = load_sae(path), load_sae(path, dtype=torch.bfloat16)
    assert (full.W_enc.dtype, half.W_enc.dtype) == (torch.float32, torch.bfloat16)
    assert torch.equal(half.W_enc, full.W_enc.bfloat16())
    model = load_model(resolve(suite.model_a.path), dtype=torch.bfloat16)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert model.model.rotary_emb.inv_freq.dtype == torch.float32  # angles of long contexts need it
    assert read_metadata(path).dtype == "float32"
    assert read_metadata(resolve(load_suite("mini").model_a.saes[0].path)).dtype == "float16"


def test_refusals(loaded, tmp_path: Path):
    model, saes, blocks = loaded
    sae = next(iter(saes.values()))
    with pytest.raises(InputError, match=r"no hook 'blocks.5.hook_resid_post' \(did you mean .*; it has 2 blocks"):
        streams(model, blocks.ids[:1], [hook_name(5)])
    with pytest.raises(InputError, match="takes vectors of 16, the hook gives 24"):
        encode_stream(sae, torch.zeros(3, 24), torch.float16)
    with pytest.raises(InputError, match="within the range of Half"):
        encode_stream(sae, torch.full((1, 16), 1e6), torch.float16)
    with pytest.raises(InputError, match="must look like"):
        hook_layer("blocks.x.hook_resid_post")
    assert hook_layer(hook_name(12)) == 12
    with pytest.raises(InputError, match="cannot load model"):
        load_model(tmp_path)
    with pytest.raises(InputError, match="cannot load SAE"):
        load_sae(tmp_path / "none")
    with pytest.raises(InputError, match="needs a path, or a release"):
        load_sae()


def test_concatenating_chunks_of_another_width_is_refused():
    a, b = (SparseActivations.from_dense(torch.ones(2, n)) for n in (3, 4))
    with pytest.raises(InputError, match=r"must agree in features and dtype, got 3 .* and 4"):
        SparseActivations.concatenate([a, b])
    with pytest.raises(InputError, match="at least one chunk"):
        SparseActivations.concatenate([])
