"""The sequential test against numerical integration, and its error rate and coverage when it is looked at after every
pair.
"""

import math
from itertools import product

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import stdtrit
from scipy.stats import norm

from pgolf.tables.sequential import EFFECT, EarlierNoise, Verdict, interval, judge, log_e_value, weigh, width_factor

KNOWN, ESTIMATED, EARLIER = EarlierNoise(0.7, math.inf), EarlierNoise(), EarlierNoise(0.7, 6)
SOME = [0.3, -0.2, 0.9, 0.4, 1.1]
REPEATS, PAIRS = 2000, 30


def test_the_e_value_with_known_noise_is_the_integral_over_the_prior() -> None:
    s = KNOWN.sd_bpb

    def likelihood(delta: float) -> float:
        return math.prod(norm.pdf(d, delta, s) for d in SOME)

    mixture = quad(lambda x: likelihood(0.2 + x) * norm.pdf(x, scale=EFFECT * s), -20, 20, epsabs=1e-15)[0]
    assert math.exp(log_e_value(SOME, KNOWN, null=0.2)) == pytest.approx(mixture / likelihood(0.2), rel=1e-9)


@pytest.mark.parametrize("noise", [ESTIMATED, EARLIER])
def test_the_e_value_with_estimated_noise_is_the_integral_over_effect_and_noise(noise: EarlierNoise) -> None:
    """sigma has the density 1 / sigma. Earlier runs add their chi-square density."""

    log_sigma, effect = np.linspace(-6, 8, 1401)[:, None], np.linspace(-16, 16, 801)
    sigma = np.exp(log_sigma)

    def integral_over_sigma(squares: np.ndarray) -> np.ndarray:
        density = np.exp(-(len(SOME) + noise.df) * log_sigma - squares / (2 * sigma**2))
        return np.trapezoid(density, log_sigma, axis=0)

    squares = noise.sum_squares + sum((d - effect * sigma) ** 2 for d in SOME)
    mixture = np.trapezoid(integral_over_sigma(squares) * norm.pdf(effect, scale=EFFECT), effect)
    null = integral_over_sigma(noise.sum_squares + sum(d**2 for d in SOME) * np.ones((1, 1)))[0]
    assert math.exp(log_e_value(SOME, noise)) == pytest.approx(mixture / null, rel=1e-9)


def test_an_interval_of_the_smallest_alpha() -> None:
    assert interval(SOME, ESTIMATED, 1e-300) == (-math.inf, math.inf)
    assert all(map(math.isfinite, interval(SOME, KNOWN, 1e-300)))


@pytest.mark.parametrize("noise", [KNOWN, ESTIMATED, EARLIER])
def test_the_interval_holds_the_values_that_are_not_rejected(noise: EarlierNoise) -> None:
    for alpha in (0.05, 0.2):
        low, high = interval(SOME, noise, alpha)
        for end in (low, high):
            assert log_e_value(SOME, noise, null=end) == pytest.approx(-math.log(alpha), abs=1e-9)
        assert log_e_value(SOME, noise, null=(low + high) / 2) < -math.log(alpha)


def test_many_degrees_of_freedom_are_known_noise() -> None:
    assert log_e_value(SOME, EarlierNoise(0.7, 1e9)) == pytest.approx(log_e_value(SOME, KNOWN), rel=1e-6)
    assert interval(SOME, EarlierNoise(0.7, 1e9)) == pytest.approx(interval(SOME, KNOWN), rel=1e-6)


def test_too_few_pairs_have_no_interval() -> None:
    assert interval([], KNOWN) == (-math.inf, math.inf)
    for few in ([0.3], [0.3, 0.31], [0.3, 0.31, 0.32]):
        assert interval(few, ESTIMATED) == (-math.inf, math.inf)
    assert all(map(math.isfinite, (*interval([0.3], KNOWN), *interval([0.3, 0.31, 0.32, 0.3], ESTIMATED))))


