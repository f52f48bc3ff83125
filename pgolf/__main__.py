"""`pgolf COMMAND ...`, the same as `python -m pgolf.COMMAND ...`."""

import runpy
import sys

from pgolf.command import COMMANDS, OK, one_line, run, shortened
from pgolf.errors import PgolfError, suggest

USAGE = f"usage: pgolf {{{','.join(COMMANDS)}}} ...   (each is also `python -m pgolf.COMMAND`)"


def without_command(arguments: list[str]) -> int:
    """Print the usage, or refuse a command that does not exist."""
    if arguments[:1] in (["-h"], ["--help"]):
        print(USAGE)
        return OK
    if not arguments:
        raise PgolfError(USAGE)
    problem = f"pgolf: no such command ({one_line(shortened(arguments[0]))})."
    raise PgolfError(f"{problem}{suggest(arguments[0], COMMANDS)} Commands: {', '.join(COMMANDS)}")


def main() -> None:
    """Run one command with the remaining arguments."""
    word = sys.argv[1] if len(sys.argv) > 1 else None
    if word not in COMMANDS:
        sys.exit(run(without_command))
    command = sys.argv.pop(1)
    sys.argv[0] = f"pgolf {command}"
    runpy.run_module(f"pgolf.{command}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
