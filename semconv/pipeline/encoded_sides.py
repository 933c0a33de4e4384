"""From activation stores to the sides that are compared: what counts of the text, and how well the SAEs fit it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from jaxtyping import Int
from numpy import ndarray

from semconv.core.activation_store import StoreIdentity
from semconv.models.fitting import Fits, fits_of
from semconv.models.roles import ModelOnText, Roles
from semconv.models.sinks import REPORTED, dropped_positions, spans_without, without
from semconv.pipeline.corpus_stage import corpus_of_b, documents_of, tokenizer_of_corpus
from semconv.pipeline.facts_read import SaeActivity, sink_facts
from semconv.pipeline.stored_saes import (
    StoredActivity,
    StoredSae,
    activities,
    open_stores,
    sae_activity,
    stream_sinks,
    token_lists,
)
from semconv.results import schema
from semconv.runs.run import Run
from semconv.runs.task_cache import TaskCache
from semconv.runs.tasks import Workplace
from semconv.statistics.resampling import document_starts, spans_document_starts
from semconv.study.observe import Encoded
from semconv.study.published_protocol import PublishedSides
from semconv.study.sides import Side, StoredSide
from semconv.suite.config import SuiteConfig
from semconv.system.digests import sha256_of
from semconv.text import top_tokens as labels
from semconv.text.alignment import aligned_spans
from semconv.text.spans import Spans, pool
from semconv.text.token_blocks import TokenBlocks
from semconv.text.top_tokens import TopTokens


def _over_spans(side: StoredSide, spans: Spans, how: Literal["max", "mean", "sum"]) -> StoredSide:
    identity = sha256_of(f"{side.store_sha256} {how} ", spans.starts, spans.ends)

    def load() -> Side:
        read = side.read()
        acts = pool(read.acts.to("cpu"), spans, how).to(read.acts.device)
        return replace(read, acts=acts, store_sha256=identity, documents=spans.document, token=None)

    return replace(side, store_sha256=identity, n_tokens=len(spans), n_bytes=2 * side.n_bytes, load=load)


def stored_sides(run: Run, place: Workplace, stored: Roles[list[StoredSae]]) -> Roles[list[StoredSide]]:
    """Returns the sides of some models, whose features can be matched with each other; none of them is held.

    Args:
        run: folder that holds their stores.
        place: where what is known of a store is kept.
        stored: the stores of the models, at the positions that count.
    """
    return _known_sides(run, stored, activities(run, place, stored, run.suite.match.top_tokens))


def _known_sides(
    run: Run, stored: Roles[list[StoredSae]], known: Roles[list[StoredActivity]]
) -> Roles[list[StoredSide]]:
    corpora = run.suite.corpus, corpus_of_b(run.suite)
    of_a, of_b = (labels.token_texts(tokenizer_of_corpus(corpus)) for corpus in corpora)
    every = [
        (sae, activity)
        for group, of_group in zip(stored.every, known.every, strict=True)
        for sae, activity in zip(group, of_group, strict=True)
    ]
    tokens = [token_lists(activity, of_b if sae.one.as_b else of_a) for sae, activity in every]
    tables = TopTokens.of_sides(tokens, run.suite.match.stop_tokens)
    sides = iter([sae.side(table, activity) for (sae, activity), table in zip(every, tables, strict=True)])
    return stored.map(lambda group: [next(sides) for _ in group])


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
    place: Workplace,
    blocks: tuple[TokenBlocks, TokenBlocks],
    models: Roles[ModelOnText],
    spans: tuple[Spans, Spans] | None = None,
) -> Loaded:
    """Returns everything that was encoded, without attention sinks where the suite wants none; holds none of it.

    Args:
        run: folder that holds the stores.
        place: where stores are read; what is known of them is kept in the folder `sides` of the run.
        blocks: what A and B read.
        models: of the suite, each with the positions it was encoded at.
        spans: what `shared_spans` gives, if it is known already.

    Raises:
        InputError: a store is missing or damaged, fewer than two documents, or nothing is left without sinks.
    """
    suite, place = run.suite, replace(place, cache=TaskCache(run.folder / "sides"))
    with run.timed("load stores"):
        stored = open_stores(run, models)
        sinks = stream_sinks(run, place, (stored.a, stored.b), suite.match.sink_norm or REPORTED)
        dropped = dropped_positions(sinks, shared=suite.align is None)
        usual = without(blocks[0], dropped[0]), without(blocks[1], dropped[1])
        excluded = bool(suite.match.sink_norm) and any(bool(at.any()) for at in dropped)
        if excluded and suite.align is None:
            blocks = usual
            stored = stored.map(lambda group: [_without_sinks(one, ~dropped[0], usual[0]) for one in group])
        known = activities(run, place, stored, suite.match.top_tokens)
        sides = _known_sides(run, stored, known)
    if suite.align is not None:
        spans = spans or shared_spans(run, blocks)
    spans, lost = spans_without(spans, dropped) if excluded and spans else (spans, 0)
    encoded, starts = _in_place(suite, blocks, sides, spans)
    of_a, of_b = (
        [sae_activity(activity, one.one.blocks.n_tokens, found) for one, activity, found in zip(*of_model, strict=True)]
        for of_model in ((stored.a, known.a, sinks[0]), (stored.b, known.b, sinks[1]))
    )
    identities = stored.map(lambda group: {one.sae.label: one.store.identity for one in group})
    facts = sink_facts(suite.match, dropped, lost)
    return Loaded(encoded, blocks, starts, (of_a, of_b), facts, identities, (usual[0].mask, usual[1].mask))


def _without_sinks(one: StoredSae, kept: torch.Tensor, blocks: TokenBlocks) -> StoredSae:
    """Returns a store at the positions that are no sinks; as published, every position counts."""
    return one if one.one.as_published else one.at(kept, replace(one.one, blocks=blocks))


def _in_place(
    suite: SuiteConfig,
    blocks: tuple[TokenBlocks, TokenBlocks],
    sides: Roles[list[StoredSide]],
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
    trained = {side.decoder_sha256 for side in (*of_a, *of_b)}
    seeds: dict[str, list[StoredSide]] = dict(sides.seeds)
    if spans is not None and suite.align is not None:
        of = dict(zip("ab", spans, strict=True))
        seeds = {
            one.name: [_over_spans(side, of[one.of], suite.align.how) for side in sides.seeds[one.name]]
            for one in suite.seeds or ()
        }
    unfair = frozenset(
        control.name
        for control in suite.controls
        if control.kind == "floor" and any(side.decoder_sha256 in trained for side in controls[control.name])
    )
    texts = labels.token_texts(tokenizer_of_corpus(suite.corpus))
    published = _published(suite, of_a, of_b, sides)
    return Encoded(blocks[0], texts, of_a, of_b, controls, published, spans, unfair, seeds), starts


def _published(
    suite: SuiteConfig, of_a: list[StoredSide], of_b: list[StoredSide], sides: Roles[list[StoredSide]]
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
