"""Progress messages on stderr; stdout is for results only."""

from __future__ import annotations

import sys


def say(line: str) -> None:
    """Print `line` to stderr at once."""
    print(line, file=sys.stderr, flush=True)
