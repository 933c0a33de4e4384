"""Where a result says its code came from, in a checkout and outside one."""

from __future__ import annotations

from pathlib import Path

import pytest

from semconv.system import provenance


def test_outside_a_checkout_the_environment_names_the_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(provenance, "TREE", tmp_path.resolve())
    monkeypatch.delenv("SEMCONV_COMMIT", raising=False)
    assert provenance.code_commit() == "unknown"
    monkeypatch.setenv("SEMCONV_COMMIT", "")
    assert provenance.code_commit() == "unknown"
    monkeypatch.setenv("SEMCONV_COMMIT", "0123abc")
    assert provenance.code_commit() == "0123abc"


def test_a_checkout_is_believed_before_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import subprocess

    for command in (
        ["init", "-q"],
        ["-c", "user.name=a", "-c", "user.email=a", "commit", "-q", "--allow-empty", "-m", "a"],
    ):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    monkeypatch.setattr(provenance, "TREE", tmp_path.resolve())
    monkeypatch.setenv("SEMCONV_COMMIT", "0123abc")
    head = subprocess.run(["git", "-C", str(tmp_path), "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert provenance.code_commit() == head.stdout.strip()
