"""The section that shows the uncertainty of the text beside that of the seeds, and reads the files that it needs."""

from collections.abc import Sequence
from pathlib import Path

from pgolf.errors import DamagedFile
from pgolf.records.documents import (
    KEPT,
    KEPT_REMEDY,
    SHA,
    DocumentScores,
    checked,
    count_of,
    documents_of_row,
    kept_lines,
    load_kept,
)
from pgolf.records.rows import Row, companion_path
from pgolf.tables.family import FamilyTable
from pgolf.tables.stats import TTest
from pgolf.tables.text import Grid, Section, SectionKind, interval, number
from pgolf.tables.text_terms import TextTerm, text_terms
from pgolf.tables.texts import Covers

MOST_DOCUMENTS = 20_000_000  # of all runs of one page: 160 MB of files
LINE = (
    "What each 95% interval covers. Seeds: another training, scored on this text. Documents: another text of the same "
    "kind, scored by these trained models; the noise of training is not in it. Seeds and documents: both variances "
    "added. No interval is corrected for the number of arms. The verdicts use the seeds."
)
SHARED = "shares the baseline's checkpoints"


class TextReader:
    """Reads the documents of rows. source: the folder or the file that the rows came from. warnings: damaged files.

    Beside a file of rows they are read from document_scores.jsonl, or else from run folders. Documents that are missing
    there are not a damage: only the rows may have been copied.
    """

    def __init__(self, source: Path, rows: Sequence[Row]):
        self.root, self.is_folder = (source, True) if source.is_dir() else (source.parent, False)
        self.warnings: list[str] = []
        self.kept: dict[str, bytes] = {}
        if not self.is_folder:
            self.kept_path = companion_path(source, KEPT)
            self.kept, self.warnings = load_kept(self.kept_path)
        total = sum(map(count_of, rows))
        self.is_small = total <= MOST_DOCUMENTS
        if not self.is_small:
            self.warnings.append(
                f"the runs have {total:,} documents; at most {MOST_DOCUMENTS:,} are read, so that the uncertainty of "
                "the text is not shown. Give fewer runs"
            )

    def __call__(self, row: Row) -> DocumentScores | None:
        if not self.is_small or not count_of(row):
            return None
        try:
            if (content := self.kept.get(row[SHA])) is not None:
                return checked(content, row, self.kept_path, KEPT_REMEDY)
            return documents_of_row(self.root, row, may_be_missing=not self.is_folder)
        except DamagedFile as error:
            self.warnings += [str(error)] if str(error) not in self.warnings else []
            return None


def document_lines(source: Path, rows: Sequence[Row]) -> list[str]:
    """The lines of document_scores.jsonl for these rows: what `TextReader` reads, without damaged files."""
    read = TextReader(source, rows)
    return kept_lines(found for row in rows if row["status"] == "ok" and (found := read(row)) is not None)


def text_sections(tables: Sequence[FamilyTable], read: TextReader) -> list[Section]:
    """One section per family whose runs have documents."""
    return [
        Section(SectionKind.FURTHER, f"{table.family.name}: uncertainty of the text", (LINE,), grid(terms))
        for table in tables
        if (terms := text_terms(table, read))
    ]


def grid(terms: Sequence[TextTerm]) -> Grid:
    titles = ("arm", "documents", "difference", *(f"covers {covers.value}" for covers in Covers), "notes")
    return Grid(titles, (False, True, True, True, True, True, False), tuple(map(cells, terms)))


def cells(term: TextTerm) -> tuple[str, ...]:
    """The cells of one arm."""
    difference = number(term.by_seeds.difference, sign=True)
    tests = (term.by_seeds, term.by_documents, term.by_both)
    count = f"{term.documents:,}" + (f" ({term.cut} in part)" if term.cut else "")
    return term.label, count, difference, *map(bounds, tests), SHARED if term.one_checkpoint else ""


def bounds(test: TTest) -> str:
    """The interval alone, or why there is none."""
    return (test.reason or "") if test.low is None else interval(test).partition(" ")[2]
