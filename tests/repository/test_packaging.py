"""What is packaged: lock files, the wheel, the Dockerfile's facts, the image's scripts, its bill of materials."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import sbom as sbom_script

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-cuda.lock")
OF_ONE_TARGET = (
    "requirements-page.lock",
    "requirements-mkl.lock",
    "requirements-fuzz.lock",
    "requirements-docs.lock",
    "requirements-wheel.lock",
)


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(name: str) -> dict[str, tuple[str, list[str]]]:
    """Canonical name -> version and hashes of a lock file; any line of another form is an error."""
    found: dict[str, tuple[str, list[str]]] = {}
    text = (ROOT / name).read_text().replace("\\\n", " ")
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        match = re.fullmatch(r"([A-Za-z0-9._-]+)==(\S+)((?: +--hash=sha256:[0-9a-f]{64})+) *", line)
        assert match, f"{name}: {line[:80]!r} is no pinned and hashed requirement"
        assert canonical(match[1]) not in found, f"{name} names {match[1]} twice"
        found[canonical(match[1])] = (match[2], re.findall(r"[0-9a-f]{64}", match[3]))
    return found


def fake(folder: Path, name: str, script: str) -> dict[str, str]:
    """Puts a shell script of that name before everything else on PATH; returns the environment."""
    folder.mkdir(exist_ok=True)
    tool = folder / name
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}


def script(*arguments: str | Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    name, *rest = map(str, arguments)
    return subprocess.run([str(ROOT / "scripts" / name), *rest], capture_output=True, text=True, env=env, timeout=60)


def assert_refused(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("semconv: ")
    assert done.stderr.count("\n") == 1
    for part in parts:
        assert part in done.stderr


# Lock files


@pytest.mark.parametrize("name", [*LOCKS, *OF_ONE_TARGET])
def test_every_line_of_a_lock_is_pinned_and_hashed(name: str):
    assert len(locked(name)) >= (10 if name in LOCKS else 1)


def test_nothing_is_installed_but_by_its_hash():
    """Apart from semconv itself, out of its own tree, and what its wheel asks for where that is what is tried."""
    for file in (ROOT / "Makefile", ROOT / ".ci/run", *sorted((ROOT / "scripts").rglob("*.sh"))):
        for line in file.read_text().replace("\\\n", " ").splitlines():
            if re.search(r"-m pip (install|download)\b", line) and not re.search(
                r"--editable \.|--dry-run|/semconv-\*\.whl|\$\{wheel\}\[models,mini\]", line
            ):
                assert "--require-hashes" in line, f"{file.name}: {line.strip()}"
    assert {path.name for path in ROOT.glob("requirements*.lock")} == {*LOCKS, *OF_ONE_TARGET}


def test_locks_do_not_overlap_and_what_runs_holds_no_tools():
    run, dev, cuda = (set(locked(name)) for name in LOCKS)
    assert not run & dev
    assert not run & cuda
    assert not run & {"ruff", "pyright", "pytest", "clang-format", "hypothesis", "ninja", "pybind11", "triton"}
    assert all(name.startswith(("nvidia-", "cuda-", "triton")) for name in cuda)
    for name in OF_ONE_TARGET:
        assert not set(locked(name)) & (run | dev), f"{name} would change what is locked elsewhere"


def test_what_runs_is_locked():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [one for one in importlib.metadata.requires("semconv") or [] if "extra ==" not in one]
    assert any(one.startswith("torch==") for one in needed)
    asked = needed + project["optional-dependencies"]["models"]
    names = {canonical(re.split(r"[<>=!~\[; ]", requirement)[0]) for requirement in asked}
    assert names <= set(locked("requirements.lock"))
    corpus = tomllib.loads((ROOT / "semconv/suites/mini.toml").read_text())["corpus"]["packages"]
    versions = {name: version for name, (version, _) in locked("requirements.lock").items()}
    assert {canonical(n): v for n, v in corpus.items()}.items() <= versions.items()
    assert project["optional-dependencies"]["mini"] == [f"{name}=={version}" for name, version in corpus.items()]


def test_torch_of_the_cpu_index_is_among_the_hashes():
    listed = re.findall(r"^([0-9a-f]{64}) cp3\d+ ", (ROOT / "scripts/release/lock.sh").read_text(), re.MULTILINE)
    assert len(listed) == 8
    hashes = locked("requirements.lock")["torch"][1]
    assert set(listed) < set(hashes)
    assert len(set(hashes)) == len(hashes)


def test_a_torch_with_cuda_is_refused_where_none_is_wanted(tmp_path: Path):
    report = '{"install": [{"metadata": {"version": "2.13.0", "requires_dist": ["triton==3.7.1; x"]}}]}'
    # Stands for pip, which asks an index; what the script does with its answer is real.
    pretend = f"""case "$*" in
  *--dry-run*) while [ "$1" != --report ]; do shift; done; echo '{report}' >"$2" ;;
  *-m\\ pip*) echo "pip $*" ;;
  *) exec {sys.executable} "$@" ;;
