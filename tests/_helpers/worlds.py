"""Two small dictionaries over one made-up text, for the tests of what compares them: no model is needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from semconv import SparseActivations, TokenBlocks
from semconv.compare import make_measures
from semconv.compare.measure import Measure
from semconv.results.schema import LayerPair, NullTest, Reason, Score, SplitHalf
from semconv.runs.task_cache import TaskCache
from semconv.runs.tasks import Workplace
from semconv.statistics.resampling import document_starts
from semconv.study import observations
from semconv.study.observe import Encoded, Progress, observe
from semconv.study.settings import StudySettings, swaps_of
from semconv.study.sides import Side
from semconv.study.tell_pair import tell_pair
from semconv.suite.config import (
    CompareConfig,
    CorpusConfig,
    MatchConfig,
    ModelConfig,
    NullConfig,
    SaeConfig,
    SuiteConfig,
)
from semconv.text.top_tokens import TopTokens, counted_ids, top_tokens

CONTEXT = 16
TEXTS = [f"w{i}" for i in range(30)]


def make_blocks(lengths: list[int], seed: int = 0) -> TokenBlocks:
    """Documents of these lengths one after another, cut into rows whose first position (BOS) does not count."""
    owner = np.repeat(np.arange(len(lengths)), lengths)
    rows = -(-len(owner) // (CONTEXT - 1))
    document = np.full((rows, CONTEXT), -1, dtype=np.int32)
    body = np.full(rows * (CONTEXT - 1), -1, dtype=np.int32)
    body[: len(owner)] = owner
    document[:, 1:] = body.reshape(rows, CONTEXT - 1)
    ids = np.random.default_rng(seed).integers(0, len(TEXTS), document.shape).astype(np.int32)
    owners = torch.from_numpy(document)
    return TokenBlocks(torch.from_numpy(ids), owners >= 0, owners)


@dataclass(frozen=True)
class World:
    """A text and the sides of two models over it."""

    blocks: TokenBlocks
    starts: np.ndarray
    a: Side
    b: Side

    def settings(
        self,
        names: tuple[str, ...] = ("svcca_pc1", "rsa"),
        measures: tuple[Measure[Any], ...] | None = None,
        match: dict[str, Any] | None = None,
        **null: Any,
    ) -> StudySettings:
        """Settings of few draws; `match` and `null` change them."""
        nulls = NullConfig(**{"n_permutations": 19, "n_strata": 3, "seed": 5, **null})
        return StudySettings(
            tuple(make_measures(names, svcca_k=4, knn_k=3)) if measures is None else measures,
            replace(MATCH, **(match or {})),
            nulls,
            self.starts,
            self.blocks.ids[self.blocks.mask].numpy(),
            swaps_of(nulls, self.blocks),
        )


def model(name: str, *layers: int) -> ModelConfig:
    """A model with an SAE on the output of each of some blocks."""
    return ModelConfig(name, name, tuple(SaeConfig(f"blocks.{layer}.hook_resid_post", "sae") for layer in layers))


def suite_of(settings: StudySettings, a: Side, b: Side) -> SuiteConfig:
    """A suite of two SAEs and nothing else, with these filters and nulls."""
    corpus = CorpusConfig("file", "t", 16, 1000, path="x")
    models = model(a.model, a.layer), model(b.model, b.layer)
    compare = CompareConfig()
    object.__setattr__(compare, "measures", tuple(measure.name for measure in settings.measures))  # some are made up
    return SuiteConfig("two", "Made up.", corpus, *models, match=settings.match, compare=compare, null=settings.null)


@dataclass(frozen=True)
class Studied:
    """Two sides put through everything: what was observed and what is told of it."""

    observed: observations.Studied
    pair: LayerPair

    def draws(self, null: str, place: int) -> np.ndarray:
        """Draws of a null by the measure at a place."""
        return self.observed.draws()[null][place]


def study(settings: StudySettings, folder: Path, a: Side, b: Side, progress: Progress = lambda *_: None) -> Studied:
    """Studies two sides alone; finished tasks are kept in a folder."""
    suite, encoded = suite_of(settings, a, b), Encoded(make_blocks([9]), TEXTS, [a], [b], {})
    saes = suite.model_a.saes[0], suite.model_b.saes[0]
    (observed,) = observe(suite, settings, encoded, Workplace(TaskCache(folder)), progress).grid.values()
    names = tuple(measure.name for measure in settings.measures)
    return Studied(observed, tell_pair(observed, names, saes, settings.null, settings.match.min_r))


def pair_of(score: Score | Reason) -> LayerPair:
    """A layer pair of which the score of one measure, `m`, matters."""
    halves = SplitHalf(features=0, same_partner=None, r_reliability=None)
    none = dict.fromkeys(("layer_a", "layer_b", "pairs", "undefined_a", "undefined_b"), 0)
    none |= dict.fromkeys(("noisy_features_a", "noisy_features_b"), 0)
    texts = {"sae_a": "0", "sae_b": "0", "matches_sha256": ""}
    return LayerPair(**none, **texts, mean_r=None, filters=(), split_half=halves, measures={"m": score})


MATCH = MatchConfig(top_tokens=4, need_shared_token=True, one_to_one=True, min_r=0.1, min_pairs=8)


def make_world(seed: int = 0, n_a: int = 30, n_b: int = 34, n_shared: int = 24, texts: list[str] = TEXTS) -> World:
    """The first `n_shared` features of A live in B too, in another order; the others of both sides are their own.

    A feature fires on two token ids; a shared one does so on both sides and has decoder rows of a common latent.
    """
    rng = np.random.default_rng(seed)
    blocks = make_blocks(rng.integers(8, 30, 40).tolist(), seed)
    ids, at_b = counted_ids(blocks).numpy(), rng.permutation(n_b)
    latent = rng.normal(size=(n_a + n_b, 5))
    words = np.arange(n_a + n_b)[:, None] * 7 + np.array([0, 11])

    def side(model: str, layer: int, own: np.ndarray, d: int) -> Side:
        fires = (ids[:, None, None] == words[own] % len(TEXTS)).any(axis=2) & (rng.random((len(ids), len(own))) < 0.9)
        fires |= rng.random(fires.shape) < 0.02
        values = np.where(fires, rng.uniform(0.5, 2.0, fires.shape), 0).astype(np.float32)
        acts = SparseActivations.from_dense(torch.from_numpy(values))
        decoder = latent[own] @ rng.normal(size=(5, d)) + 0.5 * rng.normal(size=(len(own), d))
        labels = top_tokens(acts, counted_ids(blocks), texts, MATCH.top_tokens)
        tables.append(labels)
        tokens = TopTokens.of_sides([labels], ())[0]
        documents = blocks.document[blocks.mask]
        return Side(model, layer, acts, acts.sha256, decoder, tokens, documents, token=counted_ids(blocks))

    tables: list[list[list[str]]] = []
    of_b = np.empty(n_b, dtype=np.int64)
    of_b[at_b] = np.concatenate([np.arange(n_shared), n_a + np.arange(n_b - n_shared)])
    a, b = side("a", 1, np.arange(n_a), 9), side("b", 2, of_b, 12)
    one, other = TopTokens.of_sides(tables, ())
    return World(blocks, document_starts(blocks), replace(a, tokens=one), replace(b, tokens=other))


def random_side(seed: int, n_features: int = 40, d: int = 12, name: str = "random") -> Side:
    """A side of independent features with random decoder rows, over 200 tokens."""
    g = torch.Generator().manual_seed(seed)
    x = torch.rand(200, n_features, generator=g) * (torch.rand(200, n_features, generator=g) < 0.2)
    acts = SparseActivations.from_dense(x)
    decoder = np.random.default_rng(seed).normal(size=(n_features, d))
    tokens = TopTokens.of_sides([[["x"]] * n_features], ())[0]
    return Side(name, 0, acts, acts.sha256, decoder, tokens)


class ByNumber(Measure[np.ndarray]):
    """A measure that gives what it is told: `score` for the observed pairs, `null` for every draw."""

    def __init__(self, score: float, null: Callable[[int], np.ndarray], name: str = "told") -> None:
        self._score, self._null, self._name = score, null, name

    @property
    def name(self) -> str:
        return self._name

    def prepare(self, X: np.ndarray) -> np.ndarray:
        return X

    def score(self, x: np.ndarray, y: np.ndarray) -> float:
        return self._score

    def null_scores(self, x: np.ndarray, y: np.ndarray, permutations: np.ndarray) -> np.ndarray:
        return self._null(len(permutations))


def null_test_of(**values: float | None) -> NullTest:
    """A test of which only these numbers matter."""
    names = ("score", "mean", "sd", "z", "calibrated", "p", "q", "q_by")
    return NullTest(**{**dict.fromkeys(names, 0.5), **values})  # pyright: ignore[reportArgumentType]
