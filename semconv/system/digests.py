"""SHA-256 of what results depend on: texts, and arrays by their bytes."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


def sha256_of(*parts: str | NDArray[np.generic] | Tensor) -> str:
    """Returns the SHA-256, in hexadecimal, over some parts one after another, nothing between them.

    An array counts by its bytes in C order, not by its shape or dtype: where these may differ, name them in a text.

    Args:
        parts: texts, which count as UTF-8, and arrays or tensors of any shape and dtype that NumPy has, on any device.
    """
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            digest.update(part.encode())
        else:
            array = part.detach().cpu().numpy() if isinstance(part, Tensor) else part
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
