"""Models, SAEs and text from a hub: the real clients against a hub on the loopback, and every way in which it fails."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from semconv._paths import SUITES
from semconv.models.decoders import check_place, sae_metadata
from semconv.models.sources import release_repository
from semconv.results.read import load_results
from semconv.runs.pairs_table import read_pairs
from semconv.suite.config import load_suite
from tests._helpers.hub import TOKEN, Client, Hub, Repository
from tests.conftest import CLAIMS, requires_models, semconv_cli

pytestmark = requires_models

MODEL, SCOPE = "google/gemma-2-2b", "google/gemma-scope-2b-pt-res"
PYTHIA, PYTHIA_SAES = "EleutherAI/pythia-70m", "EleutherAI/sae-pythia-70m-32k"
TEXT = "datasets/Skylion007/openwebtext"
LAYER = 12  # of Gemma Scope; the folder that sae-lens's list names for it
SCOPE_FILE = f"layer_{LAYER}/width_16k/average_l0_82/params.npz"

SUITE = """
name = "hub"
description = "Two tiny models with the shapes that the loaders expect."
[corpus]
kind = "hub"
path = "Skylion007/openwebtext"
files = ["plain_text/train-00000-of-00080.parquet"]
revision = "{text}"
tokenizer = "hub:google/gemma-2-2b"
tokenizer_revision = "{model}"
split = "all"
context = 32
max_tokens = 500
[model_a]
name = "gemma"
path = "hub:google/gemma-2-2b"
revision = "{model}"
[model_a.sae_grid]
release = "gemma-scope-2b-pt-res-canonical"
sae_id = "layer_{{layer}}/width_16k/canonical"
layers = [12]
n_layers = 13
revision = "{scope}"
[model_b]
name = "pythia"
path = "hub:EleutherAI/pythia-70m"
[[model_b.saes]]
hook = "blocks.1.hook_resid_post"
release = "EleutherAI/sae-pythia-70m-32k"
sae_id = "layers.1"
loader = "sparsify"
[encode]
batch = 8
[match]
need_shared_token = false
min_pairs = 10
[compare]
measures = ["rsa", "cka_unbiased"]
[null]
n_permutations = 19
"""


def _save_gemma(folder: Path, tokenizer: Path) -> None:
    from transformers import Gemma2Config, Gemma2ForCausalLM

    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=400,
        hidden_size=2304,
        intermediate_size=16,
        num_hidden_layers=LAYER + 1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        sliding_window=16,
        max_position_embeddings=64,
        initializer_range=0.1,
    )
    Gemma2ForCausalLM(config).save_pretrained(folder)
    shutil.copy(tokenizer, folder / "tokenizer.json")


def _save_scope(file: Path) -> None:
    """Gemma Scope's layout: W_enc, W_dec, b_enc, b_dec, threshold in one npz, of the size its loader insists on."""
    rng = np.random.default_rng(0)
    decoder = rng.standard_normal((16384, 2304), dtype=np.float32) / 48
    file.parent.mkdir(parents=True)
    arrays = {
        "W_enc": decoder.T,
        "W_dec": decoder,
        "b_enc": np.zeros(16384, np.float32),
        "b_dec": np.zeros(2304, np.float32),
        "threshold": np.full(16384, 16.0, np.float32),  # a hundred of them are active at a token
    }
    np.savez(file, **arrays)


def _save_pythia(model: Path, saes: Path) -> None:
    """GPT-NeoX, and TopK SAEs as EleutherAI's sparsify writes them."""
    from safetensors.torch import save_file
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    torch.manual_seed(1)
    config = GPTNeoXConfig(
        vocab_size=400, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2
    )
    GPTNeoXForCausalLM(config).save_pretrained(model)
    folder = saes / "layers.1"
    folder.mkdir(parents=True)
    decoder = torch.nn.functional.normalize(torch.randn(128, 32), dim=1)
    weights = {
        "encoder.weight": decoder.clone(),
        "encoder.bias": torch.zeros(128),
        "W_dec": decoder,
        "b_dec": torch.full((32,), 0.1),
    }
    save_file(weights, folder / "sae.safetensors")
    cfg = {"d_in": 32, "expansion_factor": 4, "normalize_decoder": True, "num_latents": 128, "k": 8, "signed": False}
    (folder / "cfg.json").write_text(json.dumps(cfg))


