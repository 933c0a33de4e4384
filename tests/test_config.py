"""Suites and claims: what is refused, with the nearest name; hashes that see every setting."""

from __future__ import annotations

from pathlib import Path

import pytest

from semconv import InputError
from semconv.claims import check_claims, load_claims, value_at
from semconv.config import load_suite, suite_names


def changed(tiny_suite: Path, tmp_path: Path, old: str, new: str) -> Path:
    text = tiny_suite.read_text()
    assert old in text
    path = tmp_path / "tiny.toml"
    path.write_text(text.replace(old, new, 1))
    return path


def test_every_shipped_suite_loads():
    assert "mini" in suite_names()
    for name in suite_names():
        assert load_suite(name).name == name


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("max_tokens", "max_token", r"unknown key 'max_token' in tiny.toml.corpus \(did you mean 'max_tokens'\?\)"),
        ("[match]", "[mach]", r"unknown key 'mach' in tiny.toml \(did you mean 'match'\?\)"),
        ("batch = 8", "batch = 0", "encode.batch must be at least 1, got 0"),
        ("batch = 8", 'batch = "8"', "encode.batch must be int, got '8'"),
        ("batch = 8", "batch = true", "encode.batch must be int, got True"),
        ("batch = 8", 'dtype = "float61"', r"float16, float32, got 'float61' \(did you mean 'float16'\?\)"),
        ("batch = 8", 'precision = "tf23"', r"encode.precision must be one of sae, .*\(did you mean 'tf32'\?\)"),
        ("batch = 8", 'model_precision = "sae"', r"encode.model_precision must be one of float32, tf32, bfloat16, got"),
        ("batch = 8", 'device = "cuda"', "unknown key 'device' in tiny.toml.encode"),
        ('kind = "file"', 'kind = "docstring"', r"did you mean 'docstrings'\?"),
        ("context = 32\n", "", "incomplete: 'context'"),
        ("blocks.0.hook_resid_post", "blocks.0.resid_post", "must look like 'blocks.3.hook_resid_post'"),
        ("blocks.1.hook_resid_post", "blocks.0.hook_resid_post", "names a hook twice"),
        ('name = "b"', 'name = "a"', "different names"),
        ("[match]", "[match", "is not TOML"),
        ("n_permutations = 99", "n_permutations = 0", "n_permutations must be at least 1"),
        ("n_permutations = 99", "seed = 18446744073709551616", "seed must be at least 0 and below"),
        ("svcca_k = 4", "svcca_k = 0", "svcca_k must be at least 1"),
        ("svcca_k = 4", "svcca_threshold = nan", "svcca_threshold must be in"),
        ('stop_tokens = ["."]', 'stop_tokens = "."', "stop_tokens must be a list"),
        ("min_pairs = 10", 'strategy = "optimum"', r"best, mutual, greedy, optimal, got 'optimum' \(did you mean 'opt"),
        ("min_pairs = 10", "candidates = 0", "match.candidates must be at least 1, got 0"),
        ("min_pairs = 10", "min_activations = -1", "match.min_activations must be at least 0, got -1"),
        ("context = 32", 'context = 32\npackages = "numpy"', "packages must be a table"),
        ("context = 32", "context = 32\npackages = { numpy = 2 }", "packages must be a table"),
        ('name = "tiny"', 'name = "teeny"', "must have name = 'tiny', got 'teeny'"),
    ],
)
def test_bad_suites_are_refused(tiny_suite: Path, tmp_path: Path, old: str, new: str, message: str):
    with pytest.raises(InputError, match=message):
        load_suite(changed(tiny_suite, tmp_path, old, new))


def test_unknown_suites_name_the_nearest():
    with pytest.raises(InputError, match=r"unknown suite 'mimi' \(did you mean 'mini'\?\)"):
        load_suite("mimi")
    with pytest.raises(InputError, match="does not exist"):
        load_suite("none.toml")


def test_the_hash_sees_settings_and_not_layout(tiny_suite: Path, tmp_path: Path):
    base = load_suite(tiny_suite).sha256
    assert load_suite(changed(tiny_suite, tmp_path, "batch = 8", "# a remark\nbatch   =  8")).sha256 == base
    for other in ("batch = 9", 'batch = 8\nprecision = "bfloat16"'):
        assert load_suite(changed(tiny_suite, tmp_path, "batch = 8", other)).sha256 != base


CLAIM = """
[[claim]]
id = "C1"
statement = "s"
source = "s"
suite = "mini"
path = "a.b"
comparison = "{comparison}"
expected = {expected}
tolerance = {tolerance}
"""


@pytest.mark.parametrize(
    ("comparison", "expected", "tolerance", "observed", "verdict"),
    [
        ("equal", "3", 0, 3, "pass"),
        ("equal", "3", 0, 4, "FAIL"),
        ("equal", '"0x2"', 0, "0x2", "pass"),
        ("within", "0.5", 0.1, 0.59, "pass"),
        ("within", "0.5", 0.1, 0.61, "FAIL"),
        ("at least", "0.5", 0, 0.5, "pass"),
        ("at least", "0.5", 0, 0.49, "FAIL"),
        ("at most", "0.5", 0, 0.51, "FAIL"),
        ("at most", "0.5", 0, float("nan"), "FAIL"),
        ("within", "0.5", 9, None, "FAIL"),
        ("at least", "0.5", 0, "0x2", "FAIL"),
        ("equal", "3", 0, None, "FAIL"),
    ],
)
def test_verdicts(tmp_path: Path, comparison: str, expected: str, tolerance: float, observed: object, verdict: str):
    path = tmp_path / "claims.toml"
    path.write_text(CLAIM.format(comparison=comparison, expected=expected, tolerance=tolerance))
    claims = load_claims(path)
    assert check_claims(claims, {"suite": "mini", "a": {"b": observed}})[0].verdict == verdict
    assert check_claims(claims, {"suite": "other"})[0].verdict == "not run"


def test_bad_claims_are_refused(tmp_path: Path):
    path = tmp_path / "claims.toml"
    good = CLAIM.format(comparison="equal", expected="1", tolerance=0)
    for text, message in (
        (good + good, "claim C1 stands twice"),
        (good.replace("statement", "statment"), "did you mean 'statement'"),
        (good.replace('path = "a.b"\n', ""), "incomplete: 'path'"),
        (good.replace('"equal"', '"equals"'), "comparison must be one of"),
        (good.replace("tolerance = 0", 'tolerance = "x"'), "tolerance must be a number"),
        ("claim = 3", r"must hold \[\[claim\]\] tables"),
        (good.replace('"equal"', '"within"').replace("expected = 1", 'expected = "x"'), "needs a number"),
        ("[[claim", "is not TOML"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            load_claims(path)
    with pytest.raises(InputError, match="does not exist"):
        load_claims(tmp_path / "none.toml")
    with pytest.raises(InputError, match=r"no 'rsaa' \(did you mean 'rsa'\?\)"):
        value_at({"summary": {"rsa": 1}}, "summary.rsaa")
