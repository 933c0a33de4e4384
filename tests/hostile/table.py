"""The table of hostile inputs: what strangers may send, what is said of it, and with which exit code.

A row is a function that makes its input in a folder of its own and returns the arguments of one command. Rows with
cases make one input for each.
"""

from __future__ import annotations

import hashlib
import json
import os
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
    observations = read_observations(suite, FinishedTasks(folder / "tasks"))
    results = rebuild_archive.retold(folder, suite, observations, archived)
    made = folder.with_name("made")
    made.mkdir()
    with patch.object(rebuild_archive, "write_report", rebuild_archive.write_report if told else lambda *_: None):
        draws = null_tensors(observations, suite.compare.measures)
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


# 1. Whose suite, claims and reference

SUITE_NAME = "name of a suite in an archive"


@rows(
    SUITE_NAME,
    {
        "a capital": ("Mini", "Mini, none that ships; it is not the suite mini, whose name it looks like"),
        "a hyphen": ("mi-ni", "mi-ni, none that ships; it is not the suite mini, whose name it looks like"),
        "wide letters": ("ｍｉｎｉ", "none that ships; it is not the suite mini, whose name it looks like"),
    },
    code=PASSES,
    quick=1,
)
def looks_like_one_that_ships(w: World, name: str) -> Arguments:
    folder = w.unpacked()
    edit(folder / "suite.json", lambda suite: suite.update(name=name))
    claims = folder / "claims.toml"
    claims.write_text(claims.read_text().replace('suite = "tiny"', f'suite = "{name}"'))
    return packed(forged(folder, told=True))


@rows(
    SUITE_NAME,
    {
        name or "none": (name, "the name of a suite must be fit for a file's name")
        for name in ("mini ", " mini", "..", "a/b", "", "m\u202eini", "a\nb", "\x1b[2Jmini")
    },
)
def is_no_file_name(w: World, name: str) -> Arguments:
    folder = w.unpacked()
    edit(folder / "suite.json", lambda suite: suite.update(name=name))
    listed_again(folder)
    return packed(folder)


@row(SUITE_NAME, "results have no 'grid.3x6.measures.rsa.score'", slow=True)
def calls_itself_by_that_of_one_that_ships(w: World) -> Arguments:
    folder = w.unpacked()
    edit(folder / "suite.json", lambda suite: suite.update(name="mini"))
    claims = folder / "claims.toml"
    claims.write_text(claims.read_text().replace('suite = "tiny"', 'suite = "mini"'))
    return packed(forged(folder, told=True))


@row(SUITE_NAME, "nothing was checked", code=FAILS, slow=True)
def without_a_claim_about_it(w: World) -> Arguments:
    folder = w.unpacked()
    claims = folder / "claims.toml"
    claims.write_text(claims.read_text().replace('suite = "tiny"', 'suite = "else"'))
    return packed(forged(folder, told=True))


# 2. Results that do not follow from what lies beside them

RESULTS = "forged results"
FOLLOWS = "is not what follows from the statistics beside it"


def _set(*place: str, value: Any) -> Callable[[Any], None]:
    def change(results: Any) -> None:
        for key in place[:-1]:
            results = results[key]
        assert place[-1] in results, place
        results[place[-1]] = value

    return change


@rows(
    RESULTS,
    {
        " ".join(place): (_set(*place, value=value), FOLLOWS)
        for place, value in {
            ("grid", "0x2", "measures", "rsa", "nulls", "rematch", "p"): 0.001,
            ("grid", "0x2", "measures", "rsa", "score"): 0.9,
            ("grid", "0x2", "measures", "rsa", "interval"): [0.8, 0.9],
            ("grid", "0x2", "pairs"): 5000,
            ("grid", "0x2", "mean_r"): 0.99,
            ("controls", "pairs", "twin", "pairs"): 1,
            ("controls", "self_match"): {},
            ("summary", "rsa", "layer_pairs"): 999,
            ("subspaces", "categories"): "other words",
            ("subspaces", "grid"): {},
            ("spans", "mean_length"): 99.0,
            ("published", "steps"): [],
            ("warnings",): [],
            ("null", "n_permutations"): 1_000_000,
            ("suite",): "mini",
            ("model_a", "name"): "google/gemma-2-2b",
        }.items()
    },
)
def of_another(w: World, change: Callable[[Any], None]) -> Arguments:
    folder = w.unpacked()
    edit(folder / "results.json", change)
    listed_again(folder)
    return packed(folder)


