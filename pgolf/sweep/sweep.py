"""A sweep as a whole: its plan on disk, what every job asks before it starts, the lines about runs that end, and what
is left.
"""

import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from pgolf.config.folders import conf_dir
from pgolf.errors import PgolfError
from pgolf.records.plan import Sweep, add_to_plan, read_plan
from pgolf.records.record import FINISHED, RECORD, read_record
from pgolf.run.finish import ERROR
from pgolf.run.provenance import PACKAGE, tree_sha
from pgolf.run.record import one_line
from pgolf.sweep.state import Planned, State, state_of

POLL_S = 0.3
LISTED = 20
CODE_CHANGED = "the code or conf/ changed since the sweep started"
FAILED_FAST = "a run failed, and launch.fail_fast=true"


def code_now() -> str:
    """One sum over the package's sources and the configuration."""
    return tree_sha(PACKAGE, conf_dir())


def plan_folder(cell: Planned) -> Path:
    return Path(cell.config["paths"]["out"]).expanduser() / str(cell.identity["study"])


def as_sweep(cells: Sequence[Planned]) -> list[Planned]:
    """Cells that resolve alike, under whatever arm, have the folder of the first of them: they run once. Labels tell
    what differs.
    """
    first: dict[tuple[Path, str, int], Path] = {}
    common = set.intersection(*(set(cell.identity["overrides"]) for cell in cells))
    made = []
    for cell in cells:
        own = [text for text in cell.identity["overrides"] if text not in common]
        folder = first.setdefault((plan_folder(cell), cell.identity["fingerprint"], cell.config["seed"]), cell.folder)
        made.append(replace(cell, folder=folder, label=" ".join(own) or cell.label))
    return made


def rerun_since(command: Sequence[str], cells: Sequence[Planned]) -> float | None:
    """Under launch.rerun=true, from when on records count: since the same command was first given, where it did not
    come to its end.
    """
    if not cells[0].config["launch"]["rerun"]:
        return None
    folder = plan_folder(cells[0])
    for sweep in read_plan(folder):
        if sweep.command == tuple(sorted(command)) and sweep.rerun_since is not None:
            ended = [(record_or_none(folder / entry.folder) or {}).get("ended_at", 0) for entry in sweep.cells]
            if min(ended) < sweep.rerun_since:
                return sweep.rerun_since
    return time.time()


def write_plan(command: Sequence[str], cells: Sequence[Planned], since: float | None) -> None:
    """Note every cell before the first job starts. since: what `rerun_since` gives. Raises PgolfError, OSError."""
    by_study: dict[Path, list[Planned]] = {}
    for cell in cells:
        by_study.setdefault(plan_folder(cell), []).append(cell)
    for folder, group in by_study.items():
        entries = tuple(dict.fromkeys(cell.entry(folder) for cell in group))
        fail_fast = bool(group[0].config["launch"]["fail_fast"])
        add_to_plan(folder, Sweep(tuple(sorted(command)), time.time(), code_now(), fail_fast, entries, since))


def planned_here(cell: Planned) -> tuple[Planned, Sweep | None]:
    """A job as the latest sweep that holds it has it: with the folder it shares, perhaps, and named by what was swept.
    None where no plan names it."""
    folder = plan_folder(cell)
    wanted = cell.entry(folder)
    for sweep in sorted(read_plan(folder), key=lambda sweep: -sweep.started_at):
        for entry in sweep.cells:
            if (entry.arm, entry.seed, entry.fingerprint) == (wanted.arm, wanted.seed, wanted.fingerprint):
                own = [text for text in cell.identity["overrides"] if text not in sweep.command]
                return replace(cell, folder=folder / entry.folder, label=" ".join(own) or cell.label), sweep
    return cell, None


def stopped(sweep: Sweep, cell: Planned) -> str | None:
    """Why no other job of this sweep may start; None where it may."""
    if code_now() != sweep.code_sha:
        return CODE_CHANGED
    if sweep.fail_fast:
        for entry in sweep.cells:
            record = record_or_none(plan_folder(cell) / entry.folder)
            if record is not None and record["status"] == "failed" and record.get("ended_at", 0) > sweep.started_at:
                return FAILED_FAST
    return None


def record_or_none(folder: Path) -> dict[str, Any] | None:
    """A record that can be read."""
    try:
        return read_record(folder)
    except PgolfError:
        return None


def counted(number: int, noun: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def minutes(seconds: float) -> str:
    if seconds < 5400:
        return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:,.0f} days"


