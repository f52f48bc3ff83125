"""The statistics of an ablation study, with t distributions from scipy.

Each input value is the score of one run, so n counts seeds and every standard deviation is between seeds. Quantities
that cannot be computed are None, with a reason; they are never NaN.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from scipy.special import stdtr, stdtrit
from scipy.stats import chi2

Side = Literal["two-sided", "less", "greater"]
Interval = tuple[float, float]
ALPHA = 0.05
ROUNDING = 1e-12  # a standard deviation below this fraction of the values is rounding, not noise


@dataclass(frozen=True)
class TTest:
    """A t test. difference: the estimate, in the unit of the values. low, high: the two-sided 95% interval, also if p
    is one-sided. error: the standard error of the difference.

    With fewer than two values or without variance, t, df, p, low, high and error are None and `reason` says why.
    """

    name: str
    n: tuple[int, ...]
    difference: float | None
    low: float | None = None
    high: float | None = None
    t: float | None = None
    df: float | None = None
    p: float | None = None
    reason: str | None = None
    error: float | None = None

    def interval(self, level: float) -> Interval | None:
        """The two-sided interval that misses the true difference with probability `level`; None without a test."""
        if self.difference is None or self.error is None or self.df is None:
            return None
        half = float(stdtrit(self.df, 1 - level / 2)) * self.error
        return self.difference - half, self.difference + half

    def p_above(self, bound: float) -> float | None:
        """The one-sided p against the hypothesis that the true difference is at most `bound`."""
        if self.difference is None or self.error is None or self.df is None:
            return None
        return float(stdtr(self.df, (bound - self.difference) / self.error))

    def p_below(self, bound: float) -> float | None:
        """The one-sided p against the hypothesis that the true difference is at least `bound`."""
        if self.difference is None or self.error is None or self.df is None:
            return None
        return float(stdtr(self.df, (self.difference - bound) / self.error))

    def p_within(self, margin: float) -> float | None:
        """The p of two one-sided tests (TOST, Schuirmann 1987) that the true difference lies within +-margin."""
        above, below = self.p_above(-margin), self.p_below(margin)
        return None if above is None or below is None else max(above, below)


def deviation(values: Sequence[float]) -> float:
    """Sample standard deviation (n - 1). `statistics.stdev` agrees up to the last digits and is 50 times slower."""
    mean = fmean(values)
    return math.sqrt(math.fsum((x - mean) ** 2 for x in values) / (len(values) - 1))


def spread(values: Sequence[float]) -> float:
    """Sample standard deviation (n - 1); exactly zero if the values differ only by rounding. Needs two values."""
    sd = deviation(values)
    return 0.0 if sd <= ROUNDING * max(map(abs, values)) else sd


def t_test(name: str, n: tuple[int, ...], difference: float, error: float, df: float, null: float, side: Side) -> TTest:
    """The test of `difference` with standard error `error` > 0 against `null`."""
    t = (difference - null) / error
    p = {"two-sided": 2 * stdtr(df, -abs(t)), "less": stdtr(df, t), "greater": stdtr(df, -t)}[side]
    half = float(stdtrit(df, 1 - ALPHA / 2)) * error
    return TTest(name, n, difference, difference - half, difference + half, t, df, float(p), error=error)


def welch(a: Sequence[float], b: Sequence[float], *, null: float = 0.0, side: Side = "two-sided") -> TTest:
    """Welch's test of mean(a) - mean(b) against `null`, for independently trained arms with unequal variances (Welch
    1947, with Satterthwaite's df).
    """
    name, n = "Welch", (len(a), len(b))
    if not a or not b:
        return TTest(name, n, None, reason="no scores in one arm")
    difference = fmean(a) - fmean(b)
    if min(n) < 2:
        return TTest(name, n, difference, reason="no test with one seed in an arm")
    va, vb = spread(a) ** 2 / len(a), spread(b) ** 2 / len(b)
    if va + vb == 0:
        return TTest(name, n, difference, reason="no variance in either arm")
    df = (va + vb) ** 2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1))
    return t_test(name, n, difference, math.sqrt(va + vb), df, null, side)


def one_sample(
    values: Sequence[float],
    against: float = 0.0,
    *,
    null: float = 0.0,
    side: Side = "two-sided",
    name: str = "one-sample t",
) -> TTest:
    """Student's test of mean(values) - against. null: 0, or a margin that must be exceeded."""
    n = (len(values),)
    if not values:
        return TTest(name, n, None, reason="no scores")
    difference = fmean(values) - against
    if len(values) < 2:
        return TTest(name, n, difference, reason="no test with one seed")
    if (sd := spread(values)) == 0:
        return TTest(name, n, difference, reason="no variance between seeds")
    return t_test(name, n, difference, sd / math.sqrt(len(values)), len(values) - 1, null, side)


