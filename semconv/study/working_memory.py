"""What a task holds beside the activations and decoder rows that it reads: stated for each of its sides, and kept."""

from __future__ import annotations

from semconv.suite.config import StreamsConfig

SHARE_OF_PAIRS = 4
"""Of the features of the smaller dictionary, one in so many is taken to find a partner."""
_MOST_PAIRS = 4096  # of a dictionary of 16,384
_PACKED = 6.5  # bytes an entry, while two sides are correlated: records of one, postings of the other, a check of both
_COPY = 6  # bytes an entry of a resample, which is correlated instead
_MATRICES = 6  # of n rows, in float64, that the measures hold of a side
_SQUARES = 5  # of n x n, in float64, that they hold for each side, draws of a null included
_PER_FEATURE = 32
EFFECT_LOGITS = 2**25
"""Logits of changes that are taken at once (`semconv.models.interventions`)."""
EFFECTS = 1024
"""Changes of one model that a text is read with at once (`semconv.models.function`)."""
_EFFECT_COPIES = 8
_LENS_LOGITS, _LENS_COPIES = 2**24, 8  # logits of decoder rows at once (`semconv.models.logit_lens`), in float64 too


def working_bytes(entries: float, n_features: int, width: int) -> int:
    """Returns the bytes that a task holds at most beside a side, for this side.

    That is while it correlates a resample, or while it scores the pairs with the rows of both sides decomposed,
    whichever is more: by then the resample is let go. `scripts/measure/paper_size.py` measures it.

    Args:
        entries: activations that are stored.
        n_features: F.
        width: of its decoder rows.
    """
    n = min(n_features // SHARE_OF_PAIRS, _MOST_PAIRS)
    matching = (_PACKED + _COPY) * entries + _PER_FEATURE * n_features
    return int(max(matching, 8 * n * (_MATRICES * width + _SQUARES * n)))


def stream_working_bytes(width: int, config: StreamsConfig) -> int:
    """Returns the bytes that a task holds beside a sampled stream and what is made of it, for this stream, about.

    That is the product of two streams, and the ranks of their similarities.
    """
    return 8 * (width**2 + 2 * config.rsa_positions**2)


def lens_working_bytes(n_pairs: int, vocab_size: int) -> int:
    """Returns the bytes that a task holds beside a model whose logit lens it takes, about: logits, and sums of them."""
    return 4 * _LENS_COPIES * min(n_pairs * vocab_size, max(_LENS_LOGITS, vocab_size))


def function_working_bytes(n_pairs: int, vocab_size: int) -> int:
    """Returns the bytes that a task holds beside a model whose features it ablates, about.

    That is the effects of some changes and their sums, copies of both, and the mean effects of all pairs, twice in
    float32 and at last in float64.
    """
    effects = _EFFECT_COPIES * min(EFFECTS * vocab_size, max(EFFECT_LOGITS, vocab_size))
    return 4 * (effects + 6 * n_pairs * vocab_size)
