"""What a run folder holds beside its results, made by hand: pairs, contexts and draws, nasty text included."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from semconv.report.explorer import Explorer, read_explorer
from semconv.report.histograms import Draws
from semconv.results.claims import Checked, Claim
from semconv.results.schema import Model, Results, Score
from tests._helpers.made_up import LABELS_A, LABELS_B, NULLS, results

NASTY = ["</script><script>alert(1)</script>", "<img src=x onerror=alert(2)>", "\"'&<!--", "\x00\x1b\u202e\u2028", "it"]
LINK = "https://www.neuronpedia.org/model/1-res/"


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


Row = dict[str, Any]


def pairs(n: int = 40) -> list[Row]:
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
            "r_within_token": None if place == 3 else place / 100,
            "top_tokens_a": [NASTY[place % len(NASTY)], f"word{place}", f"word{place}"],
            "top_tokens_b": [f"word{place}"],
            "link_a": f"{LINK}{100 + place}" if place % 2 == 0 else f"javascript:alert(3)/{100 + place}",
            "link_b": None,
            "active_a": 50 + place,
            "active_b": 60 + place,
            "active_both": 10 + place,
            "mutual": place % 4 == 0,
            "next_a": 101 if place % 2 else None,
            "next_r_a": 0.25 if place % 2 else None,
            "categories_a": ["Time"] if place % 5 == 0 else [],
            "categories_b": [],
            "promoted_a": [f"promoted{place}"],
        }
        for place in range(n)
    ]


def texts(rows: list[Row]) -> list[Row]:
    """Two places of every pair: where both are strong, and where A fires alone; nasty text beside it."""
    return [
        {
            **{name: row[name] for name in ("layer_a", "layer_b", "sae_a", "sae_b", "feature_a", "feature_b")},
            "band": band,
            "document": 7,
            "at": 1,
            "pieces": [f"before{row['feature_a']} \n", row["top_tokens_a"][0], NASTY[1]],
            "levels_a": [0, 35, 9],
            "levels_b": [0, level, 0],
        }
        for row in rows
        for band, level in (("strongest", 30), ("only A", 0))
    ]


def features(rows: list[Row]) -> list[Row]:
    """The features of the pairs, and of every SAE one that stands in no pair."""
    of_saes: dict[tuple[str, int, str], dict[int, list[str]]] = {}
    for row in rows:
        for side in ("a", "b"):
            sae = of_saes.setdefault((side, row[f"layer_{side}"], row[f"sae_{side}"]), {7: ["alone"]})
            sae[row[f"feature_{side}"]] = row[f"top_tokens_{side}"]
    return [
        {
            "side": side,
            "layer": layer,
            "sae": sae,
            "feature": feature,
            "active": 50,
            "highest": 2.5,
            "histogram": [40, 4, 3, 1, 0, 0, 0, 0, 1, 1],
            "paired": feature != 7,
            "best_sae": None if feature == 7 and side == "b" else "2" if side == "a" else "0",
            "best_feature": None if feature == 7 and side == "b" else 12,
            "best_r": None if feature == 7 and side == "b" else 0.4,
            "top_tokens": tokens,
            "neuronpedia": "model/1-res" if side == "a" and layer == 0 else "",
        }
        for (side, layer, sae), found in sorted(of_saes.items())
        for feature, tokens in sorted(found.items())
    ]


def write_rows(folder: Path, rows: list[Row], of_text: list[Row] | None = None, of_features: list[Row] | None = None):
    """Writes tables of a run folder."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from semconv.runs.pairs_table import pairs_schema
    from semconv.text.feature_table import features_schema
    from semconv.text.shared_contexts import shared_contexts_schema

    for name, schema, table in (
        ("pairs", pairs_schema(), sorted(rows, key=lambda row: (row["sae_a"], row["sae_b"]))),
        ("shared_contexts", shared_contexts_schema(), of_text and sorted(of_text, key=lambda row: row["sae_a"])),
        ("features", features_schema(), of_features),
    ):
        if table is not None:
            pq.write_table(pa.Table.from_pylist(table, schema), folder / f"{name}.parquet")


def explorer_of(rows: list[Row], *more: list[Row] | None) -> Explorer:
    """The explorer of a run with these tables, as `write_rows` takes them."""
    with TemporaryDirectory() as folder:
        write_rows(Path(folder), rows, *more)
        found = read_explorer(Path(folder), Path(folder))
    assert found is not None
    return found


def tables(n: int = 40) -> Explorer:
    """The explorer of all these."""
    rows = pairs(n)
    return explorer_of(rows, texts(rows), features(rows))


def labelled_tables(n: int = 40) -> Explorer:
    """The same of SAEs that have labels, those of `made_up.labelled`."""
    rows = [{**row, "sae_a": LABELS_A[row["sae_a"]], "sae_b": LABELS_B[row["sae_b"]]} for row in pairs(n)]
    return explorer_of(rows, texts(rows), features(rows))


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
