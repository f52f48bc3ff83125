"""A baseline's law and effective speedups: known laws come back, what is not identified says so, and the interval has
its coverage.
"""

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType

import pytest

from pgolf.tables.scaling import (
    ABOVE,
    BELOW,
    EXTRAPOLATED,
    INSIDE,
    Law,
    Paired,
    Speedup,
    StepRatio,
    equal_compute,
    fit_law,
    in_time,
    speedup,
)
from pgolf.tables.stats import one_sample

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "speedup.py"
COMPUTE = (1e12, 2e12, 4e12, 8e12)
LIMIT, ALPHA = 1.2, 0.35


def truth(compute: float) -> float:
    return LIMIT + (compute / 4e12) ** -ALPHA


def fitted(scores: list[float], compute: tuple[float, ...] = COMPUTE) -> Law:
    law = fit_law(compute, scores)
    assert isinstance(law, Law), law
    return law


@pytest.mark.parametrize("rungs", [3, 4])
def test_a_law_without_noise_comes_back(rungs: int) -> None:
    law = fitted([truth(c) for c in COMPUTE[:rungs]], COMPUTE[:rungs])
    assert (law.limit, law.alpha, law.problem) == (pytest.approx(LIMIT, abs=1e-4), pytest.approx(ALPHA, abs=1e-4), "")
    assert law.residuals == pytest.approx([0] * rungs, abs=1e-9)
    assert law.compute_at(truth(3e12)) == pytest.approx(3e12, rel=1e-6)
    assert law.compute_at(law.limit) == math.inf


@pytest.mark.parametrize(
    ("scores", "problem"),
    [
        ([2.3, 2.2, 2.1, 2.0], "alpha tends to 0"),  # straight over ln C
        ([2.3, 2.25, 2.15, 2.0], "alpha tends to 0"),  # ever steeper
        ([2.3, 2.199, 2.1, 2.003], "L_inf would be negative"),
        ([2.3, 2.0, 1.9999, 1.9999], "alpha is at its bound 2"),
    ],
)
def test_constants_that_are_not_identified_say_so(scores: list[float], problem: str) -> None:
    law = fitted(scores)
    assert law.problem == problem
    between = law.score(3e12)
    assert scores[3] - 0.02 < between < scores[0]
    assert law.compute_at(between) == pytest.approx(3e12, rel=1e-6), "the curve between the rungs can be used"


def test_no_law_without_three_rungs_or_a_falling_score() -> None:
    assert fit_law(COMPUTE[:2], [2.3, 2.2]) == "a law needs 3 or more rungs, and there are 2"
    assert fit_law(COMPUTE, [2.0, 2.1, 2.2, 2.3]) == "the baseline's score does not fall with compute"


@pytest.mark.parametrize(
    ("compute", "factor", "place"),
    [
        (4e12, 1.0, INSIDE),
        (8e12, 1.0, INSIDE),
        (4e12, 1.9, INSIDE),
        (8e12, 1.9, EXTRAPOLATED),
        (1e12, 0.6, EXTRAPOLATED),
        (8e12, 2.1, ABOVE),
        (1e12, 0.45, BELOW),
    ],
)
def test_a_law_is_extrapolated_by_one_doubling_at_most(compute: float, factor: float, place: str) -> None:
    law = fitted([truth(c) for c in COMPUTE])
    gap = truth(factor * compute) - truth(compute)
    found, equal = equal_compute(law, Paired(compute, compute, gap))
    assert (found, equal) == (place, pytest.approx(factor * compute, rel=1e-4))
    result = speedup({1: law}, {1: Paired(compute, compute, gap)})
    assert result.ratio == (pytest.approx(factor, rel=1e-4) if place in (INSIDE, EXTRAPOLATED) else None)


def test_a_score_below_the_limit_is_above_the_ladder() -> None:
    law = fitted([truth(c) for c in COMPUTE])
    found = speedup({1: law, 2: law}, {1: Paired(8e12, 8e12, -1.0), 2: Paired(8e12, 8e12, 0.0)})
    assert (found.ratio, found.note) == (None, "above the ladder in 1 of 2 seeds")


def test_an_arm_that_costs_more_flops_gains_less() -> None:
    law = fitted([truth(c) for c in COMPUTE])
    pair = Paired(compute=1.5 * 4e12, base_compute=4e12, gap=truth(6e12) - truth(4e12))
    assert speedup({1: law}, {1: pair}).ratio == pytest.approx(1.0, rel=1e-4)


def test_time_adds_the_ratio_of_step_times_and_its_variance() -> None:
    logs = [0.10, 0.14, 0.12]
    of_compute = Speedup(one_sample(logs))
    exact = in_time(of_compute, StepRatio(0.8, 0.8 - 1e-12, 0.8 + 1e-12), 1.0)
    assert exact.ratio == pytest.approx(math.exp(0.12) / 0.8)
    assert exact.bounds is not None
    assert of_compute.bounds is not None
    assert exact.bounds == pytest.approx([x / 0.8 for x in of_compute.bounds])
    noisy = in_time(of_compute, StepRatio(0.8, 0.7, 0.9), 1.25)
    assert noisy.ratio == pytest.approx(math.exp(0.12) / 0.8 * 1.25)
    halves = [math.log(of[1] / of[0]) / 2 for of in (noisy.bounds or (), of_compute.bounds, (0.7, 0.9))]
    assert halves[0] == pytest.approx(math.hypot(*halves[1:])), "never narrower than its parts"
    bare = in_time(of_compute, StepRatio(0.8), 1.0)
    assert bare.bounds is None
    assert bare.test is not None
    assert bare.test.reason == "the step times have no interval"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("speedup", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["speedup"] = module  # its dataclass looks its module up
    spec.loader.exec_module(module)
    return module


def test_the_interval_has_its_coverage_if_the_law_is_true(script: ModuleType) -> None:
    gap, _, identified = script.simulate("true", 0.004, repeats=250)
    assert (gap.numbers, identified) == (1.0, 1.0)
    assert 0.91 <= gap.covered <= 0.99, "three standard errors"
    assert abs(gap.bias) < 0.005


def test_a_wrong_law_biases_the_gap_less_than_the_score_alone(script: ModuleType) -> None:
    gap, alone, _ = script.simulate("two powers", 0.0005, repeats=20)
    assert abs(gap.bias) < 0.002 < abs(alone.bias)
    at_the_end, _, _ = script.simulate("two powers", 0.0005, rung=3, repeats=20)
    assert 0.01 < at_the_end.bias < 0.03, "the last rung depends on the slope of the law"


def test_a_law_without_its_constants_still_gives_speedups(script: ModuleType) -> None:
    gap, _, identified = script.simulate("straight", 0.004, repeats=20)
    assert (gap.numbers, identified) == (1.0, 0.0)
    assert abs(gap.bias) < 0.01
