"""Commands for whole studies: run one, check it, archive it, export its results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from semconv.cli.claims_shown import exit_if_nothing_was_checked, finish
from semconv.cli.terminal import (
    STUDIES,
    AllLayersOption,
    ClaimsOption,
    DeviceOption,
    FastOption,
    JsonOption,
    MaxSizeOption,
    MemoryOption,
    RunArgument,
    StoresOption,
    SuiteArgument,
    app,
    bytes_of,
    out,
    progress_bar,
    run_folder,
    warn,
)
from semconv.system.errors import InputError
from semconv.system.harmless_text import visible
from semconv.system.shape import plain

if TYPE_CHECKING:
    from semconv.results.claims import Claim
    from semconv.results.schema import Results


@app.command(rich_help_panel=STUDIES, epilog="Example: semconv reproduce mini --fast --out /tmp/first-look")
def reproduce(
    suite: SuiteArgument = "mini",
    folder: Annotated[Path | None, typer.Option("--out", help="Run folder (default: runs/SUITE).")] = None,
    claims: ClaimsOption = None,
    stores: StoresOption = None,
    device: DeviceOption = "auto",
    memory: MemoryOption = None,
    fast: FastOption = False,
    all_layers: AllLayersOption = False,
    anyway: Annotated[bool, typer.Option("--anyway", help="Run even if the disk or the GPU looks too small.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Regenerate every number of a suite: encode, correlate, match, compare, check the claims, write the report.

    What a former run left in the folder is used again; an interrupted run continues.
    """
    from semconv.core.device import choose_device
    from semconv.pipeline.doctor import check_needs
    from semconv.pipeline.reproduce import publish
    from semconv.pipeline.reproduce import reproduce as run_suite
    from semconv.results.claim_paths import check_paths
    from semconv.results.claims import default_claims_path, load_claims
    from semconv.runs.run import Run
    from semconv.study.known_names import known_names
    from semconv.suite.config import load_suite

    config, stated = load_suite(suite, all_layers), claims or default_claims_path()
    of_run = load_claims(stated, config.name if claims else None)
    check_paths(of_run, known_names(config))  # ends the command before the run if there is a mistake in them
    target, chosen = run_folder(suite, folder), choose_device(device)
    if not anyway:
        check_needs(config, target, chosen, stores)
    with progress_bar() as progress:
        run = Run(
            config.fast() if fast else config,
            target,
            progress,
            device=chosen,
            fast=fast,
            stores=stores,
            memory=bytes_of(memory),
        )
        results = run_suite(run)
        checked = publish(run, results, stated)
    written = {"results": "results.json", "report": "report.md", "page": "index.html"}
    finish(results, checked, as_json, {what: str(target / name) for what, name in written.items()})


