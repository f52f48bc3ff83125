"""What tables call an arm, and which arm a text names."""

from pathlib import Path

import pytest

from made_records import STUDY, put, record, report_of
from pgolf.errors import PgolfError
from pgolf.records.arm_names import is_cut, name_of_overrides, simple_overrides
from pgolf.tables.labels import arms_named, baselines

TINY = [
    "eval.max_targets=10000",
    "model.heads=2",
    "model.kv_heads=1",
    "model.layers=2",
    "model.width=32",
    "train.batch_tokens=512",
    "train.seq_len=64",
    "train.steps=40",
]


def put_arm(study: Path, *overrides: str, seeds: tuple[int, ...] = (1,)) -> str:
    """Records of an arm with these overrides; returns its name."""
    own = [*overrides, *TINY]
    arm = name_of_overrides(simple_overrides(own) or ())
    head = overrides[0].removeprefix("model/head=")
    for seed in seeds:
        told = {"overrides": sorted([*own, f"seed={seed}"]), "config.model.layers": 2, "choices.model/head": head}
        put(study, record(arm, seed, 2.0) | told)
    return arm


def test_names_leave_out_what_all_arms_share(tmp_path: Path) -> None:
    study = tmp_path / STUDY
    for arm in ("head=mos,train.steps=9", "head=tied,train.steps=9", "train.steps=9"):
        put(study, record(arm, 1, 2.0))
    table = report_of(study, baseline="default").families[0]
    assert [row.label for row in table.rows] == ["head=mos", "head=tied", "default"]
    assert table.shared == ("train.steps=9",)
    assert table.family.baseline == "train.steps=9"


def test_arms_whose_names_are_cut_are_told_apart_by_their_overrides(tmp_path: Path) -> None:
    study = tmp_path / STUDY
    arms = [put_arm(study, f"model/head={head}") for head in ("tied", "mos")]
    assert all(map(is_cut, arms))
    table = report_of(study, baseline="head=tied").families[0]
    assert {row.label: row.is_baseline for row in table.rows} == {"head=tied": True, "head=mos": False}
    assert sorted(table.shared) == TINY, "all of them, also those behind the cut"


def test_an_arm_without_a_record_keeps_the_rest_of_its_cut_name(tmp_path: Path) -> None:
    study = tmp_path / STUDY
    for head in ("tied", "mos"):
        put_arm(study, f"model/head={head}")
    lost = name_of_overrides(simple_overrides(["model/head=low_rank", *TINY]) or ())
    put(study, record(lost, 1, 2.0))  # of another form, so that its overrides do not give its name
    table = report_of(study).families[0]
    assert sorted(table.shared) == TINY
    label = next(row.label for row in table.rows if row.group.arm == lost)
    assert label.startswith("head=low_rank,")
    assert lost.endswith(label.rpartition(",")[2])


def test_overrides_that_do_not_give_the_name_of_an_arm_are_not_shown(tmp_path: Path) -> None:
    study = tmp_path / STUDY
    put_arm(study, "model/head=mos")
    arm = name_of_overrides(simple_overrides(["model/head=tied", *TINY]) or ())
    put(study, record(arm, 1, 2.0) | {"overrides": ["model/head=factorized", *TINY]})
    assert all("factorized" not in row.label for row in report_of(study).families[0].rows)


ARMS = {
    arm: arm.split(",")
    for arm in ("head=tied,layers=2,trai-91a2aa0c", "head=mos,layers=2,train-3f98ed44", "head=mos,layers=3")
}


@pytest.mark.parametrize(
    ("text", "arms"),
    [
        ("head=tied", ["head=tied,layers=2,trai-91a2aa0c"]),
        ("model/head=tied", ["head=tied,layers=2,trai-91a2aa0c"]),
        ("head=mos,layers=3", ["head=mos,layers=3"]),
        ("head=mos", ["head=mos,layers=2,train-3f98ed44", "head=mos,layers=3"]),
        ("head=low", []),
    ],
)
def test_an_arm_is_named_by_options(text: str, arms: list[str]) -> None:
    assert arms_named(text, ARMS) == arms


def test_the_name_in_the_tables_comes_before_options_of_several_arms(tmp_path: Path) -> None:
    study = tmp_path / STUDY
    short, longer = put_arm(study, "model/head=tied"), put_arm(study, "model/head=tied", "train.val_every=0")
    put_arm(study, "model/head=mos")
    families = report_of(study, baseline="head=tied").families
    assert [row.group.arm for row in families[0].rows if row.is_baseline] == [short]
    assert short != longer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("head=mos", r"--baseline: head=mos fits 2 arms: .*layers=2.*; .*layers=3\. Name one of them in full"),
        ("tied", r"--baseline: no such arm \(tied\)\. Did you mean head=tied,"),
        ("haed=mos,layers=3", r"Did you mean head=mos,layers=3\? Arms: "),
        ("q_proj=full", r"--baseline: no such arm \(q_proj=full\)\. Arms: "),
    ],
)
def test_a_baseline_that_is_no_arm_or_several_is_refused(text: str, answer: str) -> None:
    with pytest.raises(PgolfError, match=answer):
        baselines(text, {"adhoc": ARMS})
