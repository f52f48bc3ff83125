"""The first screen of the report: question, answer with its interval, one picture, size, training and seeds."""

from collections import Counter
from collections.abc import Sequence

from pgolf.pages.aggregation import StudyResults
from pgolf.pages.figures.export import svg
from pgolf.pages.figures.gallery import Exhibit
from pgolf.pages.headline import Headline, Statement, headline
from pgolf.pages.html.elements import badge, slug, tag, terms, text
from pgolf.records.progress import count_text

FORESTS, LADDERS = "differences", "ladders"  # the exhibits that have the picture
NOTHING = "Nothing is compared: there is no arm with a score beside a baseline with one."


def first_screen(results: StudyResults, exhibits: Sequence[Exhibit]) -> tuple[str, list[Exhibit]]:
    """(HTML, the exhibits without the picture that it shows)."""
    found = headline(results)
    picture, rest = chief_picture(found, exhibits)
    heading = tag("h1", text(results.name)) + (
        tag("p", text(found.question), class_="question") if found.question else ""
    )
    trends = "".join(tag("p", text(sentence), class_="answer") for sentence in found.trends)
    claim = tag("p", f"Claim: {text(found.claim)}", class_="claim") if found.claim else ""
    answers = "".join(map(answer, found.statements)) or tag("p", text(NOTHING))
    claims = f"#{slug(results.claims_title)}"
    more = tag("p", tag("a", text(f"Other claims: {found.others}"), href=claims)) if found.others else ""
    warned = len(results.report.warnings)
    warning = f"{count_text(warned, 'warning')} to read first"
    caution = tag("p", tag("a", text(warning), href="#warnings", class_="caution")) if warned else ""
    numbers = terms(dict(found.facts)) + tag("p", text(counts(results)), class_="quiet")
    words = tag("div", heading + trends + claim + answers + caution + more)
    return tag("header", words + picture + tag("div", numbers), class_="first"), rest


def answer(statement: Statement) -> str:
    """The verdict as a badge, the family, and the numbers behind it."""
    family = tag("strong", text(statement.family))
    return tag(
        "p", f"{badge(statement.label, statement.verdict)} {family}: {text(statement.sentence)}", class_="answer"
    )


def chief_picture(found: Headline, exhibits: Sequence[Exhibit]) -> tuple[str, list[Exhibit]]:
    """(a figure, all exhibits without it). It shows the gaps over the first ladder of a study that has one, otherwise
    the differences of the headline's family; an empty figure without either.
    """
    by_name = {exhibit.name: exhibit for exhibit in exhibits}
    if found.trends and LADDERS in by_name:
        chosen = by_name[LADDERS]
        name = next(iter(chosen.panels))
    else:
        name = "" if found.table is None else found.table.family.name
        if FORESTS not in by_name or name not in by_name[FORESTS].panels:
            return "", list(exhibits)
        chosen = by_name[FORESTS]
    rest = [exhibit.without(name) if exhibit is chosen else exhibit for exhibit in exhibits]
    words = tag("figcaption", tag("strong", text(name)) + tag("span", text(f" {chosen.caption}"), class_="quiet"))
    return tag("figure", svg(chosen.panels[name]) + words), [exhibit for exhibit in rest if exhibit.panels]


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
        f"{'families' if families > 1 else 'family'}. Bits per byte (bpb): lower is better."
    )
