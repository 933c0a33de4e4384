"""Builds the documents and the API reference as a site: `make docs`.

The source folder is the top of the tree, so that the links between the documents are the same here and on the host of
the repository. Pages of the API reference are made from docstrings, one for each package.
"""

from __future__ import annotations

import inspect
import re
import shutil
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

HERE = Path(__file__).parent
TREE = HERE.parent
sys.path.insert(0, str(TREE))  # this tree's semconv, whichever is installed

from docutils import nodes  # noqa: E402
from sphinx.addnodes import pending_xref  # noqa: E402
from sphinx.pycode import ModuleAnalyzer  # noqa: E402

import semconv  # noqa: E402

project = "semconv"
author = "The semconv authors"
copyright = author
version = release = semconv.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]

NAVIGATION = {
    "Use": ["artifact", "docs/your-own-models", "docs/real-model", "docs/explorer", "docs/glossary"],
    "How it works": ["docs/statistics", "docs/related-work", "docs/architecture", "docs/security"],
    "Speed": ["docs/benchmarks", "docs/rehearsal", "docs/cuda", "docs/cuda_resources"],
    "Reference": ["docs/api/semconv", "docs/api/semconv.compare", "docs/api/packages"],
    "Project": ["CONTRIBUTING", "CHANGELOG", "SECURITY", "semconv/assets/mini/README"],
}
"""Heading -> pages below it, in the sidebar."""

root_doc = "README"
include_patterns = ["README.md", "docs/api/*.rst", *(f"{page}.md" for pages in NAVIGATION.values() for page in pages)]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
templates_path = ["_templates"]

toc_object_entries_show_parents = "hide"
smartquotes = False  # X' is a transpose
myst_heading_anchors = 4  # links to headings, as the host of the repository makes them

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # fields of dataclasses, which autodoc would describe once more

html_theme = "pydata_sphinx_theme"
html_title = "semconv"
html_sidebars = {"**": ["all-pages.html"]}
html_theme_options = {
    "navbar_center": [],
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False

COLON = "\ue000"  # stands for one until the page is made
CODE = re.compile(r"`([^`]+)`")
NAME = re.compile(r"[A-Za-z_][\w.]*")
CLASS = re.compile(r"([\w.]+\.)?_?[A-Z]\w*[a-z]\w*|[\w.]+\.[A-Z]+|[A-Z]{3,}")
SPECIAL = re.compile(r"([*|]|(?<=\w)_(?!\w))")


def public_objects() -> dict[int, str]:
    """Identity of what is public -> its public name, under which alone it is described."""
    packages = (semconv, semconv.compare)
    return {
        id(getattr(package, name)): f"{package.__name__}.{name}" for package in packages for name in package.__all__
    }


def own_names(module: ModuleType) -> list[str]:
    """Classes and functions that a module defines itself, that have a docstring and do not begin with an underscore."""
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == module.__name__
        and value.__doc__
    ]


def title(text: str, line: str = "=") -> str:
    return f"{text}\n{line * len(text)}\n\n"


def page_of_names(package: str) -> str:
    """The page of a package whose names are promises: those of its `__all__`."""
    module = import_module(package)
    parts = [title(package), f".. automodule:: {package}\n   :no-members:\n\n.. currentmodule:: {package}\n\n"]
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.ismodule(value):
            continue
        kind = "class" if inspect.isclass(value) else "function" if inspect.isfunction(value) else "data"
        members = "   :members:\n" if kind == "class" else ""
        parts.append(title(name.replace("_", r"\_") if name.startswith("__") else name, "-"))
        parts.append(f".. auto{kind}:: {package}.{name}\n{members}\n")
    return "".join(parts)


def page_of_package(package: str) -> str:
    """The page of a package: what each of its modules defines."""
    public, module = public_objects(), import_module(package)
    parts = [title(package), f".. automodule:: {package}\n   :no-index:\n   :no-members:\n\n"]
    for found in iter_modules(module.__path__):
        if found.name.startswith("_"):
            continue
        part = import_module(f"{package}.{found.name}")
        parts.append(title(found.name, "-"))
        parts.append(f".. automodule:: {part.__name__}\n   :no-index:\n   :no-members:\n\n")
        names = own_names(part)
        elsewhere = [f":py:obj:`{public[id(value)]}`" for value in map(vars(part).get, names) if id(value) in public]
        if elsewhere:
            parts.append(f"Public, and described there: {', '.join(elsewhere)}.\n\n")
        parts.append(f".. currentmodule:: {part.__name__}\n\n")
        for name in names:
            value = getattr(part, name)
            if id(value) not in public:
                kind = "class" if inspect.isclass(value) else "function"
                members = "   :members:\n" if kind == "class" else ""
                parts.append(f".. auto{kind}:: {part.__name__}.{name}\n{members}\n")
    return "".join(parts)


