"""The cost of a score in bytes: arms of several sizes form a line, and other arms' bytes and scores are compared with
it.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import fmean

from pgolf.records.kinds import is_number
from pgolf.tables.contrast import is_same
from pgolf.tables.family import ArmRow, FamilyTable, row_of, uncompared
from pgolf.tables.stats import one_sample
from pgolf.tables.text import Grid, Section, SectionKind, interval, number

Point = tuple[float, float]  # packed bytes, bits per byte
TITLES = ("arm", "n", "bytes", "bytes on the line at its score", "saved [95%]", "share", "share of the model alone")
EQUAL_BYTES = ("arm", "n", "bytes", "bpb", "bpb on the line at its bytes", "difference at equal bytes [95%]")
NO_SEED = "no seed that all arms of the line have"
TOTAL, MODEL = "total_bytes", "model_bytes"


def pareto_front(points: Sequence[Point]) -> list[Point]:
    """Pareto front in (bytes, bpb), sorted by bytes."""
    return sorted(p for p in set(points) if not any(o != p and o[0] <= p[0] and o[1] <= p[1] for o in points))


def interpolate_bytes(points: Sequence[Point], bpb: float) -> float | None:
    """Bytes at a score on the line through the Pareto front, interpolated linearly; None beyond its ends."""
    for (fewer, worse), (more, better) in pairwise(pareto_front(points)):
        if better <= bpb <= worse:
            return fewer + (more - fewer) * (worse - bpb) / (worse - better)
    return None


def interpolate_bpb(points: Sequence[Point], size: float) -> float | None:
    """The score at a number of bytes on the same line; None beyond its ends."""
    for (fewer, worse), (more, better) in pairwise(pareto_front(points)):
        if fewer <= size <= more:
            return worse + (better - worse) * (size - fewer) / (more - fewer)
    return None


def unfit(arm: str, row: ArmRow | None) -> str | None:
    """Why an arm's scores cannot be compared with the line; None if they can. An arm with the baseline's configuration
    can be compared.
    """
    if row is not None and row.mean_bpb is not None and row.comparison is not None and is_same(row.comparison):
        return None
    reason = uncompared(row)
    return reason and f"{arm} {reason}"


def line_rows(table: FamilyTable, line: Sequence[str]) -> tuple[list[ArmRow], list[str]]:
    """(rows of the line's arms, reasons why they do not form a line)."""
    rows = {arm: row_of(arm, table) for arm in line}
    reasons = [reason for arm, row in rows.items() if (reason := unfit(arm, row))]
    return [row for row in rows.values() if row is not None], reasons


def against_the_line(table: FamilyTable, line: Sequence[str]) -> list[Section]:
    """The bytes that each other arm saves at an equal score, and its difference in score at equal bytes, seed by seed;
    no section without a line.
    """
    if not line:
        return []
    heading = f"{table.family.name}: bytes saved at an equal score"
    through, reasons = line_rows(table, line)
    if reasons:
        text = f"There is no line to compare bytes with: {'; '.join(reasons)}."
        return [Section(SectionKind.FURTHER, heading, (text,))]
    rows = [
        row
        for arm in table.family.arms
        if arm not in line and (row := row_of(arm, table)) is not None and unfit(arm, row) is None
    ]
    points, models = ([sized_scores(row, key) for row in through] for key in (TOTAL, MODEL))
    lines = (
        f"The line goes through {', '.join(row.label for row in through)}, straight between neighbours, separately "
        "for each seed. The interval is between the n seeds that all these arms have. Saved: bytes on the line at the "
        "arm's score, minus the arm's own bytes. Bytes are those of model and code; in the last column, of the packed "
        "model alone.",
    )
    cells = tuple(
        (row.label, *saved_cells(sized_scores(row), points), saved_cells(sized_scores(row, MODEL), models)[-1])
        for row in rows
    )
    return [
        Section(SectionKind.FURTHER, heading, lines, grid(TITLES, cells)),
        Section(
            SectionKind.FURTHER,
            f"{table.family.name}: score at equal bytes",
            (
                "The same line, read at the arm's bytes of model and code. The difference is the arm's bpb minus that "
                "on the line, seed by seed: below 0 the arm is the better use of bytes. The interval is between the n "
                "seeds, and not corrected.",
            ),
            grid(EQUAL_BYTES, [(row.label, *equal_bytes_cells(sized_scores(row), points)) for row in rows]),
        ),
    ]


def grid(titles: Sequence[str], rows: Sequence[tuple[str, ...]]) -> Grid:
    """A grid of numbers with names in its first column."""
    return Grid(tuple(titles), (False, *(True for _ in titles[1:])), tuple(rows))


def sized_scores(row: ArmRow, key: str = TOTAL) -> dict[int, Point]:
    """(bytes, bpb) by seed, of the counted records that have both."""
    return {seed: (run[key], run["val_bpb"]) for seed, run in row.group.used.items() if is_number(run.get(key))}


def saved_cells(arm: Mapping[int, Point], line: Sequence[Mapping[int, Point]]) -> tuple[str, ...]:
    """The cells of one arm. arm: its points by seed. line: those of the line's arms."""
    own = common_seeds(arm, line)
    if not own:
        return "0", "", "", NO_SEED, ""
    costs = [interpolate_bytes([other[seed] for other in line], bpb) for seed, (_, bpb) in own.items()]
    n, mean = str(len(own)), f"{fmean(size for size, _ in own.values()):,.0f}"
    inside = [cost for cost in costs if cost is not None]
    if len(inside) < len(costs):
        return n, mean, "", "its score is beyond the ends of the line", ""
    saved = [cost - size for cost, (size, _) in zip(inside, own.values(), strict=True)]
    return (
        n,
        mean,
        f"{fmean(inside):,.0f}",
        interval(one_sample(saved), 0),
        f"{100 * fmean(saved) / fmean(inside):+.1f}%",
    )


def common_seeds(arm: Mapping[int, Point], line: Sequence[Mapping[int, Point]]) -> dict[int, Point]:
    """The arm's points of the seeds that all arms of the line have."""
    return {seed: point for seed, point in arm.items() if all(seed in other for other in line)}


def equal_bytes_cells(arm: Mapping[int, Point], line: Sequence[Mapping[int, Point]]) -> tuple[str, ...]:
    """The cells of one arm at equal bytes; its arguments are those of `saved_cells`."""
    own = common_seeds(arm, line)
    if not own:
        return "0", "", "", "", NO_SEED
    n, mean = str(len(own)), f"{fmean(size for size, _ in own.values()):,.0f}"
    bpb = number(fmean(score for _, score in own.values()))
    scores = [interpolate_bpb([other[seed] for other in line], size) for seed, (size, _) in own.items()]
    inside = [score for score in scores if score is not None]
    if len(inside) < len(scores):
        return n, mean, bpb, "", "its bytes are beyond the ends of the line"
    differences = [score - at for at, (_, score) in zip(inside, own.values(), strict=True)]
    return n, mean, bpb, number(fmean(inside)), interval(one_sample(differences))
