"""Encodes the text of a suite with one of its models: every wanted layer in one pass, into activation stores."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from semconv.core.activation_store import StoreIdentity, StoreWriter
from semconv.core.device import DTYPES, available_memory, resolve_precision
from semconv.core.sparse import SparseActivations
from semconv.models.decoders import KeptDecoder, keep_decoder, open_sae, sae_metadata, sae_precision
from semconv.models.memory_plan import rows_on, sae_passes
from semconv.models.sae_metadata import check_width
from semconv.models.sources import model_folder
from semconv.models.store_folders import find_store, lock_stores
from semconv.runs.run import Progress, Run
from semconv.suite.config import ModelConfig, SaeConfig
from semconv.suite.hooks import hook_layer, hook_name
from semconv.system.errors import InputError, nearest
from semconv.system.file_hashes import folder_sha256
from semconv.system.processes import Ranks
from semconv.text.token_blocks import TokenBlocks

if TYPE_CHECKING:
    from sae_lens import SAE
    from transformers import PreTrainedModel

_BYTES_PER_ENTRY = 8  # int32 index, float16 value, and something for what is made of them


def encode_model(run: Run, model: ModelConfig, blocks: TokenBlocks, ranks: Ranks = Ranks()) -> None:  # noqa: B008 - frozen
    """Makes every store of one model that is not complete yet, and notes in the run where they lie.

    One forward pass over the corpus feeds all SAEs, or as many as the memory of the device holds at once. Several
    processes share the missing shards; a batch that two of them need is computed by both.

    Raises:
        InputError: a model or SAE that cannot be found or read, that does not fit into memory or to each other, or a
            hook that the model does not have.
    """
    if not ranks.first:
        ranks.wait()  # the first process downloads, keeps the decoders and takes the locks
    folder, kept = model_folder(model, run.progress), keep_decoders(run, model)
    identities = _identities(run, model, folder, kept, blocks)
    places = {one: find_store(run, model, model.by_label[label], one) for label, one in identities.items()}
    run.found |= {run.usual_store_path(model, sae): places[identities[label]] for label, sae in model.by_label.items()}
    shared = places.values() if ranks.first and run.stores is not None else ()
    with lock_stores(run, shared):
        if ranks.first:
            ranks.wait()
        wanted = {one: label for label, one in identities.items()}  # two SAEs of one content are one
        writers = {label: StoreWriter(places[one], one, ranks, norms=True) for one, label in wanted.items()}
        incomplete = [label for label, writer in writers.items() if not writer.complete]
        ranks.wait()  # no process writes before all have seen what is missing
        todo = {label: model.by_label[label] for label, writer in writers.items() if not writer.done}
        stage = f"encode {model.name}"
        if todo:
            with run.timed(stage):
                last = max(hook_layer(sae.hook) for sae in todo.values())
                network, model_tf32 = open_model(run, model, folder, last + 1)
                _Encoding(run, model, network, model_tf32, blocks, writers).all(stage, todo, kept)
        else:
            run.progress(stage, 1, 1)
        ranks.wait()
        if ranks.first and ranks.size > 1:
            for label in incomplete:
                writers[label].finish()


def _identities(
    run: Run, model: ModelConfig, folder: Path, kept: dict[str, KeptDecoder], blocks: TokenBlocks
) -> dict[str, StoreIdentity]:
    """Returns what the store of every SAE of a model is to hold."""
    encode = run.suite.encode
    with run.timed("hash"):
        model_sha256 = folder_sha256(folder, lambda done, total: run.progress(f"hash {model.name}", done, total))
    tokens_sha256 = blocks.sha256
    model_precision = resolve_precision(encode.model_precision, "", run.device)
    return {
        label: StoreIdentity(
            model=run.suite.shown(model).label,
            model_sha256=model_sha256,
            sae=run.suite.shown(sae).source,
            sae_sha256=kept[label].sae_sha256,
            hook=sae.hook,
            tokens_sha256=tokens_sha256,
            n_tokens=blocks.n_tokens,
            n_features=kept[label].shape[0],
            dtype=encode.dtype,
            mask_rule=blocks.rule,
            precision=sae_precision(sae, kept[label].metadata, encode.precision, run.device),
            shard_tokens=encode.shard_tokens,
            model_precision=model_precision,
            untrained_seed=model.untrained_seed,
        )
        for label, sae in model.by_label.items()
    }


def keep_decoders(run: Run, model: ModelConfig) -> dict[str, KeptDecoder]:
    """Returns what the run folder keeps of every SAE of a model, by label; SAEs are downloaded and opened if need be.

    Raises:
        InputError: as `keep_decoder`.
    """
    kept: dict[str, KeptDecoder] = {}
    for label, sae in model.by_label.items():
        run.progress(f"SAEs of {model.name}", len(kept), len(model.saes))
        kept[label] = keep_decoder(run.decoder_path(model, sae), sae)
    run.progress(f"SAEs of {model.name}", len(model.saes), len(model.saes))
    return kept


def open_model(run: Run, model: ModelConfig, folder: Path, n_blocks: int | None = None) -> tuple[PreTrainedModel, bool]:
    """Loads a model of a run, or its first blocks; also returns whether its products are taken in TF32.

    Raises:
        InputError: the model cannot be found or read, is of a kind that is not supported, lacks weights, or can have no
            untrained twin.
    """
    from semconv.models.model_activations import load_model

    precision = resolve_precision(run.suite.encode.model_precision, "", run.device)
    run.progress(f"load {model.name}", 0, 1)
    network = load_model(
        folder,
        device=run.device,
        dtype=DTYPES[precision],
        untrained_seed=model.untrained_seed,
        bidirectional=model.bidirectional,
        n_blocks=n_blocks,
    )
    run.progress(f"load {model.name}", 1, 1)
    return network, precision == "tf32"


def open_saes(run: Run, saes: dict[str, SaeConfig]) -> dict[str, SAE[Any]]:
    """Loads SAEs of a run, in the precision it computes in, by their labels.

    Raises:
        InputError: an SAE cannot be found or read, or a release is not at the pinned commit.
    """
    asked = run.suite.encode.precision
    dtypes = {label: DTYPES[sae_precision(sae, sae_metadata(sae), asked, run.device)] for label, sae in saes.items()}
    return {label: open_sae(sae, dtypes[label], run.device) for label, sae in saes.items()}


def check_model(model: ModelConfig, blocks: TokenBlocks, progress: Progress | None = None) -> None:
    """Raises InputError for whatever can be seen to be wrong in the config of a model, before anything is run.

    Args:
        model: the model and its SAEs.
        blocks: the tokens that it is to read.
        progress: shown the bytes of a download.

    Raises:
        InputError: an encoder with a decoder, a model that reads in both directions without `bidirectional`, rows
            longer than its positions, a hook in a block that is not there, or a token beyond the vocabulary.
    """
    from semconv.models.model_files import check_kind, check_length, read_config

    what, config = f"model {model.name}", read_config(model_folder(model, progress))
    check_kind(config, what, model.bidirectional)
    check_length(config, what, blocks.ids.shape[1])
    n_layers = int(config.get_text_config().num_hidden_layers)
    for sae in model.saes:
        if hook_layer(sae.hook) >= n_layers:
            hint = nearest(sae.hook, [hook_name(i) for i in range(n_layers)])
            raise InputError(f"{what} has no hook {sae.hook!r}{hint}; it has {n_layers} blocks")
    _check_known(model, int(config.get_text_config().vocab_size), blocks)


def is_bidirectional(model: ModelConfig) -> bool:
    """Whether a model reads in both directions, as BERT does.

    Raises:
        InputError: the model cannot be found or read.
    """
    from semconv.models.model_files import read_config, reads_both_ways

    return reads_both_ways(read_config(model_folder(model)))


@dataclass(frozen=True)
class _Encoding:
    """A model and a text, and the stores that it writes.

    Attributes:
        run: with its settings and device.
        model: as in the suite.
        network: the model itself.
        tf32: whether its float32 products are taken in TF32, on CUDA.
        blocks: the text.
        writers: label of an SAE -> its store.
    """

    run: Run
    model: ModelConfig
    network: PreTrainedModel
    tf32: bool
    blocks: TokenBlocks
    writers: dict[str, StoreWriter]

    def all(self, stage: str, todo: dict[str, SaeConfig], kept: dict[str, KeptDecoder]) -> None:
        """Encodes with all SAEs that are to do, in as few passes over the text as fit into memory."""
        _check_fit(self.model, self.network, todo, kept, self.blocks)
        batch = min(self.run.suite.encode.batch, len(self.blocks.ids))
        passes = sae_passes({label: kept[label] for label in todo}, self.blocks, batch, self.run.device)
        rows = rows_on(self.network, batch, self.blocks.ids.shape[1])
        stage += f", {rows} of {batch} rows at once" if rows < batch else ""
        for number, labels in enumerate(passes):
            name = stage if len(passes) == 1 else f"{stage}, pass {number + 1} of {len(passes)}"
            self._together(name, {label: todo[label] for label in labels})

    def _together(self, stage: str, part: dict[str, SaeConfig]) -> None:
        """Encodes with some SAEs at once the batches that one of their stores lacks."""
        from semconv.models.sae_encode import encode

        blocks, writers, encoding = self.blocks, self.writers, self.run.suite.encode
        self.run.progress(stage, 0, blocks.n_tokens)
        saes = open_saes(self.run, part)
        # Batches never shift, so that a run that was resumed or shared has the same bits.
        ends = torch.nn.functional.pad(blocks.mask.sum(dim=1).cumsum(0), (1, 0))[
            torch.arange(0, len(blocks.ids) + encoding.batch, encoding.batch).clamp(max=len(blocks.ids))
        ].tolist()
        encoded = encode(
            self.network,
            saes,
            blocks,
            encoding.batch,
            dtype=getattr(torch, encoding.dtype),
            batches=[i for i, span in enumerate(pairwise(ends)) if any(writers[label].wants(*span) for label in saes)],
            tf32=encoding.precision == "tf32",
            model_tf32=self.tf32,
            hooks={label: sae.hook for label, sae in part.items()},
        )
        for position, chunks in encoded:
            for label, chunk in chunks.items():
                _check_sparse(self.model, part[label], chunk.acts, blocks.n_tokens)
                if writers[label].wants(position, position + chunk.acts.n_tokens):
                    writers[label].append(chunk.acts, position, chunk.norms)
            self.run.progress(stage, position + next(iter(chunks.values())).acts.n_tokens, blocks.n_tokens)


def _check_fit(
    model: ModelConfig,
    network: PreTrainedModel,
    todo: dict[str, SaeConfig],
    kept: dict[str, KeptDecoder],
    blocks: TokenBlocks,
) -> None:
    """Raises InputError for hooks that the model does not have, SAEs of another width and unknown tokens."""
    from semconv.models.model_activations import stream_width, text_config

    for label, sae in todo.items():
        try:
            check_width(kept[label].metadata, sae.source, sae.hook, stream_width(network, sae.hook))
        except InputError as error:
            raise InputError(f"model {model.name}: {error}") from None
    _check_known(model, int(text_config(network).vocab_size), blocks)


def _check_known(model: ModelConfig, known: int, blocks: TokenBlocks) -> None:
    highest = int(blocks.ids.max())
    if highest >= known:
        raise InputError(
            f"model {model.name} knows {known} tokens, the tokenizer gives id {highest}; name the one that belongs to "
            "it with --tokenizer, or with --tokenizer-b beside --align"
        )


def _check_sparse(model: ModelConfig, sae: SaeConfig, acts: SparseActivations, n_tokens: int) -> None:
    """Raises InputError for an SAE with so many active features that its activations would not fit into memory."""
    entries, room = acts.nnz / max(acts.n_tokens, 1) * n_tokens, available_memory()
    if entries * _BYTES_PER_ENTRY > room:
        raise InputError(
            f"SAE {sae.source} of model {model.name} has {acts.nnz / acts.n_tokens:.0f} of {acts.n_features} features "
            f"active at a position; those of {n_tokens} positions take {entries * _BYTES_PER_ENTRY / 2**30:.1f} GiB, "
            f"and {room / 2**30:.1f} GiB of memory are free; compare fewer tokens, or an SAE that is sparse"
        )
