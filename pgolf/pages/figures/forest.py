"""Differences to the baseline with their intervals and single seeds. The smallest effect that matters is shaded."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pgolf.machine.clean_text import clean
from pgolf.pages.figures.numbers import Effect, off_scale
from pgolf.pages.figures.style import (
    FONT,
    INK,
    MUTED,
    RULE,
    SHADE,
    WIDTH,
    Looks,
    axes,
    blank,
    width_of,
    write,
    x_title,
)

ROW, TOP, BOTTOM, RIGHT = 25.0, 24.0, 40.0, 14.0
BELOW = 0.27  # of a row: from an interval down to the dots of its seeds
BEYOND = 1.0  # intervals reach at most this many spans of the estimates beyond them; wider ones end in an arrow
LONGEST_REASON = 34


def limits(effects: Sequence[Effect], smallest: float | None) -> tuple[float, float]:
    """The limits of the axis: zero, all estimates but outliers, the smallest effect, and intervals as far as BEYOND.

    The interval of a single arm hides no other arm, and is shown whole.
    """
    near = [e for e, is_outlier in zip(effects, outliers(effects), strict=True) if not is_outlier]
    fixed = [
        0.0,
        *(e.difference for e in near if e.difference is not None),
        *((-smallest, smallest) if smallest else ()),
    ]
    low, high = min(fixed), max(fixed)
    reach = math.inf if len(near) == 1 else BEYOND * (high - low) or 1e-3
    seeds = [seed for e in near for seed in e.seeds]
    low = max(low - reach, min([low, *seeds, *(e.low for e in near if e.low is not None)]))
    high = min(high + reach, max([high, *seeds, *(e.high for e in near if e.high is not None)]))
    room = 0.04 * (high - low) or 1e-3
    return low - room, high + room


def outliers(effects: Sequence[Effect]) -> list[bool]:
    """For each arm, whether it is an outlier, which is labelled at the edge."""
    limit = off_scale([0.0, *(e.difference for e in effects if e.difference is not None)])
    return [limit is not None and e.difference is not None and e.difference >= limit for e in effects]


def draw(
    effects: Sequence[Effect], looks: Looks, baseline: str, smallest: float | None, of_baseline: Sequence[float] = ()
) -> Figure:
    """The picture of one family, with arms in the order of its table. effects: not empty. baseline: its name.

    of_baseline: the baseline's seeds minus their mean, which get a row of their own at the top; none for no row.
    """
    names = [looks[effect.key].name for effect in effects]
    extra = 1 if of_baseline else 0
    left = 22 + max(width_of(name) for name in [*names, *([baseline] if extra else [])])
    figure = blank(TOP + BOTTOM + ROW * (len(effects) + extra))
    ax = axes(figure, left=left, right=RIGHT, top=TOP, bottom=BOTTOM)
    low, high = limits(effects, smallest)
    ax.set_xlim(low, high)
    ax.set_ylim(len(effects) - 0.5, -0.5 - extra)
    if smallest is not None:
        ax.axvspan(-smallest, smallest, color=SHADE, linewidth=0)
    ax.grid(axis="x", color=RULE, linewidth=0.8)
    ax.axvline(0, color=INK, linewidth=1.0)
    ax.spines["left"].set_visible(False)
    ax.set_yticks([])
    ax.xaxis.set_major_locator(MaxNLocator(4, min_n_ticks=3))
    height = 72 * float(figure.get_size_inches()[1])
    if of_baseline:
        write(figure, left - 8, height - TOP - ROW * 0.5, baseline, ha="right", va="center_baseline", colour=MUTED)
        dots(ax, of_baseline, -1, INK)
    for at, (effect, name, is_outlier) in enumerate(zip(effects, names, outliers(effects), strict=True)):
        look = looks[effect.key]
        write(figure, left - 8, height - TOP - ROW * (at + extra + 0.5), name, ha="right", va="center_baseline")
        if effect.difference is None:
            reason = clean(effect.reason)
            reason = reason if len(reason) <= LONGEST_REASON else reason[: LONGEST_REASON - 1] + "…"
            ax.text(low, at, f" {reason}", fontsize=FONT, color=MUTED, va="center", parse_math=False)
            continue
        if is_outlier:
            text = f"{effect.difference:+.3f} →"
            ax.text(high, at, text, fontsize=FONT, color=INK, ha="right", va="center", parse_math=False)
            continue
        dots(ax, effect.seeds, at + BELOW, look.colour)
        has_interval = effect.low is not None and effect.high is not None
        if effect.low is not None and effect.high is not None:
            ax.plot(
                [max(low, effect.low), min(high, effect.high)],
                [at, at],
                color=look.colour,
                linewidth=2.0,
                solid_capstyle="butt",
            )
            for beyond, edge, arrow in ((effect.low < low, low, "<"), (effect.high > high, high, ">")):
                if beyond:
                    ax.plot([edge], [at], arrow, color=look.colour, markersize=6, clip_on=False)
        fill = look.colour if has_interval else "none"
        ax.plot(
            [effect.difference],
            [at],
            look.marker,
            color=look.colour,
            markersize=6.5,
            clip_on=False,
            markerfacecolor=fill,
        )
    write(figure, left, height - 13, "← better", colour=MUTED)
    write(figure, WIDTH - RIGHT, height - 13, "worse →", colour=MUTED, ha="right")
    x_title(figure, (left + WIDTH - RIGHT) / 2, f"bpb, difference to {baseline}")
    return figure


def dots(ax: Axes, values: Sequence[float], height: float, colour: str) -> None:
    """One small dot per seed; dots outside the axis are left out."""
    ax.scatter(values, [height] * len(values), s=11, color=colour, linewidth=0)
