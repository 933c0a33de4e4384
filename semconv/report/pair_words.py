"""What to know of the tokens of feature pairs before reading a list of them."""

from __future__ import annotations

from collections import Counter

from semconv.report.explorer_data import visible
from semconv.report.explorer_tables import PairRow, Tables
from semconv.report.shown import percent

_NAMED = 3  # tokens of the first pairs that are named
_FIRST = 20  # pairs whose tokens are looked at


def one_token(pair: PairRow) -> bool:
    """Whether all top tokens of both features of a pair are one and the same."""
    return len({*pair["top_tokens_a"], *pair["top_tokens_b"]}) == 1


def token_note(tables: Tables) -> str:
    """Returns how many pairs have a single distinct top token, and why such pairs come first; empty without pairs.

    Tables of a large run hold the pairs of highest r of every layer pair, and then the count is of these.
    """
    pairs = tables.pairs
    if not pairs:
        return ""
    n, total = sum(map(one_token, pairs)), tables.total or len(pairs)
    share = percent(n / len(pairs))
    of = f"{len(pairs):,} pairs" if total == len(pairs) else f"the {len(pairs):,} pairs that were read of {total:,}"
    strongest = sorted(pairs, key=lambda pair: -pair["r"])[:_FIRST]
    named = Counter(pair["top_tokens_a"][0] for pair in strongest if pair["top_tokens_a"]).most_common(_NAMED)
    such = ", ".join(f"`{visible(token).strip() or visible(token)}`" for token, _ in named if "`" not in token)
    first = f", and so the pairs of highest r are of common words and signs such as {such}" if such else ""
    return (
        f"In {n:,} of {of} ({share}) all top tokens of both features are one and the same token. The stop tokens that "
        "a "
        f"filter drops are punctuation and control tokens only{first}; r within tokens, by which the list can be "
        "ordered, does not count that both features fire on the same token."
    )