@pytest.fixture(scope="module")
def root(tiny_suite: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    folder = tmp_path_factory.mktemp("hub")
    _save_gemma(folder / MODEL, tiny_suite.parent / "tokenizer.json")
    _save_scope(folder / SCOPE / SCOPE_FILE)
    _save_pythia(folder / PYTHIA, folder / PYTHIA_SAES)
    texts = (tiny_suite.parent / "text.txt").read_text().split("\n\n")
    (folder / TEXT / "plain_text").mkdir(parents=True)
    pq.write_table(pa.table({"text": texts}), folder / TEXT / "plain_text" / "train-00000-of-00080.parquet")
    return folder


@pytest.fixture
def hub(connection: Client, root: Path) -> Hub:
    """The hub with what every test expects of it."""
    hub = connection.hub
    hub.repositories = {n: Repository(root / n) for n in (MODEL, SCOPE, PYTHIA, PYTHIA_SAES, TEXT)}
    hub.repositories[MODEL].gated = True
    hub.log.clear()
    return hub


@pytest.fixture
def client(hub: Hub, connection: Client) -> Client:
    """A client of the hub with nothing in its cache."""
    connection.forget()
    return connection


@pytest.mark.slow
def test_a_suite_from_the_hub_runs_end_to_end_and_again_offline(hub: Hub, client: Client, tmp_path: Path):
    pins = {key: hub.repositories[name].commit for key, name in (("text", TEXT), ("model", MODEL), ("scope", SCOPE))}
    (tmp_path / "hub.toml").write_text(SUITE.format(**pins))
    (tmp_path / "claims.toml").write_text(CLAIMS.replace('"tiny"', '"hub"').replace("expected = 2", "expected = 1"))
    claims = tmp_path / "claims.toml"  # the models are tiny; what real ones would take does not matter
    command = ("reproduce", tmp_path / "hub.toml", "--anyway", "--claims", claims, "--out", tmp_path / "run")
    weights = next(f for f in hub.repositories[MODEL].files() if f.endswith(".safetensors"))
    hub.repositories[MODEL].cut = {weights: 1}  # the client asks for the rest by a range
    done = client.run(*command)
    assert done.code == 0, done.err
    shown = done.err.splitlines()
    downloads = [f"semconv: download {name}" for name in ("plain_text/train-00000-of-00080.parquet", "gemma", "pythia")]
    assert [line for line in shown if line.startswith("semconv: download")] == downloads
    assert shown.index("semconv: tokenize") < shown.index(downloads[1]) < shown.index("semconv: encode gemma")
    results = load_results(tmp_path / "run")
    assert list(results["grid"]) == ["12x1"]
    assert results["grid"]["12x1"]["pairs"] > 10
    assert results["model_a"]["saes"]["12"]["n_features"] == 16384
    assert 7 < results["model_b"]["saes"]["1"]["l0"] <= 8, "a TopK SAE keeps 8, less where fewer are positive"
    links = read_pairs(tmp_path / "run")["link_a"].to_pylist()
    assert all(link.startswith("https://www.neuronpedia.org/gemma-2-2b/12-gemmascope-res-16k/") for link in links)
    assert any("/stored/" in line and line.startswith("GET") for line in hub.log), "weights lie behind a redirect"
    first = (tmp_path / "run" / "results.json").read_bytes()
    again = client.run(*command, offline=True, token="")
    assert again.code == 0, again.err
    assert "semconv: download" not in again.err
    assert "semconv: hash" not in again.err
    assert (tmp_path / "run" / "results.json").read_bytes() == first
    shutil.rmtree(tmp_path / "run" / "stores")  # and everything again from the cache
    assert client.run(*command, offline=True, token="").code == 0
    assert (tmp_path / "run" / "results.json").read_bytes() == first


ASK = """
import json, sys, time, torch
from semconv import InputError
from semconv.models import sources
from semconv.models import decoders
from semconv.suite.config import CorpusConfig, ModelConfig, SaeConfig
HOOK = "blocks.12.hook_resid_post"
def model(path, revision=""):
    return ModelConfig("m", path, (SaeConfig(HOOK, "x"),), revision)
def sae(release, sae_id, **more):
    return SaeConfig(HOOK, release=release, sae_id=sae_id, **more)
def text(**more):
    return CorpusConfig("hub", "x", 8, 8, path="Skylion007/openwebtext", **more)
time.sleep = lambda seconds: None  # the library of the hub waits up to 8 s before it asks again
for line in json.loads(sys.argv[1]):
    try:
        print(json.dumps("found " + str(eval(line))))
    except InputError as error:
        print(json.dumps(str(error)))
"""


def ask(client: Client, lines: list[str], offline: bool = False, token: str = TOKEN) -> list[str]:
    """What a client says to some expressions: the error, or `found` and the value."""
    done = client.run("-c", ASK, json.dumps(lines), offline=offline, token=token)
    assert done.code == 0, done.err
    return [json.loads(line) for line in done.out.splitlines()]


def test_every_refusal_is_one_sentence_that_says_what_to_do(hub: Hub, client: Client):
    hub.repositories[PYTHIA].busy = {"config.json": 99}
    cases = {
        "sources.model_folder(model('hub:google/gemma-2-2b'))": "is gated: accept its licence on the hub, then set",
        "sources.model_folder(model('hub:nobody/nothing'))": "model nobody/nothing does not exist on the hub",
        f"sources.model_folder(model('hub:{PYTHIA}', '{'0' * 40}'))": "does not exist at that revision",
        f"sources.model_folder(model('hub:{PYTHIA}'))": "answers 429 (too many requests); try again later",
        f"sources.model_folder(model('hub:{PYTHIA_SAES}'))": "has no config.json with safetensors beside it",
        "sources.text_files(text(files=('none.parquet',)))": "has no such file",
        "sources.release_repository(sae('gemma-scope-2b-pt-res-canonicle', 'x'))": (
            "did you mean 'gemma-scope-2b-pt-res-canonical'?"
        ),
        "sources.release_repository(sae('gemma-scope-2b-pt-res-canonical', 'layer_12/width_16k/canonic'))": (
            "has no SAE 'layer_12/width_16k/canonic' (did you mean 'layer_12/width_16k/canonical'?)"
        ),
        f"sources.check_release_revision(sae('{SCOPE}', 'x', revision='{'1' * 40}'))": (
            f"is at commit {hub.repositories[SCOPE].commit}, the suite pins 1111"
        ),
        f"decoders.open_sae(sae('{PYTHIA_SAES}', 'layers.1', loader='sparsity'))": (
            "SAE loader must be sparsify or dictionary_learning, or nothing"
        ),
        f"decoders.open_sae(sae('{PYTHIA_SAES}', 'layers.7', loader='sparsify'))": "has no such file",
    }
    for told, (line, expected) in zip(ask(client, list(cases), token=""), cases.items(), strict=True):
        assert expected in told, line
        assert "\n" not in told


def test_a_sparsify_sae_encodes_by_the_formula_of_sparsify(client: Client, root: Path):
    from safetensors.torch import load_file

    opened = f"decoders.open_sae(sae('{PYTHIA_SAES}', 'layers.1', loader='sparsify'))"
    told = ask(client, [f"{opened}.encode(torch.eye(32)).tolist()"])[0]
    found = torch.tensor(json.loads(told.removeprefix("found ")))
    weights = load_file(root / PYTHIA_SAES / "layers.1" / "sae.safetensors")
    pre = (torch.eye(32) - weights["b_dec"]) @ weights["encoder.weight"].T + weights["encoder.bias"]
    top = pre.topk(8, dim=1)
    expected = torch.zeros_like(pre).scatter(1, top.indices, top.values.relu())
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_offline_only_what_is_in_the_cache_is_found(client: Client):
    line = f"sources.model_folder(model('hub:{PYTHIA}'))"
    assert ask(client, [line], offline=True) == [
        f"model {PYTHIA} is not in the local cache, and the hub cannot be reached or HF_HUB_OFFLINE is set"
    ]
    found = ask(client, [line])
    assert found[0].startswith("found ")
    assert ask(client, [line], offline=True) == found


def test_a_download_that_breaks_off_leaves_nothing_half_written_and_goes_on(hub: Hub, client: Client):
    weights = "model.safetensors"
    hub.repositories[PYTHIA].cut = {weights: 99}
    line = f"sources.model_folder(model('hub:{PYTHIA}'))"
    told = ask(client, [line])[0]
    assert "the download broke off" in told
    assert not list(client.home.rglob(weights))
    hub.repositories[PYTHIA].cut = {}
    assert ask(client, [line])[0].startswith("found ")


@pytest.mark.slow
def test_doctor_tells_what_of_a_real_suite_cannot_be_had(hub: Hub, client: Client, tmp_path: Path):
    """Of five repositories two are served, one of them gated, the other at another commit; nothing is in the cache."""
    command = ("doctor", "gemma2", "--no-probe", "--json", "--out", tmp_path / "run")
    hub.repositories = {MODEL: hub.repositories[MODEL], SCOPE: hub.repositories[SCOPE]}
    found = {f["what"]: f for f in json.loads(client.run(*command, token="").out)}
    assert "is gated: accept its licence" in found["model google/gemma-2-2b"]["found"]
    assert "does not exist on the hub" in found["model google/gemma-2-9b"]["found"]
    assert "does not exist at that revision" in found[f"SAE {SCOPE}"]["found"]
    assert found["activation stores"]["needed"] == "19 SAEs x 1,000,000 tokens"  # a ceiling reads one of the grid again
    offline = client.run(*command, offline=True)
    assert offline.code == 2
    reasons = [f["found"] for f in json.loads(offline.out) if f["what"].startswith(("model g", "SAE", "dataset"))]
    assert len(reasons) == 5
    assert set(reasons) == {"the hub cannot be reached, and it is not in the local cache"}


def test_a_run_without_room_is_refused_before_anything_is_written(tmp_path: Path):
    suite = tmp_path / "gemma2.toml"
    suite.write_text(re.sub(r"max_tokens = \S+", "max_tokens = 2_000_000_000", (SUITES / suite.name).read_text()))
    done = semconv_cli("reproduce", suite, "--out", tmp_path / "run", "--device", "cpu")
    assert done.returncode == 2
    assert re.search(r"needs about \d+\.\d GiB of disk \(stores .* GiB free; --anyway", done.stderr)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("suite", "pairs"), [("gemma2", (7, 7)), ("gemma1v2", (4, 6)), ("pythia", (5, 6))])
def test_the_suites_of_real_models_name_saes_that_there_are(suite: str, pairs: tuple[int, int]):
    config = load_suite(suite)
    assert (len(config.model_a.saes), len(config.model_b.saes)) == pairs
    for model in (config.model_a, config.model_b):
        for sae in model.saes:
            assert release_repository(sae)
            if sae.release.startswith("gemma-scope"):  # the others say where they read in a file of the repository
                check_place(sae, sae_metadata(sae))
    whole = load_suite("gemma2", all_layers=True)
    assert (len(whole.model_a.saes), len(whole.model_b.saes)) == (26, 42)
    assert {release_repository(sae)[1].split("/")[1] for sae in whole.model_b.saes} == {"width_16k"}
