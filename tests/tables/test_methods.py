"""The tests that a study can name, against scipy, an analysis of variance by hand, and limit cases."""

import math
from statistics import fmean

import numpy as np
import pytest
import scipy.special
import scipy.stats

from pgolf.tables.methods import PAIRED, WELCH, Method, Sample, compare, prior, shared_df
from pgolf.tables.moderation import Prior, fit_prior, inverse_trigamma, prior_of
from pgolf.tables.stats import TTest

POOLED, TWO_WAY = Method("pooled"), Method("pooled", blocked=True)
MODERATED, MODERATED_PAIRS = Method("moderated"), Method("moderated", blocked=True)
SCORES = np.array([[1.00, 1.02, 1.05], [1.10, 1.13, 1.14], [0.98, 1.04, 1.02], [1.2, 1.21, 1.25], [0.9, 0.95, 0.93]])
CONTRASTS = [(1, 0), (2, 0), (3, 0), (4, 0)]


def samples(scores: np.ndarray) -> list[Sample]:
    return [dict(enumerate(map(float, row), 1)) for row in scores]


def numbers(test: TTest) -> tuple[float | None, ...]:
    return test.difference, test.t, test.df, test.p


def test_welch_and_paired_are_scipys() -> None:
    for method, known in (
        (WELCH, [scipy.stats.ttest_ind(SCORES[a], SCORES[b], equal_var=False) for a, b in CONTRASTS]),
        (PAIRED, [scipy.stats.ttest_rel(SCORES[a], SCORES[b]) for a, b in CONTRASTS]),
    ):
        tests = compare(method, samples(SCORES), CONTRASTS)
        assert [test.p for test in tests] == pytest.approx([float(x.pvalue) for x in known])


def test_pooled_is_one_way_analysis_of_variance() -> None:
    tests = compare(POOLED, samples(SCORES), CONTRASTS)
    sd = math.sqrt(SCORES.var(axis=1, ddof=1).mean())
    assert [test.df for test in tests] == [10] * 4
    assert tests[0].t == pytest.approx((SCORES[1] - SCORES[0]).mean() / (sd * math.sqrt(2 / 3)))
    two = compare(POOLED, samples(SCORES[:2]), [(1, 0)])[0]
    assert two.p == pytest.approx(float(scipy.stats.ttest_ind(SCORES[1], SCORES[0]).pvalue))


def test_blocked_is_two_way_analysis_of_variance() -> None:
    """Residuals after means of arms and of seeds; for two arms it is the paired test."""
    tests = compare(TWO_WAY, samples(SCORES), CONTRASTS)
    residual = SCORES - SCORES.mean(1, keepdims=True) - SCORES.mean(0) + SCORES.mean()
    sd = math.sqrt((residual**2).sum() / 8)
    assert [test.df for test in tests] == [8] * 4
    assert tests[2].t == pytest.approx((SCORES[3] - SCORES[0]).mean() / (sd * math.sqrt(2 / 3)))
    (two,), (pair,) = (compare(method, samples(SCORES[:2]), [(1, 0)]) for method in (TWO_WAY, PAIRED))
    assert numbers(two) == pytest.approx(numbers(pair))


def test_blocked_takes_common_effects_of_the_seed_out() -> None:
    shifted = SCORES + np.array([0.0, 5.0, -3.0])
    for method in (TWO_WAY, PAIRED, MODERATED_PAIRS):
        before, after = (compare(method, samples(scores), CONTRASTS) for scores in (SCORES, shifted))
        assert [test.p for test in before] == pytest.approx([test.p for test in after])


def test_blocked_with_missing_seeds_uses_what_is_linked() -> None:
    ragged = samples(SCORES)
    ragged[1] = {1: 1.1, 2: 1.13}
    (test, *_) = compare(TWO_WAY, ragged, CONTRASTS)
    effects = fmean(ragged[1][seed] - fmean(SCORES[i][seed - 1] for i in (0, 2, 3, 4)) for seed in (1, 2))
    base = SCORES[0].mean() - SCORES[[0, 2, 3, 4]].mean()
    assert test.difference == pytest.approx(effects - base)
    assert test.df == 7
    apart = [{1: 1.0, 2: 1.1}, {3: 1.0, 4: 1.2}]
    assert compare(TWO_WAY, apart, [(1, 0)])[0].reason == "no seed links the two arms"


