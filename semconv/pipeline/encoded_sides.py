"""From activation stores to the sides that are compared: what counts of the text, and how well the SAEs fit it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Int
from numpy import ndarray

from semconv.core.activation_store import ActivationStore, StoreIdentity
from semconv.core.sparse import SparseActivations
from semconv.models.decoders import decoder_rows
from semconv.models.fitting import Fits, fits_of
from semconv.models.sinks import REPORTED, dropped_positions, find_sinks, spans_without, without
from semconv.pipeline.corpus_stage import corpus_of_b, documents_of, tokenizer_of_corpus
from semconv.pipeline.what_was_read import sae_facts, sink_facts
from semconv.runs.run import Run
from semconv.runs.task_cache import TaskCache
from semconv.statistics.resampling import document_starts, spans_document_starts
from semconv.study.comparison import Encoded
from semconv.study.sides import Side
from semconv.suite.config import ModelConfig, SaeConfig, SuiteConfig
from semconv.suite.hooks import hook_layer
from semconv.system.errors import InputError
from semconv.text import top_tokens as labels
from semconv.text.alignment import aligned_spans
from semconv.text.spans import Spans, pool
from semconv.text.token_blocks import TokenBlocks
from semconv.text.top_tokens import TopTokens


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
        identity: what the store holds.
    """

    acts: SparseActivations
    norms: torch.Tensor
    sha256: str
    identity: StoreIdentity

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
        return Stored(acts, norms, store.sha256, store.identity)

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


def shared_spans(run: Run, blocks: tuple[TokenBlocks, TokenBlocks]) -> tuple[Spans, Spans]:
    """Returns the spans of text that A and B share, as stretches of the positions of each.

    Raises:
        InputError: what `aligned_spans` refuses.
    """
    a, b = (tokenizer_of_corpus(corpus) for corpus in (run.suite.corpus, corpus_of_b(run.suite)))
    with run.timed("align"):
        return aligned_spans([document.text for document in documents_of(run.suite.corpus)], (a, b), blocks)


def checked_spans(run: Run, blocks: tuple[TokenBlocks, TokenBlocks]) -> tuple[Spans, Spans] | None:
    """Returns the spans that A and B share where a suite aligns them, None where they read the same tokens.

    Raises:
        InputError: fewer than two documents, or no span, which is better told before everything is encoded than after.
    """
    spans = shared_spans(run, blocks) if run.suite.align is not None else None
    spans_document_starts(spans[0].document if spans else blocks[0].document[blocks[0].mask])
    return spans


@dataclass(frozen=True, eq=False)
class Loaded:
    """Everything that was encoded, as far as it counts.

    Attributes:
        encoded: the sides.
        blocks: what A and B read, and which positions of it count.
        starts: int64 [D], where in the activations of the sides each document begins.
        saes: what the results say of the SAEs of A and of B, in their order.
        sinks: what they say of attention sinks in the text.
        identities: of A, B and the models of the controls, label -> what the SAE's store holds.
        usual: bool [n_seq, context] of A's text and of B's: encoded positions that are no sinks.
    """

    encoded: Encoded
    blocks: tuple[TokenBlocks, TokenBlocks]
    starts: Int[ndarray, " D"]
    saes: tuple[list[dict[str, Any]], list[dict[str, Any]]]
    sinks: dict[str, Any]
    identities: list[dict[str, StoreIdentity]]
    usual: tuple[torch.Tensor, torch.Tensor]


def load_encoded(
    run: Run,
    blocks: tuple[TokenBlocks, TokenBlocks],
    models: list[tuple[ModelConfig, TokenBlocks]],
    spans: tuple[Spans, Spans] | None = None,
) -> Loaded:
    """Returns everything that was encoded, without attention sinks where the suite wants none.

    Args:
        run: folder that holds the stores.
        blocks: what A and B read.
        models: A, B, the models of the controls and the published variants, each with the positions it was encoded at.
        spans: what `shared_spans` gives, if it is known already.

    Raises:
        InputError: a store is missing or damaged, fewer than two documents, or nothing is left without sinks.
    """
    suite = run.suite
    with run.timed("load stores"):
        stored = load_stores(run, models)
        sinks = [[find_sinks(one.norms, suite.match.sink_norm or REPORTED) for one in group] for group in stored[:2]]
        dropped = dropped_positions(sinks, shared=suite.align is None)
        usual = without(blocks[0], dropped[0]), without(blocks[1], dropped[1])
        excluded = bool(suite.match.sink_norm) and any(bool(at.any()) for at in dropped)
        n_same_text = 2 + 2 * len(suite.controls)  # after these the published variants, which count every position
        if excluded and suite.align is None:
            blocks = usual
            models = [(m, blocks[0] if i < n_same_text else over) for i, (m, over) in enumerate(models)]
            stored = [[one.at(~dropped[0]) for one in g] if i < n_same_text else g for i, g in enumerate(stored)]
        sides = load_sides(run, models, stored)
    if suite.align is not None:
        spans = spans or shared_spans(run, blocks)
    spans, lost = spans_without(spans, dropped) if excluded and spans else (spans, 0)
    encoded, starts = _in_place(suite, blocks, sides, spans)
    of_a, of_b = (
        [sae_facts(one.acts, found) for one, found in zip(group, of_group, strict=True)]
        for group, of_group in zip(stored[:2], sinks, strict=True)
    )
    identities = [
        {sae.label: one.identity for sae, one in zip(model.saes, group, strict=True)}
        for (model, _), group in zip(models[:n_same_text], stored, strict=False)
    ]
    facts = sink_facts(suite.match, dropped, lost)
    return Loaded(encoded, blocks, starts, (of_a, of_b), facts, identities, (usual[0].mask, usual[1].mask))


def _in_place(
    suite: SuiteConfig,
    blocks: tuple[TokenBlocks, TokenBlocks],
    sides: list[list[Side]],
    spans: tuple[Spans, Spans] | None,
) -> tuple[Encoded, Int[ndarray, " D"]]:
    """Returns the sides of all models by the part they play, over spans where there are any; where documents begin."""
    n_controls = len(suite.controls)
    flat = [group[0] for group in sides[2:]]
    controls = {c.name: (flat[2 * i], flat[2 * i + 1]) for i, c in enumerate(suite.controls)}
    shifts = (True, False) if suite.published else ()
    published = {shift: (flat[2 * (n_controls + i)], flat[2 * (n_controls + i) + 1]) for i, shift in enumerate(shifts)}
    starts = document_starts(blocks[0])
    if spans is not None and suite.align is not None:
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
    return Encoded(blocks[0], sides[0], sides[1], controls, published, spans, unfair), starts


def measure_fits(
    run: Run, cache: TaskCache, models: list[tuple[ModelConfig, TokenBlocks]], loaded: Loaded
) -> list[Fits]:
    """Returns how well the SAEs of A, of B, and of both models of every control fit the text, each measured once.

    Losses are measured of A and B alone.
    """
    tasks = ["fit.a", "fit.b", *(f"fit.{control.name}.{side}" for control in run.suite.controls for side in "ab")]
    known: dict[StoreIdentity, dict[str, Any]] = {}
    fits: list[Fits] = []
    for place, (task, (model, blocks)) in enumerate(zip(tasks, models, strict=False)):
        identities = loaded.identities[place]
        if any(identity not in known for identity in identities.values()):
            usual = loaded.usual[1 if place == 1 else 0]
            found = fits_of(run, cache, task, model, blocks, usual, identities, with_loss=place < 2)
            known |= {identities[label]: fit for label, fit in found.items()}
        fits.append({label: known[identity] for label, identity in identities.items()})
    return fits
