"""Small inputs that hang or fill."""

from __future__ import annotations

import os

from semconv.runs.crate import METADATA
from tests.hostile.rows import EITHER, Arguments, World, edit, listed_again, packed, row, rows

# Small inputs that hang or fill

FILLS = "small inputs that hang or fill"


@rows(
    FILLS,
    {
        f"{name} = {value}": ((name, value), rf"null\.{name} must be between [01] and 10000000")
        for name in ("n_rematch", "n_bootstrap", "n_permutations")
        for value in (10**12, 10**30, -1)
    },
)
def a_suite_in_an_archive_with(w: World, setting: tuple[str, int]) -> Arguments:
    folder = w.unpacked()
    edit(folder / "suite.json", lambda suite: suite["null"].update(dict([setting])))
    listed_again(folder)
    return packed(folder)


READ = ("--tokenizer", "{tokenizer}", "--out", "out", "--text")


@rows(
    FILLS,
    {
        "an archive": (["verify", "--bundle", "pipe"], "neither a file nor a folder"),
        "a run": (["verify", "pipe"], "pipe"),
        "a suite": (["encode", "pipe.toml", "--out", "out"], "pipe.toml is not a file"),
        "claims": (["verify", "{run}", "--claims", "pipe"], "pipe is not a file"),
        "a store": (["store", "verify", "pipe"], "pipe"),
        "text": (
            ["compare", "{a}", "{a}", "--sae-a", "{sae}", "--sae-b", "{sae}", *READ, "pipe.txt"],
            "pipe.txt is neither a file nor a folder",
        ),
        "a model": (
            ["compare", "pipe", "{a}", "--sae-a", "{sae}", "--sae-b", "{sae}", *READ, "{text}"],
            "'pipe' is neither a folder nor OWNER/NAME of the hub",
        ),
        "a reference": (["verify", "{run}", "--claims", "{claims}", "--reference", "pipe"], "pipe"),
    },
)
def a_pipe_as(w: World, arguments: list[str]) -> Arguments:
    for name in ("pipe", "pipe.toml", "pipe.txt"):
        os.mkfifo(w.folder / name)
    return _with_places(w, arguments)


@rows(
    FILLS,
    {
        "an archive": (["verify", "--bundle", "/dev/zero"], "neither a file nor a folder"),
        "a suite": (["encode", "zero.toml", "--out", "out"], "zero.toml is not a file"),
        "claims": (["verify", "{run}", "--claims", "/dev/zero"], "/dev/zero is not a file"),
        "text": (
            ["compare", "{a}", "{a}", "--sae-a", "{sae}", "--sae-b", "{sae}", *READ, "zero.txt"],
            "zero.txt is neither a file nor a folder",
        ),
    },
)
def a_device_as(w: World, arguments: list[str]) -> Arguments:
    for name in ("zero.txt", "zero.toml"):
        (w.folder / name).symlink_to("/dev/zero")
    return _with_places(w, arguments)


def _with_places(w: World, arguments: list[str]) -> Arguments:
    beside = w.suite.parent
    places = {
        "{run}": w.run,
        "{a}": beside / "model_a",
        "{sae}": f"{beside / 'sae_a0'}@0",
        "{text}": beside / "text.txt",
        "{claims}": beside / "claims.toml",
        "{tokenizer}": beside / "tokenizer.json",
    }
    return [places.get(argument, argument) for argument in arguments]


def _bomb(w: World, name: str, size: int, content: bytes = b" ") -> Arguments:
    """An archive one of whose files has so many bytes, all the same, after what it should begin with."""
    folder = w.unpacked()
    path = folder / name
    with path.open("ab") as file:
        for _ in range(size // 2**20):
            file.write(content * 2**20)
    if name != METADATA:
        listed_again(folder)
    return packed(folder)


@rows(
    FILLS,
    {
        "a page": (("index.html", 2**31), "--max-size"),
        "JSON": (("results.json", 100 * 2**20), "of JSON at most .* are read; see --max-size"),
        "a crate": ((METADATA, 100 * 2**20), f"holds no {METADATA} of at most"),
        "a task": (("tasks/grid.0x2.observed.safetensors", 2**31), "--max-size"),
    },
    quick=0,
)
def an_archive_that_unpacks_to_gigabytes_of(w: World, what: tuple[str, int]) -> Arguments:
    return _bomb(w, *what)


def _with_little_memory(mib: int) -> None:
    @row(f"{mib} MiB of memory", "too little memory", mib=mib, slow=mib > 20)
    def for_an_archive(w: World) -> Arguments:
        return ["verify", "--bundle", w.archive]

    @row(f"{mib} MiB of memory", "too little memory|semconv: encode b", code=EITHER, mib=mib, slow=mib > 20)
    def for_encoding(w: World) -> Arguments:
        return ["encode", w.suite, "--out", w.folder / "out"]


# With more memory, too little of it ends verify by a signal: the library that draws figures holds V8, which ends the
# process where it gets none.
for _mib in (3, 20, 80, 120):
    _with_little_memory(_mib)


@row(FILLS, "pairs.parquet has 30000000 rows, at most .* are read; see --max-size", slow=True)
def a_table_that_repeats_a_value(w: World) -> Arguments:
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = w.unpacked()
    pq.write_table(pa.table({"x": pa.array(["x"] * 30_000_000).dictionary_encode()}), folder / "pairs.parquet")
    listed_again(folder)
    return packed(folder)


@row(FILLS, "not the file that was listed|no archive of a run, or a damaged one")
def an_archive_whose_sizes_are_not_what_it_says(w: World) -> Arguments:
    folder = w.unpacked()
    with (folder / "index.html").open("ab") as file:
        file.write(b" " * 2**26)
    return packed(folder)
