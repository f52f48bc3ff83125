"""Scores and packed bytes: one marker per arm, with a bar from its lowest to its highest seed."""

from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from matplotlib.transforms import Bbox

from pgolf.pages.figures.labels import legend, legend_height
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

LEFT, RIGHT, TOP, BOTTOM, HEIGHT = 50.0, 26.0, 28.0, 40.0, 300.0
TALL = 12.5  # height of a label
# Positions of a label relative to its point, nearest first: (dx, dy, side of the label that faces the point)
AROUND = ((1, 0, "left"), (-1, 0, "right"), (0, 1.1, "center"), (0, -1.1, "center"))
CORNERS = ((0.8, 0.8, "left"), (-0.8, 0.8, "right"), (0.8, -0.8, "left"), (-0.8, -0.8, "right"))
PLACES = [(r * dx, r * dy, side) for r in (9, 18, 30, 44) for dx, dy, side in (*AROUND, *CORNERS)]


def x_limits(sizes: Sequence[Sized], cap: float | None) -> tuple[float, float]:
    """The limits of the axis: the arms' bytes with a margin, and the cap if that at most doubles the span."""
    low, high = min(p.total_bytes for p in sizes), max(p.total_bytes for p in sizes)
    span = (high - low) or 0.1 * high or 1.0
    if cap is not None and low - span <= cap <= high + span:
        low, high = min(low, cap), max(high, cap)
    return low - 0.12 * span, high + 0.12 * span


def shows_cap(sizes: Sequence[Sized], cap: float | None) -> bool:
    low, high = x_limits(sizes, cap)
    return cap is not None and low <= cap <= high


def draw(sizes: Sequence[Sized], looks: Looks, cap: float | None, line: Sequence[Sized] = ()) -> Figure:
    """The picture of one panel. sizes: not empty. line: the points of the family's line, joined in their order.

    Names stand beside their points, or in a legend below if they do not fit.
    """
    limit = off_scale([point.bpb for point in sizes])
    names = [
        f"{name} ↑ {point.bpb:.3f}" if limit is not None and point.bpb >= limit else name
        for point, name in ((point, looks[point.key].name) for point in sizes)
    ]
    figure = panel(sizes, looks, cap, line, 0.0)
    boxes = name_places(figure, figure.axes[0], sizes, names)
    if boxes is not None:
        for point, (x, y, side, anchor), name in zip(sizes, boxes, names, strict=True):
            if (
                max(abs(x - anchor[0]), abs(y - anchor[1])) > 12
            ):  # in the marker's colour, as it may pass another marker
                stroke(figure, (anchor[0], x), (anchor[1], y), color=looks[point.key].colour, linewidth=1.0)
            write(figure, x, y, name, ha=side, va="center_baseline")
        return figure
    figure = panel(sizes, looks, cap, line, legend_height(names))
    legend(figure, names, [looks[point.key] for point in sizes])
    return figure


def panel(sizes: Sequence[Sized], looks: Looks, cap: float | None, line: Sequence[Sized], below: float) -> Figure:
    """Axes and points. below: the height of a legend."""
    figure = blank(HEIGHT + below)
    ax = axes(figure, left=LEFT, right=RIGHT, top=TOP, bottom=BOTTOM + below)
    ax.grid(color=RULE, linewidth=0.8)
    ax.set_xlim(*x_limits(sizes, cap))
    limit = off_scale([point.bpb for point in sizes])
    near = [p for p in sizes if limit is None or p.bpb < limit]
    low, high = min(p.low for p in near), max(p.high for p in near)
    room = 0.1 * (high - low) or 0.01
    top = high + room
    ax.set_ylim(low - room, top)
    if cap is not None and shows_cap(sizes, cap):
        ax.axvline(cap, color=INK, linewidth=1.0, linestyle=(0, (4, 3)))
        beyond = cap > sum(ax.get_xlim()) / 2
        ax.annotate(
            "cap", (cap, 1), (-4 if beyond else 4, -2), xycoords=("data", "axes fraction"), textcoords="offset points",
            ha="right" if beyond else "left", va="top", fontsize=FONT, color=MUTED,
        )  # fmt: skip
    if line:
        ax.plot(
            [p.total_bytes for p in line],
            [p.bpb for p in line],
            color=MUTED,
            linewidth=1.0,
            linestyle=(0, (1, 2)),
            zorder=1,
        )
    for point in sizes:
        look = looks[point.key]
        ax.plot([point.total_bytes] * 2, [point.low, point.high], color=look.colour, linewidth=1.4)
        ax.plot(
            [point.total_bytes], [min(point.bpb, top)], look.marker, color=look.colour, markersize=6.5, clip_on=False
        )
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.yaxis.set_major_locator(MaxNLocator(6))
    ax.xaxis.set_major_formatter(FuncFormatter(quantity if are_distinct(ax.get_xticks()) else "{:,.0f}".format))
    y_title(figure, "bits per byte")
    write(figure, (LEFT + WIDTH - RIGHT) / 2, below + 5, "bytes of model and code", colour=MUTED, ha="center")
    return figure


def are_distinct(ticks: Iterable[float]) -> bool:
    """Whether these numbers differ in their short form."""
    short = [quantity(tick) for tick in ticks]
    return len(set(short)) == len(short)


Place = tuple[float, float, str, tuple[float, float]]


def name_places(figure: Figure, ax: Axes, sizes: Sequence[Sized], names: Sequence[str]) -> list[Place] | None:
    """A free place for every name as (x, y, alignment, its point), in points. None if a name has none."""
    to_points = ax.transData + points(figure).inverted()
    inside = ax.get_window_extent().transformed(points(figure).inverted())

    def place(x: float, y: float) -> tuple[float, float]:
        across, up = to_points.transform((x, y))
        return float(across), min(float(up), inside.y1)

    places = [place(p.total_bytes, p.bpb) for p in sizes]
    bars = [(place(p.total_bytes, p.low)[1], place(p.total_bytes, p.high)[1]) for p in sizes]
    occupied = [
        Bbox([[x - 4, min(low, y - 4)], [x + 4, max(high, y + 4)]])
        for (x, y), (low, high) in zip(places, bars, strict=True)
    ]
    free: list[Place] = []
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
                and not box.count_overlaps(occupied)
            ):
                occupied.append(box)
                free.append((x + dx, y + dy, side, (x, y)))
                break
        else:
            return None
    return free
