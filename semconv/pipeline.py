"""The one module that knows the order of the stages: corpus, encode, correlate, match, compare, results."""

from __future__ import annotations

import hashlib
import math
import time
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from numpy import ndarray

from semconv import labels
from semconv.activation_store import ActivationStore, StoreIdentity, StoreWriter
from semconv.compare import RSA, SVCCA, Measure
from semconv.compare.svcca import SaturationWarning
from semconv.config import CorpusConfig, ModelConfig, SaeConfig, SuiteConfig, nearest, resolve
from semconv.correlate import BestMatches, best_matches
from semconv.device import DTYPES, Precision, resolve_precision
from semconv.files import only_writer, read_tensors, sha256_of_file, write_json, write_tensors
from semconv.matching import FeaturePairs, match_features
from semconv.model_activations import hook_layer
from semconv.permutation import permutation_test
from semconv.provenance import provenance
from semconv.sparse import SparseActivations
from semconv.types import InputError, TokenBlocks

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Progress = Callable[[str, int, int], None]
"""Called with the stage, how much of it is done, and how much there is."""

NOISE_LIMIT = 1e-3
"""Features whose quantisation noise is above this share of their rms are counted in the results."""


def _silent(stage: str, done: int, total: int) -> None:
    """The progress callback of a caller that asked for none."""


@dataclass
class Run:
    """A run folder: everything a reproduction leaves on disk, and the time each stage took.

    Attributes:
        suite: what is compared.
        folder: where results, stores and figures go.
        progress: called as stages advance.
        device: where models, SAEs and correlations run; no part of the suite, for results must not depend on it.
    """

    suite: SuiteConfig
    folder: Path
    progress: Progress = _silent
    seconds: dict[str, float] = field(default_factory=dict[str, float])
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def store_path(self, model: ModelConfig, hook: str) -> Path:
        return self.folder / "stores" / model.name / hook

    def decoder_path(self, model: ModelConfig, hook: str) -> Path:
        return self.folder / "decoders" / model.name / f"{hook}.safetensors"

    @contextmanager
    def timed(self, stage: str):
        """Adds the time spent inside to the stage's."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - began


def folder_sha256(path: Path) -> str:
    """Returns the SHA-256 over names and contents of the files of a model or SAE folder.

    Raises:
        InputError: the folder does not exist.
    """
    if not path.is_dir():
        raise InputError(f"folder {path} does not exist")
    digest = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        digest.update(f"{file.relative_to(path)} {sha256_of_file(file)}\n".encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class Corpus:
    """The token blocks of a suite and the hash of the text they come from."""

    blocks: TokenBlocks
    text_sha256: str


def load_corpus(run: Run) -> Corpus:
    """Returns the suite's token blocks, kept in the run folder after the first time.

    Raises:
        InputError: the text or the tokens are not those that the suite expects.
    """
    config = run.suite.corpus
    cached = run.folder / f"tokens-{_corpus_key(config)}.safetensors"
    run.progress("corpus", 0, 1)
    with run.timed("corpus"):
        corpus = _read_corpus(cached)
        if corpus is None:
            corpus = _make_corpus(config)
            parts = {"ids": corpus.blocks.ids, "mask": corpus.blocks.mask, "document": corpus.blocks.document}
            hashes = {"text_sha256": corpus.text_sha256, "tokens_sha256": corpus.blocks.sha256}
            write_tensors(cached, parts, hashes)
    for what, expected, found in (
        ("text", config.text_sha256, corpus.text_sha256),
        ("tokens", config.tokens_sha256, corpus.blocks.sha256),
    ):
        if expected and expected != found:
            raise InputError(
                f"the corpus gives other {what} than the suite {run.suite.name} expects: "
                f"SHA-256 {expected[:16]}... expected, {found[:16]}... found"
            )
    run.progress("corpus", 1, 1)
    return corpus


def _corpus_key(config: CorpusConfig) -> str:
    """Names the cache after everything the tokens depend on: settings, tokenizer, and a user's own text."""
    from semconv.corpus import source_files

    digest = hashlib.sha256(repr(asdict(config)).encode())
    tokenizer = resolve(config.tokenizer)
    if not tokenizer.is_file():
        raise InputError(f"tokenizer {tokenizer} does not exist")
    for file in [tokenizer, *(source_files(Path(config.path)) if config.kind == "file" else [])]:
        digest.update(sha256_of_file(file).encode())
    return digest.hexdigest()[:16]


def _read_corpus(path: Path) -> Corpus | None:
    """Reads the cache; None when it is not there or not what was written, for then it is made again from the text."""
    try:
        parts, hashes = read_tensors(path)
        blocks = TokenBlocks(parts["ids"], parts["mask"], parts["document"])
        return Corpus(blocks, hashes["text_sha256"]) if hashes["tokens_sha256"] == blocks.sha256 else None
    except (KeyError, InputError):
        return None