esac"""
    fake(tmp_path, "python", pretend)
    assert_refused(script("release/install_locked.sh", tmp_path / "python", "--cpu"), "serves torch 2.13.0 with it")
    done = script("release/install_locked.sh", tmp_path / "python")
    assert done.returncode == 0, done.stderr
    assert "requirements-cuda.lock" in done.stdout
    assert "requirements-dev.lock" not in done.stdout
    assert done.stdout.count("--require-hashes --no-deps") == 3
    assert_refused(script("release/install_locked.sh", tmp_path / "python", "--gpu"), "got '--gpu'")


# The wheel


@pytest.mark.parametrize(
    ("lacks", "told"),
    [("ensurepip", "python3-venv"), ("Python.h", "python3-dev")],
)
def test_a_python_that_cannot_build_is_one_sentence(lacks: str, told: str, tmp_path: Path):
    """The checks of `make setup`, with a Python that fails the one that names what it lacks."""
    fake(tmp_path / "bin", "python", f'case "$2" in *{lacks}*) exit 1 ;; esac')
    command = ["make", "-f", ROOT / "Makefile", "setup", f"PYTHON={tmp_path / 'bin' / 'python'}", "VENV=none"]
    done = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith("semconv: ")
    assert told in done.stderr
    assert not (ROOT / "none").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("release/install_locked.sh",), "needs the path of a Python, got nothing"),
        (("release/install_locked.sh", sys.executable, "--reports"), "--reports needs a folder, got nothing"),
        (("checks/image_check.sh",), "needs the path of a Python, got nothing"),
        (("checks/image_check.sh", sys.executable, "--results", "no.json"), "must be a results.json, got 'no.json'"),
    ],
)
def test_an_option_without_its_value_is_one_sentence(arguments: tuple[str, ...], told: str):
    assert_refused(script(*arguments), told)


@pytest.mark.slow
def test_the_wheel_carries_the_claims_and_expected_results(tmp_path: Path):
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("setup.py", "pyproject.toml", "README.md", "claims.toml"):
        shutil.copy(ROOT / name, tree)
    shutil.copytree(ROOT / "semconv", tree / "semconv", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    (tree / "expected/mini").mkdir(parents=True)
    (tree / "expected/mini/results.json").write_text("{}")
    # Without the native core, which takes a minute to compile and changes nothing here.
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build_py", "bdist_wheel", "--skip-build"],
        cwd=tree,
        env={**os.environ, "SEMCONV_CUDA": "0"},
        capture_output=True,
        check=True,
        timeout=100,
    )
    (wheel,) = (tree / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as held:
        assert held.read("semconv/claims.toml") == (ROOT / "claims.toml").read_bytes()
        assert held.read("semconv/expected/mini/results.json") == b"{}"


def test_shipped_files_are_looked_for_in_the_package_then_on_top_of_the_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from semconv import _paths

    monkeypatch.setattr(_paths, "PACKAGE", tmp_path / "semconv")
    monkeypatch.setattr(_paths, "TREE", tmp_path)
    (tmp_path / "semconv").mkdir()
    (tmp_path / "claims.toml").touch()
    assert _paths.shipped("claims.toml") == tmp_path / "claims.toml"
    (tmp_path / "semconv/claims.toml").touch()
    assert _paths.shipped("claims.toml") == tmp_path / "semconv/claims.toml"


# The Dockerfile


def dockerfile() -> list[tuple[str, str]]:
    """The instructions and their arguments, lines joined."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split()[0], line.split(None, 1)[1]) for line in text.splitlines() if line.strip()]


