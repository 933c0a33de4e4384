"""The matched features as the page's explorer shows them: pairs, top tokens, contexts, links, as JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, TypedDict, cast

from semconv.runs.pairs_table import NEURONPEDIA, read_pairs
from semconv.text.contexts import read_contexts

MOST_PAIRS = 5000
"""Pairs on the page; of a larger run the strongest of every layer pair, as many of each."""
_BEFORE, _TOKEN, _AFTER = 90, 60, 60  # characters of a context
_VISIBLE = {code: chr(0x2400 + code) for code in range(32)} | {127: "\u2421"}
_VISIBLE |= {ord("\n"): "↵", ord("\t"): "⇥", ord("\r"): "␍"}
# Marks that reorder the text around them would reorder the page.
_VISIBLE |= dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x2028, 0x2029], "\ufffd")

Side = Literal["a", "b"]


class PairRow(TypedDict):
    """A row of `pairs.parquet`, as far as it is shown."""

    layer_a: int
    layer_b: int
    sae_a: str
    sae_b: str
    feature_a: int
    feature_b: int
    r: float
    top_tokens_a: list[str]
    top_tokens_b: list[str]
    link_a: str | None
    link_b: str | None


class ContextRow(TypedDict):
    """A row of `contexts.parquet`, as far as it is shown."""

    side: Side
    sae: str
    feature: int
    rank: int
    document: int
    before: str
    token: str
    after: str
    activation: float


class Feature(NamedTuple):
    """Which feature of which model."""

    side: Side
    sae: str
    number: int


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
    """A pair: places in `a` and `b` of `ExplorerData`, and r."""

    a: int
    b: int
    r: float


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
class Tables:
    """The tables of a run folder that the explorer needs.

    Attributes:
        pairs: rows of `pairs.parquet`, None where there is none.
        contexts: rows of `contexts.parquet`, None where there is none.
    """

    pairs: list[PairRow] | None = None
    contexts: list[ContextRow] | None = None

    @classmethod
    def of_run(cls, folder: Path) -> Tables:
        """Reads what the run folder holds.

        Raises:
            InputError: a table is damaged.
        """
        pairs = read_pairs(folder).to_pylist() if (folder / "pairs.parquet").exists() else None
        contexts = read_contexts(folder).to_pylist() if (folder / "contexts.parquet").exists() else None
        return cls(cast("list[PairRow] | None", pairs), cast("list[ContextRow] | None", contexts))


def visible(text: str) -> str:
    """Returns text in which control characters can be seen and change nothing around them."""
    return text.translate(_VISIBLE)


def _strongest_first(pair: PairRow) -> tuple[float, int, int, str, str, int, int]:
    layers, saes = (pair["layer_a"], pair["layer_b"]), (pair["sae_a"], pair["sae_b"])
    return -pair["r"], *layers, *saes, pair["feature_a"], pair["feature_b"]


def _chosen(pairs: list[PairRow]) -> list[PairRow]:
    """Returns the strongest pairs, at most `MOST_PAIRS`, from every layer pair as many as it has of an equal share."""
    ordered = sorted(pairs, key=_strongest_first)
    if len(ordered) <= MOST_PAIRS:
        return ordered
    share, seen = MOST_PAIRS // len({(p["sae_a"], p["sae_b"]) for p in ordered}), Counter[tuple[str, str]]()
    kept: list[PairRow] = []
    for pair in ordered:
        key = pair["sae_a"], pair["sae_b"]
        seen[key] += 1
        if seen[key] <= share:
            kept.append(pair)
    return kept


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
    return [TokenData(visible(token), times) for token, times in Counter(tokens).items()]


def explorer_data(tables: Tables) -> ExplorerData | None:
    """Returns the pairs for the script and the static excerpt; None where the run has no pairs."""
    if tables.pairs is None:
        return None
    contexts = _contexts_of(tables.contexts)
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

    pairs = [
        PairData(
            place(Feature("a", pair["sae_a"], pair["feature_a"]), pair["top_tokens_a"], pair["link_a"]),
            place(Feature("b", pair["sae_b"], pair["feature_b"]), pair["top_tokens_b"], pair["link_b"]),
            round(pair["r"], 4),
        )
        for pair in _chosen(tables.pairs)
    ]
    return {
        "total": len(tables.pairs),
        "pairs": pairs,
        "a": list(features["a"].values()),
        "b": list(features["b"].values()),
        "contexts": tables.contexts is not None,
    }
