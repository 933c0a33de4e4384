"""Names that are promises to users: what is imported, typed and written in suites. Add; never take away or rename."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_type_hints

import pytest
import typer.main

import semconv
from semconv.cli import app
from semconv.suite.config import SuiteConfig

NAMES = """ActivationStore BestMatches InputError PermutationResult SemconvError SparseActivations StoreIdentity
StoreWriter StreamingCorrelation TokenBlocks TopMatches __version__ best_matches compare load_results
permutation_test"""
COMPARE = """CKA MEASURES MeanSquaredCC Measure MutualKNN PWCCA Procrustes RSA RowSubsets SVCCA SaturationWarning
SharedRows cka make_measures mean_squared_cc mutual_knn procrustes pwcca rsa svcca"""
COMMANDS = {
    "archive": """--allow --anonymous --out""",
    "bench": """--density --device --features --full --json --k --l0 --out --quick --repeats --stores
--tokens""",
    "compare": """--align --batch --bidirectional --bos --column --context --device --functional --functional-layers
--json --match-by --memory --min-activations --min-documents --model-precision --name-a --name-b --out --precision
--rematches --rows --sae-a --sae-b --same-token --sink-norm --skip-positions --stop-tokens --stores --text
--tokenizer --tokenizer-b --tokens""",
    "correlate": """--device --k --out""",
    "dictionary": """--bos --column --context --device --directions --hook --kind --layer --out --rows --seed
--skip-positions --text --tokenizer --tokens --trained-embeddings --untrained-seed""",
    "doctor": """--all-layers --json --no-probe --out""",
    "encode": """--all-layers --device --out --stores""",
    "export": """--run""",
    "plan": """--all-layers --device --fast --json --l0 --machine --memory --out --pairs --probe --workers""",
    "report": """--from --max-size --out""",
    "reproduce": """--all-layers --anyway --claims --device --fast --json --memory --out --stores""",
    "run-tasks": """--all-layers --device --fast --memory --out --shard --stores""",
    "store import-delphi": """--out""",
    "store verify": """--json""",
    "verify": """--bundle --claims --json --max-size --reference --thorough""",
}
SUITE_KEYS = """align.how align.tokenizer_b align.tokenizer_b_revision compare.knn_k compare.measures compare.primary
compare.svcca_k compare.svcca_threshold controls.kind controls.model_a.bidirectional controls.model_a.name
controls.model_a.path controls.model_a.revision controls.model_a.saes.hook controls.model_a.saes.loader
controls.model_a.saes.name controls.model_a.saes.other_hook controls.model_a.saes.path controls.model_a.saes.release
controls.model_a.saes.revision controls.model_a.saes.sae_id controls.model_a.trained_embeddings
controls.model_a.untrained_seed controls.model_b.bidirectional controls.model_b.name controls.model_b.path
controls.model_b.revision controls.model_b.saes.hook controls.model_b.saes.loader controls.model_b.saes.name
controls.model_b.saes.other_hook controls.model_b.saes.path controls.model_b.saes.release
controls.model_b.saes.revision controls.model_b.saes.sae_id controls.model_b.trained_embeddings
controls.model_b.untrained_seed controls.name corpus.bos corpus.column corpus.context corpus.exclude corpus.files
corpus.kind corpus.max_tokens corpus.packages corpus.path corpus.revision corpus.rows corpus.skip_positions
corpus.split corpus.text_sha256 corpus.tokenizer corpus.tokenizer_revision corpus.tokens_sha256 description
encode.batch encode.dtype encode.model_precision encode.precision encode.shard_tokens function.control_pairs
function.layers function.lens_tokens function.pairs function.position_kinds.layers function.position_kinds.pairs
function.position_kinds.positions function.positions function.rules.layers function.rules.pairs
function.rules.positions function.substitution.layers function.substitution.pairs function.substitution.positions
match.by match.candidates match.min_activations match.min_documents match.min_pairs
match.min_r match.need_shared_token match.one_to_one match.separate_halves match.sink_norm match.stop_tokens
match.strategy match.strongest match.top_tokens match.without_strongest model_a.bidirectional model_a.name model_a.path
model_a.revision model_a.saes.hook model_a.saes.loader model_a.saes.name model_a.saes.other_hook model_a.saes.path
model_a.saes.release model_a.saes.revision model_a.saes.sae_id model_a.trained_embeddings model_a.untrained_seed
model_b.bidirectional model_b.name model_b.path model_b.revision model_b.saes.hook model_b.saes.loader
model_b.saes.name model_b.saes.other_hook model_b.saes.path model_b.saes.release model_b.saes.revision
model_b.saes.sae_id model_b.trained_embeddings model_b.untrained_seed name needs.disk_gib needs.gpu_gib
needs.memory_gib needs.minutes null.draws null.n_bootstrap null.n_pair_halves null.n_permutations null.n_rematch
null.n_same_bigram null.n_same_token null.n_strata null.seed null.stop_after null.stop_from null.tail published.layer_a
published.layer_b seeds spans.how spans.kind spans.width streams.draws streams.features streams.positions
streams.rsa_positions subspaces.categories subspaces.measures subspaces.min_pairs"""


def suite_keys(of: type = SuiteConfig, prefix: str = "") -> set[str]:
    """Every key of a suite's TOML file, with the tables that it stands in."""
    found: set[str] = set()
    hints = get_type_hints(of)
    for field in fields(of):
        kinds = [hints[field.name], *get_args(hints[field.name])]
        tables = [kind for kind in kinds if isinstance(kind, type) and is_dataclass(kind)]
        found |= suite_keys(tables[0], f"{prefix}{field.name}.") if tables else {prefix + field.name}
    return found


def commands(of: Any, path: str = "") -> dict[str, set[str]]:
    """The long options of every command."""
    found: dict[str, set[str]] = {}
    for name, command in of.commands.items():
        if hasattr(command, "commands"):
            found |= commands(command, f"{path}{name} ")
        else:
            found[path + name] = {one for param in command.params for one in param.opts if one.startswith("--")}
    return found


def test_what_is_imported():
    assert set(NAMES.split()) <= set(semconv.__all__)
    assert set(COMPARE.split()) <= set(semconv.compare.__all__)
    for name in NAMES.split():
        assert getattr(semconv, name) is not None
    for name in COMPARE.split():
        assert getattr(semconv.compare, name) is not None


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_typed(command: str):
    assert set(COMMANDS[command].split()) <= commands(typer.main.get_command(app))[command]


def test_no_command_is_missing_here():
    assert commands(typer.main.get_command(app)).keys() == COMMANDS.keys()


def test_what_is_written_in_suites():
    assert set(SUITE_KEYS.split()) == suite_keys() - {"folder"}  # where the file lies, which no suite says