@rows(
    RESULTS,
    {
        "draws of shuffle": (
            ("0x2.observed", scaled("draws", at=0)),
            "draws of shuffle that were kept for [a-z_0-9]+ of layers 0x2 are .* away from what the decoder rows and",
        ),
        "stated score": (
            ("0x2.observed", scaled("scores")),
            "[a-z_0-9]+ of layers 0x2 is .* in results.json of .* away from what its decoder rows give",
        ),
        "pairs": (
            ("0x2.observed", scaled("a", 2)),
            "pairs.parquet in .* holds other pairs of layers 0x2 than were scored",
        ),
    },
)
def follow_from_a_forged_task(w: World, forgery: Any) -> Arguments:
    folder = w.unpacked()
    edit_task(folder, *forgery)
    return packed(forged(folder))


@row(RESULTS, "99 draws of shuffle were kept for layers .*, the suite says 1000000")
def a_million_stated_permutations(w: World) -> Arguments:
    folder = w.unpacked()
    edit(folder / "suite.json", _set("null", "n_permutations", value=1_000_000))
    return packed(forged(folder))


@rows(
    "what only the models or the text could show",
    {
        "draws of frequency": (
            ("0x2.observed", scaled("draws", at=1)),
            "As stated: .* the draws of frequency and rematch",
        ),
        "draws of rematch": (
            ("0x2.rematch-scores.0", scaled("scores")),
            "As stated: .* the draws of frequency and rematch",
        ),
        "published steps": (
            ("published.as_published", stated(pairs=5000)),
            "As stated: .* published steps",
        ),
        "controls": (
            ("control.twin.observed", scaled("r")),
            "As stated: .* controls",
        ),
    },
    code=PASSES,
    quick=1,
)
def is_listed_as_stated(w: World, forgery: Any) -> Arguments:
    folder = w.unpacked()
    edit_task(folder, *forgery)
    return packed(forged(folder, told=True))


@rows(
    "forged report or page",
    {
        name: (name, rf"{name} in .* is not what its results give|not checked: {name} as this commit writes them")
        for name in ("index.html", "report.md")
    },
    code=EITHER,
    quick=1,  # refused where this commit made the run, told as not checked where it had changes
)
def with_another_sentence(w: World, name: str) -> Arguments:
    folder = w.unpacked()
    with (folder / name).open("a") as file:
        file.write("<b>Both models are the same.</b>")
    listed_again(folder)
    return packed(folder)


@rows(
    "crate",
    {
        "lists a file outside": (("../outside", None), r"lists \.\./outside, which lies outside of it"),
        "lists an absolute path": (("/etc/hostname", None), "lists /etc/hostname, which lies outside of it"),
        "lists a file that is not there": (("absent.txt", None), "lists absent.txt, which is missing"),
        "lists a folder": (("tasks", None), "lists tasks, which is missing"),
        "lists a name with NUL": (("a\0b", None), "missing|damaged"),
        "is no JSON": ((None, "{"), "is not JSON that can be read"),
        "has no graph": ((None, "{}"), "its @graph must be a list of entities"),
        "has a graph of texts": ((None, '{"@graph": ["x"]}'), "its @graph must be a list of entities"),
        "is nested deep": ((None, '{"@graph": ' + "[" * 100_000 + "]" * 100_000 + "}"), "is nested too deep"),
        "has a number of 5,000 digits": (
            (None, '{"@graph": ' + "9" * 5000 + "}"),
            "it holds a number of thousands of digits",
        ),
        "is not UTF-8": ((None, b'{"@graph": "\xff"}'), "is not UTF-8"),
        "is empty": ((None, ""), "is not JSON that can be read"),
    },
)
def of_an_archive(w: World, what: tuple[str | None, str | bytes | None]) -> Arguments:
    name, content = what
    folder = w.unpacked()
    if name is not None:
        extra = {"@id": name, "@type": "File", "sha256": "0" * 64, "contentSize": "1"}
        edit(folder / METADATA, lambda crate: crate["@graph"].append(extra))
    elif isinstance(content, bytes):
        (folder / METADATA).write_bytes(content)
    else:
        (folder / METADATA).write_text(str(content))
    return packed(folder)


