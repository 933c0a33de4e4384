"""The store: round trip, shard boundaries, resume, and refusal of anything damaged."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from semconv import ActivationStore, InputError, SparseActivations, StoreWriter, best_matches
from semconv.system.files import sha256_of_file
from semconv.system.processes import Ranks
from tests._helpers.stores import N_FEATURES, N_TOKENS, SHARD, identity, write
from tests.conftest import random_activations, requires_models, semconv_cli


@pytest.fixture
def acts() -> SparseActivations:
    return random_activations(0, N_TOKENS, N_FEATURES)


@pytest.fixture
def store(tmp_path: Path, acts: SparseActivations) -> ActivationStore:
    return write(tmp_path / "store", acts)


def test_round_trip_and_shard_sizes(store: ActivationStore, acts: SparseActivations):
    assert [s.n_tokens for s in store.shards()] == [32, 32, 32, 4]
    assert store.load().sha256 == acts.sha256
    assert store.verify() == acts.nnz


@pytest.mark.parametrize("chunk", [1, 32, 33, 100])
def test_the_chunk_size_cannot_be_seen_in_the_bytes(
    tmp_path: Path, store: ActivationStore, acts: SparseActivations, chunk: int
):
    other = write(tmp_path / "other", acts, chunk)
    assert other.sha256 == store.sha256
    names = sorted(p.name for p in store.path.iterdir())
    assert names == sorted(p.name for p in other.path.iterdir())
    for name in names:
        if name != "manifest.json":
            assert (store.path / name).read_bytes() == (other.path / name).read_bytes()


def test_best_matches_of_stores_equals_that_of_activations(
    tmp_path: Path, store: ActivationStore, acts: SparseActivations
):
    b = random_activations(1, N_TOKENS, N_FEATURES)
    from_stores, direct = best_matches(store, write(tmp_path / "b", b), k=2), best_matches(acts, b, k=2)
    assert torch.equal(from_stores.a_to_b.index, direct.a_to_b.index)
    assert torch.equal(from_stores.a_to_b.r, direct.a_to_b.r)


NORMS = torch.rand(N_TOKENS, generator=torch.Generator().manual_seed(3)) * 9


def write_with_norms(path: Path, acts: SparseActivations, chunk: int = 7) -> ActivationStore:
    writer, position = StoreWriter(path, identity(), norms=True), 0
    for part in acts.to_dense().split(chunk):
        writer.append(SparseActivations.from_dense(part), position, NORMS[position : position + len(part)])
        position += len(part)
    return ActivationStore(path)


def test_norms_of_the_stream_are_kept_beside_the_activations(tmp_path: Path, acts: SparseActivations):
    store, other = (write_with_norms(tmp_path / str(chunk), acts, chunk) for chunk in (7, 33))
    loaded, norms = store.load_with_norms()
    assert norms is not None
    assert torch.equal(norms, NORMS)
    assert loaded.sha256 == acts.sha256 == store.load().sha256
    assert store.sha256 == other.sha256
    assert store.verify() == acts.nnz
    assert StoreWriter(store.path, identity()).complete


def test_a_store_without_norms_is_written_again_where_norms_are_wanted(store: ActivationStore, acts: SparseActivations):
    assert store.load_with_norms()[1] is None
    assert StoreWriter(store.path, identity()).complete
    writer = StoreWriter(store.path, identity(), norms=True)
    assert writer.tokens_written == 0
    with pytest.raises(InputError, match="to hold the norm of the stream at every token, got a chunk without norms"):
        writer.append(acts, 0)
    writer.append(acts, 0, NORMS)
    again, norms = ActivationStore(store.path).load_with_norms()
    assert norms is not None
    assert torch.equal(norms, NORMS)
    assert again.sha256 == acts.sha256


def test_norms_that_are_none_are_refused(tmp_path: Path, acts: SparseActivations):
    told = r"norms must be float32 \[100\], finite and >= 0, got torch.float32 \[100\]"
    for wrong in (-NORMS, NORMS / 0, NORMS.double(), NORMS[1:]):
        with pytest.raises(
            InputError, match=told if wrong.shape == (100,) and wrong.dtype == torch.float32 else "norms"
        ):
            StoreWriter(tmp_path / "s", identity()).append(acts, 0, wrong)
    writer = StoreWriter(tmp_path / "s", identity())
    writer.append(acts.rows(0, 5), 0, NORMS[:5])
    with pytest.raises(InputError, match="all chunks of a shard have norms, or none has, got 1 of 2"):
        writer.append(acts.rows(5, 50), 5)


def test_resume_continues_after_the_last_good_shard(tmp_path: Path, store: ActivationStore, acts: SparseActivations):
    path = tmp_path / "resumed"
    writer = StoreWriter(path, identity())
    writer.append(SparseActivations.from_dense(acts.to_dense()[:70]), 0)
    with pytest.raises(InputError, match="not complete: 2 of 4 shards"):
        ActivationStore(path)
    writer = StoreWriter(path, identity())
    assert writer.tokens_written == 64
    # A batch that begins inside what is already written: those tokens are passed over.
    writer.append(SparseActivations.from_dense(acts.to_dense()[60:]), 60)
    assert writer.complete
    assert ActivationStore(path).sha256 == store.sha256


def test_an_altered_shard_alone_is_written_again(store: ActivationStore, acts: SparseActivations):
    before = store.sha256
    (store.path / "shard-00001.safetensors").write_bytes(b"junk")
    writer = StoreWriter(store.path, identity())
    assert writer.tokens_written == N_TOKENS - SHARD
    assert [writer.wants(*span) for span in ((0, 32), (31, 33), (40, 41), (64, 100))] == [False, True, True, False]
    writer.append(acts, 0)
    assert ActivationStore(store.path).sha256 == before


@pytest.mark.parametrize("size", [2, 3, 7])
def test_several_writers_make_the_store_of_one(
    tmp_path: Path, store: ActivationStore, acts: SparseActivations, size: int
):
    path = tmp_path / "shared"
    writers = [StoreWriter(path, identity(), Ranks(rank, size)) for rank in range(size)]
    for writer in reversed(writers):
        writer.append(acts, 0)
        assert writer.done
    with pytest.raises(InputError, match=r"no manifest.json"):
        ActivationStore(path)
    writers[0].finish()
    assert sorted(p.name for p in path.iterdir()) == sorted(p.name for p in store.path.iterdir())
    assert (path / "manifest.json").read_bytes() == (store.path / "manifest.json").read_bytes()
    assert ActivationStore(path).verify() == acts.nnz


def test_what_several_writers_left_is_finished_by_any_number(
    tmp_path: Path, store: ActivationStore, acts: SparseActivations
):
    path = tmp_path / "killed"
    killed = [StoreWriter(path, identity(), Ranks(rank, 2)) for rank in range(2)]
    killed[1].append(acts, 0)  # shards 2 and 3; the other never came to write
    with pytest.raises(InputError, match="not complete: 2 of 4 shards written"):
        killed[0].finish()
    again = [StoreWriter(path, identity(), Ranks(rank, 3)) for rank in range(3)]
    assert [writer.wants(0, 100) for writer in again] == [False, True, True]
    again[1].append(acts, 0)
    last = StoreWriter(path, identity())
    assert (last.tokens_written, last.complete) == (N_TOKENS - SHARD, False)
    last.append(acts, 0)
    assert ActivationStore(path).sha256 == store.sha256
    assert not list(path.glob("manifest.part-*"))


def test_a_damaged_or_foreign_part_is_refused(tmp_path: Path, acts: SparseActivations):
    path = tmp_path / "parts"
    StoreWriter(path, identity(), Ranks(1, 2)).append(acts, 0)
    with pytest.raises(InputError, match="differs in hook"):
        StoreWriter(path, identity(hook="blocks.1.hook_resid_post"))
    part = path / "manifest.part-1-of-2.json"
    for damage in ("{", "[]", '{"format": "other", "version": 1}'):
        part.write_text(damage)
        with pytest.raises(InputError, match=r"manifest.part-1-of-2.json is damaged: .*; remove it"):
            StoreWriter(path, identity())


def test_gaps_and_overruns_are_refused(tmp_path: Path, acts: SparseActivations):
    writer = StoreWriter(tmp_path / "s", identity())
    with pytest.raises(InputError, match="must end at or before token 100, got tokens 5 to 105"):
        writer.append(acts, 5)
    with pytest.raises(InputError, match="must continue at token 0 of 100, got tokens 5 to 100"):
        writer.append(acts.rows(5, 100), 5)
    with pytest.raises(InputError, match="30 features in float32, got 31"):
        writer.append(random_activations(0, 10, 31), 0)
    with pytest.raises(InputError, match="float32, got 30 in torch.float16"):
        writer.append(random_activations(0, 10, 30, dtype=torch.float16), 0)


def test_a_manifest_from_before_precisions_were_named_is_float32(store: ActivationStore):
    path = store.path / "manifest.json"
    manifest = json.loads(path.read_text())
    for name in ("precision", "model_precision"):
        del manifest["identity"][name]
    path.write_text(json.dumps(manifest))
    assert ActivationStore(store.path).identity == identity()
    assert StoreWriter(store.path, identity()).complete


def test_another_identity_is_refused(store: ActivationStore):
    with pytest.raises(InputError, match="differs in hook"):
        StoreWriter(store.path, identity(hook="blocks.1.hook_resid_post"))


@pytest.mark.parametrize("changes", [{"tokens_sha256": "other"}])
def test_stores_of_different_tokens_refuse_to_correlate(
    tmp_path: Path, store: ActivationStore, acts: SparseActivations, changes: dict[str, str]
):
    with pytest.raises(InputError, match="different tokens"):
        best_matches(store, write(tmp_path / "b", acts, **changes))


def _truncate(store: ActivationStore) -> None:
    file = store.path / "shard-00002.safetensors"
    file.write_bytes(file.read_bytes()[:-10])


def _flip_a_bit(store: ActivationStore) -> None:
    file = store.path / "shard-00002.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))


def _remove(store: ActivationStore) -> None:
    (store.path / "shard-00002.safetensors").unlink()


def _edit_manifest(**changes: object):
    def edit(store: ActivationStore) -> None:
        path = store.path / "manifest.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return edit


def _rewrite_shard(change):
    """A shard whose checksum is right and whose content is not: what a faulty writer would leave."""

    def rewrite(store: ActivationStore) -> None:
        file, manifest = store.path / "shard-00002.safetensors", store.path / "manifest.json"
        tensors = load_file(file)
        change(tensors)
        save_file(tensors, file)
        content = json.loads(manifest.read_text())
        content["shards"][2]["sha256"] = sha256_of_file(file)
        manifest.write_text(json.dumps(content))

    return rewrite


def _unsort(tensors: dict[str, torch.Tensor]) -> None:
    tensors["indices"] = tensors["indices"].int().flip(0).to(torch.uint16)


def _indices_as(kind: torch.dtype) -> Callable[[dict[str, torch.Tensor]], None]:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors["indices"] = tensors["indices"].to(torch.int32).to(kind)

    return change


def _negate(tensors: dict[str, torch.Tensor]) -> None:
    tensors["values"] = -tensors["values"]


def _forget_values(tensors: dict[str, torch.Tensor]) -> None:
    del tensors["values"]


def _wrong_max(tensors: dict[str, torch.Tensor]) -> None:
    tensors["feature_max"] = tensors["feature_max"] + 1


def _negative_norms(tensors: dict[str, torch.Tensor]) -> None:
    tensors["stream_norm"] = -torch.ones(SHARD)


def _few_norms(tensors: dict[str, torch.Tensor]) -> None:
    tensors["stream_norm"] = torch.ones(SHARD - 1)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_truncate, "shard-00002.safetensors is altered"),
        (_flip_a_bit, "shard-00002.safetensors is altered"),
        (_remove, "is missing shard-00002.safetensors"),
        (_edit_manifest(version=2), "store version 2, this semconv reads version 1"),
        (_edit_manifest(format="zip"), "is no manifest"),
        (_edit_manifest(shards=[{"file": "x"}]), "is damaged"),
        (_edit_manifest(shards=[{"file": "x"}]), "manifest.json is damaged: shards.0.sha256 in it is missing"),
        (_edit_manifest(identity=3), "manifest.json is damaged: identity in it must be a table, got 3"),
        (_edit_manifest(versions={"torch": 2}), "versions.torch in it must be text, got 2"),
        (lambda s: (s.path / "manifest.json").write_text("{"), "not JSON"),
        (lambda s: (s.path / "manifest.json").unlink(), "is no activation store"),
        (_rewrite_shard(_unsort), "strictly increasing"),
        (_rewrite_shard(_negate), "finite and >= 0"),
        *(
            (_rewrite_shard(_indices_as(kind)), f"indices must be torch.uint16, got {kind}")
            for kind in (torch.int64, torch.float32, torch.complex64, torch.int16)
        ),
        (_rewrite_shard(_forget_values), "values"),
        (_rewrite_shard(_wrong_max), "feature_max"),
        (_rewrite_shard(_negative_norms), "stream_norm must be float32 [32], finite and >= 0"),
        (_rewrite_shard(_few_norms), "got torch.float32 [31]"),
    ],
)
def test_damage_is_one_sentence_and_exit_code_2(store: ActivationStore, damage, message: str):
    damage(store)
    with pytest.raises(InputError, match=re.escape(message)):
        ActivationStore(store.path).verify()
    done = semconv_cli("store", "verify", store.path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_store_verify_of_a_good_store(store: ActivationStore):
    done = semconv_cli("store", "verify", store.path, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout) == {
        "path": str(store.path),
        "n_tokens": N_TOKENS,
        "n_features": N_FEATURES,
        "nnz": store.verify(),
        "sha256": store.sha256,
    }


@requires_models
@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small tmpfs needs root")
def test_a_full_disk_is_one_sentence_and_the_same_command_continues(tiny_suite: Path, tiny_run: Path, tmp_path: Path):
    mount, claims = tmp_path / "small", tiny_suite.with_name("claims.toml")
    mount.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(mount)], capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a tmpfs")
    try:
        done = semconv_cli("reproduce", tiny_suite, "--out", mount / "run", "--claims", claims, "--anyway")
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        assert "No space left" in done.stderr.strip().splitlines()[-1]
        files = [p.name for p in mount.rglob("*") if p.is_file()]
        assert files
        assert not [name for name in files if "partial" in name]
        subprocess.run(["mount", "-o", "remount,size=50m", str(mount)], check=True)
        again = ("reproduce", tiny_suite, "--out", mount / "run", "--claims", claims, "--anyway")
        assert semconv_cli(*again).returncode == 0
        assert (mount / "run" / "results.json").read_bytes() == (tiny_run / "results.json").read_bytes()
    finally:
        subprocess.run(["umount", str(mount)], check=True)


@pytest.mark.slow
def test_a_file_that_cannot_be_written_is_an_oserror_and_leaves_nothing(tmp_path: Path):
    code = (
        "import resource, sys, torch\n"
        "from pathlib import Path\n"
        "from semconv.system.files import write_tensors\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "try:\n"
        "    write_tensors(Path(sys.argv[1]), {'x': torch.zeros(10000)})\n"
        "except OSError as error:\n"
        "    print('OSError', error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "x.safetensors")], capture_output=True, text=True)
    assert done.stdout.startswith("OSError"), done.stderr
    assert list(tmp_path.iterdir()) == []
