"""Trackers of a user: one that works and needs no library, and some that fail in every way."""

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pgolf.slots import TrackedRun

JOURNAL = "journal.jsonl"


class Journal:
    """Writes what it is given into a file beside the run folders, and continues it for a resumed run.

    fault: what goes wrong, and when, as in `raise start`; empty for nothing.
    """

    package: str | None = None
    extra: str | None = None

    def __init__(self, *, fault: str, most_share: float, most_wait_s: float):
        self.fault, self.most_share, self.most_wait_s = fault, most_share, most_wait_s

    def start(self, run: TrackedRun) -> Mapping[str, int]:
        self.path = run.folder.parent / JOURNAL
        known = {}
        for line in self.path.read_text().splitlines() if self.path.exists() else []:
            name, step, _ = json.loads(line)
            known[name] = step
        self.misbehave("start")
        self.write("run", -1, [run.id, run.name, run.study, run.arm, len(run.config)])
        return {key: step for key, step in known.items() if step >= 0}

    def write(self, *line: Any) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def log(self, points: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        self.misbehave("log")
        for step, values in points:
            for key, value in values.items():
                self.write(key, step, value)

    def finish(self, record: Mapping[str, Any]) -> None:
        self.misbehave("finish")
        self.write("status", -2, record["status"])

    def misbehave(self, where: str) -> None:
        what, _, when = self.fault.partition(" ")
        if when != where:
            return
        print("the library's own words", file=sys.stderr)
        if what == "raise":
            raise ConnectionError("no network\nat all")
        if what == "leave":
            sys.exit("the library leaves")
        if what == "crash":
            os.abort()
        while what == "spin":
            pass
        time.sleep(3600)


class Incomplete:
    """Lacks most of what a tracker has."""

    def __init__(self, *, fault: str, most_share: float, most_wait_s: float):
        self.package = self.extra = None
        self.most_share, self.most_wait_s = most_share, most_wait_s

    def start(self, run: TrackedRun) -> None: ...


class Absent(Journal):
    package, extra = "no_such_package_of_pgolf", "absent"


def journal(run: Path) -> list[tuple[str, int, Any]]:
    """The lines of the journal of a run folder."""
    return [tuple(json.loads(line)) for line in (run.parent / JOURNAL).read_text().splitlines()]
