"""What was read: every fact of text and SAEs in words, in Markdown and on the page."""

from __future__ import annotations

from typing import Any

import pytest

from semconv.report import sections
from semconv.report.page import page
from semconv.report.shown import show
from semconv.report.what_was_read import control_sae_rows, remark_lines, sae_rows, stream_in_words, text_lines
from semconv.results.claims import value_at
from semconv.results.schema import NotCounted, Reason
from semconv.suite.hooks import STREAMS
from tests._helpers.made_up import changed, read_by_b, results
from tests._helpers.made_up_page import tables


@pytest.mark.parametrize(
    ("hook", "head", "words"),
    [
        ("blocks.3.hook_resid_post", None, "output of block 3"),
        ("blocks.0.hook_resid_pre", None, "input of block 0"),
        ("blocks.12.hook_mlp_out", None, "what the MLP of block 12 adds"),
        ("blocks.1.attn.hook_z", None, "heads of the attention of block 1"),
        ("blocks.1.attn.hook_z", 7, "head 7 of the attention of block 1"),
        ("layers.2.mlp.act_fn", None, "output of mlp.act_fn in block 2"),
        ("layers.2.mlp.input", None, "input of mlp in block 2"),
        ("somewhere", None, "somewhere"),
        *((f"blocks.5.{stream}", None, "block 5") for stream in STREAMS),
    ],
)
def test_streams_in_words(hook: str, head: int | None, words: str):
    found = stream_in_words(hook, head)
    assert found.endswith(words) or words in found
    assert "hook" not in found


def sinks(**changes: Any) -> dict[str, Any]:
    return {f"corpus.sinks.{name}": new for name, new in changes.items()}


OF_B = read_by_b(
    n_tokens=99_001,
    tokens_sha256="c" * 64,
    rows="documents",
    n_rows=1790,
    skip_positions=3,
    bos_rule="rows begin with text",
    separator_rule="nothing between",
    files_ignored=0,
    excluded=NotCounted(eos=1790, skipped=5370, control=4),
    documents=1801,
    documents_read=1790,
    documents_cut=31,
    tokens_left_out=4321,
    tokenizer="Unigram of 500 tokens, tokenizer.json",
)
LINES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "as it is": (
        {},
        [
            "123,456 positions count, of 1,790 of 1,801 documents, in 543 rows of up to 257 tokens: documents one "
            "after the other, so that rows begin in the middle of documents; rows begin with <s> "
            "(tokenizer_config.json); documents are closed by </s>. Tokenizer: BPE of 4096 tokens, tokenizer.json.",
            "Read and not counted: 543 BOS, 1,788 EOS, 21 padding.",
            "Documents of which only the beginning is read: 1.",
            "No attention sinks: the norm of no stream is anywhere above 10 times its median.",
            "Read with torch 2.99.1, transformers 5.98.2, sae-lens 6.97.3, tokenizers 0.96.4.",
        ],
    ),
    "sinks kept": (
        sinks(positions_a=7, positions_b=7),
        ["Attention sinks: at 7 positions the norm of a stream is above 10 times its median; they count."],
    ),
    "sinks left out": (
        sinks(positions_a=7, positions_b=7, excluded=True, multiple=5.5),
        ["Attention sinks: at 7 positions the norm of a stream is above 5.5 times its median; not counted."],
    ),
    "sinks of spans": (
        {**sinks(positions_a=7, positions_b=8, spans=14, excluded=True), "corpus.b": OF_B},
        ["at 7 and 8 positions the norm", "the 14 spans that hold one do not count"],
    ),
    "two tokenizers": (
        {"corpus.b": OF_B},
        [
            "123,456 positions by small count",
            "99,001 positions by large count, of 1,790 of 1,801 documents, in 1,790 rows of up to 257 tokens: a row "
            "for each document; rows begin with text; nothing between. Tokenizer: Unigram of 500 tokens, "
            "tokenizer.json.",
            "Read and not counted by large: 4 control tokens in the text, 1,790 EOS, 5,370 at the beginnings of rows.",
            "Documents of which only the beginning is read by large: 31, without their last 4,321 tokens in all.",
        ],
    ),
    "files of other kinds": (
        {"corpus.files_ignored": 3},
        ["Files of the folder that are of no kind that is read: 3."],
    ),
}


