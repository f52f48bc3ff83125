"""`pgolf.compare` and `pgolf.figures`: the numbers and pictures of the report, from a folder or from rows."""

import inspect
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import pgolf
import pgolf.compare  # binds the name to the command's module, as any import of it does
from made_records import curved_study, describe, put, record, study_of
from pgolf.api.comparison import COLUMNS, compare
from pgolf.errors import PgolfError
from pgolf.pages.aggregation import aggregate
from pgolf.pages.figures.export import svg
from pgolf.pages.figures.gallery import gallery
from pgolf.pages.formats import markdown
from pgolf.tables.contrast import Settings

SCORES = {"tied": [2.00, 2.01, 2.03], "mos": [1.90, 1.93, 1.91], "factorized": [2.00, 2.02, 2.04]}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = curved_study(tmp_path_factory.mktemp("compare"), SCORES)
    describe(folder, {"heads": tuple(SCORES)})
    return folder


def test_the_frame_has_the_numbers_of_the_tables(study: Path) -> None:
    found = pgolf.compare(study)
    results = aggregate(study)
    rows = {row.group.arm: row for row in results.report.families[0].rows}
    assert list(found.columns) == list(COLUMNS)
    assert found.arm.tolist() == ["mos", "factorized"]
    for entry in found.itertuples():
        row = rows[entry.arm]
        assert (entry.difference_bpb, entry.low_bpb, entry.high_bpb) == (
            row.comparison.test.difference,
            row.comparison.test.low,
            row.comparison.test.high,
        )
        assert (entry.holm_p, entry.decision, entry.n, entry.n_baseline) == (row.holm_p, row.decision.value, 3, 3)
        assert (entry.baseline, entry.test, entry.margin_bpb) == ("tied", "Welch", 0.01)
    assert found.warnings == results.report.warnings
    assert str(found.page) == found.page._repr_markdown_() == markdown(results.sections)
    assert type(found[found.n > 1]) is pd.DataFrame


def test_whole_results_keep_the_study_and_selected_rows_do_not(study: Path) -> None:
    runs = pgolf.load(study)
    pd.testing.assert_frame_equal(pd.DataFrame(pgolf.compare(runs)), pd.DataFrame(pgolf.compare(study)))
    two = pgolf.compare(runs[runs.arm != "factorized"], "mos")
    assert (two.arm.tolist(), two.margin_bpb.isna().tolist()) == (["tied"], [True])
    assert two.difference_bpb[0] == pytest.approx(0.1)
    assert two.holm_p[0] == two.p[0], "one comparison is not corrected"


def test_settings_reach_the_test(study: Path) -> None:
    paired = pgolf.compare(study, paired=True, smallest_effect_bpb=0.3)
    assert (set(paired.test), set(paired.margin_bpb)) == ({"paired t"}, {0.3})
    assert paired.decision[0] == "better, by less than matters"


def test_two_sets_of_rows_of_two_folders(tmp_path: Path) -> None:
    """The same arm with other code: two folders have equal names and plans of their own."""
    old, new = study_of(tmp_path / "a", {"tied": [2.0, 2.1, 2.2]}), tmp_path / "b" / "heads"
    for seed, bpb in enumerate((1.5, 1.6, 1.7), 1):
        put(new, record("tied", seed, bpb, fingerprint="f" * 16))
    found = pgolf.compare(new, pgolf.load(old))
    assert (found.arm.tolist(), found.baseline.tolist()) == (["tied (compared)"], ["tied"])
    assert found.difference_bpb[0] == pytest.approx(-0.5)
    same = pgolf.compare(old, pgolf.load(old))
    assert same.difference_bpb.isna().all()
    assert "same configuration" in same.reason[0]
    with pytest.raises(PgolfError, match=r"baseline: needs rows of one configuration \(none\)"):
        pgolf.compare(new, pgolf.load(old).iloc[:0])


def test_bad_arguments_are_named(study: Path) -> None:
    with pytest.raises(PgolfError, match=r"^baseline: no such arm \(moss\). Did you mean mos\?"):
        pgolf.compare(study, "moss")
    with pytest.raises(PgolfError, match=r"^smallest_effect_bpb: must be above 0 and finite \(0\)"):
        pgolf.compare(study, smallest_effect_bpb=0)


def test_one_arm_is_not_compared(study: Path) -> None:
    runs = pgolf.load(study)
    for arguments in ((runs[runs.arm == "mos"],), (runs[runs.arm == "mos"], "mos")):
        with pytest.raises(
            PgolfError, match=r"^runs: have one arm, and two are compared \(mos\)\. Give runs of several arms"
        ):
            pgolf.compare(*arguments)
    with pytest.raises(PgolfError, match=r"^runs: are empty\. Give rows of pgolf\.load"):
        pgolf.compare(runs[runs.arm == "gone"], "mos")


def test_the_module_of_the_command_is_the_function() -> None:
    """However it was imported first, in one process."""
    assert pgolf.compare is sys.modules["pgolf.compare"]
    shown, own = (list(inspect.signature(f).parameters.values()) for f in (pgolf.compare, compare))
    assert [(p.name, p.kind, p.default) for p in shown] == [(p.name, p.kind, p.default) for p in own]
    code = "import pgolf; assert callable(pgolf.compare); from pgolf import compare; assert callable(compare.main)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(pgolf.__file__).parents[1], timeout=120)


def test_pictures_are_those_of_the_report(study: Path, tmp_path: Path) -> None:
    shown = pgolf.figures.all(study)
    exhibits = gallery(aggregate(study, settings=Settings(), with_curves=True))
    assert [one.heading for one in shown] == [exhibit.heading for exhibit in exhibits]
    for one, exhibit in zip(shown, exhibits, strict=True):
        pictures = list(exhibit.panels.values())
        assert one.caption == exhibit.caption
        assert [picture.title for picture in one] == [picture.title for picture in pictures]
        assert svg(pictures[0]) in one._repr_html_()
    differences = pgolf.figures.differences(pgolf.load(study))
    assert (len(differences), differences[0].name) == (1, "differences-1")
    (file,) = differences.save(tmp_path)
    assert file.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("kind", ["validation", "training", "bytes", "published"])
def test_each_kind_has_a_function(kind: str, study: Path) -> None:
    pictures = getattr(pgolf.figures, kind)(study)
    assert [picture.name.split("-")[0] for picture in pictures] == ([] if kind == "published" else [kind])
    assert ("Nothing to draw" in pictures._repr_html_()) == (kind == "published")
