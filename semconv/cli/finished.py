"""Commands on a finished run: check it, archive it, write its report again, export its pairs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from semconv.cli.claims_shown import exit_if_nothing_was_checked, finish
from semconv.cli.terminal import (
    STUDIES,
    JsonOption,
    MaxSizeOption,
    RunArgument,
    app,
    tell,
)
from semconv.system.errors import InputError
from semconv.system.harmless_text import visible

if TYPE_CHECKING:
    from semconv.results.claims import Claim
    from semconv.results.schema import Results


def _stated_claims(claims: Path | None, folder: Path, suite: str) -> tuple[list[Claim], str]:
    """Returns the claims that a run is checked against, and where they are from."""
    from semconv.results.claims import claims_of, load_claims

    return (load_claims(claims, suite), str(claims)) if claims else claims_of(folder, suite)


def _rebuilt(bundle: Path, folder: Path, thorough: bool) -> tuple[Results, dict[str, str]]:
    """Returns the results of an archive, rebuilt, and what is said of it by name.

    Args:
        bundle: the archive.
        folder: where it was opened.
        thorough: draw all of shuffle again.

    Raises:
        InputError: it is damaged, or its results do not follow from what is in it.
    """
    from semconv.pipeline.rebuild_archive import AS_STATED, check_told, rebuild
    from semconv.runs.crate import ANONYMOUS, LEFT_OUT, REPORT_COMMIT, environment, task_costs

    results, nulls = rebuild(folder, thorough)
    about = environment(folder)
    drawn = "every draw" if thorough else "some draws, others every time (--thorough: all),"
    facts = (("commit", "commit"), ("processor", "on"), ("endTime", "ended"))
    made = ", ".join(f"{word} {about[key]}" for key, word in facts if about.get(key, LEFT_OUT) != LEFT_OUT)
    return results, {
        "bundle": f"{bundle}: every file is what it lists; the results follow from the statistics beside them",
        "report and page": check_told(folder, results, nulls, about.get(REPORT_COMMIT, about.get("commit", ""))),
        "taken again": f"scores of the grid and {drawn} of shuffle, from the decoder rows of the pairs",
        "as stated": AS_STATED,
        "made": made,
        "its tasks took": task_costs(about) or "not stated",
        **({"anonymous": f"yes, {about[ANONYMOUS]}"} if ANONYMOUS in about else {}),
    }


@app.command(rich_help_panel=STUDIES, epilog="Example: semconv verify --bundle semconv-mini.zip")
def verify(
    run: Annotated[
        Path | None, typer.Argument(help="Run folder that `semconv reproduce` wrote (default: runs/mini).")
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option(
            help="Archive received from someone else: check its files, rebuild its results, then verify those."
        ),
    ] = None,
    claims: Annotated[
        Path | None,
        typer.Option(help="Claims file (default: those that ship; the run's own if none of them is about its suite)."),
    ] = None,
    thorough: Annotated[
        bool, typer.Option("--thorough", help="With --bundle: take all draws of shuffle again, not only some.")
    ] = False,
    max_size: MaxSizeOption = None,
    reference: Annotated[
        Path | None, typer.Option(help="Folder of reference results (default: those that ship for the suite, if any).")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare a run with the claims and with the reference results. Exit code 1 if a claim or a value is off.

    It says where the claims and the reference are from; with neither nothing is checked, which is exit code 1 too.
    """
    from semconv.results.claims import check_claims
    from semconv.results.read import read_results
    from semconv.results.reference_run import check_reference, reference_of
    from semconv.suite.config import suite_in_words

    if run is not None and bundle is not None:
        raise InputError(f"verify takes a run folder or --bundle, got both {run} and {bundle}")
    if thorough and bundle is None:
        raise InputError("--thorough is for --bundle: a run folder is not rebuilt")

    told: dict[str, str] = {}
    if bundle is None:
        folder = run or Path("runs/mini")
        results = read_results(folder)
        of_run, claims_from = _stated_claims(claims, folder, results.suite)
    else:
        from semconv.runs.archive import MOST_MIB, opened

        with opened(bundle, max_size or MOST_MIB) as folder:
            results, told = _rebuilt(bundle, folder, thorough)
            of_run, claims_from = _stated_claims(claims, folder, results.suite)
    suite = results.suite
    checked = check_claims(of_run, results)
    beside = reference or reference_of(suite)
    extra = {
        "suite": suite_in_words(suite),
        "claims from": claims_from,
        "reference from": str(beside) if beside else "nowhere: none ships for this suite",
        **told,
    }
    finish(results, checked, as_json, extra, check_reference(results, beside) if beside else None)
    exit_if_nothing_was_checked(checked, suite, beside)


