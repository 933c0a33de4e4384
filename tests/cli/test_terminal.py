"""The terminal shows what it is given: no markup in names or help, nothing lost or broken where it is not UTF-8."""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import torch
import typer
from typer.testing import CliRunner

from semconv import StoreIdentity, StoreWriter
from semconv.cli import app, main
from semconv.cli.claims_shown import finish
from semconv.cli.plain import PlainConsole, table
from semconv.cli.progress import progress_bar
from semconv.cli.terminal import err, out
from semconv.planning.steps import WholeRun
from semconv.report.answer import answer
from semconv.results.claims import Checked, Claim
from semconv.study.order import in_order
from semconv.system.harmless_text import visible
from tests._helpers.commands import CLAIM, RESULTS
from tests._helpers.delphi import write_cache
from tests._helpers.forks import forks, usual_environment
from tests._helpers.made_up import results
from tests.conftest import random_activations, requires_models

ODD = ("run[gpt2]", "x[/y]", "[bold red]", "a [link=b]c:smile:")
"""Names that rich would read as markup; a slash makes two folders of one."""


def commands(of: typer.Typer = app, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command of the command line with its path, as it was registered."""
    for one in of.registered_commands:
        assert one.callback is not None
        yield (*path, one.name or one.callback.__name__.replace("_", "-")), one
    for group in of.registered_groups:
        assert group.typer_instance is not None
        yield from commands(group.typer_instance, (*path, str(group.name)))


def squeezed(text: str) -> str:
    """The letters of a text without frames and white space, however it was broken into lines."""
    return re.sub(r"[\s\u2500-\u257f|+-]", "", text)


def invoke(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "300"})


Main = Callable[..., tuple[int, str]]


@pytest.fixture
def run_main(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Main:
    """Runs the command line in this process, on a wide terminal; returns exit code and what it printed."""
    for console in (out, err):
        monkeypatch.setattr(console, "_width", 300)

    def run(*arguments: str | Path) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["semconv", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        assert isinstance(left.value.code, int)
        return left.value.code, "".join(capsys.readouterr())

    return run


@pytest.mark.parametrize("path", [path for path, _ in commands()], ids="-".join)
def test_every_help_text_is_shown_whole(path: tuple[str, ...]):
    command = dict(commands())[path]
    shown = squeezed(invoke(*path, "--help").output)
    hints = get_type_hints(command.callback, include_extras=True)
    told = [command.epilog, *inspect.cleandoc(command.callback.__doc__).split("\n\n")]
    for hint in hints.values():
        told += [info.help for info in getattr(hint, "__metadata__", ()) if getattr(info, "help", None)]
    assert len(told) > 2
    for text in filter(None, told):
        assert squeezed(text) in shown
    first = squeezed(inspect.cleandoc(command.callback.__doc__).split("\n\n")[0])
    assert first in squeezed(invoke(*path[:-1], "--help").output)


def test_commands_are_all_there():
    assert {"compare", "verify", "bench", "doctor", "store-verify", "dictionary"} <= {
        "-".join(p) for p, _ in commands()
    }


def test_text_is_no_markup_in_lines_cells_titles_and_progress(capsys: pytest.CaptureFixture[str]):
    console = PlainConsole()
    for name in ODD:
        console.print(name, soft_wrap=True)
        grid = table(name, title=name)
        grid.add_row(name)
        console.print(grid)
    console.print("\x1b[31mred\x07\u202e\udce8 end\n", style="red")
    shown = capsys.readouterr().out
    for name in ODD:
        assert shown.count(name) == 4
    assert "\\x1b[31mred\\x07\\u202e\\udce8 end" in shown
    assert visible("tab\tand line\n", lines=True) == "tab\tand line\n"
    assert visible("tab\tand line\n") == "tab\\tand line\\n"


def test_a_stage_with_brackets_has_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(err, "_force_terminal", True)
    with progress_bar() as progress:
        for name in ODD:
            progress(f"encode {name}", 1, 2)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)
    for name in ODD:
        assert f"encode {name}" in shown


def test_a_run_tells_its_step_and_what_finished_ones_took(capsys: pytest.CaptureFixture[str]):
    """Off a terminal a line for each; a stage begins with the line that it had before."""
    whole = WholeRun.of({"compare": 60.0, "rematch": 60.0}.items())
    with progress_bar(whole) as progress:
        for stage in ("corpus", "compare", "floors", "rematch", "report"):
            progress(stage, 0, 1)
            progress(stage, 1, 1)
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if "step" in line] == [
        "semconv: step 1 of 8, text, about 2 min left",
        "semconv: step 5 of 8, match, about 2 min left",
        "semconv: step 6 of 8, match again, about 60 s left",
        "semconv: step 8 of 8, report, about 0 s left",
    ]
    assert [line for line in lines if " took " in line] == [
        f"semconv: {step} took 0 s" for step in ("text", "match", "match again")
    ]
    assert [line for line in lines if "step" not in line and "took" not in line] == [
        f"semconv: {stage}" for stage in ("corpus", "compare", "floors", "rematch", "report")
    ]


def test_a_stage_that_has_done_nothing_yet_has_no_empty_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """A bar that moves, with the seconds that it has been at it; a finished one says what it took."""
    monkeypatch.setattr(err, "_force_terminal", True)
    monkeypatch.setattr(err, "_width", 200)
    with progress_bar(WholeRun.of({"compare": 60.0}.items())) as progress:
        progress("corpus", 0, 1)
        progress("corpus", 1, 1)
        progress("compare", 0, 4)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)
    assert re.search(r"compare .* for 0 s", shown)
    assert re.search(r"corpus .* took 0 s", shown)
    assert "step 5 of 7, match, about " in shown


def test_the_answer_stands_before_the_claims_and_those_not_run_stand_last(capsys: pytest.CaptureFixture[str]):
    made = in_order(results())
    claims = [Claim(name, f"{name} holds.", "s", made.suite, "a", "equal", 1) for name in ("A1", "B2", "C3")]
    verdicts = ("not run", "pass", "pass")
    checked = [Checked(claim, 1, verdict) for claim, verdict in zip(claims, verdicts, strict=True)]
    finish(made, checked, as_json=False, extra={})
    text = capsys.readouterr().out
    found, *_, rest = (sentence.replace("**", "").replace("`", "") for sentence in answer(made).sentences)
    places = [text.index(part) for part in (found, rest, "verdict", "B2", "C3", "A1", "2 claims pass")]
    assert places == sorted(places)
    finish(made, checked, as_json=True, extra={})
    said = json.loads(capsys.readouterr().out)["answer"]
    assert len(said) == 5
    assert said[0] == found


def test_commands_that_make_something_have_json():
    """All but those that several processes run together, and `run-tasks`, whose result is a folder."""
    without = {
        path[-1] for path, command in commands() if "as_json" not in inspect.signature(command.callback).parameters
    }
    assert without == {"encode", "run-tasks"}


def test_what_people_and_programs_are_told_is_the_same(tmp_path: Path):
    acts = random_activations(0, 48, 12, dtype=torch.float16)
    for name in "ab":
        identity = StoreIdentity("m", "0", name, "1", "blocks.0.hook_resid_post", "2", 48, 12, "float16")
        StoreWriter(tmp_path / name, identity).append(acts, 0)
    target = tmp_path / "m.safetensors"
    found = json.loads(invoke("correlate", tmp_path / "a", tmp_path / "b", "--out", target, "--json").output)
    assert found == {"path": str(target), "n_tokens": 48, "never_vary_a": 0, "never_vary_b": 0}
    write_cache(tmp_path / "cache", acts, [0, 12], torch.arange(48).reshape(6, 8))
    made = json.loads(invoke("store", "import-delphi", tmp_path / "cache", "--out", tmp_path / "s", "--json").output)
    assert made == {"path": str(tmp_path / "s"), "n_tokens": 48, "n_features": 12}


def test_every_column_of_a_table_has_a_head(tmp_path: Path):
    shown = invoke("doctor", "mini", "--no-probe", "--out", tmp_path).output
    head = next(line for line in shown.splitlines() if "needed" in line)
    assert all(cell.strip() for cell in head.strip("┃|").split("┃"))


@pytest.fixture(scope="module", params=ODD)
def odd(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a name that rich would read as markup."""
    folder = tmp_path_factory.mktemp("odd") / request.param
    folder.mkdir(parents=True)
    return folder


@pytest.mark.slow
def test_commands_that_need_no_run_show_odd_names(odd: Path, run_main: Main):
    acts = random_activations(0, 48, 12, dtype=torch.float16)
    for name in "ab":
        identity = StoreIdentity("m", "0", name, "1", "blocks.0.hook_resid_post", "2", 48, 12, "float16")
        StoreWriter(odd / name, identity).append(acts, 0)
    write_cache(odd / "cache", acts, [0, 12], torch.arange(48).reshape(6, 8))
    (odd / "results.json").write_text(json.dumps(RESULTS))
    claim = CLAIM.format(expected=2).replace("Every layer", f"{odd.name} [/nothing] Every layer")
    (odd / "claims.toml").write_text(claim)
    missing = odd / "none"
    for arguments, code, told in (
        (("correlate", odd / "a", odd / "b", "--out", odd / "m.safetensors"), 0, f"{odd / 'm.safetensors'}: 48 tokens"),
        (("store", "verify", odd / "a"), 0, f"{odd / 'a'} is good"),
        (("store", "import-delphi", odd / "cache", "--out", odd / "store"), 0, f"{odd / 'store'}: 48 tokens"),
        (("verify", odd, "--claims", odd / "claims.toml"), 0, f"{odd.name} [/nothing] Every layer"),
        (("doctor", "mini", "--no-probe", "--out", odd), 0, "Ready for"),
        (("verify", missing), 2, f"semconv: {missing} holds no results.json"),
        (("reproduce", f"{missing}.toml"), 2, f"semconv: suite file {missing}.toml does not exist"),
        (("archive", odd), 2, str(odd)),
        (("report", "--from", missing, "--out", odd), 2, f"semconv: archive {missing} does not exist"),
        (("export", odd / "pairs.csv", "--run", missing), 2, f"semconv: {missing} holds no pairs.parquet"),
        (("encode", f"{missing}.toml"), 2, f"{missing}.toml does not exist"),
        (("compare", missing, "b", "--sae-a", "s", "--sae-b", "s", "--text", "t"), 2, f"model '{missing}'"),
        (
            ("dictionary", missing, "--kind", "pca", "--layer", "0", "--text", "t", "--out", "o"),
            2,
            f"model '{missing}'",
        ),
        (("bench", "--stores", missing, missing), 2, f"{missing} is no activation store"),
    ):
        assert (found := run_main(*arguments))[0] == code, (arguments, found)
        assert told in found[1]


@requires_models
def test_commands_on_a_run_show_odd_names(tmp_path: Path, run_main: Main, tiny_run: Path, tiny_suite: Path):
    odd = tmp_path.joinpath(*ODD)
    run, claims = odd / "run", tiny_suite.with_name("claims.toml")
    shutil.copytree(tiny_run, run)
    for arguments, told in (
        (("verify", run), "1 claims pass"),
        (("export", odd / "pairs.csv", "--run", run), f"feature pairs: {odd / 'pairs.csv'}"),
        (("archive", run, "--out", odd / "run.zip"), f"{odd / 'run.zip'}: "),
        (("report", "--from", odd / "run.zip", "--out", odd / "report"), f"Rebuilt: {odd / 'report' / 'report.md'}"),
        (("encode", tiny_suite, "--out", run), f"Stores: {run / 'stores'}"),
        (("reproduce", tiny_suite, "--out", run, "--claims", claims), f"Page: {run / 'index.html'}"),
    ):
        assert (found := run_main(*arguments))[0] == 0, (arguments, found)
        assert told in found[1]


ENCODINGS = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "strict": {"PYTHONIOENCODING": "ascii:strict"},
    "C": {"LC_ALL": "C", "LANG": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
}


@pytest.mark.slow
@pytest.mark.parametrize("env", ENCODINGS.values(), ids=list(ENCODINGS))
def test_a_terminal_that_is_not_utf_8_is_shown_plain_text(env: dict[str, str], tmp_path: Path):
    (tmp_path / "results.json").write_text(json.dumps(RESULTS))
    claim = CLAIM.format(expected=2).replace('"equal"', '"within"').replace("Every", "日本 é Every")
    (tmp_path / "claims.toml").write_text(claim + "tolerance = 1\n", encoding="utf-8")
    cases = [
        (("doctor", "mini", "--no-probe"), 0, "| what "),
        (("verify", tmp_path, "--claims", tmp_path / "claims.toml"), 0, "\\u65e5\\u672c "),
        (("reproduce", "--help"), 0, "+- Options ---"),
        (("--no-such",), 2, "+- Error ---"),
        (("reproduce", "日本.toml"), 2, ".toml "),
    ]
    ended: list[tuple[int | None, str]] = []
    with forks(env, light=True) as processes:
        for arguments, _, _ in cases[:-1]:
            done = processes.run(arguments, Path.cwd())
            ended.append((done.code, done.out + done.err))
    command = [sys.executable, "-m", "semconv", *map(str, cases[-1][0])]  # whose arguments Python decodes as it begins
    new = subprocess.run(command, capture_output=True, env={**usual_environment(), **env}, timeout=300, check=False)
    ended.append((new.returncode, (new.stdout + new.stderr).decode("latin-1")))
    for (arguments, expected, told), (code, shown) in zip(cases, ended, strict=True):
        assert code == expected, (arguments, shown)
        assert told in shown
        assert "Traceback" not in shown
        assert env.get("PYTHONIOENCODING") == "latin-1" or shown.isascii()


@pytest.mark.slow
def test_a_name_that_is_no_text_is_one_sentence(tmp_path: Path):
    command = [sys.executable.encode(), b"-m", b"semconv", b"verify", os.fsencode(tmp_path) + b"/mod\xe8le"]
    done = subprocess.run(command, capture_output=True, timeout=300, check=False)
    assert done.returncode == 2
    assert b"mod\\udce8le is not text in the encoding of this terminal (utf-8)" in done.stderr
    assert len(done.stderr.splitlines()) == 1
