"""`python -m pgolf.status FOLDER [--json]`: the state of each planned run of a sweep, read from its files.

FOLDER is a study's folder (multirun/adhoc) or its parent. Nothing is written, and a running sweep is not disturbed.
"""

import json
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pgolf.command import FAILED, OK, Parser, run, tell
from pgolf.errors import ConfigError, DamagedFile, PgolfError
from pgolf.machine.clean_text import clean
from pgolf.machine.files import open_regular
from pgolf.machine.locks import acquire
from pgolf.records.metrics import event_of
from pgolf.records.plan import PLAN, PlannedRun, Sweep, planned_runs, read_plan
from pgolf.records.record import LOCK, METRICS, STATE, read_record

TAIL_BYTES = 20_000
STYLES = {
    "ok": "green",
    "running": "cyan",
    "failed": "red",
    "diverged": "red",
    "damaged": "red",
    "interrupted": "yellow",
    "waiting": "dim",
}


def is_held(folder: Path) -> bool:
    """Whether a running process has locked the run folder."""
    if not (folder / LOCK).exists():
        return False
    try:
        lock = acquire(folder / LOCK, wait=False)
    except PgolfError:  # a file system without locks
        return False
    except OSError:
        return True
    if lock is None:
        return True
    lock.release()
    return False


def last_event(folder: Path) -> Mapping[str, Any]:
    """The last valid event of a run's metrics that has a step; {} without one."""
    try:
        with open_regular(folder / METRICS) as file:
            file.seek(max(0, file.seek(0, 2) - TAIL_BYTES))
            lines = file.read().split(b"\n")
    except (OSError, ValueError):
        return {}
    valid = (event for line in reversed(lines) if not isinstance(event := event_of(line), str))
    return next((event for event in valid if event.get("step") is not None), {})


def state_of(folder: Path) -> dict[str, Any]:
    """{state, note, val_bpb, ended_at} of one run folder."""
    try:
        record = read_record(folder)
    except PgolfError as error:
        return {"state": "damaged", "note": str(error)}
    if is_held(folder):
        step = last_event(folder).get("step")
        return {"state": "running", "note": "starting" if step is None else f"step {step}"}
    if record is not None and record["status"] != "interrupted":
        note = "" if record["status"] == "ok" else next(iter(str(record["error"]).splitlines()), "")
        return {
            "state": record["status"],
            "note": note,
            "val_bpb": record.get("val_bpb"),
            "ended_at": record.get("ended_at"),
        }
    if (folder / STATE).exists():
        return {
            "state": "interrupted",
            "note": f"will resume from a checkpoint; last logged step: {last_event(folder).get('step', '?')}",
        }
    return {"state": "interrupted" if record is not None else "waiting", "note": ""}


def left_s(sweeps: list[Sweep], states: Mapping[PlannedRun, Mapping[str, Any]]) -> float | None:
    """Seconds that the latest sweep still needs at its speed so far; None if that cannot be estimated."""
    if not sweeps:
        return None
    latest = max(sweeps, key=lambda sweep: sweep.started_at)
    ended = [
        states[cell]["ended_at"] for cell in latest.cells if (states[cell].get("ended_at") or 0) > latest.started_at
    ]
    todo = sum(states[cell]["state"] in ("running", "waiting", "interrupted") for cell in latest.cells)
    running = any(states[cell]["state"] == "running" for cell in latest.cells)
    return (max(ended) - latest.started_at) / len(ended) * todo if ended and todo and running else None


def studies(folder: Path) -> list[Path]:
    """The folders with a plan: this one, or its subfolders. Raises ConfigError if there are none."""
    folders = [folder] if (folder / PLAN).is_file() else sorted(path.parent for path in folder.glob(f"*/{PLAN}"))
    if not folders:
        raise ConfigError(
            f"{folder}: holds no sweep ({PLAN} is missing there and one level below). Give the folder of a study"
        )
    return folders


def report(folder: Path) -> dict[str, Any]:
    """The plan of one study with the state of each run, for --json. `cells` are its runs."""
    sweeps = read_plan(folder)
    states = {run: state_of(folder / run.folder) for run in planned_runs(sweeps)}
    runs = [
        {"arm": run.arm, "seed": run.seed, "folder": str(folder / run.folder), **state} for run, state in states.items()
    ]
    count = dict(Counter(state["state"] for state in states.values()))
    return {"study": str(folder), "at": time.time(), "count": count, "left_s": left_s(sweeps, states), "cells": runs}


def show(study: Mapping[str, Any], console: Console) -> None:
    count = ", ".join(f"{number} {state}" for state, number in sorted(study["count"].items()))
    rest = "" if study["left_s"] is None else f"; about {study['left_s'] / 60:.0f} min left"
    title = f"{clean(study['study'])}: {len(study['cells'])} runs: {count}{rest}"
    table = Table(title=Text(title), title_justify="left")
    for column in ("arm", "seed", "state", "val bpb", ""):
        table.add_column(column, justify="right" if column in ("seed", "val bpb") else "left", overflow="fold")
    for row in study["cells"]:
        bpb = "" if row.get("val_bpb") is None else f"{row['val_bpb']:.4f}"
        state = Text(row["state"], style=STYLES[row["state"]])
        table.add_row(Text(clean(row["arm"])), Text(clean(str(row["seed"]))), state, bpb, Text(clean(row["note"])))
    console.print(table)


def command(arguments: list[str]) -> int:
    parser = Parser(prog="python -m pgolf.status", description=__doc__)
    parser.add_argument(
        "folder",
        type=Path,
        nargs="?",
        default=Path("multirun"),
        help="a study's folder, or its parent (multirun)",
    )
    parser.add_argument("--json", action="store_true", help="a JSON list: study, count, left_s (seconds), cells")
    args = parser.parse_args(arguments)
    reports, damaged = [], []
    for folder in studies(args.folder):
        try:
            reports.append(report(folder))
        except DamagedFile as error:
            damaged.append(error)
    if damaged and not reports:
        raise damaged[0]
    if args.json:
        print(json.dumps(reports, indent=1))
    else:
        for each in reports:
            show(each, Console())
    for each_error in damaged:
        tell(each_error)
    return FAILED if damaged else OK


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0; 1 if one of several plans is damaged; 2 for a folder without a readable sweep."""
    return run(command, arguments)


if __name__ == "__main__":
    sys.exit(main())
