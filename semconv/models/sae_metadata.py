"""The metadata of an SAE: the stream that it reads, and the model and the text that it was trained on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any

from semconv.suite.hooks import STREAMS, SUMS, Hook, parse_hook
from semconv.system.errors import InputError
from semconv.system.json_toml import parse_json
from semconv.system.shown_paths import shown_path

ENCODERS = (
    "standard",
    "gated",
    "jumprelu",
    "topk",
    "transcoder",
    "skip_transcoder",
    "jumprelu_transcoder",
    "jumprelu_skip_transcoder",
    "matching_pursuit",
    "batchtopk",
    "matryoshka_batchtopk",
)
"""Architectures that are compared, by sae-lens's names; each gives a position its features from one vector. The last
two are training checkpoints, which sae-lens saves for use as JumpReLU."""

_MOST = 2**31 - 1
_OTHERS = {
    "temporal": "its features at a position depend on the positions before",
    "abstopk": "its features take both signs, and those compared here are positive",
    "clt": "its features write to many layers, and have no one decoder row to compare",
}
_UNFOLDED = {
    "expected_average_only_in": "the average norm of the streams it was trained on",
    "covariance_whitening": "the whitening of the streams it was trained on",
}
_MOVES_HEADS = ("fold_value_biases", "refactor_factored_attn_matrices")
_NO_OTHER_STREAM = (
    *("center_writing_weights", "fold_ln", "center_unembed", *_MOVES_HEADS),
    *("device", "dtype", "torch_dtype", "n_devices", "trust_remote_code", "attn_implementation"),
)
"""Options of transformer-lens under which every stream is read as it was, or refused."""


@dataclass(frozen=True)
class SaeMetadata:
    """What an SAE's config says.

    Attributes:
        architecture: sae-lens's name of it.
        d_in: width of what it takes; 0 where the config does not say.
        d_sae: number of features; 0 where the config does not say.
        hook: name of the stream that it was trained on, by `parse_hook` if that knows it; empty where nothing is said.
        transcoder: whether it predicts another stream than the one that it reads.
        hook_out: of a transcoder, the stream that its decoder rows are directions of; empty where nothing is said.
        head: of `attn.hook_z`, the one head that it reads; None for all of them, one after the other.
        normalize: what sae-lens does to its input.
        model: name of the model that it was trained on.
        prepend_bos: whether its rows of text began with BOS; None where nothing is said.
        context: tokens per row of its text; 0 where nothing is said.
        dtype: that it was trained in.
        options: how transformer-lens loaded its model, option -> value as JSON.
    """

    architecture: str
    d_in: int = 0
    d_sae: int = 0
    hook: str = ""
    transcoder: bool = False
    hook_out: str = ""
    head: int | None = None
    normalize: str = "none"
    model: str = ""
    prepend_bos: bool | None = None
    context: int = 0
    dtype: str = "float32"
    options: tuple[tuple[str, str], ...] = ()

    @property
    def centred(self) -> bool:
        """Whether the weights of its model that write to the stream were centred when transformer-lens loaded it."""
        return ("center_writing_weights", "true") in self.options

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> SaeMetadata:
        """Reads what `to_json` wrote.

        Raises:
            TypeError, ValueError: something else.
        """
        values: dict[str, Any] = parse_json(text, "what an SAE says of itself")
        options = tuple((str(key), str(value)) for key, value in values.pop("options"))
        return cls(**values, options=options)


def metadata_of(config: Mapping[str, Any]) -> SaeMetadata:
    """Returns what a config in sae-lens's form, with its defaults filled in, says.

    Raises:
        KeyError, TypeError, ValueError: it is of another form.
    """
    stated: Mapping[str, Any] = config.get("metadata") or {}
    options: Mapping[str, Any] = stated.get("model_from_pretrained_kwargs") or {}
    head = stated.get("hook_head_index")
    architecture = str(config["architecture"])
    out = _canonical(str(stated.get("hook_name_out") or ""))
    d_in, d_sae = (_whole(config, name) for name in ("d_in", "d_sae"))
    if architecture == "topk" and "k" in config:
        _whole(config, "k", d_sae or _MOST)
    return SaeMetadata(
        architecture=architecture,
        d_in=d_in,
        d_sae=d_sae,
        hook=_canonical(_hook_of(stated)),
        transcoder=bool(out) or "transcoder" in architecture or bool(stated.get("transcode")),
        hook_out=out,
        head=None if head is None else int(head),
        normalize=str(config.get("normalize_activations") or "none"),
        model=shown_path(str(stated.get("model_name") or "")),
        prepend_bos=None if stated.get("prepend_bos") is None else bool(stated["prepend_bos"]),
        context=int(stated.get("context_size") or 0),
        dtype=str(config.get("dtype") or "float32").removeprefix("torch."),
        options=tuple(sorted((str(key), _as_json(value)) for key, value in options.items())),
    )


def _as_json(value: Any) -> str:
    return json.dumps(shown_path(value) if isinstance(value, str) else value, default=str)


def _whole(config: Mapping[str, Any], name: str, most: int = _MOST) -> int:
    """Returns a size; 0 where the config does not name it."""
    value = config.get(name, 0)
    if name in config and (type(value) is not int or not 1 <= value <= most):
        raise ValueError(f"{name} must be a whole number from 1 to {most}, got {value!r}")
    return value


def _hook_of(stated: Mapping[str, Any]) -> str:
    """Returns the input hook.

    sae-lens calls that of Gemma Scope 2's transcoders hook_mlp_in, which transformer-lens takes before the norm; their
    name in transformers, which stands beside it, is that of the norm's output, and that is meant.
    """
    name, in_transformers = str(stated.get("hook_name") or ""), str(stated.get("hf_hook_name") or "")
    return in_transformers if in_transformers and name.endswith(".hook_mlp_in") else name


def _canonical(name: str) -> str:
    try:
        return str(parse_hook(name)) if name else ""
    except InputError:
        return name  # refused when somebody wants to read it there


def check_usable(metadata: SaeMetadata, source: str) -> None:
    """Raises InputError for SAEs whose features cannot be computed from one vector of a stream.

    Raises:
        InputError: the architecture is not supported, or its input is normalised by a number that its files do not
            hold.
    """
    if metadata.architecture not in ENCODERS:
        why = _OTHERS.get(metadata.architecture, f"those compared are {', '.join(ENCODERS)}")
        raise InputError(f"SAE {source} is of architecture {metadata.architecture!r}, which is not compared: {why}")
    lacking = _UNFOLDED.get(metadata.normalize)
    if lacking is not None:
        raise InputError(
            f"SAE {source} has normalize_activations = {metadata.normalize!r}, and its files do not hold {lacking}; "
            "fold it into the weights in sae-lens and save the SAE again"
        )


def check_hook(metadata: SaeMetadata, source: str, asked: str) -> None:
    """Raises InputError if an SAE is to be read at another hook than its own metadata names.

    Raises:
        InputError: names both.
    """
    if metadata.hook and (own := read_hook(metadata, source)) != parse_hook(asked):
        raise InputError(f"SAE {source} was trained on {own}, as its own metadata says, and is to be read at {asked}")


def read_hook(metadata: SaeMetadata, source: str) -> Hook:
    """Returns the hook that an SAE was trained at, as its metadata names it.

    Raises:
        InputError: a hook that cannot be read.
    """
    try:
        return parse_hook(metadata.hook)
    except InputError as error:
        raise InputError(f"SAE {source} was trained on a stream that is not read: {error}") from None


def check_width(metadata: SaeMetadata, source: str, hook: str, width: int) -> None:
    """Raises InputError for streams of another width than an SAE, or its head, takes.

    Raises:
        InputError: names both widths.
    """
    d_in, head = metadata.d_in, metadata.head
    if head is None and width != d_in:
        raise InputError(f"SAE {source} takes vectors of {d_in}, and {hook} gives {width}")
    if head is not None and (width % d_in or not 0 <= head < width // d_in):
        raise InputError(f"SAE {source} takes head {head}, of width {d_in}, and {hook} gives {width} for all heads")


def centres(metadata: SaeMetadata, source: str, hook: str) -> bool:
    """Returns whether the mean over its width is taken out of a stream before this SAE reads it.

    With `center_writing_weights`, transformer-lens centres everything that is added to the residual stream of a model
    with LayerNorm. That is the same as centring the stream itself where it is read; what comes after a norm stays as it
    is.

    Raises:
        InputError: the model was processed in a way that cannot be reproduced at this hook.
    """
    stream = parse_hook(hook).stream
    changed = {key for key, value in metadata.options if value == "true"}
    of_heads = changed & set(_MOVES_HEADS)
    if stream == "attn.hook_z" and of_heads:
        raise InputError(f"SAE {source} reads {hook} of a model that was loaded with {min(of_heads)}, which moves it")
    moving = changed & {"center_writing_weights", "fold_ln"}
    if stream not in STREAMS and moving:
        raise InputError(
            f"SAE {source} was trained on a model that was loaded with {min(moving)}, which is known for "
            f"transformer-lens's hooks, not for {hook}"
        )
    return metadata.centred and stream in SUMS


def remarks(metadata: SaeMetadata, hook: str, model: str, prepends_bos: bool, context: int) -> list[str]:
    """Returns one sentence for every way in which an SAE is used otherwise than it was trained.

    Args:
        metadata: of the SAE.
        hook: where it is read.
        model: name, folder or repository of the model that it reads.
        prepends_bos: whether rows of text begin with BOS.
        context: tokens per row.
    """
    found: list[str] = []
    if not metadata.hook:
        found.append(f"It does not say which stream it was trained on; it reads {hook}, as asked.")
    elif _canonical(hook) != metadata.hook:
        found.append(f"It was trained on {metadata.hook} and reads {hook}, as asked.")
    if metadata.transcoder:
        found.append(
            f"It is a transcoder: its encoder is compared, at {hook}; its decoder rows are directions of "
            f"{metadata.hook_out or 'another stream'}."
        )
    if metadata.model and not _same_model(metadata.model, model):
        found.append(f"It was trained on {metadata.model}, by its own metadata, and reads {model}.")
    if metadata.prepend_bos is not None and metadata.prepend_bos != prepends_bos:
        has, have = ("", "do not") if metadata.prepend_bos else ("no ", "do")
        found.append(f"It was trained on rows with {has}BOS at their beginning; those read here {have} begin with it.")
    if 0 < metadata.context < context:
        found.append(f"It was trained on rows of {metadata.context} tokens; those read here have {context}.")
    if metadata.centred:
        found.append("The mean over its width is taken out of the stream, as center_writing_weights does.")
    found += [
        f"It was trained on a model that was loaded with {key} = {value}, which is not done here."
        for key, value in metadata.options
        if key not in _NO_OTHER_STREAM and value not in ("false", "null")
    ]
    return found


_ALIASES = {"gpt2-small": "gpt2"}


def _same_model(one: str, other: str) -> bool:
    """Whether two names, or folders, may be of one model: the last part of one ends with that of the other."""
    names = [PurePosixPath(name.partition("@")[0].rstrip("/")).name.lower() for name in (one, other)]
    short, long = sorted((_ALIASES.get(name, name) for name in names), key=len)
    return long == short or long.endswith(f"-{short}")
