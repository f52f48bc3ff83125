"""A picture as SVG, with the colours of its page, and as PNG."""

import io
import re
from dataclasses import dataclass
from html import escape
from pathlib import Path

from matplotlib.figure import Figure

from pgolf.errors import PgolfError
from pgolf.machine.clean_text import clean
from pgolf.machine.files import unwritten, write_whole
from pgolf.pages.figures.style import INK, VARIABLES, quiet

STYLE = "width: 100%; max-width: 30rem; overflow: visible; stroke-linejoin: round; stroke-linecap: butt"
DPI = 160  # of a PNG: sharp on screens with two pixels per point


@dataclass(frozen=True)
class Picture:
    """A figure and its texts. name: for files and ids, unique in a gallery. description: the numbers as text, for
    screen readers.
    """

    name: str
    title: str
    description: str
    figure: Figure

    def _repr_html_(self) -> str:
        return svg(self)


def svg(picture: Picture) -> str:
    """An <svg> element as wide as its container. Text stays text. Colours are the variables --fig-*, each with the
    light theme's value as default.

    The same picture gives the same bytes. Ids begin with the picture's name, so that one page can have several.
    """
    out = io.StringIO()
    with quiet():
        picture.figure.savefig(
            out, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
    code = out.getvalue()
    code = re.sub(r"<!--.*?-->|<(metadata|title|style)\b.*?</\1>", "", code[code.index("<svg") :], flags=re.DOTALL)
    # Only tags are changed: text may contain anything.
    code = re.sub(r"<[^>]*>", lambda match: page_tag(match[0], picture.name), code)
    code = re.sub(r"\n\s*", "\n", code)
    box = re.search(r'viewBox="[^"]*"', code)
    assert box is not None, picture.name
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {box[0]} role="img"'
        f' aria-labelledby="{picture.name}-title" aria-describedby="{picture.name}-desc" style="{STYLE}">'
        f'\n<title id="{picture.name}-title">{escape(clean(picture.title))}</title>'
        f'\n<desc id="{picture.name}-desc">{escape(clean(picture.description))}</desc>'
    )
    return head + code[code.index(">") + 1 :].rstrip()


def page_tag(tag: str, name: str) -> str:
    """A tag with ids, colours and font for a page. name: of the picture."""
    tag = re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>{name}-", tag)
    tag = re.sub("|".join(VARIABLES), lambda colour: f"var(--fig-{VARIABLES[colour[0]]}, {default(colour[0])})", tag)
    return re.sub(
        r"font(?:-size)?: ([\d.]+px)(?:; font-family:)? [^;\"]*",
        r"font-size: \1; font-family: var(--fig-font, sans-serif)",
        tag,
    )


def default(colour: str) -> str:
    """The default of a colour's variable. Ink follows the text around, also in a dark notebook."""
    return "currentColor" if colour == INK else colour


def write_png(picture: Picture, folder: Path) -> Path:
    """Write NAME.png with a white background. Raises PgolfError."""
    path, content = folder / f"{picture.name}.png", io.BytesIO()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with quiet():
            picture.figure.savefig(content, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
        write_whole(path, content.getvalue())
    except OSError as error:
        raise PgolfError(f"{unwritten(error, path)}. Choose another folder with --png") from None
    return path
