"""The errors and warnings of semconv, and helpers that turn errors of libraries into one sentence."""

from __future__ import annotations

import difflib
from collections.abc import Generator
from contextlib import contextmanager


class SemconvError(Exception):
    """Base of every error that semconv raises on purpose; the message is one sentence for the user.

    Examples:
        One `except` for everything that semconv has to say:

        >>> import semconv
        >>> try:
        ...     semconv.load_results("no/such/folder")
        ... except semconv.SemconvError as error:
        ...     print(error)
        no/such/folder holds no results.json; run `semconv reproduce` first
    """


class InputError(SemconvError, ValueError):
    """Bad input: says what was expected and what was found. The command line turns it into exit code 2.

    Examples:
        It is a ValueError too:

        >>> import semconv
        >>> try:
        ...     semconv.compare.MutualKNN(k=0)
        ... except ValueError as error:
        ...     print(type(error).__name__, "-", error)
        InputError - mutual k-NN needs k of at least 1, got 0
    """


def nearest(word: str, known: tuple[str, ...] | list[str]) -> str:
    """Returns a hint that names the known word nearest to a mistyped one; empty if none is near."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.4)
    return f" (did you mean {close[0]!r}?)" if close else ""


def first_line(error: BaseException) -> str:
    """Returns the first line of a library's message, joined with the second if the first ends in a colon."""
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
    """Within it, an error that a library raises while it reads a user's file becomes an InputError of one sentence.

    Put only the call of the library inside: a bug of semconv in there would look like a damaged file.

    Args:
        what: begins the sentence, such as `cannot load model x`.

    Raises:
        InputError: in place of any other exception, except one that says that memory is too small.
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
        if type(error).__name__ != "PanicException":  # of libraries in Rust; it is no Exception
            raise
        raise InputError(f"{what}: {first_line(error)}") from None


_SENTENCES = (Exception, OSError, FileNotFoundError, ValueError, RuntimeError)
"""Types of errors whose messages are shown without the name of the type before them."""


class SemconvWarning(UserWarning):
    """Something is not as it should be, but the run continues."""