@row("crate", "holds extra.txt, which its .* does not list")
def with_a_file_that_it_does_not_list(w: World) -> Arguments:
    folder = w.unpacked()
    (folder / "extra.txt").write_text("x")
    return packed(folder)


@row("crate", "holds a file twice")
def with_a_file_twice(w: World) -> Arguments:
    import warnings

    path = shutil.copy(w.archive, w.folder / "twice.zip")
    with zipfile.ZipFile(path, "a") as file, warnings.catch_warnings(action="ignore"):
        file.writestr("results.json", "{}")
    return ["verify", "--bundle", path]


@rows(
    "damaged archive",
    {
        "no zip": (b"no zip", "is no archive of a run"),
        "empty": (b"", "is no archive of a run"),
        "a zip of nothing": (b"PK\x05\x06" + bytes(18), f"holds no {METADATA}"),
        "half": (None, "is no archive of a run"),
    },
)
def is_refused(w: World, content: bytes | None) -> Arguments:
    path = w.folder / "sent.zip"
    whole = w.archive.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    return ["verify", "--bundle", path]


# 3. Text that would change what a terminal, a page or a table shows

FORGING = "\x1b[2J\x1b[H\rPASS\u202e\u2066\x9b31m\u2028<img src=http://x/y><script>alert(1)</script>[a](javascript:b)"


@row("text on the terminal", r"\\x1b\[2J", code=PASSES)
def a_statement_of_a_claim(w: World) -> Arguments:
    path = w.folder / "claims.toml"
    statement = json.dumps(FORGING).replace("Every layer pair is scored.", "")
    path.write_text(w.suite.with_name("claims.toml").read_text().replace('"Every layer pair is scored."', statement))
    return ["verify", w.run, "--claims", path]


@row("text on the terminal", r"\\x1b\[2J", code=PASSES)
def a_commit(w: World) -> Arguments:
    folder = w.unpacked()

    def change(crate: Any) -> None:
        for item in crate["@graph"]:
            if item["@id"] == "#run/commit":
                item["value"] = FORGING

    edit(folder / METADATA, change)
    return packed(folder)


@rows(
    "text on the terminal",
    {
        "in its name": ('name = "tiny"', "must be fit for a file's name"),
        "in a model's name": ('name = "a"', "name"),
        "in a control's name": ('name = "twin"', "name"),
        "in a hook": ("blocks.0.hook_resid_post", "hook|\\\\x1b"),
        "in a path": ("{folder}/model_a", "\\\\x1b|exist"),
    },
)
def a_suite(w: World, place: str) -> Arguments:
    place = place.replace("{folder}", str(w.suite.parent))
    text = json.dumps(FORGING)[1:-1].replace("\\ud83d", "")
    new = place.replace("tiny", text) if "tiny" in place else place.rsplit('"', 2)[0] + f'"{text}"'
    if not place.startswith("name"):
        new = text
    return ["encode", w.suite_with(place, new), "--out", w.folder / "out"]


