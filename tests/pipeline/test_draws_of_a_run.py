"""A run whose suite states draws by what they cost: what it says of them, and that its archive is checked too."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from semconv import InputError
from semconv.pipeline.rebuild_archive import check_told, rebuild
from semconv.results.read import read_results
from semconv.results.schema import NullTest, Results, Score
from semconv.runs.archive import opened, write_archive
from semconv.suite.config import suite_from_json
from tests.conftest import semconv_cli

pytestmark = pytest.mark.slow


DRAWS = """n_permutations = 150
draws = { singular_values = 110 }
stop_after = 5
stop_from = 8
tail = ["singular_values", "products"]"""


@pytest.fixture(scope="module")
def run(tiny_suite: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Results]:
    suite = tmp_path_factory.mktemp("suite") / tiny_suite.name
    text = tiny_suite.read_text().replace("n_permutations = 99", DRAWS).replace("n_rematch = 5\nn_bootstrap = 3\n", "")
    suite.write_text(text.replace("[compare]", '[compare]\nmeasures = ["svcca_variance", "procrustes", "rsa"]'))
    done = semconv_cli("reproduce", suite, "--out", suite.parent / "run", "--fast")
    assert done.returncode == 0, done.stderr
    return suite.parent / "run", read_results(suite.parent / "run")


def every_test(results: Results) -> dict[str, NullTest]:
    return {
        f"{key}.{null}.{measure}": test
        for key, pair in results.grid.items()
        for measure, score in pair.measures.items()
        for null, test in (score.nulls.items() if isinstance(score, Score) else ())
        if isinstance(test, NullTest)
    }


def test_every_number_says_how_many_draws_it_comes_of(run: tuple[Path, Results]):
    from semconv.system.files import read_tensors

    folder, results = run
    kept, _ = read_tensors(folder / "nulls.safetensors")
    tests = every_test(results)
    assert len(tests) == 12
    for name, test in tests.items():
        most = 150 if name.endswith("rsa") else 110
        n = len(kept[name])
        assert np.isfinite(kept[name].numpy()).all()
        assert test.draws == (None if n == 150 else n)
        assert (test.p_from == "sequential") == (n < most)
    report = (folder / "report.md").read_text()
    assert "Permutations: 150, but 110 for svcca_variance, procrustes." in report
    assert "A null of the pairing ends once 5 draws reach the score, after 8 at the earliest" in report
    assert "p marked as of a fitted tail is an approximation" in report
    ended = {name: test for name, test in tests.items() if test.p_from == "sequential"}
    assert ended
    for test in ended.values():
        assert f"({test.draws} draws, ended early)" in report
    tails = [test for test in tests.values() if test.p_from == "tail"]
    assert report.count("fitted tail)") >= len(tails)
    assert json.loads((folder / "results.json").read_text())["null"]["draws"] == {"singular_values": 110}


def test_its_archive_follows_from_its_statistics_and_one_draw_too_many_is_refused(
    run: tuple[Path, Results], tmp_path: Path
):
    folder, results = run
    write_archive(folder, tmp_path / "a.zip")
    with opened(tmp_path / "a.zip") as unpacked:
        again, draws = rebuild(unpacked, thorough=True)
        assert again == results
        assert check_told(unpacked, again, draws, "unknown")
        other = shutil.copytree(unpacked, tmp_path / "other")
    suite = suite_from_json(other / "suite.json")
    assert suite.null.tail == ("singular_values", "products")
    text = (other / "suite.json").read_text()
    (other / "suite.json").write_text(text.replace('"stop_from": 8', '"stop_from": 30'))
    with pytest.raises(InputError, match="is of another suite than suite.json"):
        rebuild(other)
