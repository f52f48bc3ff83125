"""What the measures of a random matrix of the same sizes and factorisation are: Gaussian entries, several draws.

A product of Gaussian factors has a spectrum of its own: 512 x 192 times 192 x 512 has effective rank 172 of 192. A
published number says something only beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from pgolf.inspect.spectra import MEASURES, Measures, energy_by_rank, measures, singular_values
from pgolf.nn.primitives import seed_of

DRAWS = 39  # one of 39 + 1 exchangeable matrices is the lowest or the highest of all with probability 2 / 40, or 5%
SEED = 0


def r_factor(rows: int, columns: int, generator: np.random.Generator) -> np.ndarray:
    """A matrix [min(rows, columns), columns] with the singular values of a Gaussian matrix [rows, columns].

    With more rows than columns it is the R of a QR decomposition, drawn directly: the diagonal has the roots of
    chi-squared numbers with rows, rows - 1, ... degrees of freedom, the part above it is Gaussian (Bartlett 1933).
    """
    if rows <= columns:
        return generator.standard_normal((rows, columns))
    upper = np.triu(generator.standard_normal((columns, columns)), 1)
    return upper + np.diag(np.sqrt(generator.chisquare(rows - np.arange(columns))))


def random_values(sizes: Sequence[int], generator: np.random.Generator) -> np.ndarray:
    """Singular values of one random matrix, in descending order. sizes: (M, N), or (M, R, N) for a product."""
    if len(sizes) == 2:
        product = r_factor(max(sizes), min(sizes), generator)
    else:
        rows, inner, columns = sizes
        product = r_factor(rows, inner, generator) @ r_factor(columns, inner, generator).T
    # Not numpy's svd, whose threads spin: on a busy machine it takes ten times as long.
    return singular_values(torch.from_numpy(product))[: min(sizes)]


@dataclass(frozen=True)
class Compared:
    """A measure beside the same measure of random matrices.

    low, high: the lowest and highest of the draws. sds: the distance from the mean of the draws in standard deviations
    of the draws, of the logarithm for a condition number; None without spread. outside: whether the value is below or
    above all draws.
    """

    value: float | None
    low: float | None
    high: float | None
    sds: float | None
    outside: bool

    def to_dict(self) -> dict[str, Any]:
        return {
            "value": self.value,
            "random_low": self.low,
            "random_high": self.high,
            "sds": self.sds,
            "outside": self.outside,
        }


@dataclass(frozen=True)
class Reference:
    """Random matrices of one structure. draws: their measures. low, high: of s_k / s_1 over the draws, [r].

    energy_low, energy_high: of the energy by rank over the draws, [r].
    """

    sizes: tuple[int, ...]
    draws: tuple[Measures, ...]
    low: np.ndarray
    high: np.ndarray
    energy_low: np.ndarray
    energy_high: np.ndarray

    def numbers(self, name: str) -> np.ndarray:
        """One measure of every draw."""
        return np.array([getattr(draw, name) for draw in self.draws], dtype=np.float64)

    def compare(self, name: str, value: float | None) -> Compared:
        """One measure of a trained matrix beside that of the draws."""
        numbers = self.numbers(name)
        low, high = float(numbers.min()), float(numbers.max())
        if value is None:
            return Compared(None, low, high, None, False)
        scaled, at = (np.log(numbers), np.log(value)) if name == "condition_number" else (numbers, value)
        spread = float(scaled.std(ddof=1))
        sds = float((at - scaled.mean()) / spread) if spread > 0 else None
        return Compared(value, low, high, sds, not low <= value <= high)


@lru_cache(maxsize=256)
def reference(sizes: tuple[int, ...], draws: int = DRAWS, seed: int = SEED) -> Reference:
    """Random matrices of a structure. sizes: (M, N), or (M, R, N) for a product. draws: at least 2."""
    generator = np.random.default_rng(seed_of(seed, f"random matrix {sizes}"))  # whatever else is inspected
    spectra = [random_values(sizes, generator) for _ in range(draws)]
    scaled = np.stack([values / values[0] for values in spectra])
    energy = np.stack([energy_by_rank(values) for values in spectra])
    return Reference(
        tuple(sizes),
        tuple(measures(values) for values in spectra),
        scaled.min(0),
        scaled.max(0),
        energy.min(0),
        energy.max(0),
    )


def compare_all(found: Measures, random: Reference) -> dict[str, Compared]:
    """Every measure of a matrix beside those of random matrices, by name."""
    return {name: random.compare(name, getattr(found, name)) for name in MEASURES}
