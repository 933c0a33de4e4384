"""Whole models, with the head that predicts the next token, that several threads run at a time."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from semconv.models.model_activations import load_model, n_numbers
from semconv.models.model_files import read_config, weights_file
from semconv.models.model_parts import can_be_cut, first_blocks, is_mapped
from semconv.models.sources import model_folder
from semconv.models.widened import NARROW, why_not_widened, widen, widening_bytes
from semconv.suite.config import ModelConfig


class SharedNetwork:
    """A model whose weights are held once, and of whose modules everybody takes a copy.

    What is changed in a model is changed by hooks on its modules, which two threads cannot do to the same ones.

    Args:
        network: in evaluation mode; it is never run itself.
        widened: whether it is held in 16 bits, and its copies compute in float32 (`semconv.models.widened`).
    """

    def __init__(self, network: nn.Module, widened: bool = False) -> None:
        self._network, self._widened = network, widened

    def copy(self) -> nn.Module:
        """Returns the same modules again, with the same weights and buffers."""
        held = (*self._network.parameters(), *self._network.buffers())
        copied = copy.deepcopy(self._network, {id(tensor): tensor for tensor in held})
        if self._widened:
            widen(copied)
        return copied


def load_whole(model: ModelConfig, device: torch.device, n_blocks: int | None = None) -> SharedNetwork:
    """Loads a model of a suite with all its blocks and its head, which computes in float32.

    In 16 bits a logit is rounded by more than a weak feature changes, so what a suite says of the precision of its
    forward passes is not asked. Weights that are stored in 16 bits are mapped from their files on the CPU and widened
    where they are used, to the same results; on a GPU, and those of other kinds, are held in float32.

    Args:
        model: which.
        device: that holds it.
        n_blocks: take so many of its blocks, where only its final norm and head are wanted; all by default, and where a
            model cannot be cut.

    Raises:
        InputError: the model cannot be found or read, or does not fit into memory.
    """
    folder = model_folder(model)
    narrow = _mapped_as(folder, n_blocks) if device.type == "cpu" and model.untrained_seed is None else None
    if narrow in NARROW:
        network = load_model(folder, device=device, dtype=narrow, bidirectional=model.bidirectional, n_blocks=n_blocks)
        if not why_not_widened(network):
            return SharedNetwork(network, widened=True)
    return SharedNetwork(
        load_model(
            folder,
            device=device,
            untrained_seed=model.untrained_seed,
            trained_embeddings=bool(model.trained_embeddings),
            bidirectional=model.bidirectional,
            n_blocks=n_blocks,
        )
    )


def _mapped_as(folder: Path, n_blocks: int | None) -> torch.dtype | None:
    """Returns the numbers in which a model's weights are stored, where they are mapped from their files; else None."""
    if weights_file(folder):
        return None
    config = read_config(folder)
    if not can_be_cut(config):  # as of the families whose modules are known
        return None
    numbers = n_numbers(folder, first_blocks(config, n_blocks))[0]
    kinds = (torch.float32, *NARROW)
    return next((kind for kind in kinds if is_mapped(folder, kind, numbers * kind.itemsize)), None)


@dataclass(frozen=True)
class Size:
    """What a whole model takes; nothing of it is loaded.

    Attributes:
        held: bytes of memory of its own. What is mapped from files needs none: where there is too little memory its
            pages are read again.
        working: bytes that whoever runs it holds beside it, at most: a block in float32, and a piece of the head.
        vocab_size: logits of its head.
    """

    held: int
    working: int
    vocab_size: int


def size_of(model: ModelConfig, device: torch.device, n_blocks: int | None = None) -> Size:
    """Returns the size of a model as `load_whole` holds it.

    Raises:
        InputError: it cannot be found, or its config cannot be read.
    """
    folder = model_folder(model)
    config = read_config(folder)
    cut = config if weights_file(folder) else first_blocks(config, n_blocks)
    vocab_size = int(config.get_text_config().vocab_size)
    kind = _mapped_as(folder, n_blocks) if device.type == "cpu" and model.untrained_seed is None else None
    if kind is None:
        return Size(4 * sum(n_numbers(folder, cut)), 0, vocab_size)
    two, one = (n_numbers(folder, first_blocks(config, n))[0] for n in (2, 1))
    return Size(0, widening_bytes(max(two - one, 0)) if kind in NARROW else 0, vocab_size)
