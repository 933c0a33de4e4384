"""The report as one HTML file that makes no request to any network: text, charts, tables and an explorer of the
pairs."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

from semconv.report import page_heat_maps, page_tables, texts
from semconv.report.explorer import Explorer, read_explorer
from semconv.report.histograms import Draws, read_draws
from semconv.report.page_data import GridData, grid_data
from semconv.report.page_json import embedded
from semconv.report.page_parts import inline, shown_charts, shown_read, shown_tables, shown_verdict
from semconv.report.result_values import control_rows, default_measure, hardest_null, names_of, null_names, title_of
from semconv.report.scales import STEPS, rounded
from semconv.report.table_cells import is_number
from semconv.results.claims import Checked, about
from semconv.results.schema import Results
from semconv.system.files import read_text, write_text
from semconv.system.markdown import show

_FOLDER = Path(__file__).parent
_EXCERPT = 20  # pairs that print and pages without a script show


class PageData(TypedDict):
    """What the script works on: names of the models, the measure and the null shown first, the grid, the pairs, and
    how many places of the text (tokens, or spans) were compared."""

    names: dict[str, str]
    measure: str
    null: str | None
    grid: GridData
    places: int


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def policy(style: str, scripts: Sequence[str], beside: bool = False) -> str:
    """Returns a content security policy that allows this style and these scripts, and no request whatever.

    Args:
        style: the page's.
        scripts: the page's.
        beside: whether scripts that lie where the page lies are allowed too, for a page with a folder of data.
    """
    allowed = " ".join([*map(_hash, scripts), *(["'self'"] if beside else [])])
    parts = ["default-src 'none'", f"style-src {_hash(style)}", f"script-src {allowed}", "img-src data:"]
    return "; ".join([*parts, "base-uri 'none'", "form-action 'none'"])


def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(show=show, rounded=rounded, inline=inline, plain_number=is_number)
    return environment


def page(results: Results, checked: Sequence[Checked], explorer: Explorer | None, draws: Draws) -> str:
    """Returns the report as one HTML file: the same inputs give the same text.

    Args:
        results: of a suite, in order (`in_order`).
        checked: the claims against them, any number.
        explorer: of the pairs of the run, where it has them.
        draws: of the nulls, where the run has them.
    """
    names_of_files = ("page.css", "page_head.js", "page.js", "explorer.js")
    style, head, script, explorer_script = (read_text(_FOLDER / name) for name in names_of_files)
    measure, null = default_measure(results), hardest_null(results)
    shown = explorer.shown(_EXCERPT) if explorer else None
    del explorer  # of a large run it is large
    scripts, beside = [head, script, explorer_script], bool(shown and shown.beside)
    names = dict(zip("ab", names_of(results), strict=True))
    data: PageData = {
        "names": names,
        "measure": measure,
        "null": null,
        "grid": grid_data(results, draws),
        "places": results.corpus.n_spans or results.corpus.n_tokens,
    }
    return (
        _environment()
        .get_template("page.html")
        .render(
            results=results,
            names=names,
            policy=policy(style, scripts, beside),
            style=style,
            head=head,
            script=script,
            explorer_script=explorer_script,
            data=f'{embedded(data)[:-1]},"explorer":{shown.json if shown else "null"}}}',
            verdict=shown_verdict(results),
            facts=page_tables.facts(results, checked),
            claims=about(checked, results.suite),
            charts=shown_charts(results, draws),
            tables=shown_tables(results),
            measures={name: title_of(name) for name in results.summary},
            nulls=null_names(results),
            measure=measure,
            null=null,
            grid=page_heat_maps.grid_table(results, measure, null),
            steps=STEPS,
            explorer=shown,
            notes=shown.notes if shown else (),
            kinds={kind for kind, _, _ in control_rows(results)},
            excerpt=shown.excerpt if shown else [],
            texts=texts,
            covers=texts.interval_covers(results, len(results.grid)),
            read=shown_read(results),
        )
    )


def write_page(results: Results, checked: Sequence[Checked], folder: Path, path: Path | None = None) -> None:
    """Writes the page of a run, with what its folder holds of pairs, their text and draws; for a run of many pairs also
    a folder `explorer` beside it.

    Args:
        results: of a suite, in order (`in_order`).
        checked: the claims against them, any number.
        folder: of the run.
        path: of the page, by default `index.html` in that folder.

    Raises:
        InputError: a file of the folder is damaged.
        OSError: the folder cannot be written, or the disk is full.
    """
    target = path or folder / "index.html"
    write_text(target, page(results, checked, read_explorer(folder, target.parent), read_draws(folder)))
