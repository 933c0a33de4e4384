"""Shared value types and the one error class that a user's bad input raises."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor


class SemconvError(Exception):
    """Base of every error that semconv raises on purpose; the message is one sentence for the user."""


class InputError(SemconvError, ValueError):
    """Bad input: says what was expected and what was found. The command line turns it into exit code 2."""


def nearest(word: str, known: tuple[str, ...] | list[str]) -> str:
    """Returns a hint with the nearest known word, or nothing."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.4)
    return f" (did you mean {close[0]!r}?)" if close else ""


def first_line(error: BaseException) -> str:
    """Returns the first line of a library's message for one sentence, and the second where the first leads up to it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[: 2 if lines and lines[0].endswith(":") else 1]) or type(error).__name__


def short_of_memory(error: BaseException) -> bool:
    """Whether an error, of Python or of torch on a CPU or a GPU, says that memory is too small."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"  # torch is not loaded for its name
        or "can't allocate memory" in str(error)
    )


@contextmanager
def refusing(what: str) -> Generator[None]:
    """Turns whatever a library raises, while it works on what others wrote, into one sentence.

    For the call of the library alone: a mistake of ours in it would pass for one of theirs.

    Args:
        what: begins the sentence, such as `cannot load model x`.

    Raises:
        InputError: instead of anything else, memory that is too small excepted.
    """
    try:
        yield
    except SemconvError:
        raise
    except Exception as error:
        if short_of_memory(error):
            raise
        kind = "" if type(error) in _SENTENCES else f"{type(error).__name__}: "
        raise InputError(f"{what}: {kind}{first_line(error)}") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of libraries in Rust; no Exception, for nobody to catch
            raise
        raise InputError(f"{what}: {first_line(error)}") from None


_SENTENCES = (Exception, OSError, FileNotFoundError, ValueError, RuntimeError)
"""Whose messages need no name of the error before them."""


class SemconvWarning(UserWarning):
    """Something is not as it should be, and the work goes on."""


COUNTED = "all positions but BOS, EOS and PAD"
"""Which positions count, in words, where nothing else is asked for."""


@dataclass(frozen=True)
class TokenBlocks:
    """Token ids cut into rows of one context length.

    Attributes:
        ids: int32 [n_seq, context].
        mask: bool [n_seq, context], True where a position counts in the statistics.
        document: int32 [n_seq, context], which document a position belongs to, -1 where the mask is False.
        place: int32 [n_seq, context], which token of its document stands there, -1 where the mask is False; None where
            the counted tokens of every document are its first.
        rule: which positions count, in words.
    """

    ids: Tensor
    mask: Tensor
    document: Tensor
    place: Tensor | None = None
    rule: str = COUNTED

    def __post_init__(self) -> None:
        kinds = (("ids", torch.int32), ("mask", torch.bool), ("document", torch.int32), ("place", torch.int32))
        for name, dtype in kinds[: 3 if self.place is None else 4]:
            value: Tensor = getattr(self, name)
            if value.dtype != dtype or value.shape != self.ids.shape or value.dim() != 2:
                raise InputError(
                    f"TokenBlocks.{name} must be {dtype} {list(self.ids.shape)}, got {value.dtype} {list(value.shape)}"
                )

    @property
    def n_tokens(self) -> int:
        """Number of positions that count."""
        return int(self.mask.sum())

    def runs(self) -> Tensor:
        """Returns the run of every counted position, int64 [n_tokens], numbered from 0 in order.

        A run is a stretch of counted positions that stand next to each other in one row and belong to one document, so
        that what lies within a run is text without a gap.
        """
        place = self.mask.flatten().nonzero()[:, 0]
        document, row = self.document.flatten()[place], place // self.ids.shape[1]
        new = (place.diff() != 1) | (row.diff() != 0) | (document.diff() != 0)
        return torch.cat([place[:1] * 0, new.cumsum(0)])

    @property
    def sha256(self) -> str:
        """SHA-256 over shape, ids and mask: two runs with this hash saw the same tokens."""
        digest = hashlib.sha256(repr(tuple(self.ids.shape)).encode())
        digest.update(self.ids.contiguous().numpy().tobytes())
        digest.update(self.mask.contiguous().numpy().tobytes())
        return digest.hexdigest()
