"""The command line: thin commands over the pipeline, with one-sentence errors and exit codes 0, 1 and 2."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from semconv.types import SemconvError

if TYPE_CHECKING:
    from semconv.claims import Checked
    from semconv.run import Progress

app = typer.Typer(
    help="Do two language models represent the same features? Exit codes: 0 done, 1 a claim failed, 2 bad input.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
store_app = typer.Typer(help="Look after activation stores.", no_args_is_help=True)
app.add_typer(store_app, name="store")

out, err = Console(), Console(stderr=True)

SuiteArgument = Annotated[str, typer.Argument(help="Name of a suite, or path of a suite's TOML file.")]
RunArgument = Annotated[Path, typer.Argument(help="Run folder that `semconv reproduce` wrote.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of tables.")]
ClaimsOption = Annotated[Path | None, typer.Option("--claims", help="Claims file (default: claims.toml).")]

AllLayersOption = Annotated[
    bool, typer.Option("--all-layers", help="Every layer of the models, where the suite lists some of a release.")
]
DeviceOption = Annotated[
    str, typer.Option("--device", envvar="SEMCONV_DEVICE", help="auto (the GPU if it can be used), cpu or cuda.")
]


def run_folder(suite: str, folder: Path | None) -> Path:
    """Returns where a suite's run lives: the folder asked for, or `runs/<suite>`."""
    return folder if folder is not None else Path("runs") / Path(suite).stem


@contextmanager
def progress_bar() -> Generator[Progress]:
    """A progress bar on stderr; on something that is no terminal, one line when a stage begins."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    if not err.is_terminal:
        seen: set[str] = set()

        def line(stage: str, done: int, total: int) -> None:
            if stage not in seen:
                seen.add(stage)
                err.print(f"semconv: {stage}")

        yield line
        return
    with Progress(
        TextColumn("{task.description:<16}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=err
    ) as bars:
        tasks: dict[str, Any] = {}

        def bar(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield bar


@contextmanager
def quiet_unless(first: bool) -> Generator[Progress]:
    """The progress bar of the process that speaks for all, silence for the others."""
    if first:
        with progress_bar() as progress:
            yield progress
    else:
        yield lambda stage, done, total: None


def _claims_table(checked: list[Checked]) -> Table:
    from semconv.report.tables import show

    grid = Table("claim", "statement", "expected", "observed", "verdict", title="Claims")
    colours = {"pass": "green", "FAIL": "bold red", "not run": "yellow"}
    for c in checked:
        expected = f"{c.claim.comparison} {show(c.claim.expected)}"
        if c.claim.tolerance:
            expected += f" ± {show(c.claim.tolerance)}"
        verdict = f"[{colours[c.verdict]}]{c.verdict}[/]"
        grid.add_row(c.claim.id, c.claim.statement, expected, show(c.observed), verdict)
    return grid


def _finish_claims(checked: list[Checked], as_json: bool, extra: dict[str, Any]) -> None:
    """Prints the verdicts and leaves with exit code 1 if a claim failed."""
    from dataclasses import asdict

    failed = [c.claim.id for c in checked if c.verdict == "FAIL"]
    if as_json:
        claims = [{**asdict(c.claim), "observed": c.observed, "verdict": c.verdict} for c in checked]
        print(json.dumps({"claims": claims, "failed": failed, **extra}, indent=2))  # noqa: T201
    else:
        out.print(_claims_table(checked))
        passed = sum(c.verdict == "pass" for c in checked)
        not_run = sum(c.verdict == "not run" for c in checked)
        out.print(f"{passed} claims pass, {len(failed)} fail, {not_run} belong to suites that were not run.")
        for what, where in extra.items():
            out.print(f"{what.capitalize()}: {where}", soft_wrap=True)
    if failed:
        raise typer.Exit(1)


@app.command()
def reproduce(
    suite: SuiteArgument = "mini",
    folder: Annotated[Path | None, typer.Option("--out", help="Run folder (default: runs/SUITE).")] = None,
    claims: ClaimsOption = None,
    device: DeviceOption = "auto",
    fast: Annotated[
        bool, typer.Option("--fast", help="Leave out rematches, intervals, ceilings and the published steps.")
    ] = False,
    all_layers: AllLayersOption = False,
    anyway: Annotated[bool, typer.Option("--anyway", help="Run even if the disk or the GPU looks too small.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Regenerate every number of a suite: encode, correlate, match, compare, check the claims, write the report.

    What a former run left in the folder is used again; an interrupted run continues.
    """
    from semconv.claims import check_claims, default_claims_path, load_claims
    from semconv.config import load_suite
    from semconv.device import choose_device
    from semconv.doctor import check_needs
    from semconv.pipeline import reproduce as run_suite
    from semconv.report import write_report
    from semconv.run import Run

    config, stated = load_suite(suite, all_layers), load_claims(claims or default_claims_path())
    target, chosen = run_folder(suite, folder), choose_device(device)
    if not anyway:
        check_needs(config, target, chosen)
    with progress_bar() as progress:
        results = run_suite(Run(config.fast() if fast else config, target, progress, device=chosen, fast=fast))
        progress("report", 0, 1)
        checked = check_claims(stated, results)
        write_report(results, checked, target)
        progress("report", 1, 1)
    written = {"results": "results.json", "report": "report.md", "page": "index.html"}
    _finish_claims(checked, as_json, {what: str(target / name) for what, name in written.items()})


