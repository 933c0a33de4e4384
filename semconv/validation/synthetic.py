"""Synthetic data with a known answer: spaces and models that share nothing, only a nuisance, or a planted part."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray

from semconv.core.sparse import SparseActivations
from semconv.study.sides import Side
from semconv.text.top_tokens import TopTokens

Spaces = tuple[Float[ndarray, "n d_a"], Float[ndarray, "n d_b"]]

_ON, _ACTIVE, _BACKGROUND = 0.2, 0.8, 0.01  # share of documents of a topic; of their tokens; of the other tokens


def planted_spaces(rng: np.random.Generator, n: int, d_a: int, d_b: int, r: float) -> Spaces:
    """Returns Gaussian spaces whose d_a shared directions are correlated with r in [0, 1]; 0 is independence.

    Y is a random rotation of its coordinates, so that the spaces do not share axes.
    """
    shared = rng.normal(size=(n, d_a))
    X, Y = (np.sqrt(r) * shared + np.sqrt(1 - r) * rng.normal(size=(n, d_a)) for _ in range(2))
    Y = np.hstack([Y, rng.normal(size=(n, d_b - d_a))])
    return X, Y @ np.linalg.qr(rng.normal(size=(d_b, d_b)))[0]


def heavy_spaces(rng: np.random.Generator, n: int, d_a: int, d_b: int) -> Spaces:
    """Returns independent spaces of one decaying spectrum, 1 / i, whose rows have heavy-tailed lengths (t, 2 df)."""
    X, Y = (rng.normal(size=(n, d)) / np.arange(1, d + 1) * rng.standard_t(2, size=(n, 1)) for d in (d_a, d_b))
    return X, Y


def frequency_spaces(
    rng: np.random.Generator, level: Float[ndarray, " n"], d_a: int, d_b: int, strength: float
) -> Spaces:
    """Returns spaces whose rows lie along a curve of their level, one of its own in each, and share nothing else.

    Args:
        rng: draws the curves and the noise, which has unit variance.
        level: place of each row on the curve in [0, 1]; rows of equal level are exchangeable.
        d_a: columns of X.
        d_b: columns of Y.
        strength: size of the curve.
    """
    waves = np.stack([np.cos(np.pi * k * level) for k in (1, 2, 3)], axis=1)
    X, Y = (
        strength * waves @ rng.normal(size=(3, d)) / np.sqrt(3) + rng.normal(size=(len(level), d)) for d in (d_a, d_b)
    )
    return X, Y


def document_lengths(
    rng: np.random.Generator, n: int, mean: int, kind: Literal["equal", "uneven"]
) -> Int[ndarray, " n"]:
    """Returns the tokens of every document, int64: all `mean`, or geometric of that mean (as uneven as real text)."""
    return np.full(n, mean) if kind == "equal" else rng.geometric(1 / mean, n)


def topical_activations(
    rng: np.random.Generator, lengths: Int[ndarray, " D"], n_features: int, n_topics: int = 8
) -> tuple[Float[ndarray, "tokens F"], Int[ndarray, " F"]]:
    """Returns activations, float32, of features that belong to topics of their model's own, and the topics.

    A document has each topic with probability 0.2, and a feature is active on many tokens of documents of its topic. So
    features of a topic are active together, the tokens of a document depend on each other, and what is exchangeable are
    documents of equal length.
    """
    has_topic = rng.random((len(lengths), n_topics)) < _ON
    topics = rng.integers(n_topics, size=n_features)
    on = np.repeat(has_topic[:, topics], lengths, axis=0)
    active = rng.random(on.shape) < np.where(on, _ACTIVE, _BACKGROUND)
    return np.where(active, rng.exponential(size=on.shape) + 0.1, 0).astype(np.float32), topics


def random_decoder(rng: np.random.Generator, n_features: int, d: int) -> Float[ndarray, "F d"]:
    """Returns independent directions: geometry that does not depend on the activations."""
    return rng.normal(size=(n_features, d))


def activation_decoder(
    rng: np.random.Generator, activations: Float[ndarray, "tokens F"], d: int
) -> Float[ndarray, "F d"]:
    """Returns for every feature the activation-weighted mean of random token vectors, one random vector a token.

    Features that are active together have similar rows, as in real SAEs. The vectors are the model's own: two models
    with independent activations get independent decoders.
    """
    centred = activations - activations.mean(axis=0)
    unit = centred / np.linalg.norm(centred, axis=0)
    return unit.T @ rng.normal(size=(len(activations), d))


def planted_model(
    rng: np.random.Generator, activations: Float[ndarray, "tokens F"], fresh: Float[ndarray, "tokens F"], r: float
) -> Float[ndarray, "tokens F"]:
    """Returns a second model's activations: every entry is the first model's with probability r, else a fresh one."""
    return np.where(rng.random(activations.shape) < r, activations, fresh)


def make_side(
    name: str, activations: Float[ndarray, "tokens F"], decoder: Float[ndarray, "F d"], tokens: TopTokens
) -> Side:
    """Returns a side of one layer."""
    return Side(name, 0, SparseActivations.from_dense(torch.from_numpy(activations)), name, decoder, tokens)
