"""The directions of the data: who may import whom, and what `import semconv` may pull in."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "semconv"


def imports_of(path: Path) -> set[str]:
    """Modules of semconv that a file imports, by their first name, at the top or inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "semconv":
            parts = node.module.split(".")[1:]
            found |= {parts[0]} if parts else {alias.name for alias in node.names}
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("semconv.")}
    return found


def files_of(module: str) -> list[Path]:
    return (
        [PACKAGE / f"{module}.py"] if (PACKAGE / f"{module}.py").exists() else sorted((PACKAGE / module).glob("*.py"))
    )


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("types", set()),
        ("files", {"types"}),
        ("json_toml", {"types"}),
        ("stated", {"types"}),
        ("ops", {"types"}),
        ("sparse", {"ops", "types"}),
        ("reference", {"ops", "sparse"}),
        ("compare", {"compare", "ops", "types"}),
        ("permutation", {"compare", "types"}),
        ("corpus", {"types"}),
        ("text_files", {"corpus", "types"}),
        ("tokenizer", {"json_toml", "tokenizer_conversion", "types"}),
        ("tokenizer_conversion", {"types"}),
        ("tokenizer_difference", set()),
        ("packing", {"corpus", "tokenizer", "types"}),
        (
            "suite_text",
            {"config", "corpus", "files", "packing", "run", "sources", "text_files", "tokenizer", "types"},
        ),
        ("hooks", {"types"}),
        ("families", {"hooks", "types"}),
        ("libraries", set()),
        ("model_files", {"hooks", "json_toml", "types"}),
        ("model_activations", {"device", "families", "hooks", "model_files", "types"}),
        ("sae_labels", {"hooks"}),
        ("sinks", {"spans", "types"}),
        ("splicing", {"hooks", "model_activations"}),
        ("sae_fit", {"device", "model_activations", "splicing", "types"}),
        (
            "fitting",
            {
                "activation_store",
                "config",
                "decoders",
                "encoding",
                "hooks",
                "model_activations",
                "run",
                "sae_encode",
                "sae_fit",
                "sae_metadata",
                "sources",
                "task_cache",
                "shown_paths",
                "types",
            },
        ),
        (
            "what_was_read",
            {
                "activation_store",
                "config",
                "decoders",
                "encoding",
                "fitting",
                "packing",
                "provenance",
                "run",
                "sae_metadata",
                "sides",
                "sinks",
                "sources",
                "sparse",
            },
        ),
        (
            "encoded_sides",
            {
                "activation_store",
                "alignment",
                "comparison",
                "config",
                "decoders",
                "fitting",
                "hooks",
                "labels",
                "resampling",
                "run",
                "sides",
                "sinks",
                "spans",
                "sparse",
                "suite_text",
                "task_cache",
                "types",
                "what_was_read",
            },
        ),
        ("config", {"compare", "hooks", "json_toml", "sae_labels", "shown_paths", "types"}),
        ("device", {"ops", "types"}),
        ("hub", {"types"}),
        ("store_folders", {"activation_store", "config", "files", "run", "types"}),
        ("sparsify", {"hooks", "json_toml", "libraries", "types"}),
        ("dictionary_learning", {"hooks", "json_toml", "libraries", "types"}),
        ("sae_metadata", {"hooks", "json_toml", "shown_paths", "types"}),
        ("sae_files", {"dictionary_learning", "hub", "json_toml", "libraries", "sae_metadata", "sparsify", "types"}),
        ("sources", {"config", "hub", "libraries", "model_files", "text_files", "tokenizer", "types"}),
        ("sae_encode", {"device", "model_activations", "sae_metadata", "sparse", "types"}),
        ("run", {"config"}),
        ("baselines", {"files", "hooks", "libraries", "types"}),
        ("alignment", {"spans", "types"}),
        ("delphi_cache", {"activation_store", "files", "sparse", "types"}),
        ("parquet", {"files", "types"}),
        ("matched_pairs", {"files", "labels", "parquet", "types"}),
        ("feature_contexts", {"labels", "parquet", "sparse", "spans", "types"}),
        (
            "own_pair",
            {
                "config",
                "decoders",
                "files",
                "hooks",
                "model_files",
                "sae_files",
                "sae_labels",
                "sae_metadata",
                "sources",
                "text_files",
                "tokenizer",
                "tokenizer_difference",
                "types",
            },
        ),
        ("decoders", {"config", "device", "files", "sae_files", "sae_metadata", "sources", "shown_paths", "types"}),
        (
            "encoding",
            {
                "activation_store",
                "config",
                "decoders",
                "device",
                "files",
                "hooks",
                "model_activations",
                "model_files",
                "ranks",
                "run",
                "sae_encode",
                "sae_metadata",
                "sources",
                "sparse",
                "store_folders",
                "types",
            },
        ),
        (
            "bench",
            {"activation_store", "bench", "correlate", "files", "ops", "provenance", "sparse", "streaming", "types"},
        ),
        ("doctor", {"config", "device", "ops", "provenance", "sources", "types"}),
        ("shown_paths", set()),
        ("private_words", set()),
        ("leaks", {"private_words"}),
        ("anonymous", {"config", "foreign", "leaks", "private_words", "types"}),
        ("provenance", {"shown_paths"}),
        ("ranks", set()),
        ("activation_store", {"files", "json_toml", "provenance", "ranks", "sparse", "types"}),
        ("streaming", {"correlate", "ops", "sparse", "types"}),
        ("correlate", {"activation_store", "ops", "ranks", "reference", "sparse", "types"}),
        ("labels", {"sparse", "types"}),
        ("spans", {"sparse", "types"}),
        ("categories", {"json_toml", "types"}),
        ("relations", {"compare", "permutation", "types"}),
        ("pairing", {"correlate"}),
        ("matching", {"config", "correlate", "labels", "pairing", "sparse", "types"}),
        ("resampling", {"permutation", "types"}),
        (
            "sides",
            {"compare", "config", "correlate", "labels", "matching", "sae_labels", "sparse", "streaming", "types"},
        ),
        (
            "nulls",
            {"compare", "config", "correlate", "matching", "ops", "permutation", "resampling", "sides"},
        ),
        ("task_cache", {"files", "json_toml", "types"}),
        ("side_by_side", set()),
        ("result_warnings", {"sae_labels"}),
        (
            "layer_pairs",
            {
                "compare",
                "config",
                "correlate",
                "matching",
                "nulls",
                "permutation",
                "resampling",
                "sides",
                "task_cache",
                "types",
            },
        ),
        ("controls", {"correlate", "layer_pairs", "sides", "types"}),
        ("departures", {"compare", "config", "layer_pairs", "permutation", "sides", "types"}),
        (
            "subspaces",
            {"categories", "compare", "config", "layer_pairs", "permutation", "relations", "sides", "spans", "types"},
        ),
        (
            "comparison",
            {
                "categories",
                "compare",
                "config",
                "controls",
                "departures",
                "layer_pairs",
                "nulls",
                "permutation",
                "sae_labels",
                "side_by_side",
                "sides",
                "spans",
                "subspaces",
                "task_cache",
                "types",
            },
        ),
        ("reference_run", {"claims", "config", "files", "json_toml", "types"}),
        ("crate", {"files", "json_toml", "provenance", "types"}),
        (
            "run_files",
            {
                "comparison",
                "feature_contexts",
                "files",
                "layer_pairs",
                "matched_pairs",
                "hooks",
                "run",
                "sides",
                "sources",
                "task_cache",
                "types",
            },
        ),
        (
            "archive",
            {
                "anonymous",
                "claims",
                "compare",
                "comparison",
                "config",
                "crate",
                "feature_contexts",
                "files",
                "labels",
                "layer_pairs",
                "matched_pairs",
                "nulls",
                "permutation",
                "provenance",
                "hooks",
                "report",
                "result_warnings",
                "run_files",
                "side_by_side",
                "sides",
                "sparse",
                "stated",
                "task_cache",
                "types",
            },
        ),
        ("calibration", {"permutation"}),
        ("null_data", {"labels", "sides", "sparse"}),
        (
            "null_cases",
            {
                "calibration",
                "compare",
                "config",
                "correlate",
                "labels",
                "null_data",
                "nulls",
                "permutation",
                "sides",
            },
        ),
        ("claims", {"config", "files", "json_toml", "types"}),
        ("foreign", set()),
        (
            "report",
            {
                "claims",
                "compare",
                "feature_contexts",
                "files",
                "foreign",
                "hooks",
                "matched_pairs",
                "report",
                "sae_labels",
                "types",
            },
        ),
    ],
)
def test_directions(module: str, allowed: set[str]):
    for path in files_of(module):
        assert imports_of(path) <= allowed, path


