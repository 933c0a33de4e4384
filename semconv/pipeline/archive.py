"""Archives of runs: the sufficient statistics in one zip, without models, and the results rebuilt from them alone."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import zipfile
import zlib
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from random import SystemRandom
from typing import Any

import numpy as np
import torch
from numpy import ndarray

from semconv.compare import Measure, make_measures
from semconv.compare.measure import collected_saturation
from semconv.core.sparse import SparseActivations
from semconv.pipeline.outputs import DECODERS, NULLS, null_tensors, write_nulls
from semconv.report import write_report
from semconv.report.order import in_order
from semconv.results.claims import check_claims, load_claims
from semconv.results.read import load_results
from semconv.results.schema import Results
from semconv.runs.anonymous import check_leaks
from semconv.runs.crate import CATEGORIES, LEFT_OUT, METADATA, Entry, anonymous_metadata, check_crate, listed_files
from semconv.runs.pairs_table import read_pairs
from semconv.runs.task_cache import KeptTasks
from semconv.statistics.permutation import permutation_ids
from semconv.study.comparison import Encoded, Nulls, compare_all
from semconv.study.layer_pairs import Protocol, observed_pairs
from semconv.study.nulls import PAIRING_NULLS
from semconv.study.result_warnings import warnings_of
from semconv.study.sides import Side, key_of
from semconv.suite.config import ModelConfig, SaeConfig, SuiteConfig, suite_from_json
from semconv.suite.hooks import hook_layer
from semconv.system.errors import InputError
from semconv.system.files import read_tensors, temporary_folder, write_atomically, write_json
from semconv.system.provenance import CHANGED, code_commit
from semconv.system.shape import read_as
from semconv.system.side_by_side import side_by_side
from semconv.text.contexts import read_contexts
from semconv.text.token_blocks import TokenBlocks
from semconv.text.top_tokens import TopTokens

STATED = ("suite_sha256", "fast", "corpus", "model_a", "model_b", "read")
"""What of the results is as the archive states it: text, sources, activity and fit of SAEs need models."""
SCORE_TOLERANCE = 1e-9
"""Between a score of the results and the same from decoder rows: another BLAS may add in another order."""
AS_STATED = (
    "text, and sources, activity and fit of the SAEs, which need the models; matches, filters, split halves, the draws "
    "of frequency and rematch, controls, published steps and categories, which need the activations; contexts, which "
    "need the text; commit, machine and times"
)
"""What of an archive cannot be checked without more than it holds."""
SAMPLED = 8
"""Draws of `shuffle` that are taken again for every measure and pair of SAEs."""
TOLD = ("report.md", "index.html")
"""What tells of the results, and is written again from them; figures depend on the machine's fonts too."""
_COPIED = ("suite.json", "claims.toml", "pairs.parquet", "contexts.parquet")
MOST_MIB = 1024
"""MiB that an archive may unpack to unless more is allowed."""
_ROWS_PER_MIB = 10_000
_MOST_METADATA = 2**26
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest a zip can say: the same run gives the same bytes


@dataclass(frozen=True, eq=False)
class _Replayed(Protocol):
    """A protocol whose tasks are all finished, so that nobody asks what they depended on."""

    def inputs(self, a: Side, b: Side, *more: Any) -> list[Any]:
        return []


def write_archive(folder: Path, target: Path, anonymous: bool = False, allowed: Iterable[str] = ()) -> int:
    """Writes a run's results and sufficient statistics as one zip, a self-describing RO-Crate; returns its bytes.

    Every byte of it is searched first, unpacked, for the user's access tokens, which are refused, and for what
    `personal_words` lists, which is refused in an anonymous archive; elsewhere folders of this machine are warned of.

    Args:
        folder: of a finished run; nothing in it is changed.
        target: file to write, `.zip`.
        anonymous: for readers who must not learn whose it is: the crate is what `anonymous_metadata` leaves of it.
        allowed: words, as they are told in a refusal, that may stand in an anonymous archive; no tokens.

    Raises:
        InputError: another suffix, an unfinished run, one whose files are no longer those that it listed, or one that
            holds a word that was looked for.
        OSError: the target cannot be written.
    """
    if target.suffix != ".zip":
        raise InputError(f"an archive is a .zip file, got {target.name}")
    listed = {entry.path: entry.sha256 for entry in check_crate(folder)}
    metadata = anonymous_metadata(folder) if anonymous else (folder / METADATA).read_bytes()

    def members() -> Iterator[tuple[str, bytes]]:
        yield METADATA, metadata
        for name in listed:
            content = (folder / name).read_bytes()
            if hashlib.sha256(content).hexdigest() != listed[name]:
                raise InputError(f"{name} in {folder} changed while it was read; wait for the run to end")
            yield name, content

    check_leaks(members(), [folder], anonymous, allowed)

    def write(temporary: Path) -> None:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members():
                info = zipfile.ZipInfo(name, _EPOCH)
                info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
                info.create_system = 3  # Unix, wherever it is made
                archive.writestr(info, content)

    write_atomically(target, write)
    return target.stat().st_size


