"""Counts what was done with hostile inputs, and leaves the long part to `make hostile`."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from typing import Any

EVERYTHING = os.environ.get("SEMCONV_HOSTILE") == "1"
collect_ignore = [] if EVERYTHING else ["test_kills.py"]
OUTCOMES = ("tried", "refused in one sentence", "accepted rightly", "a failed check, told", "wrong")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Prints a line for every kind of input; a test says with `record_property("hostile", ...)` what it counted."""
    if not EVERYTHING:
        return
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    reports = [one for outcome in ("passed", "failed") for one in terminalreporter.stats.get(outcome, [])]
    for report in reports:
        for name, value in report.user_properties:
            if name == "hostile":
                kind, found = value
                counts[kind].update(found)
                counts["all"].update(found)
    width = max(map(len, [*counts, "kind"]))
    terminalreporter.section("hostile inputs")
    terminalreporter.write_line("  ".join([f"{'kind':{width}}", *OUTCOMES]))
    for kind, found in sorted(counts.items(), key=lambda item: (item[0] == "all", item[0])):
        terminalreporter.write_line(
            "  ".join([f"{kind:{width}}", *(f"{found[outcome]:{len(outcome)}d}" for outcome in OUTCOMES)])
        )
