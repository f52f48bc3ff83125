"""Code selects by kind, never by the text that a reader sees: names that look like headings, separators or verdicts."""

import html
import re
from pathlib import Path

import pytest

from made_records import STUDY, failed, plan, put, record, study_of
from pgolf.pages.aggregation import aggregate
from pgolf.pages.figures.gallery import gallery
from pgolf.pages.html.document import claims, document
from pgolf.study.description import EXPLORED, Claim, ClaimTest, FamilyPlan, Study, write_study
from pgolf.study.verdicts import FAILS, HOLDS, UNDECIDED, UNTESTABLE, Verdict
from pgolf.tables.caveats import BY_STATUS, CaveatKind
from pgolf.tables.text import SectionKind

SCORES = {"tied": [2.00, 2.01, 2.03], "mos": [1.90, 1.93, 1.91], "low": [2.30, 2.31, 2.32]}
ODD = "Warnings; tests in detail"


def odd_study(root: Path, *tests: ClaimTest, explored: bool = False) -> Path:
    """A study whose family is called like a section, with a separator in its name."""
    folder = study_of(root, SCORES)
    family = FamilyPlan(ODD, "the heads", "tied", tuple(SCORES), explored=explored)
    written = (Claim("a claim; of two parts", "", tests),) if tests else ()
    write_study(folder, Study(STUDY, "Does it help?", "somewhere", "cpu", "welch", 0.01, (family,), claims=written))
    return folder


@pytest.mark.parametrize(
    ("verdict", "colour"), [(HOLDS, "good"), (FAILS, "bad"), (UNDECIDED, "open"), (UNTESTABLE, "open")]
)
@pytest.mark.parametrize("explored", [False, True])
def test_the_colour_is_that_of_the_verdict_also_where_it_was_explored(
    verdict: str, colour: str, explored: bool
) -> None:
    test = ClaimTest("heads", "better", ("mos",))
    found = Verdict(Claim("it helps", "", (test,)), test, verdict, (), explored=explored)
    page = claims([found], "Holm", published=True)
    label = f"{verdict}{EXPLORED if explored else ''}"
    assert f'<span class="status {colour}">{label}</span>' in page


def test_an_explored_study_is_coloured_from_end_to_end(tmp_path: Path) -> None:
    results = aggregate(odd_study(tmp_path, ClaimTest(ODD, "better", ("mos",)), explored=True))
    assert f'<span class="status good">{HOLDS}{EXPLORED}</span>' in document(results, [])


def test_each_number_of_a_verdict_is_one_item_whatever_the_names_contain() -> None:
    test = ClaimTest("heads", "better", ("a; b", "c"))
    found = Verdict(Claim("it helps", "", (test,)), test, HOLDS, ("a; b -0.1", "c -0.2"))
    page = claims([found], "Holm", published=True)
    assert '<ul class="numbers"><li>a; b -0.1</li><li>c -0.2</li></ul>' in page


def test_a_claim_about_arms_without_a_score_says_so(tmp_path: Path) -> None:
    folder = odd_study(tmp_path, ClaimTest(ODD, "better", ("mos", "low")))
    for arm in ("mos", "low"):
        for seed in (1, 2, 3):
            put(folder, failed(arm, seed))
    (verdict,) = aggregate(folder).verdicts
    assert (verdict.verdict, verdict.numbers) == (UNDECIDED, ("mos has no score", "low has no score"))


def test_sections_are_selected_by_their_kind(tmp_path: Path) -> None:
    folder = odd_study(tmp_path, ClaimTest(ODD, "better", ("mos",)))
    plan(folder, list(SCORES), range(1, 5))
    results = aggregate(folder)
    kinds = [section.kind for section in results.sections]
    once = (SectionKind.STUDY, SectionKind.WARNINGS, SectionKind.FAMILY, SectionKind.UNSCORED, SectionKind.CLAIMS)
    assert all(kinds.count(kind) == 1 for kind in once), kinds
    assert {SectionKind.THRESHOLD, SectionKind.DETAILS, SectionKind.CONFIGURATION, SectionKind.FURTHER} <= set(kinds)
    text = document(results, gallery(results))
    ids = re.findall(r'<h2 id="([^"]+)"', text)
    assert len(set(ids)) == len(ids)
    tests_in_detail = text.split('<h2 id="tests-in-detail">')[1].split("<h2")[0]
    for part in ("the challenge's threshold", "details"):
        assert html.unescape(tests_in_detail).count(f"<h3>{ODD}: {part}</h3>") == 1
    assert "configuration keys that differ" not in tests_in_detail


def test_every_status_has_a_kind_of_caveat(tmp_path: Path) -> None:
    folder = study_of(tmp_path, SCORES)
    put(folder, failed("mos", 3, "diverged"))
    put(folder, record("low", 3, 2.32, warnings=["failed runs"]))
    rows = {row.label: row for row in aggregate(folder).report.families[0].rows}
    assert [caveat.kind for caveat in rows["mos"].caveats] == [CaveatKind.DIVERGED, CaveatKind.FEW_SEEDS]
    assert [caveat.kind for caveat in rows["low"].caveats] == [CaveatKind.RECORD_WARNING]
    assert set(BY_STATUS) == {"failed", "diverged", "interrupted", "missing", "damaged", "foreign", "pruned"}
