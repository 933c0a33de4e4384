"""The one module that knows the order of the stages: corpus, encode, correlate, match, compare, results."""

from __future__ import annotations

import time
from pathlib import Path

import torch

from semconv.models.encoding import check_model, encode_models
from semconv.models.fitting import Fits
from semconv.models.roles import ModelOnText, Roles, same_pass, suite_models
from semconv.models.sources import model_folder
from semconv.pipeline.corpus_stage import Corpus, corpus_of_b, load_corpus, make_corpus
from semconv.pipeline.encoded_sides import Loaded, checked_spans, load_encoded, measure_fits
from semconv.pipeline.facts_read import model_facts, origin_in_words, read_facts, text_facts
from semconv.pipeline.outputs import write_beside
from semconv.pipeline.report_again import saying_how_to_report
from semconv.pipeline.sampled_streams import with_streams
from semconv.report import write_report
from semconv.results import schema
from semconv.results.claims import Checked, check_claims, load_claims
from semconv.results.schema import Results
from semconv.runs.crate import CATEGORIES, METADATA, Entry, write_crate
from semconv.runs.report_in_crate import remove_report
from semconv.runs.run import Run
from semconv.study.observe import observe
from semconv.study.settings import settings_of
from semconv.study.tell import Stated, tell
from semconv.suite.config import CorpusConfig, ModelConfig
from semconv.suite.hooks import hook_layer
from semconv.system.errors import InputError
from semconv.system.files import only_writer, read_text, write_json, write_text
from semconv.system.processes import Ranks, launched
from semconv.system.shape import plain
from semconv.system.shown_paths import here, shown_path
from semconv.text.token_blocks import TokenBlocks

_ROWS = 8  # of text per forward pass of `residual_vectors`


def load_corpora(run: Run) -> tuple[Corpus, Corpus]:
    """Returns the corpus as A and as B reads it; they are the same unless the suite aligns two tokenizers."""
    of_a = load_corpus(run)
    return of_a, load_corpus(run, corpus_of_b(run.suite), run.suite.model_b) if run.suite.align else of_a


def load_blocks(run: Run) -> tuple[TokenBlocks, TokenBlocks]:
    """Returns the blocks that A and B read."""
    of_a, of_b = load_corpora(run)
    return of_a.blocks, of_b.blocks


def encode_all(
    run: Run,
    blocks: tuple[TokenBlocks, TokenBlocks],
    ranks: Ranks = Ranks(),  # noqa: B008 - frozen
) -> Roles[ModelOnText]:
    """Encodes the text with every model and SAE of the suite; returns the models.

    Args:
        run: of the suite.
        blocks: the text as A and as B reads it.
        ranks: the processes that share the work.
    """
    models = suite_models(run.suite, blocks)
    for one in models.every if ranks.first else []:
        check_model(one.model, one.blocks, run.progress)
    for group in same_pass(models):
        encode_models(run, group, ranks)
    if ranks.first:
        run.keep_places()
    return models


def residual_vectors(model: ModelConfig, corpus: CorpusConfig, device: torch.device) -> torch.Tensor:
    """Returns the stream of a model where its one SAE reads, float32 [counted tokens, width], on the CPU.

    Raises:
        InputError: the corpus, the tokenizer or the model cannot be found or read, they do not belong to each other, or
            the stream is not finite.
    """
    from semconv.models.model_activations import load_model, row_streams

    blocks, hook = make_corpus(corpus, model).blocks, model.saes[0].hook
    check_model(model, blocks)
    network = load_model(
        model_folder(model),
        device=device,
        untrained_seed=model.untrained_seed,
        trained_embeddings=bool(model.trained_embeddings),
        bidirectional=model.bidirectional,
        n_blocks=hook_layer(hook) + 1,
    )
    rows: list[torch.Tensor] = []
    for begin in range(0, len(blocks.ids), _ROWS):
        part = slice(begin, begin + _ROWS)
        rows.append(row_streams(network, blocks, part, [hook])[hook].cpu()[blocks.mask[part]].float())
    streams = torch.cat(rows)
    if not bool(streams.isfinite().all()):
        raise InputError(
            f"model {model.path} gives a stream that is not finite; its weights or its config may be damaged"
        )
    return streams


def reproduce(run: Run) -> Results:
    """Runs a suite from text to results and writes `results.json`, with all that belongs to it, into the run
    folder; `publish` ends the run.

    Everything already in the folder that belongs to the same suite is used again, so a run that was interrupted at any
    moment continues, and ends in the same `results.json`.

    Returns:
        The results, as written.

    Raises:
        InputError: text, tokenizer, a model or an SAE cannot be found or read, or they do not belong to each other; the
            folder holds another suite, or another process writes to it; or there is too little memory or disk.
        OSError: the folder cannot be written, or the disk is full.
    """
    if launched() > 1:
        raise InputError(
            "torchrun runs `semconv encode`, `run-tasks` and `correlate`; run `semconv reproduce` without it after"
        )
    with only_writer(run.folder):
        return _reproduce(run)


