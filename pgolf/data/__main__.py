"""`python -m pgolf.data prepare|verify|download [overrides]`: makes, checks or fetches a corpus and says what it is."""

import argparse
import sys

from pgolf.build import build_data
from pgolf.config import plain
from pgolf.data.checks import describe, verify
from pgolf.errors import PgolfError
from pgolf.machine.command import command
from pgolf.preflight import preflight


@command
def main() -> int:
    """Exit code 0, or 2 for a corpus or option that is refused."""
    parser = argparse.ArgumentParser(prog="python -m pgolf.data", description=__doc__)
    parser.add_argument("action", choices=("prepare", "verify", "download"), help="download is prepare for a corpus that is fetched")
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="data=text data.path=book.txt data.vocab_size=512, ...")
    args = parser.parse_intermixed_args()
    overrides = args.overrides
    if args.action == "download" and not any(o.startswith("data=") for o in overrides):
        overrides = ["data=fineweb", *overrides]
    try:
        (cell,) = preflight(overrides, multirun=False)
        corpus = build_data(plain(cell.composed)).prepare()
        print(*(verify(corpus) if args.action == "verify" else describe(corpus)), sep="\n")
    except PgolfError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
