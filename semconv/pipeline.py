"""The one module that knows the order of the stages: corpus, encode, correlate, match, compare, results."""

from __future__ import annotations

import hashlib
import shutil
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Int
from numpy import ndarray

from semconv import labels
from semconv.activation_store import ActivationStore
from semconv.alignment import aligned_spans
from semconv.claims import Checked, check_claims, load_claims
from semconv.compare import make_measures
from semconv.comparison import Encoded, compare_all, n_steps
from semconv.config import CorpusConfig, ModelConfig, SaeConfig, SuiteConfig
from semconv.crate import CATEGORIES, METADATA, write_crate
from semconv.decoders import decoder_rows, decoder_source
from semconv.encoding import check_model, encode_model
from semconv.files import only_writer, read_text, write_json, write_text
from semconv.hooks import hook_layer, hook_name
from semconv.labels import TopTokens
from semconv.layer_pairs import Protocol
from semconv.ranks import Ranks, launched
from semconv.report import write_report
from semconv.resampling import document_starts, spans_document_starts
from semconv.result_warnings import warnings_of
from semconv.run import Run
from semconv.run_files import write_matched_pairs, write_nulls, write_pair_decoders, write_texts
from semconv.sides import Side
from semconv.sinks import REPORTED, dropped_positions, find_sinks, spans_without, without
from semconv.sources import model_folder
from semconv.spans import Spans, pool
from semconv.sparse import SparseActivations
from semconv.suite_text import corpus_of_b, documents_of, load_corpus, make_corpus, tokenizer_of_corpus
from semconv.task_cache import TaskCache
from semconv.types import InputError, TokenBlocks
from semconv.what_was_read import sae_facts, sink_facts

_ROWS = 8  # of text per forward pass of `residual_vectors`


def every_position(blocks: TokenBlocks) -> TokenBlocks:
    """Returns the blocks with BOS, EOS and padding counted too, as the published code does."""
    everything = torch.ones_like(blocks.mask)
    return TokenBlocks(blocks.ids, everything, blocks.document.clamp(min=0), rule="all positions")


def load_blocks(run: Run) -> tuple[TokenBlocks, TokenBlocks]:
    """Returns the blocks that A and B read; they are the same unless the suite aligns two tokenizers."""
    of_a = load_corpus(run).blocks
    return of_a, load_corpus(run, corpus_of_b(run.suite), run.suite.model_b).blocks if run.suite.align else of_a


def shared_spans(run: Run, blocks: tuple[TokenBlocks, TokenBlocks]) -> tuple[Spans, Spans]:
    """Returns the spans of text that A and B share, as stretches of the positions of each.

    Raises:
        InputError: what `aligned_spans` refuses.
    """
    a, b = (tokenizer_of_corpus(corpus) for corpus in (run.suite.corpus, corpus_of_b(run.suite)))
    with run.timed("align"):
        return aligned_spans([document.text for document in documents_of(run.suite.corpus)], (a, b), blocks)


def _checked_spans(run: Run, blocks: tuple[TokenBlocks, TokenBlocks]) -> tuple[Spans, Spans] | None:
    """Returns the spans that A and B share where a suite aligns them, None where they read the same tokens.

    Raises:
        InputError: fewer than two documents, or no span, which is better told before everything is encoded than after.
    """
    spans = shared_spans(run, blocks) if run.suite.align is not None else None
    spans_document_starts(spans[0].document if spans else blocks[0].document[blocks[0].mask])
    return spans


def _over_spans(side: Side, spans: Spans, how: Literal["max", "mean", "sum"]) -> Side:
    bounds = torch.stack([spans.starts, spans.ends]).numpy().tobytes()
    identity = hashlib.sha256(f"{side.store_sha256} {how} ".encode() + bounds).hexdigest()
    acts = pool(side.acts.to("cpu"), spans, how).to(side.acts.device)
    return replace(side, acts=acts, store_sha256=identity, documents=spans.document)


@dataclass(frozen=True, eq=False)
class Stored:
    """What a store holds, as far as it counts.

    Attributes:
        acts: activations over the positions that count, on the CPU.
        norms: norm of the stream at every position that was encoded, float32.
        sha256: of the store, and of the positions that count where they are not all.
    """

    acts: SparseActivations
    norms: torch.Tensor
    sha256: str

    def at(self, kept: torch.Tensor) -> Stored:
        """Returns what is left at some positions, bool [n_tokens] of those that were encoded."""
        identity = hashlib.sha256(f"{self.sha256} at ".encode() + kept.numpy().tobytes()).hexdigest()
        return replace(self, acts=self.acts.tokens(kept.nonzero()[:, 0]), sha256=identity)


