"""Whether what was observed of streams and decoder rows is of the sizes that the suite gives."""

from __future__ import annotations

import numpy as np
from numpy import ndarray

from semconv.study.decoder_baselines import GIVEN
from semconv.study.stitching import STITCHED
from semconv.study.stream_observations import DecoderObservations, StreamPairObservation
from semconv.study.streams import STREAM_MEASURES, VARIANTS
from semconv.suite.config import SuiteConfig
from semconv.system.errors import InputError


def _same(found: object, wanted: object, what: str) -> None:
    if found != wanted:
        raise InputError(f"{what}: {wanted} expected, got {found}")


def _shape(array: ndarray, wanted: tuple[int, ...], what: str) -> None:
    _same(list(array.shape), list(wanted), what)


def _reasons(reasons: tuple[str, ...], scores: ndarray, what: str) -> None:
    _same(len(reasons), scores.size, f"reasons of {what}")
    if [bool(reason) for reason in reasons] != (~np.isfinite(scores)).reshape(-1).tolist():
        raise InputError(f"{what} must have a score or a reason why there is none for every measure")


def check_streams(found: StreamPairObservation, what: str) -> None:
    """Refuses streams that were compared by other measures.

    Raises:
        InputError: names what was observed, what was expected of it and what was found.
    """
    _shape(found.scores, (len(VARIANTS), len(STREAM_MEASURES)), f"scores of {what}")
    _reasons(found.facts.reasons, found.scores, what)
    for side in (found.facts.directions_a, found.facts.directions_b):
        _same(len(side), len(VARIANTS), f"numbers of directions of {what}")


def check_decoders(suite: SuiteConfig, found: DecoderObservations, what: str) -> None:
    """Refuses decoder baselines of more or fewer draws; raises InputError as `check_streams`."""
    draws, permutations = suite.streams.draws if suite.streams else 0, suite.null.n_permutations
    stitched, partial, best = found.stitched, found.partial, found.best_r
    there = stitched.facts.reason is None
    _shape(stitched.r2, (2,) if there else (0,), f"R^2 of the maps of {what}")
    _shape(stitched.scores, (len(STITCHED),) if there else (0,), f"scores of mapped rows of {what}")
    _shape(stitched.shifted, (len(STITCHED), draws) if there else (0, 0), f"draws of mapped rows of {what}")
    _shape(stitched.partners, (permutations,) if there else (0,), f"permuted partners of {what}")
    _shape(partial.scores, (len(GIVEN),), f"partial correlations of {what}")
    _shape(partial.shuffle, (len(GIVEN), permutations), f"draws of partial correlations of {what}")
    _reasons(partial.facts.reasons, partial.scores, f"partial correlations of {what}")
    _shape(best.scores, (2,), f"mean best r of {what}")
    _shape(best.shifted, (2, draws), f"draws of the mean best r of {what}")
