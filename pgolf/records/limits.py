"""`pruning.json` in the folder of a trial of a search: the score at which the trial is stopped, for some steps.

A search writes it before the trial starts. Ordinary runs have no such file.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path

from pgolf.errors import DamagedFile
from pgolf.machine.files import write_lines
from pgolf.machine.plain import read_json
from pgolf.machine.typed import fits

PRUNING = "pruning.json"
REMEDY = "Remove the file; the search writes it again"


def write_limits(folder: Path, limits: Mapping[int, float]) -> None:
    """Write the limits in bpb by step, or remove the file if there are none. Raises OSError."""
    if limits:
        text = {str(step): limit for step, limit in sorted(limits.items())}
        write_lines(folder / PRUNING, [json.dumps(text, allow_nan=False) + "\n"])
    else:
        (folder / PRUNING).unlink(missing_ok=True)


def read_limits(folder: Path) -> dict[int, float]:
    """The limits in bpb by step; empty without the file. Raises DamagedFile."""
    path = folder / PRUNING
    try:
        limits = read_json(path, REMEDY)
    except FileNotFoundError:
        return {}
    if not isinstance(limits, dict) or not all(
        step.isdecimal() and len(step) < 19 and fits(limit, float) and math.isfinite(limit)
        for step, limit in limits.items()
    ):
        raise DamagedFile(path, "is not a table of steps and scores", REMEDY)
    return {int(step): float(limit) for step, limit in limits.items()}
