"""Results rebuilt from the statistics of an archive alone, without models, and compared with what it says."""

from __future__ import annotations

import shutil
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from random import SystemRandom
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from semconv.compare import Measure
from semconv.compare.measure import collected_saturation
from semconv.pipeline.outputs import DECODERS, NULLS, null_tensors, write_nulls
from semconv.pipeline.report_again import kept_claims
from semconv.report import write_report
from semconv.results.read import read_results
from semconv.results.schema import LayerPair, Model, Results, Score
from semconv.runs.crate import CATEGORIES, LEFT_OUT
from semconv.runs.pairs_table import read_pairs
from semconv.runs.task_cache import FinishedTasks
from semconv.statistics.permutation import permutation_ids
from semconv.statistics.stopping import stopping_of
from semconv.study.nulls import PAIRING_NULLS
from semconv.study.observations import Observations
from semconv.study.read_observations import read_observations
from semconv.study.settings import suite_measures
from semconv.study.tell import Stated, tell
from semconv.study.tell_function import function_agreement
from semconv.suite.config import ModelConfig, SuiteConfig, suite_from_json
from semconv.suite.hooks import hook_layer
from semconv.system.errors import InputError
from semconv.system.files import read_tensors, temporary_folder, write_json
from semconv.system.provenance import CHANGED, code_commit
from semconv.system.shape import plain
from semconv.system.side_by_side import side_by_side
from semconv.text.contexts import read_contexts

SCORE_TOLERANCE = 1e-9
"""Between a score of the results and the same from decoder rows: another BLAS may add in another order."""
AS_STATED = (
    "text, and sources, activity and fit of the SAEs, streams, logit lens and effects, which need the models; matches, "
    "filters, split halves, the draws of frequency and of the nulls that match again, resamples, halves of the pairs, "
    "other seeds, self-matches, controls, published steps, spans, categories and decoder baselines, which need the "
    "activations; contexts, which need the text; how pairs fire and whom else they match; commit, machine and times"
)
"""What of an archive cannot be checked without more than it holds."""
SAMPLED = 8
"""Draws of `shuffle` that are taken again for every measure and pair of SAEs."""
TOLD = ("report.md", "index.html")
"""Files that show the results, and are written again from them; figures also depend on the machine's fonts."""
_TABLES = ("pairs.parquet", "contexts.parquet", "shared_contexts.parquet", "features.parquet", "best_r.parquet")
_COPIED = ("suite.json", "claims.toml", "decoders.safetensors", *_TABLES)
Draws = dict[str, torch.Tensor]
"""`LAYERS.NULL.MEASURE` -> float64 [m], as in `nulls.safetensors`."""


def rebuild(folder: Path, thorough: bool = False) -> tuple[Results, Draws]:
    """Returns results and null draws rebuilt from the statistics of an opened archive: no model, text or activation.

    Every score of the layer grid is taken afresh from the decoder rows of its pairs, and so are some draws of its
    `shuffle` nulls, others every time, or with `thorough` all of them; p, q, intervals, calibrated scores and summaries
    come from the draws that were kept.

    Raises:
        InputError: a statistic is missing or damaged, or the results in the archive are not what follows from them.
    """
    with _refusing_damage(folder):
        return _rebuild(folder, thorough)


@contextmanager
def _refusing_damage(folder: Path) -> Generator[None]:
    """Turns what breaks on what a stranger wrote into one sentence."""
    try:
        yield
    except InputError:
        raise
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError, StopIteration) as error:
        raise InputError(f"what {folder} holds is damaged: {type(error).__name__} {error}") from None


def _rebuild(folder: Path, thorough: bool) -> tuple[Results, Draws]:
    suite, archived = suite_from_json(folder / "suite.json"), read_results(folder, None)
    if suite.sha256 != archived.suite_sha256:
        raise InputError(f"results.json in {folder} is of another suite than suite.json")
    if (folder / "contexts.parquet").exists():
        read_contexts(folder)
    own = suite.subspaces is not None and suite.subspaces.categories.endswith(".toml")
    if own and not (folder / CATEGORIES).exists():
        raise InputError(f"{folder} holds no {CATEGORIES}, the keyword lists of its suite")
    if suite.subspaces is not None and own:  # they may be nowhere else
        suite = replace(suite, subspaces=replace(suite.subspaces, categories=str(folder / CATEGORIES)))
    observations = read_observations(suite, FinishedTasks(folder / "tasks"))
    results = retold(folder, suite, observations, archived)
    rebuilt, given = plain(results), plain(archived)
    for section in sorted({*rebuilt, *given}):
        if rebuilt.get(section) != given.get(section):
            raise InputError(f"{section} in results.json of {folder} is not what follows from the statistics beside it")
    draws = null_tensors(observations, suite)
    _check_nulls(folder, draws)
    _check_pairs(folder, results, observations)
    check_scores(folder, suite, results, draws, thorough)
    return results, draws


