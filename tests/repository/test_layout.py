"""The limits on modules and functions that `scripts/measure/layout.py` counts; what is beyond them has a name here."""

from __future__ import annotations

import subprocess
import sys

import layout
import pytest

LONG_MODULES: dict[str, int] = {}
LONG_FUNCTIONS = {
    "semconv/cli/studies.py:compare": 112,
}
WIDE_FUNCTIONS: dict[str, int] = {}
"""Beyond the limits when they were set, with their numbers. Take out what you shorten; add nothing."""


@pytest.mark.slow
def test_nothing_else_is_beyond_a_limit():
    sources = layout.of_tree()
    modules = [one for one in layout.long_modules(sources) if one.number > layout.MOST_LINES]
    found = [
        (modules, LONG_MODULES),
        (layout.long_functions(sources), LONG_FUNCTIONS),
        (layout.wide_functions(sources), WIDE_FUNCTIONS),
    ]
    assert [one for offenders, known in found for one in offenders if one.number > known.get(one.where, 0)] == []


def test_what_is_counted():
    method = (
        "class X:\n    def f(self, a, b, c, d, e, f): ...\n    @staticmethod\n    def g(a, b, c, d, e, f, g): ...\n"
    )
    sources = {
        "semconv/x/long.py": "x: dict[str, Any]\n" * 401,
        "semconv/x/y.py": method + "def h():\n" + "    ...\n" * 60 + "def i():\n" + "    ...\n" * 59,
        "semconv/cli/z.py": "def j(a, b, c, d, e, f, g): ...\n",
        "tests/t.py": "def k(a, b, c, d, e, f, g): ...\n",
        "pyproject.toml": "[[tool.importlinter.contracts]]\n",
    }
    numbers = layout.numbers(sources)
    assert layout.long_functions(sources) == [layout.Offender("semconv/x/y.py:h", 61)]
    assert layout.wide_functions(sources) == [layout.Offender("semconv/x/y.py:g", 7)]
    assert (numbers["packages of semconv"], numbers["modules of semconv"], numbers["modules of tests"]) == (2, 3, 1)
    assert numbers["modules over 400 lines"] == numbers["import contracts"] == 1
    assert numbers["longest module, 1"] == "401 semconv/x/long.py"
    assert numbers["`dict[str, Any]` in semconv/x"] == 401


@pytest.mark.slow
def test_the_table_names_tree_and_numbers():
    done = subprocess.run([sys.executable, layout.__file__], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("|  | this tree |\n|---|---|\n| packages of semconv | ")
