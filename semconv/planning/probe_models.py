"""Measures what forward passes and encoders of a suite cost on this machine, with made-up weights of its shapes."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from semconv.core.device import DTYPES, resolve_precision
from semconv.core.sparse import SparseActivations
from semconv.models.model_activations import transformer_blocks
from semconv.models.model_parts import first_blocks
from semconv.models.widened import widen
from semconv.planning.rates import Line
from semconv.planning.shapes import ModelShape, Shapes
from semconv.planning.timing import Probe, line_through
from semconv.suite.config import SuiteConfig

_TOKENS = 1024  # of a forward pass
_VOCABULARY, _BLOCKS = 1024, 2  # of the models that are timed
_DRAWN = 1_000_003  # numbers, with which weights are filled again and again: no row is as another
_ENCODED = 256  # tokens


def model_rates(probing: Probe, suite: SuiteConfig, shapes: Shapes) -> dict[str, Any]:
    """Returns the rates of models and SAEs: `blocks`, `whole` and `saes` of `Rates`."""
    precision = resolve_precision(suite.encode.model_precision, "", probing.device)
    blocks = {place: _block(probing, suite, shape, DTYPES[precision]) for place, shape in shapes.models.items()}
    saes: dict[str, float] = {}
    for sae in shapes.saes.values():
        key = f"{sae.width}x{sae.n_features}"
        if key not in saes:
            saes[key] = _encoder(probing, sae.width, sae.n_features, sae.l0)
    whole = {} if suite.function is None else {at: _whole(probing, suite, one) for at, one in shapes.models.items()}
    return {"blocks": blocks, "whole": whole, "saes": saes}


def _filled(tensor: Tensor) -> Tensor:
    """Fills a tensor with a few random numbers again and again: products take as long as with others."""
    drawn = (torch.randn(_DRAWN, generator=torch.Generator().manual_seed(0)) / 64).to(tensor.dtype)
    flat = tensor.view(-1)
    for part in flat.split(_DRAWN):
        part.copy_(drawn[: len(part)])
    return tensor


@torch.no_grad()
def _network(suite: SuiteConfig, shape: ModelShape, dtype: torch.dtype) -> Any:
    """Returns the first two blocks of a model, of a small vocabulary, with made-up weights."""
    from transformers import AutoModel
    from transformers.initialization import no_init_weights

    config = copy.deepcopy(first_blocks(shape.config, min(_BLOCKS, shape.n_blocks)))
    text = config.get_text_config()
    text.vocab_size, text.pad_token_id = min(_VOCABULARY, text.vocab_size), None
    with no_init_weights():
        model: Any = AutoModel.from_config(config, attn_implementation="eager", dtype=dtype)
    for weight in model.parameters():
        _filled(weight.data)
    return model.eval()


def _forward(model: Any, rows: int, length: int) -> Callable[[], object]:
    ids = torch.zeros(rows, length, dtype=torch.int64, device=next(model.parameters()).device)

    def call() -> object:
        with torch.inference_mode():
            return model(input_ids=ids, use_cache=False)

    return call


def _block(probing: Probe, suite: SuiteConfig, shape: ModelShape, dtype: torch.dtype) -> Line:
    """Times one block of a model: its forward pass over few tokens, and over more."""
    model, context = _network(suite, shape, dtype).to(probing.device), min(suite.corpus.context, 256)
    rows, few = max(1, min(suite.encode.batch, _TOKENS // context)), max(8, context // 4)
    return _line_of(probing, model, (1, few), (rows, context))


def _whole(probing: Probe, suite: SuiteConfig, shape: ModelShape) -> Line:
    """Times one block as the tasks on what features do run it: in float32, widened if it is mapped in 16 bits."""
    narrow = probing.on_cpu and shape.stored == torch.bfloat16.itemsize
    model = _network(suite, shape, torch.bfloat16 if narrow else torch.float32).to(probing.device)
    if narrow:
        widen(model)
    context = min(suite.corpus.context, 256)
    return _line_of(probing, model, (1, max(2, context // 32)), (1, context))


def _line_of(probing: Probe, model: Any, few: tuple[int, int], many: tuple[int, int]) -> Line:
    """Fits seconds of a block to passes over so many rows of so many tokens."""
    found = [
        (rows * length, probing.seconds(_forward(model, rows, length), at_once=False, warm=number > 0))
        for number, (rows, length) in enumerate((few, many))
    ]
    line, n_blocks = line_through(found), len(transformer_blocks(model))
    return Line(line.fixed / n_blocks, line.per_token / n_blocks)


def _encoder(probing: Probe, width: int, n_features: int, l0: float) -> float:
    """Times the products and the compaction of a JumpReLU SAE, per token."""
    generator = torch.Generator().manual_seed(0)
    weights = 64 * _filled(torch.empty(width, n_features)).to(probing.device) / math.sqrt(width)
    stream: Tensor = torch.randn(_ENCODED, width, generator=generator).to(probing.device)
    cut = float(torch.distributions.Normal(0.0, 1.0).icdf(torch.tensor(1 - min(l0 / n_features, 0.5))))
    threshold = torch.full((n_features,), cut, device=probing.device)

    def call(n: int = _ENCODED) -> object:
        with torch.inference_mode():
            return SparseActivations.from_dense(stream[:n] @ weights, torch.float16, threshold)

    call(8)
    return probing.seconds(call, at_once=False, warm=True) / _ENCODED
