"""Moderated variances: each arm's variance is shrunk towards a common one, as far as the arms' variances agree (Smyth
2004, Statistical Applications in Genetics and Molecular Biology 3(1), 3; used in limma).

The variances s2 of arms with d degrees of freedom are drawn as s2 ~ variance * F(d, df). df and variance of this prior
are estimated from the arms. A small df means that arms differ in noise, and that each is shrunk little. Smyth has
thousands of genes where a study has a few arms, of which df can be much too large by chance. Therefore one standard
error is added to the variance between arms. An arm whose variance is too large under the prior of the others is an
outlier and is not shrunk.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from scipy.special import chdtrc, digamma, fdtrc, polygamma

FEWEST_VARIANCES = 4  # with fewer arms the prior's degrees of freedom cannot be estimated
OUTLIER_ALPHA = 0.05  # for all arms together
LARGEST_DF = 1e6  # above it, infinite


@dataclass(frozen=True)
class Prior:
    """The common distribution of the arms' variances. df: its degrees of freedom. total_df: those of all arms together,
    which no test can exceed. arms: how many it was estimated from.
    """

    df: float
    variance: float
    total_df: float
    arms: int

    def moderated(self, variance: float, df: float) -> float:
        """An arm's variance, shrunk."""
        if math.isinf(self.df):
            return self.variance
        return (self.df * self.variance + df * variance) / (self.df + df)

    def tail(self, variance: float, df: float) -> float:
        """The probability of a variance at least as large under this prior."""
        ratio = variance / self.variance
        return float(chdtrc(df, df * ratio) if math.isinf(self.df) else fdtrc(df, self.df, ratio))


def fit_prior(variances: Sequence[float], dfs: Sequence[float]) -> Prior:
    """The prior by moments of the log variances: trigamma(df / 2) is their variance beyond that of chance, plus one
    standard error of that difference.

    variances: positive. dfs: their degrees of freedom.
    """
    logs = [math.log(s2) - float(digamma(d / 2)) + math.log(d / 2) for s2, d in zip(variances, dfs, strict=True)]
    mean, total, arms = fmean(logs), math.fsum(dfs), len(logs)
    chance = fmean(trigamma(d / 2) for d in dfs)
    kurtosis = fmean(float(polygamma(3, d / 2)) for d in dfs) / chance**2  # of a log chi-square, in excess of 3
    error = chance * math.sqrt(2 / (arms - 1) + kurtosis / arms)
    beyond = math.fsum((x - mean) ** 2 for x in logs) / (arms - 1) - chance + error
    if beyond <= trigamma(LARGEST_DF / 2):
        pooled = math.fsum(s2 * d for s2, d in zip(variances, dfs, strict=True)) / total
        return Prior(math.inf, pooled, total, arms)
    half = inverse_trigamma(beyond)
    return Prior(2 * half, math.exp(mean + float(digamma(half)) - math.log(half)), total, arms)


def trigamma(x: float) -> float:
    return float(polygamma(1, x))


def inverse_trigamma(value: float) -> float:
    """x with trigamma(x) = value > 0, by Newton's method on 1 / trigamma, which is convex (Smyth 2004, appendix)."""
    x = 0.5 + 1 / value
    for _ in range(50):
        now = trigamma(x)
        step = now * (1 - now / value) / float(polygamma(2, x))
        x += step
        if abs(step) < 1e-8 * x:
            break
    return x


def prior_of(variances: Sequence[float], dfs: Sequence[float]) -> tuple[Prior | None, frozenset[int]]:
    """(prior without the outliers, positions of the outliers). The prior is None with fewer than FEWEST_VARIANCES arms.

    An arm without variance or with zero degrees of freedom is left out of the prior.
    """
    usable = [i for i, (s2, d) in enumerate(zip(variances, dfs, strict=True)) if s2 > 0 and d > 0]

    def fit(kept: Sequence[int]) -> Prior:
        return fit_prior([variances[i] for i in kept], [dfs[i] for i in kept])

    if len(usable) < FEWEST_VARIANCES:
        return None, frozenset()
    outliers = frozenset(
        i for i in usable if fit([k for k in usable if k != i]).tail(variances[i], dfs[i]) < OUTLIER_ALPHA / len(usable)
    )
    kept = [i for i in usable if i not in outliers]
    return (fit(kept), outliers) if len(kept) >= FEWEST_VARIANCES else (None, outliers)
