"""Names of the places where a stream is read, as transformer-lens and transformers write them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from semconv.system.errors import InputError, nearest

SUMS = ("hook_resid_pre", "hook_resid_mid", "hook_resid_post", "hook_mlp_out", "hook_attn_out", "hook_mlp_in")
"""Streams that are sums of what a model writes to its residual stream, or one of these summands."""

STREAMS = (*SUMS, "ln1.hook_normalized", "ln2.hook_normalized", "attn.hook_z", "mlp.hook_post")
"""What is read of a block by transformer-lens's names."""

_SAME = {"hook_in": "hook_resid_pre", "hook_out": "hook_resid_post", "mlp.hook_in": "mlp.input", "mlp.hook_out": "mlp"}
"""Names that transformer-lens's newer models have for the same places."""

_LONGEST = 300
_LENS = re.compile(r"blocks\.(\d+)\.(.+)")
_MODULE = re.compile(r"((?:[A-Za-z_]\w*\.)*)(?:layers|layer|h)\.(\d+)((?:\.\w+)*)")
OTHER_TOWER = re.compile(r"vision|visual|image|audio|speech")
"""What the names of modules hold that read no text."""


@dataclass(frozen=True)
class Hook:
    """One place in one block; `str` gives its canonical name.

    Attributes:
        layer: number of the block, from 0.
        stream: one of `STREAMS`, or the path of a module inside the block as transformers names it, such as `mlp`, for
            what it gives, with `.input` after it for what it receives.
    """

    layer: int
    stream: str

    def __str__(self) -> str:
        return f"{'blocks' if self.stream in STREAMS else 'layers'}.{self.layer}.{self.stream}"


def parse_hook(name: str) -> Hook:
    """Returns the place that a name means.

    Block outputs have one name: `model.layers.3`, `layers.3`, `transformer.h.3` and `gpt_neox.layers.3` all mean
    `blocks.3.hook_resid_post`.

    Args:
        name: of transformer-lens, `blocks.{i}.STREAM`, or of transformers, `layers.{i}` or `layers.{i}.MODULE`, with
            whatever stands before it in the model; `.input` and `.output` after it say which side of the module.

    Raises:
        InputError: a name of another form or of more than 300 characters, or a stream that is not read.
    """
    if len(name) > _LONGEST:
        raise InputError(f"the name of a hook must have at most {_LONGEST} characters, got {len(name)}")
    if found := _LENS.fullmatch(name):
        stream = _SAME.get(found[2], found[2])
        if stream in STREAMS or found[2] in _SAME:
            return Hook(int(found[1]), stream)
    elif (found := _MODULE.fullmatch(name)) and not OTHER_TOWER.search(found[1]):
        path = found[3].removeprefix(".").removesuffix(".output")
        at_block = {"": "hook_resid_post", "output": "hook_resid_post", "input": "hook_resid_pre"}
        return Hook(int(found[2]), at_block.get(path, path))
    number = found[1] if (found := re.search(r"\.(\d+)", name)) else "3"
    hint = nearest(name, [f"blocks.{number}.{stream}" for stream in STREAMS])
    raise InputError(
        f"hook must look like 'blocks.3.hook_resid_post' or, for a module of transformers, 'layers.3.mlp', "
        f"got {name!r}{hint}; read of a block are {', '.join(STREAMS)}"
    )


def hook_name(layer: int) -> str:
    """Returns the name of the output of block `layer`."""
    return f"blocks.{layer}.hook_resid_post"


def hook_layer(name: str) -> int:
    """Returns the block index of a hook name.

    Raises:
        InputError: a name that is no hook, or a stream that is not read.
    """
    return parse_hook(name).layer
