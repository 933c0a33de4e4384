"""The hooks of .pre-commit-config.yaml run tools that `make check` runs too, out of the locked environment."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CONFIG = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
HOOKS = {hook["id"]: hook for repository in CONFIG["repos"] for hook in repository["hooks"]}
SAMPLES = {
    "ruff-format": "semconv/_paths.py",
    "ruff-check": "semconv/_paths.py",
    "clang-format": "csrc/checks.h",
    "shellcheck": "scripts/release/lock.sh",
}


def test_nothing_is_fetched():
    assert [repository["repo"] for repository in CONFIG["repos"]] == ["local"]
    assert {hook["language"] for hook in HOOKS.values()} == {"system"}
    assert HOOKS.keys() == SAMPLES.keys()


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_runs_a_tool_of_make_check(name: str, tmp_path: Path):
    tool, *options = shlex.split(HOOKS[name]["entry"])
    recipe = re.search(r"^check: build\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe
    assert f"$(BIN)/{Path(tool).name} " in recipe[1]
    sample = shutil.copy(ROOT / SAMPLES[name], tmp_path)
    here = Path(sys.executable).parent / Path(tool).name
    done = subprocess.run([here, *options, sample], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
