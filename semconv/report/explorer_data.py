"""The matched features as the page's explorer shows them: pairs, top tokens, contexts, links, as JSON."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple, TypedDict

from semconv.report.explorer_tables import ContextRow, Feature, PairRow, Side, Tables, of_each
from semconv.runs.pairs_table import NEURONPEDIA

MOST_BYTES = 20 * 2**20
"""Bytes of the explorer's JSON; contexts are left out, and then pairs, until it has no more."""
_BEFORE, _TOKEN, _AFTER = 90, 60, 60  # characters of a context
_VISIBLE = {code: chr(0x2400 + code) for code in range(32)} | {127: "\u2421"}
_VISIBLE |= {ord("\n"): "↵", ord("\t"): "⇥", ord("\r"): "␍"}
# Marks that reorder the text around them would reorder the page.
_VISIBLE |= dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x2028, 0x2029], "\ufffd")


class TokenData(NamedTuple):
    """A top token, and how often it is among them."""

    token: str
    times: int


class ContextData(NamedTuple):
    """A place where a feature is active; `share` is the activation in percent of its strongest."""

    document: int
    before: str
    token: str
    after: str
    share: int


class FeatureData(NamedTuple):
    """A feature; the link is empty where there is none."""

    sae: str
    number: int
    tokens: list[TokenData]
    contexts: list[ContextData]
    link: str


class PairData(NamedTuple):
    """A pair: places in `a` and `b` of `ExplorerData`, r, and r within tokens where that is known."""

    a: int
    b: int
    r: float
    within: float | None


class ExplorerData(TypedDict):
    """What the explorer shows, strongest pairs first; every feature once; lists as page.js reads them.

    `total` counts the pairs of the run; `contexts` says whether the run has any.
    """

    total: int
    pairs: list[PairData]
    a: list[FeatureData]
    b: list[FeatureData]
    contexts: bool


@dataclass(frozen=True)
class Explorer:
    """The explorer, and what it holds in words.

    Attributes:
        data: for the script and the static excerpt.
        notes: which of the pairs and contexts of the run it holds; none where it holds all.
    """

    data: ExplorerData
    notes: tuple[str, ...]


def visible(text: str) -> str:
    """Returns text in which control characters can be seen and change nothing around them."""
    return text.translate(_VISIBLE)


def _contexts_of(contexts: list[ContextRow] | None) -> dict[Feature, list[ContextData]]:
    """Returns feature -> its contexts, the strongest first."""
    out: dict[Feature, list[ContextData]] = {}
    strongest: dict[Feature, float] = {}
    for row in sorted(contexts or [], key=lambda row: (row["side"], row["sae"], row["feature"], row["rank"])):
        key = Feature(row["side"], row["sae"], row["feature"])
        top = strongest.setdefault(key, row["activation"] or 1.0)
        before, after = visible(row["before"])[-_BEFORE:], visible(row["after"])[:_AFTER]
        share = round(100 * row["activation"] / top)
        context = ContextData(row["document"], before, visible(row["token"])[:_TOKEN], after, share)
        out.setdefault(key, []).append(context)
    return out


def _tokens(tokens: list[str]) -> list[TokenData]:
    """Returns each top token once, with how often it is among them, in the order of the strongest."""
    return [TokenData(visible(token)[:_TOKEN], times) for token, times in Counter(tokens).items()]


def explorer_data(tables: Tables) -> Explorer | None:
    """Returns the pairs for the script and the static excerpt; None where the run has no pairs.

    What is left out where there is much: contexts of every feature, the weaker first, then pairs of every layer pair.
    """
    if tables.pairs is None:
        return None
    contexts = _contexts_of(tables.contexts)
    most = max(map(len, contexts.values()), default=0)
    pairs, each, kept = tables.pairs, tables.of_each, most
    data = _data(tables, pairs, contexts)
    while _bytes(data) > MOST_BYTES and (kept or len(pairs) > 1):
        if kept:
            kept -= 1
        else:
            each = max(1, (each or len(pairs)) // 2)
            fewer = of_each(pairs, each)
            pairs = fewer if len(fewer) < len(pairs) else pairs[: len(pairs) // 2]
        data = _data(tables, pairs, {feature: found[:kept] for feature, found in contexts.items()})
    return Explorer(data, _notes(data, each, tables.contexts_of_each if kept == most else kept))


def _bytes(data: ExplorerData) -> int:
    return len(json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode())


def _notes(data: ExplorerData, each: int | None, contexts: int | None) -> tuple[str, ...]:
    shown, total, notes = len(data["pairs"]), data["total"], list[str]()
    if shown < total:
        of_each = f"the {each:,} of highest r of every layer pair" if each else "those of highest r"
        notes.append(
            f"On this page are {shown:,} of {total:,} pairs, {of_each}; all are in `pairs.parquet`, and "
            "`semconv export pairs.csv --run RUN` writes them as a table."
        )
    if contexts is not None:
        strongest = "none" if contexts == 0 else "the strongest" if contexts == 1 else f"the {contexts} strongest"
        notes.append(f"Of the contexts of every feature {strongest} are here; all are in `contexts.parquet`.")
    return tuple(notes)


def _data(tables: Tables, pairs: list[PairRow], contexts: dict[Feature, list[ContextData]]) -> ExplorerData:
    """Returns some pairs, strongest first, with these contexts."""
    features: dict[Side, dict[Feature, FeatureData]] = {"a": {}, "b": {}}
    places: dict[Feature, int] = {}

    def place(feature: Feature, tokens: list[str], link: str | None) -> int:
        if feature not in places:
            of_side = features[feature.side]
            places[feature] = len(of_side)
            safe = link if link and link.startswith(f"{NEURONPEDIA}/") else ""
            found = contexts.get(feature, [])
            of_side[feature] = FeatureData(feature.sae, feature.number, _tokens(tokens), found, safe)
        return places[feature]

    placed = [
        PairData(
            place(Feature("a", pair["sae_a"], pair["feature_a"]), pair["top_tokens_a"], pair["link_a"]),
            place(Feature("b", pair["sae_b"], pair["feature_b"]), pair["top_tokens_b"], pair["link_b"]),
            round(pair["r"], 4),
            None if (within := pair.get("r_within_token")) is None else round(within, 4),
        )
        for pair in pairs
    ]
    return {
        "total": tables.total or len(tables.pairs or ()),
        "pairs": placed,
        "a": list(features["a"].values()),
        "b": list(features["b"].values()),
        "contexts": tables.contexts is not None,
    }
