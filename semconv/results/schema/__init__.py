"""What a run says: `results.json` as frozen dataclasses, each field with what it is.

A name in the file is the name of a field. A field that is null says that its number is not defined; one that is missing
says that it was not asked for. Layers and features are counted from 0.
"""

from __future__ import annotations

from semconv.results.schema.base import Count, Interval, Many, Part, Reason
from semconv.results.schema.controls import Against, ControlPair, Controls, SelfMatch, StrongestPairs
from semconv.results.schema.depths import Depths, DepthTest
from semconv.results.schema.layer_pairs import (
    BestOfGrid,
    FilterStep,
    Influence,
    LayerPair,
    Measures,
    NullOverGrid,
    NullTest,
    RematchCounts,
    Score,
    ScoreOrReason,
    SplitHalf,
    Summary,
    Tail,
    TestOrReason,
)
from semconv.results.schema.sections import (
    CategoryPair,
    Published,
    Relation,
    RelationOrReason,
    SpanPair,
    SpansGrid,
    Step,
    StepOrReason,
    StepScore,
    Subspaces,
)
from semconv.results.schema.streams import StreamPair, StreamScore, StreamScoreOrReason, StreamsGrid, StreamVariant
from semconv.results.schema.what_was_read import (
    ControlFits,
    Corpus,
    Fit,
    FitOrReason,
    Loss,
    Model,
    NotCounted,
    NullSettings,
    Read,
    Sae,
    Sinks,
    TextRead,
)
from semconv.results.schema.whole import Results

__all__ = [
    "Against",
    "BestOfGrid",
    "CategoryPair",
    "ControlFits",
    "ControlPair",
    "Controls",
    "Corpus",
    "Count",
    "DepthTest",
    "Depths",
    "FilterStep",
    "Fit",
    "FitOrReason",
    "Influence",
    "Interval",
    "LayerPair",
    "Loss",
    "Many",
    "Measures",
    "Model",
    "NotCounted",
    "NullOverGrid",
    "NullSettings",
    "NullTest",
    "Part",
    "Published",
    "Read",
    "Reason",
    "Relation",
    "RelationOrReason",
    "RematchCounts",
    "Results",
    "Sae",
    "Score",
    "ScoreOrReason",
    "SelfMatch",
    "Sinks",
    "SpanPair",
    "SpansGrid",
    "SplitHalf",
    "Step",
    "StepOrReason",
    "StepScore",
    "StreamPair",
    "StreamScore",
    "StreamScoreOrReason",
    "StreamVariant",
    "StreamsGrid",
    "StrongestPairs",
    "Subspaces",
    "Summary",
    "Tail",
    "TestOrReason",
    "TextRead",
]
