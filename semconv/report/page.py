"""The report as one HTML file that makes no request to any network: text, charts, tables and an explorer of the
pairs."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

from semconv.report import page_heat_maps, page_tables, texts
from semconv.report.explorer import Explorer, ShownExplorer, read_explorer
from semconv.report.first_pairs import FirstPairs
from semconv.report.function_section import wanted_pairs
from semconv.report.histograms import Draws, read_draws
from semconv.report.page_data import grid_json
from semconv.report.page_json import embedded
from semconv.report.page_parts import inline, shown_answer, shown_charts, shown_read, shown_tables, shown_verdict
from semconv.report.result_values import control_rows, default_measure, hardest_null, names_of, null_names, title_of
from semconv.report.scales import STEPS, rounded
from semconv.report.section_titles import SHORT, TITLES
from semconv.report.shown import show
from semconv.report.table_cells import number_columns, without_empty_notes
from semconv.report.told_apart import MARKS_TEXT
from semconv.report.words import WORDS
from semconv.results.claims import Checked, about
from semconv.results.schema import Results
from semconv.suite.nulls import MATCHED_AGAIN
from semconv.system.files import read_text, write_text

_FOLDER = Path(__file__).parent
_EXCERPT = 20  # pairs that print and pages without a script show


class PageData(TypedDict):
    """What the script works on beside grid and explorer: names of the models, the measure and the null shown first, and
    how many places of the text (tokens, or spans) were compared."""

    names: dict[str, str]
    measure: str
    null: str | None
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
    filters: Any = environment.filters
    filters.update(show=show, rounded=rounded, inline=inline)
    filters.update(number_columns=number_columns, without_empty_notes=without_empty_notes)
    return environment


def _style_and_scripts(beside: bool) -> dict[str, str]:
    """Returns style, scripts, and the policy that allows them."""
    files = {"style": "page.css", "head": "page_head.js", "script": "page.js", "explorer_script": "explorer.js"}
    found = {name: read_text(_FOLDER / file) for name, file in files.items()}
    style, *scripts = found.values()
    return {**found, "policy": policy(style, scripts, beside)}


def _sentences(results: Results) -> dict[str, object]:
    """Returns sentences that report.md has, too, and the words of the page."""
    return {
        "words": WORDS,
        "depth_text": texts.depth_text(results),
        "two_scores": texts.two_scores(results),
        "self_match_text": texts.self_match_text(results),
        "kinds_text": texts.kinds_text(results),
        "best_layer_pair": texts.best_layer_pair_text(results),
    }


def _of_explorer(shown: ShownExplorer | None) -> dict[str, object]:
    """Returns what the template shows of the explorer."""
    return {
        "explorer": shown,
        "notes": shown.notes if shown else (),
        "excerpt": shown.excerpt if shown else [],
    }


def page(
    results: Results,
    checked: Sequence[Checked],
    explorer: Explorer | None,
    draws: Draws,
    pairs: FirstPairs | None = None,
) -> str:
    """Returns the report as one HTML file: the same inputs give the same text.

    Args:
        results: of a suite, in order (`in_order`).
        checked: the claims against them, any number.
        explorer: of the pairs of the run, where it has them.
        draws: of the nulls, where the run has them.
        pairs: a few of the run, where it has any.
    """
    measure, null = default_measure(results), hardest_null(results)
    shown = explorer.shown(_EXCERPT) if explorer else None
    del explorer  # of a large run it is large
    names = dict(zip("ab", names_of(results), strict=True))
    data: PageData = {
        "names": names,
        "measure": measure,
        "null": null,
        "places": results.corpus.n_spans or results.corpus.n_tokens,
    }
    explorer_json = shown.json if shown else "null"
    return (
        _environment()
        .get_template("page.html")
        .render(
            results=results,
            names=names,
            **_style_and_scripts(beside=bool(shown and shown.beside)),
            **_of_explorer(shown),
            data=f'{embedded(data)[:-1]},"grid":{grid_json(results, draws)},"explorer":{explorer_json}}}',
            answer=shown_answer(results, pairs),
            verdict=shown_verdict(results),
            titles=TITLES,
            short=SHORT,
            facts=page_tables.facts(results, checked),
            claims=about(checked, results.suite),
            charts=shown_charts(results, draws),
            tables=shown_tables(results, pairs),
            measures={name: title_of(name) for name in results.summary},
            nulls=null_names(results),
            measure=measure,
            null=null,
            again=null in MATCHED_AGAIN,
            grid=page_heat_maps.grid_table(results, measure, null),
            steps=STEPS,
            kinds={kind for kind, _, _ in control_rows(results)},
            texts=texts,
            token_note=pairs.note if pairs else "",
            **_sentences(results),
            marks_text=MARKS_TEXT,
            covers=texts.interval_covers(results, len(results.grid)),
            read=shown_read(results),
        )
    )


def write_page(
    results: Results,
    checked: Sequence[Checked],
    folder: Path,
    path: Path | None = None,
    pairs: FirstPairs | None = None,
) -> None:
    """Writes the page of a run, with what its folder holds of pairs, their text and draws; for a run of many pairs also
    a folder `explorer` beside it.

    Args:
        results: of a suite, in order (`in_order`).
        checked: the claims against them, any number.
        folder: of the run.
        path: of the page, by default `index.html` in that folder.
        pairs: a few that the folder holds; read by default.

    Raises:
        InputError: a file of the folder is damaged.
        OSError: the folder cannot be written, or the disk is full.
    """
    target, pairs = path or folder / "index.html", pairs or FirstPairs.of_run(folder, wanted_pairs(results))
    write_text(target, page(results, checked, read_explorer(folder, target.parent), read_draws(folder), pairs))
