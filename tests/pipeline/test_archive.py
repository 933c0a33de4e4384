"""Crate and archive of a run: complete, the same bytes twice, rebuilt without models, and refused when touched."""

from __future__ import annotations

import json
import math
import os
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet
from safetensors.torch import load_file, save_file

from semconv import InputError
from semconv.pipeline import rebuild_archive
from semconv.pipeline.rebuild_archive import TOLD, check_scores, check_told, rebuild, write_rebuilt
from semconv.results.read import read_results
from semconv.results.schema import Score
from semconv.runs.archive import opened, write_archive
from semconv.runs.crate import METADATA, check_crate, environment
from semconv.suite.config import suite_from_json, suite_in_words
from tests._helpers.commands import assert_one_sentence
from tests._helpers.run_folders import listed_again, zipped
from tests.conftest import portable, requires_models, semconv_cli

pytestmark = requires_models


@pytest.fixture(scope="module")
def archive(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("archive") / "tiny.zip"
    write_archive(tiny_run, path)
    return path


@pytest.fixture
def unpacked(archive: Path, tmp_path: Path) -> Path:
    with zipfile.ZipFile(archive) as file:
        file.extractall(tmp_path / "unpacked")
    return tmp_path / "unpacked"


def test_the_crate_names_every_portable_file_what_made_it_and_when(tiny_run: Path):
    graph = {item["@id"]: item for item in json.loads((tiny_run / METADATA).read_text())["@graph"]}
    run, root = graph["#run"], graph["./"]
    assert {part["@id"] for part in root["hasPart"]} == portable(tiny_run)
    assert run["@type"] == "CreateAction"
    assert run["instrument"] == {"@id": "#semconv"}
    assert run["startTime"] <= run["endTime"]
    assert {e["@id"] for e in run["object"]} == {"suite.json", "claims.toml"}
    assert graph["#package/torch"]["softwareVersion"]
    about = environment(tiny_run)
    assert float(about["seconds/compare"]) > 0
    kinds = {name.partition("/")[2] for name in about if name.startswith("task seconds/")}
    assert kinds >= {"compare", "rematch", "same_token", "rematch scores", "bootstrap", "seeds", "best r", "contexts"}
    assert about["tasks done/rematch"] == "5 of 5"  # two layer pairs, the floor, and the strongest pairs beside it
    assert int(about["peak_memory_mib"]) > 100
    assert about["commit"]


def test_an_archive_holds_no_activations_and_is_the_same_bytes_twice(archive: Path, tiny_run: Path, tmp_path: Path):
    write_archive(tiny_run, tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == archive.read_bytes()
    with zipfile.ZipFile(archive) as file:
        names = set(file.namelist())
    assert names == {METADATA, *portable(tiny_run)}
    assert not [name for name in names if name.startswith(("stores", "tokens", "decoders/"))]


def test_results_are_rebuilt_from_the_archive_alone_and_are_the_same_bytes(
    archive: Path, tiny_run: Path, tmp_path: Path
):
    done = semconv_cli("report", "--from", archive, "--out", tmp_path / "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "the same bytes as in the archive" in done.stdout
    for name in ("results.json", "report.md", "index.html", "figures/rsa.png", "nulls.safetensors"):
        assert (tmp_path / "out" / name).read_bytes() == (tiny_run / name).read_bytes(), name


def test_scores_follow_from_the_decoder_rows(tiny_run: Path):
    suite, results = suite_from_json(tiny_run / "suite.json"), read_results(tiny_run)
    with opened(tiny_run) as folder:
        _, nulls = rebuild(folder)
    assert check_scores(tiny_run, suite, results, nulls, thorough=True) < 1e-12
    pair = results.grid["0x2"]
    score = pair.measures["rsa"]
    assert isinstance(score, Score)
    measures = {**pair.measures, "rsa": replace(score, score=score.score + 1e-6)}
    results = replace(results, grid={**results.grid, "0x2": replace(pair, measures=measures)})
    with pytest.raises(InputError, match="rsa of layers 0x2 is .* 1e-06 away from what its decoder rows give"):
        check_scores(tiny_run, suite, results, nulls)


def test_draws_of_shuffle_are_taken_again(tiny_run: Path, unpacked: Path):
    """Some of them, others every time, or all; and there are as many as the suite says."""
    suite, results = suite_from_json(tiny_run / "suite.json"), read_results(tiny_run)
    with opened(tiny_run) as folder:
        _, nulls = rebuild(folder, thorough=True)
    name = "0x2.shuffle.rsa"
    one, every = nulls[name].clone(), nulls[name] + 1e-6
    one[len(one) // 2] += 1e-6
    for forged, thorough in ((one, True), (every, True), (every, False)):
        other = {**nulls, name: forged}
        with pytest.raises(InputError, match="draws of shuffle that were kept for rsa of layers 0x2 are 1e-06 away"):
            check_scores(tiny_run, suite, results, other, thorough)
    stated = replace(suite, null=replace(suite.null, n_permutations=1_000_000))
    with pytest.raises(InputError, match=r"\d+ draws of shuffle were kept for layers .*, the suite says 1000000"):
        check_scores(tiny_run, stated, results, nulls)


@pytest.mark.parametrize("values", [{"pairs": 70}, {"mean_r": 0.987}, {"mean_r": None}, {"mean_r": float("nan")}])
def test_numbers_of_pairs_are_those_of_the_pairs(values: dict[str, Any], unpacked: Path):
    results = json.loads((unpacked / "results.json").read_text())
    rebuild(unpacked)
    results["grid"]["0x2"] |= values
    (unpacked / "results.json").write_text(json.dumps(results))
    with pytest.raises(InputError, match=r"grid in results\.json of .* is not what follows|holds a number|NaN is no"):
        rebuild(unpacked)


def test_pairs_of_saes_that_are_not_compared_are_refused(unpacked: Path):
    table = parquet.read_table(unpacked / "pairs.parquet")
    place = table.column_names.index("sae_a")
    other = table.slice(0, 3).set_column(place, table.field("sae_a"), [["7"] * 3])
    parquet.write_table(pa.concat_tables([table, other]), unpacked / "pairs.parquet")
    with pytest.raises(InputError, match="holds 3 pairs of SAEs that are not compared"):
        rebuild(unpacked)


@pytest.mark.slow
def test_a_forged_report_or_page_is_refused_where_the_same_commit_made_it(
    unpacked: Path, monkeypatch: pytest.MonkeyPatch
):
    results, nulls = rebuild(unpacked)
    for name in ("index.html", "report.md"):
        monkeypatch.setattr(rebuild_archive, "code_commit", lambda: "c0ffee")
        honest = (unpacked / name).read_text()
        (unpacked / name).write_text(honest + "better")
        with pytest.raises(InputError, match=f"{name} in .* is not what its results give"):
            check_told(unpacked, results, nulls, "c0ffee")
        assert "not checked" in check_told(unpacked, results, nulls, "another")
        monkeypatch.setattr(rebuild_archive, "code_commit", lambda: "c0ffee+changes")
        assert "not checked" in check_told(unpacked, results, nulls, "c0ffee+changes")
        (unpacked / name).write_text(honest)
    monkeypatch.setattr(rebuild_archive, "code_commit", lambda: "c0ffee")
    assert check_told(unpacked, results, nulls, "c0ffee") == "what the results give, to the byte"


@pytest.mark.slow
def test_a_bundle_verifies(archive: Path, tiny_suite: Path):
    """By its own claims, since none of those that ship is about this suite, or by others."""
    for options in ((), ("--claims", tiny_suite.with_name("claims.toml"))):
        done = semconv_cli("verify", "--bundle", archive, *options)
        assert done.returncode == 0, done.stderr
        assert "1 claims pass, 0 fail" in done.stdout
        assert "the results follow from the statistics beside them" in done.stdout
        assert "Made: commit " in done.stdout
        assert "Report and page: what the results give, to the byte\n" in done.stdout
        assert "As stated: text, and sources, activity and fit" in done.stdout
        assert "Suite: tiny, none that ships\n" in done.stdout
        whose = options[1] if options else "the run's own claims.toml, by whoever made the run"
        assert f"Claims from: {whose}\nReference from: nowhere: none ships for this suite\n" in done.stdout
    both = semconv_cli("verify", tiny_suite.parent, "--bundle", archive)
    assert_one_sentence(both, "takes a run folder or --bundle, got both")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("mini", "mini, which ships with semconv"),
        ("Mini", "Mini, none that ships; it is not the suite mini, whose name it looks like"),
        ("mi-ni", "mi-ni, none that ships; it is not the suite mini, whose name it looks like"),
        ("ｍｉｎｉ", "ｍｉｎｉ, none that ships; it is not the suite mini, whose name it looks like"),
        ("minimal", "minimal, none that ships"),
    ],
)
def test_a_suite_that_looks_like_one_that_ships_is_told_apart(name: str, told: str):
    assert suite_in_words(name) == told


@pytest.mark.parametrize("name", ["mini ", " mini", "..", "a/b", "", "m\u202eini", "a\nb"])
def test_names_of_suites_in_an_archive_are_fit_for_files(name: str, unpacked: Path):
    suite = json.loads((unpacked / "suite.json").read_text())
    (unpacked / "suite.json").write_text(json.dumps({**suite, "name": name}))
    with pytest.raises(InputError, match="the name of a suite must be fit for a file's name"):
        rebuild(unpacked)


@pytest.mark.slow
def test_a_bundle_whose_claims_are_about_nothing_is_not_verified(unpacked: Path, tmp_path: Path):
    (unpacked / "claims.toml").write_text((unpacked / "claims.toml").read_text().replace('"tiny"', '"else"'))
    write_rebuilt(unpacked, tmp_path / "rebuilt")
    for name in ("claims.toml", *TOLD):
        shutil.copy(tmp_path / "rebuilt" / name, unpacked / name)
        listed_again(unpacked, name)
    done = semconv_cli("verify", "--bundle", zipped(unpacked, tmp_path / "of-none.zip"))
    assert done.returncode == 1
    assert "nothing was checked" in done.stderr


def test_a_flipped_byte_anywhere_in_a_member_is_refused(archive: Path, tmp_path: Path):
    """Compressed data that no longer unpacks, and data that unpacks to something else, both end in one sentence."""
    content = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as file:
        info = file.getinfo("report.md")
    start = info.header_offset + 30 + len(info.filename)
    for place in (start, start + info.compress_size // 2):
        broken = tmp_path / "broken.zip"
        broken.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        with pytest.raises(InputError, match="broken.zip is no archive of a run, or a damaged one"), opened(broken):
            pass


def test_a_touched_file_is_named_and_so_are_results_that_do_not_follow(unpacked: Path, tmp_path: Path):
    path = unpacked / "results.json"
    results = json.loads(path.read_text())
    results["grid"]["0x2"]["measures"]["rsa"]["nulls"]["rematch"]["p"] = 0.001
    path.write_text(json.dumps(results))
    bundle = zipped(unpacked, tmp_path / "touched.zip")
    assert_one_sentence(semconv_cli("verify", "--bundle", bundle), "results.json in", "is not the file that was listed")
    listed_again(unpacked, "results.json")
    bundle = zipped(unpacked, tmp_path / "listed.zip")
    told = f"grid in results.json of {bundle} is not what follows from the statistics beside it"
    assert_one_sentence(semconv_cli("verify", "--bundle", bundle), told)


def test_settings_and_draws_that_are_not_the_suites_are_refused(unpacked: Path):
    """What the archive says of itself is compared with suite.json, and the draws with the finished tasks."""
    results = json.loads((unpacked / "results.json").read_text())
    for section, key in (("null", "n_permutations"), ("model_a", "name")):
        changed = json.loads(json.dumps(results))
        changed[section][key] = "x" if key == "name" else 10**6
        (unpacked / "results.json").write_text(json.dumps(changed))
        with pytest.raises(InputError, match=f"{section} in results.json of .* is not what follows"):
            rebuild(unpacked)
    (unpacked / "results.json").write_text(json.dumps(results))
    tensors = load_file(unpacked / "nulls.safetensors")
    next(iter(tensors.values()))[0] += 0.5
    save_file(tensors, unpacked / "nulls.safetensors")
    with pytest.raises(InputError, match=r"nulls\.safetensors in .* holds other draws than the finished tasks"):
        rebuild(unpacked)


def test_a_file_twice_and_one_that_a_folder_does_not_list_are_refused(archive: Path, unpacked: Path, tmp_path: Path):
    twice = tmp_path / "twice.zip"
    twice.write_bytes(archive.read_bytes())
    with zipfile.ZipFile(twice, "a") as file, pytest.warns(UserWarning, match="Duplicate name"):
        file.writestr("results.json", "{}")
    assert_one_sentence(semconv_cli("verify", "--bundle", twice), f"{twice} holds a file twice")
    crate = json.loads((unpacked / METADATA).read_text())
    kept = [item for item in crate["@graph"] if item.get("@type") != "File" or item["@id"] == "results.json"]
    (unpacked / METADATA).write_text(json.dumps({**crate, "@graph": kept}))
    assert_one_sentence(semconv_cli("verify", "--bundle", unpacked), f"suite {unpacked}/suite.json does not exist")


def test_a_report_that_cannot_be_made_leaves_nothing(unpacked: Path, tmp_path: Path):
    (unpacked / "contexts.parquet").write_text("junk")
    listed_again(unpacked, "contexts.parquet")
    done = semconv_cli("report", "--from", unpacked, "--out", tmp_path / "out")
    assert_one_sentence(done, "contexts.parquet is damaged")
    assert [path.name for path in tmp_path.iterdir()] == ["unpacked"]


def test_pairs_that_were_not_scored_and_settings_of_no_suite_are_refused(unpacked: Path):
    table = parquet.read_table(unpacked / "pairs.parquet")
    r = table["r"].to_numpy().copy()
    r[0] += 0.25
    place = table.column_names.index("r")
    parquet.write_table(table.set_column(place, table.field("r"), [r]), unpacked / "pairs.parquet")
    with pytest.raises(InputError, match=r"pairs\.parquet in .* holds other pairs of layers \d+x\d+ than were scored"):
        rebuild(unpacked)
    suite = json.loads((unpacked / "suite.json").read_text())
    (unpacked / "suite.json").write_text(json.dumps({**suite, "name": 3}))
    with pytest.raises(InputError):
        rebuild(unpacked)


def test_missing_unlisted_and_old_are_refused(unpacked: Path, tmp_path: Path):
    (unpacked / "extra.txt").write_text("x")
    with (
        pytest.raises(InputError, match=r"holds extra\.txt, which its .* does not list"),
        opened(zipped(unpacked, tmp_path / "extra.zip")),
    ):
        pass
    (unpacked / "extra.txt").unlink()
    task = next(unpacked.glob("tasks/grid.0x2.rematch.*"))
    task.rename(tmp_path / "away")
    with pytest.raises(InputError, match=r"lists tasks/grid\.0x2\.rematch.*, which is missing"):
        check_crate(unpacked)
    crate = json.loads((unpacked / METADATA).read_text())
    kept = [item for item in crate["@graph"] if item["@id"] != f"tasks/{task.name}"]
    (unpacked / METADATA).write_text(json.dumps({**crate, "@graph": kept}))
    with pytest.raises(InputError, match="must hold the finished task grid.0x2.rematch"):
        rebuild(unpacked)
    old = (unpacked / METADATA).read_text().replace('"value": "2"', '"value": "1"')
    (unpacked / METADATA).write_text(old)
    done = semconv_cli("verify", "--bundle", zipped(unpacked, tmp_path / "old.zip"))
    assert_one_sentence(done, "has format 1, this semconv reads format 2")


@pytest.mark.slow
def test_an_archive_that_is_larger_than_allowed_is_refused_before_it_is_read(
    archive: Path, unpacked: Path, tmp_path: Path
):
    files = [path for path in unpacked.rglob("*") if path.is_file() and path.name != METADATA]  # which lists them
    size = sum(path.stat().st_size for path in files)
    needed = math.ceil(size / 2**20)
    for source in (archive, unpacked):
        told = rf"have {needed} MiB, at most {needed - 1} are read; --max-size {needed} reads them"
        with pytest.raises(InputError, match=told), opened(source, needed - 1):
            pass
    content = (unpacked / "results.json").read_bytes()
    (unpacked / "results.json").write_bytes(content + b" " * (2**20 - len(content) % 2**20))
    listed_again(unpacked, "results.json")
    with pytest.raises(InputError, match=r"results\.json has \d+ bytes, of JSON at most"), opened(unpacked, needed + 1):
        pass
    (unpacked / "results.json").write_bytes(content)
    rows = pa.table({"x": pa.array(["x"] * 20_000_000).dictionary_encode()})
    parquet.write_table(rows, unpacked / "pairs.parquet")
    for name in ("results.json", "pairs.parquet"):
        listed_again(unpacked, name)
    assert (unpacked / "pairs.parquet").stat().st_size < 2**17
    with (
        pytest.raises(InputError, match=r"pairs\.parquet has 20000000 rows, at most 10240000 are read"),
        opened(unpacked),
    ):
        pass


def test_a_pipe_is_no_archive(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.zip")
    done = semconv_cli("verify", "--bundle", tmp_path / "pipe.zip")
    assert_one_sentence(done, "is neither a file nor a folder")


@pytest.mark.parametrize("name", ["n_rematch", "n_bootstrap", "n_permutations"])
def test_a_suite_cannot_ask_for_more_draws_than_a_life_has(name: str, unpacked: Path):
    suite = json.loads((unpacked / "suite.json").read_text())
    (unpacked / "suite.json").write_text(json.dumps({**suite, "null": {**suite["null"], name: 10**12}}))
    with pytest.raises(InputError, match=rf"null\.{name} must be between [01] and 10000000, got 1000000000000"):
        rebuild(unpacked)


def test_what_is_no_archive_is_refused(tiny_run: Path, tmp_path: Path):
    (tmp_path / "no.zip").write_text("no zip")
    cases = {
        ("verify", "--bundle", tmp_path / "no.zip"): "no.zip is no archive of a run",
        ("verify", "--bundle", tmp_path / "none.zip"): "none.zip does not exist",
        ("archive", tmp_path, "--out", tmp_path / "a.zip"): f"holds no {METADATA}",
        ("archive", tmp_path / "none", "--out", tmp_path / "a.zip"): f"holds no {METADATA}",
        ("archive", tiny_run, "--out", tmp_path / "a.tar"): "an archive is a .zip file, got a.tar",
        ("report", "--from", tiny_run, "--out", tmp_path): "must be a new or empty folder",
        ("verify", tmp_path / "no.zip"): "no.zip is a file, a run folder is needed",
    }
    for arguments, told in cases.items():
        assert_one_sentence(semconv_cli(*arguments), told)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["no.zip"]


def test_a_crate_cannot_name_files_outside_of_its_folder(unpacked: Path):
    (unpacked.parent / "outside").write_text("x")
    text = (unpacked / METADATA).read_text().replace('"@id": "suite.json"', '"@id": "../outside"')
    (unpacked / METADATA).write_text(text)
    with pytest.raises(InputError, match=r"lists \.\./outside, which lies outside of it"):
        check_crate(unpacked)