def retold(folder: Path, suite: SuiteConfig, observations: Observations, archived: Results) -> Results:
    """Returns the results that follow from observations and from what an archive states of text and models.

    Raises:
        InputError: it is of other SAEs than the suite.
    """
    return tell(observations, suite, _stated(folder, suite, archived))


def _stated(folder: Path, suite: SuiteConfig, archived: Results) -> Stated:
    """Returns what an archive states of text and models, which it cannot prove.

    Raises:
        InputError: it is of other SAEs than the suite, at other places, or of a fast run of a suite that is none.
    """

    def model(key: str, stated: Model, config: ModelConfig) -> Model:
        found, wanted = set(stated.saes), set(config.by_label)
        if found != wanted:
            listed = " and ".join(", ".join(sorted(names)) or "none" for names in (found, wanted))
            raise InputError(
                f"the SAEs of {key} in results.json of {folder} and in suite.json are not the same: {listed}"
            )
        for label, sae in config.by_label.items():
            said = stated.saes[label]
            if (said.hook, said.layer) != (sae.hook, hook_layer(sae.hook)):
                raise InputError(
                    f"SAE {label} of {key} reads {sae.hook} by suite.json, results.json of {folder} says "
                    f"{said.hook} of layer {said.layer}"
                )
        return replace(stated, name=config.name, path=config.path, revision=config.revision)

    if archived.fast and suite != suite.fast():
        raise InputError(f"results.json of {folder} says that its run was fast, and suite.json asks for more than that")
    a, b = model("model_a", archived.model_a, suite.model_a), model("model_b", archived.model_b, suite.model_b)
    unfair = frozenset(name for name, pair in archived.controls.pairs.items() if pair.trained_saes)
    return Stated(archived.suite_sha256, archived.fast, archived.corpus, a, b, archived.read, unfair)


