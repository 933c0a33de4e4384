"""Text that would change what a terminal, a page or a table shows, and targets that are read to make them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from semconv.runs.crate import METADATA
from tests.hostile.rows import PASSES, Arguments, World, edit, packed, row, rows

# Text that would change what a terminal, a page or a table shows

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


# Targets

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
