"""The seeds that a study's file plans: what is missing from them, what was added, and changed rules of judgement."""

from dataclasses import replace
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from made_records import describe, fingerprint_of, plan, put, record, study_of
from pgolf.config.expansion import seeds_of_file
from pgolf.pages.aggregation import StudyResults, aggregate
from pgolf.records.rows import row_lines
from pgolf.study.changes import with_changes
from pgolf.study.description import Claim, ClaimTest, write_study
from pgolf.study.verdicts import ADDED, HOLDS, UNDECIDED
from pgolf.tables.sensitivity import sensitivity
from pgolf.tables.text import SectionKind

BASE = [2.0000, 2.0002, 2.0004, 2.0001, 2.0003]
WORSE = Claim("It is worse.", "", (ClaimTest("heads", "worse", ("arm",)),))


def described(folder: Path, seeds: tuple[int, ...]) -> None:
    describe(folder, {"heads": ("base", "arm")}, claims=(WORSE,), planned_seeds=seeds)


def study(root: Path, n: int, planned: tuple[int, ...]) -> Path:
    """A study whose arms have seeds 1 to n. planned: by its file."""
    folder = study_of(root, {"base": BASE[:n], "arm": [x + 0.02 for x in BASE[:n]]})
    described(folder, planned)
    return folder


def record_cells(results: StudyResults) -> tuple[str, ...]:
    (section,) = (section for section in results.sections if section.kind is SectionKind.RECORD)
    assert section.grid is not None
    return section.grid.rows[0]


def test_planned_seeds_without_any_row_are_missing(tmp_path: Path) -> None:
    """As in a file of rows, after a command with a part of the seeds."""
    folder = study(tmp_path, 3, (1, 2, 3, 4, 5))
    results = aggregate(folder)
    assert results.verdicts[0].label == UNDECIDED
    assert "has 3 of the 5 seeds that a verdict needs" in results.verdicts[0].numbers[0]
    assert any("seeds 4, 5 planned, but without a row" in warning for warning in results.report.warnings)


def test_a_command_with_other_seeds_alone_has_a_plan_of_its_own(tmp_path: Path) -> None:
    results = aggregate(study(tmp_path, 3, (11, 12, 13, 14)))
    assert results.verdicts[0].label == HOLDS
    assert record_cells(results)[4] == "6"


def test_seeds_that_a_later_command_added_are_told_in_every_place(tmp_path: Path) -> None:
    folder = study(tmp_path, 3, (1, 2, 3))
    assert aggregate(folder).verdicts[0].label == HOLDS
    for arm, shift in (("base", 0.0), ("arm", 0.02)):
        for seed in (4, 5):
            put(folder, record(arm, seed, BASE[seed - 1] + shift))
    plan(folder, ["base", "arm"], [4, 5], "two more")
    results = aggregate(folder)
    assert results.verdicts[0].label == HOLDS + ADDED
    assert any("base (seeds 4, 5 added); arm (seeds 4, 5 added)" in warning for warning in results.report.warnings)
    assert record_cells(results)[4] == "10 (4 of added seeds)"
    described(folder, (1, 2, 3, 4, 5))
    assert aggregate(folder).verdicts[0].label == HOLDS, "the file plans all of them, in whatever commands they ran"


@pytest.mark.parametrize(
    ("params", "seeds"),
    [
        ({"seed": "1,2,3", "arm": "${study_arms:}"}, (1, 2, 3)),
        ({"seed": 7}, (7,)),
        ({"seed": "range(4,7)"}, (4, 5, 6)),
        ({"seed": "a,b"}, ()),
        ({}, ()),
        (None, ()),
    ],
)
def test_the_seeds_of_a_file(params: object, seeds: tuple[int, ...]) -> None:
    assert seeds_of_file(OmegaConf.create({"sweeper": {"params": params}})) == seeds


