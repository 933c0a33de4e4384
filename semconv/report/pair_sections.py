"""Feature pairs as `report.md` shows them: a few that a reader can look at, and what to know of all."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from semconv.report.explorer_data import visible
from semconv.report.explorer_tables import PairRow, Tables
from semconv.report.pair_words import one_token, token_note
from semconv.report.result_values import names_of
from semconv.report.shown import table
from semconv.results.schema import Results
from semconv.system.harmless_text import no_markup

SHOWN = 10
"""Pairs of every table."""


def pairs_section(results: Results, tables: Tables) -> list[str]:
    """Returns the pairs of highest r, those of highest r within tokens, and of lowest; empty without pairs."""
    pairs = tables.pairs
    if not pairs:
        return []
    within = [pair for pair in pairs if pair.get("r_within_token") is not None]
    parts = [token_note(tables), "The pairs of highest r:", _table(results, _first(pairs, lambda pair: -pair["r"]))]
    if within:
        context = _first([pair for pair in within if not one_token(pair)] or within, lambda pair: -_within(pair))
        parts += [
            "The pairs of highest r within tokens among those of more than one top token, which agree in more than the "
            "token that is read:",
            _table(results, context),
            "Pairs to doubt, of high r and the lowest r within tokens, which may agree in the token alone:",
            _table(results, _first(_first(pairs, lambda pair: -pair["r"], len(pairs) // 4 + 1), _within)),
        ]
    return parts


def _within(pair: PairRow) -> float:
    return pair.get("r_within_token") or 0.0


def _first(pairs: Sequence[PairRow], key: Callable[[PairRow], float], n: int = SHOWN) -> list[PairRow]:
    return sorted(pairs, key=key)[:n]


def _table(results: Results, pairs: Sequence[PairRow]) -> str:
    a, b = names_of(results)
    header = ["r", "r within tokens", f"{a}: layer, feature", "top tokens", f"{b}: layer, feature", "top tokens"]
    rows = [
        [
            f"{pair['r']:.3f}",
            None if pair.get("r_within_token") is None else f"{_within(pair):.2f}",
            f"{no_markup(pair['sae_a'])}, #{pair['feature_a']}",
            _tokens(pair["top_tokens_a"]),
            f"{no_markup(pair['sae_b'])}, #{pair['feature_b']}",
            _tokens(pair["top_tokens_b"]),
        ]
        for pair in pairs
    ]
    return table(header, rows)


def _tokens(tokens: Sequence[str]) -> str:
    """Returns the distinct top tokens; nothing in them is markup."""
    shown = [visible(token).strip() or visible(token) for token in dict.fromkeys(tokens)]
    return ", ".join(no_markup(token).replace("`", "'").replace("*", "\\*").replace("_", "\\_") for token in shown)
