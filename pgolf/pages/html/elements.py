"""Pieces of HTML from sections, grids and plain text; everything that is not a tag is escaped."""

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from pgolf.pages.formats import clean
from pgolf.tables.text import Grid

NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")
BREAKS = re.compile(r"[_,=/]")  # after which a long name may be broken
MOST_ROWS = 1000  # of a table on one page
LONG = 28  # characters of a cell from which it is prose and may be broken


def text(value: object) -> str:
    """Any text as text: escaped, one line, without control characters."""
    return escape(clean(str(value)))


def tag(name: str, inside: str, **attributes: str | None) -> str:
    """inside: HTML. Attributes are escaped; `class_` is class, None leaves one out, underscores are hyphens."""
    told = "".join(
        f' {key.strip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{told}>{inside}</{name}>"


def slug(words: str) -> str:
    """An id from a heading."""
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-") or "part"


def paragraphs(lines: Iterable[str], class_: str | None = None) -> str:
    return "".join(tag("p", text(line), class_=class_) for line in lines)


def bullets(lines: Iterable[str], class_: str | None = None) -> str:
    return tag("ul", "".join(tag("li", text(line)) for line in lines), class_=class_)


def terms(pairs: Mapping[str, str]) -> str:
    """A list of names and values, text both."""
    return tag("dl", "".join(tag("dt", text(name)) + tag("dd", text(value)) for name, value in pairs.items()))


def fold(summary: str, inside: str, **attributes: str | None) -> str:
    """inside: HTML that opens on demand; summary: HTML."""
    return tag("details", tag("summary", summary) + inside, **attributes)


def table(grid: Grid, caption: str, *, sortable: bool = False, name: str = "") -> str:
    """A table in a frame of its own that scrolls sideways, by keyboard too. The first column heads its rows."""
    head = "".join(
        tag("th", text(title), scope="col", class_="number" if numeric else None)
        for title, numeric in zip(grid.columns, grid.numeric, strict=True)
    )
    rows = "".join(tag("tr", "".join(cells(row, grid.numeric))) for row in grid.rows[:MOST_ROWS])
    made = tag(
        "table",
        tag("caption", text(caption), class_="unseen") + tag("thead", tag("tr", head)) + tag("tbody", rows),
        class_="sortable" if sortable else None,
    )
    left = (
        f"The first {MOST_ROWS:,} of {len(grid.rows):,} rows are shown. pgolf.aggregate writes all of them into "
        "table.md and table.csv."
    )
    note = tag("p", left, class_="quiet") if len(grid.rows) > MOST_ROWS else ""
    return (
        tag("div", made, class_="scroll", tabindex="0", role="region", aria_label=clean(caption), id=name or None)
        + note
    )


def cells(row: Sequence[str], numeric: Sequence[bool]) -> Iterable[str]:
    for at, (cell, is_number) in enumerate(zip(row, numeric, strict=True)):
        if at == 0:
            yield tag("th", BREAKS.sub(r"\g<0><wbr>", text(cell)), scope="row")
            continue
        class_ = "number" if is_number else "prose" if len(cell) > LONG else None
        yield tag("td", text(cell), class_=class_, data_value=sort_value(cell) if is_number else None)


def sort_value(cell: str) -> str | None:
    """The number that a cell begins with, for sorting; None where it begins with none. `<0.0001` sorts below 0.0001."""
    if cell.startswith("<"):
        return "0"
    found = NUMBER.match(cell)
    return found[0].replace(",", "").lstrip("+") if found else None
