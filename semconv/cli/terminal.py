"""The terminal: the app and its shared options, consoles, and errors as one sentence with exit code 2."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from semconv.cli.ending import end_on_signals
from semconv.cli.plain import PlainCommand, PlainConsole, PlainGroup, survive_any_encoding
from semconv.system.errors import InputError, SemconvError, SemconvWarning, short_of_memory

STUDIES, STAGES, MACHINE = "Whole studies", "Stages, each usable alone", "This machine"
"""The groups of `semconv --help`."""


class _Typer(typer.Typer):
    """A group of commands whose help is printed as it is written, without markup."""

    def command(self, name: str | None = None, **settings: Any) -> Any:
        return super().command(name, cls=PlainCommand, **settings)


app = _Typer(
    cls=PlainGroup,
    help="Do two language models represent the same features? Exit codes: 0 done, 1 a claim or a comparison with the "
    "reference failed, 2 bad input, 3 an internal error.",
    epilog="Begin with `semconv doctor`, then `semconv reproduce`. `semconv COMMAND --help` has an example each; "
    "`--debug` anywhere shows tracebacks; `semconv --install-completion` teaches your shell the commands; NO_COLOR is "
    "respected.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
store_app = _Typer(cls=PlainGroup, help="Check or import activation stores.", no_args_is_help=True)
app.add_typer(store_app, name="store", rich_help_panel=STAGES)

out, err = PlainConsole(), PlainConsole(stderr=True)

SuiteArgument = Annotated[str, typer.Argument(help="Name of a suite, or path of a suite's TOML file.")]
RunArgument = Annotated[Path, typer.Argument(help="Run folder that `semconv reproduce` wrote.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of tables.")]
ClaimsOption = Annotated[Path | None, typer.Option("--claims", help="Claims file (default: claims.toml).")]

MaxSizeOption = Annotated[
    int | None,
    typer.Option(
        "--max-size",
        min=1,
        help="MiB that an archive may unpack to; what its JSON and tables may hold grows with it (default: 1024).",
    ),
]

AllLayersOption = Annotated[
    bool, typer.Option("--all-layers", help="Compare every layer where the suite lists only some of a release.")
]
StoresOption = Annotated[
    Path | None,
    typer.Option(
        "--stores", help="Folder of activation stores that several runs share (default: each run keeps its own)."
    ),
]
MemoryOption = Annotated[
    float | None,
    typer.Option(
        "--memory",
        help="GiB of activations and decoder rows held at once (default: half of what is free); changes no result.",
    ),
]
FastOption = Annotated[
    bool, typer.Option("--fast", help="Leave out rematches, intervals, ceilings, seeds, published steps and ablations.")
]
RematchesOption = Annotated[
    int | None,
    typer.Option(
        help="Shifts of the rematch null; 0 leaves it and intervals out (default: 20 a layer pair, at most 200)."
    ),
]
SameTokenOption = Annotated[
    int, typer.Option(help="Exchanges of positions of the same token, the null same_token; 0 leaves it out.")
]
SinkNormOption = Annotated[
    float, typer.Option(help="Positions whose stream norm is above so many medians do not count; 0 keeps them.")
]
WithoutStrongestOption = Annotated[
    int, typer.Option(help="Strongest positions of a pair without which r must be above 0.1 too; 0 does not ask.")
]
MatchByOption = Annotated[
    str,
    typer.Option(help="r, or r_within_token: partners of the highest r after each token's mean is taken off."),
]
SameBigramOption = Annotated[
    int, typer.Option(help="Exchanges of positions of the same two tokens, the null same_bigram; 0 leaves it out.")
]
FunctionalLayersOption = Annotated[
    str, typer.Option(help="Layer pairs of --functional: diagonal (those of matching depth) or all.")
]
DeviceOption = Annotated[
    str, typer.Option("--device", envvar="SEMCONV_DEVICE", help="auto (the GPU if it can be used), cpu or cuda.")
]


def bytes_of(gib: float | None) -> int | None:
    """Returns the bytes that an option states in GiB, None where it is left out.

    Raises:
        InputError: not a positive number.
    """
    if gib is None:
        return None
    if not 0 < gib < 2**20:
        raise InputError(f"--memory must be GiB above 0, got {gib:g}")
    return int(gib * 2**30)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        out.print(f"semconv {version('semconv')}", highlight=False)
        raise typer.Exit


@app.callback()
def _options(
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors, and what --json asks for.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    out.quiet = quiet


def run_folder(suite: str, folder: Path | None) -> Path:
    """Returns where a suite's run lives: the folder asked for, or `runs/<suite>`."""
    return folder if folder is not None else Path("runs") / Path(suite).stem


