"""JSON that can stand inside of a script."""

from __future__ import annotations

import json


def embedded(value: object) -> str:
    """Returns JSON that can stand in a script element: without `<`, `>` or `&` nothing in it can end the element."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)  # of ASCII, which takes one byte a sign in memory
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text
