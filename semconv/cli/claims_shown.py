"""Prints how a run compares with its claims and with the reference results."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.table import Table
from rich.text import Text

from semconv.cli.plain import table
from semconv.cli.terminal import err, out, warn
from semconv.system.harmless_text import visible

if TYPE_CHECKING:
    from semconv.results.claims import Checked
    from semconv.results.reference_run import Comparison
    from semconv.results.schema import Results

_SHOWN = 10  # differences from the reference that are listed


def _claims_table(checked: list[Checked]) -> Table:
    grid = table("claim", "statement", "expected", "observed", "verdict", title="Claims")
    colours = {"pass": "green", "FAIL": "bold red", "not run": "yellow"}
    for c in sorted(checked, key=lambda c: c.verdict == "not run"):
        verdict = Text(c.verdict, colours[c.verdict])
        grid.add_row(*map(visible, (c.claim.id, c.claim.statement, c.claim.wanted, c.found)), verdict)
    return grid


def _counts(checked: list[Checked]) -> str:
    passed, failed, not_run = (sum(c.verdict == v for c in checked) for v in ("pass", "FAIL", "not run"))
    return f"{passed} claims pass, {failed} fail, {not_run} were not run."


def _reference_lines(found: Comparison) -> list[str]:
    lines = [
        f"Reference: {found.values} values, {found.identical} identical, {found.within} within their tolerance, "
        f"{len(found.outside)} outside" + (f", {found.left_out} left out, as allowed." if found.left_out else ".")
    ]
    for d in found.outside[:_SHOWN]:
        lines.append(f"  {visible(d.path)}: expected {d.expected!r} give or take {d.allowed:.3g}, found {d.observed!r}")
    if len(found.outside) > _SHOWN:
        lines.append(f"  and {len(found.outside) - _SHOWN} more (--json lists all)")
    return lines


def _plain(markdown: str) -> str:
    """Returns a sentence of a report without its marks."""
    return markdown.replace("**", "").replace("`", "")


def finish(
    results: Results,
    checked: list[Checked],
    as_json: bool,
    extra: dict[str, str],
    reference: Comparison | None = None,
) -> None:
    """Prints warnings, the answer, then verdicts; exit code 1 if a claim failed or a value is out of its tolerance."""
    from semconv.report.answer import answer
    from semconv.results.claims import about, none_about
    from semconv.study.order import in_order

    warn(results.warnings)
    own, others = about(checked, results.suite)
    told = answer(in_order(results))
    failed = [c.claim.id for c in checked if c.verdict == "FAIL"]
    if as_json:
        claims = [{**asdict(c.claim), "observed": c.observed, "verdict": c.verdict} for c in own]
        printed = {
            "claims": claims,
            "failed": failed,
            "other_claims": len(checked) - len(own),
            "warnings": list(results.warnings),
            "answer": [_plain(sentence) for sentence in told.sentences],
        }
        beside = {"reference": asdict(reference)} if reference else {}
        print(json.dumps({**printed, **beside, **extra}, indent=2, default=repr))  # noqa: T201
    else:
        for sentence in filter(None, (told.found, told.open)):  # report and page say the rest
            out.print(visible(_plain(sentence)), soft_wrap=True)
        if own:
            out.print(_claims_table(own))
            out.print(_counts(own))
        else:
            out.print(visible(none_about(results.suite)), soft_wrap=True)
        if others:
            out.print(visible(others), soft_wrap=True)
        for line in _reference_lines(reference) if reference else ():
            out.print(line, soft_wrap=True)
        for what, where in extra.items():
            out.print(f"{what.capitalize()}: {visible(where)}", soft_wrap=True)
    if failed or (reference and reference.outside):
        raise typer.Exit(1)


def exit_if_nothing_was_checked(checked: list[Checked], suite: str, reference: Path | None) -> None:
    """Exits with code 1 if there was neither a claim nor a reference to check the run against."""
    if reference is None and all(c.claim.suite != suite or c.verdict == "not run" for c in checked):
        err.print(
            f"semconv: nothing was checked: no claim could be, and there is no reference for suite {suite}; name them "
            "with --claims and --reference",
            style="red",
            soft_wrap=True,
        )
        raise typer.Exit(1)
