"""Pictures of an inspection: lines with their names at the end, and the band of random matrices."""

from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from pgolf.pages.figures.export import Picture
from pgolf.pages.figures.labels import LEADER, LINE, End, name_ends
from pgolf.pages.figures.style import (
    MUTED,
    RULE,
    SHADE,
    axes,
    blank,
    look_of,
    quantity,
    quiet,
    width_of,
    x_title,
    y_title,
)

LEFT, TOP, BOTTOM = 58.0, 28.0, 40.0
SHORTEST = 264.0
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
    ends: list[End] = []
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
