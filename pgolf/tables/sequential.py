"""A test of seed-wise differences that stays valid however often it is looked at, and whenever it is stopped.

The differences D_i = candidate - base are taken as independent N(delta, sigma^2). Under a null value m, delta - m is
given the prior N(0, (EFFECT sigma)^2). The likelihood ratio of that mixture to the null is a martingale E_n with mean
1, so that by Ville's inequality (1939) the probability that E_n ever reaches 1 / alpha is at most alpha. With
S = sum(D_i - m), V = sum((D_i - m)^2), c^2 = 1 / EFFECT^2 and A = SS + V:

    E_n(m) = sqrt(c^2 / (n + c^2)) * (A / (A - S^2 / (n + c^2)))^((n + df) / 2)

SS and df describe earlier runs: the sum of squares of their noise, and its degrees of freedom. Three cases:

- df = 0: the noise is estimated from the differences alone. sigma has the right Haar prior, which makes E_n the
  likelihood ratio of the scale-invariant part of the data (Hendriksen, de Heide and Gruenwald 2021, arXiv:1807.09077;
  Wang and Ramdas 2023, arXiv:2310.03722; Perez-Ortiz et al. 2022, arXiv:2208.07610).
- 0 < df < inf: the same with SS / sigma^2 ~ chi-square(df), independent of the differences, as a part of the data.
- df = inf: the noise is known. E_n(m) = sqrt(c^2 / (n + c^2)) * exp(S^2 / (2 sigma^2 (n + c^2))), Robbins (1970).
  A sigma that is too large makes the test more cautious.

The values m with E_n(m) < 1 / alpha are an interval. It contains delta at all n at once with a probability of at least
1 - alpha (a confidence sequence; Lai 1976; Howard et al. 2021, arXiv:1810.08240).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import fmean

from pgolf.tables.stats import ALPHA, ROUNDING, Interval, TTest

EFFECT = 2.0  # standard deviation of the prior of delta, in units of sigma; fixed before any data
LARGEST_LOG = 690.0  # of an e-value that is given as a number
LEAST_NOISE, MOST_NOISE = 1e-9, 1e3  # of a known standard deviation, in bpb
FEWEST_EQUAL = 2  # pairs of exactly equal scores that show an option without effect


@dataclass(frozen=True)
class EarlierNoise:
    """What is known of the noise before the first pair. sd_bpb: standard deviation of one difference; its df: 0 if
    nothing is known (sd_bpb then has no meaning), math.inf if sd_bpb is known exactly.
    """

    sd_bpb: float = 0.0
    df: float = 0.0

    @property
    def sum_squares(self) -> float:
        return self.df * self.sd_bpb**2 if 0 < self.df < math.inf else 0.0


@dataclass(frozen=True)
class SequentialTest(TTest):
    """The test of a table whose seeds were added until a decision: its p and its intervals hold at every look.

    It has no t, df and error. differences: of the pairs, in bpb. noise: known beforehand. With fewer pairs than an
    interval needs, low and high are None, `reason` says so, and every decision is undecided.
    """

    differences: tuple[float, ...] = ()
    noise: EarlierNoise = EarlierNoise()

    @property
    def is_testable(self) -> bool:
        return self.p is not None

    @property
    def is_constant_zero(self) -> bool:
        """Whether two or more pairs are exactly equal: what differs between the arms has no effect."""
        return len(self.differences) >= FEWEST_EQUAL and not any(self.differences)

    def interval(self, level: float) -> Interval | None:
        """The interval that misses the true difference, at any number of pairs, with probability `level` at most."""
        if not self.is_testable:
            return None
        return (0.0, 0.0) if self.is_constant_zero else interval(self.differences, self.noise, level)

    def p_above(self, bound: float) -> float | None:
        """The p against a true difference of at most `bound`: half of 1 / E_n(bound) if the mean lies above it.

        As with a t test, it is below a if the interval of level 2 a lies above the bound, and its guarantee is that of
        this interval. E_n(m) grows with the distance of m from the mean, so that every smaller difference has a
        smaller p.
        """
        if not self.is_testable or self.difference is None:
            return None
        if self.difference <= bound:
            return 1.0
        return 0.0 if self.is_constant_zero else self.p_of(bound)

    def p_below(self, bound: float) -> float | None:
        """The p against a true difference of at least `bound`."""
        if not self.is_testable or self.difference is None:
            return None
        if self.difference >= bound:
            return 1.0
        return 0.0 if self.is_constant_zero else self.p_of(bound)

    def p_of(self, bound: float) -> float:
        return min(1.0, 0.5 * math.exp(-log_e_value(self.differences, self.noise, null=bound)))


def sequential_test(a: Sequence[float], b: Sequence[float], noise: EarlierNoise) -> SequentialTest:
    """The sequential test of an arm against its baseline. a, b: scores of the same seeds, in the order of the seeds."""
    name, n = "sequential", (len(a),)
    if not a:
        return SequentialTest(name, n, None, reason="no common seed")
    found = weigh(b, a, noise, math.inf)
    differences = tuple(x - y for x, y in zip(a, b, strict=True))
    if found.reason is not None and found.verdict is Verdict.UNDECIDED:
        return SequentialTest(name, n, found.mean, reason=found.reason, differences=differences, noise=noise)
    low, high = (found.low, found.high) if math.isfinite(found.low) else (None, None)
    reason = None if low is not None else f"no interval with {len(a)} pairs, whose noise is estimated"
    return SequentialTest(
        name, n, found.mean, low, high, p=found.p, reason=reason, differences=differences, noise=noise
    )


class Verdict(Enum):
    """What the differences show. Better: the candidate has fewer bits per byte."""

    BETTER = "better"
    WORSE = "worse"
    EQUAL = "equal"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Evidence:
    """The state of a sequential comparison after n pairs.

    low, high: the interval, in bpb; -inf and inf while there are too few pairs. log_e: natural logarithm of E_n(0).
    within_margin: whether the whole interval lies inside +-margin. reason: why there is a verdict without a test.
    """

    n: int
    mean: float | None
    low: float
    high: float
    log_e: float
    verdict: Verdict
    within_margin: bool
    reason: str | None = None

    @property
    def e(self) -> float:
        """The e-value against equality; at most exp(LARGEST_LOG)."""
        return math.exp(min(self.log_e, LARGEST_LOG))

    @property
    def p(self) -> float:
        """min(1, 1 / E), a p value for Holm's correction that is valid whenever the comparison was stopped."""
        return min(1.0, math.exp(-self.log_e))


