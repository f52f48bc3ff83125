"""Orders of arms: every pair is tested, corrected, and a reversal must exceed the margin."""

import math
from itertools import combinations

import pytest
import scipy.stats

from pgolf.tables.decision import Rules
from pgolf.tables.order import Order, order_agreement
from pgolf.tables.stats import welch


def agreement(scores: list[list[float]], margin: float = 0.01) -> Order:
    """scores: in the published order, best first."""
    tests = [welch(later, earlier) for earlier, later in combinations(scores, 2)]
    return order_agreement(tests, Rules(margin), len(scores))


def near(mean: float, sd: float = 0.001) -> list[float]:
    return [mean - sd, mean, mean + sd]


def test_tau_without_ties_is_scipys() -> None:
    order = agreement([near(x) for x in (1.1, 1.3, 1.2, 1.4)])
    assert order.tau_b == pytest.approx(scipy.stats.kendalltau([1, 2, 3, 4], [1.1, 1.3, 1.2, 1.4]).statistic)
    assert (order.concordant, order.discordant, order.reversed_by_more, order.within) == (5, 1, 1, 5)


def test_a_reversal_below_the_margin_is_shown_but_does_not_count_as_one_that_matters() -> None:
    order = agreement([near(x, 1e-5) for x in (1.0, 1.205, 1.2)])
    assert (order.concordant, order.discordant, order.reversed_by_more, order.within) == (2, 1, 0, 3)


def test_pairs_without_a_shown_difference_are_ties() -> None:
    order = agreement([[1.0, 1.25, 1.5], [1.1, 1.25, 1.4], [9.0, 9.05, 9.1]])
    assert (order.concordant, order.discordant, order.ties) == (2, 0, 1)
    assert order.tau_b == pytest.approx(2 / math.sqrt(2 * 3))
    assert agreement([[1.0, 1.25, 1.5]] * 3).reason == "every pair is a tie"
    assert agreement([[1.0, 1.1]] * 2).reason == "no order with fewer than three arms"


def test_pairs_are_corrected_together() -> None:
    """A pair with p = 0.03 alone is a reversal no more."""
    pair = [[1.0, 1.02, 1.04], [0.94, 0.96, 0.98]]
    assert welch(pair[1], pair[0]).p == pytest.approx(0.02, abs=0.01)
    assert agreement([*pair, [0.97, 0.99, 1.01], [0.96, 0.99, 1.02]]).discordant == 0
