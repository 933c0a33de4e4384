"""Commands that run whole studies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from semconv.cli.claims_shown import finish
from semconv.cli.progress import progress_bar, whole_run
from semconv.cli.terminal import (
    STUDIES,
    AllLayersOption,
    ClaimsOption,
    DeviceOption,
    FastOption,
    FunctionalLayersOption,
    JsonOption,
    MatchByOption,
    MemoryOption,
    RematchesOption,
    SameBigramOption,
    SameTokenOption,
    SinkNormOption,
    StoresOption,
    SuiteArgument,
    WithoutStrongestOption,
    app,
    bytes_of,
    out,
    run_folder,
    tell,
    warn,
)
from semconv.system.shape import plain

if TYPE_CHECKING:
    pass
    from semconv.results.schema import Results
    from semconv.runs.run import Run as StudyRun


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
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Run even if the disk or the memory looks too small.")
    ] = False,
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
        check_needs(config.fast() if fast else config, target, chosen, stores, bytes_of(memory))
    cut = config.fast() if fast else config
    with progress_bar(None if out.quiet else whole_run(cut, chosen)) as progress:
        run = Run(
            cut,
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
    sink_norm: SinkNormOption = 10.0,
    min_activations: Annotated[int, typer.Option(help="Tokens on which both features of a pair must be active.")] = 20,
    min_documents: Annotated[int, typer.Option(help="Documents in which both features of a pair must be active.")] = 3,
    match_by: MatchByOption = "r",
    without_strongest: WithoutStrongestOption = 10,
    stop_tokens: Annotated[
        bool, typer.Option(help="Drop pairs with punctuation or a control token among the top tokens.")
    ] = True,
    rematches: RematchesOption = None,
    same_token: SameTokenOption = 0,
    same_bigram: SameBigramOption = 0,
    functional: Annotated[
        bool, typer.Option("--functional", help="Ablate the features of pairs in both models and compare the effects.")
    ] = False,
    functional_layers: FunctionalLayersOption = "diagonal",
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
        match_by=match_by,  # pyright: ignore[reportArgumentType]
        without_strongest=without_strongest,
        sink_norm=sink_norm,
        stop_tokens=PUBLISHED_STOP_TOKENS if stop_tokens else (),
        rematches=rematches,
        same_token=same_token,
        same_bigram=same_bigram,
        functional=functional,
        functional_layers=functional_layers,  # pyright: ignore[reportArgumentType]
    )
    suite = suite_of_pair(models, text, options)
    chosen = choose_device(device)
    with progress_bar(None if out.quiet else whole_run(suite, chosen)) as progress:
        run = Run(suite, folder, progress, device=chosen, stores=stores, memory=bytes_of(memory))
        results = _published(run)
    said = [headline(results).replace("**", "").replace("`", "")]
    said += [f"Report: {folder / 'report.md'}", f"Page: {folder / 'index.html'}"]
    tell(said, plain(results.summary), as_json)


def _published(run: StudyRun) -> Results:
    """Runs a study without claims, writes what it leaves, and says what to be careful about."""
    from semconv.pipeline.reproduce import publish
    from semconv.pipeline.reproduce import reproduce as run_suite

    results = run_suite(run)
    publish(run, results)
    warn(results.warnings)
    return results
