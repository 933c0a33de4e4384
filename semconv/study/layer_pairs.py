"""One layer pair after another: correlate, match, compare, every null and interval; plain numbers for the results."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from semconv.compare import Measure
from semconv.core.correlate import BestMatches, best_matches
from semconv.matching.filters import FeaturePairs, match_features, needed_partners
from semconv.runs.task_cache import Result, TaskCache
from semconv.statistics.permutation import PermutationResult, p_value
from semconv.statistics.resampling import bootstrap_positions, halves
from semconv.study.nulls import Pairs, pairing_nulls, ranked_pairs, rematch, score_strongest
from semconv.study.sides import Prepared, Side, match_sides, pair_correlations, prepare_pairs, scores_of
from semconv.suite.config import MatchConfig, NullConfig
from semconv.system.errors import InputError

NOISE_LIMIT = 1e-3
"""Features whose quantisation noise is above this share of their rms are counted in the results."""
UNDEFINED = "the score is undefined"
REMATCH_CHUNK = 20
"""Shifts whose results are kept together: what an interruption can cost."""


@dataclass(frozen=True, eq=False)
class Protocol:
    """What every layer pair is put through.

    Attributes:
        measures: scores to take.
        match: how features are paired.
        null: which nulls and intervals, and how many draws.
        starts: int64 [D] first position of every document.
        cache: finished tasks.
        tick: called with a stage and the number of steps just done.
    """

    measures: tuple[Measure[Any], ...]
    match: MatchConfig
    null: NullConfig
    starts: Int[ndarray, " D"]
    cache: TaskCache
    tick: Callable[[str, int], None]

    def inputs(self, a: Side, b: Side, *more: Any) -> list[Any]:
        """Returns all that a task on two sides depends on, as plain values."""
        decoders = [hashlib.sha256(side.decoder.tobytes()).hexdigest() for side in (a, b)]
        tokens = [side.tokens.sha256 for side in (a, b)]
        null = {
            "n_permutations": self.null.n_permutations,
            "rematch": self.null.n_rematch > 0,
            "n_strata": self.null.n_strata,
            "seed": self.null.seed,
        }
        names = [repr(measure) for measure in self.measures]
        text = [*tokens, self.starts.tolist()]
        return [a.store_sha256, b.store_sha256, *decoders, *text, names, asdict(self.match), null, *more]


def number(value: float) -> float | None:
    """Returns a float for JSON, which has no NaN: an undefined number is null."""
    return float(value) if math.isfinite(value) else None


def null_summary(statistic: float, null: Float[ndarray, " m"]) -> dict[str, Any]:
    """Returns what the results say of a null distribution, or why it says nothing."""
    if not math.isfinite(statistic):
        return {"reason": UNDEFINED}
    if not np.isfinite(null).all():
        return {"reason": f"{int((~np.isfinite(null)).sum())} of {len(null)} draws have no score"}
    test = PermutationResult(statistic, null, p_value(statistic, null))
    sd = float(null.std(ddof=1)) if len(null) > 1 else math.nan
    return {
        "score": float(statistic),
        "mean": number(float(null.mean())),
        "sd": number(sd),
        "z": number(test.z),
        "p": test.p_value,
        "calibrated": number(test.calibrated),
    }


def study(protocol: Protocol, tag: str, a: Side, b: Side) -> Result:
    """Puts one pair of sides through the protocol.

    Args:
        protocol: measures, filters, nulls.
        tag: name of the pair in the cache, unique in the run.
        a: one side.
        b: the other.

    Returns:
        Values for the results, and arrays `NULL.MEASURE` float64 [m] of every null.
    """
    values, arrays = protocol.cache.get(f"{tag}.observed", protocol.inputs(a, b), lambda: _observe(protocol, a, b))
    protocol.tick("compare", 1)
    if protocol.null.n_rematch and values["pairs"] >= protocol.match.min_pairs:
        _add_rematch(protocol, tag, a, b, values, arrays)
    else:
        protocol.tick("rematch", protocol.null.n_rematch)
    nulls = {key: array for key, array in arrays.items() if not key.startswith(("ranked.", "pairs."))}
    for key, null in nulls.items():
        null_name, measure = key.split(".")
        scored = values["measures"].get(measure, {})
        if "score" in scored:
            statistic = scored["strongest_pairs_score"] if null_name == "rematch" else scored["score"]
            scored["nulls"][null_name] = null_summary(math.nan if statistic is None else statistic, null)
    return values, nulls


def observed_pairs(
    protocol: Protocol, tag: str, a: Side, b: Side
) -> tuple[Int[ndarray, " n"], Int[ndarray, " n"], Float[ndarray, " n"]]:
    """Returns A features, B features and r of the pairs that `study` scored under the same tag."""
    _, arrays = protocol.cache.get(f"{tag}.observed", protocol.inputs(a, b), lambda: _observe(protocol, a, b))
    return arrays["pairs.a"], arrays["pairs.b"], arrays["pairs.r"]


def _matches(a: Side, b: Side, config: MatchConfig) -> BestMatches:
    k = needed_partners(config, a.acts.n_features, b.acts.n_features)
    return best_matches(a.acts, b.acts, k).to("cpu")


def _observe(protocol: Protocol, a: Side, b: Side) -> Result:
    config = protocol.match
    matches = _matches(a, b, config)
    at = halves(protocol.starts, a.acts.n_tokens, protocol.null.seed)
    if config.separate_halves:
        pairs = _matched_on_one_half(a, b, config, at)
    else:
        pairs = match_features(matches, a.tokens, b.tokens, config, a.activity(config), b.activity(config))
    measures, arrays = _compare(protocol, a, b, pairs)
    arrays |= {"pairs.a": pairs.a, "pairs.b": pairs.b, "pairs.r": pairs.r}
    if protocol.null.n_rematch:
        ranked = ranked_pairs(matches, a, b, config)
        arrays |= {"ranked.a": ranked[0], "ranked.b": ranked[1]}
    values: dict[str, Any] = {
        "layer_a": a.layer,
        "layer_b": b.layer,
        "sae_a": a.label,
        "sae_b": b.label,
        "pairs": len(pairs),
        "mean_r": number(float(pairs.r.mean())) if len(pairs) else None,
        "filters": [asdict(count) for count in pairs.counts],
        "undefined_a": int((matches.a_to_b.index[:, 0] < 0).sum()),
        "undefined_b": int((matches.b_to_a.index[:, 0] < 0).sum()),
        "noisy_features_a": int((matches.quantization_noise_a > NOISE_LIMIT).sum()),
        "noisy_features_b": int((matches.quantization_noise_b > NOISE_LIMIT).sum()),
        "matches_sha256": _sha256(matches),
        "split_half": _split_half(a, b, at),
        "measures": measures,
    }
    return values, arrays


def _matched_on_one_half(a: Side, b: Side, config: MatchConfig, at: tuple[Tensor, Tensor]) -> FeaturePairs:
    """Matches on the first half of the documents; r, and whether it is above min_r, comes from the second."""
    first, second = ((a.at(p), b.at(p)) for p in at)
    pairs = match_sides(*first, config)
    r = pair_correlations(*second, pairs.a, pairs.b)
    kept = r > config.min_r  # NaN, where a feature is silent there, is not
    step = f"r > {config.min_r:g} on the other half"
    return pairs.filtered(kept, r, step)


def _compare(protocol: Protocol, a: Side, b: Side, pairs: FeaturePairs) -> Result:
    """Scores the pairs by every measure beside its pairing nulls, or says why there is no score."""
    values: dict[str, Any] = {}
    arrays: dict[str, ndarray] = {}
    null = protocol.null
    counts_b = b.active_counts()[pairs.b]
    for measure in protocol.measures:
        if len(pairs) < protocol.match.min_pairs:
            values[measure.name] = {"reason": f"{len(pairs)} pairs, at least {protocol.match.min_pairs} are needed"}
            continue
        try:
            prepared: Prepared = prepare_pairs(measure, a, b, pairs.a, pairs.b)
            nulls = pairing_nulls(prepared, counts_b, null.n_permutations, null.seed, null.n_strata)
        except InputError as error:
            values[measure.name] = {"reason": str(error)}
            continue
        if not math.isfinite(prepared.score):
            values[measure.name] = {"reason": UNDEFINED}
            continue
        values[measure.name] = {"score": number(prepared.score), "saturated": prepared.saturated, "nulls": {}}
        arrays |= {f"{name}.{measure.name}": scores for name, scores in nulls.items()}
    return values, arrays


def _add_rematch(
    protocol: Protocol, tag: str, a: Side, b: Side, values: dict[str, Any], arrays: dict[str, ndarray]
) -> None:
    """Adds the `rematch` null of every measure and of the number of pairs."""
    observed = arrays["ranked.a"], arrays["ranked.b"]
    chunks = [
        range(first, min(first + REMATCH_CHUNK, protocol.null.n_rematch))
        for first in range(0, protocol.null.n_rematch, REMATCH_CHUNK)
    ]
    matched = [_rematched(protocol, tag, a, b, numbers) for numbers in chunks]
    # As many pairs everywhere as there are anywhere: scores of fewer pairs are not comparable.
    n = min(values["pairs"], len(observed[0]), *(len(pairs[0]) for _, ranked in matched for pairs in ranked))
    scores: list[ndarray] = []
    for numbers, (_, ranked) in zip(chunks, matched, strict=True):

        def make(ranked: list[Pairs] = ranked) -> Result:
            rows = [score_strongest(protocol.measures, a, b, pairs, n) for pairs in ranked]
            return {}, {"scores": np.stack(rows)}

        inputs = protocol.inputs(a, b, n, list(numbers))
        scores.append(protocol.cache.get(f"{tag}.rematch-scores.{numbers[0]}", inputs, make)[1]["scores"])
        protocol.tick("rematch", len(numbers))
    passed = np.concatenate([part for part, _ in matched]).astype(np.float64)
    values["rematch"] = {
        "pairs_mean": float(passed.mean()),
        "pairs_max": int(passed.max()),
        "pairs_p": p_value(float(values["pairs"]), passed),
        "scored_pairs": n,
    }

    def make_observed() -> Result:
        return {}, {"scores": score_strongest(protocol.measures, a, b, observed, n)}

    kept = protocol.cache.get(f"{tag}.strongest-scores", protocol.inputs(a, b, n), make_observed)
    strongest = kept[1]["scores"]
    for i, measure in enumerate(protocol.measures):
        if "score" in values["measures"][measure.name]:
            values["measures"][measure.name]["strongest_pairs_score"] = number(strongest[i])
        arrays[f"rematch.{measure.name}"] = np.concatenate(scores)[:, i]


def _rematched(protocol: Protocol, tag: str, a: Side, b: Side, numbers: range) -> tuple[ndarray, list[Pairs]]:
    """Matches again under some shifts, or reads what was kept: pairs that pass, and the ranked pairs of each shift."""

    def make() -> Result:
        passed, ranked = rematch(a, b, protocol.match, protocol.starts, protocol.null.seed, numbers)
        ends = np.cumsum([0, *(len(pairs[0]) for pairs in ranked)])
        joined = {name: np.concatenate([pairs[i] for pairs in ranked]) for i, name in enumerate(("a", "b"))}
        return {}, {"passed": passed, "ends": ends, **joined}

    kept = protocol.cache.get(f"{tag}.rematch.{numbers[0]}", protocol.inputs(a, b, list(numbers)), make)[1]
    cuts = kept["ends"][1:-1]
    return kept["passed"], list(zip(np.split(kept["a"], cuts), np.split(kept["b"], cuts), strict=True))


def _split_half(a: Side, b: Side, at: tuple[Tensor, Tensor]) -> dict[str, Any]:
    """How far two halves of the documents agree on the best A feature of every B feature, and on its r."""
    one, other = (best_matches(a.at(p).acts, b.at(p).acts).to("cpu").b_to_a for p in at)
    both = (one.index[:, 0] >= 0) & (other.index[:, 0] >= 0)
    same = both & (one.index[:, 0] == other.index[:, 0])
    r = torch.stack([one.r[same, 0], other.r[same, 0]])
    reliability = float(torch.corrcoef(r)[0, 1]) if int(same.sum()) > 2 else math.nan
    return {
        "features": int(both.sum()),
        "same_partner": number(int(same.sum()) / int(both.sum())) if bool(both.any()) else None,
        "r_reliability": number(reliability),
    }


def bootstrap(
    protocol: Protocol, sides_a: Sequence[Side], sides_b: Sequence[Side], replicate: int
) -> tuple[Int[ndarray, "A B"], Float[ndarray, "A B measures"]]:
    """Draws documents with replacement, matches every layer pair again and scores it.

    Returns:
        Pairs int64 [A, B] and scores float64 [A, B, measures], NaN where too few pairs are left.
    """

    def make() -> Result:
        drawn = bootstrap_positions(protocol.starts, sides_a[0].acts.n_tokens, protocol.null.seed, replicate)
        again_b = [side.at(drawn) for side in sides_b]
        counts = np.zeros((len(sides_a), len(sides_b)), dtype=np.int64)
        scores = np.full((*counts.shape, len(protocol.measures)), math.nan)
        for i, side in enumerate(sides_a):
            a = side.at(drawn)
            for j, b in enumerate(again_b):
                pairs = match_sides(a, b, protocol.match)
                counts[i, j] = len(pairs)
                if len(pairs) >= protocol.match.min_pairs:
                    scores[i, j] = scores_of(protocol.measures, a, b, pairs.a, pairs.b)
        return {}, {"counts": counts, "scores": scores}

    inputs = [protocol.inputs(a, b, replicate) for a in sides_a for b in sides_b]
    _, arrays = protocol.cache.get(f"bootstrap.{replicate}", inputs, make)
    protocol.tick("bootstrap", 1)
    return arrays["counts"], arrays["scores"]


def _sha256(matches: BestMatches) -> str:
    digest = hashlib.sha256()
    for part in (matches.a_to_b.index, matches.a_to_b.r, matches.b_to_a.index, matches.b_to_a.r):
        digest.update(part.contiguous().numpy().tobytes())
    return digest.hexdigest()
