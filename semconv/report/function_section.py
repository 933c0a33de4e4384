"""What features do, as report.md and the page tell it: sentences, tables, and two worked examples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import quote

from semconv.report.beyond_tokens import depth_parts
from semconv.report.first_pairs import NamedPair, PairKey
from semconv.report.position_kinds_section import kinds_section
from semconv.report.result_values import key_of
from semconv.report.rules_section import rules_section
from semconv.report.scales import rounded
from semconv.report.shown import percent, show, table
from semconv.report.substitution_section import substitution_section
from semconv.report.table_cells import Rows
from semconv.report.texts import p_told
from semconv.results.schema import (
    Function,
    FunctionExample,
    FunctionPair,
    FunctionPairOrReason,
    FunctionTest,
    FunctionTestOrReason,
    LensPair,
    Reason,
    Results,
    Retrieval,
)
from semconv.system.harmless_text import as_code, no_markup

_FEW, _TOO_FEW = 6, 10  # layer pairs that a sentence names; feature pairs below which a row says that they are few
FIGURE = "function.png"
ALIKE = {
    "partner": "partner",
    "same_token": "same token",
    "second_best": "second best by r",
    "co_active": "most co-active",
    "others": "others there",
    "random": "random direction",
}
"""What A's feature is compared with -> its name in tables and figures."""
INTRODUCTION = (
    "Features that fire together need not do the same. Both features of a pair are ablated, each in its own model, at"
    " {positions} positions where both fire, in documents that these pairs were not matched on, and the changes of "
    "the next token's log-probabilities are correlated, each less what other features that fire there do with the "
    "same dose. A partner must beat its hard negatives: the feature of the highest r with the same top token, the "
    "second best by r, the one that fires at most of the same positions, and the others there. p is one-sided, of "
    "signs flipped at random, pairs of one token together. The test takes the best negative of every pair, the "
    "largest of several noisy numbers: it can lie above the partner even where the partner is above the mean of each "
    "kind of negative in chart and table. Numbers of pairs differ from those of other sections, for here features are"
    " matched on half of the documents and must fire together in the other half."
)
LENS_TEXT = (
    "By the logit lens (decoder rows through final norm and head, without running the model): how alike the features "
    "of all pairs are in what they promote and suppress. It says what a feature would do if nothing came after it."
)
MORE_TEXT = (
    "Retrieval asks whether the partner is the most alike, at each position among hard negatives, by mean effects "
    "among all pairs and among those of its token; RSA compares the similarities among A's mean effects with those "
    "among B's."
)


def studied(results: Results, function: Function) -> Iterator[tuple[str, str, FunctionPairOrReason]]:
    """Gives kind (`cross-model`, `floor`, `ceiling`), name and what was found, of layer pairs, then of controls."""
    for key, pair in function.grid.items():
        yield "cross-model", key, pair
    for name, pair in function.controls.items():
        control = results.controls.pairs.get(name)
        yield control.kind if control is not None else "control", name, pair


def summary_sentences(results: Results, function: Function) -> str:
    """Returns the primary statistic in words: by how much partners are above their best hard negatives."""
    layers = layers_by_third(results)
    told = [f"{of_third(name, layers)} {difference(test)}" for name, test in function.thirds.items()]
    means = [pair.alike["partner"].residual for pair in function.grid.values() if isinstance(pair, FunctionPair)]
    known = [mean for mean in means if mean is not None]
    agree = ""
    if known:
        low, high = rounded(min(known)), rounded(max(known))
        agree = f" Partners' effects correlate {low}" + (f" to {high}" if high != low else "") + " by layer pair."
    return f"**Partner less best hard negative:** {'; '.join(told)}.{agree}{_floors(results, function)}"


def _floors(results: Results, function: Function) -> str:
    """Returns how alike the effects of partners of untrained twins are, and which layer pairs lie above them all."""
    floors = {
        name: mean
        for kind, name, pair in studied(results, function)
        if kind == "floor" and isinstance(pair, FunctionPair) and pair.pairs - pair.too_few >= _TOO_FEW
        if (mean := pair.alike["partner"].residual) is not None
    }
    if not floors:
        return ""
    told = " and ".join(f"{rounded(mean)} (`{name}`)" for name, mean in floors.items())
    means = {
        key: pair.alike["partner"].residual for key, pair in function.grid.items() if isinstance(pair, FunctionPair)
    }
    above = [key for key, mean in means.items() if mean is not None and mean > max(floors.values())]
    lie = f"{len(above)} of {len(means)} layer pairs lie above all of them{few(above)}"
    return f" Those of floors, models that are untrained in whole or in part, correlate {told}; {lie}."


