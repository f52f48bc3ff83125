"""`python -m pgolf.api.child WORDS...`: `python -m pgolf.train WORDS...` in a process that ends with its parent.

`pgolf.run` starts it. If the parent is killed, as a notebook's kernel is when it restarts, the sweep stops with it and
can be resumed. Errors are marked, so that the parent can raise them instead of printing them.
"""

import runpy
import sys

from pgolf import command
from pgolf.machine.processes import die_with_parent

if __name__ == "__main__":
    die_with_parent()
    command.mark = command.ERROR_MARK
    sys.argv[0] = "pgolf.train"
    runpy.run_module("pgolf.train", run_name="__main__", alter_sys=True)
