"""Which way of matching finds features that do the same, as report.md and the page tell it: sentences and a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from semconv.report.scales import rounded
from semconv.report.shown import percent, show, table
from semconv.report.table_cells import Rows
from semconv.results.schema import ComparedRules, ComparedRulesOrReason, Function, Reason, RuleAgreement, RuleBand

TITLE = "Which matching finds features that do the same"
RULES = {
    "best": "best",
    "mutual": "mutual",
    "greedy": "greedy",
    "optimal": "optimal",
    "within_token": "r within tokens",
    "decoder_cosine": "mapped decoder rows",
    "r_above_0_3": "own, r above 0.3",
    "r_above_0_5": "own, r above 0.5",
}
"""Rule of matching -> its name in tables and sentences."""
RULES_TEXT = (
    "Every rule finds its pairs on one half of the documents and they are ablated in the other, those of the same "
    "features of B, drawn at random, for all rules. *Best* gives every feature in B the one in A of the highest r, "
    "*mutual* keeps those that are each other's best, *greedy* and *optimal* pair one to one, *r within tokens* takes "
    "each feature's mean over a token off first; all pass the filters of the suite. *Mapped decoder rows* never asks "
    "for r: A's decoder rows are mapped into B's stream and assigned to B's by their cosines; since a feature is "
    "ablated along its decoder row, this rule looks at part of what is measured. The hard negatives are those by r, "
    "whatever the rule. The columns by r take r over all positions, so rules can be compared at like r."
)
_TOLD_APART = 2.7
"""Standard errors beyond which, by chance, one of seven normal differences lies in 5% of cases (Bonferroni)."""


@dataclass(frozen=True)
class ShownRules:
    """What is shown of the rules at one layer pair.

    Attributes:
        summary: sentences.
        rows: the table.
    """

    summary: str
    rows: Rows


def shown_rules(function: Function) -> list[ShownRules]:
    """Returns what is shown of every layer pair at which rules are compared; nothing where none are."""
    return [ShownRules(rules_sentences(key, found), rules_rows(found)) for key, found in (function.rules or {}).items()]


def rules_sentences(key: str, found: ComparedRulesOrReason) -> str:
    """Returns in words which rules differ from the suite's own, and what that says to who matches features."""
    if isinstance(found, Reason):
        return f"**{TITLE}**, layers {key}: not told ({found.reason})."
    told = {name: one for name, one in found.rules.items() if isinstance(one, RuleAgreement)}
    some = f"{found.drawn} of {found.partners}" if found.drawn < found.partners else f"all {found.drawn}"
    what = (
        f"**{TITLE}** (layers {key}; {found.pairs} pairs of {some} features in B that some rule pairs, ablated at "
        f"{found.positions} positions each): "
    )
    own = told.get(found.own)
    if own is None or own.agreement is None:
        return what + "the suite's own rule has no pair that could be compared."
    begin = f"the effects of the pairs of this suite's own rule ({RULES[found.own]}) correlate {_value(own)}. "
    return what + begin + _advice(found.own, told)


def _advice(own: str, told: dict[str, RuleAgreement]) -> str:
    """Returns which rules are told apart from the suite's own, with what each finds."""
    apart = {name: one for name, one in told.items() if name != own and _is_apart(one)}
    if not apart:
        return (
            f"No other rule differs from it by more than {_TOLD_APART} standard errors, so nothing here speaks for "
            "another."
        )
    higher = [_found(name, one) for name, one in apart.items() if (one.difference or 0) > 0]
    lower = [_found(name, one) for name, one in apart.items() if (one.difference or 0) < 0]
    parts = [f"Higher: {'; '.join(higher)}."] if higher else []
    parts += [f"Lower: {'; '.join(lower)}."] if lower else []
    least = f"Of all others the difference is within {_TOLD_APART} standard errors."
    parts += [least] if len(apart) < len(told) - 1 else []
    if not higher:
        return " ".join([*parts, "So nothing here speaks for another rule."])
    n = told[own].matched
    who = "these rules" if len(higher) > 1 else "this rule"
    return " ".join(
        [*parts, f"Pairs that do more alike are found here by {who}; the suite's own rule finds {n} pairs."]
    )


def _is_apart(one: RuleAgreement) -> bool:
    difference, error = one.difference, one.difference_error
    return difference is not None and error is not None and abs(difference) > _TOLD_APART * error > 0


def _found(name: str, one: RuleAgreement) -> str:
    error = f" ± {rounded(one.difference_error)}"
    return f"{RULES[name]} by {rounded(abs(one.difference or 0))}{error} ({one.matched} pairs found)"


def _value(one: RuleAgreement) -> str:
    return f"{rounded(one.agreement)}" + (f" ± {rounded(one.error)}" if one.error is not None else "")


def rules_rows(found: ComparedRulesOrReason) -> Rows:
    """Returns what the pairs of every rule do, in all and by bands of r."""
    rows = list[Sequence[object]]()
    bands = [] if isinstance(found, Reason) else _bands(found)
    for name, one in ({} if isinstance(found, Reason) else found.rules).items():
        if isinstance(one, Reason):
            rows.append([RULES[name], *[None] * (9 + len(bands)), one.reason])
            continue
        rows.append(
            [
                RULES[name],
                one.matched,
                one.pairs,
                one.agreement,
                one.error,
                one.difference,
                one.difference_error,
                one.beyond,
                one.beyond_error,
                percent(one.higher),
                *map(_band, one.by_r),
                _too_few(one),
            ]
        )
    header = ["matched by", "pairs found", "ablated", "agreement", "its error", "less own rule", "its error"]
    header += ["partner less best negative", "its error", "pairs above", *bands, "note"]
    return Rows(header, rows)


def _bands(found: ComparedRules) -> list[str]:
    """Returns what the bands of r are called, with what stands in their cells."""
    first = next((one for one in found.rules.values() if isinstance(one, RuleAgreement)), None)
    return [_edges(band) for band in first.by_r] if first is not None else []


def _edges(band: RuleBand) -> str:
    begin = f"r above {band.above:g}" if band.above > -1 else "r"
    end = f" up to {band.up_to:g}" if band.up_to < 1 else ""
    return f"{begin}{end} (pairs)"


def _band(band: RuleBand) -> str | None:
    return f"{show(band.agreement)} ({band.pairs})" if band.pairs else None


def _too_few(one: RuleAgreement) -> str:
    n = one.drawn - one.pairs
    return f"{n} fire together in too few documents" if n else ""


def rules_section(function: Function) -> str:
    """Returns this part of the section of report.md; nothing where no rules are compared."""
    shown = shown_rules(function)
    tables = [
        "\n\n".join([one.summary, *([table([*map(str, one.rows.header)], one.rows.rows)] if one.rows.rows else [])])
        for one in shown
    ]
    return "\n\n".join([*tables, RULES_TEXT]) if shown else ""
