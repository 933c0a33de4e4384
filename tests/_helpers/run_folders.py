"""Run folders: their files, packed, and listed again after a change."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from semconv.runs.crate import METADATA


def zipped(folder: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for one in sorted(p for p in folder.rglob("*") if p.is_file()):
            file.write(one, one.relative_to(folder))
    return path


def listed_again(folder: Path, name: str) -> None:
    """Makes the crate say that a changed file is what it should be."""
    from semconv.system.files import sha256_of_file

    crate = json.loads((folder / METADATA).read_text())
    entity = next(item for item in crate["@graph"] if item["@id"] == name)
    entity |= {"sha256": sha256_of_file(folder / name), "contentSize": str((folder / name).stat().st_size)}
    (folder / METADATA).write_text(json.dumps(crate))


def files_of_run(folder: Path) -> dict[str, bytes]:
    """Every file of a run folder but its lock and the one that says when, where and with what it was made."""
    kept = {path for path in folder.rglob("*") if path.is_file() and path.name not in (".lock", METADATA)}
    return {str(path.relative_to(folder)): path.read_bytes() for path in kept}
