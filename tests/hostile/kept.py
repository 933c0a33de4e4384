"""Kept files with flipped bits, names and models that lead elsewhere, and tensors given to the ops."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from tests.hostile.rows import PASSES, Arguments, World, edit, row, rows
from tests.hostile.shown import _stores

# Kept files

FLIPS = """
import random, shutil
from pathlib import Path
from semconv import InputError
{setup}
random.seed(0)
content, tried, refused, same = path.read_bytes(), {tried}, 0, 0
before = read()
for _ in range(tried):
    damaged = bytearray(content)
    damaged[random.randrange(len(content))] ^= 1 << random.randrange(8)
    path.write_bytes(damaged)
    try:
        after = read()
    except InputError:
        refused += 1
        continue
    assert equal(before, after), "a flipped bit was read as if it were there"
    same += 1
assert refused > 0.9 * tried, (refused, tried)
print("inputs", tried, "refused", refused, "same", same)
"""


SEALED = "from semconv.system.files import read_sealed as reader"
TASK = """
from semconv.runs.task_cache import _read
def reader(path):
    kept = _read(path, None)
    if kept is None:
        raise InputError("damaged")
    return {name: torch.from_numpy(array) for name, array in kept[1].items()}, kept[0]
"""


@rows(
    "flipped bit",
    {
        "tokens": (("tokens-*.safetensors", SEALED), "refused"),
        "decoder rows": (("decoders/a/*.safetensors", SEALED), "refused"),
        "finished tasks": (("tasks/grid.0x2.observed.safetensors", TASK), "refused"),
    },
    code=PASSES,
)
def in_kept_tensors(w: World, what: tuple[str, str]) -> Arguments:
    pattern, reader = what
    path = shutil.copy(next(w.run.glob(pattern)), w.folder / "kept.safetensors")
    setup = f"""
import torch
{reader}
path = Path({str(path)!r})
read = lambda: reader(path)
def equal(a, b):
    return a[1] == b[1] and a[0].keys() == b[0].keys() and all(torch.equal(a[0][k], b[0][k]) for k in a[0])
"""
    (w.folder / "flips.py").write_text(FLIPS.format(setup=setup, tried=400))
    return [w.folder / "flips.py"]


@row("flipped bit", "refused", code=PASSES)
def in_a_store(w: World) -> Arguments:
    store = shutil.copytree(_stores(w)[0], w.folder / "store")
    setup = f"""
import torch
from semconv.core.activation_store import ActivationStore
path = Path({str(store)!r}) / "shard-00000.safetensors"
def read():
    store = ActivationStore(path.parent)
    store.verify()
    return store.load().sha256
equal = lambda a, b: a == b
"""
    (w.folder / "flips.py").write_text(FLIPS.format(setup=setup, tried=400))
    return [w.folder / "flips.py"]


@row("flipped bit", "refused", code=PASSES, slow=True, seconds=1200)
def in_an_archive(w: World) -> Arguments:
    setup = f"""
import json
from semconv.pipeline.rebuild_archive import rebuild
from semconv.runs.archive import opened
path = Path(shutil.copy({str(w.archive)!r}, "sent.zip"))
def read():
    with opened(path) as folder:
        return (folder / "results.json").read_bytes(), (folder / "nulls.safetensors").read_bytes()
