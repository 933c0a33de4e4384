"""Dictionaries that were not trained as SAEs, in the form of one: raw neurons, PCA, ICA, random directions.

Such codes are signed; an SAE's are not. Every direction v therefore becomes two features, relu(v x) and relu(-v x),
with decoder rows v and -v, which is a ReLU SAE with tied weights: it goes through the same stores, correlations and
nulls as any other SAE, and a signed code is found again as the difference of its two halves.
"""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from semconv.models.libraries import import_sae_lens
from semconv.system.errors import InputError
from semconv.system.files import temporary_folder, write_atomically

if TYPE_CHECKING:
    from sae_lens import SAE

Kind = Literal["neurons", "pca", "ica", "random"]
KINDS: tuple[Kind, ...] = ("neurons", "pca", "ica", "random")


def directions(kind: Kind, streams: Tensor, n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Returns unit directions and the point that codes are measured from.

    Args:
        kind: `neurons`, the axes of the stream; `pca`, its leading principal components; `ica`, independent components
            (Hyvärinen & Oja 2000, doi 10.1016/S0893-6080(00)00026-5, scikit-learn's FastICA) of the leading n principal
            ones; `random`, Gaussian directions.
        streams: float [tokens, d_model] residual vectors.
        n: how many directions; `neurons` has d_model.
        seed: of `random` and of the start of `ica`.

    Returns:
        Directions float32 [n, d_model], unit rows, and the centre float32 [d_model]: the mean of the streams, zero for
        `neurons`.

    Raises:
        InputError: an unknown kind, n out of range, or too few tokens.
    """
    d = streams.shape[1]
    if kind not in KINDS:
        raise InputError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    if n < 1 or (kind != "random" and n > d):
        raise InputError(f"{kind} has between 1 and {d} directions in this stream, got {n}")
    if kind == "neurons":
        return torch.eye(d)[:n], torch.zeros(d)
    x = streams.double()
    mean = x.mean(dim=0)
    if kind == "random":
        drawn = np.random.default_rng(seed).standard_normal((n, d))
        return torch.nn.functional.normalize(torch.from_numpy(drawn), dim=1).float(), mean.float()
    if len(x) <= n:
        raise InputError(f"{n} components need more than as many tokens, got {len(x)}")
    if kind == "pca":
        _, vectors = torch.linalg.eigh((x - mean).T @ (x - mean))
        return vectors.flip(1)[:, :n].T.contiguous().float(), mean.float()
    from sklearn.decomposition import FastICA

    found = FastICA(n, random_state=seed, whiten="unit-variance", max_iter=1000).fit(x.numpy())
    return torch.nn.functional.normalize(torch.from_numpy(found.components_), dim=1).float(), mean.float()


def write_sae(sae: SAE[Any], folder: Path) -> None:
    """Writes an SAE in sae-lens's format, file by file whole or not at all."""
    with temporary_folder() as temporary:
        sae.save_model(temporary)
        for file in sorted(temporary.iterdir()):
            write_atomically(folder / file.name, partial(shutil.copyfile, file))


def as_sae(found: Tensor, centre: Tensor, hook: str) -> SAE[Any]:
    """Returns a ReLU SAE of 2 n features: n directions, then the same turned round.

    Args:
        found: float32 [n, width], unit rows.
        centre: float32 [width], subtracted before encoding.
        hook: name of the stream that it reads.
    """
    import_sae_lens()
    from sae_lens.saes.standard_sae import StandardSAE, StandardSAEConfig

    both = torch.cat([found, -found])
    config = StandardSAEConfig(d_in=both.shape[1], d_sae=both.shape[0], apply_b_dec_to_input=True)
    config.metadata.hook_name = hook
    sae = StandardSAE(config)
    with torch.no_grad():
        sae.W_dec.copy_(both)
        sae.W_enc.copy_(both.T)
        sae.b_enc.zero_()
        sae.b_dec.copy_(centre)
    return sae
