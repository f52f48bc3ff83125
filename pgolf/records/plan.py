"""The plan of a study: `sweep.json` in its folder lists every planned run, so that a missing run can be reported.

Sweeps with different overrides have one entry each. A sweep with the same overrides replaces its earlier entry.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pgolf.errors import DamagedFile
from pgolf.machine.files import is_inside, write_lines
from pgolf.machine.locks import locked
from pgolf.machine.plain import read_json
from pgolf.machine.typed import typed

PLAN = "sweep.json"
PLAN_SCHEMA = 1
GATE = "gate"  # the study of runs that pgolf.gate makes for no study, so that they join the tables of no sweep
GATE_COMMAND = "pgolf.gate"  # stands in the plan before the overrides of an arm to which this command adds seeds
REMEDY = "Move the file; the next sweep writes it again"


@dataclass(frozen=True)
class PlannedRun:
    """One planned run. folder: relative to the plan's folder. Cells with the same resolved configuration share one
    folder, under several arms. tokens: of its training, None if only the time is limited or if an older pgolf planned
    it; two entries that differ in nothing else are equal.
    """

    study: str
    arm: str
    seed: int
    fingerprint: str
    folder: str
    tokens: int | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Sweep:
    """The runs of one command, under the key `cells` of the file.

    command: its overrides. started_at: Unix time in seconds. code_sha: hash of the package's sources at the start.
    rerun_since: with launch.rerun=true, the Unix time at which the first such command started. A run that ended later
    is not repeated.
    """

    command: tuple[str, ...]
    started_at: float
    code_sha: str
    fail_fast: bool
    cells: tuple[PlannedRun, ...]
    rerun_since: float | None = None


@dataclass(frozen=True)
class Plan:
    """The content of the file."""

    schema_version: int
    sweeps: tuple[Sweep, ...]


def read_plan(folder: Path) -> list[Sweep]:
    """The sweeps planned in a study's folder, oldest first; empty without a plan. Raises DamagedFile."""
    path = folder / PLAN
    try:
        plan = typed(Plan, read_json(path, REMEDY))
        if plan.schema_version != PLAN_SCHEMA:
            raise ValueError(f"its schema is {plan.schema_version}, not {PLAN_SCHEMA}")
        for cell in (cell for sweep in plan.sweeps for cell in sweep.cells):
            if not is_inside(cell.folder):
                raise ValueError(f"the folder of a run lies outside the plan's folder ({cell.folder!r:.60})")
    except FileNotFoundError:
        return []
    except ValueError as error:
        raise DamagedFile(path, f"is not a valid plan of sweeps: {error}", REMEDY) from None
    return list(plan.sweeps)


def add_to_plan(folder: Path, sweep: Sweep) -> None:
    """Add a sweep to its study's plan, under a lock. Raises PgolfError, OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / f".{PLAN}.lock"):
        sweeps = (*(other for other in read_plan(folder) if other.command != sweep.command), sweep)
        write_lines(folder / PLAN, [json.dumps(asdict(Plan(PLAN_SCHEMA, sweeps))) + "\n"])


def planned_runs(sweeps: Sequence[Sweep]) -> list[PlannedRun]:
    """Every planned run once, in the order of the sweeps."""
    return list(dict.fromkeys(cell for sweep in sweeps for cell in sweep.cells))