def log_e_value(differences: Sequence[float], noise: EarlierNoise, *, null: float = 0.0) -> float:
    """The logarithm of E_n(null). 0 without differences."""
    n, c2 = len(differences), EFFECT**-2
    shifted = [d - null for d in differences]
    weight = 0.5 * math.log(c2 / (n + c2))
    explained = math.fsum(shifted) ** 2 / (n + c2)
    if noise.df == math.inf:
        return weight + explained / (2 * noise.sd_bpb**2)
    whole = noise.sum_squares + math.fsum(d * d for d in shifted)
    return weight if whole == 0 else weight - (n + noise.df) / 2 * math.log1p(-explained / whole)


def width_factor(n: int, df: float, alpha: float = ALPHA) -> float:
    """Half the width of the interval after n pairs, divided by the square root of the sum of squares: SS plus the
    squared deviations of the differences from their mean; with known noise sigma^2. math.inf: no interval yet.

    E_n(m) < 1 / alpha means A / (A - S^2 / (n + c^2)) < k, which is solved for d = mean - m with S = n d and
    A = squares + n d^2.
    """
    c2 = EFFECT**-2
    log_bound = math.log((n + c2) / c2) - 2 * math.log(alpha)  # E_n(m) < 1 / alpha: twice the logarithm of what is left
    if df == math.inf:
        return math.sqrt((n + c2) * log_bound) / n
    if log_bound / (n + df) > LARGEST_LOG:
        return math.inf
    excess = math.expm1(log_bound / (n + df))  # k - 1
    room = n - c2 * excess
    return math.sqrt((n + c2) * excess / (n * room)) if room > 0 else math.inf


def interval(differences: Sequence[float], noise: EarlierNoise, alpha: float = ALPHA) -> tuple[float, float]:
    """The values m with E_n(m) < 1 / alpha: the interval of the confidence sequence after n pairs, in bpb."""
    if not differences or (factor := width_factor(len(differences), noise.df, alpha)) == math.inf:
        return -math.inf, math.inf
    mean = fmean(differences)
    deviations = math.fsum((d - mean) ** 2 for d in differences)
    squares = noise.sd_bpb**2 if noise.df == math.inf else noise.sum_squares + deviations
    return mean - factor * math.sqrt(squares), mean + factor * math.sqrt(squares)


def judge(low: float, high: float, margin_bpb: float) -> Verdict:
    """The verdict that an interval of the difference shows. A difference that is shown comes before equality."""
    if high < 0:
        return Verdict.BETTER
    if low > 0:
        return Verdict.WORSE
    return Verdict.EQUAL if -margin_bpb < low and high < margin_bpb else Verdict.UNDECIDED


def weigh(
    base: Sequence[float], candidate: Sequence[float], noise: EarlierNoise, margin_bpb: float, alpha: float = ALPHA
) -> Evidence:
    """What pairs of scores show, in bpb. base, candidate: scores of the same seeds in the same order.

    Scores that are all equal to the last digit show that the changed options have no effect. Differences without any
    variance, which no noise can make, decide nothing where the noise is estimated.
    """
    assert len(base) == len(candidate), (len(base), len(candidate))
    differences = [c - b for b, c in zip(base, candidate, strict=True)]
    n = len(differences)
    log_e = log_e_value(differences, noise)
    if n == 0:
        return Evidence(0, None, -math.inf, math.inf, log_e, Verdict.UNDECIDED, False)
    mean = fmean(differences)
    if n >= FEWEST_EQUAL and not any(differences):
        reason = "every pair has exactly the same score: what differs between the two has no effect"
        return Evidence(n, 0.0, 0.0, 0.0, log_e, Verdict.EQUAL, True, reason)
    low, high = interval(differences, noise, alpha)
    largest = max(map(abs, (*base, *candidate)))
    if noise.df == 0 and n > 1 and max(abs(d - mean) for d in differences) <= ROUNDING * largest:
        reason = "no variance between the differences, so their noise cannot be estimated"
        return Evidence(n, mean, -math.inf, math.inf, 0.0, Verdict.UNDECIDED, False, reason)
    within = -margin_bpb < low and high < margin_bpb
    return Evidence(n, mean, low, high, log_e, judge(low, high, margin_bpb), within)
