"""Finds out what a model on disk is, and checks its kind, its number of positions and that its weights are complete."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from semconv.suite.hooks import OTHER_TOWER
from semconv.system.errors import InputError, refusing
from semconv.system.json_toml import read_json

GGUF = ".gguf"
MOST_PARTS = 1024
"""Blocks, or experts of a block, that a model may have; each is built before any weight is read."""
_SHOWN = 3
_SIZES = ("num_hidden_layers", "hidden_size", "vocab_size")
_COUNT_OF_PARTS = re.compile(r"(?:layers?|blocks|depth|experts?)$")
_NO_HARM = 2**30  # bytes that a config may ask for whatever its weights are
_HARMLESS = re.compile(r"(?:inv_freq|masked_bias|(?:attn|attention)\.bias)$")
"""Buffers that older versions of transformers wrote among the weights; the model makes its own."""
_IN_BLOCK = re.compile(r"(?:^|\.)(?:layers|layer|h)\.\d+\.")
_PADDED_POSITIONS = ("camembert", "data2vec-text", "ibert", "longformer", "luke", "mpnet", "roberta", "xlm-roberta")
"""Types of models that number positions from the padding token's id plus one, as RoBERTa does."""


def weights_file(path: Path) -> Path | None:
    """Returns the GGUF file that a model is, None for a folder in transformers' format.

    Args:
        path: a `.gguf` file, or a folder; one that has safetensors is in transformers' format.

    Raises:
        InputError: a folder with several GGUF files and no safetensors.
    """
    if path.is_file():
        return path
    found = sorted(path.glob(f"*{GGUF}")) if path.is_dir() and not any(path.glob("*.safetensors")) else []
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise InputError(f"folder {path} holds {len(found)} GGUF files ({names}); name the one that is meant")
    return found[0] if found else None


def where_to_load(path: str | Path) -> dict[str, Any]:
    """Returns the arguments that tell transformers' `from_pretrained` where a model is.

    Args:
        path: a folder, a `.gguf` file, or a name on the model hub.

    Raises:
        InputError: a folder with several GGUF files and no safetensors, a file of another kind, weights in a pickle, or
            a GGUF file without the package that reads it.
    """
    file = weights_file(Path(path))
    if file is None:
        return {"pretrained_model_name_or_path": str(path)}
    if file.suffix != GGUF:
        raise InputError(f"model {path} is a file, but neither a folder in transformers' format nor a {GGUF} file")
    if find_spec("gguf") is None:
        raise InputError(f"model {path} is a GGUF file, and reading it needs the package gguf (pip install gguf)")
    return {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}


def check_files(path: str | Path) -> None:
    """Raises InputError for a model's folder whose weights are pickles, or whose index names files outside of it.

    Raises:
        InputError: names the file.
    """
    folder = Path(path)
    if not folder.is_dir() or weights_file(folder) is not None:
        return
    pickles = sorted(file.name for kind in ("*.bin", "*.pt", "*.pth") for file in folder.glob(kind))
    if pickles and not any(folder.glob("*.safetensors")):
        raise InputError(
            f"model {path} has its weights in {pickles[0]}, a pickle, which could run code and is not read; save the "
            "model again with transformers, which writes safetensors"
        )
    for index in sorted(folder.glob("*.safetensors.index.json")):
        files = read_json(index).get("weight_map")
        if not isinstance(files, dict):
            raise InputError(f"{index} must hold a weight_map, a JSON object, got {type(files).__name__}")
        for name in sorted({str(file) for file in files.values()}):  # pyright: ignore[reportUnknownArgumentType]
            if name != Path(name).name or not (folder / name).is_file():
                raise InputError(f"{index} names the file {name!r}, and must name files that lie in the same folder")


def read_config(path: str | Path, revision: str | None = None) -> Any:
    """Returns the config of a model, without its weights.

    Raises:
        InputError: it cannot be found or read.
    """
    from transformers import AutoConfig

    place = where_to_load(path)
    file = Path(path) / "config.json"
    if "gguf_file" not in place and file.is_file():
        _check_parts(f"model {path}", read_json(file, finite=False))  # what would break transformers' own reader
    with refusing(f"cannot load model {path}"):
        config = AutoConfig.from_pretrained(**place, revision=revision, trust_remote_code=False)
        text, every = config.get_text_config(), config.to_dict()
    _check_sizes(f"model {path}", text, every)
    return config


def _check_sizes(what: str, text: Any, every: dict[str, Any]) -> None:
    """Raises InputError for a config without the sizes that every model has, or with too many parts."""
    for name in _SIZES:
        size = getattr(text, name, None)
        if type(size) is not int or size < 1:
            raise InputError(f"the config of {what} must have {name}, a whole number of at least 1, got {size!r}")
    _check_parts(what, every)


def _check_parts(what: str, config: dict[str, Any]) -> None:
    """Raises InputError for more blocks or experts than any model has: each would be built before anything is read."""
    tables = [config]
    for table in tables:  # grows
        tables += [inner for inner in table.values() if isinstance(inner, dict)]
        for name, size in table.items():
            if _COUNT_OF_PARTS.search(str(name)) and isinstance(size, int) and size > MOST_PARTS:
                raise InputError(f"the config of {what} has {name} = {size}, and at most {MOST_PARTS} are read")


