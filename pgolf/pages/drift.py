"""The section that shows each arm's gap to its baseline at several points of training, and whether the gap moves."""

from collections.abc import Sequence

from pgolf.tables.curves import CurveByRun
from pgolf.tables.drift import Drift, drifts
from pgolf.tables.family import FamilyTable
from pgolf.tables.text import Grid, Section, SectionKind, interval, p_text

LINE = (
    "Live bpb of an arm minus that of its baseline within seeds, with 95% interval, not corrected. Slope: the change "
    "of the gap per doubling of the trained tokens, from a line through these points for each seed. With p < 0.05 the "
    "gap is marked: it rises (the arm loses ground) or falls. All points are of the same runs and their schedule. They "
    "are not runs of several lengths, and a verdict holds for the budget of these runs alone."
)


def drift_section(table: FamilyTable, curves: CurveByRun) -> list[Section]:
    """One row per compared arm with curves; no section without any."""
    found = drifts(table, curves)
    if not found:
        return []
    tokens = next(iter(found.values())).tokens
    titles = ("arm", *(f"{count:,} tokens" for count in tokens), "slope per doubling", "p", "the gap")
    grid = Grid(
        titles,
        (False, *(True for _ in tokens), True, True, False),
        tuple((label, *cells(drift)) for label, drift in found.items()),
    )
    return [Section(SectionKind.FURTHER, f"{table.family.name}: gap during training", (LINE,), grid)]


def cells(drift: Drift) -> Sequence[str]:
    """The cells of one arm after its name."""
    return (*map(interval, drift.gaps), interval(drift.slope), p_text(drift.slope.p), drift.direction)
