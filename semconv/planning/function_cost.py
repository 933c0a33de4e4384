"""What the tasks on what features do take: seconds on one thread, of passes over whole models and of their heads."""

from __future__ import annotations

from dataclasses import dataclass

from semconv.planning.contexts_read import Reading, ablation_reading, held_out_contexts, reading_apart
from semconv.planning.planned import PlannedModel, PlannedTask
from semconv.planning.rates import Line, Rates
from semconv.study.working_memory import EFFECT_LOGITS, EFFECTS
from semconv.suite.config import PositionKindsConfig, SuiteConfig
from semconv.system.errors import InputError

Changes = tuple[tuple[int, int], ...]
_CHANGES: Changes = ((0, 7), (1, 12))  # of A and B at a position: the feature, six others, in B alternates and random
REPLACED: Changes = ((0, 11), (1, 11))
"""A contribution taken away alone, and five things in its place at two sizes."""
_ALONE = 7  # of either model: the feature and six others
_OF_EFFECT, _OF_EFFECT_GPU = 2.5e-8, 2e-10  # seconds for a logit of an effect: its log-softmax, means, correlations
_OF_LENS, _OF_LENS_GPU = 8e-9, 1e-10  # seconds for a logit of the lens: looked at for either end, and added up
_CHECKS, _CHECKS_OF_HEAD = 4, 2  # passes by which a model, and a head alone, is compared with itself before it is used


@dataclass(frozen=True, eq=False)
class FunctionCost:
    """Seconds of tasks that run whole models in float32.

    Attributes:
        suite: whose.
        rates: measured.
        n_pairs: feature pairs of a layer pair.
    """

    suite: SuiteConfig
    rates: Rates
    n_pairs: int

    def lens(self, task: PlannedTask) -> float:
        """Returns what the logits of the features of all pairs take: one pass over both heads, after its checks."""
        models = [one for one in task.sides if isinstance(one, PlannedModel)]
        each = _OF_LENS if self._on_cpu else _OF_LENS_GPU
        ends = sum(self.n_pairs * one.vocab_size * each for one in models)
        return ends + sum(self._head(one, 1 + _CHECKS_OF_HEAD, self.n_pairs) for one in models)

    def ablated(self, task: PlannedTask, positions: int, changes: Changes = _CHANGES) -> float:
        """Returns what changing the features of the pairs of a task takes, at so many positions each."""
        models = [one for one in task.sides if isinstance(one, PlannedModel)]
        read, items = self._read_for(task, positions), task.amount * positions
        return sum(self._effects(models[min(i, len(models) - 1)], n, items, read) for i, n in changes)

    def kinds(self, task: PlannedTask, config: PositionKindsConfig) -> float:
        """Returns what ablating pairs at positions of three kinds takes, as if every token stood at another, too.

        Positions are taken in the order of B's contexts, a piece of them at once. Where A's feature is ablated
        elsewhere, every such position is in a context of its own, of which a piece reads each once.
        """
        models = [one for one in task.sides if isinstance(one, PlannedModel)]
        n, corpus = task.amount * config.positions, self.suite.corpus
        drawn = self._read_for(task, config.positions)
        strongest = reading_apart(n, corpus.context, corpus.max_tokens)
        read = Reading(drawn.contexts + strongest.contexts, drawn.whole + strongest.whole)
        pieces = max(1.0, 3 * n * _ALONE / EFFECTS)
        most = pieces * held_out_contexts(corpus.context, corpus.max_tokens)
        again = Reading(min(read.contexts + n, most), min(read.whole + n / 2, most))  # of A, where a token stands again
        return self._effects(models[0], _ALONE, 3 * n, again) + self._effects(models[-1], _ALONE, 3 * n, read)

    def _read_for(self, task: PlannedTask, positions: int) -> Reading:
        """Returns what the pairs of a task read for so many positions each, drawn uniformly."""
        a, b, corpus = task.sides[0], task.sides[-1], self.suite.corpus
        density = min(side.sae.l0 / max(1, side.sae.n_features) for side in (a, b))
        return ablation_reading(task.amount, positions, corpus.context, corpus.max_tokens, density)

    @property
    def _on_cpu(self) -> bool:
        return self.rates.device == "cpu"

    def _block(self, model: PlannedModel) -> Line:
        """Returns the seconds of a block of a whole model on one thread, per pass and per token.

        Raises:
            InputError: the rates lack the model.
        """
        if model.place not in self.rates.whole:
            raise InputError(f"the probe did not measure model {model.place} in float32; make it again for this suite")
        line, threads = self.rates.whole[model.place], self.rates.threads if self._on_cpu else 1
        return Line(line.fixed * threads, line.per_token * threads)

    def _head(self, model: PlannedModel, passes: float, rows: float) -> float:
        """Returns what a head takes, whose weights cost as those of a block do.

        Args:
            model: whose.
            passes: over all its weights.
            rows: of streams, in all passes.
        """
        line, weights = self._block(model), model.vocab_size * model.sae.width / model.of_block
        return weights * (passes * line.fixed + rows * line.per_token)

    def _effects(self, model: PlannedModel, n_changes: int, items: int, read: Reading) -> float:
        """Returns what ablating features of one model takes: contexts are read once, a change is a position more.

        Args:
            model: which.
            n_changes: at every position of a pair.
            items: positions of all pairs.
            read: contexts that are read.
        """
        changes, line = items * n_changes, self._block(model)
        tokens = read.whole * self.suite.corpus.context + changes
        blocks = model.n_blocks * ((_CHECKS + read.contexts) * line.fixed + tokens * line.per_token)
        together = max(1, EFFECT_LOGITS // model.vocab_size)
        head = self._head(model, 2 * _CHECKS + changes / together, changes + items)
        return blocks + head + changes * model.vocab_size * (_OF_EFFECT if self._on_cpu else _OF_EFFECT_GPU)
