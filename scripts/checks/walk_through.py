"""Runs the experiments of artifact.md that were run, and most of its checks, in a fresh clone, and keeps their times.

    python3 scripts/checks/walk_through.py FOLDER    # clones the last commit into FOLDER/semconv, times beside it
    python3 scripts/checks/walk_through.py FOLDER    # again: updates the clone, runs what is missing or failed

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
    ".venv/bin/python scripts/measure/calibration.py --fast",
)


def last_line(text: str) -> str:
    """Returns the last line with words in it that is no command of make's and no warning of pip's."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    lines = [" ".join(line.strip(" =\r").split()) for line in plain.splitlines()]
    told = [line for line in lines if re.search(r"[a-z]", line)]
    others = (
        ".venv/",
        "scripts/",
        "SEMCONV_",
        "PATH=",
        "WARNING",
        "Suite: ",
        "Claims from: ",
        "Reference from: ",
        "Its tasks",
    )
    return next((line for line in reversed(told) if not line.startswith(others)), "")


def main() -> int:
    """Runs the commands; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, metavar="FOLDER", help="for the clone, the logs and the times")
    work: Path = parser.parse_args().work.resolve()
    clone, kept = work / "semconv", work / "runs.json"
    work.mkdir(parents=True, exist_ok=True)
    if clone.exists():
        subprocess.run(["git", "pull", "--quiet", "--ff-only"], cwd=clone, check=True)
    else:
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=clone, capture_output=True, text=True, check=True).stdout
    found = json.loads(kept.read_text())["runs"] if kept.exists() else []
    done = {row["place"]: row for row in found if row["exit_code"] == 0}
    for place, command in enumerate(COMMANDS):
        if place in done:
            continue
        log = work / f"{place:02}.log"
        start = time.monotonic()
        with log.open("w", encoding="utf-8") as file:
            code = subprocess.run(command, shell=True, cwd=clone, stdout=file, stderr=subprocess.STDOUT).returncode
        seconds = time.monotonic() - start
        done[place] = {
            "place": place,
            "command": command,
            "commit": head.strip(),
            "seconds": round(seconds, 1),
            "minutes": round(seconds / 60, 2),
            "exit_code": code,
            "said": last_line(log.read_text(encoding="utf-8", errors="replace")),
        }
        print(json.dumps(done[place]), flush=True)
        runs = [done[place] for place in sorted(done)]
        kept.write_text(json.dumps({"runs": runs}, indent=1) + "\n")
    return 1 if any(row["exit_code"] for row in done.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
