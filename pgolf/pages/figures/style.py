"""The style of the pictures: colours of both themes, a look for each arm, and labels without overlap. Lengths are in
points.
"""

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.textpath import TextToPath
from matplotlib.transforms import Affine2D, Transform

from pgolf.machine.clean_text import clean
from pgolf.pages.figures.numbers import Key

WIDTH = 420.0  # of every picture: one column on a desktop, the whole width of a phone
FONT = 11.5  # of all text: 10 pixels on a phone, 13 on a desktop
INK, MUTED, RULE, SHADE = "#1c2024", "#59616a", "#dfe3e6", "#edf0f2"  # text; ticks and notes; grid; the smallest effect
# Six hues that can be distinguished from one another and from the ink under simulated protanopia, deuteranopia and
# tritanopia (CIELAB distance 10 or more), with a contrast of at least 3:1 on the page. More arms repeat them with
# another dash and marker. Colour is never the only difference between arms.
HUES = ("#0b62b8", "#d67200", "#00967b", "#b0257c", "#299ec9", "#5d5200")
DARK_HUES = ("#4f8ff0", "#f79a1e", "#12c79c", "#d94f9f", "#9bd4f2", "#c9b850")
MARKERS = ("s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*")
DASHES: tuple[Any, ...] = ("solid", (0, (5, 2)), (0, (1.2, 1.6)), (0, (6, 2, 1.2, 2)))
LONGEST = 26  # characters of a label
VARIABLES = {INK: "ink", MUTED: "muted", RULE: "rule", SHADE: "shade"} | {
    hue: f"hue-{number}" for number, hue in enumerate(HUES, 1)
}


@dataclass(frozen=True)
class Look:
    """The look of one arm in all pictures. name: short enough for a label. The baseline has the colour of ink and a
    thicker line.
    """

    name: str = ""
    colour: str = INK
    marker: str = "o"
    dash: Any = "solid"
    line: float = 2.0


def look_of(number: int | None, name: str = "") -> Look:
    """The look of an arm. number: from `numbered`; None for a baseline."""
    if number is None:
        return Look(name)
    return Look(
        name, HUES[number % len(HUES)], MARKERS[number % len(MARKERS)], DASHES[number // len(HUES) % len(DASHES)], 1.5
    )


Looks = Mapping[Key, Look]


@contextmanager
def quiet() -> Iterator[None]:
    """Settings for drawing and saving. Warnings about letters that matplotlib's font does not have are silenced, since
    readers see the text in their own font.
    """
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()  # not the settings of a user's matplotlibrc
        matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "pgolf", "text.parse_math": False})
        warnings.filterwarnings("ignore", message=r".*(Glyph|glyph|font)")
        yield


@lru_cache(maxsize=4096)
def width_of(text: str) -> float:
    """The width of a text in DejaVu Sans, which is wider than the fonts of browsers."""
    return float(
        TextToPath().get_text_width_height_descent(text, FontProperties(family="DejaVu Sans", size=FONT), ismath=False)[
            0
        ]
    )


def shorten(labels: Sequence[str], longest: int = LONGEST) -> list[str]:
    """Names short enough for a picture. Different labels stay different.

    The first of these that is short enough: the whole label; without the sections of its keys (`lr=0.1` for
    `optim.roles.head.lr=0.1`); also without the words that all labels begin with; cut in the middle, and numbered if
    two would become equal.
    """
    clean_labels = [clean(label) for label in labels]
    bare = [re.sub(r"(?<![^,])[\w.]*\.(?=\w+=)", "", text) for text in clean_labels]
    for short in (clean_labels, bare, without_beginning(bare)):
        if max(map(len, short), default=0) <= longest and len(set(short)) == len(set(labels)):
            return short
    tail = longest // 3
    short = [text if len(text) <= longest else f"{text[: longest - tail - 1]}…{text[-tail:]}" for text in bare]
    if len(set(short)) == len(set(labels)):
        return short
    return [f"{number} {text}" for number, text in enumerate(short, 1)]


def without_beginning(labels: Sequence[str]) -> list[str]:
    """Labels without the words that all of them begin with."""
    words = [re.findall(r"[^_,/ =]*[_,/ =]?", label)[:-1] for label in labels]
    shared = 0
    while len(labels) > 1 and all(len(parts) > shared + 1 and parts[shared] == words[0][shared] for parts in words):
        shared += 1
    return ["…" + "".join(parts[shared:]) if shared else "".join(parts) for parts in words]


def apart(targets: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions in the order of the targets and as near to them as the gap between neighbours and the bounds allow."""
    order = sorted(range(len(targets)), key=lambda i: targets[i])
    gap = min(gap, (high - low) / max(1, len(order) - 1))
    blocks: list[tuple[float, list[int]]] = []  # the sum of its members' targets for the first member, its members
    for i in order:
        block = (targets[i], [i])
        while blocks and start_of(blocks[-1], gap, low, high) + gap * len(blocks[-1][1]) > start_of(
            block, gap, low, high
        ):
            total, members = blocks.pop()
            block = (total + block[0] - gap * len(members) * len(block[1]), members + block[1])
        blocks.append(block)
    positions = [0.0] * len(order)
    for block in blocks:
        first = start_of(block, gap, low, high)
        for place, i in enumerate(block[1]):
            positions[i] = first + gap * place
    return positions


def start_of(block: tuple[float, list[int]], gap: float, low: float, high: float) -> float:
    """The position of a block's first label."""
    total, members = block
    return max(low, min(high - gap * (len(members) - 1), total / len(members)))


def blank(height: float) -> Figure:
    return Figure(figsize=(WIDTH / 72, height / 72), dpi=72)


def points(figure: Figure) -> Transform:
    """The transform of lengths in points from the lower left corner, for any resolution."""
    return Affine2D().scale(1 / 72) + figure.dpi_scale_trans


def axes(figure: Figure, *, left: float, right: float, top: float, bottom: float) -> Axes:
    """Axes with margins in points: two thin spines, no frame."""
    width, height = (72 * float(x) for x in figure.get_size_inches())
    ax = figure.add_axes(
        (left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height)
    )
    ax.patch.set_visible(False)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(MUTED)
        ax.spines[side].set_linewidth(0.8)
    ax.tick_params(colors=MUTED, labelsize=FONT, length=3, width=0.8)
    ax.set_axisbelow(True)
    return ax


def write(figure: Figure, x: float, y: float, text: str, *, colour: str = INK, **more: Any) -> Text:
    """Text at a position in points, without control characters and never as a formula."""
    return figure.text(
        x, y, clean(text), transform=points(figure), fontsize=FONT, color=colour, parse_math=False, **more
    )


def stroke(figure: Figure, xs: Sequence[float], ys: Sequence[float], **more: Any) -> None:
    """A line through positions in points."""
    figure.add_artist(Line2D(list(xs), list(ys), transform=points(figure), **more))


def y_title(figure: Figure, text: str) -> None:
    """The title of the y axis, written horizontally above it."""
    write(figure, 4, 72 * float(figure.get_size_inches()[1]) - 14, text, colour=MUTED)


def x_title(figure: Figure, x: float, text: str) -> None:
    """The title of the x axis, below its middle or as near as it fits."""
    write(figure, min(x, WIDTH - 4 - width_of(text) / 2), 5, text, colour=MUTED, ha="center")


def quantity(value: float, _: object = None) -> str:
    """1,200,000 as 1.2M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"
