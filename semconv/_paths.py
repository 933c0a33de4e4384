"""Where the package lies, and what it carries: the one module that knows its own place."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
TREE = PACKAGE.parent
"""Top of the source tree, in a checkout."""
SUITES = PACKAGE / "suites"
ASSETS = PACKAGE / "assets"
CATEGORIES = ASSETS / "categories"


def shipped(name: str) -> Path:
    """Returns the path of what a wheel carries inside the package and a source tree on its top level.

    Args:
        name: file or folder, such as `claims.toml` or `expected`; it need not exist.
    """
    return PACKAGE / name if (PACKAGE / name).exists() else TREE / name
