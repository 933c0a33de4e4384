"""Hostile configs of models and SAEs, foreign caches and suites: what is changed, and a part of what is said of it.

Each is a name, a function that makes the input in an empty folder and returns the arguments of the command that reads
it, and a part of the sentence. The functions are given a folder with a tiny suite (`tests.conftest`) to copy from.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as parquet
import torch
from safetensors.torch import load_file, save_file

from semconv.runs.crate import METADATA
from semconv.system.files import sha256_of_file
from semconv.system.shape import plain
from tests._helpers.made_up import results

Arguments = list[str | Path]


class Hostile(NamedTuple):
    """One hostile input."""

    name: str
    make: Callable[[Path, Path], Arguments]
    told: str = ""


def _edited(file: Path, changes: dict[str, Any]) -> None:
    """Changes settings in a JSON file; `None` takes one out, so null is written as ...."""
    table = json.loads(file.read_text())
    for key, value in changes.items():
        table.pop(key, None)
        if value is not None:
            table[key] = None if value is ... else value
    file.write_text(json.dumps(table))


def _dictionary(tiny: Path, folder: Path) -> Arguments:
    """The cheapest command that loads a model and runs it."""
    return [
        *("dictionary", folder / "model", "--kind", "random", "--layer", "0", "--text", tiny / "text.txt"),
        *("--tokenizer", tiny / "tokenizer.json", "--context", "16", "--tokens", "64", "--out", folder / "made"),
    ]


def _model(change: Callable[[Path], object]) -> Callable[[Path, Path], Arguments]:
    def make(tiny: Path, folder: Path) -> Arguments:
        shutil.copytree(tiny / "model_a", folder / "model")
        change(folder / "model")
        return _dictionary(tiny, folder)

    return make


def _config(**changes: Any) -> Callable[[Path, Path], Arguments]:
    """A model whose config says something else."""
    return _model(lambda model: _edited(model / "config.json", changes))


def _twin(**changes: Any) -> Callable[[Path, Path], Arguments]:
    """The same for the untrained twin, which has no weights that the config could be compared with."""

    def make(tiny: Path, folder: Path) -> Arguments:
        (folder / "model").mkdir()
        shutil.copy(tiny / "model_a" / "config.json", folder / "model")
        _edited(folder / "model" / "config.json", changes)
        return [*_dictionary(tiny, folder), "--untrained-seed", "1"]

    return make


def _weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path, Path], Arguments]:
    """A model whose weights are others."""

    def edit(model: Path) -> None:
        tensors = load_file(model / "model.safetensors")
        changed = change(tensors)
        save_file(changed if isinstance(changed, dict) else tensors, model / "model.safetensors", {"format": "pt"})

    return _model(edit)


def _written(name: str, text: str | bytes) -> Callable[[Path, Path], Arguments]:
    """A model with a file of other contents."""
    data = text if isinstance(text, bytes) else text.encode()
    return _model(lambda model: (model / name).write_bytes(data))


HUGE = 10**18
Q = "model.layers.0.self_attn.q_proj.weight"
MODELS = [
    Hostile("a width of 10**18", _config(hidden_size=HUGE)),
    Hostile("a width of 10**9", _config(hidden_size=10**9), "parameters by its config"),
    Hostile("a width of 2**19", _config(hidden_size=2**19)),
    Hostile("an MLP of 10**18", _config(intermediate_size=HUGE)),
    Hostile("an MLP of 2**20", _config(intermediate_size=2**20)),
    Hostile("a vocabulary of 10**18", _config(vocab_size=HUGE)),
    Hostile("a vocabulary of 2**26", _config(vocab_size=2**26)),
    Hostile("10**18 heads", _config(num_attention_heads=HUGE)),
    Hostile("heads of 10**18", _config(head_dim=HUGE)),
    Hostile("heads of 2**26", _config(head_dim=2**26)),
    Hostile("10**9 layers", _config(num_hidden_layers=10**9, layer_types=None)),
    Hostile("100,000 layers", _config(num_hidden_layers=100_000, layer_types=None)),
    Hostile("a negative width", _config(hidden_size=-16)),
    Hostile("no width", _config(hidden_size=0)),
    Hostile("a width of text", _config(hidden_size="16")),
    Hostile("a width of null", _config(hidden_size=...)),
    Hostile("a width with a fraction", _config(hidden_size=16.5)),
    Hostile("a list for a width", _config(hidden_size=[16])),
    Hostile("a width that is true", _config(hidden_size=True)),
    Hostile("layers of text", _config(num_hidden_layers="two")),
    Hostile("no layers", _config(num_hidden_layers=0)),
    Hostile("a negative number of layers", _config(num_hidden_layers=-1)),
    Hostile("layers of null", _config(num_hidden_layers=...)),
    Hostile("more layers than weights", _config(num_hidden_layers=4, layer_types=None)),
    Hostile("fewer layers than weights", _config(num_hidden_layers=1, layer_types=None)),
    Hostile("no heads", _config(num_attention_heads=0)),
    Hostile("negative heads", _config(num_attention_heads=-2)),
    Hostile("heads that do not divide", _config(num_attention_heads=3, num_key_value_heads=2)),
    Hostile("no key heads", _config(num_key_value_heads=0)),
    Hostile("odd heads", _config(head_dim=7)),
    Hostile("a vocabulary below the ids", _config(vocab_size=300)),
    Hostile("a vocabulary of text", _config(vocab_size="many")),
    Hostile("no vocabulary", _config(vocab_size=0)),
    Hostile("positions of text", _config(max_position_embeddings="64")),
    Hostile("an architecture nobody knows", _config(model_type="gemma99")),
    Hostile("no architecture", _config(model_type=None, architectures=None)),
    Hostile("an architecture of a list", _config(model_type=["gemma2"])),
    Hostile("another architecture", _config(model_type="llama")),
    Hostile("an architecture of images", _config(model_type="vit")),
    Hostile("code of its own", _config(model_type="own", auto_map={"AutoConfig": "own.Own"})),
    Hostile("rope of text", _config(rope_parameters="yes")),
    Hostile("rope of no kind", _config(rope_parameters={"rope_type": "none such", "rope_theta": 1e4})),
    Hostile("rope of base zero", _config(rope_parameters={"rope_type": "default", "rope_theta": 0})),
    Hostile("rope of a base of text", _config(rope_parameters={"rope_type": "default", "rope_theta": "x"})),
    Hostile(
        "rope with a factor of null",
        _config(rope_parameters={"rope_type": "linear", "factor": None, "rope_theta": 1e4}),
        "",
    ),
    Hostile("layers of no kind", _config(layer_types=["full", "half"])),
    Hostile("layer kinds of a number", _config(layer_types=7)),
    Hostile("fewer kinds than layers", _config(layer_types=["full_attention"])),
    Hostile("a window of text", _config(sliding_window="wide")),
    Hostile("an activation nobody knows", _config(hidden_activation="none such")),
    Hostile("an activation of a number", _config(hidden_activation=3)),
    Hostile("an epsilon of text", _config(rms_norm_eps="small")),
    Hostile("a dtype nobody knows", _config(dtype="float99", torch_dtype="float99")),
    Hostile("padding beyond the vocabulary", _config(pad_token_id=10**6)),
    Hostile("padding of text", _config(pad_token_id="pad")),
    Hostile("tied weights of text", _config(tie_word_embeddings="no")),
    Hostile("a config that is a list", _written("config.json", "[]")),
    Hostile("a config of nothing", _written("config.json", "{}")),
    Hostile("a config of deep lists", _written("config.json", '{"a":' + "[" * 100_000)),
    Hostile("a config with 5,000 digits", _written("config.json", '{"hidden_size":' + "9" * 5000 + "}")),
    Hostile("a config that is not UTF-8", _written("config.json", b"\xff\xfe{}")),
    Hostile(
        "a config that is a folder", _model(lambda m: ((m / "config.json").unlink(), (m / "config.json").mkdir())), ""
    ),
    Hostile("no config", _model(lambda m: (m / "config.json").unlink())),
    Hostile("a text config of a number", _config(text_config=7)),
    Hostile("quantised by text", _config(quantization_config="int8")),
    Hostile("a generation config of a list", _written("generation_config.json", "[]")),
    Hostile("a deep generation config", _written("generation_config.json", "[" * 100_000)),
    Hostile("weights of another shape", _weights(lambda t: t.update({Q: torch.zeros(3, 5)}))),
    Hostile("weights of another rank", _weights(lambda t: t.update({Q: torch.zeros(16)}))),
    Hostile("weights without a number", _weights(lambda t: t.update({Q: torch.zeros(0)}))),
    Hostile("weights that are NaN", _weights(lambda t: t.update({Q: torch.full((16, 16), torch.nan)}))),
    Hostile("no weights at all", _weights(lambda t: {})),
    Hostile("an empty file of weights", _written("model.safetensors", b"")),
    Hostile("weights with a header of 2**60 bytes", _written("model.safetensors", (2**60).to_bytes(8, "little"))),
    Hostile("no file of weights", _model(lambda m: (m / "model.safetensors").unlink())),
    Hostile("an index of a list", _written("model.safetensors.index.json", '{"weight_map": []}')),
    Hostile("a twin of a width of 10**9", _twin(hidden_size=10**9)),
    Hostile("a twin of 100,000 layers", _twin(num_hidden_layers=100_000, layer_types=None)),
    Hostile("a twin with NaN for a spread", _twin(initializer_range=float("nan"))),
    Hostile("a twin with text for a spread", _twin(initializer_range="wide")),
    Hostile("a twin with a negative spread", _twin(initializer_range=-1)),
]


def _encode(tiny: Path, folder: Path) -> Arguments:
    """The command that loads an SAE, on a suite with `sae` in the folder instead of the first one of A."""
    suite = (tiny / "tiny.toml").read_text().split("[[controls]]")[0]
    suite = suite.replace(str(tiny / "sae_a0"), str(folder / "sae")).replace("max_tokens = 4000", "max_tokens = 200")
    (folder / "tiny.toml").write_text(suite)
    return ["--quiet", "encode", folder / "tiny.toml", "--out", folder / "run"]


def _sae(change: Callable[[Path], object]) -> Callable[[Path, Path], Arguments]:
    def make(tiny: Path, folder: Path) -> Arguments:
        shutil.copytree(tiny / "sae_a0", folder / "sae")
        change(folder / "sae")
        return _encode(tiny, folder)

    return make


def _cfg(**changes: Any) -> Callable[[Path, Path], Arguments]:
    return _sae(lambda sae: _edited(sae / "cfg.json", changes))


def _tensors(**changed: torch.Tensor | None) -> Callable[[Path, Path], Arguments]:
    def edit(sae: Path) -> None:
        tensors: dict[str, Any] = load_file(sae / "sae_weights.safetensors") | changed
        save_file({k: v for k, v in tensors.items() if v is not None}, sae / "sae_weights.safetensors")

    return _sae(edit)


D, F = 16, 96


def _topk(k: Any, n: int = F) -> Callable[[Path, Path], Arguments]:
    def edit(sae: Path) -> None:
        changes = {"architecture": "topk", "k": k, "d_sae": n, "rescale_acts_by_decoder_norm": False}
        _edited(sae / "cfg.json", changes)
        drawn = torch.randn(n, D, generator=torch.Generator().manual_seed(0))
        shapes = {
            "W_dec": drawn,
            "W_enc": drawn.T.contiguous(),
            "b_dec": torch.zeros(D),
            "b_enc": torch.full((n,), 99.0),
        }
        save_file(shapes, sae / "sae_weights.safetensors")

    return _sae(edit)


def _sparsify(changes: dict[str, Any], **tensors: torch.Tensor) -> Callable[[Path, Path], Arguments]:
    def edit(sae: Path) -> None:
        shutil.rmtree(sae)
        sae.mkdir()
        (sae / "cfg.json").write_text(json.dumps({"d_in": D, "num_latents": F, "k": 4, "signed": False, **changes}))
        right = {"encoder.weight": torch.ones(F, D), "encoder.bias": torch.ones(F), "W_dec": torch.ones(F, D)}
        save_file({**right, "b_dec": torch.ones(D), **tensors}, sae / "sae.safetensors")

    return _sae(edit)


def _learned(changes: dict[str, Any], written: Any = None) -> Callable[[Path, Path], Arguments]:
    """An SAE of dictionary_learning."""

    def edit(sae: Path) -> None:
        shutil.rmtree(sae)
        sae.mkdir()
        trainer = {"dict_class": "AutoEncoderTopK", "activation_dim": D, "dict_size": F, "k": 4, **changes}
        (sae / "config.json").write_text(json.dumps({"trainer": trainer}))
        right = {"encoder.weight": torch.ones(F, D), "encoder.bias": torch.ones(F), "decoder.weight": torch.ones(D, F)}
        torch.save({**right, "b_dec": torch.ones(D)} if written is None else written, sae / "ae.pt")

    return _sae(edit)


def _deflated(sae: Path) -> None:
    """Packs `ae.pt` once more: zeros become a thousandth of their size."""
    with zipfile.ZipFile(sae / "ae.pt") as old:
        members = {info.filename: old.read(info) for info in old.infolist()}
    with zipfile.ZipFile(sae / "ae.pt", "w", zipfile.ZIP_DEFLATED) as new:
        for name, data in members.items():
            new.writestr(name, data)


def _bomb(tiny: Path, folder: Path) -> Arguments:
    arguments = _learned({"dict_size": 2**21}, {"encoder.weight": torch.zeros(2**21, D)})(tiny, folder)
    _deflated(folder / "sae")
    return arguments


SAES = [
    Hostile("an input of 10**18", _cfg(d_in=HUGE)),
    Hostile("10**18 features", _cfg(d_sae=HUGE)),
    Hostile("2**28 features", _cfg(d_sae=2**28)),
    Hostile("2**20 features by 2**20", _cfg(d_sae=2**20, d_in=2**20)),
    Hostile("features of text", _cfg(d_sae="many")),
    Hostile("features with a fraction", _cfg(d_sae=96.5)),
    Hostile("features of null", _cfg(d_sae=...)),
    Hostile("negative features", _cfg(d_sae=-96)),
    Hostile("no features", _cfg(d_sae=0)),
    Hostile("an input of 24", _cfg(d_in=24)),
    Hostile("an input of a list", _cfg(d_in=[16])),
    Hostile("no input", _cfg(d_in=None)),
    Hostile("an architecture nobody knows", _cfg(architecture="crosscoder9")),
    Hostile("an architecture of a number", _cfg(architecture=3)),
    Hostile("no architecture", _cfg(architecture=None)),
    Hostile("an activation of 10**18", _topk(HUGE)),
    Hostile("k above F", _topk(F + 1)),
    Hostile("k of zero", _topk(0)),
    Hostile("k below zero", _topk(-1)),
    Hostile("k of text", _topk("4")),
    Hostile("k with a fraction", _topk(4.5)),
    Hostile("k that is true", _topk(True)),
    Hostile("k of null", _topk(...)),
    Hostile("a normalisation nobody knows", _cfg(normalize_activations="none such")),
    Hostile("a normalisation of a number", _cfg(normalize_activations=3)),
    Hostile("metadata of a list", _cfg(metadata=[1])),
    Hostile("metadata of text", _cfg(metadata="none")),
    Hostile("a hook of no kind", _cfg(metadata={"hook_name": "blocks.x.y"})),
    Hostile("a hook of a number", _cfg(metadata={"hook_name": 7})),
    Hostile("a hook of another layer", _cfg(metadata={"hook_name": "blocks.99.hook_resid_post"})),
    Hostile(
        "a hook of a layer of 5,000 digits", _cfg(metadata={"hook_name": f"blocks.{'9' * 5000}.hook_resid_post"}), ""
    ),
    Hostile("a head that is not there", _cfg(metadata={"hook_head_index": 99})),
    Hostile("a head of text", _cfg(metadata={"hook_head_index": "first"})),
    Hostile("a negative head", _cfg(metadata={"hook_head_index": -1})),
    Hostile("a context of text", _cfg(metadata={"context_size": "long"})),
    Hostile("options of a list", _cfg(metadata={"model_from_pretrained_kwargs": [1]})),
    Hostile("centring of a number", _cfg(metadata={"model_from_pretrained_kwargs": 7})),
    Hostile("a version of no kind", _cfg(metadata={"sae_lens_version": "x"})),
    Hostile("a config of deep lists", _sae(lambda f: (f / "cfg.json").write_text('{"a":' + "[" * 100_000))),
    Hostile(
        "a config with 5,000 digits", _sae(lambda f: (f / "cfg.json").write_text('{"d_in":' + "9" * 5000 + "}")), ""
    ),
    Hostile("NaN in a config", _sae(lambda f: (f / "cfg.json").write_text('{"d_in": NaN}'))),
    Hostile("a config of nothing", _sae(lambda f: (f / "cfg.json").write_text("{}"))),
    Hostile("a threshold too short", _tensors(threshold=torch.ones(95))),
    Hostile("a threshold of rank 2", _tensors(threshold=torch.ones(96, 1))),
    Hostile("a threshold that is NaN", _tensors(threshold=torch.full((96,), torch.nan))),
    Hostile("no threshold", _tensors(threshold=None)),
    Hostile("decoder rows that are NaN", _tensors(W_dec=torch.full((96, 16), torch.nan))),
    Hostile("an encoder that is infinite", _tensors(W_enc=torch.full((16, 96), torch.inf))),
    Hostile("an encoder that is NaN", _tensors(W_enc=torch.full((16, 96), torch.nan))),
    Hostile("an encoder of another shape", _tensors(W_enc=torch.ones(16, 97))),
    Hostile("a tensor too many", _tensors(W_none=torch.ones(3))),
    Hostile("every feature active", _tensors(b_enc=torch.full((96,), 1e30))),
    Hostile("no weights", _sae(lambda f: (f / "sae_weights.safetensors").unlink())),
    Hostile("empty weights", _sae(lambda f: (f / "sae_weights.safetensors").write_bytes(b""))),
    Hostile("sparsify: k of F + 1", _sparsify({"k": F + 1})),
    Hostile("sparsify: k below zero", _sparsify({"k": -2})),
    Hostile("sparsify: k of text", _sparsify({"k": "x"})),
    Hostile("sparsify: k of a list", _sparsify({"k": [1]})),
    Hostile("sparsify: 2**28 features", _sparsify({"num_latents": 2**28})),
    Hostile("sparsify: a factor of 10**300", _sparsify({"num_latents": None, "expansion_factor": 1e300})),
    Hostile("sparsify: a factor of text", _sparsify({"num_latents": None, "expansion_factor": "x"})),
    Hostile("sparsify: an encoder of rank 3", _sparsify({}, **{"encoder.weight": torch.ones(F, D, 1)})),
    Hostile("sparsify: biases of another length", _sparsify({}, b_dec=torch.ones(3))),
    Hostile("sparsify: a skip of another shape", _sparsify({"transcode": True}, W_skip=torch.ones(3, 5))),
    Hostile("dictionary: 2**28 features", _learned({"dict_size": 2**28})),
    Hostile("dictionary: k below zero", _learned({"k": -2})),
    Hostile("dictionary: k of null", _learned({"k": None})),
    Hostile("dictionary: a list for a file", _learned({}, [1, 2])),
    Hostile("dictionary: texts for tensors", _learned({}, {"encoder.weight": "x", "b_dec": 3})),
    Hostile("dictionary: a tensor of one number", _learned({}, {"encoder.weight": torch.tensor(1.0)})),
    Hostile(
        "dictionary: a tensor that repeats one number",
        _learned({"dict_size": 2**28}, {"encoder.weight": torch.ones(1, 1).expand(2**28, D)}),
        "",
    ),
    Hostile(
        "dictionary: a sparse tensor",
        _learned(
            {},
            {
                "encoder.weight": torch.ones(F, D).to_sparse(),
                "decoder.weight": torch.ones(D, F),
                "bias": torch.ones(D),
                "encoder.bias": torch.ones(F),
            },
        ),
        "",
    ),
    Hostile("dictionary: a packed file", _bomb),
    Hostile(
        "dictionary: a trainer of a list",
        _sae(lambda f: ((f / "cfg.json").unlink(), (f / "config.json").write_text('{"trainer": ["dict_class"]}'))),
        "",
    ),
]


def _tokenizer(change: Callable[[dict[str, Any]], object]) -> Callable[[Path, Path], Arguments]:
    def make(tiny: Path, folder: Path) -> Arguments:
        shutil.copytree(tiny / "model_a", folder / "model")
        table = json.loads((tiny / "tokenizer.json").read_text())
        changed = change(table)
        (folder / "tokenizer.json").write_text(changed if isinstance(changed, str) else json.dumps(table))
        return [
            folder / "tokenizer.json" if one == tiny / "tokenizer.json" else one for one in _dictionary(tiny, folder)
        ]

    return make


def _added(**token: Any) -> Callable[[dict[str, Any]], object]:
    usual = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    return lambda table: table["added_tokens"].append({"id": 400, "content": "the", **usual, **token})


TOKENIZERS = [
    Hostile("nothing", _tokenizer(lambda table: "")),
    Hostile("a list", _tokenizer(lambda table: "[]")),
    Hostile("deep lists", _tokenizer(lambda table: "[" * 100_000)),
    Hostile("a model of no kind", _tokenizer(lambda table: table["model"].update(type="none such"))),
    Hostile("an id of 2**31", _tokenizer(lambda table: table["model"]["vocab"].update(zzz=2**31))),
    Hostile("an id below zero", _tokenizer(lambda table: table["model"]["vocab"].update(zzz=-1))),
    Hostile("an id of text", _tokenizer(lambda table: table["model"]["vocab"].update(zzz="x"))),
    Hostile("merges of tokens not there", _tokenizer(lambda table: table["model"].update(merges=[["q9", "z9"]]))),
    Hostile("an added token of 10**18", _tokenizer(_added(id=HUGE))),
    Hostile(
        "a pattern that is none",
        _tokenizer(
            lambda table: table.update(
                pre_tokenizer={"type": "Split", "pattern": {"Regex": "(("}, "behavior": "Isolated", "invert": False}
            )
        ),
        "",
    ),
    Hostile("no vocabulary", _tokenizer(lambda table: table["model"].update(vocab={}, merges=[]))),
    Hostile(
        "a text that becomes nothing",
        _tokenizer(
            lambda table: table.update(normalizer={"type": "Replace", "pattern": {"Regex": ".|\\n"}, "content": ""})
        ),
        "",
    ),
]


def _run_with(change: Callable[[Path], str]) -> Callable[[Path, Path], Arguments]:
    """A run folder in which one file is changed, and listed as it is then; `change` returns its name."""

    def make(tiny: Path, folder: Path) -> Arguments:
        for name in ("stores", "decoders", "tokens-*"):
            assert list((tiny / "run").glob(name))  # what does not travel
        shutil.copytree(tiny / "run", folder / "run", ignore=shutil.ignore_patterns("stores", "decoders", "tokens-*"))
        file = folder / "run" / change(folder / "run")
        crate = json.loads((folder / "run" / METADATA).read_text())
        entity = next(item for item in crate["@graph"] if item["@id"] == file.name)
        entity |= {"sha256": sha256_of_file(file), "contentSize": str(file.stat().st_size)}
        (folder / "run" / METADATA).write_text(json.dumps(crate))
        return ["report", "--from", folder / "run", "--out", folder / "made"]

    return make


def _results(path: str, value: Any) -> Callable[[Path, Path], Arguments]:
    """Results that state something else; `...` takes it out."""

    def change(run: Path) -> str:
        results = table = json.loads((run / "results.json").read_text())
        *before, last = path.split(".")
        for name in before:
            table = table[name]
        table[last] = value
        if value is ...:
            del table[last]
        (run / "results.json").write_text(json.dumps(results))
        return "results.json"

    return _run_with(change)


def _table(name: str, column: str, values: list[Any], kind: Any = None) -> Callable[[Path, Path], Arguments]:
    """A table of the run with other values in the first rows of a column."""

    def change(run: Path) -> str:
        table = parquet.read_table(run / name)
        place = table.column_names.index(column)
        changed = [*values, *table[column].to_pylist()[len(values) :]]
        array = pa.array(changed[: table.num_rows], kind or table.schema.field(column).type)
        parquet.write_table(table.set_column(place, column, array), run / name)
        return name

    return _run_with(change)


def _not_utf8(run: Path) -> str:
    table = parquet.read_table(run / "contexts.parquet")
    bad = pa.array([b"\xff"] * table.num_rows, pa.binary()).view(pa.string())
    parquet.write_table(table.set_column(6, "before", bad), run / "contexts.parquet")
    return "contexts.parquet"


SAE_0 = "model_a.saes.0"
RUNS = [
    Hostile("contexts with NaN", _table("contexts.parquet", "activation", [float("nan")]), "column activation"),
    Hostile("contexts with infinity", _table("contexts.parquet", "activation", [float("inf")]), "column activation"),
    Hostile("contexts below zero", _table("contexts.parquet", "activation", [-1.0]), "column activation"),
    Hostile("contexts without a value", _table("contexts.parquet", "activation", [None]), "column activation"),
    Hostile(
        "contexts of text for numbers",
        _table("contexts.parquet", "activation", ["x"] * 10**4, pa.string()),
        "must be float",
    ),
    Hostile("contexts of feature -1", _table("contexts.parquet", "feature", [-1]), "column feature"),
    Hostile("contexts of document -5", _table("contexts.parquet", "document", [-5]), "column document"),
    Hostile("contexts that are not UTF-8", _run_with(_not_utf8), "contexts.parquet is damaged"),
    Hostile("pairs without top tokens", _table("pairs.parquet", "top_tokens_a", [None]), "top_tokens_a"),
    Hostile("pairs with half a list", _table("pairs.parquet", "top_tokens_a", [["a", None]]), "top_tokens_a"),
    Hostile("pairs with NaN", _table("pairs.parquet", "r", [float("nan")]), "pairs.parquet"),
    *(
        Hostile(f"results with {path} = {str(value)[:20]}", _results(path, value))
        for path, values in {
            "corpus": (..., None, [], "x"),
            "corpus.n_tokens": (..., "many", -1, 1.5, True, 10**400, [1]),
            "corpus.context": (None, "x"),
            "corpus.rows": ("scattered", 3, ["packed"]),
            "corpus.bos_rule": (None, 7),
            "corpus.excluded": ({"none such": 3}, [1], {"bos": "x"}),
            "corpus.sinks": (None, 3, {}),
            "corpus.sinks.multiple": ("x", None),
            "corpus.b": ({}, 3),
            "read.versions": ([], {"torch": 2}),
            "read.controls": (3, {"twin": 3}, {"twin": {"a": []}}),
            "model_a": (..., [], None),
            "model_a.saes": ([], {}, {"0": None}, {"9": {}}),
            f"{SAE_0}.layer": ("x", -1, None),
            f"{SAE_0}.hook": (None, 3, ["x"]),
            f"{SAE_0}.fit": (None, [], {"loss": 3}, {"explained_variance": "x"}, {"tokens": "x"}),
            f"{SAE_0}.l0": ("x", None, float("nan"), []),
            f"{SAE_0}.dead_share": (None, "x", {}),
            f"{SAE_0}.remarks": (None, "x", [3]),
            f"{SAE_0}.activations_sha256": (None, 12),
            "grid": (..., [], {}),
            "controls": ([], {"pairs": []}, None),
            "summary": (3,),
            "fast": (None, "x"),
            "suite_sha256": (None, 3),
        }.items()
        for value in values
    ),
]


def _cache(name: str = "0_3.safetensors", **changed: torch.Tensor | None) -> Callable[[Path, Path], Arguments]:
    def make(tiny: Path, folder: Path) -> Arguments:
        (folder / "cache").mkdir()
        locations = torch.tensor([[0, 0, 1], [1, 2, 3]])
        right = {"locations": locations, "activations": torch.ones(2).half(), "tokens": torch.arange(8).reshape(2, 4)}
        tensors = {key: tensor for key, tensor in {**right, **changed}.items() if tensor is not None}
        save_file(tensors, folder / "cache" / name)
        return ["store", "import-delphi", folder / "cache", "--out", folder / "store"]

    return make


CACHES = [
    *(
        Hostile(f"{name} of {tensor.dtype} {list(tensor.shape)}", _cache(**{name: tensor}), "malformed")
        for name, tensors in {
            "locations": (
                torch.tensor(1),
                torch.ones(6).long(),
                torch.ones(2, 4).long(),
                torch.ones(1, 2, 3).long(),
                torch.ones(2, 3),
                torch.ones(2, 3).bool(),
                torch.full((2, 3), -1),
                torch.full((2, 3), 2**62),
                torch.ones(1, 3).long(),
            ),
            "activations": (torch.tensor(1.0), torch.ones(2, 1), torch.ones(2).long(), torch.ones(3)),
            "tokens": (
                torch.tensor(1),
                torch.arange(8),
                torch.ones(2, 4),
                torch.ones(2, 2, 2).long(),
                torch.ones(0, 4).long(),
            ),
        }.items()
        for tensor in tensors
    ),
    Hostile("activations that are NaN", _cache(activations=torch.full((2,), torch.nan)), "finite"),
    Hostile("activations below zero", _cache(activations=torch.full((2,), -1.0)), ">= 0"),
    Hostile("activations beyond float16", _cache(activations=torch.full((2,), 1e9)), "finite"),
    Hostile("no locations", _cache(locations=None), "it has no 'locations'"),
    Hostile("10**15 features", _cache(f"0_{10**15}.safetensors"), "features below"),
    Hostile("2**40 features", _cache(f"0_{2**40}.safetensors"), "features below"),
]


def _suite(old: str, new: str) -> Callable[[Path, Path], Arguments]:
    def make(tiny: Path, folder: Path) -> Arguments:
        text = (tiny / "tiny.toml").read_text()
        assert old in text
        (folder / "tiny.toml").write_text(text.replace(old, new, 1))
        return ["encode", folder / "tiny.toml", "--out", folder / "run"]

    return make


VALUES = ("1" + "0" * 400, "1" + "0" * 22, "-1", "2.5", "true", "nan", '"8"', "[8]")
NUMBERS = [
    Hostile(f"{new[:30]} in a suite", _suite(old, new), "digits" if len(new) > 400 else new.partition(" =")[0])
    for old, new in [
        *(("context = 32", f"context = {value}") for value in VALUES),
        *(("n_permutations = 99", f"seed = {value}") for value in VALUES),
        *(
            (old, f"{old.partition(' =')[0]} = {value}")
            for old in ("max_tokens = 4000", "batch = 8", "min_activations = 5", "svcca_k = 4", "untrained_seed = 1")
            for value in ("1" + "0" * 22, "-1", "2.5", "true")
        ),
        *((old, f"{old.partition(' =')[0]} = -1") for old in ("min_pairs = 10", "n_rematch = 5", "width = 4")),
        *(("svcca_k = 4", f"svcca_threshold = {value}") for value in ("nan", "inf", "0", "true", "1e400")),
        ("min_pairs = 10", "candidates = 1000000000"),
        ("min_pairs = 10", "top_tokens = 1000000000"),
        ("min_pairs = 10", "sink_norm = nan"),
        ("n_permutations = 99", "n_strata = 0"),
    ]
]


def _verified(results: str, path: str = "suite") -> Callable[[Path, Path], Arguments]:
    """A run folder with results of one's own, and a claim about them."""

    def make(tiny: Path, folder: Path) -> Arguments:
        (folder / "results.json").write_text(results)
        claim = {"id": "c", "statement": "s", "source": "s", "suite": "tiny", "path": path, "comparison": "equal"}
        lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in claim.items())
        (folder / "claims.toml").write_text(f"[[claim]]\n{lines}\nexpected = 1\n")
        return ["verify", folder, "--claims", folder / "claims.toml"]

    return make


