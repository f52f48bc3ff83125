"""Gaps to a baseline with their intervals, against trained tokens, parameters or another amount, on a log axis."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from pgolf.pages.figures.labels import LEADER, LINE, name_ends
from pgolf.pages.figures.numbers import Series, off_scale
from pgolf.pages.figures.style import (
    INK,
    RULE,
    SHADE,
    WIDTH,
    Looks,
    axes,
    blank,
    quantity,
    width_of,
    x_title,
    y_title,
)

LEFT, TOP, BOTTOM, SHORTEST = 52.0, 28.0, 40.0, 264.0
APART = 0.012  # between the bars of two arms at one amount, as a share of the axis
TICK = 0.17  # between the numbers below the axis, as a share of it
REACH = 1.0  # bars reach at most this many spans of the gaps beyond them


def draw(series: Sequence[Series], looks: Looks, x: str, baseline: str, smallest: float | None) -> Figure:
    """The picture of one panel. series: not empty; `tokens` are the amounts, all above 0, `mean` the gaps, `low` and
    `high` their intervals. x: the title of the amounts. smallest: the smallest effect that matters, which is shaded.
    """
    near = on_scale(series, smallest)
    names = [looks[line.key].name + ("" if line in near else f" ↑ {line.mean[-1]:+.3f}") for line in series]
    right = LEADER + 6 + max(width_of(name) for name in names)
    figure = blank(max(SHORTEST, TOP + BOTTOM + LINE * (len(names) + 1)))
    ax = axes(figure, left=LEFT, right=right, top=TOP, bottom=BOTTOM)
    ax.grid(axis="y", color=RULE, linewidth=0.8)
    ax.set_xscale("log")
    if smallest is not None:
        ax.axhspan(-smallest, smallest, color=SHADE, linewidth=0)
    ax.axhline(0, color=INK, linewidth=1.0)
    amounts = sorted({amount for line in series for amount in line.tokens})
    wide = amounts[-1] / amounts[0]
    for at, line in enumerate(series):
        look, shift = looks[line.key], wide ** (APART * (at - (len(series) - 1) / 2))
        places = [amount * shift for amount in line.tokens]
        ax.vlines(places, line.low, line.high, color=look.colour, linewidth=1.2)
        ax.plot(
            places, line.mean, look.marker, linestyle=look.dash, color=look.colour, linewidth=look.line, markersize=4.5
        )
    ax.set_ylim(*limits(near, smallest))
    room = max(wide**0.08, 1.05)
    ax.set_xlim(amounts[0] / room, amounts[-1] * room)
    ax.xaxis.set_major_locator(FixedLocator(ticks(amounts)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(quantity))
    ax.yaxis.set_major_locator(MaxNLocator(6))
    ends = [(line.tokens[-1], line.mean[-1], looks[line.key].colour, looks[line.key].dash) for line in series]
    name_ends(figure, ax, names, ends)
    y_title(figure, f"bpb, difference to {baseline}")
    x_title(figure, (LEFT + WIDTH - right) / 2, x)
    return figure


def on_scale(series: Sequence[Series], smallest: float | None) -> list[Series]:
    """The arms whose last gap lies within the axis. An arm far worse than the others does not stretch it."""
    limit = off_scale([0.0, *(line.mean[-1] for line in series)])
    near = [line for line in series if limit is None or line.mean[-1] < limit]
    return [line for line in series if line.mean[-1] < limits(near, smallest)[1]]


def ticks(amounts: Sequence[float]) -> list[float]:
    """The first and the last amount, and those between with room for their numbers."""
    kept, room = [amounts[0]], (amounts[-1] / amounts[0]) ** TICK
    for amount in amounts[1:-1]:
        if amount / kept[-1] >= room and amounts[-1] / amount >= room:
            kept.append(amount)
    return kept if len(amounts) == 1 else [*kept, amounts[-1]]


def limits(series: Sequence[Series], smallest: float | None) -> tuple[float, float]:
    """The limits of the axis: zero, all gaps, the smallest effect, and the intervals as far as REACH."""
    gaps = [0.0, *(gap for line in series for gap in line.mean), *((-smallest, smallest) if smallest else ())]
    low, high = min(gaps), max(gaps)
    reach = REACH * (high - low) or 1e-3
    low = max(low - reach, min([low, *(x for line in series for x in line.low)]))
    high = min(high + reach, max([high, *(x for line in series for x in line.high)]))
    room = 0.04 * (high - low)
    return low - room, high + room
