"""The report page: warnings, question, verdicts, tables, pictures, details and runs."""

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
from pgolf.pages.introduction import introduction
from pgolf.pages.sections import main_grid
from pgolf.study.verdicts import FAILS, HOLDS, SMALL, UNDECIDED, UNTESTABLE, Verdict, rules_used
from pgolf.tables.family import FamilyTable
from pgolf.tables.text import Section, SectionKind

HERE = Path(__file__).parent
CLASSES = {HOLDS: "good", FAILS: "bad", SMALL: "open", UNDECIDED: "open", UNTESTABLE: "open"}
Part = tuple[str, str]  # heading, HTML


def document(results: StudyResults, exhibits: Sequence[Exhibit]) -> str:
    """The page as HTML. The same input gives the same bytes: the page has no date and no absolute path."""
    name = results.study.name if results.study is not None else Path(os.path.realpath(results.source)).stem
    parts = [*summary(results), *tables(results), *map(pictures, exhibits), *details(results)]
    parts = [part for part in parts if part[1]]
    links = "".join(tag("li", tag("a", text(heading), href=f"#{slug(heading)}")) for heading, _ in parts)
    sections = "".join(
        tag("section", tag("h2", text(heading), id=slug(heading)) + inside, aria_labelledby=slug(heading))
        for heading, inside in parts
    )
    header = tag("header", tag("h1", text(name)) + tag("p", text(counts(results)), class_="quiet"))
    main = tag(
        "main", header + tag("nav", tag("ul", links), aria_label="Contents") + sections, id="main", tabindex="-1"
    )
    footer = tag(
        "footer",
        tag(
            "p",
            text(f"pgolf {__version__}, from {results.source.name}. Lower bits per byte are better."),
            class_="quiet",
        ),
    )
    return (
        "<!doctype html>\n<html "
        f'lang="en">\n{head(name)}\n<body>\n{bar()}\n{main}\n{footer}\n{tag("script", script())}\n</body>\n</html>\n'
    )


def head(name: str) -> str:
    """The head of the page. Its policy allows no loading and no script but ours, whatever the name of an arm is."""
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest(script())}'"
    return (
        '<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="color-scheme" '
        'content="light dark">\n'
        f'<link rel="icon" href="data:,">\n<title>{text(name)}: report</title>\n<style>\n{style()}</style>\n</head>'
    )


def style() -> str:
    """The style sheet, with the colours of the pictures for both themes."""
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
    """A link that skips the contents, and the theme button, which the script makes visible."""
    skip = tag("a", "Skip to the report", href="#main", class_="skip")
    return skip + tag("div", tag("button", "Dark theme", type="button", id="theme", hidden=""), class_="bar")


def counts(results: StudyResults) -> str:
    """The numbers of runs by status, of arms and of families, in one sentence."""
    states = Counter(row["status"] for row in results.collected.rows)
    arms = len({(row.group.study, row.group.arm) for t in results.report.families for row in t.rows})
    by_status = ", ".join(
        f"{count} {status}" for status, count in sorted(states.items(), key=lambda s: (s[0] != "ok", s[0]))
    )
    families = len(results.report.families)
    return (
        f"{len(results.collected.rows)} runs ({by_status}) of {arms} arms in {families} "
        f"{'families' if families > 1 else 'family'}."
    )


def summary(results: StudyResults) -> list[Part]:
    """The warnings, then the question and the verdicts."""
    warnings, study = results.report.warnings, results.study
    parts = [("Warnings", bullets(warnings, "warnings") if warnings else paragraphs(["None."]))]
    if study is not None:
        families = [family.summary for family in study.families]
        parts.append(
            (
                "Question",
                tag("p", text(study.question), class_="question") + paragraphs([study.origin]) + bullets(families),
            )
        )
    if results.verdicts:
        parts.append(("Published claims", claims(results.verdicts, results.correction)))
    return parts


def claims(verdicts: Sequence[Verdict], correction: str) -> str:
    """Each claim once, with one verdict per family that tests it. correction: as for `rules_used`."""
    articles = []
    for claim in dict.fromkeys(verdict.claim for verdict in verdicts):
        inside = tag("h3", text(claim.text))
        for verdict in (v for v in verdicts if v.claim == claim):
            badge = tag("span", text(verdict.label), class_=f"status {CLASSES[verdict.verdict]}")
            inside += tag("p", f"{badge} {tag('strong', text(verdict.test.family))}")
            inside += (bullets if len(verdict.numbers) > 1 else paragraphs)(verdict.numbers, "numbers")
        note = tag("p", text(f"Shown by the published material: {claim.note}"), class_="quiet") if claim.note else ""
        articles.append(tag("article", inside + note))
    rules = fold("Rules of the verdicts", bullets(rules_used(verdicts, correction)))
    return "".join(articles) + rules


def tables(results: StudyResults) -> list[Part]:
    """One sortable table per family."""
    families = results.report.families
    return [(f"Table: {t.family.name}" if len(families) > 1 else "Table", family(t)) for t in families]


def family(t: FamilyTable) -> str:
    first, *more = introduction(t)
    grid = table(main_grid(t), f"Arms of {t.family.name}", sortable=True)
    return paragraphs([first]) + grid + (bullets(more) if more else "")


def pictures(exhibit: Exhibit) -> Part:
    """The panels of one exhibit, side by side if there is room."""
    figures = "".join(
        tag("figure", svg(picture) + tag("figcaption", text(title))) for title, picture in exhibit.panels.items()
    )
    return exhibit.heading, tag("p", text(exhibit.caption)) + tag("div", figures, class_="panels")


def details(results: StudyResults) -> list[Part]:
    """The study's further sections, the differences between arms, the tests in detail, and each run."""
    sections = results.sections()

    def of_kind(*kinds: SectionKind) -> str:
        return "".join(section(part) for part in sections if part.kind in kinds)

    unscored = [part.grid for part in sections if part.kind is SectionKind.UNSCORED and part.grid is not None]
    return [
        ("Further tables", of_kind(SectionKind.FURTHER)),
        ("Differences between arms", of_kind(SectionKind.CONFIGURATION)),
        ("Tests in detail", of_kind(SectionKind.GATE, SectionKind.DETAILS)),
        ("Runs without a score", "".join(table(grid, "Runs without a score") for grid in unscored)),
        ("All runs", runs(results.collected.rows)),
    ]


def section(part: Section) -> str:
    """One section, under a heading of the third level."""
    grid = table(part.grid, part.heading) if part.grid is not None else ""
    lines = bullets(part.lines) if len(part.lines) > 1 else paragraphs(part.lines)
    return tag("h3", text(part.heading)) + lines + grid
