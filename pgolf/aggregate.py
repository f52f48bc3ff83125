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
from pgolf.pages.aggregation import FILES, WIDE, aggregate, output_path, write_tables
from pgolf.pages.formats import show
from pgolf.pages.options import add_comparison_options, fraction, not_negative, settings_of
from pgolf.tables.text import SectionKind


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
        "--gate-nats",
        type=not_negative,
        default=0.005,
        metavar="NATS",
        help="the gate's margin, nats per token; default 0.005",
    )
    parser.add_argument(
        "--gate-p", type=fraction, default=0.01, metavar="P", help="the gate's one-sided p, from 0 to 1; default 0.01"
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
    parser.add_argument("--quiet", action="store_true", help="print only the warnings")
    return parser


def command(arguments: list[str]) -> int:
    """Files are written before anything is printed, so that a closed pipe loses none. Raises PgolfError, OSError."""
    args = make_parser().parse_args(arguments)
    results = aggregate(args.folder, baseline=args.baseline, settings=settings_of(args), with_curves=args.curves)
    sections = results.sections
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)
    out = args.out or args.folder
    warnings = write_tables(results, out)
    show([s for s in sections if s.kind is SectionKind.WARNINGS] if args.quiet else sections, console)
    for warning in warnings:
        console.print(Text(clean(warning)))
    console.print(Text(clean(f"written: {', '.join(str(output_path(out, name)) for name in FILES)}")), soft_wrap=True)
    return OK


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 for an error of the user."""
    return run(command, arguments)


if __name__ == "__main__":
    # A short process needs no garbage collection, which takes a quarter of the time with ten thousand records.
    gc.disable()
    sys.exit(main())
