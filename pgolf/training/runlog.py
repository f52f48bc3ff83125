"""The log of a run: events in metrics.jsonl, lines in train.log and on the terminal, and a progress bar."""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from pgolf.records.record import METRICS

LOG = "train.log"


def append(file: TextIO, line: str) -> None:
    """Write a line and flush it. Raises OSError with the name of the file, which Python itself leaves out."""
    try:
        file.write(line + "\n")
        file.flush()
    except OSError as error:
        error.filename = file.name
        raise


class PatientConsole(Console):
    """A console that prints nothing after its reader has gone away, so that the run continues."""

    def on_broken_pipe(self) -> None:
        self.quiet = True


class RunLog:
    """The log of one run; a context that closes its files. Ranks other than the first write nothing.

    On a terminal, a progress bar shows loss, bpb, tokens/s and the remaining time. Elsewhere, a line is printed at most
    every `plain_every_s` seconds.
    """

    def __init__(self, folder: Path, *, is_first: bool, plain_every_s: float = 10.0):
        self.folder, self.is_first = folder, is_first
        self.plain_every_s, self.last_plain_s = plain_every_s, -float("inf")
        self.metrics = (folder / METRICS).open("a", encoding="utf-8") if is_first else None
        self.log = (folder / LOG).open("a", encoding="utf-8") if is_first else None
        self.console = PatientConsole(file=sys.stdout, highlight=False, soft_wrap=True)
        self.progress: Progress | None = None
        self.notice: Callable[[], str] = str  # asked at each step that is shown: a line to log, or an empty text

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end_progress()
        for file in (self.metrics, self.log):
            if file is not None:
                with suppress(OSError):  # a full disk was reported when the line was written
                    file.close()

    def offsets(self) -> dict[str, int]:
        """The size of each file in bytes."""
        files = {METRICS: self.metrics, LOG: self.log}
        return {name: os.fstat(file.fileno()).st_size for name, file in files.items() if file is not None}

    def reaches(self, offsets: Mapping[str, int]) -> bool:
        """Whether every file is at least as long as at a checkpoint. offsets: the sizes at that time."""
        now = self.offsets()
        return all(offsets.get(name, 0) <= size for name, size in now.items())

    def rewind(self, offsets: Mapping[str, int]) -> None:
        """Truncate each file to its size at a checkpoint, or to nothing, so that no event is logged twice."""
        for name, file in ((METRICS, self.metrics), (LOG, self.log)):
            if file is not None:
                file.truncate(offsets.get(name, 0))

    def event(self, kind: str, **fields: Any) -> None:
        """Append an event to metrics.jsonl. Raises OSError."""
        if self.metrics is not None:
            append(self.metrics, json.dumps({"event": kind, **fields}))

    def say(self, text: str) -> None:
        """Print a line and append it to train.log. Raises OSError if train.log cannot be written."""
        if self.log is not None:
            with suppress(OSError):  # a terminal that cannot be written to does not stop the run
                self.console.print(text, markup=False)
            append(self.log, text)

    def start_progress(self) -> None:
        """Show the progress bar, on a terminal."""
        if self.is_first and self.console.is_terminal:
            columns = (
                BarColumn(bar_width=24),
                TaskProgressColumn(),
                TextColumn("{task.description}"),
                TimeRemainingColumn(),
            )
            self.progress = Progress(*columns, console=self.console, transient=True)
            self.progress.start()
            self.progress.add_task("starting", total=1.0)

    def advance(self, fraction: float, text: str) -> None:
        """Show that a fraction of the budget, from 0 to 1, is spent. text: the current metrics."""
        if notice := self.notice():
            self.say(notice)
        if self.progress is not None:
            self.progress.update(self.progress.task_ids[0], completed=fraction, description=text)
        elif self.is_first and time.monotonic() - self.last_plain_s >= self.plain_every_s:
            self.last_plain_s = time.monotonic()
            self.say(f"{fraction:4.0%}  {text}")

    def end_progress(self) -> None:
        """Remove the progress bar, if there is one."""
        if self.progress is not None:
            self.progress.stop()
            self.progress = None