def _reproduce(run: Run) -> Results:
    suite = run.suite
    (run.folder / METADATA).unlink(missing_ok=True)  # it will not be true of what comes
    corpus, other = load_corpora(run)
    blocks = corpus.blocks, other.blocks
    spans = checked_spans(run, blocks)
    models = encode_all(run, blocks)
    place = run.workplace()
    loaded = with_streams(run, place, load_encoded(run, place, blocks, models, spans), models)
    fits = measure_fits(run, place.cache, models, loaded)
    with run.timed("compare"):
        settings = settings_of(suite, loaded.starts, loaded.encoded.blocks)
        observations = observe(suite, settings, loaded.encoded, place, run.progress)
    results = tell(observations, suite, _stated(run, loaded, (corpus, other), fits))
    with run.timed("contexts"):
        write_beside(run, place, loaded, observations)
    write_json(run.folder / "suite.json", suite.shown(suite).settings)
    write_json(run.folder / "results.json", plain(results))
    return results


def _stated(run: Run, loaded: Loaded, corpora: tuple[Corpus, Corpus], fits: Roles[Fits]) -> Stated:
    """Returns what the results say of text and models."""
    suite, encoded, (corpus, other) = run.suite, loaded.encoded, corpora
    text = schema.Corpus(
        **text_facts(corpus.facts, corpus.blocks, loaded.blocks[0].n_tokens),
        origin=origin_in_words(suite.corpus),
        n_documents=len(loaded.starts),
        n_spans=encoded.sides_a[0].n_tokens if suite.align else None,
        context=suite.corpus.context,
        text_sha256=corpus.text_sha256,
        sinks=loaded.sinks,
        b=schema.TextRead(**text_facts(other.facts, other.blocks, other.blocks.n_tokens)) if suite.align else None,
    )
    (active_a, active_b), of = loaded.activity, loaded.identities
    model_a, model_b = (
        model_facts(run, model, sides=sides, activity=active, fits=of_model, text=facts, identities=stores)
        for model, sides, active, of_model, facts, stores in (
            (suite.model_a, encoded.sides_a, active_a, fits.a, corpus.facts, of.a),
            (suite.model_b, encoded.sides_b, active_b, fits.b, other.facts, of.b),
        )
    )
    sha256 = suite.shown(suite).sha256
    return Stated(sha256, run.fast, text, model_a, model_b, read_facts(fits), encoded.unfair)


def publish(run: Run, results: Results, claims: Path | None = None) -> list[Checked]:
    """Ends a run: checks the claims, lists every file with what made it in an RO-Crate, and writes the report.

    The report comes last, so that it loses nothing if it cannot be written: the crate then lists all the rest, the
    error has a note on what to do, and `report_again` writes the report.

    Args:
        run: whose folder holds what `reproduce` wrote.
        results: as `reproduce` gave them.
        claims: file of claims to check and to keep beside the results; None for no claims.

    Raises:
        InputError: what `load_claims` or `check_claims` refuses.
        OSError: the folder cannot be written, or the disk is full.
    """
    checked = check_claims(load_claims(claims), results) if claims else []
    subspaces = run.suite.subspaces
    own_lists = Path(subspaces.categories) if subspaces and subspaces.categories.endswith(".toml") else None
    kept = {"claims.toml": claims, CATEGORIES: own_lists}
    texts = {name: read_text(path) if path else None for name, path in kept.items()}
    with only_writer(run.folder):
        for name, text in texts.items():
            if text is None:  # nothing of an earlier run in the folder may pass for a part of this one
                (run.folder / name).unlink(missing_ok=True)
            else:
                write_text(run.folder / name, text)
        remove_report(run.folder)
        listed = _list_files(run)
        run.progress("report", 0, 1)
        with run.timed("report"), saying_how_to_report(run.folder):
            write_report(results, checked, run.folder)
        run.progress("report", 1, 1)
        _list_files(run, listed)
    return checked


def _list_files(run: Run, known: list[Entry] | None = None) -> list[Entry]:
    """Writes the crate of a run, and returns what it lists; files that are `known` are not read again."""
    facts = {
        "device": str(run.device),
        "seconds": {stage: f"{s:.2f}" for stage, s in run.seconds.items()},
        "task seconds": {kind: f"{took.seconds:.2f}" for kind, took in run.took.items()},
        "tasks done": {kind: f"{took.done} of {took.tasks}" for kind, took in run.took.items()},
    }
    if run.stores is not None:  # they never travel with the run; the results hold their SHA-256
        facts["shared stores"] = shown_path(str(run.stores), here())
    return write_crate(run.folder, run.suite.name, run.tasks, run.began, time.time(), facts, known=known or ())
