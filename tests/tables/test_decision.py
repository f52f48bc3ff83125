"""The one rule from intervals to a decision: its cases, its consistency, and its limit as seeds are added."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgolf.tables.decision import Decision, Rules, corrected, decide
from pgolf.tables.sequential import EarlierNoise, sequential_test
from pgolf.tables.stats import ALPHA, welch


@pytest.mark.parametrize(
    ("interval", "decision"),
    [
        ((0.011, 0.02), Decision.WORSE),
        ((0.001, 0.02), Decision.WORSE),
        ((0.001, 0.009), Decision.WORSE_BY_LESS),
        ((-0.009, 0.009), Decision.EQUAL),
        ((-0.011, 0.009), Decision.UNDECIDED),
        ((-0.009, 0.01), Decision.UNDECIDED),
        ((-0.009, -0.001), Decision.BETTER_BY_LESS),
        ((-0.02, -0.001), Decision.BETTER),
    ],
)
def test_an_interval_against_zero_and_the_margin(interval: tuple[float, float], decision: Decision) -> None:
    assert decide(interval, 0.01) is decision
    low, high = interval
    turned = decide((-high, -low), 0.01)
    assert (turned.sign, turned.is_small) == (-decision.sign, decision.is_small)
    assert not decide(interval, None).is_small


@given(bounds=st.lists(st.floats(-0.05, 0.05), min_size=4, max_size=4))
def test_a_narrower_interval_never_contradicts_a_wider_one(bounds: list[float]) -> None:
    """So that every part of a page, whatever its level, agrees with every other, and seeds only add to a decision."""
    lowest, low, high, highest = sorted(bounds)
    wide, narrow = decide((lowest, highest), 0.01), decide((low, high), 0.01)
    assert wide.sign in (0, narrow.sign)
    assert narrow.is_small or not wide.is_small


@pytest.mark.parametrize(
    ("difference", "limits"),
    [
        (0.0, {Decision.EQUAL: 0.95}),
        (0.004, {Decision.WORSE_BY_LESS: 1.0}),
        (-0.004, {Decision.BETTER_BY_LESS: 1.0}),
        (0.02, {Decision.WORSE: 1.0}),
    ],
)
def test_decisions_converge_as_seeds_are_added(difference: float, limits: dict[Decision, float]) -> None:
    rng, counts = np.random.default_rng(1), dict.fromkeys(Decision, 0)
    for scores in rng.normal(0, 0.0026, size=(100, 2, 200)):
        (found,) = corrected([welch(list(scores[0] + difference), list(scores[1]))], Rules(0.01))
        assert found is not None
        counts[found.decision] += 1
    for decision, share in limits.items():
        assert counts[decision] / 100 == pytest.approx(share, abs=0.06)


@given(
    scores=st.lists(st.lists(st.floats(1.9, 2.1), min_size=3, max_size=4, unique=True), min_size=2, max_size=5),
    margin=st.floats(0.001, 0.1),
)
def test_decisions_are_those_of_holms_p(scores: list[list[float]], margin: float) -> None:
    rules = Rules(margin)
    for found in corrected([welch(x, scores[0]) for x in scores[1:]], rules):
        if found is None:
            continue
        assert found.p_equal is not None
        if min(abs(found.p - ALPHA), abs(found.p_equal - rules.equivalence_alpha)) > 1e-9:
            assert bool(found.decision.sign) == (found.p < ALPHA)
            assert found.decision.is_small == (found.p_equal < rules.equivalence_alpha)


@given(
    scores=st.lists(st.lists(st.floats(1.9, 2.1), min_size=5, max_size=5, unique=True), min_size=2, max_size=4),
    margin=st.floats(0.001, 0.3),
    noise=st.sampled_from([EarlierNoise(), EarlierNoise(0.02, math.inf)]),
)
def test_sequential_decisions_and_ps_have_one_scale(
    scores: list[list[float]], margin: float, noise: EarlierNoise
) -> None:
    rules = Rules(margin, step_down=False)
    for found in corrected([sequential_test(x, scores[0], noise) for x in scores[1:]], rules):
        if found is None or found.p_equal is None:
            continue
        if min(abs(found.p - ALPHA), abs(found.p_equal - rules.equivalence_alpha)) > 1e-9:
            assert bool(found.decision.sign) == (found.p < ALPHA)
            assert found.decision.is_small == (found.p_equal < rules.equivalence_alpha)


def test_equality_is_corrected_over_the_family() -> None:
    """An interval within the margin is enough for a single arm, and not for one arm of nine."""
    base, arm = [2.000, 2.004, 2.002], [2.0015, 2.0035, 2.0055]
    test = welch(arm, base)
    assert test.low is not None
    assert test.high is not None
    assert -0.01 < test.low < test.high < 0.01
    (alone,), of_nine = corrected([test], Rules(0.01)), corrected([test, *[None] * 8], Rules(0.01))
    assert alone is not None
    assert of_nine[0] is not None
    assert (alone.decision, of_nine[0].decision) == (Decision.EQUAL, Decision.UNDECIDED)
    assert of_nine[0].p_equal == pytest.approx(9 * (alone.p_equal or 0))
    assert of_nine[1:] == [None] * 8


def test_a_named_level_of_equality_is_used() -> None:
    test = welch([2.002, 2.010, 2.006], [2.000, 2.004, 2.002])
    within = test.p_within(0.01)
    assert within is not None
    for level, is_small in ((within * 1.01, True), (within * 0.99, False)):
        (found,) = corrected([test], Rules(0.01, equivalence_alpha=level))
        assert found is not None
        assert found.decision.is_small is is_small