def tell(sentences: str | Sequence[str], facts: Mapping[str, object], as_json: bool) -> None:
    """Prints what a command has done: sentences for people, or the same facts as JSON."""
    if as_json:
        print(json.dumps(facts, indent=2, default=str))  # noqa: T201
        return
    for sentence in [sentences] if isinstance(sentences, str) else sentences:
        out.print(sentence, soft_wrap=True)


def warn(sentences: Sequence[str]) -> None:
    """Prints sentences on stderr, such as the warnings of results; nothing with --quiet."""
    for sentence in () if out.quiet else sentences:
        err.print(f"semconv: warning: {sentence}", style="yellow", highlight=False, soft_wrap=True)


def _tell(sentence: str) -> None:
    err.print(f"semconv: {sentence}", style="red", soft_wrap=True)


def _check_names(arguments: list[str]) -> None:
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:  # what tokenizers and safetensors take is UTF-8
            raise InputError(
                f"{argument} is not text in the encoding of this terminal ({sys.getfilesystemencoding()}); set "
                "PYTHONUTF8=1 if it is UTF-8, rename it if it is not"
            ) from None


def main() -> None:
    """Runs the command line; `--debug` anywhere (or SEMCONV_DEBUG=1) shows tracebacks."""
    survive_any_encoding()
    end_on_signals(_tell)
    with _own_warnings_as_sentences():
        _main()


@contextmanager
def _own_warnings_as_sentences() -> Generator[None]:
    """Prints warnings of semconv as `warn` does; those of libraries look as Python prints them."""
    usual = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, SemconvWarning):
            warn([str(message)])
        else:
            usual(message, category, *where, **more)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = usual


def _main() -> None:
    debug = "--debug" in sys.argv or os.environ.get("SEMCONV_DEBUG") == "1"
    sys.argv = [argument for argument in sys.argv if argument != "--debug"]
    try:
        _check_names(sys.argv[1:])
        app()
    except Exception as error:
        if debug:
            raise
        sentence, code = _message_and_code(error)
        _tell(". ".join([" ".join(sentence.split("\n")), *getattr(error, "__notes__", [])]))
        sys.exit(code)


def _message_and_code(error: Exception) -> tuple[str, int]:
    """Returns the message for an error and the exit code: 2 for bad input or a lacking machine, 3 for a bug of
    semconv."""
    if isinstance(error, SemconvError):
        return str(error), 2
    if isinstance(error, ModuleNotFoundError):
        return f"this command needs the package {error.name}, which is not installed (run `make setup`)", 2
    if type(error).__name__ == "OutOfMemoryError":  # torch is not loaded for its name
        return "the GPU has too little memory; set a smaller encode.batch in the suite, or use --device cpu", 2
    if short_of_memory(error):
        return "this machine has too little memory for what was asked", 2
    if isinstance(error, OSError):
        where = f" ({error.filename})" if error.filename else ""
        return f"{error.strerror or error}{where}", 2
    return (
        f"internal error, a fault of semconv and not of yours: {type(error).__name__}: {error}. Nothing that was "
        "finished is lost. Please report it with what the same command prints with --debug (SECURITY.md says where)",
        3,
    )