def test_a_changed_rule_is_told_once_runs_exist(tmp_path: Path) -> None:
    folder = study(tmp_path, 3, (1, 2, 3))
    before = describe(folder, {"heads": ("base", "arm")}, claims=(WORSE,), planned_seeds=(1, 2, 3))
    families = (replace(before.families[0], baseline="arm"),)
    now = replace(
        before, test="paired", smallest_effect_bpb=0.02, families=families, claims=(), planned_seeds=(1, 2, 3, 4)
    )
    assert with_changes(now, before, 0).changes == ()
    assert with_changes(now, None, 6).changes == ()
    changes = [change.partition(" (on ")[0] for change in with_changes(now, before, 6).changes]
    assert changes == [
        "test: from Welch to paired t",
        "smallest_effect_bpb: from 0.01 to 0.02",
        "planned seeds: from 1, 2, 3 to 1, 2, 3, 4",
        "family heads: baseline from base to arm",
        "claims: other tests",
    ]
    assert with_changes(before, with_changes(now, before, 6), 6).changes[:5] == with_changes(now, before, 6).changes
    write_study(folder, replace(with_changes(now, before, 6), claims=(WORSE,)))
    (question, *_) = (section for section in aggregate(folder).sections if section.kind is SectionKind.STUDY)
    assert "Changed after runs had begun: test: from Welch to paired t" in "\n".join(question.lines)
    assert "Test, changed after runs had begun: paired t." in "\n".join(question.lines)


def test_arms_with_equal_scores_are_undecided_in_every_place(tmp_path: Path) -> None:
    folder = study_of(tmp_path, {"base": BASE, "arm": BASE})
    write_study(folder, replace(describe(folder, {"heads": ("base", "arm")}, claims=(WORSE,)), test="paired"))
    results = aggregate(folder)
    (row,) = (row for row in results.report.families[0].rows if row.label == "arm")
    assert row.extra["verdict"] == "undecided: no variance between the pairs' differences"
    assert results.verdicts[0].numbers == ("arm no variance between the pairs' differences",)
    assert sensitivity(results.report.families[0]) is not None
    assert any("arm (exactly the baseline's scores)" in warning for warning in results.report.warnings)


def test_a_copy_of_another_configurations_run_is_not_judged(tmp_path: Path) -> None:
    """Which of the two is the copy is not known."""
    folder = study_of(tmp_path, {"base": BASE, "arm": [x + 0.02 for x in BASE], "other": [x + 0.03 for x in BASE]})
    describe(folder, {"heads": ("base", "arm", "other")}, claims=(WORSE,))
    times = {"train_s": 1.25, "eval_s": 0.5, "pack_s": 0.25}
    put(folder, record("arm", 2, BASE[1] + 0.02, **times))
    put(folder, record("other", 2, BASE[1] + 0.03, **times))
    results = aggregate(folder)
    reason = "has a run that may be a copy (arm seed 2 and other seed 2)"
    assert results.verdicts[0].label == UNDECIDED
    assert results.verdicts[0].numbers == (f"arm {reason}",)
    assert fingerprint_of("arm") != fingerprint_of("other")
    (section,) = (section for section in results.sections if section.kind is SectionKind.THRESHOLD)
    assert section.grid is not None
    assert {row[-1] for row in section.grid.rows} == {f"not judged: {reason}"}


def test_a_claim_does_not_fall_while_its_arm_is_undecided(tmp_path: Path) -> None:
    """Whatever level the study names for equality."""
    base, arm = [2.0, 2.003, 2.006, 2.001, 2.004], [1.9954, 1.997, 2.0024, 1.9922, 2.003]
    claims = [Claim(kind, "", (ClaimTest("heads", kind, ("arm",)),)) for kind in ("no_better", "equal")]
    folder = study_of(tmp_path, {"base": base, "arm": arm})
    described_study = describe(folder, {"heads": ("base", "arm")}, smallest=0.0001, claims=tuple(claims))
    write_study(folder, replace(described_study, equivalence_alpha=0.05))
    results = aggregate(folder)
    (row,) = (row for row in results.report.families[0].rows if row.label == "arm")
    assert row.corrected is not None
    assert row.corrected.p_better is not None
    assert 0.025 < row.corrected.p_better < 0.05, "the case in question"
    assert row.extra["verdict"] == UNDECIDED
    assert [verdict.label for verdict in results.verdicts] == [UNDECIDED, UNDECIDED]


def test_rows_alone_keep_the_plan_of_their_study(tmp_path: Path) -> None:
    """A file without the rows of two seeds has the same verdict as the folder."""
    folder = study(tmp_path / "runs", 5, (1, 2, 3, 4, 5))
    rows = [row for row in aggregate(folder).collected.rows if row["seed"] <= 3]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(row_lines(rows)))
    (tmp_path / "rows.study.json").write_text((folder / "study.json").read_text())
    assert aggregate(path).verdicts[0].label == UNDECIDED
