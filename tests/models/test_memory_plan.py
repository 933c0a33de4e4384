"""What is held at once while a model is encoded: pieces, rows, passes, and the same streams from any of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from semconv import InputError
from semconv.core.device import total_memory
from semconv.models import memory_plan
from semconv.models.memory_plan import DENSE_BYTES, pieces, plan_passes, rows_per_forward
from semconv.models.model_activations import row_streams
from semconv.suite.hooks import hook_name
from semconv.text.token_blocks import TokenBlocks
from tests._helpers.tiny_models import CONFIGS, tiny_model
from tests.conftest import requires_models

GEMMA_9B = SimpleNamespace(hidden_size=3584, num_attention_heads=16, intermediate_size=14336)


@pytest.mark.parametrize(
    ("n", "n_features", "sizes"),
    [
        (8192, 16_384, [4096, 4096]),
        (4097, 16_384, [2049, 2048]),
        (8192, 65_536, [1024] * 8),
        (100, 512, [100]),
        (0, 512, [0]),
        (3, 2**26, [1, 1, 1]),
        (3, 2**30, [1, 1, 1]),  # one position alone is above the bound
    ],
)
def test_pieces_are_even_and_bounded(n: int, n_features: int, sizes: list[int]):
    assert pieces(n, n_features) == sizes


def test_no_piece_is_a_single_position_unless_it_must_be():
    for n in range(2, 400):
        for n_features in (2**20, 2**21, 2**24):
            found = pieces(n, n_features)
            assert sum(found) == n
            assert max(found) * 4 * n_features <= DENSE_BYTES
            assert min(found) > 1 or n_features == 2**24


@pytest.mark.parametrize(
    ("gib", "batch", "rows"), [(80, 8, 8), (24, 8, 8), (8, 8, 4), (8, 7, 4), (4, 8, 2), (1, 8, 1), (0.001, 8, 1)]
)
def test_a_batch_is_read_in_as_many_rows_as_memory_holds(gib: float, batch: int, rows: int):
    assert rows_per_forward(GEMMA_9B, batch, 1024, 2, int(gib * 2**30)) == rows


def test_the_machine_has_memory():
    assert 2**28 < total_memory(torch.device("cpu")) < 2**50


@requires_models
@pytest.mark.parametrize("family", CONFIGS)
def test_streams_have_the_same_bits_however_many_rows_are_read_at_once(family: str, monkeypatch: pytest.MonkeyPatch):
    model: Any = tiny_model(family)
    ids = torch.randint(3, 48, (5, 12), generator=torch.Generator().manual_seed(1)).int()
    mask = torch.ones(5, 12, dtype=torch.bool)
    mask[2, 7:] = False
    blocks = TokenBlocks(ids, mask, torch.zeros(5, 12).int())
    hooks = [hook_name(0), "blocks.2.hook_resid_pre"]
    found: list[dict[str, torch.Tensor]] = []
    for rows in (5, 3, 1):
        monkeypatch.setattr(memory_plan, "rows_per_forward", lambda *what, rows=rows: rows)
        found.append(row_streams(model, blocks, slice(0, 8), hooks))
    for other in found[1:]:
        for hook in hooks:
            # An expert of Mixtral may get one token alone, and Mamba's states of one row lie in memory another way:
            # processors add up such a product in another order.
            if family in ("mixtral", "mamba"):
                torch.testing.assert_close(other[hook], found[0][hook], rtol=0, atol=1e-5)
            else:
                assert torch.equal(other[hook], found[0][hook])


@pytest.mark.parametrize(
    ("sizes", "room", "passes"),
    [
        ([3, 3, 3], 9, [range(0, 3)]),
        ([3, 3, 3], 8, [range(0, 2), range(2, 3)]),
        ([5, 1, 4, 2], 6, [range(0, 2), range(2, 4)]),
        ([6], 6, [range(0, 1)]),
    ],
)
def test_as_few_passes_as_the_room_allows(sizes: list[int], room: int, passes: list[range]):
    assert plan_passes(sizes, room) == passes


@pytest.mark.parametrize(("room", "told"), [(2**30, "1.0"), (-(2**30), "0.0")])
def test_an_sae_larger_than_the_room_is_refused(room: int, told: str):
    with pytest.raises(InputError, match=rf"one SAE takes 2.0 GiB with what it reads, the device has {told} GiB"):
        plan_passes([2**31, 2**20], room)
