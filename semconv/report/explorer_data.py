"""The matched features as the page's explorer shows them: pairs, top tokens, contexts, links, as plain values."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semconv.runs.pairs_table import NEURONPEDIA, read_pairs
from semconv.text.contexts import read_contexts

MOST_PAIRS = 5000
"""Pairs on the page; of a larger run the strongest of every layer pair, as many of each."""
_BEFORE, _TOKEN, _AFTER = 90, 60, 60  # characters of a context
_VISIBLE = {code: chr(0x2400 + code) for code in range(32)} | {127: "\u2421"}
_VISIBLE |= {ord("\n"): "↵", ord("\t"): "⇥", ord("\r"): "␍"}
# Marks that reorder the text around them would reorder the page.
_VISIBLE |= dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x2028, 0x2029], "\ufffd")

Table = list[dict[str, Any]]
_Feature = tuple[str, str, int]


@dataclass(frozen=True)
class Tables:
    """The tables of a run folder that the explorer needs.

    Attributes:
        pairs: rows of `pairs.parquet`, None where there is none.
        contexts: rows of `contexts.parquet`, None where there is none.
    """

    pairs: Table | None = None
    contexts: Table | None = None

    @classmethod
    def of_run(cls, folder: Path) -> Tables:
        """Reads what the run folder holds.

        Raises:
            InputError: a table is damaged.
        """
        pairs = read_pairs(folder).to_pylist() if (folder / "pairs.parquet").exists() else None
        contexts = read_contexts(folder).to_pylist() if (folder / "contexts.parquet").exists() else None
        return cls(pairs, contexts)


def visible(text: str) -> str:
    """Returns text in which control characters can be seen and change nothing around them."""
    return text.translate(_VISIBLE)


def _strongest_first(pair: dict[str, Any]) -> tuple[Any, ...]:
    return -pair["r"], *(pair[f"{what}_{side}"] for what in ("layer", "sae", "feature") for side in "ab")


def _chosen(pairs: Table) -> Table:
    """Returns the strongest pairs, at most `MOST_PAIRS`, from every layer pair as many as it has of an equal share."""
    ordered = sorted(pairs, key=_strongest_first)
    if len(ordered) <= MOST_PAIRS:
        return ordered
    share, seen = MOST_PAIRS // len({(p["sae_a"], p["sae_b"]) for p in ordered}), Counter[tuple[str, str]]()
    kept: Table = []
    for pair in ordered:
        key = pair["sae_a"], pair["sae_b"]
        seen[key] += 1
        if seen[key] <= share:
            kept.append(pair)
    return kept


def _contexts_of(contexts: Table | None) -> dict[_Feature, list[list[Any]]]:
    """Returns side, SAE and feature -> its contexts as [document, before, token, after, share of the strongest]."""
    out: dict[_Feature, list[list[Any]]] = {}
    strongest: dict[_Feature, float] = {}
    for row in sorted(contexts or [], key=lambda row: (row["side"], row["sae"], row["feature"], row["rank"])):
        key = row["side"], row["sae"], row["feature"]
        top = strongest.setdefault(key, row["activation"] or 1.0)
        before, after = visible(row["before"])[-_BEFORE:], visible(row["after"])[:_AFTER]
        share = round(100 * row["activation"] / top)
        out.setdefault(key, []).append([row["document"], before, visible(row["token"])[:_TOKEN], after, share])
    return out


def _tokens(tokens: list[str]) -> list[list[Any]]:
    """Returns each top token once, with how often it is among them, in the order of the strongest."""
    return [[visible(token), times] for token, times in Counter(tokens).items()]


def explorer_data(tables: Tables) -> dict[str, Any] | None:
    """Returns the pairs for the script and the static excerpt, strongest first; None where the run has no pairs.

    `pairs` holds [place in `a`, place in `b`, r]; `a` and `b` hold, once for every feature, [SAE, feature,
    [[token, times], ...], contexts, link or empty].
    """
    if tables.pairs is None:
        return None
    contexts = _contexts_of(tables.contexts)
    chosen, places = _chosen(tables.pairs), {"a": dict[tuple[str, int], int](), "b": dict[tuple[str, int], int]()}
    features: dict[str, list[list[Any]]] = {"a": [], "b": []}

    def place(pair: dict[str, Any], side: str) -> int:
        key = pair[f"sae_{side}"], pair[f"feature_{side}"]
        if key not in places[side]:
            places[side][key] = len(features[side])
            link = pair[f"link_{side}"] or ""
            safe = link if link.startswith(f"{NEURONPEDIA}/") else ""
            found = contexts.get((side, *key), [])
            features[side].append([*key, _tokens(pair[f"top_tokens_{side}"]), found, safe])
        return places[side][key]

    pairs = [[place(pair, "a"), place(pair, "b"), round(pair["r"], 4)] for pair in chosen]
    return {
        "total": len(tables.pairs),
        "pairs": pairs,
        "a": features["a"],
        "b": features["b"],
        "contexts": tables.contexts is not None,
    }
