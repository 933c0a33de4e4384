"""Checks that what is published does not identify its author, and lists the names that are left in it."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path

from semconv.suite.config import suite_from_json
from semconv.system.errors import InputError, SemconvWarning
from semconv.system.harmless_text import visible
from semconv.system.leaks import leaks
from semconv.system.private_words import access_tokens, personal_words

_MOST_LISTED = 3  # finds that the message of a refused archive lists


def check_leaks(
    members: Iterable[tuple[str, bytes]], folders: Iterable[Path], anonymous: bool, allowed: Iterable[str] = ()
) -> None:
    """Raises InputError if files that are to be published identify their author or hold an access token.

    If they need not be anonymous, paths of this machine are only warned of; earlier versions wrote them into runs.

    Args:
        members: names and contents of the files that are to be published.
        folders: further folders whose paths must not be published.
        anonymous: refuse everything that `personal_words` lists, not only tokens.
        allowed: personal words that may be there all the same; tokens never may.

    Raises:
        InputError: says in which file what was found.
    """
    passed, wanted = set(allowed), ("folder", "anywhere", "word", "in paths") if anonymous else ("folder",)
    personal = [word for word in personal_words(folders) if word.rule in wanted and word.value not in passed]
    words = [*access_tokens(), *personal]
    found = [(name, word) for name, content in members for word in leaks(name, content, words)]
    tokens = [(name, word) for name, word in found if word.rule == "token"]
    listed = list(dict.fromkeys(f"{visible(name)} holds {visible(word.shown)}" for name, word in tokens or found))
    some = ", ".join(listed[:_MOST_LISTED]) + (
        f" (and {len(listed) - _MOST_LISTED} more like this)" if len(listed) > _MOST_LISTED else ""
    )
    if tokens:
        raise InputError(
            f"no archive was written, because {some}, which whoever reads it could use; take it out, and revoke it if "
            "anybody has seen it"
        )
    if found and anonymous:
        raise InputError(
            f"no archive was written, because {some}, which would give you away; a run made again with this version "
            "shortens paths, and --allow WORD lets pass what is not yours, such as an ordinary word of the text"
        )
    if found:
        warnings.warn(f"{some}; a run made again with this version shortens paths", SemconvWarning, stacklevel=3)


def names_left(folder: Path) -> list[str]:
    """Returns the names in a run's suite that a reader could recognise: repositories, data sets, files and folders.

    Those with a slash, such as OWNER/NAME, come first.

    Raises:
        InputError: the suite is missing or damaged.
    """
    suite = suite_from_json(folder / "suite.json")
    models = [suite.model_a, suite.model_b, *(m for c in suite.controls for m in (c.model_a, c.model_b))]
    names = [suite.name, suite.corpus.path, suite.corpus.tokenizer, *(model.path for model in models)]
    names += [suite.align.tokenizer_b if suite.align else "", *(model.name for model in models)]
    names += [sae.path or sae.release for model in models for sae in model.saes]
    names += [suite.subspaces.categories if suite.subspaces else ""]
    left = {name.removeprefix("hub:") for name in names if name and not name.startswith("asset:")}
    return sorted(left, key=lambda name: ("/" not in name, name))
