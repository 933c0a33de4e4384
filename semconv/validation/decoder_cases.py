"""Data sets for the baselines of decoder rows: maps between streams, and RSA given what the vocabulary makes alike."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from semconv.compare import RSA
from semconv.statistics.permutation import permutation_ids
from semconv.statistics.sampled_text import ReadRows, SampledText
from semconv.study.decoder_baselines import GIVEN, Vocabulary, observe_partial
from semconv.study.settings import StudySettings
from semconv.study.sides import Side, match_sides
from semconv.study.stitching import STITCHED, StitchedStream, Stitching
from semconv.study.streams import StoredStream, StreamSettings
from semconv.suite.config import MatchConfig, NullConfig, StreamsConfig
from semconv.text.top_tokens import TopTokens
from semconv.validation.synthetic import make_side
from semconv.validation.uniformity import Tests, p_and_u

N_SHIFTS, N_PERMUTATIONS = 19, 99
_DOCUMENTS, _DOCUMENT, _FEATURES = 100, 4, 16
_D_A, _D_B = 5, 6
_MATCH = MatchConfig(need_shared_token=False, min_r=0.0, min_pairs=3)
_PAIRS, _LATENT, _WIDTH = 40, 4, 12


@dataclass(frozen=True)
class StreamWorld:
    """Two streams over one text, each with features along some of its directions.

    Attributes:
        pairs: feature pairs that the assignment is compared with: drawn at random, or matched by the activations,
            which follow the streams.
        shared: how much of the variance of B's stream, and of the decoder rows of a feature of B, is a map of A's.
    """

    pairs: Literal["random", "activations"] = "random"
    shared: float = 0.0


def _no_tokens(n: int) -> TopTokens:
    return TopTokens.of_sides([[["x"]] * n], ())[0]


def _by_document(rng: np.random.Generator, d: int) -> Float[ndarray, "n d"]:
    """Rows that depend on each other within documents of equal length."""
    of_document = np.repeat(rng.normal(size=(_DOCUMENTS, d)), _DOCUMENT, axis=0)
    return (of_document + rng.normal(size=of_document.shape)) / math.sqrt(2)


def _features(name: str, stream: Float[ndarray, "n d"], decoder: Float[ndarray, "F d"]) -> Side:
    reached = stream @ (decoder / np.linalg.norm(decoder, axis=1, keepdims=True)).T
    return make_side(name, np.maximum(reached - 1, 0).astype(np.float32), decoder, _no_tokens(_FEATURES))


def _settings(seed: int) -> tuple[StudySettings, StreamSettings]:
    n = _DOCUMENTS * _DOCUMENT
    read = ReadRows(np.arange(n), np.arange(n), np.zeros(n, dtype=np.int64))
    sample = SampledText(read, read, np.repeat(np.arange(_DOCUMENTS), _DOCUMENT))
    null = NullConfig(n_permutations=N_PERMUTATIONS, seed=seed)
    study = StudySettings((), _MATCH, null, np.arange(_DOCUMENTS) * _DOCUMENT)
    return study, StreamSettings(sample, StreamsConfig(n, 3, draws=N_SHIFTS), 0.99, seed)


def streams_case(world: StreamWorld) -> Callable[[np.random.Generator], Tests]:
    """Returns a function that tests what an affine map between two streams says of the decoder rows.

    All of `STITCHED` under `shift`, and the share of the pairs under `partners`.
    """

    def make(rng: np.random.Generator) -> Tests:
        x = _by_document(rng, _D_A)
        there, rows = rng.normal(size=(_D_A, _D_B)) / math.sqrt(_D_A), rng.normal(size=(_FEATURES, _D_A))
        y, rows_b = (
            math.sqrt(world.shared) * of_a @ there + math.sqrt(1 - world.shared) * own
            for of_a, own in ((x, _by_document(rng, _D_B)), (rows, rng.normal(size=(_FEATURES, _D_B))))
        )
        a, b = _features("a", x, rows), _features("b", y, rows_b)
        study, settings = _settings(int(rng.integers(2**62)))
        if world.pairs == "random":
            pairs = np.arange(_FEATURES), rng.permutation(_FEATURES)
        else:
            matched = match_sides(a, b, _MATCH)
            pairs = matched.a, matched.b
        one, other = (
            StoredStream(name, name, values.shape, lambda values=values: torch.from_numpy(values.astype(np.float32)))
            for name, values in (("a", x), ("b", y))
        )
        ready = [StitchedStream(stream, settings).read() for stream in (one, other)]
        found = Stitching(study, settings, (one, other), pairs).observe(ready[0], ready[1], a, b)
        if found.facts.reason is not None:
            return {}
        out = {
            f"shift.{name.replace('_', ' ')}": p_and_u(float(score), draws, rng)
            for name, score, draws in zip(STITCHED, found.scores, found.shifted, strict=True)
        }
        out["partners.same partner"] = p_and_u(float(found.scores[STITCHED.index("same_partner")]), found.partners, rng)
        return out

    return make


@dataclass(frozen=True)
class PartialWorld:
    """What the decoder rows of pairs have in common.

    Attributes:
        vocabulary: how much of the rows both models owe to directions that their vocabularies see, alike in both.
        beyond: the same of directions that no vocabulary sees.
    """

    vocabulary: float = 0.0
    beyond: float = 0.0


def _rows(
    rng: np.random.Generator, world: PartialWorld, seen: ndarray, unseen: ndarray, d: int
) -> tuple[ndarray, Vocabulary]:
    """Returns rows in d dimensions, and the moment of an unembedding that sees some of these and an embedding, half."""
    turn = np.linalg.qr(rng.normal(size=(d, d)))[0]
    parts = [
        math.sqrt(share) * common + math.sqrt(1 - share) * rng.normal(size=common.shape)
        for share, common in ((world.vocabulary, seen), (world.beyond, unseen))
    ]
    rest = rng.normal(size=(len(seen), d - 2 * _LATENT))
    lens = turn[:_LATENT].T @ turn[:_LATENT]
    embedding = turn[: _LATENT // 2].T @ turn[: _LATENT // 2]
    rows = np.hstack([*parts, rest]) @ turn
    return rows, {"logit_lens": torch.from_numpy(lens), "embedding": torch.from_numpy(embedding)}


def partial_case(world: PartialWorld) -> Callable[[np.random.Generator], Tests]:
    """Returns a function that tests RSA of paired rows, as it is and given what the vocabulary makes alike.

    The null is `shuffle`, as in the results: the pairing is permuted.
    """

    def make(rng: np.random.Generator) -> Tests:
        seen, unseen = (rng.normal(size=(_PAIRS, _LATENT)) for _ in range(2))
        (x, of_a), (y, of_b) = (_rows(rng, world, seen, unseen, d) for d in (_WIDTH, _WIDTH + 2))
        nothing = np.zeros((1, _PAIRS), dtype=np.float32)
        a, b = (make_side(name, nothing, rows, _no_tokens(_PAIRS)) for name, rows in (("a", x), ("b", y)))
        seed, each = int(rng.integers(2**62)), np.arange(_PAIRS)
        study = StudySettings((), _MATCH, NullConfig(seed=seed), np.zeros(1, dtype=np.int64))
        found = observe_partial(study, (lambda: of_a, lambda: of_b), (each, each), N_PERMUTATIONS, a, b)
        rsa = RSA()
        prepared = rsa.prepare(x), rsa.prepare(y)
        plain = rsa.null_scores(*prepared, np.concatenate([each[None], permutation_ids(_PAIRS, N_PERMUTATIONS, seed)]))
        out = {"shuffle.rsa": p_and_u(float(plain[0]), plain[1:], rng)}
        for name, score, draws in zip(GIVEN, found.scores, found.shuffle, strict=True):
            out[f"shuffle.rsa given {name.replace('_', ' ')}"] = p_and_u(float(score), draws, rng)
        return out

    return make
