"""What the report shows of pairs and features: how they fire, whom else they match, and what text activates them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, Int, Int64
from numpy import ndarray

from semconv.matching.examples import BANDS, BEFORE
from semconv.models.sources import neuronpedia_id
from semconv.pipeline.corpus_stage import corpus_of_b, tokenizer_of_corpus
from semconv.pipeline.encoded_sides import Loaded
from semconv.runs import best_r_table
from semconv.runs.pairs_table import MatchedPairs, write_pairs
from semconv.runs.run import Run
from semconv.runs.task_cache import TaskCache
from semconv.runs.tasks import Task, Workplace
from semconv.study.facts import NoFacts
from semconv.study.observe import Encoded
from semconv.study.shown_pairs import Places, ShownPairs, shown_pairs
from semconv.study.sides import AnySide, Side
from semconv.study.subspaces import category_members
from semconv.suite.config import ModelConfig, SuiteConfig
from semconv.suite.sae_labels import pair_key
from semconv.text import feature_table, shared_contexts
from semconv.text.contexts import FeaturesToShow, ReadText, strongest, write_contexts
from semconv.text.keywords import load_categories
from semconv.text.top_tokens import TopTokens, token_texts

LEAST_WITH_TEXT, MOST_WITH_TEXT = 100, 20_000
"""Pairs of every layer pair that are shown with text; pairs of the run, unless that leaves fewer of each."""
Name = Literal["a", "b"]


@dataclass(frozen=True, eq=False)
class StrongestPlaces:
    """Where some features are strongest, as `strongest` gives it, and how those of the whole SAE are active.

    Attributes:
        facts: none.
        positions: int64 [n, k].
        values: float32 [n, k].
        highest: float32 [F] (`activation_histograms`).
        histogram: int64 [F, parts].
    """

    facts: NoFacts
    positions: Int64[ndarray, "n k"]
    values: Float32[ndarray, "n k"]
    highest: Float32[ndarray, " F"]
    histogram: Int64[ndarray, "F parts"]


def of_sides(encoded: Encoded) -> list[tuple[Name, AnySide]]:
    """Returns the sides of the layer grid, A's first."""
    return [*(("a", side) for side in encoded.sides_a), *(("b", side) for side in encoded.sides_b)]


def paired(groups: Sequence[MatchedPairs], name: Name, label: str) -> Int[ndarray, " n"]:
    """Returns the features of one side that stand in any pair, ascending."""
    of_saes = [(g.a, g.sae_a) if name == "a" else (g.b, g.sae_b) for g in groups]
    return np.unique(np.concatenate([found for found, sae in of_saes if sae == label]))


def write_shown(run: Run, place: Workplace, loaded: Loaded, groups: Sequence[MatchedPairs]) -> None:
    """Writes `pairs.parquet`, `features.parquet`, `best_r.parquet`, `contexts.parquet` and `shared_contexts.parquet`.

    Args:
        run: whose folder it goes to.
        place: where it is found; it is kept in the folder `sides` of the run, for no number of the results needs it.
        loaded: everything that was encoded.
        groups: the pairs of every layer pair.
    """
    _Shown(run, replace(place, cache=TaskCache(run.folder / "sides")), loaded, groups).write()


