"""Every row of the table: the command ends as the row says, in one sentence where it refuses, and nothing is lost."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from semconv.runs.archive import write_archive
from semconv.system.harmless_text import visible
from tests._helpers.forks import Ended, Forks, usual_environment, usual_forks
from tests.conftest import requires_models
from tests.hostile.conftest import EVERYTHING, OUTCOMES
from tests.hostile.rows import EITHER, FAILS, PASSES, REFUSED, Row, World
from tests.hostile.table import TABLE

pytestmark = requires_models
TRIED, REFUSALS, ACCEPTED, TOLD, WRONG = OUTCOMES


@pytest.fixture(scope="module")
def box() -> Forks:
    return usual_forks()


@pytest.fixture(scope="module")
def archive(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hostile") / "tiny.zip"
    write_archive(tiny_run, path)
    return path


def files_of(folder: Path) -> dict[str, str]:
    """Names and contents of all that lies in a folder."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        content = path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(folder))] = hashlib.sha256(content).hexdigest()
    return found


def faults(ended: Ended, row: Row, before: dict[str, str], after: dict[str, str]) -> list[str]:
    """What is wrong with how a command ended on a hostile input; nothing if all is well."""
    found: list[str] = []
    allowed = (PASSES, REFUSED) if row.code == EITHER else (row.code,)
    if ended.code not in allowed:
        found.append("was stopped after its time" if ended.code is None else f"exit code {ended.code}")
    if "Traceback" in ended.err + ended.out:
        found.append("a traceback")
    if ended.code == REFUSED:
        lines = ended.err.strip().split("\n")
        if not all(line.startswith("semconv: ") for line in lines):
            found.append("more than one sentence")
        found += [f"lost or changed {name}" for name in before if after.get(name) != before[name]]
        found += [f"left {name}" for name in after if name not in before and not _part_of_a_run(name)]
    if not re.search(row.says, ended.err + ended.out):
        found.append(f"does not say {row.says!r}")
    if visible(ended.err + ended.out, lines=True) != ended.err + ended.out:
        found.append("control characters on the terminal")
    return found


def _part_of_a_run(name: str) -> bool:
    """Tells whether a new file is a finished part of a run, or its lock, and nothing temporary."""
    return Path(name).parts[0] == "out" and ".partial-" not in name and ".semconv-tmp-" not in name


def counted(ended: Ended, wrong: bool) -> dict[str, int]:
    """How many inputs were tried, and what came of them; a row of many inputs prints their numbers itself."""
    if wrong:
        return {TRIED: 1, WRONG: 1}
    many = re.search(r"inputs (\d+) refused (\d+) same (\d+)", ended.out)
    if many:
        tried, refused, same = map(int, many.groups())
        return {TRIED: tried, REFUSALS: refused, ACCEPTED: same}
    refused = ended.code == REFUSED or ended.out.startswith("refused:")
    return {TRIED: 1, REFUSALS if refused else TOLD if ended.code == FAILS else ACCEPTED: 1}


@pytest.mark.parametrize(
    "row", [row for row in TABLE if EVERYTHING or not row.slow], ids=lambda row: visible(f"{row.kind}: {row.name}")
)
def test_hostile_input(
    row: Row,
    box: Forks,
    tiny_run: Path,
    tiny_suite: Path,
    archive: Path,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
):
    arguments = row.make(World(tmp_path, tiny_run, archive, tiny_suite))
    before = files_of(tmp_path)
    ended = box.run(arguments, tmp_path, env=usual_environment(), mib=row.mib, seconds=row.seconds)
    found = faults(ended, row, before, files_of(tmp_path))
    record_property("hostile", (row.kind, counted(ended, bool(found))))
    assert found == [], f"{ended.err}\n{ended.out}"


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("import time; time.sleep(60)", "was stopped after its time"),
        ("x = bytes(2 * 2**30)", "exit code 1"),
        ("import ctypes; ctypes.string_at(0)", "exit code -11"),
        ("raise KeyError('x')", "a traceback"),
        ("import sys; print('two\\nlines', file=sys.stderr); sys.exit(2)", "more than one sentence"),
        ("import os, sys; os.remove('mine'); sys.exit(2)", "lost or changed mine"),
        ("import os, sys; open('left', 'w'); sys.exit(2)", "left left"),
        ("import os, sys; os.mkdir('out'); open('out/.x.partial-1', 'w'); sys.exit(2)", "left out/.x.partial-1"),
        ("import sys; sys.exit(3)", "exit code 3"),
        ("print('\\x1b[2J')", "control characters on the terminal"),
        ("print('all is well')", "does not say 'refused'"),
    ],
)
def test_what_must_not_be_is_seen(code: str, fault: str, box: Forks, tmp_path: Path):
    (tmp_path / "mine").write_text("x")
    (tmp_path / "planted.py").write_text(code)
    row = Row("planted", "planted", lambda w: [], "refused", EITHER, 512, False, 2)
    before = files_of(tmp_path)
    ended = box.run(["planted.py"], tmp_path, env=usual_environment(), mib=row.mib, seconds=row.seconds)
    assert fault in faults(ended, row, before, files_of(tmp_path))
