"""What a vocabulary makes alike: inner products of logit-lens vectors, of every kind of last norm."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from semconv.models.vocabulary import NO_HEAD, norm_scale, vocabulary_moments
from tests.conftest import requires_models

pytestmark = requires_models


def gemma() -> Any:
    from transformers import Gemma2Config, Gemma2ForCausalLM

    torch.manual_seed(0)
    return Gemma2ForCausalLM(
        Gemma2Config(
            vocab_size=90,
            hidden_size=8,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=4,
        )
    )


def neox() -> Any:
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    torch.manual_seed(0)
    return GPTNeoXForCausalLM(
        GPTNeoXConfig(vocab_size=90, hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    )


@pytest.mark.parametrize(("make", "norm"), [(gemma, "norm"), (neox, "final_layer_norm")])
def test_inner_products_are_those_of_vectors_over_the_vocabulary(make: Any, norm: str):
    """A direction adds to the logits what the head gives for it times the weight of the norm; a bias adds nothing."""
    model = make()
    last = getattr(model.base_model, norm)
    with torch.no_grad():
        last.weight.normal_()
        if getattr(last, "bias", None) is not None:
            last.bias.normal_()
    rng = np.random.default_rng(0)
    directions = torch.from_numpy(rng.normal(size=(5, 8)))
    scale = norm_scale(model, 8).double().detach()
    weight = last.weight.double().detach()
    np.testing.assert_allclose(scale, 1 + weight if make is gemma else weight, atol=1e-4)  # eps of the norm
    found = vocabulary_moments(model)
    for name, rows, factor in (
        ("logit_lens", model.get_output_embeddings().weight, scale),
        ("embedding", model.get_input_embeddings().weight, torch.ones(8)),
    ):
        moment = found[name]
        assert isinstance(moment, torch.Tensor)
        seen = (directions * factor) @ rows.double().detach().mT
        seen -= seen.mean(dim=1, keepdim=True)
        np.testing.assert_allclose(directions @ moment @ directions.mT, seen @ seen.mT, rtol=1e-9, atol=1e-12)


def test_a_model_without_a_head_says_so():
    found = vocabulary_moments(gemma().base_model)
    assert found["logit_lens"] == NO_HEAD
    assert isinstance(found["embedding"], torch.Tensor)