def test_the_prior_is_that_of_the_log_variances() -> None:
    """Drawn from a known prior, df and variance come back. Few arms are never taken for arms of one noise by chance."""
    rng = np.random.default_rng(3)
    true = 4.0 / rng.chisquare(4, size=4000) * 1e-4  # 1 / variance ~ chi2(4) / (4 * 1e-4)
    found = fit_prior(list(true * rng.chisquare(2, size=4000) / 2), [2.0] * 4000)
    assert found.df == pytest.approx(4.0, rel=0.15)
    assert found.variance == pytest.approx(1e-4, rel=0.1)
    few, many = (fit_prior([1.0, 1.1, 0.9, 1.0] * times, [2.0] * 4 * times) for times in (1, 100))
    assert few.df < 20
    assert (many.df, many.variance, many.total_df) == (math.inf, pytest.approx(1.0), 800)


@pytest.mark.parametrize("value", [1e-5, 0.1, 1.0, 30.0, 1e4])
def test_the_inverse_of_trigamma(value: float) -> None:
    assert float(scipy.special.polygamma(1, inverse_trigamma(value))) == pytest.approx(value, rel=1e-6)


def test_a_moderated_variance_lies_between_its_own_and_the_common_one() -> None:
    found = Prior(4.0, 1.0, 20.0, 10)
    assert found.moderated(3.0, 2) == pytest.approx((4 * 1 + 2 * 3) / 6)
    assert Prior(math.inf, 1.0, 20.0, 10).moderated(3.0, 2) == 1.0
    assert found.tail(3.0, 2) == pytest.approx(float(scipy.stats.f.sf(3.0, 2, 4)))
    assert Prior(math.inf, 1.0, 20.0, 10).tail(3.0, 2) == pytest.approx(float(scipy.stats.chi2.sf(6.0, 2)))


def test_moderated_uses_the_variances_of_the_whole_study() -> None:
    """Welch's formula with shrunk variances and the prior's degrees of freedom, by hand."""
    found, outliers = prior(samples(SCORES))
    assert found is not None
    assert outliers == frozenset()
    variances = SCORES.var(axis=1, ddof=1)
    (test, *_) = compare(MODERATED, samples(SCORES), CONTRASTS)
    a, b = ((found.df * found.variance + 2 * variances[i]) / (found.df + 2) / 3 for i in (1, 0))
    assert test.t == pytest.approx((SCORES[1] - SCORES[0]).mean() / math.sqrt(a + b))
    assert test.df == pytest.approx(min(10, found.df + 2 * (a + b) ** 2 / (a**2 + b**2)))
    equal = [{seed: 3.0 + x for seed, x in enumerate((0.01, 0.02, 0.03))} for _ in range(100)]
    more = compare(MODERATED, samples(SCORES), CONTRASTS, equal)
    assert [test.df for test in more] > [test.df for test in compare(MODERATED, samples(SCORES), CONTRASTS)]
    pooled, single = (compare(method, equal[:5], [(1, 0)], equal)[0] for method in (MODERATED, POOLED))
    assert (pooled.t, pooled.df) == (single.t, 210)


def test_an_outlying_arm_keeps_welchs_test() -> None:
    loud = SCORES.copy()
    loud[3] = [1.2, 2.2, 3.2]
    plain, tests = (compare(method, samples(loud), CONTRASTS) for method in (WELCH, MODERATED))
    assert [test.name for test in tests] == ["moderated t", "moderated t", "Welch", "moderated t"]
    assert tests[2] == plain[2]
    assert prior_of([1e-4, 1.1e-4, 0.9e-4, 1e-4, 1.0], [2.0] * 5)[1] == {4}


def test_few_arms_and_arms_without_variance_keep_welchs_test() -> None:
    assert [x.name for x in compare(MODERATED, samples(SCORES[:3]), CONTRASTS[:2])] == ["Welch"] * 2
    still = SCORES.copy()
    still[1] = 1.1
    assert compare(MODERATED, samples(still), CONTRASTS)[0].name == "Welch"


@pytest.mark.parametrize("method", [POOLED, TWO_WAY, MODERATED, MODERATED_PAIRS])
def test_nothing_to_test_is_said(method: Method) -> None:
    single = [{1: 1.0}, *samples(SCORES[1:])]
    assert "one seed" in (compare(method, single, [(0, 1)])[0].reason or "")
    assert "no variance" in (compare(method, samples(np.ones((5, 3))), CONTRASTS)[0].reason or "")


def test_variances_of_differences_to_one_baseline_count_less() -> None:
    """Two thousand draws: the variance of a pooled variance is 2 / df."""
    drawn = np.random.default_rng(0).normal(size=(4000, 10, 3))
    pooled = (drawn[:, 1:] - drawn[:, :1]).var(axis=2, ddof=1).mean(axis=1)
    df = 2 * pooled.mean() ** 2 / pooled.var()
    assert shared_df(18, 9) == pytest.approx(6)
    assert df == pytest.approx(6, rel=0.12)
