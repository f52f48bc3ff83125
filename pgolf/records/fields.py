"""What makes a record, or a row, one of ours: each field is of the kind and in the range that everything downstream
takes it for, and no two fields contradict each other."""

import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from pgolf.machine.typed import LARGEST
from pgolf.records.contradictions import contradiction_of

SCHEMA_VERSION = 1
STATUSES = ("ok", "failed", "diverged", "interrupted")
ROW_VERSION = 1
WITHOUT_RECORD = ("missing", "damaged", "foreign")
LARGEST_SEED = 2**64
SHOWN = 80  # characters of a wrong value in a reason
IDENTITY = ("study", "arm", "fingerprint")

Kind = tuple[str, Callable[[Any], bool]]  # what a field is, whether a value is that


def is_number(value: Any) -> bool:
    """Whether a JSON value is a number of a size that can be computed with; NaN and infinity are numbers too."""
    if isinstance(value, float):
        return not math.isfinite(value) or abs(value) <= LARGEST
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST


def is_finite(value: Any) -> bool:
    return is_number(value) and math.isfinite(value)


def is_amount(value: Any) -> bool:
    return is_finite(value) and value >= 0


def is_count(value: Any) -> bool:
    """Whole, also where a table program has written 171 as 171.0."""
    return is_amount(value) and value == int(value)


