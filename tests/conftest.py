"""Fixtures: random activations, and a tiny suite of two Gemma-2 models with SAEs that the tests make themselves."""

from __future__ import annotations

import fcntl
import gc
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

if int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) > 1:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # workers share the cores; torch reads it when it is loaded
import torch

from semconv import SparseActivations
from semconv.core.device import why_no_cuda
from tests._helpers.forks import usual_forks

os.environ.setdefault("HF_HUB_OFFLINE", "1")

WORDS = (
    "the matrix returns a sparse array of float values and an index for each row while the model reads tokens from "
    "text to learn which feature is active in a given context so that the sum over columns stays exact"
).split()

requires_models = pytest.mark.skipif(
    not all(__import__("importlib.util").util.find_spec(name) for name in ("transformers", "sae_lens", "tokenizers")),
    reason="transformers, sae-lens and tokenizers are needed",
)

requires_cuda = pytest.mark.skipif(
    why_no_cuda() is not None, reason="no CUDA device or no CUDA kernels in this build of semconv"
)


SLOW_FIXTURES = {"connection", "emulated", "machine", "tiny_run"}
"""What takes seconds to make: a hub and its clients, the emulator, somebody's machine, a finished run."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks as slow, beside the tests that say so, those for which something slow must be made first."""
    for item in items:
        if SLOW_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish() -> None:
    """What was loaded until now is no garbage and is looked at no more; the libraries are a million objects."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", params=["cpu", pytest.param("cuda", marks=requires_cuda)])
def device(request: pytest.FixtureRequest) -> str:
    """Every device that a test of ours should run on; on a machine without a GPU the skips are counted."""
    return request.param


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Hashes of large files are kept in a folder of the tests."""
    os.environ["SEMCONV_CACHE"] = str(tmp_path_factory.mktemp("cache"))


def random_activations(
    seed: int, n_tokens: int, n_features: int, density: float = 0.3, dtype: torch.dtype = torch.float32
) -> SparseActivations:
    """Sparse activations with feature scales that span several orders of magnitude."""
    g = torch.Generator().manual_seed(seed)
    scale = torch.exp(2 * torch.randn(n_features, generator=g))
    x = torch.rand(n_tokens, n_features, generator=g) * scale
    x[torch.rand(n_tokens, n_features, generator=g) >= density] = 0
    return SparseActivations.from_dense(x.to(dtype))


def _write_text(path: Path) -> None:
    g = torch.Generator().manual_seed(1)
    documents = [
        " ".join(WORDS[int(i)] for i in torch.randint(len(WORDS), (60,), generator=g)) + "." for _ in range(120)
    ]
    path.write_text("\n\n".join(documents), encoding="utf-8")


def _make_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<pad>", "<bos>", "<eos>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator((folder / "text.txt").read_text().split("\n\n"), trainer)
    tokenizer.save(str(folder / "tokenizer.json"))


def _make_model(path: Path, d_model: int, n_layers: int, seed: int) -> None:
    from transformers import Gemma2Config, Gemma2ForCausalLM

    torch.manual_seed(seed)
    config = Gemma2Config(
        vocab_size=400,
        hidden_size=d_model,
        intermediate_size=2 * d_model,
        num_hidden_layers=n_layers,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        sliding_window=16,
        max_position_embeddings=64,
        initializer_range=0.3,
    )
    Gemma2ForCausalLM(config).save_pretrained(path)


def _make_sae(path: Path, d_in: int, d_sae: int, seed: int) -> None:
    from sae_lens.saes.jumprelu_sae import JumpReLUSAE, JumpReLUSAEConfig

    g = torch.Generator().manual_seed(seed)
    sae = JumpReLUSAE(JumpReLUSAEConfig(d_in=d_in, d_sae=d_sae))
    decoder = torch.nn.functional.normalize(torch.randn(d_sae, d_in, generator=g), dim=1)
    sae.W_dec.data, sae.W_enc.data = decoder, decoder.T.contiguous()
    sae.threshold.data.fill_(2.0)
    sae.save_model(path)