def load_tokenizer(path: Path) -> Tokenizer:
    """Reads a tokenizer file.

    Raises:
        InputError: the file is missing or damaged.
    """
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001 - the library raises nothing narrower
        raise InputError(f"tokenizer {path} cannot be read: {error}") from None


def _make_corpus(config: CorpusConfig) -> Corpus:
    from semconv.corpus import corpus_sha256, docstring_documents, file_documents, tokenize

    if config.kind == "docstrings":
        documents = docstring_documents(config.packages)
    else:
        documents = file_documents(Path(config.path), config.column)
    if config.split != "all":
        documents = [d for d in documents if d.split == config.split]
    blocks = tokenize(documents, load_tokenizer(resolve(config.tokenizer)), config.context, config.max_tokens)
    return Corpus(blocks, corpus_sha256(documents))


def encode_model(run: Run, model: ModelConfig, blocks: TokenBlocks) -> None:
    """Makes every store of one model that is not complete yet, in one forward pass over the corpus."""
    encode = run.suite.encode
    model_sha256, tokens_sha256 = folder_sha256(resolve(model.path)), blocks.sha256
    widths = {sae.hook: _save_decoder(run, model, sae) for sae in model.saes}
    writers = {
        sae.hook: StoreWriter(
            run.store_path(model, sae.hook),
            StoreIdentity(
                model=model.path,
                model_sha256=model_sha256,
                sae=sae.path,
                sae_sha256=folder_sha256(resolve(sae.path)),
                hook=sae.hook,
                tokens_sha256=tokens_sha256,
                n_tokens=blocks.n_tokens,
                n_features=widths[sae.hook],
                dtype=encode.dtype,
                precision=_sae_precision(run, sae),
                model_precision=resolve_precision(encode.model_precision, "", run.device),
            ),
        )
        for sae in model.saes
    }
    todo = [sae for sae in model.saes if not writers[sae.hook].complete]
    stage = f"encode {model.name}"
    if todo:
        with run.timed(stage):
            _encode_missing(run, stage, model, todo, writers, blocks)
    run.progress(stage, 1, 1)


def _sae_precision(run: Run, sae: SaeConfig) -> Precision:
    from semconv.sae_encode import sae_dtype

    return resolve_precision(run.suite.encode.precision, sae_dtype(resolve(sae.path)), run.device)


def _encode_missing(
    run: Run,
    stage: str,
    model: ModelConfig,
    todo: list[SaeConfig],
    writers: dict[str, StoreWriter],
    blocks: TokenBlocks,
) -> None:
    from semconv.model_activations import load_model
    from semconv.sae_encode import encode, load_sae

    encoding = run.suite.encode
    model_precision = resolve_precision(encoding.model_precision, "", run.device)
    network = load_model(resolve(model.path), device=run.device, dtype=DTYPES[model_precision])
    n_layers = int(network.config.num_hidden_layers)
    for sae in todo:
        if hook_layer(sae.hook) >= n_layers:
            hooks = [f"blocks.{i}.hook_resid_post" for i in range(n_layers)]
            raise InputError(
                f"model {model.name} has no hook {sae.hook!r}{nearest(sae.hook, hooks)}; it has {n_layers} blocks"
            )
    if int(blocks.ids.max()) >= int(network.config.vocab_size):
        raise InputError(
            f"model {model.name} knows {network.config.vocab_size} tokens, "
            f"the tokenizer gives id {int(blocks.ids.max())}"
        )
    saes = {
        sae.hook: load_sae(resolve(sae.path), dtype=DTYPES[_sae_precision(run, sae)], device=run.device) for sae in todo
    }
    batch, dtype = encoding.batch, getattr(torch, encoding.dtype)
    tf32, model_tf32 = encoding.precision == "tf32", model_precision == "tf32"
    written = min(writers[hook].tokens_written for hook in saes)
    # The batch that holds the first token still missing; batches never shift, so that a resumed run has the same bits.
    first_batch = int(torch.searchsorted(blocks.mask.sum(dim=1).cumsum(0), written, right=True)) // batch
    for position, chunks in encode(network, saes, blocks, batch, dtype, first_batch, tf32, model_tf32):
        for hook, chunk in chunks.items():
            done = writers[hook].tokens_written
            if position + chunk.n_tokens > done:
                writers[hook].append(chunk, position)
        run.progress(stage, position, blocks.n_tokens)


