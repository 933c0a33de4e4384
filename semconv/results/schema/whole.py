"""Everything that a run says."""

from __future__ import annotations

from dataclasses import dataclass, field

from semconv.results.schema.base import Many, Part
from semconv.results.schema.controls import Controls
from semconv.results.schema.depths import Depths
from semconv.results.schema.function import Function
from semconv.results.schema.layer_pairs import LayerPair, Summary
from semconv.results.schema.sections import Published, SpansGrid, Subspaces
from semconv.results.schema.streams import StreamsGrid
from semconv.results.schema.what_was_read import Corpus, Model, NullSettings, Read
from semconv.system.shape import left_out


@dataclass(frozen=True, kw_only=True)
class Results(Part):
    """Everything that a run says."""

    suite: str
    """Name of the suite."""
    suite_sha256: str
    """Of its settings."""
    fast: bool
    """Whether it was cut short by `--fast`."""
    null: NullSettings
    """How much was drawn."""
    corpus: Corpus
    """The text."""
    model_a: Model
    """Model A."""
    model_b: Model
    """Model B."""
    read: Read
    """What else was read."""
    grid: dict[str, LayerPair]
    """Layer pair, such as `0x2` -> what was found."""
    summary: dict[str, Summary]
    """Measure -> the whole grid."""
    primary: str | None = left_out()
    """The measure whose tests under the nulls that match again are the primary end point, by the suite; all else is
    exploratory."""
    depths: dict[str, Depths] | None = left_out()
    """Measure -> how its scores lie over the depths; not where a block has several SAEs."""
    controls: Controls
    """What the scores are where the answer is known."""
    subspaces: Subspaces | None = left_out()
    """Features by category."""
    spans: SpansGrid | None = left_out()
    """Activations pooled over spans."""
    streams: StreamsGrid | None = left_out()
    """The residual streams themselves, without any SAE."""
    function: Function | None = left_out()
    """What features do: ablated in pairs, each in its model."""
    published: Published | None = left_out()
    """The published protocol, corrected step by step."""
    warnings: Many[str] = field(default=())
    """What to know before believing the results, most serious first."""