def simulated(noise: str, rho: float, delta: float = 0.0) -> tuple[float, float]:
    """(share of repeats in which an interval ever misses delta, share that ever gets a wrong verdict with a margin of
    2) over PAIRS pairs, with a look after each.

    Scores of both arms have sd 1 and the correlation rho over seeds. Their noise is taken as that of independent arms.
    """
    rng = np.random.default_rng(round(100 * rho) + round(10 * delta))
    shared, *own = rng.normal(size=(3, REPEATS, PAIRS))
    base, candidate = (rho**0.5 * shared + (1 - rho) ** 0.5 * each for each in own)
    differences, n = delta + candidate - base, np.arange(1, PAIRS + 1)
    mean = differences.cumsum(axis=1) / n
    df = {"known": math.inf, "estimated": 0, "earlier": 8}[noise]
    squares = (differences**2).cumsum(axis=1) - n * mean**2 + 2 * rng.chisquare(8, size=(REPEATS, 1)) * (df > 0)
    factors = np.array([width_factor(int(k), df) for k in n])
    half = factors * 2**0.5 if df == math.inf else factors * np.maximum(squares, 1e-300) ** 0.5
    low, high = mean - half, mean + half
    wrong = (high < 0) if delta else (high < 0) | (low > 0)
    if delta >= 2:
        wrong |= (low > -2) & (high < 2) & (low <= 0)
    missed = (low > delta) | (high < delta)
    return float(missed.any(axis=1).mean()), float(wrong.any(axis=1).mean())


@pytest.mark.parametrize(("noise", "rho"), [*product(("known", "estimated", "earlier"), (0.0, 0.3, 0.6))])
def test_looking_after_every_pair_keeps_the_error_rate(noise: str, rho: float) -> None:
    """At most 5% of sequences ever miss the truth; 0.064 is three standard errors of 2,000 repeats above."""
    missed, wrong = simulated(noise, rho)
    assert missed == wrong <= 0.064
    if noise == "estimated" or rho == 0:
        assert missed >= 0.01, "the test is not so cautious that it could not fail"
    missed, wrong = simulated(noise, rho, delta=2.0)
    assert max(missed, wrong) <= 0.064


def test_a_t_test_after_every_pair_does_not() -> None:
    """The simulation can fail: the usual 95% interval misses the truth at some look in far more than 5%."""
    n = np.arange(2, PAIRS + 1)
    d = np.random.default_rng(1).normal(size=(REPEATS, PAIRS))
    sums, squares = (x.cumsum(axis=1)[:, 1:] for x in (d, d**2))
    error = np.sqrt((squares - sums**2 / n) / (n - 1) / n)
    assert (abs(sums / n) > stdtrit(n - 1, 0.975) * error).any(axis=1).mean() > 0.15


def test_verdicts() -> None:
    known = EarlierNoise(0.01, math.inf)
    for shift, verdict in ((-0.1, Verdict.BETTER), (0.1, Verdict.WORSE), (0.02, Verdict.UNDECIDED)):
        assert weigh([1.0, 1.1], [1.0 + shift, 1.1 + shift], known, 0.02).verdict is verdict
    found = weigh([1.0] * 30, [1.0002] * 30, known, 0.02)
    assert (found.verdict, found.within_margin) == (Verdict.EQUAL, True)
    found = weigh([1.0] * 30, [1.01] * 30, known, 0.02)
    assert (found.verdict, found.within_margin) == (Verdict.WORSE, True), "worse, by less than matters"
    assert found.p == pytest.approx(1 / found.e)
    assert found.p < 0.05
    assert weigh([], [], known, 0.02).verdict is Verdict.UNDECIDED
    assert judge(-1.0, 0.0001, 0.5) is judge(-0.0001, 1.0, 0.5) is judge(-0.5, 0.1, 0.5) is Verdict.UNDECIDED


def test_differences_without_variance() -> None:
    equal = weigh([1.5, 1.6], [1.5, 1.6], ESTIMATED, 0.01)
    assert (equal.verdict, equal.p) == (Verdict.EQUAL, 1.0)
    assert weigh([1.5], [1.5], ESTIMATED, 0.01).verdict is Verdict.UNDECIDED, "one pair may be a coincidence"
    constant = weigh([1.5, 1.6, 1.7], [1.6, 1.7, 1.8], ESTIMATED, 0.01)
    assert constant.verdict is Verdict.UNDECIDED
    assert "no variance" in (constant.reason or "")
