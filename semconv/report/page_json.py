"""JSON that can stand inside of a script."""

from __future__ import annotations

import json


def embedded(value: object) -> str:
    """Returns JSON that can stand in a script element: without `<`, `>` or `&` nothing in it can end the element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text
