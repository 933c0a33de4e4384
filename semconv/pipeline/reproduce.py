"""The one module that knows the order of the stages: corpus, encode, correlate, match, compare, results."""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict, replace
from pathlib import Path
from threading import Lock
from typing import Any

import torch

from semconv.compare import make_measures
from semconv.models.encoding import check_model, encode_model
from semconv.models.sources import model_folder
from semconv.pipeline.corpus_stage import Corpus, corpus_of_b, load_corpus, make_corpus, tokenizer_of_corpus
from semconv.pipeline.encoded_sides import checked_spans, load_encoded, measure_fits
from semconv.pipeline.outputs import write_matched_pairs, write_nulls, write_pair_decoders, write_texts
from semconv.pipeline.what_was_read import model_facts, read_facts
from semconv.report import write_report
from semconv.report.order import in_order
from semconv.results.claims import Checked, check_claims, load_claims
from semconv.results.schema import Results
from semconv.runs.crate import CATEGORIES, METADATA, write_crate
from semconv.runs.run import Run
from semconv.runs.task_cache import TaskCache
from semconv.study.comparison import compare_all, n_steps
from semconv.study.layer_pairs import Protocol
from semconv.study.result_warnings import warnings_of
from semconv.suite.config import CorpusConfig, ModelConfig, SuiteConfig
from semconv.suite.hooks import hook_name
from semconv.system.errors import InputError
from semconv.system.files import only_writer, read_text, write_json, write_text
from semconv.system.processes import Ranks, launched
from semconv.system.shape import read_as
from semconv.system.shown_paths import here, shown_path
from semconv.text import top_tokens as labels
from semconv.text.token_blocks import TokenBlocks

_ROWS = 8  # of text per forward pass of `residual_vectors`


def every_position(blocks: TokenBlocks) -> TokenBlocks:
    """Returns the blocks with BOS, EOS and padding counted too, as the published code does."""
    everything = torch.ones_like(blocks.mask)
    return TokenBlocks(blocks.ids, everything, blocks.document.clamp(min=0), rule="all positions")


def load_corpora(run: Run) -> tuple[Corpus, Corpus]:
    """Returns the corpus as A and as B reads it; they are the same unless the suite aligns two tokenizers."""
    of_a = load_corpus(run)
    return of_a, load_corpus(run, corpus_of_b(run.suite), run.suite.model_b) if run.suite.align else of_a


def load_blocks(run: Run) -> tuple[TokenBlocks, TokenBlocks]:
    """Returns the blocks that A and B read."""
    of_a, of_b = load_corpora(run)
    return of_a.blocks, of_b.blocks


def _departed(model: ModelConfig, layer: int, layer_shift: bool) -> ModelConfig:
    """Returns the model with the one SAE of a layer, read where the published code reads it."""
    sae = model.sae_at(layer)
    hook = hook_name(layer - 1) if layer_shift else sae.hook
    name = f"{model.name}-as-published{'-shifted' if layer_shift else ''}"
    return replace(model, name=name, saes=(replace(sae, hook=hook, other_hook=layer_shift or sae.other_hook),))


def suite_models(suite: SuiteConfig, blocks: tuple[TokenBlocks, TokenBlocks]) -> list[tuple[ModelConfig, TokenBlocks]]:
    """Returns A, B, the controls and the published variants, each with the positions that count for it."""
    everything = every_position(blocks[0])
    models = [(suite.model_a, blocks[0]), (suite.model_b, blocks[1])]
    models += [(model, blocks[0]) for control in suite.controls for model in (control.model_a, control.model_b)]
    shifts = (True, False) if suite.published else ()
    if suite.published is not None:
        layers = (suite.published.layer_a, suite.published.layer_b)
        for shift in shifts:
            pair = zip((suite.model_a, suite.model_b), layers, strict=True)
            models += [(_departed(model, layer, shift), everything) for model, layer in pair]
    return models


def encode_all(
    run: Run,
    blocks: tuple[TokenBlocks, TokenBlocks],
    ranks: Ranks = Ranks(),  # noqa: B008 - frozen
) -> list[tuple[ModelConfig, TokenBlocks]]:
    """Encodes the text with every model and SAE of the suite; returns `suite_models`."""
    models = suite_models(run.suite, blocks)
    for model, over in models if ranks.first else []:
        check_model(model, over)
    for model, over in models:
        encode_model(run, model, over, ranks)
    return models


