"""What the SAEs of a model are called in files and tables, and the keys of their pairs in the results."""

from __future__ import annotations

from typing import Any

from semconv.hooks import parse_hook


def hook_label(hook: str) -> str:
    """Returns what an SAE without a name is called: the block's number, and the stream where it is not its output.

    `blocks.2.hook_resid_post` is `2`, `blocks.2.hook_mlp_out` is `2.mlp_out`, `blocks.2.attn.hook_z` is `2.attn_z`.
    """
    place = parse_hook(hook)
    stream = place.stream.replace("hook_", "").replace(".", "_")
    return str(place.layer) if stream == "resid_post" else f"{place.layer}.{stream}"


def pair_key(label_a: str, label_b: str) -> str:
    """Returns the key of two SAEs, one of each model, in the results: `0x2` for layers, else `0.mlp_out x 2`.

    Labels hold no spaces, so that no two pairs have one key. It is never split again: what is under it says which SAEs
    it is of.
    """
    layers = label_a.isdecimal() and label_b.isdecimal()
    return f"{label_a}x{label_b}" if layers else f"{label_a} x {label_b}"


def key_of_cell(cell: dict[str, Any]) -> str:
    """Returns the key of the SAEs that a part of the results is of."""
    return pair_key(cell["sae_a"], cell["sae_b"])
