"""The record of one run: a flat JSON object with units in its names. It is the last file that a run writes."""

import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pgolf.errors import DamagedFile
from pgolf.machine.files import write_lines
from pgolf.machine.plain import read_json
from pgolf.records.fields import SCHEMA_VERSION, STATUSES
from pgolf.records.metrics import METRICS
from pgolf.records.validation import record_problem

RECORD = "result.json"
ARTIFACT = "artifact.pgolf"  # the packed model
MAX_RECORD_BYTES = 16 * 2**20
STATE = "checkpoint/state.pt"  # exists while a run is unfinished
LOCK = ".lock"  # held by the process that works on a run folder
REMEDY = "Move the file, or run with launch.rerun=true"
FINISHED = ("ok", "diverged")


def flat(node: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """A nested configuration as one level of `prefix.key.key: value`. Lists stay lists; `_partial_` is left out."""
    fields: dict[str, Any] = {}
    for key, value in node.items():
        if isinstance(value, Mapping):
            fields |= flat(value, f"{prefix}.{key}")
        elif key != "_partial_":
            fields[f"{prefix}.{key}"] = value
    return fields


def write_record(folder: Path, record: Mapping[str, Any]) -> Path:
    """Write a run's record in one atomic step. Non-finite numbers become null. Raises OSError."""
    assert record["status"] in STATUSES, record["status"]
    finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
    fields = {"schema_version": SCHEMA_VERSION, **finite, "ended_at": time.time()}
    path = folder / RECORD
    write_lines(path, [json.dumps(fields, indent=1, allow_nan=False) + "\n"])
    return path


def read_record(folder: Path) -> dict[str, Any] | None:
    """A run's record, or None where the folder has none. Raises DamagedFile for an invalid record."""
    path = folder / RECORD
    try:
        record = read_json(path, REMEDY, MAX_RECORD_BYTES)
    except FileNotFoundError:
        return None
    if (
        not isinstance(record, dict)
        or record.get("schema_version") != SCHEMA_VERSION
        or record.get("status") not in STATUSES
    ):
        raise DamagedFile(path, f"is not a record of schema {SCHEMA_VERSION}", REMEDY)
    problem = record_problem(record)
    if problem is not None:
        raise DamagedFile(path, problem, REMEDY)
    return record


OF_A_RUN = (
    *(RECORD, METRICS, ARTIFACT, "train.log", "tracker.log", "error.txt", "config.yaml"),
    *("documents.bin", "audit.json", "inspection.json", "truncation.json", "query_spectra.json"),
)
OF_A_FAILURE = (RECORD, "error.txt")


def set_aside(folder: Path, files: Sequence[str] = OF_A_RUN) -> Path | None:
    """Archive the files of an earlier run in the subfolder `earlier-<n>`. Returns it, or None without such files."""
    names = [n for n in files if (folder / n).exists()]
    if not names:
        return None
    number = 1 + sum(1 for p in folder.glob("earlier-*"))
    archive = folder / f"earlier-{number}"
    archive.mkdir()
    for name in names:
        (folder / name).rename(archive / name)
    return archive
