"""The events of a run: metrics.jsonl, one JSON object per line. The file is not trusted: every line is checked."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pgolf.machine.files import read_regular
from pgolf.machine.plain import first_few, parse_json
from pgolf.machine.typed import fits, within

METRICS = "metrics.jsonl"
MAX_METRICS_BYTES = 256 * 2**20
WHOLE = ("step", "tokens", "parameters")  # integers; any other field is a number, a text, true, false or null

Event = dict[str, Any]


def read_metrics(folder: Path) -> tuple[list[Event], list[str]]:
    """The valid events of a run folder in order, and at most one message about problems of the file."""
    path = folder / METRICS
    events, problems = [], []
    try:
        for number, event in numbered_events(read_regular(path, MAX_METRICS_BYTES)):
            if isinstance(event, str):
                problems.append(f"line {number}: {event}")
            else:
                events.append(event)
    except OSError as error:
        return [], [f"{path}: cannot be read ({error.strerror})"]
    except ValueError as error:
        return [], [f"{path}: {error}"]
    return events, [f"{path}: damaged: {first_few(problems)}"] if problems else []


def numbered_events(content: bytes) -> Iterator[tuple[int, Event | str]]:
    """(line number, event or error message) of each line that is not blank."""
    for number, line in enumerate(content.split(b"\n"), 1):
        if line.strip():
            yield number, event_of(line)


def event_of(line: bytes) -> Event | str:
    """The event on a line, or an error message."""
    try:
        event = parse_json(line)
    except ValueError as error:
        return str(error)
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        return "it is not an event"
    for key, value in event.items():
        hint = int | None if key in WHOLE else float | str | bool | None
        if not fits(value, hint) or not within(value):
            return f"{key:.60} cannot be {value!r:.60}"
    return event
