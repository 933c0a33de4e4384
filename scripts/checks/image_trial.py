"""Runs an image of semconv as shipped, as its own user and without network, and prints a table of what it did.

Used by scripts/checks/image_check.sh, with buildah. Exit code 1 if anything failed.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

MOST_BUILD_SECONDS, MOST_BYTES, MOST_START_SECONDS = 600, 2_500_000_000, 5.0


@dataclass(frozen=True)
class Row:
    """One line of the table: what was looked at, what was found, whether that is fine."""

    what: str
    found: str
    fine: bool


class Image:
    """An image in buildah's storage, with a container that its commands run in."""

    def __init__(self, builder: str, name: str) -> None:
        self.builder = shlex.split(builder)
        described = json.loads(self._buildah("inspect", "--type", "image", name))
        self.settings: dict[str, object] = described["OCIv1"]["config"]
        self.container = self._buildah("from", "--pull-never", name).strip()
        self.root = Path(self._buildah("mount", self.container).strip())

    def _buildah(self, *arguments: str) -> str:
        return subprocess.run([*self.builder, *arguments], capture_output=True, text=True, check=True).stdout

    def words(self, setting: str) -> list[str]:
        """Returns a list of the image's configuration, such as `Entrypoint` or `Cmd`."""
        value = self.settings[setting]
        assert isinstance(value, list)
        return [str(word) for word in value]

    def command(self, results: Path, arguments: list[str]) -> list[str]:
        """Returns the host's command that runs one in the container: no network, the folder `results` at /results."""
        run = [*self.builder, "run", "--isolation", "chroot", "--volume", f"{results}:/results", self.container, "--"]
        return ["unshare", "--net", *run, *arguments]

    def run(self, results: Path, arguments: list[str]) -> subprocess.CompletedProcess[str]:
        """Runs a command in the container and returns what it wrote."""
        return subprocess.run(
            self.command(results, arguments), capture_output=True, text=True, stdin=subprocess.DEVNULL
        )

    def semconv(self, results: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs the image's entrypoint with these arguments."""
        return self.run(results, [*self.words("Entrypoint"), *arguments])


def say(text: str) -> None:
    """Prints a line of progress."""
    print(f"semconv: {text}", flush=True)


def results_folder(image: Image, work: Path, name: str, writable: bool = True) -> Path:
    """Makes a folder for /results, of the image's user if it shall be writable."""
    folder = work / name
    folder.mkdir(mode=0o755)
    if writable:
        uid, gid = str(image.settings["User"]).split(":")
        os.chown(folder, int(uid), int(gid))
    return folder


def first_output(image: Image, results: Path) -> Row:
    """Times `--help` from starting the container to its first line."""
    start = time.monotonic()
    command = image.command(results, [*image.words("Entrypoint"), "--help"])
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        took = time.monotonic() - start
        process.stdout.read()
    fine = process.returncode == 0 and line != "" and took < MOST_START_SECONDS
    return Row("start to first output of --help", f"{took:.1f} s", fine)


def as_shipped(image: Image, results: Path, build_seconds: int) -> list[Row]:
    """Checks the image itself: size, user, network, what must and must not be in it."""
    size = int(subprocess.run(["du", "-sb", image.root], capture_output=True, text=True, check=True).stdout.split()[0])
    user = image.run(results, ["id", "-u"]).stdout.strip()
    interfaces = image.run(results, ["cat", "/proc/net/dev"])
    # Two lines of header come with every answer, so that an empty one is no proof of anything.
    names = [line.partition(":")[0].strip() for line in interfaces.stdout.splitlines()[2:]]
    bill = json.loads((image.root / "usr/share/semconv/sbom.cdx.json").read_text())
    pip = [
        p for p in ("etc/pip.conf", "root/.config/pip/pip.conf", "opt/semconv/pip.conf") if (image.root / p).exists()
    ]
    return [
        Row("build, its tests included", f"{build_seconds} s", build_seconds < MOST_BUILD_SECONDS),
        Row("size", f"{size / 1e6:,.0f} MB", size < MOST_BYTES),
        Row("user", f"uid {user}", user not in ("", "0")),
        Row("network interfaces", ", ".join(names) or "not seen", names == ["lo"]),
        Row("settings of pip in it", ", ".join(pip) or "none", not pip),
        Row("bill of materials", f"{len(bill['components'])} components", len(bill["components"]) > 100),
        first_output(image, results),
    ]


def main_job(image: Image, results: Path, fast: bool, expected: Path | None, log: Path) -> list[Row]:
    """Runs doctor, the default command and verify; compares the results with those of the host, if there are any."""
    default = [*image.words("Cmd"), *(["--fast"] if fast else [])]
    doctor = image.semconv(results, "doctor")
    say(f"{' '.join(default)} ...")
    start = time.monotonic()
    done = image.semconv(results, *default)
    took = time.monotonic() - start
    log.write_text(done.stdout + done.stderr)
    verify = image.semconv(results, "verify", "--json")
    claims = [c["verdict"] for c in json.loads(verify.stdout)["claims"]] if verify.returncode in (0, 1) else []
    counts = f"{claims.count('pass')} pass, {claims.count('FAIL')} fail, {claims.count('not run')} not run"
    rows = [
        Row("doctor", f"exit code {doctor.returncode}", doctor.returncode == 0),
        Row(" ".join(default), f"{took:.0f} s, exit code {done.returncode}", done.returncode == 0),
        Row("verify", counts, verify.returncode == 0 and "pass" in claims),
    ]
    if not rows[1].fine:
        say(f"{done.stdout[-2000:]}{done.stderr[-2000:]}")
    if expected is not None:
        made = results / "runs/mini/results.json"
        same = made.exists() and filecmp.cmp(made, expected, shallow=False)
        rows.append(Row("results.json against the host's", "same bytes" if same else "differs", same))
    return rows


def refusals(image: Image, results: Path, locked: Path) -> list[Row]:
    """Tries bad cases: each must end in exit code 2 and one sentence, without a traceback."""
    cases = {
        "results folder not writable": (locked, ["reproduce", "mini"], "Permission denied"),
        "--device cuda without a GPU": (results, ["reproduce", "mini", "--device", "cuda"], "no CUDA device"),
        "gemma2 without a GPU": (results, ["reproduce", "gemma2"], "needs a GPU"),
        "gemma2, /models empty": (results, ["reproduce", "gemma2", "--device", "cpu", "--anyway"], "local cache"),
    }
    rows: list[Row] = []
    for what, (folder, arguments, reason) in cases.items():
        done = image.semconv(folder, *arguments)
        # Beside buildah's own lines on the exit code, and one of progress in a run that had begun.
        said = [line for line in done.stderr.splitlines() if line.startswith("semconv: ")] or [""]
        fine = done.returncode == 2 and "Traceback" not in done.stderr and reason in said[-1]
        rows.append(Row(what, f"exit code {done.returncode}, {said[-1].removeprefix('semconv: ')[:46]}", fine))
    return rows


def main() -> None:
    """Parses the command line, runs everything, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("builder", help="buildah with its storage options")
    parser.add_argument("image")
    parser.add_argument("--work", type=Path, required=True, help="folder for the runs' results")
    parser.add_argument("--build-seconds", type=int, required=True, help="what building took")
    parser.add_argument("--results", type=Path, help="results.json of the same command on the host")
    parser.add_argument("--fast", action="store_true", help="append --fast to the default command")
    arguments = parser.parse_args()
    image = Image(arguments.builder, arguments.image)
    results = results_folder(image, arguments.work, "results")
    rows = as_shipped(image, results, arguments.build_seconds)
    rows += refusals(image, results, results_folder(image, arguments.work, "locked", writable=False))
    rows += main_job(image, results, arguments.fast, arguments.results, arguments.work / "reproduce.log")
    for row in rows:
        print(f"{row.what:<32} {row.found:<60} {'ok' if row.fine else 'FAIL'}")
    sys.exit(0 if all(row.fine for row in rows) else 1)


if __name__ == "__main__":
    main()
