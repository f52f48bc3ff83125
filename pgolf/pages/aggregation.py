"""From a folder of runs, or a file of rows, to a study's tables and verdicts, computed once for every command that
shows them.
"""

import os
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from pgolf.errors import DamagedFile, PgolfError
from pgolf.pages.formats import csv_text, latex, markdown
from pgolf.pages.sections import page
from pgolf.pages.study import study_sections
from pgolf.records.rows import ROWS, Collected, Row, collect, companion_path, parsed_lines, row_lines, write_out
from pgolf.study.departures import caveats, caveats_of_arms, departures
from pgolf.study.description import STUDY, Study, read_study, write_study
from pgolf.study.published import with_published
from pgolf.study.verdicts import Verdict, rules_used, verdicts
from pgolf.tables.contrast import Settings
from pgolf.tables.curves import Curve, curve_lines, load_curves, read_curves
from pgolf.tables.table import Family, Tables, tabulate
from pgolf.tables.text import Grid, Section

CURVES = "curves.jsonl"
WIDE = 200  # columns of a page, where there is no terminal to ask
FILES = (ROWS, "table.md", "table.csv", "table.tex")


@dataclass(frozen=True)
class StudyResults:
    """Everything that a table, a report or a notebook shows. study: None for runs of no study."""

    source: Path
    collected: Collected
    report: Tables
    study: Study | None
    verdicts: tuple[Verdict, ...]
    curves: tuple[Curve, ...]

    def sections(self) -> list[Section]:
        """The page: question, warnings, tables, verdicts."""
        found = page(self.report)
        if self.study is not None:
            lines = (self.study.question, self.study.origin, *(family.told for family in self.study.families))
            found = [Section(self.study.name, lines), *found, *study_sections(self.study, self.report, self.curves)]
        return [*found, *([verdict_section(self.verdicts)] if self.verdicts else [])]


def aggregate(
    source: Path, *, baseline: str | None = None, settings: Settings | None = None, with_curves: bool = False
) -> StudyResults:
    """Read and compute. The study's own test and smallest effect hold where `settings` names none; by others there is
    no verdict.

    Raises PgolfError.
    """
    collected = collect(source)
    curves: list[Curve] = []
    study, unread = study_beside(source)
    settings = settings or Settings()
    families, changed = None, [] if study is None else departures(study, baseline, settings)
    if study is not None and baseline is None:
        families = [Family(f.name, study.name, f.arms, f.baseline) for f in study.families]
        smallest = study.smallest_effect_bpb if settings.smallest_effect_bpb is None else settings.smallest_effect_bpb
        settings = replace(settings, pairs=settings.pairs or study.test == "paired", smallest_effect_bpb=smallest)
    report = tabulate(collected, families=families, baseline=baseline, settings=settings)
    judged: tuple[Verdict, ...] = ()
    of_arms: list[str] = []
    if study is not None and families is not None:
        of_arms = caveats_of_arms(study, report)
        report = with_published(report, study, judged=not changed)
        judged = () if changed else tuple(verdicts(study, report))
    report = replace(
        report, warnings=(*unread, *changed, *caveats(source, collected.rows, study), *of_arms, *report.warnings)
    )
    if with_curves or study is not None:
        curves, damaged = (
            read_curves(source, collected.rows) if source.is_dir() else load_curves(companion_path(source, CURVES))
        )
        report = replace(report, warnings=(*report.warnings, *damaged))
    return StudyResults(source, collected, report, study, judged, tuple(curves))


def study_beside(source: Path) -> tuple[Study | None, list[str]]:
    """The study that rows belong to, and a warning where its description is damaged: the tables are then those of runs
    of no study.
    """
    where = companion_path(source, STUDY)
    try:
        return read_study(where.parent, where.name), []
    except DamagedFile as error:
        return None, [f"{error}. Its families, test and claims are not known"]


def verdict_section(found: tuple[Verdict, ...]) -> Section:
    grid = Grid(
        ("published claim", "family", "verdict", "numbers", "what the published material shows"),
        (False,) * 5,
        tuple((v.claim.text, v.test.family, v.told, v.why, v.claim.note) for v in found),
    )
    return Section("Published claims", tuple(rules_used(found)), grid)


def output_path(out: Path, name: str) -> Path:
    """Where a file goes: into a folder under its own name, or beside rows.jsonl as rows.<name>, the rows being that
    file (see `beside`).
    """
    if out.suffix != Path(ROWS).suffix:
        return out / name
    if name == ROWS:
        return out
    return out.with_name(name if out.name == ROWS else f"{out.stem}.{name}")


def write_tables(made: StudyResults, out: Path) -> list[str]:
    """Write rows, tables and, for a study, its description and curves: into a folder, or under the name of a `.jsonl`
    file for the rows.

    Returns warnings. Raises PgolfError, also where another study's tables stand.
    """
    warnings: list[str] = []
    target, described = output_path(out, ROWS), output_path(out, STUDY)
    # Which takes a circle of links.
    is_own = os.path.realpath(described) == os.path.realpath(companion_path(made.source, STUDY))
    there = None if is_own else read_study(described.parent, described.name)
    if there is not None and there.name != (made.study.name if made.study else None):
        raise PgolfError(f"{described}: tables of the study {there.name} stand here. Choose another place with --out")
    is_input = made.source.is_file() and target.exists() and target.samefile(made.source)
    if not is_input:  # the input stays as it is
        try:
            warnings = write_rows(target, made.collected.rows)
        except OSError as error:
            raise PgolfError(
                f"{target}: cannot be read or kept aside ({error.strerror}). Choose another place with --out"
            ) from None
    sections = made.sections()
    write_out(output_path(out, "table.md"), [markdown(sections)])
    write_out(output_path(out, "table.csv"), [csv_text(made.report)])
    write_out(output_path(out, "table.tex"), [latex(sections)])
    if made.curves and not is_input:
        write_out(output_path(out, CURVES), curve_lines(made.curves))
    if made.study is not None and not is_own:
        write_study(described.parent, made.study, described.name)
    return warnings


def write_rows(path: Path, rows: list[Row]) -> list[str]:
    """Write results.jsonl; one that holds runs which are not found now, and so may be gone, is kept aside. Returns
    warnings.
    """
    warnings = []
    if path.exists():
        now = {key for row in rows for key in keys_of(row)}
        lost = sum(isinstance(found, str) or keys_of(found)[-1] not in now for _, found in parsed_lines(path))
        if lost:
            numbered = (path.with_name(f"{path.stem}-earlier-{n}{path.suffix}") for n in count(1))
            aside = next(place for place in numbered if not place.exists())
            path.rename(aside)
            warnings.append(
                f"{path} had {lost:,} rows of runs that are not found now: the earlier file is kept as {aside.name}"
            )
    write_out(path, row_lines(rows))
    return warnings


def keys_of(row: Row) -> list[tuple[object, ...]]:
    """What a row is of: a run by itself, and a run with a score where it has one."""
    run = (row["study"], row["arm"], row["seed"], row["fingerprint"])
    return [run, (*run, "ok")] if row["status"] == "ok" else [run]
