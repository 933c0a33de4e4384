"""Data sets for intervals over documents: two models read a text, features are matched, and the text is drawn again."""

from __future__ import annotations

from functools import cache

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from semconv.compare import make_measures
from semconv.statistics.permutation import LEVEL, generator
from semconv.statistics.spread import half_width, of_documents
from semconv.study.observe_pair import observe_scores, resamples
from semconv.study.settings import StudySettings
from semconv.study.sides import Side
from semconv.suite.config import MatchConfig, NullConfig
from semconv.text.top_tokens import TopTokens
from semconv.validation.synthetic import make_side, planted_spaces

MEASURES = ("rsa", "cka_unbiased", "procrustes", "mutual_knn")
N_DOCUMENTS, DOCUMENT, N_FEATURES, N_TOPICS, WIDTHS = 60, 10, 48, 8, (12, 16)
_MATCH = MatchConfig(need_shared_token=False, min_r=0.1, min_pairs=5)
_ON, _ACTIVE, _BACKGROUND, _SAME = 0.2, 0.6, 0.02, 0.5
STREAM = 97
"""Of the generator, beside those of `semconv.validation.coverage`."""


@cache
def _features() -> tuple[Int[ndarray, " F"], Float[ndarray, "F d_a"], Float[ndarray, "F d_b"]]:
    """Returns the topic of every feature and its decoder rows in both models: the same in every data set."""
    rng = generator(0, (1 << 32) - 1, STREAM)
    return (rng.integers(N_TOPICS, size=N_FEATURES), *planted_spaces(rng, N_FEATURES, *WIDTHS, 0.5))


def text(rng: np.random.Generator) -> tuple[Side, Side]:
    """Returns what the features of both models do on a fresh text; half of the time both do the same."""
    topics, *decoders = _features()
    here = rng.random((N_DOCUMENTS, N_TOPICS))[:, topics] < _ON
    likely = np.where(np.repeat(here, DOCUMENT, axis=0), _ACTIVE, _BACKGROUND)
    common, together = rng.random(likely.shape), rng.random(likely.shape) < _SAME
    tokens = TopTokens.of_sides([[["x"]] * N_FEATURES], ())[0]

    def side(name: str, decoder: Float[ndarray, "F d"]) -> Side:
        fires = np.where(together, common, rng.random(likely.shape)) < likely
        strength = 0.1 + rng.exponential(size=likely.shape)
        return make_side(name, np.where(fires, strength, 0).astype(np.float32), decoder, tokens)

    return side("a", decoders[0]), side("b", decoders[1])


def _settings(seed: int) -> StudySettings:
    starts = np.arange(N_DOCUMENTS) * DOCUMENT
    return StudySettings(tuple(make_measures(MEASURES)), _MATCH, NullConfig(seed=seed), starts)


def score(rng: np.random.Generator) -> dict[str, float]:
    """Returns measure -> score of a fresh text, and the number of feature pairs."""
    found = observe_scores(_settings(0), *text(rng))
    return dict(zip(MEASURES, found.scores.tolist(), strict=True)) | {"pairs": float(found.facts.pairs)}


def held(rng: np.random.Generator, truth: dict[str, float], n_resamples: int) -> dict[str, tuple[bool, float]]:
    """Returns measure -> whether the interval over documents of a fresh text holds the truth, and its half width."""
    a, b = text(rng)
    settings = _settings(int(rng.integers(2**62)))
    observed, drawn = observe_scores(settings, a, b), resamples(settings, a, b, range(n_resamples))
    draws = {name: drawn.scores[:, place] for place, name in enumerate(MEASURES)}
    draws["pairs"] = drawn.counts.astype(np.float64)
    scores = dict(zip(MEASURES, observed.scores.tolist(), strict=True)) | {"pairs": float(observed.facts.pairs)}
    out: dict[str, tuple[bool, float]] = {}
    for name, of_draws in draws.items():
        documents = of_documents(of_draws)
        half = half_width(documents.sd, n_resamples - 1, LEVEL) if documents is not None else 0.0
        out[name] = (abs(scores[name] - truth[name]) <= half, half)
    return out
