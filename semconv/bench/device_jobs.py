"""Synthetic jobs drawn on a device, chunk by chunk, because a million tokens and more would take NumPy minutes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from semconv.bench.jobs import VOCABULARY, Job, StoredJob
from semconv.core.sparse import SparseActivations

CHUNK_ENTRIES = 2**25  # entries drawn at once, about; their sort takes a few times 8 bytes each
CHUNK_TIES = 2**25  # cells of [token types, n_features] drawn at once
SHARED = 2  # what both sides share has this in the place of a side


def make_on_device(job: Job | StoredJob, device: torch.device) -> tuple[SparseActivations, SparseActivations]:
    """Makes both sides of a job on a device.

    A synthetic job has the distribution that `Job.make` describes, but other entries: torch's generators draw it, which
    differ from NumPy's, and between the CPU and a GPU. The same job on the same kind of device is the same.

    Raises:
        InputError: the stores of a StoredJob cannot be read.
    """
    if isinstance(job, StoredJob):
        a, b = (
            SparseActivations(x.indptr.to(device), x.indices.to(device), x.values.to(device), x.n_features)
            for x in job.make()
        )
        return a, b
    types = None
    if job.density == "token":
        share = 1 / torch.arange(1, VOCABULARY + 1, device=device)
        types = torch.multinomial(share, job.n_tokens, replacement=True, generator=_generator(job, SHARED, device))
    return _side(job, 0, job.n_features, types, device), _side(
        job, 1, job.n_features_b or job.n_features, types, device
    )


def _generator(job: Job, side: int, device: torch.device) -> torch.Generator:
    seed = int(np.random.SeedSequence([job.seed, side]).generate_state(1, np.uint64)[0] >> np.uint64(1))
    return torch.Generator(device).manual_seed(seed)


def _side(job: Job, side: int, n_features: int, types: Tensor | None, device: torch.device) -> SparseActivations:
    g = _generator(job, side, device)
    ties = None if types is None else _ties(job, n_features, g)
    density = _densities(job, job.l0 if ties is None else 0.1 * job.l0, n_features, g)
    counts: list[Tensor] = []
    indices: list[Tensor] = []
    values: list[Tensor] = []
    for begin, end in _chunks(job):
        key = _independent(density, end - begin, g)
        if types is not None and ties is not None:
            key = torch.cat([key, _tied(types[begin:end], ties, n_features, g)])
        key = torch.unique_consecutive(key.sort().values)  # each entry once
        counts.append(torch.bincount(key // n_features, minlength=end - begin))
        indices.append((key % n_features).int())
        values.append((torch.empty(len(key), device=device).exponential_(generator=g) + 0.01).half())
    indptr = torch.cat([torch.zeros(1, dtype=torch.int64, device=device), torch.cat(counts).cumsum(0)])
    return SparseActivations(indptr, torch.cat(indices), torch.cat(values), n_features)


def _chunks(job: Job) -> Iterator[tuple[int, int]]:
    step = max(1, round(CHUNK_ENTRIES / job.l0))
    for begin in range(0, job.n_tokens, step):
        yield begin, min(begin + step, job.n_tokens)


def _densities(job: Job, l0: float, n_features: int, g: torch.Generator) -> Tensor:
    sigma = 0.0 if job.density == "uniform" else job.sigma
    density = torch.exp(sigma * torch.randn(n_features, generator=g, device=g.device))
    return (density * (l0 / density.sum())).clamp_(max=0.9)


def _independent(density: Tensor, n_tokens: int, g: torch.Generator) -> Tensor:
    """Keys token * n_features + feature; an entry may come twice, as in Job."""
    n = len(density)
    counts = torch.poisson(-n_tokens * torch.log1p(-density), generator=g).long()
    feature = torch.repeat_interleave(torch.arange(n, device=g.device), counts)
    token = torch.randint(n_tokens, (len(feature),), generator=g, device=g.device)
    return token * n + feature


def _ties(job: Job, n_features: int, g: torch.Generator) -> Tensor:
    """The features that belong to every token type, int64 [VOCABULARY, per_type], drawn without replacement."""
    popularity = _densities(job, 1.0, n_features, g)
    per_type = min(max(round(job.l0), 1), n_features)
    at_once = max(1, CHUNK_TIES // n_features)
    drawn: list[Tensor] = []
    for begin in range(0, VOCABULARY, at_once):
        # The largest of Gumbel noise plus log weight, which is a draw without replacement for any number of weights.
        rows = min(at_once, VOCABULARY - begin)
        noise = -torch.empty(rows, n_features, device=g.device).exponential_(generator=g).log_()
        drawn.append((noise + popularity.log()).topk(per_type, sorted=False).indices)
    return torch.cat(drawn)


def _tied(types: Tensor, ties: Tensor, n_features: int, g: torch.Generator) -> Tensor:
    """Keys of the entries that the tokens owe to their types."""
    kept = torch.rand(len(types), ties.shape[1], generator=g, device=g.device) < 0.9
    row, slot = kept.nonzero(as_tuple=True)
    return row * n_features + ties[types[row], slot]
