"""Commands for one stage at a time, and for what surrounds a run."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from semconv.cli.plain import table
from semconv.cli.progress import progress_bar, quiet_unless
from semconv.cli.terminal import (
    MACHINE,
    STAGES,
    AllLayersOption,
    DeviceOption,
    FastOption,
    JsonOption,
    MemoryOption,
    StoresOption,
    SuiteArgument,
    app,
    bytes_of,
    out,
    run_folder,
    store_app,
    tell,
)
from semconv.system.errors import InputError


@app.command(rich_help_panel=STAGES, epilog="Example: torchrun --nproc-per-node 2 -m semconv encode mini")
def encode(
    suite: SuiteArgument = "mini",
    folder: Annotated[Path | None, typer.Option("--out", help="Run folder (default: runs/SUITE).")] = None,
    stores: StoresOption = None,
    device: DeviceOption = "auto",
    all_layers: AllLayersOption = False,
) -> None:
    """Run the models of a suite and write their activation stores; under torchrun the processes share the shards."""
    from semconv.core.device import choose_device
    from semconv.pipeline.reproduce import encode_all, load_blocks
    from semconv.runs.run import Run
    from semconv.suite.config import load_suite
    from semconv.system.files import only_writer
    from semconv.system.processes import ranks

    config, target = load_suite(suite, all_layers), run_folder(suite, folder)
    with ranks() as among, only_writer(target) if among.first else nullcontext(), quiet_unless(among.first) as progress:
        run = Run(config, target, progress, device=choose_device(device), stores=stores)
        if not among.first:
            among.wait()
        blocks = load_blocks(run)
        if among.first:
            among.wait()
        encode_all(run, blocks, among)
    if not among.first:
        return
    out.print(f"Stores: {stores or target / 'stores'}", soft_wrap=True)


@app.command(
    "run-tasks",
    rich_help_panel=STAGES,
    epilog="Example: torchrun --nproc-per-node 2 -m semconv run-tasks mini, after semconv encode mini",
)
def run_tasks(
    suite: SuiteArgument = "mini",
    folder: Annotated[Path | None, typer.Option("--out", help="Run folder (default: runs/SUITE).")] = None,
    shard: Annotated[
        str | None,
        typer.Option(help="I/N: begin with part I of N, from 0 (default: the rank under torchrun, else all of it)."),
    ] = None,
    stores: StoresOption = None,
    device: DeviceOption = "auto",
    memory: MemoryOption = None,
    fast: FastOption = False,
    all_layers: AllLayersOption = False,
) -> None:
    """Do the tasks of a study together with other processes, after `encode`; `reproduce` then tells what they found.

    Start it as often as you like, on all machines that share the run folder: under torchrun, in an array of Slurm, by
    hand. A task that a killed process leaves is done by the others. The results do not depend on who did what.
    """
    from semconv.core.device import choose_device
    from semconv.pipeline.shared_tasks import share_tasks
    from semconv.runs.reservations import Shard
    from semconv.runs.run import Run
    from semconv.suite.config import load_suite
    from semconv.system.processes import ranks

    config, target = load_suite(suite, all_layers), run_folder(suite, folder)
    asked = Shard.of_text(shard) if shard is not None else None
    with ranks() as among, quiet_unless(among.first) as progress:
        run = Run(
            config.fast() if fast else config,
            target,
            progress,
            device=choose_device(device),
            fast=fast,
            stores=stores,
            memory=bytes_of(memory),
        )
        share_tasks(run, asked or Shard(among.rank, among.size))
    if among.first:
        out.print(f"All tasks are finished: {target / 'tasks'}", soft_wrap=True)


@app.command(
    rich_help_panel=STAGES, epilog="Example: semconv correlate STORE_A STORE_B --out matches.safetensors --k 10"
)
def correlate(
    store_a: Annotated[Path, typer.Argument(help="Activation store of model A.")],
    store_b: Annotated[Path, typer.Argument(help="Activation store of model B, over the same tokens.")],
    target: Annotated[Path, typer.Option("--out", help="Safetensors file to write.")],
    k: Annotated[int, typer.Option(help="Partners kept per feature.")] = 1,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Find the best partners of every feature of two stores, both ways; under torchrun in blocks of features."""
    from semconv.core.activation_store import ActivationStore
    from semconv.core.correlate import best_matches_shared
    from semconv.core.device import choose_device
    from semconv.system.files import check_target, write_tensors
    from semconv.system.processes import ranks
    from semconv.system.shown_paths import shown_path

    check_target(target, store_a, store_b)
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
        "a": shown_path(str(a.path)),
        "b": shown_path(str(b.path)),
        "a_sha256": a.sha256,
        "b_sha256": b.sha256,
        "n_tokens": str(m.n_tokens),
    }
    write_tensors(target, tensors, metadata)
    undefined = int((m.a_to_b.index[:, 0] < 0).sum()), int((m.b_to_a.index[:, 0] < 0).sum())
    tell(
        f"{target}: {m.n_tokens} tokens; features that never vary: {undefined[0]} of A, {undefined[1]} of B.",
        {"path": target, "n_tokens": m.n_tokens, "never_vary_a": undefined[0], "never_vary_b": undefined[1]},
        as_json,
    )


