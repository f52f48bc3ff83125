"""The pictures of an inspection show the numbers that they are given, and take any name as text."""

import xml.etree.ElementTree as ElementTree

import pytest

from pgolf.pages.figures.export import Picture, svg
from pgolf.pages.figures.spectra import MOST_LINES, Band, Line, draw
from pgolf.pages.figures.style import quiet

HOSTILE = "<script>$\\frac{a}{b}$\x1b[31m"
X = (1.0, 2.0, 3.0)
BAND = Band(X, (1.0, 0.1, 0.01), (1.0, 0.3, 0.05))


@pytest.mark.parametrize("log", [False, True])
def test_lines_and_band_are_what_was_given(log: bool) -> None:
    lines = [Line("layer 0", X, (1.0, 0.2, 1e-8)), Line(HOSTILE, X[:1], (0.5,))]
    with quiet():
        figure = draw(lines, "rank", "share", band=BAND, log=log, level=0.7)
        code = svg(Picture("p", HOSTILE, HOSTILE, figure))
    drawn = [tuple(map(tuple, line.get_data())) for line in figure.axes[0].lines]
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
    with quiet():
        figure = draw([Line(f"layer {i}", X, X) for i in range(MOST_LINES + 5)], "rank", "share")
    assert len(figure.axes[0].lines) == MOST_LINES
