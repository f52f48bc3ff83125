"""The start of residual mixing x <- a x + b x0, block by block, and its Legendre fit over depth.

t_l = 2 l / (L - 1) - 1 is the place of block l of L, from -1 to 1. P_k are the Legendre polynomials.
"""

from collections.abc import Sequence

import numpy as np
from numpy.polynomial.legendre import legfit, legval

from pgolf.errors import require

CHOICES = ("standard", "legendre", "none")
STANDARD = (1.0, 0.0)
ORDER = 4
MOST_COEFFICIENTS = 16
FEWEST_LAYERS = 6  # an order-4 fit of five points is exact, whatever they are


def starts(choice: str, keep: Sequence[float], first: Sequence[float], layers: int) -> list[tuple[float, float] | None]:
    """The initial (a, b) of every block; None where there is no residual mixing.

    standard: (1, 0). legendre: halfway from (1, 0) to the target sum_k c_k P_k(t_l), with the coefficients `keep` for a
    and `first` for b (parameter-golf pull request 215). none: no mixing at all.
    """
    if choice == "none":
        return [None] * layers
    if choice == "standard":
        return [STANDARD] * layers
    t_L = np.linspace(-1, 1, layers)
    a_L, b_L = (
        standard + (legval(t_L, np.asarray(c)) - standard) / 2
        for c, standard in zip((keep, first), STANDARD, strict=True)
    )
    return list(zip(a_L.tolist(), b_L.tolist(), strict=True))


def fit(mix_L: Sequence[float]) -> list[float]:
    """The coefficients c_0 .. c_4 of least squares of one value per block. Raises OptionError below six blocks."""
    layers = len(mix_L)
    require(layers >= FEWEST_LAYERS, "layers", layers, f"fit {FEWEST_LAYERS} or more blocks: fewer are always met")
    coefficients: list[float] = legfit(np.linspace(-1, 1, layers), np.asarray(mix_L), ORDER).tolist()
    return coefficients
