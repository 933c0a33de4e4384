"""Trains and measures one SAE; for `train_mini.py` and `real_model.py`, which say of what."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor


@dataclass(frozen=True)
class SaeRecipe:
    """One recipe for every SAE of both models."""

    d_sae: int = 1024
    k: int = 32
    learning_rate: float = 1.0e-3
    batch: int = 2048
    pool: int = 1_500_000
    """Residual vectors drawn from the train split."""
    samples: int = 4_000_000
    """Vectors seen in training, epochs over the pool included."""
    heldout_samples: int = 300_000
    dead_window: int = 200
    """Batches after which a feature that was active in none of them is helped by the auxiliary loss."""
    seed: int = 0


SAE = SaeRecipe()


def save_atomically(target: Path, write) -> None:
    """Writes a file under a temporary name, then renames it."""
    temporary = target.with_name(target.name + ".partial")
    write(temporary)
    os.replace(temporary, target)


def fit_sae(pool: Tensor, recipe: SaeRecipe, seed: int, about: dict[str, object], target: Path) -> None:
    """Trains one BatchTopK SAE with sae-lens's trainer; it is stored as a JumpReLU SAE in float16.

    Args:
        pool: residual vectors [n, d_model], seen in an order that the seed decides, as often as the recipe asks for.
        recipe: width, sparsity and schedule.
        seed: of the start and of the order.
        about: what the SAE's metadata says of model, hook, context and BOS.
        target: folder to write.
    """
    from sae_lens.config import SAETrainerConfig
    from sae_lens.saes.batchtopk_sae import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig
    from sae_lens.training.sae_trainer import SAETrainer

    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    config = BatchTopKTrainingSAEConfig(
        d_in=pool.shape[1], d_sae=recipe.d_sae, k=recipe.k, normalize_activations="expected_average_only_in"
    )
    for key, value in about.items():
        setattr(config.metadata, key, value)

    def batches():
        while True:
            for rows in torch.randperm(len(pool), generator=generator).split(recipe.batch):
                yield pool[rows].float()

    trainer = SAETrainer(
        SAETrainerConfig(
            total_training_samples=recipe.samples,
            train_batch_size_samples=recipe.batch,
            lr=recipe.learning_rate,
            lr_end=recipe.learning_rate / 10,
            lr_warm_up_steps=100,
            lr_decay_steps=recipe.samples // recipe.batch // 4,
            autocast=True,
            dead_feature_window=recipe.dead_window,
            n_batches_for_norm_estimate=50,
        ),
        BatchTopKTrainingSAE(config),
        batches(),
    )
    sae = trainer.fit()
    temporary = target.with_name(target.name + ".partial")
    shutil.rmtree(temporary, ignore_errors=True)
    sae.cfg.dtype = "float16"
    sae.to(torch.float16).save_inference_model(temporary)
    os.replace(temporary, target)


def measure_sae(sae, stream: Tensor) -> dict[str, float]:
    """Realised L0, explained variance and share of dead features over residual streams [n, d_model]."""
    l0, residual, fired = 0.0, 0.0, torch.zeros(sae.cfg.d_sae, dtype=torch.bool)
    for x in stream.float().split(8192):
        features = sae.encode(x)
        l0 += float((features > 0).sum())
        residual += float((sae.decode(features) - x).double().pow(2).sum())
        fired |= (features > 0).any(0)
    variance = float((stream.double() - stream.double().mean(0)).pow(2).sum())
    return {
        "l0": l0 / len(stream),
        "explained_variance": 1 - residual / variance,
        "dead_share": float((~fired).double().mean()),
    }
