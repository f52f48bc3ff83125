"""The run's side of its tracker: starts the process that sends, and waits for it at the end, not for long.

The run writes metrics.jsonl as always. The other process follows that file (`pgolf.trackers.follow`). So the loop
never waits for a tracker, its library shares no lock and no memory with the run, and no error of it ends the run. What
it can take is CPU time, which the run measures.
"""

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from pgolf.errors import PgolfError
from pgolf.machine.files import write_lines
from pgolf.machine.plain import read_json
from pgolf.machine.processes import PARENT
from pgolf.slots import Tracker
from pgolf.trackers.limits import tree_cpu_s

STATE, LOG = "tracker.json", "tracker.log"
FOLLOW = "pgolf.trackers.follow"
ID = re.compile(r"[0-9a-f]{8}-\d{1,10}-[0-9a-f]{6}")
END = b"end\n"
EVERY_S = 5.0  # between looks at the CPU time
START_CPU_S = 15.0  # allowed beside the share of the run's time: the imports of the largest library take five


class TrackerProcess:
    """Sends a run to its tracker, from `start` to the end of this context. Without a tracker, it does nothing.

    tracker: None for none. options: of its class. folder: the run folder. identity: fields of a record: study, arm,
    fingerprint. say: writes a line of the run's log. waited_s: how long the run has waited for its tracker.
    """

    def __init__(
        self,
        tracker: Tracker | None,
        options: Mapping[str, Any],
        folder: Path,
        identity: Mapping[str, Any],
        seed: int,
        say: Callable[[str], None],
    ):
        self.tracker, self.options, self.folder, self.say = tracker, dict(options), folder.absolute(), say
        self.identity, self.seed = {key: str(identity[key]) for key in ("study", "arm", "fingerprint")}, seed
        self.process: subprocess.Popen[bytes] | None = None
        self.waited_s, self.began, self.looked = 0.0, 0.0, 0.0

    def __enter__(self) -> "TrackerProcess":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self, *, resumed: bool) -> None:
        """Start the process. resumed: the run goes on from a checkpoint, and so does its run of the tracker."""
        if self.tracker is None:
            return
        began = time.perf_counter()
        self.began = self.looked = time.monotonic()
        try:
            self.process = self.started(self.run_id(resumed=resumed))
        except OSError as error:
            self.say(f"warning: tracker: cannot be started ({error.strerror}). The run goes on without it")
        self.waited_s += time.perf_counter() - began

    def run_id(self, *, resumed: bool) -> str:
        """The id of the run, from fingerprint and seed. A run that starts from the beginning gets a new ending, so that
        its points do not mix with those of an earlier run of the same configuration.
        """
        path = self.folder / STATE
        with suppress(OSError, PgolfError):
            state = read_json(path, "", 4096) if resumed else None
            if isinstance(state, dict) and ID.fullmatch(str(state.get("id"))):
                return str(state["id"])
        made = f"{self.identity['fingerprint'][:8]}-{self.seed}-{secrets.token_hex(3)}"
        write_lines(path, [json.dumps({"id": made}) + "\n"])
        return made

    def started(self, run_id: str) -> "subprocess.Popen[bytes]":
        """The process, with its order written to it. Raises OSError."""
        cls = type(self.tracker)
        order = {
            "target": f"{cls.__module__}.{cls.__qualname__}",
            "options": self.options,
            "id": run_id,
            "folder": str(self.folder),
            "seed": self.seed,
            **self.identity,
        }
        with (self.folder / LOG).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", FOLLOW],
                env={**os.environ, PARENT: str(os.getpid())},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                process_group=0,  # Ctrl-C reaches the run alone
            )
        with suppress(BrokenPipeError):  # it has ended; `notice` says so
            assert process.stdin is not None
            process.stdin.write(json.dumps(order).encode() + b"\n")
            process.stdin.flush()
        return process

    def notice(self) -> str:
        """A warning if the tracker has stopped, or is stopped now for its CPU time, once; else an empty text. It takes
        microseconds.
        """
        if self.process is None:
            return ""
        reason = self.excess()
        if not reason and self.process.poll() is None:
            return ""
        process, self.process = self.process, None
        reason = reason or answer_of(process)[0]
        dispose(process)
        return f"warning: tracker: {reason}. The run goes on without it; {LOG} has the details"

    def excess(self) -> str:
        """The CPU time of the tracker, as text, if it is more than its share; else an empty text."""
        now = time.monotonic()
        if self.tracker is None or self.process is None or now - self.looked < EVERY_S:
            return ""
        self.looked, used_s, share = now, tree_cpu_s(self.process.pid), self.tracker.most_share
        if used_s <= START_CPU_S + share * (now - self.began):
            return ""
        return (
            f"switched off after {used_s:.0f} s of CPU time in {now - self.began:.0f} s (tracker.most_share={share:g})"
        )

    def close(self) -> None:
        """Ask the process to send the rest and the record, and wait for it, at most `most_wait_s`."""
        if self.tracker is None or self.process is None:
            return
        process, self.process = self.process, None
        assert process.stdin is not None
        began = time.perf_counter()
        try:
            with suppress(OSError):
                process.stdin.write(END)
                process.stdin.close()
            process.wait(self.tracker.most_wait_s)
            failure, sent = answer_of(process)
        except subprocess.TimeoutExpired:
            failure, sent = f"was not ready {self.tracker.most_wait_s:g} s after the run (tracker.most_wait_s)", ""
        finally:
            dispose(process)
        self.waited_s += time.perf_counter() - began
        waited = f"the run waited {self.waited_s:.2f} s for it"
        with suppress(OSError):
            if failure:
                self.say(f"warning: tracker: {failure}; {waited}. {LOG} has the details")
            else:
                self.say(f"tracker   {sent}; {waited}")


def dispose(process: "subprocess.Popen[bytes]") -> None:
    """Kill a process and those of its group, unless it has ended, and close its pipes."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError):
            if pipe is not None:
                pipe.close()


def answer_of(process: "subprocess.Popen[bytes]") -> tuple[str, str]:
    """(why the process stopped, or an empty text; what it has sent). process: has ended."""
    assert process.stdout is not None
    with suppress(ValueError):
        answer = json.loads(process.stdout.read())
        return str(answer["failure"]), str(answer["sent"])
    return f"ended without an answer (exit code {process.returncode})", ""