@pytest.mark.parametrize(("change", "told"), LINES.values(), ids=list(LINES))
def test_the_text_in_words(change: dict[str, Any], told: list[str]):
    made = changed(results(), change)
    lines = "\n".join(text_lines(made))
    for part in told:
        assert part in lines
    assert "None" not in lines
    assert all(line.endswith(".") for line in lines.splitlines())


def test_a_row_for_every_sae():
    odd = {"hook": "blocks.1.attn.hook_z", "head": 3, "sinks": 1234, "sinks_norm_share": 0.6666}
    odd |= {"fit.explained_variance_with_sinks": 0.98765, "fit.loss": Reason(reason="it has none")}
    other = {"architecture": "skip_transcoder", "hook": "blocks.2.hook_mlp_in", "hook_out": "blocks.2.hook_mlp_out"}
    other |= {"fit": Reason(reason="it predicts nothing")}
    made = changed(results(), {f"model_a.saes.1.{name}": new for name, new in odd.items()})
    made = changed(made, {f"model_b.saes.2.{name}": new for name, new in other.items()})
    content = sae_rows(made)
    rows = [dict(zip(content.header, row, strict=True)) for row in content.rows]
    assert [row["SAE"] for row in rows] == [
        "small/0",
        "small/1",
        "large/2",
        "large/10",
    ]
    of_controls = control_sae_rows(made).rows  # a table of its own, for of these only the fit is known
    assert [(row[0], row[1]) for row in of_controls] == [
        ("untrained", "small-untrained/1"),
        ("untrained", "large-untrained/2"),
        ("other SAE", "small/1"),
        ("other SAE", "small-other/1"),
    ]
    first = made.model_a.saes["0"]
    assert rows[0]["variance explained"] == value_at(first, "fit.explained_variance")
    assert rows[0]["loss recovered"] == value_at(first, "fit.loss.recovered")
    assert (rows[0]["realised L0"], rows[0]["never active"], rows[0]["attention sinks"]) == (first.l0, "12.5%", 0)
    assert rows[1]["stream"] == "head 3 of the attention of block 1"
    assert (
        rows[1]["variance explained"]
        == f"{show(value_at(made, 'model_a.saes.1.fit.explained_variance'))} (0.988 with sinks)"
    )
    assert rows[1]["attention sinks"] == "1,234 (66.7% of the squared norm)"
    assert rows[1]["loss recovered"] is rows[2]["loss recovered"] is rows[2]["variance explained"] is None
    assert rows[2]["kind"] == "skip transcoder that predicts what the MLP of block 2 adds"
    assert of_controls[0][2] == value_at(made, "read.controls.untrained.a.explained_variance")
    assert of_controls[1][2] is None
    made = changed(made, {"model_a.saes.1.remarks": ("It was trained on a/b.", "It is odd.")})
    assert remark_lines(made) == [
        "small/1: It was trained on a/b. It is odd. Its loss recovered is not known: it has none.",
        "large/2: Its fit is not known: it predicts nothing.",
    ]


def test_report_and_page_say_the_same_before_any_other_table():
    made = changed(results(), {"model_a.saes.0.remarks": ("It was trained on <b>.",)})
    text, whole = sections.read_section(made), page(made, [], tables(), {})
    for line in text_lines(made):
        assert f"- {line}" in text
        assert line.replace("<", "&lt;").replace(">", "&gt;") in whole
    assert "over 8,203 positions, no sinks, spread over the text" in text
    assert "over 2,052 positions" in text
    assert "- small/0: It was trained on <b>." in text
    assert "<li>small/0: It was trained on &lt;b&gt;.</li>" in whole
    assert whole.index('id="found"') < whole.index('id="read"') < whole.index('id="layers"')
