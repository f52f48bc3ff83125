"""`python -m pgolf.compare A B [--json]`: the differences between two runs, and their scores at equal steps."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pgolf.api.callable_module import make_callable
from pgolf.command import Parser, place, run
from pgolf.errors import PgolfError
from pgolf.machine.clean_text import clean
from pgolf.records.documents import read_documents
from pgolf.records.kinds import is_number
from pgolf.records.rows import finite
from pgolf.tables.differences import Absence, Differences, Pair, Side, differences, read_side
from pgolf.tables.texts import TextDifference, difference_lines, have_one_checkpoint, text_difference, text_refusal

MOST_POINTS = 12  # of a curve on a terminal
WIDE = 160  # columns of output that is not printed on a terminal


def make_parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m pgolf.compare", description=__doc__)
    parser.add_argument("a", type=place, metavar="A", help="a run's folder, or its result.json")
    parser.add_argument("b", type=place, metavar="B", help="another run's folder, or its result.json")
    parser.add_argument(
        "--json",
        action="store_true",
        help="everything as JSON, with complete curves; each entry is [value of A, value of B]",
    )
    return parser


def text(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: ""}[value]
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.5f}".rstrip("0").rstrip(".") if isinstance(value, float) else clean(str(value))


def verbatim_text(value: Any) -> str:
    return absence_text(value) if isinstance(value, Absence) else clean(json.dumps(value))


def absence_text(value: Absence) -> str:
    return str(value.value)


def change(a: Any, b: Any) -> str:
    """B - A for two numbers, else empty."""
    if not (is_number(a) and is_number(b)):
        return ""
    return f"{b - a:+,.5f}" if isinstance(a, float) or isinstance(b, float) else f"{b - a:+,}"


def show_pairs(
    console: Console, title: str, pairs: Mapping[str, Pair], *, verbatim: bool = False, incomparable: Sequence[str] = ()
) -> None:
    """Print a table of pairs. verbatim: values as in the configuration, without a difference. incomparable: rows
    without a difference.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("")
    for name in ("A", "B", *([] if verbatim else ["B - A"])):
        table.add_column(name, justify="left" if verbatim else "right", overflow="fold")
    for key, (a, b) in pairs.items():
        cells = (
            [verbatim_text(x) for x in (a, b)]
            if verbatim
            else [text(a), text(b), "not comparable" if key in incomparable else change(a, b)]
        )
        table.add_row(Text(key), *map(Text, cells))
    console.print(Text(title, style="bold"))
    console.print(table)
    console.print()


def text_of(a: Side, b: Side) -> TextDifference:
    """The difference B - A of the packed scores with the uncertainty of the text, or the reason why there is none."""
    unnamed = next((side.folder for side in (a, b) if side.record.get("documents_sha") is None), None)
    if unnamed is not None:
        return TextDifference(None, reason=f"{unnamed}: its record names no file of documents")
    if refusal := text_refusal(b.record, a.record):
        return TextDifference(None, reason=refusal)
    try:
        documents = [read_documents(side.folder, side.record) for side in (b, a)]
    except PgolfError as error:
        return TextDifference(None, reason=str(error))
    first, second = documents
    assert first is not None, b.folder
    assert second is not None, a.folder
    return text_difference(first, second, one_checkpoint=have_one_checkpoint(a.record, b.record))


def show(result: Differences, text_found: TextDifference, a: Side, b: Side, console: Console) -> None:
    console.print(Text(f"A {a.folder}\nB {b.folder}"), soft_wrap=True)
    for note in result.notes:
        console.print(Text(f"note: {clean(note)}"))
    console.print()
    for title, pairs in (("configuration differences", result.config), ("provenance differences", result.provenance)):
        if pairs:
            show_pairs(console, title, pairs, verbatim=True)
        else:
            console.print(Text(f"{title}: none\n"))
    for title, pairs in (
        ("parameters", result.parameters),
        ("bytes", result.bytes),
        ("cost", result.cost),
        ("final scores", result.scores),
    ):
        if pairs:
            show_pairs(console, title, pairs, incomparable=result.incomparable)
    for line in difference_lines(text_found, "B - A"):
        console.print(Text(clean(line)), soft_wrap=True)
    console.print()
    for curve in result.curves:
        every = max(1, -(-len(curve.points) // MOST_POINTS))
        points = curve.points[::-1][::every][::-1]  # always with the last one
        show_pairs(console, f"{curve.name} at equal {curve.axis}", {f"{at:,}": (x, y) for at, x, y in points})


def command(arguments: list[str]) -> int:
    args = make_parser().parse_args(arguments)
    a, b = (read_side(path) for path in (args.a, args.b))
    result, text_found = differences(a, b), text_of(a, b)
    if args.json:
        print(
            json.dumps(
                finite(
                    {
                        "a": str(a.folder),
                        "b": str(b.folder),
                        **json.loads(json.dumps(asdict(result), default=absence_text)),
                        "text": asdict(text_found),
                    }
                ),
                indent=1,
                allow_nan=False,
            )
        )
    else:
        show(result, text_found, a, b, Console(highlight=False, width=None if sys.stdout.isatty() else WIDE))
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 if there is no such run."""
    return run(command, arguments)


make_callable(__name__)  # pgolf.compare(...) of the Python API

if __name__ == "__main__":
    sys.exit(main())
