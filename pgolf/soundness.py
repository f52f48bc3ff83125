"""What makes a record, or a row, one of ours: its fields are of the kinds that everything downstream takes them for."""

import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

SCHEMA_VERSION = 1
STATUSES = ("ok", "failed", "diverged", "interrupted")
ROW_VERSION = 1
WITHOUT_RECORD = ("missing", "damaged", "foreign")
AMOUNTS = (
    *("steps", "tokens", "epochs", "train_s", "eval_s", "pack_s", "step_ms_median", "tokens_per_s", "peak_mem_bytes", "flops_per_token"),
    *("val_targets", "val_bytes", "val_raw_bytes", "code_bytes", "model_bytes", "total_bytes", "cap_bytes", "threads", "nproc"),
)
SCORES = ("val_bpb_live", "val_bpb_averaged", "quant_gap_bpb")
LISTS = ("warnings", "overrides", "code_files")


def is_number(value: Any) -> bool:
    """Whether a JSON value is a number that a float can hold."""
    return isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**1000)


def is_finite(value: Any) -> bool:
    return is_number(value) and math.isfinite(value)


def is_amount(value: Any) -> bool:
    return is_finite(value) and value >= 0


def is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


@cache  # ten thousand records have the same few hundred keys
def kind_of(key: str) -> tuple[str, Callable[[Any], bool]] | None:
    """(what a field is, whether a value is that); None for a field that may hold anything. Every one may also be null."""
    if key in AMOUNTS or key.startswith(("params.", "budget.")):
        return "finite number, 0 or more", is_amount
    if key in SCORES:
        return "finite number", is_finite
    if key in LISTS:
        return "list of texts", is_texts
    if key == "under_cap":
        return "true or false", lambda value: isinstance(value, bool)
    if key.endswith("_sha"):
        return "text", lambda value: isinstance(value, str)
    return None


def fault_of(record: Mapping[str, Any]) -> str | None:
    """What keeps a readable record from being one of ours, None for a sound one."""
    for key in ("study", "arm", "fingerprint"):
        if not isinstance(record.get(key), str) or not record[key]:
            return f"{key} is no name ({record.get(key)!r})"
    if not isinstance(record.get("seed"), int) or isinstance(record["seed"], bool):
        return f"seed is no whole number ({record.get('seed')!r})"
    for key, value in record.items():
        if value is not None and (kind := kind_of(key)) is not None and not kind[1](value):
            return f"{key} is no {kind[0]} ({value!r})"
    if record["status"] != "ok":
        return None
    for key in ("val_text_sha", "eval_mode"):
        if not isinstance(record.get(key), str):
            return f"{key} is missing, so that its score cannot be compared"
    for key in ("val_bpb", "val_nats"):
        if key not in record or (record[key] is not None and not is_number(record[key])):
            return f"{key} is no number ({record.get(key)!r})"
    return None


def row_fault(row: Any) -> str | None:
    """What keeps a line's value from being a row, None for a sound one."""
    if not isinstance(row, dict) or row.get("schema_version") != SCHEMA_VERSION or row.get("row_version") != ROW_VERSION:
        return f"is no row of schema {SCHEMA_VERSION}, row version {ROW_VERSION}"
    if row.get("status") not in (*STATUSES, *WITHOUT_RECORD):
        return f"has no known status ({row.get('status')!r})"
    if not isinstance(row.get("folder"), str):
        return f"folder is no text ({row.get('folder')!r})"
    planned = row.get("planned", "absent")
    if planned is not None and not (isinstance(planned, list) and all(map(is_place, planned))):
        return f"planned is no list of [arm, sweep, position] ({planned!r})"
    if row["status"] in WITHOUT_RECORD:
        sound = all(isinstance(row.get(key), str) for key in ("study", "arm", "fingerprint")) and isinstance(row.get("seed"), int | None)
        return None if sound else "names no study, arm, seed and fingerprint"
    return fault_of(row)


def is_place(place: Any) -> bool:
    return isinstance(place, list) and len(place) == 3 and isinstance(place[0], str) and all(isinstance(x, int) for x in place[1:])
