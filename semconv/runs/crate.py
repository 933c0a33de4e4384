"""RO-Crate metadata of a run: its files with checksums, and what made them, when, with which versions, on what."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from semconv.system.errors import InputError
from semconv.system.files import sha256_of_file, write_json
from semconv.system.json_toml import read_json
from semconv.system.provenance import provenance

METADATA = "ro-crate-metadata.json"
FORMAT = 2
"""Version of the layout of a run folder; a folder of another version is refused."""
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
_SHA256 = "https://w3id.org/ro/terms/workflow-run#sha256"
CATEGORIES = "categories.toml"
ANONYMOUS = "anonymous"
"""Name of the property that marks a crate as anonymous."""
LEFT_OUT = "left out (anonymous)"
REPORT_SOFTWARE = "#semconv-report"
"""The semconv that wrote the report again, where a command of its own did."""
REPORT_COMMIT = "report commit"
"""Its commit in what `environment` returns."""
REPORT_FOLDERS, REPORT_SUFFIXES = ("figures", "explorer"), (".png", ".svg", ".js")
"""Folders of the report, and the files in them that belong to it."""
DESCRIBED = {
    "results.json": "Every number of the run.",
    "suite.json": "What was compared, and how: the resolved suite.",
    "claims.toml": "What is claimed of the results.",
    CATEGORIES: "Keyword lists of the suite's own.",
    "report.md": "The report as Markdown.",
    "index.html": "The report as one self-contained page.",
    "pairs.parquet": "The matched feature pairs of every layer pair.",
    "contexts.parquet": "The text that activates their features most.",
    "shared_contexts.parquet": "The text at which both features of a pair are shown side by side.",
    "features.parquet": "Every feature that was compared, paired or not, with its best partner.",
    "best_r.parquet": "How r of the best partners lies, in the text and under one shift of it.",
    "nulls.safetensors": "Every draw of the nulls of the layer grid.",
    "decoders.safetensors": "The SAE decoder rows of the pairs.",
}


@dataclass(frozen=True)
class Entry:
    """A file of a crate: path relative to it, SHA-256, bytes."""

    path: str
    sha256: str
    size: int


def portable_files(folder: Path, tasks: Iterable[str]) -> list[str]:
    """Returns the files of a run folder that belong to its crate: all but tokens, activation stores and whole decoders.

    Args:
        folder: of the run.
        tasks: names of the finished tasks that the results were made of; those of other runs in the folder stay.
    """
    found = [name for name in DESCRIBED if (folder / name).is_file()]
    shown = (path for of_report in REPORT_FOLDERS for path in folder.glob(f"{of_report}/*"))
    found += sorted(str(path.relative_to(folder)) for path in shown if path.suffix in REPORT_SUFFIXES)
    return found + sorted(f"tasks/{name}.safetensors" for name in tasks)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _properties(facts: dict[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in facts.items():
        if isinstance(value, dict):
            flat |= _properties(value, f"{prefix}{name}/")
        elif value is not None:
            flat[prefix + name] = " ".join(map(str, value)) if isinstance(value, list) else str(value)
    return flat


def write_crate(
    folder: Path,
    suite: str,
    tasks: Iterable[str],
    began: float,
    ended: float,
    facts: dict[str, Any],
    *,
    known: Iterable[Entry] = (),
) -> list[Entry]:
    """Writes `ro-crate-metadata.json`, the one file of a run that differs from run to run (Process Run Crate 0.5).

    Args:
        folder: of the run; `portable_files` of it are listed.
        suite: name of the suite.
        tasks: names of the finished tasks.
        began: when the run began, seconds since 1970.
        ended: when it ended.
        facts: of this run, beside those of the machine and the code (`provenance`); tables may nest.
        known: files that need not be read again.

    Returns:
        The files that it lists.
    """
    from rocrate.rocrate import ROCrate

    about = provenance()
    versions: dict[str, str] = about.pop("versions")  # pyright: ignore - a table by its name
    crate: Any = ROCrate(version="1.1")  # what the profile is made for
    crate.metadata.extra_terms = {"sha256": _SHA256}
    read = {entry.path: entry for entry in known}
    entries = [read.get(path) or _entry(folder, path) for path in portable_files(folder, tasks)]
    files = [_add_file(crate, entry) for entry in entries]
    crate.name = f"semconv run of suite {suite}"
    crate.description = "SAE features of two language models, correlated, matched and compared layer by layer."
    crate.datePublished = datetime.fromtimestamp(ended, UTC)
    crate.license = _entity(crate, "https://spdx.org/licenses/Apache-2.0", "CreativeWork", name="Apache License 2.0")
    root = crate.root_dataset
    root["conformsTo"] = _entity(crate, PROFILE, "CreativeWork", name="Process Run Crate", version="0.5")
    root["additionalProperty"] = _values(crate, "layout", {"semconv format": str(FORMAT)})
    inputs = [file for file in files if file.id in ("suite.json", "claims.toml")]
    action = crate.add_action(
        _software(crate, versions, str(about["commit"])),
        identifier="#run",
        object=inputs,
        result=[file for file in files if file not in inputs],
        properties={
            "name": f"semconv on suite {suite}",
            "startTime": _time(began),
            "endTime": _time(ended),
            "actionStatus": {"@id": "http://schema.org/CompletedActionStatus"},
        },
    )
    action["additionalProperty"] = _values(crate, "run", _properties({**about, **facts}))
    write_json(folder / METADATA, crate.metadata.generate())
    return entries


def _entry(folder: Path, path: str) -> Entry:
    return Entry(path, sha256_of_file(folder / path), (folder / path).stat().st_size)


def _add_file(crate: Any, entry: Entry) -> Any:
    described = {"description": DESCRIBED[entry.path]} if entry.path in DESCRIBED else {}
    properties = {"sha256": entry.sha256, "contentSize": str(entry.size), **described}
    return crate.add_file(dest_path=entry.path, properties=properties)


def _entity(crate: Any, identifier: str, kind: str, **properties: Any) -> Any:
    from rocrate.model.contextentity import ContextEntity

    return crate.add(ContextEntity(crate, identifier, properties={"@type": kind, **properties}))


def _values(crate: Any, of: str, table: dict[str, str]) -> list[Any]:
    return [_entity(crate, f"#{of}/{name}", "PropertyValue", name=name, value=table[name]) for name in sorted(table)]


def _software(crate: Any, versions: dict[str, str], commit: str) -> Any:
    """Adds semconv with its packages."""
    packages = [
        _entity(crate, f"#package/{name}", "SoftwareApplication", name=name, softwareVersion=version)
        for name, version in sorted(versions.items())
        if name != "semconv"
    ]
    return _entity(
        crate,
        "#semconv",
        "SoftwareApplication",
        name="semconv",
        softwareVersion=versions["semconv"],
        version=commit,
        softwareRequirements=packages,
    )


_TASK_SECONDS, _TASKS_DONE = "task seconds/", "tasks done/"
_SAID = ("device", "peak_memory_mib", "seconds/", _TASK_SECONDS, _TASKS_DONE)
"""Properties of a run that an anonymous archive keeps: those whose names are, or begin with, one of these."""
_LACKS = "without machine, command line, commit and people"
_PEOPLE = ("author", "creator", "contributor", "editor", "maintainer", "publisher", "funder", "sourceOrganization")


def anonymous_metadata(folder: Path) -> bytes:
    """Returns the crate of a run without what identifies its author.

    Machine, command line and commit are replaced by `LEFT_OUT`, also in crates of earlier versions; people and
    organisations, which may have been added by hand, are removed. Files, versions, times and seconds stay.

    Raises:
        InputError: there is no crate, or it is damaged.
    """
    graph = [item for item in read_graph(folder) if item.get("@type") not in ("Person", "Organization")]
    about = {"@id": f"#run/{ANONYMOUS}", "@type": "PropertyValue", "name": ANONYMOUS, "value": _LACKS}
    for item in graph:
        for key in _PEOPLE:
            item.pop(key, None)
        name = str(item["@id"]).removeprefix("#run/")
        if name != item["@id"] and not name.startswith(_SAID):
            item["value"] = LEFT_OUT
        if item["@id"] in ("#semconv", REPORT_SOFTWARE):
            item["version"] = LEFT_OUT
        if item["@id"] == "#run":
            item["additionalProperty"] = [*as_list(item.get("additionalProperty")), {"@id": about["@id"]}]
    crate = read_json(folder / METADATA)
    return (json.dumps({**crate, "@graph": [*graph, about]}, indent=2, sort_keys=True) + "\n").encode()


def as_list(value: Any) -> list[Any]:
    """Returns what an entity says of a property as a list: JSON-LD writes one value without brackets."""
    return value if isinstance(value, list) else [] if value is None else [value]


def read_graph(folder: Path) -> list[dict[str, Any]]:
    """Returns the entities of a crate.

    Raises:
        InputError: there is no crate, or it is damaged.
    """
    path = folder / METADATA
    graph = read_json(path, f"{folder} holds no {METADATA}; it is no finished run of semconv").get("@graph")
    if not isinstance(graph, list) or not all(isinstance(item, dict) and "@id" in item for item in graph):
        raise InputError(f"{path} is damaged: its @graph must be a list of entities")
    return graph


def environment(folder: Path) -> dict[str, str]:
    """Returns what the crate says of the run: machine, commit, seconds of every stage and of the tasks of every kind,
    peak memory in MiB, times; and `REPORT_COMMIT`, where the report was written again.

    Raises:
        InputError: there is no crate, or it is damaged.
    """
    graph = read_graph(folder)
    about = [item for item in graph if str(item["@id"]).startswith("#run/")]
    found = {str(item.get("name")): str(item.get("value")) for item in about}
    run = next((item for item in graph if item["@id"] == "#run"), {})
    found |= {key: str(run[key]) for key in ("startTime", "endTime") if key in run}
    again = next((item for item in graph if item["@id"] == REPORT_SOFTWARE), None)
    return found if again is None else {**found, REPORT_COMMIT: str(again.get("version"))}


def task_costs(about: Mapping[str, str]) -> str:
    """Returns in words what the tasks of every kind took by what `environment` returns, the dearest first; empty where
    it says nothing of them."""
    found: list[tuple[float, str]] = []
    for name, text in about.items():
        kind = name.removeprefix(_TASK_SECONDS)
        with suppress(ValueError):  # a stranger's crate may say anything
            if kind != name and isfinite(seconds := float(text)):
                found.append((seconds, f"{kind} {seconds:.0f} s ({about.get(f'{_TASKS_DONE}{kind}', '?')})"))
    return ", ".join(text for _, text in sorted(found, reverse=True))


def listed_files(folder: Path) -> list[Entry]:
    """Returns the files that the crate lists, without looking at them.

    Raises:
        InputError: no crate, a damaged one, one of another format, one that lists no results or a path outside of it.
    """
    graph = read_graph(folder)
    layout = next((item for item in graph if item["@id"] == "#layout/semconv format"), None)
    found = None if layout is None else layout.get("value")
    if found != str(FORMAT):
        raise InputError(
            f"{folder} has format {found or 'none'}, this semconv reads format {FORMAT}; "
            "read it with the version of semconv that wrote it"
        )
    entries: list[Entry] = []
    for item in graph:
        if item.get("@type") != "File":
            continue
        name, size = unquote(str(item["@id"])), str(item.get("contentSize"))
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise InputError(f"{folder} lists {name}, which lies outside of it")
        entries.append(Entry(name, str(item.get("sha256")), int(size) if size.isdecimal() else -1))
    if not any(entry.path == "results.json" for entry in entries):
        raise InputError(f"{folder} lists no results.json; it is no finished run of semconv")
    return entries


def check_crate(folder: Path) -> list[Entry]:
    """Checks every file that the crate lists, and returns them.

    Raises:
        InputError: no crate, a damaged one or one of another format; one that lists no results, or a path outside of
            it; a file that is missing; or a file of another size or SHA-256 than listed.
    """
    entries = listed_files(folder)
    for entry in entries:
        check_entry(folder, entry)
    return entries


def check_entry(folder: Path, entry: Entry) -> None:
    """Checks one file that the crate lists.

    Raises:
        InputError: it is missing, or of another size or SHA-256 than listed.
    """
    if not (folder / entry.path).is_file():
        raise InputError(f"{folder} lists {entry.path}, which is missing")
    found = _entry(folder, entry.path)
    if found != entry:
        raise InputError(
            f"{entry.path} in {folder} is not the file that was listed: SHA-256 {entry.sha256[:16]}... and "
            f"{entry.size} bytes expected, {found.sha256[:16]}... and {found.size} bytes found"
        )