def paired(a: Sequence[float], b: Sequence[float], *, null: float = 0.0, side: Side = "two-sided") -> TTest:
    """The paired t test of a - b, for arms that share checkpoints or that a study pairs beforehand."""
    assert len(a) == len(b), (len(a), len(b))
    largest = max((abs(x) for x in [*a, *b]), default=0.0)
    differences = [x - y for x, y in zip(a, b, strict=True)]
    if len(a) > 1 and deviation(differences) <= ROUNDING * largest:
        return TTest("paired t", (len(a),), fmean(differences), reason="no variance between the pairs' differences")
    return one_sample(differences, null=null, side=side, name="paired t")


def correlation(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Pearson's r of two arms over their common seeds; None with fewer than three pairs or without variance."""
    assert len(a) == len(b), (len(a), len(b))
    if len(a) < 3 or spread(a) == 0 or spread(b) == 0:
        return None
    ma, mb = fmean(a), fmean(b)
    covariance = sum((x - ma) * (y - mb) for x, y in zip(a, b, strict=True)) / (len(a) - 1)
    return max(-1.0, min(1.0, covariance / (deviation(a) * deviation(b))))


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down p values (Holm 1979), in the order given.

    A comparison without a test (None) still counts as a hypothesis, so that a failed arm does not weaken the correction
    of the others.
    """
    order = sorted((p, i) for i, p in enumerate(ps) if p is not None)
    adjusted: list[float | None] = [None] * len(ps)
    highest = 0.0
    for rank, (p, i) in enumerate(order):
        highest = max(highest, min(1.0, (len(ps) - rank) * p))
        adjusted[i] = highest
    return adjusted


def holm_levels(ps: Sequence[float | None], alpha: float = ALPHA) -> list[float | None]:
    """The level at which Holm's method tests each comparison, in the order given: p < level if and only if Holm's p is
    below alpha. An interval with this level therefore decides as Holm's p does.
    """
    order = sorted((p, i) for i, p in enumerate(ps) if p is not None)
    levels: list[float | None] = [None] * len(ps)
    left = len(ps)
    for p, i in order:
        levels[i] = alpha / left
        left -= 1 if p < alpha / left and left > 1 else 0
    return levels


@dataclass(frozen=True)
class Noise:
    """A standard deviation pooled over `groups` arms with `df` degrees of freedom; None, with a reason, if no arm has
    two seeds.
    """

    sd: float | None
    df: float
    groups: int
    reason: str | None = None

    def interval(self, level: float = ALPHA) -> Interval | None:
        """The interval of the standard deviation by the chi-square distribution of its square; None without one."""
        if self.sd is None or self.df <= 0:
            return None
        low, high = (float(chi2.ppf(share, self.df)) for share in (1 - level / 2, level / 2))
        return self.sd * math.sqrt(self.df / low), self.sd * math.sqrt(self.df / high)


def pooled_sd(arms: Sequence[Sequence[float]]) -> Noise:
    """The within-arm standard deviation, arms weighted by their degrees of freedom. Arms with one seed are left out."""
    samples = [values for values in arms if len(values) > 1]
    df = sum(len(values) - 1 for values in samples)
    if not samples:
        return Noise(None, 0, 0, "no compared arm has two seeds")
    return Noise(math.sqrt(sum((len(v) - 1) * spread(v) ** 2 for v in samples) / df), df, len(samples))


@dataclass(frozen=True)
class ThresholdTest:
    """Whether an arm improves on its baseline by more than a threshold. test: of (baseline - arm) against it,
    one-sided.
    """

    over_nats: float
    p_below: float
    test: TTest

    @property
    def passed(self) -> bool | None:
        """None without a test."""
        return None if self.test.p is None else self.test.p < self.p_below


def threshold_test(
    arm_nats: Sequence[float],
    baseline_nats: Sequence[float],
    *,
    over_nats: float = 0.005,
    p_below: float = 0.01,
    pairs: bool = False,
) -> ThresholdTest:
    """The challenge's threshold for a record: an improvement of more than `over_nats`, by a one-sided test against that
    number with p below `p_below`.
    """
    test = (paired if pairs else welch)(baseline_nats, arm_nats, null=over_nats, side="greater")
    return ThresholdTest(over_nats, p_below, test)
