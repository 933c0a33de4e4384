"""The inner products of all rows of a space, computed once, and the similarities that are made of them."""

from __future__ import annotations

from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from semconv.compare.symmetric_product import symmetric_product


class RowProducts:
    """Inner products of the rows of a space, from which cosines, correlations and the centred Gram matrix are made.

    Taking a mean off after the product instead of before costs digits where the mean is most of the rows. Then, with
    more of their squared length in the mean than beside it, the product is taken again of what is left of them. All
    matrices are exactly symmetric.

    Attributes:
        X: float64 [n, d], scaled so that its largest entry is 1; zeros stay zeros.
    """

    def __init__(self, X: Float[Tensor, "n d"]) -> None:
        largest = float(X.abs().max())
        self.X = X / largest if largest > 0 else X

    @cached_property
    def products(self) -> Float[Tensor, "n n"]:
        """Inner product of every two rows of X."""
        return symmetric_product(self.X)

    @cached_property
    def lengths(self) -> Float[Tensor, " n"]:
        """Euclidean lengths of the rows."""
        return torch.linalg.norm(self.X, dim=1)

    def cosines(self) -> Float[Tensor, "n n"]:
        """Returns the cosine of every two rows; rows of zeros have 0."""
        return _divided(self.products.clone(), self.lengths)

    def correlations(self) -> tuple[Float[Tensor, "n n"], Float[Tensor, " n"]]:
        """Returns Pearson r of every two rows, and the lengths of the rows minus their means.

        Constant rows have a length that is no more than rounding.
        """
        d, means = self.X.shape[1], self.X.mean(dim=1)
        rest = self.X - means[:, None]
        lengths = torch.linalg.norm(rest, dim=1)
        if bool((d * means.square() <= lengths.square()).all()):
            return _divided(self.products - (means[:, None] * means).mul_(d), lengths), lengths
        return symmetric_product(rest / torch.where(lengths > 0, lengths, 1.0)[:, None]), lengths

    def centred_gram(self, centred: Float[Tensor, "n d"]) -> Float[Tensor, "n n"]:
        """Returns the Gram matrix of the column-centred rows, scaled to unit Frobenius norm.

        Args:
            centred: those rows.
        """
        means = self.X.mean(dim=0)
        of_mean, whole = len(self.X) * float(means.square().sum()), float(self.lengths.square().sum())
        if of_mean > whole - of_mean:
            return symmetric_product(centred)
        sums = self.products.mean(dim=1)
        gram = self.products - (sums[:, None] + sums)
        return gram.add_(sums.mean()).div_(whole - of_mean)


def _divided(products: Float[Tensor, "n n"], lengths: Float[Tensor, " n"]) -> Float[Tensor, "n n"]:
    """Divides by the lengths of both rows, in place."""
    lengths = torch.where(lengths > 0, lengths, 1.0)
    return products.div_(lengths[:, None] * lengths)
