"""What all trackers share: the limits of their cost, the check for their package, and the numbers of a record."""

import math
import os
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pgolf.errors import require
from pgolf.records.kinds import is_number

LONGEST_WAIT_S = 600.0


class Limited:
    """A tracker with the two options that each one has. most_share, most_wait_s: as `pgolf.slots.Tracker` says."""

    package: str | None = None
    extra: str | None = None

    def __init__(self, *, most_share: float, most_wait_s: float):
        require(0 < most_share <= 1, "most_share", most_share, "choose a share above 0 and up to 1, such as 0.02")
        require(
            0 <= most_wait_s <= LONGEST_WAIT_S,
            "most_wait_s",
            most_wait_s,
            f"choose from 0 to {LONGEST_WAIT_S:.0f} seconds",
        )
        self.most_share, self.most_wait_s = most_share, most_wait_s


def is_installed(package: str) -> bool:
    """Whether a package can be imported. It is not imported.

    A folder of that name in the current folder, which W&B makes, is not the package: it has no file to import.
    """
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin is not None


def tree_cpu_s(pid: int) -> float:
    """CPU time of a process and of all that it has started, in seconds; 0 where the system has no /proc."""
    ticks, waiting = 0, [pid]
    while waiting:
        here = Path(f"/proc/{waiting.pop()}")
        with suppress(OSError, IndexError, ValueError):
            ticks += sum(map(int, (here / "stat").read_text().rpartition(")")[2].split()[11:15]))
            waiting += [int(pid) for thread in here.glob("task/*/children") for pid in thread.read_text().split()]
    return ticks / os.sysconf("SC_CLK_TCK")


def numbers(record: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers of a record as `record/FIELD`; {} for a run without scores. The configuration is left out."""
    if record.get("status") != "ok":
        return {}
    return {
        f"record/{key}": float(value)
        for key, value in record.items()
        if is_number(value) and math.isfinite(value) and not key.startswith("config.")
    }


def shortened(text: str, most: int) -> str:
    """At most so many characters of a text; a longer one ends in an ellipsis."""
    return text if len(text) <= most else f"{text[: most - 3]}..."
