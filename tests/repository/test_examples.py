"""Every public name has an example in its docstring, and every example prints what it says it does."""

from __future__ import annotations

import ast
import doctest
import inspect
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest

import semconv
import semconv.compare

ROOT = Path(__file__).parents[2]
PUBLIC = [(module, name) for module in (semconv, semconv.compare) for name in module.__all__]

CLASSES = [value for module, name in PUBLIC if isinstance(value := getattr(module, name), type)]


def docstring_of_value(package: ModuleType, name: str) -> str:
    """The string under the assignment of a plain value, which Python itself throws away."""
    for path in sorted(Path(str(package.__file__)).parent.rglob("*.py")):
        for statement, below in pairwise(ast.parse(path.read_text()).body):
            assigned = statement.targets if isinstance(statement, ast.Assign) else []
            if any(isinstance(target, ast.Name) and target.id == name for target in assigned):
                assert isinstance(below, ast.Expr), f"{name} has no docstring under it"
                return str(ast.literal_eval(below.value))
    raise AssertionError(f"{package.__name__}.{name} is assigned nowhere")


def examples_of(module: ModuleType, name: str) -> doctest.DocTest:
    """The examples in the docstring of a name itself, not those of its methods."""
    value = getattr(module, name)
    plain = not isinstance(value, (type, ModuleType)) and not callable(value)
    text = docstring_of_value(module, name) if plain else value.__doc__ or ""
    return doctest.DocTestParser().get_doctest(text, {}, f"{module.__name__}.{name}", None, 0)


@pytest.mark.parametrize(("module", "name"), PUBLIC, ids=[f"{module.__name__}.{name}" for module, name in PUBLIC])
def test_a_public_name_has_an_example_that_holds(module: ModuleType, name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)  # one reads the reference run
    examples = examples_of(module, name)
    assert any(example.want for example in examples.examples), "its docstring shows nothing that is printed"
    reported: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.REPORT_NDIFF).run(examples, out=reported.append)
    assert not reported, "".join(reported)


def test_an_example_that_is_wrong_is_reported():
    wrong = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, 0)
    reported: list[str] = []
    assert doctest.DocTestRunner().run(wrong, out=reported.append).failed == 1
    assert reported


@pytest.mark.parametrize("of", CLASSES, ids=lambda of: of.__name__)
def test_what_a_public_class_offers_is_described(of: type):
    offered = {name: value for name, value in inspect.getmembers(of) if not name.startswith("_") and name != "name"}
    for name, value in offered.items():
        if callable(value) or isinstance(value, property):
            assert inspect.getdoc(value), name
