"""The page of several studies: the answer of each, and how much the seeds of their arms differ."""

from collections.abc import Sequence

from pgolf.pages.aggregation import StudyResults
from pgolf.pages.calibration import calibration_sections, study_noise
from pgolf.pages.figures.export import Picture, svg
from pgolf.pages.headline import Headline, headline
from pgolf.pages.html.document import whole_page
from pgolf.pages.html.elements import badge, bullets, paragraphs, table, tag, terms, text
from pgolf.pages.html.first_screen import answer

CAPTION = (
    "Marker and bar: the standard deviation between seeds, pooled over the arms of a study, with its 95% interval. "
    "Dots: single arms. Black: the smallest effect that matters."
)
SHOWN = ("size", "training", "seeds")  # of the facts of a headline


def overview(results: Sequence[StudyResults], picture: Picture | None) -> str:
    """The page as HTML. The same input gives the same bytes."""
    title = f"{len(results)} studies"
    found = [(each.name, headline(each)) for each in results]
    figure = "" if picture is None else tag("figure", svg(picture) + tag("figcaption", text(CAPTION), class_="quiet"))
    first = tag("header", tag("div", tag("h1", text(title)) + chief_answers(found)) + figure, class_="first")
    noise = calibration_sections([study_noise(each) for each in results])
    parts = [
        ("Answers", "".join(card(name, of_study) for name, of_study in found)),
        *(
            (part.heading, paragraphs(part.lines) + table(part.grid, part.heading, sortable=True))
            for part in noise
            if part.grid is not None
        ),
        ("Warnings", "".join(map(warnings, results))),
    ]
    sources = ", ".join(each.source.name for each in results)
    return whole_page(title, first, [part for part in parts if part[1]], sources)


def chief_answers(found: Sequence[tuple[str, Headline]]) -> str:
    """The verdict on the first claim of each study. found: their names and headlines."""
    lines = []
    for name, of_study in found:
        verdicts = " ".join(f"{badge(s.label, s.verdict)} {text(s.family)}" for s in of_study.statements)
        lines.append(tag("li", f"{tag('strong', text(name))} {verdicts or 'nothing is compared'}"))
    return tag("p", "The first claim of each study:") + tag("ul", "".join(lines))


def card(name: str, found: Headline) -> str:
    """Question, answers and conditions of one study."""
    question = tag("p", text(found.question)) if found.question else ""
    claim = tag("p", text(f"Claim: {found.claim}"), class_="quiet") if found.claim else ""
    facts = terms({name: value for name, value in found.facts if name in SHOWN})
    answers = "".join(map(answer, found.statements))
    return tag("article", tag("h3", text(name)) + question + claim + answers + facts)


def warnings(results: StudyResults) -> str:
    found = results.report.warnings
    return tag("h3", text(results.name)) + bullets(found, "warnings") if found else ""
