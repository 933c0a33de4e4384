"""Coverage-guided fuzzing of the store reader (atheris): a damaged store must raise InputError and nothing else.

Every input flips, cuts or replaces bytes of the manifest or of a shard of a small store; half of them repair the
checksum, so that the code behind it is reached too. What is read without an error must satisfy the format. Run by
scripts/checks/fuzz.sh.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["semconv"]):
    import torch

    import semconv
    from semconv import ActivationStore, InputError, SparseActivations, StoreIdentity, StoreWriter

FOLDER = Path(tempfile.mkdtemp(prefix="semconv-fuzz-"))
GOOD, BAD = FOLDER / "good", FOLDER / "bad"


def make_store() -> None:
    """Writes a store of two shards."""
    g = torch.Generator().manual_seed(0)
    acts = SparseActivations.from_dense(torch.rand(12, 6, generator=g).sub(0.5).relu().half())
    writer = StoreWriter(
        GOOD, StoreIdentity("m", "0", "s", "1", "blocks.0.hook_resid_post", "2", 12, 6, shard_tokens=8)
    )
    writer.append(acts, 0)


ODD = (b"1e9", b"1.5", b"-1", b"null", b"[]", b'"x"', b"99999999999999999999", b"true", b"NaN", b"{}", b"[" * 5000)


def damage(data: atheris.FuzzedDataProvider, original: bytes) -> bytes:
    """Returns the bytes with up to four edits."""
    out = bytearray(original)
    for _ in range(data.ConsumeIntInRange(1, 4)):
        at = data.ConsumeIntInRange(0, len(out))
        kind = data.ConsumeIntInRange(0, 4)
        if kind == 0:
            del out[at:]
        elif kind == 1:
            out[at:at] = data.ConsumeBytes(data.ConsumeIntInRange(1, 8))
        elif kind == 2:
            del out[at : at + data.ConsumeIntInRange(1, 8)]
        elif kind == 3:  # one number becomes something odd
            numbers = list(re.finditer(rb"\d+", out))
            if numbers:
                number = numbers[at % len(numbers)]
                out[number.start() : number.end()] = ODD[data.ConsumeIntInRange(0, len(ODD) - 1)]
        elif at < len(out):
            out[at] = data.ConsumeIntInRange(0, 255)
    return bytes(out)


def test_one_input(raw: bytes) -> None:
    data = atheris.FuzzedDataProvider(raw)
    names = sorted(path.name for path in GOOD.iterdir())
    name = names[data.ConsumeIntInRange(0, len(names) - 1)]
    for path in GOOD.iterdir():
        (BAD / path.name).write_bytes(path.read_bytes())
    content = damage(data, (GOOD / name).read_bytes())
    (BAD / name).write_bytes(content)
    if name != "manifest.json" and data.ConsumeBool():
        manifest = json.loads((BAD / "manifest.json").read_text())
        for shard in manifest["shards"]:
            if shard["file"] == name:
                shard["sha256"] = hashlib.sha256(content).hexdigest()
        (BAD / "manifest.json").write_text(json.dumps(manifest))
    try:
        store = ActivationStore(BAD)
        acts = store.load()
    except InputError:
        return
    assert acts.n_tokens == store.n_tokens
    assert acts.n_features == store.n_features
    semconv.best_matches(acts, acts)  # refuses what breaks the format


def main() -> None:
    make_store()
    BAD.mkdir()
    atheris.Setup(sys.argv, test_one_input)
    try:
        atheris.Fuzz()
    finally:
        shutil.rmtree(FOLDER, ignore_errors=True)


if __name__ == "__main__":
    main()
