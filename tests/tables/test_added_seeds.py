"""Tables of a study whose seeds were added until a decision: the test, Bonferroni's correction, the error rate."""

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType

import pytest

from pgolf.tables.decision import Decision, Rules, corrected
from pgolf.tables.methods import SEQUENTIAL, Method, compare
from pgolf.tables.sequential import EarlierNoise, SequentialTest, Verdict, log_e_value, sequential_test, weigh

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "gate.py"
BASE = [1.50, 1.52, 1.47, 1.51, 1.49, 1.53]
KNOWN = EarlierNoise(0.02, math.inf)


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gate_benchmark", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["gate_benchmark"] = module  # its dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("noise", [KNOWN, EarlierNoise()])
@pytest.mark.parametrize("shift", [0.1, -0.1, 0.004])
def test_a_table_and_a_gate_read_the_same_pairs_alike(noise: EarlierNoise, shift: float) -> None:
    arm = [b + shift + e for b, e in zip(BASE, (0.001, -0.002, 0.0, 0.003, -0.001, 0.002), strict=True)]
    test, found = sequential_test(arm, BASE, noise), weigh(BASE, arm, noise, 0.03)
    assert (test.difference, test.low, test.high, test.p) == (found.mean, found.low, found.high, found.p)
    (result,) = corrected([test], Rules(0.03, step_down=False))
    assert result is not None
    expected = {Verdict.WORSE: 1, Verdict.BETTER: -1}.get(found.verdict, 0)
    assert result.decision.sign == expected
    assert result.decision.is_small == found.within_margin


def test_one_sided_ps_belong_to_the_interval() -> None:
    arm = [b + 0.02 + e for b, e in zip(BASE, (0.004, -0.003, 0.001, 0.002, -0.004, 0.0), strict=True)]
    test = sequential_test(arm, BASE, EarlierNoise())
    low, high = test.interval(0.01) or (0.0, 0.0)
    assert test.p_above(low) == pytest.approx(0.005)
    assert test.p_below(high) == pytest.approx(0.005)
    assert test.p_above(high) == test.p_below(low) == 1.0
    assert test.p_above(low - 0.01) < 0.005  # type: ignore[operator]
    assert test.p_within(0.1) == max(test.p_above(-0.1), test.p_below(0.1))  # type: ignore[type-var]
    assert test.p == pytest.approx(math.exp(-log_e_value(test.differences, EarlierNoise())))


def test_what_cannot_be_tested_says_why() -> None:
    few = sequential_test([1.6, 1.7, 1.65], BASE[:3], EarlierNoise())
    assert few.low is None
    assert "no interval with 3 pairs" in (few.reason or "")
    (result,) = corrected([few], Rules(0.01, step_down=False))
    assert result is not None
    assert result.decision is Decision.UNDECIDED
    constant = sequential_test([b + 0.125 for b in (1.0, 2.0, 3.0)], (1.0, 2.0, 3.0), EarlierNoise())
    assert corrected([constant], Rules(0.01, step_down=False)) == [None]
    equal = sequential_test(BASE, BASE, EarlierNoise())
    (result,) = corrected([equal], Rules(0.01, step_down=False))
    assert result is not None
    assert result.decision is Decision.EQUAL
    assert sequential_test([], [], KNOWN).reason == "no common seed"


def test_a_method_pairs_the_common_seeds_and_the_other_arms_do_not_change_a_decision() -> None:
    samples = [dict(enumerate(BASE)), {seed: score + 0.08 for seed, score in enumerate(BASE[:4])}, {0: 1.9, 1: 1.95}]
    tests = compare(Method(SEQUENTIAL, noise_bpb=0.02), samples, [(1, 0), (2, 0)])
    assert [test.n for test in tests] == [(4,), (2,)]
    assert isinstance(tests[0], SequentialTest)
    assert tests[0].noise.sd_bpb == pytest.approx(0.02 * math.sqrt(2))
    rules = Rules(0.01, step_down=False)
    alone, beside = corrected([tests[0], None], rules)[0], corrected(tests, rules)[0]
    assert alone == beside, "under Holm's method a later look at another arm could take a decision back"
    assert alone is not None
    assert tests[0].p is not None
    assert alone.p == pytest.approx(2 * tests[0].p)
    assert alone.interval == tests[0].interval(0.025)


@pytest.mark.parametrize(
    ("effects", "noise", "rho"),
    [((0.0,) * 9, "known", 0.0), ((0.0,) * 9, "estimated", 0.6), ((2.0, -2.0, 0.0), "study of 20 df, by seed", 0.3)],
)
def test_a_family_keeps_its_error_rate_while_seeds_are_added(
    script: ModuleType, effects: tuple[float, ...], noise: str, rho: float
) -> None:
    """At most 5% of families get a wrong decision; 0.070 is three standard errors of 1,000 repeats above."""
    found = script.simulate_family(effects, noise, rho, margin=2.0, repeats=1000, cap=30, alpha=0.05)
    assert found.wrong <= 0.070
    uncorrected = script.simulate_family(
        effects, noise, rho, margin=2.0, repeats=1000, cap=30, alpha=0.05 * len(effects)
    )
    assert uncorrected.wrong > found.wrong, "the rate depends on the correction"


def test_clear_arms_stop_early_and_close_ones_go_on(script: ModuleType) -> None:
    clear, close = (
        script.simulate_family((effect,) * 3, "known", 0.0, margin=1.0, repeats=300, cap=30, alpha=0.05)
        for effect in (5.0, 1.0)
    )
    assert clear.runs < 4.5, "three seeds each, and a third of the baseline's"
    assert close.runs > 2 * clear.runs
