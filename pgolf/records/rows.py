"""Run folders -> rows: one per run, whatever became of it, and one per planned cell without a record.

A row is the run's record and four fields more: `row_version`, `folder` (relative to what was read), `planned` (below),
and for a row without a usable record a `status` that no run writes: missing, damaged (unreadable), foreign (readable,
but not this run's).

planned: None where nothing is known of a plan; else [arm, sweep, position] for each planned cell that the run answers,
[] for a run of a configuration or seed that no sweep plans (any more). sweep and position number the sweeps and the
cells of the study's plan.
"""

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgolf.errors import DamagedFile, PgolfError
from pgolf.machine.files import folder_for, read_regular, unwritten, write_lines
from pgolf.machine.plain import parse_json
from pgolf.records.contradictions import RUN_NAME
from pgolf.records.fields import ROW_VERSION, SCHEMA_VERSION, checked_row, row_problem
from pgolf.records.plan import PLAN, PlannedCell, read_plan
from pgolf.records.record import MAX_RECORD_BYTES, RECORD, read_record

if TYPE_CHECKING:
    import pandas as pd

ROWS = "results.jsonl"
RUN_FILES = {RECORD, "config.yaml", "metrics.jsonl"}
DEEPEST = 6
MAX_ROWS_BYTES = 2**30

Row = dict[str, Any]
Places = dict[Path, list[tuple[PlannedCell, int, int]]]  # run folder -> its cells, each with sweep and position


@dataclass(frozen=True)
class Collected:
    """What a folder or a file of rows holds: planned rows in plan order, then the others by path; warnings name what
    cannot be a row.
    """

    rows: list[Row]
    warnings: list[str]


def collect(source: Path) -> Collected:
    """Rows of a study's folder, of a folder of such, of a run folder, or of a results.jsonl file.

    Raises PgolfError where there is nothing to read.
    """
    if source.is_file():
        if source.suffix != ".jsonl":
            raise PgolfError(
                f"{source}: is neither a folder of runs nor a {ROWS}. Give a run's study folder, multirun or a {ROWS}"
            )
        return read_rows(source)
    if not source.is_dir():
        raise PgolfError(f"{source}: is no folder. Give a study's folder, as multirun/STUDY, or a {ROWS}")
    return read_folder(source)


def companion_path(source: Path, name: str) -> Path:
    """Where a file about a source lies: in a folder of runs, or beside rows.jsonl as rows.<name>, else under its plain
    name.
    """
    if source.is_dir():
        return source / name
    own = source.with_name(f"{source.stem}.{name}")
    return own if own.exists() or source.name != ROWS else source.with_name(name)


def read_folder(root: Path) -> Collected:
    """Rows of every run folder and plan at or below `root`. Raises PgolfError where there is neither."""
    root = Path(os.path.abspath(root))  # names of studies are names of folders, also of `.`
    warnings: list[str] = []
    runs, plans = [], []
    for folder, files in walk(root, warnings):
        if files & RUN_FILES or RUN_NAME.fullmatch(folder.name):
            runs.append(folder)
        if PLAN in files:
            plans.append(folder)
    places, planning = read_plans(sorted(plans), warnings)
    if not runs and not places:
        rows_here = " or ".join(str(path) for path in sorted(root.glob("*.jsonl"))[:3])
        remedy = rows_here or f"a study's folder, as multirun/STUDY, or a {ROWS}"
        raise PgolfError(f"{root}: holds no run and no plan. Give {remedy}")
    rows = [made for folder in places if (made := row_of(folder, root, places[folder], planning))]
    unfinished = []
    for folder in sorted(set(runs) - set(places)):
        made = row_of(folder, root, [], planning)
        if made is None:
            unfinished.append(str(folder.relative_to(root)))
        else:
            rows.append(made)
    if unfinished:
        warnings.append(f"run folders without a record that no sweep plans, left out: {', '.join(unfinished)}")
    return Collected(rows, warnings)


def walk(folder: Path, warnings: list[str], depth: int = 0) -> Iterator[tuple[Path, set[str]]]:
    """(folder, names of its files), down to run folders and not into them, nor into hidden ones an `earlier-<n>` or an
    `again-<n>`.
    """
    try:
        with os.scandir(folder) as entries:
            found = [(entry.name, entry.is_dir()) for entry in entries]
    except OSError as error:
        warnings.append(f"{folder}: cannot be read ({error.strerror}); its runs are left out")
        return
    files = {name for name, is_dir in found if not is_dir} | {
        RECORD for name, is_dir in found if is_dir and name == RECORD
    }
    yield folder, files
    # The first where a run's folder was renamed.
    if files & RUN_FILES or RUN_NAME.fullmatch(folder.name) or depth == DEEPEST:
        return
    for name in sorted(name for name, is_dir in found if is_dir):
        if RUN_NAME.fullmatch(name):
            yield folder / name, set()  # its name tells enough
        elif not name.startswith((".", "earlier-", "again-")):
            yield from walk(folder / name, warnings, depth + 1)


