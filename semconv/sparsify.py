"""Reads SAEs that EleutherAI's sparsify wrote (Pythia, Llama), as a converter for sae-lens's own `from_pretrained`.

sae-lens 6.54 has a loader of this name, which fails on these repositories: it looks for a config that it did not
download, transposes `W_dec` (sparsify stores it [d_sae, d_in], as sae-lens wants it), and leaves the decoder's bias in
the input, which sparsify subtracts before encoding. This one also reads the commit it is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from semconv.types import InputError

Loaded = tuple[dict[str, Any], dict[str, Tensor], None]


def sparsify_loader(revision: str = "") -> Callable[..., Loaded]:
    """Returns a converter for `SAE.from_pretrained` that reads `FOLDER/cfg.json` and `FOLDER/sae.safetensors`."""

    def load(
        repo_id: str,
        folder_name: str,
        device: str = "cpu",
        force_download: bool = False,
        cfg_overrides: dict[str, Any] | None = None,
    ) -> Loaded:
        from huggingface_hub import hf_hub_download
        from safetensors.torch import load_file

        cfg, weights = (
            hf_hub_download(repo_id, f"{folder_name}/{name}", revision=revision or None, force_download=force_download)
            for name in ("cfg.json", "sae.safetensors")
        )
        written = json.loads(Path(cfg).read_text(encoding="utf-8"))
        tensors = load_file(weights, device=device)
        encoder, decoder = tensors["encoder.weight"], tensors["W_dec"]
        if written.get("signed") or written.get("transcode") or encoder.shape != decoder.shape:
            raise InputError(f"{repo_id}/{folder_name} is no unsigned TopK SAE, and others of sparsify are not read")
        config = {
            "architecture": "topk",
            "k": int(written["k"]),
            "activation_fn_kwargs": {"k": int(written["k"])},
            "d_in": int(encoder.shape[1]),
            "d_sae": int(encoder.shape[0]),
            "apply_b_dec_to_input": True,
            "normalize_activations": "none",
            **(cfg_overrides or {}),
        }
        state = {
            "W_enc": encoder.T.contiguous(),
            "b_enc": tensors["encoder.bias"],
            "W_dec": decoder,
            "b_dec": tensors["b_dec"],
        }
        return config, state, None

    return load
