"""`pgolf COMMAND ...`, the same as `python -m pgolf.COMMAND ...`."""

import runpy
import sys

from pgolf.command import COMMANDS, REFUSED, one_line, shortened
from pgolf.errors import suggest

USAGE = f"usage: pgolf {{{','.join(COMMANDS)}}} ...   (each is also `python -m pgolf.COMMAND`)"


def main() -> None:
    """Run one command with the remaining arguments."""
    word = sys.argv[1] if len(sys.argv) > 1 else None
    if word in ("-h", "--help"):
        print(USAGE)
        sys.exit(0)
    if word not in COMMANDS:
        message = USAGE
        if word is not None:
            problem = f"pgolf: no such command ({one_line(shortened(word))})."
            message = f"{problem}{suggest(word, COMMANDS)} Commands: {', '.join(COMMANDS)}"
        print(message, file=sys.stderr)
        sys.exit(REFUSED)
    command = sys.argv.pop(1)
    sys.argv[0] = f"pgolf {command}"
    runpy.run_module(f"pgolf.{command}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