@app.command()
def compare(
    model_a: Annotated[str, typer.Argument(help="Folder of a model, or OWNER/NAME[@COMMIT] on the hub.")],
    model_b: Annotated[str, typer.Argument(help="The other model; both must share one tokenizer.")],
    saes_a: Annotated[
        list[str], typer.Option("--sae-a", help="SAE of A: a folder or RELEASE:SAE_ID, @LAYER if need be; repeatable.")
    ],
    saes_b: Annotated[list[str], typer.Option("--sae-b", help="SAE of B, likewise.")],
    text: Annotated[
        Path, typer.Option("--text", help="Text both read: .txt, .jsonl or .parquet, or a folder of such.")
    ],
    folder: Annotated[Path, typer.Option("--out", help="Run folder.")] = Path("runs/pair"),
    tokenizer: Annotated[Path | None, typer.Option(help="tokenizer.json of both (default: that of A).")] = None,
    column: Annotated[str, typer.Option(help="Field of the text in .jsonl and .parquet.")] = "text",
    context: Annotated[int, typer.Option(help="Tokens per row, BOS included.")] = 256,
    tokens: Annotated[int, typer.Option(help="Positions to compare on.")] = 300_000,
    align: Annotated[
        str | None, typer.Option(help="max, mean or sum: pool over spans of text where the tokenizers differ.")
    ] = None,
    rematches: Annotated[int, typer.Option(help="Shifts of the rematch null; 0 leaves it and intervals out.")] = 20,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Compare the SAE features of two models of your own, on your own text, by the pipeline of `reproduce`."""
    from semconv.device import choose_device
    from semconv.own_pair import model_of, suite_of_pair
    from semconv.pipeline import reproduce as run_suite
    from semconv.report import write_report
    from semconv.report.markdown import headline
    from semconv.run import Run

    models = model_of("a", model_a, saes_a), model_of("b", model_b, saes_b)
    suite = suite_of_pair(models, text, tokenizer, align, column, context, tokens, rematches)
    with progress_bar() as progress:
        results = run_suite(Run(suite, folder, progress, device=choose_device(device)))
        write_report(results, [], folder)
    if as_json:
        print(json.dumps(results["summary"], indent=2))  # noqa: T201
    else:
        out.print(headline(results), markup=False)
        out.print(f"Report: {folder / 'report.md'}", soft_wrap=True)
        out.print(f"Page: {folder / 'index.html'}", soft_wrap=True)


@app.command()
def dictionary(
    model: Annotated[str, typer.Argument(help="Folder of a model, or OWNER/NAME[@COMMIT] on the hub.")],
    kind: Annotated[str, typer.Option(help="neurons, pca, ica or random.")],
    layer: Annotated[int, typer.Option(help="Block whose output is decomposed.")],
    text: Annotated[Path, typer.Option("--text", help="Text to learn it from, as for `compare`.")],
    target: Annotated[Path, typer.Option("--out", help="Folder to write, in sae-lens's format.")],
    n: Annotated[int, typer.Option("--directions", help="How many; each becomes two features, its halves.")] = 64,
    tokenizer: Annotated[Path | None, typer.Option(help="tokenizer.json (default: that of the model).")] = None,
    column: Annotated[str, typer.Option(help="Field of the text in .jsonl and .parquet.")] = "text",
    context: Annotated[int, typer.Option(help="Tokens per row, BOS included.")] = 256,
    tokens: Annotated[int, typer.Option(help="Positions to learn it from.")] = 20_000,
    seed: Annotated[int, typer.Option(help="Of random directions, and of the start of ica.")] = 0,
    device: DeviceOption = "auto",
) -> None:
    """Make a baseline for `compare`: a decomposition that is no trained SAE, in the form of one."""
    from semconv.baselines import as_sae, directions
    from semconv.config import CorpusConfig
    from semconv.device import choose_device
    from semconv.own_pair import model_of, tokenizer_of
    from semconv.pipeline import residual_vectors

    config = model_of("model", model, [f"none:none@{layer}"])
    corpus = CorpusConfig(
        "file", str(tokenizer or tokenizer_of(config)), context, tokens, split="all", path=str(text), column=column
    )
    streams = residual_vectors(config, corpus, choose_device(device))
    found, centre = directions(kind, streams, n, seed)  # pyright: ignore - checked there
    as_sae(found, centre, layer).save_model(target)
    out.print(f"{target}: {2 * len(found)} features of {len(streams)} tokens.", soft_wrap=True)


@app.command()
def verify(run: RunArgument = Path("runs/mini"), claims: ClaimsOption = None, as_json: JsonOption = False) -> None:
    """Compare a run with the claims: expected, observed, verdict. Exit code 1 if a claim fails."""
    from semconv.claims import check_claims, default_claims_path, load_claims, load_results

    checked = check_claims(load_claims(claims or default_claims_path()), load_results(run))
    _finish_claims(checked, as_json, {})


@app.command()
def export(
    target: Annotated[Path, typer.Argument(help="File to write, .csv or .parquet.")],
    run: Annotated[Path, typer.Option("--run", help="Run folder.")] = Path("runs/mini"),
) -> None:
    """Write the matched feature pairs of a run as a table: layers, features, r, top tokens, Neuronpedia links."""
    from semconv.matched_pairs import export_pairs

    out.print(f"{export_pairs(run, target)} feature pairs: {target}", soft_wrap=True)


@app.command()
def doctor(
    suite: SuiteArgument = "mini",
    folder: Annotated[Path | None, typer.Option("--out", help="Run folder (default: runs/SUITE).")] = None,
    all_layers: AllLayersOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show what this machine has, what a suite needs, and what is missing. Exit code 2 if something is."""
    from dataclasses import asdict

    from semconv.config import load_suite
    from semconv.doctor import examine

    findings = examine(load_suite(suite, all_layers), run_folder(suite, folder))
    missing = [f for f in findings if f.fine is False]
    if as_json:
        print(json.dumps([asdict(f) for f in findings], indent=2))  # noqa: T201
    else:
        grid = Table("what", "needed", "found", "")
        marks = {True: "[green]ok[/]", False: "[bold red]missing[/]", None: ""}
        for f in findings:
            grid.add_row(f.what, f.needed, f.found, marks[f.fine])
        out.print(grid)
        out.print(f"{len(missing)} things missing." if missing else f"Ready for `semconv reproduce {suite}`.")
    if missing:
        raise typer.Exit(2)


@app.command()
def encode(
    suite: SuiteArgument = "mini",
    folder: Annotated[Path | None, typer.Option("--out", help="Run folder (default: runs/SUITE).")] = None,
    device: DeviceOption = "auto",
    all_layers: AllLayersOption = False,
) -> None:
    """Run the models of a suite and write their activation stores; under torchrun the processes share the shards."""
    from semconv.config import load_suite
    from semconv.device import choose_device
    from semconv.files import only_writer
    from semconv.pipeline import encode_all, load_blocks
    from semconv.ranks import ranks
    from semconv.run import Run

    config, target = load_suite(suite, all_layers), run_folder(suite, folder)
    with ranks() as among, only_writer(target) if among.first else nullcontext(), quiet_unless(among.first) as progress:
        run = Run(config, target, progress, device=choose_device(device))
        if not among.first:
            among.wait()
        blocks = load_blocks(run)
        if among.first:
            among.wait()
        encode_all(run, blocks, among)
    if not among.first:
        return
    out.print(f"Stores: {target / 'stores'}", soft_wrap=True)


@app.command()
def correlate(
    store_a: Annotated[Path, typer.Argument(help="Activation store of model A.")],
    store_b: Annotated[Path, typer.Argument(help="Activation store of model B, over the same tokens.")],
    target: Annotated[Path, typer.Option("--out", help="Safetensors file to write.")],
    k: Annotated[int, typer.Option(help="Partners kept per feature.")] = 1,
    device: DeviceOption = "auto",
) -> None:
    """Find the best partners of every feature of two stores, both ways; under torchrun in blocks of features."""
    from semconv.activation_store import ActivationStore
    from semconv.correlate import best_matches_shared
    from semconv.device import choose_device
    from semconv.files import write_tensors
    from semconv.ranks import ranks

    a, b = ActivationStore(store_a), ActivationStore(store_b)
    with ranks() as among:
        m = best_matches_shared(a, b, k, among, choose_device(device))
    if m is None:
        return
    tensors = {
        "a_to_b.index": m.a_to_b.index,
        "a_to_b.r": m.a_to_b.r,
        "b_to_a.index": m.b_to_a.index,
        "b_to_a.r": m.b_to_a.r,
        "quantization_noise_a": m.quantization_noise_a,
        "quantization_noise_b": m.quantization_noise_b,
    }
    metadata = {
        "a": str(a.path),
        "b": str(b.path),
        "a_sha256": a.sha256,
        "b_sha256": b.sha256,
        "n_tokens": str(m.n_tokens),
    }
    write_tensors(target, tensors, metadata)
    undefined = int((m.a_to_b.index[:, 0] < 0).sum()), int((m.b_to_a.index[:, 0] < 0).sum())
    out.print(f"{target}: {m.n_tokens} tokens; features that never vary: {undefined[0]} of A, {undefined[1]} of B.")


@app.command()
def bench(
    quick: Annotated[
        bool, typer.Option("--quick", help="One job with every peer, and the other ops (default).")
    ] = False,
    full: Annotated[bool, typer.Option("--full", help="Also along every axis; takes about half an hour.")] = False,
    device: Annotated[str, typer.Option(help="cpu or cuda; the peers follow the device.")] = "cpu",
    tokens: Annotated[
        int | None, typer.Option(help="Tokens of the synthetic job (default: 100,000; cuda: 1,000,000).")
    ] = None,
    features: Annotated[int, typer.Option(help="Features on either side.")] = 16_384,
    l0: Annotated[float | None, typer.Option(help="Active features per token (default: 80; cuda: 100).")] = None,
    density: Annotated[str, typer.Option(help="uniform, log-normal or token.")] = "log-normal",
    k: Annotated[int, typer.Option(help="Partners kept per feature.")] = 1,
    repeats: Annotated[int, typer.Option(help="Timed runs per competitor; the median counts.")] = 5,
    stores: Annotated[
        tuple[Path, Path] | None, typer.Option(help="Time two activation stores instead of a synthetic job.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--out", help="Folder for bench.json, bench.md and, with --full, bench.png.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Time the native core against its peers on this machine, every answer checked first."""
    from typing import cast

    from semconv.bench.cuda_session import run as run_cuda_session
    from semconv.bench.cuda_targets import MAIN
    from semconv.bench.jobs import Density, Job, StoredJob
    from semconv.bench.session import run as run_cpu_session
    from semconv.bench.session import write_session
    from semconv.types import InputError

    if quick and full:
        raise InputError("--quick and --full exclude each other, got both")
    if device not in ("cpu", "cuda"):
        raise InputError(f"--device must be cpu or cuda, got {device!r}")
    run_session, usual = (run_cuda_session, MAIN) if device == "cuda" else (run_cpu_session, Job())
    sizes = (tokens if tokens is not None else usual.n_tokens, features, l0 if l0 is not None else usual.l0)
    job = Job(*sizes, cast(Density, density), k)
    with progress_bar() as progress:
        session = run_session(StoredJob(*stores, k) if stores else job, repeats, full, progress)
    if folder is not None:
        write_session(session, folder)
    if as_json:
        print(json.dumps(session.as_dict(), indent=2))  # noqa: T201
        return
    for columns, rows in session.tables():
        grid = Table(*columns)
        for row in rows:
            grid.add_row(*row)
        out.print(grid)
    for line in (session.caption, *session.notes()):
        out.print(line, soft_wrap=True)
    if folder is not None:
        out.print(f"Written to {folder}.", soft_wrap=True)


@store_app.command("import-delphi")
def store_import_delphi(
    folder: Annotated[Path, typer.Argument(help="Folder of one hookpoint in a latent cache of EleutherAI's delphi.")],
    target: Annotated[Path, typer.Option("--out", help="Store to write.")],
) -> None:
    """Make a store of a latent cache of delphi, over every position of its tokens."""
    from semconv.delphi_cache import import_delphi_cache

    identity = import_delphi_cache(folder, target)
    out.print(f"{target}: {identity.n_tokens} tokens, {identity.n_features} features.", soft_wrap=True)


@store_app.command("verify")
def store_verify(
    path: Annotated[Path, typer.Argument(help="Folder of the store.")], as_json: JsonOption = False
) -> None:
    """Check a store: checksums, shapes, sortedness, value ranges, maxima."""
    from semconv.activation_store import ActivationStore

    store = ActivationStore(path)
    nnz = store.verify()
    facts = {
        "path": str(path),
        "n_tokens": store.n_tokens,
        "n_features": store.n_features,
        "nnz": nnz,
        "sha256": store.sha256,
    }
    if as_json:
        print(json.dumps(facts, indent=2))  # noqa: T201
    else:
        out.print(
            f"{path} is good: {store.n_tokens} tokens, {store.n_features} features, {nnz} entries.", soft_wrap=True
        )


def main() -> None:
    """Runs the command line; `--debug` anywhere (or SEMCONV_DEBUG=1) shows tracebacks."""
    debug = "--debug" in sys.argv or os.environ.get("SEMCONV_DEBUG") == "1"
    sys.argv = [argument for argument in sys.argv if argument != "--debug"]
    try:
        app()
    except SemconvError as error:
        if debug:
            raise
        err.print(f"semconv: {error}", style="red", markup=False, soft_wrap=True)
        sys.exit(2)
    except ModuleNotFoundError as error:
        if debug:
            raise
        err.print(
            f"semconv: this command needs the package {error.name}, which is not installed (run `make setup`)",
            style="red",
            markup=False,
            soft_wrap=True,
        )
        sys.exit(2)
    except RuntimeError as error:
        if debug or type(error).__name__ != "OutOfMemoryError":  # torch is not loaded for its name
            raise
        err.print(
            "semconv: the GPU has too little memory; set a smaller encode.batch in the suite, or use --device cpu",
            style="red",
        )
        sys.exit(2)
    except OSError as error:
        if debug:
            raise
        where = f" ({error.filename})" if error.filename else ""
        err.print(f"semconv: {error.strerror or error}{where}", style="red", markup=False, soft_wrap=True)
        sys.exit(2)
