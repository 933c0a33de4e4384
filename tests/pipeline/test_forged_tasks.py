"""Finished tasks of an archive that are not what its suite gives: each is refused with what was expected of it."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from semconv import InputError
from semconv.pipeline.rebuild_archive import rebuild
from semconv.runs.archive import write_archive
from semconv.runs.task_cache import MOST_VALUES
from tests.conftest import requires_models
from tests.hostile.rows import edit_task

pytestmark = requires_models
Change = Callable[[Any, Any], None]


@pytest.fixture(scope="module")
def opened_once(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive")
    write_archive(tiny_run, folder / "tiny.zip")
    with zipfile.ZipFile(folder / "tiny.zip") as file:
        file.extractall(folder / "unpacked")
    return folder / "unpacked"


@pytest.fixture
def unpacked(opened_once: Path, tmp_path: Path) -> Path:
    return shutil.copytree(opened_once, tmp_path / "unpacked")


def repeated(name: str, axis: int, times: int = 50) -> Change:
    """As many draws more, so that every p is smaller."""
    return lambda values, arrays: arrays.update({name: torch.cat([arrays[name]] * times, dim=axis)})


def with_values(**new: Any) -> Change:
    return lambda values, arrays: values.update(new)


def invented(values: Any, arrays: Any) -> None:
    categories = values["categories"]
    categories["Deception"] = categories.pop(next(iter(categories)))


def of_another_measure(values: Any, arrays: Any) -> None:
    values["scores"]["nonsense"] = 2.0


def last_filter(values: Any, arrays: Any) -> None:
    values["filters"][-1]["after"] = 9999


def negative(values: Any, arrays: Any) -> None:
    arrays["counts"] -= 10**6


def half_precision(values: Any, arrays: Any) -> None:
    arrays["r"] = arrays["r"].half()


FORGERIES: dict[str, tuple[str, Change, str]] = {
    "tokens that there are not": (
        "lens.0x2",
        lambda values, arrays: arrays["promoted_a"].fill_(10**9),
        r"tokens of the logit lens of layers 0x2 must be from 0 to \d+, got 1000000000",
    ),
    "another lens": (
        "lens.0x2",
        lambda values, arrays: arrays["agreement"].mul_(0.5),
        "function in results.json of .* is not what follows|another lens_agreement",
    ),
    "more pairs that were ablated": (
        "function.0x2",
        repeated("a", 0),
        r"the effects of 0x2 must be of 1 to 12 pairs, or have a reason, got \d+",
    ),
    "partners that agree": (
        "function.0x2",
        lambda values, arrays: arrays["residual"].fill_(0.9),
        "pairs of the effects of 0x2 without positions must have no agreement|function in results.json of .* is not",
    ),
    "more rematches": (
        "grid.0x2.rematch-scores.0",
        repeated("scores", 0),
        r"draws of rematch of layers 0x2: \[\d+, \d\] expec",
    ),
    "more shifts": (
        "grid.0x2.rematch.0",
        repeated("passed", 0),
        r"pairs that pass in grid\.0x2\.rematch\.0: \[\d+\] expected",
    ),
    "more published shuffles": (
        "published.as_published",
        repeated("shuffle", 1),
        "draws of shuffle of the published step as_pub",
    ),
    "more shuffles of spans": ("spans.0x2", repeated("shuffle", 1), "draws of the spans of layers 0x2: "),
    "more shuffles of a control": (
        "control.twin.observed",
        repeated("draws", 2),
        "draws of shuffle were kept for control twin",
    ),
    "no reasons": (
        "grid.0x2.observed",
        with_values(reasons=[]),
        r"reasons and saturated of layers 0x2: \(\d, \d\) expected",
    ),
    "a reason beside a score": (
        "grid.0x2.observed",
        with_values(reasons=["no"] * 3),
        "a score or a reason|reasons and saturated",
    ),
    "no reasons of spans": ("spans.0x2", with_values(reasons=[]), "reasons of the spans of layers 0x2: "),
    "an invented category": ("subspaces.0x2", invented, "the categories of layers 0x2: .*expected, got .*Deception"),
    "an invented measure": ("self.a.0", of_another_measure, "measures of a/0 with itself: .*nonsense"),
    "more than all features": ("self.a.0", with_values(found_itself=5.0), "must be between 0 and 1, got 5.0"),
    "no filters": ("grid.0x2.observed", with_values(filters=[]), "the last filter of layers 0x2 must leave its"),
    "a filter that leaves more": ("grid.0x2.observed", last_filter, "the last filter of layers 0x2 must leave its"),
    "negative numbers of pairs": (
        "grid.0x2.bootstrap.0",
        negative,
        "numbers of pairs of the resamples of layers 0x2 must not be negative, got -",
    ),
    "other numbers": ("grid.0x2.observed", half_precision, r"r in task grid\.0x2\.observed in .* must be Float64"),
    "another fact": ("grid.0x2.observed", with_values(layer_a=99), "has 'layer_a', which is not known"),
    "facts that take all memory": (
        "categories.a.0",
        with_values(shared={"x": 1, "y" * MOST_VALUES: 2}),
        "none or a damaged one",
    ),
}


@pytest.mark.parametrize("what", list(FORGERIES))
def test_a_task_of_other_sizes_than_the_suite_gives_is_refused(what: str, unpacked: Path):
    name, change, sentence = FORGERIES[what]
    edit_task(unpacked, name, change)
    with pytest.raises(InputError, match=sentence):
        rebuild(unpacked)


def test_layer_pairs_that_changed_places_are_refused(unpacked: Path):
    """Which layers a task is of says its name, and nothing in it."""
    tasks = unpacked / "tasks"
    for one in sorted(tasks.glob("grid.0x2.*")):
        other, aside = tasks / one.name.replace("0x2", "1x2"), tasks / "aside"
        if not other.exists():  # there is another seed at one of the two layers alone
            assert ".seeds." in one.name
            continue
        one.rename(aside)
        other.rename(one)
        aside.rename(other)
    with pytest.raises(
        InputError, match="is not what follows from the statistics|holds other pairs|tokens of the logit lens"
    ):
        rebuild(unpacked)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda r: r.update(fast=True), "says that its run was fast, and suite.json asks for more"),
        (
            lambda r: r["model_a"]["saes"]["0"].update(layer=9),
            r"reads blocks\.0\.hook_resid_post by suite\.json, .* layer 9",
        ),
        (
            lambda r: r["model_a"]["saes"]["0"].update(hook="blocks.7.hook_resid_post"),
            "says blocks.7.hook_resid_post of layer",
        ),
    ],
)
def test_what_is_stated_agrees_with_the_suite(change: Callable[[Any], None], sentence: str, unpacked: Path):
    results = json.loads((unpacked / "results.json").read_text())
    change(results)
    (unpacked / "results.json").write_text(json.dumps(results))
    with pytest.raises(InputError, match=sentence):
        rebuild(unpacked)


def test_keyword_lists_of_ones_own_must_be_in_the_archive(unpacked: Path):
    suite = json.loads((unpacked / "suite.json").read_text())
    suite["subspaces"]["categories"] = str(unpacked / "elsewhere.toml")
    (unpacked / "suite.json").write_text(json.dumps(suite))
    with pytest.raises(InputError, match=r"is of another suite|holds no categories\.toml"):
        rebuild(unpacked)
