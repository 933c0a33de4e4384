"""What a run folder holds beside its results, made by hand: pairs, contexts and draws, nasty text included."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any, Literal

import numpy as np

from semconv.report.explorer_tables import ContextRow, PairRow, Tables
from semconv.report.histograms import Draws
from semconv.results.claims import Checked, Claim
from semconv.results.schema import Model, Results, Score
from tests._helpers.made_up import LABELS_A, LABELS_B, NULLS, results

NASTY = ["</script><script>alert(1)</script>", "<img src=x onerror=alert(2)>", "\"'&<!--", "\x00\x1b\u202e\u2028", "it"]
LINK = "https://www.neuronpedia.org/model/1-res/5"


VOID = {"meta", "br", "input", "link", "img"}


class Outline(HTMLParser):
    """Elements of a page, and whether every one that opens is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, list[str]] = {"script": [], "style": [], "h2": [], "table": []}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag in self.inside:
            self.inside[tag].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data: str) -> None:
        for tag in self.inside:
            if tag in self.open:
                self.inside[tag][-1] += data

    def ids(self) -> list[str]:
        return [str(attributes["id"]) for _, attributes in self.tags if "id" in attributes]

    def titles(self) -> list[str]:
        return self.inside["h2"]

    def data(self) -> dict[str, Any]:
        kinds = [attributes.get("type") for tag, attributes in self.tags if tag == "script"]
        return json.loads(self.inside["script"][kinds.index("application/json")])


def pairs(n: int = 40) -> list[PairRow]:
    """Pairs at two layer pairs, r falling from 0.99; the first pairs are of nasty tokens."""
    return [
        {
            "layer_a": place % 2,
            "layer_b": 2,
            "sae_a": str(place % 2),
            "sae_b": "2",
            "feature_a": 100 + place,
            "feature_b": 500 + place,
            "r": 0.99 - place / 100,
            "top_tokens_a": [NASTY[place % len(NASTY)], f"word{place}", f"word{place}"],
            "top_tokens_b": [f"word{place}"],
            "link_a": LINK if place == 0 else "javascript:alert(3)" if place == 1 else None,
            "link_b": None,
        }
        for place in range(n)
    ]


def contexts(n: int = 40) -> list[ContextRow]:
    """Two contexts of every feature of A, one of B's."""

    def context(side: Literal["a", "b"], pair: PairRow, rank: int) -> ContextRow:
        of_a = side == "a"
        return {
            "side": side,
            "sae": pair["sae_a"] if of_a else pair["sae_b"],
            "feature": pair["feature_a"] if of_a else pair["feature_b"],
            "rank": rank,
            "document": 7,
            "before": f"before{pair['feature_a']} \n",
            "token": (pair["top_tokens_a"] if of_a else pair["top_tokens_b"])[0],
            "after": NASTY[1],
            "activation": 8.0 / (1 + rank),
        }

    return [one for pair in pairs(n) for one in (context("a", pair, 0), context("a", pair, 1), context("b", pair, 0))]


def tables(n: int = 40) -> Tables:
    """Both tables."""
    return Tables(pairs(n), contexts(n))


def labelled_tables(n: int = 40) -> Tables:
    """The same tables of SAEs that have labels, those of `made_up.labelled`."""
    of_pairs, of_contexts, labels = pairs(n), contexts(n), {"a": LABELS_A, "b": LABELS_B}
    for pair in of_pairs:
        pair["sae_a"], pair["sae_b"] = LABELS_A[pair["sae_a"]], LABELS_B[pair["sae_b"]]
    for row in of_contexts:
        row["sae"] = labels[row["side"]][row["sae"]]
    return Tables(of_pairs, of_contexts)


def draws(results: Results) -> Draws:
    """Draws of every null of every score, normal about a mean of its own."""
    rng = np.random.default_rng(0)
    return {
        f"{key}.{null}.{measure}": rng.normal(0.01, 0.02, 100)
        for key, pair in results.grid.items()
        for measure, scored in pair.measures.items()
        if isinstance(scored, Score)
        for null in NULLS
        if null in scored.nulls
    }


def claims(suite: str = "made-up") -> list[Checked]:
    """One claim that holds, one that fails, one of another suite."""
    made = [
        Claim(f"T{i}", f"Statement {i} <b>.", "tests", of, "summary", "at least", 0.5)
        for i, of in enumerate((suite, suite, "elsewhere"))
    ]
    return [Checked(made[0], 0.75, "pass"), Checked(made[1], 0.25, "FAIL"), Checked(made[2], None, "not run")]


def large(layers_a: int = 26, layers_b: int = 42) -> Results:
    """Results of a grid as large as that of Gemma-2-2B and 9B."""
    made = results()
    cell, subspaces, spans, streams = made.grid["0x2"], made.subspaces, made.spans, made.streams
    assert subspaces
    assert spans
    assert streams
    grid = {
        f"{a}x{b}": replace(cell, layer_a=a, layer_b=b, sae_a=str(a), sae_b=str(b), pairs=100 + a + b)
        for a in range(layers_a)
        for b in range(layers_b)
    }

    def model(one: Model, n: int) -> Model:
        sae = one.saes[min(one.saes)]
        return replace(one, saes={str(layer): replace(sae, layer=layer) for layer in range(n)})

    return replace(
        made,
        grid=grid,
        model_a=model(made.model_a, layers_a),
        model_b=model(made.model_b, layers_b),
        subspaces=replace(
            subspaces,
            grid=dict.fromkeys(grid, subspaces.grid["0x2"]),
            relations=dict.fromkeys(grid, subspaces.relations["0x2"]),
        ),
        spans=replace(spans, grid=dict.fromkeys(grid, spans.grid["0x2"])),
        streams=replace(streams, grid=dict.fromkeys(grid, streams.grid["0x2"])),
    )
