"""`python -m pgolf.report FOLDER`: the tables and pictures of a study in one HTML file, which needs no network."""

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
from pgolf.pages.figures.inspections import inspections
from pgolf.pages.html.document import document
from pgolf.pages.options import add_comparison_options, settings_of
from pgolf.records.rows import write_out

REPORT = "report.html"
SUFFIXES = (".html", ".htm")


def make_parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m pgolf.report", description=__doc__)
    parser.add_argument(
        "folder",
        type=place,
        metavar="FOLDER",
        help="a study's folder, a folder of studies (multirun), or a results .jsonl with its .study.json and "
        ".curves.jsonl beside it",
    )
    add_comparison_options(parser)
    parser.add_argument(
        "--out", type=place, metavar="FILE", help=f"the page; default: FOLDER/{REPORT}, or beside the given .jsonl"
    )
    parser.add_argument(
        "--png", type=place, metavar="DIR", help="also write each picture as a PNG file with a white background"
    )
    return parser


def command(arguments: list[str]) -> int:
    """Raises PgolfError, OSError."""
    args = make_parser().parse_args(arguments)
    if args.out is not None and args.out.suffix.lower() not in SUFFIXES:
        raise PgolfError(f"--out: is not the name of an HTML file ({args.out}). Choose a file that ends in .html")
    if args.png is not None and os.path.lexists(args.png) and not args.png.is_dir():
        raise PgolfError(f"--png: is not a folder ({args.png}). Name a folder for the pictures")
    results = aggregate(args.folder, baseline=args.baseline, settings=settings_of(args), with_curves=True)
    exhibits = [*gallery(results), *inspections(results)]
    out = args.out or default_page(args.folder)
    # The folder of the pictures is made first, so that an unusable one leaves no page.
    with folder_for(args.png) if args.png is not None else nullcontext():
        write_out(out, [document(results, exhibits)])
        for exhibit in exhibits:
            for picture in exhibit.panels.values():
                if args.png is not None:
                    print(f"written: {write_png(picture, args.png)}")
    warnings = len(results.report.warnings)
    print(f"written: {out} ({out.stat().st_size:,} bytes, {warnings} warning{'' if warnings == 1 else 's'} at its top)")
    return OK


def default_page(source: Path) -> Path:
    """The page's default path: in the folder of runs, or beside the file of rows with its name."""
    return source / REPORT if source.is_dir() else source.with_suffix(".html")


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 for an error of the user."""
    return run(command, arguments)


if __name__ == "__main__":
    sys.exit(main())
