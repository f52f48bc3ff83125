"""Pictures of an inspection: lines with their names at the end, and the band of random matrices."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from pgolf.pages.figures.export import Picture
from pgolf.pages.figures.style import (
    MUTED,
    RULE,
    SHADE,
    apart,
    axes,
    blank,
    look_of,
    points,
    quantity,
    quiet,
    stroke,
    width_of,
    write,
    x_title,
    y_title,
)

LEFT, TOP, BOTTOM = 58.0, 28.0, 40.0
LEADER, LINE, SHORTEST = 30.0, 15.0, 264.0
MOST_LINES = 24  # in one picture: more cannot be distinguished


@dataclass(frozen=True)
class Line:
    """A named line through points (x, y)."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True)
class Band:
    """The range of random matrices, from low to high at each x."""

    x: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class Panel:
    """One picture as plain numbers. name: for files and ids. lines: at most MOST_LINES are drawn. bands: none or one.

    x, y: titles of the axes. log: a logarithmic y axis. level: a horizontal line, named `uncut`; None for none.
    """

    name: str
    title: str
    description: str
    x: str
    y: str
    lines: tuple[Line, ...]
    bands: tuple[Band, ...] = ()
    log: bool = False
    level: float | None = None


def picture_of(panel: Panel) -> Picture:
    """The picture of a panel. Raises ValueError if its points cannot be drawn."""
    check(panel)
    with quiet():
        return Picture(panel.name, panel.title, panel.description, draw(panel))


def check(panel: Panel) -> None:
    """Raise ValueError for a panel without points, with lists of unequal lengths, or with a logarithm of zero."""
    band = panel.bands[:1]
    groups = [*((line.x, line.y) for line in panel.lines), *((each.x, each.low, each.high) for each in band)]
    if not panel.lines or not all(len(group[0]) for group in groups):
        raise ValueError("a picture has no points")
    if any(len({len(values) for values in group}) > 1 for group in groups):
        raise ValueError("the points of a picture have unequal numbers of coordinates")
    heights = [y for group in groups for values in group[1:] for y in values]
    if panel.log and min(heights) <= 0:
        raise ValueError("a logarithmic picture has a point at or below zero")


def draw(panel: Panel) -> Figure:
    """The figure of a panel that `check` accepts."""
    lines, level = panel.lines[:MOST_LINES], panel.level
    band = panel.bands[0] if panel.bands else None
    heights = [y for values in (*(line.y for line in lines), *((band.low,) if band else ())) for y in values]
    names = [*(line.name for line in lines), *(["random"] if band else []), *(["uncut"] if level is not None else [])]
    right = LEADER + 6 + max(map(width_of, names))
    figure = blank(max(SHORTEST, TOP + BOTTOM + LINE * (len(names) + 1)))
    ax = axes(figure, left=LEFT, right=right, top=TOP, bottom=BOTTOM)
    ax.grid(axis="y", color=RULE, linewidth=0.8)
    if panel.log:
        ax.set_yscale("log")
        if min(heights) * 100 > max(heights):  # one or two powers of ten would be the only ticks
            ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.yaxis.set_minor_formatter(NullFormatter())
    if band is not None:
        ax.fill_between(band.x, band.low, band.high, color=SHADE, linewidth=0)
        ax.plot(band.x, band.low, color=MUTED, linewidth=0.7)
        ax.plot(band.x, band.high, color=MUTED, linewidth=0.7)
    ends = []
    for number, line in enumerate(lines):
        look = look_of(number)
        marker = look.marker if len(line.x) <= 16 else ""
        ax.plot(
            line.x, line.y, color=look.colour, linestyle=look.dash, linewidth=look.line, marker=marker, markersize=4
        )
        ends.append((line.x[-1], line.y[-1], look.colour, look.dash))
    if band is not None:
        ends.append((band.x[-1], band.high[-1], MUTED, "solid"))
    if level is not None:
        ax.axhline(level, color=MUTED, linewidth=0.8)
        ends.append((max(line.x[-1] for line in lines), level, MUTED, "solid"))
    low, high = min([0.0, *(line.x[0] for line in lines)]), max(line.x[-1] for line in lines)
    ax.set_xlim(low, high if high > low else low + 1)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.xaxis.set_major_formatter(FuncFormatter(quantity))
    name_ends(figure, ax, names, ends)
    y_title(figure, panel.y)
    x_title(figure, (LEFT + 72 * float(figure.get_size_inches()[0]) - right) / 2, panel.x)
    return figure


def name_ends(figure: Figure, ax: Axes, names: Sequence[str], ends: Sequence[tuple[float, float, str, object]]) -> None:
    """Write each name beside the end of its line, moved apart where they would overlap."""
    to_points = ax.transData + points(figure).inverted()
    box = ax.get_window_extent().transformed(points(figure).inverted())
    places = [to_points.transform(end[:2]) for end in ends]
    lasts = [(float(x), max(box.y0, min(float(y), box.y1))) for x, y in places]
    heights = apart([y for _, y in lasts], LINE, box.y0 + 2, box.y1)
    for name, (x, y), height, (_, _, colour, dash) in zip(names, lasts, heights, ends, strict=True):
        stroke(figure, (x + 1, box.x1 + 5, box.x1 + 12), (y, y, height), color=MUTED, linewidth=0.5)
        stroke(
            figure, (box.x1 + 12, box.x1 + LEADER - 2), (height, height), color=colour, linestyle=dash, linewidth=1.5
        )
        write(figure, box.x1 + LEADER + 1, height, name, va="center_baseline")
