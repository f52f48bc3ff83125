"""Learning-rate schedules as tables of steps and scales, and compared with the published wallclock form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgolf.config.build import build_budget, build_schedule
from pgolf.errors import ConfigError, OptionError
from pgolf.optim.schedules import Budget, Constant, StepWarmdown, WallclockWarmdown
from tiny import stems, tiny_config

STEPS = Budget(100, None)
TEN_MINUTES = Budget(None, 600.0)


def close(value: float):
    return pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize(("step", "scale"), [(0, 1.0), (50, 1.0), (99, 1.0)])
@pytest.mark.parametrize("budget", [STEPS, TEN_MINUTES], ids=["steps", "seconds"])
def test_constant(budget, step, scale):
    assert Constant(budget)(step, 1.0) == scale


@pytest.mark.parametrize(
    ("step", "scale"),
    [(0, 1.0), (29, 1.0), (30, 1.0), (31, 0.98), (55, 0.5), (79, 0.02), (80, 0.0), (81, 0.0), (99, 0.0)],
)
def test_step_warmdown(step, scale):
    assert StepWarmdown(STEPS, start_step=30, warmdown_steps=50)(step, 123.0) == close(scale)


def test_step_warmdown_cannot_run_on_the_clock():
    with pytest.raises(OptionError, match="seconds"):
        StepWarmdown(TEN_MINUTES, start_step=3, warmdown_steps=5)


@pytest.mark.parametrize(("step", "scale"), [(0, 1.0), (59, 1.0), (60, 1.0), (61, 39 / 40), (80, 0.5), (99, 1 / 40)])
@pytest.mark.parametrize("elapsed_s", [0.0, 1e6])
def test_wallclock_warmdown_under_a_budget_in_steps_does_not_read_the_clock(step, scale, elapsed_s):
    assert WallclockWarmdown(STEPS, warmdown_fraction=None, warmdown_steps=40)(step, elapsed_s) == close(scale)


@pytest.mark.parametrize(("step", "scale"), [(0, 0.5), (50, 0.25), (99, 0.005)])
def test_a_warmdown_longer_than_the_run_never_reaches_the_full_rate(step, scale):
    assert WallclockWarmdown(STEPS, warmdown_fraction=None, warmdown_steps=200)(step, 0.0) == close(scale)


@pytest.mark.parametrize(
    ("step", "elapsed_s", "scale"),
    [
        (0, 0.0, 1.0),  # no step yet: no estimate
        (1, 0.1, 1.0),  # 0.1 s per step: 1,200 steps are 120 s
        (4799, 479.9, 1.0),
        (4800, 480.0, 1.0),  # 120 s left: the warmdown begins
        (5100, 510.0, 0.75),
        (5400, 540.0, 0.5),
        (5999, 599.9, 0.1 / 120.0),
        (6000, 600.0, 0.0),
        (6001, 600.7, 0.0),  # the last step may end after the budget
        (10, 300.0, 300.0 / 36000.0),  # slow start: 30 s per step, so all 300 s left are warmdown
    ],
)
def test_wallclock_warmdown_under_a_budget_in_seconds(step, elapsed_s, scale):
    assert WallclockWarmdown(TEN_MINUTES, warmdown_fraction=None, warmdown_steps=1200)(
        step, elapsed_s
    ) == pytest.approx(scale, rel=1e-3, abs=1e-9)


@given(step=st.integers(1, 20_000), elapsed_s=st.floats(0.001, 700.0), warmdown=st.integers(1, 20_000))
def test_the_published_wallclock_form(step, elapsed_s, warmdown):
    """scale = 1 while remaining > warmdown * (elapsed/step), else remaining / (warmdown * elapsed/step)."""
    remaining, needed = max(600.0 - elapsed_s, 0.0), warmdown * (elapsed_s / step)
    expected = 1.0 if remaining > needed else remaining / needed
    actual = WallclockWarmdown(TEN_MINUTES, warmdown_fraction=None, warmdown_steps=warmdown)(step, elapsed_s)
    assert actual == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert 0.0 <= actual <= 1.0


@given(steps=st.integers(1, 500), warmdown=st.integers(1, 700))
def test_a_clock_that_ticks_evenly_gives_the_schedule_of_a_budget_in_steps(steps, warmdown):
    by_steps = WallclockWarmdown(Budget(steps, None), warmdown_fraction=None, warmdown_steps=warmdown)
    by_clock = WallclockWarmdown(Budget(None, steps * 0.25), warmdown_fraction=None, warmdown_steps=warmdown)
    for step in range(1, steps, max(1, steps // 17)):
        assert by_clock(step, step * 0.25) == pytest.approx(by_steps(step, 0.0), abs=1e-9)


@given(step=st.integers(0, 99), start=st.integers(0, 120), warmdown=st.integers(1, 120))
def test_rates_never_rise_nor_leave_zero_to_one(step, start, warmdown):
    for schedule in (
        StepWarmdown(STEPS, start_step=start, warmdown_steps=warmdown),
        WallclockWarmdown(STEPS, warmdown_fraction=None, warmdown_steps=warmdown),
    ):
        assert 0.0 <= schedule(step + 1, 0.0) <= schedule(step, 0.0) <= 1.0


@pytest.mark.parametrize(
    ("budget", "step", "elapsed_s", "spent"),
    [
        (STEPS, 0, 9e9, 0.0),
        (STEPS, 25, 0.0, 0.25),
        (STEPS, 100, 0.0, 1.0),
        (TEN_MINUTES, 7, 0.0, 0.0),
        (TEN_MINUTES, 7, 660.0, 1.1),
    ],
)
def test_budget_spent(budget, step, elapsed_s, spent):
    assert budget.spent(step, elapsed_s) == close(spent)


@pytest.mark.parametrize("key", ["warmdown_steps", "start_step"])
def test_lengths_that_cannot_be_are_refused(key):
    bad = {"start_step": 0, "warmdown_steps": 1, key: -1}
    with pytest.raises(OptionError, match=key):
        StepWarmdown(STEPS, **bad)
    with pytest.raises(OptionError, match="warmdown_steps"):
        WallclockWarmdown(STEPS, warmdown_fraction=None, warmdown_steps=0)


@pytest.mark.parametrize("stem", stems("optim/schedule"))
@pytest.mark.parametrize("steps", [1, 2, 250, 50_000])
def test_every_yaml_trains_at_the_full_rate_first(stem, steps):
    config = tiny_config(f"optim/schedule={stem}", f"train.steps={steps}")
    schedule = build_schedule(config.optim, build_budget(config.train))
    assert schedule(0, 0.0) == 1.0
    assert all(0.0 <= schedule(step, 1.0) <= 1.0 for step in {0, steps // 2, steps - 1})
    assert schedule(round(0.85 * (steps - 1)), 1.0) > 0.0


@pytest.mark.parametrize("budget", [Budget(1000, None), Budget(None, 60.0)])
def test_a_fraction_is_one_of_the_budget_in_steps_or_seconds(budget):
    schedule = WallclockWarmdown(budget, warmdown_fraction=0.25, warmdown_steps=None)
    for spent, scale in ((0.0, 1.0), (0.75, 1.0), (0.875, 0.5), (1.0, 0.0)):
        assert schedule(round(1000 * spent), 60.0 * spent) == close(scale)


def test_one_key_says_how_long():
    for fraction, steps in ((None, None), (0.5, 10)):
        with pytest.raises(OptionError, match="exactly one"):
            WallclockWarmdown(STEPS, warmdown_fraction=fraction, warmdown_steps=steps)
    for fraction in (0.0, 1.5):
        with pytest.raises(OptionError, match="warmdown_fraction"):
            WallclockWarmdown(STEPS, warmdown_fraction=fraction, warmdown_steps=None)


def test_published_step_counts_come_back_at_the_published_length():
    schedule = tiny_config("optim/schedule=step_warmdown", "train.steps=7717").optim.schedule
    assert (schedule["start_step"], schedule["warmdown_steps"]) == (4717, 3000)


def test_a_budget_in_tokens_is_one_in_steps():
    config = tiny_config("train.steps=null", "train.tokens=6400")
    assert build_budget(config.train) == Budget(100, None)


def test_a_refused_schedule_is_told_under_its_path():
    seconds = tiny_config("optim/schedule=step_warmdown", "train.steps=null", "train.seconds=3")
    with pytest.raises(ConfigError, match=r"optim\.schedule\._target_"):
        build_schedule(seconds.optim, build_budget(seconds.train))
