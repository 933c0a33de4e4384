"""The roles that models play in a suite: A, B, both models of each control, and A and B as the published code reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

import torch

from semconv.suite.config import ModelConfig, SuiteConfig
from semconv.suite.hooks import hook_name
from semconv.text.token_blocks import TokenBlocks

One = TypeVar("One")
Other = TypeVar("Other")


@dataclass(frozen=True, eq=False)
class Roles(Generic[One]):
    """Something for every model of a suite.

    Attributes:
        a: of model A.
        b: of model B.
        controls: control -> of its two models.
        seeds: name -> of A or B with SAEs from another seed.
        shifted: of A and B with their SAEs one block early, over every position; None without published steps.
        everywhere: of A and B over every position, likewise.
    """

    a: One
    b: One
    controls: dict[str, tuple[One, One]] = field(default_factory=dict[str, tuple[One, One]])
    seeds: dict[str, One] = field(default_factory=dict[str, One])
    shifted: tuple[One, One] | None = None
    everywhere: tuple[One, One] | None = None

    @property
    def every(self) -> list[One]:
        """All of them, A and B first, those as published last."""
        return [*self.on_the_text, *self.seeds.values(), *(self.shifted or ()), *(self.everywhere or ())]

    @property
    def on_the_text(self) -> list[One]:
        """A, B and the controls, over the positions that count."""
        return [self.a, self.b, *(one for pair in self.controls.values() for one in pair)]

    def map(self, make: Callable[[One], Other]) -> Roles[Other]:
        """Returns what is made of each, in the order of `every`."""

        def both(pair: tuple[One, One]) -> tuple[Other, Other]:
            return make(pair[0]), make(pair[1])

        return Roles(
            make(self.a),
            make(self.b),
            {name: both(pair) for name, pair in self.controls.items()},
            {name: make(one) for name, one in self.seeds.items()},
            both(self.shifted) if self.shifted else None,
            both(self.everywhere) if self.everywhere else None,
        )


@dataclass(frozen=True, eq=False)
class ModelOnText:
    """A model and what it reads.

    Attributes:
        model: which, with its SAEs.
        blocks: the text, and which positions of it count for this model.
        as_published: whether every position counts, as in the published code.
        as_b: whether it is read by B's tokenizer, where the suite aligns two.
    """

    model: ModelConfig
    blocks: TokenBlocks
    as_published: bool = False
    as_b: bool = False


def every_position(blocks: TokenBlocks) -> TokenBlocks:
    """Returns the blocks with BOS, EOS and padding counted too, as the published code does."""
    everything = torch.ones_like(blocks.mask)
    return TokenBlocks(blocks.ids, everything, blocks.document.clamp(min=0), rule="all positions")


def models_of(suite: SuiteConfig) -> list[ModelConfig]:
    """Returns A, B, the two models of every control of a suite, and A and B with SAEs from other seeds."""
    controls = [model for control in suite.controls for model in (control.model_a, control.model_b)]
    seeds = [one.read_by(suite.models[one.of]) for one in suite.seeds or ()]
    return [suite.model_a, suite.model_b, *controls, *seeds]


def suite_models(suite: SuiteConfig, blocks: tuple[TokenBlocks, TokenBlocks]) -> Roles[ModelOnText]:
    """Returns the models of a suite, each with the positions that count for it.

    Args:
        suite: whose.
        blocks: the text as A and as B reads it; controls and published variants read as A does.
    """
    of_a, of_b = blocks
    controls = {c.name: (ModelOnText(c.model_a, of_a), ModelOnText(c.model_b, of_a)) for c in suite.controls}
    of = {"a": ModelOnText(suite.model_a, of_a), "b": ModelOnText(suite.model_b, of_b, as_b=True)}
    seeds = {one.name: replace(of[one.of], model=one.read_by(of[one.of].model)) for one in suite.seeds or ()}
    models = Roles(of["a"], of["b"], controls, seeds)
    if suite.published is None:
        return models
    everything = every_position(of_a)
    layer_a, layer_b = suite.published.layer_a, suite.published.layer_b

    def departed(layer_shift: bool) -> tuple[ModelOnText, ModelOnText]:
        a, b = _departed(suite.model_a, layer_a, layer_shift), _departed(suite.model_b, layer_b, layer_shift)
        return ModelOnText(a, everything, as_published=True), ModelOnText(b, everything, as_published=True)

    return replace(models, shifted=departed(True), everywhere=departed(False))


def same_pass(models: Roles[ModelOnText]) -> list[list[ModelOnText]]:
    """Returns the models in groups of which one forward pass over the text gives the streams: same weights, same rows.

    Which positions count does not matter, but for a model that reads in both directions: it does not read the others.
    """
    groups: dict[tuple[object, ...], list[ModelOnText]] = {}
    for one in models.every:
        read = id(one.blocks.ids), id(one.blocks.mask) if one.model.bidirectional else 0
        groups.setdefault((*one.model.weights, *read), []).append(one)
    return list(groups.values())


def _departed(model: ModelConfig, layer: int, layer_shift: bool) -> ModelConfig:
    """Returns the model with the one SAE of a layer, read where the published code reads it."""
    sae = model.sae_at(layer)
    hook = hook_name(layer - 1) if layer_shift else sae.hook
    name = f"{model.name}-as-published{'-shifted' if layer_shift else ''}"
    return replace(model, name=name, saes=(replace(sae, hook=hook, other_hook=layer_shift or sae.other_hook),))