def layers_by_third(results: Results) -> dict[str, list[str]]:
    """Returns the layer pairs whose features were ablated, by third of the depths as `Function.thirds` names them."""
    if results.function is None:
        return {}
    studied = [key for key, pair in results.function.grid.items() if isinstance(pair, FunctionPair)]
    parts = depth_parts([*results.grid.values()])
    return {part.name or "all": [key for key in map(key_of, part.pairs) if key in studied] for part in parts}


def few(keys: Sequence[str]) -> str:
    """Returns layer pairs in brackets, or nothing where they are too many to be named."""
    return f" ({', '.join(keys)})" if 0 < len(keys) <= _FEW else ""


def of_third(name: str, layers: Mapping[str, Sequence[str]]) -> str:
    """Returns a third of the depths in words, with its layer pairs where they are few."""
    which = few(layers.get(name, ()))
    return f"over all layer pairs{which}" if name == "all" else f"in the {name} third of the depths{which}"


def difference(test: FunctionTestOrReason) -> str:
    """Returns by how much partners agree more than their best hard negatives, with error, p and number of pairs."""
    if isinstance(test, Reason):
        return f"not told ({test.reason})"
    error = f" ± {rounded(test.error)}" if test.error is not None else ""
    above = f"{test.pairs} pairs, {test.higher:.0%} of them above"
    below = test.error is not None and test.difference < -2 * test.error
    less = ", so partners are less alike than their best rivals" if below else ""
    return f"{rounded(test.difference)}{error} (p {show(_p(test))}, {above}{less})"


def _p(test: FunctionTest) -> float | str:
    return p_told(test.p, None, of=test.draws)


def agreement_rows(results: Results, function: Function) -> Rows:
    """Returns how alike effects are, of partners and of what they must beat."""
    rows = list[list[object]]()
    for kind, name, pair in studied(results, function):
        label = name if kind == "cross-model" else f"{kind}: {name}"
        if isinstance(pair, Reason):
            rows.append([label, *[None] * (5 + len(ALIKE)), pair.reason])
            continue
        test = pair.beyond
        told = [None] * 3 if isinstance(test, Reason) else [test.difference, _p(test), percent(test.higher)]
        partner = pair.alike["partner"]
        means = [pair.alike[name].residual for name in ALIKE]
        few = f"too few pairs to conclude from ({n})" if (n := pair.pairs - pair.too_few) < _TOO_FEW else ""
        note = test.reason if isinstance(test, Reason) else few
        rows.append([label, n, means[0], partner.residual_error, *means[1:], *told, note])
    header = ["A x B layer", "pairs", "partner", "its error", *list(ALIKE.values())[1:]]
    return Rows([*header, "partner less best negative", "p", "pairs above", "note"], rows)


def more_rows(results: Results, function: Function) -> Rows:
    """Returns everything else that is told of the effects of layer pairs and controls."""
    rows = list[list[object]]()
    for kind, name, pair in studied(results, function):
        if isinstance(pair, Reason):
            continue
        rows.append(
            [
                name if kind == "cross-model" else f"{kind}: {name}",
                pair.matched,
                pair.too_few,
                pair.alike["partner"].plain,
                *map(_retrieval, (pair.among_negatives, pair.among_pairs, pair.within_token)),
                pair.rsa,
                pair.cosine,
                pair.residual_r,
                percent(pair.signs),
                f"{show(pair.kl_r)} ({show(pair.kl_r_others)})",
                pair.size,
            ]
        )
    header = ["A x B layer", "matched", "too few positions", "effects as they are", "top-1 among negatives (chance)"]
    header += ["top-1 among pairs (chance)", "top-1 within token (chance)", "RSA", "cosine of means"]
    return Rows([*header, "r of mean residuals", "same sign", "r of KL (others)", "log2 of KL, A over B"], rows)


def _retrieval(found: Retrieval) -> str | None:
    if found.top1 is None:
        return None
    return f"{show(percent(found.top1))} ({show(percent(found.chance))})"


def lens_rows(function: Function) -> Rows:
    """Returns how alike the logit lens of the pairs is."""
    rows = list[list[object]]()
    for key, pair in function.lens.items():
        if isinstance(pair, LensPair):
            shares = [percent(share) for share in (pair.promoted, pair.suppressed, pair.chance)]
            rows.append([key, pair.pairs, pair.correlation, *shares, ""])
        else:
            rows.append([key, *[None] * 5, pair.reason])
    header = ["A x B layer", "pairs", "mean correlation", "promoted by both", "suppressed by both", "by chance", "note"]
    return Rows(header, rows)


