"""Step times that were taken in turn, from the JSON that `python -m pgolf.bench ... --against ... --json` prints: one
measurement, or a list of them.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pgolf.errors import DamagedFile
from pgolf.machine.plain import first_few, read_json
from pgolf.records.kinds import is_amount
from pgolf.tables.scaling import StepRatio

BENCH = "bench.json"
ARM = re.compile(r"(?:^| )arm=[^ /]+/([^ ]+)")  # in the overrides that name a model
MOST = 1e6  # times: a ratio beyond it, or below its inverse, is not one of step times
REMEDY = "Measure again with `python -m pgolf.bench`, or move the file"


def read_step_ratios(path: Path, arms: frozenset[str]) -> tuple[dict[tuple[str, str], StepRatio], list[str]]:
    """({(arm, baseline): time of a training token, arm / baseline}, warnings). Both are empty without a file.

    arms: of the study; measurements of other models are ignored. Models are known by the last `arm=STUDY/ARM` of their
    overrides. Of several measurements of one pair the first counts.
    """
    try:
        content = read_json(path, REMEDY)
    except FileNotFoundError:
        return {}, []
    except DamagedFile as error:
        return {}, [str(error)]
    found: dict[tuple[str, str], StepRatio] = {}
    problems = []
    for number, entry in enumerate(content if isinstance(content, list) else [content], 1):
        try:
            pair, ratio = measurement(entry)
        except (KeyError, OverflowError, TypeError, ValueError):
            problems.append(f"measurement {number}")
            continue
        if pair is not None and set(pair) <= arms:
            found.setdefault(pair, ratio)
    warning = f"{path}: not step times of two models, and left out: {first_few(problems)}. {REMEDY}"
    return found, [warning] if problems else []


def measurement(entry: Mapping[str, Any]) -> tuple[tuple[str, str] | None, StepRatio]:
    """((arm, baseline) or None without their names, ratio of times per token). Raises KeyError, OverflowError,
    TypeError or ValueError for anything else.
    """
    base, arm = entry["models"]
    names = [ARM.findall(model["name"]) for model in (arm, base)]
    times = [entry["step_time_ratio"][key] for key in ("median", "low", "high")]
    tokens = [model["tokens_per_step"] for model in (arm, base)]
    if not all(is_amount(x) and x > 0 for x in (*tokens, *(x for x in times if x is not None))) or times[0] is None:
        raise ValueError(times)
    if None not in times and sorted(times, key=float) != [times[1], times[0], times[2]]:
        raise ValueError(times)
    values: list[Any] = [None if x is None else x * tokens[1] / tokens[0] for x in times]
    if any(x is not None and not 1 / MOST < x < MOST for x in values):
        raise ValueError(values)
    ratio = StepRatio(*values)
    return (names[0][-1], names[1][-1]) if all(names) else None, ratio
