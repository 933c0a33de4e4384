"""Writes every table, figure and quoted number of the documents from the result files, or checks that they stand so.

    python scripts/paper/paper_numbers.py            # `make paper-numbers`
    python scripts/paper/paper_numbers.py --check    # part of `make check`; exit code 1, a line for each that differs

Sources are `expected/` (the reference run) and `measurements/` (what the scripts printed, each named in its document).
In the documents an HTML comment says where a number comes from, and nothing else about it is typed:

    <!-- made: NAME -->  ...  <!-- end -->                  a table that a function below makes
    <!-- from FILE, parts 2 to 3 -->  ...  <!-- end -->     parts of a Markdown file, from 1, blank lines between;
                                                            `, headings + 1` makes its headings one deeper
    <!-- numbers: FILE 0.103 = a.b.c | 314 = a.d -->        after a paragraph: each literal in it is that value of the
                                                            JSON file, rounded as the literal is; one that stands
                                                            there twice is quoted twice, in that order

FILE may also be claims.toml (`checked`, `passed`, `others`) or measurements/calibration.md (`uniform`, `tests`). Every
number of a sentence about results must be quoted so: `bound_numbers.py` says which those are.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any

from bound_numbers import counts, unbound

from semconv.bench.tables import slope
from semconv.report.figures import write_figures
from semconv.results.claims import check_claims, load_claims, value_at
from semconv.results.read import read_results
from semconv.study.order import in_order
from semconv.system.errors import InputError
from semconv.system.files import write_atomically, write_text
from semconv.system.markdown import show, table

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = (
    "README.md",
    "artifact.md",
    "docs/benchmarks.md",
    "docs/cuda.md",
    "docs/real-model.md",
    "docs/statistics.md",
)
FIGURES = {"docs/figures/rsa.png": "rsa.png"}
REFERENCE = "expected/mini"
_LITTLE = 0.005  # RSA above a null that is told as more than next to nothing
_BLOCK = re.compile(r"<!-- (made|from):? (.+?) -->\n.*?<!-- end -->", re.DOTALL)
_QUOTES = re.compile(r"(?P<text>[^\n][^\x00]*?)\n<!-- numbers: (?P<file>\S+) (?P<quotes>.+?) -->", re.DOTALL)


@cache
def read_json(name: str) -> Any:
    if not name.endswith(".json"):
        return counts(ROOT / name, ROOT / REFERENCE)
    return json.loads((ROOT / name).read_text(encoding="utf-8"))


def claims_table() -> str:
    """Returns the claims of the mini suite, expected and observed in the reference run."""
    rows: list[list[object]] = []
    for c in check_claims(load_claims(ROOT / "claims.toml"), read_results(ROOT / REFERENCE)):
        if c.verdict == "not run":
            continue
        expected = c.claim.wanted.removeprefix("equal ").removeprefix("within ")
        rows.append([c.claim.id, c.claim.statement, expected, c.found, c.verdict])
    return table(["claim", "statement", "expected", "observed", "verdict"], rows)


def speed_table() -> str:
    """Returns every peer on the main job."""
    rows: list[list[object]] = []
    for t in read_json("measurements/bench.json")["timings"]:
        name = t["peer"] + " (extrapolated)" * t["note"].startswith("extrapolated")
        ratio = f"{t['ratio']:.2g}" if t["ratio"] < 10 else f"{t['ratio']:.0f}"
        rows.append([name, t["does"], f"{t['seconds']:.3g}", ratio])
    return table(["", "computes", "seconds", "ratio"], rows)


def targets_table() -> str:
    """Returns the speed that was wanted of the kernel beside what `bench --full` found."""
    bench = read_json("measurements/bench.json")
    main = {t["peer"]: t for t in bench["timings"]}
    at = {axis: [row for row in bench["axes"] if row["axis"] == axis] for axis in ("n_tokens", "n_features")}
    topn = [
        t["ratio"]
        for row in bench["axes"]
        for t in row["timings"]
        if t["peer"] == "sparse_dot_topn" and t["job"] == main["sparse_dot_topn"]["job"]
    ]

    def other(task: str, what: str) -> list[float]:
        return [o["ratio"] for o in bench["other_ops"] if o["task"].startswith(task) and o["other"].startswith(what)]

    def grows(axis: str) -> float:
        points = [(float(row["value"]), float(row["timings"][0]["seconds"])) for row in at[axis]]
        return slope([x for x, _ in points], [y for _, y in points])

    def times(ratios: list[float]) -> str:
        least, most = (f"{ratio:.3g}" if ratio < 10 else f"{ratio:.0f}" for ratio in (min(ratios), max(ratios)))
        return f"{least}x" if least == most else f"{least}x to {most}x"

    def row(figure: str, target: str, measured: str, met: bool, why: str = "") -> list[object]:
        return [figure, target, measured, "" if met else f"missed{why}"]

    scipy, dense = main["scipy.sparse"]["ratio"], main["torch, chunked dense"]["ratio"]
    mib = main["semconv best_matches"]["peak_mib"]
    afresh, indexing = other("permuted_dot", "SciPy"), other("permuted_dot", "NumPy")
    gather, reading = other("compact_rows", "torch.nonzero"), [1 / r for r in other("compact_rows", "reading")]
    updates = [1 / r for r in other("StreamingCorrelation", "one update")]
    tokens, features = grows("n_tokens"), grows("n_features")
    rows = [
        row("`best_matches` against `sparse_dot_topn`", "8x", times(topn), min(topn) >= 8, ", see below"),
        row("against `scipy.sparse`", "25x", times([scipy]), scipy >= 25),
        row("against chunked dense float32", "1000x", times([dense]), dense >= 1000, ": AVX-512 makes it this fast"),
        row("growth in tokens, slope", "0.9 to 1.1", f"{tokens:.2f}", 0.9 <= tokens <= 1.1),
        row("growth in features at fixed L0, slope", "below 1", f"{features:.2f}", features < 1),
        row("memory beside the inputs", "1.2 x packed (97) + 4 a thread", f"{mib:.0f} MiB", mib <= 97 + 8),
        row("`permuted_dot` against SciPy afresh", "100x", times(afresh), min(afresh) >= 100),
        row("`permuted_dot` against NumPy indexing", "5x", times(indexing), min(indexing) >= 5),
        row("`compact_rows` against `torch.nonzero` and a gather", "5x", times(gather), min(gather) >= 5),
        row("`compact_rows`, its time over reading the chunk", "2x", times(reading), max(reading) <= 2),
        row("200 streaming updates, their time over one", "1.3x", times(updates), max(updates) <= 1.3),
    ]
    return table(["figure", "target", "measured", ""], rows)


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def runs_table() -> str:
    """Returns the commands of the walk-through with their wall times."""
    rows: list[list[object]] = []
    runs = read_json("measurements/runs.json")["runs"]
    if not runs or any(r["exit_code"] for r in runs):
        raise InputError(
            "measurements/runs.json must hold a walk-through in which every command ended with exit code 0"
        )
    for r in runs:
        said = f": {r['said']}" if r["said"] else ""
        command, commit = f"`{r['command']}`", r["commit"][:7]
        rows.append([command, commit, duration(r["seconds"]), f"exit code {r['exit_code']}{said}"])
    return table(["command", "commit", "wall time", "ended"], rows)


REAL = "measurements/real-model.json"


def real_times_table() -> str:
    """Returns what each step of the trial on a real model took."""
    found = read_json(REAL)
    rows: list[list[object]] = [
        [name, duration(t["wall_seconds"]), duration(t["cpu_seconds"]), duration(t["others_cpu_seconds"])]
        for name, t in [*found["times"].items(), ("all", found["total"])]
    ]
    return table(["step", "wall time", "processor time", "processor time of other programs meanwhile"], rows)


def real_saes_table() -> str:
    """Returns the SAEs of the trial on held-out text, and where the text of its three runs has attention sinks."""
    found = read_json(REAL)
    rows: list[list[object]] = []
    for label, sae in found["saes"].items():
        sinks = []
        for run in ("default", "no-bos"):
            of_run = {**found["runs"][run]["saes"]["a"], **found["runs"][run]["saes"]["b"]}[label]
            sinks.append(f"{of_run['sinks']} ({100 * of_run['sinks_norm_share']:.0f}%)" if of_run["sinks"] else "0")
        rows.append(
            [label, show(sae["explained_variance"]), show(sae["l0"]), f"{100 * sae['dead_share']:.0f}%", *sinks]
        )
    return table(["SAE", "variance explained", "L0", "never active", "sinks, with BOS", "sinks, without"], rows)


def real_cells_table() -> str:
    """Returns every pair of SAEs of the trial's runs."""
    rows: list[list[object]] = []
    for run, found in read_json(REAL)["runs"].items():
        for key, cell in sorted(found["cells"].items(), key=lambda item: -(item[1]["rsa"] or 0)):
            rows.append(
                [
                    run,
                    key,
                    cell["pairs"],
                    f"{cell['pairs_on_marks']} ({cell['pairs_on_marks_above_095']} of {cell['pairs_above_095']})",
                    *(show(cell[name]) for name in ("rsa", "rsa_rematch", "rsa_rematch_p", "same_partner")),
                ]
            )
    marks = "on marks alone (of those with r > 0.95)"
    return table(["run", "SAEs", "pairs", marks, "RSA", "of rematches", "p", "same partner on halves"], rows)


