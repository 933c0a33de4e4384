"""The null `same_token` of a finished run, computed again with NumPy and SciPy from its stores by the definitions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr

from semconv import ActivationStore
from semconv.statistics.token_swaps import TokenSwaps
from tests.conftest import requires_models

pytestmark = [pytest.mark.slow, requires_models]
DRAWS, MIN_ACTIVATIONS, MIN_DOCUMENTS = 4, 5, 3  # as the suite of the tests says; its seed is 0


def activations(run: Path, model: str, hook: str) -> np.ndarray:
    """float64 [tokens, features] of a store."""
    return ActivationStore(run / "stores" / model / hook).load().to_dense().double().numpy()


def described(z: np.ndarray, ids: np.ndarray, documents: np.ndarray, stops: list[int]) -> np.ndarray:
    """Which features are active often enough, and have no stop token among their five top tokens; bool [features]."""
    kept = list[bool]()
    for values in z.T:
        on = values > 0
        top = [place for place in np.argsort(-values, kind="stable")[:5] if on[place]]
        often = on.sum() >= MIN_ACTIVATIONS and len(set(documents[on])) >= MIN_DOCUMENTS
        kept.append(bool(often and not np.isin(ids[top], stops).any()))
    return np.array(kept)


def strongest(r: np.ndarray, kept_a: np.ndarray, kept_b: np.ndarray, n: int) -> list[tuple[int, int]]:
    """The best A of every B feature if both are kept, of each A the strongest; the n of largest r, by B."""
    best: dict[int, tuple[float, int]] = {}
    for j in np.flatnonzero(kept_b).tolist():
        i = int(np.nanargmax(r[:, j]))
        if kept_a[i] and (i not in best or r[i, j] > best[i][0]):
            best[i] = (float(r[i, j]), j)
    pairs = sorted(((i, j) for i, (_, j) in best.items()), key=lambda pair: -r[pair])
    return sorted(pairs[:n], key=lambda pair: pair[1])


def test_its_rsa_follows_from_the_stores(tiny_suite: Path, tiny_run: Path):
    from tokenizers import Tokenizer

    told = json.loads((tiny_run / "results.json").read_text())["grid"]["1x2"]
    x = activations(tiny_run, "a", "blocks.1.hook_resid_post")
    y = activations(tiny_run, "b", "blocks.2.hook_resid_post")
    text = load_file(next(tiny_run.glob("tokens-*.safetensors")))
    ids, documents = (text[name][text["mask"].astype(bool)] for name in ("ids", "document"))
    tokenizer = Tokenizer.from_file(str(tiny_suite.with_name("tokenizer.json")))
    stops = [i for i in range(tokenizer.get_vocab_size()) if tokenizer.decode([i]).strip() == "."]
    kept = described(x, ids, documents, stops), described(y, ids, documents, stops)
    folders = [tiny_suite.with_name(name) for name in ("sae_a1", "sae_b2")]
    decoders = [load_file(next(folder.glob("*.safetensors")))["W_dec"].astype(np.float64) for folder in folders]
    swaps, moved, scores = TokenSwaps(ids, documents), list[int](), list[float]()
    for order in (np.arange(len(ids)), *(swaps.draw(0, number) for number in range(DRAWS))):
        with np.errstate(invalid="ignore", divide="ignore"):
            r = np.corrcoef(x.T, y[order].T)[: x.shape[1], x.shape[1] :]
        pairs = strongest(r, *kept, told["same_token"]["scored_pairs"])
        rows = [decoders[side][[pair[side] for pair in pairs]] for side in range(2)]
        scores.append(spearmanr(*(pdist(part, "correlation") for part in rows)).statistic)
        moved.append(int((order != np.arange(len(ids))).sum()))
    assert told["measures"]["rsa"]["strongest_pairs_score"] == pytest.approx(scores[0], abs=1e-9)
    draws = load_file(tiny_run / "nulls.safetensors")["1x2.same_token.rsa"]
    np.testing.assert_allclose(draws, scores[1:], atol=1e-9)
    assert told["same_token"]["moved_mean"] == np.mean(moved[1:]) > 0.5 * len(ids)
    at_least = sum(draw >= scores[0] for draw in scores[1:])
    assert told["measures"]["rsa"]["nulls"]["same_token"]["p"] == (at_least + 1) / (DRAWS + 1)
