"""How many draws of a null are taken, and their p: a fixed number, or a rule that stops when enough is known.

Besag & Clifford 1991 (doi 10.1093/biomet/78.2.301): draws are taken one after another until h of them reach the
observed score, at draw l, say, and p = h / l; if n draws end first, with g < h of them, p = (g + 1) / (n + 1). Under
the null P(p <= a) = a at every value that p can take, so the early end costs no validity. A score that lies low among
its draws ends after about h / p of them; one that lies above all takes all n.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from semconv.statistics.permutation import ROUNDING, p_value
from semconv.suite.schema import NullConfig


@dataclass(frozen=True)
class Stopping:
    """How many draws of a null are taken.

    Attributes:
        most: n, as many as are ever taken.
        after: h, draws that reach the observed score after which no more are taken; 0 takes all n.
        least: draws that are taken before any stop; without a stop it means nothing.
    """

    most: int
    after: int = 0
    least: int = 0

    @property
    def common(self) -> int:
        """Draws that are taken whatever they show: what tests share that compare draw i of one with draw i of another.

        No stop comes before draw h, so there are at least h.
        """
        return min(self.most, max(self.least, self.after)) if self.after else self.most

    def ended(self, statistic: float, null: Float[ndarray, " m"]) -> int:
        """Returns after how many draws the rule ends.

        Args:
            statistic: the observed score.
            null: draws in order; those after the end do not matter, and NaN, a draw without a score, never reaches it.

        Returns:
            A number up to `len(null)` if those draws say that enough are taken, otherwise a larger one, at most `most`.
        """
        if not self.after:
            return self.most
        reached = np.flatnonzero(null >= statistic - ROUNDING)
        if len(reached) < self.after:
            return self.most
        return min(max(int(reached[self.after - 1]) + 1, self.common), self.most)

    def p_value(self, statistic: float, null: Float[ndarray, " m"]) -> float:
        """Returns p of the draws that the rule took.

        h / l where it stopped at draw l > `common`, and (g + 1) / (m + 1) of m draws otherwise, g of which reach the
        statistic. Where a stop is possible at `common` alone, that is the fixed number m = `common`, and p is exact
        too: p <= (g + 1) / (m + 1), for g >= h, is the event that at most g of the first m draws reach it.

        Raises:
            InputError: the statistic or a draw is not finite.
        """
        counted = p_value(statistic, null)
        return self.after / len(null) if self._stopped(statistic, null) and len(null) > self.common else counted

    def ended_early(self, statistic: float, null: Float[ndarray, " m"]) -> bool:
        """Whether the draws that the rule took ended because h of them reach the statistic, before all were taken."""
        return self.common < self.most and self._stopped(statistic, null)

    def _stopped(self, statistic: float, null: Float[ndarray, " m"]) -> bool:
        return bool(self.after) and int((null >= statistic - ROUNDING).sum()) >= self.after

    def randomised(self, statistic: float, null: Float[ndarray, " m"], uniform: float) -> float:
        """Returns p made continuous, uniform on [0, 1] if the statistic is one of its draws and none are tied.

        Args:
            statistic: the observed score.
            null: the draws that the rule took.
            uniform: a number from [0, 1).
        """
        m, reached = len(null), int((null >= statistic - ROUNDING).sum())
        if self._stopped(statistic, null) and m > self.common:
            low, high = self.after / (m + 1), self.after / m
        else:
            low, high = reached / (m + 1), (reached + 1) / (m + 1)
        return low + uniform * (high - low)


def stopping_of(null: NullConfig, measure: str) -> Stopping:
    """Returns how many permutations of the pairing a suite takes for a measure, by its name."""
    return Stopping(null.most_draws(measure), null.stop_after or 0, null.stop_from or 0)