def real_function_table() -> str:
    """Returns what the paired features of the trial do, and what of their RSA the current token explains."""
    found = read_json(REAL)["runs"]["function"]
    rows: list[list[object]] = []
    for key, did in sorted(found["function"].items(), key=lambda item: -item[1]["partner"]):
        cell = found["cells"][key]
        rsa = [show(cell[name]) for name in ("rsa_strongest", "rsa_rematch", "rsa_same_token", "rsa_same_token_p")]
        alike = [f"{did[kind]:.3f}" for kind in ("partner", "second_best", "same_token", "co_active", "random")]
        ahead = f"{did['difference']:.3f} ± {did['error']:.3f}"
        rows.append([key, cell["pairs"], *rsa, did["pairs"], *alike, ahead, show(did["p"])])
    header = ["SAEs", "pairs", "RSA of the strongest", "`rematch`", "`same_token`", "its p", "pairs ablated", "partner"]
    return table([*header, "second by r", "same token", "most co-active", "random", "partner ahead by", "p"], rows)


def nulls_table() -> str:
    """Returns RSA of every layer pair of the reference run beside each of its nulls, and what its pairs rest on."""
    rows: list[list[object]] = []
    for key, cell in read_json(f"{REFERENCE}/results.json")["grid"].items():
        rsa, of = cell["measures"]["rsa"], cell["influence"]
        tests = [rsa["nulls"][null] for null in ("shuffle", "frequency", "rematch", "same_token")]
        means = [f"{test['mean']:.4f}" for test in tests]
        exchanged, share = tests[-1], of["pairs_within_token"] / cell["pairs"]
        rows.append(
            [
                *(key, cell["pairs"], f"{rsa['score']:.4f}", *means[:2], f"{rsa['strongest_pairs_score']:.4f}"),
                *(means[2], means[3], f"{exchanged['sd']:.4f}", show(exchanged["p"]), show(exchanged["q"])),
                f"{share:.0%}",
            ]
        )
    left = [
        key
        for key, cell in read_json(f"{REFERENCE}/results.json")["grid"].items()
        if cell["measures"]["rsa"]["nulls"]["same_token"]["score"]
        > cell["measures"]["rsa"]["nulls"]["same_token"]["mean"] + _LITTLE
    ]
    header = ["layers", "pairs", "RSA", "`shuffle`", "`frequency`", "RSA of the strongest", "`rematch`"]
    more = ["`same_token`", "its sd", "its p", "its q", "pairs with r above 0.1 within tokens"]
    said = (
        f"The RSA of the strongest pairs is more than {_LITTLE} above the mean under `same_token` in {len(left)} of "
        f"{len(rows)} layer pairs: {', '.join(left) or '-'}."
    )
    return f"{table([*header, *more], rows)}\n\n{said}"


