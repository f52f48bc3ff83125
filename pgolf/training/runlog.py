"""What a run says: events to metrics.jsonl, lines to train.log and the terminal, a progress bar where there is a
terminal.
"""

import json
import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from pgolf.records.record import METRICS

LOG = "train.log"


def append(file: TextIO, line: str) -> None:
    """Raises OSError with the file's name, which Python leaves out where a line cannot be written."""
    try:
        file.write(line + "\n")
        file.flush()
    except OSError as error:
        error.filename = file.name
        raise


class PatientConsole(Console):
    """A console whose reader may go away: what it would print then is left out, and the run goes on."""

    def on_broken_pipe(self) -> None:
        self.quiet = True


class RunLog:
    """Open for one run; silent on every rank but the first.

    On a terminal a bar shows loss, bpb, tokens/s and time left; elsewhere a plain line stands every `plain_every_s`
    seconds at most.
    """

    def __init__(self, folder: Path, *, is_first: bool, plain_every_s: float = 10.0):
        self.folder, self.is_first = folder, is_first
        self.plain_every_s, self.last_plain_s = plain_every_s, -float("inf")
        self.metrics = (folder / METRICS).open("a", encoding="utf-8") if is_first else None
        self.log = (folder / LOG).open("a", encoding="utf-8") if is_first else None
        self.console = PatientConsole(file=sys.stdout, highlight=False, soft_wrap=True)
        self.progress: Progress | None = None

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end_progress()
        for file in (self.metrics, self.log):
            if file is not None:
                with suppress(OSError):  # a full disk has been told of where the line was written
                    file.close()

    def offsets(self) -> dict[str, int]:
        """How far each file is written, in bytes."""
        files = {METRICS: self.metrics, LOG: self.log}
        return {name: os.fstat(file.fileno()).st_size for name, file in files.items() if file is not None}

    def reaches(self, offsets: Mapping[str, int]) -> bool:
        """Whether every file is written at least as far as a checkpoint says."""
        now = self.offsets()
        return all(offsets.get(name, 0) <= size for name, size in now.items())

    def rewind(self, offsets: Mapping[str, int]) -> None:
        """Cut each file back to where a checkpoint was taken, to nothing where there is none: no event stands there
        twice.
        """
        for name, file in ((METRICS, self.metrics), (LOG, self.log)):
            if file is not None:
                file.truncate(offsets.get(name, 0))

    def event(self, kind: str, **fields: Any) -> None:
        """One line of metrics.jsonl. Raises OSError."""
        if self.metrics is not None:
            append(self.metrics, json.dumps({"event": kind, **fields}))

    def say(self, text: str) -> None:
        """One line for the terminal and train.log. Raises OSError where train.log cannot be written."""
        if self.log is not None:
            with suppress(OSError):  # nobody reads the terminal any more, or its log is full: that ends no run
                self.console.print(text, markup=False)
            append(self.log, text)

    def start_progress(self) -> None:
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
        """Show that `fraction` of the budget is used."""
        if self.progress is not None:
            self.progress.update(self.progress.task_ids[0], completed=fraction, description=text)
        elif self.is_first and time.monotonic() - self.last_plain_s >= self.plain_every_s:
            self.last_plain_s = time.monotonic()
            self.say(f"{fraction:4.0%}  {text}")

    def end_progress(self) -> None:
        if self.progress is not None:
            self.progress.stop()
            self.progress = None
