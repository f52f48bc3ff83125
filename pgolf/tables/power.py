"""Power of the decision that will be taken: the named test at the level that Holm's correction leaves to a comparison.

The estimated noise of a test is random, so power is a mean over its distribution, computed by quadrature. It is that of
one arm that differs while the others do not, so that Holm's first step decides. Arms are normal with one standard
deviation.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import chdtri, ndtr, stdtrit

from pgolf.tables.caveats import FEWEST_SEEDS
from pgolf.tables.stats import ALPHA, Interval

POWER = 0.8
MOST_SEEDS = 1_000_000
NODES = 24  # of the quadrature, per variance
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Design:
    """A test and its levels. test: a name of `methods.TESTS`; blocked: as there. arms: of the family, the baseline
    included. alpha: two-sided level of a difference; equivalence_alpha: level of equality per side; both before the
    correction over `comparisons`. prior_df: degrees of freedom of the moderated test's prior.
    """

    test: str = "welch"
    blocked: bool = False
    arms: int = 2
    comparisons: int = 1
    alpha: float = ALPHA
    equivalence_alpha: float = ALPHA / 2
    prior_df: float = math.inf

    @property
    def is_paired(self) -> bool:
        """Whether the sd is that of the pairs' differences."""
        return self.test in ("paired", "sequential") or (self.test == "moderated" and self.blocked)


@lru_cache(maxsize=64)
def quadrature() -> tuple[Array, Array]:
    """(points, weights) of Gauss and Legendre on probabilities from 0 to 1."""
    points, weights = np.polynomial.legendre.leggauss(NODES)
    return (points + 1) / 2, weights / 2


def estimates(design: Design, n: int) -> tuple[float, Array, Array, Array]:
    """(true standard error, estimated ones, their degrees of freedom, weights) with n seeds, in standard deviations."""
    points, weights = quadrature()
    if design.test == "welch":
        variance = chdtri(n - 1, 1 - points) / (n - 1)
        a, b = variance[:, None] / n, variance[None, :] / n
        df = (a + b) ** 2 * (n - 1) / (a**2 + b**2)
        return math.sqrt(2 / n), np.sqrt(a + b).ravel(), df.ravel(), np.outer(weights, weights).ravel()
    df = degrees(design, n)
    error = math.sqrt((1 if design.is_paired else 2) / n)
    return error, error * np.sqrt(chdtri(df, 1 - points) / df), np.full(NODES, df), weights


def degrees(design: Design, n: int) -> float:
    """Degrees of freedom of a test whose noise is one variance."""
    if design.test == "paired":
        return n - 1
    if design.test == "moderated":
        total = design.comparisons * (n - 1) / (1 + (design.comparisons - 1) / 4)
        own = design.prior_df + n - 1
        return min(own, total) if design.blocked else min(own + n - 1, design.arms * (n - 1))
    return (design.arms - 1) * (n - 1) if design.blocked else design.arms * (n - 1)


def power(design: Design, n: int, effect: float) -> float:
    """The probability that a true difference of `effect` standard deviations is found with n seeds per arm."""
    error, estimated, df, weights = estimates(design, n)
    critical = stdtrit(df, 1 - design.alpha / design.comparisons / 2) * estimated
    return float(weights @ (ndtr((effect - critical) / error) + ndtr((-effect - critical) / error)))


def power_of_equality(design: Design, n: int, margin: float) -> float:
    """The probability that equality within `margin` standard deviations is shown if there is no difference."""
    error, estimated, df, weights = estimates(design, n)
    room = margin - stdtrit(df, 1 - design.equivalence_alpha / design.comparisons) * estimated
    return float(weights @ np.maximum(0.0, 2 * ndtr(room / error) - 1))


def detectable(design: Design, sd: float, n: int, target: float = POWER) -> float | None:
    """The true difference that n seeds find with power `target`, in the unit of sd; None for fewer than two seeds."""
    if n < 2:
        return None
    high = 1.0
    while power(design, n, high) < target:
        high *= 2
    return sd * float(brentq(lambda d: power(design, n, d) - target, 0.0, high))


@dataclass(frozen=True)
class Seeds:
    """A number of seeds with its 95% interval, from that of the standard deviation. None: above MOST_SEEDS."""

    number: int | None
    low: int | None
    high: int | None


def seeds_for(
    power_at: Callable[[Design, int, float], float],
    design: Design,
    sd: float,
    sd_interval: Interval | None,
    size: float,
    target: float = POWER,
) -> Seeds:
    """Seeds per arm (or pairs) that a difference of `size`, or equality within it, needs. power_at: of this module."""
    low, high = sd_interval or (sd, sd)
    number, fewest, most = (fewest_seeds(power_at, design, x, size, target) for x in (sd, low, high))
    return Seeds(number, fewest, most)


def fewest_seeds(
    power_at: Callable[[Design, int, float], float], design: Design, sd: float, size: float, target: float = POWER
) -> int | None:
    """The smallest number of seeds with power `target`, at least those that a verdict needs; None above MOST_SEEDS."""
    assert size > 0, size
    if sd == 0 or power_at(design, FEWEST_SEEDS, size / sd) >= target:
        return FEWEST_SEEDS
    low, high = FEWEST_SEEDS, 2 * FEWEST_SEEDS
    while power_at(design, high, size / sd) < target:
        low, high = high, 2 * high
        if high > MOST_SEEDS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power_at(design, middle, size / sd) >= target else (middle, high)
    return high
