"""The verdict on the floor: whether trained models agree more than models that learned nothing."""

from __future__ import annotations

from dataclasses import dataclass

from semconv.report.beyond_tokens import in_words
from semconv.report.result_values import (
    compared_floor,
    default_measure,
    embeddings_floors,
    key_of,
    null_of_strongest,
    test_of,
    title_of,
    value_of,
)
from semconv.report.shown import show
from semconv.report.table_cells import Row, Rows
from semconv.report.told_apart import p_of
from semconv.results.schema import LayerPair, Results
from semconv.statistics.permutation import LEVEL

_NOT_TESTED = "Whether one lies further above than the other has no test; the table holds every score."


@dataclass(frozen=True)
class Verdict:
    """What the floor says, in sentences.

    Attributes:
        opening: how many pairs both leave, or why nothing can be said.
        tested: by how many measures the trained models and their twins lie above a null, each by its own test; empty
            where no measure scores both.
        below: what is said of each measure by which the trained models do not score higher than their twins.
        rows: measure -> scores, z and p of both.
    """

    opening: str
    tested: str = ""
    below: tuple[str, ...] = ()
    rows: Rows | None = None

    @property
    def warning(self) -> str:
        """What the measures say that do not tell trained models from their twins; empty where all do."""
        if not self.below:
            return ""
        return (
            f"**They do not score higher by {'; '.join(self.below)}**: by these the agreement is no more than what "
            "SAEs "
            "of models that learned nothing show, for such SAEs still see which token they are at."
        )

    @property
    def text(self) -> str:
        """All of it as one paragraph."""
        return " ".join(part for part in (self.opening, self.tested, self.warning) if part)


def floor_verdict(results: Results) -> str:
    """Returns whether trained models agree more than models that learned nothing, as one paragraph."""
    return floor_comparison(results).text


def floor_comparison(results: Results) -> Verdict:
    """Returns whether the trained models agree more than their untrained twins, at the first floor's layers."""
    name = compared_floor(results)
    if name is None:
        return Verdict(
            "No untrained twin was compared at layers of the grid, so nothing here says that the agreement was learned."
        )
    floor = results.controls.pairs[name]
    cross = results.grid[key_of(floor)]
    where = f"layers {cross.sae_a} x {cross.sae_b}, where the suite has untrained twins"
    if any(_both(cross, floor, measure, "shuffle") for measure in results.summary):
        on = f"At {where}, on all their pairs ({cross.pairs} and {floor.pairs}),"
        return _tested(results, (cross, floor), "shuffle", "", on)
    counts = (
        f"At {where}, {cross.pairs} feature pairs of the trained models pass every filter, and {floor.pairs} of their "
        "twins."
    )
    strongest = results.controls.strongest.get(name)
    if strongest is None:
        return Verdict(
            f"{counts} With so few no measure scores both, so the number of pairs is all that this floor says: whether "
            "the geometry of what is shared was learned remains open."
        )
    on = f"On the {strongest.trained.pairs} strongest pairs of each, whether they agree or not,"
    return _tested(results, (strongest.trained, strongest.floor), null_of_strongest(results), counts, on)


def _both(cross: LayerPair, floor: LayerPair, measure: str, null: str) -> bool:
    return all(test_of(pair, measure, null) is not None for pair in (cross, floor))


def _tested(results: Results, both: tuple[LayerPair, LayerPair], null: str, opening: str, on: str) -> Verdict:
    """Returns what the tests of trained models and of their twins say, each against draws of its own."""
    below, lines, left_out, above = list[str](), list[list[object]](), list[str](), [0, 0]
    for measure in results.summary:
        tests = [test_of(pair, measure, null) for pair in both]
        trained, twins = tests
        if trained is None or twins is None:
            left_out.append(f"{title_of(measure)} (it does not score both)")
            continue
        if trained.sd == 0 or twins.sd == 0:
            left_out.append(f"{title_of(measure)} (no draw differs from another)")
            continue
        scores = [value_of(pair, measure, "score") for pair in both]  # of the pairs that `on` names
        if None in scores:
            left_out.append(f"{title_of(measure)} (it does not score both)")
            continue
        for place, test in enumerate((trained, twins)):
            above[place] += test.p < LEVEL
        lines.append(
            [title_of(measure), *scores, trained.z, twins.z, p_of(results, null, trained), p_of(results, null, twins)]
        )
        if not (scores[0] or 0.0) > (scores[1] or 0.0):
            below.append(f"{title_of(measure)} {show(scores[0])} against {show(scores[1])}")
    rows = Rows(
        [
            "measure",
            "trained",
            "twins",
            *(f"{what}, {whose} ({null})" for what in "zp" for whose in ("trained", "twins")),
        ],
        lines,
    )
    n = len(lines)
    without = f" Left out: {in_words(left_out)}." if left_out else ""
    if not n:
        return Verdict(f"{opening} No measure scores both.".strip())
    told = (
        f"{on} the trained models lie above `{null}` by {above[0]} of {n} measures and their twins by {above[1]}, "
        "each by "
        f"its own test (p < {LEVEL:g}).{without} {_NOT_TESTED}"
    )
    return Verdict(opening, told, tuple(below), rows)


def embeddings_rows(results: Results) -> Rows:
    """Returns the trained models beside twins whose blocks alone are untrained, by the measure of the answer.

    Both are compared on the pairs that pass every filter, and on equally many of the strongest.
    """
    measure, lines = default_measure(results), list[list[object]]()
    for name, pair in embeddings_floors(results):
        both = results.controls.strongest.get(name)
        ways = [(results.grid[key_of(pair)], pair, "all that pass every filter")]
        ways += [(both.trained, both.floor, "as many of the strongest")] if both else []
        for trained, twins, which in ways:
            scores = [value_of(one, measure, "score") for one in (trained, twins)]
            if None not in scores:
                lines.append([name, key_of(pair), which, trained.pairs, twins.pairs, *scores])
    header = ["twins", "A x B layer", "which pairs", "pairs, trained", "pairs, twins"]
    return Rows([*header, *(f"{title_of(measure)}, {whose}" for whose in ("trained", "twins"))], lines)


def embeddings_agree(results: Results) -> bool:
    """Whether the trained models score higher than every twin with trained embeddings, whichever pairs are scored."""
    lines = embeddings_rows(results).rows
    return bool(lines) and all(_higher(line) for line in lines)


def _higher(line: Row) -> bool:
    trained, twins = line[-2:]
    return isinstance(trained, float) and isinstance(twins, float) and trained > twins


def embeddings_verdict(results: Results) -> str:
    """Returns whether trained blocks add to what trained embeddings bring; empty where no such twin has a score."""
    lines = embeddings_rows(results).rows
    if not lines:
        return ""
    n, of = sum(map(_higher, lines)), len(lines)
    compared = (
        f"Of twins whose embeddings are trained and whose blocks are not, the trained models score higher by "
        f"{title_of(default_measure(results))} in {n} of {of} comparisons (every twin, on all pairs and on equally "
        "many)."
    )
    if n == of:
        return f"{compared} So trained blocks add to the agreement that the embeddings bring."
    if n:
        return (
            f"{compared} **The answer depends on which pairs are scored, so this is no evidence that trained blocks "
            "add "
            "to the agreement that the embeddings bring.**"
        )
    return f"{compared} **So nothing here says that trained blocks add to the agreement that the embeddings bring.**"
