"""The pictures of an inspection show the numbers that they are given, and take any name as text."""

import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest

from made_records import study_of
from pgolf.pages.aggregation import aggregate
from pgolf.pages.figures.export import svg
from pgolf.pages.figures.inspections import INSPECTION, TRUNCATION, inspections, read_panels, save_panels
from pgolf.pages.figures.spectra import MOST_LINES, Band, Line, Panel, picture_of
from pgolf.pages.html.document import document

HOSTILE = "<script>$\\frac{a}{b}$\x1b[31m"
X = (1.0, 2.0, 3.0)
BAND = Band(X, (1.0, 0.1, 0.01), (1.0, 0.3, 0.05))


@pytest.mark.parametrize("log", [False, True])
def test_lines_and_band_are_what_was_given(log: bool) -> None:
    lines = (Line("layer 0", X, (1.0, 0.2, 1e-8)), Line(HOSTILE, X[:1], (0.5,)))
    picture = picture_of(Panel("p", HOSTILE, HOSTILE, "rank", "share", lines, (BAND,), log, 0.7))
    code = svg(picture)
    drawn = [tuple(map(tuple, line.get_data())) for line in picture.figure.axes[0].lines]
    assert drawn[:4] == [(X, BAND.low), (X, BAND.high), (X, lines[0].y), (X[:1], (0.5,))]
    assert set(drawn[4][1]) == {0.7}
    assert ElementTree.fromstring(code).tag.endswith("svg")
    for text in ("layer 0", "random", "uncut", "rank", "share"):
        assert text in code
    assert "\x1b" not in code
    assert "<script" not in code
    if log:
        assert "mathdefault" not in code, "ticks are plain numbers, not formulas"


def test_more_lines_than_can_be_distinguished_are_left_out() -> None:
    lines = tuple(Line(f"layer {i}", X, X) for i in range(MOST_LINES + 5))
    assert len(picture_of(Panel("p", "", "", "rank", "share", lines)).figure.axes[0].lines) == MOST_LINES


def test_a_report_shows_saved_inspections_and_says_what_it_leaves_out(tmp_path: Path) -> None:
    study = study_of(tmp_path, {"tied": [2.0, 2.1, 2.2], "mos": [2.1, 2.2, 2.3]})
    folders = [study / row["folder"] for row in aggregate(study).collected.rows]
    panel = Panel("p", HOSTILE, "about", "rank", "share", (Line("layer 0", X, X),), (BAND,), log=True)
    assert inspections(aggregate(study)) == []
    for folder in folders:
        save_panels(folder / INSPECTION, [panel, replace(panel, title="second")])
    assert read_panels(folders[0] / INSPECTION)[0] == panel
    for number, damage in enumerate(({"y": [1.0, 2.0]}, {"y": [1.0, 0.0, 2.0]})):
        bad = replace(panel, lines=(Line("layer 0", X, tuple(damage["y"])),))
        save_panels(folders[number] / INSPECTION, [bad])
    (folders[2] / TRUNCATION).write_text('{"panels": [{"name": 1}]}')
    (exhibit,) = inspections(aggregate(study))
    assert [picture.name for picture in exhibit.panels.values()] == ["inspection-0", "inspection-1"]
    assert "2 more inspected runs are left out. Damaged and left out: the inspections of" in exhibit.caption
    assert exhibit.caption.count(" seed ") == 3
    page = document(aggregate(study), [exhibit])
    assert "Inside the weights" in page
    assert "<script>$" not in page
