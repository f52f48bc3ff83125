"""What sweeps mean to run: `sweep.json` in a study's folder names every planned cell, so that a missing one is known to be missing.

Two sweeps with other overrides stand in it side by side; the same overrides again replace their own entry.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pgolf.errors import PgolfError
from pgolf.machine.files import write_lines
from pgolf.machine.locks import locked

PLAN = "sweep.json"
PLAN_SCHEMA = 1


@dataclass(frozen=True)
class PlannedCell:
    """One job. `folder` is relative to the plan's; cells that resolve alike have one folder under several arms."""

    study: str
    arm: str
    seed: int
    fingerprint: str
    folder: str


@dataclass(frozen=True)
class Sweep:
    """One command's cells. command: its overrides; started_at: Unix seconds; code_sha: of the package's sources when it started.

    rerun_since: with launch.rerun=true, Unix seconds of the command that asked first: what ended since then is not run once more.
    """

    command: tuple[str, ...]
    started_at: float
    code_sha: str
    fail_fast: bool
    cells: tuple[PlannedCell, ...]
    rerun_since: float | None = None


def read_plan(folder: Path) -> list[Sweep]:
    """The sweeps planned in a study's folder, oldest first; none where there is no plan. Raises PgolfError for a damaged one."""
    path = folder / PLAN
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["schema_version"] != PLAN_SCHEMA:
            raise ValueError(f"schema {found['schema_version']}, not {PLAN_SCHEMA}")
        return [
            Sweep(**{**sweep, "command": tuple(sweep["command"]), "cells": tuple(PlannedCell(**c) for c in sweep["cells"])})
            for sweep in found["sweeps"]
        ]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PgolfError(f"{path}: is no readable plan of sweeps ({error}). Move it away; the next sweep writes it anew") from None


def add_to_plan(folder: Path, sweep: Sweep) -> None:
    """Write a sweep into its study's plan, under a lock. Raises PgolfError, OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / f".{PLAN}.lock"):
        sweeps = [*(other for other in read_plan(folder) if other.command != sweep.command), sweep]
        write_lines(folder / PLAN, [json.dumps({"schema_version": PLAN_SCHEMA, "sweeps": [asdict(s) for s in sweeps]}), "\n"])


def planned_cells(sweeps: Sequence[Sweep]) -> list[PlannedCell]:
    """Every cell once, in the order of the sweeps."""
    return list(dict.fromkeys(cell for sweep in sweeps for cell in sweep.cells))
