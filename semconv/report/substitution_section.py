"""Whether partners can stand in for features, as report.md and the page tell it: sentences and a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from semconv.report.shown import show, table
from semconv.report.table_cells import Rows
from semconv.report.texts import p_told
from semconv.results.schema import Function, FunctionTest, Reason, Replacement, SubstitutedPairOrReason, Substitution
from semconv.statistics.permutation import LEVEL

TITLE = "Whether a partner can stand in for a feature"
REPLACED = {
    "partner": "partner",
    "best_alternate": "best alternate of each pair",
    "same_token": "same token",
    "second_best": "second best by r",
    "co_active": "most co-active",
    "random": "random direction",
}
"""What takes the place of a contribution -> its name in tables."""
SUBSTITUTION_TEXT = (
    "A feature's contribution, its activation times its decoder row, is taken out of its model's stream at a position "
    "where both features of the pair fire, and what the partner adds to the other stream is put there, taken through "
    "the affine map between the streams; of two streams' difference only the map's linear part is left. Pairs were "
    "matched and the map fitted on other documents. *KL recovered* is 1 less the divergence that is left over that "
    "with nothing in the place, both summed over all positions: 1 if the prediction stays as it is, below 0 if it is "
    "further off than with nothing. *Loss recovered* is the same of the loss of the next token. *As mapped*, the "
    "partner has its own activation and the others are made as large; with the *same norm*, all are as large as what "
    "they replace. Alternates and random direction are put in whether they fire there or not. What points "
    "elsewhere does harm, the more the larger it is: so random directions lie below 0. Every model is compared with "
    "itself, so no tokens need to be shared."
)


@dataclass(frozen=True)
class ShownSubstitution:
    """What is shown of one layer pair.

    Attributes:
        summary: sentences.
        rows: the table.
    """

    summary: str
    rows: Rows


def shown_substitution(function: Function) -> list[ShownSubstitution]:
    """Returns what is shown of every layer pair at which contributions are replaced; nothing where none are."""
    found = function.substitution or {}
    return [ShownSubstitution(substitution_sentences(key, one), substitution_rows(one)) for key, one in found.items()]


def substitution_sentences(key: str, found: SubstitutedPairOrReason) -> str:
    """Returns in words how much partners undo, and whether that is more than the best alternates do."""
    if isinstance(found, Reason):
        return f"**{TITLE}**, layers {key}: not told ({found.reason})."
    few = f"; {found.too_few} more fire together in too few documents" if found.too_few else ""
    pairs = f"{found.pairs - found.too_few} pairs at {found.positions} positions each{few}"
    both = (("A", "B", found.into_a), ("B", "A", found.into_b))
    told = " ".join(_sentence(own, other, one) for own, other, one in both)
    sizes = " ".join(_sizes(own, one) for own, _, one in both)
    return f"**{TITLE}** (layers {key}; {pairs}): {told} {sizes} {_conclusion(found.into_a, found.into_b)}"


def _sentence(own: str, other: str, one: Substitution) -> str:
    by, test = one.as_mapped.by, one.as_mapped.beyond
    partner = by["partner"]
    error = f" ± {_share(partner.kl_error)}" if partner.kl_error is not None else ""
    begin = (
        f"In place of {own}'s contributions {other}'s mapped ones recover {show(_share(partner.kl_recovered))}"
        f"{error} of the divergence"
    )
    if isinstance(test, Reason):
        return f"{begin} ({test.reason})."
    negatives = (
        f"the best alternate of each pair {show(_share(by['best_alternate'].kl_recovered))}, a random direction "
        f"{show(_share(by['random'].kl_recovered))}"
    )
    beyond = f" ± {show(test.error)}" if test.error is not None else ""
    return (
        f"{begin}, {negatives}; partner beyond best alternate {show(test.difference)}{beyond} nats a position "
        f"(p {show(p_told(test.p, None, of=test.draws))}, {test.higher:.0%} of {test.pairs} pairs)."
    )


def _conclusion(*both: Substitution) -> str:
    """Returns what that says, of both directions."""
    shares = [one.as_mapped.by["partner"].kl_recovered for one in both]
    ahead = [_is_ahead(one.as_mapped.beyond) for one in both]
    known = [share for share in shares if share is not None]
    if len(known) < len(both):
        return "Contributions do too little there to tell what could stand in for them."
    most, least = max(known), min(known)
    if most <= 0:
        return "So a partner cannot stand in for a feature: with it predictions are no nearer than with nothing."
    best = {
        (True, True): "in both models they are ahead of the best alternates",
        (False, False): "in neither model are they told from the best alternates",
    }.get((ahead[0], ahead[1]), "in one model alone they are ahead of the best alternates")
    some = _share(max(least, 0.0)) if least == most else f"{_share(max(least, 0.0))} to {_share(most)}"
    same = " and ".join(_with_error(one.same_norm.by["partner"]) for one in both)
    return (
        f"So partners undo {some} of what the absence of features does to predictions, and {best}; made as large as "
        f"what they replace they recover {same}."
    )


def _with_error(one: Replacement) -> str:
    error = f" ± {_share(one.kl_error)}" if one.kl_error is not None else ""
    return f"{show(_share(one.kl_recovered))}{error}"


def _share(share: float | None) -> str | None:
    """Returns a share, which can be below 0 and beyond -1, as a percentage; None where there is none."""
    if share is None:
        return None
    return f"{show(100 * share)}%" if abs(share) >= 1 else f"{100 * share:z.1f}".removesuffix(".0") + "%"


def _is_ahead(test: FunctionTest | Reason) -> bool:
    return isinstance(test, FunctionTest) and test.difference > 0 and test.p <= LEVEL


def substitution_rows(found: SubstitutedPairOrReason) -> Rows:
    """Returns what everything that takes the place of contributions recovers, in A and in B."""
    rows = list[Sequence[object]]()
    both = () if isinstance(found, Reason) else (("A's", found.into_a), ("B's", found.into_b))
    for what, one in both:
        for name, label in REPLACED.items():
            mapped, same = one.as_mapped.by.get(name), one.same_norm.by.get(name)
            if mapped is None or same is None:
                continue
            shares = [
                _share(value)
                for of in (mapped, same)
                for value in (of.kl_recovered, of.kl_error, of.loss_recovered, of.loss_error)
            ]
            rows.append([what, label, mapped.pairs, *shares, one.cosine.get(name)])
    measured = ["KL recovered", "its error", "loss recovered", "its error"]
    same = [f"{name}, same norm" if name != "its error" else name for name in measured]
    return Rows(["replaced", "with", "pairs", *measured, *same, "cosine"], rows)


def _sizes(into: str, one: Substitution) -> str:
    """Returns how good the map into a stream is, and how large all is that was taken away and put there."""
    error = f" ± {show(one.loss_without_error)}" if one.loss_without_error is not None else ""
    without = f"diverge by {show(one.kl_without)} nats and the loss is {show(one.loss_without)}{error} higher"
    size = f"what is mapped has {show(one.norm)} of their norm"
    return f"Into {into} the map has R² {show(one.r2)}; without contributions predictions {without}; {size}."


def substitution_section(function: Function) -> str:
    """Returns this part of the section of report.md; nothing where no contributions are replaced."""
    shown = shown_substitution(function)
    tables = [
        "\n\n".join([one.summary, *([table([*map(str, one.rows.header)], one.rows.rows)] if one.rows.rows else [])])
        for one in shown
    ]
    return "\n\n".join([*tables, SUBSTITUTION_TEXT]) if shown else ""
