"""The part of the report that says what was read: the text, and every SAE with the stream it reads and how it fits."""

from __future__ import annotations

from semconv.report.result_values import names_of
from semconv.report.shown import percent, show
from semconv.report.table_cells import Rows
from semconv.results.schema import Fit, FitOrReason, Loss, Reason, Results, Sae, Sinks, TextRead
from semconv.suite.hooks import parse_hook
from semconv.system.errors import InputError

_STREAMS = {
    "hook_resid_pre": "input of block {}",
    "hook_resid_mid": "residual stream between attention and MLP of block {}",
    "hook_resid_post": "output of block {}",
    "hook_mlp_out": "what the MLP of block {} adds",
    "hook_attn_out": "what the attention of block {} adds",
    "hook_mlp_in": "input of the MLP of block {}, before its norm",
    "ln1.hook_normalized": "input of the attention of block {}, normalised",
    "ln2.hook_normalized": "input of the MLP of block {}, normalised",
    "attn.hook_z": "heads of the attention of block {}",
    "mlp.hook_post": "neurons of the MLP of block {}",
}
_REASONS = {  # by name, as every table of the results
    "bos": "BOS",
    "control": "control tokens in the text",
    "eos": "EOS",
    "padding": "padding",
    "skipped": "at the beginnings of rows",
}
_LAYOUTS = {
    "packed": "documents one after the other, so that rows begin in the middle of documents",
    "documents": "a row for each document",
}


def stream_in_words(hook: str, head: int | None = None) -> str:
    """Returns what a hook is the name of, such as `output of block 3`; a name that is not known as it is."""
    try:
        place = parse_hook(hook)
    except InputError:
        return hook
    if place.stream not in _STREAMS:
        side = "input" if place.stream.endswith(".input") else "output"
        return f"{side} of {place.stream.removesuffix('.input')} in block {place.layer}"
    words = _STREAMS[place.stream].format(place.layer)
    return words if head is None else words.replace("heads", f"head {head}")


def text_lines(results: Results) -> list[str]:
    """Returns what was read of the text, a sentence or two each: rows, what does not count, tokenizers, versions."""
    corpus, (a, b) = results.corpus, names_of(results)
    other = corpus.b
    lines = _corpus_lines(corpus, f" by {a}" if other else "", corpus.context)
    if other:
        lines += _corpus_lines(other, f" by {b}", corpus.context)
    lines += _sink_lines(corpus.sinks, aligned=bool(other))
    versions = ", ".join(f"{name} {version}" for name, version in results.read.versions.items())
    return [*lines, f"Read with {versions}."]


def _corpus_lines(text: TextRead, by: str, context: int) -> list[str]:
    lines = [
        f"{text.n_tokens:,} positions{by} count, of {text.documents_read:,} of {text.documents:,} documents, in "
        f"{text.n_rows:,} rows of up to {context} tokens: {_LAYOUTS[text.rows]}; {text.bos_rule}; "
        f"{text.separator_rule}. Tokenizer: {text.tokenizer}."
    ]
    excluded = {told: getattr(text.excluded, reason) for reason, told in _REASONS.items()}
    left_out = [f"{n:,} {told}" for told, n in excluded.items() if n]
    if left_out:
        lines.append(f"Read and not counted{by}: {', '.join(left_out)}.")
    if text.documents_cut:
        lost = f", without their last {text.tokens_left_out:,} tokens in all" if text.tokens_left_out else ""
        lines.append(f"Documents of which only the beginning is read{by}: {text.documents_cut:,}{lost}.")
    if text.files_ignored:
        lines.append(f"Files of the folder that are of no kind that is read: {text.files_ignored:,}.")
    return lines


def _sink_lines(sinks: Sinks, aligned: bool) -> list[str]:
    multiple = f"{sinks.multiple:g} times its median"
    n_a, n_b = sinks.positions_a, sinks.positions_b
    if not n_a and not n_b:
        return [f"No attention sinks: the norm of no stream is anywhere above {multiple}."]
    found = f"{n_a:,} and {n_b:,} positions" if aligned else "1 position" if n_a == 1 else f"{n_a:,} positions"
    told = f"Attention sinks: at {found} the norm of a stream is above {multiple}"
    if not sinks.excluded:
        return [f"{told}; {'it counts' if found == '1 position' else 'they count'}."]
    return [f"{told}; the {sinks.spans:,} spans that hold one do not count." if aligned else f"{told}; not counted."]


