"""A study's description, its claims judged by their rules, and its further sections, on made records."""

from dataclasses import replace
from pathlib import Path

import pytest
from scipy import stats as scipy_stats

from made_records import plan, put, record
from pgolf.aggregation import aggregate, write_tables
from pgolf.collect import ROWS
from pgolf.errors import PgolfError
from pgolf.study import Claim, ClaimTest, FamilyPlan, Study, read_study, study_from, write_study
from pgolf.verdicts import FAILS, HOLDS, UNDECIDED, UNTESTABLE

BASE, WORSE, SAME, NOISY = (2.000, 2.004, 2.002), (2.100, 2.104, 2.103), (2.0015, 2.0025, 2.0035), (1.98, 2.06, 2.01)


def study(*claims: Claim, **more: object) -> Study:
    family = FamilyPlan("all", "every arm", "base", ("base", "worse", "same", "noisy"))
    made = Study("heads", "Does it matter?", "nowhere", "cpu", "welch", 0.01, (family,), {"worse": {"val_bpb": 2.2}}, "one_sample", claims)
    return replace(made, **more)  # type: ignore[arg-type]


def claim(kind: str, *arms: str) -> Claim:
    return Claim(f"{kind} {' '.join(arms)}", "a note", (ClaimTest("all", kind, arms),))


def folder_of(tmp_path: Path, made: Study) -> Path:
    folder = tmp_path / "heads"
    for arm, scores in {"base": BASE, "worse": WORSE, "same": SAME, "noisy": NOISY}.items():
        for seed, bpb in enumerate(scores, 1):
            put(folder, record(arm, seed, bpb) | {"study": "heads"})
    plan(folder, ["base", "worse", "same", "noisy"], (1, 2, 3))
    write_study(folder, made)
    return folder


@pytest.mark.parametrize(
    ("made", "verdict"),
    [
        (claim("worse", "worse"), HOLDS),
        (claim("better", "worse"), FAILS),
        (claim("worse", "same"), FAILS),  # its interval is within the smallest effect
        (claim("worse", "noisy"), UNDECIDED),
        (claim("worse", "worse", "noisy"), UNDECIDED),
        (claim("worse", "worse", "same"), FAILS),
        (claim("no_better", "worse"), HOLDS),
        (claim("no_better", "same"), HOLDS),
        (claim("no_better", "noisy"), UNDECIDED),
        (claim("order", "base", "same", "worse"), HOLDS),
        (claim("order", "worse", "same", "base"), FAILS),
        (claim("untestable"), UNTESTABLE),
    ],
)
def test_a_claim_is_judged_by_its_rule(made: Claim, verdict: str, tmp_path: Path) -> None:
    (found,) = aggregate(folder_of(tmp_path, study(made))).verdicts
    assert found.verdict == verdict, found.why
    assert found.why


def test_flipping_an_arm_turns_its_verdict(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, study(claim("worse", "worse")))
    for seed, bpb in enumerate(WORSE, 1):
        put(folder, record("worse", seed, 4.0 - bpb) | {"study": "heads"})
    (found,) = aggregate(folder).verdicts
    assert found.verdict == FAILS


def test_a_claim_about_what_was_not_run_is_undecided(tmp_path: Path) -> None:
    family = FamilyPlan("all", "every arm", "base", ("base", "worse", "same", "noisy", "absent"))
    (found,) = aggregate(folder_of(tmp_path, study(claim("worse", "absent"), families=(family,)))).verdicts
    assert (found.verdict, found.why) == (UNDECIDED, "without a score: absent")


def test_the_page_has_every_part(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, study(claim("worse", "worse")))
    made = aggregate(folder)
    assert write_tables(made, folder) == []
    text = (folder / "table.md").read_text()
    for part in ("Does it matter?", "published bpb", "2.2000", "verdict", "no difference that matters", "Published claims", "as published"):
        assert part in text
    want = scipy_stats.ttest_1samp(WORSE, sum(BASE) / 3, alternative="greater")
    assert f"t = {want.statistic:.2f}, df 2" in text
    assert "measured - published" not in text, "only at the published scale"
    published = aggregate(folder_of(tmp_path, study(scale="published")))
    row = next(row for row in published.report.families[0].rows if row.label == "worse")
    assert row.extra["measured - published"].startswith("-0.09")


def test_rows_beside_their_study_are_read_alike(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, study(claim("worse", "worse")))
    write_tables(aggregate(folder), folder)
    kept = tmp_path / "results"
    kept.mkdir()
    (kept / "heads.jsonl").write_bytes((folder / ROWS).read_bytes())
    (kept / "heads.study.json").write_bytes((folder / "study.json").read_bytes())
    again = aggregate(kept / "heads.jsonl")
    assert again.verdicts == aggregate(folder).verdicts
    assert again.study == aggregate(folder).study


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"test": "guess"}, "test guess is none of"),
        ({"published": {"other": {}}}, "published values of other"),
        ({"published_test": "z"}, "published_test z"),
    ],
)
def test_a_description_that_contradicts_itself(change: dict[str, object], said: str, tmp_path: Path) -> None:
    write_study(tmp_path, study(**change))
    with pytest.raises(PgolfError, match=said):
        read_study(tmp_path)


def test_a_damaged_description_is_named(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text("{")
    with pytest.raises(PgolfError, match=r"study\.json: describes no study"):
        read_study(tmp_path)
    assert read_study(tmp_path / "elsewhere") is None
    with pytest.raises(KeyError):
        study_from({"name": "x"})
