"""`python -m pgolf.aggregate FOLDER`: records -> results.jsonl, table.md, table.csv, table.tex, and the table on the terminal."""

import argparse
import gc
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from pgolf.collect import ROWS, Row, collect, row_lines, write_whole
from pgolf.contrast import Settings
from pgolf.errors import PgolfError
from pgolf.page import page
from pgolf.render import csv_text, latex, markdown, show
from pgolf.table import tabulate

WIDE = 200  # columns, where there is no terminal to ask


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m pgolf.aggregate", description=__doc__, allow_abbrev=False)
    made.add_argument("folder", type=Path, metavar="FOLDER", help="a study's folder, a folder of such (multirun), or a results.jsonl")
    made.add_argument(
        "--baseline", metavar="ARM", help="the arm that the others are compared with; default: each study's first planned arm"
    )
    made.add_argument(
        "--paired", action="store_true", help="paired t tests over common seeds instead of Welch's; name it before the runs, not after"
    )
    made.add_argument(
        "--smallest-effect-bpb",
        type=positive,
        metavar="BPB",
        help="smallest difference that matters, bits per byte: says the seeds it needs",
    )
    made.add_argument(
        "--gate-nats", type=not_negative, default=0.005, metavar="NATS", help="the gate's margin, nats per token; default 0.005"
    )
    made.add_argument("--gate-p", type=fraction, default=0.01, metavar="P", help="the gate's one-sided p, from 0 to 1; default 0.01")
    made.add_argument("--out", type=Path, metavar="DIR", help="where the four files go; default: FOLDER, or beside the results.jsonl given")
    made.add_argument("--quiet", action="store_true", help="write the files and print warnings alone")
    return made


def positive(text: str) -> float:
    value = not_negative(text)
    if value == 0:
        raise argparse.ArgumentTypeError(f"must be above 0 ({text})")
    return value


def not_negative(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"needs a number ({text})") from None
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be finite and not below 0 ({text})")
    return value


def fraction(text: str) -> float:
    value = positive(text)
    if value >= 1:
        raise argparse.ArgumentTypeError(f"must be between 0 and 1 ({text})")
    return value


def write_rows(path: Path, rows: Sequence[Row]) -> list[str]:
    """Write results.jsonl; one with more lines, whose runs may be gone by now, is kept aside. Returns warnings."""
    warnings = []
    if path.exists():
        with path.open("rb") as file:
            before = sum(1 for line in file if line.strip())
        if before > len(rows):
            aside = next(p for n in range(1, before + 10**6) if not (p := path.with_name(f"{path.stem}-earlier-{n}{path.suffix}")).exists())
            path.rename(aside)
            warnings.append(f"{path} had {before:,} rows, {len(rows):,} are found now: the earlier file is kept as {aside.name}")
    write_whole(path, row_lines(rows))
    return warnings


def aggregate(args: argparse.Namespace) -> None:
    """Read, compute, print, write. Raises PgolfError."""
    collected = collect(args.folder)
    settings = Settings(args.paired, args.smallest_effect_bpb, args.gate_nats, args.gate_p)
    report = tabulate(collected, baseline=args.baseline, settings=settings)
    sections = page(report)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)
    show(sections[:1] if args.quiet else sections, console)
    out = args.out or (args.folder.parent if args.folder.is_file() else args.folder)
    target = out / ROWS
    if not (args.folder.is_file() and target.exists() and target.samefile(args.folder)):  # the input stays as it is
        try:
            said = write_rows(target, collected.rows)
        except OSError as error:
            raise PgolfError(f"{target}: cannot be read or kept aside ({error.strerror}). Choose another folder with --out") from None
        for warning in said:
            console.print(warning, markup=False)
    write_whole(out / "table.md", [markdown(sections)])
    write_whole(out / "table.csv", [csv_text(report)])
    write_whole(out / "table.tex", [latex(sections)])
    console.print(f"written: {out}/{{{ROWS}, table.md, table.csv, table.tex}}", markup=False, soft_wrap=True)


def main() -> int:
    """Exit code 0, or 2 for what a user can mend."""
    try:
        aggregate(parser().parse_args())
    except PgolfError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    gc.disable()  # a short process that drops nothing: looking for garbage among ten thousand records takes a quarter of the time
    sys.exit(main())