@app.command(rich_help_panel=STUDIES, epilog="Example: semconv archive runs/mini --out semconv-mini.zip")
def archive(
    run: RunArgument = Path("runs/mini"),
    target: Annotated[
        Path | None,
        typer.Option(
            "--out", help="File to write (default: semconv-RUN.zip, or semconv-anonymous.zip with --anonymous)."
        ),
    ] = None,
    anonymous: Annotated[
        bool,
        typer.Option(
            "--anonymous",
            help="For double-blind review: without machine, command line and commit; refused if anything in it names "
            "you, your home folder, this machine or your e-mail.",
        ),
    ] = False,
    allowed: Annotated[
        list[str] | None,
        typer.Option(
            "--allow",
            help="With --anonymous: a word that may stand in it though it is your name or the machine's; repeatable.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Pack a run's results, matches, decoder rows of the pairs and null draws into one zip, without models or text.

    The contexts of features, short pieces of the text, are in it. One that holds an access token of yours is refused.

    --anonymous keeps names of models, SAEs, data and files, and prints them for you to look at.

    It also keeps what you wrote in suite and claims, the contexts, times, and versions of the software.
    """
    from semconv.runs.anonymous import names_left
    from semconv.runs.archive import write_archive

    if allowed and not anonymous:
        raise InputError("--allow is for --anonymous, which was not given")
    path = target or Path("semconv-anonymous.zip" if anonymous else f"semconv-{run.resolve().name}.zip")
    size = write_archive(run, path, anonymous, allowed or ())
    said: list[str] = [f"{path}: {size / 2**20:.1f} MiB."]
    facts: dict[str, object] = {"path": path, "bytes": size}
    if anonymous:
        facts["names_left"] = names_left(run)
        said.append(f"Names left in it, see that none is yours: {visible(', '.join(names_left(run)))}.")
    tell(said, facts, as_json)


@app.command(rich_help_panel=STUDIES, epilog="Example: semconv report runs/mini")
def report(
    run: Annotated[
        Path | None,
        typer.Argument(help="Folder of a finished run, whose report is written again (default: runs/mini)."),
    ] = None,
    source: Annotated[
        Path | None, typer.Option("--from", help="Archive of a run, or a run folder, to rebuild elsewhere.")
    ] = None,
    target: Annotated[Path | None, typer.Option("--out", help="With --from: folder to write, new or empty.")] = None,
    max_size: MaxSizeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write report, page and figures of a finished run again, from the numbers and tables in its folder.

    With --from, rebuild every number, table and figure from an archive alone, into a folder of its own. Neither reads a
    model, a text or an activation.
    """
    if source is not None and target is not None and run is None:
        _report_from(source, target, max_size, as_json)
        return
    if source is not None or target is not None or max_size is not None:
        raise InputError(
            "report takes a run folder, or --from and --out (and --max-size) together, got "
            + " and ".join(
                name
                for name, value in (
                    ("a run folder", run),
                    ("--from", source),
                    ("--out", target),
                    ("--max-size", max_size),
                )
                if value is not None
            )
        )
    from semconv.pipeline.report_again import report_again

    folder = run or Path("runs/mini")
    changed = report_again(folder)
    same = "other bytes than before, listed in its crate" if changed else "the same bytes as its crate lists"
    said = f"Written: {folder / 'report.md'}, {folder / 'index.html'} and figures, {same}."
    tell(said, _report_facts(folder, not changed), as_json)


def _report_facts(folder: Path, same_bytes: bool) -> dict[str, object]:
    return {"report": folder / "report.md", "page": folder / "index.html", "same_bytes": same_bytes}


def _report_from(source: Path, target: Path, max_size: int | None, as_json: bool) -> None:
    from semconv.pipeline.rebuild_archive import write_rebuilt
    from semconv.runs.archive import MOST_MIB, opened

    with opened(source, max_size or MOST_MIB) as folder:
        same = write_rebuilt(folder, target)
    compared = "the same bytes as in the archive" if same else "other bytes than in the archive, from the same numbers"
    said = f"Rebuilt: {target / 'report.md'}, {target / 'index.html'} and figures, {compared}."
    tell(said, _report_facts(target, same), as_json)


@app.command(rich_help_panel=STUDIES, epilog="Example: semconv export pairs.csv --run runs/mini")
def export(
    target: Annotated[Path, typer.Argument(help="File to write, .csv or .parquet.")],
    run: Annotated[Path, typer.Option("--run", help="Run folder.")] = Path("runs/mini"),
    as_json: JsonOption = False,
) -> None:
    """Write the matched feature pairs of a run as a table: layers, features, r, top tokens, Neuronpedia links."""
    from semconv.runs.pairs_table import export_pairs

    n = export_pairs(run, target)
    tell(f"{n} feature pairs: {target}", {"path": target, "pairs": n}, as_json)
