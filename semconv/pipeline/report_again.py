"""Writes the report of a finished run again, from what its folder holds."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from semconv.report import write_report
from semconv.results.claims import Checked, check_claims, load_claims
from semconv.results.read import read_results
from semconv.results.schema import Results
from semconv.runs.crate import check_entry, listed_files
from semconv.runs.report_in_crate import list_report
from semconv.system.files import only_writer

_READ = (
    *("results.json", "claims.toml", "nulls.safetensors", "decoders.safetensors"),
    *("pairs.parquet", "shared_contexts.parquet", "features.parquet", "best_r.parquet"),
)


@contextmanager
def saying_how_to_report(folder: Path) -> Generator[None]:
    """Gives every error that is raised inside a note on what is whole and how the report is written again."""
    try:
        yield
    except Exception as error:
        error.add_note(
            f"The results are whole, in {folder}, without report and page; `semconv report {folder}` writes these again"
        )
        raise


def kept_claims(folder: Path, results: Results) -> list[Checked]:
    """Returns the claims that a run keeps beside its results, checked against these; none where it keeps none.

    Raises:
        InputError: what `load_claims` or `check_claims` refuses.
    """
    path = folder / "claims.toml"
    return check_claims(load_claims(path), results) if path.exists() else []


def report_again(folder: Path) -> bool:
    """Writes `report.md`, `index.html` and `figures/` of a finished run again, and lists them in its crate.

    Nothing is changed if it fails, and twice is as good as once.

    Returns:
        Whether the crate lists other files now.

    Raises:
        InputError: the folder holds no finished run, one of its files that the report shows is missing, damaged or not
            what its crate lists, or another process writes to it.
        OSError: the folder cannot be written, or the disk is full.
    """
    if not (folder / "results.json").is_file():
        read_results(folder)  # says what is missing, before a folder is made for the lock
    with only_writer(folder):
        for entry in listed_files(folder):
            if entry.path in _READ:
                check_entry(folder, entry)
        began, results = time.time(), read_results(folder, None)
        write_report(results, kept_claims(folder, results), folder)
        return list_report(folder, began, time.time())
