"""What the results say of the text and of every SAE: what was read, and how much of it."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from semconv.config import MatchConfig
from semconv.sinks import REPORTED, Sinks
from semconv.sparse import SparseActivations


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
