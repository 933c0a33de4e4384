"""The models of a suite and their SAEs."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from semconv.suite import ranges
from semconv.suite.hooks import hook_name, parse_hook
from semconv.suite.sae_labels import hook_label
from semconv.system.errors import InputError
from semconv.system.shape import Must, Strict, left_out

_NAME = re.compile(r"[\w.-]+")


@dataclass(frozen=True)
class SaeConfig(Strict):
    """One SAE and the hook whose stream it takes."""

    hook: str
    """Where the SAE reads, by any name that `parse_hook` knows; kept by its canonical name."""
    path: str = ""
    """Folder in the format of sae-lens, sparsify or dictionary_learning; without it, `release` and `sae_id` are
    needed."""
    release: str = ""
    """Release in sae-lens's list, or OWNER/NAME of a repository."""
    sae_id: str = ""
    """SAE of the release."""
    name: str = ""
    """Short name in files and tables, needed where a model has two SAEs at one hook; by default the block's number, and
    the stream where it is not the output of the block."""
    revision: str = ""
    """Commit of the release's repository; sae-lens always reads the main branch, so a run stops with an error if that
    branch is at another commit."""
    loader: str = ""
    """`sparsify` or `dictionary_learning`, for repositories of these; empty for what sae-lens's list says."""
    other_hook: bool = False
    """Read the SAE at `hook` although its own metadata names another stream; without this, that is an error."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "hook", str(parse_hook(self.hook)))
        if bool(self.path) == bool(self.release) or bool(self.release) != bool(self.sae_id):
            raise InputError(f"the SAE at {self.hook} needs either a path, or a release and a sae_id")
        if self.name and not _NAME.fullmatch(self.name):
            raise InputError(f"the name of an SAE must be of letters, digits, _, . and -, got {self.name!r}")

    @property
    def label(self) -> str:
        """Which SAE of its model this is, in files and tables."""
        return self.name or hook_label(self.hook)

    @property
    def place(self) -> str:
        """Name of its files in a run folder."""
        return f"{self.hook}.{self.name}" if self.name else self.hook

    @property
    def source(self) -> str:
        """Where it comes from, in one string."""
        return self.path or f"{self.release}:{self.sae_id}"


@dataclass(frozen=True)
class ModelConfig(Strict):
    """One model and its SAEs."""

    name: str
    """Short name used in files and tables."""
    path: str
    """Folder in transformers' format, or `hub:OWNER/NAME`."""
    saes: tuple[SaeConfig, ...]
    """At least one SAE, each at its own hook or of its own name; in a suite file `sae_grid` may stand for them
    (`SaeGrid`)."""
    revision: str = ""
    """Commit of the hub repository; empty takes what its main branch has."""
    untrained_seed: Annotated[int | None, Must("int | None")] = None
    """Take only the shape of the model and draw its weights from this seed: an untrained twin."""
    trained_embeddings: Annotated[bool | None, Must("true or false")] = left_out()
    """Of an untrained twin: what lies outside its blocks (embeddings, last norm, head) is the trained model's."""
    bidirectional: bool = False
    """The model reads in both directions (BERT and its kind); without this, such a model is an error."""

    def __post_init__(self) -> None:
        ranges.file_name("model", self.name)
        if self.untrained_seed is not None:
            ranges.seed("untrained_seed", self.untrained_seed)
        elif self.trained_embeddings:
            raise InputError(
                f"model {self.name} has trained_embeddings, which an untrained twin has, and no untrained_seed"
            )
        if not self.saes:
            raise InputError(f"model {self.name} needs at least one SAE")
        labels = [sae.label for sae in self.saes]
        for label in labels:
            if labels.count(label) > 1:
                same = " and ".join(sae.source for sae in self.saes if sae.label == label)
                raise InputError(f"model {self.name} has two SAEs called {label} ({same}); give each a name")

    @property
    def by_label(self) -> dict[str, SaeConfig]:
        """The SAEs by what files and tables call them."""
        return {sae.label: sae for sae in self.saes}

    def sae_at(self, layer: int) -> SaeConfig:
        """Returns the one SAE on the output of a block.

        Raises:
            InputError: there is none, or several.
        """
        found = [sae for sae in self.saes if sae.hook == hook_name(layer)]
        if len(found) != 1:
            names = ", ".join(sae.label for sae in found)
            got = f"got {len(found)} ({names})" if found else "got none"
            raise InputError(f"published needs one SAE of model {self.name} on the output of block {layer}, {got}")
        return found[0]

    @property
    def weights(self) -> tuple[str, str, int | None, bool, bool]:
        """What tells its weights, and how they read, from those of another model."""
        return self.path, self.revision, self.untrained_seed, bool(self.trained_embeddings), self.bidirectional

    @property
    def label(self) -> str:
        """Which model this is, for the identity of its stores."""
        path = f"{self.path}@{self.revision}" if self.revision else self.path
        if self.untrained_seed is None:
            return path
        return f"{path} untrained{' blocks' if self.trained_embeddings else ''}, seed {self.untrained_seed}"