def write_rebuilt(folder: Path, target: Path) -> bool:
    """Writes results, figures, report and page, rebuilt from an opened archive; True if all are its own to the byte.

    Raises:
        InputError: the target is not a new or empty folder; a statistic is missing or damaged; or the results in the
            archive do not follow from its statistics. Nothing is written then.
        OSError: the target cannot be written.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"--out must be a new or empty folder, got {target}")
    results, draws = rebuild(folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(target.parent) as made:
        _write_told(folder, made, results, draws)
        written = [path for path in sorted(made.rglob("*")) if path.is_file()]
        beside = [(path, folder / path.relative_to(made)) for path in written]
        same = all(other.is_file() and other.read_bytes() == path.read_bytes() for path, other in beside)
        made.replace(target)
    return same


def _write_told(folder: Path, made: Path, results: Results, draws: Draws) -> None:
    """Writes report and page of an opened archive, and the files that they are made from, into a folder."""
    for name in _COPIED:
        if (folder / name).exists():
            shutil.copyfile(folder / name, made / name)
    write_json(made / "results.json", plain(results))
    write_nulls(made, draws)
    write_report(results, kept_claims(folder, results), made)


def _check_nulls(folder: Path, draws: Draws) -> None:
    kept, _ = read_tensors(folder / NULLS)
    same = [np.array_equal(kept[name].numpy(), draws[name].numpy(), equal_nan=True) for name in draws if name in kept]
    if kept.keys() != draws.keys() or not all(same):
        raise InputError(f"{NULLS} in {folder} holds other draws than the finished tasks beside it")


class _Pairs:
    """The feature pairs of an archive, by the SAEs that they are of.

    Attributes:
        n: all of them.
    """

    def __init__(self, folder: Path) -> None:
        table = read_pairs(folder)
        names = ("sae_a", "sae_b", "feature_a", "feature_b", "r")
        self._sae_a, self._sae_b, self._a, self._b, self._r = (table[name].to_numpy() for name in names)
        self._agreement = {name: table[name].to_numpy() for name in ("lens_agreement", "function_agreement")}
        self.n: int = table.num_rows

    def of(self, pair: LayerPair) -> tuple[Int[ndarray, " n"], Int[ndarray, " n"], Float[ndarray, " n"]]:
        """Returns A features, B features and r of a layer pair."""
        here = self._here(pair)
        return self._a[here], self._b[here], self._r[here]

    def agreement(self, name: str, pair: LayerPair) -> Float[ndarray, " n"]:
        """Returns a column of agreement of a layer pair, NaN where there is none."""
        return self._agreement[name][self._here(pair)]

    def _here(self, pair: LayerPair) -> Bool[ndarray, " rows"]:
        return (self._sae_a == pair.sae_a) & (self._sae_b == pair.sae_b)


def _lens_agreement(observations: Observations, key: str) -> Float[ndarray, " n"]:
    found = observations.lenses.get(key)
    if found is None or found.facts.reason is not None:
        return np.full(len(observations.grid[key].pair.a), np.nan)
    return found.agreement[:, 0]


def _check_pairs(folder: Path, results: Results, observations: Observations) -> None:
    pairs, known = _Pairs(folder), 0
    for key, pair in results.grid.items():
        found, kept = pairs.of(pair), observations.grid[key].pair
        if not all(np.array_equal(*both) for both in zip(found, (kept.a, kept.b, kept.r), strict=True)):
            raise InputError(f"pairs.parquet in {folder} holds other pairs of layers {key} than were scored")
        for name, wanted in (
            ("lens_agreement", _lens_agreement(observations, key)),
            ("function_agreement", function_agreement(observations, key)),
        ):
            if not np.array_equal(pairs.agreement(name, pair), wanted, equal_nan=True):
                raise InputError(f"pairs.parquet in {folder} holds another {name} of layers {key} than was found")
        known += len(kept.a)
    if known != pairs.n:
        raise InputError(f"pairs.parquet in {folder} holds {pairs.n - known} pairs of SAEs that are not compared")


def check_scores(folder: Path, suite: SuiteConfig, results: Results, draws: Draws, thorough: bool = False) -> float:
    """Takes every score of the layer grid, and draws of `shuffle`, afresh; returns the largest distance found.

    Args:
        folder: of the opened archive, whose decoder rows are read.
        suite: of the run.
        results: of the run.
        draws: that were kept.
        thorough: draw all of `shuffle` again, not `SAMPLED` of every measure and pair of SAEs.

    Raises:
        InputError: a score or draw differs by more than `SCORE_TOLERANCE`, there are more or fewer draws than the suite
            says, or there are no rows.
    """
    decoders, pairs = read_tensors(folder / DECODERS)[0], _Pairs(folder)

    def distances(key: str, pair: LayerPair) -> list[float]:
        a, b, _ = pairs.of(pair)
        X, Y = _rows(decoders, "a", pair.sae_a, a), _rows(decoders, "b", pair.sae_b, b)
        found: list[float] = []
        for measure in suite_measures(suite):
            kept = pair.measures[measure.name]
            if not isinstance(kept, Score):
                continue
            with collected_saturation():  # the results have said so
                x, y = measure.prepare(X), measure.prepare(Y)
                distance = abs(measure.score(x, y) - kept.score)
                if not distance <= SCORE_TOLERANCE:  # NaN is not
                    raise InputError(
                        f"{measure.name} of layers {key} is {kept.score:.6g} in results.json of {folder} and "
                        f"{distance:.2g} away from what its decoder rows give"
                    )
                again = _Again(measure, x, y, len(X), suite.null.seed)
                rule = stopping_of(suite.null, measure.name)
                for null in PAIRING_NULLS:
                    drawn = draws[f"{key}.{null}.{measure.name}"].numpy()
                    _check_number(drawn, rule.ended(kept.score, drawn), f"{null} were kept for layers {key}")
                shuffle = draws[f"{key}.shuffle.{measure.name}"].numpy()
                found += [distance, _draws_distance(again, shuffle, key, thorough)]
        return found

    cells = side_by_side([partial(distances, key, pair) for key, pair in results.grid.items()], on_cpu=True)
    return max((distance for found in cells for distance in found), default=0.0)


@dataclass(frozen=True, eq=False)
class _Again:
    """What draws scores of permuted pairings again.

    Attributes:
        measure: whose.
        x: prepared rows of A.
        y: of B.
        n: pairs.
        seed: key of the permutations.
    """

    measure: Measure[Any]
    x: Any
    y: Any
    n: int
    seed: int

    def draws(self, numbers: Sequence[int]) -> Float[ndarray, " m"]:
        """Returns the scores under permutations of these numbers."""
        ids = [permutation_ids(self.n, 1, self.seed, number) for number in numbers]
        return self.measure.null_scores(self.x, self.y, np.concatenate(ids))


def _check_number(draws: Float[ndarray, " m"], wanted: int, what: str) -> None:
    if len(draws) != wanted:
        raise InputError(f"{len(draws)} draws of {what}, the suite says {wanted}")


def _draws_distance(again: _Again, draws: Float[ndarray, " m"], key: str, thorough: bool) -> float:
    """Draws permutations of `shuffle` again and returns how far the kept scores are from theirs, at most."""
    wanted = len(draws)
    numbers = range(wanted) if thorough else sorted(SystemRandom().sample(range(wanted), min(SAMPLED, wanted)))
    distance = float(np.abs(again.draws(numbers) - draws[list(numbers)]).max())
    if not distance <= SCORE_TOLERANCE:
        raise InputError(
            f"draws of shuffle that were kept for {again.measure.name} of layers {key} are {distance:.2g} away from "
            "what the decoder rows and the seed give"
        )
    return distance


def check_told(folder: Path, results: Results, draws: Draws, commit: str) -> str:
    """Writes report and page of an opened archive again, and returns in words how they compare with its own.

    Args:
        folder: of the archive.
        results: rebuilt.
        draws: likewise.
        commit: of the code that made the archive, as it says itself.

    Raises:
        InputError: this very commit writes others.
    """
    with temporary_folder() as made:
        with _refusing_damage(folder):
            _write_told(folder, made, results, draws)
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
