"""The residual streams of a model at a sample of a text: read by one forward pass, and kept as files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from semconv.core.device import float32_products
from semconv.models.encoding import open_model
from semconv.models.sources import model_folder
from semconv.models.vocabulary import VOCABULARY, vocabulary_moments
from semconv.runs.run import Run
from semconv.statistics.sampled_text import ReadRows
from semconv.suite.config import ModelConfig
from semconv.suite.hooks import hook_layer
from semconv.system.errors import InputError
from semconv.system.files import read_header, read_sealed, temporary_folder, write_tensors
from semconv.text.token_blocks import TokenBlocks

FOLDER = "streams"
"""Of a run, that holds them."""
_NAME = "stream"


@dataclass(frozen=True)
class KeptFile:
    """A file of tensors of a model that is made by loading it.

    Attributes:
        path: where it is kept.
        identity: SHA-256 of everything that it depends on.
    """

    path: Path
    identity: str

    @property
    def is_there(self) -> bool:
        """Whether it is kept.

        Raises:
            InputError: the file is of another model, text or sample.
        """
        if not self.path.exists():
            return False
        try:
            found = read_header(self.path)[1].get("identity")
        except InputError:
            return False  # it is damaged, and made again
        if found != self.identity:
            raise InputError(
                f"{self.path} holds the stream of another model, text or sample; remove it, or choose another --out"
            )
        return True

    def write(self, tensors: dict[str, Tensor], **facts: str) -> None:
        """Writes tensors and texts beside them; raises OSError if the folder cannot be written or the disk is full."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_tensors(self.path, tensors, {"identity": self.identity, **facts}, sealed=True)


class StreamFile(KeptFile):
    """A stream at the positions of a sample; its identity is of model, hook, text, sample and precision."""

    @classmethod
    def of(cls, run: Run, model: ModelConfig, hook: str, identity: str) -> StreamFile:
        """Returns the file of a stream in a run folder."""
        return cls(run.folder / FOLDER / model.name / f"{hook}.safetensors", identity)

    @property
    def shape(self) -> tuple[int, int]:
        """Positions and width, without reading it."""
        n, width = read_header(self.path)[0][_NAME]
        return n, width

    def read(self) -> Float[Tensor, "n width"]:
        """Returns the stream, float32, on the CPU.

        Raises:
            InputError: the file is missing or damaged.
        """
        return read_sealed(self.path)[0][_NAME]


class VocabularyFile(KeptFile):
    """What a model's vocabulary makes alike (`semconv.models.vocabulary`); its identity is of the model."""

    @classmethod
    def of(cls, run: Run, model: ModelConfig, identity: str) -> VocabularyFile:
        """Returns the file of a model's vocabulary in a run folder."""
        return cls(run.folder / FOLDER / model.name / "vocabulary.safetensors", identity)

    def read(self) -> dict[str, Float[Tensor, "d d"] | str]:
        """Returns `logit_lens` and `embedding` -> second moment, float64, or why there is none.

        Raises:
            InputError: the file is missing or damaged.
        """
        tensors, facts = read_sealed(self.path)
        return {name: tensors[name] if name in tensors else facts[name] for name in VOCABULARY}


def write_streams(
    run: Run,
    model: ModelConfig,
    blocks: TokenBlocks,
    sample: ReadRows,
    files: dict[str, StreamFile],
    vocabulary: VocabularyFile | None = None,
) -> None:
    """Reads the rows of a sample with a model and keeps its streams, float32 [n, width].

    While the model reads, the streams are in files that are mapped into memory; one at a time is held to be written.

    Args:
        run: with its settings and device.
        model: whose streams.
        blocks: the text as it was encoded.
        sample: the rows, and the positions in them.
        files: hook -> where its stream is kept.
        vocabulary: where what its vocabulary makes alike is kept; None where it is kept already, or not asked for.

    Raises:
        InputError: the model cannot be read, lacks a hook, or gives a stream that is not finite.
        OSError: the folder cannot be written, or the disk is full.
    """
    stage = f"streams {model.name}"
    folder = run.folder / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with run.timed(stage), temporary_folder(folder) as made:
        n_blocks = max((hook_layer(hook) for hook in files), default=0) + 1
        network, tf32 = open_model(run, model, model_folder(model), n_blocks)
        if vocabulary is not None:
            found = vocabulary_moments(network)
            reasons = {name: one for name, one in found.items() if isinstance(one, str)}
            vocabulary.write({name: one for name, one in found.items() if isinstance(one, Tensor)}, **reasons)
        if not files:
            return
        text = sample.of(blocks)
        run.progress(stage, 0, len(text.ids))
        maps = dict[str, np.memmap]()
        for begin in range(0, len(text.ids), run.suite.encode.batch):
            part = slice(begin, begin + run.suite.encode.batch)
            for hook, (first, stream) in _sampled(network, text, part, sample, list(files), tf32).items():
                if hook not in maps:
                    shape = len(sample.at), stream.shape[1]
                    maps[hook] = np.memmap(made / hook, dtype=np.float32, mode="w+", shape=shape)
                if not bool(stream.isfinite().all()):
                    raise InputError(f"model {model.name} gives a stream at {hook} that is not finite")
                maps[hook][first : first + len(stream)] = stream.numpy()
            run.progress(stage, min(part.stop, len(text.ids)), len(text.ids))
        del network
        for hook, file in files.items():
            file.write({_NAME: torch.from_numpy(maps[hook])})


def _sampled(
    network: torch.nn.Module, text: TokenBlocks, part: slice, sample: ReadRows, hooks: Sequence[str], tf32: bool
) -> dict[str, tuple[int, Float[Tensor, "m width"]]]:
    """Returns the streams at the positions of some rows of a sample, and which of its positions is the first."""
    from semconv.models.model_activations import row_streams

    context = text.ids.shape[1]
    first, end = np.searchsorted(sample.at, [part.start * context, part.stop * context]).tolist()
    at = torch.from_numpy(sample.at[first:end] - part.start * context)
    with float32_products(tf32):
        found = row_streams(network, text, part, hooks)
    return {
        hook: (first, stream.reshape(-1, stream.shape[-1])[at.to(stream.device)].float().cpu())
        for hook, stream in found.items()
    }
