"""Replaced contributions, against full forward passes for every change and NumPy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from semconv import InputError, TokenBlocks
from semconv.matching.joint_positions import JointPositions
from semconv.models import interventions, substitution
from semconv.models.interventions import Interventions
from semconv.models.splicing import spliced
from semconv.models.substitution import Contributions, substitution_sums
from semconv.statistics.substitution import SubstitutionSums, best_of, column_of
from tests._helpers.tiny_models import tiny_model
from tests.conftest import requires_models

pytestmark = requires_models

WIDTH, HOOK = 16, "blocks.1.hook_resid_post"
IDS = torch.randint(3, 47, (6, 12), generator=torch.Generator().manual_seed(3)).int()
MASK = torch.ones(IDS.shape, dtype=torch.bool)
MASK[:, 0] = False
MASK[4, 8:] = False
DOCUMENT = torch.where(MASK, torch.arange(len(IDS))[:, None], -1).int()
DOCUMENT[2, 6:] = 9  # a document that begins within a row
BLOCKS = TokenBlocks(IDS, MASK, DOCUMENT)
PLACES = MASK.nonzero().numpy()


def tokens_at(*places: tuple[int, int]) -> np.ndarray:
    return np.array([int(np.flatnonzero((place == PLACES).all(axis=1))[0]) for place in places])


# Of pair 0 four positions, among them the ends of a document, a row and what counts; of pair 1 none; of pair 2 two.
PAIR = np.array([0, 0, 0, 0, 2, 2])
TOKEN = tokens_at((0, 3), (2, 5), (3, 11), (4, 7), (0, 5), (5, 2))
AT = JointPositions(PAIR, TOKEN, np.zeros(6, dtype=bool), np.array([4, 0, 2]), ("", "too few", ""))
NEXT = [True, False, False, False, True, True]


def contributions(k: int = 3) -> Contributions:
    rng = np.random.default_rng(5)
    rows, mapped = rng.normal(size=(3, WIDTH)), rng.normal(size=(3, k, WIDTH))
    mapped[0, 1] = np.nan
    mapped[2, 2] = 0
    return Contributions(rows, mapped, rng.random(6).astype(np.float32) + 1, rng.random(6).astype(np.float32) + 0.5)


def acting(family: str) -> Interventions:
    return Interventions(tiny_model(family), HOOK, torch.zeros(1, WIDTH))


def naive(one: Interventions, given: Contributions) -> tuple[np.ndarray, np.ndarray]:
    """KL and loss sums [3, 1 + 2k] by two full passes for each change, as they are defined."""
    kl, loss = np.full((2, 3, 1 + 2 * given.mapped.shape[1]), np.nan)
    model: Any = one.model
    for m, (pair, token) in enumerate(zip(PAIR, TOKEN, strict=True)):
        row, position = PLACES[token]
        contribution = given.own[m] * given.rows[pair]
        sizes = given.partner[m] * np.linalg.norm(given.mapped[pair, 0]), np.linalg.norm(contribution)
        instead = [np.zeros(WIDTH)]
        for size in sizes:
            for other in given.mapped[pair]:
                length = np.linalg.norm(other)
                instead.append(size * other / length if length else np.zeros(WIDTH))
        ids = IDS[row : row + 1].long()
        with torch.inference_mode():
            before = model(input_ids=ids).logits[0, position].double().log_softmax(-1).numpy()
        for kind, vector in enumerate(instead):
            if np.isnan(vector).any():
                continue
            push = torch.from_numpy(vector - contribution)

            def change(stream: torch.Tensor, position: int = position, push: torch.Tensor = push) -> torch.Tensor:
                stream = stream.clone()
                stream[:, position] += push.to(stream.dtype)
                return stream

            with torch.inference_mode(), spliced(one.model, HOOK, ids.shape, change):
                after = model(input_ids=ids).logits[0, position].double().log_softmax(-1).numpy()
            kl[pair, kind] = np.nan_to_num(kl[pair, kind]) + (np.exp(before) * (before - after)).sum()
            follows = NEXT[m]
            rise = before[IDS[row, position + 1]] - after[IDS[row, position + 1]] if follows else 0.0
            loss[pair, kind] = np.nan_to_num(loss[pair, kind]) + rise
    return kl, loss


@pytest.mark.parametrize("family", ["gemma2", "gpt2"])
def test_sums_are_those_of_full_forward_passes(family: str, monkeypatch: pytest.MonkeyPatch):
    one, given = acting(family), contributions()
    kl, loss = naive(one, given)
    found = substitution_sums(one, given, AT, BLOCKS)
    np.testing.assert_allclose(found.kl, kl, rtol=1e-3, atol=2e-6)
    np.testing.assert_allclose(found.loss, loss, atol=2e-5)
    assert found.positions.tolist() == [4, 0, 2]
    assert found.with_next.tolist() == [1, 0, 2]
    assert np.isnan(found.kl[0, [2, 5]]).all()  # the pair has no such alternate
    assert np.isnan(found.kl[1]).all()
    np.testing.assert_allclose(found.kl[2, 3], found.kl[2, 0], atol=1e-6)  # nothing in the place
    monkeypatch.setattr(substitution, "_ROWS", 9)  # several pieces
    monkeypatch.setattr(interventions, "_LOGITS", 48 * 5)
    few = substitution_sums(one, given, AT, BLOCKS)
    np.testing.assert_allclose(few.kl, found.kl, rtol=1e-3, atol=2e-6)
    np.testing.assert_allclose(few.loss, found.loss, atol=2e-5)


def test_norms_and_cosines_are_those_of_the_contributions():
    given = contributions()
    found = substitution_sums(acting("gemma2"), given, AT, BLOCKS)
    of_pair = PAIR == 2
    own = (given.own[of_pair] * np.linalg.norm(given.rows[2])).sum()
    partner = (given.partner[of_pair] * np.linalg.norm(given.mapped[2, 0])).sum()
    np.testing.assert_allclose(found.norms[2], [own, partner], rtol=1e-6)
    cosine = given.mapped[2, 1] @ given.rows[2] / np.linalg.norm(given.mapped[2, 1]) / np.linalg.norm(given.rows[2])
    assert found.cosine[2, 1] == pytest.approx(cosine)
    assert np.isnan(found.cosine[2, 2])  # a row of zeros has no direction
    assert np.isnan(found.cosine[0, 1])


def recovered(found: SubstitutionSums, size: str, place: int) -> float:
    known = found.positions > 0
    return 1 - found.kl[known, column_of(size, place, 3)].sum() / found.kl[known, 0].sum()


def test_a_model_s_own_contribution_recovers_everything_and_a_random_direction_nothing():
    """B = A, the same features and the identity as the map: what is put there is what was taken away."""
    given, rng = contributions(), np.random.default_rng(1)
    mapped = np.stack([given.rows, rng.normal(size=given.rows.shape), -given.rows], axis=1)
    itself = replace(given, mapped=mapped, partner=given.own)
    found = substitution_sums(acting("gemma2"), itself, AT, BLOCKS)
    for size in ("as_mapped", "same_norm"):
        assert recovered(found, size, 0) == pytest.approx(1, abs=1e-5)
        assert recovered(found, size, 1) < 0.5
        assert recovered(found, size, 2) < 0  # twice as far off as with nothing in the place
    np.testing.assert_allclose(found.loss[[0, 2], 1], 0, atol=1e-5)
    half = replace(itself, mapped=0.5 * mapped)
    smaller = substitution_sums(acting("gemma2"), half, AT, BLOCKS)
    assert 0.3 < recovered(smaller, "as_mapped", 0) < 0.99
    assert recovered(smaller, "same_norm", 0) == pytest.approx(1, abs=1e-5)


def test_the_best_alternate_leaves_the_least_divergence():
    kl = np.array([[9.0, 1, 5, 3, 7, 2, 1], [9, 1, np.nan, np.nan, 2, 6, 4], [9, 1, np.nan, 4, 2, np.nan, np.nan]])
    assert best_of(kl, "as_mapped", [1, 2], 3).tolist() == [3, -1, 3]
    assert best_of(kl, "same_norm", [1, 2], 3).tolist() == [6, 6, -1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mapped": np.zeros((2, 3, WIDTH))}, r"mapped rows must be \[3, k, 16\], got \[2, 3, 16\]"),
        ({"partner": np.ones(5)}, "activations of one length expected, got 6 and 5"),
    ],
)
def test_contributions_of_other_sizes_are_refused(change: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        replace(contributions(), **change)


def test_contributions_of_other_positions_are_refused():
    given = replace(contributions(), own=np.ones(5), partner=np.ones(5))
    with pytest.raises(InputError, match="contributions at 6 positions expected, at least one, got 5"):
        substitution_sums(acting("gemma2"), given, AT, BLOCKS)
