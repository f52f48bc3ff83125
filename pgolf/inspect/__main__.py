"""`python -m pgolf.inspect RUN|ARTIFACT`, `python -m pgolf.inspect truncate RUN [--ranks R ...]`,
`python -m pgolf.inspect ranks RUN [--energy E | --parameters N]`,
`python -m pgolf.inspect random SIZES [--values MEASURE=NUMBER ...]`: what trained weights look like inside.

The first form measures the spectrum of every matrix beside random matrices of the same sizes, residual mixing by depth,
and the score without each block. `truncate` cuts the query projections of a trained run to a lower rank, without
training them again, and scores the result. `ranks` chooses a rank for each block from the spectra of the queries, and
prints the override that trains a model with them. `random` compares published numbers with random matrices.

RUN is a run folder, ARTIFACT a packed file. The files may be a stranger's: reading them runs nothing that they name. No
corpus is prepared or downloaded: what needs a corpus that is not in the cache is left out, with the reason. A corpus of
files that `config.yaml` names is read with --open-corpus.
"""

import argparse
import json
import sys
from collections.abc import Sequence

from pgolf.command import OK, Parser, one_line, place, run
from pgolf.config.search_path import use_search_path
from pgolf.errors import ConfigError
from pgolf.execution.inspecting.parts import BATCHES, TARGETS, inspected, text, truncated, truncation_lines
from pgolf.execution.inspecting.pictures import inspection_panels, truncation_panels, write_pictures
from pgolf.execution.inspecting.query_ranks import query_ranks, with_scores
from pgolf.execution.inspecting.subject import AUTO, BATCH_TOKENS, CHOICES, open_inspected
from pgolf.inspect.published import published, sizes_of
from pgolf.inspect.random_reference import DRAWS
from pgolf.inspect.ranks import BY, QUERY_SPECTRA
from pgolf.inspect.spectra import MEASURES
from pgolf.pages.figures.inspections import INSPECTION, TRUNCATION, save_panels
from pgolf.pages.figures.spectra import Panel

TRUNCATE, RANKS, RANDOM = "truncate", "ranks", "random"
MOST = {"parameters": 2**53, "draws": 10_000, "targets": 2**31 - 1, "batches": 10_000}
FEWEST = {"draws": 3}


def shared_options(parser: argparse.ArgumentParser) -> None:
    """Options of the forms that score a model."""
    parser.add_argument("--json", action="store_true", help="print JSON, with every singular value")
    parser.add_argument("--figures", type=place, metavar="FOLDER", help="also write each picture there, as SVG and PNG")
    parser.add_argument(
        "--save", action="store_true", help="also write the pictures' numbers into the run folder, for pgolf.report"
    )
    run_options(parser)
    targets_option(parser)


def targets_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--targets",
        type=int,
        default=TARGETS,
        help=f"validation targets of each score, from the start of the text (default: {TARGETS:,})",
    )


def run_options(parser: argparse.ArgumentParser) -> None:
    """Which weights and which corpus of a run are used."""
    parser.add_argument(
        "--weights",
        choices=CHOICES,
        default=AUTO,
        help="which weights of the run; auto: averaged, else live, else packed",
    )
    parser.add_argument(
        "--open-corpus",
        action="store_true",
        help="also read the files that config.yaml names, for a corpus that is not in the cache; for your own runs",
    )


def batches_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--batches",
        type=int,
        default=BATCHES,
        help=f"batches of {BATCH_TOKENS:,} training tokens for the energy of activations (default: {BATCHES})",
    )


def check_options(args: argparse.Namespace) -> None:
    """Raise ConfigError for a number that is out of range, and for a folder to write in that is a file."""
    problems = []
    figures = getattr(args, "figures", None)
    if figures is not None and figures.exists() and not figures.is_dir():
        problems.append(f"--figures: is not a folder ({figures}). Choose another folder")
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
    found = inspected(open_inspected(args.path, args.weights, opens_files=args.open_corpus), args.draws, args.targets)
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
    batches_option(parser)
    shared_options(parser)
    args = parser.parse_intermixed_args(arguments)
    check_options(args)
    found, scored = truncated(
        open_inspected(args.path, args.weights, opens_files=args.open_corpus), args.ranks, args.targets, args.batches
    )
    leave(truncation_panels(found), args, TRUNCATION)
    if args.json:
        print(json.dumps({"path": str(args.path), "scored": scored, **found.to_dict()}, indent=1, allow_nan=False))
    else:
        show(truncation_lines(found, scored))
    return OK


def ranks_command(arguments: list[str]) -> int:
    parser = Parser(prog="python -m pgolf.inspect ranks", description=__doc__)
    parser.add_argument("path", type=place, help="the folder of a finished run")
    rule = parser.add_mutually_exclusive_group()
    rule.add_argument("--energy", type=float, metavar="E", help="share of the energy that each block keeps, 0 to 1")
    rule.add_argument(
        "--parameters",
        type=int,
        metavar="N",
        help="parameters of all factors, at most (default: those of model/q_proj=low_rank at its default rank)",
    )
    parser.add_argument(
        "--by", choices=BY, default=BY[0], help="energy of the queries, or of the weights alone (default: activation)"
    )
    batches_option(parser)
    run_options(parser)
    parser.add_argument("--json", action="store_true", help="print JSON, with every singular value")
    parser.add_argument("--save", action="store_true", help=f"also write {QUERY_SPECTRA} into the run folder")
    parser.add_argument("--score", action="store_true", help="also score the run's model, cut to these ranks as it is")
    targets_option(parser)
    args = parser.parse_args(arguments)
    check_options(args)
    subject = open_inspected(args.path, args.weights, opens_files=args.open_corpus)
    found = query_ranks(subject, args.by, args.energy, args.parameters, args.batches, both=args.save)
    if args.score:
        found = with_scores(found, subject, args.batches, args.targets)
    if args.save:
        found.spectra.save(args.path / QUERY_SPECTRA)
    if args.json:
        print(json.dumps({"path": str(args.path), **found.to_dict()}, indent=1, allow_nan=False))
    else:
        show(found.lines(str(args.path) if args.save else ""))
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
    arguments = use_search_path(arguments)
    forms = {TRUNCATE: truncate_command, RANKS: ranks_command, RANDOM: random_command}
    if arguments and (form := forms.get(arguments[0])):
        return form(arguments[1:])
    return inspect_command(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code: 0 ok, 2 refused, 130 interrupted."""
    return run(command, arguments)


if __name__ == "__main__":
    sys.exit(main())
