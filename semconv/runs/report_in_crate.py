"""The report of a run in its crate: listed anew after it was written again, with the code that did."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from semconv.runs.crate import (
    DESCRIBED,
    METADATA,
    REPORT_FOLDERS,
    REPORT_SOFTWARE,
    REPORT_SUFFIXES,
    as_list,
    read_graph,
)
from semconv.system.files import sha256_of_file, write_json
from semconv.system.json_toml import read_json
from semconv.system.provenance import provenance

_ACTION = "#report"
_TEXTS = ("report.md", "index.html")


def report_files(folder: Path) -> list[str]:
    """Returns the files of the report that a run folder holds: `report.md`, `index.html`, its figures, its explorer."""
    found = (path for name in REPORT_FOLDERS for path in folder.glob(f"{name}/*") if path.suffix in REPORT_SUFFIXES)
    beside = sorted(str(path.relative_to(folder)) for path in found)
    return [*(name for name in _TEXTS if (folder / name).is_file()), *beside]


def remove_report(folder: Path) -> None:
    """Removes the report from a run folder: it is of other results."""
    for name in REPORT_FOLDERS:
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in _TEXTS:
        (folder / name).unlink(missing_ok=True)


def _is_report(item: dict[str, Any]) -> bool:
    name = unquote(str(item["@id"]))
    return name in _TEXTS or name.startswith(tuple(f"{of_report}/" for of_report in REPORT_FOLDERS))


def list_report(folder: Path, began: float, ended: float) -> bool:
    """Lists the report of a run in its crate; False, and nothing is written, where the crate lists these very files.

    What made the rest of the run stays as it is; the action `#report` says when the report was written and by which
    commit of semconv.

    Args:
        folder: of the run.
        began: when writing the report began, seconds since 1970.
        ended: when it ended.

    Raises:
        InputError: there is no crate, or it is damaged.
    """
    graph, files = read_graph(folder), [_file(folder, path) for path in report_files(folder)]
    by_id = {str(item["@id"]): item for item in graph}
    if {name: item for name, item in by_id.items() if _is_report(item)} == {item["@id"]: item for item in files}:
        return False
    listed = [{"@id": item["@id"]} for item in files]
    others = [item for item in graph if not _is_report(item) and item["@id"] not in (_ACTION, REPORT_SOFTWARE)]
    for holder, key in (("./", "hasPart"), ("#run", "result")):
        if holder in by_id:
            by_id[holder][key] = [one for one in as_list(by_id[holder].get(key)) if not _is_report(one)]
    if "./" in by_id:
        root = by_id["./"]
        root["hasPart"] += listed
        mentioned = [one for one in as_list(root.get("mentions")) if one != {"@id": _ACTION}]
        root["mentions"] = [*mentioned, {"@id": _ACTION}]
    about = provenance()
    versions: dict[str, str] = about["versions"]  # pyright: ignore - a table by its name
    software = {
        "@id": REPORT_SOFTWARE,
        "@type": "SoftwareApplication",
        "name": "semconv",
        "softwareVersion": versions["semconv"],
        "version": str(about["commit"]),
    }
    action = {
        "@id": _ACTION,
        "@type": "CreateAction",
        "name": "semconv report",
        "instrument": {"@id": REPORT_SOFTWARE},
        "object": [{"@id": "results.json"}],
        "result": listed,
        "startTime": datetime.fromtimestamp(began, UTC).isoformat(timespec="seconds"),
        "endTime": datetime.fromtimestamp(ended, UTC).isoformat(timespec="seconds"),
        "actionStatus": {"@id": "http://schema.org/CompletedActionStatus"},
    }
    write_json(folder / METADATA, {**read_json(folder / METADATA), "@graph": [*others, *files, software, action]})
    return True


def _file(folder: Path, path: str) -> dict[str, str]:
    content = {"sha256": sha256_of_file(folder / path), "contentSize": str((folder / path).stat().st_size)}
    described = {"description": DESCRIBED[path]} if path in DESCRIBED else {}
    return {"@id": quote(path), "@type": "File", **content, **described}
