"""`python -m pgolf.inspect RUN|ARTIFACT`, `python -m pgolf.inspect truncate RUN [--ranks R ...]`,
`python -m pgolf.inspect random SIZES [--values MEASURE=NUMBER ...]`: what trained weights look like inside.

The first form measures the spectrum of every matrix beside random matrices of the same sizes, residual mixing by depth,
and the score without each block. `truncate` cuts the query projections of a trained run to a lower rank, without
training them again, and scores the result. `random` compares published numbers with random matrices.

RUN is a run folder, ARTIFACT a packed file. The files may be a stranger's: reading them runs nothing that they name. No
corpus is prepared or downloaded: what needs a corpus that is not in the cache is left out, with the reason.
"""

import argparse
import json
import sys
from collections.abc import Sequence

from pgolf.command import OK, Parser, one_line, place, run
from pgolf.errors import ConfigError
from pgolf.inspect.published import published, sizes_of
from pgolf.inspect.random_reference import DRAWS
from pgolf.inspect.spectra import MEASURES
from pgolf.pages.figures.inspections import INSPECTION, TRUNCATION, save_panels
from pgolf.pages.figures.spectra import Panel
from pgolf.run.inspecting.parts import BATCHES, TARGETS, inspected, text, truncated, truncation_lines
from pgolf.run.inspecting.pictures import inspection_panels, truncation_panels, write_pictures
from pgolf.run.inspecting.subject import AUTO, BATCH_TOKENS, CHOICES, open_inspected

TRUNCATE, RANDOM = "truncate", "random"
MOST = {"draws": 10_000, "targets": 2**31 - 1, "batches": 10_000}
FEWEST = {"draws": 3}


def shared_options(parser: argparse.ArgumentParser) -> None:
    """Options of both forms."""
    parser.add_argument("--json", action="store_true", help="print JSON, with every singular value")
    parser.add_argument("--figures", type=place, metavar="FOLDER", help="also write each picture there, as SVG and PNG")
    parser.add_argument(
        "--save", action="store_true", help="also write the pictures' numbers into the run folder, for pgolf.report"
    )
    parser.add_argument(
        "--weights",
        choices=CHOICES,
        default=AUTO,
        help="which weights of the run; auto: averaged, else live, else packed",
    )
    parser.add_argument(
        "--targets",
        type=int,
        default=TARGETS,
        help=f"validation targets of each score, from the start of the text (default: {TARGETS:,})",
    )


def check_options(args: argparse.Namespace) -> None:
    """Raise ConfigError for a number that is out of range, and for a folder to write in that is a file."""
    problems = []
    if getattr(args, "save", False) and args.path.is_file():
        problems.append(f"--save: writes into a run folder, and this is a file ({args.path}). Give the run folder")
    for name, most in MOST.items():
        value, fewest = getattr(args, name, None), FEWEST.get(name, 1)
        if value is not None and not fewest <= value <= most:
            problems.append(f"--{name}: must be from {fewest} to {most:,} ({value})")
    if problems:
        raise ConfigError(*problems)


def leave(panels: Sequence[Panel], args: argparse.Namespace, name: str) -> None:
    """Write what the options ask for: pictures, and their numbers under this name in the run folder."""
    if args.save:
        save_panels(args.path / name, panels)
    if args.figures is not None:
        write_pictures(panels, args.figures)


def show(lines: Sequence[str]) -> None:
    """Print lines without control characters."""
    print(*map(one_line, lines), sep="\n")


def inspect_command(arguments: list[str]) -> int:
    parser = Parser(prog="python -m pgolf.inspect", description=__doc__)
    parser.add_argument("path", type=place, help="a run folder or a packed file")
    parser.add_argument("--heads", action="store_true", help="one row per head of Q and K too")
    parser.add_argument(
        "--draws", type=int, default=DRAWS, help=f"random matrices for each comparison (default: {DRAWS})"
    )
    shared_options(parser)
    args = parser.parse_args(arguments)
    check_options(args)
    found = inspected(open_inspected(args.path, args.weights), args.draws, args.targets)
    leave(inspection_panels(found), args, INSPECTION)
    if args.json:
        print(json.dumps(found.to_dict(), indent=1, allow_nan=False))
    else:
        show(text(found, with_heads=args.heads))
    return OK


def truncate_command(arguments: list[str]) -> int:
    parser = Parser(prog="python -m pgolf.inspect truncate", description=__doc__)
    parser.add_argument("path", type=place, help="the folder of a finished run")
    parser.add_argument("--ranks", type=int, nargs="+", metavar="R", default=[], help="ranks of the query projections")
    parser.add_argument(
        "--batches",
        type=int,
        default=BATCHES,
        help=f"batches of {BATCH_TOKENS:,} training tokens for the energy of activations (default: {BATCHES})",
    )
    shared_options(parser)
    args = parser.parse_intermixed_args(arguments)
    check_options(args)
    found, scored = truncated(open_inspected(args.path, args.weights), args.ranks, args.targets, args.batches)
    leave(truncation_panels(found), args, TRUNCATION)
    if args.json:
        print(json.dumps({"path": str(args.path), "scored": scored, **found.to_dict()}, indent=1, allow_nan=False))
    else:
        show(truncation_lines(found, scored))
    return OK


def random_command(arguments: list[str]) -> int:
    parser = Parser(prog="python -m pgolf.inspect random", description=__doc__)
    parser.add_argument("sizes", metavar="SIZES", help="512x512, or 512x192x512 for a product through 192")
    parser.add_argument(
        "--values", nargs="+", metavar="MEASURE=NUMBER", default=[], help=f"published numbers, of {', '.join(MEASURES)}"
    )
    parser.add_argument("--ranks", type=int, nargs="+", metavar="R", default=[], help="ranks whose energy is shown")
    parser.add_argument("--draws", type=int, default=DRAWS, help=f"random matrices (default: {DRAWS})")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_intermixed_args(arguments)
    check_options(args)
    found = published(sizes_of(args.sizes), args.values, args.ranks, args.draws)
    if args.json:
        print(json.dumps(found.to_dict(), indent=1, allow_nan=False))
    else:
        show(found.lines())
    return OK


def command(arguments: list[str]) -> int:
    forms = {TRUNCATE: truncate_command, RANDOM: random_command}
    if arguments and (form := forms.get(arguments[0])):
        return form(arguments[1:])
    return inspect_command(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code: 0 ok, 2 refused, 130 interrupted."""
    return run(command, arguments)


if __name__ == "__main__":
    sys.exit(main())
