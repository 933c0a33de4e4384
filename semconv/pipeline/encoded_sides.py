"""From activation stores to the sides that are compared: what counts of the text, and how well the SAEs fit it."""

from __future__ import annotations

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
from semconv.pipeline.facts_read import SaeActivity, sae_activity, sink_facts
from semconv.pipeline.roles import ModelOnText, Roles
from semconv.results import schema
from semconv.runs.run import Run
from semconv.runs.task_cache import TaskCache
from semconv.statistics.resampling import document_starts, spans_document_starts
from semconv.study.observe import Encoded
from semconv.study.published_protocol import PublishedSides
from semconv.study.sides import Side
from semconv.suite.config import ModelConfig, SaeConfig, SuiteConfig
from semconv.suite.hooks import hook_layer
from semconv.system.digests import sha256_of
from semconv.system.errors import InputError
from semconv.text import top_tokens as labels
from semconv.text.alignment import aligned_spans
from semconv.text.spans import Spans, pool
from semconv.text.token_blocks import TokenBlocks
from semconv.text.top_tokens import TopTokens


def _over_spans(side: Side, spans: Spans, how: Literal["max", "mean", "sum"]) -> Side:
    identity = sha256_of(f"{side.store_sha256} {how} ", spans.starts, spans.ends)
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
        identity = sha256_of(f"{self.sha256} at ", kept)
        return replace(self, acts=self.acts.tokens(kept.nonzero()[:, 0]), sha256=identity)


def load_stores(run: Run, models: Roles[ModelOnText]) -> Roles[list[Stored]]:
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

    return models.map(lambda one: [load(one.model, sae) for sae in one.model.saes])


def load_sides(run: Run, models: Roles[ModelOnText], stored: Roles[list[Stored]] | None = None) -> Roles[list[Side]]:
    """Returns the encoded sides of some models, whose features can be matched with each other.

    Args:
        run: folder that holds their stores.
        models: A, B and others, each with the blocks whose positions count.
        stored: what their stores hold at these positions; read from the run folder by default.
    """
    match = run.suite.match
    of_a, of_b = (
        labels.token_texts(tokenizer_of_corpus(corpus)) for corpus in (run.suite.corpus, corpus_of_b(run.suite))
    )
    stored = stored or load_stores(run, models)
    of_models = {id(one): group for one, group in zip(models.every, stored.every, strict=True)}
    tokens = [
        labels.top_tokens(kept.acts, labels.counted_ids(one.blocks), of_b if one.as_b else of_a, match.top_tokens)
        for one in models.every
        for kept in of_models[id(one)]
    ]
    tables = iter(TopTokens.of_sides(tokens, match.stop_tokens))

    def sides(one: ModelOnText) -> list[Side]:
        return [
            Side(
                one.model.name,
                hook_layer(sae.hook),
                kept.acts.to(run.device),
                kept.sha256,
                decoder_rows(run.decoder_path(one.model, sae)),
                next(tables),
                one.blocks.document[one.blocks.mask],
                sae.label,
            )
            for sae, kept in zip(one.model.saes, of_models[id(one)], strict=True)
        ]

    return models.map(sides)


def shared_spans(run: Run, blocks: tuple[TokenBlocks, TokenBlocks]) -> tuple[Spans, Spans]:
    """Returns the spans of text that A and B share, as stretches of the positions of each.

    Raises:
        InputError: blocks that are not of these texts and tokenizers, or no common boundary at all.
    """
    a, b = (tokenizer_of_corpus(corpus) for corpus in (run.suite.corpus, corpus_of_b(run.suite)))
    with run.timed("align"):
        return aligned_spans([document.text for document in documents_of(run.suite.corpus)], (a, b), blocks)


def checked_spans(run: Run, blocks: tuple[TokenBlocks, TokenBlocks]) -> tuple[Spans, Spans] | None:
    """Returns the spans that A and B share where a suite aligns them, None where they read the same tokens.

    Raises:
        InputError: fewer than two documents, or no span. This is checked before anything is encoded.
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
        activity: what the results say of the activity of the SAEs of A and of B, in their order.
        sinks: what they say of attention sinks in the text.
        identities: of every model, label -> what the SAE's store holds.
        usual: bool [n_seq, context] of A's text and of B's: encoded positions that are no sinks.
    """

    encoded: Encoded
    blocks: tuple[TokenBlocks, TokenBlocks]
    starts: Int[ndarray, " D"]
    activity: tuple[list[SaeActivity], list[SaeActivity]]
    sinks: schema.Sinks
    identities: Roles[dict[str, StoreIdentity]]
    usual: tuple[torch.Tensor, torch.Tensor]


