"""`pgolf COMMAND ...`, the same as `python -m pgolf.COMMAND ...`."""

import runpy
import sys

from pgolf.command import REFUSED, one_line, shortened
from pgolf.errors import suggest

COMMANDS = ("train", "status", "aggregate", "report", "compare", "rerun", "params", "bench", "evaluate", "data")
USAGE = f"usage: pgolf {{{','.join(COMMANDS)}}} ...   (each is also `python -m pgolf.COMMAND`)"


def main() -> None:
    """Run one command with the remaining arguments."""
    given = sys.argv[1:2]
    if given in (["-h"], ["--help"]):
        print(USAGE)
        sys.exit(0)
    if not given or given[0] not in COMMANDS:
        unknown = (
            f"pgolf: no such command ({one_line(shortened(given[0]))}).{suggest(given[0], COMMANDS)}" if given else ""
        )
        print(f"{unknown} Commands: {', '.join(COMMANDS)}" if given else USAGE, file=sys.stderr)
        sys.exit(REFUSED)
    command = sys.argv.pop(1)
    sys.argv[0] = f"pgolf {command}"
    runpy.run_module(f"pgolf.{command}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