MADE: dict[str, Callable[[], str]] = {
    "claims": claims_table,
    "nulls": nulls_table,
    "speed": speed_table,
    "targets": targets_table,
    "runs": runs_table,
    "real times": real_times_table,
    "real saes": real_saes_table,
    "real cells": real_cells_table,
    "real function": real_function_table,
}


def parts_of(spec: str) -> str:
    """Returns parts of a Markdown file as a block says."""
    found = re.fullmatch(r"(\S+?)(?:, parts? (\d+)(?: to (\d+))?)?(?:, headings \+ (\d))?", spec)
    if found is None:
        raise InputError(f"a block must say FILE, parts N to M, headings + K, got {spec!r}")
    parts = (ROOT / found[1]).read_text(encoding="utf-8").strip().split("\n\n")
    first = int(found[2] or 1)
    last = int(found[3] or found[2] or len(parts))
    if not 1 <= first <= last <= len(parts):
        raise InputError(f"{found[1]} has parts 1 to {len(parts)}, asked for {first} to {last}")
    text = "\n\n".join(parts[first - 1 : last])
    return re.sub(r"^#", "#" * (1 + int(found[4] or 0)), text, flags=re.MULTILINE)


def block(match: re.Match[str]) -> str:
    kind, spec = match.groups()
    if kind == "made" and spec not in MADE:
        raise InputError(f"no table is called {spec!r}; there are {', '.join(MADE)}")
    body = MADE[spec]() if kind == "made" else parts_of(spec)
    return f"<!-- {kind}{':' if kind == 'made' else ''} {spec} -->\n{body}\n<!-- end -->"