@dataclass(frozen=True)
class SeedConfig(Strict):
    """SAEs of model A or B again, of the same recipe from another seed: how far scores depend on the seed."""

    name: str
    """Short name used in files and tables, that of the model with these SAEs."""
    of: Literal["a", "b"]
    """Whose."""
    saes: tuple[SaeConfig, ...]
    """At least one SAE, each called like one of the model."""

    def __post_init__(self) -> None:
        ranges.file_name("seeds", self.name)
        ranges.choices("seeds", self)

    def check(self, model: ModelConfig) -> None:
        """Raises InputError unless every SAE is called like one of the model."""
        for label in self.read_by(model).by_label:
            if label not in model.by_label:
                known = ", ".join(model.by_label)
                raise InputError(f"seeds {self.name} has an SAE called {label}, model {model.name} has {known}")

    def read_by(self, model: ModelConfig) -> ModelConfig:
        """Returns the model with these SAEs in place of its own."""
        return replace(model, name=self.name, saes=self.saes)


@dataclass(frozen=True)
class SaeGrid(Strict):
    """One SAE of a release for each of many layers, instead of a list of `saes`."""

    release: str
    """As in `SaeConfig`."""
    sae_id: str
    """With `{layer}` where the layer's number goes."""
    layers: Annotated[tuple[int, ...], Must("a list of whole numbers")]
    """Blocks whose outputs are compared."""
    n_layers: int
    """Blocks of the model, for `--all-layers`."""
    hook: str = "blocks.{layer}.hook_resid_post"
    """With `{layer}` likewise."""
    revision: str = ""
    """As in `SaeConfig`."""
    loader: str = ""
    """As in `SaeConfig`."""

    def __post_init__(self) -> None:
        for key, value in (("sae_id", self.sae_id), ("hook", self.hook)):
            if "{layer}" not in value:
                raise InputError(f"sae_grid.{key} must hold {{layer}}, got {value!r}")
        ranges.at_least("sae_grid.n_layers", self.n_layers, 1, 1024)
        if not self.layers or not all(0 <= layer < self.n_layers for layer in self.layers):
            raise InputError(f"sae_grid.layers must be in 0..{self.n_layers - 1}, got {list(self.layers)}")

    def saes(self, all_layers: bool) -> tuple[SaeConfig, ...]:
        """Returns the SAEs of the layers that are asked for."""
        layers = range(self.n_layers) if all_layers else self.layers
        return tuple(
            SaeConfig(
                self.hook.replace("{layer}", str(layer)),
                release=self.release,
                sae_id=self.sae_id.replace("{layer}", str(layer)),
                revision=self.revision,
                loader=self.loader,
            )
            for layer in layers
        )
