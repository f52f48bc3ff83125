"""Elements of HTML from grids and plain text. All text is escaped."""

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from pgolf.machine.clean_text import clean
from pgolf.tables.text import Grid

NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")
BREAKS = re.compile(r"[_,=/]")  # a long name may be broken after these
DECISION = re.compile(r"(better|worse|equal|undecided)\b")
MOST_ROWS = 1000  # of a table on one page
LONG = 28  # a longer cell is prose and may be broken


# The colour of a badge by the words that it begins with: first what readers look for, last the default.
TONES = {"holds": "good", "does not hold": "bad", "better": "good", "worse": "bad", "equal": "good"}
OPEN = "open"


def text(value: object) -> str:
    """A value as escaped text in one line, without control characters."""
    return escape(clean(str(value)))


def tag(name: str, inside: str, **attributes: str | None) -> str:
    """An element. inside: HTML. Attributes are escaped. `class_` means class, None omits one, _ becomes -."""
    written = "".join(
        f' {key.strip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{written}>{inside}</{name}>"


def slug(words: str) -> str:
    """An id made from a heading."""
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-") or "part"


def paragraphs(lines: Iterable[str], class_: str | None = None) -> str:
    return "".join(tag("p", text(line), class_=class_) for line in lines)


def bullets(lines: Iterable[str], class_: str | None = None) -> str:
    return tag("ul", "".join(tag("li", text(line)) for line in lines), class_=class_)


def terms(pairs: Mapping[str, str]) -> str:
    """A list of names and values."""
    return tag("dl", "".join(tag("dt", text(name)) + tag("dd", text(value)) for name, value in pairs.items()))


def tone(words: str) -> str:
    """The class of a verdict or decision."""
    return next((tone for start, tone in TONES.items() if words.startswith(start)), OPEN)


def badge(label: str, words: str | None = None) -> str:
    """A verdict or decision on a coloured ground. words: what decides the colour; default: the label."""
    return tag("span", text(label), class_=f"status {tone(label if words is None else words)}")


def fold(summary: str, inside: str, **attributes: str | None) -> str:
    """A collapsible section. summary, inside: HTML."""
    return tag("details", tag("summary", summary) + inside, **attributes)


def table(grid: Grid, caption: str, *, sortable: bool = False, badges: bool = False) -> str:
    """A table in a frame that scrolls sideways, also by keyboard. The first column has the row headings.

    badges: colour the decision in the second column, and the decisions that differ from it.
    """
    head = "".join(
        tag("th", text(title), scope="col", class_="number" if numeric else None)
        for title, numeric in zip(grid.columns, grid.numeric, strict=True)
    )
    rows = "".join(tag("tr", "".join(cells(row, grid.numeric, badges=badges))) for row in grid.rows[:MOST_ROWS])
    element = tag(
        "table",
        tag("caption", text(caption), class_="unseen") + tag("thead", tag("tr", head)) + tag("tbody", rows),
        class_="sortable" if sortable else None,
    )
    text_of_note = (
        f"The first {MOST_ROWS:,} of {len(grid.rows):,} rows are shown. pgolf.aggregate writes all of them into "
        "table.md and table.csv."
    )
    note = tag("p", text_of_note, class_="quiet") if len(grid.rows) > MOST_ROWS else ""
    return tag("div", element, class_="scroll", tabindex="0", role="region", aria_label=clean(caption)) + note


def cells(row: Sequence[str], numeric: Sequence[bool], *, badges: bool = False) -> Iterable[str]:
    for at, (cell, is_number) in enumerate(zip(row, numeric, strict=True)):
        if at == 0:
            yield tag("th", BREAKS.sub(r"\g<0><wbr>", text(cell)), scope="row")
            continue
        if badges and DECISION.match(cell) and (at == 1 or tone(cell) != tone(row[1])):
            yield tag("td", badge(cell))
            continue
        class_ = "number" if is_number else "prose" if len(cell) > LONG else None
        yield tag("td", text(cell), class_=class_, data_value=sort_value(cell) if is_number else None)


def sort_value(cell: str) -> str | None:
    """The number at the beginning of a cell, for sorting; None without one. `<0.0001` sorts before 0.0001."""
    if cell.startswith("<"):
        return "0"
    match = NUMBER.match(cell)
    return match[0].replace(",", "").lstrip("+") if match else None
