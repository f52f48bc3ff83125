"""Contradictions in the description of a study, with the message for each."""

from dataclasses import asdict, replace

import pytest

from pgolf.study.description import Claim, ClaimTest, FamilyPlan, LadderPlan, Study, problems_of, study_from

FAMILY = FamilyPlan("heads", "the heads", "tied", ("tied", "mos"))
STUDY = Study("heads", "Does it help?", "a pull request", "cpu", "welch", 0.01, (FAMILY,), {"mos": {"val_bpb": 2.0}})


def with_claim(*tests: ClaimTest) -> Study:
    return replace(STUDY, claims=(Claim("it helps", "", tests),))


def test_a_valid_description_has_no_problem() -> None:
    claims = with_claim(ClaimTest("heads", "better", ("mos",)), ClaimTest("", "untestable"))
    assert problems_of(STUDY) == problems_of(claims) == []
    assert study_from(asdict(claims)) == claims


@pytest.mark.parametrize(
    ("test", "problem"),
    [
        (ClaimTest("heads", "better"), "has no arms. A test of kind better needs at least one"),
        (ClaimTest("heads", "order"), "has no arms. A test of kind order needs at least one"),
        (ClaimTest("heads", "published_is", (), "val_bpb", 1.0), "has no arms. A test of kind published_is needs at"),
        (ClaimTest("heads", "better", ("mso", "mos", "lwo")), "arms mso, lwo are not in family heads"),
        (ClaimTest("tails", "better", ("mos",)), "family tails does not exist"),
        (ClaimTest("heads", "nicer", ("mos",)), "kind nicer is not one of worse, better"),
        (ClaimTest("heads", "published_is", ("mos",), "steps", 1.0), "published values of mos have no steps"),
        (ClaimTest("heads", "published_saves", ("mos",), "val_bpb", 1.0), "published values of tied have no val_bpb"),
        (ClaimTest("heads", "published_is", ("mos",), "val_bpb"), "value None is not a number"),
    ],
)
def test_a_claim_that_cannot_be_tested_is_refused(test: ClaimTest, problem: str) -> None:
    (message,) = problems_of(with_claim(test))
    assert message.startswith(f"claim 'it helps': {problem}")
    with pytest.raises(ValueError, match="it helps"):
        study_from(asdict(with_claim(test)))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"smallest_effect_bpb": 0.0}, "smallest_effect_bpb 0.0 is not a positive number"),
        ({"smallest_effect_bpb": float("nan")}, "smallest_effect_bpb nan is not a positive number"),
        ({"published": {"mos": {"val_bpb": True}}}, "published mos.val_bpb is not a number (True)"),
        ({"published": {"low": {}}}, "published values of low, which is in no family"),
        ({"families": (replace(FAMILY, baseline="low"),)}, "family heads does not contain its baseline low"),
        ({"families": (replace(FAMILY, line=("mos", "mos")),)}, "a line needs two or more different arms"),
        ({"test": "anova"}, "test anova is not one of welch, paired"),
        ({"published_test": "anova"}, "published_test anova is not one_sample"),
    ],
)
def test_a_contradiction_is_named(change: dict[str, object], problem: str) -> None:
    (message,) = problems_of(replace(STUDY, **change))  # type: ignore[arg-type]
    assert problem in message


LONGER = FamilyPlan("longer", "the heads, twice the tokens", "tied2", ("tied2", "mos2"))
THREE = FamilyPlan("three", "one arm more", "tied3", ("tied3", "mos3", "low3"))
TURNED = FamilyPlan("turned", "the baseline last", "tied4", ("mos4", "tied4"))


@pytest.mark.parametrize(
    ("over", "families", "problem"),
    [
        ("tokens", ("heads", "longer"), None),
        ("bytes", ("heads", "longer"), "over bytes is not one of tokens, parameters"),
        ("tokens", ("heads",), "needs two or more different families (heads)"),
        ("tokens", ("heads", "heads"), "needs two or more different families (heads, heads)"),
        ("tokens", ("heads", "lnoger"), "family lnoger does not exist"),
        ("parameters", ("heads", "three"), "family three has 3 arms, and heads has 2"),
        ("tokens", ("heads", "turned"), "the baselines of turned and heads stand at different places of their arms"),
    ],
)
def test_a_ladder_needs_the_same_arms_by_position(over: str, families: tuple[str, ...], problem: str | None) -> None:
    study = replace(STUDY, families=(FAMILY, LONGER, THREE, TURNED), ladders=(LadderPlan("longer", over, families),))
    assert problems_of(study) == ([] if problem is None else [f"ladder 'longer': {problem}"])
