"""What a score costs in bytes: arms of several sizes form a line, with which other arms' bytes are compared."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import fmean

from pgolf.records.kinds import is_number
from pgolf.tables.comparable import IDENTICAL
from pgolf.tables.stats import one_sample
from pgolf.tables.table import ArmRow, FamilyTable, row_of, uncompared
from pgolf.tables.text import Grid, Section, interval

Point = tuple[float, float]  # packed bytes, bits per byte
TITLES = ("arm", "n", "bytes", "bytes on the line at its score", "saved [95%]", "share", "share of the model alone")
TOTAL, MODEL = "total_bytes", "model_bytes"


def pareto_front(points: Sequence[Point]) -> list[Point]:
    """The points that no other beats in both, by bytes: more bytes for a worse score are no price of anything."""
    return sorted(p for p in set(points) if not any(o != p and o[0] <= p[0] and o[1] <= p[1] for o in points))


def interpolate_bytes(points: Sequence[Point], bpb: float) -> float | None:
    """Bytes at a score on the line through points, straight between neighbours; None beyond its ends."""
    for (fewer, worse), (more, better) in pairwise(pareto_front(points)):
        if better <= bpb <= worse:
            return fewer + (more - fewer) * (worse - bpb) / (worse - better)
    return None


def unfit(arm: str, row: ArmRow | None) -> str | None:
    """Why an arm's scores cannot stand beside those of the others; those of the baseline's own configuration can."""
    is_same = (
        row is not None
        and row.mean_bpb is not None
        and row.comparison is not None
        and row.comparison.refused == IDENTICAL
    )
    why = None if is_same else uncompared(row)
    return why and f"{arm} {why}"


def line_rows(table: FamilyTable, line: Sequence[str]) -> tuple[list[ArmRow], list[str]]:
    """(the rows that speak for the line's arms, why there is no line)."""
    found = {arm: row_of(arm, table) for arm in line}
    return [row for row in found.values() if row is not None], [
        why for arm, row in found.items() if (why := unfit(arm, row))
    ]


def against_the_line(table: FamilyTable, line: Sequence[str]) -> list[Section]:
    """What each other arm's score would cost on the line, seed by seed: bytes saved at an equal score."""
    if not line:
        return []
    heading = f"{table.family.name}: bytes saved at an equal score"
    through, why_not = line_rows(table, line)
    if why_not:
        return [Section(heading, (f"There is no line to hold bytes against: {'; '.join(why_not)}.",))]
    rows = [
        row
        for arm in table.family.arms
        if arm not in line and (row := row_of(arm, table)) is not None and unfit(arm, row) is None
    ]
    points, models = ([sized_scores(row, key) for row in through] for key in (TOTAL, MODEL))
    lines = (
        f"The line goes through {', '.join(row.label for row in through)}, straight between neighbours, for each seed "
        "by itself; the"
        " interval is between the n seeds that all of them have. Saved: bytes on the line at the arm's score, less "
        "the arm's own;"
        " of model and code, and at last of the packed model alone.",
    )
    told = tuple(
        (row.label, *saved_cells(sized_scores(row), points), saved_cells(sized_scores(row, MODEL), models)[-1])
        for row in rows
    )
    return [Section(heading, lines, Grid(TITLES, (False, *(True for _ in TITLES[1:])), told))]


def sized_scores(row: ArmRow, key: str = TOTAL) -> dict[int, Point]:
    """(bytes, bpb) of the counted seeds whose record has both."""
    return {seed: (run[key], run["val_bpb"]) for seed, run in row.group.used.items() if is_number(run.get(key))}


def saved_cells(arm: Mapping[int, Point], line: Sequence[Mapping[int, Point]]) -> tuple[str, ...]:
    """One arm's cells, from the points by seed of its own and of the line's arms."""
    own = {seed: point for seed, point in arm.items() if all(seed in other for other in line)}
    if not own:
        return "0", "", "", "no seed that all of them have", ""
    costs = [interpolate_bytes([other[seed] for other in line], bpb) for seed, (_, bpb) in own.items()]
    n, mean = str(len(own)), f"{fmean(size for size, _ in own.values()):,.0f}"
    inside = [cost for cost in costs if cost is not None]
    if len(inside) < len(costs):
        return n, mean, "", "its score lies beyond the line's ends", ""
    saved = [cost - size for cost, (size, _) in zip(inside, own.values(), strict=True)]
    return (
        n,
        mean,
        f"{fmean(inside):,.0f}",
        interval(one_sample(saved), 0),
        f"{100 * fmean(saved) / fmean(inside):+.1f}%",
    )