def write_api_pages(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    packages = [found.name for found in iter_modules(semconv.__path__) if found.ispkg]
    for name in ("semconv", "semconv.compare"):
        (folder / f"{name}.rst").write_text(page_of_names(name))
    for name in packages:
        (folder / f"package-{name}.rst").write_text(page_of_package(f"semconv.{name}"))
    listed = "".join(f"   package-{name}\n" for name in packages)
    (folder / "packages.rst").write_text(
        title("Packages")
        + "What lies behind the public names. These modules may change between versions; names of `semconv` and of\n"
        "`semconv.compare` do not.\n\n"
        f".. toctree::\n   :maxdepth: 1\n\n{listed}"
    )


def add_navigation(app: Sphinx, docname: str, content: list[str]) -> None:
    """Puts the sidebar into the home page alone, where the host of the repository would show it as code."""
    if docname == root_doc:
        for heading, pages in NAVIGATION.items():
            content[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {heading}\n\n" + "\n".join(pages) + "\n```\n"


def as_code(match: re.Match[str]) -> str:
    """A link where a name stands between backquotes, which shows as code where it leads nowhere; code otherwise."""
    text = match[1].strip()
    return f":py:obj:`{text}`" if NAME.fullmatch(text) else f"``{text}``"


def prose(text: str) -> str:
    """Lines of a docstring in which only `code` and lists are markup, as reStructuredText."""
    parts = re.split(r"(`[^`]+`)", text)
    text = "".join(CODE.sub(as_code, p) if p.startswith("`") else SPECIAL.sub(r"\\\1", p) for p in parts)
    return re.sub(r"^( *)(?![ -])(.*\S)\n(?=\1- )", r"\1\2\n\n", text, flags=re.MULTILINE)  # a line before a list


def docstring_of_value(package: str, name: str) -> list[str]:
    """The docstring under a value that a package imports from one of its modules; empty where there is none."""
    for found in iter_modules(import_module(package).__path__, f"{package}."):
        if not found.ispkg and not found.name.split(".")[-1].startswith("_"):
            docs = ModuleAnalyzer.for_module(found.name).find_attr_docs()
            if ("", name) in docs:
                return docs["", name]
    return []


def from_docstring(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Makes reStructuredText of a docstring; examples stay as they are."""
    if what == "data":  # Python keeps no docstring of a value: Sphinx finds it in the file of the package itself alone
        lines[:] = docstring_of_value(*name.rsplit(".", 1)) or lines
    if what in ("attribute", "data", "property") and lines:  # before a colon there, napoleon expects a type
        lines[0] = "".join(
            p if p.startswith("`") else p.replace(":", rf"\ {COLON}") for p in re.split(r"(`[^`]+`)", lines[0])
        )
    text, out = "\n".join(lines), list[str]()
    for i, block in enumerate(re.split(r"((?:^ *>>> .*\n(?:(?! *$).*\n?)*)+)", text + "\n", flags=re.MULTILINE)):
        out.append(block if i % 2 else prose(block))
    lines[:] = "".join(out).split("\n")


def polish(app: Sphinx, doctree: nodes.document) -> None:
    """Takes the links off the dimensions of arrays in signatures, `Float[ndarray, "n d"]`; writes dashes and colons."""
    for text in list(doctree.findall(nodes.Text)):
        written = " \N{EN DASH} " if text == " -- " else text.replace(COLON, ":")
        if written != text:
            text.parent.replace(text, nodes.Text(written))
    for reference in list(doctree.findall(pending_xref)):
        if reference.get("reftype") == "class" and not CLASS.fullmatch(reference["reftarget"]):
            reference.replace_self(reference.children)


def copy_home(app: Sphinx, error: Exception | None) -> None:
    """The home page is README.html; browsers and hosts of pages look for index.html."""
    if error is None:
        shutil.copy(Path(app.outdir) / f"{root_doc}.html", Path(app.outdir) / "index.html")


def setup(app: Sphinx) -> None:
    write_api_pages(HERE / "api")
    app.connect("source-read", add_navigation)
    app.connect("autodoc-process-docstring", from_docstring, priority=400)  # before napoleon makes markup of its own
    app.connect("doctree-read", polish)
    app.connect("build-finished", copy_home)
