"""A matrix as one weight or as the product of two, whose product is never formed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pgolf.errors import PgolfError
from pgolf.inspect.spectra import singular_values


def product_values(left: Tensor, right: Tensor) -> np.ndarray:
    """Singular values of `left @ right`, [M, R] times [R, N]: min(M, R, N) of them, in float64, in descending order.

    left = Q_1 R_1 and right^T = Q_2 R_2 with orthonormal columns, so that left right = Q_1 (R_1 R_2^T) Q_2^T. Small
    singular values are those of R_1 R_2^T, and the zeros that a formed product adds never appear.
    """
    r_left = torch.linalg.qr(left.detach().double(), mode="r").R
    r_right = torch.linalg.qr(right.detach().double().T, mode="r").R
    return singular_values(r_left @ r_right.T)


@dataclass(frozen=True)
class Factors:
    """One weight [M, N], or two whose product [M, R] [R, N] is the matrix."""

    weights: tuple[Tensor, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """(M, N) or (M, R, N)."""
        return (*self.weights[0].shape, *(weight.size(1) for weight in self.weights[1:]))

    @property
    def rank(self) -> int:
        """The structural rank: the smallest of the sizes."""
        return min(self.sizes)

    @property
    def is_product(self) -> bool:
        return len(self.weights) == 2

    def values(self) -> np.ndarray:
        """Singular values [rank] in descending order."""
        return product_values(*self.weights) if self.is_product else singular_values(self.weights[0])

    def formed(self) -> Tensor:
        """The matrix [M, N], in float64."""
        left = self.weights[0].detach().double()
        return left @ self.weights[1].detach().double() if self.is_product else left

    def rows(self, start: int, stop: int) -> "Factors":
        """The matrix of some rows only, with the same factorisation."""
        return Factors((self.weights[0][start:stop], *self.weights[1:]))

    @property
    def forced_zeros(self) -> int:
        """Singular values of the formed matrix that are zero because of its factors."""
        return min(self.sizes[0], self.sizes[-1]) - self.rank


def condition_in_float32(factors: Factors) -> float | None:
    """s_1 / s_min(M, N) of the formed matrix, computed in float32, as a script without care would.

    For a product with forced zeros, this number is rounding. None for a zero matrix, if the last one is zero, and if
    the product overflows.
    """
    product = factors.weights[0].detach().float()
    if factors.is_product:
        product = product @ factors.weights[1].detach().float()
    if not are_finite([product]):
        return None
    values = torch.linalg.svdvals(product).cpu().double().numpy()
    return float(values[0] / values[-1]) if values[-1] > 0 else None


def are_finite(tensors: Sequence[Tensor]) -> bool:
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)


def check_finite(tensors: Sequence[Tensor], where: str, what: str) -> None:
    """Raise PgolfError unless all numbers are finite. where: a config path. what: the tensors, such as `its inputs`."""
    if not are_finite(tensors):
        raise PgolfError(f"{where}: {what} are not finite. Inspect another run")
