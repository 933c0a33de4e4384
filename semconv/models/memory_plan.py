"""How much of a model's streams and of an SAE's activations is held at once, so that both fit whatever their size.

While a batch of batch x context positions is encoded, the memory of the device holds: the model; the SAEs of a pass,
each with the stream that it reads; the working set of the model's forward pass over as many rows as
`rows_per_forward` says; and, of one SAE at a time, the positions that count of its stream in float32 and the dense
activations of one piece of them (`pieces`), once for a JumpReLU SAE and `_DENSE_COPIES` times for any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from semconv.core.device import free_memory, total_memory
from semconv.models.decoders import KeptDecoder
from semconv.system.errors import InputError
from semconv.text.token_blocks import TokenBlocks

DENSE_BYTES = 2**28
"""Of dense float32 activations that one piece of a batch may have: 4,096 positions of 16,384 features."""
SHARE = 0.7
"""Of the free memory that SAEs and what they read and give may take; the rest is for what torch makes besides."""
_FORWARD_SHARE = 0.25  # of all memory, for the working set of a forward pass
_DENSE_COPIES = 4  # pre-activations, two gates or the ranks of a top-k, and what comes of them
_STREAM_COPIES = 3  # in float32: the positions that count, their squares or what is taken of them, the SAE's input
_BLOCK_COPIES = 8  # of the stream inside a block: input, norms, queries, keys, values, what is added
_MLP_COPIES = 3  # gate, up, their product
_SCORE_COPIES = 2  # scores of the attention in the model's own numbers, twice, beside two in float32 for the softmax


def pieces(n: int, n_features: int) -> list[int]:
    """Returns the sizes of the pieces in which n positions are encoded, by turns, each of at most `DENSE_BYTES`.

    They are as even as can be. So no piece is of a single position unless all are, or one takes half of the bytes: a
    product with a vector is added up in another order than one with a matrix, and gives other bits. Sizes follow from n
    and the features alone, never from a machine's memory.

    Args:
        n: positions, at least 0.
        n_features: of the SAE.
    """
    most = max(1, DENSE_BYTES // (4 * n_features))
    count = max(1, -(-n // most))
    return [n // count + (i < n % count) for i in range(count)]


def rows_per_forward(config: Any, batch: int, context: int, itemsize: int, total: int) -> int:
    """Returns how many of the rows of a batch a model reads at once: all, or the half, a quarter, ... that fits.

    It follows from all memory of the device and not from what is free, so that a run that is continued on the same
    machine takes the same rows, and has the same bits even where they depend on the number of rows in a product.

    Args:
        config: text config of the model.
        batch: rows of a batch.
        context: tokens of a row.
        itemsize: bytes of one of the model's numbers.
        total: bytes of memory that the device has.
    """
    rows = batch
    while rows > 1 and rows * _forward_bytes(config, context, itemsize) > _FORWARD_SHARE * total:
        rows = -(-rows // 2)
    return rows


def _forward_bytes(config: Any, context: int, itemsize: int) -> int:
    """Returns about how many bytes one row of text takes inside a block, with eager attention."""
    width, heads = int(config.hidden_size), int(getattr(config, "num_attention_heads", None) or 1)
    inner = int(getattr(config, "intermediate_size", None) or 4 * width)
    of_position = itemsize * (_BLOCK_COPIES * width + _MLP_COPIES * inner) + 8 * width  # norms are taken in float32
    return context * of_position + heads * context**2 * _SCORE_COPIES * (itemsize + 4)


def rows_on(model: Any, batch: int, context: int) -> int:
    """Returns `rows_per_forward` of a model that is loaded, on its device."""
    weight = next(model.parameters())
    return rows_per_forward(
        model.config.get_text_config(), batch, context, weight.itemsize, total_memory(weight.device)
    )


def plan_passes(sizes: Sequence[int], room: int) -> list[range]:
    """Splits SAEs of the given sizes, in bytes, into as few passes as `room` bytes allow, in order.

    Raises:
        InputError: one of them is larger than the room.
    """
    passes: list[range] = []
    begin = held = 0
    for i, size in enumerate(sizes):
        if size > room:
            raise InputError(
                f"one SAE takes {size / 2**30:.1f} GiB with what it reads, the device has {max(room, 0) / 2**30:.1f} "
                "GiB for it"
            )
        if held + size > room:
            passes.append(range(begin, i))
            begin, held = i, 0
        held += size
    return [*passes, range(begin, len(sizes))]


def sae_passes(kept: Sequence[KeptDecoder], blocks: TokenBlocks, batch: int, device: torch.device) -> list[range]:
    """Returns which SAEs, by number, belong to each pass: those that a device has free memory for, beside its model.

    Args:
        kept: what is known of each SAE.
        blocks: the text.
        batch: rows of a batch.
        device: that holds the model already.

    Raises:
        InputError: one of them is too large for it.
    """
    positions, sizes, works = batch * blocks.ids.shape[1], list[int](), list[int]()
    for decoder in kept:
        (n_features, width), metadata = decoder.shape, decoder.metadata
        sizes.append(4 * n_features * (width + metadata.d_in) + 4 * positions * metadata.d_in)
        copies = 1 if metadata.architecture.startswith("jumprelu") else _DENSE_COPIES
        dense = copies * 4 * n_features * max(pieces(positions, n_features))
        works.append(dense + _STREAM_COPIES * 4 * positions * metadata.d_in)
    return plan_passes(sizes, int(SHARE * free_memory(device)) - max(works))
