"""The record of a study, the scores of single seeds, and published beside measured gaps."""

import json
from pathlib import Path

import pytest

from made_records import describe, put, record, study_of
from pgolf.pages.aggregation import StudyResults, aggregate
from pgolf.pages.calibration import calibration_sections, study_noise
from pgolf.pages.published_gaps import published_gap_section
from pgolf.pages.seed_scores import seed_scores
from pgolf.pages.study_record import study_record
from pgolf.study.description import FamilyPlan, Study, write_study
from pgolf.tables.stats import pooled_sd, spread

SCORES = {"base": [2.000, 2.004, 2.002], "mos": [2.012, 2.018, 2.024], "late": [2.100, 2.104, 2.103]}
DAY = 86_400.0


def end_at(path: Path, seconds: float) -> None:
    """Change the time at which a run ended."""
    path.write_text(json.dumps(json.loads(path.read_text()) | {"ended_at": seconds}))


def results_of(tmp_path: Path, **more: object) -> StudyResults:
    """Two planned families, an explored one and an arm of none; the second family ran a day later."""
    study = study_of(tmp_path, SCORES)
    for arm, bpb in {"late_base": 2.0, "late": 2.1, "stray": 1.0}.items():
        for seed in (1, 2, 3):
            put(study, record(arm, seed, bpb + seed * seed / 1000, git_sha="b" * 40, git_dirty=True))
    for path in study.glob("*/seed*/result.json"):
        end_at(path, DAY if path.parts[-3] in ("late_base", "late", "stray") else 0.0)
    families = (
        FamilyPlan("first", "", "base", ("base", "mos")),
        FamilyPlan("second", "", "late_base", ("late_base", "late", "absent")),
        FamilyPlan("third", "", "base", ("base", "late"), explored=True),
    )
    write_study(study, Study("heads", "Does it help?", "nowhere", "cpu", "welch", 0.01, families, **more))  # type: ignore[arg-type]
    return aggregate(study)


def test_the_record_tells_planned_explored_and_ad_hoc_apart(tmp_path: Path) -> None:
    results = results_of(tmp_path)
    assert results.study is not None
    section = study_record(results.study, results.report)
    assert section.grid is not None
    cells = {row[0]: row[1:] for row in section.grid.rows}
    assert cells["first"] == ("planned", "2", "1", "6", "1970-01-01 00:00", "1970-01-01 00:00", "aaaaaaa")
    assert cells["second"][:4] == ("planned", "3", "2", "6"), "an arm without runs counts"
    assert cells["second"][4:] == ("1970-01-02 00:00", "1970-01-02 00:00", "bbbbbbb with changes")
    assert cells["third"][0] == "explored afterwards"
    assert cells["heads: in no family"][:3] == ("ad hoc", "1", "0")
    lines = "\n".join(section.lines)
    assert "All runs of second ended after those of first" in lines
    assert "Comparisons with a baseline: 4 in 3 families" in lines


def test_a_correction_over_all_comparisons_names_what_it_turns(tmp_path: Path) -> None:
    results = results_of(tmp_path)
    assert results.study is not None
    (mos,) = [row for row in results.report.families[0].rows if row.label == "mos"]
    assert mos.holm_p is not None
    assert mos.holm_p < 0.05 < 2 * mos.holm_p, "worse alone, undecided among more"
    assert (
        "would turn 1 of them: first mos from worse to undecided."
        in study_record(results.study, results.report).lines[-1]
    )


def test_a_time_outside_the_calendar_is_left_out(tmp_path: Path) -> None:
    study = study_of(tmp_path, SCORES)
    for path in study.glob("*/seed*/result.json"):
        end_at(path, 1e300)
    description = describe(study, {"all": tuple(SCORES)})
    section = study_record(description, aggregate(study).report)
    assert section.grid is not None
    assert section.grid.rows[0][5:7] == ("", "")


@pytest.mark.parametrize(("seeds", "cell"), [(3, "2.0010"), (8, "1: 2.0010; 2: 2.0040; 3: 2.0090")])
def test_every_counted_seed_is_there_with_the_spread(seeds: int, cell: str, tmp_path: Path) -> None:
    values = [2 + (seed + 1) ** 2 / 1000 for seed in range(seeds)]
    results = aggregate(study_of(tmp_path, {"base": values, "other": values[:1]}))
    (section,) = seed_scores(results.report.families)
    assert section.grid is not None
    base, other = section.grid.rows
    assert base[2].startswith(cell)
    assert base[-1].startswith(f"{spread(values):.4f} [")
    assert other[-1] == "", "one seed has no spread"
    assert len(section.grid.columns) == (6 if seeds == 3 else 4)


def test_gaps_are_to_the_baseline_on_both_sides(tmp_path: Path) -> None:
    study = study_of(tmp_path, SCORES)
    description = describe(
        study, {"all": tuple(SCORES)}, published={"base": {"val_bpb": 1.1}, "mos": {"val_bpb": 1.15}}
    )
    (table,) = aggregate(study).report.families
    (section,) = published_gap_section(table, description)
    assert section.grid is not None
    ((arm, published, measured, gap, own, beyond),) = section.grid.rows
    assert (arm, published, measured, gap) == ("mos", "1.1500", "2.0180", "+0.0500")
    assert own.startswith("+0.0160 [")
    assert beyond == "-0.0340"
    assert published_gap_section(table, describe(study, {"all": tuple(SCORES)})) == []


def test_the_noise_of_a_study_is_pooled_over_its_arms(tmp_path: Path) -> None:
    noise = study_noise(aggregate(study_of(tmp_path, {**SCORES, "one": [2.0]})))
    assert noise.pooled.sd == pooled_sd(list(SCORES.values())).sd
    by_study, by_arm = calibration_sections([noise])
    assert by_study.grid is not None
    assert by_arm.grid is not None
    smallest, largest = (f"{of(map(spread, SCORES.values())):.4f}" for of in (min, max))
    assert by_study.grid.rows[0][1:3] == ("3", "6")
    assert by_study.grid.rows[0][4:6] == (smallest, largest)
    assert [row[1] for row in by_arm.grid.rows] == list(SCORES)
