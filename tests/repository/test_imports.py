"""What `import semconv` may pull in; who may import whom stands in pyproject.toml, and `make check` looks after it."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_comparing_loads_no_model_library():
    heavy = ["transformers", "sae_lens", "datasets", "tokenizers", "matplotlib"]
    code = f"import sys, semconv.study.observe, semconv.study.tell; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_import_semconv_pulls_in_torch_and_numpy_only():
    heavy = ["transformers", "sae_lens", "datasets", "matplotlib", "scipy", "tokenizers", "typer"]
    code = f"import sys, semconv; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