equal = lambda a, b: a == b
"""
    (w.folder / "flips.py").write_text(FLIPS.format(setup=setup, tried=2000))
    return [w.folder / "flips.py"]


@rows(
    "numbers of a store",
    {kind: (kind, f"indices must be torch.uint16, got torch.{kind}") for kind in ("int64", "float32", "complex64")},
)
def with_indices_of(w: World, kind: str) -> Arguments:
    import torch
    from safetensors.torch import save_file

    from semconv.system.files import read_tensors

    store = shutil.copytree(_stores(w)[0], w.folder / "store")
    shard = store / "shard-00000.safetensors"
    tensors, metadata = read_tensors(shard)
    tensors["indices"] = tensors["indices"].to(getattr(torch, kind))
    save_file(tensors, shard, metadata)

    def change(manifest: Any) -> None:
        manifest["shards"][0]["sha256"] = hashlib.sha256(shard.read_bytes()).hexdigest()

    edit(store / "manifest.json", change)
    return ["store", "verify", store]


# Names and models that lead elsewhere

ELSEWHERE = "names and models that lead elsewhere"


@rows(
    ELSEWHERE,
    {
        name.strip() or repr(name): (name, "name")
        for name in ("../../x", "/tmp/x", "..", "a/b", "a\\\\b", "a\\nb", "\\u2028", "", " ", "n" * 300)
    },
)
def a_model_called(w: World, name: str) -> Arguments:
    return ["reproduce", w.suite_with('name = "a"\n', f'name = "{name}"\n'), "--out", w.folder / "out"]


@row(ELSEWHERE, "a pickle, which could run code and is not read")
def weights_in_a_pickle(w: World) -> Arguments:
    folder = _copied_model(w)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    return _encode_of(w, folder)


@rows(
    ELSEWHERE,
    {
        "a neighbour": ("../model_b/model.safetensors", "names the file '../model_b"),
        "the machine's files": ("/etc/passwd", "names the file '/etc/passwd'"),
        "nothing": ("absent.safetensors", "lie in the same folder"),
    },
)
def an_index_of_weights_that_names(w: World, name: str) -> Arguments:
    folder = _copied_model(w)
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    index = {"weight_map": {"model.norm.weight": name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return _encode_of(w, folder)


def _copied_model(w: World) -> Path:
    return shutil.copytree(w.suite.with_name("model_a"), w.folder / "model")


def _encode_of(w: World, model: Path) -> Arguments:
    return ["encode", w.suite_with(str(w.suite.with_name("model_a")), str(model)), "--out", w.folder / "out"]


# Tensors given to the ops

OPS = """
import torch
from semconv import _C
g = torch.Generator().manual_seed(0)
def csr(n=50, f=20):
    x = torch.rand(n, f, generator=g) * (torch.rand(n, f, generator=g) < 0.3)
    s = x.to_sparse_csr()
    return [s.crow_indices(), s.col_indices().to(torch.int32), s.values()]
a, b, f, k = csr(), csr(), 20, 1
indptr, indices, values = a
{change}
try:
    out = torch.ops.semconv.best_matches(*a, f, *b, f, k)
except (ValueError, NotImplementedError, TypeError, IndexError) as error:
    print("refused:", str(error).splitlines()[0])
else:
    print("answered")
"""


@rows(
    "tensors of the ops",
    {
        "an index beyond the features": ("indices[3] = 20", "refused"),
        "a negative index": ("indices[3] = -1", "refused"),
        "a row pointer beyond the entries": ("indptr[-1] += 1", "refused"),
        "a row pointer far beyond": ("indptr[-1] = 2**62", "refused"),
        "falling row pointers": ("indptr[3] = indptr[6]; indptr[6] = 0", "refused"),
        "rows that do not begin at 0": ("indptr[0] = 1", "refused"),
        "NaN": ("values[0] = float('nan')", "refused"),
        "infinity": ("values[0] = float('inf')", "refused"),
        "a negative value": ("values[0] = -1", "refused"),
        "an index twice": ("a[1] = torch.zeros_like(indices)", "refused"),
        "meta values": ("a[2] = values.to('meta')", "refused"),
        "meta indices": ("a[1] = indices.to('meta')", "refused"),
        "all meta beside real ones": ("a[:] = [part.to('meta') for part in a]", "refused"),
        "64-bit indices": ("a[1] = indices.long()", "refused"),
        "double values": ("a[2] = values.double()", "refused"),
        "complex values": ("a[2] = values.to(torch.complex64)", "refused"),
        "a matrix of values": ("a[2] = values[None]", "refused"),
        "sparse values": ("a[2] = values.to_sparse()", "refused"),
        "other numbers of tokens": ("a[0] = indptr[:-1]", "refused"),
        "no features": ("f = 0", "refused"),
        "negative features": ("f = -1", "refused"),
        "features beyond memory": ("f = 2**62", "refused"),
        "k of 0": ("k = 0", "refused"),
        "k beyond the features": ("k = 21", "refused"),
        "k beyond memory": ("k = 2**62", "refused"),
        "no tokens": ("a[:] = b[:] = [torch.zeros(1, dtype=torch.int64), indices[:0], values[:0]]", "refused|answered"),
        "no row pointer": ("a[0] = indptr[:0]", "refused"),
    },
    code=PASSES,
)
def of_best_matches(w: World, change: str) -> Arguments:
    (w.folder / "op.py").write_text(OPS.format(change=change))
    return [w.folder / "op.py"]
