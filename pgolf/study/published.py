"""Published values in the tables, and the verdict on each arm."""

from dataclasses import replace

from pgolf.study.description import Study
from pgolf.tables.family import ArmRow
from pgolf.tables.table import Tables
from pgolf.tables.text import number, verdict_text

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
    """The verdict on an arm's difference to its baseline, with the reason if none is possible; empty without a test."""
    return "" if row.decision is None else verdict_text(row.decision, smallest, row.hindrance)
