"""The lines that a sweep prints while it runs: finished runs, what is running, and the time that is left."""

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from pgolf.execution.record import one_line
from pgolf.records.progress import Progress, duration_text, progress_of, remaining_s, works
from pgolf.records.record import RECORD
from pgolf.sweep.runs import Run
from pgolf.sweep.state import State
from pgolf.sweep.sweep import LISTED, record_or_none

POLL_S = 0.3  # seconds between two looks for new records
QUIET_S = 30.0  # seconds without a line, after which the running runs are printed
FIRST_QUIET_S = 10.0  # the same before the first line


class Reporter:
    """A context that prints one line whenever a run of a sweep ends, with an estimate of the remaining time.

    After QUIET_S without a line, and FIRST_QUIET_S without the first one, it prints what is running. A thread watches
    the records, so it does not matter which process executes a run.
    """

    def __init__(self, runs: Sequence[Run], states: Sequence[State]):
        pairs = zip(runs, states, strict=True)
        self.waiting = {run.folder: run for run, state in pairs if state.kind not in ("done", "refused")}
        self.total = len({run.folder for run in runs})
        self.times = {folder: record_mtime(folder) for folder in self.waiting}  # of the records seen so far
        self.before = {folder: fraction_of(progress_of(folder)) for folder in self.waiting}  # of interrupted runs
        planned = {run.folder: run.entry().tokens for run in runs}
        self.work = dict(zip(planned, works(list(planned.values())), strict=True))
        self.started = time.monotonic()
        self.finished: list[float] = []  # the work of each run that ended in this sweep
        self.began: float | None = None  # when the first step or record was seen; what comes before is paid once
        self.spoke = self.started
        self.scores: dict[str, list[float]] = {}  # of each arm, those of finished runs of this sweep
        for run, state in zip(runs, states, strict=True):
            if state.kind == "done" and state.record is not None:
                self.mean_of_arm(run, state.record)
        self.end = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def __enter__(self) -> "Reporter":
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end.set()
        self.thread.join()
        self.look()

    def watch(self) -> None:
        """Look for new records until the sweep ends."""
        while not self.end.wait(POLL_S):
            self.look()
            limit_s = FIRST_QUIET_S if self.spoke == self.started else QUIET_S
            if time.monotonic() - self.spoke > limit_s:
                self.say_what_runs()

    def say(self, line: str) -> None:
        self.spoke = time.monotonic()
        with suppress(OSError):  # a closed pipe does not end the sweep
            print(line, flush=True)

    def running(self) -> dict[Path, Progress]:
        """The progress of each run that has logged a step in this sweep."""
        found = {folder: progress_of(folder) for folder in self.waiting}
        return {folder: now for folder, now in found.items() if now and fraction_of(now) > self.before[folder]}

    def left(self, running: Mapping[Path, Progress]) -> str:
        """`; about 5 min left`, or nothing if that cannot be estimated."""
        under_way = [(self.work[folder], fraction_of(now) - self.before[folder]) for folder, now in running.items()]
        not_started = [self.work[folder] for folder in self.waiting if folder not in running]
        longest_s = max((now.left_s or 0.0 for now in running.values()), default=0.0)
        since_s = time.monotonic() - (self.started if self.began is None else self.began)
        left_s = remaining_s(since_s, self.finished, under_way, not_started, longest_s)
        return "" if left_s is None else f"; about {duration_text(left_s)} left"

    def say_what_runs(self) -> None:
        running = self.running()
        names = [f"{self.waiting[folder].label} ({now.text})" for folder, now in running.items()]
        self.say(f"running: {', '.join(names[:LISTED]) or 'nothing has logged a step yet'}{self.left(running)}")

    def look(self) -> None:
        """Print a line for every record that is new since the last look. Interrupted runs get none."""
        if self.began is None and self.running():
            self.began = time.monotonic()
        times = {folder: record_mtime(folder) for folder in self.waiting}
        ended = [(now, folder) for folder, now in times.items() if now and now != self.times[folder]]
        for now, folder in sorted(ended):
            record = record_or_none(folder)
            if record is None:
                continue
            self.times[folder] = now
            if record["status"] == "interrupted":
                continue
            run = self.waiting.pop(folder)
            self.finished.append(self.work[folder])
            number = f"[{self.total - len(self.waiting)}/{self.total}]"
            self.say(
                f"{number} {run.label}: {one_line(record)}{self.mean_of_arm(run, record)}{self.left(self.running())}"
            )

    def mean_of_arm(self, run: Run, record: Mapping[str, Any]) -> str:
        """`; mean 2.3456 of 3 runs of this arm in this sweep`, from the second run of an arm on."""
        if record["status"] != "ok":
            return ""
        scores = self.scores.setdefault(run.identity["arm"], [])
        scores.append(record["val_bpb"])
        mean = sum(scores) / len(scores)
        return f"; mean {mean:.4f} of {len(scores)} runs of this arm in this sweep" if len(scores) > 1 else ""


def fraction_of(progress: Progress | None) -> float:
    """The share of the training budget that is used; 0 if it is unknown."""
    return 0.0 if progress is None else progress.fraction or 0.0


def record_mtime(folder: Path) -> int:
    """The modification time of a record in nanoseconds; 0 if there is no record."""
    try:
        return (folder / RECORD).stat().st_mtime_ns
    except OSError:
        return 0
