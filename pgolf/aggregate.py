"""`python -m pgolf.aggregate FOLDER`: collects records in results.jsonl, writes table.md, table.csv and table.tex, and
prints the tables.
"""

import argparse
import gc
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from pgolf.command import OK, Parser, place, run
from pgolf.machine.clean_text import clean
from pgolf.pages.aggregation import FILES, WIDE, StudyResults, aggregate, output_path, write_tables
from pgolf.pages.formats import show
from pgolf.pages.headline import answer, main_sections
from pgolf.pages.options import add_comparison_options, fraction, not_negative, settings_of
from pgolf.tables.text import SectionKind

LISTED = 6  # studies that a line names


def make_parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m pgolf.aggregate", description=__doc__)
    parser.add_argument(
        "folder",
        type=place,
        metavar="FOLDER",
        help="a study's folder, a folder of studies (multirun), or a results.jsonl",
    )
    add_comparison_options(parser)
    parser.add_argument(
        "--threshold-nats",
        type=not_negative,
        default=0.005,
        metavar="NATS",
        help="the challenge's threshold for a record, nats per token; default 0.005",
    )
    parser.add_argument(
        "--threshold-p",
        type=fraction,
        default=0.01,
        metavar="P",
        help="the p of its one-sided test, from 0 to 1; default 0.01",
    )
    parser.add_argument(
        "--out",
        type=place,
        metavar="PLACE",
        help="where the files are written: a folder, or NAME.jsonl for the rows, with NAME.table.md and the others "
        "beside; default: FOLDER",
    )
    parser.add_argument(
        "--curves",
        action="store_true",
        help="also write curves.jsonl: training and validation scores by step, for pictures",
    )
    parser.add_argument(
        "--documents",
        action="store_true",
        help="also write document_scores.jsonl: the nats and bytes of each document, for intervals over documents in "
        "tables that are made from the rows alone",
    )
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--all", action="store_true", help="print every table, also the further ones of table.md")
    shown.add_argument("--quiet", action="store_true", help="print only the warnings")
    return parser


def command(arguments: list[str]) -> int:
    """Files are written before anything is printed, so that a closed pipe loses none. Raises PgolfError, OSError."""
    args = make_parser().parse_args(arguments)
    results = aggregate(args.folder, baseline=args.baseline, settings=settings_of(args), with_curves=args.curves)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)
    out = args.out or args.folder
    warnings = write_tables(results, out, with_documents=args.documents)
    if args.quiet:
        show([section for section in results.sections if section.kind is SectionKind.WARNINGS], console)
    else:
        show([*(results.sections if args.all else main_sections(results)), *answer(results)], console)
    for warning in [*warnings, *studies_read(results)]:
        console.print(Text(clean(warning)), soft_wrap=True)
    console.print(Text(clean(f"written: {', '.join(str(output_path(out, name)) for name in FILES)}")), soft_wrap=True)
    further = len(results.sections) - len(main_sections(results))
    if further and not (args.quiet or args.all):
        console.print(f"{output_path(out, 'table.md')} has {further} further tables; --all prints them", soft_wrap=True)
    return OK


def studies_read(results: StudyResults) -> list[str]:
    """A line about a source with the runs of several studies, whose tables are together in one set of files."""
    rows = results.collected.rows
    names = sorted({str(row["study"]) for row in rows})
    if len(names) < 2:
        return []
    listed = ", ".join(names[:LISTED]) + (", ..." if len(names) > LISTED else "")
    one = f"python -m pgolf.aggregate {results.source / names[0]} makes those of one"
    line = f"{results.source}: {len(rows):,} runs of {len(names)} studies are in one set of tables ({listed})"
    return [f"{line}; {one}" if (results.source / names[0]).is_dir() else line]


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 for an error of the user."""
    return run(command, arguments)


if __name__ == "__main__":
    # A short process needs no garbage collection, which takes a quarter of the time with ten thousand records.
    gc.disable()
    sys.exit(main())