def arguments() -> dict[str, str]:
    """The defaults of the build arguments."""
    pairs = (value.split("=", 1) for word, value in dockerfile() if word == "ARG" and "=" in value)
    return {name: value.strip('"') for name, value in pairs}


def stage(name: str) -> dict[str, str]:
    """The last of each instruction in a stage."""
    found: dict[str, str] = {}
    inside = False
    for word, value in dockerfile():
        if word == "FROM":
            inside = value.endswith(f" AS {name}")
        if inside:
            found[word] = re.sub(r"\s+", " ", value)
    assert found, name
    return found


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_an_image_runs_the_main_job_as_no_root_and_offline(target: str):
    last = stage(target)
    assert json.loads(last["ENTRYPOINT"]) == ["semconv"]
    assert json.loads(last["CMD"]) == ["reproduce", "mini"]
    assert last["USER"] == "${UID}:${UID}"
    assert int(arguments()["UID"]) > 0
    assert last["WORKDIR"] == "/results"
    assert "HF_HUB_OFFLINE=1" in last["ENV"]
    assert "HF_HOME=/models" in last["ENV"]


def test_both_images_have_the_same_environment():
    assert stage("cpu")["ENV"] == stage("gpu")["ENV"]
    assert stage("cpu-build")["ARG"] == stage("gpu-build")["ARG"]


def test_bases_have_exact_tags_and_the_two_of_cuda_match():
    bases = {name: value for name, value in arguments().items() if name.endswith("BASE")}
    assert len(bases) == 3
    assert all(re.fullmatch(r"[a-z/]+:[\w.-]+(@sha256:[0-9a-f]{64})?", value) for value in bases.values())
    build, run = bases["GPU_BUILD_BASE"].split("@")[0], bases["GPU_BASE"].split("@")[0]
    assert build == run.replace("-runtime-", "-devel-")


def test_defaults_of_the_build_are_real():
    assert re.fullmatch(r"2026\d{4}T\d{6}Z", arguments()["APT_SNAPSHOT"])
    for word in arguments()["RUN_TESTS"].split():
        if word.startswith("tests/"):
            path, _, test = word.partition("::")
            assert (ROOT / path).exists(), word
            assert not test or f"def {test}(" in (ROOT / path).read_text(), word
    setup = ast.parse((ROOT / "setup.py").read_text())
    archs = next(
        ast.literal_eval(node.value)
        for node in setup.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "DEFAULT_ARCHS"
    )
    assert arguments()["SEMCONV_CUDA_ARCHS"] == archs


def test_the_build_context_holds_what_the_build_reads():
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for needed in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "claims.toml", "csrc", "semconv", "tests"):
        assert needed in kept
    builds = (ROOT / "scripts/release/image/build_semconv.sh").read_text()
    for name in re.findall(r"scripts/[\w./]+", builds):
        assert any(name.startswith(k) for k in kept), name
        assert (ROOT / name).exists()
    for name in kept:
        assert list(ROOT.glob(name)) or name == "expected", name


# Scripts


def test_building_without_a_builder_is_one_sentence(tmp_path: Path):
    bare = tmp_path / "bin"
    bare.mkdir()
    for tool in ("bash", "dirname", "uname", "git", "env"):
        found = shutil.which(tool)
        assert found
        (bare / tool).symlink_to(found)
    alone = {"PATH": str(bare)}
    none = script("release/build_image.sh", env=alone)
    assert_refused(none, "docker with a running engine, podman or buildah", "found none")
    unknown = script("release/build_image.sh", "gpu", env={**alone, "SEMCONV_BUILDER": "kaniko x"})
    assert_refused(unknown, "found no kaniko")
    assert_refused(script("release/build_image.sh", "tpu"), "cpu or gpu, got 'tpu'")


