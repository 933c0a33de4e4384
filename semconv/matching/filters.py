"""Turns best matches into feature pairs: a strategy, then explicit filters, with a count before and after each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from semconv.core.correlate import BestMatches, best_matches
from semconv.core.sparse import SparseActivations
from semconv.matching.influence import FeatureColumns, r_without_strongest
from semconv.matching.strategies import Candidates, best_candidates, greedy, mutual, optimal, top_candidates
from semconv.results.schema import FilterStep
from semconv.suite.config import MatchConfig
from semconv.system.errors import InputError
from semconv.text.top_tokens import TopTokens

_STRATEGY_STEPS = {
    "mutual": "each the other's best",
    "greedy": "one-to-one by falling r",
    "optimal": "one-to-one of the highest total r",
}


RWithout = Callable[[Int[ndarray, " n"], Int[ndarray, " n"]], Float[ndarray, " n"]]
"""From A and B features of pairs to their r without the strongest positions."""


@dataclass(frozen=True, eq=False)
class Activity:
    """How often the features of a side are active; None where no filter needs the count.

    Attributes:
        tokens: int64 [F], on how many tokens; needed by `min_activations`.
        documents: int64 [F], in how many documents; needed by `min_documents`.
    """

    tokens: Int[ndarray, " F"] | None = None
    documents: Int[ndarray, " F"] | None = None

    def at_least(self, name: str, least: int, n_features: int) -> Bool[ndarray, " F"]:
        """Marks the features that are active on at least so many `tokens`, or in so many `documents`."""
        active = self.tokens if name == "tokens" else self.documents
        if active is None or active.shape != (n_features,):
            found = "none" if active is None else f"shape {list(active.shape)}"
            setting = "min_activations" if name == "tokens" else "min_documents"
            raise InputError(f"{setting} needs the {name} of {n_features} features counted, got {found}")
        return active >= least


@dataclass(frozen=True, eq=False)
class FeaturePairs:
    """Paired features, in ascending order of the B feature.

    Attributes:
        a: int64 [n] features of model A.
        b: int64 [n] features of model B.
        r: float64 [n] Pearson correlation of each pair.
        counts: every filter in the order in which it was applied.
    """

    a: Int[ndarray, " n"]
    b: Int[ndarray, " n"]
    r: Float[ndarray, " n"]
    counts: tuple[FilterStep, ...]

    def __len__(self) -> int:
        return len(self.a)

    def filtered(self, kept: Bool[ndarray, " n"], r: Float[ndarray, " n"], step: str) -> FeaturePairs:
        """Returns the kept pairs with a new r [n], and one more count."""
        counts = (*self.counts, FilterStep(step=step, before=len(self), after=int(kept.sum())))
        return FeaturePairs(self.a[kept], self.b[kept], r[kept], counts)


def needed_partners(config: MatchConfig, n_a: int, n_b: int) -> int:
    """Returns the k that `best_matches` must be asked for, with n_a and n_b features on the two sides."""
    return min(config.candidates, n_a, n_b) if config.strategy in ("greedy", "optimal") else 1


def best_by(a: SparseActivations, b: SparseActivations, config: MatchConfig, token: Tensor | None) -> BestMatches:
    """Returns the `needed_partners` best partners by what the config matches by.

    Args:
        a: activations of A.
        b: of B, over the same tokens.
        config: how features are matched.
        token: integer [n_tokens] which token stands at every position; None where nothing knows.

    Raises:
        InputError: the config matches by r within tokens, and these are not known or no token stands at two positions.
    """
    k = needed_partners(config, a.n_features, b.n_features)
    if not config.within_tokens:
        return best_matches(a, b, k)
    if token is None:
        raise InputError("match.by = 'r_within_token' needs the token at every position, got none")
    return best_matches(a, b, k, within=token)


def match_features(
    matches: BestMatches,
    top_tokens_a: TopTokens | Sequence[Sequence[str]],
    top_tokens_b: TopTokens | Sequence[Sequence[str]],
    config: MatchConfig,
    active_a: Activity = Activity(),
    active_b: Activity = Activity(),
    *,
    r_without: RWithout | None = None,
) -> FeaturePairs:
    """Pairs features by the strategy of the config, then applies its filters, the published in their published order.

    Args:
        matches: the `needed_partners` best partners in both directions.
        top_tokens_a: [F_a] lists of top-activating tokens, or a table of `TopTokens.of_sides`, which saves time.
        top_tokens_b: [F_b], of the same kind; tables must come from one call.
        config: strategy and filters, with their settings; a filter that is off is not listed in the counts.
        active_a: how often each A feature is active.
        active_b: the same for B.
        r_without: gives r of some pairs without their strongest positions; needed by `without_strongest`.

    Raises:
        InputError: token lists or activation counts that do not cover every feature, tables that do not belong to each
            other or to the config, too few partners in `matches`, or `r_without` missing.
    """
    n_a, n_b = len(matches.a_to_b.index), len(matches.b_to_a.index)
    tokens_a, tokens_b = _token_tables(top_tokens_a, top_tokens_b, config)
    if (len(tokens_a), len(tokens_b)) != (n_a, n_b):
        raise InputError(f"top tokens are needed for {n_a} and {n_b} features, got {len(tokens_a)} and {len(tokens_b)}")
    pairs, counts = _paired(matches, config)

    def apply(step: str, keep: Callable[[Candidates], Bool[ndarray, " n"]]) -> None:
        nonlocal pairs
        left = pairs.take(keep(pairs))
        counts.append(FilterStep(step=step, before=len(pairs), after=len(left)))
        pairs = left

    for least, where, name in (
        (config.min_activations, "on", "tokens"),
        (config.min_documents, "in", "documents"),
    ):
        if least:
            often_a, often_b = active_a.at_least(name, least, n_a), active_b.at_least(name, least, n_b)
            kept = partial(_both, often_a, often_b)
            apply(f"both features active {where} at least {least} {name}", kept)
    if config.stop_tokens:
        apply("no stop token among the top tokens", lambda p: ~(tokens_a.stopped[p.a] | tokens_b.stopped[p.b]))
    if config.need_shared_token:
        apply("a shared top token", lambda p: _share(tokens_a.numbers[p.a], tokens_b.numbers[p.b]))
    if config.one_to_one:
        apply("one pair per A feature", _best_of_each)
    apply(f"{'r within tokens' if config.within_tokens else 'r'} > {config.min_r:g}", lambda p: p.r > config.min_r)
    if config.without_strongest:
        if r_without is None:
            raise InputError("match.without_strongest needs a function that gives r without positions, got none")
        step = f"r > {config.min_r:g} without its {config.without_strongest} strongest positions"
        apply(step, lambda p: r_without(p.a, p.b) > config.min_r)  # NaN, where nothing varies without them, is not
    if config.strongest:
        apply(f"the {config.strongest} strongest", lambda p: _strongest(p, config.strongest))
    return FeaturePairs(pairs.a, pairs.b, pairs.r, tuple(counts))


def r_without_of(a: SparseActivations, b: SparseActivations, config: MatchConfig) -> RWithout | None:
    """Returns what gives r of pairs of two sides without their strongest positions; None where nothing asks for it."""
    if not config.without_strongest:
        return None

    def r_without(features_a: Int[ndarray, " n"], features_b: Int[ndarray, " n"]) -> Float[ndarray, " n"]:
        columns = FeatureColumns(a, features_a), FeatureColumns(b, features_b)
        return r_without_strongest(*columns, features_a, features_b, config.without_strongest)

    return r_without


def match_subset(
    a: SparseActivations,
    b: SparseActivations,
    features_a: Tensor,
    features_b: Tensor,
    top_tokens_a: TopTokens,
    top_tokens_b: TopTokens,
    *,
    config: MatchConfig,
    documents: Tensor | None = None,
    token: Tensor | None = None,
) -> FeaturePairs:
    """Matches some features of A with some of B as if there were no others, as for a semantic subspace.

    Args:
        a: activations of all A features.
        b: activations of all B features over the same tokens.
        features_a: int64 [n], at least one, strictly increasing.
        features_b: the same for B.
        top_tokens_a: of all A features, as for `match_features`.
        top_tokens_b: of all B features.
        config: as for `match_features`.
        documents: integer [n_tokens] document of every token; needed by `min_documents`.
        token: integer [n_tokens] which token stands at every position; needed by `by = "r_within_token"`.

    Returns:
        Pairs, numbered as in the whole dictionaries. r is the same as there: a correlation depends on two features
        only.

    Raises:
        InputError: features that are not int64, strictly increasing and within range; `documents` missing though
            `min_documents` is set; token lists that do not cover every feature; or tables of top tokens that do not
            belong to each other or to the config.
    """
    part_a, part_b = a.columns(features_a), b.columns(features_b)
    numbers_a, numbers_b = features_a.numpy(), features_b.numpy()
    pairs = match_features(
        best_by(part_a, part_b, config, token),
        top_tokens_a.take(numbers_a),
        top_tokens_b.take(numbers_b),
        config,
        _activity(part_a, documents),
        _activity(part_b, documents),
        r_without=r_without_of(part_a, part_b, config),
    )
    return FeaturePairs(numbers_a[pairs.a], numbers_b[pairs.b], pairs.r, pairs.counts)


def _activity(part: SparseActivations, documents: Tensor | None) -> Activity:
    counted = None if documents is None else part.document_counts(documents).numpy()
    return Activity(part.active_counts().numpy(), counted)


def _token_tables(
    a: TopTokens | Sequence[Sequence[str]], b: TopTokens | Sequence[Sequence[str]], config: MatchConfig
) -> tuple[TopTokens, TopTokens]:
    """Returns the tables of both sides, made now if they are lists, after checking that they belong together."""
    if not isinstance(a, TopTokens) and not isinstance(b, TopTokens):
        a, b = TopTokens.of_sides([a, b], config.stop_tokens)
    if not isinstance(a, TopTokens) or not isinstance(b, TopTokens):
        raise InputError("top tokens must be tables on both sides or lists on both, got one of each")
    if a.texts is not b.texts and a.texts != b.texts:
        raise InputError("top tokens must be tables of one call of TopTokens.of_sides, got tables of two")
    for table in (a, b):
        if set(table.stop_tokens) != set(config.stop_tokens):
            raise InputError(
                f"top tokens were made with the stop tokens {table.stop_tokens}, the config has {config.stop_tokens}"
            )
    return a, b


def _paired(matches: BestMatches, config: MatchConfig) -> tuple[Candidates, list[FilterStep]]:
    """Returns the pairs of the strategy, at most one per B feature, in ascending order of it, and its counts."""
    n_a, n_b = len(matches.a_to_b.index), len(matches.b_to_a.index)
    needed = needed_partners(config, n_a, n_b)
    found = min(matches.a_to_b.index.shape[1], matches.b_to_a.index.shape[1])
    if found < needed:
        raise InputError(f"strategy {config.strategy!r} needs the {needed} best partners of a feature, got {found}")
    best = best_candidates(matches)
    counts = [FilterStep(step="both features vary", before=n_b, after=len(best))]
    if config.strategy == "best":
        return best, counts
    if config.strategy == "mutual":
        pairs = mutual(matches)
    else:
        pairs = (greedy if config.strategy == "greedy" else optimal)(top_candidates(matches, needed))
    return pairs, [*counts, FilterStep(step=_STRATEGY_STEPS[config.strategy], before=len(best), after=len(pairs))]


def _both(often_a: Bool[ndarray, " F_a"], often_b: Bool[ndarray, " F_b"], pairs: Candidates) -> Bool[ndarray, " n"]:
    """Marks the pairs both of whose features are marked."""
    return often_a[pairs.a] & often_b[pairs.b]


def _share(x: Int[ndarray, "n k"], y: Int[ndarray, "n l"]) -> Bool[ndarray, " n"]:
    """Marks the rows that have a token number in common; -1 is no token."""
    shared = np.zeros(len(x), dtype=bool)
    for column in x.T:
        shared |= ((y == column[:, None]) & (column >= 0)[:, None]).any(axis=1)
    return shared


def _strongest(pairs: Candidates, n: int) -> Bool[ndarray, " n"]:
    """Marks the n pairs of highest r; ties to the lowest B feature."""
    keep = np.zeros(len(pairs), dtype=bool)
    keep[np.argsort(-pairs.r, kind="stable")[:n]] = True
    return keep


def _best_of_each(pairs: Candidates) -> Bool[ndarray, " n"]:
    """Marks the pair of highest r of every A feature; ties to the lowest B feature."""
    best = np.full(pairs.n_a, -np.inf)
    np.maximum.at(best, pairs.a, pairs.r)
    highest = np.flatnonzero(pairs.r == best[pairs.a])[::-1]
    lowest_b = np.empty(pairs.n_a, dtype=np.int64)
    lowest_b[pairs.a[highest]] = highest  # backwards, so that the lowest B feature is written last and stays
    keep = np.zeros(len(pairs), dtype=bool)
    keep[lowest_b[pairs.a[highest]]] = True
    return keep
