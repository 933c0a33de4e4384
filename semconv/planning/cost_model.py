"""What a task takes: seconds on one thread and bytes of memory, from its sizes and from rates that a probe measured.

Each formula has the parts of the function that does the task, and the size that each part grows with:

- matching grows with the dictionaries, F_a F_b, and with the products of activations, tokens x L0_a x L0_b;
- filters grow with the features of B; cutting, pooling and sorting activations grow with their entries;
- scores and draws are measured on smaller copies of the suite's pairs, all sizes shrunk alike, and follow a power of
  how much smaller they are, whose exponent is fitted.
"""

from __future__ import annotations

from dataclasses import dataclass

from semconv.planning.function_cost import REPLACED, FunctionCost
from semconv.planning.planned import PlannedModel, PlannedSide, PlannedTask
from semconv.planning.rates import Line, Rates
from semconv.study.controls import SCORED
from semconv.study.matching_rules import RULES
from semconv.study.published_protocol import PUBLISHED_SHUFFLES, variants
from semconv.suite.config import RulesConfig, SubstitutionConfig, SuiteConfig
from semconv.suite.nulls import MATCHED_AGAIN

SPAN = 16
"""Tokens of a sentence."""
_OVERLAP = 2.0  # of the features of a span's tokens, each is active on so many of them
SMALL = 32
"""Feature pairs of a category."""
_FLOPS = 2e10  # float64 products and sums a second on one thread, roughly
_GATHERED = 2e-9  # seconds to gather a number in a permuted matrix of ranks
_ASSIGNED = 1.5e-11  # seconds of a one-to-one assignment, times the cube of its size
_WITHIN = 3.0  # how much longer matching by r within tokens takes, roughly
_SHOWN = 1000  # pairs of a layer pair that are shown with text, about
_RANKED = 1e-7  # seconds to rank a similarity of two positions


