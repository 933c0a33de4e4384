"""Names of the models of a pair: told from their folders or repositories, fit for files, and shown everywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from semconv import InputError
from semconv.pipeline.own_pair import models_of_pair
from semconv.report import write_report
from semconv.report.markdown import headline
from semconv.report.page import page
from semconv.report.result_values import names_of
from semconv.suite.config import ControlConfig, ModelConfig, SaeConfig
from semconv.system.harmless_text import no_markup
from tests._helpers.made_up import changed, results
from tests._helpers.made_up_page import tables

SAE = "sae@4"
FOLDERS = (
    "small",
    "runs/small/hf",
    "runs/large/hf",
    "run[gpt2]",
    "run(gpt2)",
    "mod\u00e8le final",
    "x/\u00bf?",
    "y/\u00bf?",
    ".hidden",
    "a" * 200,
    "hub/models--google--gemma-2-2b/snapshots/0123456789abcdef",
    "hub/models--google--gemma-2-2b/snapshots/fedcba9876543210",
    "hub/models--google--gemma-2-9b/snapshots/0123456789abcdef",
)
CASES = [
    (("small", "google/gemma-2-2b"), ("small", "gemma-2-2b")),
    (("./small/", "small"), ("small-a", "small-b")),  # one model with itself
    (("runs/small/hf", "runs/large/hf"), ("small-hf", "large-hf")),
    (("google/gemma-2-2b", "google/gemma-2-9b@0123"), ("gemma-2-2b", "gemma-2-9b")),
    (("google/gemma", "other/gemma"), ("google-gemma", "other-gemma")),
    (("a/b@0123456789ab", "a/b@fedcba987654"), ("01234567-a-b", "fedcba98-a-b")),
    (("a/b@0123456789ab", "a/b@0123456789ab"), ("b-a", "b-b")),
    (("run[gpt2]", "small"), ("run-gpt2", "small")),
    (("mod\u00e8le final", "small"), ("mod\u00e8le-final", "small")),
    (("x/\u00bf?", "y/\u00bf?"), ("x", "y")),
    ((".hidden", "small"), ("hidden", "small")),
    (("a" * 200, "small"), ("a" * 60, "small")),
    ((FOLDERS[10], FOLDERS[12]), ("gemma-2-2b", "gemma-2-9b")),
    ((FOLDERS[10], "google/gemma-2-2b"), None),  # whatever tells them apart
    ((FOLDERS[10], FOLDERS[11]), ("01234567-google-gemma-2-2b", "fedcba98-google-gemma-2-2b")),
    (("run[gpt2]", "run(gpt2)"), None),
]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for folder in FOLDERS:
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "sae").mkdir()
    (tmp_path / "sae" / "cfg.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("where", "names"), CASES)
def test_names_are_told_from_folders_and_repositories(
    here: Path, where: tuple[str, str], names: tuple[str, str] | None
):
    a, b = (model.name for model in models_of_pair(where, ([SAE], [SAE])))
    assert a != b
    assert names in (None, (a, b))
    for name in (a, b):
        (here / "stores" / name).mkdir(parents=True)  # a folder of that name can be made, and lies where it should
    assert sorted(p.name for p in (here / "stores").iterdir()) == sorted((a, b))


def test_given_names_stand_and_equal_ones_are_told_apart(here: Path):
    for given, names in (
        (("one", "two"), ("one", "two")),
        (("", "two"), ("small", "two")),
        (("small", ""), ("small", "gemma")),
        (("gemma", ""), ("gemma-a", "gemma-b")),
        (("x [y] $z", "\u65e5\u672c"), ("x [y] $z", "\u65e5\u672c")),
    ):
        found = models_of_pair(("small", "google/gemma"), ([SAE], [SAE]), given)
        assert (found[0].name, found[1].name) == names


@pytest.mark.parametrize("name", ["", " ", "..", ".x", "a/b", "../../x", "a\\b", "a\nb", "\x1b[1m", "n" * 101])
def test_names_that_files_cannot_have_are_refused(name: str):
    sae = SaeConfig("blocks.0.hook_resid_post", "s")
    with pytest.raises(InputError, match="the name of a model must be fit for a file's name"):
        ModelConfig(name, "m", (sae,))
    model = ModelConfig("m", "m", (sae,))
    with pytest.raises(InputError, match="the name of a control must be fit for a file's name"):
        ControlConfig(name, "floor", model, model)


@pytest.mark.slow
@pytest.mark.parametrize("names", [("x [y] $z", "b_{2}^$ <i>|x|"), ("gemma-2-2b", "gemma-2-9b")])
def test_reports_call_the_models_by_their_names(names: tuple[str, str], tmp_path: Path):
    """At the top, in the headline, in axis labels and table headers; and no name is markup or a formula."""
    made = changed(results(), {"model_a.name": names[0], "model_b.name": names[1]})
    a, b = names
    assert names_of(made) == names
    assert all(f"of {a} x {b}, " in line for line in headline(made).splitlines() if line.startswith("- "))
    write_report(made, [], tmp_path)
    report, shown = (tmp_path / "report.md").read_text(), page(made, [], tables(), {})
    of_a, of_b = no_markup(names)
    assert report.startswith(f"# Do {of_a} (A) and {of_b} (B) hold the same features?")
    cell = of_b.replace("|", "\\|")
    for text in (
        f"| features of {of_a} | features of {cell} | pairs |",
        f"| never vary ({of_a} / {cell}) |",
        f"| features of {cell} that vary in both halves |",
        f"Layers 1 of {of_a} and 2 of {of_b}.",
    ):
        assert text in report
    html = b.replace("<i>", "&lt;i&gt;")
    for text in (f"layer of {a} (A)", f"Layer of {html} <select", f"best at {a} x {html}", f"{html} (B): the same"):
        assert text in shown
    for old in ("A layer", "layer of B", "of A ", "of B ", "features A", "B features"):
        assert old not in report
        assert f">{old}" not in shown
    assert (tmp_path / "figures" / "rsa.png").stat().st_size > 10_000
