"""A sweep as a whole: its plan on disk, the reasons to stop it, its progress lines, and its exit code."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pgolf.command import one_line as one_line_of
from pgolf.config.folders import config_folders
from pgolf.errors import PgolfError
from pgolf.execution.finish import ERROR
from pgolf.execution.provenance import PACKAGE, tree_sha
from pgolf.records.audits import broken_rules
from pgolf.records.plan import Sweep, add_to_plan, read_plan
from pgolf.records.progress import count_text
from pgolf.records.record import FINISHED, read_record
from pgolf.sweep.runs import Run
from pgolf.sweep.state import Reason, State, state_of

LISTED = 20  # lines of a list; the others are counted
CODE_CHANGED = "the code or conf/ changed since the sweep started"
FAILED_FAST = "a run failed, and launch.fail_fast=true"


def code_now() -> str:
    """A hash of the source files of the package and of the YAML files of all config folders."""
    return tree_sha(PACKAGE, *config_folders())


def as_sweep(runs: Sequence[Run]) -> list[Run]:
    """The runs of a sweep, with labels that show only the overrides in which they differ.

    Runs with the same resolved configuration share the folder of the first one, even as different arms, and so are
    executed once.
    """
    first: dict[tuple[Path, str, int], Path] = {}
    common = set.intersection(*(set(run.identity["overrides"]) for run in runs))
    shared = []
    for run in runs:
        own = [text for text in run.identity["overrides"] if text not in common]
        folder = first.setdefault((run.plan_folder, run.identity["fingerprint"], run.config.seed), run.folder)
        shared.append(replace(run, folder=folder, label=" ".join(own) or run.label))
    return shared


def rerun_since(command: Sequence[str], runs: Sequence[Run]) -> float | None:
    """With launch.rerun=true, the time in Unix seconds from which on records count as repeated; otherwise None.

    If the same command was given before and has not finished, it is the start time of that command, otherwise now.
    """
    if not runs[0].config.launch.rerun:
        return None
    folder = runs[0].plan_folder
    for sweep in read_plan(folder):
        if sweep.command == tuple(sorted(command)) and sweep.rerun_since is not None:
            ended = [(record_or_none(folder / entry.folder) or {}).get("ended_at", 0) for entry in sweep.cells]
            if min(ended) < sweep.rerun_since:
                return sweep.rerun_since
    return time.time()


def write_plan(command: Sequence[str], runs: Sequence[Run], since: float | None) -> None:
    """Add all runs to the sweep plan, before the first one starts. since: from `rerun_since`.

    Raises PgolfError, OSError.
    """
    by_study: dict[Path, list[Run]] = {}
    for run in runs:
        by_study.setdefault(run.plan_folder, []).append(run)
    for folder, group in by_study.items():
        entries = tuple(dict.fromkeys(run.entry() for run in group))
        fail_fast = group[0].config.launch.fail_fast
        add_to_plan(folder, Sweep(tuple(sorted(command)), time.time(), code_now(), fail_fast, entries, since))


def sweep_of(run: Run) -> Sweep | None:
    """The latest sweep in the plan that contains a run; None if there is none. Raises PgolfError."""
    own = run.entry()
    key = (own.arm, own.seed, own.fingerprint)
    for sweep in sorted(read_plan(run.plan_folder), key=lambda sweep: -sweep.started_at):
        if any((entry.arm, entry.seed, entry.fingerprint) == key for entry in sweep.cells):
            return sweep
    return None


def reason_to_stop(sweep: Sweep, folder: Path) -> str | None:
    """The reason why no other run of a sweep may start; None if there is none. folder: of the plan."""
    if code_now() != sweep.code_sha:
        return CODE_CHANGED
    if sweep.fail_fast:
        for entry in sweep.cells:
            record = record_or_none(folder / entry.folder)
            if record is not None and record["status"] == "failed" and record.get("ended_at", 0) > sweep.started_at:
                return FAILED_FAST
    return None


def record_or_none(folder: Path) -> dict[str, Any] | None:
    """A run's record; None if there is none or it is damaged."""
    try:
        return read_record(folder)
    except PgolfError:
        return None