@dataclass(frozen=True, eq=False)
class CostModel:
    """Seconds and bytes of the tasks of a suite.

    Attributes:
        suite: whose.
        rates: measured.
        n_pairs: feature pairs of a layer pair.
        categories: how many the suite has.
    """

    suite: SuiteConfig
    rates: Rates
    n_pairs: int
    categories: int

    def seconds(self, task: PlannedTask) -> float:
        """Returns what a task takes on one thread, the reading of its sides not counted (`read`)."""
        if task.kind == "observe":
            return self._observe(*task.sides)
        if task.kind == "self":
            (side,) = task.sides
            scale = min(side.sae.n_features, SCORED) / min(self._largest, SCORED)
            return self._match(side, side) + self.rates.self_set.at(scale ** (1 / 3))
        if task.kind in MATCHED_AGAIN:
            a, b = task.sides
            of_one = self._line(self.rates.shift, a, b, 1.0)
            if self.suite.match.within_tokens:  # the sums by token are taken anew under every draw
                of_one = self._match(a, b) + self.rates.cut * b.entries
            of_one += 2 * self.rates.filters * b.sae.n_features
            return task.amount * of_one + self._columns(a, b)
        if task.kind == "scores":
            return task.amount * self._score_set(*task.sides)
        if task.kind == "halves":
            a, b = task.sides
            scale = self.rates.sizes.scale(self.n_pairs // 2, a.sae.width, b.sae.width)
            return task.amount * self.rates.score_set.at(scale)
        if task.kind == "match":
            a, b = task.sides
            return self._matched(a, b) + self._score_set(a, b)
        if task.kind == "resample":
            a, b = task.sides
            of_one = self._cut(a, b) + self._matched(a, b) + self._score_set(a, b)
            return task.amount * of_one
        return self._part(task)

    def read(self, side: PlannedSide) -> float:
        """Returns what reading a side from disk takes, once where it is mapped."""
        mapped = side.mapped if isinstance(side, PlannedModel) else 0
        return (side.held + mapped) * self.rates.read

    def prepare(self, stream: PlannedSide) -> float:
        """Returns what reading a sampled stream takes, and what depends on it alone: directions and ranks, twice."""
        n, d = stream.n_tokens, stream.sae.width
        k = 0 if self.suite.streams is None else min(n, self.suite.streams.rsa_positions)
        return self.read(stream) + 2 * (d**2 * (2 * n + 10 * d) / _FLOPS + _RANKED * k**2)

    def top(self, side: PlannedSide) -> float:
        """Returns what the top tokens of all features of a side take."""
        share = side.sae.n_features / self.rates.sizes.features_b
        return self.rates.top.fixed * share + self.rates.top.per_token * side.entries

    def shown(self, a: PlannedSide, b: PlannedSide) -> float:
        """Returns what finding what is shown of a layer pair takes: matches, in the text and under one shift, columns
        of its pairs, and text for as many as are shown with some."""
        shifted = self._line(self.rates.shift, a, b, 1.0) if self.suite.null.n_rematch else 0.0
        columns = self.rates.columns * (a.entries + b.entries)
        of_pair = a.entries / a.sae.n_features + b.entries / b.sae.n_features
        return self._match(a, b) + shifted + columns + min(self.n_pairs, _SHOWN) * of_pair * self.rates.examples

    def working(self, task: PlannedTask) -> int:
        """Returns the bytes that a task holds beside its sides, at most: what a run keeps free for it."""
        return sum(side.working for side in {side.key: side for side in task.sides}.values())

    @property
    def _largest(self) -> int:
        return max(self.rates.sizes.features_a, self.rates.sizes.features_b)

    def _line(self, line: Line, a: PlannedSide, b: PlannedSide, share: float) -> float:
        sizes = self.rates.sizes
        table = (a.sae.n_features * b.sae.n_features) / (sizes.features_a * sizes.features_b)
        products = (a.sae.l0 * b.sae.l0) / (sizes.l0_a * sizes.l0_b)
        return line.fixed * table + line.per_token * products * share * min(a.n_tokens, b.n_tokens)

    def _match(self, a: PlannedSide, b: PlannedSide, share: float = 1.0) -> float:
        by = _WITHIN if self.suite.match.within_tokens else 1.0
        return by * self._line(self.rates.match, a, b, share)

    def _matched(self, a: PlannedSide, b: PlannedSide) -> float:
        """Returns what matching and all filters of the suite take."""
        return self._match(a, b) + self._filtered(b) + self._columns(a, b)

    def _filtered(self, b: PlannedSide) -> float:
        return self.rates.filters * b.sae.n_features

    def _columns(self, a: PlannedSide, b: PlannedSide) -> float:
        return self.rates.columns * (a.entries + b.entries) if self.suite.match.without_strongest else 0.0

    def _cut(self, a: PlannedSide, b: PlannedSide, share: float = 1.0) -> float:
        return self.rates.cut * share * (a.entries + b.entries)

    def _made(self, a: PlannedSide, b: PlannedSide) -> float:
        """Returns the entries of what is made of either side once for all layer pairs: the share of one of them."""
        return a.entries / len(self.suite.model_b.saes) + b.entries / len(self.suite.model_a.saes)

    def _score_set(self, a: PlannedSide, b: PlannedSide) -> float:
        return self.rates.score_set.at(self.rates.sizes.scale(self.n_pairs, a.sae.width, b.sae.width))

    def _drawn(self, a: PlannedSide, b: PlannedSide, draws: dict[str, int]) -> float:
        scale = self.rates.sizes.scale(self.n_pairs, a.sae.width, b.sae.width)
        return sum(number * self.rates.draws[name].at(scale) for name, number in draws.items())

    def draws(self) -> dict[str, int]:
        """Returns measure -> permutations of the pairing that are drawn of it for one null, at most."""
        return {name: self.suite.null.most_draws(name) for name in self.suite.compare.measures}

    def _observe(self, a: PlannedSide, b: PlannedSide) -> float:
        halves = 2 * self._match(a, b, 0.5) + self._cut(a, b)
        matching = self._match(a, b) + halves + 2 * (self._filtered(b) + self._columns(a, b))
        return matching + self._score_set(a, b) + 2 * self._drawn(a, b, self.draws())

    def _part(self, task: PlannedTask) -> float:
        function = self.suite.function
        if task.kind in ("cut", "sample"):
            return 0.0
        if task.kind == "shared":
            return self.rates.members * task.sides[0].sae.n_features
        if task.kind == "stitched":
            return self._stitched(*task.sides)
        if task.kind == "lens":
            return self._function.lens(task)
        if task.kind == "effects":
            return self._match(task.sides[0], task.sides[-1], 0.5) + self._function.ablated(task, self._positions)
        if function is not None and function.rules is not None and task.kind == "rules":
            return self._rules(task, function.rules)
        if function is not None and function.substitution is not None and task.kind == "substitution":
            return self._substitution(task, function.substitution)
        if task.kind == "position_kinds" and function is not None and function.position_kinds is not None:
            return self._match(task.sides[0], task.sides[-1], 0.5) + self._function.kinds(task, function.position_kinds)
        a, b = task.sides
        if task.kind == "streams":
            return 4 * a.n_tokens * a.sae.width * b.sae.width / _FLOPS
        if task.kind == "partial":  # nine products of ranks a permutation
            return 9 * self.suite.null.n_permutations * self.n_pairs**2 / 2 * _GATHERED
        if task.kind == "best_r":
            left = max(0, self._shifts - self.suite.null.n_rematch)  # the others are known from `rematch`
            return self._match(a, b) + left * self._line(self.rates.shift, a, b, 1.0)
        if task.kind == "categories":
            null = self.suite.null
            drawn = sum(null.most_draws(name) * took for name, took in self.rates.small_draws.items())
            of_one = self.rates.small_set + drawn
            members = self.rates.members * (a.sae.n_features + b.sae.n_features)
            cut = self.rates.cut * self._made(a, b)
            return self.categories * (of_one + cut) + members + self.rates.relations
        if task.kind == "spans":
            width = self.suite.spans.width if self.suite.spans and self.suite.spans.kind == "windows" else SPAN
            products = max(1.0, (width / _OVERLAP) ** 2) / width  # fewer positions, more features at each
            pooled = self.rates.pool * self._made(a, b)
            return pooled + self._match(a, b, products) + self._score_set(a, b) + self._drawn(a, b, self.draws())
        return self._step(task.name.partition(".")[2], a, b)

    @property
    def _shifts(self) -> int:
        """Draws of the nulls of decoder baselines that shift the text."""
        return 0 if self.suite.streams is None else self.suite.streams.draws

    def _stitched(self, x: PlannedSide, y: PlannedSide, a: PlannedSide, b: PlannedSide) -> float:
        """Returns what maps and assignments take: one for the score, one a draw, and the directions of both streams."""
        once, directions = self._of_map(x, y, a, b)
        return (1 + self._shifts) * once + directions

    def _mapped(self, x: PlannedSide, y: PlannedSide, a: PlannedSide, b: PlannedSide) -> float:
        """Returns what one map and assignment takes, with what it is made of."""
        return sum(self._of_map(x, y, a, b))

    def _of_map(self, x: PlannedSide, y: PlannedSide, a: PlannedSide, b: PlannedSide) -> tuple[float, float]:
        """Returns what a map with its assignment takes, and the directions of both streams."""
        most = self.suite.streams.features if self.suite.streams else 0
        features = [min(most, side.sae.n_features) for side in (a, b)]
        fits = x.n_tokens * x.sae.width * y.sae.width + 2 * features[0] * (x.sae.width + features[1]) * y.sae.width
        directions = sum(30 * one.sae.width**3 + 2 * one.n_tokens * one.sae.width**2 for one in (x, y))
        return fits / _FLOPS + _ASSIGNED * max(features) ** 3, directions / _FLOPS

    @property
    def _function(self) -> FunctionCost:
        return FunctionCost(self.suite, self.rates, self.n_pairs)

    @property
    def _positions(self) -> int:
        """Positions at which the features of a pair are ablated."""
        return 0 if self.suite.function is None else self.suite.function.positions

    def _map_of(self, task: PlannedTask) -> float:
        """Returns what a map between the streams of a task takes, with an assignment; nothing where it has none."""
        streams = [one for one in task.sides[1:-1] if not isinstance(one, PlannedModel)]
        return self._mapped(streams[0], streams[1], task.sides[0], task.sides[-1]) if streams else 0.0

    def _rules(self, task: PlannedTask, config: RulesConfig) -> float:
        """Returns what matching by every rule takes, mapping decoder rows, and ablating the pairs of all rules."""
        a, b, rules = task.sides[0], task.sides[-1], len(RULES)
        matched = (1 + _WITHIN) * self._match(a, b, 0.5) + rules * (self._filtered(b) + self._columns(a, b) / 2)
        return matched + self._map_of(task) + self._function.ablated(task, config.positions)

    def _substitution(self, task: PlannedTask, config: SubstitutionConfig) -> float:
        """Returns what matching takes, maps between the streams, and replacing contributions in both models."""
        matched = self._match(task.sides[0], task.sides[-1], 0.5) + self._filtered(task.sides[-1])
        return matched + self._map_of(task) + self._function.ablated(task, config.positions, REPLACED)

    def _step(self, name: str, a: PlannedSide, b: PlannedSide) -> float:
        departures = variants()[name]
        measures = "svcca_pc1" if departures.one_component else "svcca_variance", "rsa"
        scored = self._score_set(a, b) * len(measures) / max(1, len(self.suite.compare.measures))
        few, null = departures.few_shuffles, self.suite.null
        draws = {name: PUBLISHED_SHUFFLES if few else null.most_draws(name) for name in measures}
        drawn = self._drawn(a, b, draws)
        return self._match(a, b) + self._filtered(b) + scored + drawn


def measures_to_draw(suite: SuiteConfig) -> list[str]:
    """Returns the measures whose draws a suite takes on whole layer pairs, those of its published steps too."""
    steps = ("svcca_pc1", "svcca_variance", "rsa") if suite.published is not None else ()
    return list(dict.fromkeys((*suite.compare.measures, *steps)))
