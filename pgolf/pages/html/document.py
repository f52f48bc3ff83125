"""The report page: the first screen, warnings, verdicts, tables, pictures, the study's record, details and runs."""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

from pgolf import __version__
from pgolf.pages.aggregation import StudyResults
from pgolf.pages.figures.export import svg
from pgolf.pages.figures.gallery import Exhibit
from pgolf.pages.figures.style import DARK_HUES, HUES
from pgolf.pages.html.elements import bullets, fold, slug, table, tag, text
from pgolf.pages.html.first_screen import first_screen
from pgolf.pages.html.runs import runs
from pgolf.pages.html.tables import claims, family, folded, section, without_heading
from pgolf.tables.text import Section, SectionKind

HERE = Path(__file__).parent
Part = tuple[str, str]  # heading, HTML


def document(results: StudyResults, exhibits: Sequence[Exhibit]) -> str:
    """The page as HTML. The same input gives the same bytes: the page has no date of its own and no absolute path."""
    first, exhibits = first_screen(results, exhibits)
    parts = [*answers(results), *map(pictures, exhibits), *details(results)]
    return whole_page(results.name, first, [part for part in parts if part[1]], results.source.name)


def whole_page(name: str, first: str, parts: Sequence[Part], source: str) -> str:
    """A page from its first screen and its parts. name: its title. source: the name of the folder or file."""
    links = "".join(tag("li", tag("a", text(heading), href=f"#{slug(heading)}")) for heading, _ in parts)
    sections = "".join(
        tag("section", tag("h2", text(heading), id=slug(heading)) + inside, aria_labelledby=slug(heading))
        for heading, inside in parts
    )
    main = tag("main", first + sections, id="main", tabindex="-1")
    made = f"pgolf {__version__}, from {source}. Lower bits per byte are better."
    footer = tag("footer", tag("p", text(made), class_="quiet"))
    body = f'{bar(links)}\n<div class="page">\n{main}\n{footer}\n</div>\n{tag("script", script())}'
    return f'<!doctype html>\n<html lang="en">\n{head(name)}\n<body>\n{body}\n</body>\n</html>\n'


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


def bar(links: str) -> str:
    """A link that skips the contents, the contents, and the theme button, which the script makes visible.

    The contents are closed. The script opens them where they stand beside the page.
    """
    skip = tag("a", "Skip to the report", href="#main", class_="skip")
    contents = tag("nav", fold("Contents", tag("ul", links), id="contents"), aria_label="Contents")
    button = tag("button", "Dark theme", type="button", id="theme", hidden="")
    return skip + tag("div", contents + button, class_="bar")


def answers(results: StudyResults) -> list[Part]:
    """Warnings, if any, the verdicts on claims, the tables, and how the decisions depend on the test."""
    warnings, families = results.report.warnings, results.report.families
    tables = "".join(family(t, headed=len(families) > 1, told=t is not families[0]) for t in families)
    judged = claims(results.verdicts, results.report.correction, published=results.is_published)
    tests = "".join(section(part, badges=True) for part in of_kind(results, SectionKind.SENSITIVITY))
    return [
        ("Warnings", bullets(warnings, "warnings") if warnings else ""),
        (results.claims_title, judged if results.verdicts else ""),
        ("Tables" if len(families) > 1 else "Table", tables),
        ("Sensitivity to the test", tests),
    ]


def of_kind(results: StudyResults, *kinds: SectionKind) -> list[Section]:
    return [part for part in results.sections if part.kind in kinds]


def pictures(exhibit: Exhibit) -> Part:
    """The panels of one exhibit, side by side if there is room."""
    figures = "".join(
        tag("figure", svg(picture) + tag("figcaption", text(title))) for title, picture in exhibit.panels.items()
    )
    return exhibit.heading, tag("p", text(exhibit.caption)) + tag("div", figures, class_="panels")


def details(results: StudyResults) -> list[Part]:
    """The scores of seeds, the study's record, its further sections, configurations, tests in detail, and each run."""

    def sections(*kinds: SectionKind) -> str:
        return "".join(map(section, of_kind(results, *kinds)))

    unscored = [part.grid for part in of_kind(results, SectionKind.UNSCORED) if part.grid is not None]
    study = results.study
    origin = () if study is None else (study.origin, study.rule, *(family.summary for family in study.families))
    return [
        ("Single seeds", "".join(map(without_heading, of_kind(results, SectionKind.SEEDS)))),
        ("Study", "" if study is None else bullets(origin) + sections(SectionKind.RECORD)),
        ("Further tables", folded(of_kind(results, SectionKind.FURTHER))),
        ("Configurations", sections(SectionKind.CONFIGURATION)),
        ("Tests in detail", sections(SectionKind.THRESHOLD, SectionKind.DETAILS)),
        ("Runs without a score", "".join(table(grid, "Runs without a score") for grid in unscored)),
        ("All runs", runs(results.collected.rows)),
    ]
