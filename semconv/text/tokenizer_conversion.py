"""Converts tokenizers that have no `tokenizer.json` by transformers' own code, and checks what can be checked of it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semconv.system.errors import InputError, first_line

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_PLAIN = ("the row", "The end of it: 3.14, x_y (z)", "é ñ 日本\nline")


@lru_cache(maxsize=2)
def by_transformers(path: Path) -> Any:
    """Returns transformers' own tokenizer of a folder without `tokenizer.json`, or of a GGUF file.

    Raises:
        InputError: transformers cannot convert it, or not to what SentencePiece makes of the same file.
    """
    from transformers import AutoTokenizer, LlamaTokenizer

    ways: list[Any] = [AutoTokenizer, LlamaTokenizer] if path.suffix == ".model" else [AutoTokenizer]
    gguf = {"gguf_file": path.name} if path.suffix == ".gguf" else {}
    reasons: list[str] = []
    for way in ways:
        try:
            found: Any = way.from_pretrained(str(path.parent), trust_remote_code=False, **gguf)
            tokenizer: Tokenizer = found.backend_tokenizer  # a tokenizer in Python alone has none
        except Exception as error:  # noqa: BLE001 - whatever its readers raise
            reasons.append(first_line(error))
            continue
        wrong = _unlike_sentencepiece(tokenizer, path) if path.suffix == ".model" else None
        if wrong is None:
            return found
        reasons.append(wrong)
    raise InputError(
        f"tokenizer {path} cannot be converted by transformers ({reasons[0]}); save it as tokenizer.json where it can "
        "be, by save_pretrained of transformers' AutoTokenizer, and name that file"
    )


def sentencepiece(path: Path) -> Any:
    """Returns SentencePiece's own reading of a `.model` file."""
    from sentencepiece import SentencePieceProcessor

    return SentencePieceProcessor(model_file=str(path))


def _unlike_sentencepiece(tokenizer: Tokenizer, path: Path) -> str | None:
    """Returns where a conversion gives other tokens than SentencePiece itself, in words.

    Some conversions lose the space before the first word without a warning. White space at the ends of a text is not
    compared, because no conversion keeps it.
    """
    model = sentencepiece(path)
    for text in _PLAIN:
        theirs = [tokenizer.id_to_token(i) for i in model.encode(text)]
        ours = tokenizer.encode(text, add_special_tokens=False).tokens
        if ours != theirs:
            return f"{text!r} becomes {' '.join(ours[:4])}, SentencePiece makes it {' '.join(map(str, theirs[:4]))}"
    return None