def read_plans(folders: Iterable[Path], warnings: list[str]) -> tuple[Places, set[Path]]:
    """The planned cells by run folder, and the study folders that have a plan. A damaged plan is a warning."""
    places: Places = {}
    planning = set()
    position = 0
    for folder in folders:
        try:
            sweeps = read_plan(folder)
        except PgolfError as error:
            warnings.append(f"{error}. Cells that are missing cannot be known")
            continue
        planning.add(folder)
        for number, sweep in enumerate(sweeps):
            for cell in sweep.cells:
                places.setdefault(folder / cell.folder, []).append((cell, number, position))
                position += 1
    return places, planning


def row_of(folder: Path, root: Path, cells: list[tuple[PlannedCell, int, int]], planning: set[Path]) -> Row | None:
    """The row of one run folder; None for an unplanned folder without a record."""
    known = cells or any(parent in planning for parent in folder.parents)
    place = {
        "folder": "." if folder == root else str(folder).removeprefix(f"{root}{os.sep}"),
        "planned": [[c.arm, sweep, at] for c, sweep, at in cells] if known else None,
    }
    named = RUN_NAME.fullmatch(folder.name)
    if cells:
        identity: Row = {key: getattr(cells[0][0], key) for key in ("study", "arm", "seed", "fingerprint")}
    else:
        seed, short = (int(named[1]), named[2]) if named else (None, "")
        identity = {"study": folder.parent.parent.name, "arm": folder.parent.name, "seed": seed, "fingerprint": short}
    without: Row = {"row_version": ROW_VERSION, "schema_version": SCHEMA_VERSION, **identity, **place}
    try:
        record = read_record(folder)
    except PgolfError as error:
        return {**without, "status": "damaged", "error": str(error)}
    if record is None:
        if not cells:
            return None
        begun = any((folder / name).exists() for name in RUN_FILES)
        return {**without, "status": "missing", "error": "begun, without a record" if begun else "not begun"}
    fault = misplaced(record, identity, planned=bool(cells))
    if fault:
        return {**without, "status": "foreign", "error": f"{folder / RECORD}: {fault}. Move it away"}
    return {"row_version": ROW_VERSION, **record, **place}


def misplaced(record: Mapping[str, Any], identity: Mapping[str, Any], *, planned: bool) -> str | None:
    """What shows that a record is not of the run that its folder is for."""
    if planned and record["study"] != identity["study"]:
        return f"is of study {record['study']}, its folder of {identity['study']}"
    if identity["seed"] is not None and record["seed"] != identity["seed"]:
        return f"is of seed {record['seed']}, its folder of seed {identity['seed']}"
    if not record["fingerprint"].startswith(identity["fingerprint"]):
        return f"is of configuration {record['fingerprint'][:8]}, its folder of {identity['fingerprint'][:8]}"
    return None


def read_rows(path: Path) -> Collected:
    """Rows of a results.jsonl. A line that is no row of ours becomes a warning that names it. Raises PgolfError where
    no line is one.
    """
    lines = parsed_lines(path)
    rows = [found for _, found in lines if not isinstance(found, str)]
    warnings = [f"{path} line {number}: {found}; left out" for number, found in lines if isinstance(found, str)]
    if not rows:
        raise PgolfError(
            f"{path}: holds no row of schema {SCHEMA_VERSION}. Give a file that pgolf.aggregate wrote, or a study's "
            "folder"
        )
    return Collected(rows, warnings)


def parsed_lines(path: Path) -> list[tuple[int, Row | str]]:
    """(number, row or why it is none) of each line that is not blank. Raises PgolfError."""
    try:
        content = read_regular(path, MAX_ROWS_BYTES)
    except OSError as error:
        raise PgolfError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise DamagedFile(path, str(error)) from None
    return [(number, parsed(line)) for number, line in enumerate(content.split(b"\n"), 1) if line.strip()]


def parsed(line: bytes) -> Row | str:
    """A line's row, or why it is none of ours."""
    if len(line) > MAX_RECORD_BYTES:
        return f"it has {len(line):,} bytes; at most {MAX_RECORD_BYTES:,} are read"
    try:
        row: Row = parse_json(line)
    except ValueError as error:
        return str(error)
    return row_problem(row) or checked_row(row)


def row_lines(rows: Iterable[Row]) -> Iterator[str]:
    """The lines of a results.jsonl; a non-finite number, which JSON has not, becomes null."""
    for row in rows:
        try:
            yield json.dumps(row, allow_nan=False) + "\n"
        except ValueError:
            yield json.dumps(finite(row), allow_nan=False) + "\n"


def finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def frame(rows: Iterable[Row]) -> "pd.DataFrame":
    """Rows as a DataFrame, a column per field, for notebooks. (From the file: pd.read_json(path, lines=True,
    dtype=False), without which a fingerprint of digits alone becomes a number.)"""
    import pandas as pd

    return pd.DataFrame.from_records(list(rows))


def write_out(path: Path, lines: Iterable[str]) -> None:
    """Write a text file that --out names, and the folder for it. Raises PgolfError where it cannot be written."""
    try:
        with folder_for(path.parent):
            write_lines(path, lines)
    except OSError as error:
        raise PgolfError(f"{unwritten(error, path)}. Choose another folder with --out") from None
