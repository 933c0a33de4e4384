"""The script that measures the report of a large run makes one of the columns and nulls that there are today."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests._helpers.forks import usual_forks

SCRIPT = Path(__file__).parents[2] / "scripts" / "measure" / "report_size.py"


@pytest.mark.slow
def test_a_small_run_is_made_up_and_reported(tmp_path: Path):
    ended = usual_forks().run([SCRIPT, "--out", str(tmp_path / "run"), "--layers", "1x2", "--pairs", "30"], tmp_path)
    assert ended.code == 0, ended.out
    assert "1 x 2 layers, 30 feature pairs" in ended.out
    assert "| written | index.html |" in ended.out
    assert "| took | peak memory, MiB |" in ended.out
