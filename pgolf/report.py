"""`python -m pgolf.report FOLDER`: the tables and pictures of a study in one HTML file, which needs no network.

Of several studies it shows their answers, and how much the seeds of their arms differ. With --live a page about a
folder is made again while its runs go on, and served to this machine alone.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from pathlib import Path

from pgolf.command import OK, Parser, place, run
from pgolf.errors import PgolfError
from pgolf.machine.files import folder_for
from pgolf.pages.aggregation import aggregate
from pgolf.pages.calibration import study_noise
from pgolf.pages.figures.export import Picture, write_png
from pgolf.pages.figures.gallery import gallery
from pgolf.pages.figures.inspections import inspections
from pgolf.pages.figures.noise import noise_picture
from pgolf.pages.html.document import document
from pgolf.pages.html.overview import overview
from pgolf.pages.live import LivePage, serve
from pgolf.pages.options import add_comparison_options, settings_of
from pgolf.records.progress import count_text
from pgolf.records.rows import write_out

REPORT = "report.html"
DEFAULT_PORT, MOST_PORT = 8000, 65_535
SUFFIXES = (".html", ".htm")


def make_parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m pgolf.report", description=__doc__)
    parser.add_argument(
        "folder",
        type=place,
        nargs="+",
        metavar="FOLDER",
        help="a study's folder, a folder of studies (multirun), or a results .jsonl with its .study.json and "
        ".curves.jsonl beside it. Several give one page about all of them, and need --out",
    )
    add_comparison_options(parser)
    parser.add_argument(
        "--out", type=place, metavar="FILE", help=f"the page; default: FOLDER/{REPORT}, or beside the given .jsonl"
    )
    parser.add_argument(
        "--png", type=place, metavar="DIR", help="also write each picture as a PNG file with a white background"
    )
    parser.add_argument(
        "--live",
        action="store_true",
        help="serve the page on 127.0.0.1 instead of writing it, made again as runs end, until Ctrl-C",
    )
    parser.add_argument(
        "--port", type=port, metavar="N", help=f"of --live; 0 for any free one; default: {DEFAULT_PORT}"
    )
    return parser


def port(word: str) -> int:
    """A TCP port, or 0."""
    number = int(word)
    if not 0 <= number <= MOST_PORT:
        raise argparse.ArgumentTypeError(f"must be from 0 to {MOST_PORT:,} ({word})")
    return number


def live(args: argparse.Namespace) -> None:
    """Serve the page of one folder until Ctrl-C. Raises PgolfError, KeyboardInterrupt."""
    if len(args.folder) == 1 and not args.folder[0].exists():
        raise PgolfError(f"--live: the folder does not exist ({args.folder[0]}). Start the sweep first")
    if len(args.folder) > 1 or not args.folder[0].is_dir():
        raise PgolfError(f"--live: needs one folder of runs ({' '.join(map(str, args.folder))}). Name that folder")
    if args.out is not None or args.png is not None:
        raise PgolfError("--live: writes no file. Leave --out and --png away, or leave --live away")
    (folder,) = args.folder

    def make() -> str:
        results = aggregate(folder, baseline=args.baseline, settings=settings_of(args), with_curves=True)
        return document(results, gallery(results))

    serve(LivePage(folder, make), DEFAULT_PORT if args.port is None else args.port)


def command(arguments: list[str]) -> int:
    """Raises PgolfError, OSError."""
    args = make_parser().parse_args(arguments)
    if args.out is not None and args.out.suffix.lower() not in SUFFIXES:
        raise PgolfError(f"--out: is not the name of an HTML file ({args.out}). Choose a file that ends in .html")
    if args.png is not None and os.path.lexists(args.png) and not args.png.is_dir():
        raise PgolfError(f"--png: is not a folder ({args.png}). Name a folder for the pictures")
    if args.port is not None and not args.live:
        raise PgolfError(f"--port: belongs to --live ({args.port}). Add --live, or leave it away")
    if args.live:
        with suppress(KeyboardInterrupt):
            live(args)
        return OK
    if len(args.folder) > 1:
        return several(args)
    (folder,) = args.folder
    results = aggregate(folder, baseline=args.baseline, settings=settings_of(args), with_curves=True)
    exhibits = [*gallery(results), *inspections(results)]
    drawn = [picture for exhibit in exhibits for picture in exhibit.panels.values()]
    write(args.out or default_page(folder), document(results, exhibits), drawn, args.png, len(results.report.warnings))
    return OK


def several(args: argparse.Namespace) -> int:
    """The page about several studies."""
    if args.out is None:
        raise PgolfError("--out: is needed with several studies. Name an HTML file, such as --out studies.html")
    if args.baseline is not None:
        raise PgolfError(
            f"--baseline: belongs to one study ({args.baseline}). Leave it out, or make a page of each study"
        )
    results = [aggregate(folder, settings=settings_of(args), with_curves=True) for folder in args.folder]
    picture = noise_picture([study_noise(each) for each in results])
    drawn = [] if picture is None else [picture]
    write(args.out, overview(results, picture), drawn, args.png, sum(len(each.report.warnings) for each in results))
    return OK


def write(out: Path, page: str, pictures: Sequence[Picture], folder: Path | None, warnings: int) -> None:
    """Write the page and, into a folder, its pictures. Raises PgolfError, OSError."""
    # The folder of the pictures is made first, so that an unusable one leaves no page.
    with folder_for(folder) if folder is not None else nullcontext():
        write_out(out, [page])
        if folder is not None:
            for picture in pictures:
                print(f"written: {write_png(picture, folder)}")
    print(f"written: {out} ({out.stat().st_size:,} bytes, {count_text(warnings, 'warning')} at its top)")


def default_page(source: Path) -> Path:
    """The page's default path: in the folder of runs, or beside the file of rows with its name."""
    return source / REPORT if source.is_dir() else source.with_suffix(".html")


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 for an error of the user."""
    return run(command, arguments)


if __name__ == "__main__":
    sys.exit(main())
