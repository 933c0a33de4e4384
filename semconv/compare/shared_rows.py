"""The rows of one space, with what several measures take of them: each is computed when it is first asked for."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from semconv.compare.directions import Directions
from semconv.compare.measure import check_space
from semconv.compare.row_products import RowProducts
from semconv.system.errors import InputError

Rows = Float[ndarray, "n d"] | Float[Tensor, "n d"]


class SharedRows:
    """The rows of one space. Measures that are handed the same object share its centred form and its decomposition.

    It keeps what was asked for until it is dropped: at most the rows, the centred rows and an orthonormal basis of
    their columns, 8 n d bytes each, the inner products of the rows, 8 n^2 bytes, and the eigenvectors of the smaller
    Gram matrix, 8 min(n, d)^2 bytes. One thread at a time.

    A measure may find a decomposition that another one left here, and so take a shorter way to its result. Scores then
    agree to 1e-12 with those of the measure alone; which way is taken depends on the measures that came before, never
    on threads.

    Args:
        X: [n, d], any real dtype, computed in float64: NumPy on the CPU, a torch tensor on its device. What is no
            finite matrix is refused by the first measure that asks for it.
        all_directions: one of the measures needs all of them (`Measure.needs_all_directions`), so that the others take
            theirs from that decomposition instead of looking for a few leading ones alone.

    Examples:
        Four measures, one decomposition:

        >>> import numpy as np
        >>> from semconv.compare import SharedRows, make_measures
        >>> X = np.random.default_rng(0).normal(size=(40, 6))
        >>> rows = SharedRows(X)
        >>> measures = make_measures(["svcca_pc1", "svcca_variance", "svcca_fixed_k", "mean_squared_cc"], svcca_k=4)
        >>> for measure in measures:
        ...     together, alone = measure.prepare_shared(rows), measure.prepare(X)
        ...     print(measure.name, abs(measure.score(together, alone) - 1) < 1e-12)
        svcca_pc1 True
        svcca_variance True
        svcca_fixed_k True
        mean_squared_cc True
    """

    def __init__(self, X: Rows, all_directions: bool = False) -> None:
        self._given, self._all_directions = X, all_directions

    @property
    def array(self) -> Float[ndarray, "n d"]:
        """The rows as they were given, as NumPy on the CPU."""
        return self._given.cpu().numpy() if isinstance(self._given, Tensor) else np.asarray(self._given)

    def checked(self, at_least: int) -> Float[Tensor, "n d"]:
        """Returns the rows as float64 on their device.

        Raises:
            InputError: not a matrix, not finite, no columns, or fewer rows than `at_least`.
        """
        if self._tensor.ndim != 2 or len(self._tensor) < at_least or not self._is_finite:
            check_space(self.array, at_least)
        return self._tensor

    @cached_property
    def _tensor(self) -> Tensor:
        if isinstance(self._given, Tensor):
            return self._given.double()
        return torch.from_numpy(np.require(self._given, np.float64, ["C", "W", "A"]))  # what torch takes without a word

    @cached_property
    def _is_finite(self) -> bool:
        return bool(self._tensor.shape[1]) and bool(self._tensor.isfinite().all())

    def products(self, at_least: int) -> RowProducts:
        """Returns the inner products of the rows.

        Raises:
            InputError: as `checked`.
        """
        self.checked(at_least)
        return self._products

    @cached_property
    def _products(self) -> RowProducts:
        return RowProducts(self._tensor)

    def centred(self, who: str, at_least: int = 3) -> Directions:
        """Returns the rows minus their mean, of unit Frobenius norm; measures that centre do not see the scale.

        Args:
            who: name used in errors.
            at_least: rows that are needed.

        Raises:
            InputError: as `checked`, or rows that are all the same (to the rounding of their mean).
        """
        self.checked(at_least)
        if self._centred is None:
            raise InputError(f"{who} needs a space that varies, got identical rows")
        return self._centred

    @cached_property
    def _centred(self) -> Directions | None:
        """None where all rows are the same."""
        X = self._tensor
        largest = float(X.abs().max())
        if largest > 0:
            X = X / largest
            X -= X.mean(dim=0)
        if float(X.abs().max()) <= len(X) * np.finfo(np.float64).eps:
            return None
        return Directions(X / torch.linalg.norm(X), self._all_directions)
