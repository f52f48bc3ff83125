"""Run folders -> rows: one row per run, failed ones included, and one row per planned run without a record.

A row is the run's record with three more fields: `row_version`, `folder` (relative to the folder that was read) and
`planned`. A row without a valid record has a `status` that no run writes: missing, damaged (not readable or not valid)
or foreign (valid, but the record of another run).

planned: None where no plan is known. Otherwise a list with one [arm, sweep, position] per planned run that the run
answers. It is empty for a run that is not in the current plan. sweep and position count the sweeps and the runs of the
study's plan.
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
from pgolf.records.audits import broken_rules
from pgolf.records.contradictions import RUN_NAME
from pgolf.records.fields import ROW_VERSION, SCHEMA_VERSION
from pgolf.records.plan import GATE, GATE_COMMAND, PLAN, PlannedRun, read_plan
from pgolf.records.record import MAX_RECORD_BYTES, RECORD, read_record
from pgolf.records.validation import checked_row, row_problem

if TYPE_CHECKING:
    import pandas as pd

ROWS = "results.jsonl"
RUN_FILES = {RECORD, "config.yaml", "metrics.jsonl"}
DEEPEST = 6
MAX_ROWS_BYTES = 2**30
ADDED_BY_GATE = (
    "pgolf.gate added seeds until it had an answer. The tests here, for a fixed number of seeds, find too much. The "
    "answer of the gate is valid"
)

Row = dict[str, Any]
Places = dict[Path, list[tuple[PlannedRun, int, int]]]  # run folder -> its planned runs, each with sweep and position


@dataclass(frozen=True)
class Collected:
    """The rows of a folder or file, planned ones in plan order, then the others by path. warnings: what could not be
    read as a row.
    """

    rows: list[Row]
    warnings: list[str]


def collect(source: Path) -> Collected:
    """Rows of a study's folder, of a folder of studies, of a run folder, or of a results.jsonl file.

    Raises PgolfError if there is nothing to read.
    """
    if source.is_file():
        if source.suffix != ".jsonl":
            raise PgolfError(
                f"{source}: is neither a folder of runs nor a {ROWS}. Give a study's folder, multirun or a {ROWS}"
            )
        return read_rows(source)
    if not source.is_dir():
        raise PgolfError(f"{source}: is not a directory. Give a study's folder, such as multirun/STUDY, or a {ROWS}")
    return read_folder(source)


def companion_path(source: Path, name: str) -> Path:
    """The path of a file that belongs to a source: in the folder of runs, or beside the file of rows.

    Beside STEM.jsonl its name is STEM.<name>; beside results.jsonl it may also be <name>.
    """
    if source.is_dir():
        return source / name
    companion = source.with_name(f"{source.stem}.{name}")
    return companion if companion.exists() or source.name != ROWS else source.with_name(name)


def read_folder(root: Path) -> Collected:
    """Rows of every run folder and plan at or below `root`. Raises PgolfError if there are none."""
    root = Path(os.path.abspath(root))  # a study is named by its folder, also where that is `.`
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
        remedy = rows_here or f"a study's folder, such as multirun/STUDY, or a {ROWS}"
        raise PgolfError(f"{root}: has neither runs nor a plan. Give {remedy}")
    known: dict[Any, Any] = {}
    rows = [shared(row, known) for folder in places if (row := row_of(folder, root, places[folder], planning))]
    unfinished = []
    for folder in sorted(set(runs) - set(places)):
        row = row_of(folder, root, [], planning)
        if row is None:
            unfinished.append(str(folder.relative_to(root)))
        else:
            rows.append(shared(row, known))
    if unfinished:
        warnings.append(
            f"run folders without a record and not in the current sweep plan, left out: {', '.join(unfinished)}"
        )
    return Collected(rows, warnings)


def shared(row: Row, known: dict[Any, Any]) -> Row:
    """A row whose keys, texts and lists of texts are those of earlier rows where they are equal.

    Records of one study differ in a few fields, so that this halves the memory of many rows. known: what has been seen.
    """

    def seen(value: Any) -> Any:
        if isinstance(value, str):
            return known.setdefault(value, value)
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return known.setdefault(tuple(value), value)
        return value

    return {known.setdefault(key, key): seen(value) for key, value in row.items()}


def walk(folder: Path, warnings: list[str], depth: int = 0) -> Iterator[tuple[Path, set[str]]]:
    """(folder, names of its files) of each folder at or below `folder`.

    Folders inside run folders, hidden folders, and folders named `earlier-<n>` or `again-<n>` are not entered.
    """
    try:
        with os.scandir(folder) as entries:
            contents = [(entry.name, entry.is_dir()) for entry in entries]
    except OSError as error:
        warnings.append(f"{folder}: cannot be read ({error.strerror}); its runs are left out")
        return
    files = {name for name, is_dir in contents if not is_dir or name == RECORD}
    yield folder, files
    # A run's folder is recognised by its files even if it was renamed.
    if files & RUN_FILES or RUN_NAME.fullmatch(folder.name) or depth == DEEPEST:
        return
    for name in sorted(name for name, is_dir in contents if is_dir):
        if RUN_NAME.fullmatch(name):
            yield folder / name, set()  # a run folder by its name
        elif not name.startswith((".", "earlier-", "again-")):
            yield from walk(folder / name, warnings, depth + 1)


def read_plans(folders: Iterable[Path], warnings: list[str]) -> tuple[Places, set[Path]]:
    """The planned runs by run folder, and the study folders with a plan. A damaged plan becomes a warning."""
    places: Places = {}
    planning = set()
    position = 0
    for folder in folders:
        try:
            sweeps = read_plan(folder)
        except PgolfError as error:
            warnings.append(f"{error}. Missing runs cannot be detected")
            continue
        planning.add(folder)
        if folder.name != GATE and any(sweep.command[:1] == (GATE_COMMAND,) for sweep in sweeps):
            warnings.append(f"{folder}: {ADDED_BY_GATE}")
        for number, sweep in enumerate(sweeps):
            for cell in sweep.cells:
                places.setdefault(folder / cell.folder, []).append((cell, number, position))
                position += 1
    return places, planning


def row_of(folder: Path, root: Path, runs: list[tuple[PlannedRun, int, int]], planning: set[Path]) -> Row | None:
    """The row of one run folder; None for an unplanned folder without a record."""
    has_plan = runs or any(parent in planning for parent in folder.parents)
    place = {
        "folder": "." if folder == root else str(folder).removeprefix(f"{root}{os.sep}"),
        "planned": [[c.arm, sweep, at] for c, sweep, at in runs] if has_plan else None,
    }
    match = RUN_NAME.fullmatch(folder.name)
    if runs:
        identity: Row = {key: getattr(runs[0][0], key) for key in ("study", "arm", "seed", "fingerprint")}
    else:
        seed, short = (int(match[1]), match[2]) if match else (None, "")
        identity = {"study": folder.parent.parent.name, "arm": folder.parent.name, "seed": seed, "fingerprint": short}
    without: Row = {"row_version": ROW_VERSION, "schema_version": SCHEMA_VERSION, **identity, **place}
    try:
        record = read_record(folder)
    except PgolfError as error:
        return {**without, "status": "damaged", "error": str(error)}
    if record is None:
        if not runs:
            return None
        has_started = any((folder / name).exists() for name in RUN_FILES)
        reason = "started, but has no record" if has_started else "not started"
        return {**without, "status": "missing", "error": reason}
    mismatch = identity_mismatch(record, identity, planned=bool(runs))
    if mismatch:
        return {**without, "status": "foreign", "error": f"{folder / RECORD}: {mismatch}. Move the file"}
    broken = broken_rules(folder)
    audited: Row = {} if broken is None else {"audit.broken": broken}
    return {"row_version": ROW_VERSION, **record, **place, **audited}


def identity_mismatch(record: Mapping[str, Any], identity: Mapping[str, Any], *, planned: bool) -> str | None:
    """The first field that shows that a record belongs to another run than its folder; None without one."""
    if planned and record["study"] != identity["study"]:
        return f"is of study {record['study']}, its folder of {identity['study']}"
    if identity["seed"] is not None and record["seed"] != identity["seed"]:
        return f"is of seed {record['seed']}, its folder of seed {identity['seed']}"
    if not record["fingerprint"].startswith(identity["fingerprint"]):
        return f"is of configuration {record['fingerprint'][:8]}, its folder of {identity['fingerprint'][:8]}"
    return None


def read_rows(path: Path) -> Collected:
    """Rows of a results.jsonl. An invalid line becomes a warning. Raises PgolfError if no line is valid."""
    lines = parsed_lines(path)
    rows = [row for _, row in lines if not isinstance(row, str)]
    warnings = [f"{path} line {number}: {problem}; left out" for number, problem in lines if isinstance(problem, str)]
    if not rows:
        raise PgolfError(
            f"{path}: has no row of schema {SCHEMA_VERSION}. Give a file that pgolf.aggregate wrote, or a study's "
            "folder"
        )
    return Collected(rows, warnings)


def parsed_lines(path: Path) -> list[tuple[int, Row | str]]:
    """(line number, row or error message) of each line that is not blank. Raises PgolfError."""
    try:
        content = read_regular(path, MAX_ROWS_BYTES)
    except OSError as error:
        raise PgolfError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise DamagedFile(path, str(error)) from None
    known: dict[Any, Any] = {}
    lines = ((number, parsed(line)) for number, line in enumerate(content.split(b"\n"), 1) if line.strip())
    return [(number, row if isinstance(row, str) else shared(row, known)) for number, row in lines]


def parsed(line: bytes) -> Row | str:
    """The row on a line, or an error message."""
    if len(line) > MAX_RECORD_BYTES:
        return f"it has {len(line):,} bytes; the limit is {MAX_RECORD_BYTES:,}"
    try:
        row: Row = parse_json(line)
    except ValueError as error:
        return str(error)
    return row_problem(row) or checked_row(row)


def row_lines(rows: Iterable[Row]) -> Iterator[str]:
    """The lines of a results.jsonl. Non-finite numbers, which JSON does not have, become null."""
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
    """Rows as a DataFrame with one column per field, for notebooks.

    To read the file itself use pd.read_json(path, lines=True, dtype=False). Without dtype=False, pandas turns a
    fingerprint that has only digits into a number.
    """
    import pandas as pd

    return pd.DataFrame.from_records(list(rows))


def write_out(path: Path, lines: Iterable[str]) -> None:
    """Write a text file for the option --out, and make its folder. Raises PgolfError if it cannot be written."""
    try:
        with folder_for(path.parent):
            write_lines(path, lines)
    except OSError as error:
        raise PgolfError(f"{unwritten(error, path)}. Choose another folder with --out") from None
