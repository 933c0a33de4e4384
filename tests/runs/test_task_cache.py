"""The cache of finished tasks: what is kept is used, and nothing that is not exactly what was kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import semconv.runs.task_cache
from semconv.runs.task_cache import Result, TaskCache, code_sha256

VALUES: dict[str, Any] = {"score": 0.1 + 0.2, "none": None, "pair": (1, 2), "text": "Ω", "nan": float("nan")}
ARRAYS = {"null": np.array([0.1, np.nan, 1e-300]), "counts": np.array([[3, -1]]), "empty": np.empty(0)}


class Maker:
    """A task that counts how often it is done."""

    def __init__(self, fail: bool = False) -> None:
        self.calls, self.fail = 0, fail

    def __call__(self) -> Result:
        self.calls += 1
        if self.fail:
            raise RuntimeError("stopped")
        return dict(VALUES), {name: array.copy() for name, array in ARRAYS.items()}


def check(result: Result) -> None:
    values, arrays = result
    assert json.dumps(values, sort_keys=True) == json.dumps({**VALUES, "pair": [1, 2]}, sort_keys=True)
    assert values["pair"] == [1, 2]
    assert set(arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        assert arrays[name].shape == array.shape
        assert arrays[name].tobytes() == array.tobytes()


def test_a_kept_result_is_used_and_reads_like_a_fresh_one(tmp_path: Path):
    make, cache = Maker(), TaskCache(tmp_path / "tasks")
    fresh = cache.get("x", ["in", 1], make)
    kept = TaskCache(tmp_path / "tasks").get("x", ["in", 1], make)
    assert make.calls == 1
    check(fresh)
    check(kept)


def test_what_a_caller_adds_to_a_result_is_not_kept(tmp_path: Path):
    make, cache = Maker(), TaskCache(tmp_path)
    for _ in range(2):
        values, arrays = cache.get("x", 0, make)
        check((values, arrays))
        values["more"], arrays["more"] = 1, np.zeros(1)
    assert make.calls == 1


def test_other_inputs_another_name_or_other_code_are_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    make, cache = Maker(), TaskCache(tmp_path)
    for name, inputs in (("x", [1, "a"]), ("x", [1, "b"]), ("y", [1, "b"]), ("x", [1.5, "b"])):
        cache.get(name, inputs, make)
    assert make.calls == 4
    cache.get("x", [1.5, "b"], make)
    assert make.calls == 4
    monkeypatch.setattr(semconv.runs.task_cache, "code_sha256", lambda: "other")
    cache.get("x", [1.5, "b"], make)
    assert make.calls == 5


def test_the_order_of_keys_is_no_other_input(tmp_path: Path):
    make, cache = Maker(), TaskCache(tmp_path)
    cache.get("x", {"a": 1, "b": 2}, make)
    cache.get("x", {"b": 2, "a": 1}, make)
    assert make.calls == 1


def damaged(content: bytes) -> list[bytes]:
    header = int.from_bytes(content[:8], "little")
    flipped = [bytes([*content[:at], content[at] ^ 1, *content[at + 1 :]]) for at in range(8, len(content), 9)]
    return [b"", b"junk", content[:-1], content[: 8 + header], *flipped]


def test_a_damaged_file_is_never_used(tmp_path: Path):
    cache, path = TaskCache(tmp_path), tmp_path / "x.safetensors"
    check(cache.get("x", 0, Maker()))
    content = path.read_bytes()
    for broken in damaged(content):
        path.write_bytes(broken)
        check(cache.get("x", 0, Maker()))


def test_a_task_that_fails_leaves_nothing(tmp_path: Path):
    cache, make = TaskCache(tmp_path), Maker()
    with pytest.raises(RuntimeError, match="stopped"):
        cache.get("x", 0, Maker(fail=True))
    assert list(tmp_path.iterdir()) == []
    cache.get("x", 0, make)
    assert make.calls == 1


def test_the_code_hash_sees_every_module_that_computes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    package = tmp_path / "semconv"
    told = ("notes.txt", "report/page.py", "cli/studies.py", "validation/null_cases.py", "bench/jobs.py")
    for name in ("runs/task_cache.py", "compare/rsa.py", "core.so", *told):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(name)
    monkeypatch.setattr(semconv.runs.task_cache, "PACKAGE", package)
    fresh: Callable[[], str] = code_sha256.__wrapped__
    before = fresh()
    for name in told:
        (package / name).write_text("other")
        assert fresh() == before
    for name in ("compare/rsa.py", "core.so"):
        (package / name).write_text("other")
        assert fresh() != before
        before = fresh()
