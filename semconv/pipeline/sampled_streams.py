"""The streams that the SAEs of A and B read, at a sample of the text, for which each model reads it once more."""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from time import sleep

from semconv.core.activation_store import StoreIdentity
from semconv.models.decoders import decoder_metadata
from semconv.models.roles import ModelOnText, Roles
from semconv.models.stream_files import KeptFile, StreamFile, VocabularyFile, write_streams
from semconv.pipeline.encoded_sides import Loaded
from semconv.runs.run import Run
from semconv.runs.tasks import POLL, Workplace
from semconv.statistics.sampled_text import ReadRows, sample_text
from semconv.study.streams import SampledStreams, StoredStream, StoredVocabulary
from semconv.suite.config import SaeConfig
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
    of_a, words_a = _of_model(run, place, models.a, text.a, loaded.identities.a)
    of_b, words_b = _of_model(run, place, models.b, text.b, loaded.identities.b)
    streams = SampledStreams(text, of_a, of_b, (words_a, words_b))
    return replace(loaded, encoded=replace(loaded.encoded, streams=streams))


def _of_model(
    run: Run, place: Workplace, one: ModelOnText, sample: ReadRows, identities: dict[str, StoreIdentity]
) -> tuple[list[StoredStream], StoredVocabulary]:
    """Returns the stream that each SAE of a model reads, and its vocabulary, made now unless they are there."""
    model, stores = one.model, list(identities.values())
    streams = {
        sae.hook: StreamFile.of(run, model, sae.hook, _identity(run, sample, identities[sae.label]))
        for sae in model.saes
    }
    of_model = [stores[0].model_sha256, stores[0].untrained_seed, stores[0].model_precision]
    vocabulary = VocabularyFile.of(run, model, sha256_of(json.dumps(of_model)))
    while missing := _missing([*streams.values(), vocabulary]):
        with _reserved(place, f"streams.{model.name}") as mine:
            missing = _missing(missing)  # another process may have made them meanwhile
            if mine and missing:
                wanted = {hook: file for hook, file in streams.items() if file in missing}
                words = vocabulary if vocabulary in missing else None
                write_streams(run, model, one.blocks, sample, wanted, words)
        if not mine:
            sleep(POLL)
    stored = [_stored(run, one, sae, streams[sae.hook]) for sae in model.saes]
    return stored, StoredVocabulary(vocabulary.identity, vocabulary.read)


@contextmanager
def _reserved(place: Workplace, name: str) -> Generator[bool]:
    """Reserves a task where several processes share them; gives whether it is this one's."""
    if place.shared is None:
        yield True
        return
    with place.shared.reserved(name) as mine:
        yield mine


def _stored(run: Run, one: ModelOnText, sae: SaeConfig, file: StreamFile) -> StoredStream:
    metadata = decoder_metadata(run.decoder_path(one.model, sae))
    elsewhere = "it is a transcoder, whose decoder rows are directions of another stream than it reads"
    return StoredStream(
        f"{one.model.name} {sae.hook}",
        file.identity,
        file.shape,
        file.read,
        run.device,
        elsewhere if metadata.transcoder else "",
    )


def _missing(files: Sequence[KeptFile]) -> list[KeptFile]:
    return [file for file in files if not file.is_there]


def _identity(run: Run, sample: ReadRows, store: StoreIdentity) -> str:
    """Returns the SHA-256 of everything that a stream depends on but the code."""
    of_model = [store.model_sha256, store.untrained_seed, store.model_precision, store.hook]
    return sha256_of(json.dumps([*of_model, store.tokens_sha256, sample.sha256, run.suite.encode.batch]))