def rounded(literal: str, value: Any) -> str:
    """Returns a value with as many decimals as a literal has."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InputError(f"{literal} = {value!r}: only numbers can be quoted")
    decimals = len(literal.partition(".")[2])
    return f"{value:,.{decimals}f}" if "," in literal else f"{value:.{decimals}f}"


def quoted(match: re.Match[str]) -> str:
    """Returns a paragraph whose quoted literals are what their source says.

    A literal must stand in the paragraph as often as it is quoted; its first quote is for its first place, and so on.
    """
    text, told = match["text"], match["quotes"]
    before, gap, paragraph = text.rpartition("\n\n")
    spans: list[tuple[int, int, str]] = []
    quotes = [quote.partition(" = ")[::2] for quote in re.split(r"\s*\|\s*", told.replace("\n", " "))]
    literals = [literal for literal, _ in quotes]
    now = [rounded(literal, value_at(read_json(match["file"]), path.strip())) for literal, path in quotes]
    for literal in dict.fromkeys(literals):
        places = list(re.finditer(rf"(?<![\d.,]){re.escape(literal)}(?![\d]|[.,]\d)", paragraph))
        if len(places) != literals.count(literal):
            raise InputError(
                f"{literal} is quoted {literals.count(literal)} times and stands {len(places)} times in the paragraph "
                f"that begins {paragraph.strip()[:40]!r}"
            )
        values = [value for other, value in zip(literals, now, strict=True) if other == literal]
        spans += [(place.start(), place.end(), value) for place, value in zip(places, values, strict=True)]
    for start, end, value in sorted(spans, reverse=True):
        paragraph = paragraph[:start] + value + paragraph[end:]
    in_turn = iter(now)
    told = re.sub(r"\S+(?= = )", lambda _: next(in_turn), told)
    return f"{before}{gap}{paragraph}\n<!-- numbers: {match['file']} {told} -->"


def document(name: str) -> str:
    """Returns a document as its sources say it must be."""
    text = (ROOT / name).read_text(encoding="utf-8")
    for what, pattern in (("made:|from ", _BLOCK), ("numbers", _QUOTES), ("end -->", _BLOCK)):
        stand, fit = len(re.findall(rf"^<!-- (?:{what})", text, re.MULTILINE)), len(pattern.findall(text))
        if stand != fit:
            raise InputError(f"{name} has {stand} comments that begin with '<!-- {what}', of which {fit} can be read")
    return _QUOTES.sub(quoted, _BLOCK.sub(block, text))


def figures() -> dict[str, bytes]:
    """Returns the figures of the documents, drawn from the reference run."""
    with tempfile.TemporaryDirectory() as folder:
        write_figures(in_order(read_results(ROOT / REFERENCE)), Path(folder))
        return {name: (Path(folder) / source).read_bytes() for name, source in FIGURES.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing, say what differs")
    check: bool = parser.parse_args().check
    differ, free = list[str](), list[str]()
    for name in DOCUMENTS:
        old, new = (ROOT / name).read_text(encoding="utf-8"), document(name)
        free += unbound(name, new, REFERENCE)
        if old != new:
            lines = zip_longest(old.split("\n"), new.split("\n"))
            line = next(i for i, (a, b) in enumerate(lines, 1) if a != b)
            differ.append(f"{name}, line {line}")
            if not check:
                write_text(ROOT / name, new)
    for name, drawn in figures().items():
        path = ROOT / name
        if not path.exists() or path.read_bytes() != drawn:
            differ.append(name)
            if not check:
                write_atomically(path, lambda p, drawn=drawn: p.write_bytes(drawn) and None)
    for what in differ:
        print(f"{what}: {'differs from its source; run `make paper-numbers`' if check else 'written'}")
    for what in free:
        print(f"{what}: bound to no source; quote it in the comment below its paragraph")
    return 1 if free or (check and differ) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (InputError, OSError, ValueError, KeyError) as error:
        sys.exit(f"paper_numbers: {error}")