def each_once(cells: Sequence[Planned]) -> tuple[list[int], list[str]]:
    """Cells that share a folder run once: the places of the first of each, and a line about every folder that several
    cells share.
    """
    sharing: dict[Path, list[int]] = {}
    for place, cell in enumerate(cells):
        sharing.setdefault(cell.folder, []).append(place)
    lines = []
    for places in sharing.values():
        names = list(dict.fromkeys(cells[place].label for place in places))
        if len(names) > 1:
            lines.append(f"  {', '.join(names)}: one configuration under {len(names)} names, runs once")
        elif len(places) > 1:
            lines.append(f"  {names[0]}: given {len(places)} times, runs once")
    return [places[0] for places in sharing.values()], lines


def announce(cells: Sequence[Planned], states: Sequence[State]) -> None:
    """What will be done, and for what is not simply new, why."""
    first, repeated = each_once(cells)
    cells, states = [cells[place] for place in first], [states[place] for place in first]
    count = {kind: sum(state.kind == kind for state in states) for kind in ("done", "continue", "run", "refused")}
    others = f"{count['continue']} to continue, " if count["continue"] else ""
    others += f"{count['refused']} that cannot be run, " if count["refused"] else ""
    print(
        f"{counted(len(cells), 'run')} in {plan_folder(cells[0])}: {count['done']} already run, "
        f"{others}{count['run']} to run"
    )
    told = [
        *repeated,
        *(f"  {cell.label}: {state.why}" for cell, state in zip(cells, states, strict=True) if state.is_news),
    ]
    rest = [f"  and {len(told) - LISTED} more"] if len(told) > LISTED else []
    for line in (*told[:LISTED], *rest):
        print(line, flush=True)


class Reporter:
    """While entered, prints a line for every run of a sweep that ends, whichever process runs it, with the time that is
    left.
    """

    def __init__(self, cells: Sequence[Planned], states: Sequence[State]):
        todo = {
            cell.folder: cell
            for cell, state in zip(cells, states, strict=True)
            if state.kind not in ("done", "refused")
        }
        self.todo, self.total = todo, len({cell.folder for cell in cells})
        self.known = {folder: record_mtime(folder) for folder in todo}
        self.started, self.finished = time.monotonic(), 0
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
        while not self.end.wait(POLL_S):
            self.look()

    def look(self) -> None:
        ended = [(now, folder) for folder in self.todo if (now := record_mtime(folder)) and now != self.known[folder]]
        for now, folder in sorted(ended):
            record = record_or_none(folder)
            if record is None:
                continue
            self.known[folder] = now
            if record["status"] == "interrupted":
                continue
            cell = self.todo.pop(folder)
            self.finished += 1
            left_s = (time.monotonic() - self.started) / self.finished * len(self.todo)
            about = f"; about {minutes(left_s)} left" if self.todo else ""
            with suppress(OSError):  # nobody reads it any more: that ends no sweep
                print(
                    f"[{self.total - len(self.todo)}/{self.total}] {cell.label}: {one_line(record)}{about}", flush=True
                )


def record_mtime(folder: Path) -> int:
    """When a record was written, 0 where there is none."""
    try:
        return (folder / RECORD).stat().st_mtime_ns
    except OSError:
        return 0


def close(cells: Sequence[Planned]) -> int:
    """After the last job: list failures and what is left. The exit code: 0 where every cell ended well, else 1."""
    failed, left = [], []
    runs = list({cell.folder: cell for cell in cells}.values())
    for cell in runs:
        try:
            record: Mapping[str, Any] | None = read_record(cell.folder)
        except PgolfError as error:
            failed.append(f"{cell.label}: {error}")
            continue
        if record is None or record["status"] not in (*FINISHED, "failed"):
            left.append(cell.label)
        elif record["status"] != "ok":
            failed.append(f"{cell.label}: {record['status']}: {record['error']}\n  traceback: {cell.folder / ERROR}")
    if failed:
        print(f"{len(failed)} of {len(runs)} runs failed:", *failed, sep="\n", file=sys.stderr)
    if left:
        _, sweep = planned_here(cells[0])
        why = None if sweep is None else stopped(sweep, cells[0])
        print(
            f"{why + ': ' if why else ''}{len(left)} of {len(runs)} runs are left; the same command runs them:",
            file=sys.stderr,
        )
        print(*(f"  {label}" for label in left[:LISTED]), sep="\n", file=sys.stderr)
        if len(left) > LISTED:
            print(f"  and {len(left) - LISTED} more", file=sys.stderr)
    return 1 if failed or left else 0


def states_of(cells: Sequence[Planned], since: float | None = None) -> list[State]:
    """What is to be done about each; a folder that cannot be used costs its own cell alone."""
    found = []
    for cell in cells:
        try:
            found.append(state_of(cell, since))
        except PgolfError as error:
            found.append(State("refused", f"cannot be run: {error}"))
    return found