def check_room(what: str, path: str | Path, n_bytes: int, n_parameters: int, room: int, weights: bool) -> None:
    """Raises InputError for a model that does not fit into memory, or whose files are too small to hold it.

    Args:
        what: names the model in the message.
        path: where its weights lie.
        n_bytes: of all that its config asks for.
        n_parameters: how many numbers that is.
        room: bytes of memory that are free.
        weights: whether the weights are read from the files; those of an untrained twin are drawn.

    Raises:
        InputError: says what is asked for and what is there.
    """
    asked = f"{what} has {n_parameters} parameters by its config, {n_bytes / 2**30:.1f} GiB"
    if n_bytes > room:
        raise InputError(f"{asked}, and {room / 2**30:.1f} GiB of memory are free")
    file = weights_file(Path(path))
    if not weights or n_bytes < _NO_HARM or not (file or Path(path)).exists():
        return
    held = sum(one.stat().st_size for one in ([file] if file else Path(path).glob("*.safetensors")))
    if n_parameters > 8 * held:  # no format takes less than a bit for each
        raise InputError(f"{asked}, which the {held} bytes of its weights cannot hold")


def reads_both_ways(config: Any) -> bool:
    """Whether every position of a model attends to those after it too, as in BERT, according to its config."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES as MASKED

    text = config.get_text_config()
    if getattr(text, "use_bidirectional_attention", None) in (True, "all"):
        return True
    return text.model_type in MASKED and not getattr(text, "is_decoder", False) and not getattr(text, "causal", False)


def check_kind(config: Any, what: str, bidirectional: bool) -> None:
    """Raises InputError for models that are no causal language models; `bidirectional` allows masked ones.

    Args:
        config: of the model.
        what: names the model in the message.
        bidirectional: whether a model that reads in both directions is meant.

    Raises:
        InputError: an encoder with a decoder, or a model that reads in both directions without `bidirectional`.
    """
    if getattr(config, "is_encoder_decoder", False):
        raise InputError(
            f"{what} is of type {config.model_type!r}, an encoder with a decoder; only models of one stack are read"
        )
    if not bidirectional and reads_both_ways(config):
        kind = config.get_text_config().model_type
        raise InputError(
            f"{what} is of type {kind!r}, which reads in both directions and is no causal language model; "
            "say --bidirectional (bidirectional = true in a suite) to compare it all the same"
        )


def check_length(config: Any, what: str, context: int) -> None:
    """Raises InputError for rows that are longer than the positions that a model has, or was trained on.

    A model with learned positions has no vectors for more. One with rotary positions would run on, outside of what it
    was trained on.

    Raises:
        InputError: `context` is above `max_position_embeddings`.
    """
    text = config.get_text_config()
    limit: int | None = getattr(text, "max_position_embeddings", None)
    if limit is not None and text.model_type in _PADDED_POSITIONS:
        limit -= int(getattr(text, "pad_token_id", None) or 0) + 1
    if limit is not None and 0 < limit < context:
        raise InputError(
            f"{what} reads at most {limit} tokens at once, the rows have {context}; give --context {limit}"
        )


def _listed(keys: Iterable[str]) -> str:
    names = sorted(keys)
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _prefix(missing: set[str], unexpected: set[str]) -> str:
    """Returns what stands before most of the missing keys in the file, or nothing."""
    ends = {key: other[: -len(key)] for key in missing for other in unexpected if other.endswith(f".{key}")}
    prefixes = set(ends.values())
    return prefixes.pop() if len(prefixes) == 1 and 2 * len(ends) > len(missing) else ""


def check_shapes(what: str, mismatched: Iterable[tuple[str, Any, Any]]) -> None:
    """Raises InputError for a checkpoint with weights of other shapes than its config says.

    Args:
        what: names the model in the message.
        mismatched: key, shape in the file and shape by the config, of each.

    Raises:
        InputError: there is one.
    """
    for key, found, wanted in sorted(mismatched, key=lambda one: one[0])[:1]:
        raise InputError(f"{key} in the weights of {what} is {list(found)}, its config says {list(wanted)}")


def check_weights(what: str, missing: set[str], unexpected: set[str]) -> None:
    """Raises InputError for a checkpoint that lacks weights of its model, or holds others.

    Args:
        what: names the model in the message.
        missing: keys that the model has and the file lacks, tied weights excepted.
        unexpected: keys that the file has and the model lacks. Heads, towers for images and buffers that the model
            makes itself may be there; what belongs to a block that reads text is needed.

    Raises:
        InputError: a key is missing, or one in a block is not used.
    """
    if missing:
        prefix = _prefix(missing, unexpected)
        if prefix:
            raise InputError(
                f"the keys of the weights of {what} begin with {prefix!r}, which the model's do not; "
                f"save them again without it (torch.compile writes '_orig_mod.', DistributedDataParallel 'module.')"
            )
        instead = f"; it holds instead {_listed(unexpected)}" if unexpected else ""
        raise InputError(f"the weights of {what} lack {_listed(missing)}{instead}")
    unused = {key for key in unexpected if _IN_BLOCK.search(key) and not OTHER_TOWER.search(key)}
    unused = {key for key in unused if not _HARMLESS.search(key)}
    if unused:
        raise InputError(f"the weights of {what} hold {_listed(unused)}, for which its config has no place")