@row("text in a table", "", code=PASSES)
def formulas_in_exported_pairs(w: World) -> Arguments:
    (w.folder / "check.py").write_text(f"""
import csv, shutil, subprocess, sys
from pathlib import Path
import pyarrow as pa
import pyarrow.parquet as pq
from semconv.cli import main
run = Path({str(w.run)!r}); mine = Path("mine"); mine.mkdir()
shutil.copy(run / "results.json", mine)
table = pq.read_table(run / "pairs.parquet")
evil = ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(1)", "\\t=1", "\\r=1"]
place = table.column_names.index("top_tokens_a")
table = table.set_column(place, "top_tokens_a", pa.array([evil] * table.num_rows))
pq.write_table(table, mine / "pairs.parquet")
sys.argv = ["semconv", "export", "pairs.csv", "--run", "mine"]
try:
    main()
except SystemExit as left:
    assert not left.code, left.code
rows = list(csv.reader(open("pairs.csv", newline="")))
assert len(rows) == table.num_rows + 1
for cells in rows[1:]:
    for cell in cells:
        try: float(cell)
        except ValueError: assert not cell.startswith(("=", "+", "-", "@", "\\t", "\\r")), cell
""")
    return [w.folder / "check.py"]


# 4. Targets

TARGET = "target that is read to make it"


@row(TARGET, "which is read to make it")
def of_correlate_a_shard_of_its_input(w: World) -> Arguments:
    a, b = (shutil.copytree(store, w.folder / store.parent.name) for store in _stores(w))
    return ["correlate", a, b, "--out", a / "shard-00000.safetensors"]


@row(TARGET, "which is read to make it")
def of_correlate_through_a_link(w: World) -> Arguments:
    a, b = (shutil.copytree(store, w.folder / store.parent.name) for store in _stores(w))
    (w.folder / "link").symlink_to(a)
    return ["correlate", a, b, "--out", w.folder / "link" / "matches.safetensors"]


@row(TARGET, "which is read to make it")
def of_export_over_the_pairs(w: World) -> Arguments:
    return ["export", _copied_run(w) / "pairs.parquet", "--run", w.folder / "run"]


@row(TARGET, "--out must be a new or empty folder")
def of_report_a_folder_in_use(w: World) -> Arguments:
    (w.folder / "mine.txt").write_text("mine")
    return ["report", "--from", w.archive, "--out", w.folder]


@row(TARGET, "an archive is a .zip file, got a.tar")
def of_archive_another_suffix(w: World) -> Arguments:
    return ["archive", w.run, "--out", w.folder / "a.tar"]


def _stores(w: World) -> list[Path]:
    return [w.run / "stores" / "a" / "blocks.0.hook_resid_post", w.run / "stores" / "b" / "blocks.2.hook_resid_post"]


def _copied_run(w: World) -> Path:
    return shutil.copytree(w.run, w.folder / "run", ignore=shutil.ignore_patterns("stores"))


# 5. Kept files

FLIPS = """
import random, shutil
from pathlib import Path
from semconv import InputError
{setup}
random.seed(0)
content, tried, refused, same = path.read_bytes(), {tried}, 0, 0
before = read()
for _ in range(tried):
    damaged = bytearray(content)
    damaged[random.randrange(len(content))] ^= 1 << random.randrange(8)
    path.write_bytes(damaged)
    try:
        after = read()
    except InputError:
        refused += 1
        continue
    assert equal(before, after), "a flipped bit was read as if it were there"
    same += 1
assert refused > 0.9 * tried, (refused, tried)
print("inputs", tried, "refused", refused, "same", same)
"""


SEALED = "from semconv.system.files import read_sealed as reader"
TASK = """
from semconv.runs.task_cache import _read
def reader(path):
    kept = _read(path, None)
    if kept is None:
        raise InputError("damaged")
    return {name: torch.from_numpy(array) for name, array in kept[1].items()}, kept[0]
"""


@rows(
    "flipped bit",
    {
        "tokens": (("tokens-*.safetensors", SEALED), "refused"),
        "decoder rows": (("decoders/a/*.safetensors", SEALED), "refused"),
        "finished tasks": (("tasks/0x2.observed.safetensors", TASK), "refused"),
    },
    code=PASSES,
)
def in_kept_tensors(w: World, what: tuple[str, str]) -> Arguments:
    pattern, reader = what
    path = shutil.copy(next(w.run.glob(pattern)), w.folder / "kept.safetensors")
    setup = f"""
import torch
{reader}
path = Path({str(path)!r})
read = lambda: reader(path)
def equal(a, b):
    return a[1] == b[1] and a[0].keys() == b[0].keys() and all(torch.equal(a[0][k], b[0][k]) for k in a[0])
"""
    (w.folder / "flips.py").write_text(FLIPS.format(setup=setup, tried=400))
    return [w.folder / "flips.py"]


