"""SparseActivations: what is cut out of it equals what is cut out of the dense matrix."""

from __future__ import annotations

import pytest
import torch

import semconv.core.sparse
from semconv import InputError, SparseActivations
from tests.conftest import random_activations


@pytest.mark.parametrize("features", [[0], [16], [2, 3, 11], list(range(17))])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_columns_equal_those_of_the_dense_matrix(features: list[int], dtype: torch.dtype):
    acts = random_activations(0, 40, 17, 0.2, dtype)
    part = acts.columns(torch.tensor(features))
    assert part.n_features == len(features)
    assert part.values.dtype == dtype
    assert torch.equal(part.to_dense(), acts.to_dense()[:, features])
    assert torch.equal(part.active_counts(), acts.active_counts()[features])


def test_columns_of_features_that_are_never_active():
    acts = SparseActivations.from_dense(torch.tensor([[0.0, 1, 0], [0, 2, 0]]))
    part = acts.columns(torch.tensor([0, 2]))
    assert part.nnz == 0
    assert part.indptr.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (torch.tensor([], dtype=torch.int64), r"int64 \[n\] with n >= 1"),
        (torch.tensor([1.0]), r"int64 \[n\] with n >= 1, got torch.float32"),
        (torch.tensor([[1]]), r"int64 \[n\] with n >= 1"),
        (torch.tensor([1, 1]), "strictly increasing, got 1 then 1"),
        (torch.tensor([2, 1]), "strictly increasing, got 2 then 1"),
        (torch.tensor([-1, 1]), r"in \[0, 3\), got -1"),
        (torch.tensor([0, 3]), r"in \[0, 3\), got 3"),
    ],
)
def test_columns_refuse_bad_features(features: torch.Tensor, message: str):
    with pytest.raises(InputError, match=message):
        random_activations(0, 5, 3).columns(features)


@pytest.mark.parametrize("positions", [[0], [39, 0, 39, 39], list(range(40)), list(range(39, -1, -1)), [5, 6, 7]])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_tokens_equal_those_of_the_dense_matrix(positions: list[int], dtype: torch.dtype):
    acts = random_activations(1, 40, 17, 0.2, dtype)
    part = acts.tokens(torch.tensor(positions))
    assert part.n_features == 17
    assert part.n_tokens == len(positions)
    assert part.values.dtype == dtype
    assert torch.equal(part.to_dense(), acts.to_dense()[positions])


def test_tokens_without_entries_and_tokens_in_order():
    acts = SparseActivations.from_dense(torch.tensor([[0.0, 0], [1, 2], [0, 0], [0, 3]]))
    assert acts.tokens(torch.tensor([0, 2, 2])).indptr.tolist() == [0, 0, 0, 0]
    assert acts.tokens(torch.tensor([2, 3, 0])).to_dense().tolist() == [[0, 0], [0, 3], [0, 0]]
    assert acts.tokens(torch.arange(4)).sha256 == acts.sha256
    assert acts.tokens(torch.arange(1, 3)).sha256 == acts.rows(1, 3).sha256


@pytest.mark.parametrize("seed", range(4))
def test_whole_documents_are_the_tokens_one_by_one(seed: int, monkeypatch: pytest.MonkeyPatch):
    """Stretches in any order, some twice, some next to each other, and tokens that activate nothing."""
    acts = random_activations(seed, 300, 9, 0.15)
    cuts = [0, 40, 41, 97, 160, 161, 230, 300]
    drawn = torch.randint(7, (12,), generator=torch.Generator().manual_seed(seed)).tolist()
    positions = torch.cat([torch.arange(cuts[i], cuts[i + 1]) for i in drawn])
    whole = acts.tokens(positions)
    assert torch.equal(whole.to_dense(), acts.to_dense()[positions])
    monkeypatch.setattr(semconv.core.sparse, "_LONG", len(positions) + 1)  # never copied whole
    assert acts.tokens(positions).sha256 == whole.sha256


@pytest.mark.parametrize("at_once", [1, 7, 2**24])
def test_counts_and_maxima_do_not_depend_on_how_many_entries_are_taken_at_once(at_once: int, monkeypatch):
    monkeypatch.setattr(semconv.core.sparse, "_AT_ONCE", at_once)
    acts = random_activations(3, 50, 13, 0.2, torch.float16)
    dense = acts.to_dense().float()
    assert torch.equal(acts.active_counts(), (dense > 0).sum(dim=0))
    assert torch.equal(acts.feature_max(), dense.amax(dim=0))
    nothing = SparseActivations.from_dense(torch.zeros(4, 3))
    assert nothing.active_counts().tolist() == [0, 0, 0]
    assert nothing.feature_max().tolist() == [0, 0, 0]
