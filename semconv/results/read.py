"""Reads the results of a run folder: as the plain table that `results.json` is, or checked and typed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from semconv.system.errors import InputError
from semconv.system.json_toml import MOST_JSON, is_plain_json, read_json
from semconv.system.shape import read_as, read_text_as

if TYPE_CHECKING:
    from semconv.results.schema import Results


def load_results(run: str | Path, most: int | None = MOST_JSON) -> dict[str, Any]:
    """Reads `results.json` of a run folder as a plain table.

    Args:
        run: the folder.
        most: bytes of the file that are read; None where its size was checked before.

    Raises:
        InputError: the folder holds no finished run.

    Examples:
        The reference run of the mini suite lies in the repository. Its grid compares 4 x 4 layers, `2x4` those with
        layer 2 of model A and layer 4 of model B:

        >>> import semconv
        >>> results = semconv.load_results("expected/mini")
        >>> results["suite"], len(results["grid"])
        ('mini', 16)
        >>> results["grid"]["2x4"]["measures"]["rsa"]["nulls"]["shuffle"]["p"] < 0.05
        True
    """
    path = Path(run) / "results.json"
    if Path(run).is_file():
        raise InputError(f"{run} is a file, a run folder is needed (an archive is verified with --bundle)")
    results = read_json(path, f"{run} holds no results.json; run `semconv reproduce` first", most)
    if not isinstance(results.get("suite"), str):
        raise InputError(f"{path} is no result of semconv: it names no suite")
    warnings = results.get("warnings", [])
    if not isinstance(warnings, list) or not all(isinstance(warning, str) for warning in warnings):
        raise InputError(f"warnings in {path} must be a list of texts")
    return results


def read_results(run: str | Path, most: int | None = MOST_JSON) -> Results:
    """Reads `results.json` of a run folder; every value has its place and its kind.

    Args:
        run: the folder.
        most: as for `load_results`.

    Raises:
        InputError: the folder holds no finished run, or its results are not of the shape of `Results`; names the first
            place that does not fit.
    """
    from semconv.results.schema import Results  # with pydantic, which `import semconv` does without

    return _read_at_once(Path(run) / "results.json", most) or read_as(
        Results, load_results(run, most), f"results.json of {run}"
    )


def _read_at_once(path: Path, most: int | None) -> Results | None:
    """Reads the results without holding them as plain values too; None where anything is wrong with them."""
    from semconv.results.schema import Results

    if not path.is_file() or (most is not None and path.stat().st_size > most):
        return None
    data = path.read_bytes()
    try:
        fits = is_plain_json(data.decode("utf-8"))
    except UnicodeDecodeError:
        return None
    return read_text_as(Results, data) if fits else None
