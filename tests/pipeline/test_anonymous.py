"""Nothing that is published says whose it is: every byte of a run and its archive, on a machine with its own names."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import socket
import subprocess
import zipfile
import zlib
from collections.abc import Generator, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants
from pyarrow import parquet

from semconv import InputError
from semconv.pipeline.rebuild_archive import rebuild
from semconv.runs.anonymous import names_left
from semconv.runs.archive import opened, write_archive
from semconv.runs.crate import LEFT_OUT, METADATA, anonymous_metadata, environment
from semconv.system.errors import SemconvWarning
from semconv.system.provenance import code_commit, processor
from tests._helpers.commands import assert_one_sentence
from tests._helpers.forks import Forks, start
from tests._helpers.run_folders import listed_again, zipped
from tests.conftest import requires_models

pytestmark = requires_models

USER, HOST, TOKEN = "zarathustra", "eaglecave", "hf_neverToBeSeen0123"
LAB, EMAIL, NAME = "confidentiallab", "quentin@zarathustra.example", "Quentin Zarathustra"
PRIVATE = (USER, HOST, TOKEN, LAB, EMAIL, "Quentin")

PACKAGE = Path(__file__).parents[2]
AS_THAT_MACHINE = f"""
import os, platform, socket, sys
known = os.uname()
os.uname = lambda: os.uname_result((known.sysname, {HOST!r}, known.release, known.version, known.machine))
socket.gethostname = platform.node = lambda: {HOST!r}
from semconv.cli import main
sys.argv[0] = os.path.join(os.environ["HOME"], "bin", "semconv")
main()
"""


class Machine:
    """Somebody's machine: a home folder with settings of git and a token of the hub, a user and a host name."""

    def __init__(self, root: Path, suite: Path) -> None:
        self.home = root / "home" / USER
        self.lab = self.home / LAB
        self.lab.mkdir(parents=True)
        (self.home / ".gitconfig").write_text(f"[user]\nname = {NAME}\nemail = {EMAIL}\n")
        (self.home / ".cache" / "huggingface").mkdir(parents=True)
        (self.home / ".cache" / "huggingface" / "token").write_text("hf_ofTheFileOfTheHub")
        self.study = self.lab / "study"
        shutil.copytree(suite.parent, self.study)
        for file in (self.study / suite.name, self.study / "claims.toml"):
            file.write_text(file.read_text().replace(str(suite.parent), str(self.study)))

    @property
    def variables(self) -> dict[str, str]:
        return {"HOME": str(self.home), "USER": USER, "LOGNAME": USER, "HOSTNAME": HOST, "HF_TOKEN": TOKEN}

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        ended = self.processes.run(["-c", AS_THAT_MACHINE, *arguments], self.study)
        assert ended.code is not None, f"{arguments} did not end:\n{ended.err}"
        return subprocess.CompletedProcess([*map(str, arguments)], ended.code, ended.out, ended.err)

    @cached_property
    def processes(self) -> Forks:
        """What runs its commands, with its environment."""
        own = {"HF_HOME": str(self.home / ".cache" / "huggingface"), "PYTHONPATH": str(PACKAGE), "COLUMNS": "200"}
        kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_HUB_CACHE")}
        return start({**kept, **self.variables, **own})


