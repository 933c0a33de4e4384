"""What the results say of the text and of every SAE: what was read, and how much of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from semconv.core.activation_store import StoreIdentity
from semconv.core.sparse import SparseActivations
from semconv.models.decoders import decoder_metadata, decoder_source
from semconv.models.encoding import is_bidirectional
from semconv.models.fitting import Fits
from semconv.models.sae_metadata import remarks
from semconv.models.sinks import REPORTED, Sinks
from semconv.models.sources import HUB
from semconv.runs.run import Run
from semconv.study.sides import Side
from semconv.suite.config import MatchConfig, ModelConfig, SuiteConfig
from semconv.system.provenance import package_versions
from semconv.text.packing import CorpusFacts


def is_own(path: str) -> bool:
    """Whether a path of a suite is neither empty, nor of the package, nor on the hub."""
    return bool(path) and not path.startswith(("asset:", HUB))


def sae_facts(acts: SparseActivations, sinks: Sinks) -> dict[str, Any]:
    """Returns what the results say of an SAE on this text.

    Args:
        acts: its activations over the tokens that count, before any pooling.
        sinks: of the stream that it reads.
    """
    return {
        "l0": acts.l0,
        "dead_share": float((acts.active_counts() == 0).double().mean()),
        "sinks": sinks.n,
        "sinks_norm_share": sinks.norm_share,
    }


def model_facts(
    run: Run,
    model: ModelConfig,
    sides: Sequence[Side],
    of_saes: Sequence[dict[str, Any]],
    fits: Fits,
    text: CorpusFacts,
    identities: dict[str, StoreIdentity],
) -> dict[str, Any]:
    """Returns what the results say of a model and its SAEs.

    Args:
        run: folder that holds what is known of the SAEs.
        model: which.
        sides: of its SAEs.
        of_saes: `sae_facts` of each.
        fits: how well each fits the text, by label.
        text: what became of the text that the model read.
        identities: what their stores hold, by label. It says by which files a model or SAE is known that lies in a
            folder of the user's own, whose path says nothing to others.
    """
    shown = run.suite.shown(model)

    def described(side: Side, facts: dict[str, Any]) -> dict[str, Any]:
        sae = shown.by_label[side.label]
        path = run.decoder_path(model, sae)
        metadata = decoder_metadata(path)
        prepends_bos = text.excluded.get("bos", 0) > 0
        return {
            "layer": side.layer,
            "hook": sae.hook,
            "head": metadata.head,
            "hook_out": metadata.hook_out if metadata.transcoder else None,
            "architecture": metadata.architecture,
            "source": decoder_source(path, sae),
            "n_features": side.acts.n_features,
            "activations_sha256": side.store_sha256,
            **({"sae_sha256": identities[side.label].sae_sha256} if is_own(sae.path) else {}),
            **facts,
            "fit": fits[side.label],
            "remarks": remarks(metadata, sae.hook, shown.path, prepends_bos, run.suite.corpus.context),
        }

    saes = {side.label: described(side, facts) for side, facts in zip(sides, of_saes, strict=True)}
    told = {"name": model.name, "path": shown.path, "revision": model.revision, "saes": saes}
    if is_own(model.path):
        told["model_sha256"] = next(iter(identities.values())).model_sha256
    return told | {"bidirectional": True} if model.bidirectional and is_bidirectional(model) else told


VERSIONS = ("torch", "transformers", "sae-lens", "tokenizers")
"""Packages that run models and SAEs and make the tokens."""


def read_facts(suite: SuiteConfig, fits: Sequence[Fits]) -> dict[str, Any]:
    """Returns what the results say of what was read beside text, models and their SAEs.

    Args:
        suite: whose controls.
        fits: of the SAEs of both models of every control.
    """
    both = zip(fits[::2], fits[1::2], strict=True)
    controls = {
        control.name: {side: next(iter(fit.values())) for side, fit in (("a", a), ("b", b))}
        for control, (a, b) in zip(suite.controls, both, strict=True)
    }
    versions = package_versions()
    return {"controls": controls, "versions": {name: versions[name] for name in VERSIONS}}


def sink_facts(match: MatchConfig, dropped: tuple[Tensor, Tensor], spans: int) -> dict[str, Any]:
    """Returns what the results say of attention sinks in the text.

    Args:
        match: says from which norm on a position is one, and whether they count.
        dropped: bool [n_tokens] sinks among the positions of A and of B.
        spans: shared spans that were left out because they hold one.
    """
    return {
        "multiple": match.sink_norm or REPORTED,
        "excluded": bool(match.sink_norm),
        "positions_a": int(dropped[0].sum()),
        "positions_b": int(dropped[1].sum()),
        "spans": spans,
    }
