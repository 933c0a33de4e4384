"""What ablating the features of pairs in both models finds and costs, on a finished run of the mini suite.

    python scripts/measure/function_speed.py RUN [--layers 2 4 | --control NAME] [--pairs 300] [--positions 16]

Pairs are matched on one half of the documents and their features ablated in the other. Prints Markdown: the functional
agreement of partners beside that of every alternate, with positions drawn uniformly and with the strongest; the logit
lens of both sides; CPU and wall seconds; and how much quicker that is than a full forward pass for every change, timed
on a sample whose effects are compared.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from numpy import ndarray

from semconv.core.activation_store import ActivationStore
from semconv.core.correlate import best_matches
from semconv.matching.filters import match_features, r_without_of
from semconv.matching.hard_negatives import hard_negatives, most_co_active
from semconv.matching.joint_positions import JointPositions, activations_at, at_same_token, joint_positions
from semconv.models.decoders import decoder_rows
from semconv.models.function import OTHERS, FunctionSide, functional_effects
from semconv.models.interventions import Edits, Interventions, naive_change
from semconv.models.logit_lens import lens_of_pairs
from semconv.models.model_activations import load_model
from semconv.models.sources import model_folder, tokenizer_file
from semconv.pipeline.reproduce import load_blocks
from semconv.runs.run import Run
from semconv.statistics.effects import EffectSums
from semconv.statistics.function_scores import MOVED, PairFunction, layer_function, pair_function
from semconv.statistics.resampling import halves, spans_document_starts
from semconv.suite.config import MatchConfig, ModelConfig, SaeConfig, load_suite
from semconv.suite.hooks import hook_name
from semconv.system.markdown import table
from semconv.text.shared_tokens import SharedTokens
from semconv.text.token_blocks import TokenBlocks
from semconv.text.tokenizer import load_tokenizer
from semconv.text.top_tokens import TopTokens, token_texts, top_tokens

PARTNERS = 50
"""Best partners of every feature among which alternates are looked for."""


def sides_of(
    run: Run, of: tuple[tuple[ModelConfig, SaeConfig], ...], blocks: tuple[TokenBlocks, TokenBlocks]
) -> list[FunctionSide]:
    """Opens both models and what was encoded with an SAE of each."""
    found: list[FunctionSide] = []
    for (model, sae), text in zip(of, blocks, strict=True):
        rows = torch.from_numpy(decoder_rows(run.decoder_path(model, sae)))
        network = load_model(model_folder(model), untrained_seed=model.untrained_seed)
        store = ActivationStore(run.store_path(model, sae))
        found.append(FunctionSide(Interventions(network, sae.hook, rows), store.load(), text))
    return found


def matched(
    sides: Sequence[FunctionSide], half: Int[ndarray, " h"], config: MatchConfig, texts: list[str], n: int
) -> tuple[tuple[ndarray, ndarray], ndarray, ndarray]:
    """Returns features of A and of B, evenly spread over the pairs of a half, hard negatives, and tokens by number."""
    at = torch.from_numpy(half)
    a, b = (side.acts.tokens(at) for side in sides)
    ids = sides[0].blocks.ids[sides[0].blocks.mask][at]
    tables = TopTokens.of_sides([top_tokens(x, ids, texts, config.top_tokens) for x in (a, b)], config.stop_tokens)
    matches = best_matches(a, b, k=PARTNERS)
    pairs = match_features(matches, tables[0], tables[1], config, r_without=r_without_of(a, b, config))
    some = np.unique(np.linspace(0, len(pairs) - 1, min(n, len(pairs))).astype(int))
    features = pairs.a[some], pairs.b[some]
    tokens = tables[1].numbers[:, 0]
    return features, hard_negatives(matches, features, tokens), tokens[features[1]]


def shown(told: PairFunction, alternates: ndarray) -> list[list[str]]:
    """Returns the rows of a table: name, mean over pairs and its standard error, pairs."""
    hard = range(alternates.shape[1])
    rows: list[tuple[str, ndarray]] = []
    for what, own, others, of_alternates, best in (
        ("effects", told.plain, told.plain_others, told.plain_alternates, told.best_negative(hard, plain=True)),
        ("residual effects", told.r, told.r_others, told.r_alternates, told.best_negative(hard)),
    ):
        both = np.isfinite(of_alternates[:, 0])
        rows += [
            (f"{what}: partner", own),
            (f"{what}: dose-matched others there", others),
            (f"{what}: most co-active there", of_alternates[:, 2]),
            (f"{what}: second best by r", of_alternates[:, 1]),
            (f"{what}: random direction", of_alternates[:, -1]),
            (f"{what}: partner less the best hard negative", own - best),
            (f"{what}: partner, where another shares the token", own[both]),
            (f"{what}: best by r of the same token", of_alternates[both, 0]),
            (f"{what}: share of partners above it", (own > of_alternates[:, 0])[both].astype(float)),
        ]
    rows += [
        ("cosine of mean effects", told.cosine),
        ("correlation of mean residual effects", told.residual_r),
        (f"same sign, {MOVED} tokens moved most", told.signs),
        ("correlation of KL over positions", told.kl_r),
        ("the same with the others' KL", told.kl_r_others),
        ("log2 of KL in A over KL in B", told.size),
        ("top-1 among hard negatives", told.top1),
        ("chance of it", told.chance_top1),
        ("mean reciprocal rank", told.mrr),
    ]
    out: list[list[str]] = []
    for name, value in rows:
        known = value[np.isfinite(value)]
        error = known.std(ddof=1) / len(known) ** 0.5 if len(known) > 1 else float("nan")
        out.append([name, f"{known.mean():.3f}", f"{error:.3f}", str(len(known))])
    return out


def naive_seconds(side: FunctionSide, feature: ndarray, at: JointPositions, n: int) -> tuple[float, float]:
    """Returns CPU seconds of one full forward pass per change, and how far its effect is from the quick one's.

    Of the two passes that `naive_change` makes, before and after, one is counted: a loop could share the other.
    """
    some = np.unique(np.linspace(0, len(at) - 1, n).astype(int))
    row, position = (torch.from_numpy(part.copy()) for part in side.places()[at.token[some]].T)
    features = feature[at.pair[some]]
    amount = torch.from_numpy(-activations_at(side.acts, at.token[some], features))
    edits = Edits(row, position, torch.from_numpy(features), amount)
    quick = side.interventions.effects(side.blocks.ids, edits).change
    began = time.process_time()
    model = side.interventions.model
    slow = naive_change(model, side.interventions.hook, side.interventions.directions, side.blocks.ids, edits)
    return (time.process_time() - began) / (2 * len(some)), float((slow - quick).abs().max())


@dataclass(frozen=True)
class Found:
    """What was kept of effects; changes of A and of B, and their CPU seconds."""

    sums: EffectSums
    changes: tuple[int, int]
    cpu: float


def compared(
    sides: list[FunctionSide], pairs: tuple[ndarray, ndarray], at: JointPositions, alternates: ndarray, tokens: ndarray
) -> Found:
    """Takes the effects at positions of one kind and prints what they say."""
    shared = SharedTokens.same(sides[0].interventions.readout.vocab_size)
    cpu, wall = time.process_time(), time.perf_counter()
    alternates = np.column_stack([alternates, most_co_active(sides[1].acts, at, pairs[1])])
    sums = functional_effects((sides[0], sides[1]), pairs, at, shared, alternates, n_others=OTHERS)
    told = pair_function(sums)
    layer = layer_function(sums, told, tokens, range(alternates.shape[1]))
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    row, position = sides[1].places()[at.token].T
    last = np.zeros(int(row.max()) + 1, dtype=np.int64)
    np.maximum.at(last, row, position + 1)
    print(f"{(last > 0).sum()} contexts are read, {last.sum():,} positions of them up to the last that is needed\n")
    print(table(["Mean over pairs", "value", "standard error", "pairs"], shown(told, alternates)))
    if layer.beyond is not None:
        test = layer.beyond
        print(f"\nPartner less best hard negative: {test.statistic:.4f}, p = {test.p_value:.4g} (sign flips)")
    print(f"Second-order RSA {layer.rsa:.3f}; retrieval among {layer.pairs} pairs:")
    print(f"top-1 {layer.retrieval_top1:.3f}, MRR {layer.retrieval_mrr:.3f};")
    print(f"within a token: top-1 {layer.within_token_top1:.3f}, MRR {layer.within_token_mrr:.3f},")
    print(f"chance of top-1 {layer.within_token_chance:.3f}")
    changes = len(at) * (1 + OTHERS), int(len(at) * (2 + OTHERS) + (alternates[at.pair] >= 0).sum())
    print(f"\nAt most {changes[0]} and {changes[1]} changes in {cpu:.1f} CPU seconds, {wall:.1f} s of wall time\n")
    return Found(sums, changes, cpu)


def print_elsewhere(
    sides: list[FunctionSide], pairs: tuple[ndarray, ndarray], at: JointPositions, sums: EffectSums
) -> None:
    """Prints how alike effects are where A's is taken at another position of the same token."""
    blocks = sides[0].blocks
    some, tokens = at_same_token(at, blocks.ids[blocks.mask].numpy())
    n, key = blocks.n_tokens, at.pair * blocks.n_tokens + at.token
    here = torch.from_numpy(np.searchsorted(key, some.pair * n + some.token))
    shared, none = SharedTokens.same(sides[0].interventions.readout.vocab_size), np.full((len(pairs[0]), 0), -1)
    there = functional_effects((sides[0], sides[1]), pairs, some, shared, none, random=False, tokens_a=tokens)
    rows: list[list[str]] = []
    for name, one, other in (("effects", sums.plain, there.plain), ("residual effects", sums.r, there.r)):
        counts = np.maximum(np.bincount(some.pair), 1)
        of_pairs = [np.bincount(some.pair, x.numpy()) / counts for x in (one[here, 0], other[:, 0])]
        known = np.isfinite(of_pairs).all(axis=0) & (np.bincount(some.pair) > 0)
        rows.append([name, *(f"{x[known].mean():.3f}" for x in of_pairs), str(known.sum()), str(len(some))])
    titles = ["Partner", "same position", "A's at another of the same token", "pairs", "positions"]
    print("## The same token elsewhere\n")
    print(table(titles, rows) + "\n")