def load_stores(run: Run, models: list[tuple[ModelConfig, TokenBlocks]]) -> list[list[Stored]]:
    """Returns what the stores of some models hold, in the order of their SAEs.

    Raises:
        InputError: a store is missing or damaged.
    """

    def load(model: ModelConfig, sae: SaeConfig) -> Stored:
        store = ActivationStore(run.store_path(model, sae))
        acts, norms = store.load_with_norms()
        if norms is None:
            raise InputError(f"{store.path} lacks the norm of the stream; remove it, so that it is encoded again")
        return Stored(acts, norms, store.sha256)

    return [[load(model, sae) for sae in model.saes] for model, _ in models]


def load_sides(
    run: Run, models: list[tuple[ModelConfig, TokenBlocks]], stored: list[list[Stored]] | None = None
) -> list[list[Side]]:
    """Returns the encoded sides of some models, whose features can be matched with each other.

    Args:
        run: folder that holds their stores.
        models: A, B and others of A's tokenizer, each with the blocks whose positions count.
        stored: what their stores hold at these positions; read from the run folder by default.
    """
    match = run.suite.match
    of_a, of_b = (
        labels.token_texts(tokenizer_of_corpus(corpus)) for corpus in (run.suite.corpus, corpus_of_b(run.suite))
    )
    stored = stored or load_stores(run, models)
    tokens = [
        labels.top_tokens(one.acts, labels.counted_ids(blocks), of_b if place == 1 else of_a, match.top_tokens)
        for place, (group, (_, blocks)) in enumerate(zip(stored, models, strict=True))
        for one in group
    ]
    tables = iter(TopTokens.of_sides(tokens, match.stop_tokens))
    return [
        [
            Side(
                model.name,
                hook_layer(sae.hook),
                one.acts.to(run.device),
                one.sha256,
                decoder_rows(run.decoder_path(model, sae)),
                next(tables),
                blocks.document[blocks.mask],
                sae.label,
            )
            for sae, one in zip(model.saes, group, strict=True)
        ]
        for (model, blocks), group in zip(models, stored, strict=True)
    ]


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


@dataclass(frozen=True, eq=False)
class Loaded:
    """Everything that was encoded, as far as it counts.

    Attributes:
        encoded: the sides.
        blocks: what A and B read, and which positions of it count.
        starts: int64 [D], where in the activations of the sides each document begins.
        saes: what the results say of the SAEs of A and of B, in their order.
        sinks: what they say of attention sinks in the text.
    """

    encoded: Encoded
    blocks: tuple[TokenBlocks, TokenBlocks]
    starts: Int[ndarray, " D"]
    saes: tuple[list[dict[str, Any]], list[dict[str, Any]]]
    sinks: dict[str, Any]


def load_encoded(
    run: Run,
    blocks: tuple[TokenBlocks, TokenBlocks],
    models: list[tuple[ModelConfig, TokenBlocks]],
    spans: tuple[Spans, Spans] | None = None,
) -> Loaded:
    """Returns everything that `encode_all` has encoded, without attention sinks where the suite wants none.

    Args:
        run: folder that holds it.
        blocks: what A and B read.
        models: as `encode_all` gives them.
        spans: what `shared_spans` gives, if it is known already.
    """
    suite = run.suite
    with run.timed("load stores"):
        stored = load_stores(run, models)
        sinks = [[find_sinks(one.norms, suite.match.sink_norm or REPORTED) for one in group] for group in stored[:2]]
        dropped = dropped_positions(sinks, shared=suite.align is None)
        excluded = bool(suite.match.sink_norm) and any(bool(at.any()) for at in dropped)
        if excluded and suite.align is None:
            counted = without(blocks[0], dropped[0])
            blocks = counted, counted
            n_same_text = 2 + 2 * len(suite.controls)  # after these the published variants, which count every position
            models = [(m, blocks[0] if i < n_same_text else over) for i, (m, over) in enumerate(models)]
            stored = [[one.at(~dropped[0]) for one in g] if i < n_same_text else g for i, g in enumerate(stored)]
        sides = load_sides(run, models, stored)
    n_controls = len(suite.controls)
    flat = [group[0] for group in sides[2:]]
    controls = {c.name: (flat[2 * i], flat[2 * i + 1]) for i, c in enumerate(suite.controls)}
    shifts = (True, False) if suite.published else ()
    published = {shift: (flat[2 * (n_controls + i)], flat[2 * (n_controls + i) + 1]) for i, shift in enumerate(shifts)}
    starts, lost = document_starts(blocks[0]), 0
    if suite.align is not None:
        spans = spans or shared_spans(run, blocks)
        if excluded:
            spans, lost = spans_without(spans, dropped)
        sides = [
            [_over_spans(side, s, suite.align.how) for side in group] for s, group in zip(spans, sides, strict=True)
        ]
        starts = spans_document_starts(spans[0].document)
    trained = [side.decoder for side in (*sides[0], *sides[1])]
    unfair = frozenset(
        control.name
        for control in suite.controls
        if control.kind == "floor"
        and any(np.array_equal(side.decoder, rows) for side in controls[control.name] for rows in trained)
    )
    encoded = Encoded(blocks[0], sides[0], sides[1], controls, published, spans, unfair)
    of_saes = tuple(
        [sae_facts(one.acts, found) for one, found in zip(group, of_group, strict=True)]
        for group, of_group in zip(stored[:2], sinks, strict=True)
    )
    return Loaded(encoded, blocks, starts, (of_saes[0], of_saes[1]), sink_facts(suite.match, dropped, lost))


