"""Gaps over a ladder: one line per arm against the tokens or parameters of the baseline, with an interval per rung."""

from dataclasses import replace

from matplotlib.figure import Figure

from pgolf.pages.aggregation import StudyResults
from pgolf.pages.figures import gaps
from pgolf.pages.figures.export import Picture
from pgolf.pages.figures.numbers import MOST_ARMS, gap_line
from pgolf.pages.figures.style import Looks, shorten
from pgolf.study.published import ladders_of
from pgolf.tables.ladder import Climb, Ladder
from pgolf.tables.text import interval

CAPTION = (
    "Arm minus baseline in bits per byte, with the 95% interval of the study's test at each rung. Every rung is a run "
    "of its own. Below zero the arm is better. Shaded: smaller than the smallest effect that matters."
)


def panels(results: StudyResults, looks: Looks) -> dict[str, Picture]:
    """One picture per ladder with a compared arm."""
    found = [] if results.study is None else ladders_of(results.study, results.report)
    pictures = {}
    for number, one in enumerate(found, 1):
        if not one.climbs:
            continue
        text = "; ".join(f"{climb.name}: {gaps_text(one, climb)}" for climb in one.climbs)
        title = f"{one.title}: gap to the baseline by {one.over}"
        pictures[one.title] = Picture(f"ladder-{number}", title, f"{text}.", draw(one, looks))
    return pictures


def gaps_text(found: Ladder, climb: Climb) -> str:
    return ", ".join(f"{x:,.0f} {interval(gap)}" for x, gap in zip(xs_of(found), climb.gaps, strict=True))


def xs_of(found: Ladder) -> tuple[float, ...]:
    return tuple(rung.x for rung in found.rungs)


def draw(found: Ladder, looks: Looks) -> Figure:
    """The picture of one ladder that has arms."""
    lines = [
        gap_line(climb.rows[-1].group, climb.name, len(climb.seeds), xs_of(found), climb.gaps)
        for climb in found.climbs[:MOST_ARMS]
    ]
    names = shorten([line.label for line in lines])
    looks = {line.key: replace(looks[line.key], name=name) for line, name in zip(lines, names, strict=True)}
    margin = found.rungs[-1].table.settings.smallest_effect_bpb
    return gaps.draw(lines, looks, f"{found.over} of the baseline", "the baseline", margin)
