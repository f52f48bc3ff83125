"""The table: means, differences, the choice of the test, refusals and caveats."""

from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest
import scipy.stats

from made_records import (
    STUDY,
    cell_folder,
    describe,
    failed,
    fingerprint_of,
    plan,
    put,
    record,
    report_of,
    rows_of,
    study_of,
    texts,
)
from pgolf.errors import PgolfError
from pgolf.pages.aggregation import aggregate
from pgolf.records.plan import PlannedRun, Sweep, add_to_plan
from pgolf.records.rows import collect
from pgolf.tables.caveats import RefusalKind
from pgolf.tables.family import Family
from pgolf.tables.power import Design, detectable, fewest_seeds, power, power_of_equality
from pgolf.tables.stats import holm
from pgolf.tables.table import tabulate

TIED, MOS, LOW = [2.00, 2.01, 2.03], [1.90, 1.93, 1.91], [2.02, 2.00, 2.01]
SCORES = {"tied": TIED, "mos": MOS, "low": LOW}


def test_means_differences_and_holm(tmp_path: Path) -> None:
    rows = rows_of(study_of(tmp_path, SCORES))
    assert list(rows) == ["tied", "mos", "low"]
    assert rows["tied"].is_baseline
    assert rows["mos"].mean_bpb == pytest.approx(fmean(MOS))
    assert rows["mos"].sd_bpb == pytest.approx(stdev(MOS))
    result = rows["mos"].comparison
    assert result is not None
    assert result.test is not None
    known = scipy.stats.ttest_ind(MOS, TIED, equal_var=False)
    assert (result.test.name, result.test.t, result.test.p) == (
        "Welch",
        pytest.approx(known.statistic),
        pytest.approx(known.pvalue),
    )
    assert result.other_test is not None
    assert result.other_test.p == pytest.approx(scipy.stats.ttest_rel(MOS, TIED).pvalue)
    assert result.correlation == pytest.approx(scipy.stats.pearsonr(MOS, TIED).statistic)
    ps = [scipy.stats.ttest_ind(x, TIED, equal_var=False).pvalue for x in (MOS, LOW)]
    assert [rows[arm].holm_p for arm in ("mos", "low")] == pytest.approx(holm(ps))
    assert texts(rows["mos"]) == ""


def test_flipping_the_sign_of_one_arm_changes_what_the_table_says(tmp_path: Path) -> None:
    flipped = [2 * base - score for score, base in zip(MOS, TIED, strict=True)]
    before = rows_of(study_of(tmp_path / "a", SCORES))["mos"].comparison
    after = rows_of(study_of(tmp_path / "b", SCORES | {"mos": flipped}))["mos"].comparison
    assert before is not None
    assert after is not None
    assert before.test is not None
    assert after.test is not None
    assert before.test.difference == pytest.approx(-after.test.difference)  # type: ignore[operator]
    assert before.test.high is not None
    assert after.test.low is not None
    assert before.test.high < 0 < after.test.low
    assert before.threshold is not None
    assert after.threshold is not None
    assert (before.threshold.passed, after.threshold.passed) == (True, False)


def test_the_baseline_is_chosen(tmp_path: Path) -> None:
    study = study_of(tmp_path, SCORES)
    rows = rows_of(study, baseline="low")
    assert rows["low"].is_baseline
    assert rows["tied"].comparison is not None
    assert rows["tied"].comparison.baseline == "low"
    with pytest.raises(PgolfError, match=r"--baseline: no such arm \(mso\). Did you mean mos\? Arms: tied mos low"):
        rows_of(study, baseline="mso")


def test_pairs_by_request_and_by_shared_checkpoints(tmp_path: Path) -> None:
    asked = rows_of(study_of(tmp_path / "a", SCORES), pairs=True)["mos"].comparison
    study = study_of(tmp_path / "b", {"tied": TIED, "mos": MOS}, from__fingerprint="abc", from__folder="x")
    shared = rows_of(study)["mos"]
    for result in (asked, shared.comparison):
        assert result is not None
        assert result.test is not None
        assert result.other_test is not None
        assert (result.test.name, result.other_test.name) == ("paired t", "Welch")
    assert "shares the baseline's checkpoints" in texts(shared)


