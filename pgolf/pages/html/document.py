"""The whole page: warnings, question, verdicts, tables, pictures, details, runs."""

import base64
import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pgolf import __version__
from pgolf.pages.aggregation import StudyResults
from pgolf.pages.figures.export import svg
from pgolf.pages.figures.gallery import Exhibit
from pgolf.pages.figures.style import DARK_HUES, HUES
from pgolf.pages.html.elements import bullets, fold, paragraphs, slug, table, tag, text
from pgolf.pages.html.runs import runs
from pgolf.pages.sections import configuration, family_sections, introduction, main_grid, page
from pgolf.pages.study import study_sections
from pgolf.study.verdicts import FAILS, HOLDS, UNDECIDED, Verdict, rules_used
from pgolf.tables.table import FamilyTable
from pgolf.tables.text import Section

HERE = Path(__file__).parent
CLASSES = {HOLDS: "good", FAILS: "bad", UNDECIDED: "open"}
Part = tuple[str, str]  # a heading and its HTML


def document(made: StudyResults, exhibits: Sequence[Exhibit]) -> str:
    """The page as text. The same input gives the same bytes: it holds no time and no absolute path."""
    name = made.study.name if made.study is not None else Path(os.path.realpath(made.source)).stem
    parts = [part for part in (*summary(made), *tables(made), *map(pictures, exhibits), *details(made)) if part[1]]
    links = "".join(tag("li", tag("a", text(heading), href=f"#{slug(heading)}")) for heading, _ in parts)
    sections = "".join(
        tag("section", tag("h2", text(heading), id=slug(heading)) + inside, aria_labelledby=slug(heading))
        for heading, inside in parts
    )
    header = tag("header", tag("h1", text(name)) + tag("p", text(counts(made)), class_="quiet"))
    main = tag(
        "main", header + tag("nav", tag("ul", links), aria_label="Contents") + sections, id="main", tabindex="-1"
    )
    footer = tag(
        "footer",
        tag(
            "p", text(f"pgolf {__version__}, from {made.source.name}. Lower bits per byte are better."), class_="quiet"
        ),
    )
    return (
        "<!doctype html>\n<html "
        f'lang="en">\n{head(name)}\n<body>\n{bar()}\n{main}\n{footer}\n{tag("script", script())}\n</body>\n</html>\n'
    )


def head(name: str) -> str:
    """Nothing may be loaded, and no script may run but ours, whatever an arm is called."""
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest(script())}'"
    return (
        '<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="color-scheme" '
        'content="light dark">\n'
        f'<link rel="icon" href="data:,">\n<title>{text(name)}: report</title>\n<style>\n{style()}</style>\n</head>'
    )


def style() -> str:
    """The style sheet with the pictures' colours of both themes."""
    light, dark = ("".join(f"--fig-hue-{n}: {hue}; " for n, hue in enumerate(hues, 1)) for hues in (HUES, DARK_HUES))
    return (
        (HERE / "style.css")
        .read_text(encoding="utf-8")
        .replace("/* light hues */", light)
        .replace("/* dark hues */", dark)
    )


def script() -> str:
    return (HERE / "script.js").read_text(encoding="utf-8")


def digest(source: str) -> str:
    return base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()


def bar() -> str:
    """A link past the contents, and the button that the script shows."""
    skip = tag("a", "Skip to the report", href="#main", class_="skip")
    return skip + tag("div", tag("button", "Dark theme", type="button", id="theme", hidden=""), class_="bar")


def counts(made: StudyResults) -> str:
    """How many runs of what became of them, and of how many arms."""
    states = Counter(row["status"] for row in made.collected.rows)
    arms = len({(row.group.study, row.group.arm) for t in made.report.families for row in t.rows})
    told = ", ".join(
        f"{count} {status}" for status, count in sorted(states.items(), key=lambda s: (s[0] != "ok", s[0]))
    )
    families = len(made.report.families)
    return (
        f"{len(made.collected.rows)} runs ({told}) of {arms} arms in {families} "
        f"{'families' if families > 1 else 'family'}."
    )


def summary(made: StudyResults) -> list[Part]:
    """Warnings first, then what was asked and what came out."""
    warned = made.report.warnings
    parts = [("Warnings", bullets(warned, "warnings") if warned else paragraphs(["None."]))]
    if made.study is not None:
        titles = [family.told for family in made.study.families]
        parts.append(
            (
                "Question",
                tag("p", text(made.study.question), class_="question")
                + paragraphs([made.study.origin])
                + bullets(titles),
            )
        )
    if made.verdicts:
        parts.append(("Published claims", claims(made.verdicts)))
    return parts


def claims(found: Sequence[Verdict]) -> str:
    """Each claim once, with a verdict for each family that tests it."""
    articles = []
    for claim in dict.fromkeys(verdict.claim for verdict in found):
        inside = tag("h3", text(claim.text))
        for verdict in (v for v in found if v.claim == claim):
            badge = tag("span", text(verdict.told), class_=f"status {CLASSES.get(verdict.told, 'open')}")
            numbers = verdict.why.split("; ") if verdict.why else []
            inside += tag("p", f"{badge} {tag('strong', text(verdict.test.family))}")
            inside += bullets(numbers, "numbers") if len(numbers) > 1 else paragraphs(numbers, "numbers")
        note = tag("p", text(f"What the published material shows: {claim.note}"), class_="quiet") if claim.note else ""
        articles.append(tag("article", inside + note))
    rules = fold("Rules of the verdicts", bullets(rules_used(found)))
    return "".join(articles) + rules


def tables(made: StudyResults) -> list[Part]:
    """A sortable table a family."""
    several = len(made.report.families) > 1
    return [(f"Table: {t.family.name}" if several else "Table", family(t)) for t in made.report.families]


def family(found: FamilyTable) -> str:
    first, *more = introduction(found)
    grid = table(main_grid(found), f"Arms of {found.family.name}", sortable=True)
    return paragraphs([first]) + grid + (bullets(more) if more else "")


def pictures(exhibit: Exhibit) -> Part:
    """Panels side by side where there is room."""
    figures = "".join(
        tag("figure", svg(picture) + tag("figcaption", text(title))) for title, picture in exhibit.panels.items()
    )
    return exhibit.heading, tag("p", text(exhibit.caption)) + tag("div", figures, class_="panels")


def details(made: StudyResults) -> list[Part]:
    """The study's further sections, the differences between arms, the tests in detail, and each run."""
    families = made.report.families
    differing = "".join(section(configuration(t)) for t in families if differs(t))
    tests = "".join(section(part) for t in families for part in family_sections(t)[1 : -1 if differs(t) else None])
    unscored = page(made.report)[-1].grid if made.report.unscored else None
    further = [] if made.study is None else study_sections(made.study, made.report, made.curves)
    return [
        ("Further tables", "".join(map(section, further))),
        ("What differs between arms", differing),
        ("Tests in detail", tests),
        ("Runs without a score", "" if unscored is None else table(unscored, "Runs without a score")),
        ("All runs", runs(made.collected.rows)),
    ]


def differs(found: FamilyTable) -> bool:
    return any(row.differing for row in found.rows)


def section(part: Section) -> str:
    """A section of the page that all formats share, under a heading of the third rank."""
    grid = table(part.grid, part.heading) if part.grid is not None else ""
    lines = bullets(part.lines) if len(part.lines) > 1 else paragraphs(part.lines)
    return tag("h3", text(part.heading)) + lines + grid
