"""The state of each planned run of a sweep, read from its files, which are not written."""

import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pgolf.errors import ConfigError, PgolfError
from pgolf.machine.locks import acquire
from pgolf.records.plan import PLAN, PlannedRun, Sweep, planned_runs, read_plan
from pgolf.records.progress import progress_of, remaining_s, works
from pgolf.records.record import LOCK, RECORD, STATE, read_record


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


def state_of(folder: Path) -> dict[str, Any]:
    """{state, note} of one run folder, with val_bpb, ended_at and overrides of a record, or the fraction of a run and
    the seconds that it still needs. began_at: Unix time of its first step, as if it had never been interrupted.
    """
    try:
        record = read_record(folder)
    except PgolfError as error:
        return {"state": "damaged", "note": str(error)}
    if is_held(folder):
        progress = progress_of(folder)
        note = "starting" if progress is None else progress.text
        fraction, left_s = (None, None) if progress is None else (progress.fraction, progress.left_s)
        trained_s = None if progress is None else progress.elapsed_s
        began_at = None if trained_s is None else time.time() - trained_s
        return {"state": "running", "note": note, "began_at": began_at, "fraction": fraction, "left_s": left_s}
    if record is not None and record["status"] != "interrupted":
        note = "" if record["status"] == "ok" else next(iter(str(record["error"]).splitlines()), "")
        return {
            "state": record["status"],
            "note": note,
            "val_bpb": record.get("val_bpb"),
            "began_at": record["ended_at"] - (record.get("train_s") or 0.0),
            "ended_at": record["ended_at"],
            "overrides": record.get("overrides"),
        }
    if (folder / STATE).exists():
        seen = progress_of(folder)
        logged = "" if seen is None else f"; it had logged {seen.text_of_step}"
        return {"state": "interrupted", "note": f"will resume from a checkpoint{logged}"}
    return {"state": "interrupted" if record is not None else "waiting", "note": ""}


def left_s(sweeps: list[Sweep], states: Mapping[PlannedRun, Mapping[str, Any]]) -> float | None:
    """Seconds that the latest sweep still needs at its speed so far; None if that cannot be estimated."""
    if not sweeps:
        return None
    latest = max(sweeps, key=lambda sweep: sweep.started_at)
    cells = list(dict.fromkeys(latest.cells))
    own = [states[cell] for cell in cells]
    weighed = list(zip(works([cell.tokens for cell in cells]), own, strict=True))
    ended = [work for work, state in weighed if (state.get("ended_at") or 0) > latest.started_at]
    running = [(work, state.get("fraction") or 0.0) for work, state in weighed if state["state"] == "running"]
    longest_s = max((state.get("left_s") or 0.0 for state in own), default=0.0)
    waiting = [work for work, state in weighed if state["state"] in ("waiting", "interrupted")]
    began = [at for state in own if (at := state.get("began_at") or 0.0) > latest.started_at]  # else of earlier sweeps
    since_s = time.time() - min(began, default=latest.started_at)  # what comes before the first step is paid once
    return remaining_s(since_s, ended, running, waiting, longest_s) if running else None


def studies(folder: Path) -> list[Path]:
    """The folders with a plan: this one, or its subfolders. Raises ConfigError if there are none."""
    folders = [folder] if (folder / PLAN).is_file() else sorted(path.parent for path in folder.glob(f"*/{PLAN}"))
    if not folders and not folder.exists():
        raise ConfigError(f"{folder}: does not exist. Give the folder of a study, such as multirun/adhoc")
    if not folders:
        raise ConfigError(
            f"{folder}: holds no sweep ({PLAN} is missing there and one level below). Give the folder of a study"
        )
    return folders


def report(folder: Path) -> dict[str, Any]:
    """The plan of one study with the state of each run, for --json. `cells` are its runs. unplanned: the number of
    other runs in the folder, such as those of `pgolf.train` without --multirun.
    """
    sweeps = read_plan(folder)
    states = {run: state_of(folder / run.folder) for run in planned_runs(sweeps)}
    runs = [
        {"arm": run.arm, "seed": run.seed, "fingerprint": run.fingerprint, "folder": str(folder / run.folder), **state}
        for run, state in states.items()
    ]
    count = dict(Counter(state["state"] for state in states.values()))
    planned = {folder / run.folder for run in states}
    return {
        "study": str(folder),
        "at": time.time(),
        "count": count,
        "unplanned": sum(path.parent not in planned for path in folder.glob(f"*/seed*/{RECORD}")),
        "left_s": left_s(sweeps, states),
        "cells": runs,
    }
