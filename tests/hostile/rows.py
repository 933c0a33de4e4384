"""Rows of the table of hostile inputs, what makes them, and forged runs.

A row is a function that makes its input in a folder of its own and returns the arguments of one command. Rows with
cases make one input for each.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from semconv.runs.crate import METADATA

Arguments = list[str | Path]
MIB = 1024
"""MiB that a command may take beyond what loading semconv took."""
SECONDS = 60.0
PASSES, FAILS, REFUSED, EITHER = 0, 1, 2, -1
"""Exit codes: accepted, a check failed, refused in one sentence; accepted or refused, as the machine or commit is."""


@dataclass(frozen=True)
class World:
    """What a row may use.

    Attributes:
        folder: of the row alone, empty; what lies there when its function is done must lie there after a refusal.
        run: a finished run, which nobody changes.
        archive: of that run.
        suite: its TOML file, beside models, SAEs, tokenizer, text and claims.
    """

    folder: Path
    run: Path
    archive: Path
    suite: Path

    def unpacked(self) -> Path:
        """Returns a copy of what the archive holds."""
        folder = self.folder / "unpacked"
        with zipfile.ZipFile(self.archive) as file:
            file.extractall(folder)
        return folder

    def suite_with(self, old: str, new: str) -> Path:
        """Returns a suite in which one text is another."""
        text = self.suite.read_text()
        assert old in text, f"the suite holds no {old!r}"
        path = self.folder / self.suite.name  # which must be the suite's own
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        return path


@dataclass(frozen=True)
class Row:
    """One hostile input.

    Attributes:
        kind: what it stands for.
        name: what it is.
        make: makes it and returns the arguments of a command.
        says: regular expression that the command's output must hold.
        code: the exit code.
        mib: memory that the command may take.
        slow: large, or slow: only `make hostile` runs it.
        seconds: that the command may take.
    """

    kind: str
    name: str
    make: Callable[[World], Arguments]
    says: str
    code: int
    mib: int
    slow: bool
    seconds: float


ROWS: list[Row] = []


def row(
    kind: str, says: str, code: int = REFUSED, mib: int = MIB, slow: bool = False, seconds: float = SECONDS
) -> Callable[[Any], Any]:
    """Adds a function to the table; its name in words is that of the row."""

    def add(make: Callable[[World], Arguments]) -> Callable[[World], Arguments]:
        ROWS.append(Row(kind, make.__name__.replace("_", " "), make, says, code, mib, slow, seconds))
        return make

    return add


def rows(
    kind: str, cases: Mapping[str, tuple[Any, str]], code: int = REFUSED, quick: int | None = None
) -> Callable[[Any], Any]:
    """Adds a function to the table once for each case: by name, what the function is given, and what is said.

    Of slow cases only the first `quick` are for `make test`.
    """

    def add(make: Callable[[World, Any], Arguments]) -> Callable[[World, Any], Arguments]:
        words = make.__name__.replace("_", " ")
        for place, (name, (value, says)) in enumerate(cases.items()):
            slow = quick is not None and place >= quick

            def one(world: World, value: Any = value) -> Arguments:
                return make(world, value)

            ROWS.append(Row(kind, f"{words}: {name}", one, says, code, MIB, slow, SECONDS))
        return make

    return add


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    """Changes what a JSON file holds."""
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")


def listed_again(folder: Path) -> None:
    """Makes a crate say of every file that it is what it should be, as a forger would."""

    def change(crate: Any) -> None:
        for item in crate["@graph"]:
            path = folder / str(item["@id"])
            if item.get("@type") == "File" and path.is_file():
                content = path.read_bytes()
                item |= {"sha256": hashlib.sha256(content).hexdigest(), "contentSize": str(len(content))}

    edit(folder / METADATA, change)


def forged(folder: Path, told: bool = False) -> Path:
    """Writes results and draws that follow from changed tasks and suite, with report and page if told, and lists them.

    Whoever has semconv can do so.
    """
    from semconv.pipeline import rebuild_archive
    from semconv.pipeline.outputs import null_tensors
    from semconv.results.read import read_results
    from semconv.runs.task_cache import FinishedTasks
    from semconv.study.read_observations import read_observations
    from semconv.suite.config import suite_from_json

    suite = suite_from_json(folder / "suite.json")
    archived = replace(read_results(folder), suite_sha256=suite.sha256)
    with patch("semconv.study.read_observations.check_observations"):
        observations = read_observations(suite, FinishedTasks(folder / "tasks"))
    results = rebuild_archive.retold(folder, suite, observations, archived)
    made = folder.with_name("made")
    made.mkdir()
    with patch.object(rebuild_archive, "write_report", rebuild_archive.write_report if told else lambda *_: None):
        draws = null_tensors(observations, suite)
        rebuild_archive._write_told(folder, made, results, draws)  # pyright: ignore[reportPrivateUsage]
    shutil.copytree(made, folder, dirs_exist_ok=True)
    shutil.rmtree(made)
    listed_again(folder)
    return folder


Forgery = Callable[[Any, Any], None]
"""Changes values and arrays of a finished task."""


def scaled(name: str, factor: float = 0.5, at: int | None = None) -> Forgery:
    """Returns what multiplies an array, or one row of it."""

    def change(values: Any, arrays: Any) -> None:
        changed = arrays[name] if at is None else arrays[name][at]
        changed *= factor

    return change


def stated(*place: str | int, **new: Any) -> Forgery:
    """Returns what states other values at a place."""

    def change(values: Any, arrays: Any) -> None:
        for key in place:
            values = values[key]
        assert new.keys() <= values.keys()
        values |= new

    return change


def edit_task(folder: Path, name: str, change: Forgery) -> None:
    """Changes values and arrays of a finished task, and its seal with them."""
    from safetensors.torch import save_file

    from semconv.runs.task_cache import _sha256  # pyright: ignore[reportPrivateUsage]
    from semconv.system.files import read_tensors

    path = folder / "tasks" / f"{name}.safetensors"
    tensors, metadata = read_tensors(path)
    values = json.loads(metadata["values"])
    change(values, tensors)
    text = json.dumps(values)
    save_file(tensors, path, {**metadata, "values": text, "sha256": _sha256(text, tensors)})


def packed(folder: Path) -> Arguments:
    """Zips a folder, removes it, and returns the command that checks the archive."""
    path = folder.with_name("sent.zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for one in sorted(p for p in folder.rglob("*") if p.is_file()):
            file.write(one, one.relative_to(folder))
    shutil.rmtree(folder)
    return ["verify", "--bundle", path]
