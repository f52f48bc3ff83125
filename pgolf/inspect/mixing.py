"""Residual mixing by depth: x <- a x + b x0 with learned a and b [D] per layer, and a Legendre polynomial through it.

Shapes: L layers, D model width.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from pgolf.nn.resid_mix import FEWEST_LAYERS, ORDER, fit


@dataclass(frozen=True)
class LegendreFit:
    """sum_k c_k P_k(t_l) with t_l = 2 l / (L - 1) - 1, by least squares.

    coefficients: c_0 .. c_ORDER. r2, adjusted_r2, leave_one_out_r2: shares of the variance over layers that the fit
    explains: as it is, corrected for its number of coefficients, and of layers that are left out one at a time. None
    without variance. r2_of_noise: the mean r2 of white noise at this number of layers, ORDER / (L - 1).
    """

    coefficients: tuple[float, ...]
    r2: float | None
    adjusted_r2: float | None
    leave_one_out_r2: float | None
    r2_of_noise: float


@dataclass(frozen=True)
class Mixing:
    """One of the two gains by depth. name: `kept` (a, of the stream) or `first` (b, of x0).

    means, sds: over the D dimensions, one per layer. fit: None for the reason `refusal`.
    starts_as_polynomial: the means started as a Legendre polynomial, so that a good fit does not show that training led
    to one.
    """

    name: str
    means: tuple[float, ...]
    sds: tuple[float, ...]
    fit: LegendreFit | None
    refusal: str
    starts_as_polynomial: bool

    def to_dict(self) -> dict[str, Any]:
        fit = None if self.fit is None else {**vars(self.fit), "coefficients": list(self.fit.coefficients)}
        return {
            "name": self.name,
            "means": list(self.means),
            "sds": list(self.sds),
            "fit": fit,
            "refusal": self.refusal or None,
            "starts_as_polynomial": self.starts_as_polynomial,
        }


def legendre_fit(means_L: np.ndarray) -> LegendreFit:
    """The least-squares polynomial through one number per layer. Needs FEWEST_LAYERS or more."""
    layers = len(means_L)
    assert layers >= FEWEST_LAYERS, layers
    basis = np.polynomial.legendre.legvander(2 * np.arange(layers) / (layers - 1) - 1, ORDER)
    coefficients = fit(means_L.tolist())
    residuals = means_L - basis @ coefficients
    # A point that is left out misses its own prediction by its residual over 1 - leverage (PRESS).
    leverage = np.square(np.linalg.qr(basis)[0]).sum(1)
    total = float(np.square(means_L - means_L.mean()).sum())
    noise = ORDER / (layers - 1)
    if total <= layers * np.square(1e-12 * np.abs(means_L).max(initial=0)):
        return LegendreFit(tuple(map(float, coefficients)), None, None, None, noise)
    r2 = 1 - float(np.square(residuals).sum()) / total
    left_out = 1 - float(np.square(residuals / (1 - leverage)).sum()) / total
    adjusted = 1 - (1 - r2) * (layers - 1) / (layers - ORDER - 1)
    return LegendreFit(tuple(map(float, coefficients)), r2, adjusted, left_out, noise)


def mixing(resid_mix: list[Tensor], *, starts_as_polynomial: bool) -> list[Mixing]:
    """Both gains by depth. resid_mix: [2, D] of each layer, as the blocks have it. The option: as in `Mixing`."""
    found = []
    for index, name in enumerate(("kept", "first")):
        rows = np.stack([mix.detach().double().cpu().numpy()[index] for mix in resid_mix])
        means = rows.mean(1)
        refusal = (
            ""
            if len(means) >= FEWEST_LAYERS
            else f"{ORDER + 1} coefficients need {FEWEST_LAYERS} layers or more, and the model has {len(means)}"
        )
        polynomial = None if refusal else legendre_fit(means)
        found.append(
            Mixing(
                name,
                tuple(map(float, means)),
                tuple(map(float, rows.std(1))),
                polynomial,
                refusal,
                starts_as_polynomial,
            )
        )
    return found
