"""What is no text, no JSON and no TOML, and odd paths."""

from __future__ import annotations

import shutil

from tests.hostile.rows import PASSES, Arguments, World, listed_again, packed, rows
from tests.hostile.sizes import FILLS, READ, _with_places

# What is no text, no JSON, no TOML

DEEP = 100_000


@rows(
    "malformed JSON and TOML",
    {
        "nested deep": ("x = " + "[" * DEEP + "]" * DEEP, "suite.toml"),
        "a number of 5,000 digits": ("x = " + "9" * 5000, "suite.toml"),
        "not UTF-8": (b"x = '\xff'", "suite.toml"),
        "no TOML": ("{", "suite.toml"),
        "empty": ("", "suite.toml"),
        "NUL": ("\0", "suite.toml"),
        "an unknown setting": ("nmae = 'x'", "nmae|name"),
    },
)
def a_suite_that_is(w: World, content: str | bytes) -> Arguments:
    path = w.folder / "suite.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return ["encode", path, "--out", w.folder / "out"]


@rows(
    "malformed JSON and TOML",
    {
        "nested deep": ("x = " + "[" * DEEP + "]" * DEEP, "claims.toml"),
        "a number of 5,000 digits": ("x = " + "9" * 5000, "claims.toml"),
        "not UTF-8": (b"x = '\xff'", "claims.toml"),
        "no TOML": ("{", "claims.toml"),
        "empty": ("", r"must hold \[\[claim\]\] tables"),
    },
)
def claims_that_are(w: World, content: str | bytes) -> Arguments:
    path = w.folder / "claims.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return ["verify", w.run, "--claims", path]


@rows(
    "malformed JSON and TOML",
    {
        f"{name} is {what}": ((name, content), f"{name}.json|{name}")
        for name in ("results", "suite")
        for what, content in {
            "nested deep": "[" * DEEP + "]" * DEEP,
            "a number of 5,000 digits": '{"x": ' + "9" * 5000 + "}",
            "not UTF-8": b'{"x": "\xff"}',
            "a list": "[]",
            "null": "null",
            "an empty object": "{}",
            "NaN": "NaN",
        }.items()
    },
)
def in_an_archive_whose(w: World, what: tuple[str, str | bytes]) -> Arguments:
    name, content = what
    folder = w.unpacked()
    (folder / f"{name}.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    listed_again(folder)
    return packed(folder)


ODD = {
    name: (value, "1 claims pass, 0 fail")
    for name, value in {
        "brackets": "[red]run[b]",
        "quotes": "a'b\"c",
        "two lines": "a\nb",
        "control characters": "\x1b[31m",
        "a hyphen first": "--run",
        "percent and braces": "%s{0}%20",
        "a line separator": "a\u2028b",
        "200 letters": "n" * 200,
    }.items()
}


@rows("odd paths", ODD, code=PASSES)
def of_a_run_with(w: World, name: str) -> Arguments:
    run = w.folder / name
    run.mkdir()
    for one in ("results.json", "suite.json"):
        shutil.copy(w.run / one, run)
    return ["verify", run, "--claims", w.suite.with_name("claims.toml")]


@rows("odd paths", ODD, code=PASSES, quick=0)
def of_an_archive_with(w: World, name: str) -> Arguments:
    return ["verify", "--bundle", shutil.copy(w.archive, w.folder / f"{name}.zip")]


@rows("odd paths", {name: (value, "bytes as in the archive") for name, (value, _) in ODD.items()}, code=PASSES, quick=0)
def of_a_report_with(w: World, name: str) -> Arguments:
    return ["report", "--from", w.archive, "--out", w.folder / name]


@rows(
    FILLS,
    {
        "plain": ("text.txt.gz", "text.txt.gz unpacks to more than"),
        "one line of JSON": ("text.jsonl.gz", "text.jsonl.gz unpacks to more than"),
    },
)
def text_that_unpacks_to_far_more(w: World, name: str) -> Arguments:
    import gzip

    with gzip.open(w.folder / name, "wb") as file:
        for _ in range(100):
            file.write(b" " * 2**20)
    text = ["compare", "{a}", "{a}", "--sae-a", "{sae}", "--sae-b", "{sae}", *READ, name]
    return _with_places(w, text)