@app.command(
    rich_help_panel=STAGES,
    epilog="Example: semconv dictionary models/a --kind pca --layer 2 --text corpus.jsonl --out saes/pca",
)
def dictionary(
    model: Annotated[str, typer.Argument(help="Folder of a model, or OWNER/NAME[@COMMIT] on the hub.")],
    kind: Annotated[str, typer.Option(help="neurons, pca, ica or random.")],
    text: Annotated[Path, typer.Option("--text", help="Text to learn it from, as for `compare`.")],
    target: Annotated[Path, typer.Option("--out", help="Folder to write, in sae-lens's format.")],
    layer: Annotated[int | None, typer.Option(help="Block whose output is decomposed.")] = None,
    hook: Annotated[str | None, typer.Option(help="Another stream instead, such as blocks.3.hook_mlp_out.")] = None,
    untrained_seed: Annotated[
        int | None, typer.Option(help="Decompose the untrained twin: the model's shape, weights drawn from this seed.")
    ] = None,
    trained_embeddings: Annotated[
        bool, typer.Option("--trained-embeddings", help="Of the twin, draw the blocks alone; the rest is the model's.")
    ] = False,
    n: Annotated[
        int, typer.Option("--directions", help="Number of directions; each becomes two features, one for either sign.")
    ] = 64,
    tokenizer: Annotated[
        Path | None, typer.Option(help="A tokenizer, file or folder (default: that of the model).")
    ] = None,
    column: Annotated[str, typer.Option(help="Field of the text in .jsonl and .parquet.")] = "text",
    context: Annotated[int, typer.Option(help="Tokens per row, BOS included.")] = 256,
    tokens: Annotated[int, typer.Option(help="Positions to learn it from.")] = 20_000,
    rows: Annotated[str, typer.Option(help="packed or documents, as for `compare`.")] = "packed",
    bos: Annotated[str, typer.Option(help="Whether rows begin with BOS: auto, yes or no.")] = "auto",
    skip_positions: Annotated[
        int, typer.Option(help="The first positions of text in every row that it does not learn from.")
    ] = 0,
    seed: Annotated[int, typer.Option(help="Seed of random directions, and of the start of ica.")] = 0,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Make a baseline for `compare`: a decomposition that is no trained SAE, in the form of one."""
    from semconv.core.device import choose_device
    from semconv.models.dictionaries import as_sae, directions, write_sae
    from semconv.pipeline.own_pair import place_of, tokenizer_of
    from semconv.pipeline.reproduce import residual_vectors
    from semconv.suite.config import CorpusConfig, ModelConfig, SaeConfig
    from semconv.suite.hooks import hook_name

    if (layer is None) == (hook is None):
        raise InputError(f"dictionary takes --layer or --hook, got {'neither' if hook is None else 'both'}")
    sae = SaeConfig(hook_name(layer) if layer is not None else str(hook), str(target))
    place, revision = place_of(model)
    config = ModelConfig("model", place, (sae,), revision, untrained_seed, trained_embeddings or None)
    corpus = CorpusConfig(
        "file",
        str(tokenizer or tokenizer_of(config)),
        context,
        tokens,
        split="all",
        path=str(text),
        column=column,
        rows=rows,  # pyright: ignore[reportArgumentType] - the config checks the choices
        bos=bos,  # pyright: ignore[reportArgumentType]
        skip_positions=skip_positions,
    )
    streams = residual_vectors(config, corpus, choose_device(device))
    found, centre = directions(kind, streams, n, seed)  # pyright: ignore - checked there
    write_sae(as_sae(found, centre, sae.hook), target)
    _tell_written(target, 2 * len(found), len(streams), as_json)


def _tell_written(target: Path, n_features: int, n_tokens: int, as_json: bool) -> None:
    facts = {"path": target, "n_features": n_features, "n_tokens": n_tokens}
    tell(f"{target}: {n_features} features of {n_tokens} tokens.", facts, as_json)


@app.command(rich_help_panel=MACHINE, epilog="Example: semconv bench --full --out bench")
def bench(
    quick: Annotated[
        bool, typer.Option("--quick", help="One job with every peer, and the other ops (default).")
    ] = False,
    full: Annotated[bool, typer.Option("--full", help="Also along every axis; takes up to 10 minutes.")] = False,
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
        grid = table(*columns)
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
    as_json: JsonOption = False,
) -> None:
    """Make a store of a latent cache of delphi, over every position of its tokens."""
    from semconv.models.delphi_cache import import_delphi_cache

    identity = import_delphi_cache(folder, target)
    facts = {"path": target, "n_tokens": identity.n_tokens, "n_features": identity.n_features}
    tell(f"{target}: {identity.n_tokens} tokens, {identity.n_features} features.", facts, as_json)


@store_app.command("verify")
def store_verify(
    path: Annotated[Path, typer.Argument(help="Folder of the store.")], as_json: JsonOption = False
) -> None:
    """Check a store: checksums, shapes, sortedness, value ranges, maxima."""
    from semconv.core.activation_store import ActivationStore

    store = ActivationStore(path)
    nnz = store.verify()
    facts = {
        "path": str(path),
        "n_tokens": store.n_tokens,
        "n_features": store.n_features,
        "nnz": nnz,
        "sha256": store.sha256,
    }
    tell(f"{path} is good: {store.n_tokens} tokens, {store.n_features} features, {nnz} entries.", facts, as_json)
