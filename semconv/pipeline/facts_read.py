"""What the results say of the text and of every SAE: what was read, and how much of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from semconv.core.activation_store import StoreIdentity
from semconv.models.decoders import decoder_metadata, decoder_source
from semconv.models.encoding import is_bidirectional
from semconv.models.fitting import Fits
from semconv.models.model_files import read_config
from semconv.models.roles import Roles
from semconv.models.sae_metadata import remarks
from semconv.models.sinks import REPORTED
from semconv.models.sources import HUB, model_folder
from semconv.planning.shapes import parameters_of
from semconv.results import schema
from semconv.runs.run import Run
from semconv.study.sides import AnySide
from semconv.suite.config import CorpusConfig, MatchConfig, ModelConfig
from semconv.system.provenance import package_versions
from semconv.text.packing import CorpusFacts
from semconv.text.token_blocks import TokenBlocks


def is_own(path: str) -> bool:
    """Whether a path of a suite is neither empty, nor of the package, nor on the hub."""
    return bool(path) and not path.startswith(("asset:", HUB))


@dataclass(frozen=True)
class SaeActivity:
    """How active an SAE is on the text; names as in `Sae` of the results."""

    l0: float
    dead_share: float
    sinks: int
    sinks_norm_share: float | None


def fit_facts(fit: dict[str, Any]) -> schema.Fit | schema.Reason:
    """Returns what the results say of how an SAE fits, from what was measured (`fits_of`)."""
    if "reason" in fit:
        return schema.Reason(reason=fit["reason"])
    loss = fit.get("loss")
    of_loss = None if loss is None else schema.Reason(**loss) if "reason" in loss else schema.Loss(**loss)
    measured = {name: value for name, value in fit.items() if name != "loss"}
    return schema.Fit(**measured, loss=of_loss)


def model_facts(
    run: Run,
    model: ModelConfig,
    *,
    sides: Sequence[AnySide],
    activity: Sequence[SaeActivity],
    fits: Fits,
    text: CorpusFacts,
    identities: dict[str, StoreIdentity],
) -> schema.Model:
    """Returns what the results say of a model and its SAEs.

    Args:
        run: folder that holds what is known of the SAEs.
        model: which.
        sides: of its SAEs.
        activity: of each.
        fits: how well each fits the text, by label.
        text: what became of the text that the model read.
        identities: what their stores hold, by label. It says by which files a model or SAE is known that lies in a
            folder of the user's own, whose path says nothing to others.
    """
    shown = run.suite.shown(model)

    def described(side: AnySide, active: SaeActivity) -> schema.Sae:
        sae = shown.by_label[side.label]
        path = run.decoder_path(model, sae)
        metadata = decoder_metadata(path)
        prepends_bos = text.excluded.get("bos", 0) > 0
        return schema.Sae(
            layer=side.layer,
            hook=sae.hook,
            head=metadata.head,
            hook_out=metadata.hook_out if metadata.transcoder else None,
            architecture=metadata.architecture,
            source=decoder_source(path, sae),
            n_features=side.n_features,
            activations_sha256=side.store_sha256,
            sae_sha256=identities[side.label].sae_sha256 if is_own(sae.path) else None,
            **asdict(active),
            fit=fit_facts(fits[side.label]),
            remarks=tuple(remarks(metadata, sae.hook, shown.path, prepends_bos, run.suite.corpus.context)),
        )

    config = read_config(model_folder(model))
    text_config = config.get_text_config()
    return schema.Model(
        name=model.name,
        path=shown.path,
        revision=model.revision,
        model_sha256=next(iter(identities.values())).model_sha256 if is_own(model.path) else None,
        bidirectional=True if model.bidirectional and is_bidirectional(model) else None,
        family=str(config.model_type),
        blocks=int(text_config.num_hidden_layers),
        width=int(text_config.hidden_size),
        parameters=parameters_of(config)[0],
        saes={side.label: described(side, active) for side, active in zip(sides, activity, strict=True)},
    )


def origin_in_words(corpus: CorpusConfig) -> str:
    """Returns where a text comes from, in words; no path of the user's own is among them."""
    if corpus.kind == "docstrings":
        named = [*corpus.packages][:_NAMED]
        others = " and others" if len(corpus.packages) > _NAMED else ""
        return f"documentation of {len(corpus.packages)} Python packages ({', '.join(named)}{others})"
    if corpus.kind == "hub":
        return f"the data set {corpus.path}"
    return "text of the user's own"


def text_facts(facts: CorpusFacts, blocks: TokenBlocks, n_tokens: int) -> dict[str, Any]:
    """Returns what the results say of a text on its way through a tokenizer, as fields of `TextRead`.

    Args:
        facts: what became of it.
        blocks: its tokens.
        n_tokens: positions that count.
    """
    excluded = schema.NotCounted(**facts.excluded)
    return {**facts.plain(), "excluded": excluded, "n_tokens": n_tokens, "tokens_sha256": blocks.sha256}


_NAMED = 3  # packages of a text that are named
VERSIONS = ("torch", "transformers", "sae-lens", "tokenizers")
"""Packages that run models and SAEs and make the tokens."""


def read_facts(fits: Roles[Fits]) -> schema.Read:
    """Returns what the results say of what was read beside text, models and their SAEs.

    Args:
        fits: of the SAEs of every model.
    """

    def only(fits: Fits) -> schema.Fit | schema.Reason:
        return fit_facts(next(iter(fits.values())))

    controls = {name: schema.ControlFits(a=only(a), b=only(b)) for name, (a, b) in fits.controls.items()}
    versions = package_versions()
    return schema.Read(controls=controls, versions={name: versions[name] for name in VERSIONS})


def sink_facts(match: MatchConfig, dropped: tuple[Tensor, Tensor], spans: int) -> schema.Sinks:
    """Returns what the results say of attention sinks in the text.

    Args:
        match: says from which norm on a position is one, and whether they count.
        dropped: bool [n_tokens] sinks among the positions of A and of B.
        spans: shared spans that were left out because they hold one.
    """
    return schema.Sinks(
        multiple=match.sink_norm or REPORTED,
        excluded=bool(match.sink_norm),
        positions_a=int(dropped[0].sum()),
        positions_b=int(dropped[1].sum()),
        spans=spans,
    )
