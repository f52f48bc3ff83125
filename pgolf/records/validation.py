"""Whether a record or a row is valid: each field has the kind that the table of fields gives it, no needed field is
missing, and no two fields contradict each other.
"""

from collections.abc import Mapping
from typing import Any

from pgolf.records.contradictions import contradiction_of
from pgolf.records.fields import (
    COMPARABILITY,
    IDENTITY,
    ROW_VERSION,
    SCHEMA_VERSION,
    STATUSES,
    WITHOUT_RECORD,
    Needed,
    field_of,
    names_needed,
)
from pgolf.records.kinds import PLACES, is_seed, is_text

LONGEST_VALUE = 80  # characters of a wrong value in a message
# Tested before all other fields, or written by `write_record` itself.
TESTED_FIRST = {"schema_version", "status", "seed", *IDENTITY}
BY_EVERY_RUN = tuple(name for name in names_needed(Needed.ALWAYS) if name not in TESTED_FIRST)
BY_SCORED_RUNS = (
    *COMPARABILITY,
    *(name for name in names_needed(Needed.SCORED, Needed.TRAINED) if name not in COMPARABILITY),
)
BY_DIVERGED_RUNS = names_needed(Needed.TRAINED)
BY_UNSCORED_RUNS = names_needed(Needed.UNSCORED)
NULLABLE = names_needed(Needed.NULLABLE)


def value_text(value: Any) -> str:
    """A value of any kind as text for a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."


def identity_problem(record: Mapping[str, Any]) -> str | None:
    """The first identifying field that is missing or of the wrong kind; None where all are valid."""
    for key in IDENTITY:
        if not isinstance(record.get(key), str) or not record[key]:
            return f"{key} is not a name ({value_text(record.get(key))})"
    if not is_seed(record.get("seed")):
        return f"seed is not a whole number of 0 or more ({value_text(record.get('seed'))})"
    return None


def record_problem(record: Mapping[str, Any]) -> str | None:
    """Why a record of a known schema and status is not valid: a field of the wrong kind, a missing field or a
    contradiction. None for a valid record.
    """
    if problem := identity_problem(record):
        return problem
    for key, value in record.items():
        if value is not None and (field := field_of(key)) is not None and not field.kind.fits(value):
            return f"{key} is not {field.kind.name} ({value_text(value)})"
    return missing_field(record) or contradiction_of(record)


def missing_field(record: Mapping[str, Any]) -> str | None:
    """The first field that a record of this status needs and that it does not have; None where there is none."""
    is_scored, is_diverged = record["status"] == "ok", record["status"] == "diverged"
    needed = (
        *BY_EVERY_RUN,
        *(BY_SCORED_RUNS if is_scored else BY_UNSCORED_RUNS),
        *(BY_DIVERGED_RUNS if is_diverged else ()),
    )
    for key in needed:
        if record.get(key) is None:
            return f"{key} is missing" + (", so that its score cannot be compared" if key in COMPARABILITY else "")
    return next((f"{key} is missing" for key in (NULLABLE if is_scored else ()) if key not in record), None)


def row_problem(row: Any) -> str | None:
    """Why the value of a line is not a row at all; None where it is one. Problems of a row's record are those of
    `record_problem`.
    """
    if (
        not isinstance(row, dict)
        or row.get("schema_version") != SCHEMA_VERSION
        or row.get("row_version") != ROW_VERSION
    ):
        return f"is not a row of schema {SCHEMA_VERSION}, row version {ROW_VERSION}"
    if not is_text(row.get("status")) or row["status"] not in (*STATUSES, *WITHOUT_RECORD):
        return f"has an unknown status ({value_text(row.get('status'))})"
    if not isinstance(row.get("folder"), str):
        return f"folder is not a text ({value_text(row.get('folder'))})"
    planned = row.get("planned", "absent")
    if planned is not None and not PLACES.fits(planned):
        return f"planned is not {PLACES.name} ({value_text(planned)})"
    if row["status"] not in WITHOUT_RECORD:
        return identity_problem(row)
    has_identity = all(is_text(row.get(key)) for key in IDENTITY) and (
        row.get("seed", "absent") is None or is_seed(row.get("seed"))
    )
    return None if has_identity else "does not name study, arm, seed and fingerprint"


def checked_row(row: dict[str, Any]) -> dict[str, Any]:
    """A valid row unchanged. Of an invalid row only its identity, its folder and the problem, with status `damaged`."""
    if row["status"] in WITHOUT_RECORD or (problem := record_problem(row)) is None:
        return row
    keys = ("row_version", "schema_version", *IDENTITY, "seed", "folder", "planned")
    return {**{key: row[key] for key in keys}, "status": "damaged", "error": f"{row['folder']}: {problem}"}
