"""The published order of arms beside the measured order."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from pgolf.pages.figures.numbers import Key, Pair
from pgolf.pages.figures.style import MUTED, WIDTH, Looks, apart, blank, stroke, width_of, write

LINE, TOP, BOTTOM = 17.0, 30.0, 10.0
ROW = 26.0  # height per arm
LEADER = 12.0  # from a marker to its label
SHORTEST = 200.0
NARROWEST = 90.0  # between the two sides if both have names


@dataclass(frozen=True)
class Side:
    """One column of markers, lengths in points. away: -1 if its labels stand on the left, 1 on the right."""

    x: float
    low: float
    high: float
    away: int
    has_names: bool


def heights(values: Sequence[float], low: float, high: float) -> list[float]:
    """The heights of the values of one side, with the best (lowest) at the top."""
    best, worst = min(values), max(values)
    return [high - (value - best) / ((worst - best) or 1.0) * (high - low) for value in values]


def draw(pairs: Sequence[Pair], looks: Looks) -> Figure:
    """The picture of one family. Each side has its own scale. Lines that cross show arms in another order."""
    measured = [p for p in pairs if p.measured is not None]
    tall = max(SHORTEST, TOP + BOTTOM + ROW * len(pairs))
    figure = blank(tall)
    low, high = BOTTOM + LINE / 2, tall - TOP - LINE / 2
    value = width_of("0.0000")
    left = 4 + max(width_of(looks[p.key].name) for p in pairs) + 16 + value + LEADER
    both_named = WIDTH - 2 * left >= NARROWEST
    right = WIDTH - left if both_named else WIDTH - 4 - value - LEADER
    at_left = draw_side(figure, pairs, [p.published for p in pairs], looks, Side(left, low, high, -1, True))
    write(figure, left, tall - 14, "published, bpb", colour=MUTED, ha="right")
    write(
        figure,
        right if both_named else WIDTH - 4,
        tall - 14,
        "measured, bpb",
        colour=MUTED,
        ha="left" if both_named else "right",
    )
    if not measured:
        write(figure, right + LEADER, (low + high) / 2, "no scores yet", colour=MUTED, va="center_baseline")
        return figure
    scores = [p.measured or 0.0 for p in measured]
    at_right = draw_side(figure, measured, scores, looks, Side(right, low, high, 1, both_named))
    for pair in measured:
        look = looks[pair.key]
        stroke(
            figure,
            (left, right),
            (at_left[pair.key], at_right[pair.key]),
            color=look.colour,
            linestyle=look.dash,
            linewidth=look.line,
        )
    return figure


def draw_side(
    figure: Figure, pairs: Sequence[Pair], values: Sequence[float], looks: Looks, side: Side
) -> dict[Key, float]:
    """Draw markers at the values and labels beside them, moved apart. Returns the height of each marker."""
    marks = heights(values, side.low, side.high)
    labels = apart(marks, LINE, side.low, side.high)
    x, away = side.x, side.away
    for pair, value, mark, label in zip(pairs, values, marks, labels, strict=True):
        look = looks[pair.key]
        stroke(figure, (x + 4 * away, x + (LEADER - 2) * away), (mark, label), color=MUTED, linewidth=0.5)
        stroke(figure, (x,), (mark,), color=look.colour, marker=look.marker, markersize=6)
        parts = [f"{value:.4f}", *([look.name] if side.has_names else [])]
        text = "  ".join(reversed(parts) if away < 0 else parts)
        write(figure, x + LEADER * away, label, text, ha="right" if away < 0 else "left", va="center_baseline")
    return {pair.key: mark for pair, mark in zip(pairs, marks, strict=True)}
