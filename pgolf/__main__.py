"""`pgolf COMMAND ...`, the same as `python -m pgolf.COMMAND ...`."""

import runpy
import sys

COMMANDS = ("train", "status", "aggregate", "report", "compare", "rerun", "params", "bench", "evaluate", "data")


def main() -> None:
    """Run one command with the remaining arguments."""
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        print(f"usage: pgolf {{{','.join(COMMANDS)}}} ...   (each is also `python -m pgolf.COMMAND`)", file=sys.stderr)
        sys.exit(0 if sys.argv[1:2] in (["-h"], ["--help"]) else 2)
    command = sys.argv.pop(1)
    sys.argv[0] = f"pgolf {command}"
    runpy.run_module(f"pgolf.{command}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
