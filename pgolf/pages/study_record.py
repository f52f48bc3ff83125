"""The record of a study: what was named before the runs, what was added or explored, and how much was compared."""

from collections.abc import Sequence
from datetime import UTC, datetime

from pgolf.records.kinds import is_number
from pgolf.records.rows import Row
from pgolf.study.description import Study
from pgolf.tables.contrast import hypotheses
from pgolf.tables.decision import corrected
from pgolf.tables.family import FamilyTable
from pgolf.tables.stats import TTest
from pgolf.tables.table import Tables
from pgolf.tables.text import Grid, Section, SectionKind, verdict_text

SHORT = 7  # characters of a commit
TITLES = ("family", "status", "arms", "comparisons", "runs", "first score", "last score", "commits of the runs")
PLANNED, EXPLORED, ADHOC = "planned", "explored afterwards", "ad hoc"
LINE = (
    "A family is planned unless its study marks it as explored, or does not name it (ad hoc). Times are UTC. The "
    "commit of a run holds the study's file as it was when that run started."
)


def study_record(study: Study, report: Tables) -> Section:
    """One row per family, and how many comparisons there are in all."""
    rows = tuple(family_cells(study, table) for table in report.families)
    grid = Grid(TITLES, (False, False, True, True, True, False, False, False), rows)
    lines = (LINE, *later_families(study, report), comparisons_line(report), *over_all(report))
    return Section(SectionKind.RECORD, "Record of the study", lines, grid)


def family_cells(study: Study, table: FamilyTable) -> tuple[str, ...]:
    plan = study.plan_of(table.family.name)
    status = ADHOC if plan is None else EXPLORED if plan.explored else PLANNED
    runs = runs_of(table)
    times = ended(runs)
    commits = dict.fromkeys(commit(run) for run in runs)
    return (
        table.family.name,
        status,
        str(len(table.family.arms)),
        str(comparisons(table)),
        str(len(runs)) + (f" ({added} of added seeds)" if (added := added_runs(table)) else ""),
        time_text(times[0]) if times else "",
        time_text(times[-1]) if times else "",
        ", ".join(filter(None, commits)),
    )


def runs_of(table: FamilyTable) -> list[Row]:
    return [run for row in table.rows for run in row.group.used.values()]


def added_runs(table: FamilyTable) -> int:
    """The counted runs with a seed that was added to the planned ones."""
    return sum(len(table.family.added_seeds(row.group)) for row in table.rows)


def ended(runs: Sequence[Row]) -> list[float]:
    """The times at which the runs ended, Unix time in seconds, sorted."""
    return sorted(float(run["ended_at"]) for run in runs if is_number(run.get("ended_at")))


def time_text(seconds: float) -> str:
    """`2026-11-27 04:25`, in UTC; empty for a time outside the calendar."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"
    except (ValueError, OSError, OverflowError):
        return ""


def commit(run: Row) -> str:
    """`912006f`, or `912006f with changes`; empty if it is not known."""
    sha = run.get("git_sha")
    if not isinstance(sha, str):
        return ""
    return sha[:SHORT] + (" with changes" if run.get("git_dirty") else "")


def counted(table: FamilyTable) -> dict[str, TTest | None]:
    """The tests that the correction counts, by fingerprint or name of an absent arm; None without a test."""
    compared = [row.comparison for row in table.rows]
    tests = [None if comparison is None else comparison.test for comparison in compared]
    return hypotheses((row.group for row in table.rows), compared, tests) | dict.fromkeys(table.absent)


def comparisons(table: FamilyTable) -> int:
    """The comparisons that the correction counts."""
    return len(counted(table))


def later_families(study: Study, report: Tables) -> list[str]:
    """A line about planned families whose own runs all ended after other families had all their scores."""
    times = {table.family.name: own_times(table, report) for table in report.families}
    later: dict[str, list[str]] = {}
    for name, own in times.items():
        plan = study.plan_of(name)
        before = [other for other, of_other in times.items() if own and of_other and of_other[-1] < own[0]]
        if before and plan is not None and not plan.explored:
            later.setdefault(", ".join(before), []).append(name)
    return [
        f"All runs of {', '.join(names)} ended after those of {before}, whose scores could be known by then."
        for before, names in later.items()
    ]


def own_times(table: FamilyTable, report: Tables) -> list[float]:
    """When the runs ended of the arms that no earlier family has."""
    earlier: set[str] = set()
    for other in report.families:
        if other is table:
            break
        earlier |= set(other.family.arms)
    return ended([run for run in runs_of(table) if run["arm"] not in earlier])


def comparisons_line(report: Tables) -> str:
    compared = [table for table in report.families if comparisons(table)]
    total = sum(map(comparisons, compared))
    return (
        f"Comparisons with a baseline: {total} in {len(compared)} {'families' if len(compared) != 1 else 'family'}. "
        f"{report.correction}'s method corrects within each family, not over all of them."
    )


def over_all(report: Tables) -> list[str]:
    """Which decisions would be others if the correction went over all comparisons of the study; no line for a
    single family.
    """
    tables = [table for table in report.families if comparisons(table)]
    if len(tables) < 2:
        return []
    tests = {(at, key): test for at, table in enumerate(tables) for key, test in counted(table).items()}
    found = dict(zip(tests, corrected(list(tests.values()), tables[0].settings.rules), strict=True))
    turned = []
    for at, table in enumerate(tables):
        for row in table.rows:
            result = found.get((at, row.group.fingerprint))
            decision = row.decision
            if decision is None or result is None or row.hindrance is not None or decision is result.decision:
                continue
            before, after = (verdict_text(d, table.settings.smallest_effect_bpb) for d in (decision, result.decision))
            turned.append(f"{table.family.name} {row.label} from {before} to {after}")
    listed = f"would turn {len(turned)} of them: {'; '.join(turned)}." if turned else "would turn none of them."
    return [f"A correction over all comparisons {listed}"]
