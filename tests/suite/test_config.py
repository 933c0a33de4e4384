"""Suites and claims: what is refused, with the nearest name; hashes that see every setting."""

from __future__ import annotations

from pathlib import Path

import pytest

from semconv import InputError
from semconv.results.claims import check_claims, load_claims, value_at
from semconv.suite.config import (
    PublishedConfig,
    SaeConfig,
    SpanConfig,
    SubspaceConfig,
    SuiteConfig,
    load_suite,
    suite_names,
)
from tests._helpers import made_up


@pytest.fixture
def tiny_suite(tiny_suite: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny suite without its optional sections."""
    path = tmp_path_factory.mktemp("plain") / "tiny.toml"
    path.write_text(tiny_suite.read_text().split("n_rematch")[0])
    return path


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


def test_the_hashes_of_shipped_suites_are_those_of_runs_that_were_made_with_them():
    """A whole number of a field of floats is hashed as it is written."""
    begin = {"gemma1v2": "e2516ed8", "gemma2": "90b35c69", "mini": "f3360ffd", "pythia": "d51dccea"}
    assert {name: load_suite(name).sha256[:8] for name in suite_names()} == begin
    assert load_suite("gemma2", all_layers=True).sha256.startswith("536f7ebe")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("max_tokens", "max_token", r"unknown key 'max_token' in tiny.toml.corpus \(did you mean 'max_tokens'\?\)"),
        ("[corpus]", '[corpus]\nexclude = ["a"]', "corpus.exclude is for kind 'docstrings', got kind 'file'"),
        ("[match]", "[mach]", r"unknown key 'mach' in tiny.toml \(did you mean 'match'\?\)"),
        ("batch = 8", "batch = 0", "encode.batch must be at least 1, got 0"),
        ("batch = 8", 'batch = "8"', "encode.batch must be int, got '8'"),
        ("batch = 8", "batch = true", "encode.batch must be int, got True"),
        ("batch = 8", 'dtype = "float61"', r"float16, float32, got 'float61' \(did you mean 'float16'\?\)"),
        ("batch = 8", 'precision = "tf23"', r"encode.precision must be one of sae, .*\(did you mean 'tf32'\?\)"),
        ("batch = 8", 'model_precision = "sae"', r"encode.model_precision must be one of float32, tf32, bfloat16, got"),
        ("batch = 8", 'device = "cuda"', "unknown key 'device' in tiny.toml.encode"),
        ('kind = "file"', "kind = 3", "corpus.kind must be text, got 3"),
        ('kind = "file"', 'kind = "docstring"', r"did you mean 'docstrings'\?"),
        ("context = 32\n", "", "incomplete: 'context'"),
        ("blocks.0.hook_resid_post", "blocks.0.resid_post", "must look like 'blocks.3.hook_resid_post'"),
        (
            "blocks.1.hook_resid_post",
            "blocks.0.hook_resid_post",
            r"model a has two SAEs called 0 \(.*give each a name",
        ),
        ("/sae_a1", '/sae_a1", name = "a/1', "the name of an SAE must be of letters, digits, _, . and -, got 'a/1'"),
        ('name = "b"', 'name = "a"', "different names"),
        ("[match]", "[match", "is not TOML"),
        ("n_permutations = 99", "n_permutations = 0", "n_permutations must be between 1 and 10000000, got 0"),
        ("n_permutations = 99", "draws = 100", "null.draws must be a table of class = draws, got 100"),
        ("n_permutations = 99", 'draws = { rsa = "x" }', "null.draws must be a table of class = draws, got"),
        ("n_permutations = 99", "draws = { rsa = 10 }", "null.draws must be one of scalars, products, .*, got 'rsa'"),
        (
            "n_permutations = 99",
            "draws = { product = 10 }",
            r"products, orders, singular_values, got 'product' \(did you mean 'products'\?\)",
        ),
        (
            "n_permutations = 99",
            "draws = { products = 0 }",
            "null.draws.products must be between 1 and 10000000, got 0",
        ),
        ("n_permutations = 99", "n_permutations = 99\nstop_after = 0", "null.stop_after must be at least 1, got 0"),
        ("n_permutations = 99", "n_permutations = 99\nstop_after = 100", "null.stop_after must be at most 99, got 100"),
        ("n_permutations = 99", "stop_from = 5", "null.stop_from needs null.stop_after, got 5 without it"),
        ("n_permutations = 99", "stop_after = 9\nstop_from = 5", "null.stop_from must be at least 9, got 5"),
        (
            "n_permutations = 99",
            "n_permutations = 99\ntail = ['products']",
            "of null.tail products must be at least 100",
        ),
        ("n_permutations = 99", "tail = ['procrustes']", "null.tail must be one of scalars, .*, got 'procrustes'"),
        ("n_permutations = 99", "tail = 'products'", "null.tail must be a list of text, got 'products'"),
        ("n_permutations = 99", "seed = 18446744073709551616", "seed must be at least 0 and below"),
        ("svcca_k = 4", "svcca_k = 0", "svcca_k must be at least 1"),
        ("svcca_k = 4", "svcca_threshold = nan", "svcca_threshold must be a finite number, got nan"),
        ("svcca_k = 4", "svcca_threshold = 1.5", "svcca_threshold must be in"),
        ("svcca_k = 4", "measures = [1, 2]", r"compare.measures must be a list of text, got \[1, 2\]"),
        ("min_pairs = 10", "sink_norm = inf", "match.sink_norm must be a finite number, got inf"),
        ('stop_tokens = ["."]', 'stop_tokens = "."', "stop_tokens must be a list"),
        ('stop_tokens = ["."]', "stop_tokens = [1]", r"match.stop_tokens must be a list of text, got \[1\]"),
        ('stop_tokens = ["."]', 'stop_tokens = ["a", ["b"]]', "match.stop_tokens must be a list of text, got"),
        ("context = 32", "context = 32\nfiles = [true]", r"corpus.files must be a list of text, got \[True\]"),
        ("min_pairs = 10", 'strategy = "optimum"', r"best, mutual, greedy, optimal, got 'optimum' \(did you mean 'opt"),
        ("min_pairs = 10", "candidates = 0", "match.candidates must be at least 1, got 0"),
        ("min_activations = 5", "min_activations = -1", "match.min_activations must be at least 0, got -1"),
        ("context = 32", 'context = 32\npackages = "numpy"', "packages must be a table"),
        ("context = 32", "context = 32\npackages = { numpy = 2 }", "packages must be a table"),
        ("context = 32\n", "context = 32\nrevision = 2026-01-01\n", r"corpus.revision must be str, got datetime.date"),
        (
            "context = 32\n",
            "context = 32\nfiles = 2026-01-01\n",
            "corpus.files must be a list of text, got datetime.date",
        ),
        ('name = "tiny"', 'folder = "x"\nname = "tiny"', "unknown key 'folder' in tiny.toml"),
        ('name = "tiny"', 'name = "teeny"', "must have name = 'tiny', got 'teeny'"),
    ],
)
def test_bad_suites_are_refused(tiny_suite: Path, tmp_path: Path, old: str, new: str, message: str):
    with pytest.raises(InputError, match=message):
        load_suite(changed(tiny_suite, tmp_path, old, new))


EXTRA = """
[[controls]]
name = "untrained"
kind = "floor"
[controls.model_a]
name = "a-untrained"
path = "x"
untrained_seed = 3
saes = [{ hook = "blocks.1.hook_resid_post", path = "s" }]
[controls.model_b]
name = "b-untrained"
path = "y"
saes = [{ hook = "blocks.2.hook_resid_post", path = "s" }]
[[controls]]
name = "wide"
kind = "ceiling"
[controls.model_a]
name = "a-narrow"
path = "x"
saes = [{ hook = "blocks.1.hook_resid_post", path = "s" }]
[controls.model_b]
name = "a-wide"
path = "x"
saes = [{ hook = "blocks.1.hook_resid_post", path = "t" }]
[subspaces]
categories = "mini"
min_pairs = 5
measures = ["rsa", "cka"]
[spans]
kind = "windows"
width = 6
how = "mean"
[function]
layers = "all"
pairs = 20
[published]
layer_a = 1
layer_b = 2
"""


def with_extra(tiny_suite: Path, tmp_path: Path, old: str = "", new: str = "") -> SuiteConfig:
    """The tiny suite with every optional section, the first `old` among them changed into `new`."""
    assert old in EXTRA
    path = tmp_path / "tiny.toml"
    measures = '[compare]\nmeasures = ["rsa", "mutual_knn"]\nknn_k = 3'
    path.write_text(tiny_suite.read_text().replace("[compare]", measures) + EXTRA.replace(old, new, 1))
    return load_suite(path)


def test_every_optional_section_is_read(tiny_suite: Path, tmp_path: Path):
    suite = with_extra(tiny_suite, tmp_path)
    assert [(c.name, c.kind, c.model_a.name, c.model_b.name) for c in suite.controls] == [
        ("untrained", "floor", "a-untrained", "b-untrained"),
        ("wide", "ceiling", "a-narrow", "a-wide"),
    ]
    assert suite.controls[0].model_a.untrained_seed == 3
    assert suite.controls[0].model_b.untrained_seed is None
    assert suite.controls[1].model_b.saes == (SaeConfig("blocks.1.hook_resid_post", "t"),)
    assert suite.subspaces == SubspaceConfig("mini", 5, ("rsa", "cka"))
    assert suite.spans == SpanConfig("windows", 6, "mean")
    assert suite.published == PublishedConfig(1, 2)
    assert (suite.compare.measures, suite.compare.knn_k) == (("rsa", "mutual_knn"), 3)
    plain = load_suite(tiny_suite)
    assert plain.controls == ()
    assert plain.subspaces is plain.spans is plain.published is None


def test_the_hash_sees_every_optional_section(tiny_suite: Path, tmp_path: Path):
    changes = [
        ("", ""),
        ("untrained_seed = 3", "untrained_seed = 4"),
        ("untrained_seed = 3", "untrained_seed = 3\ntrained_embeddings = true"),
        ("min_pairs = 5", "min_pairs = 6"),
        ("width = 6", "width = 7"),
        ("layer_a = 1", "layer_a = 1\n#"),
        ("pairs = 20", "pairs = 21"),
        ('"rsa", "cka"', '"cka", "rsa"'),
    ]
    hashes = [with_extra(tiny_suite, tmp_path, *change).sha256 for change in changes]
    assert hashes[5] == hashes[0]  # a remark
    assert len(set(hashes)) == len(hashes) - 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('kind = "floor"', 'kind = "flor"', r"controls.kind must be .*got 'flor' \(did you mean 'floor'\?\)"),
        ('name = "wide"', 'name = "untrained"', "every control needs a name of its own, got untrained, untrained"),
        ('kind = "floor"\n', "", "controls is incomplete: .*'kind'"),
        ("untrained_seed = 3", 'untrained_seed = "3"', "untrained_seed must be int | None, got '3'"),
        (
            "untrained_seed = 3",
            "trained_embeddings = true",
            "model a-untrained has trained_embeddings, which an untrained twin has, and no untrained_seed",
        ),
        (
            'saes = [{ hook = "blocks.2.hook_resid_post", path = "s" }]',
            'saes = [{ hook = "blocks.2.hook_resid_post", path = "s" }, '
            '{ hook = "blocks.3.hook_resid_post", path = "s" }]',
            "control untrained needs one SAE per model, got 2 of b-untrained",
        ),
        ("min_pairs = 5", "min_pairs = 2", "subspaces.min_pairs must be at least 3, got 2"),
        ('categories = "mini"\n', "", "subspaces is incomplete: .*'categories'"),
        ('measures = ["rsa", "cka"]', 'measures = "rsa"', "measures must be a list"),
        ('"rsa", "cka"', '"rsa", "cks"', r"subspaces.measures must be .*got 'cks' \(did you mean 'cka'\?\)"),
        ('kind = "windows"', 'kind = "window"', r"spans.kind .*got 'window' \(did you mean 'windows'\?\)"),
        ('how = "mean"', 'how = "meen"', r"spans.how .*got 'meen' \(did you mean 'mean'\?\)"),
        ("width = 6", "width = 0", "spans.width must be at least 1, got 0"),
        ('layers = "all"', 'layers = "al"', r"function.layers must be one of .*got 'al' \(did you mean 'all'\?\)"),
        ("pairs = 20", "pairs = 0", "function.pairs must be at least 1, got 0"),
        ("pairs = 20", "positions = 1", "function.positions must be at least 2, got 1"),
        ("pairs = 20", "lens_tokens = 200", "function.lens_tokens must be at most 100, got 200"),
        ("layer_a = 1", "layer_a = 0", "published.layer_a must be at least 1, got 0"),
        ("layer_b = 2", "layer_b = 0", "published.layer_b must be at least 1, got 0"),
        ("layer_b = 2", "layer_b = 1", "published needs one SAE of model b on the output of block 1, got none"),
        ("layer_a = 1", "layer_a = 3", "published needs one SAE of model a on the output of block 3, got none"),
        ("layer_b = 2", "layer_c = 2", r"unknown key 'layer_c' in .*published \(did you mean 'layer_"),
    ],
)
def test_bad_optional_sections_are_refused(tiny_suite: Path, tmp_path: Path, old: str, new: str, message: str):
    with pytest.raises(InputError, match=message):
        with_extra(tiny_suite, tmp_path, old, new)


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ("measures = []", "at least one measure and none twice"),
        ('measures = ["rsa", "rsa"]', "at least one measure and none twice"),
        ('measures = ["rsa_kendal"]', r"got 'rsa_kendal' \(did you mean 'rsa_kendall'\?\)"),
        ("knn_k = 0", "compare.knn_k must be at least 1, got 0"),
    ],
)
def test_bad_measures_are_refused(tiny_suite: Path, tmp_path: Path, new: str, message: str):
    with pytest.raises(InputError, match=message):
        load_suite(changed(tiny_suite, tmp_path, "[compare]", f"[compare]\n{new}"))


@pytest.mark.parametrize("key", ["n_strata", "n_rematch", "n_bootstrap"])
def test_bad_draws_are_refused(tiny_suite: Path, tmp_path: Path, key: str):
    least = 1 if key == "n_strata" else 0
    assert getattr(load_suite(changed(tiny_suite, tmp_path, "[null]", f"[null]\n{key} = {least}")).null, key) == least
    told = f"at least {least}" if key == "n_strata" else f"between {least} and 10000000"
    with pytest.raises(InputError, match=f"null.{key} must be {told}, got {least - 1}"):
        load_suite(changed(tiny_suite, tmp_path, "[null]", f"[null]\n{key} = {least - 1}"))


@pytest.mark.parametrize("key", ["n_rematch", "n_same_token", "n_same_bigram", "n_bootstrap"])
def test_separate_halves_are_refused_beside_draws_that_match_on_everything(tiny_suite: Path, tmp_path: Path, key: str):
    path = changed(tiny_suite, tmp_path, "min_pairs = 10", "min_pairs = 10\nseparate_halves = true")
    assert load_suite(path).match.separate_halves
    path.write_text(path.read_text().replace("[null]", f"[null]\n{key} = 5"))
    with pytest.raises(
        InputError,
        match="match.separate_halves needs null.n_rematch, null.n_same_token, null.n_same_bigram and null.n_bootstrap",
    ):
        load_suite(path)


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
path = "summary.rsa.best_score"
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
    found = made_up.changed(made_up.results(), {"suite": "mini", "summary.rsa.best_score": observed})
    assert check_claims(claims, found)[0].verdict == verdict
    assert check_claims(claims, made_up.results())[0].verdict == "not run"


def test_bad_claims_are_refused(tmp_path: Path):
    path = tmp_path / "claims.toml"
    good = CLAIM.format(comparison="equal", expected="1", tolerance=0)
    for text, message in (
        (good + good, "claim C1 stands twice"),
        (good.replace("statement", "statment"), "did you mean 'statement'"),
        (good.replace('path = "summary.rsa.best_score"\n', ""), "incomplete: 'path'"),
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


def test_paths_of_claims_find_names_that_hold_dots():
    """As the labels of SAEs may; of two that fit, the longer."""
    found = {"grid": {"2.mlp_out x 5": {"pairs": [7, 8]}, "2": {"mlp_out x 5": "the shorter"}}}
    assert value_at(found, "grid.2.mlp_out x 5.pairs.1") == 8
    with pytest.raises(InputError, match=r"no 'pair' \(did you mean 'pairs'"):
        value_at(found, "grid.2.mlp_out x 5.pair")
