"""How verdicts read under other tests: seeds that all arms share, noise that arms share, and what stays undecided."""

from pathlib import Path

import pytest
import scipy.stats

from made_records import put, record, report_of, study_of
from pgolf.pages.sensitivity import sensitivity_section
from pgolf.tables.methods import PAIRED, WELCH, Method
from pgolf.tables.sensitivity import is_turned, prior_text, sensitivity
from pgolf.tables.stats import holm

SEED = [0.0, 0.05, -0.04]  # an effect that all arms of a seed share
SCORES = {
    "base": [2.000 + x for x in SEED],
    "worse": [2.011 + SEED[0], 2.009 + SEED[1], 2.010 + SEED[2]],
    "same": [2.001 + SEED[0], 2.000 + SEED[1], 1.999 + SEED[2]],
    "far": [2.300 + SEED[0], 2.301 + SEED[1], 2.299 + SEED[2]],
}


def test_a_common_effect_of_the_seed_hides_a_difference_from_welchs_test(tmp_path: Path) -> None:
    table = report_of(study_of(tmp_path, SCORES), smallest_effect_bpb=0.005).families[0]
    found = sensitivity(table)
    assert found is not None
    assert [method.label for method in found.methods] == ["Welch", "paired t", "arm + seed", "moderated t"]
    results = {row.label: tests for row, tests in found.rows}
    words = [None if x is None else x.decision.value for x in results["worse"]]
    assert words == ["undecided", "worse", "worse", "undecided"]
    assert {row.label: is_turned(row, tests) for row, tests in found.rows} == {
        "worse": True,
        "same": True,
        "far": False,
    }
    ps = [float(scipy.stats.ttest_rel(SCORES[arm], SCORES["base"]).pvalue) for arm in ("worse", "same", "far")]
    assert [results[arm][1].p for arm in results if results[arm][1]] == pytest.approx(holm(ps))  # type: ignore[union-attr]
    (section,) = sensitivity_section(table)
    assert section.grid is not None
    assert section.grid.columns == (
        "arm",
        "Welch (named)",
        "paired t",
        "arm + seed",
        "moderated t",
        "depends on the test",
    )
    assert section.lines[0] == "Decisions that depend on the test: 2 of 3: worse, same."
    assert "degrees of freedom, from 4 arms of the study" in section.lines[1]


def test_the_named_test_stands_first_and_is_that_of_the_table(tmp_path: Path) -> None:
    for method in (PAIRED, Method("moderated", blocked=True)):
        table = report_of(study_of(tmp_path / method.name, SCORES), test=method).families[0]
        found = sensitivity(table)
        assert found is not None
        assert found.methods[0] == method
        assert found.methods.count(method) == 1
        for row, results in found.rows:
            assert results[0] == row.corrected


def test_an_arm_without_the_planned_seeds_is_undecided_under_every_test(tmp_path: Path) -> None:
    folder = study_of(tmp_path, SCORES)
    put(folder, record("far", 2, None) | {"status": "failed", "error": "it fell"})
    (section,) = sensitivity_section(report_of(folder).families[0])
    assert section.grid is not None
    (cells,) = [row for row in section.grid.rows if row[0] == "far"]
    assert all(cell.startswith("undecided (") for cell in cells[1:-1] if cell)
    assert cells[-1] == ""


def test_nothing_is_shown_without_a_comparison_or_a_prior(tmp_path: Path) -> None:
    assert sensitivity_section(report_of(study_of(tmp_path, {"base": SCORES["base"]})).families[0]) == []
    assert "too few arms" in prior_text(None)
    assert WELCH.label == "Welch"