def test_an_arm_from_the_baselines_own_checkpoint_is_paired(tmp_path: Path) -> None:
    study = study_of(tmp_path, {"tied": TIED})
    for seed, bpb in enumerate(MOS, 1):
        put(study, record("mos", seed, bpb, from__fingerprint=fingerprint_of("tied")))
    result = rows_of(study)["mos"].comparison
    assert result is not None
    assert result.test is not None
    assert result.test.name == "paired t"


def test_pairs_leave_out_seeds_without_a_pair_and_say_so(tmp_path: Path) -> None:
    study = study_of(tmp_path, {"tied": [*TIED, 2.5], "mos": MOS})
    row = rows_of(study, pairs=True)["mos"]
    assert row.comparison is not None
    assert row.comparison.test is not None
    assert row.comparison.test.n == (3,)
    assert "3 pairs; no pair for seed 4" in texts(row)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"eval_mode": "sliding64"}, "another evaluation mode than the baseline (sliding64, not plain64)"),
        ({"val_text_sha": "f" * 64}, "another validation text than the baseline (ffffffff, not 7e477e47)"),
        ({"val_bytes": 5000}, "another part of the validation text"),
    ],
)
def test_scores_that_do_not_compare_have_no_difference(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    study = study_of(tmp_path, {"tied": TIED})
    for seed, bpb in enumerate(MOS, 1):
        put(study, record("mos", seed, bpb, **change))
    row = rows_of(study)["mos"]
    assert row.mean_bpb == pytest.approx(fmean(MOS))
    assert row.comparison is not None
    assert row.comparison.test is row.comparison.threshold is row.holm_p is None
    assert row.comparison.refusal is not None
    assert message in row.comparison.refusal.text
    assert message in texts(row)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"code_sha": "other", "code_files": ["run.py 1111", "loop.py 9999"]},
            "other code than the baseline (loop.py)",
        ),
        (
            {"code_sha": "other", "code_files": ["run.py", "loop.py"]},
            "its code cannot be compared with the baseline's",
        ),
        ({"budget.steps": 200, "steps": 200, "tokens": 819_200}, "budget: steps 200, baseline 100"),
        ({"budget.seconds": 60.0}, "budget: seconds 60.0, baseline None"),
        ({"budget.batch_tokens": 8192}, "batch_tokens 8192, baseline 4096"),
        ({"data_sha": "other"}, "other training data"),
        ({"device": "H100"}, "on H100, baseline on cpu"),
        ({"val_targets": 4000, "val_bytes": 11003}, "another tokenizer"),
    ],
)
def test_what_else_differs_is_marked(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    study = study_of(tmp_path, {"tied": TIED})
    for seed, bpb in enumerate(MOS, 1):
        put(study, record("mos", seed, bpb, **change))
    report = report_of(study)
    row = report.families[0].rows[1]
    assert message in texts(row)
    assert any(message in warning for warning in report.warnings)
    assert row.comparison is not None
    assert row.comparison.test is not None
    assert row.comparison.test.p is not None
    assert (row.comparison.threshold is None) == ("tokenizer" in message)


def test_arms_that_differ_in_their_own_modules_alone_are_not_marked(tmp_path: Path) -> None:
    study = study_of(tmp_path, {"tied": TIED})
    for seed, bpb in enumerate(MOS, 1):
        put(
            study,
            record("mos", seed, bpb, code_files=["run.py 1111", "mos.py 3333"], code_sha="differs", git_dirty=True),
        )
    assert "code" not in texts(rows_of(study)["mos"])


@pytest.mark.parametrize("key", ["val_text_sha", "eval_mode"])
def test_an_arm_scored_in_two_ways_has_no_mean(key: str, tmp_path: Path) -> None:
    study = study_of(tmp_path, SCORES)
    put(study, record("mos", 2, 1.93) | {key: "another"})
    row = rows_of(study)["mos"]
    assert row.mean_bpb is row.sd_bpb is None
    assert "its seeds were scored" in texts(row)
    assert row.comparison is not None
    assert row.comparison.test is None


def test_few_seeds_and_unfinished_cells_are_marked(tmp_path: Path) -> None:
    study = study_of(tmp_path, SCORES)
    plan(study, list(SCORES), range(1, 5))
    put(study, failed("mos", 2))
    put(study, failed("mos", 3, "diverged"))
    report = report_of(study)
    row = report.families[0].rows[1]
    assert row.group.n == 1
    assert row.sd_bpb is None
    for message in ("n = 1, fewer than 3", "seed 2 failed", "seed 3 diverged", "seed 4 missing"):
        assert message in texts(row)
    assert report.warnings[0] == "5 of 12 planned runs have no ok record"
    assert {(run.label, run.seed, run.status, run.error) for run in report.unscored} >= {
        ("mos", 2, "failed", "mos fell over"),
        ("mos", 4, "missing", "not started"),
    }


def test_an_arm_that_failed_altogether_keeps_its_row_and_its_hypothesis(tmp_path: Path) -> None:
    study = study_of(tmp_path, SCORES)
    for seed in (1, 2, 3):
        put(study, failed("low", seed))
    rows = rows_of(study)
    assert rows["low"].mean_bpb is None
    p = scipy.stats.ttest_ind(MOS, TIED, equal_var=False).pvalue
    assert rows["mos"].holm_p == pytest.approx(2 * p)


def test_without_a_baseline_there_is_no_difference(tmp_path: Path) -> None:
    study = study_of(tmp_path, SCORES)
    for seed in (1, 2, 3):
        put(study, failed("tied", seed))
    row = rows_of(study)["mos"]
    assert row.mean_bpb == pytest.approx(fmean(MOS))
    assert "the baseline has no mean: no ok record" in texts(row)


def test_duplicates_that_agree_count_once_and_others_not_at_all(tmp_path: Path) -> None:
    study = study_of(tmp_path, SCORES)
    put(study, record("mos", 1, MOS[0]), folder="mos/copy")
    put(study, record("low", 1, 9.0), folder="low/copy")
    rows = rows_of(study)
    assert rows["mos"].mean_bpb == pytest.approx(fmean(MOS))
    assert "seed 1: 2 records, counted once" in texts(rows["mos"])
    assert "mos/copy" in texts(rows["mos"])
    assert rows["low"].mean_bpb == pytest.approx(fmean(LOW[1:]))
    assert "seed 1: 2 records, which disagree, left out" in texts(rows["low"])


def test_identical_arms_are_marked_and_are_one_hypothesis(tmp_path: Path) -> None:
    study = study_of(tmp_path, {"tied": TIED, "mos": MOS})
    cells = [
        PlannedRun(STUDY, alias, s, fingerprint_of(arm), cell_folder(arm, s))
        for s in (1, 2, 3)
        for alias, arm in (("also", "mos"), ("plain", "tied"))
    ]
    add_to_plan(study, Sweep(("aliases",), 1.0, "c0de", False, tuple(cells)))
    rows = rows_of(study)
    assert rows["also"].mean_bpb == rows["mos"].mean_bpb
    assert "same configuration as also" in texts(rows["mos"])
    assert rows["plain"].comparison is not None
    assert rows["plain"].comparison.refusal is not None
    assert rows["plain"].comparison.refusal.kind is RefusalKind.SAME_CONFIGURATION
    assert rows["plain"].comparison.refusal.text == "same configuration as the baseline"
    p = scipy.stats.ttest_ind(MOS, TIED, equal_var=False).pvalue
    assert rows["mos"].holm_p == rows["also"].holm_p == pytest.approx(p)


def test_configurations_no_longer_planned_stand_last_and_outside_holm(tmp_path: Path) -> None:
    study = study_of(tmp_path, {"tied": TIED, "mos": MOS})
    for seed, bpb in enumerate(LOW, 1):
        put(study, record("mos", seed, bpb, fingerprint="0" * 16))
    rows = rows_of(study)
    assert list(rows) == ["tied", f"mos [{fingerprint_of('mos')[:8]}]", "mos [00000000]"]
    old = rows["mos [00000000]"]
    assert "not in the current sweep plan" in texts(old)
    assert old.holm_p is None
    assert rows[f"mos [{fingerprint_of('mos')[:8]}]"].holm_p == pytest.approx(
        scipy.stats.ttest_ind(MOS, TIED, equal_var=False).pvalue
    )


def test_seeds_that_no_sweep_plans_are_counted_and_marked(tmp_path: Path) -> None:
    study = study_of(tmp_path, {"tied": TIED, "mos": MOS})
    put(study, record("mos", 9, 1.5))
    row = rows_of(study)["mos"]
    assert row.group.n == 4
    assert "seed 9 not in the current sweep plan" in texts(row)


def test_seeds_that_change_nothing_are_marked(tmp_path: Path) -> None:
    row = rows_of(study_of(tmp_path, {"tied": TIED, "mos": [1.9, 1.9, 1.9]}))["mos"]
    assert "all seeds have exactly the same score" in texts(row)
    assert row.comparison is not None
    assert row.comparison.test is not None
    assert row.comparison.test.p is not None


def test_an_ok_record_without_a_score_counts_nowhere(tmp_path: Path) -> None:
    study = study_of(tmp_path, SCORES)
    put(study, record("mos", 2, None, warnings=["the packed score is not finite"]))
    row = rows_of(study)["mos"]
    assert row.mean_bpb == pytest.approx(fmean([MOS[0], MOS[2]]))
    assert "seed 2 has no finite score" in texts(row)


@pytest.mark.parametrize("score", ["NaN", "Infinity", "1e999", "-1.0"])
def test_a_score_that_is_no_score_counts_nowhere(score: str, tmp_path: Path) -> None:
    study = study_of(tmp_path, SCORES)
    path = study / cell_folder("mos", 2) / "result.json"
    path.write_text(path.read_text().replace(f'"val_bpb": {MOS[1]}', f'"val_bpb": {score}'))
    row = rows_of(study)["mos"]
    assert row.mean_bpb == pytest.approx(fmean([MOS[0], MOS[2]]))
    assert ("seed 2 has no finite score" if score == "-1.0" else "seed 2 damaged") in texts(row)


def test_warnings_of_records_and_mixed_code_are_told(tmp_path: Path) -> None:
    study = study_of(tmp_path, SCORES)
    put(study, record("mos", 2, MOS[1], warnings=["no snapshot was taken"], code_sha="other"))
    assert "no snapshot was taken" in texts(rows_of(study)["mos"])
    assert "code not the same for all seeds" in texts(rows_of(study)["mos"])


def test_only_keys_that_differ_are_told_and_none_that_follow_the_seed(tmp_path: Path) -> None:
    rows = rows_of(study_of(tmp_path, SCORES))
    assert rows["mos"].differing == {"model.head.name": "mos"}


def test_one_arm_that_shuffles_by_seed_differs_from_one_that_does_not(tmp_path: Path) -> None:
    study = study_of(tmp_path, {"tied": TIED})
    for seed, bpb in enumerate(MOS, 1):
        put(study, record("mos", seed, bpb, config__data__shuffle_seed=None))
    rows = rows_of(study)
    assert rows["tied"].differing["data.shuffle_seed"] == "the seed"
    assert rows["mos"].differing["data.shuffle_seed"] is None


def test_single_seeds_do_not_pass_for_differences(tmp_path: Path) -> None:
    study = tmp_path / STUDY
    put(study, record("tied", 1, 2.0))
    put(study, failed("mos", 2))
    assert rows_of(study)["mos"].differing == {"model.head.name": "mos"}


def test_records_without_configuration_are_told_apart_by_their_choices(tmp_path: Path) -> None:
    study = tmp_path / STUDY
    for arm in ("tied", "mos"):
        put(study, {key: value for key, value in record(arm, 1, 2.0).items() if not key.startswith("config.")})
    assert rows_of(study)["mos"].differing == {"choices.model/head": "mos"}


def test_noise_and_the_seeds_that_an_effect_needs(tmp_path: Path) -> None:
    report = report_of(study_of(tmp_path, SCORES), smallest_effect_bpb=0.005)
    (noise,) = report.families[0].noise
    pooled = (sum(2 * stdev(x) ** 2 for x in SCORES.values()) / 6) ** 0.5
    assert noise.noise.sd == pytest.approx(pooled)
    assert (noise.noise.df, noise.seeds) == (6, 3)
    design = Design(comparisons=2)
    assert noise.detectable_bpb == pytest.approx(detectable(design, pooled, 3))
    assert noise.seeds_needed is not None
    assert noise.seeds_for_equality is not None
    assert noise.seeds_needed.number == fewest_seeds(power, design, pooled, 0.005)
    assert noise.seeds_for_equality.number == fewest_seeds(power_of_equality, design, pooled, 0.005)


def test_families_have_their_own_baselines_and_no_arm_is_lost(tmp_path: Path) -> None:
    study = study_of(tmp_path, SCORES | {"more": [2.5, 2.6, 2.7]})
    families = [Family("heads", STUDY, ("mos", "tied"), "tied"), Family("q", STUDY, ("low", "mos"), "mos")]
    report = tabulate(collect(study), families=families)
    assert [(t.family.name, [row.label for row in t.rows]) for t in report.families] == [
        ("heads", ["mos", "tied"]),
        ("q", ["low", "mos"]),
        ("heads: in no family", ["more"]),
    ]
    assert report.families[1].rows[0].comparison is not None
    assert report.families[1].rows[0].comparison.baseline == "mos"
    assert report.families[2].rows[0].comparison is None


def test_a_baseline_of_several_configurations_is_taken_from_the_same_sweep(tmp_path: Path) -> None:
    study = tmp_path / STUDY
    for number, steps in enumerate((100, 200)):
        cells = []
        for arm, values in {"tied": TIED, "mos": MOS}.items():
            mark = f"{number}{fingerprint_of(arm)[1:]}"
            for seed, bpb in enumerate(values, 1):
                put(study, record(arm, seed, bpb - number, fingerprint=mark, budget__steps=steps))
                cells.append(PlannedRun(STUDY, arm, seed, mark, f"{arm}/seed{seed}-{mark[:8]}"))
        add_to_plan(study, Sweep((f"train.steps={steps}",), float(number), "c0de", False, tuple(cells)))
    compared = [row for row in report_of(study).families[0].rows if not row.is_baseline]
    assert len(compared) == 2
    for row in compared:
        assert row.comparison is not None
        assert row.comparison.test is not None
        assert row.comparison.test.difference == pytest.approx(fmean(MOS) - fmean(TIED))
        assert "budget" not in texts(row)


def test_a_study_without_a_plan_says_that_missing_cells_are_unknown(tmp_path: Path) -> None:
    study = study_of(tmp_path, SCORES)
    (study / "sweep.json").unlink()
    report = report_of(study)
    assert report.warnings == (f"no plan (sweep.json) for {STUDY}: missing runs cannot be detected",)
    assert report.families[0].rows[0].label == "low", "without a plan, by name"


def test_a_damaged_record_belongs_to_its_arm_though_no_plan_names_it(tmp_path: Path) -> None:
    study = study_of(tmp_path, {"tied": TIED})
    (study / "sweep.json").unlink()
    (study / cell_folder("tied", 3) / "result.json").write_text("{")
    row = rows_of(study)["tied"]
    assert row.group.n == 2
    assert "seed 3 damaged" in texts(row)


def test_seeds_that_a_later_sweep_added_are_told(tmp_path: Path) -> None:
    study = study_of(tmp_path, SCORES)
    plan(study, ["tied", "mos"], [1, 2], "the first two")
    assert aggregate(study).report.warnings == (), "one sweep has all seeds"
    (study / "sweep.json").unlink()
    for seeds in ([1, 2], [3]):
        plan(study, ["tied", "mos"], seeds, f"seeds {seeds}")
    plan(study, ["low"], [1, 2, 3], "low")
    (warning,) = aggregate(study).report.warnings
    assert warning.startswith("seeds of 2 arms were planned by several sweeps")
    describe(study, {"all": tuple(SCORES)}, planned_seeds=(1, 2, 3))
    assert aggregate(study).report.warnings == (), "a study plans its seeds itself"