@app.command(
    rich_help_panel=STUDIES,
    epilog="Example: semconv compare models/a models/b --sae-a saes/a --sae-b saes/b --text corpus.jsonl",
)
def compare(
    model_a: Annotated[str, typer.Argument(help="Folder of a model, or OWNER/NAME[@COMMIT] on the hub.")],
    model_b: Annotated[str, typer.Argument(help="The other model; both must share one tokenizer.")],
    saes_a: Annotated[
        list[str],
        typer.Option(
            "--sae-a",
            help="SAE of A: a folder, RELEASE:SAE_ID or OWNER/NAME:FOLDER; @LAYER or @HOOK after it if it does not say "
            "what it reads; NAME= before it for what tables call it; repeatable.",
        ),
    ],
    saes_b: Annotated[list[str], typer.Option("--sae-b", help="SAE of B, likewise.")],
    text: Annotated[
        Path,
        typer.Option(
            "--text", help="Text both read: .txt, .md, .jsonl (or these with .gz), .parquet, or a folder of such."
        ),
    ],
    folder: Annotated[Path, typer.Option("--out", help="Run folder.")] = Path("runs/pair"),
    name_a: Annotated[str, typer.Option(help="Name of A in files and tables (default: that of its folder).")] = "",
    name_b: Annotated[str, typer.Option(help="Name of B, likewise.")] = "",
    tokenizer: Annotated[
        Path | None,
        typer.Option(help="Tokenizer of both models, a file or folder; of A, with --align (default: that of A)."),
    ] = None,
    tokenizer_b: Annotated[Path | None, typer.Option(help="Tokenizer of B, with --align (default: that of B).")] = None,
    align: Annotated[
        str | None, typer.Option(help="max, mean or sum: pool over spans of text where the tokenizers differ.")
    ] = None,
    column: Annotated[str, typer.Option(help="Field of the text in .jsonl and .parquet.")] = "text",
    context: Annotated[int, typer.Option(help="Tokens per row, BOS included.")] = 256,
    tokens: Annotated[int, typer.Option(help="Tokens to compare on; of each model, with --align.")] = 300_000,
    rows: Annotated[
        str, typer.Option(help="packed: documents one after the other; documents: a row for each of them.")
    ] = "packed",
    bos: Annotated[
        str, typer.Option(help="Whether rows begin with BOS: auto (where the tokenizer or model has one), yes or no.")
    ] = "auto",
    skip_positions: Annotated[
        int, typer.Option(help="The first positions of text in every row that do not count.")
    ] = 0,
    sink_norm: Annotated[
        float,
        typer.Option(help="Positions whose stream norm is above so many medians do not count; 0 keeps them."),
    ] = 10.0,
    min_activations: Annotated[int, typer.Option(help="Tokens on which both features of a pair must be active.")] = 20,
    min_documents: Annotated[int, typer.Option(help="Documents in which both features of a pair must be active.")] = 3,
    stop_tokens: Annotated[
        bool, typer.Option(help="Drop pairs with punctuation or a control token among the top tokens.")
    ] = True,
    rematches: Annotated[
        int | None,
        typer.Option(
            help="Shifts of the rematch null; 0 leaves it and intervals out (default: 20 a layer pair, at most 200)."
        ),
    ] = None,
    batch: Annotated[int, typer.Option(help="Rows per forward pass.")] = 32,
    precision: Annotated[
        str, typer.Option(help="Precision of the SAEs: sae (what each was trained in), float32, ...")
    ] = "sae",
    model_precision: Annotated[
        str, typer.Option(help="Precision of the models: float32, tf32 or bfloat16.")
    ] = "float32",
    bidirectional: Annotated[
        bool, typer.Option("--bidirectional", help="Take models that read in both directions, such as BERT.")
    ] = False,
    stores: StoresOption = None,
    memory: MemoryOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Compare the SAE features of two models of your own, on your own text, by the pipeline of `reproduce`."""
    from semconv.core.device import choose_device
    from semconv.pipeline.own_pair import PairOptions, models_of_pair, suite_of_pair
    from semconv.pipeline.reproduce import publish
    from semconv.pipeline.reproduce import reproduce as run_suite
    from semconv.report.markdown import headline
    from semconv.runs.run import Run
    from semconv.suite.config import PUBLISHED_STOP_TOKENS

    models = models_of_pair((model_a, model_b), (saes_a, saes_b), (name_a, name_b), bidirectional)
    options = PairOptions(
        tokenizer=tokenizer,
        tokenizer_b=tokenizer_b,
        align=align,  # pyright: ignore[reportArgumentType] - the suite checks the choices
        column=column,
        context=context,
        tokens=tokens,
        rows=rows,  # pyright: ignore[reportArgumentType]
        bos=bos,  # pyright: ignore[reportArgumentType]
        skip_positions=skip_positions,
        batch=batch,
        precision=precision,  # pyright: ignore[reportArgumentType]
        model_precision=model_precision,  # pyright: ignore[reportArgumentType]
        min_activations=min_activations,
        min_documents=min_documents,
        sink_norm=sink_norm,
        stop_tokens=PUBLISHED_STOP_TOKENS if stop_tokens else (),
        rematches=rematches,
    )
    suite = suite_of_pair(models, text, options)
    with progress_bar() as progress:
        run = Run(suite, folder, progress, device=choose_device(device), stores=stores, memory=bytes_of(memory))
        results = run_suite(run)
        publish(run, results)
    warn(results.warnings)
    if as_json:
        print(json.dumps(plain(results.summary), indent=2))  # noqa: T201
    else:
        out.print(headline(results))
        out.print(f"Report: {folder / 'report.md'}", soft_wrap=True)
        out.print(f"Page: {folder / 'index.html'}", soft_wrap=True)


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
    from semconv.runs.crate import ANONYMOUS, LEFT_OUT, REPORT_COMMIT, environment

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
    out.print(f"{path}: {size / 2**20:.1f} MiB.", soft_wrap=True)
    if anonymous:
        out.print(f"Names left in it, see that none is yours: {visible(', '.join(names_left(run)))}.", soft_wrap=True)


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
) -> None:
    """Write report, page and figures of a finished run again, from the numbers and tables in its folder.

    With --from, rebuild every number, table and figure from an archive alone, into a folder of its own. Neither reads a
    model, a text or an activation.
    """
    if source is not None and target is not None and run is None:
        _report_from(source, target, max_size)
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
    out.print(f"Written: {folder / 'report.md'}, {folder / 'index.html'} and figures, {same}.", soft_wrap=True)


def _report_from(source: Path, target: Path, max_size: int | None) -> None:
    from semconv.pipeline.rebuild_archive import write_rebuilt
    from semconv.runs.archive import MOST_MIB, opened

    with opened(source, max_size or MOST_MIB) as folder:
        same = write_rebuilt(folder, target)
    compared = "the same bytes as in the archive" if same else "other bytes than in the archive, from the same numbers"
    out.print(f"Rebuilt: {target / 'report.md'}, {target / 'index.html'} and figures, {compared}.", soft_wrap=True)


@app.command(rich_help_panel=STUDIES, epilog="Example: semconv export pairs.csv --run runs/mini")
def export(
    target: Annotated[Path, typer.Argument(help="File to write, .csv or .parquet.")],
    run: Annotated[Path, typer.Option("--run", help="Run folder.")] = Path("runs/mini"),
) -> None:
    """Write the matched feature pairs of a run as a table: layers, features, r, top tokens, Neuronpedia links."""
    from semconv.runs.pairs_table import export_pairs

    out.print(f"{export_pairs(run, target)} feature pairs: {target}", soft_wrap=True)
