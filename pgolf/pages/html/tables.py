"""Tables of the report that are not plain grids: claims, sensitivity with badges, and folded further tables."""

from collections.abc import Sequence

from pgolf.pages.html.elements import badge, bullets, fold, paragraphs, table, tag, text
from pgolf.pages.introduction import introduction
from pgolf.pages.sections import main_grid
from pgolf.study.verdicts import Verdict, rules_used
from pgolf.tables.family import FamilyTable
from pgolf.tables.text import Section


def claims(verdicts: Sequence[Verdict], correction: str, *, published: bool) -> str:
    """Each claim once, with one verdict per family that tests it. correction: as for `rules_used`. published: whether
    the claims are those of published material.
    """
    origin = "Shown by the published material" if published else "Note"
    articles = []
    for claim in dict.fromkeys(verdict.claim for verdict in verdicts):
        inside = tag("h3", text(claim.text))
        for verdict in (v for v in verdicts if v.claim == claim):
            inside += tag("p", f"{badge(verdict.label, verdict.verdict)} {tag('strong', text(verdict.test.family))}")
            inside += (bullets if len(verdict.numbers) > 1 else paragraphs)(verdict.numbers, "numbers")
        note = tag("p", text(f"{origin}: {claim.note}"), class_="quiet") if claim.note else ""
        articles.append(tag("article", inside + note))
    rules = fold("Rules of the verdicts", bullets(rules_used(verdicts, correction)))
    return "".join(articles) + rules


def family(t: FamilyTable, *, headed: bool, told: bool) -> str:
    """The sortable table of one family. headed: with the family's name above it. told: whether an earlier table has
    said what the columns are, so that this one says it behind a fold.
    """
    heading = tag("h3", text(t.family.name)) if headed else ""
    first, *more = introduction(t)
    words = paragraphs([first])
    grid = table(main_grid(t), f"Arms of {t.family.name}", sortable=True)
    return heading + (fold(text(reading(t)), words) if told else words) + grid + (bullets(more) if more else "")


def reading(t: FamilyTable) -> str:
    return f"Baseline: {t.family.baseline}. How to read the table" if t.family.baseline else "How to read the table"


def section(part: Section, *, badges: bool = False) -> str:
    """One section, under a heading of the third level. badges: see `table`."""
    grid = table(part.grid, part.heading, badges=badges) if part.grid is not None else ""
    lines = bullets(part.lines) if len(part.lines) > 1 else paragraphs(part.lines)
    return tag("h3", text(part.heading)) + lines + grid


def folded(parts: Sequence[Section]) -> str:
    """Sections behind their headings, one fold each."""
    return "".join(fold(tag("h3", text(part.heading)), without_heading(part), class_="table") for part in parts)


def without_heading(part: Section) -> str:
    return paragraphs(part.lines) + (table(part.grid, part.heading) if part.grid is not None else "")
