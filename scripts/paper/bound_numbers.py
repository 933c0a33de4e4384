"""Finds numbers in sentences about results that no comment binds to their source (`paper_numbers.py`).

Sentences about results are the paragraphs of the sections in `SECTIONS` and every paragraph of a document that quotes
the reference run. A number there is bound if the comment below the paragraph quotes it. What names something is no
result: layers, levels and thresholds that are stated as such, percentages, code, and addresses.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from semconv.results.claims import check_claims, load_claims
from semconv.results.read import read_results

SECTIONS = {"README.md": ("What the mini suite shows",)}
"""Document -> headings whose every paragraph is about results."""
_COMMENT = re.compile(r"<!-- numbers: (\S+) (.+?) -->", re.DOTALL)
_NAMES = re.compile(
    r"`[^`]*`|\]\([^)]*\)|(?:layers? )?\d+(?: ?x ?|\n?x )\d+|\d+%|layers? \d+|[pq] < 0\.05|r above 0\.1\b"
    r"|arXiv \d+\.\d+|SmolLM2-\d+M|E\d"
)
_NUMBER = re.compile(r"(?<![\w.,])-?\d+(?:,\d{3})*(?:\.\d+)?(?!\w)")


def counts_of_claims(path: Path, reference: Path) -> dict[str, int]:
    """Returns how many claims the reference run checks, how many of them pass, and how many are about other suites."""
    verdicts = [one.verdict for one in check_claims(load_claims(path), read_results(reference))]
    others = verdicts.count("not run")
    return {"checked": len(verdicts) - others, "passed": verdicts.count("pass"), "others": others}


def counts_of_calibration(path: Path) -> dict[str, int]:
    """Returns how many tests of the calibration study must be uniform, and how many are, from what it printed."""
    found = re.search(r"^(\d+) of (\d+) tests that must be uniform", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {"uniform": int(found[1]), "tests": int(found[2])} if found else {}


def counts(path: Path, reference: Path) -> Any:
    """Returns the counts that a file stands for which is no JSON."""
    return counts_of_claims(path, reference) if path.suffix == ".toml" else counts_of_calibration(path)


def _of_section(text: str, heading: str) -> str:
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return found[1] if found else ""


def unbound(name: str, text: str, reference: str) -> list[str]:
    """Returns the numbers of a document's sentences about results that are bound to nothing, each with its paragraph.

    Args:
        name: of the document.
        text: of the document.
        reference: folder of the reference run, as comments name it.
    """
    checked = [_of_section(text, heading) for heading in SECTIONS.get(name, ())]
    whole = "\n\n".join(checked)
    about = [one for one in text.split("\n\n") if f"<!-- numbers: {reference}/" in one and one not in whole]
    found: list[str] = []
    for paragraph in [*whole.split("\n\n"), *about]:
        comment = _COMMENT.search(paragraph)
        quoted = re.findall(r"(?:^|\|)\s*(\S+) = ", comment[2]) if comment else []
        sentences = _NAMES.sub(" ", _COMMENT.sub("", paragraph))
        if paragraph.lstrip().startswith(("|", "<!--", "```", "#")):
            continue
        missing = [number for number in _NUMBER.findall(sentences) if number not in quoted]
        found += [f"{name}: {number} in the paragraph {paragraph.strip()[:50]!r}" for number in missing]
    return found