def residual_vectors(model: ModelConfig, corpus: CorpusConfig, device: torch.device) -> torch.Tensor:
    """Returns the stream of a model where its one SAE reads, float32 [counted tokens, width], on the CPU.

    Raises:
        InputError: whatever the corpus or the model refuses.
    """
    from semconv.models.model_activations import load_model, row_streams

    blocks, hook = make_corpus(corpus, model).blocks, model.saes[0].hook
    check_model(model, blocks)
    network = load_model(
        model_folder(model), device=device, untrained_seed=model.untrained_seed, bidirectional=model.bidirectional
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


def reproduce(run: Run) -> dict[str, Any]:
    """Runs a suite from text to results and writes `results.json`, with all that belongs to it, into the run
    folder; `publish` ends the run.

    Everything already in the folder that belongs to the same suite is used again, so a run that was interrupted at any
    moment continues, and ends in the same `results.json`.

    Returns:
        The results, as written.

    Raises:
        InputError: whatever a stage refuses.
        OSError: the folder cannot be written, or the disk is full.
    """
    if launched() > 1:
        raise InputError(
            "torchrun runs `semconv encode` and `semconv correlate`; run `semconv reproduce` without it after"
        )
    with only_writer(run.folder):
        return _reproduce(run)


def _reproduce(run: Run) -> dict[str, Any]:
    suite = run.suite
    (run.folder / METADATA).unlink(missing_ok=True)  # it will not be true of what comes
    corpus, other = load_corpora(run)
    blocks = corpus.blocks, other.blocks
    spans = checked_spans(run, blocks)
    models = encode_all(run, blocks)
    loaded = load_encoded(run, blocks, models, spans)
    encoded, starts, blocks = loaded.encoded, loaded.starts, loaded.blocks
    compare = suite.compare
    measures = make_measures(compare.measures, compare.svcca_threshold, compare.svcca_k, compare.knn_k)
    counted, lock = dict[str, int](), Lock()

    def tick(stage: str, steps: int) -> None:
        if steps == 0:  # --fast leaves whole stages out; they are not announced
            return
        with lock:  # tasks run side by side
            counted[stage] = counted.get(stage, 0) + steps
            run.progress(stage, counted[stage], n_steps(suite, stage))

    cache = TaskCache(run.folder / "tasks", run.tasks)
    fits = measure_fits(run, cache, models, loaded)
    protocol = Protocol(tuple(measures), suite.match, suite.null, starts, cache, tick)
    texts = labels.token_texts(tokenizer_of_corpus(suite.corpus))
    with run.timed("compare"):
        compared, nulls = compare_all(suite, protocol, encoded, texts)
    results = {
        "suite": suite.name,
        "suite_sha256": suite.shown(suite).sha256,
        "fast": run.fast,
        "null": asdict(suite.null),
        "corpus": {
            "n_tokens": blocks[0].n_tokens,
            "n_documents": len(starts),
            "n_spans": encoded.sides_a[0].acts.n_tokens if suite.align else None,
            "context": suite.corpus.context,
            "text_sha256": corpus.text_sha256,
            "tokens_sha256": corpus.blocks.sha256,
            "sinks": loaded.sinks,
            **corpus.facts.plain(),
            "b": {
                "n_tokens": other.blocks.n_tokens,
                "tokens_sha256": other.blocks.sha256,
                **other.facts.plain(),
            }
            if suite.align
            else None,
        },
        "model_a": model_facts(
            run, suite.model_a, encoded.sides_a, loaded.saes[0], fits[0], corpus.facts, loaded.identities[0]
        ),
        "model_b": model_facts(
            run, suite.model_b, encoded.sides_b, loaded.saes[1], fits[1], other.facts, loaded.identities[1]
        ),
        "read": read_facts(suite, fits[2:]),
        **compared,
    }
    results["warnings"] = list(warnings_of(in_order(read_as(Results, results, "results"))))
    groups = write_matched_pairs(run, protocol, encoded)
    with run.timed("contexts"):
        all_texts = (
            texts,
            labels.token_texts(tokenizer_of_corpus(corpus_of_b(suite))) if suite.align else texts,
        )
        write_texts(run, protocol, encoded, blocks, all_texts, groups)
    write_pair_decoders(run, encoded, groups)
    write_nulls(run.folder, nulls)
    write_json(run.folder / "suite.json", suite.shown(suite).settings)
    write_json(run.folder / "results.json", results)
    return results


def publish(run: Run, results: dict[str, Any], claims: Path | None = None) -> list[Checked]:
    """Ends a run: checks the claims, writes the report, and lists every file with what made it in an RO-Crate.

    Args:
        run: whose folder holds what `reproduce` wrote.
        results: as `reproduce` gave them.
        claims: file of claims to check and to keep beside the results; None for no claims.

    Raises:
        InputError: what `load_claims` or `check_claims` refuses.
        OSError: the folder cannot be written, or the disk is full.
    """
    typed = read_as(Results, results, "results")
    checked = check_claims(load_claims(claims), typed) if claims else []
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
        shutil.rmtree(run.folder / "figures", ignore_errors=True)
        with run.timed("report"):
            write_report(typed, checked, run.folder)
        facts = {"device": str(run.device), "seconds": {stage: f"{s:.2f}" for stage, s in run.seconds.items()}}
        if run.stores is not None:  # they never travel with the run; the results hold their SHA-256
            facts["shared stores"] = shown_path(str(run.stores), here())
        write_crate(run.folder, run.suite.name, run.tasks, run.began, time.time(), facts)
    return checked
