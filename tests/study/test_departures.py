"""Deviations from a study are warnings, and a test other than the study's gives no verdict."""

from dataclasses import replace
from pathlib import Path

import pytest

from made_records import describe, plan, put, record, study_of
from pgolf.pages.aggregation import StudyResults, aggregate
from pgolf.study.departures import departures
from pgolf.study.description import Claim, ClaimTest, Study, read_study
from pgolf.tables.contrast import Settings
from pgolf.tables.methods import PAIRED

SCORES = {"tied": [2.00, 2.01, 2.03], "mos": [1.90, 1.93, 1.91], "low": [2.10, 2.13, 2.11]}
CLAIMS = (Claim("mos is better", "", (ClaimTest("heads", "better", ("mos",)),)),)


def described(root: Path, *without: str) -> Path:
    folder = study_of(root, {arm: scores for arm, scores in SCORES.items() if arm not in without})
    describe(folder, {"heads": tuple(SCORES)}, claims=CLAIMS)
    plan(folder, [arm for arm in SCORES if arm not in without], range(1, 4))
    return folder


def warned(result: StudyResults) -> str:
    return "\n".join(result.report.warnings)


def test_a_whole_study_has_no_warning(tmp_path: Path) -> None:
    assert warned(aggregate(described(tmp_path))) == ""


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Settings(test=PAIRED), "--paired: the study named Welch before the runs; its verdicts are left out"),
        (
            Settings(smallest_effect_bpb=0.5),
            "--smallest-effect-bpb 0.5: the study named 0.01; its verdicts are left out",
        ),
    ],
)
def test_another_test_than_the_named_one_gives_no_verdict(settings: Settings, message: str, tmp_path: Path) -> None:
    folder = described(tmp_path)
    named, result = aggregate(folder), aggregate(folder, settings=settings)
    assert len(named.verdicts) == 1
    assert result.verdicts == ()
    assert warned(result) == message
    assert all("verdict" not in row.extra for row in result.report.families[0].rows)
    text = "\n".join(line for section in result.sections for line in section.lines)
    assert ("within 0.5 bpb" if settings.smallest_effect_bpb else "within 0.01 bpb") in text, (
        "one page has one smallest effect"
    )


def test_naming_what_the_study_names_is_no_departure(tmp_path: Path) -> None:
    study = read_study(described(tmp_path))
    assert isinstance(study, Study)
    assert departures(study, None, Settings(smallest_effect_bpb=0.01)) == []
    assert departures(replace(study, test="paired"), None, Settings(test=PAIRED)) == []
    assert "--baseline low: the study's own" in departures(study, "low", Settings())[0]


@pytest.mark.parametrize(
    ("without", "message"),
    [
        (("mos",), "family heads: no score of mos"),
        (("tied",), "family heads: its baseline tied has no score, so nothing is compared"),
        (("tied", "low"), "family heads: no score of low"),
    ],
)
def test_what_a_family_lacks_is_said(without: tuple[str, ...], message: str, tmp_path: Path) -> None:
    assert message in warned(aggregate(described(tmp_path, *without)))


def test_a_family_without_a_run_is_said(tmp_path: Path) -> None:
    folder = described(tmp_path)
    describe(folder, {"heads": tuple(SCORES), "others": ("a", "b")})
    assert warned(aggregate(folder)) == "family others: no arm has a score"


@pytest.mark.parametrize(
    ("override", "is_free"),
    [
        ("stack=pr908", False),
        ("optim.roles.head.lr=1", False),
        ("+model.extra=1", False),
        ("model/head=mos", False),
        ("data.vocab_size=300", False),
        ("data=shards", True),
        ("data.tokenizer=my.model", True),
        ("train.steps=5", True),
        ("eval=plain", True),
        ("launch.nproc=2", True),
        ("hydra/launcher=joblib", True),
        ("arm=low_rank_q/Q0_full", True),
    ],
)
def test_runs_of_another_configuration_than_the_study_has_are_said(
    override: str, is_free: bool, tmp_path: Path
) -> None:
    folder = described(tmp_path)
    put(folder, record("mos", 1, 1.90) | {"overrides": ["seed=1", "study.arm=mos", override]})
    assert warned(aggregate(folder)) == ("" if is_free else f"runs deviate from conf/study: {override}")


def test_runs_at_another_scale_or_without_their_description_are_said(tmp_path: Path) -> None:
    folder = described(tmp_path)
    put(
        folder,
        record("mos", 1, 1.90)
        | {"overrides": ["study.arm=mos"], "choices.scale": "published", "choices.study": "heads"},
    )
    assert warned(aggregate(folder)) == "runs at scale published in a study at scale cpu"
    assert "is described as a study. Read alone, it has families" in warned(aggregate(tmp_path))
    (folder / "study.json").unlink()
    assert f"runs of the study heads without its description ({folder / 'study.json'})" in warned(aggregate(folder))
