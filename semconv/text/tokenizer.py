"""Loads tokenizers so that they encode the text and nothing else, and finds their special tokens.

`tokenizer.json` is read by the tokenizers library as it stands: transformers' own classes rebuild it, sometimes to
something else. What has none (a SentencePiece model, the vocabulary files of GPT-2 or BERT, a GGUF file) is converted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semconv.system.errors import InputError, refusing
from semconv.system.json_toml import read_json
from semconv.text.tokenizer_conversion import by_transformers, sentencepiece

if TYPE_CHECKING:
    from tokenizers import Tokenizer

FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")
"""Files that hold a tokenizer, the first that is there being read; `vocab.json` needs `merges.txt` beside it."""

MOST_TOKENS = 2**24
"""Ids of tokens that are read lie below it."""

SETTINGS = ("tokenizer_config.json", "special_tokens_map.json", "config.json", "generation_config.json")
"""Files beside a tokenizer or a model that say which tokens are special: names in the first two, ids in the others."""

_NAMES = {
    "bos": ("<bos>", "<s>", "<|begin_of_text|>", "<｜begin▁of▁sentence｜>", "<|startoftext|>", "[BOS]", "[CLS]"),
    "eos": ("<eos>", "</s>", "<|end_of_text|>", "<｜end▁of▁sentence｜>", "[EOS]", "[SEP]"),
    "pad": ("<pad>", "<|padding|>", "<|pad|>", "[PAD]"),
}
_ANY_ROLE = "<|endoftext|>"  # GPT-2, GPT-NeoX and Qwen give it several roles; the settings say which


@dataclass(frozen=True)
class SpecialTokens:
    """The ids that are put around text.

    Attributes:
        bos: what a row begins with; None where there is none.
        eos: what closes a document; None where there is none.
        pad: what fills rows up; any id will do, because it never counts.
        source: where `bos` is from, or what says that there is none, in words.
        added: whether the tokenizer begins a text with `bos` by itself; rows begin with it whether it does or not.
    """

    bos: int | None
    eos: int | None
    pad: int
    source: str
    added: bool = True


def find_tokenizer(model: Path) -> Path | None:
    """Returns the file that holds the tokenizer of a model; None without one.

    Args:
        model: a folder, or a GGUF file: one of `FILES` is looked for in the folder first, then the GGUF file taken, if
            there is one and no more.
    """
    folder = model.parent if model.is_file() else model
    for name in FILES:
        if (folder / name).is_file() and (name != "vocab.json" or (folder / "merges.txt").is_file()):
            return folder / name
    found = [model] if model.is_file() else sorted(folder.glob("*.gguf"))
    return found[0] if len(found) == 1 else None


def load_tokenizer(path: Path) -> Tokenizer:
    """Reads a tokenizer that encodes text as text.

    Padding, truncation and dropout that the file asks for are switched off. Special tokens that are written in a text
    are read as the characters they are made of; added tokens that are not special stay as they are.

    Args:
        path: `tokenizer.json`; or another of `FILES` or a GGUF file, which transformers converts.

    Raises:
        InputError: the file is missing or damaged, or transformers cannot convert it.
    """
    from tokenizers import Tokenizer

    if not path.is_file():
        raise InputError(f"tokenizer {path} does not exist")
    if _is_converted(path):
        tokenizer = by_transformers(path).backend_tokenizer
    else:
        with refusing(f"tokenizer {path} cannot be read"):
            tokenizer = Tokenizer.from_file(str(path))
    highest = max(tokenizer.get_vocab().values(), default=0)
    if highest >= MOST_TOKENS:  # every id up to the highest has a text
        raise InputError(f"tokenizer {path} has a token of id {highest}, and ids must be below {MOST_TOKENS}")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    if getattr(tokenizer.model, "dropout", None):
        tokenizer.model.dropout = None
    tokenizer.encode_special_tokens = True
    return tokenizer


def _is_converted(path: Path) -> bool:
    return path.name in FILES[1:] or path.suffix in (".gguf", ".model")


def special_tokens(tokenizer: Tokenizer, path: Path | None = None, folders: Sequence[Path] = ()) -> SpecialTokens:
    """Returns the special tokens of a tokenizer.

    These sources are asked in this order, and the first that has an answer counts: the names in `tokenizer_config.json`
    and `special_tokens_map.json`, folder by folder; what the tokenizer itself puts around a text (its post-processor,
    or what SentencePiece or transformers say of what is converted); a `null` in those files, which says that there is
    none; the ids in `config.json` and `generation_config.json`, if they are special tokens of this tokenizer; the names
    that such tokens commonly have. A GGUF file says everything itself.

    Args:
        tokenizer: as `load_tokenizer` gives it.
        path: its file; without it, only the tokenizer itself is asked.
        folders: where `SETTINGS` are looked for; the tokenizer's own folder by default.

    Raises:
        InputError: one of the files is damaged.
    """
    begins, ends, source = _own_word(tokenizer, path)
    if path is not None and path.suffix == ".gguf":  # it says everything itself
        pad = next(i for i in (ends, begins, 0) if i is not None)
        return SpecialTokens(begins, ends, pad, source, _begins_with(tokenizer, begins))
    beside = list(folders) or ([path.parent] if path is not None else [])
    settings = _Settings.read(tokenizer, beside)
    bos, source = settings.token("bos", begins, source)
    eos, _ = settings.token("eos", ends, source)
    pad, _ = settings.token("pad", None, source)
    base = tokenizer.get_vocab_size(with_added_tokens=False)
    if pad is not None and pad >= base and pad > max(bos or 0, eos or 0):
        pad = None  # added for training, to a model that may not know it
    added = next((said for _, table in settings.names if isinstance(said := table.get("add_bos_token"), bool)), None)
    return SpecialTokens(
        bos,
        eos,
        next(i for i in (pad, eos, bos, 0) if i is not None),
        source,
        _begins_with(tokenizer, bos) if added is None else added,
    )


def _begins_with(tokenizer: Tokenizer, bos: int | None) -> bool:
    return tokenizer.encode("a", add_special_tokens=True).ids[:1] == [bos]


def _own_word(tokenizer: Tokenizer, path: Path | None) -> tuple[int | None, int | None, str]:
    """Returns the tokens that a tokenizer itself puts before and after a text, and how that is known."""
    if path is None or not _is_converted(path):
        encoded = tokenizer.encode("a", add_special_tokens=True)
        ids, added = encoded.ids, encoded.special_tokens_mask
        begins, ends = (ids[0] if ids and added[0] else None), (ids[-1] if ids and added[-1] else None)
        return begins, ends, "the tokenizer's post-processor"
    if path.suffix == ".model":
        model = sentencepiece(path)
        begins, ends = (i if i >= 0 else None for i in (model.bos_id(), model.eos_id()))
        return begins, ends, path.name
    found = by_transformers(path)
    begins, ends = (next((i for i in ids if i is not None), None) for ids in _ids_of(found))
    return begins, ends, "as transformers reads it"


def _ids_of(found: Any) -> tuple[tuple[int | None, int | None], tuple[int | None, int | None]]:
    return (found.bos_token_id, found.cls_token_id), (found.eos_token_id, found.sep_token_id)


@dataclass(frozen=True)
class _Settings:
    """What the files in some folders say of special tokens: (file, contents), the names before the ids."""

    tokenizer: Tokenizer
    names: list[tuple[Path, dict[str, Any]]]
    ids: list[tuple[Path, dict[str, Any]]]

    @classmethod
    def read(cls, tokenizer: Tokenizer, folders: Sequence[Path]) -> _Settings:
        names, ids = (
            [(f / name, read_json(f / name, finite=False)) for f in folders for name in some if (f / name).is_file()]
            for some in (SETTINGS[:2], SETTINGS[2:])
        )
        return cls(tokenizer, names, ids)

    def token(self, role: str, own: int | None, own_word: str) -> tuple[int | None, str]:
        """Returns the id of a role, and where it is from; `own` is what the tokenizer itself puts there."""
        said_none = ""
        for file, said in self.names:
            name = said.get(f"{role}_token", "")
            if isinstance(name, dict):
                name = name.get("content")  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
            token = self.tokenizer.token_to_id(name) if isinstance(name, str) else None
            if token is not None:
                return token, file.name
            if name is None:
                said_none = said_none or file.name
        if own is not None:
            return own, own_word
        if said_none:
            return None, said_none
        return self._by_id(role)

    def _by_id(self, role: str) -> tuple[int | None, str]:
        special = {i: t.content for i, t in self.tokenizer.get_added_tokens_decoder().items() if t.special}
        own, others = _NAMES[role], {n for other, names in _NAMES.items() if other != role for n in names}
        for file, said in self.ids:
            text = said.get("text_config")
            tables: list[dict[str, Any]] = [said, text] if isinstance(text, dict) else [said]
            for table in tables:
                token = table.get(f"{role}_token_id")
                token = token[0] if isinstance(token, list) and token else token  # pyright: ignore[reportUnknownVariableType]
                # A model made with its library's default ids and another tokenizer says what is not so: such an id is
                # an ordinary token, or one whose name says that it is something else.
                if isinstance(token, int) and token in special and special[token] not in others:
                    return token, file.name
        for name in (*own, _ANY_ROLE):
            token = self.tokenizer.token_to_id(name)
            if token is not None:
                return token, "its name"
        return None, "nothing names one"


def control_ids(tokenizer: Tokenizer, special: SpecialTokens) -> frozenset[int]:
    """Returns the ids that never stand for text: every special token but the one for unknown characters."""
    known = {i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    unknown = set(tokenizer.encode("\U0010fffd", add_special_tokens=False).ids)
    ends = {special.bos, special.eos} - {None}
    return frozenset(known | ends) - unknown  # pyright: ignore[reportReturnType]


def describe(tokenizer: Tokenizer, path: Path) -> str:
    """Returns what kind of tokenizer it is, in a few words, such as `BPE of 4096 tokens, tokenizer.json`."""
    kind = type(tokenizer.model).__name__
    return f"{kind} of {tokenizer.get_vocab_size()} tokens, {path.name}"
