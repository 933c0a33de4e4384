"""What a model on disk is, and what is refused of it: kind, positions, and weights that are not all there."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from semconv.hooks import OTHER_TOWER
from semconv.json_toml import read_json
from semconv.types import InputError, first_line

GGUF = ".gguf"
_SHOWN = 3
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
        InputError: what `weights_file` refuses, or a GGUF file without the package that reads it.
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
    """Refuses a model's folder whose weights are pickles, or whose index leads out of it; a name on the hub passes.

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
                raise InputError(f"{index} names the file {name!r}, and weights lie beside it, in files that are there")


def read_config(path: str | Path, revision: str | None = None) -> Any:
    """Returns the config of a model, without its weights.

    Raises:
        InputError: it cannot be found or read.
    """
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(**where_to_load(path), revision=revision, trust_remote_code=False)
    except InputError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError, IndexError, struct.error) as error:  # the last two of GGUF
        raise InputError(f"cannot load model {path}: {first_line(error)}") from error


def reads_both_ways(config: Any) -> bool:
    """Whether every position of a model reads those after it too, as in BERT; told by the config, not by its tokens."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES as MASKED

    text = config.get_text_config()
    if getattr(text, "use_bidirectional_attention", None) in (True, "all"):
        return True
    return text.model_type in MASKED and not getattr(text, "is_decoder", False) and not getattr(text, "causal", False)


def check_kind(config: Any, what: str, bidirectional: bool) -> None:
    """Refuses models that are no causal language models, masked ones unless they are meant.

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
    """Refuses rows that are longer than the positions a model has, or was trained on.

    A model with learned positions has no more. One with rotary positions computes on, but what it computes there is not
    what it was trained to.

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


def check_weights(what: str, missing: set[str], unexpected: set[str]) -> None:
    """Refuses a checkpoint whose weights are not those of its model.

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