def load_encoded(
    run: Run,
    blocks: tuple[TokenBlocks, TokenBlocks],
    models: Roles[ModelOnText],
    spans: tuple[Spans, Spans] | None = None,
) -> Loaded:
    """Returns everything that was encoded, without attention sinks where the suite wants none.

    Args:
        run: folder that holds the stores.
        blocks: what A and B read.
        models: of the suite, each with the positions it was encoded at.
        spans: what `shared_spans` gives, if it is known already.

    Raises:
        InputError: a store is missing or damaged, fewer than two documents, or nothing is left without sinks.
    """
    suite = run.suite
    with run.timed("load stores"):
        stored = load_stores(run, models)
        multiple = suite.match.sink_norm or REPORTED
        sinks = [[find_sinks(one.norms, multiple) for one in group] for group in (stored.a, stored.b)]
        dropped = dropped_positions(sinks, shared=suite.align is None)
        usual = without(blocks[0], dropped[0]), without(blocks[1], dropped[1])
        excluded = bool(suite.match.sink_norm) and any(bool(at.any()) for at in dropped)
        if excluded and suite.align is None:
            blocks, of_models = usual, iter(models.every)
            models = models.map(lambda one: one if one.as_published else replace(one, blocks=usual[0]))
            stored = stored.map(
                lambda group: group if next(of_models).as_published else [one.at(~dropped[0]) for one in group]
            )
        sides = load_sides(run, models, stored)
    if suite.align is not None:
        spans = spans or shared_spans(run, blocks)
    spans, lost = spans_without(spans, dropped) if excluded and spans else (spans, 0)
    encoded, starts = _in_place(suite, blocks, sides, spans)
    activity = (
        [sae_activity(one.acts, found) for one, found in zip(group, of_group, strict=True)]
        for group, of_group in zip((stored.a, stored.b), sinks, strict=True)
    )
    of_models = iter(models.every)
    identities = stored.map(
        lambda group: {sae.label: one.identity for sae, one in zip(next(of_models).model.saes, group, strict=True)}
    )
    facts = sink_facts(suite.match, dropped, lost)
    of_a, of_b = activity
    return Loaded(encoded, blocks, starts, (of_a, of_b), facts, identities, (usual[0].mask, usual[1].mask))


def _in_place(
    suite: SuiteConfig,
    blocks: tuple[TokenBlocks, TokenBlocks],
    sides: Roles[list[Side]],
    spans: tuple[Spans, Spans] | None,
) -> tuple[Encoded, Int[ndarray, " D"]]:
    """Returns the sides of all models by the part they play, over spans where there are any; where documents begin."""
    starts, of_a, of_b = document_starts(blocks[0]), sides.a, sides.b
    if spans is not None and suite.align is not None:
        how = suite.align.how
        of_a, of_b = (
            [_over_spans(side, s, how) for side in group] for s, group in zip(spans, (of_a, of_b), strict=True)
        )
        starts = spans_document_starts(spans[0].document)
    controls = {name: (a[0], b[0]) for name, (a, b) in sides.controls.items()}
    trained = [side.decoder for side in (*of_a, *of_b)]
    unfair = frozenset(
        control.name
        for control in suite.controls
        if control.kind == "floor"
        and any(np.array_equal(side.decoder, rows) for side in controls[control.name] for rows in trained)
    )
    texts = labels.token_texts(tokenizer_of_corpus(suite.corpus))
    published = _published(suite, of_a, of_b, sides)
    return Encoded(blocks[0], texts, of_a, of_b, controls, published, spans, unfair), starts


def _published(
    suite: SuiteConfig, of_a: list[Side], of_b: list[Side], sides: Roles[list[Side]]
) -> PublishedSides | None:
    if suite.published is None or sides.shifted is None or sides.everywhere is None:
        return None
    label_a = suite.model_a.sae_at(suite.published.layer_a).label
    label_b = suite.model_b.sae_at(suite.published.layer_b).label
    corrected = next(s for s in of_a if s.label == label_a), next(s for s in of_b if s.label == label_b)
    (shifted_a, shifted_b), (a, b) = sides.shifted, sides.everywhere
    return PublishedSides((shifted_a[0], shifted_b[0]), (a[0], b[0]), corrected)


def measure_fits(run: Run, cache: TaskCache, models: Roles[ModelOnText], loaded: Loaded) -> Roles[Fits]:
    """Returns how well the SAEs of A, of B, and of both models of every control fit the text, each measured once.

    Losses are measured of A and B alone.
    """
    known: dict[StoreIdentity, dict[str, Any]] = {}

    def fits(task: str, one: ModelOnText, identities: dict[str, StoreIdentity], with_loss: bool = False) -> Fits:
        if any(identity not in known for identity in identities.values()):
            usual = loaded.usual[1 if one.as_b else 0]
            found = fits_of(
                run, cache, task, one.model, one.blocks, kept=usual, identities=identities, with_loss=with_loss
            )
            known.update({identities[label]: fit for label, fit in found.items()})
        return {label: known[identity] for label, identity in identities.items()}

    of = loaded.identities
    of_a, of_b = fits("fit.a", models.a, of.a, True), fits("fit.b", models.b, of.b, True)
    controls = {
        name: (fits(f"fit.{name}.a", a, of.controls[name][0]), fits(f"fit.{name}.b", b, of.controls[name][1]))
        for name, (a, b) in models.controls.items()
    }
    return Roles(of_a, of_b, controls)
