"""Names beside the ends of lines, and a legend below a picture. Lengths are in points."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pgolf.pages.figures.style import MUTED, WIDTH, Look, apart, points, stroke, width_of, write

LEADER = 30.0  # from the axes to a name
LINE = 15.0  # between names
LEGEND_LINE = 17.0
End = tuple[float, float, str, Any]  # x and y of the end of a line, its colour and its dash


def name_ends(figure: Figure, ax: Axes, names: Sequence[str], ends: Sequence[End]) -> None:
    """Write each name beside the end of its line, with a thin line from the end to the name. Names are moved apart if
    they would overlap.
    """
    to_points = ax.transData + points(figure).inverted()
    box = ax.get_window_extent().transformed(points(figure).inverted())
    places = [to_points.transform(end[:2]) for end in ends]
    lasts = [(float(x), max(box.y0, min(float(y), box.y1))) for x, y in places]
    heights = apart([y for _, y in lasts], LINE, box.y0 + 2, box.y1)
    for name, (x, y), height, (_, _, colour, dash) in zip(names, lasts, heights, ends, strict=True):
        stroke(figure, (x + 1, box.x1 + 5, box.x1 + 12), (y, y, height), color=MUTED, linewidth=0.5)
        sample = (box.x1 + 12, box.x1 + LEADER - 2)
        stroke(figure, sample, (height, height), color=colour, linestyle=dash, linewidth=1.5)
        write(figure, box.x1 + LEADER + 1, height, name, va="center_baseline")


def legend_columns(names: Sequence[str]) -> int:
    return max(1, int((WIDTH - 8) // (24 + max(width_of(name) for name in names))))


def legend_height(names: Sequence[str]) -> float:
    return LEGEND_LINE * -(-len(names) // legend_columns(names)) + 6


def legend(figure: Figure, names: Sequence[str], looks: Sequence[Look]) -> None:
    """Write markers with their names at the bottom, in as many columns as fit."""
    columns = legend_columns(names)
    rows = -(-len(names) // columns)
    for at, (name, look) in enumerate(zip(names, looks, strict=True)):
        x, y = 10 + (at // rows) * (WIDTH - 8) / columns, LEGEND_LINE * (rows - at % rows) - 6
        stroke(figure, (x,), (y,), color=look.colour, marker=look.marker, markersize=6.5)
        write(figure, x + 9, y, name, va="center_baseline")
