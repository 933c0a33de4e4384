"""Puts mapped contributions of other features in the place of a feature's own, and takes what that leaves undone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from semconv.matching.joint_positions import JointPositions
from semconv.models.function import pieces
from semconv.models.interventions import Edits, Interventions
from semconv.statistics.substitution import SubstitutionSums
from semconv.system.errors import InputError
from semconv.text.token_blocks import TokenBlocks

_ROWS = 1024
"""Changes that a text is read with at once, fewer where a row of it is long."""


@dataclass(frozen=True, eq=False)
class Contributions:
    """What n features add to a stream of width d at m positions, and what stands in for it.

    Attributes:
        rows: float [n, d], what one unit of each feature adds.
        mapped: float [n, k, d], what one unit of each of k other features adds by way of a map; the partner's first,
            NaN where a feature has no such one.
        own: float [m], activation of the feature at every position.
        partner: float [m], that of its partner.

    Raises:
        InputError: of other sizes than these.
    """

    rows: Float[ndarray, "n d"]
    mapped: Float[ndarray, "n k d"]
    own: Float[ndarray, " m"]
    partner: Float[ndarray, " m"]

    def __post_init__(self) -> None:
        n, d = self.rows.shape
        if self.mapped.ndim != 3 or (self.mapped.shape[0], self.mapped.shape[2]) != (n, d):
            raise InputError(f"mapped rows must be [{n}, k, {d}], got {list(self.mapped.shape)}")
        if self.own.shape != self.partner.shape:
            raise InputError(f"activations of one length expected, got {len(self.own)} and {len(self.partner)}")

    @property
    def replacements(self) -> int:
        """k."""
        return self.mapped.shape[1]

    def norms(self, pair: Int[ndarray, " m"]) -> Float[ndarray, "m 2"]:
        """Returns the norm of the contribution at every position, and that of the partner's, mapped; float64."""
        both = zip((self.own, self.partner), (self.rows, self.mapped[:, 0]), strict=True)
        return np.column_stack([acts * np.linalg.norm(rows.astype(np.float64), axis=1)[pair] for acts, rows in both])

    def cosines(self) -> Float[ndarray, "n k"]:
        """Returns the cosine of each mapped row with the feature's own, NaN where one is zero or missing."""
        own, mapped = self.rows.astype(np.float64), self.mapped.astype(np.float64)
        scale = np.linalg.norm(mapped, axis=2) * np.linalg.norm(own, axis=1)[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(scale > 0, np.einsum("nkd,nd->nk", mapped, own) / scale, np.nan)

    def changes(
        self, items: Int[ndarray, " p"], pair: Int[ndarray, " p"], norms: Float[ndarray, "p 2"]
    ) -> Float[ndarray, "p changes d"]:
        """Returns what is added to the stream, float64 [p, 1 + 2k, d], NaN for what there is not.

        First the contribution is taken away; then each replacement is put in its place too, as large as the partner's
        mapped contribution, and as large as the one that was taken away. Of the partner itself the former is its
        activation times its mapped row.

        Args:
            items: positions, by number.
            pair: of each.
            norms: of each, as `norms` gives them.
        """
        away = -self.own[items, None].astype(np.float64) * self.rows[pair]
        mapped = self.mapped[pair].astype(np.float64)
        length = np.linalg.norm(mapped, axis=2, keepdims=True)
        unit = np.divide(mapped, length, out=np.where(np.isnan(mapped), np.nan, 0.0), where=length > 0)
        sizes = [norms[:, [1]], norms[:, [0]]]
        return np.concatenate([away[:, None], *(away[:, None] + size[:, :, None] * unit for size in sizes)], axis=1)


def substitution_sums(
    interventions: Interventions, given: Contributions, at: JointPositions, blocks: TokenBlocks
) -> SubstitutionSums:
    """Takes contributions out of a stream, puts others in their place, and sums what that does to predictions.

    A row of text is read once with all changes in it, or once for so many; what a change does is reduced to two numbers
    as soon as its logits are there.

    Args:
        interventions: of the model; directions of its own are not used, effects are taken of the next token alone.
        given: the contributions; `own` and `partner` are of the positions of `at`.
        at: positions of the pairs.
        blocks: the text.

    Raises:
        InputError: contributions of other positions, or none.
    """
    if len(given.own) != len(at) or not len(at):
        raise InputError(f"contributions at {len(at)} positions expected, at least one, got {len(given.own)}")
    n, n_changes = len(given.rows), 1 + 2 * given.replacements
    norms, places = given.norms(at.pair), blocks.mask.nonzero().numpy()
    following = _next_tokens(blocks, places)[at.token]
    kl, loss = np.zeros((n, n_changes)), np.zeros((n, n_changes))
    at_once = min(_ROWS, interventions.per_row(blocks.ids.shape[1]))
    for items in pieces(at, places, np.full(len(at), n_changes), at_once):
        change = given.changes(items, at.pair[items], norms[items])
        item, kind = np.nonzero(np.isfinite(change).all(axis=2))
        row, position = (torch.from_numpy(part) for part in places[at.token[items[item]]].T.copy())
        along = interventions.along(torch.from_numpy(change[item, kind].astype(np.float32)), n_next=0)
        edits = Edits(row, position, torch.arange(len(item)), torch.ones(len(item)))
        found = _told(along, blocks.ids, edits, following[items[item]])
        for total, values in zip((kl, loss), found, strict=True):
            np.add.at(total, (at.pair[items[item]], kind), values)
    missing = np.isnan(given.mapped).any(axis=2)
    absent = np.column_stack([np.zeros(n, dtype=bool), missing, missing])
    counts = np.bincount(at.pair, minlength=n)
    absent |= (counts == 0)[:, None]
    for total in (kl, loss):
        total[absent] = np.nan
    with_next = np.bincount(at.pair, weights=following >= 0, minlength=n).astype(np.int64)
    of_norms = np.column_stack([np.bincount(at.pair, weights=of, minlength=n) for of in norms.T])
    return SubstitutionSums(counts.astype(np.int64), with_next, kl, loss, of_norms, given.cosines())


def _next_tokens(blocks: TokenBlocks, places: Int[ndarray, "n_tokens 2"]) -> Int[ndarray, " n_tokens"]:
    """Returns the token that follows every position that counts, -1 where the text does not go on in its row.

    It goes on where the next position counts and is of the same document: what stands behind the end of a document or
    of a row is nothing that a model could foretell.
    """
    row, position = places.T
    after = np.minimum(position + 1, blocks.ids.shape[1] - 1)
    ids, mask, document = (of.numpy() for of in (blocks.ids, blocks.mask, blocks.document))
    goes_on = (after > position) & mask[row, after] & (document[row, after] == document[row, position])
    return np.where(goes_on, ids[row, after], -1).astype(np.int64)


def _told(
    interventions: Interventions, ids: Tensor, edits: Edits, following: Int[ndarray, " n"]
) -> tuple[Float[ndarray, " n"], Float[ndarray, " n"]]:
    """Returns of every change the divergence, and how much the loss of the next token rises, 0 where there is none."""
    streams = interventions.read(ids, edits)
    kl, loss = np.zeros(len(edits)), np.zeros(len(edits))
    for part in torch.arange(len(edits)).split(interventions.per_pass()):
        found, token = interventions.predicted(streams, part), torch.from_numpy(following[part.numpy()])
        told = found.change[torch.arange(len(part)), 0, token.clamp(min=0).to(found.change.device)].cpu()
        kl[part.numpy()] = found.kl[:, 0].cpu().double().numpy()
        loss[part.numpy()] = torch.where(token >= 0, -told.double(), 0.0).numpy()
    return kl, loss
