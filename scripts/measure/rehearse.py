"""Rehearses the suite `gemma2` on this machine: real shapes, random weights, downloaded from a hub on the loopback.

    python scripts/measure/rehearse.py --scale least                # half a minute: everything is tiny; a test runs it
    python scripts/measure/rehearse.py --scale tiny                 # two minutes: widths are real, the rest is tiny
    python scripts/measure/rehearse.py --scale full --out FOLDER    # Gemma-2-2B and 9B: 60 GB of disk, hours

Writes the repositories that the suite names (`rehearsal_world.py`), serves them by the hub's protocol, and runs
`semconv reproduce` on the suite, unchanged but for tokens and layers, then again, as somebody would whose run was
interrupted at its end. `--draws` is how many of every null and interval are drawn at most; `tiny` takes few draws of
fewer measures anyway. What is told: seconds, processor seconds, memory and disk of every stage, and with real sizes
what `semconv plan` says of it, as Markdown, and as JSON in FOLDER/rehearsal.json. Of the memory, `own` is what the
process holds itself, and `mapped` are pages of files, which the system takes back where it needs them. Random weights
say nothing about features.

Exit code 0 if semconv ended with 0 or 1 (claims about real models fail with random ones), else its code; 2 if there is
too little disk, before anything is written. A rerun with the same FOLDER goes on where the last one ended.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rehearsal_plan import Beside, beside, beside_table, pairs_of, planned, took
from rehearsal_world import (
    NUMBER_OF_LAYERS,
    SCALES,
    Scale,
    Wanted,
    bytes_of_sae,
    layers_of,
    saes_of,
    weight_bytes,
    write_world,
)

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))

from semconv._paths import SUITES  # noqa: E402
from semconv.suite.config import SuiteConfig, load_suite  # noqa: E402
from semconv.system.errors import SemconvError  # noqa: E402
from semconv.system.files import write_json  # noqa: E402
from semconv.system.provenance import code_commit, processor  # noqa: E402
from tests._helpers.hub import TOKEN, Hub, Repository, serving  # noqa: E402

GIB = 2**30
COMMAND = [sys.executable, "-m", "semconv", "reproduce", "gemma2.toml", "--anyway", "--out", "run"]
_STAGE = "semconv: "
_SHORT, _FEW_POSITIONS = 100_000, 2
"""Tokens of a text in which few features fire in as many documents as the suite wants, and in how many they must."""
_EVERY = 0.2  # seconds between two looks at a process


@dataclass
class Stage:
    """What one stage of a run took; memory is the most that was seen, disk what was there at its end."""

    stage: str
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    own_gib: float = 0.0
    mapped_gib: float = 0.0
    disk_gib: float = 0.0


@dataclass
class Watch:
    """Looks at a process and the folders that it writes, stage by stage."""

    pid: int
    folders: tuple[Path, ...]
    stages: list[Stage] = field(default_factory=list[Stage])
    ended: bool = False
    _began: float = field(default_factory=time.monotonic)
    _cpu: float = 0.0

    def begin(self, stage: str) -> None:
        """Ends the stage that was running, and begins another."""
        self.end()
        self.stages.append(Stage(stage))

    def end(self) -> None:
        """Ends the stage that is running."""
        now, cpu = time.monotonic(), self._cpu_seconds()
        if self.stages:
            last = self.stages[-1]
            last.seconds += now - self._began
            last.cpu_seconds += max(0.0, cpu - self._cpu)
            last.disk_gib = sum(disk_of(folder) for folder in self.folders) / GIB
        self._began, self._cpu = now, cpu

    def look(self) -> None:
        """Notes the memory that the process has now."""
        with suppress(OSError):
            status = Path(f"/proc/{self.pid}/status").read_text()
            held = {key: int(kib) / 2**20 for key, kib in re.findall(r"(RssAnon|RssFile):\s+(\d+)", status)}
            if self.stages and held:
                last = self.stages[-1]
                last.own_gib, last.mapped_gib = (
                    max(last.own_gib, held["RssAnon"]),
                    max(last.mapped_gib, held["RssFile"]),
                )

    def _cpu_seconds(self) -> float:
        with suppress(OSError):
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return self._cpu

    def until_ended(self) -> None:
        while not self.ended:
            self.look()
            time.sleep(_EVERY)


def disk_of(folder: Path) -> int:
    """Returns bytes of the files below a folder, each once."""
    found = 0
    for file in folder.rglob("*"):
        with suppress(OSError):  # it may be gone again
            found += file.lstat().st_size if file.is_file() and not file.is_symlink() else 0
    return found


def suite_text(
    scale: Scale, tokens: int, layers: tuple[list[int], list[int]], wide: bool, draws: int | None = None
) -> str:
    """Returns the suite `gemma2` with other tokens and layers, and where these are few with features ablated at fewer
    positions; without its control of 65k features where that is not wanted, with no more draws, and then fewer ablated
    pairs, than are wanted, and for a fast rehearsal with few draws of the cheap measures."""
    text = (SUITES / "gemma2.toml").read_text(encoding="utf-8")
    text = re.sub(r"(?m)^max_tokens = .*", f"max_tokens = {tokens}", text)
    wanted = iter(layers)
    text = re.sub(r"(?m)^layers = \[.*\]$", lambda _: f"layers = {next(wanted)}", text)
    if tokens < _SHORT:
        text = re.sub(r"(?m)^positions = \d\d?$", f"positions = {_FEW_POSITIONS}", text)
    if not wide:
        text = re.sub(r"(?s)\[\[controls\]\].*?(?=\[subspaces\])", "", text)
    if draws is not None:
        fewer = r"(?m)^(n_permutations|n_rematch|n_bootstrap) = (\d+)$"
        text = re.sub(fewer, lambda found: f"{found[1]} = {min(int(found[2]), draws)}", text)
        text = re.sub(r"(?m)^(draws|tail) = .*\n", "", text)
        text = re.sub(r"(?m)^pairs = \d+$", "pairs = 10", text)
    if scale.min_pairs is not None:
        text = re.sub(r"(?m)^min_pairs = 50$", f"min_pairs = {scale.min_pairs}", text)
    if scale.fast:
        text = re.sub(r"(?m)^n_permutations = .*", "n_permutations = 49", text)
        text = re.sub(r"(?m)^measures = .*\"procrustes\".*", 'measures = ["svcca_pc1", "rsa", "cka_unbiased"]', text)
    return text


def repositories(world: Path, suite: SuiteConfig, saes: list[Wanted]) -> dict[str, Repository]:
    """Returns what the hub serves, at the commits that the suite pins."""
    pins = {model.path.removeprefix("hub:"): model.revision for model in (suite.model_a, suite.model_b)}
    pins |= {f"datasets/{suite.corpus.path}": suite.corpus.revision}
    of_model = {"2b": suite.model_a, "9b": suite.model_b}
    for sae in saes:
        pins[sae.repository] = (
            next(model for size, model in of_model.items() if size in sae.repository).saes[0].revision
        )
    gated = ("google/gemma-2-2b", "google/gemma-2-9b")
    return {name: Repository(world / name, gated=name in gated, pinned=pin, hashed=False) for name, pin in pins.items()}


def command_of(scale: Scale) -> list[str]:
    """Returns the command to rehearse; by `rehearsal_least.py` where SAEs have other shapes than real ones."""
    if scale.features == SCALES["full"].features:
        return COMMAND
    return [sys.executable, str(Path(__file__).with_name("rehearsal_least.py")), *COMMAND[3:]]


def environment_of(hub: Hub, folder: Path) -> dict[str, str]:
    """Returns the environment of processes that know the hub on the loopback alone."""
    own = {
        "HF_HOME": str(folder / "hub-cache"),
        "HF_ENDPOINT": hub.url,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_TOKEN": TOKEN,
        "SEMCONV_CACHE": str(folder / "cache"),
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
    }
    return {**os.environ, **own}


def run_once(hub: Hub, folder: Path, options: argparse.Namespace, fast: bool) -> tuple[int, list[Stage]]:
    """Runs `semconv reproduce`, its stages watched; returns its exit code, and what they took."""
    command = [*command_of(SCALES[options.scale]), "--device", options.device, *(["--fast"] if fast else [])]
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment_of(hub, folder),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    watch = Watch(process.pid, (folder / "hub-cache", folder / "run"))
    watch.begin("start")
    looking = threading.Thread(target=watch.until_ended, daemon=True)
    looking.start()
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith(_STAGE) and not line.startswith(f"{_STAGE}warning"):
                watch.begin(line.removeprefix(_STAGE).strip())
            print(line, end="", file=sys.stderr, flush=True)
        code = process.wait()
    finally:
        process.kill()
        process.wait()
        watch.ended = True
        looking.join()
    watch.end()
    return code, watch.stages


def compared_with_plan(hub: Hub, folder: Path, scale: Scale) -> list[Beside]:
    """Returns what the first start took beside its plan, which is made after it, for as many pairs as there were; of
    real sizes alone."""
    if scale.fast or scale.features != SCALES["full"].features:
        return []
    plan = planned(folder / "gemma2.toml", pairs_of(folder / "run"), environment_of(hub, folder))
    return beside(plan, took(folder / "run"))


def needed_bytes(scale: Scale, saes: list[Wanted], tokens: int) -> int:
    """Returns the disk that a rehearsal takes: everything on the hub and again in the cache, and what a run writes."""
    weights = sum(map(weight_bytes, scale.shapes))
    read = sum(bytes_of_sae(sae.width, sae.d_in) for sae in saes)
    stores = 2 * len(saes) * tokens * 500 * 6  # of 500 active features a token at most
    return 2 * (weights + read) + read // 2 + stores + GIB


def table(stages: list[Stage]) -> list[str]:
    """Returns the rows of a Markdown table; stages below a tenth of a second are in the sums alone."""
    lines = [
        "| stage | seconds | CPU seconds | own memory, GiB | mapped, GiB | disk after, GiB |",
        "|---|---|---|---|---|---|",
    ]
    for one in stages:
        if one.seconds >= 0.1:
            lines.append(
                f"| {one.stage} | {one.seconds:.1f} | {one.cpu_seconds:.1f} | {one.own_gib:.2f} | {one.mapped_gib:.2f} "
                f"| {one.disk_gib:.1f} |"
            )
    total, cpu = sum(one.seconds for one in stages), sum(one.cpu_seconds for one in stages)
    own, mapped = max(one.own_gib for one in stages), max(one.mapped_gib for one in stages)
    return [*lines, f"| all | {total:.1f} | {cpu:.1f} | {own:.2f} | {mapped:.2f} | {stages[-1].disk_gib:.1f} |"]


def told(found: dict[str, object], runs: list[list[Stage]], suite: SuiteConfig, plan: list[Beside]) -> str:
    """Returns the report as Markdown."""
    fewer = f", {found['draws']} draws at most" if found["draws"] else ""
    lines = [
        f"Scale {found['scale']}: {', '.join(map(str, found['models']))}; layers {found['layers']}; "  # pyright: ignore
        f"{found['tokens']} tokens{fewer}; {found['processor']}, {found['threads']} threads; commit {found['commit']}.",
        "",
        *table(runs[0]),
        "",
        f"The repositories were written in {found['world_seconds']:.0f} s and take {found['world_gib']:.1f} GiB. "
        f"The suite itself reads {suite.corpus.max_tokens} tokens at {len(suite.model_a.saes)} x "
        f"{len(suite.model_b.saes)} layers; `semconv plan {suite.name}` says what that takes.",
    ]
    if len(runs) > 1:
        seconds, cpu = (sum(getattr(one, name) for one in runs[1]) for name in ("seconds", "cpu_seconds"))
        hashed = sum(one.seconds for one in runs[1] if one.stage.startswith(("hash", "download")))
        lines += [
            "",
            f"The same command again: {seconds:.1f} s, {cpu:.1f} CPU s, {hashed:.1f} s of downloads and hashing, "
            f"{found['files_fetched'][1]} files fetched.",  # pyright: ignore
        ]
    if plan:
        lines += ["", "Planned, and what happened; tasks by the seconds of one thread:", "", beside_table(plan)]
    return "\n".join(lines)


def rehearse(options: argparse.Namespace, folder: Path) -> int:
    """Writes the world, runs the suite twice, reports; returns the exit code."""
    scale, layers = SCALES[options.scale], layers_of(options.layers)
    wide, saes = options.wide, saes_of(layers, options.wide, scale)
    folder.mkdir(parents=True, exist_ok=True)
    needed, free = needed_bytes(scale, saes, options.tokens), shutil.disk_usage(folder).free + disk_of(folder)
    if free < needed:
        print(
            f"rehearse: needs {needed / GIB:.0f} GiB of disk, {folder} has {free / GIB:.0f} GiB free", file=sys.stderr
        )
        return 2
    began = time.monotonic()
    write_world(folder / "world", scale, saes)
    world_seconds = time.monotonic() - began
    (folder / "gemma2.toml").write_text(
        suite_text(scale, options.tokens, layers, wide, options.draws), encoding="utf-8"
    )
    suite = load_suite(folder / "gemma2.toml")
    runs, fetched, compared = list[list[Stage]](), list[int](), list[Beside]()
    with serving() as hub:
        hub.repositories = repositories(folder / "world", suite, saes)
        for _ in range(2):
            hub.log.clear()
            code, stages = run_once(hub, folder, options, scale.fast)
            runs.append(stages)
            fetched.append(sum(line.startswith("GET ") and "/resolve/" in line for line in hub.log))
            code = 0 if code == 1 else code
            if code:
                break
            compared = compared or compared_with_plan(hub, folder, scale)  # the second start takes next to nothing
    found: dict[str, object] = {
        "scale": options.scale,
        "models": [shape.name for shape in scale.shapes],
        "layers": f"{layers[0]} x {layers[1]}",
        "tokens": options.tokens,
        "draws": options.draws,
        "processor": processor(),
        "threads": int(os.environ.get("OMP_NUM_THREADS", 0)) or os.cpu_count(),
        "commit": code_commit(),
        "exit_code": code,
        "world_seconds": world_seconds,
        "world_gib": disk_of(folder / "world") / GIB,
        "files_fetched": fetched,
        "plan": [asdict(one) for one in compared],
        "runs": [[asdict(stage) for stage in stages] for stages in runs],
    }
    write_json(folder / "rehearsal.json", found)
    print(told(found, runs, load_suite("gemma2"), compared))
    if not options.keep and code == 0:
        for name in ("world", "hub-cache"):
            shutil.rmtree(folder / name)
    return code


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--scale", choices=list(SCALES), default="tiny", help="full has exact shapes")
    parser.add_argument("--layers", type=int, help="layers of each model, of those that the suite names")
    parser.add_argument("--tokens", type=int, help="tokens that count, rounded up to whole rows")
    parser.add_argument("--draws", type=int, help="of every null and interval, at most; no tail is fitted then")
    parser.add_argument("--wide", action="store_true", help="with the suite's control, an SAE of 65k features (2.4 GB)")
    parser.add_argument("--device", default="cpu", help="auto, cpu or cuda")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "rehearsal", help="folder for everything")
    parser.add_argument(
        "--keep", action="store_true", help="leave the repositories and the hub's cache for another run"
    )
    options = parser.parse_args(arguments)
    scale = SCALES[options.scale]
    options.layers = scale.layers if options.layers is None else options.layers
    options.tokens = scale.tokens if options.tokens is None else options.tokens
    options.draws = scale.draws if options.draws is None else options.draws
    if not 1 <= options.layers <= NUMBER_OF_LAYERS:
        parser.error(f"--layers must be between 1 and {NUMBER_OF_LAYERS}, got {options.layers}")
    if not (options.tokens > 0 and math.isfinite(options.tokens)):
        parser.error(f"--tokens must be above 0, got {options.tokens}")
    if options.draws is not None and options.draws < 2:
        parser.error(f"--draws must be at least 2, got {options.draws}")
    return options


def main() -> None:
    options = parse()
    try:
        code = rehearse(options, options.out.resolve())
    except SemconvError as error:
        print(f"rehearse: {error}", file=sys.stderr)
        code = 2
    sys.exit(code)


if __name__ == "__main__":
    main()
