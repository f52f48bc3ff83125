"""One decision for all parts of a page, one error rate for both directions of a claim, and what allows no verdict."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from made_records import describe, put, record, study_of
from pgolf.pages.aggregation import StudyResults, aggregate
from pgolf.pages.study import bytes_saved
from pgolf.records.rows import row_lines
from pgolf.study.description import Claim, ClaimTest, Study, write_study
from pgolf.study.verdicts import HOLDS, UNDECIDED
from pgolf.tables.decision import Decision
from pgolf.tables.stats import welch

LESS = ", by less than matters"
BASE = [2.0000, 2.0002, 2.0004]
Scores = Mapping[str, Sequence[float]]


def claim(kind: str, *arms: str) -> Claim:
    return Claim(f"{kind} {arms}", "", (ClaimTest("heads", kind, arms),))


def judged(root: Path, scores: Scores, *claims: Claim) -> StudyResults:
    """A study of one family."""
    folder = study_of(root, scores)
    describe(folder, {"heads": tuple(scores)}, claims=claims)
    return aggregate(folder)


def by(shift: float, base: Sequence[float] = BASE) -> list[float]:
    return [x + shift for x in base]


def words(result: StudyResults, arm: str = "arm") -> set[str]:
    """The verdict on an arm in the table and in the comparison of bytes."""
    (table,) = result.report.families
    (section,) = bytes_saved(table, 0.01)
    assert section.grid is not None
    return {
        *(row.extra["verdict"] for row in table.rows if row.label == arm),
        *(row[-1] for row in section.grid.rows if row[0] == arm),
    }


@pytest.mark.parametrize(
    ("shift", "word", "labels"),
    [
        (0.02, "worse", ["holds", "does not hold", "holds", "does not hold"]),
        (0.0045, f"worse{LESS}", [f"holds{LESS}", f"does not hold{LESS}", HOLDS, HOLDS]),
        (0.0001, "equal within 0.01", ["too small to matter", "too small to matter", HOLDS, HOLDS]),
        (-0.0045, f"better{LESS}", [f"does not hold{LESS}", f"holds{LESS}", f"holds{LESS}", HOLDS]),
        (-0.0101, "better", ["does not hold", "holds", UNDECIDED, UNDECIDED]),
        (-0.02, "better", ["does not hold", "holds", "does not hold", "does not hold"]),
    ],
)
def test_all_parts_of_a_page_have_one_verdict(shift: float, word: str, labels: list[str], tmp_path: Path) -> None:
    claims = [claim(kind, "arm") for kind in ("worse", "better", "no_better", "equal")]
    result = judged(tmp_path, {"base": BASE, "arm": by(shift)}, *claims)
    assert words(result) == {word}
    assert [verdict.label for verdict in result.verdicts] == labels
    assert all(verdict.numbers[0].endswith(word) for verdict in result.verdicts)


def test_a_reversal_needs_holms_correction_as_the_claim_does(tmp_path: Path) -> None:
    """Three arms that are better with p = 0.03 each: neither `better` nor the opposite of `worse` is shown."""
    base, arm = [2.00, 2.01, 2.03], [1.96, 1.975, 1.985]
    p = welch(arm, base).p
    assert p is not None
    assert 0.02 < p < 0.05
    arms = {name: by(0.001 * at, arm) for at, name in enumerate(("a", "b", "c"))}
    names = tuple(arms)
    result = judged(tmp_path, {"base": base, **arms}, claim("worse", *names), claim("better", *names))
    assert [verdict.label for verdict in result.verdicts] == [UNDECIDED, UNDECIDED]


def test_a_claim_about_several_arms_counts_them(tmp_path: Path) -> None:
    arms = {"a": by(0.1), "b": by(0.2), "c": by(0.0001)}
    result = judged(tmp_path, {"base": BASE, **arms}, claim("worse", *arms))
    assert result.verdicts[0].numbers[0] == "of 3 arms 2 as claimed, 1 equal within the margin"


def changed(root: Path, arm: str, seeds: Sequence[int], **fields: Any) -> StudyResults:
    """The study of two arms after a change to records of one of them."""
    scores = {"base": BASE, "arm": by(0.02)}
    claims = [
        claim("worse", "arm"),
        claim("better", "arm"),
        claim("no_better", "arm"),
        claim("order", "base", "arm", "x"),
    ]
    folder = study_of(root, {**scores, "x": by(0.04)})
    describe(folder, {"heads": ("base", "arm", "x")}, claims=claims)
    for seed in seeds:
        put(folder, record(arm, seed, scores[arm][seed - 1], **fields))
    return aggregate(folder)


LONG = {"budget.steps": 200, "steps": 200, "tokens": 819_200}


@pytest.mark.parametrize(
    ("arm", "seeds", "fields", "reason"),
    [
        ("arm", (1, 2, 3), LONG, "budget: steps 200, baseline 100"),
        ("base", (1, 2, 3), LONG, "budget: steps 100, baseline 200"),
        ("arm", (2,), LONG, "budget not the same for all seeds"),
        ("base", (2,), LONG, "the baseline budget not the same for all seeds"),
        ("arm", (2,), {"status": "failed", "error": "fell over", "val_bpb": None}, "has 2 of the 3 seeds"),
        ("base", (2,), {"status": "failed", "error": "it fell", "val_bpb": None}, "the baseline has 2 of the 3 seeds"),
    ],
)
def test_unequal_budgets_and_missing_seeds_allow_no_verdict(
    arm: str, seeds: Sequence[int], fields: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    result = changed(tmp_path, arm, seeds, **fields)
    (word,) = words(result)
    assert word.startswith(f"undecided: {reason}")
    assert [verdict.label for verdict in result.verdicts] == [UNDECIDED] * 4
    row = next(row for row in result.report.families[0].rows if row.label == "arm")
    assert row.decision is Decision.UNDECIDED
    assert row.comparison is not None
    assert row.comparison.test is not None, "the numbers are still shown"


def test_a_study_may_give_its_arms_budgets_of_their_own(tmp_path: Path) -> None:
    scores = {"base": BASE, "arm": by(0.02)}
    folder = study_of(tmp_path, scores)
    for seed, bpb in enumerate(scores["arm"], 1):
        put(folder, record("arm", seed, bpb, **LONG))
    described: Study = describe(folder, {"heads": tuple(scores)}, claims=[claim("worse", "arm")])
    assert aggregate(folder).verdicts[0].verdict == UNDECIDED
    write_study(folder, replace(described, families=(replace(described.families[0], unequal_budgets=True),)))
    assert aggregate(folder).verdicts[0].verdict == HOLDS


def test_all_planned_seeds_are_needed(tmp_path: Path) -> None:
    scores = {"base": by(0.0, [*BASE, 2.0003]), "arm": by(0.02, [*BASE, 2.0003])}
    folder = study_of(tmp_path, scores)
    describe(folder, {"heads": tuple(scores)}, claims=[claim("worse", "arm")])
    assert aggregate(folder).verdicts[0].verdict == HOLDS
    next(folder.glob("arm/seed3*/result.json")).unlink()
    assert aggregate(folder).verdicts[0].numbers == ("arm has 3 of the 4 seeds that a verdict needs",)


def test_a_removed_row_is_noticed_by_the_rows_of_the_other_arms(tmp_path: Path) -> None:
    """The plan of a file of rows is in its rows."""
    folder = study_of(tmp_path, {"base": BASE, "arm": by(0.02)})
    describe(folder, {"heads": ("base", "arm")}, claims=[claim("worse", "arm")])
    rows = [row for row in aggregate(folder).collected.rows if (row["arm"], row["seed"]) != ("arm", 3)]
    (tmp_path / "heads.jsonl").write_text("".join(row_lines(rows)))
    (tmp_path / "heads.study.json").write_bytes((folder / "study.json").read_bytes())
    result = aggregate(tmp_path / "heads.jsonl")
    assert "missing runs: arm (seed 3 planned, but without a row)" in result.report.warnings
    assert result.verdicts[0].numbers == ("arm has 2 of the 3 seeds that a verdict needs",)
    assert json.loads((tmp_path / "heads.jsonl").read_text().splitlines()[0])["planned"]


def test_no_better_fails_only_beyond_the_margin(tmp_path: Path) -> None:
    noisy = by(-0.012, [2.0, 2.002, 2.004])
    result = judged(tmp_path, {"base": BASE, "arm": noisy}, claim("no_better", "arm"), claim("better", "arm"))
    assert [verdict.label for verdict in result.verdicts] == [UNDECIDED, HOLDS]