SUITE = """
name = "tiny"
description = "Two tiny random models, for tests."
[corpus]
kind = "file"
path = "{folder}/text.txt"
tokenizer = "{folder}/tokenizer.json"
split = "all"
context = 32
max_tokens = 4000
[model_a]
name = "a"
path = "{folder}/model_a"
saes = [{{ hook = "blocks.0.hook_resid_post", path = "{folder}/sae_a0" }},
        {{ hook = "blocks.1.hook_resid_post", path = "{folder}/sae_a1" }}]
[model_b]
name = "b"
path = "{folder}/model_b"
saes = [{{ hook = "blocks.2.hook_resid_post", path = "{folder}/sae_b2" }}]
[encode]
batch = 8
[match]
need_shared_token = true
stop_tokens = ["."]
min_pairs = 10
min_activations = 5
min_documents = 3
without_strongest = 2
[compare]
svcca_k = 4
[null]
n_permutations = 99
n_rematch = 5
n_same_token = 4
n_bootstrap = 3
n_pair_halves = 4
[[controls]]
name = "twin"
kind = "floor"
[controls.model_a]
name = "a-untrained"
path = "{folder}/model_a"
untrained_seed = 1
saes = [{{ hook = "blocks.1.hook_resid_post", path = "{folder}/sae_a1" }}]
[controls.model_b]
name = "b-untrained"
path = "{folder}/model_b"
untrained_seed = 1
saes = [{{ hook = "blocks.2.hook_resid_post", path = "{folder}/sae_b2" }}]
[[controls]]
name = "other"
kind = "ceiling"
[controls.model_a]
name = "a"
path = "{folder}/model_a"
saes = [{{ hook = "blocks.0.hook_resid_post", path = "{folder}/sae_a0" }}]
[controls.model_b]
name = "a-other"
path = "{folder}/model_a"
saes = [{{ hook = "blocks.0.hook_resid_post", path = "{folder}/sae_a1" }}]
[[seeds]]
name = "a-seed1"
of = "a"
saes = [{{ hook = "blocks.0.hook_resid_post", path = "{folder}/sae_a1" }}]
[subspaces]
categories = "mini"
min_pairs = 3
[spans]
kind = "windows"
width = 4
[streams]
positions = 600
rsa_positions = 50
draws = 3
[function]
pairs = 12
positions = 4
control_pairs = 5
lens_tokens = 4
[function.rules]
pairs = 10
positions = 4
[function.position_kinds]
pairs = 12
positions = 4
[published]
layer_a = 1
layer_b = 2
"""

CLAIMS = """
[[claim]]
id = "T1"
statement = "Every layer pair is scored."
source = "tests"
suite = "tiny"
path = "summary.rsa.layer_pairs"
comparison = "equal"
expected = 2
"""


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Returns a folder that one of the workers of this test run fills, for all of them; nobody changes it."""
    base = factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, done = base / name, base / f"{name}.done"
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)  # what a worker left that could not finish
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


def _make_suite(folder: Path) -> None:
    _write_text(folder / "text.txt")
    _make_tokenizer(folder)
    _make_model(folder / "model_a", 16, 2, 0)
    _make_model(folder / "model_b", 24, 3, 1)
    for name, d_in in (("a0", 16), ("a1", 16), ("b2", 24)):
        _make_sae(folder / f"sae_{name}", d_in, 96, seed=len(name) + d_in)
    (folder / "tiny.toml").write_text(SUITE.format(folder=folder))
    (folder / "claims.toml").write_text(CLAIMS)


@pytest.fixture(scope="session")
def tiny_suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of a suite's TOML file whose models, SAEs, tokenizer and text lie beside it, with a claims.toml.

    The logger of transformers keeps the stderr that it finds when it is loaded, so that is not left to a test that
    captures its own.
    """
    import transformers  # noqa: F401

    return made_once(tmp_path_factory, "tiny", _make_suite) / "tiny.toml"


_READ_WHILE_LOADING = ("HF_", "OMP_", "PYTHON")  # variables that a library or Python reads once


def semconv_cli(
    *arguments: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None, new: bool = False
) -> subprocess.CompletedProcess[str]:
    """Runs the command line in a process of its own.

    The process is a fork of one that has loaded the libraries, or begins anew: where that is asked for, or where a
    variable of the environment would otherwise come too late.
    """
    whole = {**os.environ, "COLUMNS": "200", **(env or {})}
    if new or any(name.startswith(_READ_WHILE_LOADING) for name in env or ()):
        command = [sys.executable, "-m", "semconv", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=whole, timeout=300)
    ended = usual_forks().run(arguments, cwd or Path.cwd(), env=whole)
    assert ended.code is not None, f"{arguments} did not end:\n{ended.err}"
    return subprocess.CompletedProcess([*map(str, arguments)], ended.code, ended.out, ended.err)


@pytest.fixture(scope="session")
def tiny_run(tiny_suite: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of one finished tiny run, made by the command line; nobody changes it."""

    def make(folder: Path) -> None:
        claims = tiny_suite.with_name("claims.toml")
        done = semconv_cli("reproduce", tiny_suite, "--out", folder / "tiny", "--claims", claims, new=True)
        assert done.returncode == 0, done.stderr
        assert "1 claims pass, 0 fail" in done.stdout

    return made_once(tmp_path_factory, "run", make) / "tiny"


def portable(folder: Path) -> set[str]:
    """What of a run folder travels: all but text, stores and what is known of them, streams, decoders, lock, crate."""
    stays = ("stores/", "stores.json", "sides/", "streams/", "decoders/", "tokens-", ".lock", "ro-crate-metadata.json")
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    return {name for name in found if not name.startswith(stays)}
