"""What an SAE says of itself, beside where it is used: refused, done, or remarked."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from semconv import InputError
from semconv.models.decoders import decoder_metadata, keep_decoder
from semconv.models.sae_metadata import SaeMetadata, centres, check_hook, metadata_of, remarks
from semconv.suite.config import SaeConfig
from tests._helpers.sae_folders import plain, write_sae_lens
from tests.conftest import requires_models

POST, PRE = "blocks.2.hook_resid_post", "blocks.2.hook_resid_pre"
BARE = SaeMetadata("standard")


def of(**told: Any) -> SaeMetadata:
    return metadata_of({"architecture": "standard", "d_in": 8, "d_sae": 24, "metadata": told})


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({}, BARE),
        ({"hook_name": POST}, replace(BARE, hook=POST)),
        ({"hook_name": "model.layers.2"}, replace(BARE, hook=POST)),
        ({"hook_name": "blocks.2.hook_mlp_out", "hf_hook_name": "model.layers.2.mlp"}, None),
        (
            {"hook_name": "blocks.2.hook_mlp_in", "hf_hook_name": "model.layers.2.pre_feedforward_layernorm.output"},
            replace(BARE, hook="layers.2.pre_feedforward_layernorm"),
        ),
        ({"hook_name": "blocks.2.hook_mlp_in"}, replace(BARE, hook="blocks.2.hook_mlp_in")),
        ({"hook_name_out": "blocks.2.hook_mlp_out"}, replace(BARE, hook_out="blocks.2.hook_mlp_out", transcoder=True)),
        ({"hook_head_index": 0}, replace(BARE, head=0)),
        ({"prepend_bos": False, "context_size": 128}, replace(BARE, prepend_bos=False, context=128)),
        (
            {"model_from_pretrained_kwargs": {"center_writing_weights": True, "dtype": "float16"}},
            replace(BARE, options=(("center_writing_weights", "true"), ("dtype", '"float16"'))),
        ),
        ({"hook_name": "blocks.2.attn.hook_q"}, replace(BARE, hook="blocks.2.attn.hook_q")),
    ],
)
def test_what_a_config_says(told: dict[str, Any], expected: SaeMetadata | None):
    found = of(**told)
    expected = replace(expected or replace(BARE, hook="blocks.2.hook_mlp_out"), d_in=8, d_sae=24)
    assert found == expected
    assert SaeMetadata.from_json(found.to_json()) == found


@pytest.mark.parametrize(
    ("hook", "options", "expected"),
    [
        (POST, {"center_writing_weights": True}, True),
        (PRE, {"center_writing_weights": True}, True),
        ("blocks.2.hook_mlp_out", {"center_writing_weights": True}, True),
        ("blocks.2.ln2.hook_normalized", {"center_writing_weights": True}, False),
        ("blocks.2.attn.hook_z", {"center_writing_weights": True}, False),
        ("layers.2.mlp", {"center_writing_weights": True}, "loaded with center_writing_weights, which is known for"),
        (POST, {"center_writing_weights": False}, False),
        (POST, {"fold_ln": True, "center_unembed": True, "fold_value_biases": True}, False),
        ("blocks.2.ln2.hook_normalized", {"fold_ln": True}, False),
        ("layers.2.ln_2", {"fold_ln": True}, "loaded with fold_ln, which is known for transformer-lens's hooks"),
        ("layers.2.ln_2", {"fold_ln": False}, False),
        ("blocks.2.attn.hook_z", {"fold_value_biases": True}, "loaded with fold_value_biases, which moves it"),
        (
            "blocks.2.attn.hook_z",
            {"refactor_factored_attn_matrices": True},
            "loaded with refactor_factored_attn_matrices, which moves it",
        ),
    ],
)
def test_what_transformer_lens_did_to_the_model_is_done_or_refused(
    hook: str, options: dict[str, bool], expected: bool | str
):
    metadata = of(hook_name=hook, model_from_pretrained_kwargs=options)
    if isinstance(expected, str):
        with pytest.raises(InputError, match=re.escape(expected)):
            centres(metadata, "x", hook)
    else:
        assert centres(metadata, "x", hook) is expected


@pytest.mark.parametrize(
    ("told", "used", "expected"),
    [
        ({"hook_name": POST, "model_name": "gpt2", "prepend_bos": True, "context_size": 128}, {}, []),
        ({}, {}, [f"It does not say which stream it was trained on; it reads {POST}, as asked."]),
        ({"hook_name": PRE}, {}, [f"It was trained on {PRE} and reads {POST}, as asked."]),
        (
            {"hook_name": POST, "hook_name_out": "blocks.2.hook_mlp_out"},
            {},
            [
                f"It is a transcoder: its encoder is compared, at {POST}; its decoder rows are directions of "
                "blocks.2.hook_mlp_out."
            ],
        ),
        (
            {"hook_name": POST, "model_name": "gemma-2-2b-it"},
            {"model": "hub:google/gemma-2-2b"},
            ["It was trained on gemma-2-2b-it, by its own metadata, and reads hub:google/gemma-2-2b."],
        ),
        ({"hook_name": POST, "model_name": "google/gemma-2-2b"}, {"model": "models/gemma-2-2b/"}, []),
        ({"hook_name": POST, "model_name": "semconv-mini-small"}, {"model": "asset:mini/models/small"}, []),
        ({"hook_name": POST, "model_name": "gpt2-small"}, {"model": "hub:openai-community/gpt2"}, []),
        (
            {"hook_name": POST, "prepend_bos": True},
            {"prepends_bos": False},
            ["It was trained on rows with BOS at their beginning; those read here do not begin with it."],
        ),
        (
            {"hook_name": POST, "prepend_bos": False},
            {},
            ["It was trained on rows with no BOS at their beginning; those read here do begin with it."],
        ),
        (
            {"hook_name": POST, "context_size": 64},
            {},
            ["It was trained on rows of 64 tokens; those read here have 128."],
        ),
        (
            {"hook_name": POST, "model_from_pretrained_kwargs": {"center_writing_weights": True}},
            {},
            ["The mean over its width is taken out of the stream, as center_writing_weights does."],
        ),
        (
            {"hook_name": POST, "model_from_pretrained_kwargs": {"revision": "step1000", "dtype": "float16"}},
            {},
            ['It was trained on a model that was loaded with revision = "step1000", which is not done here.'],
        ),
        ({"hook_name": POST, "model_from_pretrained_kwargs": {"fold_ln": False, "revision": None}}, {}, []),
    ],
)
def test_what_a_reader_should_know(told: dict[str, Any], used: dict[str, Any], expected: list[str]):
    assert remarks(of(**told), POST, **{"model": "gpt2", "prepends_bos": True, "context": 128, **used}) == expected


def test_an_sae_is_not_read_at_another_hook():
    check_hook(BARE, "x", PRE)
    check_hook(of(hook_name="model.layers.2"), "x", POST)
    with pytest.raises(InputError, match=f"SAE x was trained on {PRE}, as its own .* and is to be read at {POST}"):
        check_hook(of(hook_name=PRE), "x", POST)


@requires_models
def test_a_suite_that_names_another_hook_is_refused_unless_it_insists(tmp_path: Path):
    folder, kept = write_sae_lens(tmp_path / "sae", "standard", plain(), metadata={"hook_name": PRE}), tmp_path / "kept"
    for _ in range(2):
        with pytest.raises(InputError, match=f"was trained on {PRE}, as its own metadata says, and is to be read at"):
            keep_decoder(kept, SaeConfig(POST, str(folder)))
        assert not kept.exists()
    keep_decoder(kept, SaeConfig(POST, str(folder), other_hook=True))
    assert decoder_metadata(kept).hook == PRE
    with pytest.raises(InputError, match="is to be read at"):  # also what is kept already
        keep_decoder(kept, SaeConfig(POST, str(folder)))
    assert keep_decoder(kept, SaeConfig(PRE, str(folder))).metadata.d_in == 8
