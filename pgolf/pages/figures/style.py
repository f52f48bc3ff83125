"""How the pictures look: colours of both themes, a look for each arm, labels that keep out of each other's way. Lengths
are points.
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

from pgolf.pages.figures.numbers import Key
from pgolf.pages.formats import clean

WIDTH = 420.0  # of every picture: one column on a desk, the whole width of a phone
FONT = 11.5  # of all text: 10 pixels on a phone, 13 on a desk
INK, MUTED, RULE, SHADE = "#1c2024", "#59616a", "#dfe3e6", "#edf0f2"  # text; ticks and notes; grid; the smallest effect
# Six hues that stay apart from one another and from the ink under simulated protanopia, deuteranopia and tritanopia
# (CIELAB distance 10 or more), 3:1 or better on the page. More arms repeat them with another dash and marker; no arm is
# told by colour alone.
HUES = ("#0b62b8", "#d67200", "#00967b", "#b0257c", "#2ba0cc", "#5d5200")
DARK_HUES = ("#4f8ff0", "#f79a1e", "#12c79c", "#d94f9f", "#9bd4f2", "#c9b850")
MARKERS = ("s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*")
DASHES: tuple[Any, ...] = ("solid", (0, (5, 2)), (0, (1.2, 1.6)), (0, (6, 2, 1.2, 2)))
LONGEST = 26  # characters of a label
VARIABLES = {INK: "ink", MUTED: "muted", RULE: "rule", SHADE: "shade"} | {
    hue: f"hue-{number}" for number, hue in enumerate(HUES, 1)
}


@dataclass(frozen=True)
class Look:
    """One arm in every picture. name: short enough for its label. The baseline is ink, drawn heavier."""

    name: str = ""
    colour: str = INK
    marker: str = "o"
    dash: Any = "solid"
    line: float = 2.0


def look_of(number: int | None, name: str = "") -> Look:
    """By an arm's number, None for a baseline."""
    if number is None:
        return Look(name)
    return Look(
        name, HUES[number % len(HUES)], MARKERS[number % len(MARKERS)], DASHES[number // len(HUES) % len(DASHES)], 1.5
    )


Looks = Mapping[Key, Look]


@contextmanager
def quiet() -> Iterator[None]:
    """Settings for drawing and saving. A name may hold letters that matplotlib's font lacks; the reader's own font has
    them.
    """
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()  # whatever a user's matplotlibrc says
        matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "pgolf", "text.parse_math": False})
        warnings.filterwarnings("ignore", message=r".*(Glyph|glyph|font)")
        yield


@lru_cache(maxsize=4096)
def width_of(text: str) -> float:
    """Width in DejaVu Sans, which is wider than the fonts that browsers choose."""
    return float(
        TextToPath().get_text_width_height_descent(text, FontProperties(family="DejaVu Sans", size=FONT), ismath=False)[
            0
        ]
    )


def shorten(labels: Sequence[str], longest: int = LONGEST) -> list[str]:
    """Names short enough for a picture, still different where they were.

    Whole; else without the sections of their keys (`lr=0.1` for `optim.roles.head.lr=0.1`); else also without the words
    that all begin with; else cut in the middle, and numbered where that makes two alike.
    """
    told = [clean(label) for label in labels]
    bare = [re.sub(r"(?<![^,])[\w.]*\.(?=\w+=)", "", text) for text in told]
    for short in (told, bare, without_beginning(bare)):
        if max(map(len, short), default=0) <= longest and len(set(short)) == len(set(labels)):
            return short
    tail = longest // 3
    short = [text if len(text) <= longest else f"{text[: longest - tail - 1]}…{text[-tail:]}" for text in bare]
    if len(set(short)) == len(set(labels)):
        return short
    return [f"{number} {text}" for number, text in enumerate(short, 1)]


def without_beginning(labels: Sequence[str]) -> list[str]:
    """Labels without the words that they all begin with."""
    words = [re.findall(r"[^_,/ =]*[_,/ =]?", label)[:-1] for label in labels]
    shared = 0
    while len(labels) > 1 and all(len(told) > shared + 1 and told[shared] == words[0][shared] for told in words):
        shared += 1
    return ["…" + "".join(told[shared:]) if shared else "".join(told) for told in words]


def apart(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions as near to the wanted ones as a gap between neighbours and the bounds allow, in the same order."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    gap = min(gap, (high - low) / max(1, len(order) - 1))
    blocks: list[tuple[float, list[int]]] = []  # the sum of where its members want its first one to be, its members
    for i in order:
        block = (wanted[i], [i])
        while blocks and start_of(blocks[-1], gap, low, high) + gap * len(blocks[-1][1]) > start_of(
            block, gap, low, high
        ):
            total, members = blocks.pop()
            block = (total + block[0] - gap * len(members) * len(block[1]), members + block[1])
        blocks.append(block)
    found = [0.0] * len(order)
    for made in blocks:
        first = start_of(made, gap, low, high)
        for place, i in enumerate(made[1]):
            found[i] = first + gap * place
    return found


def start_of(block: tuple[float, list[int]], gap: float, low: float, high: float) -> float:
    """Where a block's first label goes."""
    total, members = block
    return max(low, min(high - gap * (len(members) - 1), total / len(members)))


def blank(height: float) -> Figure:
    return Figure(figsize=(WIDTH / 72, height / 72), dpi=72)


def points(figure: Figure) -> Transform:
    """Lengths in points from the lower left corner, whatever the resolution."""
    return Affine2D().scale(1 / 72) + figure.dpi_scale_trans


def axes(figure: Figure, *, left: float, right: float, top: float, bottom: float) -> Axes:
    """Axes with margins in points: two thin spines, no frame."""
    width, height = (72 * float(x) for x in figure.get_size_inches())
    made = figure.add_axes(
        (left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height)
    )
    made.patch.set_visible(False)
    for side in ("top", "right"):
        made.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        made.spines[side].set_color(MUTED)
        made.spines[side].set_linewidth(0.8)
    made.tick_params(colors=MUTED, labelsize=FONT, length=3, width=0.8)
    made.set_axisbelow(True)
    return made


def write(figure: Figure, x: float, y: float, text: str, *, colour: str = INK, **more: Any) -> Text:
    """Text at a place in points: as it is, without control characters and never as a formula."""
    return figure.text(
        x, y, clean(text), transform=points(figure), fontsize=FONT, color=colour, parse_math=False, **more
    )


def stroke(figure: Figure, xs: Sequence[float], ys: Sequence[float], **more: Any) -> None:
    """A line through places in points."""
    figure.add_artist(Line2D(list(xs), list(ys), transform=points(figure), **more))


def y_title(figure: Figure, text: str) -> None:
    """The y axis's title, level and above it, where it needs no turned head."""
    write(figure, 4, 72 * float(figure.get_size_inches()[1]) - 14, text, colour=MUTED)


def x_title(figure: Figure, x: float, text: str) -> None:
    """The x axis's title, below its middle as far as the picture has room."""
    write(figure, min(x, WIDTH - 4 - width_of(text) / 2), 5, text, colour=MUTED, ha="center")


def quantity(value: float, _: object = None) -> str:
    """1,200,000 as 1.2M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"
