"""The layer grid as a whole: q-values over a table, intervals, and what is said of each measure."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from jaxtyping import Float
from numpy import ndarray

from semconv.results.ranking import best_above
from semconv.results.schema import (
    BestOfGrid,
    LayerPair,
    Measures,
    NullOverGrid,
    NullTest,
    Reason,
    Score,
    Summary,
    Tail,
)
from semconv.statistics.permutation import LEVEL, calibrated_together, max_statistic
from semconv.statistics.stopping import Stopping, stopping_of
from semconv.statistics.tail import REACH
from semconv.study.nulls import PAIRING_NULLS
from semconv.study.tell_spread import best_interval
from semconv.suite.config import NullConfig
from semconv.suite.nulls import primary_null
from semconv.system.errors import InputError

Draws = Mapping[str, Mapping[str, Float[ndarray, "measures m"]]]
"""Layer pair -> null -> draws of every measure."""
Key = TypeVar("Key", bound=Hashable)


def corrected(table: Mapping[Key, Measures]) -> dict[Key, Measures]:
    """Returns a table of scores in which every test has its q-values over the table, of its measure and null.

    They are Benjamini-Hochberg's (1995) and, for any dependence, Benjamini-Yekutieli's (2001).

    Args:
        table: layer pair, or layer pair and category -> its scores.
    """
    tests = dict[tuple[str, str], dict[Key, NullTest]]()
    for key, measures in table.items():
        for measure, found in measures.items():
            for null, test in found.nulls.items() if isinstance(found, Score) else ():
                if isinstance(test, NullTest):
                    tests.setdefault((measure, null), {})[key] = test
    tested = {place: _with_q(of_place) for place, of_place in tests.items()}

    def of_score(key: Key, measure: str, found: Score | Reason) -> Score | Reason:
        if isinstance(found, Reason):
            return found
        nulls = {null: tested.get((measure, null), {}).get(key, test) for null, test in found.nulls.items()}
        return replace(found, nulls=nulls)

    return {
        key: {measure: of_score(key, measure, found) for measure, found in measures.items()}
        for key, measures in table.items()
    }


def _with_q(tests: dict[Key, NullTest]) -> dict[Key, NullTest]:
    from scipy.stats import false_discovery_control

    p = [test.p for test in tests.values()]
    bh, by = (false_discovery_control(p, method=method) for method in ("bh", "by"))
    return {
        key: replace(test, q=float(q), q_by=float(q_by))
        for (key, test), q, q_by in zip(tests.items(), bh, by, strict=True)
    }


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def summarise(
    grid: Mapping[str, LayerPair], draws: Draws, measure: str, place: int, config: NullConfig | None = None
) -> Summary:
    """Returns for one measure the best layer pair, the mean, and per null how many layer pairs beat it.

    The best is that of the highest calibrated score against the primary null, because scores of other numbers of pairs
    lie otherwise above what chance gives; of the highest score where no null was drawn.

    `best_of_grid` tests the best layer pair against the best that each draw of the null reaches anywhere in the grid.
    It takes the draws that every layer pair has whatever they show (`Stopping.common`): which others there are depends
    on the scores, and the best of draws chosen so is not exchangeable with the best of the scores.

    Args:
        grid: layer pair -> what was found, with q-values.
        draws: of the nulls.
        measure: its name.
        place: its row in the draws.
        config: how much was drawn; without it, as many as there are.
    """
    found = {key: pair.measures[measure] for key, pair in grid.items()}
    scored = {key: score for key, score in found.items() if isinstance(score, Score)}
    nulls = sorted({null for score in scored.values() for null in score.nulls})
    ranked_by, best = _ranked(scored, nulls)
    return Summary(
        layer_pairs=len(scored),
        best_layer_pair=best,
        best_score=scored[best].score if best else None,
        best_interval=best_interval(scored[best], len(scored), measure) if best else None,
        mean_score=_mean([score.score for score in scored.values()]),
        ranked_by=ranked_by,
        nulls={
            null: _over_grid(
                scored,
                {k: draws[k][null][place] for k in scored if null in draws[k]},
                (null, best),
                _Drawn.of(config, measure) if config is not None and null in PAIRING_NULLS else _Drawn(),
            )
            for null in nulls
        },
    )


def _tests(scored: Mapping[str, Score], null: str) -> dict[str, NullTest]:
    found = {key: score.nulls.get(null) for key, score in scored.items()}
    return {key: test for key, test in found.items() if isinstance(test, NullTest)}


def _ranked(scored: Mapping[str, Score], nulls: Sequence[str]) -> tuple[str | None, str | None]:
    """Returns the null that layer pairs are ranked by and the best of them; no null where none has a test."""
    null = primary_null([one for one in nulls if _tests(scored, one)])
    if null is None:
        return None, max(scored, key=lambda key: (scored[key].score, key), default=None)
    return null, best_above(_tests(scored, null))


@dataclass(frozen=True)
class _Drawn:
    """How the tests of one measure against one null came to their draws.

    Attributes:
        rule: how many were taken; None where all have as many.
        tail: whether a tail was fitted.
        usual: draws that need not be stated.
    """

    rule: Stopping | None = None
    tail: bool = False
    usual: int | None = None

    @classmethod
    def of(cls, config: NullConfig, measure: str) -> _Drawn:
        return cls(stopping_of(config, measure), config.has_tail(measure), config.n_permutations)

    def highest_inverse_p(self, draws: Sequence[Float[ndarray, " m"]]) -> int:
        """Returns 1 / p of a test whose p is as low as it can be."""
        most = self.rule.most if self.rule else min(map(len, draws))
        return (most + 1) * (REACH if self.tail else 1)

    def common(self, draws: Sequence[Float[ndarray, " m"]]) -> list[Float[ndarray, " m"]]:
        """Returns the draws that all tests have whatever they show."""
        return [row[: self.rule.common] if self.rule else row for row in draws]


def _over_grid(
    scored: Mapping[str, Score],
    draws: Mapping[str, Float[ndarray, " m"]],
    of: tuple[str, str | None],
    drawn: _Drawn,
) -> NullOverGrid:
    null, best = of
    tested = _tests(scored, null)
    of_tested = [draws[key] for key in tested]
    return NullOverGrid(
        layer_pairs=len(tested),
        significant=sum(test.q is not None and test.q < LEVEL for test in tested.values()),
        significant_by=sum(test.q_by is not None and test.q_by < LEVEL for test in tested.values()),
        smallest_q=min(1.0, len(tested) / drawn.highest_inverse_p(of_tested)) if tested else None,
        largest_p=max((test.p for test in tested.values()), default=None),
        mean=_mean([test.mean for test in tested.values() if test.mean is not None]),
        best_calibrated=tested[best].calibrated if best in tested else None,
        best_of_grid=_best_of_grid([test.score for test in tested.values()], drawn.common(of_tested), drawn.usual),
        from_tail=sum(test.p_from == "tail" for test in tested.values()) if drawn.tail else None,
        significant_counted=_significant_counted(tested.values()) if drawn.tail else None,
    )


def _significant_counted(tests: Iterable[NullTest]) -> int:
    """Returns how many tests have q < LEVEL if every p is counted."""
    from scipy.stats import false_discovery_control

    p = [test.tail.p_counted if isinstance(test.tail, Tail) else test.p for test in tests]
    return int((false_discovery_control(p) < LEVEL).sum()) if p else 0


def _best_of_grid(scores: list[float], draws: list[Float[ndarray, " m"]], usual: int | None) -> BestOfGrid | Reason:
    try:
        both = [calibrated_together(score, of_cell) for score, of_cell in zip(scores, draws, strict=True)]
        test = max_statistic([score for score, _ in both], [of_cell for _, of_cell in both])
    except InputError as error:
        return Reason(reason=str(error))
    n = len(test.null)
    stated = n if usual is not None and n != usual else None
    return BestOfGrid(score=test.statistic, null_mean=float(test.null.mean()), p=test.p_value, draws=stated)
