"""The part of the report that says what was read: the text, and every SAE with the stream it reads and how it fits."""

from __future__ import annotations

from typing import Any

from semconv.report.rows import Rows, names_of, percent
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
_REASONS = {
    "bos": "BOS",
    "eos": "EOS",
    "padding": "padding",
    "skipped": "at the beginnings of rows",
    "control": "control tokens in the text",
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


def text_lines(results: dict[str, Any]) -> list[str]:
    """Returns what was read of the text, a sentence or two each: rows, what does not count, tokenizers, versions."""
    corpus, (a, b) = results["corpus"], names_of(results)
    other = corpus.get("b")
    lines = _corpus_lines(corpus, corpus["n_tokens"], f" by {a}" if other else "", corpus["context"])
    if other:
        lines += _corpus_lines(other, other["n_tokens"], f" by {b}", corpus["context"])
    lines += _sink_lines(corpus["sinks"], aligned=bool(other))
    versions = ", ".join(f"{name} {version}" for name, version in results["read"]["versions"].items())
    return [*lines, f"Read with {versions}."]


def _corpus_lines(text: dict[str, Any], n_tokens: int, by: str, context: int) -> list[str]:
    lines = [
        f"{n_tokens:,} positions{by} count, of {text['documents_read']:,} of {text['documents']:,} documents, in "
        f"{text['n_rows']:,} rows of up to {context} tokens: {_LAYOUTS[text['rows']]}; {text['bos_rule']}; "
        f"{text['separator_rule']}. Tokenizer: {text['tokenizer']}."
    ]
    left_out = [f"{n:,} {_REASONS[reason]}" for reason, n in text["excluded"].items() if n]
    if left_out:
        lines.append(f"Read and not counted{by}: {', '.join(left_out)}.")
    if text["documents_cut"]:
        lost = f", without their last {text['tokens_left_out']:,} tokens in all" if text["tokens_left_out"] else ""
        lines.append(f"Documents of which only the beginning is read{by}: {text['documents_cut']:,}{lost}.")
    if text["files_ignored"]:
        lines.append(f"Files of the folder that are of no kind that is read: {text['files_ignored']:,}.")
    return lines


def _sink_lines(sinks: dict[str, Any], aligned: bool) -> list[str]:
    multiple = f"{sinks['multiple']:g} times its median"
    n_a, n_b = sinks["positions_a"], sinks["positions_b"]
    if not n_a and not n_b:
        return [f"No attention sinks: the norm of no stream is anywhere above {multiple}."]
    found = f"{n_a:,} and {n_b:,} positions" if aligned else "1 position" if n_a == 1 else f"{n_a:,} positions"
    told = f"Attention sinks: at {found} the norm of a stream is above {multiple}"
    if not sinks["excluded"]:
        return [f"{told}; {'it counts' if found == '1 position' else 'they count'}."]
    return [f"{told}; the {sinks['spans']:,} spans that hold one do not count." if aligned else f"{told}; not counted."]


def _kind(sae: dict[str, Any]) -> str:
    return sae["architecture"].replace("_", " ") + (
        f" that predicts {stream_in_words(sae['hook_out'])}" if sae["hook_out"] else ""
    )


def _variance(fit: dict[str, Any]) -> object:
    """Returns the explained variance, beside that with sinks where the two differ."""
    usual, every = fit.get("explained_variance"), fit.get("explained_variance_with_sinks")
    if usual is None or every in (None, usual):
        return usual
    return f"{usual:.4g} ({every:.4g} with sinks)"


def _sinks(sae: dict[str, Any]) -> object:
    share = percent(sae["sinks_norm_share"])
    return f"{sae['sinks']:,} ({share} of the squared norm)" if sae["sinks"] else 0


def sae_rows(results: dict[str, Any]) -> Rows:
    """Returns a row for every SAE: what it reads, how it fits the text, how active it is; those of controls last."""
    rows: list[list[object]] = [
        [
            f"{model['name']}/{label}",
            stream_in_words(sae["hook"], sae["head"]),
            _kind(sae),
            sae["n_features"],
            _variance(sae["fit"]),
            sae["fit"].get("loss", {}).get("recovered"),
            sae["l0"],
            f"{100 * sae['dead_share']:.1f}%",
            _sinks(sae),
            sae["activations_sha256"][:16],
        ]
        for model in (results["model_a"], results["model_b"])
        for label, sae in model["saes"].items()
    ]
    rows += [
        [f"{name} (control {control})", *[None] * 3, _variance(fit), *[None] * 5]
        for control, name, fit in control_fits(results)
    ]
    header = ["SAE", "stream", "kind", "features", "variance explained", "loss recovered", "realised L0"]
    return Rows([*header, "never active", "attention sinks", "activations SHA-256"], rows)


def control_fits(results: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Returns control, name of the SAE (`MODEL/LABEL`), and fit of every SAE of the controls."""
    pairs = results["controls"]["pairs"]
    return [
        (control, f"{pairs[control][f'model_{side}']}/{pairs[control][f'sae_{side}']}", fits[side])
        for control, fits in results["read"]["controls"].items()
        if control in pairs
        for side in ("a", "b")
    ]


def fit_text(results: dict[str, Any]) -> str:
    """Returns what variance explained and loss recovered are, and over how much text they were measured."""
    saes = [sae for model in ("model_a", "model_b") for sae in results[model]["saes"].values()]
    tokens = max((sae["fit"].get("tokens", 0) for sae in saes), default=0)
    of_loss = max((sae["fit"].get("loss", {}).get("tokens", 0) for sae in saes), default=0)
    loss = (
        " Loss recovered: of what zeros in place of the stream cost the model, in cross-entropy of the next token over "
        f"{of_loss:,} positions, the share that its reconstruction saves."
    )
    return (
        "Variance explained: the share of the variance of the stream that the SAE reconstructs, over "
        f"{tokens:,} positions, no sinks, spread over the text; of a transcoder, of the stream that it predicts."
        + (loss if of_loss else "")
    )


def remark_lines(results: dict[str, Any]) -> list[str]:
    """Returns what else to know of single SAEs: in what their use differs from their training, what has no number."""
    lines: list[str] = []
    for model in (results["model_a"], results["model_b"]):
        for label, sae in model["saes"].items():
            fit = sae["fit"]
            found = list(sae["remarks"])
            if "reason" in fit:
                found.append(f"Its fit is not known: {fit['reason']}.")
            if "reason" in fit.get("loss", {}):
                found.append(f"Its loss recovered is not known: {fit['loss']['reason']}.")
            lines += [f"{model['name']}/{label}: {' '.join(found)}"] if found else []
    return lines
