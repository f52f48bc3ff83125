"""What the pictures show, computed from an Aggregate without drawing anything.

A panel is one family's arms, scored in one way: scores of another evaluation mode or validation text never share an
axis. Every value is a mean over the counted seeds of one arm, `low` and `high` the lowest and highest of those seeds,
unless it is said otherwise.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from pgolf.pages.aggregation import StudyResults
from pgolf.pages.sections import score_columns, scoring
from pgolf.study.description import Study
from pgolf.tables.curves import Curve, Found, of_group
from pgolf.tables.groups import Group
from pgolf.tables.table import ArmRow, FamilyTable

Key = tuple[str, str, str]  # study, arm, fingerprint: what keeps one colour in all pictures
MOST_ARMS = 60  # of one picture: more are neither told apart nor drawn in reasonable time
MOST_POINTS = 1000  # of one curve in a picture of 420 points' width
WINDOW = 5  # logged points of training that one shown point is the mean of
TRAIN, VALIDATION = "training", "validation"


@dataclass(frozen=True)
class Part:
    """A family's rows that share an axis. title: the family, and the way of scoring where there are several."""

    title: str
    table: FamilyTable
    rows: tuple[ArmRow, ...]


@dataclass(frozen=True)
class Series:
    """One arm over trained tokens: bits per byte at the points that all its `seeds` curves have."""

    key: Key
    label: str
    seeds: int
    tokens: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class Effect:
    """An arm's difference to its baseline, bits per byte, with the 95% interval of the study's test. reason: why it has
    none.
    """

    key: Key
    label: str
    difference: float | None
    low: float | None
    high: float | None
    reason: str = ""


@dataclass(frozen=True)
class Sized:
    """An arm's packed bytes (model and code, mean over seeds) and its score."""

    key: Key
    label: str
    total_bytes: float
    bpb: float
    low: float
    high: float


@dataclass(frozen=True)
class Pair:
    """An arm's published score beside the measured one; measured: None where no seed counts."""

    key: Key
    label: str
    published: float
    measured: float | None


def key_of(group: Group) -> Key:
    return group.study, group.arm, group.fingerprint


def parts(table: FamilyTable) -> list[Part]:
    """The family's scored arms, by the way they were scored."""
    found = []
    kinds = score_columns(table.rows)
    for title, kind in kinds.items():
        rows = drawn_rows([row for row in table.rows if row.mean_bpb is not None and scoring(row) == kind])
        if rows:
            found.append(
                Part(table.family.name + (f" ({title.removeprefix('bpb ')})" if len(kinds) > 1 else ""), table, rows)
            )
    return found


def series(part: Part, kind: str, curves: Found) -> list[Series]:
    """A line for each arm of which a counted seed has a curve."""
    made = (line_of(row, kind, curves) for row in part.rows)
    return [line for line in made if line is not None]


def line_of(row: ArmRow, kind: str, curves: Found) -> Series | None:
    group = row.group
    seeds = [
        points
        for curve in of_group(group, curves)
        if (points := dict(training(curve) if kind == TRAIN else validation(curve, group)))
    ]
    common = sorted(set.intersection(*map(set, seeds))) if seeds else []
    if not common:
        return None
    values = [[points[at] for points in seeds] for at in common]
    return Series(
        key_of(group),
        row.label,
        len(seeds),
        tuple(common),
        tuple(map(fmean, values)),
        tuple(map(min, values)),
        tuple(map(max, values)),
    )