@pytest.fixture(scope="module")
def machine(tiny_suite: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[Machine]:
    one = Machine(tmp_path_factory.mktemp("machine"), tiny_suite)
    yield one
    one.processes.close()


@pytest.fixture(scope="module")
def made(machine: Machine) -> Path:
    """A run of the tiny suite on that machine, by absolute paths, some of them out of the folder of the suite."""
    folder, claims = machine.lab / "runs" / "one", machine.study / "claims.toml"
    suite, stores = machine.study / "tiny.toml", machine.lab / "shared-stores"
    done = machine.run("reproduce", suite, "--out", folder, "--claims", claims, f"--stores={stores}")
    assert done.returncode == 0, done.stderr
    shutil.copytree(stores, folder / "stores")  # so that they are looked at with everything else
    return folder


@pytest.fixture(scope="module")
def anonymous(machine: Machine, made: Path) -> Path:
    path = machine.home / "sent.zip"
    done = machine.run("archive", made, "--anonymous", "--out", path)
    assert done.returncode == 0, done.stderr
    assert "Names left in it, see that none is yours: a, a-other, a-untrained, b, b-untrained, mini, mod" in done.stdout
    return path


@pytest.fixture
def unpacked(tiny_run: Path, tmp_path: Path) -> Path:
    write_archive(tiny_run, tmp_path / "tiny.zip")
    with zipfile.ZipFile(tmp_path / "tiny.zip") as file:
        file.extractall(tmp_path / "unpacked")
    return tmp_path / "unpacked"


def every_byte(path: Path) -> Iterator[bytes]:
    """What a file says, unpacked by other means than those of semconv."""
    content = path.read_bytes()
    yield content
    if path.suffix == ".parquet":
        table = parquet.read_table(path)
        yield (repr(table.to_pydict()) + repr(table.schema.metadata) + repr(parquet.read_metadata(path))).encode()
    for match in re.finditer(rb"[\x78][\x01\x5e\x9c\xda]", content) if path.suffix == ".png" else ():
        unpacker = zlib.decompressobj()
        try:
            yield unpacker.decompress(content[match.start() :])
        except zlib.error:
            continue
    for match in re.findall(rb"(?:[A-Za-z0-9+/]{4}){6,}", content) if path.suffix in (".html", ".md", ".json") else ():
        yield base64.b64decode(match)


def told_by(folder: Path) -> list[tuple[str, str]]:
    """Every file of a folder that holds a private word, with the word."""
    found: list[tuple[str, str]] = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        parts = [str(path.relative_to(folder)).encode(), *every_byte(path)]
        for word in PRIVATE:
            if any(word.lower().encode() in part.lower() for part in parts):
                found.append((str(path.relative_to(folder)), word))
    return found


def test_nothing_in_a_run_folder_names_user_machine_token_or_folders(made: Path):
    assert told_by(made) == []
    about = environment(made)
    assert about["argv"] == "semconv reproduce tiny.toml --out .../one --claims claims.toml --stores=.../shared-stores"
    assert about["shared stores"] == ".../shared-stores"


def test_results_do_not_depend_on_where_the_suite_lies(made: Path, tiny_run: Path):
    for name in ("results.json", "suite.json", "report.md", "index.html", "pairs.parquet", "figures/rsa.png"):
        assert (made / name).read_bytes() == (tiny_run / name).read_bytes(), name
    suite = json.loads((made / "suite.json").read_text())
    assert (suite["corpus"]["path"], suite["model_a"]["path"]) == ("text.txt", "model_a")
    model = json.loads((made / "results.json").read_text())["model_a"]
    assert len(model["model_sha256"]) == len(model["saes"]["0"]["sae_sha256"]) == 64


def test_the_search_of_this_file_sees_what_is_packed(tmp_path: Path):
    """Else the test above could not fail."""
    import pyarrow as pa
    from PIL import Image, PngImagePlugin

    parquet.write_table(pa.table({"x": ["a", USER] * 99}), tmp_path / "x.parquet", compression="zstd")
    told = PngImagePlugin.PngInfo()
    told.add_text("Author", f"{HOST} {HOST}", zip=True)
    Image.new("L", (4, 4)).save(tmp_path / "x.png", pnginfo=told)
    (tmp_path / "x.html").write_text(base64.b64encode(f"from {EMAIL} with love".encode()).decode())
    (tmp_path / "x.json").write_text(f"/home/{USER}")
    found = told_by(tmp_path)
    assert {("x.parquet", USER), ("x.png", HOST), ("x.html", EMAIL), ("x.json", USER)} <= set(found)


def test_a_comparison_of_own_models_names_nobody_either(machine: Machine):
    """Models of one name, below the home folder and beside it, and an SAE whose config holds a path and an option."""
    places = [machine.home / "pico", machine.study / "pico"]
    for place, name in zip(places, ("model_a", "model_b"), strict=True):
        shutil.copytree(machine.study / name, place)
        shutil.copy(machine.study / "tokenizer.json", place)
    config = machine.study / "sae_a0" / "cfg.json"
    kept = config.read_text()
    told = json.loads(kept)
    told["metadata"] |= {
        "model_name": f"{machine.lab}/other",
        "model_from_pretrained_kwargs": {"cache": f"{machine.lab}/c"},
    }
    config.write_text(json.dumps(told))
    folder = machine.lab / "runs" / "pair"
    saes = ("--sae-a", f"first={machine.study}/sae_a0@0", "--sae-b", f"{machine.study}/sae_b2@2")
    sizes = ("--context", "32", "--tokens", "4000", "--rematches", "0", "--min-activations", "2")
    done = machine.run("compare", *places, *saes, "--text", machine.study / "text.txt", "--out", folder, *sizes)
    config.write_text(kept)
    assert done.returncode == 0, done.stderr
    assert [found for found in told_by(folder) if found != ("suite.json", LAB)] == []
    results = json.loads((folder / "results.json").read_text())
    assert "It was trained on .../other, by its own metadata" in str(results["model_a"]["saes"])
    assert (results["model_a"]["path"], results["model_b"]["path"]) == (".../pico", ".../pico")


def test_a_rerun_on_that_machine_changes_nothing(machine: Machine, made: Path):
    before = {path: path.read_bytes() for path in made.rglob("*") if path.is_file() and path.name != METADATA}
    again = (
        "reproduce",
        "tiny.toml",
        "--out",
        "../runs/one",
        "--claims",
        "claims.toml",
        "--stores",
        "../shared-stores",
    )
    done = machine.run(*again)
    assert done.returncode == 0, done.stderr
    assert {path: path.read_bytes() for path in before} == before


def test_an_anonymous_archive_names_neither_machine_nor_commit(anonymous: Path, tmp_path: Path):
    with zipfile.ZipFile(anonymous) as file:
        file.extractall(tmp_path)
        infos = file.infolist()
        assert file.comment == b""
    assert told_by(tmp_path) == []
    assert {(info.date_time, info.extra, info.comment, info.create_system) for info in infos} == {
        ((1980, 1, 1, 0, 0, 0), b"", b"", 3)
    }
    about, crate = environment(tmp_path), (tmp_path / METADATA).read_text()
    for left_out in (processor(), code_commit().partition("+")[0], "reproduce tiny.toml", os.uname().release):
        assert left_out not in crate
    for name in ("argv", "commit", "platform", "processor", "cpu_count", "threads", "shared stores"):
        assert about[name] == LEFT_OUT
    assert about["anonymous"] == "without machine, command line, commit and people"
    assert float(about["seconds/compare"]) > 0
    assert "torch" in crate


def test_an_anonymous_archive_is_a_crate_of_the_same_entities(anonymous: Path, made: Path, tmp_path: Path):
    from rocrate.rocrate import ROCrate

    with zipfile.ZipFile(anonymous) as file:
        file.extractall(tmp_path)
    own, before = (ROCrate(folder) for folder in (tmp_path, made))
    assert {e.id for e in own.get_entities()} - {"#run/anonymous"} == {e.id for e in before.get_entities()}
    assert "#run/anonymous" in [one.id for one in own.get("#run")["additionalProperty"]]


def test_an_anonymous_archive_verifies_says_so_and_gives_the_same_report(anonymous: Path, machine: Machine):
    done = machine.run("verify", "--bundle", anonymous)
    assert done.returncode == 0, done.stderr
    assert "1 claims pass, 0 fail" in done.stdout
    assert "Report and page: what the results give, to the byte" in done.stdout
    assert "Anonymous: yes, without machine, command line, commit and people" in done.stdout
    assert "Made: ended " in done.stdout
    rebuilt = machine.run("report", "--from", anonymous, "--out", machine.home / "rebuilt")
    assert "the same bytes as in the archive" in rebuilt.stdout, rebuilt.stderr


LEAKS: dict[str, str] = {
    "results.json": str(Path("/", "home", USER)),
    "claims.toml": f"# by {NAME}",
    "report.md": f"ask {EMAIL}",
    "index.html": f"<!-- {base64.b64encode(b'made on ' + HOST.encode() + b' by night').decode()} -->",
    "nulls.safetensors": f"{USER}",
    "figures/rsa.png": f"{USER}",
    "tasks/grid.0x2.observed.safetensors": f"at {HOST}",
}


@pytest.fixture
def here(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes this process one on that machine."""
    for name, value in machine.variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(socket, "gethostname", lambda: HOST)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(machine.home / ".cache" / "huggingface" / "token"))
    monkeypatch.chdir(machine.study)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("name", LEAKS)
def test_whatever_names_its_author_is_refused(name: str, made: Path, tmp_path: Path):
    folder, target = tmp_path / "planted", tmp_path / "new" / "sent.zip"
    shutil.copytree(made, folder)
    with (folder / name).open("ab") as file:
        file.write(LEAKS[name].encode())
    listed_again(folder, name)
    with pytest.raises(InputError, match=f"^no archive was written, because {re.escape(name)} holds the "):
        write_archive(folder, target, anonymous=True)
    assert not target.parent.exists()


def test_a_refusal_is_one_sentence_and_leaves_nothing(made: Path, machine: Machine, tmp_path: Path):
    shutil.copytree(made, tmp_path / "planted")
    (tmp_path / "planted" / "claims.toml").write_text(f"# by {NAME}, {EMAIL}")
    listed_again(tmp_path / "planted", "claims.toml")
    done = machine.run("archive", tmp_path / "planted", "--anonymous", "--out", tmp_path / "sent.zip")
    assert_one_sentence(done, f"claims.toml holds the e-mail '{EMAIL}', ", f"claims.toml holds the name '{NAME}'")
    assert [path.name for path in tmp_path.iterdir()] == ["planted"]
    assert_one_sentence(machine.run("archive", made, "--allow", "matrix"), "--allow is for --anonymous")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("token", "what"), [(TOKEN, "the value of HF_TOKEN"), ("hf_ofTheFileOfTheHub", "a token of the model hub")]
)
def test_a_token_is_refused_in_every_archive_and_not_shown(token: str, what: str, made: Path, tmp_path: Path):
    folder, target = tmp_path / "planted", tmp_path / "sent.zip"
    shutil.copytree(made, folder)
    (folder / "claims.toml").write_text(f"# {token}")
    listed_again(folder, "claims.toml")
    for anonymous, allowed in ((False, ()), (True, ()), (True, (token,))):
        with pytest.raises(
            InputError, match=f"^no archive was written, because claims.toml holds {what}, which"
        ) as told:
            write_archive(folder, target, anonymous, allowed)
        assert token not in str(told.value)
    assert not target.exists()


@pytest.mark.usefixtures("here")
def test_an_ordinary_word_is_let_pass_where_that_is_asked_for(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The text of the corpus is full of words, and somebody is called like one of them."""
    monkeypatch.setenv("USER", "matrix")
    with pytest.raises(InputError, match="holds the user name 'matrix'"):
        write_archive(made, tmp_path / "sent.zip", anonymous=True)
    assert write_archive(made, tmp_path / "sent.zip", anonymous=True, allowed=["matrix"]) > 0


def test_people_and_whatever_else_a_crate_may_say_of_a_run_are_left_out(unpacked: Path):
    crate = json.loads((unpacked / METADATA).read_text())
    crate["@graph"] += [
        {"@id": "#me", "@type": "Person", "name": NAME},
        {"@id": "#run/container", "@type": "PropertyValue", "name": "container", "value": "docker.example/me"},
    ]
    next(item for item in crate["@graph"] if item["@id"] == "./")["author"] = {"@id": "#me"}
    (unpacked / METADATA).write_text(json.dumps(crate))
    text = anonymous_metadata(unpacked).decode()
    graph = {item["@id"]: item for item in json.loads(text)["@graph"]}
    assert "Quentin" not in text
    assert "#me" not in text
    assert graph["#run/container"]["value"] == LEFT_OUT
    assert graph["./"]["hasPart"]


def of_an_earlier_version(folder: Path) -> None:
    """Makes an unpacked archive one with absolute paths in suite and results, as earlier versions wrote them."""
    from semconv.pipeline.rebuild_archive import write_rebuilt
    from semconv.suite.config import suite_from_json

    suite, results = (json.loads((folder / name).read_text()) for name in ("suite.json", "results.json"))

    def absolute(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: f"/srv/{v}" if key == "path" else absolute(v) for key, v in value.items()}
        return [absolute(one) for one in value] if isinstance(value, list) else value

    (folder / "suite.json").write_text(json.dumps(absolute(suite)))
    for model in ("model_a", "model_b"):
        results[model]["path"] = f"/srv/{results[model]['path']}"
    results["suite_sha256"] = suite_from_json(folder / "suite.json").sha256
    (folder / "results.json").write_text(json.dumps(results))
    target = folder.parent / "told"
    write_rebuilt(folder, target)
    for name in ("report.md", "index.html"):
        shutil.copy(target / name, folder / name)
    for name in ("suite.json", "results.json", "report.md", "index.html"):
        listed_again(folder, name)


@pytest.mark.slow
def test_archives_of_earlier_versions_are_read_and_their_paths_warned_of(
    unpacked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    of_an_earlier_version(unpacked)
    with opened(zipped(unpacked, tmp_path / "old.zip")) as folder:
        results, _ = rebuild(folder)
    assert results.model_a.path == "/srv/model_a"
    assert "/srv/model_a" in names_left(unpacked)
    monkeypatch.setenv("HOME", "/srv/model_a")
    with pytest.warns(SemconvWarning, match="holds the home folder '/srv/model_a'.*a run made again"):
        write_archive(unpacked, tmp_path / "new.zip")
    with pytest.raises(InputError, match=r"results\.json holds the home folder '/srv/model_a'"):
        write_archive(unpacked, tmp_path / "anonymous.zip", anonymous=True)
