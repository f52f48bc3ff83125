"""Tests and intervals against hand-computed values, scipy.stats and published rows."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from pgolf.tables.stats import (
    correlation,
    holm,
    holm_levels,
    one_sample,
    paired,
    pooled_sd,
    threshold_test,
    welch,
)

LOW_RANK_Q_BPB = [1.1547705, 1.1551875, 1.15746881]  # openai/parameter-golf pull request 215, seeds 1337, 42, 113
REFERENCE_BPB = 1.17475315  # the record that it was tested against there
SCORES = st.lists(st.floats(0.5, 8.0), min_size=2, max_size=8)


def test_the_published_test_of_low_rank_q() -> None:
    test = one_sample(LOW_RANK_Q_BPB, REFERENCE_BPB, side="less")
    assert test.t is not None
    assert test.p is not None
    assert round(-test.t, 1) == 22.6
    assert test.df == 2
    assert math.floor(test.p * 1e5) / 1e5 == 0.00097  # 0.000977, published cut, not rounded
    known = scipy.stats.ttest_1samp(LOW_RANK_Q_BPB, REFERENCE_BPB, alternative="less")
    assert (test.t, test.p) == pytest.approx((known.statistic, known.pvalue))


def test_welch_by_hand() -> None:
    # means 2 and 5, variances 1 and 4, n 3: error sqrt(5/3), t = -3/1.29099, df = (5/3)^2 / ((1/3)^2/2 + (4/3)^2/2) =
    # 50/17
    test = welch([1, 2, 3], [3, 5, 7])
    assert test.difference == -3
    assert test.t == pytest.approx(-3 / math.sqrt(5 / 3))
    assert test.df == pytest.approx(50 / 17)


@given(a=SCORES, b=SCORES, null=st.floats(-1, 1), side=st.sampled_from(["two-sided", "less", "greater"]))
@settings(deadline=None)  # a busy machine
def test_welch_is_scipys(a: list[float], b: list[float], null: float, side: str) -> None:
    test = welch(a, b, null=null, side=side)  # type: ignore[arg-type]
    if test.reason:
        assert max(a) - min(a) < 1e-9
        assert max(b) - min(b) < 1e-9
        assert test.p is None
        return
    if min(np.std(a), np.std(b)) < 1e-9:
        return  # scipy warns of lost precision
    known = scipy.stats.ttest_ind(np.array(a) - null, b, equal_var=False, alternative=side)
    assert (test.t, test.df, test.p) == pytest.approx((known.statistic, known.df, known.pvalue), rel=1e-6, abs=1e-12)
    if side == "two-sided":
        interval = known.confidence_interval()
        assert (test.low, test.high) == pytest.approx((interval.low + null, interval.high + null), rel=1e-6, abs=1e-9)


@given(pairs=st.lists(st.tuples(st.floats(0.5, 8.0), st.floats(0.5, 8.0)), min_size=2, max_size=8))
@settings(deadline=None)  # a busy machine
def test_paired_is_scipys_and_the_sign_turns(pairs: list[tuple[float, float]]) -> None:
    a, b = [x for x, _ in pairs], [y for _, y in pairs]
    test, turned = paired(a, b), paired(b, a)
    assert test.difference == pytest.approx(-turned.difference)
    if test.reason or np.std(np.subtract(a, b)) < 1e-9:
        return
    known = scipy.stats.ttest_rel(a, b)
    assert (test.t, test.df, test.p) == pytest.approx((known.statistic, known.df, known.pvalue), rel=1e-6, abs=1e-12)
    assert (test.t, test.p, test.low) == pytest.approx((-turned.t, turned.p, -turned.high))  # type: ignore[operator]


@pytest.mark.parametrize(
    ("test", "message"),
    [
        (welch([1.0], [1.0, 2.0]), "one seed"),
        (welch([], [1.0, 2.0]), "no scores"),
        (welch([1.1, 1.1], [1.2, 1.2]), "no variance"),
        (paired([1.1, 1.2], [1.2, 1.3]), "no variance"),
        (paired([1.1], [1.2]), "one seed"),
        (one_sample([], 1.0), "no scores"),
        (one_sample([1.1, 1.1, 1.1], 1.0), "no variance"),
    ],
)
def test_nothing_to_test_is_said(test: object, message: str) -> None:
    assert message in test.reason  # type: ignore[attr-defined]
    assert test.t is test.p is test.low is test.high is None  # type: ignore[attr-defined]


def test_one_arm_without_variance_is_still_tested() -> None:
    test = welch([1.0, 1.0, 1.0], [1.0, 2.0, 3.0])
    assert test.df == pytest.approx(2)
    assert test.p == pytest.approx(scipy.stats.ttest_1samp([1.0, 2.0, 3.0], 1.0).pvalue)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_a_failed_arm_does_not_ease_the_correction() -> None:
    assert holm([0.01, None]) == [0.02, None]


@given(ps=st.lists(st.one_of(st.none(), st.floats(1e-6, 1.0)), max_size=8))
def test_the_level_of_holm_decides_as_its_p_does(ps: list[float | None]) -> None:
    for p, adjusted, level in zip(ps, holm(ps), holm_levels(ps), strict=True):
        assert (p is None) == (level is None)
        assert (
            p is None
            or adjusted is None
            or level is None
            or abs(adjusted - 0.05) < 1e-9
            or ((p < level) == (adjusted < 0.05))
        )


def test_one_sided_tests_against_a_margin_are_scipys() -> None:
    a, b = [1.01, 1.02, 1.06], [1.00, 1.03, 1.01]
    test = welch(a, b)
    above = scipy.stats.ttest_ind(np.array(a) + 0.05, b, equal_var=False, alternative="greater").pvalue
    below = scipy.stats.ttest_ind(np.array(a) - 0.05, b, equal_var=False, alternative="less").pvalue
    assert (test.p_above(-0.05), test.p_below(0.05)) == pytest.approx((above, below))
    assert test.p_within(0.05) == pytest.approx(max(above, below))
    assert test.interval(0.05) == pytest.approx((test.low, test.high))


def test_the_interval_of_a_standard_deviation() -> None:
    low, high = pooled_sd([[1.0, 2.0, 3.0, 4.0, 5.0]]).interval() or (0.0, 0.0)
    sd = math.sqrt(2.5)  # tables of the chi-square distribution, 4 df: 11.143 and 0.484
    assert (low, high) == pytest.approx((sd * math.sqrt(4 / 11.143), sd * math.sqrt(4 / 0.4844)), rel=1e-3)


def test_pooled_sd_by_hand() -> None:
    noise = pooled_sd([[1.0, 3.0], [1.0, 2.0, 3.0], [7.0]])  # squares 2 + 2 over 1 + 2 degrees of freedom
    assert noise.sd == pytest.approx(math.sqrt(4 / 3))
    assert (noise.df, noise.groups) == (3, 2)
    assert pooled_sd([[1.0], []]).reason == "no compared arm has two seeds"


def test_the_gate_shifts_its_null() -> None:
    base, arm = [2.030, 2.031, 2.032], [2.020, 2.021, 2.022]
    passed = threshold_test(arm, base)
    known = scipy.stats.ttest_ind(np.array(base) - 0.005, arm, equal_var=False, alternative="greater")
    assert passed.test.p == pytest.approx(known.pvalue)
    assert passed.passed is True
    assert threshold_test(arm, base, over_nats=0.0099).passed is False
    assert threshold_test(base, arm).passed is False
    assert threshold_test([2.0], base).passed is None


def test_correlation() -> None:
    assert correlation([1.0, 2.0, 4.0], [2.0, 3.0, 7.0]) == pytest.approx(np.corrcoef([1, 2, 4], [2, 3, 7])[0, 1])
    assert correlation([1.0, 2.0], [2.0, 3.0]) is None
    assert correlation([1.0, 1.0, 1.0], [2.0, 3.0, 4.0]) is None
