"""Measured against published gaps, with one scale on both axes: on the diagonal both are equal."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pgolf.pages.figures.labels import legend, legend_height
from pgolf.pages.figures.numbers import Key
from pgolf.pages.figures.style import FONT, MUTED, RULE, Looks, axes, blank, write, y_title

LEFT, TOP, BOTTOM, SIDE = 52.0, 28.0, 40.0, 250.0


@dataclass(frozen=True)
class GapPair:
    """An arm's published and measured gap to its baseline in bits per byte. low, high: the interval of the measured
    one; None without an interval.
    """

    key: Key
    label: str
    published: float
    measured: float
    low: float | None
    high: float | None


def limits(pairs: Sequence[GapPair]) -> tuple[float, float]:
    """The limits of both axes: zero, all gaps and all intervals."""
    values = [0.0]
    for pair in pairs:
        values += [pair.published, pair.measured, *(x for x in (pair.low, pair.high) if x is not None)]
    room = 0.06 * (max(values) - min(values)) or 1e-3
    return min(values) - room, max(values) + room


def draw(pairs: Sequence[GapPair], looks: Looks) -> Figure:
    """The picture of one family. pairs: not empty."""
    names = [looks[pair.key].name for pair in pairs]
    below = legend_height(names)
    figure = blank(TOP + BOTTOM + SIDE + below)
    width = 72 * float(figure.get_size_inches()[0])
    ax = axes(figure, left=LEFT, right=width - LEFT - SIDE, top=TOP, bottom=BOTTOM + below)
    ax.grid(color=RULE, linewidth=0.8)
    low, high = limits(pairs)
    ax.set_xlim(low, high)
    ax.set_ylim(low, high)
    ax.axhline(0, color=MUTED, linewidth=0.8)
    ax.axvline(0, color=MUTED, linewidth=0.8)
    ax.plot([low, high], [low, high], color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)))
    for pair in pairs:
        look = looks[pair.key]
        if pair.low is not None and pair.high is not None:
            ax.plot([pair.published] * 2, [pair.low, pair.high], color=look.colour, linewidth=1.4)
        ax.plot([pair.published], [pair.measured], look.marker, color=look.colour, markersize=6.5, clip_on=False)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(5))
    ax.annotate(
        "equal", (1, 1), (4, -4), xycoords="axes fraction", textcoords="offset points", va="top", fontsize=FONT,
        color=MUTED,
    )  # fmt: skip
    y_title(figure, "measured gap, bpb")
    write(figure, LEFT + SIDE / 2, below + 5, "published gap, bpb", colour=MUTED, ha="center")
    legend(figure, names, [looks[pair.key] for pair in pairs])
    return figure