def residual_vectors(model: ModelConfig, corpus: CorpusConfig, device: torch.device) -> torch.Tensor:
    """Returns the stream of a model where its one SAE reads, float32 [counted tokens, width], on the CPU.

    Raises:
        InputError: whatever the corpus or the model refuses.
    """
    from semconv.model_activations import load_model, streams

    blocks, hook = make_corpus(corpus, model).blocks, model.saes[0].hook
    check_model(model, blocks)
    network = load_model(
        model_folder(model), device=device, untrained_seed=model.untrained_seed, bidirectional=model.bidirectional
    )
    rows: list[torch.Tensor] = []
    for ids, mask in zip(blocks.ids.split(_ROWS), blocks.mask.split(_ROWS), strict=True):
        rows.append(streams(network, ids, [hook])[hook].cpu()[mask].float())
    return torch.cat(rows)


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
    corpus, blocks = load_corpus(run), load_blocks(run)
    spans = _checked_spans(run, blocks)
    loaded = load_encoded(run, blocks, encode_all(run, blocks), spans)
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
    protocol = Protocol(tuple(measures), suite.match, suite.null, starts, cache, tick)
    texts = labels.token_texts(tokenizer_of_corpus(suite.corpus))
    with run.timed("compare"):
        compared, nulls = compare_all(suite, protocol, encoded, texts)
    results = {
        "suite": suite.name,
        "suite_sha256": suite.sha256,
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
            "b": _corpus_of_b(run),
        },
        "model_a": _describe(run, suite.model_a, encoded.sides_a, loaded.saes[0]),
        "model_b": _describe(run, suite.model_b, encoded.sides_b, loaded.saes[1]),
        **compared,
    }
    results["warnings"] = warnings_of(results)
    groups = write_matched_pairs(run, protocol, encoded)
    with run.timed("contexts"):
        all_texts = (
            texts,
            labels.token_texts(tokenizer_of_corpus(corpus_of_b(suite))) if suite.align else texts,
        )
        write_texts(run, protocol, encoded, blocks, all_texts, groups)
    write_pair_decoders(run, encoded, groups)
    write_nulls(run.folder, nulls)
    write_json(run.folder / "suite.json", asdict(suite))
    write_json(run.folder / "results.json", results)
    return results


def _corpus_of_b(run: Run) -> dict[str, Any] | None:
    """Returns what model B read, where the suite aligns two tokenizers."""
    if run.suite.align is None:
        return None
    corpus = load_corpus(run, corpus_of_b(run.suite), run.suite.model_b)
    found = {"n_tokens": corpus.blocks.n_tokens, "tokens_sha256": corpus.blocks.sha256}
    return found | corpus.facts.plain()


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
        shutil.rmtree(run.folder / "figures", ignore_errors=True)
        with run.timed("report"):
            write_report(results, checked, run.folder)
        facts = {"device": str(run.device), "seconds": {stage: f"{s:.2f}" for stage, s in run.seconds.items()}}
        if run.stores is not None:  # they never travel with the run; the results hold their SHA-256
            facts["shared stores"] = str(run.stores)
        write_crate(run.folder, run.suite.name, run.tasks, run.began, time.time(), facts)
    return checked


def _describe(run: Run, model: ModelConfig, sides: list[Side], of_saes: list[dict[str, Any]]) -> dict[str, Any]:
    def described(side: Side, facts: dict[str, Any]) -> dict[str, Any]:
        sae = model.by_label[side.label]
        return {
            "layer": side.layer,
            "hook": sae.hook,
            "source": decoder_source(run.decoder_path(model, sae), sae),
            "n_features": side.acts.n_features,
            "activations_sha256": side.store_sha256,
            **facts,
        }

    saes = {side.label: described(side, facts) for side, facts in zip(sides, of_saes, strict=True)}
    return {"name": model.name, "path": model.path, "revision": model.revision, "saes": saes}
