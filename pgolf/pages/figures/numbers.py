"""The numbers that the pictures show, computed from StudyResults.

A panel shows one family's arms, scored in one way. Scores of different evaluation modes or validation texts never share
an axis. Unless stated otherwise, a value is a mean over the counted seeds of one arm, and `low` and `high` are the
lowest and highest of those seeds.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from pgolf.pages.aggregation import StudyResults
from pgolf.pages.sections import scoring, scorings
from pgolf.tables.curves import Curve, CurveByRun, of_group
from pgolf.tables.drift import drifts
from pgolf.tables.family import ArmRow, FamilyTable, base_of
from pgolf.tables.groups import Group
from pgolf.tables.stats import TTest

Key = tuple[str, str, str]  # study, arm, fingerprint: has one colour in all pictures
MOST_ARMS = 60  # in one picture: more cannot be distinguished, and take too long to draw
MOST_POINTS = 1000  # of one curve, in a picture 420 points wide
WINDOW = 5  # logged points of training in one moving average
TRAIN, VALIDATION = "training", "validation"


@dataclass(frozen=True)
class Part:
    """A family's rows that share an axis. title: the family, and the scoring if there are several."""

    title: str
    table: FamilyTable
    rows: tuple[ArmRow, ...]


@dataclass(frozen=True)
class Series:
    """The curve of one arm: bits per byte by trained tokens, at the points that the curves of all its seeds have."""

    key: Key
    label: str
    seeds: int
    tokens: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class Effect:
    """An arm's difference to its baseline in bits per byte, with the 95% interval of the study's test. reason: why the
    difference or the interval is missing. seeds: the differences of single seeds, to the baseline's mean or, if the
    test is paired, to the same seed of the baseline.
    """

    key: Key
    label: str
    difference: float | None
    low: float | None
    high: float | None
    reason: str = ""
    seeds: tuple[float, ...] = ()


@dataclass(frozen=True)
class Sized:
    """An arm's packed bytes (model and code, mean over seeds) and its score."""

    key: Key
    label: str
    total_bytes: float
    bpb: float
    low: float
    high: float


def key_of(group: Group) -> Key:
    return group.study, group.arm, group.fingerprint


def parts(table: FamilyTable) -> list[Part]:
    """The family's scored arms, one part per scoring."""
    scored = []
    for kind, name in scorings(table.rows).items():
        rows = drawn_rows([row for row in table.rows if row.mean_bpb is not None and scoring(row) == kind])
        if rows:
            scored.append(Part(f"{table.family.name} ({name})" if name else table.family.name, table, rows))
    return scored


def series(part: Part, kind: str, curves: CurveByRun) -> list[Series]:
    """One line per arm with a curve of a counted seed. kind: TRAIN or VALIDATION."""
    lines = (line_of(row, kind, curves) for row in part.rows)
    return [line for line in lines if line is not None]


