"""`python -m pgolf.data prepare|verify|download [overrides]`: prepare, check or download a corpus, and describe it."""

import sys
from collections.abc import Sequence

from pgolf.command import Parser, run
from pgolf.config.build import build_data
from pgolf.config.command_line import compose_one
from pgolf.config.search_path import use_search_path
from pgolf.data.checks import describe, verify


def command(arguments: list[str]) -> int:
    parser = Parser(prog="python -m pgolf.data", description=__doc__)
    parser.add_argument(
        "action", choices=("prepare", "verify", "download"), help="download is prepare, with data=fineweb by default"
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="OVERRIDE", help="data=text data.path=book.txt data.vocab_size=512, ..."
    )
    args = parser.parse_intermixed_args(use_search_path(arguments))
    overrides = args.overrides
    if args.action == "download" and not any(o.startswith("data=") for o in overrides):
        overrides = ["data=fineweb", *overrides]
    corpus = build_data(compose_one(overrides).config).prepare()
    print(*(verify(corpus) if args.action == "verify" else describe(corpus)), sep="\n")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code: 0 ok, 2 refused."""
    return run(command, arguments)


if __name__ == "__main__":
    sys.exit(main())
