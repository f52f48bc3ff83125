"""Differences to the baseline with their intervals, the smallest effect that matters shaded."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pgolf.pages.figures.numbers import Effect, off_scale
from pgolf.pages.figures.style import FONT, INK, MUTED, RULE, SHADE, WIDTH, Looks, axes, blank, width_of, write, x_title
from pgolf.pages.formats import clean

ROW, TOP, BOTTOM, RIGHT = 23.0, 24.0, 40.0, 14.0
BEYOND = 1.0  # an interval may reach this many times the estimates' span beyond them; what is wider ends in an arrow
LONGEST_REASON = 34


def limits(effects: Sequence[Effect], smallest: float | None) -> tuple[float, float]:
    """Zero, every estimate and the smallest effect; of wide intervals only as much as leaves the estimates apart."""
    away = far_ones(effects)
    near = [e for e, gone in zip(effects, away, strict=True) if not gone]
    fixed = [
        0.0,
        *(e.difference for e in near if e.difference is not None),
        *((-smallest, smallest) if smallest else ()),
    ]
    low, high = min(fixed), max(fixed)
    reach = BEYOND * (high - low) or 1e-3
    low = max(low - reach, min([low, *(e.low for e in near if e.low is not None)]))
    high = min(high + reach, max([high, *(e.high for e in near if e.high is not None)]))
    room = 0.04 * (high - low) or 1e-3
    return low - room, high + room


def far_ones(effects: Sequence[Effect]) -> list[bool]:
    """Of each arm, whether it is so much worse that it is named at the edge."""
    far = off_scale([0.0, *(e.difference for e in effects if e.difference is not None)])
    return [far is not None and e.difference is not None and e.difference >= far for e in effects]


def draw(effects: Sequence[Effect], looks: Looks, baseline: str, smallest: float | None) -> Figure:
    """The picture of one family, arms from top to bottom as its table has them, baseline by its name; effects must not
    be empty.
    """
    names = [looks[effect.key].name for effect in effects]
    left = 22 + max(width_of(name) for name in names)
    figure = blank(TOP + BOTTOM + ROW * len(effects))
    made = axes(figure, left=left, right=RIGHT, top=TOP, bottom=BOTTOM)
    low, high = limits(effects, smallest)
    made.set_xlim(low, high)
    made.set_ylim(len(effects) - 0.5, -0.5)
    if smallest is not None:
        made.axvspan(-smallest, smallest, color=SHADE, linewidth=0)
    made.grid(axis="x", color=RULE, linewidth=0.8)
    made.axvline(0, color=INK, linewidth=1.0)
    made.spines["left"].set_visible(False)
    made.set_yticks([])
    made.xaxis.set_major_locator(MaxNLocator(4, min_n_ticks=3))
    height = 72 * float(figure.get_size_inches()[1])
    for at, (effect, name, is_far) in enumerate(zip(effects, names, far_ones(effects), strict=True)):
        look = looks[effect.key]
        write(figure, left - 8, height - TOP - ROW * (at + 0.5), name, ha="right", va="center_baseline")
        if effect.difference is None:
            told = clean(effect.reason)
            reason = told if len(told) <= LONGEST_REASON else told[: LONGEST_REASON - 1] + "…"
            made.text(low, at, f" {reason}", fontsize=FONT, color=MUTED, va="center", parse_math=False)
            continue
        if is_far:
            text = f"{effect.difference:+.3f} →"
            made.text(high, at, text, fontsize=FONT, color=look.colour, ha="right", va="center", parse_math=False)
            continue
        whole = effect.low is not None and effect.high is not None
        if effect.low is not None and effect.high is not None:
            made.plot(
                [max(low, effect.low), min(high, effect.high)],
                [at, at],
                color=look.colour,
                linewidth=2.0,
                solid_capstyle="butt",
            )
            for beyond, edge, arrow in ((effect.low < low, low, "<"), (effect.high > high, high, ">")):
                if beyond:
                    made.plot([edge], [at], arrow, color=look.colour, markersize=6, clip_on=False)
        fill = look.colour if whole else "none"
        made.plot(
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
