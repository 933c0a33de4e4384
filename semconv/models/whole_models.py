"""Whole models, with the head that predicts the next token, that several threads run at a time."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from semconv.models.model_activations import load_model, n_numbers
from semconv.models.model_files import read_config, weights_file
from semconv.models.model_parts import first_blocks
from semconv.models.sources import model_folder
from semconv.suite.config import ModelConfig

if TYPE_CHECKING:
    import torch


class SharedNetwork:
    """A model whose weights are held once, and of whose modules everybody takes a copy.

    What is changed in a model is changed by hooks on its modules, which two threads cannot do to the same ones.

    Args:
        network: in evaluation mode; it is never run itself.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network

    def copy(self) -> nn.Module:
        """Returns the same modules again, with the same weights and buffers."""
        held = (*self._network.parameters(), *self._network.buffers())
        return copy.deepcopy(self._network, {id(tensor): tensor for tensor in held})


def load_whole(model: ModelConfig, device: torch.device, n_blocks: int | None = None) -> SharedNetwork:
    """Loads a model of a suite with all its blocks and its head, in float32.

    In 16 bits a logit is rounded by more than a weak feature changes, so what a suite says of the precision of its
    forward passes is not asked.

    Args:
        model: which.
        device: that holds it.
        n_blocks: take so many of its blocks, where only its final norm and head are wanted; all by default, and where a
            model cannot be cut.

    Raises:
        InputError: the model cannot be found or read, or does not fit into memory.
    """
    return SharedNetwork(
        load_model(
            model_folder(model),
            device=device,
            untrained_seed=model.untrained_seed,
            trained_embeddings=bool(model.trained_embeddings),
            bidirectional=model.bidirectional,
            n_blocks=n_blocks,
        )
    )


def size_of(folder: Path, n_blocks: int | None = None) -> tuple[int, int]:
    """Returns the bytes of a model in float32, and the logits of its head; nothing of it is loaded.

    Raises:
        InputError: its config cannot be read.
    """
    config = read_config(folder)
    config = config if weights_file(folder) else first_blocks(config, n_blocks)
    return 4 * sum(n_numbers(folder, config)), int(config.get_text_config().vocab_size)
