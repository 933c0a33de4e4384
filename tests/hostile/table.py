"""The table of hostile inputs: what strangers may send, what is said of it, and with which exit code."""

from __future__ import annotations

from tests.hostile import archives, kept, shown, sizes, texts
from tests.hostile.rows import ROWS, Row

MODULES = (archives, shown, kept, sizes, texts)
"""They add their rows as they are imported."""
TABLE: list[Row] = ROWS
