"""Rows of one arm that contradict each other, and arms whose seeds are not pairs: named, and without a verdict."""

import math
from pathlib import Path
from typing import Any

import pytest

from made_records import STUDY, describe, plan, put, record
from pgolf.pages.aggregation import StudyResults, aggregate
from pgolf.study.description import Claim, ClaimTest
from pgolf.study.verdicts import HOLDS, UNDECIDED

LR, SHUFFLE = "config__optim__roles__matrix__lr", "config__data__shuffle_seed"
SCORES = {"base": [2.00001234567, 2.00021234567, 2.00041234567, 2.00011234567], "arm": [2.02, 2.0203, 2.0204, 2.0201]}
WORSE = Claim("It is worse.", "", (ClaimTest("heads", "worse", ("arm",)),))


def study(root: Path, changed: dict[str, Any], *, seeds: tuple[int, ...] = (3,), test: str = "paired") -> StudyResults:
    """A study of two arms with seeds 1 to 4. changed: fields of the arm's runs with these seeds."""
    folder = root / STUDY
    plan(folder, list(SCORES), (1, 2, 3, 4))
    for arm, scores in SCORES.items():
        for seed, bpb in enumerate(scores, 1):
            other = changed if arm == "arm" and seed in seeds else {}
            put(folder, record(arm, seed, bpb, **{LR: 0.05, SHUFFLE: seed, "flops_per_token": 900, **other}))
    describe(folder, {"heads": ("base", "arm")}, claims=(WORSE,), test=test)
    return aggregate(folder)


def warnings_of(results: StudyResults) -> str:
    return "\n".join(results.report.warnings)


def test_without_a_change_there_is_a_verdict(tmp_path: Path) -> None:
    results = study(tmp_path, {})
    assert results.verdicts[0].label == HOLDS
    assert "not the same" not in warnings_of(results)


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({LR: 0.5}, "config.optim.roles.matrix.lr"),
        ({"params__total": 1001, "params__trained": 991}, "params.total, params.trained"),
        ({"flops_per_token": 1800}, "flops_per_token"),
        ({"val_targets": 4900, "val_nats": 2.0204 * 11000 * math.log(2) / 4900}, "val_targets"),
    ],
)
def test_a_value_that_the_configuration_determines_is_the_same_for_all_seeds(
    changed: dict[str, Any], name: str, tmp_path: Path
) -> None:
    results = study(tmp_path, changed)
    assert f"{name} not the same for all seeds" in warnings_of(results)
    assert results.verdicts[0].label == UNDECIDED


def test_an_option_may_follow_the_seed(tmp_path: Path) -> None:
    """As a path of a parent run does. Its values differ for all seeds."""
    for seed in (1, 2, 3, 4):
        put(tmp_path, record("base", seed, SCORES["base"][seed - 1], config__train__from=f"runs/seed{seed}"))
    assert "not the same" not in warnings_of(aggregate(tmp_path))


@pytest.mark.parametrize(("test", "label"), [("paired", UNDECIDED), ("sequential", UNDECIDED), ("welch", HOLDS)])
def test_arms_that_see_other_data_at_a_seed_are_not_pairs(test: str, label: str, tmp_path: Path) -> None:
    results = study(tmp_path, {SHUFFLE: 9}, seeds=(1, 2, 3, 4), test=test)
    assert "other order of the data than the baseline (seeds 1, 2, 3, 4)" in warnings_of(results)
    assert results.verdicts[0].label == label


def test_an_arm_in_another_precision_has_a_note(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        for arm, precision in (("base", "fp32"), ("arm", "bf16"), ("older", None)):
            put(tmp_path / STUDY, record(arm, seed, 2 + seed / 1000, precision=precision))
    describe(tmp_path / STUDY, {"heads": ("base", "arm", "older")})
    assert "arm (in bf16, baseline in fp32)" in warnings_of(aggregate(tmp_path / STUDY))
    assert "older (in" not in warnings_of(aggregate(tmp_path / STUDY))


def test_a_packed_score_of_another_seed_is_left_out(tmp_path: Path) -> None:
    """Even if the other scores of the run are its own."""
    for seed, packed in ((1, 2.00001234567), (2, 2.00021234567), (3, 2.00021234567)):
        put(tmp_path, record("base", seed, packed, val_bpb_live=2.1 + seed / 100, train_s=2.0 + seed / 100))
    assert "seed 3 has the packed score of seed 2 to the last digit, left out" in warnings_of(aggregate(tmp_path))
