"""The documents: what they link to is there, on the host of the repository and on the site, which leaves none out."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from check_site import faults

from semconv.compare import MEASURES
from semconv.report.result_values import NULLS
from semconv.suite.config import ControlConfig, MatchConfig

ROOT = Path(__file__).parents[2]

PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), ROOT / "semconv/assets/mini/README.md"]


def anchors(text: str) -> set[str]:
    """The names that hosts of repositories, and the site, give to headings."""
    headings = re.findall(
        r"^#+ (.+?)\s*$", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE
    )
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"https?:", link):
            continue
        path, _, place = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if place:
            assert place in anchors(target.read_text()), link


def test_the_site_has_every_document():
    tree = ast.parse((ROOT / "docs/conf.py").read_text())
    navigation = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "NAVIGATION"
    )
    listed = {page for pages in navigation.values() for page in pages if not page.startswith("docs/api/")}
    assert listed == {str(page.relative_to(ROOT).with_suffix("")) for page in PAGES} - {"README"}


def test_the_glossary_has_every_name_of_the_tables():
    text = (ROOT / "docs/glossary.md").read_text()
    strategies = get_args(get_type_hints(MatchConfig)["strategy"])
    for name in (*MEASURES, *NULLS, *strategies):
        assert f"`{name}`" in text, name
    for kind in get_args(get_type_hints(ControlConfig)["kind"]):
        assert f"**{kind.capitalize()}**" in text, kind


RIDDLES = re.compile(r"what `[^`]+`( and `[^`]+`)? (refuses?|says?)|[Ww]hatever [^.]*refuses|asks nothing of|[Nn]obody")


def test_docstrings_say_what_is_refused_and_by_whom():
    """`Raises: InputError: what f refuses` sends the reader to another docstring, and to a third from there."""
    found = list[str]()
    for path in sorted((ROOT / "semconv").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Expr)
                and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, str)
            ):
                found += [f"{path.name}: {riddle[0]}" for riddle in RIDDLES.finditer(node.value.value)]
    assert not found


def test_faults_of_a_site_are_found(tmp_path: Path):
    (tmp_path / "style.css").write_text("@import '//fonts.test/a.css';")
    (tmp_path / "a.html").write_text(
        '<link rel="stylesheet" href="style.css"><a href="b.html#there">1</a><a href="b.html#gone">2</a>'
        '<a href="c.html">3</a><a href="https://elsewhere.test/">4</a><script src="https://cdn.test/x.js"></script>'
    )
    (tmp_path / "b.html").write_text('<h1 id="there">b</h1>')
    assert faults(tmp_path) == [
        "a.html loads https://cdn.test/x.js",
        "a.html links to b.html#gone, and that page has no such place",
        "a.html links to c.html, which is not there",
        "style.css loads from elsewhere",
    ]
    assert faults(tmp_path / "nothing") == [f"{tmp_path / 'nothing'} holds no page"]