def _save_decoder(run: Run, model: ModelConfig, sae: SaeConfig) -> int:
    """Keeps the decoder rows [d_sae, d_model] in the run folder, so that comparing needs no SAE; returns d_sae."""
    identity = folder_sha256(resolve(sae.path))
    decoder = _read_decoder(run.decoder_path(model, sae.hook), identity)
    if decoder is None:
        from semconv.sae_encode import load_sae

        decoder = load_sae(resolve(sae.path)).W_dec.detach().float().contiguous()
        hashes = {"sae_sha256": identity, "sha256": _tensor_sha256(decoder)}
        write_tensors(run.decoder_path(model, sae.hook), {"W_dec": decoder}, hashes)
    return int(decoder.shape[0])


def _tensor_sha256(tensor: torch.Tensor) -> str:
    return hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()


def _read_decoder(path: Path, sae_sha256: str) -> torch.Tensor | None:
    """Reads kept decoder rows; None when they are not there, are another SAE's, or are not what was written."""
    try:
        tensors, hashes = read_tensors(path)
        decoder = tensors["W_dec"]
    except (KeyError, InputError):
        return None
    good = hashes == {"sae_sha256": sae_sha256, "sha256": _tensor_sha256(decoder)}
    return decoder if good else None


@dataclass(frozen=True, eq=False)
class _Side:
    """What the grid needs of one SAE: activations on the run's device, top tokens, decoder rows."""

    layer: int
    acts: SparseActivations
    store_sha256: str
    tokens: list[list[str]]
    decoder: ndarray


def _load_sides(run: Run, model: ModelConfig, blocks: TokenBlocks) -> list[_Side]:
    texts = labels.token_texts(load_tokenizer(resolve(run.suite.corpus.tokenizer)))
    ids, sides = labels.counted_ids(blocks), list[_Side]()
    for sae in model.saes:
        store = ActivationStore(run.store_path(model, sae.hook))
        acts = store.load()
        tokens = labels.top_tokens(acts, ids, texts, run.suite.match.top_tokens)
        decoder = read_tensors(run.decoder_path(model, sae.hook))[0]["W_dec"].double().numpy()
        sides.append(_Side(hook_layer(sae.hook), acts.to(run.device), store.sha256, tokens, decoder))
    return sides


def measures_of(suite: SuiteConfig) -> list[Measure[Any]]:
    """Returns the measures of a suite, in the order of its tables."""
    return [
        SVCCA("pc1"),
        SVCCA("variance", threshold=suite.compare.svcca_threshold),
        SVCCA("fixed_k", k=suite.compare.svcca_k),
        RSA(),
    ]


def number(value: float) -> float | None:
    """Returns a float for JSON, which has no NaN: an undefined number is null."""
    return value if math.isfinite(value) else None


def compare_pairs(suite: SuiteConfig, pairs: FeaturePairs, X: ndarray, Y: ndarray) -> dict[str, dict[str, Any]]:
    """Scores the paired decoder rows by every measure, each beside its `shuffle` null.

    Args:
        suite: settings.
        pairs: the feature pairs.
        X: float64 [n, d_a] decoder rows of the A features of the pairs.
        Y: float64 [n, d_b] of the B features.

    Returns:
        Measure name -> score, null mean and sd, z, p, calibrated score; or the reason why there is none.
    """
    out: dict[str, dict[str, Any]] = {}
    for measure in measures_of(suite):
        if len(pairs) < suite.match.min_pairs:
            out[measure.name] = {"reason": f"{len(pairs)} pairs, at least {suite.match.min_pairs} are needed"}
            continue
        try:
            with warnings.catch_warnings(record=True) as raised:
                warnings.simplefilter("always", SaturationWarning)
                test = permutation_test(measure, X, Y, suite.null.n_permutations, suite.null.seed)
        except InputError as error:
            out[measure.name] = {"reason": str(error)}
            continue
        out[measure.name] = {
            "score": number(test.statistic),
            "null_mean": number(float(test.null.mean())),
            "null_sd": number(float(test.null.std(ddof=1))) if len(test.null) > 1 else None,
            "z": number(test.z),
            "p": test.p_value,
            "calibrated": number(test.calibrated),
            "saturated": any(issubclass(w.category, SaturationWarning) for w in raised),
        }
    return out


def _cell(run: Run, a: _Side, b: _Side) -> dict[str, Any]:
    """One layer pair: correlate, match, compare."""
    with run.timed("correlate"):
        matches = best_matches(a.acts, b.acts).to("cpu")
    with run.timed("match"):
        pairs = match_features(matches, a.tokens, b.tokens, run.suite.match)
    with run.timed("compare"):
        scores = compare_pairs(run.suite, pairs, a.decoder[pairs.a], b.decoder[pairs.b])
    return {
        "layer_a": a.layer,
        "layer_b": b.layer,
        "pairs": len(pairs),
        "mean_r": number(float(pairs.r.mean())) if len(pairs) else None,
        "filters": [asdict(count) for count in pairs.counts],
        "undefined_a": int((matches.a_to_b.index[:, 0] < 0).sum()),
        "undefined_b": int((matches.b_to_a.index[:, 0] < 0).sum()),
        "noisy_features_a": int((matches.quantization_noise_a > NOISE_LIMIT).sum()),
        "noisy_features_b": int((matches.quantization_noise_b > NOISE_LIMIT).sum()),
        "matches_sha256": _matches_sha256(matches),
        "measures": scores,
    }


