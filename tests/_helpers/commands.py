"""What commands are given, and how they refuse."""

from __future__ import annotations

import subprocess
from dataclasses import replace

from semconv.system.shape import plain
from tests._helpers.made_up import results

RESULTS = plain(replace(results(), suite="tiny"))


CLAIM = """
[[claim]]
id = "T1"
statement = "Every layer pair is scored."
source = "tests"
suite = "tiny"
path = "summary.rsa.layer_pairs"
comparison = "equal"
expected = {expected}
"""


def assert_one_sentence(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert done.returncode == 2, done
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    for part in parts:
        assert part in done.stderr