class Example(NamedTuple):
    """A pair that is told of at length: title, how it was chosen, layer pair, and what is known of it."""

    title: str
    chosen: str
    layers: str
    pair: FunctionExample

    def key(self, results: Results) -> PairKey | None:
        """Returns the SAEs and features of the pair; None where the results name no such layer pair."""
        cell = results.grid.get(self.layers)
        return (cell.sae_a, cell.sae_b, self.pair.feature_a, self.pair.feature_b) if cell else None


def examples(function: Function) -> list[Example]:
    """Returns a pair that agrees and one that does not; nothing where no pair was compared."""
    found = [(key, pair) for key, pair in function.grid.items() if isinstance(pair, FunctionPair)]
    agree = [(key, pair.agree) for key, pair in found if pair.agree is not None]
    differ = [(key, pair.differ) for key, pair in found if pair.differ is not None]
    if not agree or not differ:
        return []
    best = max(agree, key=lambda one: one[1].agreement - one[1].best_negative)
    worst = min(differ, key=lambda one: one[1].agreement - one[1].best_negative)
    furthest = "of all pairs compared the one furthest above its best hard negative"
    least = "of the pairs whose r is at least the median of their layer pair, the one least above it"
    return [Example("A pair that agrees", furthest, *best), Example("A pair that does not", least, *worst)]


def wanted_pairs(results: Results) -> list[PairKey]:
    """Returns the pairs that the section tells of at length."""
    keys = [one.key(results) for one in examples(results.function)] if results.function else []
    return [key for key in keys if key is not None]


def example_text(example: Example, known: NamedPair | None) -> str:
    """Returns the sentences on a pair, with what the tables of the run say of it, if they do."""
    title, chosen, key, one = example
    numbers = (
        f"r {rounded(one.r)} on the half of the documents that they were matched on, agreement "
        f"{rounded(one.agreement)}, best hard negative {rounded(one.best_negative)}, {one.positions} positions"
    )
    return (
        f"**{title}** ({chosen}), layers {key}: feature {one.feature_a} of A, which fires on {_listed(one.tokens_a)}, "
        f"and {one.feature_b} of B, on {_listed(one.tokens_b)} ({numbers}). Without A's feature "
        f"{_listed(one.lowered_a)} become less likely and {_listed(one.raised_a)} more; without B's "
        f"{_listed(one.lowered_b)} less and {_listed(one.raised_b)} more.{_over_the_text(known)}"
    )


def _over_the_text(known: NamedPair | None) -> str:
    if known is None:
        return ""
    within = "no r within tokens is defined" if known.within is None else f"{rounded(known.within)} within tokens"
    said = f" Over the whole text r is {rounded(known.r)}, {within}"
    if known.text is None:
        return f"{said}."
    text = as_code("".join(known.text).strip())
    return f"{said}; both are strongest at {_listed(known.text[1:2])} in {text}."


def address(key: PairKey) -> str:
    """Returns the part of the page's address that opens a pair among the feature pairs."""
    return f"#view?pair={quote('~'.join(map(str, key)), safe='~')}"


def _listed(tokens: Sequence[str]) -> str:
    """Returns tokens in code marks, their spaces visible."""
    marks = str.maketrans({"\n": "\\n", "\r": "\\r", "\t": "\\t", " ": "\N{OPEN BOX}"})
    shown = [token.translate(marks) or "(nothing)" for token in tokens]
    return ", ".join(map(as_code, shown)) or "nothing"


def _table(content: Rows) -> str:
    return table([str(name) for name in content.header], content.rows)


def function_section(results: Results, function: Function, named: Mapping[PairKey, NamedPair] | None = None) -> str:
    """Returns the section of report.md; `named` is what the tables of the run say of `wanted_pairs`."""
    parts = [INTRODUCTION.format(positions=function.positions), summary_sentences(results, function)]
    if any(isinstance(pair, FunctionPair) for _, _, pair in studied(results, function)):
        parts.append(f"![function](figures/{FIGURE})")
    agreement, more, lens = agreement_rows(results, function), more_rows(results, function), lens_rows(function)
    parts.append(_table(agreement))
    for one in examples(function):
        key = one.key(results)
        known = named.get(key) if key and named else None
        link = f" [This pair with its text](index.html{address(key)})" if key and known else ""
        parts.append(example_text(one, no_markup(known) if known else None) + link)
    parts += [MORE_TEXT, _table(more)] if more.rows else []
    parts += [rules] if (rules := rules_section(function)) else []
    parts += [replaced] if (replaced := substitution_section(function)) else []
    parts += [kinds] if (kinds := kinds_section(function)) else []
    return "\n\n".join([*parts, LENS_TEXT, _table(lens)])


def third_tests(function: Function) -> list[tuple[str, FunctionTest]]:
    """Returns the thirds of the depths that have a test."""
    return [(name, test) for name, test in function.thirds.items() if isinstance(test, FunctionTest)]