def _matches_sha256(matches: BestMatches) -> str:
    digest = hashlib.sha256()
    for part in (matches.a_to_b.index, matches.a_to_b.r, matches.b_to_a.index, matches.b_to_a.r):
        digest.update(part.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _add_q_values(grid: dict[str, dict[str, Any]], names: list[str]) -> None:
    """Adds Benjamini-Hochberg q-values over the layer grid, one table per measure."""
    from scipy.stats import false_discovery_control

    for name in names:
        cells = [cell["measures"][name] for cell in grid.values() if "p" in cell["measures"][name]]
        if cells:
            for cell, q in zip(cells, false_discovery_control([c["p"] for c in cells]), strict=True):
                cell["q"] = float(q)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def summarise(grid: dict[str, dict[str, Any]], names: list[str]) -> dict[str, dict[str, Any]]:
    """Returns per measure: the best layer pair, its numbers, and how many layer pairs beat their null (q < 0.05)."""
    summary: dict[str, dict[str, Any]] = {}
    for name in names:
        scored = {key: cell["measures"][name] for key, cell in grid.items() if "score" in cell["measures"][name]}
        best = max(scored, key=lambda key: (scored[key]["score"], key), default=None)
        summary[name] = {
            "layer_pairs": len(scored),
            "significant": sum(cell["q"] < 0.05 for cell in scored.values()),
            "best_layer_pair": best,
            "best_score": scored[best]["score"] if best else None,
            "best_calibrated": scored[best]["calibrated"] if best else None,
            "largest_p": max((cell["p"] for cell in scored.values()), default=None),
            "mean_score": number(_mean([cell["score"] for cell in scored.values()])),
            "mean_null": number(_mean([cell["null_mean"] for cell in scored.values()])),
        }
    return summary


def _describe(model: ModelConfig, sides: list[_Side]) -> dict[str, Any]:
    return {
        "name": model.name,
        "path": model.path,
        "saes": {
            str(side.layer): {
                "n_features": side.acts.n_features,
                "l0": side.acts.l0,
                "dead_share": float((side.acts.active_counts() == 0).double().mean()),
                "activations_sha256": side.store_sha256,
            }
            for side in sides
        },
    }


def reproduce(run: Run) -> dict[str, Any]:
    """Runs a suite from text to results and writes `results.json` and `provenance.json` into the run folder.

    Everything already in the folder that belongs to the same suite is used again, so a run that was interrupted at any
    moment continues, and ends in the same `results.json`.

    Returns:
        The results, as written.

    Raises:
        InputError: whatever a stage refuses.
        OSError: the folder cannot be written, or the disk is full.
    """
    with only_writer(run.folder):
        return _reproduce(run)


def _reproduce(run: Run) -> dict[str, Any]:
    suite, began = run.suite, time.time()
    corpus = load_corpus(run)
    blocks = corpus.blocks
    for model in (suite.model_a, suite.model_b):
        encode_model(run, model, blocks)
    with run.timed("load stores"):
        sides_a, sides_b = (_load_sides(run, model, blocks) for model in (suite.model_a, suite.model_b))
    grid: dict[str, dict[str, Any]] = {}
    total = len(sides_a) * len(sides_b)
    for a in sides_a:
        for b in sides_b:
            run.progress("layer pairs", len(grid), total)
            grid[f"{a.layer}x{b.layer}"] = _cell(run, a, b)
    run.progress("layer pairs", total, total)
    names = [measure.name for measure in measures_of(suite)]
    _add_q_values(grid, names)
    results = {
        "suite": suite.name,
        "suite_sha256": suite.sha256,
        "null": {"name": "shuffle", **asdict(suite.null)},
        "corpus": {
            "n_tokens": blocks.n_tokens,
            "n_documents": int(blocks.document.unique().numel()) - 1,
            "context": suite.corpus.context,
            "text_sha256": corpus.text_sha256,
            "tokens_sha256": blocks.sha256,
        },
        "model_a": _describe(suite.model_a, sides_a),
        "model_b": _describe(suite.model_b, sides_b),
        "grid": grid,
        "summary": summarise(grid, names),
    }
    write_json(run.folder / "results.json", results)
    write_json(
        run.folder / "provenance.json",
        {
            **provenance(),
            "device": str(run.device),
            "started": began,
            "seconds": run.seconds,
            "suite": asdict(suite),
            "suite_sha256": suite.sha256,
        },
    )
    return results