def test_every_module_has_a_rule():
    ruled = {mark.args[1][i][0] for mark in test_directions.pytestmark for i in range(len(mark.args[1]))}
    modules = {p.stem if p.parent == PACKAGE else p.parent.name for p in PACKAGE.rglob("*.py")}
    assert modules - ruled == {"__init__", "__main__", "cli", "pipeline"}


def test_only_the_command_line_imports_the_pipeline():
    users = {p.parent.name for p in PACKAGE.rglob("*.py") if "pipeline" in imports_of(p)}
    assert users == {"cli"}


STATISTICS = (
    "sides",
    "nulls",
    "layer_pairs",
    "controls",
    "departures",
    "subspaces",
    "comparison",
    "task_cache",
    "resampling",
    "permutation",
    "compare",
    "report",
)


def packages_of(path: Path) -> set[str]:
    """Other packages that a file imports, at the top or inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
    return found


@pytest.mark.parametrize("module", STATISTICS)
def test_statistics_know_nothing_of_models_or_corpora(module: str):
    for path in files_of(module):
        assert not packages_of(path) & {"transformers", "sae_lens", "datasets", "tokenizers"}, path
        assert not imports_of(path) & {"model_activations", "sae_encode", "corpus", "activation_store", "pipeline"}, (
            path
        )


def test_comparing_loads_no_model_library():
    code = "import sys, semconv.comparison; print([m for m in ('transformers', 'sae_lens', 'datasets', 'tokenizers', "
    code += "'matplotlib') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_direction_test_sees_imports_inside_functions(tmp_path: Path):
    path = tmp_path / "x.py"
    path.write_text(
        "import semconv.ops\ndef f():\n    from semconv.pipeline import Run\n    from semconv import labels\n"
    )
    assert imports_of(path) == {"ops", "pipeline", "labels"}
    path.write_text("import json\ndef f():\n    from transformers.utils import logging\n    import datasets.x\n")
    assert packages_of(path) == {"json", "transformers", "datasets"}


def test_import_semconv_pulls_in_torch_and_numpy_only():
    heavy = ["transformers", "sae_lens", "datasets", "matplotlib", "scipy", "tokenizers", "typer"]
    code = f"import sys, semconv; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
