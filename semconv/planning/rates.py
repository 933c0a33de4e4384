"""What a probe measures of a machine, by the sizes of a suite, and how it grows with them."""

from __future__ import annotations

from dataclasses import dataclass

from semconv.system.shape import Strict


@dataclass(frozen=True)
class Line(Strict):
    """Seconds that grow with the tokens.

    Attributes:
        fixed: that do not.
        per_token: for each token, or entry.
    """

    fixed: float
    per_token: float


@dataclass(frozen=True)
class Power(Strict):
    """Seconds that grow with a power of the scale.

    Attributes:
        at_one: at the sizes of the suite.
        exponent: of the scale.
    """

    at_one: float
    exponent: float

    def at(self, scale: float) -> float:
        """Returns the seconds at sizes that are `scale` times as large."""
        return self.at_one * scale**self.exponent


@dataclass(frozen=True)
class Sizes(Strict):
    """The sizes that a probe was made for.

    Attributes:
        n_pairs: feature pairs of a layer pair.
        width_a: columns of A's decoder rows.
        width_b: of B's.
        features_a: F of A.
        features_b: of B.
        l0_a: active features per token of A.
        l0_b: of B.
    """

    n_pairs: int
    width_a: int
    width_b: int
    features_a: int
    features_b: int
    l0_a: float
    l0_b: float

    def scale(self, n_pairs: int, width_a: int, width_b: int) -> float:
        """Returns how much larger other pairs are: the cube root of the ratio of n d_a d_b."""
        return ((n_pairs * width_a * width_b) / (self.n_pairs * self.width_a * self.width_b)) ** (1 / 3)


@dataclass(frozen=True)
class Rates(Strict):
    """What a probe measured; seconds of one thread while all are busy.

    Attributes:
        machine: processor, device, threads and versions.
        device: `cpu` or `cuda`.
        threads: tasks that ran at once.
        sizes: that it was made for.
        match: one call of `best_matches` on two sides of these sizes.
        shift: one shift of `best_matches_shifted`.
        filters: `match_features`, per feature of B.
        cut: taking some tokens of activations, or some features, per entry.
        columns: taking the features of pairs by feature, for what their strongest positions carry, per entry.
        pool: over spans, per entry.
        top: the top tokens of every feature, per entry, of which the first cost most.
        histograms: how the activations of every feature are spread, per entry.
        examples: what text a pair is shown with, per entry of its two features.
        members: the categories of a feature.
        score_set: all measures of the suite on the pairs, as a resample takes them.
        self_set: the same of a dictionary with itself.
        draws: measure -> one draw.
        small_set: scores of the measures of categories on `SMALL` pairs.
        small_draws: measure -> one draw on them.
        relations: `relate_categories` of one layer pair.
        tokenize: per token.
        parse: docstrings, per byte of source, of the packages themselves.
        read: per byte of tensors, checked.
        write: per byte, checked.
        hashed: SHA-256, per byte.
        figure: one figure.
        blocks: model -> of one block, all threads at it, per forward pass and per token, as a text is encoded.
        whole: model -> the same in float32, widened if it is mapped in 16 bits, as tasks on what features do run it;
            empty where the suite has none.
        saes: `WIDTHxFEATURES` -> encoding with one SAE, all threads at it, per token.
        seconds: how long the probe took.
    """

    machine: str
    device: str
    threads: int
    sizes: Sizes
    match: Line
    shift: Line
    filters: float
    cut: float
    columns: float
    pool: float
    top: Line
    histograms: float
    examples: float
    members: float
    score_set: Power
    self_set: Power
    draws: dict[str, Power]
    small_set: float
    small_draws: dict[str, float]
    relations: float
    tokenize: float
    parse: float
    read: float
    write: float
    hashed: float
    figure: float
    blocks: dict[str, Line]
    whole: dict[str, Line]
    saes: dict[str, float]
    seconds: float
