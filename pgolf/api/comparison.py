"""`pgolf.compare`: the differences between arms as a frame, by the functions that make the tables of a study."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pgolf.api.frames import FrameWithMore, rows_of
from pgolf.api.results import Results, Source
from pgolf.errors import PgolfError
from pgolf.machine.clean_text import clean
from pgolf.pages.aggregation import StudyResults, aggregate
from pgolf.pages.formats import markdown
from pgolf.records.rows import Collected, Row, collect
from pgolf.tables.contrast import Settings
from pgolf.tables.family import ArmRow, Family, FamilyTable, base_of
from pgolf.tables.methods import PAIRED
from pgolf.tables.table import tabulate

BESIDE = "compare"  # the name under which two sets of rows are compared
COLUMNS = {  # of the frame of differences, with their types
    "study": "object",
    "family": "object",
    "arm": "object",
    "label": "object",  # the arm as the tables show it, without what all arms share
    "baseline": "object",
    "n": "Int64",
    "n_baseline": "Int64",
    "mean_bpb": "float64",
    "mean_bpb_baseline": "float64",
    "difference_bpb": "float64",
    "low_bpb": "float64",
    "high_bpb": "float64",
    "p": "float64",
    "holm_p": "float64",
    "test": "object",
    "margin_bpb": "float64",
    "decision": "object",
    "reason": "object",
    "caveats": "object",
}


@dataclass(frozen=True)
class Page:
    """All tables of a comparison as one page; a notebook shows it, and `str` gives it as Markdown."""

    text: str

    def __str__(self) -> str:
        return self.text

    def _repr_markdown_(self) -> str:
        return self.text


class Comparison(FrameWithMore):
    """A frame with one row per arm that was compared, its `warnings`, and its `page` of tables.

    As with `Results`, every operation of pandas gives a plain DataFrame.
    """

    _internal_names = [*pd.DataFrame._internal_names, "_results"]  # type: ignore[attr-defined]  # noqa: RUF012
    _internal_names_set = set(_internal_names)  # noqa: RUF012

    _results: StudyResults

    @classmethod
    def of(cls, results: StudyResults) -> "Comparison":
        """The differences in all families of a study."""
        entries = [entry for table in results.report.families for entry in differences(table)]
        comparison = cls(pd.DataFrame(entries, columns=list(COLUMNS)).astype(COLUMNS))
        comparison._results = results
        return comparison

    @property
    def warnings(self) -> tuple[str, ...]:
        """Everything that limits the numbers: missing and failed runs, few seeds, other code. Read them first."""
        return tuple(map(clean, self._results.report.warnings))

    @property
    def page(self) -> Page:
        """The page that `python -m pgolf.aggregate` writes as table.md: question, tables and verdicts."""
        return Page(markdown(self._results.sections))


def differences(table: FamilyTable) -> Iterator[dict[str, Any]]:
    """One entry per arm of a family that has a baseline, in the order of its table."""
    for row in table.rows:
        if row.comparison is None or row.is_baseline:
            continue
        base, test = base_of(row, table), row.comparison.test
        yield {
            "study": row.group.study,
            "family": table.family.name,
            "arm": row.group.arm,
            "label": row.label,
            "baseline": table.family.baseline,
            "n": row.group.n,
            "n_baseline": None if base is None else base.group.n,
            "mean_bpb": row.mean_bpb,
            "mean_bpb_baseline": None if base is None else base.mean_bpb,
            "difference_bpb": None if test is None else test.difference,
            "low_bpb": None if test is None else test.low,
            "high_bpb": None if test is None else test.high,
            "p": None if test is None else test.p,
            "holm_p": row.holm_p,
            "test": None if test is None else test.name,
            "margin_bpb": table.settings.smallest_effect_bpb,
            "decision": None if row.decision is None else row.decision.value,
            "reason": reason(row),
            "caveats": "; ".join(caveat.text for caveat in row.caveats),
        }


def reason(row: ArmRow) -> str | None:
    """Why there is no difference, no interval or no verdict; None where nothing is missing."""
    comparison = row.comparison
    if comparison is not None and comparison.refusal is not None:
        return comparison.refusal.text
    if row.hindrance is not None:
        return row.hindrance
    return None if comparison is None or comparison.test is None else comparison.test.reason


def compare(
    runs: Source | pd.DataFrame,
    baseline: str | pd.DataFrame | None = None,
    *,
    paired: bool = False,
    smallest_effect_bpb: float | None = None,
) -> Comparison:
    """The difference of each arm to its baseline, in bits per byte; positive is worse.

    runs: a study's folder, a results .jsonl file, or rows of `pgolf.load`. baseline: the name of an arm, by default
    that of the study, or its first planned arm; or other rows of `pgolf.load`, all of one configuration. paired: paired
    t tests over common seeds instead of the study's test. smallest_effect_bpb: the smallest difference that matters, by
    default that of the study. Both are to be chosen before the runs.

    low_bpb and high_bpb are the 95% interval of one comparison. holm_p and decision are corrected for all comparisons
    of a family. Raises PgolfError, also if no arm can be compared: there is only one, or no baseline.
    """
    if smallest_effect_bpb is not None and not 0 < smallest_effect_bpb < float("inf"):
        raise PgolfError(f"smallest_effect_bpb: must be above 0 and finite ({smallest_effect_bpb})")
    settings = Settings(PAIRED if paired else None, smallest_effect_bpb)
    if isinstance(baseline, pd.DataFrame):
        results = side_by_side(selected_rows(runs), rows_of(baseline), settings)
    else:
        results = results_of(runs, baseline, settings)
    comparison = Comparison.of(results)
    if comparison.empty:
        raise nothing_to_compare(results)
    return comparison


def nothing_to_compare(results: StudyResults) -> PgolfError:
    """The error for runs in which no arm has another one as its baseline."""
    labels = list(dict.fromkeys(row.label for table in results.report.families for row in table.rows))
    if len(labels) > 1:
        return PgolfError(f"baseline: is not known for these arms ({', '.join(labels)}). Name one of them")
    return PgolfError(
        f"runs: have one arm, and two are compared ({', '.join(labels) or 'none'}). Give runs of several arms, or runs "
        "of another arm as the baseline"
    )


def results_of(
    runs: Source | pd.DataFrame, baseline: str | None, settings: Settings, *, with_curves: bool = False
) -> StudyResults:
    """Tables and verdicts of a folder or file, or of rows.

    Rows that are a whole `Results` keep their study with its families, its test and its claims. Selected rows are
    compared without a study. Raises PgolfError.
    """
    try:
        if not isinstance(runs, pd.DataFrame):
            return aggregate(Path(runs), baseline=baseline, settings=settings, with_curves=with_curves)
        if runs.empty:
            raise PgolfError("runs: are empty. Give rows of pgolf.load, selected by a condition that some of them meet")
        collected = Collected(rows_of(runs), [])
        if isinstance(runs, Results):
            collected = Collected(collected.rows, list(runs.notes))
            source = runs.source
            return aggregate(source, baseline=baseline, settings=settings, with_curves=with_curves, collected=collected)
        report = tabulate(collected, baseline=baseline, settings=settings)
        return StudyResults(Path(BESIDE), collected, report, None, (), ())
    except PgolfError as error:
        raise type(error)(str(error).removeprefix("--")) if type(error) is PgolfError else error from None


def selected_rows(runs: Source | pd.DataFrame) -> list[Row]:
    """The rows of a frame, or of what a folder or file has."""
    return rows_of(runs) if isinstance(runs, pd.DataFrame) else collect(Path(runs)).rows


def side_by_side(rows: list[Row], base_rows: list[Row], settings: Settings) -> StudyResults:
    """Each arm of `rows` beside the one arm of `base_rows`. Sweep plans are left aside: they may be of two folders."""
    bases = list(dict.fromkeys((row["arm"], row["fingerprint"]) for row in base_rows))
    if len(bases) != 1:
        shown = ", ".join(f"{arm} [{fingerprint[:8]}]" for arm, fingerprint in bases) or "none"
        raise PgolfError(
            f"baseline: needs rows of one configuration ({shown}). Select them, as with runs[runs.arm == 'tied']"
        )
    arm = str(bases[0][0])
    others = [renamed(row, arm_beside(row["arm"], arm)) for row in rows]
    collected = Collected([*(renamed(row, arm) for row in base_rows), *others], [])
    family = Family(BESIDE, BESIDE, (arm, *dict.fromkeys(row["arm"] for row in others)), arm)
    report = tabulate(collected, families=[family], settings=settings)
    return StudyResults(Path(BESIDE), collected, report, None, (), ())


def arm_beside(arm: str, baseline: str) -> str:
    """The name of an arm beside a baseline, which may have the same name in another folder."""
    return f"{arm} (compared)" if arm == baseline else arm


def renamed(row: Row, arm: str) -> Row:
    return {**row, "study": BESIDE, "arm": arm, "planned": None}
