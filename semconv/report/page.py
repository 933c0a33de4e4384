"""The report as one HTML file that asks nothing of any network: text, charts, tables and an explorer of the pairs."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semconv.report import charts, page_tables, rows, sections, what_was_read
from semconv.report.explorer_data import Tables, explorer_data
from semconv.report.figures import control_rows, title_of
from semconv.report.page_data import Draws, default_measure, grid_data, hardest_null
from semconv.report.tables import show
from semconv.report.vega import STEPS
from semconv.report.verdict import floor_comparison
from semconv.results.claims import Checked
from semconv.system.files import read_tensors, read_text, write_text

if TYPE_CHECKING:
    from markupsafe import Markup

_FOLDER = Path(__file__).parent
MOST_CELLS = 100
"""Layer pairs up to which the page holds a table of every number; beyond, report.md has them."""
_EXCERPT = 20  # pairs that print and pages without a script show


def inline(text: str) -> Markup:
    """Returns Markdown's `code` and **strong** as HTML; everything else of the text is escaped."""
    from markupsafe import Markup

    html = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
    return Markup(re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", html))


def embedded(value: Any) -> str:
    """Returns JSON that can stand in a script element: without `<`, `>` or `&` nothing in it can end the element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def policy(style: str, scripts: Sequence[str]) -> str:
    """Returns a content security policy that allows this style and these scripts, and no request whatever."""
    allowed = " ".join(_hash(script) for script in scripts)
    parts = ["default-src 'none'", f"style-src {_hash(style)}", f"script-src {allowed}", "img-src data:"]
    return "; ".join([*parts, "base-uri 'none'", "form-action 'none'"])


def read_draws(folder: Path) -> Draws:
    """Returns the draws of the nulls of a run folder, none where it has no `nulls.safetensors`.

    Raises:
        InputError: the file is damaged.
    """
    path = folder / "nulls.safetensors"
    return {name: tensor.numpy() for name, tensor in read_tensors(path)[0].items()} if path.exists() else {}


def _verdict(results: dict[str, Any]) -> dict[str, Any]:
    """Returns the verdict in parts: a first sentence that can stand alone, the rest, and the chart of it."""
    found = floor_comparison(results)
    statement = f"{found.statement}." if found.statement else ""
    return {
        "lead": inline(found.opening or statement),
        "more": inline(statement if found.opening else ""),
        "above": found.above,
        "warning": inline(found.warning),
        "chart": charts.verdict_chart(results),
    }


def _charts(results: dict[str, Any], draws: Draws) -> dict[str, list[dict[str, Any]]]:
    """Returns the charts of every measure: overview, nulls at its best layer pair, controls; those there are."""
    out: dict[str, list[dict[str, Any]]] = {"overview": [], "nulls": [], "controls": []}
    for measure, summary in results["summary"].items():
        title, best = title_of(measure), summary["best_layer_pair"]
        drawn = {
            "overview": charts.overview_chart(results, measure),
            "nulls": charts.null_chart(results, draws, measure, best) if best else None,
            "controls": charts.controls_chart(results, measure),
        }
        for place, svg in drawn.items():
            if svg:
                note = f"layers {best}" if place == "nulls" else ""
                out[place].append({"title": title, "svg": svg, "note": note})
    if "published" in results:
        both = (("svcca", "SVCCA"), ("rsa", "RSA"))
        steps = [(title, charts.published_chart(results, column, title)) for column, title in both]
        out["published"] = [{"title": title, "svg": svg, "note": ""} for title, svg in steps if svg]
    return out


def _tables(results: dict[str, Any]) -> dict[str, Any]:
    """Returns every table of the page, and the sentences that stand above them."""
    small = len(results["grid"]) <= MOST_CELLS
    out: dict[str, Any] = {
        "headline": page_tables.headline_rows(results),
        "grid_tests": rows.grid_test_rows(results),
        "measures": [(title_of(m), rows.measure_rows(results, m)) for m in results["summary"]] if small else [],
        "self_match": rows.self_match_rows(results),
        "controls": rows.controls_rows(results),
        "split_half": rows.split_half_rows(results) if small else None,
        "filters": rows.filter_rows(results) if small else None,
        "saes": what_was_read.sae_rows(results),
    }
    if "published" in results:
        out["published"], out["published_text"] = rows.published_rows(results), sections.published_text(results)
    if "subspaces" in results:
        categories, left_out = rows.category_rows(results)
        out["category_maps"] = page_tables.category_maps(results) if small else []
        out["categories"] = categories if small else None
        out["subspaces_text"] = inline(sections.subspaces_text(results, left_out))
        out["relations"] = rows.relation_rows(results) if small else None
    if "spans" in results:
        out["spans"] = rows.span_rows(results) if small else None
        out["spans_text"] = sections.spans_text(results)
    return out


def _read(results: dict[str, Any]) -> dict[str, Any]:
    """Returns what was read, in sentences."""
    return {
        "text": what_was_read.text_lines(results),
        "fit": what_was_read.fit_text(results),
        "remarks": what_was_read.remark_lines(results),
    }


def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(show=show, inline=inline, plain_number=page_tables.is_number)
    return environment


def page(results: dict[str, Any], checked: Sequence[Checked], tables: Tables, draws: Draws) -> str:
    """Returns the report as one HTML file: the same inputs give the same text.

    Args:
        results: of a suite, in order (`in_order`).
        checked: the claims against them, any number.
        tables: pairs and contexts of the run, where it has them.
        draws: of the nulls, where the run has them.
    """
    style, head, script = (read_text(_FOLDER / name) for name in ("page.css", "page_head.js", "page.js"))
    measure, null = default_measure(results), hardest_null(results)
    explorer = explorer_data(tables)
    names = {"a": results["model_a"]["name"], "b": results["model_b"]["name"]}
    data = {"names": names, "measure": measure, "null": null, "grid": grid_data(results, draws), "explorer": explorer}
    return (
        _environment()
        .get_template("page.html")
        .render(
            results=results,
            names=names,
            policy=policy(style, [head, script]),
            style=style,
            head=head,
            script=script,
            data=embedded(data),
            verdict=_verdict(results),
            facts=page_tables.facts(results, checked),
            claims=page_tables.claims_by_suite(results, checked),
            charts=_charts(results, draws),
            tables=_tables(results),
            measures={name: title_of(name) for name in results["summary"]},
            nulls=rows.null_names(results),
            measure=measure,
            null=null,
            grid=page_tables.grid_table(results, measure, null),
            steps=STEPS,
            explorer=explorer,
            kinds={kind for kind, _, _ in control_rows(results)},
            excerpt=_EXCERPT,
            texts=sections,
            read=_read(results),
        )
    )


def write_page(results: dict[str, Any], checked: Sequence[Checked], folder: Path) -> None:
    """Writes `index.html` into a run folder, with what the folder holds of pairs, contexts and draws.

    Raises:
        InputError: a file of the folder is damaged.
        OSError: the folder cannot be written, or the disk is full.
    """
    write_text(folder / "index.html", page(results, checked, Tables.of_run(folder), read_draws(folder)))
