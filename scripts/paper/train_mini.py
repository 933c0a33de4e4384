"""Trains everything the mini suite ships: tokenizer, two Gemma-2-architecture models, their SAEs, the model card.

Every depth has SAEs from three seeds. The other controls are SAEs of the same recipe of each model's untrained twin,
and of twins whose blocks alone are untrained.

Each stage is seeded, writes its result under a temporary name first, and is skipped when its result exists, so the
script can be stopped at any moment and started again:

    python scripts/paper/train_mini.py                     # every stage, in order
    python scripts/paper/train_mini.py model small         # one stage
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mini_card import card_text
from sae_training import SAE, fit_sae, measure_sae, save_atomically
from torch import Tensor

from semconv.models.model_activations import load_model, streams
from semconv.suite.config import load_suite
from semconv.suite.hooks import hook_name
from semconv.text.corpus import docstring_documents
from semconv.text.packing import tokenize
from semconv.text.token_blocks import TokenBlocks
from semconv.text.tokenizer import load_tokenizer

ROOT = Path(__file__).resolve().parents[2]
ASSETS = ROOT / "semconv" / "assets" / "mini"
VOCABULARY = 4096
STAGES = ["tokenizer", "model", "sae", "controls", "card"]
SPECIAL_TOKENS = ["<pad>", "<bos>", "<eos>"]
OTHER_SAE_SEEDS = (1, 2)
TWIN_SEEDS = (0, 1)
"""Of the twins whose blocks alone are untrained."""


@dataclass(frozen=True)
class ModelRecipe:
    """Shape and schedule of one model; both follow the same recipe, only the size differs."""

    d_model: int
    n_layers: int
    learning_rate: float
    sae_layers: tuple[int, ...]
    control_layer: int
    """Where SAEs of twins are trained: about two thirds of the way up."""
    steps: int = 3000
    batch: int = 16
    warmup: int = 150
    seed: int = 0


RECIPES = {
    "small": ModelRecipe(d_model=128, n_layers=4, learning_rate=2.0e-3, sae_layers=(0, 1, 2, 3), control_layer=2),
    "large": ModelRecipe(d_model=192, n_layers=7, learning_rate=1.5e-3, sae_layers=(0, 2, 4, 6), control_layer=4),
}


@dataclass(frozen=True)
class SaeJob:
    """One SAE: whose stream it learns, and the seed of its start and of the order of its data."""

    model: str
    layer: int
    untrained_seed: int | None = None
    """Seed of the model's untrained twin; None for the trained model."""
    sae_seed: int = SAE.seed
    trained_embeddings: bool = False
    """Whether only the blocks of the twin are untrained."""

    @property
    def folder(self) -> str:
        """Where it lies below `saes/`."""
        kind = "-untrained-blocks" if self.trained_embeddings else "-untrained"
        twin = "" if self.untrained_seed is None else kind + (f"-{self.untrained_seed}" if self.untrained_seed else "")
        seed = "" if self.sae_seed == SAE.seed else f".seed{self.sae_seed}"
        return f"{self.model}{twin}/{hook_name(self.layer)}{seed}"

    @property
    def source(self) -> dict[str, int | bool | None]:
        """Which weights the stream comes from, as arguments of `load_model`."""
        return {"untrained_seed": self.untrained_seed, "trained_embeddings": self.trained_embeddings}


def depths(name: str) -> list[SaeJob]:
    return [SaeJob(name, layer) for layer in RECIPES[name].sae_layers]


def controls(name: str) -> list[SaeJob]:
    layer = RECIPES[name].control_layer
    return [
        SaeJob(name, layer, untrained_seed=0),
        *(SaeJob(name, layer, untrained_seed=seed, trained_embeddings=True) for seed in TWIN_SEEDS),
        *(SaeJob(name, at, sae_seed=seed) for at in RECIPES[name].sae_layers for seed in OTHER_SAE_SEEDS),
    ]


