"""Gaps over a ladder: one line per arm against the tokens or parameters of the baseline, with an interval per rung."""

import math
from dataclasses import replace

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from pgolf.pages.aggregation import StudyResults
from pgolf.pages.figures.export import Picture
from pgolf.pages.figures.labels import LEADER, LINE, name_ends
from pgolf.pages.figures.lines import BOTTOM, SHORTEST, TOP, end_names
from pgolf.pages.figures.numbers import MOST_ARMS, Series, key_of, off_scale
from pgolf.pages.figures.style import (
    INK,
    RULE,
    SHADE,
    WIDTH,
    Looks,
    axes,
    blank,
    quantity,
    shorten,
    width_of,
    x_title,
    y_title,
)
from pgolf.study.published import ladders_of
from pgolf.tables.ladder import Climb, Ladder
from pgolf.tables.text import interval

LEFT = 56.0
SHIFT = 0.03  # doublings between the marks of neighbouring arms, so that their bars stay apart
CAPTION = (
    "Arm minus baseline in bits per byte, with the 95% interval of the study's test at each rung. Every rung is a run "
    "of its own. Below zero the arm is better. Shaded: smaller than the smallest effect that matters."
)


def panels(results: StudyResults, looks: Looks) -> dict[str, Picture]:
    """One picture per ladder with a compared arm."""
    found = [] if results.study is None else ladders_of(results.study, results.report)
    pictures = {}
    for number, one in enumerate(found, 1):
        if not one.climbs:
            continue
        text = "; ".join(f"{climb.name}: {gaps_text(one, climb)}" for climb in one.climbs)
        title = f"{one.title}: gap to the baseline by {one.over}"
        pictures[one.title] = Picture(f"ladder-{number}", title, f"{text}.", draw(one, looks, margin_of(one)))
    return pictures


def gaps_text(found: Ladder, climb: Climb) -> str:
    return ", ".join(f"{x:,.0f} {interval(gap)}" for x, gap in zip(xs_of(found), climb.gaps, strict=True))


def xs_of(found: Ladder) -> tuple[float, ...]:
    return tuple(rung.x for rung in found.rungs)


def margin_of(found: Ladder) -> float | None:
    return found.rungs[-1].table.settings.smallest_effect_bpb


def series_of(found: Ladder) -> list[Series]:
    """One line per arm; without an interval, low and high are the gap itself."""
    lines = []
    for climb in found.climbs[:MOST_ARMS]:
        gaps = [gap.difference or 0.0 for gap in climb.gaps]
        low, high = (
            tuple(own if bound is None else bound for own, bound in zip(gaps, bounds, strict=True))
            for bounds in ([gap.low for gap in climb.gaps], [gap.high for gap in climb.gaps])
        )
        key = key_of(climb.rows[-1].group)
        lines.append(Series(key, climb.name, len(climb.seeds), xs_of(found), tuple(gaps), low, high))
    return lines


def draw(found: Ladder, looks: Looks, margin: float | None) -> Figure:
    """The picture of one ladder that has arms. margin: the smallest difference that matters, in bpb."""
    arms = series_of(found)
    short = shorten([line.label for line in arms])
    looks = {line.key: replace(looks[line.key], name=name) for line, name in zip(arms, short, strict=True)}
    names = end_names(arms, looks)
    right = LEADER + 6 + max(width_of(name) for name in names)
    figure = blank(max(SHORTEST, TOP + BOTTOM + LINE * (len(names) + 1)))
    ax = axes(figure, left=LEFT, right=right, top=TOP, bottom=BOTTOM)
    ax.grid(axis="y", color=RULE, linewidth=0.8)
    ax.set_xscale("log", base=2)
    if margin is not None:
        ax.axhspan(-margin, margin, color=SHADE, zorder=0)
    ax.axhline(0, color=INK, linewidth=1.4)
    for number, line in enumerate(arms):
        look = looks[line.key]
        shift = 2 ** (SHIFT * (number - (len(arms) - 1) / 2))
        xs = [x * shift for x in line.tokens]
        ax.vlines(xs, line.low, line.high, color=look.colour, linewidth=1.4)
        ax.plot(xs, line.mean, look.marker, color=look.colour, linestyle=look.dash, linewidth=look.line, markersize=5)
    limit = off_scale([line.mean[-1] for line in arms])
    near = [line for line in arms if limit is None or line.mean[-1] < limit]
    low, high = min(min(line.low) for line in near), max(max(line.high) for line in near)
    low, high = min(low, -(margin or 0.0)), max(high, margin or 0.0)
    room = 0.06 * (high - low) or 0.01
    ax.set_ylim(low - room, high + room)
    xs = list(xs_of(found))
    room = 2 ** (0.08 * math.log2(xs[-1] / xs[0]))
    ax.set_xlim(xs[0] / room, xs[-1] * room)
    ax.yaxis.set_major_locator(MaxNLocator(6))
    ax.xaxis.set_major_locator(FixedLocator(xs))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(quantity))
    ends = [(line.tokens[-1], line.mean[-1], looks[line.key].colour, looks[line.key].dash) for line in arms]
    name_ends(figure, ax, names, ends)
    y_title(figure, "difference, bpb")
    x_title(figure, (LEFT + WIDTH - right) / 2, f"{found.over} of the baseline")
    return figure
