"""Scores against packed bytes: a marker an arm, a bar from its lowest to its highest seed."""

from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from matplotlib.transforms import Bbox

from pgolf.pages.figures.numbers import Sized, off_scale
from pgolf.pages.figures.style import (
    FONT,
    INK,
    MUTED,
    RULE,
    WIDTH,
    Looks,
    axes,
    blank,
    points,
    quantity,
    stroke,
    width_of,
    write,
    y_title,
)

LEFT, RIGHT, TOP, BOTTOM, HEIGHT = 50.0, 14.0, 28.0, 40.0, 300.0
LINE = 17.0  # of the legend
TALL = 12.5  # a label
# Where a label may stand beside its point, the nearest first: (dx, dy, side of the label that is turned to the point)
AROUND = ((1, 0, "left"), (-1, 0, "right"), (0, 1.1, "center"), (0, -1.1, "center"))
CORNERS = ((0.8, 0.8, "left"), (-0.8, 0.8, "right"), (0.8, -0.8, "left"), (-0.8, -0.8, "right"))
PLACES = [(r * dx, r * dy, side) for r in (9, 18, 30, 44) for dx, dy, side in (*AROUND, *CORNERS)]


def x_limits(found: Sequence[Sized], cap: float | None) -> tuple[float, float]:
    """The arms' bytes with some room; the cap too where that at most doubles the span."""
    low, high = min(p.total_bytes for p in found), max(p.total_bytes for p in found)
    span = (high - low) or 0.1 * high or 1.0
    if cap is not None and low - span <= cap <= high + span:
        low, high = min(low, cap), max(high, cap)
    return low - 0.12 * span, high + 0.12 * span


def shows_cap(found: Sequence[Sized], cap: float | None) -> bool:
    low, high = x_limits(found, cap)
    return cap is not None and low <= cap <= high


def draw(found: Sequence[Sized], looks: Looks, cap: float | None, line: Sequence[Sized] = ()) -> Figure:
    """The picture of one panel; found must not be empty. line: those that tell what a score costs, joined in their
    order.

    Names stand at their points; where they have no room, in a legend below.
    """
    far = off_scale([point.bpb for point in found])
    names = [
        f"{name} ↑ {point.bpb:.3f}" if far is not None and point.bpb >= far else name
        for point, name in ((point, looks[point.key].name) for point in found)
    ]
    figure = panel(found, looks, cap, line, 0.0)
    boxes = name_places(figure, figure.axes[0], found, names)
    if boxes is not None:
        for point, (x, y, side, anchor), name in zip(found, boxes, names, strict=True):
            if max(abs(x - anchor[0]), abs(y - anchor[1])) > 12:  # in the mark's colour: the line may pass another mark
                stroke(figure, (anchor[0], x), (anchor[1], y), color=looks[point.key].colour, linewidth=1.0)
            write(figure, x, y, name, ha=side, va="center_baseline")
        return figure
    columns = max(1, int((WIDTH - 8) // (24 + max(width_of(name) for name in names))))
    rows = -(-len(names) // columns)
    figure = panel(found, looks, cap, line, LINE * rows + 6)
    for at, (point, name) in enumerate(zip(found, names, strict=True)):
        x, y = 10 + (at // rows) * (WIDTH - 8) / columns, LINE * (rows - at % rows) - 6
        look = looks[point.key]
        stroke(figure, (x,), (y,), color=look.colour, marker=look.marker, markersize=6.5)
        write(figure, x + 9, y, name, va="center_baseline")
    return figure


def panel(found: Sequence[Sized], looks: Looks, cap: float | None, line: Sequence[Sized], below: float) -> Figure:
    """Axes and points, with room for a legend below."""
    figure = blank(HEIGHT + below)
    made = axes(figure, left=LEFT, right=RIGHT, top=TOP, bottom=BOTTOM + below)
    made.grid(color=RULE, linewidth=0.8)
    made.set_xlim(*x_limits(found, cap))
    far = off_scale([point.bpb for point in found])
    near = [p for p in found if far is None or p.bpb < far]
    low, high = min(p.low for p in near), max(p.high for p in near)
    room = 0.1 * (high - low) or 0.01
    top = high + room
    made.set_ylim(low - room, top)
    if cap is not None and shows_cap(found, cap):
        made.axvline(cap, color=INK, linewidth=1.0, linestyle=(0, (4, 3)))
        beyond = cap > sum(made.get_xlim()) / 2
        made.annotate(
            "cap", (cap, 1), (-4 if beyond else 4, -2), xycoords=("data", "axes fraction"), textcoords="offset points",
            ha="right" if beyond else "left", va="top", fontsize=FONT, color=MUTED,
        )  # fmt: skip
    if line:
        made.plot(
            [p.total_bytes for p in line],
            [p.bpb for p in line],
            color=MUTED,
            linewidth=1.0,
            linestyle=(0, (1, 2)),
            zorder=1,
        )
    for point in found:
        look = looks[point.key]
        made.plot([point.total_bytes] * 2, [point.low, point.high], color=look.colour, linewidth=1.4)
        made.plot(
            [point.total_bytes], [min(point.bpb, top)], look.marker, color=look.colour, markersize=6.5, clip_on=False
        )
    made.xaxis.set_major_locator(MaxNLocator(4))
    made.yaxis.set_major_locator(MaxNLocator(6))
    made.xaxis.set_major_formatter(FuncFormatter(quantity if are_told_apart(made.get_xticks()) else "{:,.0f}".format))
    y_title(figure, "bits per byte")
    write(figure, (LEFT + WIDTH - RIGHT) / 2, below + 5, "bytes of model and code", colour=MUTED, ha="center")
    return figure


def are_told_apart(ticks: Iterable[float]) -> bool:
    """Whether the short form of these numbers tells them apart."""
    short = [quantity(tick) for tick in ticks]
    return len(set(short)) == len(short)


Place = tuple[float, float, str, tuple[float, float]]


def name_places(figure: Figure, made: Axes, found: Sequence[Sized], names: Sequence[str]) -> list[Place] | None:
    """A free place for every name: (x, y, alignment, its point), in points. None where one has none."""
    to_points = made.transData + points(figure).inverted()
    inside = made.get_window_extent().transformed(points(figure).inverted())

    def place(x: float, y: float) -> tuple[float, float]:
        across, up = to_points.transform((x, y))
        return float(across), min(float(up), inside.y1)

    places = [place(p.total_bytes, p.bpb) for p in found]
    bars = [(place(p.total_bytes, p.low)[1], place(p.total_bytes, p.high)[1]) for p in found]
    taken = [
        Bbox([[x - 4, min(low, y - 4)], [x + 4, max(high, y + 4)]])
        for (x, y), (low, high) in zip(places, bars, strict=True)
    ]
    chosen: list[Place] = []
    for (x, y), name in zip(places, names, strict=True):
        wide = width_of(name)
        for dx, dy, side in PLACES:
            start = x + dx - {"left": 0.0, "right": wide, "center": wide / 2}[side]
            box = Bbox([[start, y + dy - TALL / 2], [start + wide, y + dy + TALL / 2]])
            if (
                inside.x0 <= box.x0
                and box.x1 <= WIDTH
                and inside.y0 <= box.y0
                and box.y1 <= inside.y1
                and not box.count_overlaps(taken)
            ):
                taken.append(box)
                chosen.append((x + dx, y + dy, side, (x, y)))
                break
        else:
            return None
    return chosen
