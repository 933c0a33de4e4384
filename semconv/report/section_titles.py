"""The one name of every section of a report: page, `report.md` and the glossary use these."""

from __future__ import annotations

TITLES = {
    "found": "What was found",
    "read": "What was read",
    "claims": "Claims",
    "layers": "Layer by layer",
    "nulls": "Null distributions",
    "controls": "Controls",
    "features": "Feature pairs",
    "protocol": "From the published protocol to the corrected one",
    "categories": "Semantic categories",
    "spans": "Over spans of text",
    "streams": "Residual streams",
    "function": "What features do",
    "filters": "Filters",
}
"""Anchor of a section on the page -> its title, on the page and in `report.md`."""

SHORT = {
    "found": "Found",
    "read": "Read",
    "claims": "Claims",
    "layers": "Layers",
    "nulls": "Nulls",
    "controls": "Controls",
    "features": "Pairs",
    "protocol": "Protocol",
    "categories": "Categories",
    "spans": "Spans",
    "streams": "Streams",
    "function": "Features do",
    "filters": "Filters",
}
"""Anchor -> what the navigation of the page calls it, a word of the title."""