def _kind(sae: Sae) -> str:
    predicts = f" that predicts {stream_in_words(sae.hook_out)}" if sae.hook_out else ""
    return sae.architecture.replace("_", " ") + predicts


def _variance(fit: FitOrReason) -> object:
    """Returns the explained variance, beside that with sinks where the two differ."""
    if isinstance(fit, Reason) or fit.explained_variance is None:
        return None
    usual, every = fit.explained_variance, fit.explained_variance_with_sinks
    return usual if every in (None, usual) else f"{show(usual)} ({show(every)} with sinks)"


def _loss(fit: FitOrReason) -> Loss | None:
    loss = fit.loss if isinstance(fit, Fit) else None
    return loss if isinstance(loss, Loss) else None


def _recovered(fit: FitOrReason) -> float | None:
    loss = _loss(fit)
    return loss.recovered if loss else None


def _sinks(sae: Sae) -> object:
    return f"{sae.sinks:,} ({percent(sae.sinks_norm_share)} of the squared norm)" if sae.sinks else 0


def _saes(results: Results) -> list[tuple[str, Sae]]:
    """Returns name (`MODEL/LABEL`) and facts of every SAE of A and B."""
    models = results.model_a, results.model_b
    return [(f"{model.name}/{label}", sae) for model in models for label, sae in model.saes.items()]


def sae_rows(results: Results) -> Rows:
    """Returns a row for every SAE that is compared: what it reads, how it fits the text, how active it is."""
    rows: list[list[object]] = [
        [
            name,
            stream_in_words(sae.hook, sae.head),
            _kind(sae),
            sae.n_features,
            _variance(sae.fit),
            _recovered(sae.fit),
            sae.l0,
            percent(sae.dead_share),
            _sinks(sae),
            sae.activations_sha256[:16],
        ]
        for name, sae in _saes(results)
    ]
    header = ["SAE", "stream", "kind", "features", "variance explained", "loss recovered", "realised L0"]
    return Rows([*header, "never active", "attention sinks", "activations SHA-256"], rows)


def control_sae_rows(results: Results) -> Rows:
    """Returns a row for every SAE of the controls: how it fits the text."""
    rows = [[control, name, _variance(fit)] for control, name, fit in control_fits(results)]
    return Rows(["control", "SAE", "variance explained"], rows)


def control_fits(results: Results) -> list[tuple[str, str, FitOrReason]]:
    """Returns control, name of the SAE (`MODEL/LABEL`), and fit of every SAE of the controls."""
    found: list[tuple[str, str, FitOrReason]] = []
    for control, fits in results.read.controls.items():
        pair = results.controls.pairs.get(control)
        if pair is not None:
            found.append((control, f"{pair.model_a}/{pair.sae_a}", fits.a))
            found.append((control, f"{pair.model_b}/{pair.sae_b}", fits.b))
    return found


def fit_text(results: Results) -> str:
    """Returns what variance explained and loss recovered are, and over how much text they were measured."""
    fits = [sae.fit for _, sae in _saes(results)]
    tokens = max((fit.tokens for fit in fits if isinstance(fit, Fit)), default=0)
    of_loss = max((loss.tokens for loss in map(_loss, fits) if loss), default=0)
    loss = (
        " Loss recovered: of what zeros in place of the stream cost the model, in cross-entropy of the next token over "
        f"{of_loss:,} positions, the share that its reconstruction saves."
    )
    return (
        "Variance explained: the share of the variance of the stream that the SAE reconstructs, over "
        f"{tokens:,} positions, no sinks, spread over the text; of a transcoder, of the stream that it predicts."
        + (loss if of_loss else "")
    )


def remark_lines(results: Results) -> list[str]:
    """Returns what else to know of single SAEs: in what their use differs from their training, what has no number."""
    lines: list[str] = []
    for name, sae in _saes(results):
        found = list(sae.remarks)
        if isinstance(sae.fit, Reason):
            found.append(f"Its fit is not known: {sae.fit.reason}.")
        elif isinstance(sae.fit.loss, Reason):
            found.append(f"Its loss recovered is not known: {sae.fit.loss.reason}.")
        lines += [f"{name}: {' '.join(found)}"] if found else []
    return lines
