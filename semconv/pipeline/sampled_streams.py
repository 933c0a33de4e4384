"""The streams that the SAEs of A and B read, at a sample of the text, for which each model reads it once more."""

from __future__ import annotations

import json
from dataclasses import replace
from time import sleep

from semconv.core.activation_store import StoreIdentity
from semconv.models.roles import ModelOnText, Roles
from semconv.models.stream_files import StreamFile, write_streams
from semconv.pipeline.encoded_sides import Loaded
from semconv.runs.run import Run
from semconv.runs.tasks import POLL, Workplace
from semconv.statistics.sampled_text import ReadRows, sample_text
from semconv.study.streams import SampledStreams, StoredStream
from semconv.system.digests import sha256_of


def with_streams(run: Run, place: Workplace, loaded: Loaded, models: Roles[ModelOnText]) -> Loaded:
    """Returns what was encoded with the sampled streams of A and B, where the suite compares them.

    A model is not loaded when all of its streams are in the run folder. Several processes share the work, a model each.

    Args:
        run: in whose folder they are kept.
        place: who does what, where several processes share the run.
        loaded: what was encoded.
        models: of the suite, each with the positions it was encoded at.

    Raises:
        InputError: the folder holds streams of another model, text or sample; a model cannot be read, lacks a hook, or
            gives a stream that is not finite.
        OSError: the folder cannot be written, or the disk is full.
    """
    config = run.suite.streams
    if config is None:
        return loaded
    text = sample_text(loaded.blocks, loaded.encoded.spans, config.positions, run.suite.null.seed)
    of_a = _streams(run, place, models.a, text.a, loaded.identities.a)
    of_b = _streams(run, place, models.b, text.b, loaded.identities.b)
    return replace(loaded, encoded=replace(loaded.encoded, streams=SampledStreams(text, of_a, of_b)))


def _streams(
    run: Run, place: Workplace, one: ModelOnText, sample: ReadRows, identities: dict[str, StoreIdentity]
) -> list[StoredStream]:
    """Returns the stream that each SAE of a model reads, made now unless it is there."""
    files = {
        sae.hook: StreamFile.of(run, one.model, sae.hook, _identity(run, sample, identities[sae.label]))
        for sae in one.model.saes
    }
    while missing := _missing(files):
        if place.shared is None:
            write_streams(run, one.model, one.blocks, sample, missing)
            continue
        with place.shared.reserved(f"streams.{one.model.name}") as mine:
            missing = _missing(files)  # another process may have made them meanwhile
            if mine and missing:
                write_streams(run, one.model, one.blocks, sample, missing)
        if not mine:
            sleep(POLL)
    stored = {
        hook: StoredStream(f"{one.model.name} {hook}", file.identity, file.shape, file.read, run.device)
        for hook, file in files.items()
    }
    return [stored[sae.hook] for sae in one.model.saes]


def _missing(files: dict[str, StreamFile]) -> dict[str, StreamFile]:
    return {hook: file for hook, file in files.items() if not file.is_there}


def _identity(run: Run, sample: ReadRows, store: StoreIdentity) -> str:
    """Returns the SHA-256 of everything that a stream depends on but the code."""
    of_model = [store.model_sha256, store.untrained_seed, store.model_precision, store.hook]
    return sha256_of(json.dumps([*of_model, store.tokens_sha256, sample.sha256, run.suite.encode.batch]))