WHOLE = json.dumps({**plain(results()), "suite": "tiny", "warnings": ["one"]})
VERIFIED = [
    Hostile("nothing", _verified("")),
    Hostile("a list", _verified("[]"), "must hold a JSON object"),
    Hostile("no suite", _verified("{}"), "it names no suite"),
    Hostile("a suite of a number", _verified('{"suite": 3}'), "it names no suite"),
    Hostile("deep tables", _verified('{"suite": ' + "[" * 100_000), "nested too deep"),
    Hostile("warnings of a number", _verified('{"suite": "tiny", "warnings": 3}'), "must be a list of texts"),
    Hostile("warnings of tables", _verified('{"suite": "tiny", "warnings": [{}]}'), "must be a list of texts"),
    Hostile("a place of 5,000 digits", _verified(WHOLE, f"warnings.{'9' * 5000}"), "no 'warnings.999"),
    Hostile("a place that is no digit", _verified(WHOLE, "warnings.\u00b2"), "results have no"),
]
TABLE = {
    "models": MODELS,
    "tokenizers": TOKENIZERS,
    "SAEs": SAES,
    "runs": RUNS,
    "caches": CACHES,
    "verified": VERIFIED,
    "numbers": NUMBERS,
}
"""Every hostile input of this module, by kind."""
