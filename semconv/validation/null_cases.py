"""The data sets of the calibration study: nulls that must be uniform, nulls that mislead, and planted features."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from semconv.compare import MEASURES, Measure, make_measures
from semconv.core.correlate import best_matches
from semconv.statistics.permutation import calibrated_together, frequency_strata, max_statistic, permutation_ids
from semconv.statistics.stopping import Stopping
from semconv.study.nulls import mean_best_r, pairing_nulls, ranked_pairs, rematch, score_strongest
from semconv.study.sides import Prepared, Side, match_sides, prepare_pairs, scores_of
from semconv.suite.config import MatchConfig
from semconv.text.top_tokens import TopTokens
from semconv.validation.decoder_cases import PartialWorld, StreamWorld, partial_case, streams_case
from semconv.validation.label_cases import (
    CategoryWorld,
    DepthGrid,
    Effects,
    category_case,
    depth_case,
    effects_case,
)
from semconv.validation.synthetic import (
    activation_decoder,
    document_lengths,
    frequency_spaces,
    heavy_spaces,
    make_side,
    planted_model,
    planted_spaces,
    random_decoder,
    topical_activations,
)
from semconv.validation.token_cases import TokenText, token_case
from semconv.validation.uniformity import Case, Tests, p_and_u

N_PAIRS, D_A, D_B = 32, 8, 10  # more pairs than the directions of both spaces, which PWCCA needs
N_PERMUTATIONS = 99
N_FEATURES, N_DOCUMENTS, DOCUMENT = 64, 50, 10
N_SHIFTS = 19  # the fewest that can reach p = 0.05
FEW = ("rsa", "procrustes", "cka_unbiased", "mutual_knn")
"""Measures that are used where all of them would take too long or show the same."""


def _measures(names: Sequence[str] = tuple(MEASURES)) -> list[Measure[Any]]:
    return make_measures(names, svcca_k=4, knn_k=5)


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**62))


def spaces_case(
    draw: Callable[[np.random.Generator, Int[ndarray, " n"]], tuple[ndarray, ndarray]],
    n_strata: int,
    names: Sequence[str] = tuple(MEASURES),
) -> Callable[[np.random.Generator], Tests]:
    """Returns a function that tests `shuffle` and `frequency` on two spaces.

    Args:
        draw: makes the spaces from a generator and the activation counts of their pairs, int64 [n].
        n_strata: strata of `frequency`.
        names: measures.
    """

    def make(rng: np.random.Generator) -> Tests:
        counts, seed = rng.permutation(N_PAIRS), _seed(rng)
        X, Y = draw(rng, counts)
        out: Tests = {}
        for measure in _measures(names):
            x, y = measure.prepare(X), measure.prepare(Y)
            prepared = Prepared(measure, x, y, float(measure.null_scores(x, y, np.arange(N_PAIRS)[None])[0]), False)
            for null, scores in pairing_nulls(prepared, counts, Stopping(N_PERMUTATIONS), seed, n_strata).items():
                out[f"{null}.{measure.name}"] = p_and_u(prepared.score, scores, rng)
        return out

    return make


def _grid_case(rng: np.random.Generator) -> Tests:
    """The best of a grid of 2 x 3 layers that resemble each other within a model, and its smallest single p."""
    bases = rng.normal(size=(N_PAIRS, D_A)), rng.normal(size=(N_PAIRS, D_B))
    layers_a, layers_b = (
        [base + 0.7 * rng.normal(size=base.shape) for _ in range(n)] for base, n in zip(bases, (2, 3), strict=True)
    )
    permutations, out = permutation_ids(N_PAIRS, N_PERMUTATIONS, _seed(rng)), Tests()
    for measure in _measures(FEW):
        scores, nulls = list[float](), list[ndarray]()
        for X in layers_a:
            for Y in layers_b:
                x, y = measure.prepare(X), measure.prepare(Y)
                scores.append(float(measure.null_scores(x, y, np.arange(N_PAIRS)[None])[0]))
                nulls.append(measure.null_scores(x, y, permutations))
        both = [calibrated_together(s, null) for s, null in zip(scores, nulls, strict=True)]
        best = max_statistic([score for score, _ in both], [draws for _, draws in both])
        out[f"best, calibrated.{measure.name}"] = p_and_u(best.statistic, best.null, rng)
        best = max_statistic(scores, nulls)
        out[f"max.{measure.name}"] = p_and_u(best.statistic, best.null, rng)
        out[f"smallest p.{measure.name}"] = min(p_and_u(s, null, rng) for s, null in zip(scores, nulls, strict=True))
    return out


@dataclass(frozen=True)
class Text:
    """The text that two synthetic models read, and how often it is shifted.

    Attributes:
        n_documents: D.
        kind: documents of one length, or uneven.
        n_shifts: draws of `rematch`.
        decoders: `random`, or `activations`, so that geometry follows what is active together.
        planted: share of activations and of decoder variance that the second model has from the first.
        labels: how many top tokens the topics of a model draw theirs from, for the filter on a shared one; 0 turns the
            filter off.
    """

    n_documents: int = N_DOCUMENTS
    kind: Literal["equal", "uneven"] = "equal"
    n_shifts: int = N_SHIFTS
    decoders: Literal["random", "activations"] = "random"
    planted: float = 0.0
    labels: int = 0

    @property
    def match(self) -> MatchConfig:
        return MatchConfig(need_shared_token=self.labels > 0)


def models(rng: np.random.Generator, text: Text) -> tuple[Side, Side, Int[ndarray, " D"]]:
    """Returns two models over one text, and the first position of every document."""
    lengths = document_lengths(rng, text.n_documents, DOCUMENT, text.kind)
    (acts_a, topics_a), (acts_b, topics_b) = (topical_activations(rng, lengths, N_FEATURES) for _ in range(2))
    if text.planted:
        acts_b = planted_model(rng, acts_a, acts_b, text.planted)
    if text.decoders == "activations":
        decoder_a, decoder_b = (activation_decoder(rng, x, d) for x, d in ((acts_a, D_A), (acts_b, D_B)))
    elif text.planted:
        decoder_a, decoder_b = planted_spaces(rng, N_FEATURES, D_A, D_B, text.planted)
    else:
        decoder_a, decoder_b = (random_decoder(rng, N_FEATURES, d) for d in (D_A, D_B))
    order = rng.permutation(N_FEATURES)  # a partner never has the same number
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    rows = [_top_tokens(rng, topics, text.labels) for topics in (topics_a, topics_b[order])]
    tokens_a, tokens_b = TopTokens.of_sides(rows, ())
    a, b = (
        make_side("a", acts_a, decoder_a, tokens_a),
        make_side("b", acts_b[:, order], decoder_b[order], tokens_b),
    )
    return a, b, starts


def _top_tokens(rng: np.random.Generator, topics: Int[ndarray, " F"], labels: int) -> list[list[str]]:
    """One top token per feature, by its topic; topics of one model may share one, and so may those of two."""
    if not labels:
        return [[] for _ in topics]
    of_topic = rng.integers(labels, size=int(topics.max()) + 1)
    return [[str(of_topic[topic])] for topic in topics]


def models_case(text: Text, names: Sequence[str] = tuple(MEASURES)) -> Callable[[np.random.Generator], Tests]:
    """Returns a function that tests the whole procedure: match, filter, score.

    It gives `rematch` and `shuffle` of every measure, and `rematch` of the number of pairs and of A's mean best r.
    """
    config = text.match

    def make(rng: np.random.Generator) -> Tests:
        a, b, starts = models(rng, text)
        seed, measures = _seed(rng), _measures(names)
        pairs = match_sides(a, b, config)
        observed = scores_of(measures, a, b, pairs.a, pairs.b)
        matches = best_matches(a.acts, b.acts)
        ranked = ranked_pairs(matches, a, b, config)
        again = rematch(a, b, config, starts, seed, range(text.n_shifts))
        n = min(len(pairs), len(ranked[0]), *(len(rows[0]) for rows in again.ranked))
        strongest = score_strongest(measures, a, b, ranked, n)
        null = np.stack([score_strongest(measures, a, b, rows, n) for rows in again.ranked])
        out = {
            "rematch.pairs": p_and_u(float(len(pairs)), again.passed.astype(np.float64), rng),
            "rematch.mean best r": p_and_u(mean_best_r(matches)[0], again.best_r[0], rng),
        }
        shuffled = permutation_ids(len(pairs), N_PERMUTATIONS, seed)
        for i, measure in enumerate(measures):
            out[f"rematch.{measure.name}"] = p_and_u(float(strongest[i]), null[:, i], rng)
            if math.isfinite(observed[i]) and measure.name != "rsa_kendall":  # which would take as long as all others
                prepared = prepare_pairs(measure, a, b, pairs.a, pairs.b)
                scores = measure.null_scores(prepared.x, prepared.y, shuffled)
                out[f"shuffle.{measure.name}"] = p_and_u(prepared.score, scores, rng)
        return out

    return make


def _levels(counts: Int[ndarray, " n"], n_strata: int) -> Float[ndarray, " n"]:
    return frequency_strata(counts, n_strata) / (n_strata - 1)


CASES = (
    Case(
        "independent",
        ("shuffle", "frequency"),
        spaces_case(lambda rng, _: planted_spaces(rng, N_PAIRS, D_A, D_B, 0.0), 4),
        "Gaussian spaces that share nothing",
    ),
    Case(
        "heavy tails",
        ("shuffle", "frequency"),
        spaces_case(lambda rng, _: heavy_spaces(rng, N_PAIRS, D_A, D_B), 4),
        "heavy-tailed row lengths, one decaying spectrum on both sides",
    ),
    Case(
        "frequency nuisance",
        ("frequency",),
        spaces_case(lambda rng, counts: frequency_spaces(rng, _levels(counts, 4), D_A, D_B, 1.0), 4),
        "both spaces depend on the frequency stratum of the pair, on nothing else in common",
    ),
    Case(
        "coarse strata",
        (),
        spaces_case(lambda rng, counts: frequency_spaces(rng, _levels(counts, N_PAIRS), D_A, D_B, 1.0), 2, FEW),
        "both spaces depend on frequency itself; two strata are too coarse",
    ),
    Case("grid", ("max", "best, calibrated"), _grid_case, "2 x 3 layers that resemble each other"),
    Case("models", ("rematch",), models_case(Text()), "models that share nothing, random decoders"),
    Case(
        "models, active geometry",
        ("rematch",),
        models_case(Text(decoders="activations")),
        "models that share nothing, decoder rows follow what is active together",
    ),
    Case(
        "uneven documents",
        (),
        models_case(Text(kind="uneven", decoders="activations"), FEW),
        "the same with documents of uneven length",
    ),
    Case(
        "few documents",
        (),
        models_case(Text(n_documents=12, n_shifts=59), FEW[:2]),
        "12 documents, so 11 shifts, drawn 59 times",
    ),
    Case(
        "token filter",
        (),
        models_case(Text(decoders="activations", labels=2), FEW),
        "as 'models, active geometry', and pairs must share a top token, one of two that topics draw at random",
    ),
    Case(
        "tokens alone",
        ("same_token", "same_bigram"),
        token_case(TokenText()),
        "models that share what the current token says and nothing else",
    ),
    Case(
        "two tokens alone",
        ("same_bigram",),
        token_case(TokenText("bigram", 5)),
        "models that share what the current token and the one before say",
    ),
    Case(
        "beyond tokens",
        (),
        token_case(TokenText(common=0.05)),
        "as 'tokens alone', and at 5% of the positions partners fire together for another reason",
    ),
    Case(
        "depths",
        ("depths", "depths, all orders"),
        depth_case(DepthGrid()),
        "scores of 4 x 4 and 3 x 4 layers, each of which adds to its scores by chance",
    ),
    Case(
        "depths, walk",
        (),
        depth_case(DepthGrid("walk")),
        "the same where what a layer adds changes slowly from depth to depth, in both models alone",
    ),
    Case(
        "categories",
        ("categories",),
        category_case(CategoryWorld()),
        "categories of one size that lie by chance to each other in both models",
    ),
    Case(
        "categories, uneven",
        (),
        category_case(CategoryWorld("uneven")),
        "the same with categories of 7 to 17 features, neighbours of which share two in both models",
    ),
    Case(
        "effects",
        ("signs",),
        effects_case(Effects()),
        "partners do as well as hard negatives, differences of one token depend on each other",
    ),
    Case(
        "effects, skewed",
        (),
        effects_case(Effects("skewed")),
        "the same with differences of mean zero and a long tail to the right",
    ),
    Case(
        "effects, best negative",
        (),
        effects_case(Effects("best")),
        "a partner is one of five that do alike, and is compared with the best of the other four",
    ),
    Case(
        "streams",
        ("shift", "partners"),
        streams_case(StreamWorld()),
        "streams that share nothing, feature pairs drawn at random",
    ),
    Case(
        "streams, matched pairs",
        (),
        streams_case(StreamWorld("activations")),
        "streams that share nothing, feature pairs matched by activations that follow them",
    ),
    Case(
        "vocabulary",
        ("shuffle",),
        partial_case(PartialWorld()),
        "decoder rows and vocabularies that share nothing",
    ),
    Case(
        "vocabulary alone",
        (),
        partial_case(PartialWorld(vocabulary=0.5)),
        "pairs share directions that both vocabularies see, the embeddings half of them, and nothing else",
    ),
)
"""Null data sets; the place of a case is part of its seed."""


def power_cases(strengths: Sequence[float]) -> tuple[Case, ...]:
    """Returns data sets in which something is shared: of every kind one at each strength s."""
    kinds: dict[str, tuple[Callable[[float], Callable[[np.random.Generator], Tests]], str]] = {
        "spaces": (
            lambda s: spaces_case(lambda rng, _: planted_spaces(rng, N_PAIRS, D_A, D_B, s), 4),
            "correlated by s",
        ),
        "models": (lambda s: models_case(Text(planted=s)), "a share s of activations and decoders is the same"),
        "depths": (
            lambda s: depth_case(DepthGrid(bump=10 * s, near=5 * s)),
            "the middle scores 10 s higher than a layer adds, like depths 5 s higher than the farthest",
        ),
        "categories": (lambda s: category_case(CategoryWorld(shared=2 * s)), "a share 2 s of their means is the same"),
        "effects": (lambda s: effects_case(Effects(above=s)), "partners lie s standard deviations above negatives"),
        "streams": (
            lambda s: streams_case(StreamWorld("activations", s)),
            "a share s of B's stream and decoder rows is a map of A's",
        ),
        "rows": (
            lambda s: partial_case(PartialWorld(0.5, s)),
            "half of what the vocabularies see is the same, and a share s of what they do not",
        ),
    }
    return tuple(Case(f"{kind} {s:g}", (), make(s), about) for kind, (make, about) in kinds.items() for s in strengths)
