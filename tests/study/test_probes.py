"""The plan of a probe, and the lead that choosing the best of equal trials has by chance."""

import numpy as np
import pytest

from pgolf.errors import ConfigError
from pgolf.probe.report import expected_lead
from pgolf.study.probes import plan_from, probe_folder, trials_of, value_at

RATES = {"optim.roles.matrix.lr": ["x0.5", "x1", "x2"]}
PLAN = {"trials": 5, "seeds": [0], "targets": 100}


def test_an_arm_has_its_own_axes_or_the_common_ones() -> None:
    own, glob = [{"a": [1, 2]}], [{"b": [1, 2]}]
    plan = plan_from({**PLAN, "axes": [RATES], "arms": {"T*": glob, "T0": own}})
    assert [list(plan.axes_of(arm)[0]) for arm in ("T0", "T1", "H0")] == [["a"], ["b"], list(RATES)]
    assert trials_of([RATES, {"a": [1, 2, 3], "b": [4, 5, 6]}]) == 5, "the best of an axis is a point of the next"


def test_factors_are_of_the_own_value() -> None:
    assert [value_at(v, 0.02, "lr") for v in ("x0.5", "x1", "x3", 0.5, "adam")] == [0.01, 0.02, 0.06, 0.5, "adam"]
    assert value_at("x2", 8, "rank") == 16
    with pytest.raises(ConfigError, match="has no number to multiply"):
        value_at("x2", "adam", "algorithm")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"trials": 1}, "trials must be 2 or more"),
        ({"seeds": []}, "seeds must be different whole numbers"),
        ({"seeds": [1, 1]}, "seeds must be different whole numbers"),
        ({"targets": 0}, "targets must be 1 or more"),
        ({"axes": [{"a": [1, 2], "b": [1]}]}, "need two or more values per axis"),
        ({"axes": [{}]}, "need two or more values per axis"),
        ({"axes": [{"a": [1, [2]]}]}, "not a number, a word"),
        ({"axes": [RATES, RATES]}, "name optim.roles.matrix.lr twice"),
        ({"axes": 3}, "axes needs a list"),
    ],
)
def test_a_plan_that_makes_no_sense_is_named(change: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        plan_from({**PLAN, **change})


def test_the_lead_of_the_best_is_that_of_a_simulation() -> None:
    draws = np.random.default_rng(1).normal(size=(40_000, 6)).max(axis=1)
    assert expected_lead(6) == pytest.approx(draws.mean(), abs=0.015)
    assert expected_lead(1) == pytest.approx(0.0, abs=1e-9)


def test_the_folder_of_a_probe_names_the_scale_last() -> None:
    assert probe_folder("heads", "cpu") == "heads-probe"
    assert probe_folder("heads-gpu1", "gpu1") == "heads-probe-gpu1"
