"""The record of one run: flat JSON, units in names, written last and whole."""

import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pgolf.errors import DamagedFile
from pgolf.machine.files import write_lines
from pgolf.machine.plain import read_json
from pgolf.records.fields import SCHEMA_VERSION, STATUSES, record_problem
from pgolf.records.metrics import METRICS

RECORD = "result.json"
MAX_RECORD_BYTES = 16 * 2**20
STATE = "checkpoint/state.pt"  # of a run under way
LOCK = ".lock"  # held by whoever decides about a run folder
REMEDY = "Move it away, or run with launch.rerun=true"
FINISHED = ("ok", "diverged")


def flat(node: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """A nested configuration as `prefix.key.key: value`; lists stay whole, `_partial_` is left out."""
    found: dict[str, Any] = {}
    for key, value in node.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}.{key}")
        elif key != "_partial_":
            found[f"{prefix}.{key}"] = value
    return found


def write_record(folder: Path, record: Mapping[str, Any]) -> Path:
    """Write a run's record; one that is there is whole. Non-finite numbers become null. Raises OSError."""
    assert record["status"] in STATUSES, record["status"]
    finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
    whole = {"schema_version": SCHEMA_VERSION, **finite, "ended_at": time.time()}
    path = folder / RECORD
    write_lines(path, [json.dumps(whole, indent=1, allow_nan=False) + "\n"])
    return path


def read_record(folder: Path) -> dict[str, Any] | None:
    """A run's record, None where there is none. Raises DamagedFile for one that is not sound."""
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
    fault = record_problem(record)
    if fault is not None:
        raise DamagedFile(path, fault, REMEDY)
    return record


OF_A_RUN = (RECORD, METRICS, "artifact.pgolf", "train.log", "error.txt", "stderr.log", "config.yaml")
OF_A_FAILURE = (RECORD, "error.txt", "stderr.log")


def set_aside(folder: Path, files: Sequence[str] = OF_A_RUN) -> Path | None:
    """Keep what an earlier run of this folder left under `earlier-<n>/`; None where there is nothing to keep."""
    names = [n for n in files if (folder / n).exists()]
    if not names:
        return None
    number = 1 + sum(1 for p in folder.glob("earlier-*"))
    kept = folder / f"earlier-{number}"
    kept.mkdir()
    for name in names:
        (folder / name).rename(kept / name)
    return kept
