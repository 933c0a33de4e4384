"""At which positions features do the same, as report.md and the page tell it: sentences and a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from semconv.report.scales import rounded
from semconv.report.shown import percent, show, table
from semconv.report.table_cells import Rows
from semconv.report.texts import p_told
from semconv.results.schema import (
    Function,
    PositionDifference,
    PositionDifferenceOrReason,
    PositionKind,
    PositionKinds,
    Reason,
)

TITLE = "At which positions features do the same"
KINDS = {
    "uniform": "drawn",
    "strongest": "strongest",
    "elsewhere": "A's elsewhere",
    "here": "both here",
}
"""Kind of positions -> its name in the table; `strongest` and `here` stand below what they are compared with."""
KINDS_TEXT = (
    "The same pairs, matched on one half of the documents, are ablated in the other at positions where both features "
    "fire: some *drawn* uniformly, and the *strongest*, those of the largest product of both activations. Where the "
    "token of a drawn position stands at another such position of the pair, A's feature is also ablated *elsewhere*, "
    "at the other, and B's *here*: what agrees then is what both do wherever that token stands, and what goes is what "
    "they do alike because of the one context. p is of flipped signs, pairs of one token together, on both sides of "
    "zero."
)
_LEVEL = 0.05  # of p from which on a difference is not told apart from none


@dataclass(frozen=True)
class ShownKinds:
    """What is shown of kinds of positions.

    Attributes:
        summary: sentences, one text for each layer pair.
        rows: the table, four rows for each layer pair.
    """

    summary: Sequence[str]
    rows: Rows


def shown_kinds(function: Function) -> ShownKinds | None:
    """Returns what is shown of the layer pairs at which kinds of positions are compared; None where none are."""
    kinds = function.position_kinds
    if not kinds:
        return None
    told = [
        f"**{TITLE}**, layers {key}: not told ({found.reason})."
        if isinstance(found, Reason)
        else kinds_sentences(key, found)
        for key, found in kinds.items()
    ]
    return ShownKinds(told, _rows({key: one for key, one in kinds.items() if isinstance(one, PositionKinds)}))


def kinds_sentences(key: str, found: PositionKinds) -> str:
    """Returns in words whether the strongest positions differ from drawn ones, and what the same token leaves."""
    kinds = found.kinds
    what = f"**{TITLE}** (layers {key}; {found.pairs - found.too_few} pairs, {found.positions} positions of a kind)"
    strongest = (
        f"partners' effects correlate {_value(kinds['uniform'])} at positions drawn uniformly and "
        f"{_value(kinds['strongest'])} at the strongest, "
        + _told(found.strongest_less_uniform, "more alike by", "less alike by")
    )
    return f"{what}: {strongest}. {_of_token(found)}."


def _of_token(found: PositionKinds) -> str:
    here, elsewhere, less = found.kinds["here"], found.kinds["elsewhere"], found.here_less_elsewhere
    if isinstance(less, Reason):
        return f"What the same token leaves is not told ({less.reason})"
    return (
        f"With A's feature ablated at another position of the same token they still correlate {_value(elsewhere)}, "
        f"beside {_value(here)} at one position: the one context adds " + _told(less, "", "nothing; it takes away")
    )


def _value(one: PositionKind) -> str:
    if one.agreement is None:
        return "not told"
    return rounded(one.agreement) + (f" ± {rounded(one.error)}" if one.error is not None else "")


def _told(found: PositionDifferenceOrReason, more: str, less: str) -> str:
    """Returns a difference in words, and whether p tells it from none."""
    if isinstance(found, Reason):
        return f"not told ({found.reason})"
    error = f" ± {rounded(found.error)}" if found.error is not None else ""
    how = f"{more if found.difference > 0 else less} {rounded(abs(found.difference))}{error}".strip()
    unclear = ", not told from no difference" if found.p > _LEVEL else ""
    return f"{how} (p {show(_p(found))}{unclear})"


def _p(found: PositionDifference) -> float | str:
    return p_told(found.p, None, of=found.draws)


def _rows(kinds: dict[str, PositionKinds]) -> Rows:
    rows = list[Sequence[object]]()
    for key, found in kinds.items():
        less = {"strongest": found.strongest_less_uniform, "here": found.here_less_elsewhere}
        for name, label in KINDS.items():
            one = found.kinds[name]
            means = one.agreement, one.error, one.beyond, one.beyond_error
            cells, note = _difference(less.get(name)), f"{found.too_few} pairs fire together in too few documents"
            few = note if found.too_few and name == "uniform" else ""
            rows.append([key, label, one.pairs, one.positions, *means, *cells[:-1], cells[-1] or few])
    header = ["A x B layer", "positions", "pairs", "positions in all", "partner", "its error"]
    header += ["partner less best negative", "its error", "partner less the row above", "its error", "p"]
    return Rows([*header, "pairs above", "note"], rows)


def _difference(found: PositionDifferenceOrReason | None) -> list[object]:
    """Returns the cells of a difference, and a reason where there is none."""
    if found is None or isinstance(found, Reason):
        return [*[None] * 4, found.reason if found is not None else ""]
    return [found.difference, found.error, _p(found), percent(found.higher), ""]


def kinds_section(function: Function) -> str:
    """Returns this part of the section of report.md; nothing where no kinds are compared."""
    shown = shown_kinds(function)
    if shown is None:
        return ""
    content = [table([*map(str, shown.rows.header)], shown.rows.rows), KINDS_TEXT] if shown.rows.rows else []
    return "\n\n".join([*shown.summary, *content])
