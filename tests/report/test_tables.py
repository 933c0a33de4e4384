"""Markdown tables: what a value looks like, and that none breaks a table."""

from __future__ import annotations

import numpy as np
import pytest

from semconv.system.markdown import show, table


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.123456, "0.1235"),
        (1.0, "1"),
        (0.0, "0"),
        (1e-7, "1e-07"),
        (-2.5, "-2.5"),
        (12345, "12345"),
        (np.float64(0.5), "0.5"),
        ("as it is", "as it is"),
        ("", ""),
    ],
)
def test_values(value: object, text: str):
    assert show(value) == text


def test_a_table_by_hand():
    lines = table(["a", "b"], [[1, None], ["x|y", 0.25]]).splitlines()
    assert lines == ["| a | b |", "|---|---|", "| 1 | - |", "| x\\|y | 0.25 |"]


def test_a_table_of_nothing_is_its_header():
    assert table(["a"], []).splitlines() == ["| a |", "|---|"]
