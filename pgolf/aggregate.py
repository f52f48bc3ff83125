"""`python -m pgolf.aggregate FOLDER`: records -> results.jsonl, table.md, table.csv, table.tex, and the table on the
terminal.
"""

import argparse
import gc
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from pgolf.command import OK, Parser, place, run
from pgolf.pages.aggregation import FILES, WIDE, aggregate, output_path, write_tables
from pgolf.pages.formats import clean, show
from pgolf.pages.options import add_comparison_options, fraction, not_negative, settings_of


def parser() -> argparse.ArgumentParser:
    made = Parser(prog="python -m pgolf.aggregate", description=__doc__)
    made.add_argument(
        "folder", type=place, metavar="FOLDER", help="a study's folder, a folder of such (multirun), or a results.jsonl"
    )
    add_comparison_options(made)
    made.add_argument(
        "--gate-nats",
        type=not_negative,
        default=0.005,
        metavar="NATS",
        help="the gate's margin, nats per token; default 0.005",
    )
    made.add_argument(
        "--gate-p", type=fraction, default=0.01, metavar="P", help="the gate's one-sided p, from 0 to 1; default 0.01"
    )
    made.add_argument(
        "--out",
        type=place,
        metavar="PLACE",
        help="where the files go: a folder, or NAME.jsonl for the rows with NAME.table.md and so on beside; default: "
        "FOLDER",
    )
    made.add_argument(
        "--curves",
        action="store_true",
        help="also write curves.jsonl: training and validation scores by step, for pictures",
    )
    made.add_argument("--quiet", action="store_true", help="write the files and print warnings alone")
    return made


def command(arguments: list[str]) -> int:
    """Read, compute, write, print: a reader that goes away costs no file. Raises PgolfError, OSError."""
    args = parser().parse_args(arguments)
    made = aggregate(args.folder, baseline=args.baseline, settings=settings_of(args), with_curves=args.curves)
    sections = made.sections()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)
    out = args.out or args.folder
    warnings = write_tables(made, out)
    show([s for s in sections if s.heading == "Warnings"] if args.quiet else sections, console)
    for warning in warnings:
        console.print(Text(clean(warning)))
    console.print(Text(clean(f"written: {', '.join(str(output_path(out, name)) for name in FILES)}")), soft_wrap=True)
    return OK


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 for what a user can mend."""
    return run(command, arguments)


if __name__ == "__main__":
    # a short process that drops nothing: looking for garbage among ten thousand records takes a quarter of the time
    gc.disable()
    sys.exit(main())