def line_of(row: ArmRow, kind: str, curves: CurveByRun) -> Series | None:
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
    """(trained tokens, bits per byte of the batches), as a centred moving average over up to WINDOW logged points.

    Long curves drop their last WINDOW // 2 points, so that the plotted end is a full average.
    """
    logged = [(at, bpb) for at, bpb in zip(curve.train_tokens, curve.train_bpb, strict=True) if math.isfinite(bpb)]
    last = len(logged) - (WINDOW // 2 if len(logged) > 2 * WINDOW else 0)
    for number in thinned(last):
        at = logged[number][0]
        reach = min(WINDOW // 2, number, len(logged) - 1 - number)
        yield at, fmean(bpb for _, bpb in logged[number - reach : number + reach + 1])


def validation(curve: Curve, group: Group) -> Iterator[tuple[float, float]]:
    """(trained tokens, live validation bits per byte). The tokens of a step follow from the run's batch size, or else
    from its training points.
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
    """The indices of the points that are drawn, out of `count`: evenly spaced, with the first and the last, all up to
    MOST_POINTS.

    The spacing is a power of two, so that curves of different lengths have common points.
    """
    spacing = 1
    while count > MOST_POINTS * spacing:
        spacing *= 2
    yield from range(0, count, spacing)
    if count and (count - 1) % spacing:
        yield count - 1


def is_long(curves: Iterable[Curve]) -> bool:
    """Whether any curve has more points than are drawn."""
    return any(max(len(curve.train_steps), len(curve.val_steps)) > MOST_POINTS for curve in curves)


def drawn_rows(rows: Sequence[ArmRow]) -> tuple[ArmRow, ...]:
    """The arms of a picture in table order: the baselines and the best by mean score, at most MOST_ARMS."""
    if len(rows) <= MOST_ARMS:
        return tuple(rows)
    ranked = sorted(rows, key=lambda row: (not row.is_baseline, row.mean_bpb is None, row.mean_bpb or 0.0))
    best = set(map(id, ranked[:MOST_ARMS]))
    return tuple(row for row in rows if id(row) in best)


def effects(table: FamilyTable) -> list[Effect]:
    """The difference of each arm that is compared with the family's baseline; without a difference, the reason."""
    rows = drawn_rows([row for row in table.rows if row.comparison is not None])
    return [effect_of(row, seed_differences(row, table)) for row in rows]


def effect_of(row: ArmRow, seeds: tuple[float, ...]) -> Effect:
    comparison = row.comparison
    assert comparison is not None, row.label
    test = comparison.test
    if comparison.refusal is not None or test is None:
        reason = "no test" if comparison.refusal is None else comparison.refusal.text
        return Effect(key_of(row.group), row.label, None, None, None, reason)
    return Effect(key_of(row.group), row.label, test.difference, test.low, test.high, test.reason or "", seeds)


def is_by_pairs(row: ArmRow, table: FamilyTable) -> bool:
    """Whether an arm's test compares it seed by seed."""
    return row.comparison is not None and (row.comparison.is_paired or table.settings.method.blocked)


def seed_differences(row: ArmRow, table: FamilyTable) -> tuple[float, ...]:
    """The differences of an arm's seeds, see Effect; empty for one seed."""
    base = base_of(row, table)
    if row.comparison is None or base is None or base.mean_bpb is None or row.group.n < 2:
        return ()
    if is_by_pairs(row, table):
        return row.comparison.pairs
    return tuple(score - base.mean_bpb for score in row.group.values("val_bpb"))


def baseline_seeds(table: FamilyTable) -> tuple[float, ...]:
    """The scores of a family's only baseline minus their mean; empty for several baselines, one seed or pairs."""
    bases = [row for row in table.rows if row.is_baseline and row.mean_bpb is not None]
    if len(bases) != 1 or bases[0].group.n < 2 or any(is_by_pairs(row, table) for row in table.rows):
        return ()
    return tuple(score - (bases[0].mean_bpb or 0.0) for score in bases[0].group.values("val_bpb"))


def gap_series(table: FamilyTable, curves: CurveByRun) -> list[Series]:
    """The gap of each compared arm to its baseline by trained tokens. low and high: the 95% interval within seeds."""
    found = drifts(table, curves)
    return [
        gap_line(row.group, row.label, drift.gaps[0].n[0], drift.tokens, drift.gaps)
        for row in drawn_rows(table.rows)
        if (drift := found.get(row.label)) is not None
    ]


def gap_line(group: Group, label: str, seeds: int, amounts: Sequence[float], gaps: Sequence[TTest]) -> Series:
    """The gaps of one arm at some amounts. Without an interval, low and high are the gap itself."""
    return Series(
        key_of(group),
        label,
        seeds,
        tuple(map(float, amounts)),
        tuple(gap.difference or 0.0 for gap in gaps),
        tuple((gap.difference if gap.low is None else gap.low) or 0.0 for gap in gaps),
        tuple((gap.difference if gap.high is None else gap.high) or 0.0 for gap in gaps),
    )


def sizes(part: Part) -> list[Sized]:
    """Bytes and score of each arm whose counted records all have their bytes."""
    points = []
    for row in part.rows:
        total, scores = row.group.mean("total_bytes"), row.group.values("val_bpb")
        if total is not None and row.mean_bpb is not None and scores:
            points.append(Sized(key_of(row.group), row.label, total, row.mean_bpb, min(scores), max(scores)))
    return points


def cap_of(part: Part) -> float | None:
    """The cap of the records; None if they have no cap or several."""
    caps = {row.group.only("cap_bytes") for row in part.rows}
    cap = caps.pop() if len(caps) == 1 else None
    return float(cap) if cap is not None else None


def off_scale(values: Sequence[float]) -> float | None:
    """The lowest score of the outliers, which would compress the axis; None without outliers. Pictures label outliers
    at the edge with their value.

    Outliers are at most a quarter of four or more arms. Their gap to the next better arm is more than twice the span of
    all better arms.
    """
    ordered = sorted(values)
    for number in range(1, len(ordered) // 4 + 1):
        rest, first = ordered[:-number], ordered[-number]
        if first - rest[-1] > 2 * (rest[-1] - rest[0]):
            return first
    return None


def numbered(results: StudyResults) -> dict[Key, int | None]:
    """A number for each arm, None for baselines: its place in its family, so that families with one order have the same
    colours.

    For an arm in several families the largest one decides.
    """
    numbers: dict[Key, int | None] = {}
    for table in sorted(results.report.families, key=lambda table: -len(table.rows)):
        keys = [key_of(row.group) for row in table.rows]
        for row in table.rows:
            if row.is_baseline:
                numbers.setdefault(key_of(row.group), None)
        used = {numbers[key] for key in keys if key in numbers}
        free = iter([number for number in range(len(keys) + len(used)) if number not in used])
        for key in keys:
            if key not in numbers:
                numbers[key] = next(free)
    return numbers