def print_lens(sides: list[FunctionSide], pairs: tuple[ndarray, ndarray]) -> None:
    """Prints how alike the logit lens of both features is."""
    a, b = (side.interventions for side in sides)
    rows = [one.directions[torch.from_numpy(f)] for one, f in zip((a, b), pairs, strict=True)]
    began, shared = time.process_time(), SharedTokens.same(a.readout.vocab_size)
    lens = lens_of_pairs((a.readout, b.readout), (rows[0], rows[1]), shared).agreement
    spent = time.process_time() - began
    print(f"Logit lens: mean correlation {lens.correlation.nanmean():.3f}; of 10 promoted tokens")
    print(f"{lens.promoted.mean():.3f} shared, of 10 suppressed {lens.suppressed.mean():.3f} ({lens.chance:.4f} by")
    print(f"chance); {spent:.2f} CPU seconds\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a finished run of the mini suite, with its stores")
    parser.add_argument("--layers", type=int, nargs=2, default=(2, 4))
    parser.add_argument("--control", help="compare the two SAEs of a control of the suite instead")
    parser.add_argument("--pairs", type=int, default=300)
    parser.add_argument("--positions", type=int, default=16)
    parser.add_argument("--naive", type=int, default=40, help="changes per model that full passes are timed on")
    options = parser.parse_args()
    run = Run(load_suite("mini"), options.run)
    run.read_places()
    blocks = load_blocks(run)
    models = run.suite.model_a, run.suite.model_b
    if options.control:
        control = next(one for one in run.suite.controls if one.name == options.control)
        of = tuple((model, model.saes[0]) for model in (control.model_a, control.model_b))
    else:
        hooks = [hook_name(layer) for layer in options.layers]
        of = tuple((m, next(sae for sae in m.saes if sae.hook == h)) for m, h in zip(models, hooks, strict=True))
    sides = sides_of(run, of, blocks)
    texts = token_texts(load_tokenizer(tokenizer_file(run.suite.corpus)))
    documents = blocks[0].document[blocks[0].mask]
    half, held_out = (part.numpy() for part in halves(spans_document_starts(documents), len(documents), seed=0))
    pairs, alternates, tokens = matched(sides, half, run.suite.match, texts, options.pairs)
    n, acts, contexts = options.positions, (sides[0].acts, sides[1].acts), sides[0].places()[:, 0]
    how = {"n_uniform": n, "n_strongest": n, "fewest": n}
    at = joint_positions(acts, pairs, documents.numpy(), held_out, contexts=contexts, **how)
    print(f"{len(pairs[0])} pairs, {at.n_without} of them with too few positions\n")
    strongest, uniform = at.kind(True), at.kind(False)
    print(f"## {len(strongest)} strongest positions\n")
    compared(sides, pairs, strongest, alternates, tokens)
    print(f"## {len(uniform)} positions drawn uniformly\n")
    found = compared(sides, pairs, uniform, alternates, tokens)
    print_elsewhere(sides, pairs, uniform, found.sums)
    print_lens(sides, pairs)
    naive = [naive_seconds(side, f, uniform, options.naive) for side, f in zip(sides, pairs, strict=True)]
    whole = sum(one[0] * count for one, count in zip(naive, found.changes, strict=True))
    print(f"Full passes: {naive[0][0]:.4f} and {naive[1][0]:.4f} CPU seconds a change, so {whole:.0f} s;", end=" ")
    print(f"{whole / found.cpu:.0f} times as long. Largest difference of effects {max(one[1] for one in naive):.1e}")


if __name__ == "__main__":
    main()
