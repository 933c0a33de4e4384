"""The plain values that a task of a study keeps beside arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from semconv.system.shape import STRICT


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Plain values that a task keeps."""

    __pydantic_config__: ClassVar[Any] = STRICT


@dataclass(frozen=True, kw_only=True)
class NoFacts(Facts):
    """Where arrays say everything."""
