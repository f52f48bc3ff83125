"""The published order of arms beside the measured one."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from pgolf.pages.figures.numbers import Pair
from pgolf.pages.figures.style import MUTED, WIDTH, Looks, apart, blank, stroke, width_of, write

LINE, TOP, BOTTOM = 17.0, 30.0, 10.0
ROW = 26.0  # of the whole height, an arm
THREAD = 12.0  # from a mark to its label
SHORTEST = 200.0
NARROWEST = 90.0  # between the two sides, for names on both


def heights(values: Sequence[float], low: float, high: float) -> list[float]:
    """Values on the scale of their own side: the best (lowest) at the top."""
    best, worst = min(values), max(values)
    return [high - (value - best) / ((worst - best) or 1.0) * (high - low) for value in values]


def draw(pairs: Sequence[Pair], looks: Looks) -> Figure:
    """The picture of one family. Each side has its own scale; a line that crosses another has changed its place."""
    measured = [p for p in pairs if p.measured is not None]
    tall = max(SHORTEST, TOP + BOTTOM + ROW * len(pairs))
    figure = blank(tall)
    low, high = BOTTOM + LINE / 2, tall - TOP - LINE / 2
    value = width_of("0.0000")
    left = 4 + max(width_of(looks[p.key].name) for p in pairs) + 16 + value + THREAD
    told = WIDTH - 2 * left >= NARROWEST
    right = WIDTH - left if told else WIDTH - 4 - value - THREAD
    at_left = side(figure, pairs, [p.published for p in pairs], looks, (left, low, high), True, leftwards=True)
    write(figure, left, tall - 14, "published, bpb", colour=MUTED, ha="right")
    write(
        figure, right if told else WIDTH - 4, tall - 14, "measured, bpb", colour=MUTED, ha="left" if told else "right"
    )
    if not measured:
        write(figure, right + THREAD, (low + high) / 2, "nothing yet", colour=MUTED, va="center_baseline")
        return figure
    at_right = side(
        figure, measured, [p.measured or 0.0 for p in measured], looks, (right, low, high), told, leftwards=False
    )
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


def side(
    figure: Figure,
    pairs: Sequence[Pair],
    values: Sequence[float],
    looks: Looks,
    place: tuple[float, float, float],
    named: bool,
    *,
    leftwards: bool,
) -> dict[tuple[str, str, str], float]:
    """Marks at their values, labels moved apart beside them. Returns the height of each mark."""
    x, low, high = place
    marks = heights(values, low, high)
    labels = apart(marks, LINE, low, high)
    away = -1 if leftwards else 1
    for pair, value, mark, label in zip(pairs, values, marks, labels, strict=True):
        look = looks[pair.key]
        stroke(figure, (x + 4 * away, x + (THREAD - 2) * away), (mark, label), color=MUTED, linewidth=0.5)
        stroke(figure, (x,), (mark,), color=look.colour, marker=look.marker, markersize=6)
        parts = [f"{value:.4f}", *([look.name] if named else [])]
        text = "  ".join(reversed(parts) if leftwards else parts)
        write(figure, x + THREAD * away, label, text, ha="right" if leftwards else "left", va="center_baseline")
    return {pair.key: mark for pair, mark in zip(pairs, marks, strict=True)}