def train_tokenizer(work: Path) -> None:
    """Trains the byte-level BPE on the train split and caches both splits as token blocks."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    suite = load_suite("mini")
    documents = docstring_documents(dict(suite.corpus.packages))
    target = ASSETS / "tokenizer.json"
    if not target.exists():
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore
        tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore
        trainer = trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=SPECIAL_TOKENS,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator((d.text for d in documents if d.split == "train"), trainer)
        target.parent.mkdir(parents=True, exist_ok=True)
        tokenizer.save(str(target))
    tokenizer = load_tokenizer(target)
    for split in ("train", "heldout"):
        blocks = tokenize([d for d in documents if d.split == split], tokenizer, suite.corpus.context)
        save_atomically(work / f"{split}.pt", lambda p, b=blocks: torch.save((b.ids, b.mask, b.document), p))
        print(f"{split}: {list(blocks.ids.shape)} ids, {blocks.n_tokens} counted, sha256 {blocks.sha256}")


def load_blocks(work: Path, split: str) -> TokenBlocks:
    if not (work / f"{split}.pt").exists():
        train_tokenizer(work)
    return TokenBlocks(*torch.load(work / f"{split}.pt"))


def new_model(name: str):
    """Returns the untrained model of a recipe; the seed alone decides its weights."""
    from transformers import Gemma2Config, Gemma2ForCausalLM

    recipe = RECIPES[name]
    torch.manual_seed(recipe.seed)
    return Gemma2ForCausalLM(
        Gemma2Config(
            vocab_size=VOCABULARY,
            hidden_size=recipe.d_model,
            intermediate_size=4 * recipe.d_model,
            num_hidden_layers=recipe.n_layers,
            num_attention_heads=recipe.d_model // 32,
            num_key_value_heads=recipe.d_model // 64,
            head_dim=32,
            query_pre_attn_scalar=32,
            sliding_window=128,
            max_position_embeddings=256,
            attn_implementation="eager",
            use_cache=False,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )
    )


def next_token_loss(logits: Tensor, ids: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(logits[:, :-1].float().flatten(0, 1), ids[:, 1:].flatten(), ignore_index=0)


def train_model(name: str, work: Path) -> None:
    """Trains one model on the train split (AdamW, cosine schedule, bfloat16 autocast) and stores it in float16."""
    target = ASSETS / "models" / name
    if target.exists():
        return
    recipe, ids = RECIPES[name], load_blocks(work, "train").ids.long()
    heldout = load_blocks(work, "heldout").ids[:256].long()
    model = new_model(name)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.95), weight_decay=0.1)
    checkpoint, start = work / f"{name}.checkpoint.pt", 0
    if checkpoint.exists():
        state = torch.load(checkpoint)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        start = state["step"]

    def loss_of(x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(input_ids=x).logits
        return next_token_loss(logits, x)

    compiled, rows_per_epoch = torch.compile(loss_of), len(ids) // recipe.batch
    began = time.monotonic()
    for step in range(start, recipe.steps):
        epoch, position = divmod(step, rows_per_epoch)
        if position == 0 or step == start:
            order = torch.randperm(len(ids), generator=torch.Generator().manual_seed(recipe.seed + epoch))
        warm, done = min(1.0, (step + 1) / recipe.warmup), step / recipe.steps
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * warm * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done)))
        loss = compiled(ids[order[position * recipe.batch : (position + 1) * recipe.batch]])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if (step + 1) % 250 == 0:
            save_atomically(
                checkpoint,
                lambda p, s=step: torch.save(
                    {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": s + 1}, p
                ),
            )
            rate = (step + 1 - start) * recipe.batch * ids.shape[1] / (time.monotonic() - began)
            print(f"{name} step {step + 1}: held-out {evaluate(model, heldout):.4f}, {rate:.0f} tokens/s", flush=True)
    temporary = target.with_name(name + ".partial")
    shutil.rmtree(temporary, ignore_errors=True)
    model.to(torch.float16).save_pretrained(temporary)
    os.replace(temporary, target)


@torch.no_grad()
def evaluate(model: torch.nn.Module, ids: Tensor) -> float:
    """Mean next-token loss in nats over rows of ids, padding left out."""
    total, count = 0.0, 0
    for rows in ids.split(32):
        n = int((rows[:, 1:] != 0).sum())
        total += float(next_token_loss(model(input_ids=rows).logits, rows)) * n
        count += n
    return total / count


def baselines(train: Tensor, heldout: Tensor) -> dict[str, float]:
    """Held-out loss in nats of the unigram and the bigram interpolated with it, both fitted on the train split."""
    unigram = np.bincount(train[:, 1:].flatten().numpy(), minlength=VOCABULARY).astype(np.float64)
    unigram[0] = 0
    unigram = (unigram + 0.1) / (unigram + 0.1).sum()
    pairs = train[:, :-1].numpy().astype(np.int64) * VOCABULARY + train[:, 1:].numpy()
    bigram = np.bincount(pairs.ravel(), minlength=VOCABULARY**2).reshape(VOCABULARY, VOCABULARY).astype(np.float64)
    seen = bigram.sum(axis=1, keepdims=True)
    # Witten-Bell: the weight of the bigram grows with how often, and falls with how variedly, its first token occurs.
    types = (bigram > 0).sum(axis=1, keepdims=True)
    weight = np.divide(seen, seen + types, out=np.zeros_like(seen), where=seen > 0)
    conditional = np.divide(bigram, seen, out=np.zeros_like(bigram), where=seen > 0)
    now, then = heldout[:, :-1].flatten().numpy(), heldout[:, 1:].flatten().numpy()
    keep = then != 0
    now, then = now[keep], then[keep]
    mixed = weight[now, 0] * conditional[now, then] + (1 - weight[now, 0]) * unigram[then]
    return {"unigram": float(-np.log(unigram[then]).mean()), "bigram": float(-np.log(mixed).mean())}


@torch.no_grad()
def collect_activations(jobs: list[SaeJob], work: Path, split: str, samples: int) -> dict[int, Tensor]:
    """Returns layer -> float16 residual streams [samples, d_model] at counted positions of random rows of a split.

    Args:
        jobs: of one model or twin.
        work: folder of the tokens.
        split: `train` or `heldout`.
        samples: how many positions.
    """
    blocks, model = load_blocks(work, split), load_model(ASSETS / "models" / jobs[0].model, **jobs[0].source)
    layers = sorted({job.layer for job in jobs})
    kept: dict[int, list[Tensor]] = {layer: [] for layer in layers}
    order, count = torch.randperm(len(blocks.ids), generator=torch.Generator().manual_seed(0)), 0
    for rows in order.split(32):
        mask = blocks.mask[rows]
        read = streams(model, blocks.ids[rows], [hook_name(layer) for layer in layers])
        for layer in layers:
            kept[layer].append(read[hook_name(layer)][mask].half())
        count += int(mask.sum())
        if count >= samples:
            break
    return {layer: torch.cat(kept.pop(layer))[:samples] for layer in layers}


def groups(jobs: list[SaeJob]) -> list[list[SaeJob]]:
    """Returns the jobs by the weights whose stream they learn."""
    sources = list(dict.fromkeys(tuple(job.source.items()) for job in jobs))
    return [[job for job in jobs if tuple(job.source.items()) == source] for source in sources]


def train_saes(jobs: list[SaeJob], work: Path) -> None:
    """Trains those SAEs of one model, and of its twins, that are missing."""
    missing = [job for job in jobs if not (ASSETS / "saes" / job.folder).exists()]
    for group in groups(missing):
        pools = collect_activations(group, work, "train", SAE.pool)
        for job in group:
            train_sae(job, pools[job.layer])


def train_sae(job: SaeJob, pool: Tensor) -> None:
    """Trains one SAE of the mini suite."""
    began = time.monotonic()
    about = {
        "model_name": f"semconv-mini-{job.folder.split('/')[0]}",
        "hook_name": hook_name(job.layer),
        "prepend_bos": True,
        "context_size": 256,
    }
    fit_sae(pool, SAE, job.sae_seed, about, ASSETS / "saes" / job.folder)
    print(f"{job.folder}: trained in {time.monotonic() - began:.0f} s", flush=True)


def measure_saes(jobs: list[SaeJob], work: Path) -> list[dict[str, float]]:
    """Width and held-out figures of SAEs of one model or twin."""
    import sae_lens

    streams = collect_activations(jobs, work, "heldout", SAE.heldout_samples)
    saes = [sae_lens.SAE.load_from_disk(ASSETS / "saes" / job.folder, dtype="float32") for job in jobs]
    return [{"d_sae": SAE.d_sae, **measure_sae(sae, streams[job.layer])} for job, sae in zip(jobs, saes, strict=True)]


def measure_model(name: str, work: Path) -> dict:
    """Size, held-out loss and SAEs of a trained model."""
    recipe, model = RECIPES[name], load_model(ASSETS / "models" / name)
    return {
        "non_embedding_parameters": sum(p.numel() for key, p in model.named_parameters() if "embed" not in key),
        "d_model": recipe.d_model,
        "n_layers": recipe.n_layers,
        "train_tokens": recipe.steps * recipe.batch * load_blocks(work, "train").ids.shape[1],
        "heldout_loss": evaluate(model, load_blocks(work, "heldout").ids.long()),
        "saes": dict(zip(map(hook_name, recipe.sae_layers), measure_saes(depths(name), work), strict=True)),
    }


def measure_controls(group: list[SaeJob], work: Path) -> dict[str, dict]:
    """Figures of controls of one model or twin, and of a twin the SHA-256 of its parameters: other bits, other twin."""
    digest = hashlib.sha256()
    if group[0].untrained_seed is not None:
        for parameter in load_model(ASSETS / "models" / group[0].model, **group[0].source).parameters():
            digest.update(parameter.numpy(force=True).tobytes())
    twin = {} if group[0].untrained_seed is None else {"parameters_sha256": digest.hexdigest()}
    found = measure_saes(group, work)
    return {
        job.folder: job.source | {"sae_seed": job.sae_seed} | twin | one for job, one in zip(group, found, strict=True)
    }


@torch.no_grad()
def write_card(work: Path) -> None:
    """Measures on the held-out split what card.json does not hold yet, and writes it and the model card.

    What was trained anew is measured anew only after its entry, or the file, was deleted.
    """
    target = ASSETS / "card.json"
    card: dict = json.loads(target.read_text()) if target.exists() else {}
    if not card:
        train, heldout = load_blocks(work, "train"), load_blocks(work, "heldout")
        card = {"heldout_tokens": heldout.n_tokens, "baselines": baselines(train.ids, heldout.ids), "models": {}}
    for name in RECIPES:
        if name not in card["models"]:
            card["models"][name] = measure_model(name, work)
    measured = card.setdefault("controls", {})
    for name in RECIPES:
        for group in groups([job for job in controls(name) if job.folder not in measured]):
            measured |= measure_controls(group, work)
    save_atomically(target, lambda p: p.write_text(json.dumps(card, indent=2) + "\n"))
    (ASSETS / "README.md").write_text(card_text(card, VOCABULARY))
    print(card_text(card, VOCABULARY))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", nargs="?", choices=STAGES, help="default: every stage")
    parser.add_argument("name", nargs="?", choices=list(RECIPES), help="default: both models")
    parser.add_argument("--work", type=Path, default=ROOT / ".cache" / "train-mini", help="checkpoints and tokens")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    names = [args.name] if args.name else list(RECIPES)
    if args.stage in (None, "tokenizer"):
        train_tokenizer(args.work)
    for name in names:
        if args.stage in (None, "model"):
            train_model(name, args.work)
        if args.stage in (None, "sae"):
            train_saes(depths(name), args.work)
        if args.stage in (None, "controls"):
            train_saes(controls(name), args.work)
    if args.stage in (None, "card"):
        write_card(args.work)


if __name__ == "__main__":
    main()
