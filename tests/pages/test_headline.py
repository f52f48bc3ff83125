"""The first screen: which answer it gives, with which numbers."""

from pathlib import Path

import pytest

from made_records import describe, put, record, study_of
from pgolf.pages.aggregation import aggregate
from pgolf.pages.headline import answer, arm_sentence, headline
from pgolf.study.description import Claim, ClaimTest
from pgolf.tables.text import interval

RESULTS = Path(__file__).resolve().parents[2] / "analysis" / "results"
SCORES = {
    "base": [2.000, 2.004, 2.002],
    "worse": [2.100, 2.104, 2.103],
    "slightly": [2.030, 2.033, 2.034],
    "noisy": [1.98, 2.06, 2.01],
}


def facts_of(source: Path) -> dict[str, str]:
    return dict(headline(aggregate(source)).facts)


def test_the_arm_that_decides_stands_in_the_sentence(tmp_path: Path) -> None:
    study = study_of(tmp_path, SCORES)
    arms = tuple(SCORES)[1:]
    claims = (
        Claim("cannot be tried", "", (ClaimTest("all", "untestable"),)),
        Claim("every arm is worse", "", (ClaimTest("one", "worse", ("worse",)), ClaimTest("all", "worse", arms))),
        Claim("worse is better", "", (ClaimTest("all", "better", ("worse", "slightly")),)),
    )
    describe(study, {"one": ("base", "worse"), "all": tuple(SCORES)}, claims=claims)
    results = aggregate(study)
    found = headline(results)
    assert (found.question, found.claim) == ("Does it help?", "every arm is worse"), "the first claim about arms"
    assert found.others == "not testable here 1, does not hold 1"
    assert found.table is not None
    assert found.table.family.name == "all", "the largest family"
    whole, single = found.statements
    noisy = next(row for row in found.table.rows if row.label == "noisy")
    assert noisy.comparison is not None
    assert whole.label == "undecided"
    assert whole.sentence.startswith("2 of 3 arms are worse, 1 is undecided. noisy against base: ")
    assert interval(noisy.comparison.test) in whole.sentence
    assert (single.label, single.family) == ("holds", "one")
    assert single.sentence.startswith("worse against base: +0.1")


@pytest.mark.parametrize(("kind", "arm"), [("worse", "slightly"), ("better", "worse")])
def test_the_nearest_arm_decides_what_holds_and_the_furthest_what_does_not(kind: str, arm: str, tmp_path: Path) -> None:
    study = study_of(tmp_path, SCORES)
    describe(study, {"all": tuple(SCORES)}, claims=(Claim("c", "", (ClaimTest("all", kind, ("worse", "slightly")),)),))
    (statement,) = headline(aggregate(study)).statements
    assert f"from zero: {arm} against base" in statement.sentence.replace("Nearest to zero", "from zero").replace(
        "Furthest from zero", "from zero"
    )


def test_without_claims_the_best_arm_answers(tmp_path: Path) -> None:
    found = headline(aggregate(study_of(tmp_path, SCORES)))
    (statement,) = found.statements
    assert (found.question, found.claim, statement.label) == ("", "", "undecided")
    beginning = "2 of 3 arms are worse, 1 is undecided. The lowest score of them: noisy against base: +0.0"
    assert statement.sentence.startswith(beginning)
    alone = headline(aggregate(study_of(tmp_path / "b", {"base": [2.0, 2.1, 2.0]})))
    assert (alone.statements, alone.table) == ((), None)
    folder = study_of(tmp_path / "c", SCORES, choices__study="heads")
    results = aggregate(folder)
    assert any("without its description" in warning for warning in results.report.warnings)
    assert answer(results) == [], "runs of a study have no answer without its families"


def test_an_undecided_arm_whose_interval_lies_within_the_margin_says_why() -> None:
    results = aggregate(RESULTS / "higher_rank_heads.jsonl")
    table = next(table for table in results.report.families if table.family.name == "trained")
    row = next(row for row in table.rows if row.label.startswith("T5"))
    sentence = arm_sentence(row, table)
    assert "+0.0010 [-0.0036, +0.0056] bpb" in sentence
    assert sentence.endswith("undecided: equality within 0.01 is not shown after Holm's correction.")


def test_size_training_and_seeds_are_those_of_the_runs(tmp_path: Path) -> None:
    study = study_of(tmp_path, SCORES, params__total=500_000)
    put(study, record("noisy", 4, 2.0, params__total=1_500_000, params__frozen=10))
    facts = facts_of(study)
    assert facts["size"] == "0.50M to 1.50M parameters"
    assert facts["training"] == "100 steps of 4,096 tokens (0.41M tokens)"
    assert facts["seeds"] == "3 to 4 per arm"
    assert facts["test"] == "Welch, corrected over 3 arms"
