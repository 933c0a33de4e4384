"""A few feature pairs that a reader can look at, out of any number, and what to know of the tokens of all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from semconv.matching.examples import BANDS
from semconv.report.explorer_cells import visible as on_one_line
from semconv.report.result_values import names_of
from semconv.report.shown import percent, table
from semconv.results.schema import Results
from semconv.runs.pairs_table import pair_batches
from semconv.suite.config import suite_from_json
from semconv.system.errors import InputError
from semconv.system.harmless_text import no_markup, visible
from semconv.text import shared_contexts

SHOWN = 10
"""Pairs of every table."""
_LISTED = 12  # stop tokens that are named
_NAMED = 3  # tokens of the first pairs that are named
_KEY = ("sae_a", "sae_b", "feature_a", "feature_b")
_COLUMNS = (
    *("layer_a", "layer_b", "sae_a", "sae_b", "feature_a", "feature_b", "r", "r_within_token"),
    *("top_tokens_a", "top_tokens_b"),
)


class PairShown(NamedTuple):
    """A feature pair of a table."""

    r: float
    within: float | None
    sae_a: str
    feature_a: int
    tokens_a: tuple[str, ...]
    sae_b: str
    feature_b: int
    tokens_b: tuple[str, ...]


PairKey = tuple[str, str, int, int]
"""Label of A's SAE, of B's, feature of A, of B."""


@dataclass(frozen=True)
class NamedPair:
    """What the tables of a run say of a pair that a sentence names.

    `text` is the place at which both features together are strongest: what stands before it, it, and what follows;
    None where the run keeps no text of the pair.
    """

    r: float
    within: float | None
    text: tuple[str, str, str] | None


@dataclass(frozen=True)
class FirstPairs:
    """What `pairs.parquet` holds, as far as a reader sees it at once.

    Attributes:
        total: feature pairs.
        one_token: pairs all of whose top tokens, of both features, are one and the same token.
        strongest: of highest r.
        beyond: of highest r within tokens, among those of more than one top token.
        doubtful: of which least of r is left within tokens, the largest difference first.
        named: those that were asked for by their features, as far as they are among the pairs.
        stop_tokens: those that the filter of stop tokens drops; None where the run does not say.
    """

    total: int
    one_token: int
    strongest: tuple[PairShown, ...]
    beyond: tuple[PairShown, ...]
    doubtful: tuple[PairShown, ...]
    named: Mapping[PairKey, NamedPair] = field(default_factory=dict[PairKey, NamedPair])
    stop_tokens: tuple[str, ...] | None = None

    @classmethod
    def of_run(cls, folder: Path, wanted: Sequence[PairKey] = ()) -> FirstPairs | None:
        """Reads the pairs of a run piece by piece; None where it keeps none.

        Args:
            folder: of the run.
            wanted: pairs that are told of with their text.

        Raises:
            InputError: a table is damaged.
        """
        if not (folder / "pairs.parquet").exists():
            return None
        found = replace(cls.of_tables(pair_batches(folder, _COLUMNS), wanted), stop_tokens=_stop_tokens(folder))
        if not found.named or not (folder / shared_contexts.NAME).exists():
            return found
        texts = _texts_of(shared_contexts.shared_context_batches(folder), found.named)
        return replace(found, named={key: replace(pair, text=texts.get(key)) for key, pair in found.named.items()})

    @classmethod
    def of_tables(cls, tables: Any, wanted: Sequence[PairKey] = ()) -> FirstPairs:
        """Returns those of pyarrow tables with the columns of `pairs.parquet`; `wanted` as for `of_run`, no text."""
        total, one_token, named = 0, 0, dict[PairKey, NamedPair]()
        found: dict[str, list[tuple[float, PairShown]]] = {"strongest": [], "beyond": [], "doubtful": []}
        for piece in tables:
            same, r = _one_token(piece), _numbers(piece, "r")
            within = _numbers(piece, "r_within_token")
            total, one_token = total + len(r), one_token + int(same.sum())
            keys = {"strongest": r, "beyond": np.where(same, np.nan, within), "doubtful": r - within}
            for name, key in keys.items():
                found[name] = _best([*found[name], *_first(piece, key)])
            for key in wanted:
                for row in _rows_of(piece, key):
                    named[key] = NamedPair(row["r"], row["r_within_token"], None)
        pairs = {name: tuple(pair for _, pair in some) for name, some in found.items()}
        return cls(total, one_token, pairs["strongest"], pairs["beyond"], pairs["doubtful"], named)

    @property
    def note(self) -> str:
        """How many pairs have a single distinct top token, and why such pairs come first; empty without pairs."""
        if not self.total:
            return ""
        named = Counter(_seen(pair.tokens_a[0]) for pair in self.strongest if pair.tokens_a).most_common(_NAMED)
        such = ", ".join(f"`{token}`" for token, _ in named if "`" not in token)
        first = f", and so the pairs of highest r are of common words and signs such as {such}" if such else ""
        return (
            f"In {self.one_token:,} of {self.total:,} pairs ({percent(self.one_token / self.total)}) all top tokens of "
            f"both features are one and the same token. {self._stopped}{first}. r within tokens does not count that "
            "both features fire on the same token."
        )

    @property
    def _stopped(self) -> str:
        """Which stop tokens a filter drops, and that others stay."""
        if self.stop_tokens is None:
            return "A filter drops only the stop tokens that the suite lists"
        bare = dict.fromkeys(token.strip() for token in self.stop_tokens)
        control = [token for token in bare if token.startswith("<") and token.endswith(">")]
        signs = [f"`{_seen(token)}`" for token in bare if token and "`" not in token and token not in control]
        said = [*signs[:_LISTED], *([f"{len(signs) - _LISTED} more"] if len(signs) > _LISTED else [])]
        said += ["white space"] if "" in bare else []
        said += ["control tokens such as the end of a text"] if control else []
        if not said:
            return "No filter drops pairs by what their top tokens are"
        return (
            "The filter of stop tokens drops pairs that have one of these among their top tokens: "
            f"{', '.join(said)}; other tokens stay"
        )

    def sections(self, results: Results) -> list[str]:
        """Returns the note and the tables as Markdown; empty without pairs."""
        if not self.total:
            return []
        parts = [no_markup(self.note), "The pairs of highest r:", _table(results, self.strongest)]
        if self.beyond:
            said = (
                "The pairs of highest r within tokens among those of more than one top token, which agree in more than "
            )
            parts += [said + "the token that is read:", _table(results, self.beyond)]
        if self.doubtful:
            said = "Pairs to doubt, of whose r least is left within tokens: they may agree in the token alone:"
            parts += [said, _table(results, self.doubtful)]
        return parts


def _stop_tokens(folder: Path) -> tuple[str, ...] | None:
    """Returns the stop tokens of a run; None where its folder holds no suite that can be read."""
    try:
        return tuple(suite_from_json(folder / "suite.json").match.stop_tokens)
    except (InputError, OSError):
        return None


def _rows_of(piece: Any, key: PairKey) -> list[dict[str, Any]]:
    """Returns the rows of one pair."""
    import pyarrow.compute

    pc: Any = pyarrow.compute
    alike = [pc.equal(piece[name], value) for name, value in zip(_KEY, key, strict=True)]
    return piece.filter(reduce(pc.and_, alike)).to_pylist()


def _texts_of(tables: Iterable[Any], keys: Iterable[PairKey]) -> dict[PairKey, tuple[str, str, str]]:
    """Returns the strongest place of pairs: the first that stands for it in `shared_contexts.parquet`."""
    found, left = dict[PairKey, tuple[str, str, str]](), set(keys)
    for piece in tables:
        for key in left - found.keys():
            rows = _rows_of(piece, key)
            strongest = next((row for row in rows if row["band"] == BANDS[0]), None)
            if strongest is not None:
                pieces, at = strongest["pieces"], strongest["at"]
                parts = pieces[:at], pieces[at : at + 1], pieces[at + 1 :]
                before, place, after = (on_one_line("".join(part)) for part in parts)
                found[key] = before, place, after
    return found


def _numbers(piece: Any, name: str) -> Float[ndarray, " n"]:
    return piece[name].to_numpy(zero_copy_only=False).astype(np.float64)


def _one_token(piece: Any) -> Bool[ndarray, " n"]:
    """Returns whether all top tokens of both features of a pair are one and the same."""
    import pyarrow.compute

    pc: Any = pyarrow.compute
    same, firsts = np.ones(piece.num_rows, dtype=bool), list[Any]()
    for name in ("top_tokens_a", "top_tokens_b"):
        lists = piece[name].combine_chunks()
        lengths = pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False)
        values = pc.list_flatten(lists)
        starts = np.concatenate([[0], np.cumsum(lengths)])[:-1].astype(np.int64)
        some = lengths > 0
        first = values.take(np.repeat(starts[some], lengths[some]))
        equal = pc.equal(values, first).fill_null(False).to_numpy(zero_copy_only=False)
        differ = np.bincount(np.repeat(np.arange(len(lengths)), lengths), weights=~equal, minlength=len(lengths))
        same &= some & (differ == 0)
        firsts.append((values, starts))
    where = np.flatnonzero(same)
    (values_a, starts_a), (values_b, starts_b) = firsts
    alike = pc.equal(values_a.take(starts_a[where]), values_b.take(starts_b[where])).fill_null(False)
    same[where] = alike.to_numpy(zero_copy_only=False)
    return same


def _first(piece: Any, key: Float[ndarray, " n"]) -> list[tuple[float, PairShown]]:
    """Returns the rows of the largest keys, with them."""
    known = np.flatnonzero(~np.isnan(key))
    places = known[np.argsort(-key[known], kind="stable")[:SHOWN]]
    rows = piece.take(places).to_pylist()
    return [(float(key[place]), _shown(row)) for place, row in zip(places, rows, strict=True)]


def _best(found: list[tuple[float, PairShown]]) -> list[tuple[float, PairShown]]:
    return sorted(found, key=lambda one: (-one[0], one[1].sae_a, one[1].sae_b, one[1].feature_a, one[1].feature_b))[
        :SHOWN
    ]


def _shown(row: dict[str, Any]) -> PairShown:
    a, b = ((row[f"sae_{side}"], row[f"feature_{side}"], tuple(row[f"top_tokens_{side}"] or ())) for side in "ab")
    return PairShown(row["r"], row["r_within_token"], *a, *b)


def _seen(token: str) -> str:
    return visible(token).strip() or visible(token)


def _table(results: Results, pairs: Sequence[PairShown]) -> str:
    a, b = names_of(results)
    header = ["r", "r within tokens", f"{a}: layer, feature", "top tokens", f"{b}: layer, feature", "top tokens"]
    rows = [
        [
            f"{pair.r:.3f}",
            None if pair.within is None else f"{pair.within:.2f}",
            f"{no_markup(pair.sae_a)}, #{pair.feature_a}",
            _tokens(pair.tokens_a),
            f"{no_markup(pair.sae_b)}, #{pair.feature_b}",
            _tokens(pair.tokens_b),
        ]
        for pair in pairs
    ]
    return table(header, rows)


def _tokens(tokens: Sequence[str]) -> str:
    """Returns the distinct top tokens; nothing in them is markup."""
    safe = (no_markup(_seen(token)).replace("`", "'") for token in dict.fromkeys(tokens))
    return ", ".join(token.replace("*", "\\*").replace("_", "\\_") for token in safe)
