"""Published gaps to the baseline beside the measured ones."""

from dataclasses import dataclass

from pgolf.study.description import Study
from pgolf.study.published import PUBLISHED_SCALE
from pgolf.tables.family import ArmRow, FamilyTable, base_of
from pgolf.tables.stats import TTest
from pgolf.tables.text import Grid, Section, SectionKind, interval, number

TITLES = (
    "arm",
    "published bpb",
    "measured bpb",
    "published gap",
    "measured gap [95%]",
    "measured - published gap",
)


@dataclass(frozen=True)
class PublishedGap:
    """An arm's published score minus its baseline's, in bits per byte, and the test of the measured difference."""

    row: ArmRow
    published_bpb: float
    published: float
    measured: TTest


def published_gaps(table: FamilyTable, study: Study) -> list[PublishedGap]:
    """The gap of each arm whose published score and whose baseline's are known, and that was compared."""
    found = []
    for row in table.rows:
        base, test = base_of(row, table), None if row.comparison is None else row.comparison.test
        own = study.published.get(row.group.arm, {}).get("val_bpb")
        of_base = None if base is None else study.published.get(base.group.arm, {}).get("val_bpb")
        if own is not None and of_base is not None and test is not None and test.difference is not None:
            found.append(PublishedGap(row, own, own - of_base, test))
    return found


def scale_note(study: Study) -> str:
    """What another scale than the published one means for a comparison; empty at that scale."""
    if study.scale == PUBLISHED_SCALE:
        return ""
    return f" These runs are at scale={study.scale}, so that sign and order say more than size."


def published_gap_section(table: FamilyTable, study: Study) -> list[Section]:
    """One row per arm with both gaps; no section without any."""
    gaps = published_gaps(table, study)
    if not gaps:
        return []
    rows = tuple(
        (
            gap.row.label,
            number(gap.published_bpb),
            number(gap.row.mean_bpb),
            number(gap.published, sign=True),
            interval(gap.measured),
            number((gap.measured.difference or 0.0) - gap.published, sign=True),
        )
        for gap in gaps
    )
    line = (
        "Gap: bits per byte of an arm minus those of its baseline. The published gaps have no interval."
        f"{scale_note(study)}"
    )
    grid = Grid(TITLES, (False, *(True for _ in TITLES[1:])), rows)
    return [Section(SectionKind.FURTHER, f"{table.family.name}: published and measured gaps", (line,), grid)]
