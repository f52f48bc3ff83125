"""Published values in the tables, and the verdict on each arm."""

from dataclasses import replace

from pgolf.study.description import Study
from pgolf.tables.stats import ALPHA
from pgolf.tables.table import ArmRow, Tables
from pgolf.tables.text import number

PUBLISHED_SCALE = "published"


def with_published(report: Tables, study: Study, *, judged: bool) -> Tables:
    """The tables with further columns: each arm's published value and, if judged, its verdict."""

    def extended(row: ArmRow) -> ArmRow:
        published = study.published.get(row.group.arm, {}).get("val_bpb")
        cells = {"published bpb": number(published)}
        if row.group.only("choices.scale") == PUBLISHED_SCALE and published is not None and row.mean_bpb is not None:
            cells["measured - published"] = number(row.mean_bpb - published, sign=True)
        cells |= {"verdict": arm_verdict(row, study.smallest_effect_bpb)} if judged else {}
        return replace(row, extra={**row.extra, **cells})

    tables = [
        replace(table, rows=tuple(extended(row) for row in table.rows)) if table.family.baseline is not None else table
        for table in report.families
    ]
    return replace(report, families=tuple(tables))


def arm_verdict(row: ArmRow, smallest: float) -> str:
    """The verdict on an arm's difference to its baseline; empty without a test."""
    test = None if row.comparison is None else row.comparison.test
    if test is None or test.difference is None or test.low is None or test.high is None or row.holm_p is None:
        return ""
    if row.holm_p < ALPHA:
        return "worse" if test.difference > 0 else "better"
    return "no difference that matters" if test.within(smallest) else "undecided"
