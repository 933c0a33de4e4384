"""Where in the blocks of each model family every stream passes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from semconv.suite.hooks import Hook
from semconv.system.errors import InputError, nearest


@dataclass(frozen=True)
class Family:
    """Names of the modules inside a block, as transformers gives them; empty where a family has no such module.

    Attributes:
        attn_norm: norm before the attention.
        mlp_norm: norm before the MLP.
        attn_added: module whose output is what the attention adds to the stream.
        mlp_added: module whose output is what the MLP adds to the stream.
        z: output projection of the attention, whose input is what the heads give, one after the other.
        post: output projection of the MLP, whose input are its neurons.
    """

    attn_norm: str = ""
    mlp_norm: str = ""
    attn_added: str = ""
    mlp_added: str = ""
    z: str = ""
    post: str = ""


_LLAMA = Family("input_layernorm", "post_attention_layernorm", "self_attn", "mlp", "self_attn.o_proj", "mlp.down_proj")
_MIXTRAL = Family("input_layernorm", "post_attention_layernorm", "self_attn", "mlp", "self_attn.o_proj")
_GEMMA2 = Family(
    "input_layernorm",
    "pre_feedforward_layernorm",
    "post_attention_layernorm",  # norms of what is about to be added
    "post_feedforward_layernorm",
    "self_attn.o_proj",
    "mlp.down_proj",
)
FAMILIES: dict[str, Family] = {
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "gemma": _LLAMA,
    "mixtral": _MIXTRAL,
    "gemma2": _GEMMA2,
    "gemma3_text": _GEMMA2,
    "gpt2": Family("ln_1", "ln_2", "attn", "mlp", "attn.c_proj", "mlp.c_proj"),
    "gpt_neox": Family(
        "input_layernorm", "post_attention_layernorm", "attention", "mlp", "attention.dense", "mlp.dense_4h_to_h"
    ),
    "opt": Family("self_attn_layer_norm", "final_layer_norm", "self_attn", "fc2", "self_attn.out_proj", "fc2"),
}
"""By `model_type` of the text config. Of other models, inputs and outputs of blocks and modules are read."""


@dataclass(frozen=True)
class Point:
    """A side of a module; `normalised` takes the norm of what it receives, without the norm's weights."""

    module: nn.Module
    side: Literal["input", "output"]
    normalised: bool = False

    def take(self, tensor: Tensor) -> Tensor:
        """Returns the stream, of what was seen at the point."""
        if not self.normalised:
            return tensor
        x, module = tensor.float(), self.module
        if isinstance(module, nn.LayerNorm):
            x = nn.functional.layer_norm(x, x.shape[-1:], eps=module.eps)
        else:
            eps: Any = getattr(module, "variance_epsilon", None) or getattr(module, "eps", None)
            x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + float(eps))
        return x.to(tensor.dtype)


def point_of(block: nn.Module, config: Any, hook: Hook) -> Point:
    """Returns where a stream passes in a block.

    Args:
        block: the block of the hook's layer.
        config: text config of the model.
        hook: which stream.

    Raises:
        InputError: the family has no such stream, or the block no such module.
    """
    if hook.stream in ("hook_resid_pre", "hook_resid_post"):
        return Point(block, "input" if hook.stream == "hook_resid_pre" else "output")
    if str(hook).startswith("layers."):
        side: Literal["input", "output"] = "input" if hook.stream.endswith(".input") else "output"
        return Point(_submodule(block, hook, hook.stream.removesuffix(".input")), side)
    kind = str(config.model_type)
    family = FAMILIES.get(kind)
    if family is None:
        raise InputError(
            f"{hook} is not known for models of type {kind!r}; of these the inputs and outputs of blocks "
            "(hook_resid_pre, hook_resid_post) and modules by their names in transformers (layers.N.MODULE) are read"
        )
    if hook.stream == "hook_resid_mid" and getattr(config, "use_parallel_residual", False):
        raise InputError(
            f"this model has no {hook}: its attention and MLP run in parallel, from the input to the output of a block"
        )
    before = hook.stream in ("hook_resid_mid", "hook_mlp_in", "ln1.hook_normalized", "ln2.hook_normalized")
    if before and not getattr(config, "do_layer_norm_before", True):
        raise InputError(f"this model has no {hook}: its norms come after attention and MLP, not before")
    name, before_it, normalised = {
        "hook_resid_mid": (family.mlp_norm, True, False),
        "hook_mlp_in": (family.mlp_norm, True, False),
        "hook_mlp_out": (family.mlp_added, False, False),
        "hook_attn_out": (family.attn_added, False, False),
        "ln1.hook_normalized": (family.attn_norm, True, True),
        "ln2.hook_normalized": (family.mlp_norm, True, True),
        "attn.hook_z": (family.z, True, False),
        "mlp.hook_post": (family.post, True, False),
    }[hook.stream]
    if not name:
        raise InputError(f"models of type {kind!r} have no {hook}")
    return Point(_submodule(block, hook, name), "input" if before_it else "output", normalised)


def _submodule(block: nn.Module, hook: Hook, path: str) -> nn.Module:
    try:
        return block.get_submodule(path)
    except AttributeError:
        known = [name for name, _ in block.named_modules() if name]
        raise InputError(
            f"a block of this model has no module {path!r}{nearest(path, known)}, which {hook} is read at"
        ) from None
