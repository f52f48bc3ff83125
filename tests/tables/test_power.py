"""Power and seeds of the decision that will be taken, against known values and simulation."""

import numpy as np
import pytest
import scipy.stats

from pgolf.tables.power import Design, detectable, fewest_seeds, power, power_of_equality, seeds_for

POOLED, PAIRED = Design("pooled"), Design("paired")


def test_power_is_cohens() -> None:
    assert power(POOLED, 64, 0.5) == pytest.approx(0.8015, abs=1e-4)  # Cohen 1988, d = 0.5: 64 in each group
    assert fewest_seeds(power, POOLED, 1.0, 0.5) == 64
    assert fewest_seeds(power, PAIRED, 1.0, 0.5) == 34
    assert fewest_seeds(power, POOLED, 1.0, 1e-9) is None
    assert fewest_seeds(power, POOLED, 0.0, 0.1) == 3, "no verdict with fewer"
    assert detectable(POOLED, 1.0, 1) is None
    assert power(POOLED, 5, 0.0) == pytest.approx(0.05, abs=1e-4)


@pytest.mark.parametrize("n", [2, 3, 5, 20])
@pytest.mark.parametrize("design", [POOLED, PAIRED, Design(comparisons=9), Design("moderated", arms=10, prior_df=4.0)])
def test_what_is_detectable_needs_that_many_seeds(n: int, design: Design) -> None:
    found = detectable(design, 0.01, n)
    assert found is not None
    assert power(design, n, found / 0.01) == pytest.approx(0.8)
    assert fewest_seeds(power, design, 0.01, found * 1.0001) == max(3, n)


@pytest.mark.parametrize("comparisons", [1, 9])
def test_power_of_welch_after_holms_correction_by_simulation(comparisons: int) -> None:
    """What a pooled, uncorrected formula promises as 80% is 70% for Welch with three seeds, and 15% over nine arms."""
    drawn = np.random.default_rng(0).normal(size=(2, 20_000, 3))
    p = scipy.stats.ttest_ind(drawn[0] + 3.07, drawn[1], axis=1, equal_var=False).pvalue
    share = (p < 0.05 / comparisons).mean()
    assert power(Design(comparisons=comparisons), 3, 3.07) == pytest.approx(share, abs=0.01)
    assert share == pytest.approx({1: 0.70, 9: 0.15}[comparisons], abs=0.015)
    assert power(POOLED, 3, 3.07) == pytest.approx(0.8, abs=0.005)


@pytest.mark.parametrize("n", [5, 10])
def test_power_of_equality_by_simulation(n: int) -> None:
    drawn = np.random.default_rng(1).normal(size=(2, 20_000, n))
    interval = scipy.stats.ttest_ind(drawn[0], drawn[1], axis=1, equal_var=False).confidence_interval()
    share = ((interval.low > -2) & (interval.high < 2)).mean()
    assert power_of_equality(Design(), n, 2.0) == pytest.approx(share, abs=0.01)


def test_seeds_have_the_interval_of_their_standard_deviation() -> None:
    seeds = seeds_for(power, POOLED, 1.0, (0.5, 2.0), 1.0)
    assert seeds.number is not None
    assert (seeds.low, seeds.high) == (fewest_seeds(power, POOLED, 0.5, 1.0), fewest_seeds(power, POOLED, 2.0, 1.0))
    assert (seeds.low or 0) < seeds.number < (seeds.high or 0)
