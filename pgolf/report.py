"""`python -m pgolf.report FOLDER`: one HTML file with the tables and pictures of a study, which opens without a
network.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from pgolf.command import OK, Parser, place, run
from pgolf.errors import PgolfError
from pgolf.machine.files import folder_for
from pgolf.pages.aggregation import aggregate
from pgolf.pages.figures.export import write_png
from pgolf.pages.figures.gallery import gallery
from pgolf.pages.html.document import document
from pgolf.pages.options import add_comparison_options, settings_of
from pgolf.records.rows import write_out

REPORT = "report.html"
SUFFIXES = (".html", ".htm")


def parser() -> argparse.ArgumentParser:
    made = Parser(prog="python -m pgolf.report", description=__doc__)
    made.add_argument(
        "folder",
        type=place,
        metavar="FOLDER",
        help="a study's folder, a folder of such (multirun), or a results .jsonl, its .study.json and .curves.jsonl "
        "beside it",
    )
    add_comparison_options(made)
    made.add_argument(
        "--out", type=place, metavar="FILE", help=f"the page; default: FOLDER/{REPORT}, or beside the .jsonl given"
    )
    made.add_argument(
        "--png", type=place, metavar="DIR", help="also write each picture as a PNG file, on white, for a README"
    )
    return made


def command(arguments: list[str]) -> int:
    """Read, compute, draw, write. Raises PgolfError, OSError."""
    args = parser().parse_args(arguments)
    if args.out is not None and args.out.suffix.lower() not in SUFFIXES:
        raise PgolfError(f"--out: is not the name of a page ({args.out}). Choose a file that ends in .html")
    if args.png is not None and os.path.lexists(args.png) and not args.png.is_dir():
        raise PgolfError(f"--png: is not a folder ({args.png}). Name a folder for the pictures")
    made = aggregate(args.folder, baseline=args.baseline, settings=settings_of(args), with_curves=True)
    exhibits = gallery(made)
    out = args.out or default_page(args.folder)
    # A page is written once its pictures have a place.
    with folder_for(args.png) if args.png is not None else nullcontext():
        write_out(out, [document(made, exhibits)])
        for exhibit in exhibits:
            for picture in exhibit.panels.values():
                if args.png is not None:
                    print(f"written: {write_png(picture, args.png)}")
    warnings = len(made.report.warnings)
    print(f"written: {out} ({out.stat().st_size:,} bytes, {warnings} warning{'' if warnings == 1 else 's'} at its top)")
    return OK


def default_page(source: Path) -> Path:
    """In the folder of runs, or beside the file of rows under its name."""
    return source / REPORT if source.is_dir() else source.with_suffix(".html")


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 for what a user can mend."""
    return run(command, arguments)


if __name__ == "__main__":
    sys.exit(main())
