"""The tables as a page: sections of lines and grids of text, the same for all formats of `pgolf.pages.formats`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pgolf.pages.introduction import LEVEL, introduction
from pgolf.pages.seed_scores import seed_scores
from pgolf.records.progress import count_text
from pgolf.tables.contrast import Comparison
from pgolf.tables.family import ArmRow, FamilyTable, seed_noise
from pgolf.tables.stats import TTest
from pgolf.tables.table import Tables
from pgolf.tables.text import Grid, Section, SectionKind, interval, number, p_text

UNIT = "Seed sd: {sd:.5f} bpb, between seeds within an arm, pooled over {arms}."
MOST_COLUMNS = 6  # of differing keys; more keys are listed


@dataclass(frozen=True)
class Column:
    title: str
    cell: Callable[[ArmRow], str]
    numeric: bool = True


def page(report: Tables, *, published: bool = False) -> list[Section]:
    """Warnings, if any, the sections of each family, the scores of single seeds, and the runs without a score.

    published: whether the runs are those of a published study, so that the challenge's threshold is of interest.
    """
    sections = [Section(SectionKind.WARNINGS, "Warnings", report.warnings)] if report.warnings else []
    for table in report.families:
        sections += family_sections(table, published=published)
    sections += seed_scores(report.families)
    if report.unscored:
        rows = tuple((run.label, str(run.seed), run.status, run.error) for run in report.unscored)
        grid = Grid(("arm", "seed", "status", "reason"), (False, True, False, False), rows)
        sections.append(Section(SectionKind.UNSCORED, "Runs without a score", (), grid))
    return sections


def family_sections(table: FamilyTable, *, published: bool) -> list[Section]:
    """Table, threshold, details and configuration of one family."""
    if not table.rows:
        return [Section(SectionKind.FAMILY, table.family.name, ("This family has no runs.",))]
    sections = [Section(SectionKind.FAMILY, table.family.name, introduction(table), main_grid(table))]
    compared = [row for row in table.rows if row.comparison is not None and row.comparison.test is not None]
    if compared:
        sections += [threshold_section(table, compared)] if published else []
        heading = f"{table.family.name}: details"
        noise = seed_noise(table)
        unit = () if not noise.sd else (UNIT.format(sd=noise.sd, arms=count_text(noise.groups, "arm")),)
        columns = [
            *DETAILS,
            *corrected_columns(table.settings.rules.correction),
            *([Column("difference, seed sds", effect_cell(noise.sd))] if noise.sd else []),
        ]
        sections.append(Section(SectionKind.DETAILS, heading, unit, grid_of(columns, compared)))
    if any(row.differing for row in table.rows):
        sections.append(configuration(table))
    return sections


def p_of(test: TTest | None) -> str:
    return "" if test is None else p_text(test.p)


def difference(row: ArmRow) -> str:
    """The difference of the test that decides; `none` if it is refused. Then the notes say why."""
    if row.comparison is None:
        return "baseline" if row.is_baseline else ""
    return interval(row.comparison.test) if row.comparison.refusal is None else "none"


def seeds(row: ArmRow) -> str:
    done, planned = row.group.n, row.planned_seeds
    return str(done) if planned <= done else f"{done} of {planned}"


def parameters(row: ArmRow) -> str:
    total, frozen = row.group.only("params.total"), row.group.only("params.frozen")
    return "" if total is None else f"{total:,} ({frozen or 0:,})"


def size(row: ArmRow) -> str:
    """Mean bytes of model and code, and whether every seed is under the cap."""
    mean, under = row.group.mean("total_bytes"), [run.get("under_cap") for run in row.group.used.values()]
    if mean is None:
        return ""
    return f"{mean:,.0f}, {'under' if all(under) else f'OVER in {under.count(False)} of {len(under)}'}"


def notes(row: ArmRow) -> str:
    return "; ".join(dict.fromkeys(caveat.text for caveat in row.caveats))


Scoring = tuple[str, str]  # evaluation mode, hash of the validation text


def scoring(row: ArmRow) -> Scoring:
    """How an arm was scored. Scores with different scorings never share a column."""
    return str(row.group.only("eval_mode")), str(row.group.only("val_text_sha"))


def scorings(rows: Sequence[ArmRow]) -> dict[Scoring, str]:
    """All scorings of a table, each with a name that tells it apart; the name is empty for a single one."""
    kinds = list(dict.fromkeys(scoring(row) for row in rows if row.mean_bpb is not None)) or [("", "")]
    if len(kinds) == 1:
        return {kinds[0]: ""}
    several_texts = len({sha for _, sha in kinds}) > 1
    return {(mode, sha): f"{mode}{f' text {sha[:8]}' if several_texts else ''}" for mode, sha in kinds}


def score_titles(rows: Sequence[ArmRow]) -> dict[Scoring, str]:
    """The title of the column of scores for each scoring: `bpb`, with the name of the scoring if there are several."""
    return {kind: f"bpb {name}" if name else "bpb" for kind, name in scorings(rows).items()}


def comparable_nats(row: ArmRow, rows: Sequence[ArmRow]) -> float | None:
    """Nats per token if they can be compared with the baseline's (without a baseline, the first arm's), else None."""
    if row.mean_bpb is None:
        return None
    reference = next((r for r in rows if r.is_baseline and r.mean_bpb is not None), None)
    reference = reference or next(r for r in rows if r.mean_bpb is not None)

    def tokens(r: ArmRow) -> set[tuple[Any, Any]]:
        return {(run.get("val_targets"), run.get("val_bytes")) for run in r.group.used.values()}

    same = scoring(row) == scoring(reference) and tokens(row) == tokens(reference)
    return row.group.mean("val_nats") if same else None


def main_grid(table: FamilyTable) -> Grid:
    def score(kind: Scoring) -> Callable[[ArmRow], str]:
        def cell(row: ArmRow) -> str:
            if row.mean_bpb is None or scoring(row) != kind:
                return ""
            return number(row.mean_bpb) + ("" if row.sd_bpb is None else f" ({number(row.sd_bpb)})")

        return cell

    extra = list(dict.fromkeys(title for row in table.rows for title, text in row.extra.items() if text))
    columns = [
        Column("arm", lambda row: row.label, numeric=False),
        Column("n", seeds),
        *(Column(f"mean {title} (sd)", score(kind)) for kind, title in score_titles(table.rows).items()),
        Column(f"difference, bpb [{LEVEL}]", difference),
        Column("p", lambda row: p_of(decisive(row.comparison))),
        Column(f"{table.settings.rules.correction} p", lambda row: p_text(row.holm_p)),
        *(Column(title, extra_cell(title)) for title in extra),
        Column("nats/token", lambda row: number(comparable_nats(row, table.rows))),
        Column("parameters (frozen)", parameters),
        Column("bytes, cap", size),
        Column("step, ms", lambda row: number(row.group.mean("step_ms_median"), 1)),
        Column("notes", notes, numeric=False),
    ]
    return grid_of(columns, table.rows)


def extra_cell(title: str) -> Callable[[ArmRow], str]:
    return lambda row: row.extra.get(title, "")


def decisive(comparison: Comparison | None) -> TTest | None:
    return None if comparison is None else comparison.test


def grid_of(columns: Sequence[Column], rows: Sequence[ArmRow]) -> Grid:
    cells = tuple(tuple(column.cell(row) for column in columns) for row in rows)
    return Grid(tuple(c.title for c in columns), tuple(c.numeric for c in columns), cells)


def test_text(test: TTest | None) -> str:
    """`Welch, n 3 and 3: t = 2.31, df 3.9`."""
    if test is None:
        return ""
    n = " and ".join(map(str, test.n))
    return (
        f"{test.name}, n {n}: {test.reason or 'valid at every look'}"
        if test.t is None
        else f"{test.name}, n {n}: t = {test.t:.2f}, df {test.df:.1f}"
    )


def corrected_interval(row: ArmRow) -> str:
    """The interval whose level is that of the correction for this arm: it decides better or worse."""
    bounds = None if row.corrected is None else row.corrected.interval
    return "" if bounds is None else f"[{number(bounds[0], sign=True)}, {number(bounds[1], sign=True)}]"


DETAILS = (
    Column("arm", lambda row: row.label, numeric=False),
    Column("against", lambda row: row.comparison.baseline if row.comparison else "", numeric=False),
    Column("test", lambda row: test_text(decisive(row.comparison)), numeric=False),
    Column("other test", lambda row: test_text(row.comparison.other_test if row.comparison else None), numeric=False),
    Column(
        f"its difference, bpb [{LEVEL}]", lambda row: interval(row.comparison.other_test if row.comparison else None)
    ),
    Column("its p", lambda row: p_of(row.comparison.other_test if row.comparison else None)),
)


def corrected_columns(correction: str) -> tuple[Column, ...]:
    """What decides. correction: its name, Holm or Bonferroni."""
    return (
        Column(f"interval at {correction}'s level", corrected_interval),
        Column(f"equality, {correction} p", lambda row: p_text(row.corrected.p_equal if row.corrected else None)),
    )


def effect_cell(sd: float) -> Callable[[ArmRow], str]:
    def cell(row: ArmRow) -> str:
        test = decisive(row.comparison)
        return "" if test is None or test.difference is None else number(test.difference / sd, 1, sign=True)

    return cell


def threshold_section(table: FamilyTable, rows: Sequence[ArmRow]) -> Section:
    """The challenge's threshold for a record. It stands apart from the table, since it is another test."""
    settings = table.settings
    line = (
        "What the challenge asks of a record. Passed if the improvement exceeds "
        f"{settings.threshold_nats:g} nats per token in a one-sided test with p < {settings.threshold_p:g}, not "
        "corrected for the number of arms."
    )
    heading = f"{table.family.name}: the challenge's threshold"
    return Section(SectionKind.THRESHOLD, heading, (line,), grid_of(THRESHOLD, rows))