def is_seed(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < LARGEST_SEED


def is_text(value: Any) -> bool:
    return isinstance(value, str)


def is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


NUMBER: Kind = ("a number", is_number)  # may be NaN: a run whose score is not finite
FINITE: Kind = ("a finite number", is_finite)
AMOUNT: Kind = ("a finite number of 0 or more", is_amount)
COUNT: Kind = ("a whole number of 0 or more", is_count)
FLAG: Kind = ("true or false", lambda value: isinstance(value, bool))
TEXT: Kind = ("a text", is_text)
TEXTS: Kind = ("a list of texts", is_texts)
CHOICE: Kind = ("a text or a list of texts", lambda value: is_text(value) or is_texts(value))

KINDS: dict[str, Kind] = {
    **dict.fromkeys(
        ("epochs", "train_s", "eval_s", "pack_s", "step_ms_median", "tokens_per_s", "ended_at", "budget.seconds"),
        AMOUNT,
    ),
    **dict.fromkeys(
        ("steps", "tokens", "qat_from_step", "peak_mem_bytes", "flops_per_token", "threads", "nproc"), COUNT
    ),
    **dict.fromkeys(
        ("val_targets", "val_bytes", "val_raw_bytes", "code_bytes", "model_bytes", "total_bytes", "cap_bytes"), COUNT
    ),
    **dict.fromkeys(("val_bpb", "val_nats", "val_bpb_published_908", "val_nats_published_908"), NUMBER),
    **dict.fromkeys(("val_bpb_live", "val_bpb_averaged", "quant_gap_bpb"), FINITE),
    **dict.fromkeys(("under_cap", "git_dirty"), FLAG),
    **dict.fromkeys(("eval_mode", "device", "precision", "compile", "error", "hostname"), TEXT),
    **dict.fromkeys(("warnings", "overrides", "code_files"), TEXTS),
}
OF_EVERY_RUN = ("overrides", "ended_at")
COMPARED = ("val_text_sha", "eval_mode")
OF_A_SCORE = (
    *(
        *COMPARED,
        "val_targets",
        "val_bytes",
        "steps",
        "tokens",
        "train_s",
        "budget.batch_tokens",
        "device",
        "data_sha",
        "code_sha",
    ),
    *("code_files", "warnings", "params.total", "params.trained", "params.frozen"),
    *("total_bytes", "model_bytes", "code_bytes", "cap_bytes", "under_cap"),
)
PERHAPS_NULL = (  # fields of a scored run that may be null: a score that is not finite, a budget of another kind
    *(
        "val_bpb",
        "val_nats",
        "val_bpb_live",
        "val_bpb_averaged",
        "quant_gap_bpb",
        "qat_from_step",
        "step_ms_median",
        "tokens_per_s",
    ),
    *("budget.steps", "budget.tokens", "budget.seconds"),
)
KINDS_BY_PREFIX: dict[str, Kind] = {
    "params.": COUNT,
    "budget.": COUNT,
    "choices.": CHOICE,
    "versions.": TEXT,
    "from.": TEXT,
}


@cache  # ten thousand records have the same few hundred keys
def kind_of(key: str) -> Kind | None:
    """The kind of a field; None for one that may hold anything, as `config.*`. Every one may also be null."""
    if key in KINDS:
        return KINDS[key]
    if key.endswith("_sha"):
        return TEXT
    return next((kind for prefix, kind in KINDS_BY_PREFIX.items() if key.startswith(prefix)), None)


def shown(value: Any) -> str:
    """A value of any kind and length in a reason."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def identity_problem(record: Mapping[str, Any]) -> str | None:
    """What a record or row lacks to be told apart from others."""
    for key in IDENTITY:
        if not isinstance(record.get(key), str) or not record[key]:
            return f"{key} is not a name ({shown(record.get(key))})"
    if not is_seed(record.get("seed")):
        return f"seed is not a whole number of 0 or more ({shown(record.get('seed'))})"
    return None


def record_problem(record: Mapping[str, Any]) -> str | None:
    """What keeps a readable record from being one of ours: a field of another kind, a lack, a contradiction. None for a
    sound one.
    """
    if fault := identity_problem(record):
        return fault
    for key, value in record.items():
        if value is not None and (kind := kind_of(key)) is not None and not kind[1](value):
            return f"{key} is not {kind[0]} ({shown(value)})"
    return missing_field(record) or contradiction_of(record)


def missing_field(record: Mapping[str, Any]) -> str | None:
    """What a record of its status has, and this one lacks: nothing that is checked or shown may be left out."""
    status = record["status"]
    needed = (
        *OF_EVERY_RUN,
        *(OF_A_SCORE if status == "ok" else ("error",)),
        *(("code_files",) if status == "diverged" else ()),
    )
    for key in needed:
        if record.get(key) is None:
            return f"{key} is missing" + (", so that its score cannot be compared" if key in COMPARED else "")
    return next((f"{key} is missing" for key in (PERHAPS_NULL if status == "ok" else ()) if key not in record), None)


def row_problem(row: Any) -> str | None:
    """What keeps a line's value from being a row at all, None where it is one; `fault_of` says what is wrong with its
    record's fields.
    """
    if (
        not isinstance(row, dict)
        or row.get("schema_version") != SCHEMA_VERSION
        or row.get("row_version") != ROW_VERSION
    ):
        return f"is not a row of schema {SCHEMA_VERSION}, row version {ROW_VERSION}"
    if not is_text(row.get("status")) or row["status"] not in (*STATUSES, *WITHOUT_RECORD):
        return f"has no known status ({shown(row.get('status'))})"
    if not isinstance(row.get("folder"), str):
        return f"folder is not a text ({shown(row.get('folder'))})"
    planned = row.get("planned", "absent")
    if planned is not None and not (isinstance(planned, list) and all(map(is_place, planned))):
        return f"planned is not a list of [arm, sweep, position] ({shown(planned)})"
    if row["status"] not in WITHOUT_RECORD:
        return identity_problem(row)
    sound = all(is_text(row.get(key)) for key in IDENTITY) and (
        row.get("seed", "absent") is None or is_seed(row.get("seed"))
    )
    return None if sound else "names no study, arm, seed and fingerprint"


def is_place(place: Any) -> bool:
    return isinstance(place, list) and len(place) == 3 and isinstance(place[0], str) and all(map(is_count, place[1:]))


def checked_row(row: dict[str, Any]) -> dict[str, Any]:
    """A sound row unchanged; of an unsound one only its identity, its folder and the problem, with status `damaged`."""
    if row["status"] in WITHOUT_RECORD or (fault := record_problem(row)) is None:
        return row
    kept = ("row_version", "schema_version", *IDENTITY, "seed", "folder", "planned")
    return {**{key: row[key] for key in kept}, "status": "damaged", "error": f"{row['folder']}: {fault}"}