@row("flipped bit", "refused", code=PASSES)
def in_a_store(w: World) -> Arguments:
    store = shutil.copytree(_stores(w)[0], w.folder / "store")
    setup = f"""
import torch
from semconv.core.activation_store import ActivationStore
path = Path({str(store)!r}) / "shard-00000.safetensors"
def read():
    store = ActivationStore(path.parent)
    store.verify()
    return store.load().sha256
equal = lambda a, b: a == b
"""
    (w.folder / "flips.py").write_text(FLIPS.format(setup=setup, tried=400))
    return [w.folder / "flips.py"]


@row("flipped bit", "refused", code=PASSES, slow=True, seconds=1200)
def in_an_archive(w: World) -> Arguments:
    setup = f"""
import json
from semconv.pipeline.rebuild_archive import rebuild
from semconv.runs.archive import opened
path = Path(shutil.copy({str(w.archive)!r}, "sent.zip"))
def read():
    with opened(path) as folder:
        return (folder / "results.json").read_bytes(), (folder / "nulls.safetensors").read_bytes()
equal = lambda a, b: a == b
"""
    (w.folder / "flips.py").write_text(FLIPS.format(setup=setup, tried=2000))
    return [w.folder / "flips.py"]


@rows(
    "numbers of a store",
    {kind: (kind, f"indices must be torch.uint16, got torch.{kind}") for kind in ("int64", "float32", "complex64")},
)
def with_indices_of(w: World, kind: str) -> Arguments:
    import torch
    from safetensors.torch import save_file

    from semconv.system.files import read_tensors

    store = shutil.copytree(_stores(w)[0], w.folder / "store")
    shard = store / "shard-00000.safetensors"
    tensors, metadata = read_tensors(shard)
    tensors["indices"] = tensors["indices"].to(getattr(torch, kind))
    save_file(tensors, shard, metadata)

    def change(manifest: Any) -> None:
        manifest["shards"][0]["sha256"] = hashlib.sha256(shard.read_bytes()).hexdigest()

    edit(store / "manifest.json", change)
    return ["store", "verify", store]


# 6. Names and models that lead elsewhere

ELSEWHERE = "names and models that lead elsewhere"


@rows(
    ELSEWHERE,
    {
        name.strip() or repr(name): (name, "name")
        for name in ("../../x", "/tmp/x", "..", "a/b", "a\\\\b", "a\\nb", "\\u2028", "", " ", "n" * 300)
    },
)
def a_model_called(w: World, name: str) -> Arguments:
    return ["reproduce", w.suite_with('name = "a"\n', f'name = "{name}"\n'), "--out", w.folder / "out"]


@row(ELSEWHERE, "a pickle, which could run code and is not read")
def weights_in_a_pickle(w: World) -> Arguments:
    folder = _copied_model(w)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    return _encode_of(w, folder)


