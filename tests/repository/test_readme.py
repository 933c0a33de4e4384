"""The README's Python runs as printed, and its claims about it hold."""

from __future__ import annotations

import re
from pathlib import Path

from tests._helpers.op_results import assert_same_matches

README = Path(__file__).parents[2] / "README.md"


def test_the_python_example_runs_as_printed():
    code = re.search(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert code is not None
    names: dict[str, object] = {}
    exec(code.group(1), names)
    m, stream = names["m"], names["c"]
    assert_same_matches(stream.best_matches(k=3), m)
    assert m.a_to_b.index.shape == (512, 3)
    assert stream.correlation().shape == (512, 768)
    assert 0 < names["t"].p_value <= 1
