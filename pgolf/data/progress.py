"""One line on stderr for work that takes seconds; stdout stays free for results."""

from __future__ import annotations

import sys


def say(line: str) -> None:
    """Print `line` to stderr at once."""
    print(line, file=sys.stderr, flush=True)
