"""Alternates that could be mistaken for a partner."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from semconv import InputError, SparseActivations
from semconv.matching.hard_negatives import hard_negatives, most_co_active
from semconv.matching.joint_positions import JointPositions


def test_hard_negatives_are_the_best_others_and_those_of_the_token():
    index = torch.tensor([[3, 1, 2, 0], [2, 3, -1, -1], [1, -1, -1, -1]])
    matches: Any = SimpleNamespace(
        a_to_b=SimpleNamespace(index=index), b_to_a=SimpleNamespace(index=torch.zeros(4, 1, dtype=torch.int64))
    )
    tokens = np.array([7, 8, 7, 9])
    found = hard_negatives(matches, (np.array([0, 1, 2]), np.array([0, 2, 1])), tokens)
    assert found.tolist() == [[2, 3], [-1, 3], [-1, -1]]
    with pytest.raises(InputError, match="needed for 4 features, got 3"):
        hard_negatives(matches, (np.array([0]), np.array([0])), tokens[:3])


def test_the_most_co_active_fires_at_most_of_the_positions():
    acts = SparseActivations.from_dense(torch.tensor([[1.0, 1, 0, 1], [1, 0, 1, 1], [1, 0, 1, 0], [0, 0, 0, 1]]))
    pair, token = np.array([0, 0, 0, 1, 1, 3]), np.array([0, 1, 2, 0, 1, 3])
    at = JointPositions(pair, token, np.zeros(6, dtype=bool), np.zeros(4, dtype=np.int64), ("",) * 4)
    assert most_co_active(acts, at, np.array([0, 3, 1, 3])).tolist() == [2, 0, -1, -1]
