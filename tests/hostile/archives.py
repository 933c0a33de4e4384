"""Hostile archives and runs: whose they say they are, and results that do not follow from what lies beside them."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from typing import Any

from semconv.runs.crate import METADATA
from tests.hostile.rows import (
    EITHER,
    FAILS,
    PASSES,
    Arguments,
    World,
    edit,
    edit_task,
    forged,
    listed_again,
    packed,
    row,
    rows,
    scaled,
    stated,
)

# Whose suite, claims and reference

SUITE_NAME = "name of a suite in an archive"


@rows(
    SUITE_NAME,
    {
        "a capital": ("Mini", "Mini, none that ships; it is not the suite mini, whose name it looks like"),
        "a hyphen": ("mi-ni", "mi-ni, none that ships; it is not the suite mini, whose name it looks like"),
        "wide letters": ("ｍｉｎｉ", "none that ships; it is not the suite mini, whose name it looks like"),
    },
    code=PASSES,
    quick=1,
)
def looks_like_one_that_ships(w: World, name: str) -> Arguments:
    folder = w.unpacked()
    edit(folder / "suite.json", lambda suite: suite.update(name=name))
    claims = folder / "claims.toml"
    claims.write_text(claims.read_text().replace('suite = "tiny"', f'suite = "{name}"'))
    return packed(forged(folder, told=True))


@rows(
    SUITE_NAME,
    {
        name or "none": (name, "the name of a suite must be fit for a file's name")
        for name in ("mini ", " mini", "..", "a/b", "", "m\u202eini", "a\nb", "\x1b[2Jmini")
    },
)
def is_no_file_name(w: World, name: str) -> Arguments:
    folder = w.unpacked()
    edit(folder / "suite.json", lambda suite: suite.update(name=name))
    listed_again(folder)
    return packed(folder)


@row(SUITE_NAME, "results have no 'grid.3x6.measures.rsa.score'", slow=True)
def calls_itself_by_that_of_one_that_ships(w: World) -> Arguments:
    folder = w.unpacked()
    edit(folder / "suite.json", lambda suite: suite.update(name="mini"))
    claims = folder / "claims.toml"
    claims.write_text(claims.read_text().replace('suite = "tiny"', 'suite = "mini"'))
    return packed(forged(folder, told=True))


@row(SUITE_NAME, "nothing was checked", code=FAILS, slow=True)
def without_a_claim_about_it(w: World) -> Arguments:
    folder = w.unpacked()
    claims = folder / "claims.toml"
    claims.write_text(claims.read_text().replace('suite = "tiny"', 'suite = "else"'))
    return packed(forged(folder, told=True))


# Results that do not follow from what lies beside them

RESULTS = "forged results"
FOLLOWS = "is not what follows from the statistics beside it"


def _set(*place: str, value: Any) -> Callable[[Any], None]:
    def change(results: Any) -> None:
        for key in place[:-1]:
            results = results[key]
        assert place[-1] in results, place
        results[place[-1]] = value

    return change


@rows(
    RESULTS,
    {
        " ".join(place): (_set(*place, value=value), FOLLOWS)
        for place, value in {
            ("grid", "0x2", "measures", "rsa", "nulls", "rematch", "p"): 0.001,
            ("grid", "0x2", "measures", "rsa", "score"): 0.9,
            ("grid", "0x2", "measures", "rsa", "interval"): [0.8, 0.9],
            ("grid", "0x2", "pairs"): 5000,
            ("grid", "0x2", "mean_r"): 0.99,
            ("controls", "pairs", "twin", "pairs"): 1,
            ("controls", "self_match"): {},
            ("summary", "rsa", "layer_pairs"): 999,
            ("subspaces", "categories"): "other words",
            ("subspaces", "grid"): {},
            ("spans", "mean_length"): 99.0,
            ("streams", "positions"): 1_000_000,
            ("streams", "grid", "0x2", "raw", "measures", "rsa", "score"): 0.9,
            ("function", "grid", "0x2", "rsa"): 0.9,
            ("function", "thirds"): {},
            ("function", "rules", "0x2", "rules", "mutual", "agreement"): 0.9,
            ("function", "position_kinds", "0x2", "kinds", "strongest", "agreement"): 0.9,
            ("function", "lens", "0x2", "correlation"): 0.9,
            ("published", "steps"): [],
            ("warnings",): [],
            ("null", "n_permutations"): 1_000_000,
            ("suite",): "mini",
            ("model_a", "name"): "google/gemma-2-2b",
        }.items()
    },
)
def of_another(w: World, change: Callable[[Any], None]) -> Arguments:
    folder = w.unpacked()
    edit(folder / "results.json", change)
    listed_again(folder)
    return packed(folder)


@rows(
    RESULTS,
    {
        "draws of shuffle": (
            ("grid.0x2.observed", scaled("draws", at=0)),
            "draws of shuffle that were kept for [a-z_0-9]+ of layers 0x2 are .* away from what the decoder rows and",
        ),
        "stated score": (
            ("grid.0x2.observed", scaled("scores")),
            "[a-z_0-9]+ of layers 0x2 is .* in results.json of .* away from what its decoder rows give",
        ),
        "pairs": (
            ("grid.0x2.observed", scaled("a", 2)),
            "pairs.parquet in .* holds other pairs of layers 0x2 than were scored",
        ),
    },
)
def follow_from_a_forged_task(w: World, forgery: Any) -> Arguments:
    folder = w.unpacked()
    edit_task(folder, *forgery)
    return packed(forged(folder))


@row(RESULTS, "99 draws of shuffle were kept for layers .*, the suite says 1000000")
def a_million_stated_permutations(w: World) -> Arguments:
    folder = w.unpacked()
    edit(folder / "suite.json", _set("null", "n_permutations", value=1_000_000))
    return packed(forged(folder))


@rows(
    "what only the models or the text could show",
    {
        "draws of frequency": (
            ("grid.0x2.observed", scaled("draws", at=1)),
            "As stated: .* the draws of frequency and of the nulls that match again",
        ),
        "draws of rematch": (
            ("grid.0x2.rematch-scores.0", scaled("scores")),
            "As stated: .* the draws of frequency and of the nulls that match again",
        ),
        "published steps": (
            ("published.as_published", stated(pairs=5000)),
            "As stated: .* published steps",
        ),
        "controls": (
            ("control.twin.observed", scaled("r")),
            "As stated: .* controls",
        ),
    },
    code=PASSES,
    quick=1,
)
def is_listed_as_stated(w: World, forgery: Any) -> Arguments:
    folder = w.unpacked()
    edit_task(folder, *forgery)
    return packed(forged(folder, told=True))


@rows(
    "forged report or page",
    {
        name: (name, rf"{name} in .* is not what its results give|not checked: {name} as this commit writes them")
        for name in ("index.html", "report.md")
    },
    code=EITHER,
    quick=1,  # refused where this commit made the run, told as not checked where it had changes
)
def with_another_sentence(w: World, name: str) -> Arguments:
    folder = w.unpacked()
    with (folder / name).open("a") as file:
        file.write("<b>Both models are the same.</b>")
    listed_again(folder)
    return packed(folder)


@rows(
    "crate",
    {
        "lists a file outside": (("../outside", None), r"lists \.\./outside, which lies outside of it"),
        "lists an absolute path": (("/etc/hostname", None), "lists /etc/hostname, which lies outside of it"),
        "lists a file that is not there": (("absent.txt", None), "lists absent.txt, which is missing"),
        "lists a folder": (("tasks", None), "lists tasks, which is missing"),
        "lists a name with NUL": (("a\0b", None), "missing|damaged"),
        "is no JSON": ((None, "{"), "is not JSON that can be read"),
        "has no graph": ((None, "{}"), "its @graph must be a list of entities"),
        "has a graph of texts": ((None, '{"@graph": ["x"]}'), "its @graph must be a list of entities"),
        "is nested deep": ((None, '{"@graph": ' + "[" * 100_000 + "]" * 100_000 + "}"), "is nested too deep"),
        "has a number of 5,000 digits": (
            (None, '{"@graph": ' + "9" * 5000 + "}"),
            "it holds a number of thousands of digits",
        ),
        "is not UTF-8": ((None, b'{"@graph": "\xff"}'), "is not UTF-8"),
        "is empty": ((None, ""), "is not JSON that can be read"),
    },
)
def of_an_archive(w: World, what: tuple[str | None, str | bytes | None]) -> Arguments:
    name, content = what
    folder = w.unpacked()
    if name is not None:
        extra = {"@id": name, "@type": "File", "sha256": "0" * 64, "contentSize": "1"}
        edit(folder / METADATA, lambda crate: crate["@graph"].append(extra))
    elif isinstance(content, bytes):
        (folder / METADATA).write_bytes(content)
    else:
        (folder / METADATA).write_text(str(content))
    return packed(folder)


@row("crate", "holds extra.txt, which its .* does not list")
def with_a_file_that_it_does_not_list(w: World) -> Arguments:
    folder = w.unpacked()
    (folder / "extra.txt").write_text("x")
    return packed(folder)


@row("crate", "holds a file twice")
def with_a_file_twice(w: World) -> Arguments:
    import warnings

    path = shutil.copy(w.archive, w.folder / "twice.zip")
    with zipfile.ZipFile(path, "a") as file, warnings.catch_warnings(action="ignore"):
        file.writestr("results.json", "{}")
    return ["verify", "--bundle", path]


@rows(
    "damaged archive",
    {
        "no zip": (b"no zip", "is no archive of a run"),
        "empty": (b"", "is no archive of a run"),
        "a zip of nothing": (b"PK\x05\x06" + bytes(18), f"holds no {METADATA}"),
        "half": (None, "is no archive of a run"),
    },
)
def is_refused(w: World, content: bytes | None) -> Arguments:
    path = w.folder / "sent.zip"
    whole = w.archive.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    return ["verify", "--bundle", path]