@rows(
    ELSEWHERE,
    {
        "a neighbour": ("../model_b/model.safetensors", "names the file '../model_b"),
        "the machine's files": ("/etc/passwd", "names the file '/etc/passwd'"),
        "nothing": ("absent.safetensors", "lie in the same folder"),
    },
)
def an_index_of_weights_that_names(w: World, name: str) -> Arguments:
    folder = _copied_model(w)
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    index = {"weight_map": {"model.norm.weight": name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return _encode_of(w, folder)


def _copied_model(w: World) -> Path:
    return shutil.copytree(w.suite.with_name("model_a"), w.folder / "model")


def _encode_of(w: World, model: Path) -> Arguments:
    return ["encode", w.suite_with(str(w.suite.with_name("model_a")), str(model)), "--out", w.folder / "out"]


# 7. Tensors given to the ops

OPS = """
import torch
from semconv import _C
g = torch.Generator().manual_seed(0)
def csr(n=50, f=20):
    x = torch.rand(n, f, generator=g) * (torch.rand(n, f, generator=g) < 0.3)
    s = x.to_sparse_csr()
    return [s.crow_indices(), s.col_indices().to(torch.int32), s.values()]
a, b, f, k = csr(), csr(), 20, 1
indptr, indices, values = a
{change}
try:
    out = torch.ops.semconv.best_matches(*a, f, *b, f, k)
except (ValueError, NotImplementedError, TypeError, IndexError) as error:
    print("refused:", str(error).splitlines()[0])
else:
    print("answered")
"""


@rows(
    "tensors of the ops",
    {
        "an index beyond the features": ("indices[3] = 20", "refused"),
        "a negative index": ("indices[3] = -1", "refused"),
        "a row pointer beyond the entries": ("indptr[-1] += 1", "refused"),
        "a row pointer far beyond": ("indptr[-1] = 2**62", "refused"),
        "falling row pointers": ("indptr[3] = indptr[6]; indptr[6] = 0", "refused"),
        "rows that do not begin at 0": ("indptr[0] = 1", "refused"),
        "NaN": ("values[0] = float('nan')", "refused"),
        "infinity": ("values[0] = float('inf')", "refused"),
        "a negative value": ("values[0] = -1", "refused"),
        "an index twice": ("a[1] = torch.zeros_like(indices)", "refused"),
        "meta values": ("a[2] = values.to('meta')", "refused"),
        "meta indices": ("a[1] = indices.to('meta')", "refused"),
        "all meta beside real ones": ("a[:] = [part.to('meta') for part in a]", "refused"),
        "64-bit indices": ("a[1] = indices.long()", "refused"),
        "double values": ("a[2] = values.double()", "refused"),
        "complex values": ("a[2] = values.to(torch.complex64)", "refused"),
        "a matrix of values": ("a[2] = values[None]", "refused"),
        "sparse values": ("a[2] = values.to_sparse()", "refused"),
        "other numbers of tokens": ("a[0] = indptr[:-1]", "refused"),
        "no features": ("f = 0", "refused"),
        "negative features": ("f = -1", "refused"),
        "features beyond memory": ("f = 2**62", "refused"),
        "k of 0": ("k = 0", "refused"),
        "k beyond the features": ("k = 21", "refused"),
        "k beyond memory": ("k = 2**62", "refused"),
        "no tokens": ("a[:] = b[:] = [torch.zeros(1, dtype=torch.int64), indices[:0], values[:0]]", "refused|answered"),
        "no row pointer": ("a[0] = indptr[:0]", "refused"),
    },
    code=PASSES,
)
def of_best_matches(w: World, change: str) -> Arguments:
    (w.folder / "op.py").write_text(OPS.format(change=change))
    return [w.folder / "op.py"]


# 8. Small inputs that hang or fill

FILLS = "small inputs that hang or fill"


@rows(
    FILLS,
    {
        f"{name} = {value}": ((name, value), rf"null\.{name} must be between [01] and 10000000")
        for name in ("n_rematch", "n_bootstrap", "n_permutations")
        for value in (10**12, 10**30, -1)
    },
)
def a_suite_in_an_archive_with(w: World, setting: tuple[str, int]) -> Arguments:
    folder = w.unpacked()
    edit(folder / "suite.json", lambda suite: suite["null"].update(dict([setting])))
    listed_again(folder)
    return packed(folder)


READ = ("--tokenizer", "{tokenizer}", "--out", "out", "--text")


@rows(
    FILLS,
    {
        "an archive": (["verify", "--bundle", "pipe"], "neither a file nor a folder"),
        "a run": (["verify", "pipe"], "pipe"),
        "a suite": (["encode", "pipe.toml", "--out", "out"], "pipe.toml is not a file"),
        "claims": (["verify", "{run}", "--claims", "pipe"], "pipe is not a file"),
        "a store": (["store", "verify", "pipe"], "pipe"),
        "text": (
            ["compare", "{a}", "{a}", "--sae-a", "{sae}", "--sae-b", "{sae}", *READ, "pipe.txt"],
            "pipe.txt is neither a file nor a folder",
        ),
        "a model": (
            ["compare", "pipe", "{a}", "--sae-a", "{sae}", "--sae-b", "{sae}", *READ, "{text}"],
            "'pipe' is neither a folder nor OWNER/NAME of the hub",
        ),
        "a reference": (["verify", "{run}", "--claims", "{claims}", "--reference", "pipe"], "pipe"),
    },
)
def a_pipe_as(w: World, arguments: list[str]) -> Arguments:
    for name in ("pipe", "pipe.toml", "pipe.txt"):
        os.mkfifo(w.folder / name)
    return _with_places(w, arguments)


@rows(
    FILLS,
    {
        "an archive": (["verify", "--bundle", "/dev/zero"], "neither a file nor a folder"),
        "a suite": (["encode", "zero.toml", "--out", "out"], "zero.toml is not a file"),
        "claims": (["verify", "{run}", "--claims", "/dev/zero"], "/dev/zero is not a file"),
        "text": (
            ["compare", "{a}", "{a}", "--sae-a", "{sae}", "--sae-b", "{sae}", *READ, "zero.txt"],
            "zero.txt is neither a file nor a folder",
        ),
    },
)
def a_device_as(w: World, arguments: list[str]) -> Arguments:
    for name in ("zero.txt", "zero.toml"):
        (w.folder / name).symlink_to("/dev/zero")
    return _with_places(w, arguments)


def _with_places(w: World, arguments: list[str]) -> Arguments:
    beside = w.suite.parent
    places = {
        "{run}": w.run,
        "{a}": beside / "model_a",
        "{sae}": f"{beside / 'sae_a0'}@0",
        "{text}": beside / "text.txt",
        "{claims}": beside / "claims.toml",
        "{tokenizer}": beside / "tokenizer.json",
    }
    return [places.get(argument, argument) for argument in arguments]


def _bomb(w: World, name: str, size: int, content: bytes = b" ") -> Arguments:
    """An archive one of whose files has so many bytes, all the same, after what it should begin with."""
    folder = w.unpacked()
    path = folder / name
    with path.open("ab") as file:
        for _ in range(size // 2**20):
            file.write(content * 2**20)
    if name != METADATA:
        listed_again(folder)
    return packed(folder)


@rows(
    FILLS,
    {
        "a page": (("index.html", 2**31), "--max-size"),
        "JSON": (("results.json", 100 * 2**20), "of JSON at most .* are read; see --max-size"),
        "a crate": ((METADATA, 100 * 2**20), f"holds no {METADATA} of at most"),
        "a task": (("tasks/0x2.observed.safetensors", 2**31), "--max-size"),
    },
    quick=0,
)
def an_archive_that_unpacks_to_gigabytes_of(w: World, what: tuple[str, int]) -> Arguments:
    return _bomb(w, *what)


def _with_little_memory(mib: int) -> None:
    @row(f"{mib} MiB of memory", "too little memory", mib=mib, slow=mib > 20)
    def for_an_archive(w: World) -> Arguments:
        return ["verify", "--bundle", w.archive]

    @row(f"{mib} MiB of memory", "too little memory|semconv: encode b", code=EITHER, mib=mib, slow=mib > 20)
    def for_encoding(w: World) -> Arguments:
        return ["encode", w.suite, "--out", w.folder / "out"]


# With more memory, too little of it ends verify by a signal: the library that draws figures holds V8, which ends the
# process where it gets none.
for _mib in (3, 20, 80, 120):
    _with_little_memory(_mib)


@row(FILLS, "pairs.parquet has 30000000 rows, at most .* are read; see --max-size", slow=True)
def a_table_that_repeats_a_value(w: World) -> Arguments:
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = w.unpacked()
    pq.write_table(pa.table({"x": pa.array(["x"] * 30_000_000).dictionary_encode()}), folder / "pairs.parquet")
    listed_again(folder)
    return packed(folder)


@row(FILLS, "not the file that was listed|no archive of a run, or a damaged one")
def an_archive_whose_sizes_are_not_what_it_says(w: World) -> Arguments:
    folder = w.unpacked()
    with (folder / "index.html").open("ab") as file:
        file.write(b" " * 2**26)
    return packed(folder)


# 10. What is no text, no JSON, no TOML

DEEP = 100_000


@rows(
    "malformed JSON and TOML",
    {
        "nested deep": ("x = " + "[" * DEEP + "]" * DEEP, "suite.toml"),
        "a number of 5,000 digits": ("x = " + "9" * 5000, "suite.toml"),
        "not UTF-8": (b"x = '\xff'", "suite.toml"),
        "no TOML": ("{", "suite.toml"),
        "empty": ("", "suite.toml"),
        "NUL": ("\0", "suite.toml"),
        "an unknown setting": ("nmae = 'x'", "nmae|name"),
    },
)
def a_suite_that_is(w: World, content: str | bytes) -> Arguments:
    path = w.folder / "suite.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return ["encode", path, "--out", w.folder / "out"]


@rows(
    "malformed JSON and TOML",
    {
        "nested deep": ("x = " + "[" * DEEP + "]" * DEEP, "claims.toml"),
        "a number of 5,000 digits": ("x = " + "9" * 5000, "claims.toml"),
        "not UTF-8": (b"x = '\xff'", "claims.toml"),
        "no TOML": ("{", "claims.toml"),
        "empty": ("", r"must hold \[\[claim\]\] tables"),
    },
)
def claims_that_are(w: World, content: str | bytes) -> Arguments:
    path = w.folder / "claims.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return ["verify", w.run, "--claims", path]


@rows(
    "malformed JSON and TOML",
    {
        f"{name} is {what}": ((name, content), f"{name}.json|{name}")
        for name in ("results", "suite")
        for what, content in {
            "nested deep": "[" * DEEP + "]" * DEEP,
            "a number of 5,000 digits": '{"x": ' + "9" * 5000 + "}",
            "not UTF-8": b'{"x": "\xff"}',
            "a list": "[]",
            "null": "null",
            "an empty object": "{}",
            "NaN": "NaN",
        }.items()
    },
)
def in_an_archive_whose(w: World, what: tuple[str, str | bytes]) -> Arguments:
    name, content = what
    folder = w.unpacked()
    (folder / f"{name}.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    listed_again(folder)
    return packed(folder)


ODD = {
    name: (value, "1 claims pass, 0 fail")
    for name, value in {
        "brackets": "[red]run[b]",
        "quotes": "a'b\"c",
        "two lines": "a\nb",
        "control characters": "\x1b[31m",
        "a hyphen first": "--run",
        "percent and braces": "%s{0}%20",
        "a line separator": "a\u2028b",
        "200 letters": "n" * 200,
    }.items()
}


@rows("odd paths", ODD, code=PASSES)
def of_a_run_with(w: World, name: str) -> Arguments:
    run = w.folder / name
    run.mkdir()
    for one in ("results.json", "suite.json"):
        shutil.copy(w.run / one, run)
    return ["verify", run, "--claims", w.suite.with_name("claims.toml")]


@rows("odd paths", ODD, code=PASSES, quick=0)
def of_an_archive_with(w: World, name: str) -> Arguments:
    return ["verify", "--bundle", shutil.copy(w.archive, w.folder / f"{name}.zip")]


@rows("odd paths", {name: (value, "bytes as in the archive") for name, (value, _) in ODD.items()}, code=PASSES, quick=0)
def of_a_report_with(w: World, name: str) -> Arguments:
    return ["report", "--from", w.archive, "--out", w.folder / name]


@rows(
    FILLS,
    {
        "plain": ("text.txt.gz", "text.txt.gz unpacks to more than"),
        "one line of JSON": ("text.jsonl.gz", "text.jsonl.gz unpacks to more than"),
    },
)
def text_that_unpacks_to_far_more(w: World, name: str) -> Arguments:
    import gzip

    with gzip.open(w.folder / name, "wb") as file:
        for _ in range(100):
            file.write(b" " * 2**20)
    text = ["compare", "{a}", "{a}", "--sae-a", "{sae}", "--sae-b", "{sae}", *READ, name]
    return _with_places(w, text)
