"""From a folder of runs or a file of rows to a study's tables and verdicts: what all commands show."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import count
from pathlib import Path

from pgolf.errors import DamagedFile, PgolfError
from pgolf.pages.formats import csv_text, latex, markdown
from pgolf.pages.sections import page
from pgolf.pages.study import study_sections
from pgolf.pages.study_record import study_record
from pgolf.pages.texts import TextReader, document_lines, text_sections
from pgolf.records.documents import KEPT
from pgolf.records.rows import ROWS, Collected, Row, collect, companion_path, parsed_lines, row_lines, write_out
from pgolf.study.departures import caveats, caveats_of_arms, departures
from pgolf.study.description import STUDY, Study, read_study, write_study
from pgolf.study.published import with_published
from pgolf.study.verdicts import Verdict, rules_used, verdicts
from pgolf.tables.contrast import Settings
from pgolf.tables.curves import CURVES, Curve, consistent, curve_lines, load_curves, read_curves
from pgolf.tables.family import Family
from pgolf.tables.notices import seeds_of_several_sweeps
from pgolf.tables.scaling import StepRatio
from pgolf.tables.step_times import BENCH, read_step_ratios
from pgolf.tables.table import Tables, tabulate
from pgolf.tables.text import Grid, Section, SectionKind

WIDE = 200  # columns of a page that is not printed on a terminal
PUBLISHED_COLUMNS = ("published claim", "shown by the published material")
FILES = (ROWS, "table.md", "table.csv", "table.tex")


@dataclass(frozen=True)
class StudyResults:
    """Everything that a table, a report or a notebook shows. study: None for runs without a study. step_ratios: of
    (arm, baseline), measured in turn. texts: the sections on the uncertainty of the text.
    """

    source: Path
    collected: Collected
    report: Tables
    study: Study | None
    verdicts: tuple[Verdict, ...]
    curves: tuple[Curve, ...]
    step_ratios: Mapping[tuple[str, str], StepRatio] = field(default_factory=dict)
    texts: tuple[Section, ...] = ()

    @property
    def name(self) -> str:
        """The name of the study, or of the folder or file that the runs came from."""
        return self.study.name if self.study is not None else Path(os.path.realpath(self.source)).stem

    @property
    def is_published(self) -> bool:
        """Whether the study repeats something that was published."""
        return self.study is not None and bool(self.study.source)

    @property
    def claims_title(self) -> str:
        return "Published claims" if self.is_published else "Claims"

    @cached_property
    def sections(self) -> list[Section]:
        """The page: question, warnings, tables and verdicts."""
        sections = page(self.report, published=self.is_published)
        if self.study is not None:
            lines = (
                self.study.question,
                self.study.origin,
                self.study.rule,
                *(f"Changed after runs had begun: {change}." for change in self.study.changes),
                *self.study.tuning,
                *(family.summary for family in self.study.families),
            )
            question = Section(SectionKind.STUDY, self.study.name, lines)
            sections = [question, *sections, *study_sections(self.study, self.report, self.curves, self.step_ratios)]
            sections.append(study_record(self.study, self.report))
        return [
            *sections,
            *self.texts,
            *([self.verdict_section()] if self.verdicts else []),
        ]

    def verdict_section(self) -> Section:
        """The verdicts on the claims, with the rules by which they were reached."""
        claim, note = PUBLISHED_COLUMNS if self.is_published else ("claim", "note")
        rows = tuple((v.claim.text, v.test.family, v.label, "; ".join(v.numbers), v.claim.note) for v in self.verdicts)
        grid = Grid((claim, "family", "verdict", "numbers", note), (False,) * 5, rows)
        scope = "A verdict holds for the size, the budget and the data of its family's runs."
        rules = rules_used(self.verdicts, self.report.correction)
        return Section(SectionKind.CLAIMS, self.claims_title, (scope, *rules), grid)


def aggregate(
    source: Path,
    *,
    baseline: str | None = None,
    settings: Settings | None = None,
    with_curves: bool = False,
    collected: Collected | None = None,
) -> StudyResults:
    """Read runs and compute their tables and verdicts.

    settings: by default the test and the smallest effect of the study; others give no verdicts. collected: rows of the
    source that were read before, or a part of them. Raises PgolfError.
    """
    collected = collect(source) if collected is None else collected
    curves: list[Curve] = []
    study, damage = study_beside(source)
    settings = settings or Settings()
    families, deviations = None, [] if study is None else departures(study, baseline, settings)
    if study is not None and baseline is None:
        families = [
            Family(f.name, study.name, f.arms, f.baseline, f.unequal_budgets, study.planned_seeds)
            for f in study.families
        ]
        smallest = study.smallest_effect_bpb if settings.smallest_effect_bpb is None else settings.smallest_effect_bpb
        settings = replace(
            settings,
            test=settings.test or study.method,
            smallest_effect_bpb=smallest,
            equivalence_alpha=study.equivalence_alpha,
        )
    report = tabulate(collected, families=families, baseline=baseline, settings=settings)
    damaged: list[str] = []
    if with_curves or study is not None:
        curves, damaged = (
            read_curves(source, collected.rows) if source.is_dir() else load_curves(companion_path(source, CURVES))
        )
        curves, contradicting = consistent(curves, collected.rows)
        damaged += contradicting
    ratios: dict[tuple[str, str], StepRatio] = {}
    if study is not None and study.ladders:
        arms = frozenset(arm for plan in study.families for arm in plan.arms)
        ratios, problems = read_step_ratios(companion_path(source, BENCH), arms)
        damaged += problems
    judged: tuple[Verdict, ...] = ()
    of_arms: list[str] = []
    if study is not None and families is not None:
        of_arms = caveats_of_arms(study, report)
        report = with_published(report, study, curves, judged=not deviations)
        judged = () if deviations else tuple(verdicts(study, report))
    report = replace(
        report, warnings=(*damage, *deviations, *caveats(source, collected.rows, study), *of_arms, *report.warnings)
    )
    if study is None or not study.planned_seeds:
        groups = [g for table in report.families for g in table.study]
        report = replace(report, warnings=(*report.warnings, *seeds_of_several_sweeps(groups)))
    read = TextReader(source, collected.rows)
    texts = text_sections(report.families, read)
    report = replace(report, warnings=(*report.warnings, *damaged, *read.warnings))
    return StudyResults(source, collected, report, study, judged, tuple(curves), ratios, tuple(texts))


def study_beside(source: Path) -> tuple[Study | None, list[str]]:
    """The study of a source, and at most one warning. With a damaged description the runs are shown without a study."""
    path = companion_path(source, STUDY)
    try:
        return read_study(path.parent, path.name), []
    except DamagedFile as error:
        return None, [f"{error}. Its families, test and claims are unknown"]


def output_path(out: Path, name: str) -> Path:
    """The path of an output file: in the folder `out`, or beside the file of rows `out` (see `companion_path`)."""
    if out.suffix != Path(ROWS).suffix:
        return out / name
    if name == ROWS:
        return out
    return out.with_name(name if out.name == ROWS else f"{out.stem}.{name}")


def write_tables(results: StudyResults, out: Path, *, with_documents: bool = False) -> list[str]:
    """Write rows, tables and, for a study, its description and curves. out: a folder, or a `.jsonl` file for the rows.
    with_documents: also the nats and bytes of each scored document.

    Returns warnings. Raises PgolfError, also if `out` has the tables of another study.
    """
    warnings: list[str] = []
    target, description = output_path(out, ROWS), output_path(out, STUDY)
    # realpath, unlike Path.resolve, accepts a loop of symbolic links.
    is_own = os.path.realpath(description) == os.path.realpath(companion_path(results.source, STUDY))
    other = None if is_own else read_study(description.parent, description.name)
    if other is not None and other.name != (results.study.name if results.study else None):
        raise PgolfError(f"{description}: belongs to the tables of study {other.name}. Choose another place with --out")
    is_input = results.source.is_file() and target.exists() and target.samefile(results.source)
    if not is_input:  # the input is not rewritten
        try:
            warnings = write_rows(target, results.collected.rows)
        except OSError as error:
            raise PgolfError(
                f"{target}: cannot be read or archived ({error.strerror}). Choose another place with --out"
            ) from None
    sections = results.sections
    write_out(output_path(out, "table.md"), [markdown(sections)])
    write_out(output_path(out, "table.csv"), [csv_text(results.report)])
    write_out(output_path(out, "table.tex"), [latex(sections)])
    if results.curves and not is_input:
        write_out(output_path(out, CURVES), curve_lines(results.curves))
    if with_documents and not is_input:
        write_out(output_path(out, KEPT), document_lines(results.source, results.collected.rows))
    if results.study is not None and not is_own:
        write_study(description.parent, results.study, description.name)
    return warnings


def write_rows(path: Path, rows: list[Row]) -> list[str]:
    """Write results.jsonl. An existing file with runs that are not among `rows` is archived first. Returns warnings."""
    warnings = []
    if path.exists():
        now = {key for row in rows for key in keys_of(row)}
        lost = sum(isinstance(row, str) or keys_of(row)[-1] not in now for _, row in parsed_lines(path))
        if lost:
            numbered = (path.with_name(f"{path.stem}-earlier-{n}{path.suffix}") for n in count(1))
            archive = next(free for free in numbered if not free.exists())
            path.rename(archive)
            what = "row of a run that no longer exists" if lost == 1 else "rows of runs that no longer exist"
            warnings.append(f"{path} had {lost:,} {what}: the earlier file is archived as {archive.name}")
    write_out(path, row_lines(rows))
    return warnings


def keys_of(row: Row) -> list[tuple[object, ...]]:
    """The identities of a row: its run, and for an ok run also the run with its score."""
    run = (row["study"], row["arm"], row["seed"], row["fingerprint"])
    return [run, (*run, "ok")] if row["status"] == "ok" else [run]
