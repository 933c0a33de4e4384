"""The verdict on the floor: whether trained models agree more than models that learned nothing."""

from __future__ import annotations

from dataclasses import dataclass

from semconv.report.result_values import (
    compared_floor,
    embeddings_floors,
    key_of,
    null_of_strongest,
    title_of,
    value_of,
)
from semconv.report.scales import rounded
from semconv.results.schema import LayerPair, Results
from semconv.system.markdown import show


@dataclass(frozen=True)
class Verdict:
    """What the floor says, in sentences.

    Attributes:
        opening: how many pairs both leave, or why nothing can be said.
        beaten: who is compared on what, up to `by N of M measures`; empty where no measure scores both.
        above: what is said of each measure by which the trained models beat their twins.
        below: of each by which they do not.
    """

    opening: str
    beaten: str = ""
    above: tuple[str, ...] = ()
    below: tuple[str, ...] = ()

    @property
    def statement(self) -> str:
        """By how many measures the twins are beaten, without a full stop; empty where none scores both."""
        n = len(self.above) + len(self.below)
        return f"{self.beaten} by {len(self.above)} of {n} measures" if self.beaten else ""

    @property
    def warning(self) -> str:
        """What the measures say that do not tell trained models from their twins; empty where all do."""
        if not self.below:
            return ""
        return (
            f"**They do not by {'; '.join(self.below)}**: by these the agreement is no more than what SAEs of models "
            "that learned nothing show, for such SAEs still see which token they are at."
        )

    @property
    def text(self) -> str:
        """All of it as one paragraph."""
        said = f"{self.statement}: {'; '.join(self.above)}." if self.above else f"{self.statement}."
        return " ".join(part for part in (self.opening, said if self.beaten else "", self.warning) if part)


def floor_verdict(results: Results) -> str:
    """Returns the first paragraph of the report: whether trained models agree more than models that learned nothing."""
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
    where = f"layers {cross.sae_a} x {cross.sae_b}"
    above, below = _compared(results, cross, floor, "shuffle")
    if above or below:
        beaten = (
            f"At {where} the trained models beat their untrained twins, in score and in distance from the shuffled "
        )
        return Verdict("", beaten + "pairing,", above, below)
    counts = (
        f"At {where}, {cross.pairs} feature pairs of the trained models pass every filter, and "
        f"{floor.pairs} of their untrained twins."
    )
    strongest = results.controls.strongest.get(name)
    if strongest is None:
        return Verdict(
            f"{counts} With so few no measure scores both, so the number of pairs is all that this floor says: whether "
            "the geometry of what is shared was learned remains open."
        )
    null = null_of_strongest(results)
    beaten = (
        f"On the {strongest.trained.pairs} strongest pairs of each, whether they agree or not, the trained models beat "
        f"their twins, in score and in distance from `{null}`,"
    )
    return Verdict(counts, beaten, *_compared(results, strongest.trained, strongest.floor, null))


def embeddings_verdict(results: Results) -> str:
    """Returns whether trained blocks add to what trained embeddings bring, by the primary measure, or the first.

    Both are compared on the pairs that pass every filter, and on equally many of the strongest. Empty where no twin has
    trained embeddings, or none has a score.
    """
    measure, told, above = results.primary or next(iter(results.summary)), list[str](), list[bool]()
    for name, pair in embeddings_floors(results):
        cross, both = results.grid[key_of(pair)], results.controls.strongest.get(name)
        ways = [(cross, pair, f"on {cross.pairs} and {pair.pairs} pairs that pass every filter")]
        ways += [(both.trained, both.floor, f"on the {both.floor.pairs} strongest of each")] if both else []
        scores = [(value_of(a, measure, "score"), value_of(b, measure, "score"), said) for a, b, said in ways]
        known = [(score, other, said) for score, other, said in scores if score is not None and other is not None]
        if known:
            compared = " and ".join(f"{rounded(score)} against {rounded(other)} {said}" for score, other, said in known)
            told.append(f"{compared} ({name}, layers {key_of(pair)})")
            above += [score > other for score, other, _ in known]
    if not told:
        return ""
    twins = "Beside twins with trained embeddings, whose blocks alone are untrained"
    compared = f"{twins}, the trained models have by {title_of(measure)}: {'; '.join(told)}. "
    if all(above):
        return compared + "So trained blocks add to the agreement that the embeddings bring."
    if any(above):
        return compared + (
            "**The answer depends on which pairs are scored, so this is no evidence that trained blocks add to the "
            "agreement that the embeddings bring.**"
        )
    return compared + "**So nothing here says that trained blocks add to the agreement that the embeddings bring.**"


def _compared(
    results: Results, cross: LayerPair, floor: LayerPair, null: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns what is said of the measures by which the trained models beat the floor, and of those by which not."""
    above: list[str] = []
    below: list[str] = []
    for measure in results.summary:
        score, other = (value_of(pair, measure, "score") for pair in (cross, floor))
        z, other_z = (value_of(pair, measure, f"{null}.z") for pair in (cross, floor))
        if score is None or other is None or z is None or other_z is None:
            continue
        text = f"{title_of(measure)} {show(score)} against {show(other)} (z {show(z)} against {show(other_z)})"
        (above if score > other and z > other_z else below).append(text)
    return tuple(above), tuple(below)
