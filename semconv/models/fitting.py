"""Measures, once for a text, how well the SAEs of a model fit it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from semconv.core.activation_store import StoreIdentity
from semconv.models.encoding import keep_decoders, open_model, open_saes
from semconv.models.memory_plan import sae_passes
from semconv.models.sae_fit import FIT_TOKENS, LOSS_TOKENS, Reader, explained_variances, losses
from semconv.models.sae_metadata import SaeMetadata, centres, metadata_of
from semconv.models.sources import model_folder
from semconv.runs.run import Run
from semconv.runs.task_cache import Result, TaskCache
from semconv.suite.config import ModelConfig, SaeConfig
from semconv.suite.hooks import hook_layer, parse_hook
from semconv.system.digests import sha256_of
from semconv.system.errors import InputError
from semconv.system.shown_paths import shown_path
from semconv.text.token_blocks import TokenBlocks

if TYPE_CHECKING:
    from sae_lens import SAE

Fits = dict[str, dict[str, Any]]
"""Label of an SAE -> how well it fits, as `fits_of` returns it."""
NO_HEAD = "the model does not tell the next token"


def fits_of(
    run: Run,
    cache: TaskCache,
    task: str,
    model: ModelConfig,
    blocks: TokenBlocks,
    *,
    kept: Tensor,
    identities: dict[str, StoreIdentity],
    with_loss: bool = True,
) -> dict[str, dict[str, Any]]:
    """Returns how well every SAE of a model fits a text, measured now or kept from an earlier run.

    Args:
        run: with its settings and device.
        cache: finished tasks.
        task: name of this one.
        model: whose SAEs.
        blocks: the text as it was encoded.
        kept: bool [n_seq, context], its counted positions that are no attention sinks.
        identities: label -> what the SAE's store holds.
        with_loss: whether to run the whole model too.

    Returns:
        Label -> the table of `explained_variances`, with that of `losses` under `loss`; or a `reason` in their place.
    """
    inputs = [
        {label: asdict(identity) for label, identity in identities.items()},
        sha256_of(kept),
        [FIT_TOKENS, LOSS_TOKENS, run.suite.encode.batch, with_loss],
    ]
    return cache.get(task, inputs, partial(_measured, run, model, blocks, kept, with_loss))[0]


def _measured(run: Run, model: ModelConfig, blocks: TokenBlocks, kept: Tensor, with_loss: bool) -> Result:
    from semconv.models.model_activations import has_head

    stage = f"fit {model.name}"
    with run.timed(stage):
        kept_saes = keep_decoders(run, model)
        elsewhere = any(decoder.metadata.transcoder for decoder in kept_saes.values())  # in what block is known later
        last = max(hook_layer(sae.hook) for sae in model.saes)
        n_blocks = None if with_loss or elsewhere else last + 1
        network, model_tf32 = open_model(run, model, model_folder(model), n_blocks)
        run.progress(stage, 0, len(model.saes))
        tf32, batch = run.suite.encode.precision == "tf32", run.suite.encode.batch
        has_head = not model.bidirectional and has_head(network)
        fits: dict[str, dict[str, Any]] = {}
        by_label = list(model.by_label.items())
        for part in sae_passes(list(kept_saes.values()), blocks, min(batch, len(blocks.ids)), run.device):
            configs = dict(by_label[part.start : part.stop])
            readers: dict[str, Reader] = {}
            for label, sae in open_saes(run, configs).items():
                try:
                    readers[label] = reader_of(sae, configs[label], network)
                except InputError as error:
                    fits[label] = {"reason": str(error)}
            of_variance = explained_variances(network, readers, blocks, kept, batch, tf32=tf32, model_tf32=model_tf32)
            fits |= of_variance
            if with_loss and has_head:
                for label, loss in losses(network, readers, blocks, kept, tf32=tf32, model_tf32=model_tf32).items():
                    fits[label]["loss"] = loss
            elif with_loss:
                for label in readers:
                    fits[label]["loss"] = {"reason": NO_HEAD}
            run.progress(stage, len(fits), len(model.saes))
    return fits, {}


def reader_of(sae: SAE[Any], config: SaeConfig, network: nn.Module) -> Reader:
    """Returns an SAE with the streams that it reads and stands for.

    Raises:
        InputError: a transcoder whose own metadata does not say which stream it predicts, or one that is not read here.
    """
    from semconv.models.model_activations import stream_width
    from semconv.models.sae_encode import has_layer_norm, part_of_stream

    metadata, layer_norm = metadata_of(sae.cfg.to_dict()), has_layer_norm(network)

    def take(stream: Tensor) -> Tensor:
        return part_of_stream(sae, stream, config.hook, layer_norm)

    if not metadata.transcoder:
        return Reader(sae, config.hook, config.hook, take, take, (metadata.head or 0) * metadata.d_in, sae.cfg.d_sae)
    try:
        out = str(parse_hook(metadata.hook_out))
        width = stream_width(network, out)
    except InputError:
        predicted = metadata.hook_out or "a stream that its metadata does not name"
        raise InputError(f"it predicts {predicted}, which is not read here") from None
    if width != sae.W_dec.shape[1]:
        raise InputError(f"it predicts vectors of {sae.W_dec.shape[1]}, and {out} gives {width}")
    aim = _aim_of_transcoder(metadata, config, out, layer_norm)
    return Reader(sae, config.hook, out, take, aim, d_sae=sae.cfg.d_sae)


def _aim_of_transcoder(
    metadata: SaeMetadata, config: SaeConfig, hook_out: str, layer_norm: bool
) -> Callable[[Tensor], Tensor]:
    """Returns the function from the stream that a transcoder predicts to what it was trained to predict."""
    centred = layer_norm and centres(metadata, shown_path(config.source), hook_out)
    return lambda stream: stream - stream.mean(dim=-1, keepdim=True) if centred else stream
