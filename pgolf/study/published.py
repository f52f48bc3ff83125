"""Published values in the tables, and the verdict on each arm."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pgolf.study.description import EXPLORED, Study
from pgolf.tables.curves import Curve, curves_of
from pgolf.tables.decision import Decision
from pgolf.tables.drift import Drift, drifts
from pgolf.tables.family import ArmRow, FamilyTable
from pgolf.tables.ladder import Climb, Ladder, ladder
from pgolf.tables.table import Tables
from pgolf.tables.text import number, verdict_text

PUBLISHED_SCALE = "published"
BAD = ("failed", "diverged", "damaged", "foreign")  # states of runs without a score
MORE = "not finished: the same command adds seeds"


MOVING, OVER_LADDER = "gap in training", "gap over the ladder"  # titles of columns
STOPPED = "why no more seeds"


def with_published(report: Tables, study: Study, curves: Sequence[Curve], *, judged: bool) -> Tables:
    """The tables with further columns: each arm's published value and, if judged, its verdict and whether its gap to
    the baseline moves during training and over a ladder.
    """
    by_run = curves_of(curves)
    ladders = ladders_of(study, report)
    trends = {id(row): trend(climb, one.over) for one in ladders for climb in one.climbs for row in climb.rows}

    def extended(row: ArmRow, moving: Mapping[str, Drift]) -> ArmRow:
        published = study.published.get(row.group.arm, {}).get("val_bpb")
        cells = {"published bpb": number(published)}
        if row.group.only("choices.scale") == PUBLISHED_SCALE and published is not None and row.mean_bpb is not None:
            cells["measured - published"] = number(row.mean_bpb - published, sign=True)
        cells |= {"verdict": arm_verdict(row, study.smallest_effect_bpb)} if judged else {}
        cells |= {} if study.most_seeds is None else {STOPPED: reason_to_stop(row, study.most_seeds)}
        cells |= {MOVING: moving[row.label].direction} if judged and row.label in moving else {}
        cells |= {OVER_LADDER: trends[id(row)]} if judged and id(row) in trends else {}
        return replace(row, extra={**row.extra, **cells})

    def extended_table(table: FamilyTable) -> FamilyTable:
        moving = drifts(table, by_run)
        return replace(table, rows=tuple(extended(row, moving) for row in table.rows))

    tables = (table if table.family.baseline is None else extended_table(table) for table in report.families)
    return replace(report, families=tuple(tables))


def ladders_of(study: Study, report: Tables) -> list[Ladder]:
    """The ladders that a study names, in its order. The title of one with an explored family says so."""
    tables = {table.family.name: table for table in report.families}
    explored = {plan.name for plan in study.families if plan.explored}
    return [
        ladder(
            f"{plan.title}{'' if explored.isdisjoint(plan.families) else EXPLORED}",
            plan.over,
            [tables[name] for name in plan.families if name in tables],
        )
        for plan in study.ladders
    ]


def trend(climb: Climb, over: str) -> str:
    """How the gap of an arm moves over a ladder, for readers."""
    if climb.slope.p is None:
        return f"over {over} is not known"
    return f"{climb.direction} with {over}" if climb.direction else f"has no shown slope over {over}"


def reason_to_stop(row: ArmRow, most_seeds: int) -> str:
    """Why an arm whose seeds are added one by one gets no further one; empty if nothing is compared."""
    if row.comparison is None or row.comparison.refusal is not None:
        return ""
    if row.decision not in (None, Decision.UNDECIDED):
        return f"decided at {row.group.n} seeds"
    if any(run["status"] in BAD for run in row.group.rows):
        return "a run has no score"
    if row.group.n >= most_seeds:
        return f"cap of {most_seeds} seeds"
    return MORE


def arm_verdict(row: ArmRow, smallest: float) -> str:
    """The verdict on an arm's difference to its baseline, with the reason if none is possible; empty without a test."""
    return "" if row.decision is None else verdict_text(row.decision, smallest, row.hindrance)
