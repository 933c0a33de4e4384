"""What every part of the results is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import Discriminator, Field, Tag

from semconv.system.shape import STRICT, TAG

_Item = TypeVar("_Item")
Many = tuple[_Item, ...]
"""A list."""
Count = Annotated[int, Field(ge=0)]
Interval = tuple[float, float]
"""Lower and upper end, 95%."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Part of the results."""

    __pydantic_config__: ClassVar[Any] = STRICT


@dataclass(frozen=True, kw_only=True)
class Reason(Part):
    """Stands where something has no value, and says why."""

    reason: str
    """One sentence, or part of one."""


def _which(value: Any) -> str:
    return f"{TAG}reason" if isinstance(value, Reason) or (isinstance(value, Mapping) and "reason" in value) else TAG


VALUE, REASON, EITHER = Tag(TAG), Tag(f"{TAG}reason"), Discriminator(_which)
"""To be put around the two shapes of a union: something, or the reason why there is none."""
