"""Runs the experiments of artifact.md that were run, and most of its checks, in a fresh clone, and keeps their times.

    python3 scripts/checks/walk_through.py FOLDER    # clones the last commit into FOLDER/semconv, times beside it

FOLDER/runs.json, copied to measurements/runs.json, becomes the table *What was run*. Needs Python, a C++ compiler, make
and git; the checks of page and image say what else they want. Exit code 1 if a command ended otherwise than it should;
the others still run.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = (
    "make build",
    ".venv/bin/semconv doctor",
    ".venv/bin/semconv reproduce mini --fast --out runs/fast",
    ".venv/bin/semconv verify runs/fast",
    "make reproduce",
    ".venv/bin/semconv verify runs/mini",
    "cp -r runs/mini runs/first",
    "make reproduce",
    "diff -r -x ro-crate-metadata.json runs/first runs/mini",
    "make test",
    ".venv/bin/semconv archive runs/mini --out mini.zip",
    ".venv/bin/semconv verify --bundle mini.zip",
    ".venv/bin/semconv report --from mini.zip --out rebuilt",
    "make bench",
    "make check",
    "make page-check",
    "make cuda-check",
    'make image-check IMAGE_CHECK_ARGS="--results runs/mini/results.json"',
    "make asan",
    ".venv/bin/python scripts/measure/calibration.py",
)


def last_line(text: str) -> str:
    """Returns the last line with words in it that is no command of make's and no warning of pip's."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    lines = [" ".join(line.strip(" =\r").split()) for line in plain.splitlines()]
    told = [line for line in lines if re.search(r"[a-z]", line)]
    others = (".venv/", "scripts/", "SEMCONV_", "PATH=", "WARNING")
    return next((line for line in reversed(told) if not line.startswith(others)), "")


def main() -> int:
    """Runs the commands; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, metavar="FOLDER", help="new folder for the clone, the logs and the times")
    work: Path = parser.parse_args().work.resolve()
    clone = work / "semconv"
    if clone.exists():
        sys.exit(f"walk_through: {clone} is there already; give a new folder")
    work.mkdir(parents=True, exist_ok=True)
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=clone, capture_output=True, text=True, check=True).stdout
    runs: list[dict[str, object]] = []
    for place, command in enumerate(COMMANDS):
        log = work / f"{place:02}.log"
        start = time.monotonic()
        with log.open("w", encoding="utf-8") as file:
            code = subprocess.run(command, shell=True, cwd=clone, stdout=file, stderr=subprocess.STDOUT).returncode
        seconds = time.monotonic() - start
        said = last_line(log.read_text(encoding="utf-8", errors="replace"))
        row = {
            "command": command,
            "seconds": round(seconds, 1),
            "minutes": round(seconds / 60, 2),
            "exit_code": code,
            "said": said,
        }
        runs.append(row)
        print(json.dumps(row), flush=True)
        (work / "runs.json").write_text(json.dumps({"commit": commit.strip(), "runs": runs}, indent=1) + "\n")
    return 1 if any(row["exit_code"] for row in runs) else 0


if __name__ == "__main__":
    sys.exit(main())
