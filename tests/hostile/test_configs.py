"""Every hostile config, cache and number is refused in one sentence with exit code 2, and leaves nothing behind."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from semconv.cli import main
from semconv.cli.terminal import err, out
from tests.conftest import requires_models
from tests.hostile.config_table import TABLE
from tests.hostile.configs import Hostile
from tests.hostile.conftest import OUTCOMES

TRIED, REFUSALS, _, _, WRONG = OUTCOMES
ROWS = [pytest.param(kind, row, id=f"{kind}: {row.name}") for kind, rows in TABLE.items() for row in rows]


@pytest.fixture(scope="module")
def tiny(tiny_suite: Path, tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny suite, with its finished run in it, for all to copy from."""
    folder = tmp_path_factory.mktemp("hostile") / "tiny"
    shutil.copytree(tiny_suite.parent, folder)
    (folder / "tiny.toml").write_text(tiny_suite.read_text().replace(str(tiny_suite.parent), str(folder)))
    (folder / "run").symlink_to(tiny_run)
    return folder


@pytest.mark.slow
@requires_models
@pytest.mark.filterwarnings("ignore::UserWarning")  # of safetensors and torch, for what the rows write
@pytest.mark.parametrize(("kind", "row"), ROWS)
def test_it_is_refused_in_one_sentence(
    kind: str,
    row: Hostile,
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    record_property: Callable[[str, object], None],
):
    found = dict.fromkeys((TRIED, WRONG), 1)  # the same dictionary is told until all is seen to be well
    record_property("hostile", (kind, found))
    arguments = row.make(tiny, tmp_path)
    before = {path for path in tmp_path.rglob("*") if "run" not in path.relative_to(tmp_path).parts}
    monkeypatch.setattr(sys, "argv", ["semconv", *map(str, arguments)])
    monkeypatch.setattr(err, "_width", 300)
    monkeypatch.setattr(out, "quiet", False)
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        main()
    told = capsys.readouterr()
    assert left.value.code == 2, told.err
    lines = told.err.splitlines()
    assert len(lines) == 1, told.err
    assert lines[0].startswith("semconv: ")
    assert row.told in lines[0]
    assert not told.out
    assert {path for path in tmp_path.rglob("*") if "run" not in path.relative_to(tmp_path).parts} == before
    found[REFUSALS] = found.pop(WRONG)
