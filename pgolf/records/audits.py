"""What the audit of a run found: audit.json in its folder, as `python -m pgolf.audit RUN --json` prints it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pgolf.errors import PgolfError
from pgolf.machine.plain import read_json

AUDIT = "audit.json"
REMEDY = "Delete it, or audit the run again"
FAIL = "fail"
MOST_BYTES = 2**20


def broken_rules(folder: Path) -> list[str] | None:
    """`rule: name` of each failed check in a run folder's audit.json, or why it has none; None without the file.

    The file is not trusted: one that is damaged counts as a broken rule.
    """
    try:
        found = read_json(folder / AUDIT, REMEDY, MOST_BYTES)
    except FileNotFoundError:
        return None
    except (PgolfError, OSError):
        return [f"{AUDIT} cannot be read"]
    entry: Any = found[0] if isinstance(found, list) and len(found) == 1 else None
    if isinstance(entry, Mapping) and isinstance(entry.get("refusal"), str):
        return [f"not audited: {entry['refusal']}"]
    checks = entry.get("checks") if isinstance(entry, Mapping) else None
    keys = ("rule", "name", "verdict")
    if not isinstance(checks, list) or not all(
        isinstance(check, Mapping) and all(isinstance(check.get(key), str) for key in keys) for check in checks
    ):
        return [f"{AUDIT} is not an audit"]
    return [f"{check['rule']}: {check['name']}" for check in checks if check["verdict"] == FAIL]