def test_another_architecture_is_one_sentence(tmp_path: Path):
    env = fake(tmp_path, "uname", "echo aarch64")
    assert_refused(script("release/build_image.sh", env=env), "x86_64 only, found aarch64")
    assert_refused(script("release/image/install_debian.sh", "", "nothing", env=env), "x86_64 only, found aarch64")


def test_a_builder_is_given_the_commit_and_told_how_to_run(tmp_path: Path):
    env = fake(tmp_path, "podman", 'case "$*" in *inspect*) echo 1234567890 ;; *) printf "%s\\n" "$@" ;; esac')
    env |= {"SEMCONV_BUILDER": "podman --log-level error", "PIP_EXTRA_INDEX_URL": "file:///some/index"}
    done = script("release/build_image.sh", "gpu", "--build-arg", "UID=7", env=env)
    assert done.returncode == 0, done.stderr
    given = done.stdout.splitlines()
    assert given[:3] == ["--log-level", "error", "build"]
    assert {"gpu", "UID=7", "PIP_EXTRA_INDEX_URL=file:///some/index"} <= set(given)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"VERSION={version}" in given
    assert any(re.fullmatch(r"SEMCONV_COMMIT=([0-9a-f]{40}(\+changes)?|unknown)", line) for line in given)
    assert "semconv:gpu, 1.3GB" in given[-2]
    assert "--gpus all --network none" in given[-1]


def test_digests_are_written_into_the_dockerfile_all_or_none(tmp_path: Path):
    copy = tmp_path / "Dockerfile"
    shutil.copy(ROOT / "Dockerfile", copy)
    before = copy.read_text()
    env = fake(
        tmp_path / "bin", "skopeo", 'case "$*" in *runtime*) echo broken ;; *) echo sha256:$(printf %064d 1) ;; esac'
    )
    assert script("release/resolve_digests.sh", copy, env=env).returncode == 2
    assert copy.read_text() == before
    env = fake(tmp_path / "bin", "skopeo", "echo sha256:$(printf %064d 2)")
    for _ in range(2):  # a digest that stands there is replaced
        assert script("release/resolve_digests.sh", copy, env=env).returncode == 0
    changed = [line for line in copy.read_text().splitlines() if line not in before.splitlines()]
    assert len(changed) == 3
    assert all(re.fullmatch(r"ARG \w+=[a-z/]+:[\w.-]+@sha256:0{63}2", line) for line in changed)


# Bill of materials


Sbom = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def sbom(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Sbom:
    """Runs scripts/release/sbom.py within this process, since a process of its own would mostly import torch."""

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["sbom.py", *map(str, arguments)])
        code = 0
        try:
            sbom_script.main()
        except SystemExit as left:
            code = int(left.code or 0)
        return subprocess.CompletedProcess(arguments, code, *capsys.readouterr())

    return run


@pytest.fixture
def site_packages(tmp_path: Path) -> Path:
    """A folder with semconv and one other package."""
    folder = tmp_path / "site"
    for name, rest in (("semconv", "License-Expression: Apache-2.0"), ("Some_Thing", "License: mine alone")):
        (folder / f"{name}-1.0.dist-info").mkdir(parents=True)
        text = f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\n{rest}\n"
        (folder / f"{name}-1.0.dist-info/METADATA").write_text(text)
    return folder


