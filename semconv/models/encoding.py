"""Encodes the text of a suite with a model: every SAE that reads it, in one pass, into activation stores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from semconv.core.activation_store import StoreIdentity, StoreWriter
from semconv.core.device import DTYPES, available_memory, resolve_precision
from semconv.core.sparse import SparseActivations
from semconv.models.decoders import KeptDecoder, keep_decoder, open_sae, sae_metadata, sae_precision
from semconv.models.memory_plan import rows_on, sae_passes
from semconv.models.roles import ModelOnText
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


def encode_models(run: Run, models: Sequence[ModelOnText], ranks: Ranks = Ranks()) -> None:  # noqa: B008 - frozen
    """Makes every store that is not complete yet of models that share one forward pass, and notes where stores lie.

    One forward pass over the corpus feeds all SAEs, or as many as the memory of the device holds at once. Several
    processes share the missing shards; a batch that two of them need is computed by both.

    Args:
        run: folder of the stores, with its settings and device.
        models: one group of `semconv.models.roles.same_pass`.
        ranks: the processes that share the work.

    Raises:
        InputError: a model or SAE that cannot be found or read, that does not fit into memory or to each other, or a
            hook that the model does not have.
    """
    first = models[0].model
    if not ranks.first:
        ranks.wait()  # the first process downloads, keeps the decoders and takes the locks
    folder = model_folder(first, run.progress)
    kept = [keep_decoders(run, one.model) for one in models]
    wanted = _wanted(run, folder, list(zip(models, kept, strict=True)))
    shared = {one.place for one in wanted.values()} if ranks.first and run.stores is not None else ()
    with lock_stores(run, shared):
        if ranks.first:
            ranks.wait()
        stores = [(one, StoreWriter(one.place, identity, ranks, norms=True)) for identity, one in wanted.items()]
        incomplete = [writer for _, writer in stores if not writer.complete]
        ranks.wait()  # no process writes before all have seen what is missing
        todo = [_Job(one, writer) for one, writer in stores if not writer.done]
        stage = f"encode {first.name}"
        if todo:
            with run.timed(stage):
                last = max(hook_layer(job.of.sae.hook) for job in todo)
                network, model_tf32 = open_model(run, first, folder, last + 1)
                _Encoding(run, network, model_tf32).all(stage, todo)
        else:
            run.progress(stage, 1, 1)
        ranks.wait()
        if ranks.first and ranks.size > 1:
            for writer in incomplete:
                writer.finish()


@dataclass(frozen=True, eq=False)
class _Wanted:
    """An SAE that reads a text.

    Attributes:
        one: the model, and which positions count.
        sae: as in the suite.
        kept: what is known of it.
        place: folder of the store.
    """

    one: ModelOnText
    sae: SaeConfig
    kept: KeptDecoder
    place: Path


@dataclass(frozen=True, eq=False)
class _Job:
    """An SAE that reads a text, and the store that is written."""

    of: _Wanted
    writer: StoreWriter


def _wanted(
    run: Run, folder: Path, models: list[tuple[ModelOnText, dict[str, KeptDecoder]]]
) -> dict[StoreIdentity, _Wanted]:
    """Returns the stores that are to be there, two SAEs of one content once; notes in the run where each lies.

    Args:
        run: whose.
        folder: of the one model.
        models: each with what is kept of its SAEs, by label.
    """
    name, found = models[0][0].model.name, dict[StoreIdentity, _Wanted]()
    with run.timed("hash"):
        model_sha256 = folder_sha256(folder, lambda done, total: run.progress(f"hash {name}", done, total))
    for one, kept in models:
        for label, sae in one.model.by_label.items():
            identity = _identity(run, one, sae, kept[label], model_sha256)
            if identity not in found:
                found[identity] = _Wanted(one, sae, kept[label], find_store(run, one.model, sae, identity))
            run.found[run.usual_store_path(one.model, sae)] = found[identity].place
    return found


def _identity(run: Run, one: ModelOnText, sae: SaeConfig, kept: KeptDecoder, model_sha256: str) -> StoreIdentity:
    """Returns what the store of an SAE is to hold."""
    encode, blocks = run.suite.encode, one.blocks
    return StoreIdentity(
        model=run.suite.shown(one.model).label,
        model_sha256=model_sha256,
        sae=run.suite.shown(sae).source,
        sae_sha256=kept.sae_sha256,
        hook=sae.hook,
        tokens_sha256=blocks.sha256,
        n_tokens=blocks.n_tokens,
        n_features=kept.shape[0],
        dtype=encode.dtype,
        mask_rule=blocks.rule,
        precision=sae_precision(sae, kept.metadata, encode.precision, run.device),
        shard_tokens=encode.shard_tokens,
        model_precision=resolve_precision(encode.model_precision, "", run.device),
        untrained_seed=one.model.untrained_seed,
        trained_embeddings=bool(one.model.trained_embeddings),
    )


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
        trained_embeddings=bool(model.trained_embeddings),
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
    """A model that reads a text.

    Attributes:
        run: with its settings and device.
        network: the model itself.
        tf32: whether its float32 products are taken in TF32, on CUDA.
    """

    run: Run
    network: PreTrainedModel
    tf32: bool

    def all(self, stage: str, todo: Sequence[_Job]) -> None:
        """Encodes with all SAEs that are to do, in as few passes over the text as fit into memory."""
        _check_fit(self.network, [job.of for job in todo])
        blocks = todo[0].of.one.blocks
        batch = min(self.run.suite.encode.batch, len(blocks.ids))
        passes = sae_passes([job.of.kept for job in todo], blocks, batch, self.run.device)
        rows = rows_on(self.network, batch, blocks.ids.shape[1])
        stage += f", {rows} of {batch} rows at once" if rows < batch else ""
        for number, part in enumerate(passes):
            name = stage if len(passes) == 1 else f"{stage}, pass {number + 1} of {len(passes)}"
            self._together(name, {str(i): todo[i] for i in part})

    def _together(self, stage: str, part: dict[str, _Job]) -> None:
        """Encodes with some SAEs at once the batches that one of their stores lacks."""
        from semconv.models.sae_encode import encode

        encoding, blocks = self.run.suite.encode, next(iter(part.values())).of.one.blocks
        masks = {key: job.of.one.blocks.mask for key, job in part.items()}
        ends = {id(mask): _batch_ends(mask, encoding.batch) for mask in masks.values()}
        starts = range(0, len(blocks.ids), encoding.batch)
        wanted = [
            number
            for number in range(len(starts))
            if any(job.writer.wants(*ends[id(masks[key])][number : number + 2]) for key, job in part.items())
        ]
        self.run.progress(stage, 0, blocks.ids.numel())
        encoded = encode(
            self.network,
            open_saes(self.run, {key: job.of.sae for key, job in part.items()}),
            blocks,
            encoding.batch,
            dtype=getattr(torch, encoding.dtype),
            batches=wanted,
            tf32=encoding.precision == "tf32",
            model_tf32=self.tf32,
            hooks={key: job.of.sae.hook for key, job in part.items()},
            masks=masks,
        )
        for number, chunks in zip(wanted, encoded, strict=True):
            for key, chunk in chunks.items():
                job, end = part[key], chunk.position + chunk.acts.n_tokens
                _check_sparse(job.of, chunk.acts)
                if job.writer.wants(chunk.position, end):
                    job.writer.append(chunk.acts, chunk.position, chunk.norms)
            self.run.progress(stage, blocks.ids[: (number + 1) * encoding.batch].numel(), blocks.ids.numel())


def _batch_ends(mask: torch.Tensor, batch: int) -> list[int]:
    """Returns how many positions count before each batch of rows, and in all.

    Batches never shift, so that a run that was resumed or shared has the same bits.
    """
    before = torch.nn.functional.pad(mask.sum(dim=1).cumsum(0), (1, 0))
    return before[torch.arange(0, len(mask) + batch, batch).clamp(max=len(mask))].tolist()


def _check_fit(network: PreTrainedModel, wanted: Sequence[_Wanted]) -> None:
    """Raises InputError for hooks that the model does not have, SAEs of another width and unknown tokens."""
    from semconv.models.model_activations import stream_width, text_config

    for one in wanted:
        try:
            check_width(one.kept.metadata, one.sae.source, one.sae.hook, stream_width(network, one.sae.hook))
        except InputError as error:
            raise InputError(f"model {one.one.model.name}: {error}") from None
        _check_known(one.one.model, int(text_config(network).vocab_size), one.one.blocks)


def _check_known(model: ModelConfig, known: int, blocks: TokenBlocks) -> None:
    highest = int(blocks.ids.max())
    if highest >= known:
        raise InputError(
            f"model {model.name} knows {known} tokens, the tokenizer gives id {highest}; name the one that belongs to "
            "it with --tokenizer, or with --tokenizer-b beside --align"
        )


def _check_sparse(wanted: _Wanted, acts: SparseActivations) -> None:
    """Raises InputError for an SAE with so many active features that its activations would not fit into memory."""
    n_tokens, room = wanted.one.blocks.n_tokens, available_memory()
    entries = acts.nnz / max(acts.n_tokens, 1) * n_tokens
    if entries * _BYTES_PER_ENTRY > room:
        raise InputError(
            f"SAE {wanted.sae.source} of model {wanted.one.model.name} has {acts.nnz / acts.n_tokens:.0f} of "
            f"{acts.n_features} features active at a position; those of {n_tokens} positions take "
            f"{entries * _BYTES_PER_ENTRY / 2**30:.1f} GiB, and {room / 2**30:.1f} GiB of memory are free; compare "
            "fewer tokens, or an SAE that is sparse"
        )
