"""`python -m pgolf.trackers.follow`: follows the metrics of a run and hands them to its tracker.

A run starts it (`pgolf.trackers.process`). Its order is a line of JSON on the standard input; the word `end` follows
when the run has left its record. It answers with a line of JSON. What a library prints goes to tracker.log.
"""

import json
import os
import select
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from pgolf.machine.plain import read_yaml
from pgolf.machine.processes import die_with_parent
from pgolf.records.kinds import is_number
from pgolf.records.metrics import METRICS, event_of
from pgolf.records.record import flat, read_record
from pgolf.slots import TrackedRun, Tracker
from pgolf.trackers.limits import tree_cpu_s

POLL_S = 1.0
CURVES = ("train", "val")  # events that are sent
LONGEST_ARM = 48  # characters of an arm in the name of a run
LONGEST_REASON = 200
OWN = ("run", "tracker")  # sections of config.yaml that are no part of a run's parameters


class Ended(NamedTuple):
    """How following ended: the number of points sent, and what it cost."""

    points: int
    cpu_s: float


def tracked_run(order: Mapping[str, Any]) -> TrackedRun:
    """What a tracker is told of the run of an order. Raises OSError, PgolfError for an unreadable config.yaml."""
    folder = Path(order["folder"])
    config = read_yaml(folder / "config.yaml", "")
    shown = {k: v for key, node in config.items() if key not in OWN for k, v in flat({key: node}, "").items()}
    name = f"{order['arm'][:LONGEST_ARM]} seed{order['seed']} {order['id'].rpartition('-')[2]}"
    told = {key: order[key] for key in ("id", "study", "arm", "seed", "fingerprint")}
    return TrackedRun(**told, name=name, folder=folder, config={key[1:]: value for key, value in shown.items()})


def tracker_of(order: Mapping[str, Any]) -> Tracker:
    """The tracker of an order, which the run has checked."""
    module, _, name = str(order["target"]).rpartition(".")
    tracker: Tracker = getattr(import_module(module), name)(**order["options"])
    return tracker


class Tail:
    """The new lines of a file that another process appends to."""

    def __init__(self, path: Path):
        self.path, self.offset = path, 0

    def lines(self) -> list[bytes]:
        """Whole lines since the last call."""
        if self.path.stat().st_size == self.offset:
            return []
        with self.path.open("rb") as file:
            file.seek(self.offset)
            whole = file.read().rpartition(b"\n")[0]
        self.offset += len(whole) + 1 if whole else 0
        return whole.split(b"\n") if whole else []


class Sender:
    """Sends what is new in the metrics of a run.

    known: the last step of each metric that the tracker has. A resumed run is read from its first line on, and what the
    tracker has is left out, so that nothing is lost and nothing is there twice.
    """

    def __init__(self, tracker: Tracker, run: TrackedRun, known: Mapping[str, int]):
        self.tracker, self.known = tracker, dict(known)
        self.tail, self.points = Tail(run.folder / METRICS), 0
        self.batch_tokens = run.config.get("train.batch_tokens", 0)

    def send(self) -> None:
        """Send what is new. Raises what the tracker raises, and OSError."""
        points = [point for line in self.tail.lines() if (point := self.point(line)) is not None]
        if points:
            self.tracker.log(points)
            self.points += len(points)

    def point(self, line: bytes) -> tuple[int, dict[str, float]] | None:
        """(step, values) of a line of metrics.jsonl; None if it has no point of a curve, or one that is known."""
        event = event_of(line)
        if isinstance(event, str) or event["event"] not in CURVES or not isinstance(event.get("step"), int):
            return None
        step = int(event["step"])
        values = {key: float(value) for key, value in event.items() if key != "step" and is_number(value)}
        values.setdefault("tokens", float(step * self.batch_tokens))
        values = {key: value for key, value in values.items() if self.known.get(key, -1) < step}
        self.known.update(dict.fromkeys(values, step))
        return (step, values) if values else None


def follow(order: Mapping[str, Any]) -> Ended:
    """Send a run until it has ended, and its record. Raises anything that a tracker raises, OSError, PgolfError."""
    run, tracker = tracked_run(order), tracker_of(order)
    sender = Sender(tracker, run, tracker.start(run))
    ended = False
    while not ended:
        ended = has_ended(POLL_S)
        sender.send()
    tracker.finish(read_record(run.folder) or {"status": "failed"})
    return Ended(sender.points, tree_cpu_s(os.getpid()))


def has_ended(most_s: float) -> bool:
    """Wait for the end of the run, at most so many seconds. Leaves this process if the run was killed."""
    if not select.select([0], [], [], most_s)[0]:
        return False
    if not os.read(0, 64):
        os._exit(1)
    return True


def first_line() -> bytes:
    """The first line of the standard input, and nothing of what follows it."""
    parts = []
    while (byte := os.read(0, 1)) not in (b"", b"\n"):
        parts.append(byte)
    return b"".join(parts)


def describe(error: BaseException) -> str:
    """An exception in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:LONGEST_REASON]


def main() -> int:
    """The process; returns its exit code."""
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    die_with_parent()
    try:
        order = json.loads(first_line())
    except ValueError:
        print("pgolf.trackers.follow: is started by a run with tracker=NAME, not by hand", file=sys.stderr)
        return 2
    failure, sent = "", ""
    try:
        ended = follow(order)
        sent = f"has {ended.points:,} points and the record, for {ended.cpu_s:.1f} s of CPU time"
    except BaseException as error:
        traceback.print_exc()
        failure = describe(error)
    with suppress(OSError), answer:
        answer.write(json.dumps({"failure": failure, "sent": sent}) + "\n")
    sys.stderr.flush()
    os._exit(1 if failure else 0)  # not by way of what libraries do at the end: the run waits, and all is closed


if __name__ == "__main__":
    sys.exit(main())
