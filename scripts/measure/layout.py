"""Counts packages, modules, long functions and untyped tables of this tree, or of a git revision.

`layout.py [REVISION]` prints the numbers, and what is beyond a limit;
`layout.py --before REVISION` prints the numbers of that revision beside those of this tree. Counted are the Python
files of semconv and of scripts; of the tests only modules and lines.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
MOST_LINES, MOST_LINES_OF_A_FUNCTION, MOST_POSITIONAL = 400, 60, 6
_COUNTED = ("semconv", "scripts", "tests")
_CLI = "semconv/cli/"

Sources = dict[str, str]
"""Path from the root of the repository -> text, of Python files and of pyproject.toml."""


@dataclass(frozen=True)
class Offender:
    """A module or a function beyond a limit.

    Attributes:
        where: `semconv/x.py`, or `semconv/x.py:name` for a function.
        number: of its lines, or of its parameters that may be given by position.
    """

    where: str
    number: int


def of_tree(root: Path = ROOT) -> Sources:
    """Returns the sources below a folder, committed or not."""
    files = [file for part in _COUNTED for file in sorted((root / part).rglob("*.py"))]
    return {str(file.relative_to(root)): file.read_text() for file in (*files, root / "pyproject.toml")}


def of_revision(revision: str, root: Path = ROOT) -> Sources:
    """Returns the sources of a git revision.

    Raises:
        CalledProcessError: git knows no such revision.
    """
    archive = subprocess.run(["git", "archive", revision], cwd=root, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        wanted = [
            member
            for member in tar.getmembers()
            if member.name == "pyproject.toml" or (member.name.endswith(".py") and member.name.startswith(_COUNTED))
        ]
        opened = {member.name: tar.extractfile(member) for member in wanted}
        return {name: file.read().decode() for name, file in opened.items() if file is not None}


def long_modules(sources: Sources) -> list[Offender]:
    """Returns the modules of semconv and scripts with their lines, the longest first."""
    found = [Offender(path, _lines(text)) for path, text in sources.items() if _is_ours(path)]
    return sorted(found, key=lambda module: (-module.number, module.where))


def long_functions(sources: Sources) -> list[Offender]:
    """Returns the functions of more lines than `MOST_LINES_OF_A_FUNCTION`, with their docstrings, the longest first."""
    found = [
        Offender(where, (function.end_lineno or function.lineno) - function.lineno + 1)
        for where, function, _ in _functions(sources)
    ]
    long = [function for function in found if function.number > MOST_LINES_OF_A_FUNCTION]
    return sorted(long, key=lambda function: (-function.number, function.where))


def wide_functions(sources: Sources) -> list[Offender]:
    """Returns the functions with more positional parameters than `MOST_POSITIONAL`, `self` and `cls` not counted.

    Those of the command line are left out, where every option of a command is a parameter.
    """
    found = [
        Offender(where, len(function.args.posonlyargs + function.args.args) - is_method)
        for where, function, is_method in _functions(sources)
        if not where.startswith(_CLI)
    ]
    wide = [function for function in found if function.number > MOST_POSITIONAL]
    return sorted(wide, key=lambda function: (-function.number, function.where))


def numbers(sources: Sources) -> dict[str, int | str]:
    """Returns what is counted, by what it is."""
    inside = [path for path in sources if path.startswith("semconv/")]
    tests = [path for path in sources if path.startswith("tests/")]
    packages = sorted({str(Path(path).parent) for path in inside} - {"semconv"})
    longest = long_modules(sources)
    counted: dict[str, int | str] = {
        "packages of semconv": len(packages),
        "modules of semconv": len(inside),
        "lines of semconv": sum(_lines(sources[path]) for path in inside),
        "modules of tests": len(tests),
        "lines of tests": sum(_lines(sources[path]) for path in tests),
        f"modules over {MOST_LINES} lines": sum(module.number > MOST_LINES for module in longest),
        **{f"longest module, {n}": f"{m.number} {m.where}" for n, m in enumerate(longest[:3], 1)},
        f"functions over {MOST_LINES_OF_A_FUNCTION} lines": len(long_functions(sources)),
        f"functions with over {MOST_POSITIONAL} positional parameters": len(wide_functions(sources)),
        "import contracts": sources["pyproject.toml"].count("[[tool.importlinter.contracts]]"),
    }
    for package in ["semconv", *packages]:
        own = [sources[path] for path in inside if str(Path(path).parent) == package]
        counted[f"`dict[str, Any]` in {package}"] = sum(len(re.findall(r"dict\[str, Any\]", text)) for text in own)
    return counted


def _is_ours(path: str) -> bool:
    return path.startswith(("semconv/", "scripts/"))


def _lines(text: str) -> int:
    return len(text.splitlines())


def _functions(sources: Sources) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef, bool]]:
    """Yields every function of semconv and scripts: `path:name`, its tree, and whether it is a method."""
    for path, text in sources.items():
        tree = ast.parse(text) if _is_ours(path) else ast.Module([], [])
        methods = {
            id(one)
            for kind in ast.walk(tree)
            if isinstance(kind, ast.ClassDef)
            for one in kind.body
            if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef))
            and not any(isinstance(mark, ast.Name) and mark.id == "staticmethod" for mark in one.decorator_list)
        }
        for one in ast.walk(tree):
            if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield f"{path}:{one.name}", one, id(one) in methods


def _table(columns: dict[str, dict[str, int | str]]) -> str:
    """Returns a Markdown table, one row for each number, one column for each tree."""
    names = list(dict.fromkeys(name for column in columns.values() for name in column))
    rows = [["", *columns], *([name, *(str(of.get(name, 0)) for of in columns.values())] for name in names)]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("revision", nargs="?", help="of git; without it, the tree in which this script lies")
    parser.add_argument("--before", metavar="REVISION", help="print its numbers beside the others")
    given = parser.parse_args()
    sources = of_revision(given.revision) if given.revision else of_tree()
    columns = {given.before: numbers(of_revision(given.before))} if given.before else {}
    print(_table({**columns, given.revision or "this tree": numbers(sources)}))
    beyond = [f"{one.where}: {one.number} lines" for one in long_modules(sources) if one.number > MOST_LINES]
    beyond += [f"{one.where}: {one.number} lines" for one in long_functions(sources)]
    beyond += [f"{one.where}: {one.number} positional parameters" for one in wide_functions(sources)]
    print("\nBeyond a limit:\n" + "\n".join(beyond or ["nothing"]))


if __name__ == "__main__":
    main()
