"""Scores during training: one line per arm, with a band from its lowest to its highest seed and its name at the end."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from pgolf.pages.figures.labels import LEADER, LINE, name_ends
from pgolf.pages.figures.numbers import Series, off_scale
from pgolf.pages.figures.style import RULE, Looks, axes, blank, quantity, width_of, x_title, y_title

LEFT, TOP, BOTTOM = 42.0, 28.0, 40.0
SHORTEST = 264.0
START = 0.25  # this first part of training does not set the scale
MARGIN = 0.06


def draw(series: Sequence[Series], looks: Looks, y: str) -> Figure:
    """The picture of one panel. series: not empty."""
    names = end_names(series, looks)
    right = LEADER + 6 + max(width_of(name) for name in names)
    figure = blank(max(SHORTEST, TOP + BOTTOM + LINE * (len(names) + 1)))
    ax = axes(figure, left=LEFT, right=right, top=TOP, bottom=BOTTOM)
    ax.grid(axis="y", color=RULE, linewidth=0.8)
    for line in series:
        look = looks[line.key]
        if line.seeds > 1:
            ax.fill_between(line.tokens, line.low, line.high, color=look.colour, alpha=0.16, linewidth=0)
        if len(line.tokens) == 1:
            ax.plot(line.tokens, line.mean, look.marker, color=look.colour, markersize=5)
        ax.plot(line.tokens, line.mean, color=look.colour, linestyle=look.dash, linewidth=look.line)
    limit = off_scale([line.mean[-1] for line in series])
    scale(ax, [line for line in series if limit is None or line.mean[-1] < limit])
    ax.yaxis.set_major_locator(MaxNLocator(6))
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.xaxis.set_major_formatter(FuncFormatter(quantity))
    ends = [(line.tokens[-1], line.mean[-1], looks[line.key].colour, looks[line.key].dash) for line in series]
    name_ends(figure, ax, names, ends)
    y_title(figure, y)
    x_title(figure, (LEFT + 72 * float(figure.get_size_inches()[0]) - right) / 2, "trained tokens")
    return figure


def end_names(series: Sequence[Series], looks: Looks) -> list[str]:
    """The label of each line; that of an outlier has its last score."""
    limit = off_scale([line.mean[-1] for line in series])
    names = [looks[line.key].name for line in series]
    return [
        f"{name} ↑ {line.mean[-1]:.3f}" if limit is not None and line.mean[-1] >= limit else name
        for line, name in zip(series, names, strict=True)
    ]


def late(series: Sequence[Series]) -> tuple[float, float]:
    """The lowest and the highest score of any seed after the first quarter, in which scores fall steeply."""
    start = START * max(line.tokens[-1] for line in series)
    ranges = [
        pair for line in series for at, *pair in zip(line.tokens, line.low, line.high, strict=True) if at >= start
    ]
    return min(low for low, _ in ranges), max(high for _, high in ranges)


def scale(ax: Axes, series: Sequence[Series]) -> None:
    """Set the limits of both axes."""
    low, high = late(series)
    room = MARGIN * (high - low) or 0.01
    ax.set_ylim(low - room, high + room)
    ax.set_xlim(0, max(line.tokens[-1] for line in series))


def cut_off(series: Sequence[Series]) -> bool:
    """Whether a curve begins above the upper limit."""
    top = late(series)[1]
    return any(max(line.high) > top for line in series)