@contextmanager
def opened(archive: Path, most_mib: int = MOST_MIB) -> Generator[Path]:
    """Gives a folder with what an archive, or a run folder, lists, every file checked, and nothing else.

    What is refused inside of the `with` is told of the archive, not of that folder.

    Args:
        archive: a zip file or a run folder.
        most_mib: MiB that all of its files may have, unpacked; a JSON file a sixteenth of it, and a table so many rows
            for each MiB as `_ROWS_PER_MIB` says.

    Raises:
        InputError: no archive, a damaged one, a file that it does not list, one that is too large, or what
            `check_crate` refuses.
    """
    if not archive.exists():
        raise InputError(f"archive {archive} does not exist")
    if not archive.is_dir() and not archive.is_file():
        raise InputError(f"archive {archive} is neither a file nor a folder")
    with temporary_folder() as folder:
        try:
            if archive.is_dir():
                _link(archive, folder)
            else:
                _unpack(archive, folder, most_mib)
            _check_sizes(folder, most_mib)
            check_crate(folder)
            yield folder
        except InputError as error:
            raise InputError(str(error).replace(str(folder), str(archive))) from None


def _link(source: Path, folder: Path) -> None:
    for name in (METADATA, *(entry.path for entry in listed_files(source))):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to((source / name).resolve())


def _check_total(archive: Path, entries: Iterable[Entry], most_mib: int) -> None:
    total = sum(entry.size for entry in entries)
    if total > most_mib * 2**20:
        raise InputError(
            f"the files of {archive} have {math.ceil(total / 2**20)} MiB, at most {most_mib} are read; --max-size "
            f"{math.ceil(total / 2**20)} reads them"
        )


