"""What the SAEs of a model are called in files and tables, and the keys of their pairs in the results."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from semconv.suite.hooks import parse_hook

_GIVEN = re.compile(r"([\w.-]+)=(.+)")
_LONGEST = 40


def hook_label(hook: str) -> str:
    """Returns what an SAE without a name is called: the block's number, and the stream where it is not its output.

    `blocks.2.hook_resid_post` is `2`, `blocks.2.hook_mlp_out` is `2.mlp_out`, `blocks.2.attn.hook_z` is `2.attn_z`.
    """
    place = parse_hook(hook)
    stream = place.stream.replace("hook_", "").replace(".", "_")
    return str(place.layer) if stream == "resid_post" else f"{place.layer}.{stream}"


def pair_key(label_a: str, label_b: str) -> str:
    """Returns the key of two SAEs, one of each model, in the results: `0x2` for layers, else `0.mlp_out x 2`.

    Labels hold no spaces, so no two pairs have the same key. A key is never split into labels again; the value under it
    names its SAEs.
    """
    layers = label_a.isdecimal() and label_b.isdecimal()
    return f"{label_a}x{label_b}" if layers else f"{label_a} x {label_b}"


def split_name(given: str) -> tuple[str, str]:
    """Returns the name and the rest of `NAME=SAE`; the name is empty where none is given, or all of it is a folder."""
    found = _GIVEN.fullmatch(given)
    if found is None or Path(given).is_dir() or Path(given.rpartition("@")[0] or given).is_dir():
        return "", given
    return found[1], found[2]


def differences(places: Sequence[Sequence[str]]) -> list[str]:
    """Returns a short name for each of some places, such as folders given by the parts of their paths: how they differ.

    They are the parts that are not the same everywhere, counted from the end, and of several the last in which all
    differ where together they are long.
    """
    shared = min(len(place) for place in places) - 1
    shared = next((i for i, parts in enumerate(zip(*places, strict=False)) if len(set(parts)) > 1), shared)
    longest = max(map(len, places)) - shared
    rows = [[*[""] * (longest - len(place) + shared), *map(fit_name, place[shared:])] for place in places]
    differing = [column for column in zip(*rows, strict=True) if len(set(column)) > 1]
    together = ["-".join(filter(None, parts)) for parts in zip(*differing, strict=True)]
    alone = [list(column) for column in differing if len(set(column)) == len(places) and all(column)]
    return alone[-1] if alone and max(map(len, together)) > _LONGEST else together


def fit_name(part: str) -> str:
    """Returns a part of a path with what cannot stand in a name replaced."""
    return re.sub(r"[^\w.-]+", "-", part).strip("-.")