def unique_runs(runs: Sequence[Run]) -> tuple[list[int], list[str]]:
    """(positions of the first run of each folder, one line per folder that several runs share)."""
    sharing: dict[Path, list[int]] = {}
    for position, run in enumerate(runs):
        sharing.setdefault(run.folder, []).append(position)
    lines = []
    for positions in sharing.values():
        names = list(dict.fromkeys(runs[position].label for position in positions))
        if len(names) > 1:
            lines.append(f"  {', '.join(names)}: one configuration under {len(names)} names, runs once")
        elif len(positions) > 1:
            lines.append(f"  {names[0]}: given {len(positions)} times, runs once")
    return [positions[0] for positions in sharing.values()], lines


def announce(runs: Sequence[Run], states: Sequence[State]) -> None:
    """Print how many runs will be executed, and the reason for each run that is neither new nor finished."""
    first, lines = unique_runs(runs)
    unique = [(runs[position], states[position]) for position in first]
    count = Counter(state.kind for _, state in unique)
    others = f"{count['continue']} to continue, " if count["continue"] else ""
    others += f"{count['refused']} that cannot be run, " if count["refused"] else ""
    print(
        f"{count_text(len(unique), 'run')} in {runs[0].plan_folder}: {count['done']} already run, "
        f"{others}{count['run']} to run"
    )
    lines += [f"  {run.label}: {state.why}" for run, state in unique if state.is_news]
    rest = [f"  and {len(lines) - LISTED} more"] if len(lines) > LISTED else []
    for line in (*lines[:LISTED], *rest):
        print(line, flush=True)


def close(runs: Sequence[Run]) -> int:
    """Print the failed runs, the rules that their audits found broken, and the runs that are left.

    Returns the exit code: 0 if every run succeeded and no audit that was asked for found a broken rule, else 1.
    """
    failures, left, broken = [], [], []
    unique = list({run.folder: run for run in runs}.values())
    for run in unique:
        try:
            record: Mapping[str, Any] | None = read_record(run.folder)
        except PgolfError as error:
            failures.append(f"{run.label}: {error}")
            continue
        if record is None or record["status"] not in (*FINISHED, "failed"):
            left.append(run.label)
        elif record["status"] != "ok":
            failures.append(f"{run.label}: {record['status']}: {record['error']}\n  traceback: {run.folder / ERROR}")
        elif run.config.launch.audit:
            broken += [f"{run.label}: audit: {one_line_of(rule)}" for rule in broken_rules(run.folder) or ()]
    if broken:
        print(*broken, sep="\n", file=sys.stderr)
    if failures:
        print(f"{len(failures)} of {len(unique)} runs failed:", *failures, sep="\n", file=sys.stderr)
    if left:
        sweep = sweep_of(runs[0])
        why = None if sweep is None else reason_to_stop(sweep, runs[0].plan_folder)
        print(
            f"{why + ': ' if why else ''}{len(left)} of {len(unique)} runs are left; the same command runs them:",
            file=sys.stderr,
        )
        print(*(f"  {label}" for label in left[:LISTED]), sep="\n", file=sys.stderr)
        if len(left) > LISTED:
            print(f"  and {len(left) - LISTED} more", file=sys.stderr)
    return 1 if failures or left or broken else 0


def states_of(
    runs: Sequence[Run], since: float | None = None, state: Callable[[Run, float | None], State] = state_of
) -> list[State]:
    """The state of each run. An unusable folder affects only its own run. since: as for `state_of`."""
    states = []
    for run in runs:
        try:
            states.append(state(run, since))
        except PgolfError as error:
            states.append(State("refused", Reason.REFUSED, str(error)))
    return states