def _check_sizes(folder: Path, most_mib: int) -> None:
    """Refuses what is small as a file and large in memory: JSON, and tables that repeat a value."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    entries = listed_files(folder)
    _check_total(folder, entries, most_mib)
    for entry in entries:
        path = folder / entry.path
        if path.suffix == ".json" and entry.size > most_mib * 2**16:
            raise InputError(
                f"{path} has {entry.size} bytes, of JSON at most {most_mib * 2**16} are read; see --max-size"
            )
        if path.suffix != ".parquet" or not path.is_file():
            continue
        try:
            rows = pq.read_metadata(path).num_rows
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{path} is damaged: {error}") from None
        if rows > most_mib * _ROWS_PER_MIB:
            raise InputError(f"{path} has {rows} rows, at most {most_mib * _ROWS_PER_MIB} are read; see --max-size")


def _unpack(archive: Path, folder: Path, most_mib: int) -> None:
    """Unpacks what the crate lists, each file up to the size that it lists; zipfile checks size and CRC."""
    try:
        with zipfile.ZipFile(archive) as file:
            files = [info for info in file.infolist() if not info.is_dir()]
            members = {info.filename: info for info in files}
            if len(members) < len(files):
                raise InputError(f"{archive} holds a file twice")
            for name, info in members.items():
                if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise InputError(f"{name} in {archive} must be stored or deflated, got {info.compress_type}")
            if METADATA not in members or members[METADATA].file_size > _MOST_METADATA:
                raise InputError(f"{archive} holds no {METADATA} of at most {_MOST_METADATA} bytes")
            file.extract(METADATA, folder)
            entries = {entry.path: entry for entry in listed_files(folder)}
            _check_total(archive, entries.values(), most_mib)
            for name, info in members.items():
                if name == METADATA:
                    continue
                if name not in entries:
                    raise InputError(f"{archive} holds {name}, which its {METADATA} does not list")
                if info.file_size != entries[name].size:
                    raise InputError(
                        f"{name} in {archive} is not the file that was listed: {entries[name].size} bytes expected, "
                        f"{info.file_size} found"
                    )
                file.extract(name, folder)  # zipfile keeps names inside of the folder
    except InputError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise InputError(f"{archive} is no archive of a run, or a damaged one: {error}") from None
    except OSError as error:
        raise InputError(f"{archive} cannot be unpacked: {error.strerror or error}") from None


def _side(model: ModelConfig, sae: SaeConfig) -> Side:
    """Returns a side that has a name and nothing else: all that finished tasks ask of one."""
    no_acts = SparseActivations(torch.zeros(2, dtype=torch.int64), torch.zeros(0, dtype=torch.int32), torch.zeros(0), 1)
    no_tokens = TopTokens.of_sides([[]], ())[0]
    return Side(model.name, hook_layer(sae.hook), no_acts, "", np.zeros((0, 0)), no_tokens, sae=sae.label)


def _encoded(suite: SuiteConfig, archived: dict[str, Any]) -> Encoded:
    def sides(model: ModelConfig) -> list[Side]:
        return [_side(model, sae) for sae in model.saes]

    def pair(models: Iterable[ModelConfig]) -> tuple[Side, Side]:
        a, b = (sides(model)[0] for model in models)
        return a, b

    nothing = torch.zeros((0, 1), dtype=torch.int32)
    blocks = TokenBlocks(nothing, nothing.bool(), nothing)
    controls = {control.name: pair((control.model_a, control.model_b)) for control in suite.controls}
    both = pair((suite.model_a, suite.model_b))
    published = dict.fromkeys((True, False), both) if suite.published else {}
    pairs = archived["controls"]["pairs"]
    unfair = frozenset(name for name in controls if pairs[name].get("trained_saes"))  # needs the SAEs: as stated
    return Encoded(blocks, sides(suite.model_a), sides(suite.model_b), controls, published, unfair=unfair)


def _measures(suite: SuiteConfig) -> list[Measure[Any]]:
    compare = suite.compare
    return make_measures(compare.measures, compare.svcca_threshold, compare.svcca_k, compare.knn_k)


def rebuild(folder: Path, thorough: bool = False) -> tuple[dict[str, Any], Nulls]:
    """Returns results and null draws rebuilt from the statistics of an opened archive: no model, text or activation.

    Every score of the layer grid is taken afresh from the decoder rows of its pairs, and so are some draws of its
    `shuffle` nulls, others every time, or with `thorough` all of them; p, q, intervals, calibrated scores and summaries
    come from the draws that were kept.

    Raises:
        InputError: a statistic is missing or damaged, or the results in the archive are not what follows from them.
    """
    try:
        return _rebuild(folder, thorough)
    except InputError:
        raise
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"what {folder} holds is damaged: {type(error).__name__} {error}") from None


def _rebuild(folder: Path, thorough: bool) -> tuple[dict[str, Any], Nulls]:
    suite, archived = suite_from_json(folder / "suite.json"), load_results(folder, None)
    if suite.sha256 != archived["suite_sha256"]:
        raise InputError(f"results.json in {folder} is of another suite than suite.json")
    _check_stated(folder, suite, archived)
    own = suite.subspaces is not None and not suite.subspaces.categories.startswith("asset:")
    if suite.subspaces is not None and own and (folder / CATEGORIES).exists():  # which may be nowhere else
        suite = replace(suite, subspaces=replace(suite.subspaces, categories=str(folder / CATEGORIES)))
    no_starts = np.zeros(0, dtype=np.int64)
    cache = KeptTasks(folder / "tasks")
    protocol = _Replayed(tuple(_measures(suite)), suite.match, suite.null, no_starts, cache, _no_tick)
    encoded = _encoded(suite, archived)
    compared, nulls = compare_all(suite, protocol, encoded, [])
    head = {key: archived[key] for key in STATED}
    for key, model in (("model_a", suite.model_a), ("model_b", suite.model_b)):
        head[key] = {**head[key], "name": model.name, "path": model.path, "revision": model.revision}
    head |= {"suite": suite.name, "null": asdict(suite.null)}
    results = json.loads(json.dumps({**head, **compared}))
    results["warnings"] = list(warnings_of(in_order(read_as(Results, results, "results"))))
    for section in sorted({*results, *archived}):
        if results.get(section) != archived.get(section):
            raise InputError(f"{section} in results.json of {folder} is not what follows from the statistics beside it")
    _check_nulls(folder, nulls)
    _check_pairs(folder, protocol, encoded)
    check_counts(folder, results)
    check_scores(folder, suite, results, nulls, thorough)
    return results, nulls


def _check_stated(folder: Path, suite: SuiteConfig, archived: dict[str, Any]) -> None:
    """Refuses results that do not state of every SAE, and of the text, what the report tells, and damaged contexts."""
    what = f"results.json of {folder}"
    read_as(Results, archived, what)
    if (folder / "contexts.parquet").exists():
        read_contexts(folder)
    for key, model in (("model_a", suite.model_a), ("model_b", suite.model_b)):
        found, wanted = set(archived[key]["saes"]), set(model.by_label)
        if found != wanted:
            listed = " and ".join(", ".join(sorted(names)) or "none" for names in (found, wanted))
            raise InputError(f"the SAEs of {key} in {what} and in suite.json are not the same: {listed}")


def write_rebuilt(folder: Path, target: Path) -> bool:
    """Writes results, figures, report and page, rebuilt from an opened archive; True if all are its own to the byte.

    Raises:
        InputError: the target is not a new or empty folder, or what `rebuild` refuses; nothing is written then.
        OSError: the target cannot be written.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"--out must be a new or empty folder, got {target}")
    results, nulls = rebuild(folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(target.parent) as made:
        _write_told(folder, made, results, nulls)
        written = [path for path in sorted(made.rglob("*")) if path.is_file()]
        beside = [(path, folder / path.relative_to(made)) for path in written]
        same = all(other.is_file() and other.read_bytes() == path.read_bytes() for path, other in beside)
        made.replace(target)
    return same


def _write_told(folder: Path, made: Path, results: dict[str, Any], nulls: Nulls) -> None:
    """Writes what is told of an opened archive, and what that is told from, into a folder."""
    typed = read_as(Results, results, "results")
    checked = check_claims(load_claims(folder / "claims.toml"), typed) if (folder / "claims.toml").exists() else []
    for name in _COPIED:
        if (folder / name).exists():
            shutil.copyfile(folder / name, made / name)
    write_json(made / "results.json", results)
    write_nulls(made, nulls)
    write_report(typed, checked, made)


def _no_tick(stage: str, steps: int) -> None:
    """Nothing takes long enough here to tell of."""


def _check_nulls(folder: Path, nulls: Nulls) -> None:
    kept, _ = read_tensors(folder / NULLS)
    draws = null_tensors(nulls)
    same = [np.array_equal(kept[name].numpy(), draws[name].numpy(), equal_nan=True) for name in draws if name in kept]
    if kept.keys() != draws.keys() or not all(same):
        raise InputError(f"{NULLS} in {folder} holds other draws than the finished tasks beside it")


def _check_pairs(folder: Path, protocol: Protocol, encoded: Encoded) -> None:
    table = read_pairs(folder)
    columns = [table[name].to_numpy() for name in ("sae_a", "sae_b", "feature_a", "feature_b", "r")]
    known = 0
    for a in encoded.sides_a:
        for b in encoded.sides_b:
            key = key_of(a, b)
            here = (columns[0] == a.label) & (columns[1] == b.label)
            kept = observed_pairs(protocol, key, a, b)
            if not all(np.array_equal(column[here], part) for column, part in zip(columns[2:], kept, strict=True)):
                raise InputError(f"pairs.parquet in {folder} holds other pairs of layers {key} than were scored")
            known += int(here.sum())
    if known != table.num_rows:
        raise InputError(
            f"pairs.parquet in {folder} holds {table.num_rows - known} pairs of SAEs that are not compared"
        )


def check_counts(folder: Path, results: dict[str, Any]) -> None:
    """Compares how many pairs the results tell of, and their mean r, with the pairs themselves.

    Raises:
        InputError: they are others.
    """
    table = read_pairs(folder)
    sae_a, sae_b, r = (table[name].to_numpy() for name in ("sae_a", "sae_b", "r"))
    for key, cell in results["grid"].items():
        own = r[(sae_a == cell["sae_a"]) & (sae_b == cell["sae_b"])]
        mean = float(own.mean()) if len(own) else None
        far = mean is not None and not abs((cell["mean_r"] or 0.0) - mean) <= SCORE_TOLERANCE
        if cell["pairs"] != len(own) or far or (mean is None) != (cell["mean_r"] is None):
            raise InputError(
                f"results.json in {folder} tells of {cell['pairs']} pairs of layers {key} with mean r "
                f"{cell['mean_r']}, pairs.parquet holds {len(own)} with {mean}"
            )


def check_scores(
    folder: Path, suite: SuiteConfig, results: dict[str, Any], nulls: Nulls, thorough: bool = False
) -> float:
    """Takes every score of the layer grid, and draws of `shuffle`, afresh; returns the largest distance found.

    Args:
        folder: of the opened archive, whose decoder rows are read.
        suite: of the run.
        results: of the run.
        nulls: the draws that were kept.
        thorough: draw all of `shuffle` again, not `SAMPLED` of every measure and pair of SAEs.

    Raises:
        InputError: a score or draw differs by more than `SCORE_TOLERANCE`, there are more or fewer draws than the suite
            says, or there are no rows.
    """
    decoders, _ = read_tensors(folder / DECODERS)
    pairs = read_pairs(folder)
    columns = {name: pairs[name].to_numpy() for name in ("sae_a", "sae_b", "feature_a", "feature_b")}

    def distances(key: str, cell: dict[str, Any]) -> list[float]:
        here = (columns["sae_a"] == cell["sae_a"]) & (columns["sae_b"] == cell["sae_b"])
        X, Y = (_rows(decoders, name, cell[f"sae_{name}"], columns[f"feature_{name}"][here]) for name in ("a", "b"))
        found: list[float] = []
        for measure in _measures(suite):
            kept = cell["measures"][measure.name].get("score")
            if kept is None:
                continue
            with collected_saturation():  # the results have said so
                x, y = measure.prepare(X), measure.prepare(Y)
                distance = abs(measure.score(x, y) - kept)
                if not distance <= SCORE_TOLERANCE:  # NaN is not
                    raise InputError(
                        f"{measure.name} of layers {key} is {kept:.6g} in results.json of {folder} and {distance:.2g} "
                        "away from what its decoder rows give"
                    )
                found += [distance, _draws_distance(measure, x, y, len(X), suite, nulls[key], key, thorough)]
        return found

    cells = side_by_side([partial(distances, key, cell) for key, cell in results["grid"].items()], on_cpu=True)
    return max((distance for found in cells for distance in found), default=0.0)


def _draws_distance(
    measure: Measure[Any],
    x: Any,
    y: Any,
    n: int,
    suite: SuiteConfig,
    draws: dict[str, ndarray],
    key: str,
    thorough: bool,
) -> float:
    """Draws permutations of `shuffle` again and returns how far the kept scores are from theirs, at most."""
    wanted = suite.null.n_permutations
    for name in PAIRING_NULLS:
        kept = draws[f"{name}.{measure.name}"]
        if len(kept) != wanted:
            raise InputError(f"{len(kept)} draws of {name} were kept for layers {key}, the suite says {wanted}")
    numbers = range(wanted) if thorough else sorted(SystemRandom().sample(range(wanted), min(SAMPLED, wanted)))
    again = measure.null_scores(x, y, np.concatenate([permutation_ids(n, 1, suite.null.seed, i) for i in numbers]))
    distance = float(np.abs(again - draws[f"shuffle.{measure.name}"][list(numbers)]).max())
    if not distance <= SCORE_TOLERANCE:
        raise InputError(
            f"draws of shuffle that were kept for {measure.name} of layers {key} are {distance:.2g} away from what the "
            "decoder rows and the seed give"
        )
    return distance


def check_told(folder: Path, results: dict[str, Any], nulls: Nulls, commit: str) -> str:
    """Writes report and page of an opened archive again, and returns in words how they compare with its own.

    Args:
        folder: of the archive.
        results: rebuilt.
        nulls: likewise.
        commit: of the code that made the archive, as it says itself.

    Raises:
        InputError: this very commit writes others.
    """
    with temporary_folder() as made:
        _write_told(folder, made, results, nulls)
        others = [name for name in TOLD if (folder / name).read_bytes() != (made / name).read_bytes()]
    if not others:
        return "what the results give, to the byte"
    if commit == code_commit() and commit != "unknown" and not commit.endswith(CHANGED):
        raise InputError(f"{' and '.join(others)} in {folder} is not what its results give; the numbers are")
    made_by = f"says that commit {commit or 'unknown'} made it"
    if commit == LEFT_OUT:
        made_by = "leaves out which commit made it"
    return (
        f"not checked: {' and '.join(others)} as this commit writes them differ, and the archive {made_by}; "
        "`semconv report --from` writes them from the results"
    )


def _rows(decoders: dict[str, torch.Tensor], name: str, sae: str, features: ndarray) -> ndarray:
    try:
        known, rows = (decoders[f"{name}.{sae}.{part}"] for part in ("features", "rows"))
    except KeyError:
        raise InputError(f"{DECODERS} holds no rows of SAE {sae} of model {name.upper()}") from None
    places = np.searchsorted(known.numpy(), features)
    if not np.array_equal(known.numpy()[np.minimum(places, max(len(known) - 1, 0))], features):
        raise InputError(f"{DECODERS} lacks rows of SAE {sae} of model {name.upper()} that a pair names")
    return rows.double().numpy()[places]