def training(curve: Curve) -> Iterator[tuple[float, float]]:
    """(trained tokens, bits per byte of the batches around), each point the mean of itself and as many logged points on
    either side, up to WINDOW in all. A long curve ends where that many follow: one batch's luck is no end of a line."""
    logged = [(at, bpb) for at, bpb in zip(curve.train_tokens, curve.train_bpb, strict=True) if math.isfinite(bpb)]
    last = len(logged) - (WINDOW // 2 if len(logged) > 2 * WINDOW else 0)
    for number in thinned(last):
        at = logged[number][0]
        reach = min(WINDOW // 2, number, len(logged) - 1 - number)
        yield at, fmean(bpb for _, bpb in logged[number - reach : number + reach + 1])


def validation(curve: Curve, group: Group) -> Iterator[tuple[float, float]]:
    """(trained tokens, live validation bits per byte); a step's tokens from the run's batch, else from its training
    points.
    """
    batch = group.only("budget.batch_tokens")
    if batch is None and curve.train_steps and curve.train_steps[-1]:
        batch = curve.train_tokens[-1] / curve.train_steps[-1]
    if batch is None:
        return iter(())
    scored = [
        (step * batch, bpb) for step, bpb in zip(curve.val_steps, curve.val_bpb_live, strict=True) if math.isfinite(bpb)
    ]
    return (scored[number] for number in thinned(len(scored)))


def thinned(count: int) -> Iterator[int]:
    """Which of so many points are drawn: all of up to MOST_POINTS, else evenly spaced ones, always the first and the
    last.

    The spacing is a power of two, so that curves of unequal lengths have points in common.
    """
    spacing = 1
    while count > MOST_POINTS * spacing:
        spacing *= 2
    yield from range(0, count, spacing)
    if count and (count - 1) % spacing:
        yield count - 1


def is_long(curves: Iterable[Curve]) -> bool:
    """Whether some curve has more points than are drawn."""
    return any(max(len(curve.train_steps), len(curve.val_steps)) > MOST_POINTS for curve in curves)


def drawn_rows(rows: Sequence[ArmRow]) -> tuple[ArmRow, ...]:
    """The arms of a picture, in their order: of very many the best by mean score, and the baselines."""
    if len(rows) <= MOST_ARMS:
        return tuple(rows)
    ranked = sorted(rows, key=lambda row: (not row.is_baseline, row.mean_bpb is None, row.mean_bpb or 0.0))
    kept = set(map(id, ranked[:MOST_ARMS]))
    return tuple(row for row in rows if id(row) in kept)


def effects(table: FamilyTable) -> list[Effect]:
    """The difference of every arm that is compared with the family's baseline, refused ones with the reason."""
    return [effect_of(row) for row in drawn_rows([row for row in table.rows if row.comparison is not None])]


def effect_of(row: ArmRow) -> Effect:
    comparison = row.comparison
    assert comparison is not None, row.label
    test = comparison.test
    if comparison.refused is not None or test is None:
        return Effect(key_of(row.group), row.label, None, None, None, comparison.refused or "no test")
    return Effect(key_of(row.group), row.label, test.difference, test.low, test.high, test.reason or "")


def sizes(part: Part) -> list[Sized]:
    """The arms of which every counted record tells its bytes."""
    found = []
    for row in part.rows:
        total, scores = row.group.mean("total_bytes"), row.group.values("val_bpb")
        if total is not None and row.mean_bpb is not None and scores:
            found.append(Sized(key_of(row.group), row.label, total, row.mean_bpb, min(scores), max(scores)))
    return found


def cap_of(part: Part) -> float | None:
    """The cap that the records name; None where they name none or several."""
    caps = {row.group.only("cap_bytes") for row in part.rows}
    cap = caps.pop() if len(caps) == 1 else None
    return float(cap) if cap is not None else None


def pairs(table: FamilyTable, study: Study | None) -> list[Pair]:
    """The arms with a published score, measured or not."""
    if study is None or table.family.baseline is None:
        return []
    published = [(row, study.published.get(row.group.arm, {}).get("val_bpb")) for row in table.rows]
    shown = set(map(id, drawn_rows([row for row, value in published if value is not None])))
    return [
        Pair(key_of(row.group), row.label, value, row.mean_bpb)
        for row, value in published
        if value is not None and id(row) in shown
    ]


def off_scale(values: Sequence[float]) -> float | None:
    """The score from which on a few far worse arms would squash all others into a corner: they are named at the edge,
    with their value.

    At most a quarter of four or more arms, and a gap to the next better one that is twice the span of all the better
    ones. None for none.
    """
    ordered = sorted(values)
    for number in range(1, len(ordered) // 4 + 1):
        kept, first = ordered[:-number], ordered[-number]
        if first - kept[-1] > 2 * (kept[-1] - kept[0]):
            return first
    return None


def numbered(made: StudyResults) -> dict[Key, int | None]:
    """A number for each arm, None for baselines: its place in its family, so that families ordered alike are coloured
    alike.

    Of an arm's families the largest counts: it has most arms to tell apart.
    """
    found: dict[Key, int | None] = {}
    for table in sorted(made.report.families, key=lambda table: -len(table.rows)):
        keys = [key_of(row.group) for row in table.rows]
        for row in table.rows:
            if row.is_baseline:
                found.setdefault(key_of(row.group), None)
        taken = {found[key] for key in keys if key in found}
        wanted = [number for number in range(len(keys) + len(taken)) if number not in taken]
        free: Callable[[], int] = iter(wanted).__next__
        for key in keys:
            if key not in found:
                found[key] = free()
    return found