def threshold_verdict(row: ArmRow) -> str:
    comparison = row.comparison
    if comparison is None or comparison.threshold is None:
        return f"not judged: {comparison.nats_refusal}" if comparison else ""
    if row.hindrance is not None:
        return f"not judged: {row.hindrance}"
    threshold = comparison.threshold
    return {None: f"not judged: {threshold.test.reason}", True: "passed", False: "not passed"}[threshold.passed]


def threshold_test(row: ArmRow) -> TTest | None:
    return row.comparison.threshold.test if row.comparison and row.comparison.threshold else None


def improvement(row: ArmRow) -> str:
    test = threshold_test(row)
    return "" if test is None else number(test.difference, sign=True)


THRESHOLD = (
    Column("arm", lambda row: row.label, numeric=False),
    Column("improvement, nats/token", improvement),
    Column("p", lambda row: p_of(threshold_test(row))),
    Column("threshold", threshold_verdict, numeric=False),
)


def configuration(table: FamilyTable) -> Section:
    """The configuration keys that differ, as columns if they are few. Otherwise each arm lists its differences from the
    baseline (without one, from the first arm).
    """
    heading, rows = f"{table.family.name}: configuration keys that differ", table.rows
    keys = list(dict.fromkeys(key for row in rows for key in row.differing))
    if len(keys) <= MOST_COLUMNS:
        columns = [
            Column("arm", lambda row: row.label, numeric=False),
            *(Column(key, key_cell(key), numeric=False) for key in keys),
        ]
        return Section(SectionKind.CONFIGURATION, heading, (), grid_of(columns, rows))
    reference = next((row for row in rows if row.is_baseline), rows[0])
    lines = []
    for row in rows:
        values = {
            k: v
            for k, v in row.differing.items()
            if row is not reference and repr(v) != repr(reference.differing.get(k))
        }
        alone = "the arm that the others are compared with" if row is reference else "no record has its configuration"
        lines.append(f"{row.label}: {listed(values) or alone}")
    return Section(SectionKind.CONFIGURATION, heading, tuple(lines))


def listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value_text(value)}" for key, value in values.items())


def key_cell(key: str) -> Callable[[ArmRow], str]:
    return lambda row: value_text(row.differing.get(key))


def value_text(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
