"""Measures of the singular values of a matrix, in float64.

Shapes: r singular values s_1 >= ... >= s_r >= 0, where r is the structural rank: the largest rank that the sizes of the
matrix, or of its factors, allow.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

MEASURES = (
    "condition_number",
    "stable_rank",
    "effective_rank",
    "effective_rank_of_squares",
    "participation_ratio",
    "energy_rank_90",
    "energy_rank_95",
    "energy_rank_99",
)
# Relative to s_1, smaller singular values are rounding: of weights, which are kept in float32, and of the SVD itself.
FLOAT32_EPS, FLOAT64_EPS = 2.0**-23, 2.0**-52


@dataclass(frozen=True)
class Measures:
    """Measures of one spectrum. None where a measure is not defined: each of them for a zero matrix.

    condition_number: s_1 / s_r, over the structural rank; None also if s_r is zero in float64.
    stable_rank: sum s^2 / s_1^2, which is ||W||_F^2 / ||W||_2^2.
    effective_rank: exp of the entropy of s / sum s (Roy and Vetterli 2007).
    effective_rank_of_squares: the same of s^2 / sum s^2, which papers on optimizers call SVD entropy.
    participation_ratio: (sum s^2)^2 / sum s^4.
    energy_rank_E: the smallest number of singular values that holds E percent of sum s^2.
    """

    condition_number: float | None
    stable_rank: float | None
    effective_rank: float | None
    effective_rank_of_squares: float | None
    participation_ratio: float | None
    energy_rank_90: float | None
    energy_rank_95: float | None
    energy_rank_99: float | None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def singular_values(matrix: Tensor) -> np.ndarray:
    """Singular values of a matrix [M, N], computed in float64 on its device, in descending order."""
    values: np.ndarray = torch.linalg.svdvals(matrix.detach().double()).cpu().numpy()
    return values


def effective_rank(weights: np.ndarray) -> float:
    """exp(-sum p ln p) with p = weights / sum of the weights; 0 ln 0 is 0."""
    p = weights[weights > 0] / weights.sum()
    return float(np.exp(-(p * np.log(p)).sum()))


def energy_by_rank(values: np.ndarray) -> np.ndarray:
    """The share of sum s^2 that the k largest singular values hold, for k = 1 .. r, [r]. Not for a zero matrix."""
    scaled = values / values[0]
    cumulated = np.cumsum(scaled**2)
    return cumulated / cumulated[-1]


def energy_rank(values: np.ndarray, level: float) -> int:
    """The smallest k whose k largest singular values hold this share of sum s^2. level: above 0, at most 1."""
    # Rounding of the sum must not count as energy.
    return 1 + int(np.searchsorted(energy_by_rank(values), level * (1 - 1e-12)))


def numerical_rank(values: np.ndarray) -> int:
    """The number of singular values above the rounding of float32, 2^-23 s_1."""
    return int((values > FLOAT32_EPS * values[0]).sum()) if len(values) and values[0] > 0 else 0


def measures(values: np.ndarray) -> Measures:
    """All measures of singular values [r] in descending order. r: at least 1."""
    if values[0] == 0:
        return Measures(*([None] * len(MEASURES)))
    s = values / values[0]  # no measure depends on the scale; squares of small numbers would vanish
    s2 = s**2
    return Measures(
        condition_number=float(1 / s[-1]) if s[-1] > FLOAT64_EPS else None,
        stable_rank=float(s2.sum()),
        effective_rank=effective_rank(s),
        effective_rank_of_squares=effective_rank(s2),
        participation_ratio=float(s2.sum() ** 2 / (s2**2).sum()),
        energy_rank_90=energy_rank(s, 0.90),
        energy_rank_95=energy_rank(s, 0.95),
        energy_rank_99=energy_rank(s, 0.99),
    )