def test_the_bill_of_materials_is_complete_and_the_same_every_time(
    tmp_path: Path, site_packages: Path, sbom: Sbom, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    monkeypatch.setenv("SEMCONV_COMMIT", "0123abc")
    (tmp_path / "debian.tsv").write_text("libc6\t2.36-9\tamd64\ntzdata\t2026\tall\n")
    wheel = tmp_path / "semconv-1.0.whl"
    wheel.write_bytes(b"wheel")
    report = {"metadata": {"name": "some.thing"}, "download_info": {"archive_info": {"hash": "sha256=" + "a" * 64}}}
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/locked.json").write_text(json.dumps({"install": [report]}))
    common = ("--site-packages", site_packages, "--debian", tmp_path / "debian.tsv", "--wheel", wheel)
    for name in ("one", "two"):
        done = sbom(tmp_path / name, *common, "--reports", tmp_path / "reports")
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    bill = json.loads((tmp_path / "one").read_text())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert bill["metadata"]["timestamp"] == "2023-11-14T22:13:20+00:00"
    main = bill["metadata"]["component"]
    assert (main["name"], main["type"], main["purl"]) == ("semconv", "application", "pkg:pypi/semconv@1.0")
    assert main["properties"] == [{"name": "semconv:commit", "value": "0123abc"}]
    assert len(main["hashes"][0]["content"]) == 64
    components = {c["purl"]: c for c in bill["components"]}
    assert set(components) == {
        "pkg:deb/debian/libc6@2.36-9?arch=amd64&distro=debian-12",
        "pkg:deb/debian/tzdata@2026?arch=all&distro=debian-12",
        "pkg:pypi/some-thing@1.0",
    }
    some = components["pkg:pypi/some-thing@1.0"]
    assert some["licenses"] == [{"license": {"name": "mine alone"}}]
    assert some["hashes"] == [{"alg": "SHA-256", "content": "a" * 64}]


@pytest.mark.slow
def test_the_bill_of_this_environment_is_valid(tmp_path: Path, sbom: Sbom):
    import torch

    site = Path(torch.__file__).parent.parent
    done = sbom(tmp_path / "sbom.json", "--site-packages", site)
    assert done.returncode == 0, done.stderr
    bill = json.loads((tmp_path / "sbom.json").read_text())
    names = {c["name"] for c in bill["components"]}
    assert {"torch", "numpy"} <= names
    licensed = [c for c in bill["components"] if c["purl"].startswith("pkg:pypi/") and "licenses" in c]
    assert len(licensed) > 100


def test_bad_input_of_the_bill_is_one_sentence(tmp_path: Path, site_packages: Path, sbom: Sbom):
    (tmp_path / "debian.tsv").write_text("libc6 2.36\n")
    target = tmp_path / "sbom.json"
    assert_refused(sbom(target, "--site-packages", tmp_path / "none"), "semconv is not among")
    bad = sbom(target, "--site-packages", site_packages, "--debian", tmp_path / "debian.tsv")
    assert_refused(bad, "needs 3 fields", "'libc6 2.36'")
    (tmp_path / "report.json").write_text("[]")
    assert_refused(sbom(target, "--site-packages", site_packages, "--reports", tmp_path), "no installation report")
    assert not target.exists()


def test_a_bill_that_does_not_fit_the_schema_is_refused(tmp_path: Path, site_packages: Path, sbom: Sbom):
    report = {"metadata": {"name": "some-thing"}, "download_info": {"archive_info": {"hashes": {"sha256": "short"}}}}
    (tmp_path / "report.json").write_text(json.dumps({"install": [report]}))
    done = sbom(tmp_path / "sbom.json", "--site-packages", site_packages, "--reports", tmp_path)
    assert_refused(done, "does not fit the schema of CycloneDX 1.6")
    assert not (tmp_path / "sbom.json").exists()


# Packages


def test_the_table_of_packages_is_the_order_that_is_checked():
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    layers = [name for layer in contract["layers"] for name in layer.split(" | ") if name != "_paths"]
    text = (ROOT / "docs" / "architecture.md").read_text()
    table = re.findall(r"^\| `(\w+)` \| (.+) \|$", text, flags=re.MULTILINE)
    assert [name for name, _ in table] == layers
    for name, told in table:
        module = ast.parse((ROOT / "semconv" / name / "__init__.py").read_text())
        assert (ast.get_docstring(module) or "").split("\n")[0] == told


def test_places_that_documents_name_are_there():
    for page in ("docs/architecture.md", "CONTRIBUTING.md"):
        text = (ROOT / page).read_text()
        for place in re.findall(r"`((?:[\w-]+/)+[\w.]+)`", text):
            assert (ROOT / place).exists() or (ROOT / "semconv" / place).exists(), (page, place)
