"""What sweeps mean to run: `sweep.json` in a study's folder names every planned cell, so that a missing one is known to
be missing.

Two sweeps with other overrides stand in it side by side; the same overrides again replace their own entry.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pgolf.errors import DamagedFile
from pgolf.machine.files import is_inside, write_lines
from pgolf.machine.locks import locked
from pgolf.machine.plain import read_json
from pgolf.machine.typed import typed

PLAN = "sweep.json"
PLAN_SCHEMA = 1
REMEDY = "Move it away; the next sweep writes it anew"


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
    """One command's cells. command: its overrides; started_at: Unix seconds; code_sha: of the package's sources when it
    started.

    rerun_since: with launch.rerun=true, Unix seconds of the command that asked first: what ended since then is not run
    once more.
    """

    command: tuple[str, ...]
    started_at: float
    code_sha: str
    fail_fast: bool
    cells: tuple[PlannedCell, ...]
    rerun_since: float | None = None


@dataclass(frozen=True)
class Plan:
    """The file."""

    schema_version: int
    sweeps: tuple[Sweep, ...]


def read_plan(folder: Path) -> list[Sweep]:
    """The sweeps planned in a study's folder, oldest first; none where there is no plan. Raises DamagedFile."""
    path = folder / PLAN
    try:
        plan = typed(Plan, read_json(path, REMEDY))
        if plan.schema_version != PLAN_SCHEMA:
            raise ValueError(f"its schema is {plan.schema_version}, not {PLAN_SCHEMA}")
        for cell in (cell for sweep in plan.sweeps for cell in sweep.cells):
            if not is_inside(cell.folder):
                raise ValueError(f"it names a folder outside its own ({cell.folder!r:.60})")
    except FileNotFoundError:
        return []
    except ValueError as error:
        raise DamagedFile(path, f"is not a plan of sweeps: {error}", REMEDY) from None
    return list(plan.sweeps)


def add_to_plan(folder: Path, sweep: Sweep) -> None:
    """Write a sweep into its study's plan, under a lock. Raises PgolfError, OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / f".{PLAN}.lock"):
        sweeps = (*(other for other in read_plan(folder) if other.command != sweep.command), sweep)
        write_lines(folder / PLAN, [json.dumps(asdict(Plan(PLAN_SCHEMA, sweeps))) + "\n"])


def planned_cells(sweeps: Sequence[Sweep]) -> list[PlannedCell]:
    """Every cell once, in the order of the sweeps."""
    return list(dict.fromkeys(cell for sweep in sweeps for cell in sweep.cells))