class _Shown:
    """One run's pairs and features, found and written."""

    def __init__(self, run: Run, place: Workplace, loaded: Loaded, groups: Sequence[MatchedPairs]) -> None:
        self._run, self._place, self._encoded, self._groups = run, place, loaded.encoded, groups
        self._models: dict[Name, ModelConfig] = {"a": run.suite.model_a, "b": run.suite.model_b}
        spans_a, spans_b = loaded.encoded.spans or (None, None)
        texts_a = loaded.encoded.texts
        texts_b = token_texts(tokenizer_of_corpus(corpus_of_b(run.suite))) if run.suite.align else texts_a
        self._read = {
            "a": ReadText(loaded.blocks[0], texts_a, spans_a),
            "b": ReadText(loaded.blocks[1], texts_b, spans_b),
        }
        self._text, self._starts = shared_contexts.PlacesOfText(self._read["a"]), loaded.starts
        self._features = {
            (name, side.label): paired(groups, name, side.label) for name, side in of_sides(loaded.encoded)
        }

    def write(self) -> None:
        """Does the tasks, and writes the tables, of which one layer pair or one SAE at a time is held."""
        sides, folder = of_sides(self._encoded), self._run.folder
        tasks = [self._of_side(name, side) for name, side in sides]
        tasks += [self._of_pair(group) for group in self._groups]
        self._place.run(tasks, partial(self._run.progress, "contexts"), "contexts")
        write_pairs(folder / "pairs.parquet", self._with_details())
        feature_table.write_features(folder / feature_table.NAME, (self._rows(name, side) for name, side in sides))
        best_r_table.write_best_r(folder / best_r_table.NAME, map(self._best_r, self._groups))
        write_contexts(folder / "contexts.parquet", (self._contexts(name, side) for name, side in sides))
        groups = map(self._shared, self._groups)
        shared_contexts.write_shared_contexts(folder / shared_contexts.NAME, groups, self._text)

    def _of_side(self, name: Name, side: AnySide) -> Task:
        features = self._features[name, side.label]

        def make(held: Side) -> StrongestPlaces:
            histograms = feature_table.activation_histograms(held.acts)
            return StrongestPlaces(NoFacts(), *strongest(held.acts, features), *histograms)

        inputs = [side.store_sha256, features.tolist()]
        return Task(f"contexts.{name}.{side.label}", (side,), inputs, make)

    def _of_pair(self, group: MatchedPairs) -> Task:
        a, b = self._encoded.grid[_key(group)]
        most = max(LEAST_WITH_TEXT, MOST_WITH_TEXT // len(self._groups))
        null = self._run.suite.null

        def make(held_a: Side, held_b: Side) -> ShownPairs:
            places = Places(self._text.documents, self._text.runs, self._starts)
            pairs, shifted = (group.a, group.b), bool(null.n_rematch)
            return shown_pairs(held_a, held_b, pairs, group.r, places, most=most, seed=null.seed, shifted=shifted)

        stores = [a.store_sha256, b.store_sha256]
        inputs = [stores, group.a.tolist(), group.b.tolist(), most, null.seed, bool(null.n_rematch)]
        return Task(f"contexts.pair.{_key(group)}", (a, b), inputs, make)

    def _found(self, group: MatchedPairs) -> ShownPairs:
        return self._place.cache.read_as(ShownPairs, f"contexts.pair.{_key(group)}")

    def _with_details(self) -> Iterator[MatchedPairs]:
        of_suite = categories_of(self._run.suite, self._encoded)
        for group in self._groups:
            found = self._found(group)
            details: dict[str, Any] = dict(zip(("active_a", "active_b", "active_both"), found.firing, strict=True))
            details |= {"mutual": found.mutual, "next_r_a": found.next_r_a, "next_r_b": found.next_r_b}
            details |= {name: _or_none(getattr(found, name)) for name in ("next_a", "next_b")}
            of_a, of_b = of_suite.get(("a", group.sae_a), {}), of_suite.get(("b", group.sae_b), {})
            details["categories_a"] = [of_a.get(feature, []) for feature in group.a.tolist()]
            details["categories_b"] = [of_b.get(feature, []) for feature in group.b.tolist()]
            yield replace(group, details=details)

    def _rows(self, name: Name, side: AnySide) -> feature_table.SaeFeatures:
        kept = self._place.cache.read_as(StrongestPlaces, f"contexts.{name}.{side.label}")
        n = side.n_features
        best_r, best_feature, best_sae = np.full(n, np.nan), np.full(n, -1), np.full(n, None, dtype=object)
        for group in self._groups:
            if side.label != (group.sae_a if name == "a" else group.sae_b):
                continue
            found = self._found(group)
            r, partner = (found.best_r_a, found.best_a) if name == "a" else (found.best_r_b, found.best_b)
            better = (r > best_r) | (np.isfinite(r) & np.isnan(best_r))
            best_r[better], best_feature[better] = r[better], partner[better]
            best_sae[better] = group.sae_b if name == "a" else group.sae_a
        in_pair = np.zeros(n, dtype=bool)
        in_pair[self._features[name, side.label]] = True
        return feature_table.SaeFeatures(
            side=name,
            layer=side.layer,
            sae=side.label,
            highest=kept.highest,
            histogram=kept.histogram,
            paired=in_pair,
            best_sae=best_sae.tolist(),
            best_feature=best_feature,
            best_r=best_r,
            tokens=side.tokens,
            neuronpedia=neuronpedia_id(self._models[name].by_label[side.label]),
        )

    def _best_r(self, group: MatchedPairs) -> best_r_table.BestR:
        found = self._found(group)
        return best_r_table.BestR(
            layer_a=group.layer_a,
            layer_b=group.layer_b,
            sae_a=group.sae_a,
            sae_b=group.sae_b,
            histograms=found.histograms,
            means=found.means,
        )

    def _contexts(self, name: Name, side: AnySide) -> FeaturesToShow:
        kept = self._place.cache.read_as(StrongestPlaces, f"contexts.{name}.{side.label}")
        features = self._features[name, side.label]
        return FeaturesToShow(name, side.layer, side.label, features, kept.positions, kept.values, self._read[name])

    def _shared(self, group: MatchedPairs) -> shared_contexts.SharedContexts:
        found = self._found(group)
        return shared_contexts.SharedContexts(
            layer_a=group.layer_a,
            layer_b=group.layer_b,
            sae_a=group.sae_a,
            sae_b=group.sae_b,
            a=group.a[found.pair],
            b=group.b[found.pair],
            band=[BANDS[number] for number in found.band.tolist()],
            place=found.place,
            levels_a=found.levels_a,
            levels_b=found.levels_b,
            before=BEFORE,
        )


def _key(group: MatchedPairs) -> str:
    return pair_key(group.sae_a, group.sae_b)


def _or_none(features: Int[ndarray, " n"]) -> list[int | None]:
    return [None if feature < 0 else feature for feature in features.tolist()]


def categories_of(suite: SuiteConfig, encoded: Encoded) -> Mapping[tuple[Name, str], dict[int, list[str]]]:
    """Returns, by side and SAE, the categories of every feature that has any; nothing where the suite has none."""
    if suite.subspaces is None:
        return {}
    categories = load_categories(suite.subspaces.categories)

    def members(tokens: TopTokens) -> dict[int, list[str]]:
        out: dict[int, list[str]] = {}
        for category, features in category_members(tokens, categories).items():
            for feature in features.tolist():
                out.setdefault(feature, []).append(category)
        return out

    return {(name, side.label): members(side.tokens) for name, side in of_sides(encoded)}
