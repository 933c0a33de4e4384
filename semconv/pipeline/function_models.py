"""The whole models that the tasks on function run, and what is done with them."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import nn

from semconv.core.activation_store import StoreIdentity
from semconv.matching.joint_positions import JointPositions
from semconv.models.decoders import decoder_metadata
from semconv.models.function import FunctionSide, functional_effects
from semconv.models.interventions import Interventions
from semconv.models.logit_lens import LensTokens, lens_of_pairs, why_no_lens
from semconv.models.model_activations import stream_width
from semconv.models.readout import Readout
from semconv.models.roles import ModelOnText, Roles
from semconv.models.substitution import Contributions, substitution_sums
from semconv.models.whole_models import SharedNetwork, load_whole, size_of
from semconv.pipeline.encoded_sides import Loaded
from semconv.runs.run import Run
from semconv.statistics.effects import EffectSums
from semconv.statistics.substitution import SubstitutionSums
from semconv.study.function_models import Acting, FunctionModels, Lenses, Place, StoredModel
from semconv.study.sides import Side
from semconv.study.task_names import function_controls
from semconv.suite.config import ModelConfig, SaeConfig
from semconv.suite.hooks import parse_hook
from semconv.system.digests import sha256_of
from semconv.system.errors import InputError
from semconv.text.shared_tokens import SharedTokens
from semconv.text.token_blocks import TokenBlocks

_WRITES = ("none", "expected_average_only_in")  # the latter scales while an SAE is trained alone


def with_function_models(run: Run, loaded: Loaded, models: Roles[ModelOnText]) -> Loaded:
    """Returns what was encoded with the models that the tasks on function run, where the suite has some; none is read.

    Args:
        run: folder that holds what is kept of the SAEs.
        loaded: what was encoded.
        models: of the suite.

    Raises:
        InputError: the config of a model cannot be read.
    """
    if run.suite.function is None:
        return loaded
    known = dict[object, tuple[StoredModel, StoredModel]]()

    def acting(one: ModelOnText, sae: SaeConfig, identities: dict[str, StoreIdentity]) -> Acting:
        weights = one.model.weights
        if weights not in known:
            known[weights] = _stored(run, one.model, identities[sae.label])
        return Acting(*known[weights], _place(run, one.model, sae))

    found = {
        f"{role}.{sae.label}": acting(one, sae, of_model)
        for role, one, of_model in (
            ("a", models.a, loaded.identities.a),
            ("b", models.b, loaded.identities.b),
        )
        for sae in one.model.saes
    }
    for name in function_controls(run.suite):
        both = zip("ab", models.controls[name], loaded.identities.controls[name], strict=True)
        found |= {f"control.{name}.{of}": acting(one, one.model.saes[0], stores) for of, one, stores in both}
    encoded = loaded.encoded
    given = FunctionModels(found, Networks(), encoded.blocks, encoded.texts, encoded.streams)
    return replace(loaded, encoded=replace(encoded, function=given))


def _stored(run: Run, model: ModelConfig, store: StoreIdentity) -> tuple[StoredModel, StoredModel]:
    """Returns a model, and its head without most of its blocks."""
    identity = sha256_of(json.dumps([store.model_sha256, store.untrained_seed, store.trained_embeddings]))

    def part(name: str, n_blocks: int | None) -> StoredModel:
        size, load = size_of(model, run.device, n_blocks), partial(load_whole, model, run.device, n_blocks)
        return StoredModel(f"{name} {identity}", identity, size.held, size.vocab_size, load, size.working)

    return part("model", None), part("head", 1)


def _place(run: Run, model: ModelConfig, sae: SaeConfig) -> Place:
    """Returns where the features of an SAE write, by its metadata."""
    metadata = decoder_metadata(run.decoder_path(model, sae))
    hook, first = sae.hook, (metadata.head or 0) * metadata.d_in
    if metadata.normalize not in _WRITES:
        reason = f"its SAE scales its output anew at every token ({metadata.normalize}), so a unit has no size"
        return Place(hook, first, f"{model.name}/{sae.label}: {reason}")
    if not metadata.transcoder:
        return Place(hook, first)
    try:
        return Place(str(parse_hook(metadata.hook_out)))
    except InputError:
        what = metadata.hook_out or "a stream that its metadata does not name"
        return Place(hook, 0, f"{model.name}/{sae.label} predicts {what}, which is not read here")


class Networks:
    """Acts on models that were read (`semconv.study.function_models.Models`)."""

    def lenses(
        self,
        networks: tuple[SharedNetwork, SharedNetwork],
        places: tuple[Place, Place],
        rows: tuple[Float[ndarray, "n d_a"], Float[ndarray, "n d_b"]],
        k: int,
        size: int,
    ) -> Lenses:
        """Returns the logit lens of paired decoder rows."""
        for place in places:
            if reason := place.reason or why_no_lens(place.hook):
                raise InputError(reason)
        readouts = [Readout(network.copy()) for network in networks]
        of_a, of_b = (torch.from_numpy(np.ascontiguousarray(part, dtype=np.float32)) for part in rows)
        found = lens_of_pairs((readouts[0], readouts[1]), (of_a, of_b), SharedTokens.same(size), k)
        alike = found.agreement
        agreement = torch.stack([alike.correlation, alike.promoted, alike.suppressed], dim=1)
        return Lenses(*_ids(found.a), *_ids(found.b), agreement.numpy())

    def effects(
        self,
        networks: tuple[SharedNetwork, SharedNetwork],
        places: tuple[Place, Place],
        sides: tuple[Side, Side],
        pairs: tuple[Int[ndarray, " n"], Int[ndarray, " n"]],
        at: JointPositions,
        alternates: Int[ndarray, "n k"],
        *,
        blocks: TokenBlocks,
        size: int,
        seed: int,
        random: bool = True,
        tokens_a: Int[ndarray, " m"] | None = None,
    ) -> EffectSums:
        """Returns what ablating both features of every pair does where both fire."""
        acting = [
            FunctionSide(_interventions(network, place, side), side.acts.to("cpu"), blocks)
            for network, place, side in zip(networks, places, sides, strict=True)
        ]
        both, shared = (acting[0], acting[1]), SharedTokens.same(size)
        return functional_effects(both, pairs, at, shared, alternates, random=random, seed=seed, tokens_a=tokens_a)

    def substitutions(
        self,
        network: SharedNetwork,
        place: Place,
        rows: Float[ndarray, "n d"],
        mapped: Float[ndarray, "n k d"],
        activations: tuple[Float[ndarray, " m"], Float[ndarray, " m"]],
        *,
        at: JointPositions,
        blocks: TokenBlocks,
    ) -> SubstitutionSums:
        """Returns what it does to put mapped contributions in the place of those of features of one model."""
        if place.reason:
            raise InputError(place.reason)
        model = network.copy()
        own, others = (_in_stream(model, place, of) for of in (rows, mapped))
        acting = Interventions(model, place.hook, torch.from_numpy(own[:1].astype(np.float32)))
        return substitution_sums(acting, Contributions(own, others, *activations), at, blocks)


def _interventions(network: SharedNetwork, place: Place, side: Side) -> Interventions:
    """Returns what changes the features of a side in a copy of its model."""
    if place.reason:
        raise InputError(place.reason)
    model = network.copy()
    directions = _in_stream(model, place, side.decoder.astype(np.float32))
    return Interventions(model, place.hook, torch.from_numpy(directions))


def _in_stream(model: nn.Module, place: Place, rows: Float[ndarray, "*n d"]) -> Float[ndarray, "*n width"]:
    """Returns rows as directions of the stream that features write to, zero in the columns that are not theirs."""
    out = np.zeros((*rows.shape[:-1], stream_width(model, place.hook)), dtype=rows.dtype)
    out[..., place.first : place.first + rows.shape[-1]] = rows
    return out


def _ids(top: LensTokens) -> tuple[ndarray, ndarray]:
    return top.promoted.to(torch.int32).numpy(), top.suppressed.to(torch.int32).numpy()
