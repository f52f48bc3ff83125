"""A picture as SVG that takes its page's colours, and as PNG."""

import io
import re
from dataclasses import dataclass
from html import escape
from pathlib import Path

from matplotlib.figure import Figure

from pgolf.errors import PgolfError
from pgolf.machine.files import unwritten, write_whole
from pgolf.pages.figures.style import INK, VARIABLES, quiet
from pgolf.pages.formats import clean

STYLE = "width: 100%; max-width: 30rem; stroke-linejoin: round; stroke-linecap: butt"
DPI = 160  # of a PNG: sharp on screens with two pixels to a point


@dataclass(frozen=True)
class Picture:
    """A figure and its words. name: for files and ids, unique in a gallery; description: the numbers, for those who do
    not see it.
    """

    name: str
    title: str
    description: str
    figure: Figure

    def _repr_html_(self) -> str:
        return svg(self)


def svg(picture: Picture) -> str:
    """An <svg> element: text kept as text, as wide as its place, colours by the variables --fig-*, each with its light
    value as default.

    The same picture gives the same bytes; ids begin with the picture's name, so that several stand in one page.
    """
    out = io.StringIO()
    with quiet():
        picture.figure.savefig(
            out, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
    drawn = out.getvalue()
    drawn = re.sub(r"<!--.*?-->|<(metadata|title|style)\b.*?</\1>", "", drawn[drawn.index("<svg") :], flags=re.DOTALL)
    # Tags alone: text may hold anything.
    drawn = re.sub(r"<[^>]*>", lambda found: of_page(found[0], picture.name), drawn)
    drawn = re.sub(r"\n\s*", "\n", drawn)
    box = re.search(r'viewBox="[^"]*"', drawn)
    assert box is not None, picture.name
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {box[0]} role="img"'
        f' aria-labelledby="{picture.name}-title" aria-describedby="{picture.name}-desc" style="{STYLE}">'
        f'\n<title id="{picture.name}-title">{escape(clean(picture.title))}</title>'
        f'\n<desc id="{picture.name}-desc">{escape(clean(picture.description))}</desc>'
    )
    return head + drawn[drawn.index(">") + 1 :].rstrip()


def of_page(found: str, name: str) -> str:
    """A tag with its ids, colours and font as they should stand in a page."""
    found = re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>{name}-", found)
    found = re.sub(
        "|".join(VARIABLES), lambda colour: f"var(--fig-{VARIABLES[colour[0]]}, {default(colour[0])})", found
    )
    return re.sub(
        r"font(?:-size)?: ([\d.]+px)(?:; font-family:)? [^;\"]*",
        r"font-size: \1; font-family: var(--fig-font, sans-serif)",
        found,
    )


def default(colour: str) -> str:
    """Ink is the colour of the text around, also where a notebook is dark."""
    return "currentColor" if colour == INK else colour


def write_png(picture: Picture, folder: Path) -> Path:
    """Write NAME.png, on white. Raises PgolfError."""
    path, drawn = folder / f"{picture.name}.png", io.BytesIO()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with quiet():
            picture.figure.savefig(drawn, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
        write_whole(path, drawn.getvalue())
    except OSError as error:
        raise PgolfError(f"{unwritten(error, path)}. Choose another folder with --png") from None
    return path
