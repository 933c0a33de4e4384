"""How large the models and SAEs of a suite are, by their configs alone; what is not known from them is assumed."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from semconv.models.hub_errors import hub_errors
from semconv.models.model_files import read_config, weights_file
from semconv.models.model_parts import can_be_cut
from semconv.models.roles import models_of
from semconv.models.sources import on_hub
from semconv.suite.config import ModelConfig, SaeConfig, SuiteConfig, resolve
from semconv.system.errors import InputError
from semconv.system.json_toml import read_json

ASSUMED_L0 = 100.0
"""Active features per token where nothing says otherwise."""
ASSUMED_FEATURES = 16_384
"""Features of an SAE where nothing says otherwise."""
ASSUMED_TEXT = 300 * 2**20
"""Bytes assumed of a file of a data set on the hub, where its size is not known."""
_ITEM = {"float16": 2, "bfloat16": 2}
_PUBLISHED: dict[str, dict[str, Any]] = {
    "google/gemma-2-2b": {
        "model_type": "gemma2",
        "hidden_size": 2304,
        "intermediate_size": 9216,
        "num_hidden_layers": 26,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "vocab_size": 256_000,
        "dtype": "float32",
    },
    "google/gemma-2-9b": {
        "model_type": "gemma2",
        "hidden_size": 3584,
        "intermediate_size": 14_336,
        "num_hidden_layers": 42,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 256,
        "vocab_size": 256_000,
        "dtype": "float32",
    },
    "google/gemma-2b": {
        "model_type": "gemma",
        "hidden_size": 2048,
        "intermediate_size": 16_384,
        "num_hidden_layers": 18,
        "num_attention_heads": 8,
        "num_key_value_heads": 1,
        "head_dim": 256,
        "vocab_size": 256_000,
        "dtype": "bfloat16",
    },
    "EleutherAI/pythia-70m": {
        "model_type": "gpt_neox",
        "hidden_size": 512,
        "intermediate_size": 2048,
        "num_hidden_layers": 6,
        "num_attention_heads": 8,
        "vocab_size": 50_304,
        "dtype": "float16",
    },
    "EleutherAI/pythia-160m": {
        "model_type": "gpt_neox",
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "vocab_size": 50_304,
        "dtype": "float16",
    },
}
"""Published sizes of the models of the suites that ship, for a machine that reaches no hub."""


@dataclass(frozen=True, eq=False)
class ModelShape:
    """The size of a model.

    Attributes:
        name: as the suite calls it.
        config: in the form of transformers.
        width: of its streams.
        n_blocks: how many transformer blocks it has.
        parameters: numbers in the whole model.
        of_block: of them, in one block.
        n_bytes: of its files.
        to_download: of these, bytes that are on the hub only.
        assumed: whether the whole config is assumed.
        gguf: whether it is a GGUF file, or a folder with one.
    """

    name: str
    config: Any
    width: int
    n_blocks: int
    parameters: int
    of_block: int
    n_bytes: int
    to_download: int
    assumed: bool
    gguf: bool = False

    @property
    def stored(self) -> int:
        """Bytes of each of its numbers in files that are mapped into memory as they are; 0 where none are.

        Told by the size of the files, which hold little else.
        """
        if self.gguf or not can_be_cut(self.config):
            return 0
        return next((n for n in (4, 2) if n <= self.n_bytes / self.parameters < 1.2 * n), 0)


@dataclass(frozen=True)
class SaeShape:
    """The size of an SAE.

    Attributes:
        n_features: F.
        width: of its decoder rows.
        l0: active features per token.
        n_bytes: of its files.
        to_download: of these, bytes that are on the hub only.
    """

    n_features: int
    width: int
    l0: float
    n_bytes: int
    to_download: int


@dataclass(frozen=True, eq=False)
class Shapes:
    """The sizes of all that a suite reads.

    Attributes:
        models: path and revision (`ModelConfig.label` of the trained model) -> the model.
        saes: source of an SAE -> the SAE.
        text_to_download: bytes of text that are on the hub only.
        assumed: what is not known but assumed, a sentence each.
    """

    models: dict[str, ModelShape]
    saes: dict[str, SaeShape]
    text_to_download: int
    assumed: tuple[str, ...]

    @property
    def are_known(self) -> bool:
        """Whether no model was assumed as a whole, so that the sizes may decide whether a run begins."""
        return not any(model.assumed for model in self.models.values())

    def of(self, model: ModelConfig) -> ModelShape:
        """Returns the size of a model, or of that whose untrained twin it is."""
        return self.models[_place(model)]


def _place(model: ModelConfig) -> str:
    return f"{model.path}@{model.revision}"


def shapes_of(suite: SuiteConfig, ask: bool = True, l0: float | None = None) -> Shapes:
    """Returns the sizes of the models and SAEs of a suite.

    They come from configs in a folder or in the cache of the hub, from the hub, which is asked for configs of a few KiB
    and for sizes of files, and else from the published sizes of a few models; at last they are assumed.

    Args:
        suite: whose.
        ask: whether the hub is asked for what is not here.
        l0: active features per token of every SAE; None takes what its config or its name says, else `ASSUMED_L0`.

    Raises:
        InputError: a model in a folder that is missing or cannot be read.
    """
    assumed, models, saes = list[str](), dict[str, ModelShape](), dict[str, SaeShape]()
    for model in models_of(suite):
        if _place(model) not in models:
            models[_place(model)] = _model_shape(model, ask, assumed)
        width = models[_place(model)].width
        for sae in model.saes:
            if sae.source not in saes:
                saes[sae.source] = _sae_shape(sae, width, l0, assumed)
    text = _text_to_download(suite, ask, assumed)
    return Shapes(models, saes, text, tuple(dict.fromkeys(assumed)))


def _cached(name: str, file: str, revision: str, kind: str = "model") -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(name, file, revision=revision or None, repo_type=kind)
    return Path(found) if isinstance(found, str) else None


def _asked_sizes(name: str, revision: str, kind: str = "model") -> dict[str, int]:
    """Returns file -> bytes of a repository on the hub; nothing where it cannot be asked."""
    from huggingface_hub import HfApi, constants

    if constants.HF_HUB_OFFLINE:
        return {}
    try:
        with hub_errors(f"{kind} {name}"):
            info: Any = HfApi().repo_info(
                name, repo_type=kind, revision=revision or None, files_metadata=True, timeout=5.0
            )
    except InputError:  # gated, unreachable, unknown: the plan says what it assumes, and doctor says why
        return {}
    return {str(one.rfilename): int(one.size or 0) for one in info.siblings or []}


def _asked_config(name: str, revision: str) -> Any:
    from huggingface_hub import constants, hf_hub_download

    if constants.HF_HUB_OFFLINE:
        return None
    try:
        with hub_errors(f"model {name}"):
            folder = Path(hf_hub_download(name, "config.json", revision=revision or None, etag_timeout=5.0)).parent
        return read_config(folder)
    except InputError:  # as above
        return None


def _model_shape(model: ModelConfig, ask: bool, assumed: list[str]) -> ModelShape:
    if not on_hub(model.path):
        path = resolve(model.path)
        config = read_config(path)
        files = [path] if path.is_file() else [*path.glob("*.safetensors"), *path.glob("*.gguf")]
        shape = _shape(model.name, config, sum(file.stat().st_size for file in files), 0)
        return replace(shape, gguf=weights_file(path) is not None)
    name = model.path.removeprefix("hub:")
    cached, sizes = _cached(name, "config.json", model.revision), dict[str, int]()
    config = read_config(cached.parent) if cached else None
    weights = list(cached.parent.glob("*.safetensors")) if cached else []
    if weights:
        return _shape(model.name, config, sum(file.stat().st_size for file in weights), 0)
    if ask:
        sizes = _asked_sizes(name, model.revision)
        config = config or (_asked_config(name, model.revision) if sizes else None)
    guessed = config is None and name not in _PUBLISHED
    config = config or _published(name)
    if guessed:
        assumed.append(f"model {model.name} is assumed to have the size of Gemma-2-2B: its config could not be read")
    n_bytes = sum(size for file, size in sizes.items() if file.endswith(".safetensors"))
    shape = _shape(model.name, config, n_bytes, n_bytes, guessed)
    if not n_bytes:
        n_bytes = shape.parameters * _ITEM.get(str(getattr(config, "dtype", "")).removeprefix("torch."), 4)
        assumed.append(f"files of model {model.name}: parameters x bytes of their dtype, {n_bytes / 2**30:.1f} GiB")
        shape = _shape(model.name, config, n_bytes, n_bytes, guessed)
    return shape


def _published(name: str) -> Any:
    from transformers import AutoConfig

    values = _PUBLISHED.get(name, _PUBLISHED["google/gemma-2-2b"])
    return AutoConfig.for_model(**values)


def _shape(name: str, config: Any, n_bytes: int, to_download: int, assumed: bool = False) -> ModelShape:
    text = config.get_text_config()
    parameters, of_block = parameters_of(config)
    return ModelShape(
        name, config, int(text.hidden_size), int(text.num_hidden_layers), parameters, of_block, n_bytes, to_download,
        assumed,
    )  # fmt: skip


def parameters_of(config: Any) -> tuple[int, int]:
    """Returns how many numbers a model of a config has, and one of its blocks."""
    from transformers import AutoModel
    from transformers.initialization import no_init_weights

    from semconv.models.model_activations import transformer_blocks

    text = config.get_text_config()
    with torch.device("meta"), no_init_weights():
        model: Any = AutoModel.from_config(config, attn_implementation="eager")
    head = 0 if getattr(config, "tie_word_embeddings", True) else int(text.vocab_size) * int(text.hidden_size)
    of_block = sum(one.numel() for one in transformer_blocks(model)[0].parameters())
    return sum(one.numel() for one in model.parameters()) + head, of_block


def _sae_shape(sae: SaeConfig, width: int, l0: float | None, assumed: list[str]) -> SaeShape:
    """Returns the size of an SAE, from the config in its folder or from its name."""
    if not sae.path:
        text = f"{sae.release} {sae.sae_id}"
        n_features = _number(r"width_(\d+)(k|m)\b", text) or _number(r"[-_](\d+)(k)\b", text) or ASSUMED_FEATURES
        found = _number(r"average_l0_(\d+)()", text)
        if n_features == ASSUMED_FEATURES and "16k" not in text:
            assumed.append(f"SAEs of {sae.release} are assumed to have {ASSUMED_FEATURES:,} features")
        n_bytes = 4 * (2 * n_features * width + 2 * n_features + width)
        config, to_download = dict[str, Any](), n_bytes
    else:
        folder = resolve(sae.path)
        config = _config_in(folder)
        n_features = _whole(config, "d_sae") or _whole(config, "dict_size") or _whole(config, "num_latents")
        n_bytes = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else 0
        n_features = n_features or max(1, n_bytes // (8 * width))
        stated = config.get("metadata")
        found = _of_any((config, stated if isinstance(stated, dict) else {}))
        width, to_download = _whole(config, "d_in") or width, 0
    if l0 is None and not found:
        assumed.append(f"SAEs without a stated L0 are assumed to have {ASSUMED_L0:g} active features per token")
    return SaeShape(n_features, width, min(l0 or found or ASSUMED_L0, n_features / 4), n_bytes, to_download)


def _config_in(folder: Path) -> dict[str, Any]:
    for name in ("cfg.json", "config.json"):
        if (folder / name).is_file():
            try:
                found = read_json(folder / name)
            except InputError:
                return {}
            return found
    return {}


def _whole(config: dict[str, Any], name: str) -> int:
    value = config.get(name)
    return value if type(value) is int and value > 0 else 0


def _of_any(tables: Sequence[dict[str, Any]]) -> float:
    """Returns the L0 that a config states, as such or as the k of a TopK SAE; 0 where it states none."""
    for name in ("l0", "k"):
        for table in tables:
            value = table.get(name)
            if isinstance(value, (int, float)) and value > 0:
                return float(value)
    return 0.0


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    if found is None:
        return 0
    n, unit = int(found[1]), found[2]
    if unit == "m":
        return n << 20
    if unit != "k":
        return n
    nearest = 1 << round(math.log2(1000 * n))  # 16k is 16,384, 65k is 65,536, and 24k is 24,576
    return nearest if abs(nearest / (1000 * n) - 1) < 0.03 else 1024 * n


def _text_to_download(suite: SuiteConfig, ask: bool, assumed: list[str]) -> int:
    corpus = suite.corpus
    if corpus.kind != "hub":
        return 0
    missing = [file for file in corpus.files if _cached(corpus.path, file, corpus.revision, "dataset") is None]
    sizes = _asked_sizes(corpus.path, corpus.revision, "dataset") if ask and missing else {}
    unknown = [file for file in missing if file not in sizes]
    if unknown:
        assumed.append(f"text: {len(unknown)} files of {corpus.path}, {ASSUMED_TEXT / 2**20:.0f} MiB each")
    return sum(sizes.get(file, ASSUMED_TEXT) for file in missing)
